"""Runs one named piece of work with dattri or kronfluence (or one measurement of the machine with torch) on the CPU and
prints one JSON line: {"name": ..., "seconds": ..., "peak_rss_mb": ..., "extra": {...}}; extra["peak_above_mb"] is the peak
of the timed part above what was resident before it (Linux only), extra["peer"] says who computed.

    "$(scripts/peers)" benches/peer.py grad_dot_mlp --mnist FOLDER --weights mlp.safetensors --out scores.npy

Settings of dattri are those of its own MNIST benchmark script: batches of 500 train and 500 test examples for the TracIn
family; for the influence family one batch of the whole training set as its documentation advises for `cache`, and the
same for `attribute`, since dattri repeats the inverse-Hessian products for every train batch; smaller test batches where
500 would not fit in memory, the fastest of a few for DataInf (TEST_BATCH). Those of kronfluence: float32, the empirical Fisher, the batch sizes that were
the fastest of a few on two cores (KRONFLUENCE). Models are in evaluation mode; the MLP has no dropout. Only the attribution
is timed (dattri: making the attributor, cache, attribute; kronfluence: wrapping the model, fitting all factors and
computing the scores, with the files that it writes, extra["stages"]), not imports, data or weights. Images are pixel/255,
then (x - 0.1307)/0.3081; the first --n-train and --n-test images are used.

Versions: torch 2.13.0, dattri 0.3.0, kronfluence 1.0.1 (benches/requirements.txt).
"""

import os

os.environ["TQDM_DISABLE"] = "1"

import argparse
import gzip
import json
import logging
import resource
import statistics
import sys
import tempfile
import time
import warnings
from importlib.metadata import version
from pathlib import Path

logging.disable(logging.WARNING)
warnings.filterwarnings("ignore", category=FutureWarning)

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn
from torch.func import functional_call
from torch.utils.data import DataLoader, TensorDataset

import peer_sketch


class Logistic(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(784, 10)

    def forward(self, x):
        return self.linear(x)


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(784, 128)
        self.fc2 = nn.Linear(128, 64)
        self.fc3 = nn.Linear(64, 10)

    def forward(self, x):
        return self.fc3(torch.relu(self.fc2(torch.relu(self.fc1(x)))))


class Cnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 16, 3, padding=1)
        self.fc = nn.Linear(784, 10)

    def forward(self, x):
        x = torch.max_pool2d(torch.relu(self.conv1(x.reshape(-1, 1, 28, 28))), 2)
        x = torch.max_pool2d(torch.relu(self.conv2(x)), 2)
        return self.fc(x.flatten(1))


# Of diagonal, K-FAC and EK-FAC: added to the eigenvalues of the mean Fisher matrix of each layer.
DAMPING = 1e-4
# The scaling must be above the largest eigenvalue of the Hessian. Of 400 batches of 50 of MNIST the largest had 28, all 5000
# examples together 12, at the weights of this model after 3 epochs.
LISSA = {"recursion_depth": 100, "batch_size": 50, "num_repeat": 1, "damping": 0.0, "scaling": 50.0}
# After 50 rounds the 10 largest eigenvalues have converged; the 20th depends on the random start, and dattri's basis is no
# longer orthogonal where small eigenvalues appear.
ARNOLDI = {"max_iter": 50, "proj_dim": 10, "regularization": 0.01}
# Of TRAK: added to the matrix of features, which both peers divide by the number of parameters. traker does not divide its random
# matrix by the root of the dimension.
REGULARIZATION = 2e-2

# name: (model, method, settings)
WORKS = {
    "grad_dot_mlp": (Mlp, "tracin", {}),
    "grad_cos_mlp": (Mlp, "tracin", {"normalized_grad": True}),
    "grad_dot_logistic": (Logistic, "tracin", {}),
    "grad_dot_mlp_exact": (Mlp, "tracin", {"projector_kwargs": {"proj_type": "identity"}}),
    "grad_dot_logistic_exact": (Logistic, "tracin", {"projector_kwargs": {"proj_type": "identity"}}),
    "self_influence_mlp": (Mlp, "tracin_self", {}),
    "influence_explicit_logistic": (Logistic, "IFAttributorExplicit", {"regularization": 0.01}),
    "influence_cg_logistic": (Logistic, "IFAttributorCG", {"regularization": 0.01, "max_iter": 10}),
    # With 1.0 the Hessian is positive definite; conjugate gradients have no meaning on an indefinite one.
    "influence_cg_mlp": (Mlp, "IFAttributorCG", {"regularization": 1.0, "max_iter": 10}),
    "lissa_logistic": (Logistic, "IFAttributorLiSSA", LISSA),
    "arnoldi_logistic": (Logistic, "IFAttributorArnoldi", ARNOLDI),
    "data_inf_logistic": (Logistic, "IFAttributorDataInf", {"regularization": 0.01}),
    "data_inf_mlp": (Mlp, "IFAttributorDataInf", {"regularization": 0.01}),
    "ekfac_dattri_mlp": (Mlp, "IFAttributorEKFAC", {"damping": DAMPING}),
    "ekfac_mlp": (Mlp, "kronfluence", {"strategy": "ekfac"}),
    "ekfac_mlp_short": (Mlp, "kronfluence", {"strategy": "ekfac"}),
    "ekfac_cnn": (Cnn, "kronfluence", {"strategy": "ekfac"}),
    "kfac_mlp": (Mlp, "kronfluence", {"strategy": "kfac"}),
    "diagonal_mlp": (Mlp, "kronfluence", {"strategy": "diagonal"}),
    "trak_mlp": (Mlp, "trak", {"projector_kwargs": {"proj_dim": 512}, "regularization": REGULARIZATION}),
    "trak_exact_mlp": (Mlp, "trak", {"projector_kwargs": {"proj_dim": 512}, "regularization": REGULARIZATION}),
    "traker_mlp": (Mlp, "traker", {"proj_dim": 512, "lambda_reg": 512 * REGULARIZATION}),
    "knn_shapley": (Logistic, "knn_shapley", {"k_neighbors": 5}),
    "representer_logistic": (Logistic, "representer", {"final_linear_layer_name": "linear"}),
}
TEST_BATCH = {"influence_cg_mlp": 50, "data_inf_logistic": 10, "data_inf_mlp": 5}
KRONFLUENCE = {"factors": 250, "query": 500, "train": 250}
MACHINE = ("matmul", "memory")


