"""TRAK by dattri and by traker, KNN-Shapley and representer points by dattri: what `peer.py` runs for these names.

TRAK: projections to 512 numbers, one checkpoint, float32 features, batches of 500; dattri projects in batches of 32, its default for
TRAK.
"""

import tempfile
from importlib.metadata import version

import torch
from torch import nn
from torch.func import functional_call
from torch.utils.data import DataLoader


def logits_margin(logits, y):
    """log p/(1-p) of the label, per example."""
    own = logits.gather(1, y[:, None]).squeeze(1)
    return own - logits.scatter(1, y[:, None], -torch.inf).logsumexp(1)


def explained(model):
    """What dattri's TRAK differentiates, and the probability of the label, for one example."""
    def margin(params, data):
        x, y = (part.unsqueeze(0) for part in data)
        return logits_margin(functional_call(model, params, x), y).sum()

    def probability(params, data):
        x, y = (part.unsqueeze(0) for part in data)
        return functional_call(model, params, x).softmax(1).gather(1, y[:, None]).squeeze()

    return margin, probability


def dattri_trak(model, checkpoint, train, test, settings):
    import dattri.algorithm
    from dattri.task import AttributionTask

    margin, probability = explained(model)
    task = AttributionTask(loss_func=margin, model=model, checkpoints=checkpoint)

    def run():
        with torch.no_grad():
            attributor = dattri.algorithm.TRAKAttributor(task=task, correct_probability_func=probability, device="cpu", **settings)
            attributor.cache(train)
            return attributor.attribute(test)

    return run


def traker(model, checkpoint, train, test, settings):
    from trak import TRAKer

    def run():
        with tempfile.TemporaryDirectory() as folder:
            n, m = len(train.dataset), len(test.dataset)
            scorer = TRAKer(model=model, task="image_classification", train_set_size=n, save_dir=folder, device="cpu",
                            logging_level=40, use_half_precision=False, **settings)
            scorer.load_checkpoint(checkpoint, model_id=0)
            for batch in train:
                scorer.featurize(batch=batch, num_samples=len(batch[0]))
            scorer.finalize_features()
            scorer.start_scoring_checkpoint(exp_name="bench", checkpoint=checkpoint, model_id=0, num_targets=m)
            for batch in test:
                scorer.score(batch=batch, num_samples=len(batch[0]))
            return torch.tensor(scorer.finalize_scores(exp_name="bench")[:])

    return run


def knn_shapley(model, checkpoint, train, test, settings):
    from dattri.algorithm.data_shapley import KNNShapleyAttributor

    return lambda: KNNShapleyAttributor(**settings).attribute(train, test).T


def representer(model, checkpoint, train, test, settings):
    import dattri.algorithm
    from dattri.task import AttributionTask

    def loss(pre_activations, labels):
        return nn.functional.cross_entropy(pre_activations, labels)

    task = AttributionTask(loss_func=loss, model=model, checkpoints=checkpoint)

    def run():
        attributor = dattri.algorithm.RPSAttributor(task=task, device="cpu", **settings)
        attributor.cache(train)
        return attributor.attribute(train, test)

    return run


# kind of work: (what makes the function to time, package)
KINDS = {
    "trak": (dattri_trak, "dattri"),
    "traker": (traker, "traker"),
    "knn_shapley": (knn_shapley, "dattri"),
    "representer": (representer, "dattri"),
}


def prepare(kind, model, checkpoint, train_data, test_data, args, settings):
    """The function to time, which returns [n_train, n_test], and what to report."""
    make, package = KINDS[kind]
    train_batch, test_batch = min(args.batch, args.n_train), min(args.batch, args.n_test)
    train = DataLoader(train_data, batch_size=train_batch, shuffle=False)
    test = DataLoader(test_data, batch_size=test_batch, shuffle=False)
    extra = {"n_train": args.n_train, "n_test": args.n_test, "train_batch": train_batch, "test_batch": test_batch,
             "weights": "file" if args.weights else "random", "peer": f"{package} {version(package)}"}
    return make(model, checkpoint, train, test, settings), extra
