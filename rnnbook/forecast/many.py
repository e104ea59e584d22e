"""Many related series: a model for each by itself, or one that has learned from all of them.

    MASE_s = mean_nk |e_snk| / scale_s        scale_s: ``naive_error`` of its training part

The one for all comes through skforecast's ``ForecasterRecursiveMultiSeries``: each series scaled
by its own mean and deviation, the windows of all in one training set. Dimensions: S series,
N origins, K steps ahead.
Source: Montero-Manso & Hyndman, "Principles and algorithms for forecasting groups of time series"
(2021), on global and local models.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnbook.checks import check_positive, check_whole
from rnnbook.estimator import RecurrentRegressor
from rnnbook.extras import needed
from rnnbook.forecast.backtest import backtest, naive_error
from rnnbook.forecast.candidates import (
    Candidate,
    calendar_features,
    candidates,
    choose,
    feed_forward_network,
    mean_of,
)
from rnnbook.forecast.search import widened_search
from rnnbook.forecast.series import chronological_split
from rnnbook.forecast.verdicts import Difference

with needed("forecast"):
    import pandas as pd
    from scipy import stats
    from skforecast.model_selection import TimeSeriesFold, backtesting_forecaster_multiseries
    from skforecast.recursive import ForecasterRecursiveMultiSeries
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import StandardScaler

ALONE = ("persistence", "seasonal naive", "ridge-AR", "ETS")
ALL = ", all series"


@dataclass(frozen=True)
class Many:
    """What was found: errors of each model and series, settings, and forecasts of the best.

    Attributes:
        names: of the series, in the order of the arrays.
        scales: what MASE divides by, (S,), from the training parts.
        validation, test: truth minus forecast of each model, (S, N, K).
        settings: that were chosen, of each model; a list over series for those by themselves.
        at_edge: of each model, the parameters whose best value is the last that was allowed.
        forecasts: what ``best``, fitted to all values, says beyond the end: (K, S).
    """

    names: list[str]
    scales: np.ndarray
    validation: dict[str, np.ndarray]
    test: dict[str, np.ndarray]
    settings: dict[str, Any]
    at_edge: dict[str, list[str]]
    forecasts: "pd.DataFrame"

    @property
    def best(self) -> str:
        """The model with the least mean MASE on the validation parts."""
        return _least(self.validation, self.scales)

    def mase(self, part: str = "test") -> dict[str, np.ndarray]:
        """MASE of each model and series, over all origins and steps ahead: (S,) each."""
        return {name: _mase(errors, self.scales) for name, errors in getattr(self, part).items()}

    def differences(self, reference: str | None = None) -> dict[str, Difference]:
        """MASE on the test parts minus that of ``reference`` (the best), in pairs of one series.

        Mean and 95 % interval over the series by Student's t, as if they were drawn one by one from
        many such: of series that share their surprises the interval is too short.
        """
        found = self.mase()
        one = found.pop(self.best if reference is None else reference)
        return {name: _paired(other - one) for name, other in found.items()}


def compare_many(
    series: Mapping[str, "pd.Series"],
    steps: int,
    *,
    season: int | None,
    window: int,
    hidden: int = 16,
    cell: str = "LSTM",
    seeds: Sequence[int] = (0,),
    stride: int = 1,
    tell: Callable[[str], None] = lambda name: None,
) -> Many:
    """Compare models of each series by itself with models of all of them.

    By themselves: persistence, the seasonal naive forecast, ridge-AR and ETS, the settings of each
    chosen for each series. Of all: ridge, a feed-forward network and a recurrent one, with and
    without a column for each series, with or without the calendar, on values or their changes; the
    settings with the least mean MASE. All are chosen on the same origins of the validation part,
    trained on what lies before it, and tested on what follows, trained anew on all before that.
    The parts are cut at the same times in all series, so that no model learns of the future of one
    series from another.

    Args:
        series: at least two, with indexes as ``backtest`` needs them; they end together.
        steps: K, how far ahead.
        season: steps of a season; None for none.
        stride: every how many steps there is an origin.
        tell: is called with the name of each model before it is tried.
    Raises:
        ValueError: for too few, too short or constant series, and for those that do not end
            together.
    """
    check_positive("stride", stride)
    frame, scales = check_many(series, steps, season=season, window=window)
    split = chronological_split(len(frame))
    choices = frame[: split.test_start]
    models: dict[str, _Model] = {}
    single = candidates(frame.index, season=season, window=window)
    for name in ALONE:
        if name in single:
            tell(name)
            models[name] = _alone(single[name], choices, split.train_end, steps, stride)
    for candidate in _pooled(frame.index, window, hidden, cell, seeds):
        tell(candidate.name)
        models[candidate.name] = _all(candidate, choices, split.train_end, steps, stride, scales)
    validation = {name: model.errors(choices, split.train_end) for name, model in models.items()}
    test = {name: model.errors(frame, split.test_start) for name, model in models.items()}
    best = _least(validation, scales)
    tell(f"forecasts by {best}")
    return Many(
        list(frame),
        scales,
        validation,
        test,
        {name: model.settings for name, model in models.items()},
        {name: model.at_edge for name, model in models.items()},
        models[best].forecast(frame),
    )


def check_many(
    series: Mapping[str, "pd.Series"], steps: int, *, season: int | None, window: int
) -> "tuple[pd.DataFrame, np.ndarray]":
    """The series side by side, NaN before those that begin later, and what scales each one's MASE.

    Raises:
        ValueError: as ``compare_many``.
    """
    frame = _aligned(series)
    split = chronological_split(len(frame))
    part = min(split.test_start - split.train_end, len(frame) - split.test_start)
    check_whole("steps", steps, 1, part)
    least = max(check_positive("window", window) + 10, 2 * (season or 1) + 10)
    scales = np.empty(frame.shape[1])
    for k, name in enumerate(frame):
        train = _begun(frame[name].iloc[: split.train_end])
        if len(train) < least:
            raise ValueError(
                f"series must have {least} values at least in the training part, for a window of "
                f"{window} and a season of {season or 1}, got {len(train)} of {name!r}."
            )
        scales[k] = naive_error(train, season or 1)
        if scales[k] == 0:
            raise ValueError(f"series must vary, got {name!r} that repeats exactly.")
    return frame, scales


@dataclass(frozen=True)
class _Model:
    """A model with its settings: its errors from a start to the end, (S, N, K), and a forecast."""

    settings: Any
    at_edge: list[str]
    errors: Callable[["pd.DataFrame", int], np.ndarray]
    forecast: Callable[["pd.DataFrame"], "pd.DataFrame"]


def _alone(
    candidate: Candidate, frame: "pd.DataFrame", start: int, steps: int, stride: int
) -> _Model:
    """A model for each series by itself, with settings of its own."""

    def each(frame: "pd.DataFrame", start: int = 0):
        for name in frame:
            y = _begun(frame[name])
            yield y, start - (len(frame) - len(y))

    found = [
        choose(candidate, y, steps, start=first, refits=1, stride=stride)
        for y, first in each(frame, start)
    ]

    def errors(frame: "pd.DataFrame", start: int) -> np.ndarray:
        return np.array(
            [
                backtest(candidate.make(**search.best), y, first, steps, stride=stride).errors
                for search, (y, first) in zip(found, each(frame, start), strict=True)
            ]
        )

    def forecast(frame: "pd.DataFrame") -> "pd.DataFrame":
        columns = {}
        for search, (y, _) in zip(found, each(frame), strict=True):
            forecaster = candidate.make(**search.best)
            forecaster.fit(y)
            columns[y.name] = forecaster.predict(steps)
        return pd.DataFrame(columns)

    edges = sorted({edge for search in found for edge in search.at_edge})
    return _Model([search.best for search in found], edges, errors, forecast)


def _all(
    candidate: Candidate,
    frame: "pd.DataFrame",
    start: int,
    steps: int,
    stride: int,
    scales: np.ndarray,
) -> _Model:
    """One model for all series."""

    def backtested(setting: dict, frame: "pd.DataFrame", start: int) -> np.ndarray:
        forecaster = candidate.make(**setting)
        cv = TimeSeriesFold(
            steps=steps,
            initial_train_size=start,
            fold_stride=stride,
            differentiation=forecaster.differentiation,
            refit=False,
            fixed_train_size=False,
            allow_incomplete_fold=False,
            verbose=False,
        )
        _, table = backtesting_forecaster_multiseries(
            forecaster,
            {name: _begun(frame[name]) for name in frame},
            cv,
            metric="mean_absolute_error",
            n_jobs=1,
            show_progress=False,
            suppress_warnings=True,
        )
        found = [table["pred"][table["level"] == name].to_numpy() for name in frame]
        values = np.lib.stride_tricks.sliding_window_view(frame.to_numpy()[start:], steps, axis=0)
        return values[::stride].swapaxes(0, 1) - np.array(found).reshape(len(found), -1, steps)

    def score(**setting) -> float:
        return float(_mase(backtested(setting, frame, start), scales).mean())

    def forecast(frame: "pd.DataFrame") -> "pd.DataFrame":
        forecaster = candidate.make(**search.best)
        forecaster.fit({name: _begun(frame[name]) for name in frame}, suppress_warnings=True)
        found = forecaster.predict(steps, suppress_warnings=True)
        return pd.DataFrame({name: found["pred"][found["level"] == name] for name in frame})

    search = widened_search(score, candidate.grid, candidate.limits)
    return _Model(
        search.best,
        search.at_edge,
        lambda frame, start: backtested(search.best, frame, start),
        forecast,
    )


def _pooled(
    index: "pd.Index", window: int, hidden: int, cell: str, seeds: Sequence[int]
) -> list[Candidate]:
    """What one model for all series may be."""
    dates = calendar_features(index)
    shared: dict[str, Sequence] = {"changes": [False, True], "encoding": [None, "onehot"]}
    shared |= {"calendar": [False, True]} if dates else {}

    def pooled(regressor, changes: bool, encoding: str | None, calendar: bool = False):
        return ForecasterRecursiveMultiSeries(
            regressor,
            lags=window,
            encoding=encoding,
            transformer_series=StandardScaler(),
            differentiation=1 if changes else None,
            calendar_features=dates if calendar else None,
        )

    def ridge(penalty: float, **options):
        return pooled(Ridge(alpha=penalty, solver="svd"), **options)

    def feed_forward(decay: float, **options):
        networks = [feed_forward_network(hidden, decay, seed) for seed in seeds]
        return pooled(mean_of(networks), **options)

    def recurrent(epochs: int, **options):
        networks = [
            RecurrentRegressor(
                cell,
                hidden,
                epochs=epochs,
                batch_size=128,
                window=window,
                latest_first=True,
                random_state=seed,
            )
            for seed in seeds
        ]
        return pooled(mean_of(networks), **options)

    return [
        Candidate(
            f"ridge{ALL}", ridge, {"penalty": [0.1, 10.0], **shared}, {"penalty": (1e-14, 1e8)}
        ),
        Candidate(
            f"feed-forward{ALL}",
            feed_forward,
            {"decay": [0.1, 1.0], **shared},
            {"decay": (1e-6, 1e4)},
        ),
        Candidate(f"{cell}{ALL}", recurrent, {"epochs": [15, 45], **shared}, {"epochs": (1, 700)}),
    ]


def _aligned(series: Mapping[str, "pd.Series"]) -> "pd.DataFrame":
    """The series side by side; NaN before those that begin later."""
    if len(series) < 2:
        raise ValueError(f"series must be two at least, got {len(series)}.")
    frame = pd.DataFrame(dict(series))
    if isinstance(frame.index, pd.DatetimeIndex):
        frame = frame.asfreq(next(iter(series.values())).index.freq)
    for name, y in series.items():
        if y.index[-1] != frame.index[-1]:
            raise ValueError(
                f"series must end together, at {frame.index[-1]}, got the end of {name!r} at "
                f"{y.index[-1]}."
            )
        if frame[name].count() < len(frame) - frame.index.get_loc(y.index[0]):
            raise ValueError(f"series must have no gaps and equal steps, got {name!r}.")
    return frame


def _mase(errors: np.ndarray, scales: np.ndarray) -> np.ndarray:
    return np.abs(errors).mean(axis=(1, 2)) / scales


def _least(errors: dict[str, np.ndarray], scales: np.ndarray) -> str:
    return min(errors, key=lambda name: _mase(errors[name], scales).mean())


def _paired(differences: np.ndarray) -> Difference:
    test = stats.ttest_1samp(differences, 0)
    low, high = test.confidence_interval(0.95)
    mean, p = float(differences.mean()), float(test.pvalue)
    return Difference(mean, float(low), float(high), p, len(differences))


def _begun(column: "pd.Series") -> "pd.Series":
    """A column from its first value on; unlike ``dropna`` it keeps the kind of the index."""
    there = column.notna().to_numpy()
    return column.iloc[there.argmax() if there.any() else len(column) :]
