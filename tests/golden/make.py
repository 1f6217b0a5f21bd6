"""Writes the golden files of this folder: checkpoints, attribution scores and layer outputs computed by other software.

What: three small models trained a few steps on the UCI digits, two checkpoints each, and their attribution scores
(a) by dattri, in float32, and (b) by brute force in float64 with plain torch autograd, which shares no code with
dattri: one backward pass per example, the Hessian of the mean loss written out, a dense solve. Also layers.safetensors:
single layers with their inputs, outputs and per-example gradients. README.md in this folder is written by this script
too and holds the measured differences.

Versions: torch 2.13.0, dattri 0.3.0, numpy 2.3.5, safetensors 0.6.2 (benches/requirements.txt).

Command, from the repository's root:

    "$(scripts/peers)" tests/golden/make.py [data/digits.csv.gz]

The data file has one line per image: 64 pixels 0..16, then the label, separated by commas.
"""

import os

os.environ["TQDM_DISABLE"] = "1"

import json
import logging
import platform
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

logging.disable(logging.WARNING)

import numpy as np
import torch
from dattri.algorithm import IFAttributorCG, IFAttributorExplicit, TracInAttributor
from dattri.task import AttributionTask
from safetensors.torch import save
from torch import nn
from torch.func import functional_call
from torch.utils.data import DataLoader, TensorDataset

HERE = Path(__file__).resolve().parent
N_TRAIN, N_TEST = 60, 12
LEARNING_RATES = (0.1, 0.05)  # of the steps before checkpoint 0, and between checkpoints 0 and 1
STEPS = {"logistic": (20, 20), "mlp": (40, 40), "cnn": (60, 60)}  # gradient steps in the same two stretches
EXPLICIT_REGULARIZATION = {"logistic": 0.01, "mlp": 0.5, "cnn": 0.5}
CG_REGULARIZATION = 0.05
CG_ITERATIONS = 60


class Logistic(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        return self.linear(x.flatten(1))


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(64, 16)
        self.fc2 = nn.Linear(16, 10)

    def forward(self, x):
        return self.fc2(torch.relu(self.fc1(x.flatten(1))))


class Cnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, padding=1)
        self.conv2 = nn.Conv2d(4, 8, 3, padding=1, stride=1, groups=2, dilation=1)
        self.fc = nn.Linear(32, 10)

    def forward(self, x):
        x = x.reshape(-1, 1, 8, 8)
        x = torch.max_pool2d(torch.relu(self.conv1(x)), 2)
        x = torch.max_pool2d(torch.relu(self.conv2(x)), 2)
        return self.fc(x.flatten(1))


MODELS = {"logistic": Logistic, "mlp": Mlp, "cnn": Cnn}


def load_digits(path):
    rows = np.loadtxt(path, delimiter=",", dtype=np.int64, max_rows=N_TRAIN + N_TEST)
    x = torch.tensor(rows[:, :64], dtype=torch.float32) / 16
    y = torch.tensor(rows[:, 64])
    return (x[:N_TRAIN], y[:N_TRAIN]), (x[N_TRAIN:], y[N_TRAIN:])


def save_file(tensors, path, metadata):
    """Writes a safetensors file with its metadata in a fixed order, so that every run gives the same bytes."""
    content = save(tensors, metadata=metadata)
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"] = dict(sorted(metadata.items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    path.write_bytes(content[:8] + text.ljust(size) + content[8 + size :])


def train(name, data):
    """Full-batch gradient descent; returns the state dicts of the two checkpoints."""
    torch.manual_seed(7)
    model = MODELS[name]()
    checkpoints, step = [], 0
    for run, (rate, count) in enumerate(zip(LEARNING_RATES, STEPS[name])):
        optimizer = torch.optim.SGD(model.parameters(), lr=rate)
        for _ in range(count):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(data[0]), data[1]).backward()
            optimizer.step()
        step += count
        state = {key: value.detach().clone() for key, value in model.state_dict().items()}
        save_file(
            state,
            HERE / f"{name}-{run}.safetensors",
            metadata={"run": "0", "step": str(step), "learning_rate": str(rate)},
        )
        checkpoints.append(state)
    return checkpoints


# ---- float64 brute force --------------------------------------------------------------------------------------------


