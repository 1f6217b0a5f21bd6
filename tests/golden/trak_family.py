"""Writes the golden files `trak-*.npy` beside those of make.py: TRAK, its relatives with a projection for each layer, data value
embedding, representer points and KNN-Shapley, by other software in float32 and by brute force in float64. TRAK.md in this
folder is written by this script too: the meaning of each file, how peers scale, and the measured differences.

Uses the checkpoints `<model>-<0, 1>.safetensors` that make.py wrote, and `trak-order.npy`, which it does not touch: the batches
`[12, 15]` that a `Trainer` with seed 0 draws for 60 examples, 15 a batch, in 3 epochs.

Versions: torch 2.13.0, dattri 0.3.0, traker 0.3.2, numpy 2.3.5, safetensors 0.6.2 (benches/requirements.txt).

Command, from the repository's root (a file named trak.py would hide the package `trak`):

    "$(scripts/peers)" tests/golden/trak_family.py [data/digits.csv.gz]
"""

import os

os.environ["TORCHDYNAMO_DISABLE"] = "1"  # dattri compiles its projections

import make  # before dattri: it silences progress bars and logs

import contextlib
import io
import logging
import platform
import sys
import tempfile
import warnings
from importlib.metadata import version

import dattri.algorithm.block_projected_if.core.compressor as compressor_module
import dattri.algorithm.trak as trak_module
import numpy as np
import torch
from dattri.algorithm import KNNShapleyAttributor, RPSAttributor, TRAKAttributor
from dattri.algorithm.block_projected_if.block_projected_if import BlockProjectedIFAttributor
from dattri.algorithm.dvemb import DVEmbAttributor
from dattri.task import AttributionTask
from make import HERE, MODELS, N_TRAIN, Exact, load_digits, loader
from safetensors.torch import load_file
from torch import nn
from torch.func import functional_call
from trak import TRAKer
from trak.projectors import AbstractProjector

K = 16  # numbers of a projected gradient
SIDE = 4  # of either side of a layer
DAMPING = 1.0  # of the matrix of undivided features
LAYER_DAMPING = 0.1  # times the mean eigenvalue of a layer's matrix
RATE = 0.1  # of the recorded training
RPS = 0.01
NEIGHBOURS = 5
LINEAR = {"logistic": ["linear"], "mlp": ["fc1", "fc2"]}  # models of linear layers alone


def signs(rows, columns, key):
    """Fixed -1 and 1, int8."""
    return np.random.default_rng(key).choice(np.array([-1, 1], dtype=np.int8), size=(rows, columns))


def margin(outputs, y):
    own = outputs.gather(1, y[:, None]).squeeze(1)
    return own - outputs.scatter(1, y[:, None], -torch.inf).logsumexp(1)


# ---- float64 brute force --------------------------------------------------------------------------------------------


def margin_rows(model, data):
    """One backward pass per example."""
    rows = []
    for x, y in zip(data[0].double(), data[1]):
        value = margin(model.model(x[None]), y[None]).squeeze()
        parts = torch.autograd.grad(value, list(model.model.parameters()))
        rows.append(torch.cat([part.flatten() for part in parts]))
    return torch.stack(rows)


def doubt(model, data):
    """1 - p of the label."""
    outputs = model.model(data[0].double()).detach()
    return 1 - torch.softmax(outputs, dim=1).gather(1, data[1][:, None]).squeeze(1)


def kernel(q, g, damping):
    return q @ torch.linalg.solve(g.T @ g + damping * torch.eye(g.shape[1], dtype=torch.float64), g.T)


