"""A series cut in the order of time, and cut into windows."""

from dataclasses import dataclass

import numpy as np

from rnnbook.checks import check_fraction, check_positive, check_whole, finite_series
from rnnbook.tasks import windows


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