class Exact:
    """One checkpoint in float64, with per-example gradients as rows over all parameters in the model's order."""

    def __init__(self, name, state):
        self.model = MODELS[name]().double()
        self.model.load_state_dict({key: value.double() for key, value in state.items()})
        self.model.eval()

    def gradients(self, data):
        rows = []
        for x, y in zip(data[0].double(), data[1]):
            loss = nn.functional.cross_entropy(self.model(x[None]), y[None])
            parts = torch.autograd.grad(loss, list(self.model.parameters()))
            rows.append(torch.cat([part.flatten() for part in parts]))
        return torch.stack(rows)

    def hessian(self, data):
        """Hessian of the mean loss over `data`."""
        shapes = {key: value.shape for key, value in self.model.named_parameters()}

        def loss(flat):
            parts = flat.split([shape.numel() for shape in shapes.values()])
            named = {key: part.view(shape) for (key, shape), part in zip(shapes.items(), parts)}
            return nn.functional.cross_entropy(functional_call(self.model, named, data[0].double()), data[1])

        flat = torch.cat([value.detach().flatten() for value in self.model.parameters()])
        return torch.autograd.functional.hessian(loss, flat)


def exact_scores(name, checkpoints, train_data, test_data):
    """Returns scores by method, [test, train] or [train], and the smallest eigenvalue of the Hessian."""
    models = [Exact(name, state) for state in checkpoints]
    train_rows = [model.gradients(train_data) for model in models]
    test_rows = [model.gradients(test_data) for model in models]
    g, q = train_rows[1], test_rows[1]
    out = {
        "grad_dot": q @ g.T,
        "grad_cos": (q / q.norm(dim=1, keepdim=True)) @ (g / g.norm(dim=1, keepdim=True)).T,
        "tracin": sum(rate * b @ a.T for rate, a, b in zip(LEARNING_RATES, train_rows, test_rows)),
        "grad_dot_self": (g * g).sum(dim=1),
    }
    h = models[1].hessian(train_data)
    h = (h + h.T) / 2
    lowest = torch.linalg.eigvalsh(h)[0].item()
    identity = torch.eye(len(h), dtype=torch.float64)
    damped = h + EXPLICIT_REGULARIZATION[name] * identity
    if lowest + EXPLICIT_REGULARIZATION[name] <= 0:
        sys.exit(f"{name}: the regularised Hessian is not positive definite (lowest eigenvalue {lowest})")
    out["influence_explicit"] = torch.linalg.solve(damped, q.T).T @ g.T
    out["influence_explicit_self"] = (torch.linalg.solve(damped, g.T).T * g).sum(dim=1)
    if name == "logistic":
        out["influence_cg"] = torch.linalg.solve(h + CG_REGULARIZATION * identity, q.T).T @ g.T
    return out, lowest


# ---- dattri ---------------------------------------------------------------------------------------------------------


def loader(data, batch=None):
    return DataLoader(TensorDataset(*data), batch_size=batch or len(data[0]), shuffle=False)


def task(name, checkpoints, one_by_one):
    """`one_by_one`: TracIn hands the function one example without a batch dimension, the influence family a batch."""
    model = MODELS[name]()

    def loss(params, data):
        x, y = (part.unsqueeze(0) for part in data) if one_by_one else data
        return nn.functional.cross_entropy(functional_call(model, params, x), y)

    return AttributionTask(loss_func=loss, model=model, checkpoints=checkpoints)


def tracin(name, checkpoints, weights, normalized, projector=None):
    return TracInAttributor(
        task=task(name, checkpoints, True),
        weight_list=torch.tensor(weights),
        normalized_grad=normalized,
        projector_kwargs={"proj_type": "identity"} if projector is None else projector,
    )


def dattri_scores(name, checkpoints, train_data, test_data):
    train_loader, test_loader = loader(train_data), loader(test_data)
    last = checkpoints[1:]
    out = {
        "grad_dot": tracin(name, last, [1.0], False).attribute(train_loader, test_loader).T,
        "grad_cos": tracin(name, last, [1.0], True).attribute(train_loader, test_loader).T,
        "tracin": tracin(name, checkpoints, LEARNING_RATES, False).attribute(train_loader, test_loader).T,
        "grad_dot_self": tracin(name, last, [1.0], False).self_attribute(train_loader),
    }
    explicit = IFAttributorExplicit(task(name, last, False), regularization=EXPLICIT_REGULARIZATION[name])
    explicit.cache(train_loader)
    out["influence_explicit"] = explicit.attribute(train_loader, test_loader).T
    out["influence_explicit_self"] = explicit.self_attribute(train_loader)
    if name == "logistic":
        cg = IFAttributorCG(task(name, last, False), max_iter=CG_ITERATIONS, regularization=CG_REGULARIZATION)
        cg.cache(train_loader)
        out["influence_cg"] = cg.attribute(train_loader, test_loader).T
    return {key: value.detach() for key, value in out.items()}


