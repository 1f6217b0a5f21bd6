"""dattri 0.3.0 on our weights and our truth: the numbers of the peer that notebook 4 quotes where a row differs from dattri's bars.

    ASCRIBE_DATA=FOLDER cargo run --example ground_truth -- data/published WEIGHTS
    "$(scripts/peers)" benches/published.py cg --mnist FOLDER/mnist --weights WEIGHTS

`cg`: conjugate gradients on the MLP, 10 iterations from the gradient itself, for every eighth test image: LDS by damping.
`trak`: TRAK of 1 and 10 networks of halves on the regression, 512 projections: LDS.
`representer`: self-influence of representer points where every tenth label is wrong: AUC of finding these, for the model's own probabilities as
dattri 0.3.0 fits them, and for the labels.
`without`: the regression trained in dattri's way without every twentieth image, no shuffling, the gap closed up: how this truth agrees with ours,
`logistic-without.npy`, which keeps the batches.

Images, networks and training are those of the notebook; the first 5,000 training and 500 test images. The halves are those of `WEIGHTS/masks.npy`,
what networks trained on them say is in `data/published`. Versions: torch 2.13.0, dattri 0.3.0 (benches/requirements.txt).
"""

import os

os.environ["TQDM_DISABLE"] = "1"
os.environ["TORCHDYNAMO_DISABLE"] = "1"  # dattri compiles its projections

import argparse
from pathlib import Path

import numpy as np
import torch
from dattri.algorithm import IFAttributorCG, TRAKAttributor
from dattri.algorithm.utils import rps_finetune_theta
from dattri.task import AttributionTask
from peer import Logistic, Mlp, load_mnist
from peer_sketch import explained
from safetensors.torch import load_file
from scipy.stats import rankdata, spearmanr
from torch import nn
from torch.func import functional_call
from torch.utils.data import DataLoader, Subset, TensorDataset

TRUTH = Path(__file__).resolve().parent.parent / "data" / "published"


def lds(scores, truth, masks):
    """Mean rank correlation of summed scores `[m, n]` and the truth `[halves, m]` over halves `[halves, n]`."""
    predicted = scores @ masks.T
    return np.mean([spearmanr(predicted[j], truth[:, j]).statistic for j in range(len(predicted))])


def auc(scores, planted):
    ranks, count = rankdata(scores), planted.sum()
    return (ranks[planted].sum() - count * (count + 1) / 2) / (count * (len(planted) - count))


def network(kind, file):
    model = kind()
    model.load_state_dict(load_file(file))
    return model.eval()


def cg(args, train, test):
    model = network(Mlp, args.weights / "mlp.safetensors")
    truth = np.load(TRUTH / "mlp-halves.npy")[:, 0, ::8].astype(float)

    def loss(params, data):
        return nn.functional.cross_entropy(functional_call(model, params, data[0]), data[1])

    task = AttributionTask(loss_func=loss, model=model, checkpoints=dict(model.state_dict()))
    train = DataLoader(train, batch_size=len(train))
    some = DataLoader(Subset(test, range(0, len(test), 8)), batch_size=9)
    for damping in args.dampings:
        attributor = IFAttributorCG(task=task, max_iter=10, regularization=damping)
        attributor.cache(train)
        with torch.no_grad():
            scores = attributor.attribute(train, some).T.numpy()
        np.save(args.weights / f"dattri-cg-{damping}.npy", scores)
        print(f"cg, damping {damping}: LDS {lds(scores, truth, args.masks):.3f}", flush=True)


def trak(args, train, test):
    truth = np.load(TRUTH / "logistic-halves.npy")[:, 0].astype(float)
    model = Logistic()
    checkpoints = [load_file(args.weights / f"logistic-half-{half}.safetensors") for half in range(10)]

    margin, probability = explained(model)
    for count in (1, 10):
        task = AttributionTask(loss_func=margin, model=model, checkpoints=checkpoints[:count])
        attributor = TRAKAttributor(task=task, correct_probability_func=probability, projector_kwargs={"proj_dim": 512})
        with torch.no_grad():
            attributor.cache(DataLoader(train, batch_size=500))
            scores = attributor.attribute(DataLoader(test, batch_size=500)).T.numpy()
        print(f"TRAK-{count}: LDS {lds(scores, truth, args.masks):.3f}", flush=True)