def exact_trak(models, train_data, test_data, projection):
    """By file: scores with all features, with projected ones, and of the last checkpoint alone; what traker divides by; what
    traker makes of them."""
    g = [margin_rows(model, train_data) for model in models]
    q = [margin_rows(model, test_data) for model in models]
    w = [doubt(model, train_data) for model in models]
    mean = sum(w) / len(w)
    p = g[0].shape[1]
    r = torch.from_numpy(projection).double() / K**0.5
    parts = [kernel(b @ r, a @ r, DAMPING) for a, b in zip(g, q)]
    identity = torch.eye(K, dtype=torch.float64)
    factors = [torch.linalg.inv(r.T @ a.T @ a @ r / p + DAMPING / p * identity).abs().mean() for a in g]
    return {
        "identity": sum(kernel(b, a, DAMPING) for a, b in zip(g, q)) / len(g) * mean,
        "projected": sum(parts) / len(parts) * mean,
        "projected_last": parts[-1] * w[-1],
        "traker": sum(part / factor for part, factor in zip(parts, factors)) / len(parts) * mean,
        "traker_last": parts[-1] / factors[-1] * w[-1],
        "traker_factors": torch.stack(factors),
    }


def factors(model, layers, data):
    """By layer: inputs with a one appended, [n, in + 1], and gradients of each example's loss to the outputs, [n, out]."""
    x, y = data[0].double(), data[1]
    seen, handles = {}, []

    def hook(name, inputs, output):
        output.retain_grad()
        seen[name] = (inputs[0].detach(), output)

    for name in layers:
        module = getattr(model.model, name)
        handles.append(module.register_forward_hook(lambda _, inputs, output, name=name: hook(name, inputs, output)))
    nn.functional.cross_entropy(model.model(x), y, reduction="sum").backward()
    for handle in handles:
        handle.remove()
    return {name: (torch.cat([a, torch.ones(len(a), 1).double()], dim=1), s.grad) for name, (a, s) in seen.items()}


def exact_layers(model, sides, train_data, test_data):
    scores = 0
    train, test = (factors(model, sides, data) for data in (train_data, test_data))
    for name, (left, right) in sides.items():
        a, b = (torch.from_numpy(part).double() / SIDE**0.5 for part in (left, right))

        def rows(side):
            entered, left = side[name]
            return torch.einsum("no,ni->noi", left @ a, entered @ b).flatten(1)

        g, q = rows(train), rows(test)
        fisher = g.T @ g / len(g)
        damped = fisher + LAYER_DAMPING * fisher.trace() / len(fisher) * torch.eye(len(fisher), dtype=torch.float64)
        scores = scores + q @ torch.linalg.solve(damped, g.T)
    return scores


