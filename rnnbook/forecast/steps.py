"""Steps of time: whether rows are equally spaced by the calendar, which are missing, the season."""

import re
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

# Frequencies by their names in pandas: the steps of a season (a day, a week, a year), and words.
STEPS = {
    "min": (1440, "each minute", "minutes"),
    "h": (24, "hourly", "hours"),
    "D": (7, "daily", "days"),
    "B": (5, "on business days", "business days"),
    "W": (52, "weekly", "weeks"),
    "M": (12, "monthly", "months"),
    "Q": (4, "quarterly", "quarters"),
    "Y": (1, "yearly", "years"),
}


class BadFile(ValueError):
    """The file cannot be forecast; the message says why in one sentence."""


def season_of(index: Any) -> int | None:
    """Steps of the natural season of an index with a frequency; None where there is none.

    Hours in a day (24; 48 where a row is half an hour), days (7) and business days (5) in a week,
    weeks (52), months (12) and quarters (4) in a year.
    """
    name, n = _unit(index)
    season = STEPS[name][0] if name in STEPS else 1
    return season // n if season % n == 0 and season > n else None


def describe(data: Any) -> str:
    """What was read, for a person: ``525 values, monthly, 1958-03 to 2001-12``."""
    index, (name, n) = data.index, _unit(data.index)
    first, last = (_said(index[k], short=name in ("M", "Q", "Y")) for k in (0, -1))
    steps = "equally spaced"
    if name:
        steps = STEPS[name][1] if name in STEPS and n == 1 else f"every {n} {_noun(name)}"
    filled = f", {data.attrs['filled']} of them interpolated" if data.attrs.get("filled") else ""
    return f"{len(index)} value{'s' * (len(index) != 1)}, {steps}, {first} to {last}{filled}"


def check_order(where: str, times: "pd.Index", lines: "pd.Index", repeats: bool) -> None:
    """Refuse times that do not increase; with ``repeats``, that decrease."""
    import pandas as pd

    wrong = times[1:] < times[:-1] if repeats else times[1:] <= times[:-1]
    if not wrong.any():
        return
    k = int(np.argmax(wrong))
    before, now, line = times[k], times[k + 1], lines[k + 1]
    if _clocks_change(times, [now]) and before - now < pd.Timedelta(hours=1):
        raise BadFile(
            f"{where} has the hour of {_said(now)} again in line {line}, as local time does where "
            "clocks are set back; write times in UTC or with offsets (2005-10-30T02:00+01:00), or "
            "take the rows as equally spaced by --untimed."
        )
    if now == before:
        raise BadFile(
            f"{where} must increase from row to row, but lines {lines[k]} and {line} both have "
            f"{_said(now)}; name the column that tells several series apart by --group, or average "
            "such rows by --every."
        )
    if len(times) > 2 and (times[1:] < times[:-1]).all():
        raise BadFile(
            f"{where} must increase from row to row, but its latest row comes first, in line "
            f"{lines[0]}; turn the rows round, or name another column by --time."
        )
    raise BadFile(
        f"{where} must increase from row to row, but line {line} ({_said(now)}) is earlier than "
        f"the one before ({_said(before)}); name another column by --time, the one that tells "
        "several series apart by --group, or take the rows as they stand by --untimed."
    )


def spaced(
    where: str, values: "pd.DataFrame", lines: "pd.Index", every: str | None, gaps: str | None
) -> "pd.DataFrame":
    """``values``, whose index increases, with a row for each of equal steps.

    What is missing is refused, interpolated (``gaps="fill"``), or left out (``"ignore"``; where the
    times of the rows that there are have unequal steps, the rows are numbered instead).
    """
    import pandas as pd

    if every is not None:
        values = _averages(where, values, every)
    if gaps == "ignore" and values.dropna().empty:
        raise BadFile(f"{where} has no row with all values.")
    if every is None and not isinstance(values.index, pd.RangeIndex):
        values = values.dropna() if gaps == "ignore" else values
        grid = _grid(values.index)
        if grid is not None:
            full, place = grid
            values = values.set_axis(place).reindex(range(len(full))).set_axis(full)
        elif gaps == "ignore":
            return values.reset_index(drop=True)
        else:
            raise BadFile(f"{where} {_unequal(values.index, lines)}")
    empty = values.isna().any(axis=1).to_numpy()
    if not empty.any():
        return values
    if gaps == "ignore":
        return values[~empty].reset_index(drop=True)
    if gaps is None:
        raise BadFile(f"{where} {_missing(values.index, values.index[empty])}")
    values = values.interpolate("index", limit_area="inside")
    if values.isna().any(axis=None):
        row = values.index[values.isna().any(axis=1)][0]
        raise BadFile(f"{where} must have values on both sides of {_said(row)} to interpolate.")
    values.attrs["filled"] = int(empty.sum())
    return values


