"""Is the GRU better than the LSTM? Three tasks, at equal units and at equal parameters.

Each run trains one network from ``rnnbook.scratch`` on fresh sequences; for one seed all networks
see the same ones. The tasks have known limits: the adding problem (a constant reaches 1/6, the
best 0), the embedded Reber grammar (its exact entropy) and a mixture of two sines.
"""

import time
from collections.abc import Callable

import numpy as np

from rnnbook import tasks
from rnnbook.scratch import (
    FusedGRU,
    FusedLSTM,
    Linear,
    RecurrentLayer,
    SequenceModel,
    init,
    losses,
    optim,
)
from rnnbook.tasks import REBER_SYMBOLS, Batch, one_hot
from rnnbook.train import evaluate, fit

SEEDS = 8
UNSTEADY = ("seconds",)
UNITS = 32
SYMBOLS = len(REBER_SYMBOLS)


def adding(size: int, rng: np.random.Generator) -> Batch:
    """Fifty steps: two marked numbers to be added."""
    return tasks.adding_problem(size, 50, rng)


def reber(size: int, rng: np.random.Generator) -> Batch:
    """Strings of the embedded Reber grammar, symbols as unit vectors."""
    batch = tasks.reber_grammar(size, rng)
    assert batch.mask is not None  # its targets belong to steps
    x = one_hot(batch.x, SYMBOLS) * batch.mask[:, :, None]
    return Batch(x, batch.target, batch.lengths, batch.mask)


def sines(size: int, rng: np.random.Generator) -> Batch:
    """The next value of a mixture of two sines, forty steps."""
    return tasks.sine_mixture(size, 40, rng)


# draw, input features, outputs, loss, many to one or to many
TASKS: dict[str, tuple[Callable[..., Batch], int, int, Callable, str]] = {
    "adding": (adding, 2, 1, losses.mse, "one"),
    "reber": (reber, SYMBOLS, SYMBOLS, losses.softmax_cross_entropy, "many"),
    "sines": (sines, 1, 1, losses.mse, "many"),
}


def layer_parameters(blocks: int, inputs: int, units: int) -> int:
    """G (H D + H^2 + 2 H): the weights of a layer with G blocks."""
    return blocks * (units * inputs + units**2 + 2 * units)


def equal_units(inputs: int) -> int:
    """The units at which a GRU has about as many weights as an LSTM of ``UNITS``."""
    wanted = layer_parameters(4, inputs, UNITS)
    return min(range(1, 4 * UNITS), key=lambda h: abs(layer_parameters(3, inputs, h) - wanted))


def settings(quick: bool) -> list[dict]:
    """Every task with an LSTM, a GRU of as many units, and a GRU of as many parameters."""
    steps = 40 if quick else 1500
    return [
        {"task": task, "model": model, "steps": steps, "batch": 32, "lr": 0.005, "max_norm": 1.0}
        for task in TASKS
        for model in ("LSTM", "GRU, equal units", "GRU, equal parameters")
    ]


def run(setting: dict, seed: int) -> dict:
    """Train and test one network.

    Returns:
        test_loss: on 1000 fresh sequences; curve: the validation loss, taken 30 times;
        units, parameters; seconds: of training.
    """
    draw, inputs, outputs, loss, many_to = TASKS[setting["task"]]
    data, other, weights = np.random.default_rng([seed, inputs]).spawn(3)
    layer: RecurrentLayer
    if setting["model"].startswith("LSTM"):
        layer = FusedLSTM(inputs, UNITS, dtype=np.float32, rng=weights)
        if setting["model"] == "LSTM, forget bias 1":  # gru_vs_lstm_rates has it too
            init.set_forget_bias(layer, 1.0)
    else:
        units = UNITS if "units" in setting["model"] else equal_units(inputs)
        layer = FusedGRU(inputs, units, dtype=np.float32, rng=weights)
    head = Linear(layer.hidden_size, outputs, dtype=np.float32, rng=weights)
    model = SequenceModel(layer, head, many_to=many_to)

    epochs = min(30, setting["steps"])
    start = time.perf_counter()
    history = fit(
        model,
        lambda rng: draw(setting["batch"], rng),
        loss=loss,
        optimizer=optim.Adam(model.params, lr=setting["lr"]),
        epochs=epochs,
        steps_per_epoch=setting["steps"] // epochs,
        rng=data,
        validation=draw(200, other),
        batch_size=200,
        max_norm=setting["max_norm"],
        progress=False,
    )
    seconds = time.perf_counter() - start
    return {
        "test_loss": evaluate(model, draw(1000, other), loss=loss, batch_size=250),
        "curve": np.round(history.validation_loss, 5),
        "units": layer.hidden_size,
        "parameters": sum(value.size for value in layer.params.values()),
        "seconds": round(seconds, 2),
    }
