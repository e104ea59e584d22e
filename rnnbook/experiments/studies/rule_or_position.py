"""Does the rule travel with the data, or is it tied to the position?

Sequences of twenty values, uniform on [-1, 1], some of them marked, and one number to be said:

    latch      the value that was marked last: the same rule at every step
    calendar   a fixed weighted sum of the twenty values: another weight at every position

Three models read the same sequences: a linear one and a feed-forward network on all forty numbers,
and a GRU, step by step.
"""

import math
import warnings

import numpy as np

from rnnbook.extras import needed
from rnnbook.scratch import FusedGRU, Linear, SequenceModel, losses, optim
from rnnbook.tasks import Batch
from rnnbook.train import fit

with needed("estimator"):
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import RidgeCV
    from sklearn.neural_network import MLPRegressor

SEEDS = 5
TASKS = ("latch", "calendar")
AMOUNTS = (100, 1000)
STEPS = 20
CALENDAR = np.random.default_rng(20).normal(size=STEPS) / np.sqrt(STEPS)


def sequences(task: str, n: int, rng: np.random.Generator, steps: int = STEPS) -> Batch:
    """x (n, steps, 2), values and marks (1 or 0, the first is 1); target (n, 1)."""
    values, marks = rng.uniform(-1, 1, (n, steps)), rng.random((n, steps)) < 0.2
    marks[:, 0] = True
    last = np.maximum.accumulate(np.where(marks, np.arange(steps), 0), axis=1)[:, -1]
    target = values[np.arange(n), last] if task == "latch" else values @ CALENDAR
    x = np.stack([values, marks], axis=2)
    return Batch(x.astype(np.float32), target[:, None].astype(np.float32))


def flat(batch: Batch) -> np.ndarray:
    """All numbers of a sequence side by side, (n, 2 * steps)."""
    return batch.x.reshape(len(batch), -1)


def error(prediction: np.ndarray, target: np.ndarray) -> float:
    """Mean squared error as a share of the variance: 1 for the best constant, 0 for perfect."""
    return float(np.mean((prediction.reshape(-1, 1) - target) ** 2) / np.var(target))


def linear(data: Batch) -> RidgeCV:
    """Ridge regression on all numbers; the penalty by cross-validation."""
    return RidgeCV(alphas=np.logspace(-2, 4, 13)).fit(flat(data), data.target[:, 0])


def network(data: Batch, seed: int) -> MLPRegressor:
    """Two hidden layers of 64 on all numbers; stopped early where there are data to tell when."""
    model = MLPRegressor(
        hidden_layer_sizes=(64, 64),
        early_stopping=len(data) > 100,
        max_iter=300,
        random_state=seed,
    )
    with warnings.catch_warnings():  # it says that it could go on; its training error is near 0
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(flat(data), data.target[:, 0])


def recurrent(data: Batch, rng: np.random.Generator, *, units: int = 24, updates: int = 400):
    """A GRU with a linear head on its last state."""
    layer = FusedGRU(data.x.shape[2], units, dtype=np.float32, rng=rng)
    model = SequenceModel(layer, Linear(units, 1, dtype=np.float32, rng=rng))
    fit(
        model,
        data,
        loss=losses.mse,
        optimizer=optim.Adam(model.params, lr=0.01),
        epochs=updates // math.ceil(len(data) / 32),
        rng=rng,
        max_norm=1.0,
        progress=False,
    )
    return model


def settings(quick: bool) -> list[dict]:
    """Both tasks with few sequences and with many."""
    amounts = (40, 80) if quick else AMOUNTS
    return [{"task": task, "sequences": n} for task in TASKS for n in amounts]


def run(setting: dict, seed: int) -> dict:
    """Train all three models on the same sequences.

    Returns:
        linear, network, recurrent: the ``error`` of each on 2000 new sequences.
    """
    train_rng, test_rng, weights = np.random.default_rng(seed).spawn(3)
    train = sequences(setting["task"], setting["sequences"], train_rng)
    test = sequences(setting["task"], 2000, test_rng)
    return {
        "linear": error(linear(train).predict(flat(test)), test.target),
        "network": error(network(train, seed).predict(flat(test)), test.target),
        "recurrent": error(recurrent(train, weights).forward(test.x), test.target),
    }
