"""How do the first recurrent weights decide what is learned? The adding problem over T.

Adam, clipped to norm 1, over a grid of rates; the chapter chooses the rate by the first seeds and
reports the others.
"""

import numpy as np

from rnnbook import tasks
from rnnbook.scratch import FusedRNN, Linear, SequenceModel, init, losses, optim
from rnnbook.train import evaluate, fit

SEEDS = 8
RATES = {"tanh": (0.001, 0.003, 0.01, 0.03), "relu": (0.0003, 0.001, 0.003, 0.01, 0.03)}


def glorot(layer: FusedRNN, rng: np.random.Generator) -> None:
    """Glorot's bound for the recurrent matrix too: uniform within sqrt(6 / (H + H))."""
    weight = layer.params["weight_hh_l0"]
    bound = np.sqrt(6 / sum(weight.shape))
    weight[...] = rng.uniform(-bound, bound, weight.shape)


INITIALIZATIONS = {
    "default": lambda layer, rng: None,
    "Glorot": glorot,
    "orthogonal": lambda layer, rng: init.orthogonal_(layer, rng=rng),
    "identity": lambda layer, rng: init.identity_(layer),
}


def settings(quick: bool) -> list[dict]:
    """Three initializations for tanh, three for relu, at each T and rate.

    The grids were widened until the best rate lay inside, wherever anything was learned.
    """
    common = {"hidden_size": 16 if quick else 32, "updates": 100 if quick else 1000, "batch": 32}
    return [
        {"nonlinearity": nonlinearity, "init": name, "T": T, "lr": lr} | common
        for T in ((10,) if quick else (15, 30, 60))
        for nonlinearity, names in {
            "tanh": ("default", "Glorot", "orthogonal"),
            "relu": ("default", "orthogonal", "identity"),
        }.items()
        for name in names
        for lr in ((0.001, 0.003) if quick else RATES[nonlinearity])
    ]


def run(setting: dict, seed: int) -> dict:
    """Train and test one network.

    Returns:
        test_mse: on 2000 fresh sequences; curve: the mean training loss of each twentieth.
    """
    weights_rng, train_rng, test_rng = np.random.default_rng(seed).spawn(3)
    hidden_size, steps = setting["hidden_size"], setting["T"]
    layer = FusedRNN(2, hidden_size, nonlinearity=setting["nonlinearity"], rng=weights_rng)
    INITIALIZATIONS[setting["init"]](layer, weights_rng)
    model = SequenceModel(layer, Linear(hidden_size, 1, rng=weights_rng))
    history = fit(
        model,
        lambda rng: tasks.adding_problem(setting["batch"], steps, rng),
        loss=losses.mse,
        optimizer=optim.Adam(model.params, lr=setting["lr"]),
        epochs=1,
        steps_per_epoch=setting["updates"],
        rng=train_rng,
        max_norm=1.0,
        progress=False,
    )
    test = tasks.adding_problem(2000, steps, test_rng)
    return {
        "test_mse": evaluate(model, test, loss=losses.mse),
        "curve": [round(float(part.mean()), 6) for part in np.array_split(history.loss, 20)],
    }
