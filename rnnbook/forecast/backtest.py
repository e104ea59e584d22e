"""Forecasts from many origins, each made from what lies before it, beside what came.

    e_nk = y_(o_n + k - 1) - f_nk          error of the forecast from origin o_n, k steps ahead

An *origin* is the first of the K values that are forecast. Dimensions: N origins, K steps ahead.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnbook.checks import (
    check_between,
    check_positive,
    check_shape,
    check_whole,
    finite_series,
    real_numbers,
)
from rnnbook.extras import needed
from rnnbook.forecast.statespace import StateSpace

with needed("forecast"), warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="IProgress")  # of a progress bar in notebooks
    import pandas as pd
    from skforecast.model_selection import TimeSeriesFold, backtesting_forecaster
    from sklearn.exceptions import ConvergenceWarning


@dataclass(frozen=True)
class Backtest:
    """What was forecast from each origin, and what came: (N,), (N, K), (N, K)."""

    origins: np.ndarray
    forecasts: np.ndarray
    truth: np.ndarray

    @property
    def errors(self) -> np.ndarray:
        """Truth minus forecast, (N, K)."""
        return self.truth - self.forecasts

    def rmse(self) -> np.ndarray:
        """Root mean squared error over the origins, 1 ... K steps ahead, (K,)."""
        return np.sqrt(np.mean(self.errors**2, axis=0))

    def overall(self) -> float:
        """Root mean squared error over all origins and all steps ahead: by it models are chosen."""
        return float(np.sqrt(np.mean(self.errors**2)))

    def mase(self, scale: float) -> np.ndarray:
        """Mean absolute scaled error at 1 ... K steps ahead, (K,); ``scale`` as ``naive_error``."""
        return np.mean(np.abs(self.errors), axis=0) / scale


def naive_error(train, season: int = 1) -> float:
    """What MASE divides by: the mean absolute change from one season to the next, in ``train``.

    Source: Hyndman & Koehler, "Another look at measures of forecast accuracy" (2006), section 3.
    """
    values = finite_series("train", train)
    season = check_whole("season", season, 1, len(values) - 1)
    return float(np.mean(np.abs(values[season:] - values[:-season])))


def backtest(
    forecaster: Any,
    y: "pd.Series",
    start: int,
    steps: int,
    *,
    stride: int = 1,
    refits: int = 1,
    exog: "pd.DataFrame | None" = None,
) -> Backtest:
    """Forecast ``steps`` values from every ``stride``-th place of ``y``, from ``start`` on.

    Before the first origin the forecaster is trained on all that lies before it; with ``refits``
    above 1 so many times in all, at equal distances (*rolling origins*). In between its parameters
    stay, and it reads the values that have come. It is not changed.

    Args:
        forecaster: one of skforecast's (recursive, direct, equivalent date), or a ``StateSpace``.
        exog: what is known of every step beforehand, aligned with ``y``.
    Raises:
        ValueError: where fewer than ``steps`` values follow ``start``.
    Source:
        Tashman, "Out-of-sample tests of forecasting accuracy" (2000), on rolling origins.
    """
    steps, stride = check_positive("steps", steps), check_positive("stride", stride)
    start = check_whole("start", start, 1, len(y) - steps)
    refits = check_positive("refits", refits)
    origins = np.arange(start, len(y) - steps + 1, stride)
    every = -(-len(origins) // refits)
    values = y.to_numpy(dtype=np.float64)
    truth = np.lib.stride_tricks.sliding_window_view(values, steps)[origins]
    if isinstance(forecaster, StateSpace):
        parts = []
        for block in np.split(origins, np.arange(every, len(origins), every)):
            forecaster.fit(y.iloc[: block[0]], None if exog is None else exog.iloc[: block[0]])
            parts.append(forecaster.from_origins(y, block, steps, exog))
        return Backtest(origins, np.concatenate(parts), truth)
    cv = TimeSeriesFold(
        steps=steps,
        initial_train_size=start,
        fold_stride=stride,
        differentiation=getattr(forecaster, "differentiation", None),
        refit=every if refits > 1 else False,
        fixed_train_size=False,
        allow_incomplete_fold=False,
        verbose=False,
    )
    with warnings.catch_warnings():  # a network that stopped early: the errors tell
        warnings.simplefilter("ignore", ConvergenceWarning)
        _, table = backtesting_forecaster(
            forecaster,
            y,
            cv,
            metric="mean_squared_error",
            exog=exog,
            n_jobs=1,
            show_progress=False,
            suppress_warnings=True,
        )
    return Backtest(origins, table["pred"].to_numpy().reshape(len(origins), steps), truth)


def conformal(errors: np.ndarray, coverage: float = 0.8) -> np.ndarray:
    """Half-widths (K,) of prediction intervals 1 ... K steps ahead, from held-out errors (N, K).

        q_k = the ceil((N + 1) coverage)-th smallest of |e_1k| ... |e_Nk|

    Were a new error exchangeable with these, f_k -+ q_k would hold the truth with at least this
    probability. Errors of one series from neighboring origins are not: count what is covered. Where
    N is too small for a ``coverage``, the half-width is infinite.
    Source: Lei, G'Sell, Rinaldo, Tibshirani & Wasserman, "Distribution-free predictive inference
    for regression" (2018), section 2.2.
    """
    check_between("coverage", coverage, 0, 1)
    errors = real_numbers("errors", errors, np.float64)
    check_shape("errors", errors, ("N", "K"))
    errors = np.sort(np.abs(errors), axis=0)
    rank = int(np.ceil((len(errors) + 1) * coverage - 1e-9))  # 0.55 * 20 exceeds 11
    return errors[rank - 1] if rank <= len(errors) else np.full(errors.shape[1], np.inf)
