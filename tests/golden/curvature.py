"""Writes the golden files of the curvature methods beside those of make.py: approximations of the Hessian and the ways to
invert them, by other software in float32 and by brute force in float64. CURVATURE.md in this folder is written by this
script too: the meaning of each file, the exact settings and the measured differences.

Uses the checkpoints `<model>-1.safetensors` that make.py wrote and does not touch them; trains one more network,
`cnn_plain`, the CNN without groups, and writes its checkpoint.

Versions: torch 2.13.0, dattri 0.3.0, kronfluence 1.0.1, numpy 2.3.5, safetensors 0.6.2 (benches/requirements.txt).

Command, from the repository's root:

    "$(scripts/peers)" tests/golden/curvature.py [data/digits.csv.gz]
"""

import make  # first: it silences progress bars and logs

import logging
import platform
import sys
import tempfile
import warnings
from importlib.metadata import version

import numpy as np
import torch
from dattri.algorithm import (
    IFAttributorArnoldi,
    IFAttributorDataInf,
    IFAttributorEKFAC,
    IFAttributorExplicit,
    IFAttributorLiSSA,
)
from dattri.task import AttributionTask
from kronfluence.analyzer import Analyzer, prepare_model
from kronfluence.arguments import FactorArguments, ScoreArguments
from kronfluence.task import Task
from make import HERE, MODELS, N_TEST, N_TRAIN, Exact, loader
from safetensors.torch import load_file
from torch import nn
from torch.func import functional_call
from torch.utils.data import TensorDataset

EXPLICIT = make.EXPLICIT_REGULARIZATION | {"cnn_plain": 1.0}  # of the Hessian, the Gauss-Newton matrix and RelatIF
FISHER = {"logistic": 0.01, "mlp": 0.01, "cnn": 0.01, "cnn_plain": 0.01}  # of the empirical Fisher matrix
DATA_INF = {"logistic": 0.1, "mlp": 0.1, "cnn": 0.1, "cnn_plain": 0.1}
KRONECKER = 0.01  # fixed damping of diagonal, K-FAC and EK-FAC
HEURISTIC = 0.1  # else this times the mean eigenvalue of the layer
ARNOLDI = {"regularization": 0.01, "max_iter": 651}
ARNOLDI_TOP = 10
LISSA = {"recursion_depth": 200, "damping": 0.01, "scaling": 5.0}


class CnnPlain(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, padding=1)
        self.conv2 = nn.Conv2d(4, 8, 3, padding=1)
        self.fc = nn.Linear(32, 10)

    forward = make.Cnn.forward


MODELS["cnn_plain"] = CnnPlain
make.STEPS["cnn_plain"] = make.STEPS["cnn"]


# ---- float64 brute force --------------------------------------------------------------------------------------------


def solve(matrix, damping, q, g):
    identity = torch.eye(len(matrix), dtype=torch.float64)
    return torch.linalg.solve(matrix + damping * identity, q.T).T @ g.T


def gauss_newton(model, data):
    """Mean over `data` of Jᵀ (diag(p) - p pᵀ) J with J the Jacobian of the outputs and p their softmax."""
    named = dict(model.model.named_parameters())
    total = 0
    for x in data[0].double():
        jacobian = torch.func.jacrev(lambda parts: functional_call(model.model, parts, x[None])[0])(named)
        j = torch.cat([part.flatten(1) for part in jacobian.values()], dim=1).detach()
        p = torch.softmax(model.model(x[None])[0], dim=0).detach()
        total = total + j.T @ (torch.diag(p) - torch.outer(p, p)) @ j
    return total / len(data[0])


def spans(model):
    """Where each module's parameters lie in a row of gradients: name, first, end."""
    found, offset = {}, 0
    for name, value in model.model.named_parameters():
        module = name.rsplit(".", 1)[0]
        found[module] = (found.get(module, (offset,))[0], offset + value.numel())
        offset += value.numel()
    return [(name, *span) for name, span in found.items()]


def data_inf(model, damping, g, q):
    total = 0
    for _, first, end in spans(model):
        a, b = g[:, first:end], q[:, first:end]
        weights = 1 / (damping + (a * a).sum(dim=1))
        total = total + (b - (b @ a.T * weights) @ a / len(a)) @ a.T / damping
    return total