def probes(checkpoints, train_data, test_data, exact):
    """Short experiments on dattri's behaviour outside the settings used above; returns (what, outcome) pairs."""
    import dattri.algorithm.tracin as tracin_module
    from dattri.func.hessian import ihvp_at_x_cg

    name, last = "logistic", checkpoints[1:]
    train_loader, test_loader = loader(train_data), loader(test_data)
    found = []

    def attempt(what, experiment):
        try:
            outcome = experiment()
        except Exception as error:  # the outcome is what is recorded
            outcome = ": ".join([type(error).__name__, *str(error).splitlines()[:1]])
        found.append((what, outcome))

    def explicit(cache_batch, attribute_batch, **options):
        attributor = IFAttributorExplicit(task(name, last, False), regularization=0.01)
        attributor.cache(loader(train_data, cache_batch))
        if "self" in options:
            return attributor.self_attribute(loader(train_data, attribute_batch), relatif_method=options["self"])
        return attributor.attribute(loader(train_data, attribute_batch), test_loader).T

    def difference(got, want):
        return (got.double() - want).abs().max().item() / want.abs().max().item()

    attempt(
        "`influence_explicit`, training set cached in 3 batches of 20: max difference / largest score",
        lambda: f"{difference(explicit(20, None), exact['influence_explicit']):.2f}"
        + f" (its scores divided by 3: {difference(explicit(20, None) / 3, exact['influence_explicit']):.2f})",
    )
    attempt(
        "`influence_explicit`, `attribute` in 3 batches of 20, one cached batch: max difference / largest score",
        lambda: f"{difference(explicit(None, 20), exact['influence_explicit']):.1e}",
    )
    attempt(
        "`influence_explicit`, `self_attribute` with 3 batches of 20: max difference / largest score",
        lambda: f"{difference(explicit(None, 20, **{'self': None}), exact['influence_explicit_self']):.2f}",
    )
    attempt(
        '`influence_explicit`, `self_attribute(relatif_method="l")`, one batch: shape of the result',
        lambda: f"{tuple(explicit(None, None, self='l').shape)}",
    )

    def quadratic_cg(iterations):
        scale = torch.tensor([1.0, 2.0, 4.0])
        solve = ihvp_at_x_cg(lambda x: (scale * x * x).sum() / 2, torch.zeros(3), max_iter=iterations)
        return solve(torch.tensor([[1.0, 0.0, 0.0]])).tolist()

    attempt("`ihvp_at_x_cg` on diag(1, 2, 4), right-hand side (1, 0, 0), 1 iteration", lambda: quadratic_cg(1))

    def named_layer(value):
        attributor = IFAttributorExplicit(task(name, last, False), layer_name=value, regularization=0.01)
        attributor.cache(train_loader)
        return f"scores of shape {tuple(attributor.attribute(train_loader, test_loader).shape)}"

    attempt('`layer_name="linear.weight"` (a string, as documented)', lambda: named_layer("linear.weight"))
    attempt('`layer_name=["linear.weight"]`', lambda: named_layer(["linear.weight"]))

    def default_after_identity():
        tracin(name, last, [1.0], False)
        return f"its projector settings: {tracin(name, last, [1.0], False, projector={}).projector_kwargs}"

    attempt(
        "`TracInAttributor` made without a projection setting, after another was made with `proj_type=\"identity\"`",
        default_after_identity,
    )

    def default_projection():
        tracin_module.DEFAULT_PROJECTOR_KWARGS.pop("proj_type", None)
        scores = tracin(name, last, [1.0], False, projector={}).attribute(train_loader, test_loader).T
        pair = torch.stack([scores.double().flatten(), exact["grad_dot"].flatten()])
        return f"{torch.corrcoef(pair)[0, 1].item():.3f}"

    attempt(
        "`grad_dot` with dattri's default projection (650 to 512 dimensions): Pearson correlation to the exact scores",
        default_projection,
    )
    return found


# ---- single layers --------------------------------------------------------------------------------------------------


