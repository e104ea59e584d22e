"""A series from a CSV file: what cannot be forecast is told in one sentence."""

import csv
import itertools
import math
import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

MONTH = re.compile(r"\d{4}-\d\d")


class BadFile(ValueError):
    """The file cannot be forecast; the message says why in one sentence."""


def read_series(path: str | Path, column: str, time: str | None = None) -> np.ndarray:
    """One column of a CSV file with a head, as numbers; checks that time increases.

    Args:
        time: the column that holds the time, as ISO dates (``2005-01``, ``2005-01-31``), with or
            without an hour, or as numbers. Without it the first column, unless that is ``column``.
    Raises:
        BadFile: for a missing file or column, no rows, a value that is missing, no number, NaN or
            infinite, and for times that cannot be read or do not increase.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = [(reader.line_num, row) for row in reader]
            names = reader.fieldnames or []
    except FileNotFoundError as error:
        raise BadFile(f"{path} does not exist.") from error
    except OSError as error:
        raise BadFile(f"{path} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadFile(f"{path} must be a CSV file in UTF-8, got another.") from error
    for name in [column] if time is None else [column, time]:
        if name not in names:
            raise BadFile(f"{path} has no column {name!r}; it has {', '.join(names) or 'none'}.")
    if not rows:
        raise BadFile(f"{path} has no rows below its head.")
    values = np.array([_number(row[column], column, line) for line, row in rows])
    if time is None and names[0] != column:
        time = names[0]
    if time is not None:
        _check_increasing([(line, _moment(row[time], time, line)) for line, row in rows], time)
    return values


def _number(text: str | None, column: str, line: int) -> float:
    try:
        value = float(text or "")
    except ValueError as error:
        raise BadFile(
            f"Column {column!r} must hold numbers only, got {text!r} in line {line}."
        ) from error
    if not math.isfinite(value):
        raise BadFile(
            f"Column {column!r} must hold finite numbers only, got {value} in line {line}."
        )
    return value


def _moment(text: str | None, column: str, line: int) -> float:
    """A number as it is (of a count of nanoseconds a float would lose the last three digits); an
    ISO date as days, a month as its first."""
    time = text or ""
    for number in (int, float):
        try:
            return number(time)
        except ValueError:
            pass
    try:
        moment = datetime.fromisoformat(f"{time}-01" if MONTH.fullmatch(time) else time)
    except ValueError as error:
        raise BadFile(
            f"Column {column!r} must hold the time as ISO dates or numbers, got {text!r} in line "
            f"{line}; name another by --time."
        ) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp() / 86400


def _check_increasing(moments: list[tuple[int, float]], column: str) -> None:
    for (_, before), (line, now) in itertools.pairwise(moments):
        if not now > before:
            raise BadFile(
                f"Column {column!r} must increase from row to row, but line {line} is not later "
                "than the one before; sort the rows by time."
            )