def lissa(h, q, g):
    estimate = q
    for _ in range(LISSA["recursion_depth"]):
        estimate = q + (1 - LISSA["damping"]) * estimate - estimate @ h / LISSA["scaling"]
    return estimate @ g.T / LISSA["scaling"]


def arnoldi_top(h, q, g):
    """The eigenpairs of largest magnitude alone, all of them positive."""
    values, vectors = torch.linalg.eigh(h + ARNOLDI["regularization"] * torch.eye(len(h), dtype=torch.float64))
    values, vectors = values[-ARNOLDI_TOP:], vectors[:, -ARNOLDI_TOP:]
    return (q @ vectors / values) @ (g @ vectors).T


def factors(model, data):
    """By module (by group of a convolution): inputs with a one appended, [n, t, in + 1], and gradients of each example's
    loss to the outputs, [n, t, out]; t is the number of output positions."""
    x, y = data[0].double(), data[1]
    seen, handles = {}, []

    def hook(name, module, inputs, output):
        output.retain_grad()
        seen[name] = (module, inputs[0].detach(), output)

    for name, module in model.model.named_modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            handles.append(module.register_forward_hook(lambda *rest, name=name: hook(name, *rest)))
    nn.functional.cross_entropy(model.model(x), y, reduction="sum").backward()
    for handle in handles:
        handle.remove()
    out = []
    for name, (module, entered, left) in seen.items():
        groups = 1 if isinstance(module, nn.Linear) else module.groups
        for part, delta in zip(entered.chunk(groups, dim=1), left.grad.chunk(groups, dim=1)):
            if isinstance(module, nn.Linear):
                a, delta = part[:, None], delta[:, None]
            else:
                options = {key: getattr(module, key) for key in ("dilation", "padding", "stride")}
                a = nn.functional.unfold(part, module.kernel_size, **options).mT
                delta = delta.flatten(2).mT
            out.append((torch.cat([a, torch.ones(*a.shape[:2], 1).double()], dim=2), delta))
    return out


def kronecker_scores(method, train, test, damping, times_positions=False):
    """Returns scores [test, train] and of each training example for itself; `damping` None: the heuristic."""
    pairs, own = 0, 0
    for (a, delta), (b, eta) in zip(train, test):
        g, q = delta.mT @ a, eta.mT @ b  # [n, out, in + 1]
        if method == "diagonal":
            values = (g * g).mean(dim=0)
        else:
            flat_a, flat_delta = a.flatten(0, 1), delta.flatten(0, 1)
            value_a, basis_a = torch.linalg.eigh(flat_a.T @ flat_a / len(flat_a))
            value_s, basis_s = torch.linalg.eigh(flat_delta.T @ flat_delta / len(flat_delta))
            g, q = basis_s.T @ g @ basis_a, basis_s.T @ q @ basis_a
            values = torch.outer(value_s, value_a) if method == "kfac" else (g * g).mean(dim=0)
            if times_positions:
                values = values * a.shape[1]
        values = values + (HEURISTIC * values.mean() if damping is None else damping)
        pairs = pairs + (q / values).flatten(1) @ g.flatten(1).T
        own = own + (g * g / values).flatten(1).sum(dim=1)
    return pairs, own


def exact_scores(name, model, train_data, test_data):
    """Scores by method in float64, and numbers worth writing down."""
    g, q = model.gradients(train_data), model.gradients(test_data)
    h = model.hessian(train_data)
    h = (h + h.T) / 2
    ggn, fisher = gauss_newton(model, train_data), g.T @ g / len(g)
    damped = h + EXPLICIT[name] * torch.eye(len(h), dtype=torch.float64)
    inverse_g = torch.linalg.solve(damped, g.T).T
    explicit = q @ inverse_g.T
    out = {
        "influence_gauss_newton": solve(ggn, EXPLICIT[name], q, g),
        "influence_empirical_fisher": solve(fisher, FISHER[name], q, g),
        "data_inf": data_inf(model, DATA_INF[name], g, q),
        "relatif_l": explicit / (g * inverse_g).sum(dim=1).sqrt(),
        "relatif_theta": explicit / inverse_g.norm(dim=1),
    }
    if name == "logistic":
        out["arnoldi"] = solve(h, ARNOLDI["regularization"], q, g)
        out[f"arnoldi_top{ARNOLDI_TOP}"] = arnoldi_top(h, q, g)
        out["lissa"] = lissa(h, q, g)
    train, test = factors(model, train_data), factors(model, test_data)
    check = sum(torch.einsum("qoi,noi->qn", eta.mT @ b, delta.mT @ a) for (a, delta), (b, eta) in zip(train, test))
    assert (check - q @ g.T).abs().max() < 1e-10, "the factors do not give the gradients"
    for method in ("diagonal", "kfac", "ekfac"):
        out[method], own = kronecker_scores(method, train, test, KRONECKER)
        if method == "ekfac":
            out["ekfac_self"] = own
        if name != "cnn":
            out[f"{method}_heuristic"], _ = kronecker_scores(method, train, test, None)
    if name.startswith("cnn"):
        out["kfac_positions"], _ = kronecker_scores("kfac", train, test, KRONECKER, times_positions=True)
    facts = [torch.linalg.eigvalsh(matrix) for matrix in (h, ggn, fisher)]
    return out, [f"{values[0].item():.1e} to {values[-1].item():.2g}" for values in facts]