def layers():
    """Inputs and parameters are float32 values; outputs and gradients are computed and stored in float64.

    `<case>.grad.<parameter>`, [n, ...], and `<case>.grad.input` belong to the loss of example i,
    sum(output[i] * probe[i]).
    """
    torch.manual_seed(11)
    r = torch.randn
    f = nn.functional
    cases = {
        "conv2d": (
            "stride 2, padding 1, dilation 2, groups 2",
            r(3, 4, 7, 6),
            {"weight": r(6, 2, 3, 3), "bias": r(6)},
            {},
            lambda x, p, b: f.conv2d(x, p["weight"], p["bias"], stride=2, padding=1, dilation=2, groups=2),
        ),
        "layer_norm": (
            "normalised over the last dimension (6), eps 1e-5",
            r(3, 4, 6),
            {"weight": r(6), "bias": r(6)},
            {},
            lambda x, p, b: f.layer_norm(x, (6,), p["weight"], p["bias"]),
        ),
        "group_norm": (
            "3 groups, eps 1e-5",
            r(3, 6, 2, 3),
            {"weight": r(6), "bias": r(6)},
            {},
            lambda x, p, b: f.group_norm(x, 3, p["weight"], p["bias"]),
        ),
        "batch_norm": (
            "evaluation mode, running statistics, eps 1e-5",
            r(3, 4, 2, 3),
            {"weight": r(4), "bias": r(4)},
            {"running_mean": r(4), "running_var": torch.rand(4) + 0.5},
            lambda x, p, b: f.batch_norm(x, b["running_mean"], b["running_var"], p["weight"], p["bias"]),
        ),
        "embedding": (
            "7 tokens; the first example holds a token twice",
            torch.tensor([[2, 5, 2, 0], [6, 1, 3, 4], [0, 0, 0, 5]]),
            {"weight": r(7, 5)},
            {},
            lambda x, p, b: f.embedding(x, p["weight"]),
        ),
        "linear_sequence": (
            "input [n, t, d]",
            r(3, 4, 5),
            {"weight": r(6, 5), "bias": r(6)},
            {},
            lambda x, p, b: f.linear(x, p["weight"], p["bias"]),
        ),
        "linear_twice": (
            "linear(relu(linear(input))) with the same weight and bias",
            r(3, 5),
            {"weight": r(5, 5), "bias": r(5)},
            {},
            lambda x, p, b: f.linear(torch.relu(f.linear(x, p["weight"], p["bias"])), p["weight"], p["bias"]),
        ),
    }
    tensors, notes = {}, {}
    for case, (note, x, parameters, buffers, forward) in cases.items():
        notes[case] = note
        x64 = x.double().requires_grad_() if x.is_floating_point() else x
        p64 = {key: value.double().requires_grad_() for key, value in parameters.items()}
        b64 = {key: value.double() for key, value in buffers.items()}
        output = forward(x64, p64, b64)
        probe = r(output.shape)
        tensors |= {f"{case}.input": x, f"{case}.output": output.detach(), f"{case}.probe": probe}
        tensors |= {f"{case}.{key}": value for key, value in (parameters | buffers).items()}
        for key, parameter in p64.items():
            rows = []
            for i in range(len(x)):
                loss = (forward(x64[i : i + 1], p64, b64)[0] * probe[i].double()).sum()
                rows.append(torch.autograd.grad(loss, parameter)[0])
            tensors[f"{case}.grad.{key}"] = torch.stack(rows)
        if x.is_floating_point():
            tensors[f"{case}.grad.input"] = torch.autograd.grad((output * probe.double()).sum(), x64)[0]
    save_file(tensors, HERE / "layers.safetensors", metadata=notes)


# ---- report ---------------------------------------------------------------------------------------------------------


def verdict(scaled):
    if scaled <= 1e-5:
        return "agree to float32 rounding"
    if scaled <= 1e-4:
        return "agree; float32 rounding grown by the solve or by cancellation"
    return "differ: the float64 file is right"


