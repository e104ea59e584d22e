"""Which cells count? a^n b^n, trained with n up to 10 and tested far beyond.

After the first b a network that has counted knows every symbol to come. A run's score is the
largest N up to which it gets every n right: all b's announced, and the end at the right place.

Source: Weiss, Goldberg & Yahav, "On the practical computational power of finite precision RNNs for
language recognition", ACL 2018.
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
from rnnbook.tasks import Batch, one_hot
from rnnbook.train import fit

SEEDS = 8
TRAINED_TO, TESTED_TO, SYMBOLS = 10, 60, 3
LAYERS: dict[str, type[RecurrentLayer]] = {"RNN": FusedRNN, "LSTM": FusedLSTM, "GRU": FusedGRU}
UNITS = {"RNN": 22, "LSTM": 10, "GRU": 12}  # about 600 weights in the layer each


def strings(size: int, rng: np.random.Generator, least_n: int = 1, most_n: int = TRAINED_TO):
    """Strings # a^n b^n # with their symbols as unit vectors."""
    batch = tasks.counting_language(size, rng, least_n=least_n, most_n=most_n)
    assert batch.mask is not None  # its targets belong to steps
    x = one_hot(batch.x, SYMBOLS) * batch.mask[:, :, None]
    return Batch(x, batch.target, batch.lengths, batch.mask)


def counts_to(model, most_n: int = TESTED_TO) -> int:
    """The largest N such that every n = 1 ... N is continued without an error."""
    rng = np.random.default_rng(0)
    for n in range(1, most_n + 1):
        string = strings(1, rng, least_n=n, most_n=n)
        said = model.forward(string.x, string.lengths).argmax(axis=2)
        if not np.array_equal(said[0, n + 1 :], string.target[0, n + 1 :]):
            return n - 1
    return most_n


def settings(quick: bool) -> list[dict]:
    """The three cells at about equal numbers of parameters."""
    steps = 30 if quick else 2000
    return [
        {"cell": cell, "steps": steps, "batch": 32, "lr": 0.01, "max_norm": 1.0} for cell in LAYERS
    ]


def run(setting: dict, seed: int) -> dict:
    """Train one network and see how far it counts.

    Returns:
        counts_to: the score; train_loss: the mean over the last epoch; parameters of the layer.
    """
    data, weights = np.random.default_rng(seed).spawn(2)
    units = UNITS[setting["cell"]]
    layer = LAYERS[setting["cell"]](SYMBOLS, units, dtype=np.float32, rng=weights)
    head = Linear(units, SYMBOLS, dtype=np.float32, rng=weights)
    model = SequenceModel(layer, head, many_to="many")
    steps = setting["steps"]
    history = fit(
        model,
        lambda rng: strings(setting["batch"], rng),
        loss=losses.softmax_cross_entropy,
        optimizer=optim.Adam(model.params, lr=setting["lr"]),
        epochs=10,
        steps_per_epoch=steps // 10,
        rng=data,
        max_norm=setting["max_norm"],
        schedule=lambda step: min(1.0, 2 * (1 - step / steps)),
        progress=False,
    )
    return {
        "counts_to": counts_to(model),
        "train_loss": history.train_loss[-1],
        "parameters": sum(value.size for value in layer.params.values()),
    }