# ---- dattri ---------------------------------------------------------------------------------------------------------


def dattri_task(name, state):
    """LiSSA turns every tensor of a batch to float32, labels too: the loss turns them back."""
    model = MODELS[name]()
    model.load_state_dict(state)

    def loss(params, data):
        return nn.functional.cross_entropy(functional_call(model, params, data[0]), data[1].long())

    return AttributionTask(loss_func=loss, model=model, checkpoints=[state])


def dattri_scores(name, state, train_data, test_data):
    train_loader, test_loader = loader(train_data), loader(test_data)

    def scores(method, settings, **options):
        attributor = method(dattri_task(name, state), **settings)
        attributor.cache(train_loader)
        return attributor.attribute(train_loader, test_loader, **options).T.detach()

    explicit = {"regularization": EXPLICIT[name]}
    out = {
        "data_inf": scores(IFAttributorDataInf, {"regularization": DATA_INF[name]}),
        "relatif_l": scores(IFAttributorExplicit, explicit, relatif_method="l"),
        "relatif_theta": scores(IFAttributorExplicit, explicit, relatif_method="theta"),
    }
    if name == "logistic":
        out["arnoldi"] = scores(IFAttributorArnoldi, ARNOLDI | {"proj_dim": ARNOLDI["max_iter"]})
        out["arnoldi_30"] = scores(IFAttributorArnoldi, ARNOLDI | {"max_iter": 30, "proj_dim": 30})
        out[f"arnoldi_top{ARNOLDI_TOP}"] = scores(IFAttributorArnoldi, ARNOLDI | {"proj_dim": ARNOLDI_TOP})
        out["lissa"] = scores(IFAttributorLiSSA, LISSA | {"batch_size": N_TRAIN, "num_repeat": 1})
    if name in ("logistic", "mlp"):
        out["ekfac_dattri"] = scores(IFAttributorEKFAC, {"damping": KRONECKER})
    return out


# ---- kronfluence ----------------------------------------------------------------------------------------------------


class SummedLoss(Task):
    """kronfluence wants the sum of the losses of a batch, so that its gradients are those of single examples."""

    def compute_train_loss(self, batch, model, sample=False):
        return nn.functional.cross_entropy(model(batch[0]), batch[1], reduction="sum")

    def compute_measurement(self, batch, model):
        return self.compute_train_loss(batch, model)


def kronfluence_scores(name, state, train_data, test_data):
    train, test = TensorDataset(*train_data), TensorDataset(*test_data)
    model = MODELS[name]()
    model.load_state_dict(state)
    task = SummedLoss()
    model = prepare_model(model, task)
    out = {}
    with tempfile.TemporaryDirectory() as folder:
        analyzer = Analyzer("golden", model, task, cpu=True, disable_tqdm=True, output_dir=folder)
        for method in ("diagonal", "kfac", "ekfac"):
            arguments = FactorArguments(strategy=method, use_empirical_fisher=True)
            analyzer.fit_all_factors(method, train, per_device_batch_size=N_TRAIN, factor_args=arguments)
            for key, damping in ((method, KRONECKER), (f"{method}_heuristic", None)):
                settings = ScoreArguments(damping_factor=damping)
                sizes = {"per_device_query_batch_size": N_TEST, "per_device_train_batch_size": N_TRAIN}
                analyzer.compute_pairwise_scores(key, method, test, train, score_args=settings, **sizes)
                out[key] = analyzer.load_pairwise_scores(key)["all_modules"]
        settings = ScoreArguments(damping_factor=KRONECKER)
        analyzer.compute_self_scores("self", "ekfac", train, per_device_train_batch_size=N_TRAIN, score_args=settings)
        out["ekfac_self"] = analyzer.load_self_scores("self")["all_modules"]
    return out