def _averages(where: str, values: "pd.DataFrame", every: str) -> "pd.DataFrame":
    import pandas as pd

    if not isinstance(values.index, pd.DatetimeIndex):
        raise BadFile(f"{where} must hold dates for --every, got numbers.")
    try:
        with warnings.catch_warnings(action="error"):  # of names that pandas 3 no longer knows
            step = pd.tseries.frequencies.to_offset(every)
    except (ValueError, FutureWarning):
        step = None
    if step is None or step.n < 1:
        raise BadFile(f"every must be a frequency of pandas, such as D, W or MS, got {every!r}.")
    span = values.index[-1] - values.index[0]
    if isinstance(step, pd.offsets.Tick) and span > 100 * len(values) * pd.Timedelta(step):
        raise BadFile(f"every must not be much finer than the rows, got {every!r}.")
    return values.resample(step).mean()


def _grid(times: "pd.Index") -> "tuple[pd.Index, np.ndarray] | None":
    """All steps from the first of ``times`` to the last, and where among them ``times`` are.

    None where they are no equal steps with less than half of them missing.
    """
    import pandas as pd

    if len(times) < 2:
        return times, np.arange(len(times))
    if not isinstance(times, pd.DatetimeIndex):
        return _even_numbers(times)
    best = None
    for offset in _offsets(times):
        full = pd.date_range(times[0], times[-1], freq=offset)
        place = full.get_indexer(times)
        if (place >= 0).all() and (best is None or len(full) < len(best[0])):
            best = full, place
    if best is None or len(best[0]) >= 2 * len(times):
        return None
    full, place = best
    offset, full.freq = full.freq, None
    if len(full) > 2:
        full = pd.DatetimeIndex(full, freq="infer")  # by its own name: QS where 3 months are a step
    full.freq = full.freq or offset
    return full, place


def _offsets(times: "pd.DatetimeIndex") -> "Iterator[pd.DateOffset]":
    """Frequencies that may lie below, the longest first: months, days, business days, hours."""
    import pandas as pd

    clock = times - times.normalize()
    months = np.diff(times.year * 12 + times.month)
    if (clock == clock[0]).all():
        if (months > 0).all():
            n = int(np.gcd.reduce(months))
            for kind in ("MonthBegin", "MonthEnd", "BMonthBegin", "BMonthEnd"):
                if all(map(getattr(pd.offsets, kind)().is_on_offset, times)):
                    yield getattr(pd.offsets, kind)(n)
            yield pd.DateOffset(months=n)
        days = np.diff((times - times[0]).to_numpy()) // np.timedelta64(1, "D")
        yield pd.offsets.Day(int(np.gcd.reduce(days)))
        yield pd.offsets.BusinessDay()
    else:
        steps = np.diff((times - times[0]).to_numpy()) // np.timedelta64(1, "ns")
        step = int(np.gcd.reduce(steps))
        if steps.sum() < 2 * len(times) * step:  # and not millions of seconds
            yield pd.tseries.frequencies.to_offset(pd.Timedelta(step, "ns"))


