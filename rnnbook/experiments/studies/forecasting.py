"""Two networks on five series: settings by rolling origins, the test part once.

Each run takes one candidate of ``rnnbook.forecast`` and one series. The first 80 % of the values
choose the settings: three times the network is trained anew, on what lies before a block, and
forecasts from places in that block. With what won there it is trained on all of the 80 %, and
forecasts from every place of the last 20 %. What costs no seeds runs in ``forecast_baselines``.
"""

import numpy as np

from rnnbook import tasks
from rnnbook.extras import needed
from rnnbook.forecast import (
    backtest,
    candidates,
    choose,
    chronological_split,
    conformal,
    naive_error,
)

with needed("forecast"):
    import pandas as pd

SEEDS = 8
FOLDS = 3
COVERAGE = 0.8
NETWORKS = ("feed-forward", "LSTM")
# window, season, horizon
SHAPES = {
    "sunspots": (22, 11, 11),
    "co2": (24, 12, 24),
    "elnino": (12, 12, 12),
    "sines": (32, 16, 16),
    "mackey-glass": (24, 17, 24),
}
STARTS = {"sunspots": ("1700", "YS"), "co2": ("1958-03", "MS"), "elnino": ("1950-01", "MS")}


def load(name: str) -> "pd.Series":
    """One of the five series; the generated ones are the same at every call."""
    if name == "sines":  # two sines of unknown periods, and noise with standard deviation 0.2
        values = tasks.sine_mixture(1, 600, np.random.default_rng(3), noise=0.2).x[0, :, 0]
    elif name == "mackey-glass":
        values = tasks.mackey_glass(800, np.random.default_rng(0))
    else:
        start, step = STARTS[name]
        values = tasks.real_series(name).values
        index = pd.date_range(start, periods=len(values), freq=step)
        return pd.Series(values, index, name=name)
    return pd.Series(values, name=name)


def settings(quick: bool) -> list[dict]:
    """Each network on each series."""
    names = ["sunspots"] if quick else list(SHAPES)
    return [{"series": name, "candidate": network} for name in names for network in NETWORKS]


def canary() -> list[tuple[dict, int]]:
    """The networks on the shortest series."""
    return [(setting, 0) for setting in settings(True)]


def first_origin(known: int) -> int:
    """Where the blocks begin that choose, of ``known`` values before the test part: halfway."""
    return known - FOLDS * (known // 6)


def run(setting: dict, seed: int) -> dict:
    """Choose, train, forecast.

    Returns:
        chosen: the settings; at_edge: those whose best is the last that was allowed; tried: how
        many; validation: the root mean squared error by which they were chosen;
        rmse, mase: on the test part, 1 ... K steps ahead;
        loss_one, loss_all: the squared error of each origin, one step ahead and on average over the
        horizon; covered: the share of values at 1 ... K steps ahead that lie in the 80 % intervals
        made from the errors of the rolling origins; widths: their half-widths.
    """
    y = load(setting["series"])
    window, season, horizon = SHAPES[setting["series"]]
    test_start = chronological_split(len(y)).test_start
    known, start = y.iloc[:test_start], first_origin(test_start)
    stride = max(1, (test_start - start) // 36)
    family = candidates(y.index, season=season, window=window, seeds=[seed])
    candidate = family[setting["candidate"]]
    found = choose(candidate, known, horizon, start=start, refits=FOLDS, stride=stride)
    forecaster = candidate.make(**found.best)
    origins = {"steps": horizon, "stride": stride, "refits": FOLDS}
    half = conformal(backtest(forecaster, known, start, **origins).errors, COVERAGE)
    tested = backtest(forecaster, y, test_start, horizon)
    squares = tested.errors**2
    return {
        "chosen": found.best,
        "at_edge": found.at_edge,
        "tried": len(found.tried),
        "validation": significant(found.score),
        "rmse": significant(tested.rmse()),
        "mase": significant(tested.mase(naive_error(known, season))),
        "loss_one": significant(squares[:, 0]),
        "loss_all": significant(squares.mean(axis=1)),
        "covered": np.mean(np.abs(tested.errors) <= half, axis=0).round(4),
        "widths": significant(half),
    }


def significant(values, digits: int = 5):
    """Rounded to so many significant digits: a float, or a list of them."""
    rounded = [float(f"{value:.{digits - 1}e}") for value in np.atleast_1d(values)]
    return rounded if np.ndim(values) else rounded[0]
