"""Which optimizer, at its best rate, with which schedule and batch? The adding problem, T = 10.

One RNN, always clipped to norm 1 and shown the same number of sequences. Every optimizer gets a
grid of learning rates; the chapter chooses the rate by the first seeds and reports the others.
"""

import numpy as np

from rnnbook import tasks
from rnnbook.scratch import FusedRNN, Linear, SequenceModel, losses, optim, schedules
from rnnbook.train import evaluate, fit

SEEDS = 8

OPTIMIZERS = {
    "SGD": lambda params, lr: optim.SGD(params, lr=lr),
    "momentum": lambda params, lr: optim.SGD(params, lr=lr, momentum=0.9),
    "RMSProp": lambda params, lr: optim.RMSProp(params, lr=lr),
    "Adam": lambda params, lr: optim.Adam(params, lr=lr),
    "AdamW": lambda params, lr: optim.AdamW(params, lr=lr),
}
ADAPTIVE_RATES = (0.0003, 0.001, 0.003, 0.01, 0.03)
RATES = {
    "SGD": (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0),
    "momentum": (0.003, 0.01, 0.03, 0.1, 0.3),
    "RMSProp": ADAPTIVE_RATES,
    "Adam": ADAPTIVE_RATES,
    "AdamW": ADAPTIVE_RATES,
}
SCHEDULES = {
    "constant": lambda updates: schedules.constant(),
    "cosine": schedules.cosine,
}


def settings(quick: bool) -> list[dict]:
    """The optimizers at batch 32; then Adam with a schedule, and with other batches.

    The grids were widened until the best rate lay inside: for the largest batch, by one more.
    """
    rates = {name: each[1:4:2] if quick else each for name, each in RATES.items()}
    common = {"T": 10, "hidden_size": 32, "sequences": 3200 if quick else 32000}
    compared = [(name, "constant", 32) for name in OPTIMIZERS]
    compared += [("Adam", "cosine", 32), ("Adam", "constant", 8), ("Adam", "constant", 128)]
    return [
        {"optimizer": name, "schedule": schedule, "batch": batch, "lr": lr} | common
        for name, schedule, batch in compared
        for lr in (*rates[name], 0.1)[: None if batch == 128 else -1]
    ]


def run(setting: dict, seed: int) -> dict:
    """Train and test one network.

    Returns:
        test_mse: on 2000 fresh sequences; curve: the mean training loss of each twentieth.
    """
    weights_rng, train_rng, test_rng = np.random.default_rng(seed).spawn(3)
    hidden_size, steps = setting["hidden_size"], setting["T"]
    model = SequenceModel(
        FusedRNN(2, hidden_size, rng=weights_rng), Linear(hidden_size, 1, rng=weights_rng)
    )
    updates = setting["sequences"] // setting["batch"]
    history = fit(
        model,
        lambda rng: tasks.adding_problem(setting["batch"], steps, rng),
        loss=losses.mse,
        optimizer=OPTIMIZERS[setting["optimizer"]](model.params, setting["lr"]),
        epochs=1,
        steps_per_epoch=updates,
        rng=train_rng,
        max_norm=1.0,
        schedule=SCHEDULES[setting["schedule"]](updates),
        progress=False,
    )
    test = tasks.adding_problem(2000, steps, test_rng)
    return {
        "test_mse": evaluate(model, test, loss=losses.mse),
        "curve": [round(float(part.mean()), 6) for part in np.array_split(history.loss, 20)],
    }
