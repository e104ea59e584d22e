"""What costs nothing: the four forecasts that any network has to beat (``worked_example``)."""

import math

import numpy as np

from rnnbook.checks import check_between, check_positive, finite_series
from rnnbook.forecast.series import Predictor, Scaler, as_windows, examples


def mean_predictor(train: np.ndarray) -> Predictor:
    """Always the mean of the training part."""
    mean = float(np.mean(finite_series("train", train)))
    return lambda inputs: np.full(len(as_windows(inputs)), mean)


def persistence(inputs: np.ndarray) -> np.ndarray:
    """As now: the last value of each window."""
    return as_windows(inputs)[:, -1]


def seasonal_predictor(season: int) -> Predictor:
    """As one season ago: x_(t+1) = x_(t+1-season)."""
    season = check_positive("season", season)

    def predict(inputs: np.ndarray) -> np.ndarray:
        inputs = as_windows(inputs)
        check_between("season", season, 1, inputs.shape[1])
        return inputs[:, -season]

    return predict


def ridge_ar(
    train: np.ndarray, window: int, *, penalty: float = 1.0, relative: bool = False
) -> Predictor:
    """A linear function of the last ``window`` values, by least squares with a ridge penalty.

        minimize  sum_n (y_n - w . z_n - b)^2 + penalty |w|^2

    over the training part's scaled windows z_n and targets y_n; the intercept b is not penalized.
    Raises ``ValueError`` as ``Scaler.fit`` and ``examples``, and for a negative penalty.
    Source: Hastie, Tibshirani & Friedman, "The Elements of Statistical Learning" (2009), 3.4.1.
    """
    check_between("penalty", penalty, 0, math.inf)
    scaler = Scaler.fit(train, relative=relative)
    inputs, target = examples(train, window)
    z = scaler.scale(inputs, inputs)  # (N, W)
    y = scaler.scale(target, inputs)
    z_mean, y_mean = z.mean(axis=0), y.mean()
    gram = (z - z_mean).T @ (z - z_mean) + penalty * np.eye(window)
    w = np.linalg.solve(gram, (z - z_mean).T @ (y - y_mean))
    b = y_mean - z_mean @ w
    return lambda rows: scaler.unscale(scaler.scale(as_windows(rows, window), rows) @ w + b, rows)


def baselines(
    train: np.ndarray, window: int, season: int, *, penalty: float = 1.0, relative: bool = False
) -> dict[str, Predictor]:
    """Four predictors that any network has to beat, made from the training part.

    Raises ``ValueError`` as ``ridge_ar``, and for a season that is longer than the window.
    """
    check_between("season", season, 1, window)
    return {
        "mean": mean_predictor(train),
        "persistence": persistence,
        "seasonal": seasonal_predictor(season),
        "ridge-AR": ridge_ar(train, window, penalty=penalty, relative=relative),
    }