README = """# Golden files

Written by `make.py`; do not edit by hand. Scores of three small models on the UCI digits by other software, and single
layers by torch, to compare this library with. [CURVATURE.md](CURVATURE.md) has the curvature methods at the same checkpoints,
[TRAK.md](TRAK.md) TRAK and methods with an attributor of their own.

Versions: torch {torch}, dattri {dattri}, numpy {numpy}, safetensors {safetensors}, Python {python}. Command, from the
repository's root:

    "$(scripts/peers)" tests/golden/make.py

Training on another processor may change the last bits of the weights, and with them every score: commit the checkpoints
and the scores of one run together.

## Files

Data: rows 0..60 of the digits are the training set, rows 60..72 the test set; pixels divided by 16. Objective: the
cross-entropy loss of each example; the Hessian is that of its mean over the training set. Positive scores mean that the
training example lowers the loss of the test example.

| file | content |
|---|---|
| `<model>-0.safetensors`, `<model>-1.safetensors` | two checkpoints, float32; metadata `run`, `step`, `learning_rate` |
| `<model>-<method>.npy` | dattri's scores, float32, [test, train] (`_self`: [train]) |
| `<model>-<method>-exact.npy` | the same by brute force in float64 |
| `layers.safetensors` | single layers: `<case>.input`, parameters, `<case>.output`, `<case>.probe`, `<case>.grad.*`; metadata says each case's settings |

Models: `logistic` Linear(64, 10); `mlp` Linear(64, 16), ReLU, Linear(16, 10); `cnn` on [1, 8, 8] images: Conv2d(1, 4, 3,
padding 1), ReLU, MaxPool2, Conv2d(4, 8, 3, padding 1, groups 2), ReLU, MaxPool2, Linear(32, 10).

| method | meaning |
|---|---|
| `grad_dot` | inner product of gradients at checkpoint 1, no projection |
| `grad_cos` | the same, both sides divided by their norms |
| `tracin` | `grad_dot` at both checkpoints, weighted by the learning rates 0.1 and 0.05, summed |
| `influence_explicit` | gᵀ (H + λI)⁻¹ q at checkpoint 1, dense solve; λ = {regularization} |
| `influence_cg` | the same by {iterations} rounds of conjugate gradients, λ = {cg} (the exact file: dense solve) |
| `grad_dot_self`, `influence_explicit_self` | the score of each training example on itself |

In `layers.safetensors` inputs and parameters are float32, outputs and gradients float64. `<case>.grad.<parameter>` is
[n, ...]: row i is the gradient of sum(output[i] * probe[i]).

## dattri against the float64 brute force

Difference: max |dattri − exact| divided by max |exact|; in brackets the largest difference of one entry relative to that
entry, which is large where a score is close to zero.

| model | method | difference | verdict |
|---|---|---|---|
{table}

Smallest eigenvalue of H at checkpoint 1: {eigenvalues}; with the λ above each H + λI is positive definite.

## dattri outside these settings

Measured by `probes` in `make.py` on the logistic model.

| experiment | outcome |
|---|---|
{probes}
"""


def main():
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    source = sys.argv[1] if len(sys.argv) > 1 else HERE.parent.parent / "data" / "digits.csv.gz"
    train_data, test_data = load_digits(source)
    table, eigenvalues, found = [], [], []
    for name in MODELS:
        checkpoints = train(name, train_data)
        exact, lowest = exact_scores(name, checkpoints, train_data, test_data)
        peer = dattri_scores(name, checkpoints, train_data, test_data)
        if name == "logistic":
            found = probes(checkpoints, train_data, test_data, exact)
        eigenvalues.append(f"{name} {lowest:.2g}")
        for method, want in exact.items():
            got = peer[method]
            np.save(HERE / f"{name}-{method}.npy", np.ascontiguousarray(got.numpy()))
            np.save(HERE / f"{name}-{method}-exact.npy", np.ascontiguousarray(want.detach().numpy()))
            gap = (got.double() - want).abs()
            scaled, entry = (gap.max() / want.abs().max()).item(), (gap / want.abs()).max().item()
            table.append(f"| {name} | `{method}` | {scaled:.1e} ({entry:.1e}) | {verdict(scaled)} |")
    layers()
    text = README.format(
        **{package: version(package) for package in ("torch", "dattri", "numpy", "safetensors")},
        python=platform.python_version(),
        regularization=", ".join(f"{value:g} ({name})" for name, value in EXPLICIT_REGULARIZATION.items()),
        iterations=CG_ITERATIONS,
        cg=f"{CG_REGULARIZATION:g}",
        table="\n".join(table),
        eigenvalues=", ".join(eigenvalues),
        probes="\n".join(f"| {what} | {outcome} |" for what, outcome in found),
    )
    (HERE / "README.md").write_text(text)
    print("\n".join(table))
    print("\n".join(f"{what}: {outcome}" for what, outcome in found))


if __name__ == "__main__":
    main()
