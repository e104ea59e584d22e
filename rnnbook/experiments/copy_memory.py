"""How much do RNN, LSTM and GRU remember? Copy memory at equal numbers of parameters.

Ten symbols of eight kinds, a pause, and then all ten again. Each run trains one cell on fresh
sequences, for one seed the same ones whatever the cell. To compare with: the loss
10 ln 8 / (delay + 20) of a network that knows when to answer and nothing else. The LSTM runs twice,
with PyTorch's forget bias (near 0) and with one of 3, where a gate starts at 0.95.
"""

import numpy as np
import torch

from rnnbook import tasks
from rnnbook.experiments.adding_problem import LAYERS, hidden_size
from rnnbook.train import evaluate, fit

SEEDS = 5
SYMBOLS_IN, SYMBOLS_OUT = 10, 9
RATES = {"rnn": 0.003, "lstm": 0.01, "gru": 0.01}  # from trials with one seed, delays 5 and 20


class EveryStep(torch.nn.Module):
    """Tokens as unit vectors, a recurrent layer, and a linear head on each of its steps."""

    def __init__(self, cell: str, size: int, forget_bias: float | None = None):
        super().__init__()
        self.rnn = LAYERS[cell](SYMBOLS_IN, size, batch_first=True)
        self.head = torch.nn.Linear(size, SYMBOLS_OUT)
        if forget_bias is not None:
            with torch.no_grad():
                self.rnn.bias_ih_l0[size : 2 * size] = forget_bias  # the blocks are i, f, g, o
                self.rnn.bias_hh_l0[size : 2 * size] = 0

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, T) -> logits (B, T, 9)."""
        x = torch.nn.functional.one_hot(tokens, SYMBOLS_IN).float()
        return self.head(self.rnn(x)[0])


def loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy over all steps, in nats."""
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), target.flatten())


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
    train_rng, other_rng = np.random.default_rng([seed, delay]).spawn(2)
    torch.manual_seed(seed)
    size = hidden_size(cell, setting["parameters"], SYMBOLS_IN, SYMBOLS_OUT)
    model = EveryStep(cell, size, setting["forget_bias"])
    history = fit(
        model,
        lambda rng: tasks.copy_memory(setting["batch"], delay, rng),
        loss=loss,
        optimizer=torch.optim.Adam(model.parameters(), lr=setting["lr"]),
        epochs=setting["epochs"],
        steps_per_epoch=setting["steps_per_epoch"],
        batch_size=250,
        rng=train_rng,
        validation=tasks.copy_memory(250, delay, other_rng),
        max_norm=setting["max_norm"],
        progress=False,
    )
    test = tasks.copy_memory(1000, delay, other_rng)
    with torch.no_grad():
        answer = model(torch.from_numpy(test.x)).argmax(dim=2)[:, -10:].numpy()
    return {
        "test_loss": evaluate(model, test, loss=loss, batch_size=250),
        "recalled": float(np.mean(answer == test.target[:, -10:])),
        "curve": np.round(history.validation_loss, 6),
        "hidden_size": size,
        "parameters": sum(p.numel() for p in model.parameters()),
    }