def exact_dvemb(name, state, order, train_data, test_data):
    """The published recursion with its p × p matrix, by epoch; and the derivative of the whole run in the weight of each example
    by automatic differentiation through every step."""
    model = Exact(name, state)
    names = [key for key, _ in model.model.named_parameters()]
    x, y = train_data[0].double(), train_data[1]
    weights = torch.ones(N_TRAIN, dtype=torch.float64, requires_grad=True)
    theta = [value.detach().clone().requires_grad_() for value in model.model.parameters()]
    steps = []
    for batch in order:
        for parameter, value in zip(model.model.parameters(), theta):
            parameter.data = value.detach()
        steps.append(model.gradients((train_data[0][batch], y[batch])))
        losses = nn.functional.cross_entropy(
            functional_call(model.model, dict(zip(names, theta)), x[batch]), y[batch], reduction="none"
        )
        slopes = torch.autograd.grad((losses * weights[batch]).mean(), theta, create_graph=True)
        theta = [value - RATE * slope for value, slope in zip(theta, slopes)]
    for parameter, value in zip(model.model.parameters(), theta):
        parameter.data = value.detach()
    q = model.gradients(test_data)
    outputs = functional_call(model.model, dict(zip(names, theta)), test_data[0].double())
    final = nn.functional.cross_entropy(outputs, test_data[1], reduction="none")
    unrolled = torch.stack([torch.autograd.grad(-loss, weights, retain_graph=True)[0] for loss in final])
    m = torch.zeros(q.shape[1], q.shape[1], dtype=torch.float64)
    epochs = torch.zeros(3, len(q), N_TRAIN, dtype=torch.float64)
    for t in reversed(range(len(order))):
        eta, g = RATE / len(order[t]), steps[t]
        v = eta * (g - g @ m.T)
        epochs[t // 4][:, order[t]] += q @ v.T
        m = m + v.T @ g
    return {"dvemb": epochs.sum(dim=0), "dvemb_epoch2": epochs[1], "unrolled": unrolled}


def exact_rps(model, train_data, test_data):
    """Representer points at the minimum of λ‖Θ‖² + mean cross-entropy to the model's own probabilities; no bias."""
    x = train_data[0].double().flatten(1)
    soft = torch.softmax(model.model(train_data[0].double()), dim=1).detach()
    theta = model.model.linear.weight.detach().clone().requires_grad_()
    optimizer = torch.optim.LBFGS([theta], max_iter=5000, tolerance_grad=1e-13, tolerance_change=0, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        value = RPS * theta.square().sum() - (soft * torch.log_softmax(x @ theta.T, dim=1)).sum(dim=1).mean()
        value.backward()
        return value

    optimizer.step(loss)
    loss()
    theta_gap = theta.grad.abs().max().item()
    with torch.no_grad():
        alpha = (soft - torch.softmax(x @ theta.T, dim=1)) / (2 * RPS * len(x))
        rebuilt = (alpha.T @ x - theta).abs().max().item()
        scores = alpha[:, test_data[1]].T * (test_data[0].double().flatten(1) @ x.T)
    return scores, f"largest entry of the gradient at the minimum {theta_gap:.0e}, of sum of alpha x - theta {rebuilt:.0e}"


def exact_knn(train_data, test_data):
    x, q = (data[0].double().flatten(1).numpy() for data in (train_data, test_data))
    y, labels = train_data[1].numpy(), test_data[1].numpy()
    scores = np.zeros((len(q), len(x)))
    for j in range(len(q)):
        order = np.argsort(((x - q[j]) ** 2).sum(axis=1), kind="stable")
        match = (y[order] == labels[j]).astype(float)
        value = match[-1] / len(x)
        scores[j, order[-1]] = value
        for i in range(len(x) - 2, -1, -1):
            value += (match[i] - match[i + 1]) / NEIGHBOURS * min(NEIGHBOURS, i + 1) / (i + 1)
            scores[j, order[i]] = value
    return torch.from_numpy(scores)


# ---- peers ----------------------------------------------------------------------------------------------------------


def dattri_trak(name, states, train_data, test_data, projection):
    model = MODELS[name]()

    def margin_of(params, data):
        x, y = (part.unsqueeze(0) for part in data)
        return margin(functional_call(model, params, x), y).sum()

    def probability(params, data):
        x, y = (part.unsqueeze(0) for part in data)
        return functional_call(model, params, x).softmax(1).gather(1, y[:, None]).squeeze()

    p = sum(value.numel() for value in model.parameters())
    made = trak_module.random_project

    def scores(kind, matrix):
        if matrix is not None:
            trak_module.random_project = lambda *_, **__: lambda rows, ensemble_id: rows @ matrix
        task = AttributionTask(loss_func=margin_of, model=model, checkpoints=states)
        attributor = TRAKAttributor(
            task=task, correct_probability_func=probability, projector_kwargs=kind, regularization=DAMPING / p
        )
        attributor.cache(loader(train_data))
        found = attributor.attribute(loader(test_data)).T
        trak_module.random_project = made
        return found

    matrix = torch.from_numpy(projection).float() / K**0.5
    return {
        "identity": scores({"proj_type": "identity"}, None),
        "projected": scores({"proj_type": "identity"}, matrix),
    }


class Fixed(AbstractProjector):
    """Multiplies by one matrix, whatever the checkpoint."""

    def __init__(self, matrix):
        super().__init__(grad_dim=len(matrix), proj_dim=matrix.shape[1], seed=0, proj_type="fixed", device="cpu")
        self.matrix = matrix

    def project(self, grads, model_id):
        if isinstance(grads, dict):
            grads = torch.cat([part.flatten(1) for part in grads.values()], dim=1)
        return grads @ self.matrix


def traker(name, states, train_data, test_data, projection):
    matrix = torch.from_numpy(projection).float() / K**0.5
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        scorer = TRAKer(
            model=MODELS[name](),
            task="image_classification",
            train_set_size=N_TRAIN,
            save_dir=folder,
            device="cpu",
            projector=Fixed(matrix),
            use_half_precision=False,
            lambda_reg=DAMPING / len(matrix),
            logging_level=logging.CRITICAL,
        )
        for index, state in enumerate(states):
            scorer.load_checkpoint(state, model_id=index)
            scorer.featurize(train_data, num_samples=N_TRAIN)
        scorer.finalize_features()
        for index, state in enumerate(states):
            scorer.start_scoring_checkpoint("test", state, model_id=index, num_targets=len(test_data[0]))
            scorer.score(test_data, num_samples=len(test_data[0]))
        return torch.from_numpy(np.array(scorer.finalize_scores("test"))).T


def dattri_layers(name, state, sides, train_data, test_data):
    model = MODELS[name]()

    def loss(model, batch, device):
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    task = AttributionTask(loss_func=loss, model=model, checkpoints=[state])
    identity = {"device": "cpu", "proj_dim": -1, "proj_max_batch_size": 64, "proj_type": "identity"}
    attributor = BlockProjectedIFAttributor(task, damping=LAYER_DAMPING, offload="cpu", projector_kwargs=identity)
    sample = (train_data[0][:2],)
    sketch = {"device": "cpu", "proj_dim": SIDE, "proj_max_batch_size": 64, "proj_type": "normal"}
    attributor.compressors = compressor_module.setup_model_compressors(
        task.get_model(), attributor.layer_names, sketch, identity, sample, "cpu"
    )
    for compressor in attributor.compressors:
        left, right = (torch.from_numpy(part).float() / SIDE**0.5 for part in sides[compressor.name])
        compressor.sparsifier.sparsifier_comp = (
            lambda rows, ensemble_id, left=left: rows @ left,
            lambda rows, ensemble_id, right=right: rows @ right,
        )
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        attributor.cache(loader(train_data))
        return attributor.attribute(loader(train_data), loader(test_data)).T


def dattri_dvemb(name, state, order, train_data, test_data):
    model = MODELS[name]()
    model.load_state_dict(state)

    def loss(params, data):
        x, y = (part.unsqueeze(0) for part in data)
        return nn.functional.cross_entropy(functional_call(model, params, x), y)

    attributor = DVEmbAttributor(AttributionTask(loss_func=loss, model=model, checkpoints=[state]))
    model = attributor.model
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    for step, batch in enumerate(order):
        x, y = train_data[0][batch], train_data[1][batch]
        attributor.cache_gradients(step // 4, (x, y), batch, RATE)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    attributor.cache()
    test_loader = loader(test_data)
    return {"dvemb": attributor.attribute(test_loader).T, "dvemb_epoch2": attributor.attribute(test_loader, epoch=1).T}


def dattri_rps(state, train_data, test_data):
    model = MODELS["logistic"]()
    flat = [(data[0].flatten(1), data[1]) for data in (train_data, test_data)]
    task = AttributionTask(loss_func=nn.functional.cross_entropy, model=model, checkpoints=[state])
    attributor = RPSAttributor(task, final_linear_layer_name="linear", l2_strength=RPS)
    attributor.cache(loader(flat[0]))
    return attributor.attribute(loader(flat[0]), loader(flat[1])).T


def dattri_knn(train_data, test_data):
    flat = [(data[0].flatten(1), data[1]) for data in (train_data, test_data)]
    return KNNShapleyAttributor(k_neighbors=NEIGHBOURS).attribute(loader(flat[0]), loader(flat[1]))


# ---- report ---------------------------------------------------------------------------------------------------------


README = """# Golden files of TRAK and of methods with an attributor of their own

Written by `trak_family.py`; do not edit by hand. They go with the data, the models and the checkpoints of [README.md](README.md): scores
[test, train], positive where the training example helps the test example.

Versions: torch {torch}, dattri {dattri}, traker {traker}, numpy {numpy}, safetensors {safetensors}, Python {python}.
Command, from the repository's root:

    "$(scripts/peers)" tests/golden/trak_family.py

`trak-<model>-<method>-exact.npy` is the brute force in float64; `trak-<model>-<method>.npy`, float32, is a peer's.

## TRAK

f = log p - log(1 - p) of the label; G_c [n, p] its gradients on the training set at checkpoint c, q_c that of a test example, R
[p, k] the projection, w_c = 1 - p of each training example. With both checkpoints, c = 0 and 1:

    score = mean_c [ q_c R (Rᵀ G_cᵀ G_c R + λ)⁻¹ Rᵀ G_cᵀ ] ∘ mean_c w_c,    λ = {damping:g}

| file | meaning |
|---|---|
| `identity` | R = I, by dattri |
| `projection` | the signs of R, int8 [p, {k}]: R = signs / sqrt({k}) at both checkpoints |
| `projected` | with that R, by dattri (its `random_project` replaced) |
| `projected_last` | the same with checkpoint 1 alone: only the exact file |
| `traker` | with that R, by traker (a subclass of its `AbstractProjector`, half precision off) |
| `traker_last` | the same with checkpoint 1 alone |
| `traker_factors` | the two numbers d_c below: only the exact file |

How peers scale. Both divide gradients by sqrt(p), p the number of parameters, so that their matrix is (Rᵀ GᵀG R)/p + λ'. Then
q R/√p ((Rᵀ GᵀG R)/p + λ')⁻¹ Rᵀ Gᵀ/√p = q R (Rᵀ GᵀG R + p λ')⁻¹ Rᵀ Gᵀ: the division is nothing but another unit of λ. Here
λ' = λ/p is given to them, and **dattri's scores need no factor**.

traker also divides the inverse by the mean absolute value d_c of its entries, "to avoid numerical issues", and never multiplies
it back: d_c = mean |((Rᵀ G_cᵀ G_c R)/p + λ/p)⁻¹|. A score of one checkpoint is ours divided by d_c; **of several, each checkpoint's
part is divided by its own d_c**, so that no one factor makes the mean ours, and checkpoints count by how small their inverse is.
`traker-exact` has these divisions written out; `traker_last` times d_1 is `projected_last`.

## A projection for each layer

`layers` (dattri's BlockProjectedIF, whose case with identity second stage is LoGra): for the linear layer ℓ with input a (a one
appended for the bias) and δ the gradient of an example's cross-entropy to the layer's output, the row
g = (R_outᵀ δ) ⊗ (R_inᵀ a), output index first, {rows} numbers; F = mean of g gᵀ over the training set;
score = Σ_ℓ qᵀ (F + λ)⁻¹ g with λ = {layer_damping:g} times the mean eigenvalue of F. At checkpoint 1.
`<layer>-out`, `<layer>-in`: signs of R_out [out, {side}] and R_in [in + 1, {side}], int8; R = signs / sqrt({side}). dattri multiplies the gradient of
the *mean* loss by the batch size again, so its rows are ours: no factor.

## Data value embedding

Training from `<model>-0.safetensors` by plain SGD at rate {rate:g} on the batches of `trak-order.npy` (12 steps, 3 epochs).

| file | meaning |
|---|---|
| `dvemb` | dattri, no projection; exact: V = η/b (G - G Mᵀ), M <- M + Vᵀ G backward over the steps, score q V with q the gradient of the test loss at the end |
| `dvemb_epoch2` | the share of the second epoch |
| `unrolled` | only exact: minus the derivative of the final test loss in the weight of a training example, by automatic differentiation through all steps: what `dvemb` approximates with G Gᵀ for the Hessian |

Correlation (Pearson) of `dvemb-exact` with `unrolled-exact`: {unrolled}.

## Others, on the logistic model

| file | meaning |
|---|---|
| `rps` | representer points, x the pixels: α_i ⟨x_i, x_j⟩ in the column of the test label, α = (y* - softmax(Θx)) / (2 λ n), y* = softmax of the model's outputs, Θ (no bias) at the minimum of λ‖Θ‖² + mean cross-entropy to y*, λ = {rps:g}; {rps_facts} |
| `knn` | KNN-Shapley of the pixels, Euclidean, K = {neighbours} |

dattri's α divides by 2 λ n² (the gradient of a mean holds a 1/n already): multiply its `rps` by n = 60. Its Θ stops where the mean
gradient has shrunk 200-fold, or after 3000 rounds: hence the difference below.

## Peers against the float64 brute force

Difference: max |peer - exact| divided by max |exact| (`rps` after the factor above); correlation: Pearson, over all scores.

| model | file | peer | difference | correlation |
|---|---|---|---|---|
{table}
"""


def main():
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    logging.disable(logging.WARNING)
    source = sys.argv[1] if len(sys.argv) > 1 else HERE.parent.parent / "data" / "digits.csv.gz"
    train_data, test_data = load_digits(source)
    order = torch.from_numpy(np.load(HERE / "trak-order.npy"))
    table, unrolled, rps_facts = [], [], ""

    def store(name, method, values):
        values = values.detach().numpy() if isinstance(values, torch.Tensor) else values
        np.save(HERE / f"trak-{name}-{method}.npy", np.ascontiguousarray(values))

    for key, name in enumerate(make.STEPS):
        states = [load_file(HERE / f"{name}-{c}.safetensors") for c in (0, 1)]
        models = [Exact(name, state) for state in states]
        p = sum(value.numel() for value in models[0].model.parameters())
        projection = signs(p, K, 100 + key)
        store(name, "projection", projection)
        exact = exact_trak(models, train_data, test_data, projection)
        peers = {(method, "dattri"): got for method, got in dattri_trak(name, states, train_data, test_data, projection).items()}
        peers["traker", "traker"] = traker(name, states, train_data, test_data, projection)
        peers["traker_last", "traker"] = traker(name, states[1:], train_data, test_data, projection)
        if name in LINEAR:
            sides = {}
            for at, layer in enumerate(LINEAR[name]):
                out, entered = getattr(models[1].model, layer).weight.shape
                sides[layer] = (signs(out, SIDE, 200 + 10 * key + at), signs(entered + 1, SIDE, 300 + 10 * key + at))
                store(name, f"{layer}-out", sides[layer][0])
                store(name, f"{layer}-in", sides[layer][1])
            exact["layers"] = exact_layers(models[1], sides, train_data, test_data)
            peers["layers", "dattri"] = dattri_layers(name, states[1], sides, train_data, test_data)
            exact |= exact_dvemb(name, states[0], order, train_data, test_data)
            peers |= {(method, "dattri"): got for method, got in dattri_dvemb(name, states[0], order, train_data, test_data).items()}
            pair = torch.stack([exact["dvemb"].flatten(), exact["unrolled"].flatten()])
            unrolled.append(f"{torch.corrcoef(pair)[0, 1].item():.3f} ({name})")
        if name == "logistic":
            exact["rps"], rps_facts = exact_rps(models[1], train_data, test_data)
            peers["rps", "dattri"] = dattri_rps(states[1], train_data, test_data)
            exact["knn"] = exact_knn(train_data, test_data)
            peers["knn", "dattri"] = dattri_knn(train_data, test_data)
        for method, values in exact.items():
            store(name, f"{method}-exact", values)
        for (method, peer), got in peers.items():
            store(name, method, got)
            got, want = got.detach().double() * (N_TRAIN if method == "rps" else 1), exact[method].detach()
            difference = ((got - want).abs().max() / want.abs().max()).item()
            correlation = torch.corrcoef(torch.stack([got.flatten(), want.flatten()]))[0, 1].item()
            table.append(f"| {name} | `{method}` | {peer} | {difference:.1e} | {correlation:.6f} |")
    text = README.format(
        **{package: version(package) for package in ("torch", "dattri", "traker", "numpy", "safetensors")},
        python=platform.python_version(),
        damping=DAMPING,
        k=K,
        rows=SIDE * SIDE,
        side=SIDE,
        layer_damping=LAYER_DAMPING,
        rate=RATE,
        unrolled=", ".join(unrolled),
        rps=RPS,
        rps_facts=rps_facts,
        neighbours=NEIGHBOURS,
        table="\n".join(table),
    )
    (HERE / "TRAK.md").write_text(text)
    print("\n".join(table))


if __name__ == "__main__":
    main()
