"""How much do RNN, LSTM and GRU remember? Copy memory at equal numbers of parameters.

Ten symbols of eight kinds, a pause, and then all ten again. Each run trains one cell on fresh
sequences, for one seed the same ones whatever the cell. To compare with: the loss
10 ln 8 / (delay + 20) of a network that knows when to answer and nothing else. The LSTM runs twice,
with PyTorch's forget bias (near 0) and with one of 3, where a gate starts at 0.95.
"""

import numpy as np

from rnnbook import tasks
from rnnbook.experiments.studies.adding_problem import build, hidden_size
from rnnbook.scratch import init, losses, optim
from rnnbook.tasks import Batch, one_hot
from rnnbook.train import evaluate, fit

SEEDS = 5
UNSTEADY = ("curve",)
SYMBOLS_IN, SYMBOLS_OUT = 10, 9
RATES = {"rnn": 0.003, "lstm": 0.01, "gru": 0.01}  # from trials with one seed, delays 5 and 20


def copying(size: int, delay: int, rng: np.random.Generator) -> Batch:
    """The task, with tokens as unit vectors."""
    batch = tasks.copy_memory(size, delay, rng)
    return Batch(one_hot(batch.x, SYMBOLS_IN), batch.target)


def settings(quick: bool) -> list[dict]:
    """Every cell at every delay."""
    common = {
        "parameters": 1000 if quick else 6000,
        "epochs": 5 if quick else 25,
        "steps_per_epoch": 10 if quick else 60,
        "batch": 32,
        "max_norm": 1.0,
    }
    return [
        {"cell": cell, "forget_bias": bias, "delay": delay, "lr": RATES[cell]} | common
        for delay in ((5,) if quick else (5, 20, 80))
        for cell, bias in (("rnn", None), ("lstm", None), ("lstm", 3.0), ("gru", None))
    ]


def run(setting: dict, seed: int) -> dict:
    """Train and test one network.

    Returns:
        test_loss: per step, on 1000 sequences, of the best weights; recalled: the share of the
        ten symbols that come out right; curve: the validation loss after each epoch; hidden_size;
        parameters.
    """
    cell, delay = setting["cell"], setting["delay"]
    train_rng, other_rng, weights = np.random.default_rng([seed, delay]).spawn(3)
    size = hidden_size(cell, setting["parameters"], SYMBOLS_IN, SYMBOLS_OUT)
    model = build(cell, size, weights, inputs=SYMBOLS_IN, outputs=SYMBOLS_OUT, many_to="many")
    if setting["forget_bias"] is not None:
        init.set_forget_bias(model.rnn, setting["forget_bias"])
    loss = losses.softmax_cross_entropy
    history = fit(
        model,
        lambda rng: copying(setting["batch"], delay, rng),
        loss=loss,
        optimizer=optim.Adam(model.params, lr=setting["lr"]),
        epochs=setting["epochs"],
        steps_per_epoch=setting["steps_per_epoch"],
        batch_size=250,
        rng=train_rng,
        validation=copying(250, delay, other_rng),
        max_norm=setting["max_norm"],
        progress=False,
    )
    test = copying(1000, delay, other_rng)
    answer = model.forward(test.x)[:, -10:].argmax(axis=2)
    return {
        "test_loss": evaluate(model, test, loss=loss, batch_size=250),
        "recalled": float(np.mean(answer == test.target[:, -10:])),
        "curve": np.round(history.validation_loss, 6),
        "hidden_size": size,
        "parameters": sum(array.size for array in model.params.values()),
    }
