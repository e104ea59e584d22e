"""How long do RNN, LSTM and GRU remember? The adding problem at equal numbers of parameters.

Each run trains one cell on fresh sequences of T steps, for one seed the same ones whatever the
cell, and tests the weights that did best in validation. To compare with: the error 1/6 of a
constant and 1/12 of a network that remembers one of the two numbers.

The learning rates come from trials with two seeds at T = 25 and 50, over 0.001 to 0.03: LSTM and
GRU learned well at 0.01 to 0.03, the RNN at none; 0.003 kept its loss steady.
"""

import numpy as np
import torch

from rnnbook import tasks
from rnnbook.train import evaluate, fit

SEEDS = 5
BLOCKS = {"rnn": 1, "lstm": 4, "gru": 3}  # matrices in a cell
LAYERS = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}
RATES = {"rnn": 0.003, "lstm": 0.02, "gru": 0.02}


class LastStep(torch.nn.Module):
    """A recurrent layer and a linear head on its last step."""

    def __init__(self, cell: str, hidden_size: int):
        super().__init__()
        self.rnn = LAYERS[cell](2, hidden_size, batch_first=True)
        self.head = torch.nn.Linear(hidden_size, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, 2) -> (B, 1)."""
        return self.head(self.rnn(x)[0][:, -1])


def parameter_count(cell: str, hidden_size: int, inputs: int = 2, outputs: int = 1) -> int:
    """G (H D + H^2 + 2 H) + K (H + 1): G blocks with input, recurrence, two biases; the head."""
    layer = BLOCKS[cell] * hidden_size * (inputs + hidden_size + 2)
    return layer + outputs * (hidden_size + 1)


def hidden_size(cell: str, parameters: int, inputs: int = 2, outputs: int = 1) -> int:
    """The number of units that comes nearest to the number of parameters."""
    return min(
        range(1, 513),
        key=lambda size: abs(parameter_count(cell, size, inputs, outputs) - parameters),
    )


def settings(quick: bool) -> list[dict]:
    """Every cell at every T."""
    lengths = (10, 20) if quick else (25, 50, 100, 200, 400)
    common = {
        "parameters": 1000 if quick else 5000,
        "epochs": 10 if quick else 40,
        "steps_per_epoch": 15 if quick else 100,
        "batch": 32,
        "lr": 0.01 if quick else 0.005,
        "max_norm": 1.0,
    }
    return [{"cell": cell, "T": T} | common for T in lengths for cell in LAYERS]


def run(setting: dict, seed: int) -> dict:
    """Train and test one network.

    Returns:
        test_mse: on 2000 sequences, of the best weights; curve: the validation error, taken
        ``epochs`` times; hidden_size; parameters.
    """
    cell, T = setting["cell"], setting["T"]
    train_rng, other_rng = np.random.default_rng([seed, T]).spawn(2)
    torch.manual_seed(seed)
    model = LastStep(cell, hidden_size(cell, setting["parameters"]))
    loss = torch.nn.functional.mse_loss
    history = fit(
        model,
        lambda rng: tasks.adding_problem(setting["batch"], T, rng),
        loss=loss,
        optimizer=torch.optim.Adam(model.parameters(), lr=setting["lr"]),
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
        "test_mse": evaluate(model, test, loss=loss, batch_size=500),
        "curve": np.round(history.validation_loss, 6),
        "hidden_size": model.rnn.hidden_size,
        "parameters": sum(p.numel() for p in model.parameters()),
    }
