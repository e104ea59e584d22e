"""Does the rule travel with the data, or is it tied to the position?

Sequences of twenty values, uniform on [-1, 1], some of them marked, and one number to be said:

    latch      the value that was marked last: the same rule at every step
    calendar   a fixed weighted sum of the twenty values: another weight at every position

Four models read the same sequences: a linear one and a feed-forward network on all forty numbers,
a convolution over time, and a GRU, step by step. Those that learn by gradient descent are tuned by
one rule: the same grid of rates, two versions each, four fifths of the sequences to learn from and
one fifth to choose by, the epoch to stop at as well (``tuned``). They are tested on sequences of
the same length, and the latch on ones ten times as long, where models of twenty steps are slid:
they see the last twenty.
"""

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from rnnbook.extras import needed
from rnnbook.scratch import FusedGRU, Linear, SequenceModel, losses, optim
from rnnbook.scratch.schedules import cosine
from rnnbook.tasks import Batch
from rnnbook.train import fit

with needed("estimator"):
    from sklearn.linear_model import RidgeCV
with needed("torch"):
    import torch
    from torch import nn

SEEDS = 6
TASKS = ("latch", "calendar")
AMOUNTS = (100, 1000)
STEPS = 20
CALENDAR = np.random.default_rng(20).normal(size=STEPS) / np.sqrt(STEPS)
RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
VERSIONS: dict[str, tuple[dict, ...]] = {
    "network": ({"width": 32}, {"width": 128}),
    "convolution": ({"pool": "last"}, {"pool": "max"}),
    "recurrent": ({"units": 12}, {"units": 24}),
}


def sequences(
    task: str, n: int, rng: np.random.Generator, steps: int = STEPS, marked: float = 0.2
) -> Batch:
    """x (n, steps, 2), values and marks (1 or 0, the first is 1); target (n, 1)."""
    values, marks = rng.uniform(-1, 1, (n, steps)), rng.random((n, steps)) < marked
    marks[:, 0] = True
    last = np.maximum.accumulate(np.where(marks, np.arange(steps), 0), axis=1)[:, -1]
    target = values[np.arange(n), last] if task == "latch" else values @ CALENDAR
    x = np.stack([values, marks], axis=2)
    return Batch(x.astype(np.float32), target[:, None].astype(np.float32))


def flat(batch: Batch) -> np.ndarray:
    """The last twenty steps side by side, (n, 2 * STEPS): the window, slid to the end."""
    return batch.x[:, -STEPS:].reshape(len(batch), -1)


def error(prediction: np.ndarray, target: np.ndarray) -> float:
    """Mean squared error as a share of the variance: 1 for the best constant, 0 for perfect."""
    return float(np.mean((prediction.reshape(-1, 1) - target) ** 2) / np.var(target))


def linear(data: Batch) -> RidgeCV:
    """Ridge regression on all numbers; the penalty by leaving one sequence out."""
    return RidgeCV(alphas=np.logspace(-6, 4, 21)).fit(flat(data), data.target[:, 0])


class Network(nn.Module):
    """Two hidden layers on the last twenty steps: a weight of its own for every step."""

    def __init__(self, width: int):
        super().__init__()
        sizes = (2 * STEPS, width, width)
        hidden = [m for a, b in itertools.pairwise(sizes) for m in (nn.Linear(a, b), nn.ReLU())]
        self.layers = nn.Sequential(nn.Flatten(), *hidden, nn.Linear(width, 1))

    def forward(self, x):
        return self.layers(x[:, -STEPS:])


class Convolution(nn.Module):
    """Three layers of the same kernels at every step; the last output sees 29 steps.

    ``pool`` says what the head reads: the ``last`` output, or the ``max`` of all of them.
    """

    def __init__(self, pool: str, channels: int = 24):
        super().__init__()
        sizes = (2, channels, channels, channels)
        self.layers = nn.ModuleList(
            nn.Conv1d(a, b, kernel_size=5, dilation=2**k)
            for k, (a, b) in enumerate(itertools.pairwise(sizes))
        )
        self.head, self.pool = nn.Linear(channels, 1), pool

    def forward(self, x):
        h = x.transpose(1, 2)  # (B, 2, T)
        for k, layer in enumerate(self.layers):
            seen = layer(nn.functional.pad(h, (4 * 2**k, 0)))  # of the past alone
            h = seen.relu() + (h if k else 0)
        return self.head(h[:, :, -1] if self.pool == "last" else h.amax(dim=2))


