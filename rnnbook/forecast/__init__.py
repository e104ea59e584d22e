"""Forecast a series, and compare the network with what a forecaster would use (``worked_example``).

    python -m rnnbook.forecast data.csv --column y

What reads a window becomes a forecaster through skforecast; ETS and SARIMA are statsmodels'. Here
stand the recurrent network among them, the choice of settings by rolling origins, and what a test
part is asked once: errors, intervals, differences in pairs.

Dimensions: N origins, K steps ahead, W values of a window.
"""

from rnnbook.forecast.backtest import Backtest, backtest, conformal, naive_error
from rnnbook.forecast.candidates import Candidate, calendar_features, candidates, choose
from rnnbook.forecast.command import main
from rnnbook.forecast.comparison import Comparison, Plan, compare
from rnnbook.forecast.figure import plot_errors
from rnnbook.forecast.files import read_series, read_table
from rnnbook.forecast.many import Many, compare_many
from rnnbook.forecast.saved import Model, load
from rnnbook.forecast.search import Search, widened_search
from rnnbook.forecast.series import Split, chronological_split, examples
from rnnbook.forecast.statespace import StateSpace, ets, sarima
from rnnbook.forecast.steps import BadFile, season_of
from rnnbook.forecast.verdicts import Difference, holm, paired_difference

__all__ = [
    "Backtest",
    "BadFile",
    "Candidate",
    "Comparison",
    "Difference",
    "Many",
    "Model",
    "Plan",
    "Search",
    "Split",
    "StateSpace",
    "backtest",
    "calendar_features",
    "candidates",
    "choose",
    "chronological_split",
    "compare",
    "compare_many",
    "conformal",
    "ets",
    "examples",
    "holm",
    "load",
    "main",
    "naive_error",
    "paired_difference",
    "plot_errors",
    "read_series",
    "read_table",
    "sarima",
    "season_of",
    "widened_search",
]
