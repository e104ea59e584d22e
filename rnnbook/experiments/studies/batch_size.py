"""How many updates does a larger batch save, and at which rate? Digits by rows, and adding.

A GRU reads scikit-learn's handwritten digits row by row (stochastic gradient descent with
momentum), and another learns the adding problem of 20 steps (Adam, clipped). Counted are the
updates until the loss on held-out sequences is below a goal. Rates stand on a grid of factors of
two and batches on one of factors of four, so that every rule of how the rate should grow with the
batch, by its root or in proportion, is a walk on the grid.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from rnnbook import tasks
from rnnbook.extras import needed
from rnnbook.scratch import FusedGRU, Linear, SequenceModel, losses, optim, schedules
from rnnbook.train import TrainingDiverged, evaluate, fit

SEEDS = 8  # three to choose the rate by, and five to report

BATCHES = {8: 1200, 32: 1000, 128: 800, 512: 400}  # and after how many updates to give up
HELD_OUT = 500
EVERY = 10  # updates from one look at the held-out sequences to the next


def digits(batch: int, rng: np.random.Generator):
    """Images of 8 rows with 8 pixels between 0 and 1: batches of 1297, and 500 held out."""
    with needed("estimator"):
        from sklearn.datasets import load_digits
    pixels, labels = load_digits(return_X_y=True)
    images = (pixels.reshape(-1, 8, 8) / 16).astype(np.float32)
    train, held_out = np.split(rng.permutation(len(images)), [-HELD_OUT])

    def draw(rng):
        chosen = rng.choice(train, batch, replace=False)
        return tasks.Batch(images[chosen], labels[chosen])

    return draw, tasks.Batch(images[held_out], labels[held_out])


def adding(batch: int, rng: np.random.Generator):
    """The adding problem of 20 steps: fresh sequences for every batch, and 500 held out."""
    return (
        lambda rng: tasks.adding_problem(batch, 20, rng),
        tasks.adding_problem(HELD_OUT, 20, rng),
    )


class Task(NamedTuple):
    draw: Callable
    sizes: tuple[int, int, int]  # input, hidden, output
    loss: Callable
    goal: float  # of the loss on the held-out sequences
    optimizer: Callable
    max_norm: float
    rate: float
    exponents: range  # of two, on the rate


TASKS = {
    "digits": Task(
        digits,
        (8, 32, 10),
        losses.softmax_cross_entropy,
        0.3,
        lambda params, lr: optim.SGD(params, lr=lr, momentum=0.9),
        math.inf,
        0.1,
        range(-3, 6),
    ),
    "adding": Task(
        adding,
        (2, 24, 1),
        losses.mse,
        0.01,  # a constant has 1/6
        lambda params, lr: optim.Adam(params, lr=lr),
        1.0,
        0.02,
        range(-3, 5),
    ),
}


def settings(quick: bool) -> list[dict]:
    """Both tasks; the digits also with a warm-up, over 20 updates from a twentieth of the rate."""
    return [
        {"task": name, "batch": batch, "exponent": exponent, "warm_up": warm_up}
        for name, warm_ups in (("digits", (0, 20)), ("adding", (0,)))
        for warm_up in warm_ups
        for batch in ((128,) if quick else BATCHES)
        for exponent in ((2,) if quick else TASKS[name].exponents)
    ]


def run(setting: dict, seed: int) -> dict:
    """Train one network until its loss on held-out sequences is below the goal.

    Returns:
        updates: until then, a multiple of ten; null where it was not reached in time;
        diverged: whether the loss or the gradient was no number any more.
    """
    weights_rng, train_rng, test_rng = np.random.default_rng(seed).spawn(3)
    task, batch = TASKS[setting["task"]], setting["batch"]
    draw, held_out = task.draw(batch, test_rng)
    inputs, units, outputs = task.sizes
    model = SequenceModel(
        FusedGRU(inputs, units, dtype=np.float32, rng=weights_rng),
        Linear(units, outputs, dtype=np.float32, rng=weights_rng),
    )
    optimizer = task.optimizer(model.params, task.rate * 2.0 ** setting["exponent"])
    rule = schedules.constant()
    if setting["warm_up"]:
        rule = schedules.warm_up(setting["warm_up"], start=0.05)
    for done in range(0, BATCHES[batch], EVERY):
        try:
            fit(
                model,
                draw,
                loss=task.loss,
                optimizer=optimizer,
                epochs=1,
                steps_per_epoch=EVERY,
                rng=train_rng,
                max_norm=task.max_norm,
                schedule=partial(lambda step, done: rule(done + step), done=done),
                progress=False,
            )
        except TrainingDiverged:
            return {"updates": None, "diverged": True}
        if evaluate(model, held_out, loss=task.loss, batch_size=HELD_OUT) < task.goal:
            return {"updates": done + EVERY, "diverged": False}
    return {"updates": None, "diverged": False}
