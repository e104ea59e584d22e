"""Series from a CSV file: what cannot be forecast is told in one sentence, nothing is guessed.

The csv module cuts the file into fields, for pandas pads short rows and does not tell their lines;
pandas reads the dates and finds what lies between two rows: a month, a business day, an hour.
"""

import contextlib
import csv
import io
import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from itertools import dropwhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rnnbook.checks import check_choice
from rnnbook.extras import needed
from rnnbook.forecast.steps import BadFile, check_order, spaced

if TYPE_CHECKING:
    import pandas as pd

NUMBER = r"[+-]?(?:[0-9]+{point}?[0-9]*|{point}[0-9]+)(?:[eE][+-]?[0-9]+)?"
THOUSANDS = r"[+-]?[0-9]{1,3}(?:[.,_'\s][0-9]{3})+(?:[.,][0-9]*)?"
MISSING = ("", ".", "#n/a", "<na>", "n/a", "na", "nan", "none", "null")
ZONE = r"(Z|[+-][0-9]{2}(?::?[0-9]{2})?)"
CLOCK = rf"[0-9]{{2}}:[0-9]{{2}}(?::[0-9]{{2}}(?:\.[0-9]{{1,9}})?)? ?{ZONE}?"
QUARTER = "^([0-9]{4})-?Q([1-4])$"
ISO = rf"[0-9]{{4}}-[0-9]{{2}}(?:-[0-9]{{2}}(?:[T ]{CLOCK})?)?"


def read_series(
    path: str | Path, column: str, time: str | None = None, **options: Any
) -> "pd.Series":
    """One column of a CSV file: :func:`read_table` for one series; the same options, no group."""
    return read_table(path, [column], time=time, group=None, **options)[column]


def read_table(
    path: str | Path,
    columns: Sequence[str],
    *,
    time: str | None = None,
    group: str | None = None,
    untimed: bool = False,
    every: str | None = None,
    gaps: str | None = None,
    decimal: str | None = None,
    ahead: bool = False,
) -> Any:
    """Columns of a CSV file with a head, as float64, rows equally spaced and the earliest first.

    The index is what the time column holds: dates (ISO: ``2005-01``, ``2005Q1``, ``2005-01-31``,
    with or without an hour and an offset) with their frequency, in which months, quarters, years
    and business days are equal steps, or numbers, equally spaced to a tenth of a step. Dates with
    offsets are in UTC, but one a day or less, always at the same hour, keep their local date.
    Commas, semicolons, tabs or bars separate the fields; text is UTF-8, UTF-16 or Windows-1252.

    Args:
        time: the column that holds the time; the first one but for ``group``.
        group: the column that tells several series apart.
        untimed: no column holds the time; the rows are equally spaced, and numbered from 0.
        every: average the rows of each ``"D"``, ``"W"``, ``"MS"`` or another frequency of pandas.
        gaps: ``"fill"`` interpolates missing rows and values linearly in time, and leaves their
            number in ``attrs["filled"]``; ``"ignore"`` takes the rows that there are as equally
            spaced, and numbers them where they are not.
        decimal: ``","`` where numbers are written ``1,5``.
        ahead: leave out the rows at the end where the first of ``columns`` is empty: they tell what
            is known beforehand. Not with ``group``.
    Returns:
        A DataFrame; with ``group`` a dict of them by its values, in the order of the file.
    Raises:
        BadFile: for what cannot be read, and for what would have to be guessed.
    """
    with needed("forecast"):
        import pandas as pd
    if gaps is not None:
        check_choice("gaps", gaps, ("fill", "ignore"))
    point = "." if decimal is None else decimal
    check_choice("decimal", point, (".", ","))
    if untimed and (time is not None or every is not None):
        raise ValueError("untimed takes the rows as they stand: leave out time and every.")
    if not columns:
        raise ValueError("columns must name one column at least.")
    columns = [columns] if isinstance(columns, str) else list(dict.fromkeys(columns))
    cells = _cells(path, [*columns, *(name for name in (time, group) if name is not None)])
    if ahead and (cells[columns[0]] != "").any():
        cells = cells[: np.flatnonzero(cells[columns[0]] != "")[-1] + 1]
    if time is None and not untimed:
        time = next((name for name in cells if name != group), None)
        if time is None or time in columns:
            raise BadFile(
                f"{path} has no time column before {columns[0]!r}; name it by --time, or take the "
                "rows as equally spaced by --untimed."
            )
        _check_name(path, list(cells), time)
    for name in [time, group]:
        if name is not None and [*columns, time, group].count(name) > 1:
            raise ValueError(f"{name!r} cannot be two of the columns, the time and the group.")
    lenient = gaps is not None or every is not None
    values = pd.DataFrame({name: _numbers(path, cells[name], point, lenient) for name in columns})
    times = None if time is None else _times(path, cells[time], point)

    def series(where: str, rows: Any = slice(None)) -> "pd.DataFrame":
        part = values[rows]
        if times is None:
            return spaced(where, part.reset_index(drop=True), part.index, None, gaps)
        where = f"Column {time!r} of {where}"
        check_order(where, times[rows], part.index, repeats=every is not None)
        return spaced(where, part.set_axis(times[rows]), part.index, every, gaps)

    if group is None:
        return series(f"{path}")
    names = cells[group]
    if (names == "").any():
        line = names.index[names == ""][0]
        raise BadFile(f"Column {group!r} of {path} names the series, but is empty in line {line}.")
    return {name: series(f"{path} ({group} {name!r})", names == name) for name in names.unique()}