def flipped(train):
    """Every tenth label, chosen at random, becomes another."""
    draw = np.random.default_rng(0)
    x, y = train.tensors
    planted, noisy = np.zeros(len(y), dtype=bool), y.clone()
    planted[draw.choice(len(y), len(y) // 10, replace=False)] = True
    for at in np.flatnonzero(planted):
        noisy[at] = int(draw.choice([label for label in range(10) if label != int(y[at])]))
    return x, noisy, planted


def trained(kind, x, y):
    """By the recipes of dattri's benchmark; the MLP with its dropout."""
    torch.manual_seed(0)
    model = kind()
    if kind is Mlp:
        body = nn.Sequential(model.fc1, nn.ReLU(), nn.Dropout(0.1), model.fc2, nn.ReLU(), nn.Dropout(0.1), model.fc3)
        epochs, batch, optimizer = 50, 64, torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    else:
        body, epochs, batch, optimizer = model.linear, 20, 32, torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(epochs):
        for inputs, labels in DataLoader(TensorDataset(x, y), batch_size=batch, shuffle=True):
            optimizer.zero_grad()
            nn.functional.cross_entropy(body(inputs), labels).backward()
            optimizer.step()
    return model.eval()


def optimum(x, target, strength, start):
    weight = start.double().requires_grad_()
    solver = torch.optim.LBFGS([weight], max_iter=2000, tolerance_grad=1e-9, tolerance_change=0, line_search_fn="strong_wolfe", history_size=50)

    def loss():
        solver.zero_grad()
        value = strength * weight.square().sum() + nn.functional.cross_entropy(x.double() @ weight.T, target.double())
        value.backward()
        return value

    solver.step(loss)
    return weight.detach().float()


def representer(args, train, _):
    x, noisy, planted = flipped(train)
    rows = torch.arange(len(x))
    for name, kind in (("logistic", Logistic), ("mlp", Mlp)):
        model = trained(kind, x, noisy)
        with torch.no_grad():
            features = x if kind is Logistic else torch.relu(model.fc2(torch.relu(model.fc1(x))))
            outputs = model(x)
        last = model.linear if kind is Logistic else model.fc3
        for strength in args.dampings:
            own = outputs.softmax(1)
            fitted = rps_finetune_theta(features, outputs, last.weight.data.clone(), nn.functional.cross_entropy, strength, 3000).detach()
            alpha = own - (features @ fitted.T).softmax(1)
            told = [f"dattri's alpha {auc(alpha[rows, noisy], planted):.3f}, its size {auc(alpha[rows, noisy].abs(), planted):.3f}"]
            for which, some in (("", features), (", unit features", nn.functional.normalize(features))):
                weight = optimum(some, nn.functional.one_hot(noisy, 10), strength, last.weight.data)
                told.append(f"of labels{which} {auc(1 - (some @ weight.T).softmax(1)[rows, noisy], planted):.3f}")
            print(f"representer, {name}, strength {strength}: " + "; ".join(told), flush=True)


def without(args, train, test):
    ours = np.load(TRUTH / "logistic-without.npy").astype(float)
    (x, y), n = train.tensors, len(train)
    out = torch.tensor([*range(0, n, 20), n])  # the last leaves none out
    torch.manual_seed(0)
    start = nn.Linear(784, 10)
    weight, bias = (part.detach().expand(len(out), *part.shape).clone() for part in (start.weight, start.bias))
    sizes = torch.where(out < n, n - 1, n)
    for _ in range(20):
        for first in range(0, n, 32):
            at = torch.arange(first, min(first + 32, n)).expand(len(out), -1)
            batch = (at + (at >= out[:, None])).clamp(max=n - 1)
            inside = (at < sizes[:, None]).float()
            slopes = torch.baddbmm(bias[:, None], x[batch], weight.transpose(1, 2)).softmax(2)
            slopes.scatter_add_(2, y[batch][:, :, None], -torch.ones(*batch.shape, 1))
            slopes *= (inside / inside.sum(1, keepdim=True))[:, :, None]
            weight -= 0.01 * slopes.transpose(1, 2) @ x[batch]
            bias -= 0.01 * slopes.sum(1)
    queries, labels = test.tensors
    likelihood = (queries @ weight.transpose(1, 2) + bias[:, None]).log_softmax(2)
    likelihood = likelihood.gather(2, labels.expand(len(out), -1)[:, :, None]).squeeze(2)
    theirs = (likelihood[-1] - likelihood[:-1]).T.numpy()
    np.save(args.weights / "logistic-without-closed-up.npy", theirs)
    print(f"the two truths: Pearson {np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(ours, theirs)]):.3f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    works = {work.__name__: work for work in (cg, trak, representer, without)}
    parser.add_argument("work", choices=works)
    parser.add_argument("--mnist", type=Path, required=True, help="folder with the four idx.gz files of MNIST")
    parser.add_argument("--weights", type=Path, required=True, help="folder that examples/ground_truth.rs wrote")
    parser.add_argument("--dampings", type=float, nargs="+", help="of cg and representer")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    args.dampings = args.dampings or ([0.1, 0.01, 0.005, 1e-3] if args.work == "cg" else [1, 0.1, 0.01, 1e-3, 1e-4])
    args.masks = np.load(args.weights / "masks.npy").astype(np.float32)
    torch.set_num_threads(args.threads)
    works[args.work](args, load_mnist(args.mnist, "train", 5000), load_mnist(args.mnist, "t10k", 500))


if __name__ == "__main__":
    main()
