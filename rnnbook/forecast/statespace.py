"""ETS and SARIMA, by statsmodels, forecasting from every origin at the price of one pass.

Both are linear state-space models. With the state a_o that the filter predicts for step o from all
earlier values,

    f_1 = Z a_o + d_o,     a_(o+1) = T a_o + c,     f_2 = Z a_(o+1) + d_(o+1),  ...

so one filter over the series gives the forecasts from all of its places, and none of them reads
what comes after its origin.
Source: Durbin & Koopman, "Time Series Analysis by State Space Methods" (2012), sections 4.3, 4.11.
"""

import warnings
from collections.abc import Callable

import numpy as np

from rnnbook.extras import needed

with needed("forecast"):
    import pandas as pd
    from statsmodels.tsa.statespace.exponential_smoothing import ExponentialSmoothing
    from statsmodels.tsa.statespace.sarimax import SARIMAX


class StateSpace:
    """A model of statsmodels whose parameters are fitted by maximum likelihood.

    Args:
        make: from a series, and what is known beside it or None, to a model of statsmodels.
    """

    def __init__(self, make: Callable):
        self.make = make

    def fit(self, y: "pd.Series", exog: "pd.DataFrame | None" = None) -> "StateSpace":
        """Find the parameters. Returns itself."""
        with warnings.catch_warnings():  # on starting values and convergence: the backtest judges
            warnings.simplefilter("ignore")
            self.fitted_ = self.make(y, exog).fit(disp=False, maxiter=200)
        return self

    def predict(self, steps: int, exog: "pd.DataFrame | None" = None) -> "pd.Series":
        """The ``steps`` values after the series that was fitted."""
        more = {} if exog is None else {"exog": exog.iloc[:steps]}
        return self.fitted_.forecast(steps, **more)

    def from_origins(
        self, y: "pd.Series", origins: np.ndarray, steps: int, exog: "pd.DataFrame | None" = None
    ) -> np.ndarray:
        """Forecasts (N, K) from places of ``y``, with the parameters that were fitted."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = self.make(y, exog)
            state = model.filter(self.fitted_.params).predicted_state[:, origins]
        design, transition = (model.ssm[name] for name in ("design", "transition"))
        shift = model.ssm["state_intercept"].reshape(len(state), -1)[:, -1:]
        level = np.broadcast_to(model.ssm["obs_intercept"].ravel(), len(y))  # with what is beside
        forecasts = np.empty((len(origins), steps))
        for k in range(steps):
            forecasts[:, k] = (design @ state)[0] + level[origins + k]
            state = transition @ state + shift
        return forecasts


def ets(season: int | None, *, trend: bool = False, damped: bool = False) -> StateSpace:
    """Exponential smoothing with additive errors: level, and trend and season where asked for.

    Source: Hyndman, Koehler, Ord & Snyder, "Forecasting with Exponential Smoothing" (2008),
    chapter 2. It takes nothing that is known beside the series.
    """
    return StateSpace(
        lambda y, exog: ExponentialSmoothing(
            y, trend=trend, damped_trend=damped, seasonal=season, initialization_method="estimated"
        )
    )


def sarima(
    order: tuple[int, int, int],
    seasonal_order: tuple[int, int, int] = (0, 0, 0),
    season: int | None = None,
    *,
    drift: bool = False,
) -> StateSpace:
    """ARIMA (p, d, q) with a seasonal part (P, D, Q); ``drift`` adds a constant to the changes.

    What is known beside the series enters linearly. Source: Box & Jenkins, "Time Series Analysis:
    Forecasting and Control" (1970).
    """
    return StateSpace(
        lambda y, exog: SARIMAX(
            y,
            exog=exog,
            order=order,
            seasonal_order=(*seasonal_order, season or 0),
            trend="c" if drift else None,
            concentrate_scale=True,
        )
    )