# ---- report ---------------------------------------------------------------------------------------------------------


README = """# Golden files of the curvature methods

Written by `curvature.py`; do not edit by hand. They go with the data, the models and the checkpoints of
[README.md](README.md): all scores are those at `<model>-1.safetensors`, [test, train], positive where the training example
lowers the loss of the test example.

Versions: torch {torch}, dattri {dattri}, kronfluence {kronfluence}, numpy {numpy}, safetensors {safetensors}, Python {python}.
Command, from the repository's root:

    "$(scripts/peers)" tests/golden/curvature.py

`cnn_plain` is `cnn` with groups 1 in its second convolution, trained in the same way. `<model>-<method>-exact.npy` is the
brute force in float64; `<model>-<method>.npy`, float32, is a peer's and exists only where the peer computes the same thing.

Notation: gᵢ, qⱼ the gradients of the loss of single train and test examples, n train examples, H the Hessian of the mean loss,
I the identity.

## Methods of the whole matrix

| file | peer | meaning |
|---|---|---|
| `influence_gauss_newton` | none | qᵀ (C + λI)⁻¹ g, C = mean of Jᵀ (diag(p) - p pᵀ) J, J the Jacobian of the outputs, p = softmax(outputs); λ = {explicit} |
| `influence_empirical_fisher` | none | the same with C = mean of gᵢ gᵢᵀ; λ = {fisher} |
| `data_inf` | dattri | sum over modules (weight and bias together) of qᵀ T(g), T(v) = mean over i of (v - gᵢ gᵢᵀv / (λ + gᵢᵀgᵢ)) / λ; λ = {data_inf} |
| `relatif_l` | dattri | s / sqrt(gᵀ (H + λI)⁻¹ g), s = qᵀ (H + λI)⁻¹ g; λ as for `influence_gauss_newton` |
| `relatif_theta` | dattri | s / norm((H + λI)⁻¹ g), g the training example in both |
| `arnoldi` | none | logistic: qᵀ (H + {arnoldi}I)⁻¹ g, what all Krylov steps must give (dense solve) |
| `arnoldi_top{top}` | dattri | logistic: the same from the {top} largest eigenvalues of H + {arnoldi}I alone |
| `lissa` | dattri | logistic: h/{scaling:g} after {depth} rounds of h <- q + (1 - {damping:g}) h - H h / {scaling:g} from h = q, H of the full batch in every round; the limit would be (H + {product:g}I)⁻¹ q |

## Kronecker-factored methods

`diagonal`, `kfac`, `ekfac`: empirical Fisher (true labels), one block for each Linear or Conv2d module. `a` is the module's input
with a one appended for the bias (for a convolution: the unfolded input of each output position t, T positions in all), `d`
the gradient of one example's loss to the module's output. Gᵢ = sum over t of d aᵀ, [out, in + 1], is the gradient of example i.

- A = mean over examples and positions of a aᵀ = Qa diag(la) Qaᵀ, S = mean over examples and positions of d dᵀ = Qs diag(ls) Qsᵀ.
- `kfac`: L = ls laᵀ. `ekfac`: L = mean over examples of (Qsᵀ Gᵢ Qa)², entrywise. `diagonal`: the same with Qs = Qa = I.
- Score: sum over modules of <Qs [(Qsᵀ V Qa) / (L + λ)] Qaᵀ, G>, V of the test and G of the train example.
- λ = {kronecker}; with `_heuristic`: {heuristic} times the mean of L, for each module by itself.
- `ekfac_self`: each training example for itself, λ = {kronecker}.
- `kfac_positions` (CNNs): L = T ls laᵀ as in Grosse & Martens 2016 (A a sum over positions, S a mean), λ = {kronecker}. `kfac` as
  above, without T, is kronfluence's normalisation. EK-FAC is the same in both. Without convolutions T = 1.
- `cnn`: each group of a convolution is a module of its own, from its own input channels to its own output channels. No peer file:
  kronfluence averages the input over the groups, so that its Gᵢ are not the gradients (the table has the differences).

kronfluence (peer of all of these but `kfac_positions`): the training loss is the *sum* over the batch, so that its `d` belong to
single examples, as here; A and S are sums over examples and positions, both divided by their count (n T) before the
eigendecomposition in float64; its L of EK-FAC and of the diagonal is a sum of squares divided by n; `damping_factor` is added
to L after these divisions, that is to the eigenvalues of the *mean* Fisher matrix, and None means {heuristic} times the mean of L
of each module. Its scores need no factor and no sign to be ours. Everything in float32 but the eigendecompositions.

## Peers against the float64 brute force

Difference: max |peer - exact| divided by max |exact|; correlation: Pearson, over all scores.

| model | method | peer | difference | correlation | verdict |
|---|---|---|---|---|---|
{table}

`ekfac` of dattri multiplies with the eigenvectors where their transposes belong and appends the flattened bias gradient to the
flattened weight gradient before it makes a matrix of both, so its columns are not those of the factors.
`arnoldi` of dattri orthogonalises once, in float32: from about 30 rounds on its basis is not orthogonal on this problem, small
eigenvalues are wrong or negative, and their square roots NaN. The largest eigenvalues are still right.

## Eigenvalues, smallest to largest

| model | H | Gauss-Newton | empirical Fisher |
|---|---|---|---|
{eigenvalues}
"""