def _text(path: str | Path) -> str:
    """The text of a file in UTF-8 or UTF-16, with a mark or without, or in Windows-1252."""
    try:
        if Path(path).is_dir():
            raise BadFile(f"{path} cannot be read: it is a folder.")
        data = Path(path).read_bytes()
    except FileNotFoundError as error:
        raise BadFile(f"{path} does not exist.") from error
    except OSError as error:
        raise BadFile(f"{path} cannot be read: {error.strerror}.") from error
    even, odd = (data[k:4000:2].count(0) for k in (0, 1))
    coding = ["utf-8-sig", "cp1252"]
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        coding = ["utf-16"]
    elif max(even, odd) > len(data[:4000]) / 8:  # UTF-16 writes each digit with a zero
        coding = ["utf-16-le" if odd > even else "utf-16-be"]
    for name in coding:
        try:
            text = data.decode(name)
        except UnicodeDecodeError:
            continue
        if not text.strip():
            raise BadFile(f"{path} is empty.")
        if not re.search(r"[\x00-\x08\x0e-\x1f]", text):
            return text
    raise BadFile(f"{path} must be text in UTF-8, UTF-16 or Windows-1252, got something else.")


def _cells(path: str | Path, wanted: list[str]) -> "pd.DataFrame":
    """All fields as text, by the number of their line; their separator is the one that finds
    ``wanted`` in the head, or the most names."""
    import pandas as pd

    text = _text(path)
    heads: dict[str, list[str]] = {",": []}
    for mark in ",;\t|":
        with contextlib.suppress(BadFile):  # such as of quotes that another mark makes right
            heads[mark] = next((row for _, row in _rows(path, text, mark) if any(row)), [])
    mark = max(heads, key=lambda mark: (set(wanted) <= {*heads[mark]}, len(heads[mark])))
    rows = list(dropwhile(lambda row: not any(row[1]), _rows(path, text, mark)))
    while rows and not any(rows[-1][1]):
        rows.pop()
    if not rows:
        raise BadFile(f"{path} is empty.")
    (top, head), *body = rows
    for name in wanted:
        _check_name(path, head, name, top)
    if not body:
        raise BadFile(f"{path} has no rows below its head.")
    if len(head) == 1:  # an empty line is an empty cell
        body = [(line, row or [""]) for line, row in body]
    body = [(line, row) for line, row in body if len(row) > 1 or any(row) or len(head) == 1]
    for line, row in body:
        if len(row) != len(head):
            more = mark == "," and len(row) > len(head)
            quote = "; a decimal comma needs quotes, or semicolons between fields" if more else ""
            raise BadFile(
                f"{path} must have as many fields in each row as in its head, {len(head)}, got "
                f"{len(row)} in line {line}{quote}."
            )
    lines, fields = zip(*body, strict=True)
    return pd.DataFrame(list(fields), index=list(lines), columns=head, dtype=str)


def _rows(path: str | Path, text: str, mark: str) -> Iterator[tuple[int, list[str]]]:
    """The number of each line and its fields."""
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=mark, skipinitialspace=True, strict=True
    )
    try:
        for row in reader:
            yield reader.line_num, [cell.strip() for cell in row]
    except csv.Error as error:
        raise BadFile(f"{path} is no CSV file in line {reader.line_num}: {error}.") from error


