"""The forecasters that are compared: what costs nothing, what a forecaster would use, the network.

Each candidate is a family of forecasters and the grid in which its settings are chosen; the same
rule, ``choose``, chooses for all of them. What reads a window of W values becomes a forecaster
through skforecast, which lets it read its own forecasts (``ForecasterRecursive``).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rnnbook.estimator import RecurrentRegressor
from rnnbook.extras import needed
from rnnbook.forecast.backtest import backtest
from rnnbook.forecast.search import Search, widened_search
from rnnbook.forecast.statespace import ets, sarima

with needed("forecast"):
    import pandas as pd
    from skforecast.direct import ForecasterDirect
    from skforecast.preprocessing import CalendarFeatures
    from skforecast.recursive import ForecasterEquivalentDate, ForecasterRecursive
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.ensemble import VotingRegressor
    from sklearn.kernel_ridge import KernelRidge
    from sklearn.linear_model import Ridge
    from sklearn.neural_network import MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

# What of a date tells where in its seasons a step lies, by the step's unit in pandas.
CALENDAR = {
    "h": ["hour", "day_of_week", "month"],
    "D": ["day_of_week", "month"],
    "B": ["day_of_week", "month"],
    "W": ["month"],
    "M": ["month"],
    "BM": ["month"],
    "Q": ["quarter"],
    "BQ": ["quarter"],
}


@dataclass(frozen=True)
class Candidate:
    """A family of forecasters: ``make(**setting)`` for each setting of ``grid``.

    Attributes:
        limits: how far the grid of a parameter may be widened (see ``widened_search``).
    """

    name: str
    make: Callable[..., Any]
    grid: Mapping[str, Sequence] = field(default_factory=dict)
    limits: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def calendar_features(index: "pd.Index") -> "CalendarFeatures | None":
    """One-hot columns for the calendar of an index with dates, or None where it has none."""
    step = getattr(index, "freqstr", None) or ""
    unit = step.split("-")[0].lstrip("0123456789").removesuffix("S").removesuffix("E")
    names = CALENDAR.get(unit)
    if names is None:
        return None
    return CalendarFeatures(features=names, encoding="onehot", keep_original_columns=False)


def candidates(
    index: "pd.Index",
    *,
    season: int | None,
    window: int,
    hidden: int = 16,
    cell: str = "LSTM",
    seeds: Sequence[int] = (0,),
    direct: int | None = None,
) -> dict[str, Candidate]:
    """All candidates for series with this index, the simplest first.

    Args:
        season: steps of a season; None for none, and then there are no seasonal candidates.
        window: W, how many values those read that read a window.
        hidden: units of the recurrent layer.
        cell: "RNN", "LSTM" or "GRU"; the network goes by its name.
        seeds: of the networks; with several, the mean of what they say one step ahead counts.
        direct: so many models, one for each step ahead, in place of one that reads its own
            forecasts, for what reads a window.
    """
    dates = calendar_features(index)
    shared = {"changes": [False, True]} | ({"calendar": [False, True]} if dates else {})

    def windowed(regressor, changes: bool, calendar: bool = False):
        options = {
            "lags": window,
            "differentiation": 1 if changes else None,
            "calendar_features": dates if calendar else None,
        }
        if direct is None:
            return ForecasterRecursive(regressor, **options)
        return ForecasterDirect(regressor, steps=direct, n_jobs=1, **options)

    def scaled(regressor):
        """Inputs and target with mean 0 and deviation 1, by the training part."""
        return TransformedTargetRegressor(
            make_pipeline(StandardScaler(), regressor), transformer=StandardScaler()
        )

    def ridge(penalty: float, **options):
        return windowed(scaled(Ridge(alpha=penalty, solver="svd")), **options)

    def kernel_ridge(penalty: float, width: float, **options):
        kernel = KernelRidge(kernel="rbf", alpha=penalty, gamma=1 / (2 * window * width**2))
        return windowed(scaled(kernel), **options)

    def feed_forward(decay: float, **options):
        networks = [feed_forward_network(hidden, decay, seed) for seed in seeds]
        return windowed(mean_of([scaled(network) for network in networks]), **options)

    def recurrent(epochs: int, **options):
        networks = [
            RecurrentRegressor(
                cell, hidden, epochs=epochs, window=window, latest_first=True, random_state=seed
            )
            for seed in seeds
        ]
        return windowed(mean_of(networks), **options)

    found = [Candidate("persistence", lambda: ForecasterEquivalentDate(offset=1))]
    if season:
        found += [
            Candidate("seasonal naive", lambda: ForecasterEquivalentDate(offset=season)),
            Candidate(
                "seasonal naive with drift",
                lambda: sarima((0, 0, 0), (0, 1, 0), season, drift=True),
            ),
        ]
    else:
        found.append(Candidate("drift", lambda: sarima((0, 1, 0), drift=True)))
    small = season if season and season <= 24 else None  # the filter's state holds each step of it
    seasons = [None, small] if small else [None]
    orders = [(2, 0, 0), (1, 0, 1), (0, 1, 1), (2, 1, 1)]
    parts = [(0, 0, 0), (0, 1, 1)] if small else [(0, 0, 0)]
    found += [
        Candidate(
            "ridge-AR",
            ridge,
            {"penalty": [0.01, 1.0, 100.0], **shared},
            {"penalty": (1e-14, 1e8)},
        ),
        Candidate(
            "kernel ridge",
            kernel_ridge,
            {"penalty": [1e-4, 1e-2, 1.0], "width": [1.0, 3.0, 9.0], **shared},
            {"penalty": (1e-14, 1e4), "width": (0.1, 100.0)},
        ),
        Candidate(
            "feed-forward",
            feed_forward,
            {"decay": [0.01, 0.1, 1.0], **shared},
            {"decay": (1e-6, 1e4)},
        ),
        Candidate(
            "ETS",
            lambda trend, seasonal: ets(seasonal, trend=trend != "none", damped=trend == "damped"),
            {"trend": ["none", "straight", "damped"], "seasonal": seasons},
        ),
        Candidate(
            "SARIMA",
            lambda order, seasonal: sarima(order, seasonal, small),
            {"order": orders, "seasonal": parts},
        ),
        Candidate(cell, recurrent, {"epochs": [25, 75], **shared}, {"epochs": (2, 700)}),
    ]
    return {candidate.name: candidate for candidate in found}


def feed_forward_network(hidden: int, decay: float, seed: int) -> "MLPRegressor":
    """One hidden layer on the whole window, trained by L-BFGS with weight decay."""
    return MLPRegressor(
        hidden_layer_sizes=(hidden,),
        alpha=decay,
        solver="lbfgs",
        max_iter=500,
        random_state=seed,
    )


def mean_of(regressors: list):
    """One regressor that says the mean of what several say."""
    if len(regressors) == 1:
        return regressors[0]
    return VotingRegressor([(f"seed {k}", regressor) for k, regressor in enumerate(regressors)])


def choose(
    candidate: Candidate,
    y: "pd.Series",
    steps: int,
    *,
    start: int,
    refits: int = 3,
    stride: int = 1,
    exog: "pd.DataFrame | None" = None,
) -> Search:
    """Choose the settings of a candidate by rolling origins in ``y``, from ``start`` on.

    The error over all origins and all steps ahead counts. A setting that cannot be fitted to so
    few values is not chosen.
    """

    def score(**setting) -> float:
        try:
            forecaster = candidate.make(**setting)
            with np.errstate(all="ignore"):
                found = backtest(
                    forecaster, y, start, steps, stride=stride, refits=refits, exog=exog
                )
            return found.overall()
        except np.linalg.LinAlgError:  # no likelihood: too few values
            return float("inf")

    return widened_search(score, candidate.grid, candidate.limits)
