"""How many units, and how long to train them: two choices that cannot be made one by one.

A GRU reads windows of twelve months of the temperature of the sea (``tasks.real_series("elnino")``)
and says the next month; five rolling origins on the part before the test part, for every number of
units and every number of epochs. The learning rate falls to zero over the epochs there are.
"""

import numpy as np

from rnnbook import tasks
from rnnbook.estimator import RecurrentRegressor
from rnnbook.extras import needed
from rnnbook.forecast import chronological_split, examples

with needed("estimator"):
    from sklearn.model_selection import TimeSeriesSplit, cross_val_score

SEEDS = 5
WINDOW = 12
UNITS = (2, 4, 8, 16, 32, 64)
EPOCHS = (20, 60, 150)


def before_test() -> tuple[np.ndarray, np.ndarray]:
    """Windows (n, 12) and the month that follows each, (n,), none of it from the test part."""
    series = tasks.real_series("elnino").values
    windows, following = examples(series, WINDOW)
    end = chronological_split(len(series)).test_start - WINDOW
    return windows[:end], following[:end]


def settings(quick: bool) -> list[dict]:
    """All combinations; the quick version has the smallest two."""
    if quick:
        return [{"units": units, "epochs": 2} for units in UNITS[:2]]
    return [{"units": units, "epochs": epochs} for epochs in EPOCHS for units in UNITS]


def run(setting: dict, seed: int) -> dict:
    """Cross-validate one network.

    Returns:
        rmse: the root mean squared error in degrees Celsius, mean over the rolling origins;
        folds: of each of them, the earliest first.
    """
    X, y = before_test()
    network = RecurrentRegressor(
        "GRU", setting["units"], epochs=setting["epochs"], random_state=seed
    )
    folds = -cross_val_score(
        network, X, y, cv=TimeSeriesSplit(5), scoring="neg_root_mean_squared_error"
    )
    return {"rmse": folds.mean(), "folds": folds.round(4).tolist()}
