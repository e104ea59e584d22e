"""Forecast a series, and compare the network with what costs nothing (``worked_example``).

    python -m rnnbook.forecast data.csv --column y

The file's rows are equally spaced in time, the earliest first. Its first part trains, the next one
says when to stop, the last one is looked at once. What comes out: the errors of an LSTM (several
seeds) and of four baselines, one step ahead and running free; a figure; the forecast beyond the
end; the weights.

Dimensions: N windows of W values, K steps ahead. A *predictor* is a function from windows (N, W)
to the values that follow them, (N,). A series is anything one-dimensional with finite real numbers,
and is computed with in float64; an index that it has plays no part, the order of its rows does.
"""

from rnnbook.forecast.command import main
from rnnbook.forecast.figure import plot_errors
from rnnbook.forecast.files import read_series, read_table
from rnnbook.forecast.model import LSTMForecaster, compare
from rnnbook.forecast.predictors import (
    baselines,
    mean_predictor,
    persistence,
    ridge_ar,
    seasonal_predictor,
)
from rnnbook.forecast.series import (
    Predictor,
    Scaler,
    Split,
    chronological_split,
    examples,
    free_run,
    rolling_errors,
    rolling_origins,
)
from rnnbook.forecast.steps import BadFile, season_of

__all__ = [
    "BadFile",
    "LSTMForecaster",
    "Predictor",
    "Scaler",
    "Split",
    "baselines",
    "chronological_split",
    "compare",
    "examples",
    "free_run",
    "main",
    "mean_predictor",
    "persistence",
    "plot_errors",
    "read_series",
    "read_table",
    "ridge_ar",
    "rolling_errors",
    "rolling_origins",
    "season_of",
    "seasonal_predictor",
]