def verdict(name, method, difference):
    if difference <= 1e-4:
        return make.verdict(difference)
    if name == "cnn" and method.startswith(("diagonal", "kfac", "ekfac")):
        return "differ: groups of a convolution are averaged by the peer"
    return "differ: the float64 file is right"


def main():
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    logging.disable(logging.WARNING)
    source = sys.argv[1] if len(sys.argv) > 1 else HERE.parent.parent / "data" / "digits.csv.gz"
    train_data, test_data = make.load_digits(source)
    make.train("cnn_plain", train_data)
    (HERE / "cnn_plain-0.safetensors").unlink()  # no method here uses it
    table, eigenvalues = [], []
    for name in MODELS:
        state = load_file(HERE / f"{name}-1.safetensors")
        exact, facts = exact_scores(name, Exact(name, state), train_data, test_data)
        eigenvalues.append(" | ".join([f"| {name}", *facts]) + " |")
        for method, scores in exact.items():
            np.save(HERE / f"{name}-{method}-exact.npy", np.ascontiguousarray(scores.detach().numpy()))
        peers = {"dattri": dattri_scores, "kronfluence": kronfluence_scores}
        for peer, function in peers.items():
            for method, got in function(name, state, train_data, test_data).items():
                want = exact.get({"ekfac_dattri": "ekfac", "arnoldi_30": "arnoldi"}.get(method, method))
                if want is None:
                    continue
                difference = ((got.double() - want).abs().max() / want.abs().max()).item()
                pair = torch.stack([got.double().flatten(), want.flatten()])
                correlation = torch.corrcoef(pair)[0, 1].item()
                label = {"ekfac_dattri": "`ekfac`", "arnoldi_30": "`arnoldi`, 30 rounds"}.get(method, f"`{method}`")
                cells = [name, label, peer, f"{difference:.1e}", f"{correlation:.4f}", verdict(name, method, difference)]
                table.append("| " + " | ".join(cells) + " |")
                if difference <= 1e-4:
                    np.save(HERE / f"{name}-{method}.npy", np.ascontiguousarray(got.numpy()))

    def named(values):
        return ", ".join(f"{value:g} ({name})" for name, value in values.items())

    text = README.format(
        **{package: version(package) for package in ("torch", "dattri", "kronfluence", "numpy", "safetensors")},
        python=platform.python_version(),
        explicit=named(EXPLICIT),
        fisher=named(FISHER),
        data_inf=named(DATA_INF),
        arnoldi=ARNOLDI["regularization"],
        top=ARNOLDI_TOP,
        depth=LISSA["recursion_depth"],
        damping=LISSA["damping"],
        scaling=LISSA["scaling"],
        product=LISSA["damping"] * LISSA["scaling"],
        kronecker=KRONECKER,
        heuristic=HEURISTIC,
        table="\n".join(table),
        eigenvalues="\n".join(eigenvalues),
    )
    (HERE / "CURVATURE.md").write_text(text)
    print("\n".join(table))


if __name__ == "__main__":
    main()