def read_idx(path, count):
    """The first `count` entries of a gzipped idx file of bytes, flattened to one row each."""
    with gzip.open(path) as file:
        head = file.read(4)
        shape = np.frombuffer(file.read(4 * head[3]), dtype=">u4")
        if count > shape[0]:
            sys.exit(f"{path} has {shape[0]} entries, {count} wanted")
        size = int(np.prod(shape[1:], dtype=np.int64))
        return np.frombuffer(file.read(count * size), dtype=np.uint8).reshape(count, size)


def load_mnist(folder, part, count):
    pixels = torch.tensor(read_idx(folder / f"{part}-images-idx3-ubyte.gz", count), dtype=torch.float32)
    labels = torch.tensor(read_idx(folder / f"{part}-labels-idx1-ubyte.gz", count)[:, 0], dtype=torch.int64)
    return TensorDataset((pixels / 255 - 0.1307) / 0.3081, labels)


def attribution(args):
    """Returns the function to time, and the settings to report. Each peer is imported where it is used: the other's modules
    would lengthen kronfluence's calls of the garbage collector."""
    kind, method, settings = WORKS[args.name]
    if method == "kronfluence":
        return kronfluence(args)
    torch.manual_seed(0)
    model = kind()
    if args.weights:
        model.load_state_dict(load_file(args.weights))
    model.eval()
    checkpoint = {key: value.clone() for key, value in model.state_dict().items()}
    train_data = load_mnist(args.mnist, "train", args.n_train)
    test_data = load_mnist(args.mnist, "t10k", args.n_test)
    if method in peer_sketch.KINDS:
        return peer_sketch.prepare(method, model, checkpoint, train_data, test_data, args, settings)
    import dattri.algorithm
    from dattri.task import AttributionTask

    one_by_one = method in ("tracin", "tracin_self")  # dattri gives TracIn one example, the influence family a batch
    train_batch = min(args.batch if one_by_one else args.n_train, args.n_train)
    test_batch = min(args.batch, TEST_BATCH.get(args.name, args.batch), args.n_test)
    train_loader = DataLoader(train_data, batch_size=train_batch, shuffle=False)
    test_loader = DataLoader(test_data, batch_size=test_batch, shuffle=False)

    def loss(params, data):
        x, y = (part.unsqueeze(0) for part in data) if one_by_one else data
        return nn.functional.cross_entropy(functional_call(model, params, x), y.long())  # LiSSA makes labels float32

    task = AttributionTask(loss_func=loss, model=model, checkpoints=checkpoint)

    def run():
        with torch.no_grad():
            if one_by_one:
                options = {"weight_list": torch.ones(1), "normalized_grad": False} | settings
                attributor = dattri.algorithm.TracInAttributor(task=task, **options)
                if method == "tracin_self":
                    return attributor.self_attribute(train_loader)
                return attributor.attribute(train_loader, test_loader)
            attributor = getattr(dattri.algorithm, method)(task=task, **settings)
            with torch.set_grad_enabled(method == "IFAttributorEKFAC"):  # it calls backward
                attributor.cache(train_loader)
            return attributor.attribute(train_loader, test_loader)

    extra = {
        "n_train": args.n_train,
        "n_test": 0 if method == "tracin_self" else args.n_test,
        "train_batch": train_batch,
        "test_batch": test_batch,
        "weights": "file" if args.weights else "random",
        "dattri": version("dattri"),
        "peer": f"dattri {version('dattri')}",
    }
    return run, extra


