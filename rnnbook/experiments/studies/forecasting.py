"""An LSTM that predicts values or changes, chosen on rolling origins, tested once, on four series.

The part "validation" sees the first 80 % of a series only: three blocks at its end, each forecast
by networks that were trained anew on what comes before it. ``RELATIVE`` holds what won there, and
the part "test" looks at the last 20 % with that choice and no other.
"""

import numpy as np

from rnnbook import tasks
from rnnbook.forecast import LSTMForecaster, chronological_split, rolling_errors, rolling_origins

SEEDS = 5
FOLDS = 3
# window, season, horizon
SHAPES = {
    "sunspots": (22, 11, 11),
    "co2": (24, 12, 24),
    "sines": (32, 16, 16),
    "mackey-glass": (24, 17, 24),
}
RELATIVE = {"sunspots": False, "co2": True, "sines": False, "mackey-glass": False}


def load(name: str) -> np.ndarray:
    """One of the four series; the generated ones are the same at every call."""
    if name == "sines":  # two sines of unknown periods, and noise with standard deviation 0.2
        return tasks.sine_mixture(1, 600, np.random.default_rng(3), noise=0.2).x[0, :, 0]
    if name == "mackey-glass":
        return tasks.mackey_glass(800, np.random.default_rng(0))
    return tasks.real_series(name).values


def settings(quick: bool) -> list[dict]:
    """Values or changes on the validation blocks; what was chosen on the test part."""
    names = ["sunspots"] if quick else list(SHAPES)
    validation = [
        {"series": name, "relative": relative, "part": "validation"}
        for name in names
        for relative in (False, True)
    ]
    return validation + [
        {"series": name, "relative": RELATIVE[name], "part": "test"} for name in names
    ]


def run(setting: dict, seed: int) -> dict:
    """Train and forecast.

    Returns:
        rmse: at 1 ... K steps ahead (of the validation blocks: the root of the mean square);
        overall: the root mean square over all steps ahead.
    """
    values = load(setting["series"])
    window, _, horizon = SHAPES[setting["series"]]
    rng = np.random.default_rng(seed)
    split = chronological_split(len(values))
    if setting["part"] == "test":
        blocks = [(split.test_start, len(values), split.train_end)]
    else:
        size = split.test_start // 6
        blocks = [
            (start, end, start - start // 6)  # the sixth before the block says when to stop
            for start, end in rolling_origins(split.test_start, folds=FOLDS, size=size)
        ]
    squares = []
    for start, end, train_end in blocks:
        network = LSTMForecaster(window, relative=setting["relative"], rng=rng)
        network.fit(values[:start], train_end)
        squares.append(rolling_errors(network, values[:end], start, window, horizon) ** 2)
    rmse = np.sqrt(np.mean(squares, axis=0))
    return {"rmse": rmse.round(6), "overall": float(np.sqrt(np.mean(squares)))}