def _even_numbers(times: "pd.Index") -> "tuple[pd.Index, np.ndarray] | None":
    """Numbers, equally spaced to a tenth of a step: years in decimals, say, which are rounded."""
    import pandas as pd

    with np.errstate(all="ignore"):  # infinite steps are unequal
        since = (times - times[0]).to_numpy(float)  # nanoseconds keep their digits
        steps = np.diff(since)
        single = steps[steps < 1.5 * steps.min()].mean()
        place = np.concatenate([[0], np.rint(steps / single).cumsum()])
        step = since[-1] / place[-1]
        even = (np.abs(since - place * step) < 0.1 * step).all()
    if not even or place[-1] + 1 >= 2 * len(times):
        return None
    place = place.astype(int)
    if place[-1] + 1 == len(times):
        return times, place
    whole = np.issubdtype(times.dtype, np.integer) and step == round(step)
    full = times[0] + np.arange(place[-1] + 1) * (round(step) if whole else step)
    full[place] = times
    return pd.Index(full), place


def _missing(full: "pd.Index", absent: "pd.Index") -> str:
    """What to say of a grid ``full`` of which ``absent`` are missing."""
    (name, n), first = _unit(full), "" if len(absent) == 1 else "the first "
    noun = _noun(name) if name and n == 1 else f"steps of {n} {_noun(name)}" if name else "steps"
    clocks = ", which clocks skip that are set forward" if _clocks_change(full, absent) else ""
    return (
        f"misses {len(absent)} of {len(full)} {noun}, {first}{_said(absent[0])}{clocks}; "
        "--gaps fill interpolates, --gaps ignore takes the rows that there are as equally spaced."
    )


def _unequal(times: "pd.Index", lines: "pd.Index") -> str:
    """What to say of unequal steps."""
    import pandas as pd

    numbers = not isinstance(times, pd.DatetimeIndex)
    for form in ("%Y%m%d", "%Y%m") if numbers else ():
        if pd.to_datetime(times.astype(str), format=form, errors="coerce").notna().all():
            return f"must have equal steps, got {times[0]}: write dates with hyphens (2005-01-31)."
    steps = pd.Series(times[1:] - times[:-1])
    usual = steps.mode()[0]
    k = int(np.argmax(steps != usual))
    came, usual = (f"{s:.6g}" if numbers else _said(s) for s in (steps[k], usual))
    other = "" if numbers else "--every averages over equal steps (D, W, MS), "
    return (
        f"must have equal steps, but line {lines[k + 1]} comes {came} after the row before, most "
        f"others {usual}; {other}--gaps ignore takes the rows as equally spaced."
    )


def _clocks_change(times: "pd.Index", moments: Any) -> bool:
    """Whether ``moments`` may be hours of local time that a change of the clocks skips or repeats:
    on a Sunday night in spring or autumn, among rows that are an hour apart or less."""
    import pandas as pd

    if not isinstance(times, pd.DatetimeIndex) or times.tz is not None:
        return False
    return pd.Series(times[1:] - times[:-1]).median() <= pd.Timedelta(hours=1) and all(
        moment.day_of_week == 6 and moment.hour < 4 and moment.month in (3, 4, 9, 10, 11)
        for moment in moments
    )


def _unit(index: Any) -> tuple[str, int]:
    """The unit of an index's frequency, a key of ``STEPS`` where that has it, and how many."""
    freq = getattr(index, "freq", None)
    if freq is None:
        return "", 1
    months = freq.kwds.get("months", 0)  # a DateOffset: the 15th of each month
    if months:
        name, n = next((name, n) for name, n in (("Y", 12), ("Q", 3), ("M", 1)) if months % n == 0)
        return name, months // n
    found = re.match(r"([0-9]*)([A-Za-z]+)", freq.freqstr)
    number, name = found.groups() if found else ("", freq.freqstr)
    name = re.sub(r"^B?([MQY])[SE]$", r"\1", name)  # MS, ME, BMS, BME
    return name, int(number or 1)


def _noun(name: str) -> str:
    return STEPS[name][2] if name in STEPS else name


def _said(moment: Any, short: bool = False) -> str:
    text = re.sub("^1 days", "1 day", f"{moment}".replace("+00:00", " UTC").removeprefix("0 days "))
    return text[:7] if short else re.sub("( 00:00)?:00( UTC)?$", r"\2", text)
