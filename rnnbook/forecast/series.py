"""A series cut in the order of time, scaled, and forecast from each place in its turn."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rnnbook.checks import (
    check_between,
    check_finite,
    check_fraction,
    check_positive,
    check_shape,
    check_whole,
    finite_series,
    real_numbers,
    rounding,
)
from rnnbook.tasks import windows

Predictor = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Split:
    """Where the training part ends, and where the test part begins; validation is between."""

    train_end: int
    test_start: int


def chronological_split(length: int, *, validation: float = 0.15, test: float = 0.2) -> Split:
    """The first values train, the next ``validation`` share chooses, the last ``test`` share tests.

    Raises:
        ValueError: for shares that are no fractions or leave no value to train on.
    """
    length = check_positive("length", length)
    check_fraction("validation", validation)
    check_fraction("test", test)
    test_start = length - round(test * length)
    train_end = test_start - round(validation * length)
    if train_end < 1:
        raise ValueError(
            f"validation and test must leave something to train on, got {validation} and {test}."
        )
    return Split(train_end, test_start)


def as_windows(inputs, width: int | str = "W") -> np.ndarray:
    """Windows (N, W) as float64, in which no difference overflows.

    Raises:
        ValueError: for no real numbers, and for another shape.
    """
    inputs = real_numbers("inputs", inputs, np.float64)
    check_shape("inputs", inputs, ("N", width))
    return np.ascontiguousarray(inputs)


@dataclass(frozen=True)
class Scaler:
    """Values as a network likes them: z = (value - level) / spread, in float64.

    The level is the mean of the training part; or, where ``relative``, each window's last value, so
    that the network sees and predicts changes and a trend does not carry it out of its range.
    """

    mean: float
    spread: float
    relative: bool

    @classmethod
    def fit(cls, train: np.ndarray, *, relative: bool = False) -> "Scaler":
        """Mean and standard deviation of the training part (where ``relative``, of its changes).

        Raises:
            ValueError: for no series; and where that deviation is not above ``rounding``: then the
                series is a constant or, where ``relative``, a straight line.
        """
        values = finite_series("train", train)
        with np.errstate(over="ignore", invalid="ignore"):  # a spread of infinity is told below
            varying = np.diff(values) if relative else values
            mean, spread = float(np.mean(values)), float(np.std(varying)) if varying.size else 0.0
        if not rounding(train) < spread < math.inf:
            raise ValueError(
                f"train must vary by more than rounding, got {len(values)} values with spread "
                f"{spread:.2g} around {mean:.6g}."
            )
        return cls(mean, spread, relative)

    def level(self, inputs: np.ndarray, axes: int = 2) -> np.ndarray | float:
        """What is subtracted from values of so many ``axes``: a number; of windows' (N, 1, ...)."""
        if not self.relative:
            return self.mean
        return as_windows(inputs)[:, -1].reshape(-1, *[1] * (axes - 1))

    def scale(self, values: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        """``values`` (N, ...) that belong to the windows ``inputs`` (N, W), scaled.

        Raises ``ValueError`` for what are no real numbers.
        """
        values = real_numbers("values", values, np.float64)
        return (values - self.level(inputs, values.ndim)) / self.spread

    def unscale(self, scaled: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        """The reverse of ``scale``; a float32 network's output gets the level in float64."""
        scaled = real_numbers("scaled", scaled, np.float64)
        return scaled * self.spread + self.level(inputs, scaled.ndim)


def examples(values: np.ndarray, window: int, start: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Windows (N, W) and the values that follow them (N,), for the values from ``start`` on.

    A window may reach back before ``start``: what is past at the time of the forecast is known.

    Raises:
        ValueError: for no series or too short a one, and for a ``start`` that is not in it.
    """
    values = finite_series("values", values)
    window = check_positive("window", window)
    start = check_whole("start", start, 0, len(values) - 1)
    batch = windows(values[max(start - window, 0) :], window)
    return batch.x[:, :, 0], batch.target[:, 0]


def free_run(predict: Predictor, inputs: np.ndarray, steps: int) -> np.ndarray:
    """Forecast ``steps`` values after each window (N, W), reading one's own forecasts: (N, K).

    Raises:
        ValueError: for what are no windows of finite numbers, and where ``predict`` does not
            return (N,).
    """
    check_positive("steps", steps)
    inputs = as_windows(inputs)
    check_finite("inputs", inputs)
    forecasts = np.empty((len(inputs), steps))
    for k in range(steps):
        value = real_numbers("what predict returns", predict(inputs), np.float64)
        check_shape("what predict returns", value, (len(inputs),))
        forecasts[:, k] = value
        inputs = np.concatenate([inputs[:, 1:], forecasts[:, k : k + 1]], axis=1)
    return forecasts


def rolling_errors(
    predict: Predictor, values: np.ndarray, start: int, window: int, steps: int
) -> np.ndarray:
    """Root mean squared error at 1 ... K steps ahead, over all origins from ``start`` on: (K,).

    Each place is an origin in its turn: the predictor gets the true values before it and runs free
    for K steps. Column 0 is the one-step error. The predictor is not trained anew.

    Raises:
        ValueError: where less than K values follow ``start`` or less than W precede it.
    """
    values = finite_series("values", values)
    window, steps = check_positive("window", window), check_positive("steps", steps)
    start = check_whole("start", start, window, len(values) - steps)
    future = np.lib.stride_tricks.sliding_window_view(values[start:], steps)  # (N, K)
    inputs = examples(values, window, start)[0][: len(future)]
    return np.sqrt(np.mean((free_run(predict, inputs, steps) - future) ** 2, axis=0))


def rolling_origins(length: int, *, folds: int, size: int) -> list[tuple[int, int]]:
    """Where each fold's training part ends and its test block ends: the last ``folds`` blocks.

    Each block is forecast by a model trained on everything before it, never on anything after.
    Raises ``ValueError`` where nothing would be left to train on in the first fold.
    """
    length = check_positive("length", length)
    folds, size = check_positive("folds", folds), check_positive("size", size)
    check_between("folds * size", folds * size, 1, length - 1)
    ends = [length - k * size for k in reversed(range(folds))]
    return [(end - size, end) for end in ends]
