"""How long do RNN, LSTM and GRU remember? The adding problem at equal numbers of parameters.

Each run trains one cell on fresh sequences of T steps, for one seed the same ones whatever the
cell, and tests the weights that did best in validation. To compare with: the error 1/6 of a
constant and 1/12 of a network that remembers one of the two numbers.

The learning rates come from trials with two seeds at T = 25 and 50, over 0.001 to 0.03: LSTM and
GRU learned well at 0.01 to 0.03, the RNN at none; 0.003 kept its loss steady.
"""

import numpy as np

from rnnbook import tasks
from rnnbook.scratch import (
    FusedGRU,
    FusedLSTM,
    FusedRNN,
    Linear,
    RecurrentLayer,
    SequenceModel,
    losses,
    optim,
)
from rnnbook.train import evaluate, fit

SEEDS = 5
LAYERS: dict[str, type[RecurrentLayer]] = {"rnn": FusedRNN, "lstm": FusedLSTM, "gru": FusedGRU}
RATES = {"rnn": 0.003, "lstm": 0.02, "gru": 0.02}


def build(
    cell: str,
    hidden_size: int,
    rng: np.random.Generator,
    *,
    inputs: int = 2,
    outputs: int = 1,
    many_to: str = "one",
) -> SequenceModel:
    """A recurrent layer and a linear head on its last step, or on every step."""
    layer = LAYERS[cell](inputs, hidden_size, dtype=np.float32, rng=rng)
    head = Linear(hidden_size, outputs, dtype=np.float32, rng=rng)
    return SequenceModel(layer, head, many_to=many_to)


def parameter_count(cell: str, hidden_size: int, inputs: int = 2, outputs: int = 1) -> int:
    """G (H D + H^2 + 2 H) + K (H + 1): G blocks with input, recurrence, two biases; the head."""
    layer = LAYERS[cell].cell.blocks * hidden_size * (inputs + hidden_size + 2)
    return layer + outputs * (hidden_size + 1)


def hidden_size(cell: str, parameters: int, inputs: int = 2, outputs: int = 1) -> int:
    """The number of units that comes nearest to the number of parameters."""
    return min(
        range(1, 513),
        key=lambda size: abs(parameter_count(cell, size, inputs, outputs) - parameters),
    )


def settings(quick: bool) -> list[dict]:
    """Every cell at every T."""
    lengths = (10, 20) if quick else (10, 25, 50, 100, 200)
    common = {
        "parameters": 1000 if quick else 5000,
        "epochs": 10 if quick else 24,
        "steps_per_epoch": 15 if quick else 50,
        "batch": 32,
        "max_norm": 1.0,
    }
    return [{"cell": cell, "T": T, "lr": RATES[cell]} | common for T in lengths for cell in LAYERS]


def run(setting: dict, seed: int) -> dict:
    """Train and test one network.

    Returns:
        test_mse: on 2000 sequences, of the best weights; curve: the validation error, taken
        ``epochs`` times; hidden_size; parameters.
    """
    cell, T = setting["cell"], setting["T"]
    train_rng, other_rng, weights = np.random.default_rng([seed, T]).spawn(3)
    model = build(cell, hidden_size(cell, setting["parameters"]), weights)
    history = fit(
        model,
        lambda rng: tasks.adding_problem(setting["batch"], T, rng),
        loss=losses.mse,
        optimizer=optim.Adam(model.params, lr=setting["lr"]),
        epochs=setting["epochs"],
        steps_per_epoch=setting["steps_per_epoch"],
        batch_size=500,
        rng=train_rng,
        validation=tasks.adding_problem(500, T, other_rng),
        max_norm=setting["max_norm"],
        progress=False,
    )
    test = tasks.adding_problem(2000, T, other_rng)
    return {
        "test_mse": evaluate(model, test, loss=losses.mse, batch_size=500),
        "curve": np.round(history.validation_loss, 6),
        "hidden_size": model.rnn.hidden_size,
        "parameters": sum(array.size for array in model.params.values()),
    }