def kronfluence(args):
    """As `attribution`. The stages are those of `Analyzer.fit_all_factors`, called one by one to be timed."""
    from kronfluence.analyzer import Analyzer, prepare_model
    from kronfluence.arguments import FactorArguments, ScoreArguments
    from kronfluence.task import Task

    class SummedLoss(Task):  # the sum over the batch, so that its gradients are those of single examples
        def compute_train_loss(self, batch, model, sample=False):
            return nn.functional.cross_entropy(model(batch[0]), batch[1], reduction="sum")

        def compute_measurement(self, batch, model):
            return self.compute_train_loss(batch, model)

    kind, _, settings = WORKS[args.name]
    train_data = load_mnist(args.mnist, "train", args.n_train)
    test_data = load_mnist(args.mnist, "t10k", args.n_test)
    weights = load_file(args.weights) if args.weights else None
    sizes = {key: min(size, args.n_test if key == "query" else args.n_train) for key, size in KRONFLUENCE.items()}
    factors = {"factor_args": FactorArguments(use_empirical_fisher=True, **settings)}
    fitting = factors | {"dataset": train_data, "per_device_batch_size": sizes["factors"]}
    batches = {"per_device_query_batch_size": sizes["query"], "per_device_train_batch_size": sizes["train"]}
    stages = {}

    def stage(name, function, *options, **named):
        start = time.perf_counter()
        function(*options, **named)
        stages[name] = round(time.perf_counter() - start, 4)

    def run():
        torch.manual_seed(0)
        model, task = kind(), SummedLoss()
        if weights is not None:
            model.load_state_dict(weights)
        model = prepare_model(model, task)
        with tempfile.TemporaryDirectory() as folder:
            analyzer = Analyzer("bench", model, task, cpu=True, disable_tqdm=True, output_dir=folder)
            stage("covariance", analyzer.fit_covariance_matrices, "factors", **fitting)
            stage("eigendecomposition", analyzer.perform_eigendecomposition, "factors", **factors)
            stage("lambda", analyzer.fit_lambda_matrices, "factors", **fitting)
            score = {"query_dataset": test_data, "train_dataset": train_data} | batches
            score["score_args"] = ScoreArguments(damping_factor=DAMPING)
            stage("scores", analyzer.compute_pairwise_scores, "scores", "factors", **score)
            return analyzer.load_pairwise_scores("scores")["all_modules"].T

    extra = {
        "n_train": args.n_train,
        "n_test": args.n_test,
        "train_batch": sizes["train"],
        "test_batch": sizes["query"],
        "factor_batch": sizes["factors"],
        "weights": "file" if args.weights else "random",
        "dattri": version("dattri"),
        "peer": f"kronfluence {version('kronfluence')}",
        "stages": stages,
    }
    return run, extra


def machine(name):
    if name == "matmul":
        a, b = torch.rand(2048, 2048), torch.rand(2048, 2048)
        return (lambda: a @ b), lambda seconds: {"gflops": 2 * 2048**3 / seconds / 1e9}
    source, target = torch.ones(1 << 27), torch.ones(1 << 27)  # 512 MiB each, one read and one written
    return (lambda: target.copy_(source)), lambda seconds: {"gb_per_s": 2 * 4 * 2**27 / seconds / 1e9}


def timed(run, repeat):
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        result = run()
        seconds.append(time.perf_counter() - start)
    return result, seconds


def peak_rss_mb():
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def resident_mb(field):
    """A field of Linux's account of this process; None where there is none."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) / 2**10 for line in lines if line.startswith(field + ":"))
    except (OSError, StopIteration):
        return None


def reset_peak():
    """Sets the peak of this process to what is resident now; returns that, or None where Linux does not tell."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return resident_mb("VmRSS")
    except OSError:
        return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=[*WORKS, *MACHINE])
    parser.add_argument("--mnist", type=Path, help="folder with the four idx.gz files of MNIST")
    parser.add_argument("--n-train", type=int, default=5000)
    parser.add_argument("--n-test", type=int, default=500)
    parser.add_argument("--weights", help="safetensors file with the model's parameters by name (default: random ones)")
    parser.add_argument("--out", help="where to write the scores as .npy, [n_test, n_train] (self-influence: [n_train])")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=500, help="largest batch size of the TracIn family and of the test side")
    parser.add_argument("--repeat", type=int, default=1, help="the median of this many runs is `seconds`")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    if args.name in MACHINE:
        run, rate = machine(args.name)
        run()
        _, seconds = timed(run, max(args.repeat, 5))
        extra = rate(statistics.median(seconds))
    else:
        if args.mnist is None:
            parser.error("this work needs --mnist")
        run, extra = attribution(args)
        before = reset_peak()
        scores, seconds = timed(run, args.repeat)
        extra["peak_above_mb"] = None if before is None else round(resident_mb("VmHWM") - before, 1)
        scores = scores.detach().cpu().numpy()
        extra["finite"] = bool(np.isfinite(scores).all())
        if args.out:
            np.save(args.out, np.ascontiguousarray(scores.T))
    extra |= {"runs": [round(s, 4) for s in seconds], "threads": args.threads, "torch": torch.__version__}
    line = {
        "name": args.name,
        "seconds": round(statistics.median(seconds), 4),
        "peak_rss_mb": round(peak_rss_mb(), 1),
        "extra": extra,
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
