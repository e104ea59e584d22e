"""A network that writes: names of numbers, character by character, at several temperatures.

Each run trains one small network on 2000 names of numbers below a million (``rnnbook.tasks``) and
lets it write 1000 more. Their entropy is known exactly, and so is the loss of a model that does
everything right but forgets whether "thousand" has come (chapter ``faq``).
"""

import math

import numpy as np

from rnnbook import tasks
from rnnbook.generate import generate
from rnnbook.scratch import (
    Embedding,
    FusedGRU,
    FusedLSTM,
    Linear,
    SequenceModel,
    init,
    losses,
    optim,
)
from rnnbook.scratch.schedules import cosine
from rnnbook.train import evaluate, fit

SEEDS = 5
TEMPERATURES = (0.3, 0.5, 0.7, 1.0, 1.25, 1.5)
SYMBOLS = len(tasks.NUMBER_CHARACTERS)


def settings(quick: bool) -> list[dict]:
    """Three layers of 64 units: LSTM with an open forget gate, LSTM and GRU as they come."""
    size = {"names": 200, "epochs": 2} if quick else {"names": 2000, "epochs": 9}
    return [
        {"layer": layer, "units": 64, **size, "batch": 16, "lr": 0.01}
        for layer in ("LSTM, forget bias 3", "LSTM", "GRU")
    ]


def canary() -> list[tuple[dict, int]]:
    """The first layer alone: a run takes two seconds."""
    return [(settings(True)[0], 0)]


def build(layer: str, units: int, rng: np.random.Generator) -> SequenceModel:
    """Embedding of 16 numbers, one recurrent layer, a head over the characters."""
    cell = FusedGRU if layer == "GRU" else FusedLSTM
    rnn = cell(16, units, dtype=np.float32, rng=rng)
    if layer == "LSTM, forget bias 3":
        init.set_forget_bias(rnn, 3.0)
    return SequenceModel(
        rnn,
        Linear(units, SYMBOLS, dtype=np.float32, rng=rng),
        embedding=Embedding(SYMBOLS, 16, dtype=np.float32, rng=rng),
        many_to="many",
    )


def run(setting: dict, seed: int) -> dict:
    """Train one network, measure its loss, and let it write.

    Returns:
        test_loss: per character, on 2000 names; least_loss: the true model's on the same names,
        ln(1 000 000) each; curve: the training loss of each epoch; and for each of
        ``TEMPERATURES`` (keys such as "correct 0.5") the shares of 1000 strings that are correct
        names, that are correct and no training name, and the number of different strings / 1000.
    """
    data, weights, drawing = np.random.default_rng(seed).spawn(3)
    train, test = (tasks.number_names(n, data) for n in (setting["names"], 2000))
    assert test.mask is not None  # its targets belong to steps
    model = build(setting["layer"], setting["units"], weights)
    steps = setting["epochs"] * math.ceil(setting["names"] / setting["batch"])
    history = fit(
        model,
        train,
        loss=losses.softmax_cross_entropy,
        optimizer=optim.Adam(model.params, lr=setting["lr"]),
        epochs=setting["epochs"],
        batch_size=setting["batch"],
        rng=data,
        max_norm=1.0,
        schedule=cosine(steps),
        progress=False,
    )
    metrics = {
        "test_loss": round(evaluate(model, test, loss=losses.softmax_cross_entropy), 5),
        "least_loss": round(len(test) * math.log(1_000_000) / int(test.mask.sum()), 5),
        "curve": np.round(history.train_loss, 5),
    }
    known = {tasks.number_text(x) for x in train.x}
    for temperature in TEMPERATURES:
        strings = generate(model, 1000, drawing, temperature=temperature)
        texts = [tasks.number_text(string) for string in strings]
        correct = [text for text in texts if tasks.named_number(text) is not None]
        metrics |= {
            f"correct {temperature}": len(correct) / 1000,
            f"new {temperature}": sum(text not in known for text in correct) / 1000,
            f"different {temperature}": len(set(texts)) / 1000,
        }
    return metrics