def _check_name(path: str | Path, head: list[str], name: str, line: int = 1) -> None:
    if name not in head:
        shown = ", ".join(" ".join(known.split()) or "one without a name" for known in head[:20])
        more = f" and {len(head) - 20} more" if len(head) > 20 else ""
        near = [known for known in head if known.lower() == name.lower()]
        near = near or get_close_matches(name, head, 1)
        meant = f"; did you mean {near[0]!r}?" if near else "."
        raise BadFile(
            f"{path} has no column {name!r}; its head, line {line}, has {shown}{more}{meant}"
        )
    if head.count(name) > 1:
        raise BadFile(f"{path} must have one column {name!r}, got {head.count(name)} in its head.")


def _numbers(path: str | Path, text: "pd.Series", point: str, lenient: bool) -> "pd.Series":
    """Text as float64; NaN for what is missing, where that may be (``lenient``)."""
    good = text.str.fullmatch(NUMBER.format(point=re.escape(point)))
    values = text.where(good, "nan").str.replace(point, ".", regex=False).astype("float64")
    absent = text.str.lower().isin(MISSING)
    bad = ~(np.isfinite(values) | absent)
    if bad.any():
        line, cell = text.index[bad][0], text[bad].iloc[0]
        raise BadFile(
            f"Column {text.name!r} of {path} must hold finite numbers only, got {_cut(cell)} in "
            f"line {line}{_hint(cell, point)}."
        )
    if absent.any() and not lenient:
        line, cell = text.index[absent][0], text[absent].iloc[0]
        others = f" (and in {absent.sum() - 1} more)" if absent.sum() > 1 else ""
        raise BadFile(
            f"Column {text.name!r} of {path} must hold finite numbers only, got {_cut(cell)} in "
            f"line {line}{others}; --gaps fill interpolates, --gaps ignore leaves such rows out."
        )
    if absent.all():
        raise BadFile(f"Column {text.name!r} of {path} holds no number.")
    return values


def _hint(cell: str, point: str) -> str:
    """What to do about a cell that is no number."""
    other = "," if point == "." else "."
    if other in cell and re.fullmatch(NUMBER.format(point=re.escape(other)), cell):
        if other == ".":
            return "; leave out --decimal , where a point separates decimals"
        grouped = " (but as a separator of thousands it has to go)"
        return "; --decimal , reads decimal commas" + grouped * bool(re.fullmatch(THOUSANDS, cell))
    return "; take out the separators of thousands" * bool(re.fullmatch(THOUSANDS, cell))


def _times(path: str | Path, text: "pd.Series", point: str) -> "pd.Index":
    """Text as numbers or as dates."""
    import pandas as pd

    if text.str.fullmatch(NUMBER.format(point=re.escape(point))).all():
        text = text.str.replace(point, ".", regex=False)
        with contextlib.suppress(ValueError, OverflowError):  # of nanoseconds every digit counts
            return pd.Index(text.astype("int64"))
        return pd.Index(text.astype("float64"))
    dates = text.str.replace(QUARTER, _first_month, regex=True)
    zones = dates.str.extract(ZONE + "$")[0].where(dates.str.contains(":"))
    moments = pd.to_datetime(
        dates.where(dates.str.fullmatch(ISO)), format="ISO8601", errors="coerce", utc=True
    )
    if moments.isna().any():
        line, cell = text.index[moments.isna()][0], text[moments.isna()].iloc[0]
        raise BadFile(
            f"Column {text.name!r} of {path} must hold the time as ISO dates (2005-01, 2005-01-31, "
            f"2005-01-31T12:00) or numbers, got {_cut(cell)} in line {line}; name another by "
            "--time, or take the rows as equally spaced by --untimed."
        )
    moments = pd.DatetimeIndex(moments)
    if not zones.notna().any():
        return moments.tz_localize(None)
    if zones.isna().any():
        line = text.index[zones.isna()][0]
        raise BadFile(
            f"Column {text.name!r} of {path} must hold an offset in each row or in none, got "
            f"{_cut(text[line])} in line {line}."
        )
    local = pd.DatetimeIndex(pd.to_datetime(dates.str.replace(f" ?{ZONE}$", "", regex=True)))
    clock = local - local.normalize()
    return local if (clock == clock[0]).all() else moments


def _first_month(quarter: re.Match) -> str:
    return f"{quarter[1]}-{3 * int(quarter[2]) - 2:02d}"


def _cut(cell: str) -> str:
    return repr(cell if len(cell) <= 40 else cell[:37] + "...")