def recurrent(units: int, rng: np.random.Generator, features: int = 2) -> SequenceModel:
    """A GRU with a linear head on its last state."""
    layer = FusedGRU(features, units, dtype=np.float32, rng=rng)
    return SequenceModel(layer, Linear(units, 1, dtype=np.float32, rng=rng))


def learn(model, train: Batch, validation: Batch, rate: float, rng, updates: int = 400) -> float:
    """Adam, its rate falling to zero; keeps the epoch best on ``validation``, returns its loss."""
    loss: Callable = losses.mse
    optimizer: Any
    if isinstance(model, nn.Module):
        loss, optimizer = nn.functional.mse_loss, torch.optim.Adam(model.parameters(), lr=rate)
    else:
        optimizer = optim.Adam(model.params, lr=rate)
    history = fit(
        model,
        train,
        loss=loss,
        optimizer=optimizer,
        schedule=cosine(updates),
        epochs=updates // math.ceil(len(train) / 32),
        validation=validation,
        rng=rng,
        max_norm=1.0,
        progress=False,
    )
    return min(history.validation_loss)


def build(kind: str, version: dict, seed: int):
    """A network with its first weights."""
    if kind == "recurrent":
        return recurrent(**version, rng=np.random.default_rng(seed))
    torch.manual_seed(seed)
    return {"network": Network, "convolution": Convolution}[kind](**version)


def tuned(kind: str, data: Batch, seed: int, rates=RATES, updates: int = 400):
    """The best of all versions and rates by the last fifth of ``data``: (model, rate, version)."""
    k = 4 * len(data) // 5
    train, validation = data.take(slice(k)), data.take(slice(k, None))
    best: tuple = (math.inf,)
    for version in VERSIONS[kind]:
        for rate in rates:
            model = build(kind, version, seed)
            rng = np.random.default_rng(seed)
            loss = learn(model, train, validation, rate, rng, updates)
            if loss < best[0]:
                best = loss, model, rate, version
    return best[1:]


def predict(model, batch: Batch) -> np.ndarray:
    """(n,), whatever the model."""
    if isinstance(model, RidgeCV):
        return model.predict(flat(batch))
    if isinstance(model, nn.Module):
        with torch.no_grad():
            return model(torch.from_numpy(batch.x)).numpy()[:, 0]
    return model.forward(batch.x)[:, 0]


def settings(quick: bool) -> list[dict]:
    """Both tasks with few sequences and with many."""
    if quick:
        return [{"task": task, "sequences": 80, "rates": [0.03], "updates": 90} for task in TASKS]
    return [
        {"task": task, "sequences": n, "rates": list(RATES), "updates": 400}
        for task in TASKS
        for n in AMOUNTS
    ]


def run(setting: dict, seed: int) -> dict:
    """Tune all models on the same sequences.

    Returns:
        linear, network, convolution, recurrent: the ``error`` of each on 2000 new sequences; with
        " long" and " rare" the same on sequences of 200 steps of the latch, with marks as frequent
        as in training, and ten times as rare; with " rate" and " version" what was chosen.
    """
    train_rng, test_rng = np.random.default_rng(seed).spawn(2)
    task = setting["task"]
    train = sequences(task, setting["sequences"], train_rng)
    tests = {"": sequences(task, 2000, test_rng)}
    if task == "latch":
        tests[" long"] = sequences(task, 2000, test_rng, steps=10 * STEPS)
        tests[" rare"] = sequences(task, 2000, test_rng, steps=10 * STEPS, marked=0.02)
    metrics: dict = {}
    for kind in ("linear", *VERSIONS):
        if kind == "linear":
            model = linear(train)
        else:
            model, rate, version = tuned(kind, train, seed, setting["rates"], setting["updates"])
            metrics |= {f"{kind} rate": rate, f"{kind} version": VERSIONS[kind].index(version)}
        for name, test in tests.items():
            metrics[kind + name] = round(error(predict(model, test), test.target), 6)
    return metrics
