"""Files as analysts have them: read by value, or refused in one sentence that says what goes on."""

import contextlib
import datetime
import gzip
import os
import re

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

pytest.importorskip("rnnbook.forecast", reason="it needs skforecast")

from rnnbook.forecast import BadFile, main, read_series, read_table, season_of
from rnnbook.forecast.steps import describe

pd = pytest.importorskip("pandas")
dates = pd.date_range

# What a spreadsheet in Germany saves: semicolons, decimal commas, empty cells, rows below the end.
KIOSK = """\
Monat;Umsatz $;_Gäste
2005-01;1234,5;10
2005-02;;12
2005-03;1500,5;14
2005-04;1600;

;;
"""
# Two shops in one file, one of which was closed on a day.
SHOPS = """\
day,shop,sold,price
2005-02-26,north,3,1.5
2005-02-26,south,30,2.5
2005-02-27,north,4,1.5
2005-02-27,south,40,2.5
2005-02-28,south,50,2.5
2005-03-01,north,8,1.5
2005-03-01,south,60,2.5
"""


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """A function that writes text (or bytes) to a file and reads its column ``y``, or others."""
    path = tmp_path_factory.mktemp("files") / "f.csv"

    def function(text, columns=("y",), encoding="utf-8", **options):
        path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
        return read_table(path, columns, **options)

    return function


def rows(times, head="date,y"):
    """A file with the values 0, 1, 2, ... at these times."""
    return "\n".join([head, *(f"{time},{k}" for k, time in enumerate(times))]) + "\n"


def without(times, *places):
    return [time for k, time in enumerate(times) if k not in places]


def sentence(call, *arguments, **options):
    """What it raises: one line, that ends as a sentence does; the file is called FILE."""
    with pytest.raises(BadFile) as caught:
        call(*arguments, **options)
    said = str(caught.value)
    assert len(said.splitlines()) == 1
    assert said[-1] in ".?"
    return re.sub(r"\S*/f\.csv", "FILE", said)


# Times, their frequency in pandas, the steps of a season, and what a person is told.
REGULAR = {
    "months": (["2005-01", "2005-02", "2005-03"], "MS", 12, "monthly, 2005-01 to 2005-03"),
    "ends": (["2004-01-31", "2004-02-29", "2004-03-31"], "ME", 12, "monthly, 2004-01 to 2004-03"),
    "noon": (
        dates("2005-01-01T12:00", periods=5, freq="MS"),
        "MS",
        12,
        "monthly, 2005-01 to 2005-05",
    ),
    "the 15th": (
        [f"2005-{month:02}-15" for month in range(1, 13)],
        "<DateOffset: months=1>",
        12,
        "monthly, 2005-01 to 2005-12",
    ),
    "last business days": (
        dates("2005-01-31", periods=9, freq="BME").date,
        "BME",
        12,
        "monthly, 2005-01 to 2005-09",
    ),
    "first business days": (
        dates("2005-01-03", periods=9, freq="BMS").date,
        "BMS",
        12,
        "monthly, 2005-01 to 2005-09",
    ),
    "two months": (
        dates("2005-01", periods=9, freq="2MS").date,
        "2MS",
        6,
        "every 2 months, 2005-01 to 2006-05",
    ),
    "quarters": (
        ["2005Q1", "2005Q2", "2005-Q3", "2005Q4", "2006Q1"],
        "QS-.*",
        4,
        "quarterly, 2005-01 to 2006-01",
    ),
    "ends of quarters": (
        dates("2005-03-31", periods=5, freq="QE").date,
        "QE-.*",
        4,
        "quarterly, 2005-03 to 2006-03",
    ),
    "quarters on the 15th": (
        ["2005-02-15", "2005-05-15", "2005-08-15", "2005-11-15"],
        "<DateOffset: months=3>",
        4,
        "quarterly, 2005-02 to 2005-11",
    ),
    "half years": (
        dates("2005-01", periods=5, freq="6MS").date,
        "2QS-.*",
        2,
        "every 2 quarters, 2005-01 to 2007-01",
    ),
    "ends of years": (
        dates("2003-12-31", periods=5, freq="YE").date,
        "YE-DEC",
        None,
        "yearly, 2003-12 to 2007-12",
    ),
    "years from April": (
        dates("2003-04", periods=5, freq="YS-APR").date,
        "YS-APR",
        None,
        "yearly, 2003-04 to 2007-04",
    ),
    "days of a leap year": (
        dates("2004-02-27", periods=4).date,
        "D",
        7,
        "daily, 2004-02-27 to 2004-03-01",
    ),
    "third days": (
        dates("2004-02-27", periods=4, freq="3D").date,
        "3D",
        None,
        "every 3 days, 2004-02-27 to 2004-03-07",
    ),
    "weeks": (
        dates("2005-01-05", periods=5, freq="7D").date,
        "W-WED",
        52,
        "weekly, 2005-01-05 to 2005-02-02",
    ),
    "ISO weeks": (
        [datetime.date.fromisocalendar(2004, week, 1) for week in (52, 53)]
        + [datetime.date.fromisocalendar(2005, week, 1) for week in (1, 2)],
        "W-MON",
        52,
        "weekly, 2004-12-20 to 2005-01-10",
    ),
    "fortnights": (
        dates("2005-01-02", periods=5, freq="14D").date,
        "2W-SUN",
        26,
        "every 2 weeks, 2005-01-02 to 2005-02-27",
    ),
    "business days": (
        dates("2005-01-06", periods=4, freq="B").date,
        "B",
        5,
        "on business days, 2005-01-06 to 2005-01-11",
    ),
    "hours": (
        dates("2005-01-01", periods=4, freq="h"),
        "h",
        24,
        "hourly, 2005-01-01 to 2005-01-01 03:00",
    ),
    "half hours": (
        dates("2005-01-01", periods=4, freq="30min"),
        "30min",
        48,
        "every 30 minutes, 2005-01-01 to 2005-01-01 01:30",
    ),
    "seconds": (
        dates("2005-01-01", periods=4, freq="10s"),
        "10s",
        None,
        "every 10 s, 2005-01-01 to 2005-01-01 00:00:30",
    ),
    "tenths": (
        ["2005-12-31T23:59:59.8", "2005-12-31 23:59:59.9", "2006-01-01"],
        "100ms",
        None,
        "every 100 ms, 2005-12-31 23:59:59.800000 to 2006-01-01",
    ),
}


@pytest.mark.parametrize("name", REGULAR)
def test_dates_become_an_index_with_their_frequency(read, name):
    times, frequency, season, said = REGULAR[name]
    for gaps in (None, "fill", "ignore"):
        table = read(rows(times), gaps=gaps)
        assert re.fullmatch(frequency, table.index.freqstr)
        assert season_of(table.index) == season
        assert describe(table) == describe(table["y"]) == f"{len(times)} values, {said}"
        assert table.dtypes.tolist() == [np.float64]
        np.testing.assert_array_equal(table["y"], np.arange(len(times)))
    if name != "quarters":
        expected = pd.DatetimeIndex([pd.Timestamp(str(time)) for time in times])
        np.testing.assert_array_equal(table.index.to_numpy(), expected.to_numpy())
    assert table.index[0] == pd.Timestamp("2005-01-01") or name != "quarters"


def test_two_rows_and_one(read):
    assert read(rows(["2005-01", "2005-03"])).index.freqstr == "2MS"
    assert read(rows(["2005-01-03T05:00", "2005-01-03T06:00"])).index.freqstr == "h"
    table = read(rows(["2005-01"]))
    assert table.index[0] == pd.Timestamp("2005-01-01")
    assert describe(table) == "1 value, equally spaced, 2005-01-01 to 2005-01-01"
    assert season_of(table.index) is None


NUMBERS = {
    "years": ([1958, 1959, 1960], np.int64),
    "nanoseconds": ([1_700_000_000_000_000_000, 1_700_000_000_000_000_001], np.int64),
    "beyond 64 bits": ([10**20, 2 * 10**20, 3 * 10**20], np.float64),
    "halves": (["1", "1.5", "2.0"], np.float64),
    "seconds of months": (
        [int(month.timestamp()) for month in dates("2005-01", periods=24, freq="MS")],
        np.int64,
    ),
    "decimal years": ([f"{1958 + (k + 0.5) / 12:.2f}" for k in range(600)], np.float64),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_with_equal_steps_stay_an_index_of_numbers(read, name):
    times, dtype = NUMBERS[name]
    index = read(rows(times)).index
    assert not isinstance(index, pd.RangeIndex)
    assert index.dtype == dtype
    assert index.tolist() == [dtype(time) for time in times]
    assert season_of(index) is None


def test_numbers_with_a_step_missing(read):
    """Those that there are keep their values, in the number's own type."""
    assert read(rows([1, 2, 4, 5]), gaps="fill").index.tolist() == [1, 2, 3, 4, 5]
    assert read(rows([1, 2, 4, 5]), gaps="fill").index.dtype == np.int64
    table = read(rows([0, 0.33, 0.67, 1.33, 1.67]), gaps="fill")
    assert table.index.tolist() == pytest.approx([0, 0.33, 0.67, 1.002, 1.33, 1.67])
    assert table["y"].tolist() == pytest.approx([0, 1, 2, 2 + (1.002 - 0.67) / 0.66, 3, 4])
    assert describe(read(rows([1, 2, 3]))) == "3 values, equally spaced, 1 to 3"


def test_rows_without_a_time_are_numbered(read):
    table = read("y,x\n1,5\n2,3\n2.5,4\n", ["y", "x"], untimed=True)
    assert isinstance(table.index, pd.RangeIndex)
    assert table.to_dict("list") == {"y": [1, 2, 2.5], "x": [5, 3, 4]}
    assert season_of(table.index) is None
    assert describe(table) == "3 values, equally spaced, 0 to 2"
    # Rows in any order, for none of their columns is the time.
    assert read("id,y\n7,1\n3,2\n", untimed=True)["y"].tolist() == [1, 2]


def test_time_is_the_first_column_but_for_the_group(read):
    assert read("date,y\n5,1\n6,2\n").index.tolist() == [5, 6]
    assert read("y,t\n3,1\n2,2\n", time="t").index.tolist() == [1, 2]
    assert read("who,t,y\nA,5,1\nA,6,2\n", group="who")["A"].index.tolist() == [5, 6]
    assert read(",y\n0,1\n1,2\n").index.tolist() == [0, 1]  # as pandas writes an index


def test_read_series(tmp_path):
    file = tmp_path / "f.csv"
    file.write_text("y,t,z\n3,2005-01,1\n2,2005-02,\n1,2005-03,5\n", encoding="utf-8")
    series = read_series(file, "y", "t")
    assert series.name == "y"
    assert series.index.freqstr == "MS"
    np.testing.assert_array_equal(series, [3.0, 2.0, 1.0])
    series = read_series(str(file), "z", "t", gaps="fill")
    np.testing.assert_allclose(series, [1, 1 + 4 * 31 / 59, 5])  # linear in days
    assert describe(series) == "3 values, monthly, 2005-01 to 2005-03, 1 of them interpolated"
    with pytest.raises(TypeError, match="group"):
        read_series(file, "y", "t", group="z")


def test_a_file_of_a_spreadsheet(read):
    table = read(KIOSK, ["_Gäste", "Umsatz $"], decimal=",", gaps="ignore", encoding="cp1252")
    assert table.to_dict("list") == {"_Gäste": [10, 14], "Umsatz $": [1234.5, 1500.5]}
    assert table.index.freqstr == "2MS"  # of January and March
    table = read(KIOSK, ["Umsatz $"], decimal=",", gaps="ignore")
    assert table["Umsatz $"].tolist() == [1234.5, 1500.5, 1600]
    assert table.index.equals(pd.RangeIndex(3))  # for these months are not equally spaced
    table = read(KIOSK, ["Umsatz $"], decimal=",", gaps="fill")
    np.testing.assert_allclose(table["Umsatz $"], [1234.5, 1234.5 + 266 * 31 / 59, 1500.5, 1600])
    assert (table.index.freqstr, table.attrs) == ("MS", {"filled": 1})
    said = sentence(read, KIOSK, ["_Gäste"], decimal=",", gaps="fill")
    assert said == (
        "Column 'Monat' of FILE must have values on both sides of 2005-04-01 to interpolate."
    )
    assert sentence(read, KIOSK, ["Umsatz $"]) == (
        "Column 'Umsatz $' of FILE must hold finite numbers only, got '1234,5' in line 2; "
        "--decimal , reads decimal commas."
    )
    assert sentence(read, KIOSK, ["Umsatz $"], decimal=",") == (
        "Column 'Umsatz $' of FILE must hold finite numbers only, got '' in line 3; --gaps fill "
        "interpolates, --gaps ignore leaves such rows out."
    )


def test_several_columns_are_filled_each_by_itself(read):
    text = "t,a,b\n1,1,10\n2,,20\n3,3,\n5,5,50\n"
    table = read(text, ["a", "b"], gaps="fill")
    assert table.to_dict("list") == {"a": [1, 2, 3, 4, 5], "b": [10, 20, 30, 40, 50]}
    assert table.attrs == {"filled": 3}  # of five rows
    table = read(text, ["b", "a"], gaps="ignore")
    assert table.to_dict("list") == {"b": [10, 50], "a": [1, 5]}


def test_several_series_in_one_file(read):
    assert sentence(read, SHOPS, ["sold"], group="shop") == (
        "Column 'day' of FILE (shop 'north') misses 1 of 4 days, 2005-02-28; --gaps fill "
        "interpolates, --gaps ignore takes the rows that there are as equally spaced."
    )
    tables = read(SHOPS, ["price", "sold"], group="shop", gaps="fill")
    assert list(tables) == ["north", "south"]
    assert tables["north"]["sold"].tolist() == [3, 4, 6, 8]
    assert tables["north"]["price"].tolist() == [1.5] * 4
    assert tables["south"]["sold"].tolist() == [30, 40, 50, 60]
    assert all(table.index.equals(dates("2005-02-26", periods=4)) for table in tables.values())
    assert all(table.index.freqstr == "D" for table in tables.values())
    assert (tables["north"].attrs, tables["south"].attrs) == ({"filled": 1}, {})
    tables = read(SHOPS, ["sold"], group="shop", gaps="ignore")
    assert tables["north"]["sold"].tolist() == [3, 4, 8]
    assert isinstance(tables["north"].index, pd.RangeIndex)
    assert tables["south"].index.freqstr == "D"
    tables = read(SHOPS, ["sold"], group="shop", untimed=True)
    assert tables["north"].index.tolist() == [0, 1, 2]
    said = sentence(read, SHOPS.replace("28,south", "28,"), ["sold"], group="shop")
    assert said == "Column 'shop' of FILE names the series, but is empty in line 6."
    assert sentence(read, SHOPS, ["sold"]) == (
        "Column 'day' of FILE must increase from row to row, but lines 2 and 3 both have "
        "2005-02-26; name the column that tells several series apart by --group, or average such "
        "rows by --every."
    )
    stacked = "shop,day,sold\nA,2005-01,1\nA,2005-02,2\nB,2005-01,3\n"
    assert read(stacked, ["sold"], group="shop")["B"]["sold"].tolist() == [3]
    backwards = "day,shop,sold\n2005-01,A,1\n2005-02,B,2\n2005-03,A,1\n2005-01,B,3\n"
    assert "(shop 'B') must increase from row to row, but line 5 (2005-01-01)" in sentence(
        read, backwards, ["sold"], group="shop"
    )


def test_gaps_are_filled_or_told_or_left_out(read):
    days = dates("2001-03-01", periods=412).date
    some = rows(without(days, 3, *range(100, 111)))
    assert sentence(read, some) == (
        "Column 'date' of FILE misses 12 of 412 days, the first 2001-03-04; --gaps fill "
        "interpolates, --gaps ignore takes the rows that there are as equally spaced."
    )
    table = read(some, gaps="fill")
    kept = np.array(without(range(412), 3, *range(100, 111)))
    np.testing.assert_allclose(table["y"], np.interp(np.arange(412), kept, np.arange(400)))
    assert table.attrs["filled"] == 12
    assert describe(table).endswith("daily, 2001-03-01 to 2002-04-16, 12 of them interpolated")
    table = read(some, gaps="ignore")
    assert isinstance(table.index, pd.RangeIndex)
    np.testing.assert_array_equal(table["y"], np.arange(400))


MISSING = {
    "business days": (without(dates("2005-01-03", periods=60, freq="B").date, 5, 9), "2 of 60"),
    "weeks": (without(dates("2005-01-03", periods=9, freq="7D").date, 2), "1 of 9"),
    "months": (without(dates("2005-01-31", periods=60, freq="ME").date, 5, 6), "2 of 60"),
    "quarters": (without(dates("2005-01-01", periods=9, freq="QS").date, 5), "1 of 9"),
    "years": (without(dates("2001-01-01", periods=9, freq="YS").date, 5), "1 of 9"),
    "hours": (without(dates("2005-01-01", periods=99, freq="h"), 50), "1 of 99"),
    "steps of 15 minutes": (without(dates("2005-01-01", periods=99, freq="15min"), 50), "1 of 99"),
    "steps of 10 s": (without(dates("2005-01-01", periods=99, freq="10s"), 50), "1 of 99"),
    "steps": ([1, 2, 4, 5], "1 of 5"),
}


@pytest.mark.parametrize("name", MISSING)
def test_what_is_missing_is_counted_in_the_calendars_own_steps(read, name):
    times, count = MISSING[name]
    assert f"Column 'date' of FILE misses {count} {name}, " in sentence(read, rows(times))
    missing = int(count.split()[0])
    assert read(rows(times), gaps="fill").attrs["filled"] == missing


def test_where_half_of_a_grid_is_missing_it_is_none(read):
    """Two of four rows might be of any grid; three of five are of one that misses two."""
    for unit in ("2005-01-0{}", "{}"):
        assert " misses 2 of 5 " in sentence(read, rows(unit.format(k) for k in (1, 2, 5)))
        assert "equal steps" in sentence(read, rows(unit.format(k) for k in (1, 2, 6)))
    assert "equal steps" in sentence(read, rows([1, 2, 3, 10**12]))
    for second in ("2005-01-01T00:01", "2005-01-01T00:00:00.000000001"):  # no room for its grid
        assert "equal steps" in sentence(read, rows(["2005-01-01", second, "2105-01-01"]))


UNEQUAL = ["2005-01-01", "2005-01-02", "2005-01-03", "2005-01-06", "2005-01-20T05:30"]


def test_unequal_steps(read):
    assert sentence(read, rows(UNEQUAL)) == (
        "Column 'date' of FILE must have equal steps, but line 5 comes 3 days after the row "
        "before, most others 1 day; --every averages over equal steps (D, W, MS), --gaps ignore "
        "takes the rows as equally spaced."
    )
    assert sentence(read, rows(UNEQUAL), gaps="fill") == sentence(read, rows(UNEQUAL))
    assert sentence(read, rows([1, 2, 3, 7.5, 9])) == (
        "Column 'date' of FILE must have equal steps, but line 5 comes 4.5 after the row before, "
        "most others 1; --gaps ignore takes the rows as equally spaced."
    )
    table = read(rows(UNEQUAL), gaps="ignore")
    assert table["y"].tolist() == [0, 1, 2, 3, 4]
    assert table.index.equals(pd.RangeIndex(5))
    jitter = ["2005-01-01T00:00", "2005-01-01T00:15:02", "2005-01-01T00:30:01"]
    assert "comes 00:15:02 after" in sentence(read, rows(jitter))
    for form in ("%Y%m%d", "%Y%m"):
        times = dates("2005-01-01", periods=100, freq="D" if "d" in form else "MS").strftime(form)
        assert sentence(read, rows(times)) == (
            f"Column 'date' of FILE must have equal steps, got {times[0]}: write dates with "
            "hyphens (2005-01-31)."
        )


def test_every_averages(read):
    table = read(rows(UNEQUAL), every="W", gaps="fill")
    assert table.index.freqstr == "W-SUN"
    assert table["y"].tolist() == [0.5, 2.5, 3.25, 4]
    text = "date,y\n2005-01-01T00:10,1\n2005-01-01T00:10,3\n2005-01-01T01:59,5\n2005-01-01T03:00,\n"
    assert read(text, every="h", gaps="ignore")["y"].tolist() == [2, 5]
    text += "2005-01-01T03:15,9\n"
    assert read(text, every="h", gaps="fill")["y"].tolist() == [2, 5, 7, 9]
    assert "misses 1 of 4 hours, 2005-01-01 02:00;" in sentence(read, text, every="h")
    hours = rows(dates("2005-01-01", periods=48, freq="h"))
    assert read(hours, every="D")["y"].tolist() == [11.5, 35.5]
    for every in ("M", "0D", "-1D", "5", "", "fortnight"):
        assert sentence(read, hours, every=every) == (
            f"every must be a frequency of pandas, such as D, W or MS, got {every!r}."
        )
    for every in ("ns", "s"):
        said = sentence(read, hours, every=every)
        assert said == f"every must not be much finer than the rows, got {every!r}."
    assert " misses 2773 of 2821 minutes" in sentence(read, hours, every="min")
    said = sentence(read, rows([1, 2]), every="D")
    assert said == "Column 'date' of FILE must hold dates for --every, got numbers."


def berlin(start, **options):
    return dates(start, tz="Europe/Berlin", **options)


def test_clocks_that_change(read):
    """With offsets, time goes on; without, an hour comes twice, or not at all."""
    hours = berlin("2005-10-29 22:00", periods=30, freq="h")
    table = read(rows(hours))
    assert table.index.freqstr == "h"
    assert table.index.equals(hours.tz_convert("UTC"))
    assert describe(table) == "30 values, hourly, 2005-10-29 20:00 UTC to 2005-10-31 01:00 UTC"
    for freq, line in (("h", 7), ("15min", 22)):
        local = berlin("2005-10-29 22:00", periods=60, freq=freq).tz_localize(None)
        assert sentence(read, rows(local)) == (
            f"Column 'date' of FILE has the hour of 2005-10-30 02:00 again in line {line}, as "
            "local time does where clocks are set back; write times in UTC or with offsets "
            "(2005-10-30T02:00+01:00), or take the rows as equally spaced by --untimed."
        )
        assert len(read(rows(local), untimed=True)) == 60
    local = berlin("2005-03-26 22:00", periods=30, freq="h").tz_localize(None)
    assert sentence(read, rows(local)) == (
        "Column 'date' of FILE misses 1 of 31 hours, 2005-03-27 02:00, which clocks skip that are "
        "set forward; --gaps fill interpolates, --gaps ignore takes the rows that there are as "
        "equally spaced."
    )
    assert len(read(rows(local), gaps="ignore")) == 30
    days = berlin("2005-10-29", periods=4)  # of 24, 25 and 24 hours
    table = read(rows(days))
    assert table.index.freqstr == "D"
    assert table.index.equals(days.tz_localize(None))
    months = berlin("2005-01-01", periods=12, freq="MS")
    assert read(rows(months)).index.equals(months.tz_localize(None))


def test_what_only_looks_like_a_change_of_clocks(read):
    """Days, another hour, another month, another day of the week."""
    for twice in (
        ["2005-10-29", "2005-10-30", "2005-10-30"],
        ["2005-10-30T11:00", "2005-10-30T12:00", "2005-10-30T12:00"],
        ["2005-07-03T01:00", "2005-07-03T02:00", "2005-07-03T02:00"],
        ["2005-10-26T01:00", "2005-10-26T02:00", "2005-10-26T02:00"],
        ["2005-10-30T01:00+02:00", "2005-10-30T02:00+02:00", "2005-10-30T02:00+02:00"],
    ):
        assert " but lines 3 and 4 both have 2005-" in sentence(read, rows(twice))
    back = ["2005-10-30T01:00", "2005-10-30T02:00", "2005-10-30T03:00", "2005-10-30T02:00"]
    assert " but line 5 (2005-10-30 02:00) is earlier" in sentence(read, rows(back))
    hours = without(dates("2005-03-27", periods=60, freq="h"), 2, 30)
    assert " hours, the first 2005-03-27 02:00; --gaps fill" in sentence(read, rows(hours))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the zone can be set on Unix only")
def test_times_without_a_zone_know_no_summer_time(read, monkeypatch):
    """Where clocks are set forward at two, half past two would be later than three."""
    import time

    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    try:
        text = rows(["2005-03-27T02:30", "2005-03-27T03:00", "2005-03-27T03:30"])
        assert read(text).index.freqstr == "30min"
    finally:
        monkeypatch.undo()
        time.tzset()


NUMBER = "Column 'y' of FILE must hold finite numbers only, got {} in line 4"
CELLS = {
    "abc": ".",
    "inf": ".",
    "-inf": ".",
    "1e999": ".",
    "0x10": ".",
    "5%": ".",
    "$5": ".",
    "\u0661": ".",  # a digit, but of Arabic
    "1,5": "; --decimal , reads decimal commas.",
    "-,5e3": "; --decimal , reads decimal commas.",
    "1,500": "; --decimal , reads decimal commas (but as a separator of thousands it has to go).",
    "1,234,567": "; take out the separators of thousands.",
    "1,234.5": "; take out the separators of thousands.",
    "1_000": "; take out the separators of thousands.",
    "1\xa0000": "; take out the separators of thousands.",
    "1 000": "; take out the separators of thousands.",
}
CELLS |= dict.fromkeys(
    ["", "NaN", "nan", "NA", "n/a", "#N/A", "null", "None", "<NA>", "."],
    "; --gaps fill interpolates, --gaps ignore leaves such rows out.",
)


@pytest.mark.parametrize("cell", CELLS)
def test_cells_that_are_no_numbers(read, cell):
    text = f'date,y\n2005-01,1\n2005-02,2\n2005-03,"{cell}"\n2005-04,4\n'
    assert sentence(read, text) == NUMBER.format(repr(cell)) + CELLS[cell]
    if "--gaps" in CELLS[cell]:
        assert read(text, gaps="fill")["y"].tolist() == pytest.approx([1, 2, 2 + 2 * 28 / 59, 4])
        assert read(text, gaps="ignore")["y"].tolist() == [1, 2, 4]
        assert read(text, every="QS")["y"].tolist() == [1.5, 4]
        two = text.replace(",4", ",")
        assert f"got {cell!r} in line 4 (and in 1 more); --gaps" in sentence(read, two)
    else:
        assert sentence(read, text, gaps="fill") == sentence(read, text)


def test_numbers_as_they_are_written(read):
    cells = ["1", "-2.5", "+.5", "3.", "1e3", "2E-3", " 7 ", "007"]
    table = read("y\n" + "\n".join(cells), untimed=True)
    assert table["y"].tolist() == [1, -2.5, 0.5, 3, 1000, 0.002, 7, 7]
    commas = "\n".join(f'"{cell.replace(".", ",")}"' for cell in cells)
    assert read("y\n" + commas, untimed=True, decimal=",").equals(table)
    assert read("t;y\n0,5;1\n1,0;2\n", decimal=",").index.tolist() == [0.5, 1]
    for cell, hint in {
        "1.5": "; leave out --decimal , where a point separates decimals.",
        "1.234,5": "; take out the separators of thousands.",
    }.items():
        said = sentence(read, f"t;y\n0;1\n1;2\n2;{cell}\n", decimal=",")
        assert said == NUMBER.format(repr(cell)) + hint
    long = sentence(read, "y\n1\n2\n" + "x" * 100_000, untimed=True)
    assert long == NUMBER.format(repr("x" * 37 + "...")) + "."


ISO = (
    "Column 'date' of FILE must hold the time as ISO dates (2005-01, 2005-01-31, 2005-01-31T12:00) "
    "or numbers, got {} in line 3; name another by --time, or take the rows as equally spaced by "
    "--untimed."
)
TIMES = ["31/01/2005", "01/02/2005", "31.01.2005", "1-2-2005", "June", "", "2005-1-1", "2005-02-30"]
TIMES += ["2005-01-01T5:00", "2005-01-01 24:00", "2005Q5", "2005", "2005-W03", "20050101", "NaN"]
TIMES += ["2005-01-01T00:00+99:00", "2005-01-01x", "x2005-01-01"]


@pytest.mark.parametrize("time", TIMES)
def test_times_are_not_guessed(read, time):
    assert sentence(read, rows(["2004-12-31", time])) == ISO.format(repr(time))


ORDER = "Column 'date' of FILE must increase from row to row, but "
HEAD = "FILE must have as many fields in each row as in its head, 2, got "
HINT = "; a decimal comma needs quotes, or semicolons between fields."
SENTENCES = {
    "empty": ("", {}, "FILE is empty."),
    "blank": (" \n\n", {}, "FILE is empty."),
    "separators only": (
        ",,\n,,\n",
        {},
        "FILE has no column 'y'; its head, line 1, has ,,.",
    ),
    "head only": ("date,y\n", {}, "FILE has no rows below its head."),
    "no column": ("date,z\n1,2\n", {}, "FILE has no column 'y'; its head, line 1, has date, z."),
    "no column of time": (
        "date,y\n1,2\n",
        {"time": "month"},
        "FILE has no column 'month'; its head, line 1, has date, y.",
    ),
    "another case": (
        "\n,Y\n1,2\n",
        {},
        "FILE has no column 'y'; its head, line 2, has one without a name, Y; did you mean 'Y'?",
    ),
    "a near miss": (
        "date,temperature\n1,2\n",
        {"columns": ["temprature"]},
        "FILE has no column 'temprature'; its head, line 1, has date, temperature; did you mean "
        "'temperature'?",
    ),
    "many columns": (
        ",".join(f"c{k}" for k in range(30)) + "\n1\n",
        {},
        "FILE has no column 'y'; its head, line 1, has "
        + ", ".join(f"c{k}" for k in range(20))
        + " and 10 more.",
    ),
    "a comment above the head": (
        "# a, b\ndate,y,x\n1,2,3\n",
        {},
        "FILE has no column 'y'; its head, line 1, has # a, b.",
    ),
    "a name of two lines": (
        '"da\nte",z\n1,2\n',
        {},
        "FILE has no column 'y'; its head, line 2, has da te, z.",
    ),
    "spaces": ("date y\n1 2\n", {}, "FILE has no column 'y'; its head, line 1, has date y."),
    "twice the column": (
        "date,y,y\n1,2,3\n",
        {},
        "FILE must have one column 'y', got 2 in its head.",
    ),
    "twice the time": (
        "date,y,date\n1,2,3\n",
        {},
        "FILE must have one column 'date', got 2 in its head.",
    ),
    "more fields": ("date,y\n2000-01,1,001.26\n", {}, HEAD + "3 in line 2" + HINT),
    "more fields below": ("date;y\n1;1\n\n2;1;3\n", {}, HEAD + "3 in line 4."),
    "fewer fields": ("date,y\n2000-01,1\n2000-02\n", {}, HEAD + "1 in line 3."),
    "a line below": ("date,y\n1,2\n2,3\nSource: me\n", {}, HEAD + "1 in line 4."),
    "an open quote": (
        'date,y\n1,"2\n2,3\n',
        {},
        "FILE is no CSV file in line 3: unexpected end of data.",
    ),
    "no numbers": (
        "y\nNA\nNA\n",
        {"untimed": True, "gaps": "fill"},
        "Column 'y' of FILE holds no number.",
    ),
    "an empty line of one column": (
        "y\n1\n\n2\n",
        {"untimed": True},
        "Column 'y' of FILE must hold finite numbers only, got '' in line 3; --gaps fill "
        "interpolates, --gaps ignore leaves such rows out.",
    ),
    "an empty row": (
        "date,y\n1,1\n,\n3,2\n",
        {},
        "Column 'y' of FILE must hold finite numbers only, got '' in line 3; --gaps fill "
        "interpolates, --gaps ignore leaves such rows out.",
    ),
    "no row with all": (
        "y,x\n1,\n,2\n",
        {"columns": ["y", "x"], "untimed": True, "gaps": "ignore"},
        "FILE has no row with all values.",
    ),
    "a series of nothing": (
        "date,who,y\n2005-01,A,1\n2005-01,B,\n",
        {"group": "who", "gaps": "ignore"},
        "Column 'date' of FILE (who 'B') has no row with all values.",
    ),
    "nothing before": (
        "y\n\n2\n",
        {"untimed": True, "gaps": "fill"},
        "FILE must have values on both sides of 0 to interpolate.",
    ),
    "no time": (
        "y\n1\n2\n",
        {},
        "FILE has no time column before 'y'; name it by --time, or take the rows as equally "
        "spaced by --untimed.",
    ),
    "unsorted": (
        rows(["2005-01", "2005-03", "2005-02", "2005-04"]),
        {},
        ORDER + "line 4 (2005-02-01) is earlier than the one before (2005-03-01); name another "
        "column by --time, the one that tells several series apart by --group, or take the rows as "
        "they stand by --untimed.",
    ),
    "no time, but numbers": (
        rows([52, 17, 30]),
        {},
        ORDER + "line 3 (17) is earlier than the one before (52); name another column by --time, "
        "the one that tells several series apart by --group, or take the rows as they stand by "
        "--untimed.",
    ),
    "backwards": (
        rows(["2005-03", "2005-02", "2005-01"]),
        {},
        ORDER + "its latest row comes first, in line 2; turn the rows round, or name another "
        "column by --time.",
    ),
    "backwards to be averaged": (
        rows(["2005-03", "2005-02", "2005-01"]),
        {"every": "MS"},
        ORDER + "its latest row comes first, in line 2; turn the rows round, or name another "
        "column by --time.",
    ),
    "offsets in some": (
        rows(["2005-01-01T00:00Z", "2005-01-01T01:00"]),
        {},
        "Column 'date' of FILE must hold an offset in each row or in none, got "
        "'2005-01-01T01:00' in line 3.",
    ),
}


@pytest.mark.parametrize("name", SENTENCES)
def test_bad_files_are_told_in_one_sentence(read, name):
    text, options, said = SENTENCES[name]
    assert sentence(read, text, **options) == said


def test_arguments_that_contradict_each_other(read):
    for options, message in [
        ({"untimed": True, "time": "date"}, "leave out time and every"),
        ({"untimed": True, "every": "D"}, "leave out time and every"),
        ({"time": "y"}, "'y' cannot be two of the columns, the time and the group"),
        ({"group": "y"}, "'y' cannot be two of"),
        ({"time": "date", "group": "date"}, "'date' cannot be two of"),
        ({"gaps": "drop"}, "gaps must be one of 'fill', 'ignore', got 'drop'"),
        ({"decimal": ";"}, "decimal must be one of '.', ',', got ';'"),
        ({"columns": []}, "columns must name one column at least"),
    ]:
        with pytest.raises(ValueError, match=message):
            read(rows([1, 2]), **options)
    assert read(rows([1, 2]), columns="y").equals(read(rows([1, 2]), columns=["y", "y"]))


def test_paths_that_cannot_be_read(tmp_path, monkeypatch):
    path = tmp_path / "f.csv"
    assert sentence(read_table, path, ["y"]) == "FILE does not exist."
    path.mkdir()
    assert sentence(read_table, path, ["y"]) == "FILE cannot be read: it is a folder."
    path.rmdir()
    path.write_text("date,y\n1,2\n", encoding="utf-8")
    path.chmod(0)
    if os.access(path, os.R_OK):  # as root may
        refused = PermissionError(13, "Permission denied")
        monkeypatch.setattr(type(path), "read_bytes", lambda _: (_ for _ in ()).throw(refused))
    assert sentence(read_table, path, ["y"]) == "FILE cannot be read: Permission denied."


def test_the_command_tells_them(tmp_path, capsys):
    pytest.importorskip("rnnbook.plots", reason="the command draws a figure")
    path = tmp_path / "f.csv"
    path.write_text("date,y\n2000-01,1,001.26\n", encoding="utf-8")
    assert main([str(path), "--column", "y", "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"{path}{HEAD[4:]}3 in line 2{HINT}\n"
    assert not (tmp_path / "out").exists()


CODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"]


@pytest.mark.parametrize("encoding", CODINGS)
def test_encodings(read, encoding):
    """UTF-16 with a mark and without; text of the West; in UTF also that of the East."""
    texts = ["Tag,Größe €\n2005-01,1\n2005-02,2\n"]
    texts += ["日期,温度\n2005-01,1\n2005-02,2\n"] * (encoding != "cp1252")
    for text in texts:
        time, name = text.splitlines()[0].split(",")
        table = read(text, [name], time=time, encoding=encoding)
        assert table[name].tolist() == [1, 2]
        assert table.index.freqstr == "MS"
    if encoding == "utf-16":
        data = b"\xfe\xff" + texts[0].encode("utf-16-be")
        assert read(data, ["Größe €"], time="Tag").size == 2


def test_what_is_no_text(read):
    said = "FILE must be text in UTF-8, UTF-16 or Windows-1252, got something else."
    for data in (
        gzip.compress(b"date,y\n1,2\n"),
        b"PK\x03\x04\x14\x00\x06\x00\x08\x00\x00\x00!\x00date,y",
        bytes(range(256)),
        b"\xff\xfed",
        b"date,y\n1,2\x00\n",
        b"date,y\n\x1b[0m1,2\n",
        "date,y\n1,2\n".encode("utf-32"),
        b"caf\x81",
    ):
        assert sentence(read, data) == said


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_separators_and_ends_of_lines(read, mark, end):
    lines = ['a , date,y,"b\n"", c"', '"x,;\t|",2005-01,1,', "", ' "" ,2005-02, 2 ,5', "", ",,,"]
    lines[2:4] = ["", ',2005-02, "2" ,5'.replace(' "2" ', ' "2"')]
    cut = [line.replace("b\n", "b").replace(",", mark) for line in lines]
    cut[1] = f'"x;,|\t"{mark}2005-01{mark}1{mark}'
    table = read(end.join(["", *cut]) + end, time="date")
    assert table["y"].tolist() == [1, 2]
    assert table.index.freqstr == "MS"


def test_the_separator_is_the_one_that_finds_the_columns(read):
    assert read("date,y;b;c\n5,1\n6,2\n", ["y;b;c"]).iloc[:, 0].tolist() == [1, 2]
    assert read("a|b;y\n5;1\n6;2\n")["y"].tolist() == [1, 2]


def test_lines_are_counted_as_an_editor_does(read):
    text = '\ndate,note,y\n2005-01,"two\nlines",1\n\n2005-02,,x\n'
    assert "got 'x' in line 6." in sentence(read, text)


def test_season_of_an_index_of_ones_own():
    known = {"h": 24, "2h": 12, "30min": 48, "min": 1440, "D": 7, "B": 5, "W": 52, "4W-TUE": 13}
    known |= {"MS": 12, "3ME": 4, "BMS": 12, "QE": 4, "BQS": 4, "2QS": 2}
    known |= dict.fromkeys(["5h", "24h", "2D", "12MS", "YS", "BYE", "s"])
    for freq, season in known.items():
        assert season_of(dates("2005-01-01", periods=5, freq=freq)) == season, freq
    for months, season in {1: 12, 2: 6, 3: 4, 6: 2, 12: None, 24: None, 5: None}.items():
        step = pd.DateOffset(months=months)
        assert season_of(dates("2005-01-15", periods=5, freq=step)) == season, months
    for index in (pd.RangeIndex(5), pd.Index([1.5, 2.5]), pd.DatetimeIndex(["2005-01-01"])):
        assert season_of(index) is None


FREQUENCIES = ["MS", "ME", "BME", "QS", "YE", "D", "2D", "W-WED", "B", "h", "15min", "5s"]


@given(
    freq=st.sampled_from(FREQUENCIES),
    start=st.datetimes(datetime.datetime(1900, 1, 1), datetime.datetime(2100, 1, 1)),
    gaps=st.lists(st.booleans(), min_size=10, max_size=40),
    values=st.data(),
)
def test_any_gaps_of_any_frequency(read, freq, start, gaps, values):
    """Of a series that misses less than half, all of it is found again, or told as missing."""
    times = dates(pd.Timestamp(start).floor("D"), periods=len(gaps) + 4, freq=freq)
    kept = np.array([True, True, *gaps, True, True])  # neighbors, by which steps are known
    # Days of which no weekend is kept are business days; ends of months may be both kinds.
    assume(freq != "D" or (times[kept].day_of_week >= 5).any())
    assume(freq != "BME" or not times[kept].is_month_end.all())
    numbers = st.lists(st.floats(-1e300, 1e300), min_size=int(kept.sum()), max_size=int(kept.sum()))
    y = np.array(values.draw(numbers))
    text = "date,y\n" + "".join(
        f"{t},{v!r}\n" for t, v in zip(times[kept], y.tolist(), strict=True)
    )
    if kept.all():
        table = read(text)
        assert table.index.equals(times)
        assert season_of(table.index) == season_of(times)
        np.testing.assert_array_equal(table["y"], y)  # to the last digit
        return
    said = sentence(read, text)
    ignored = read(text, gaps="ignore")
    np.testing.assert_array_equal(ignored["y"], y)
    if 2 * kept.sum() <= len(times) or "equal steps" in said:
        assert 2 * kept.sum() <= len(times)
        return
    count = re.search(r"misses (\d+) of (\d+)", said)
    if freq != "B" or int(count[2]) == len(times):  # business days of one week may be days
        assert [int(n) for n in count.groups()] == [(~kept).sum(), len(times)]
        full = read(text, gaps="fill")
        assert full.index.equals(times)
        np.testing.assert_array_equal(full["y"][kept], y)
        assert full["y"].between(y.min(), y.max()).all()


@given(text=st.text(alphabet='0123456789-.,;:\n\t" TZynaQe+', max_size=60), untimed=st.booleans())
def test_any_text_is_read_or_told(read, text, untimed):
    """No other error than BadFile, no value that is not finite."""
    for gaps in (None, "fill", "ignore"):
        with contextlib.suppress(BadFile):
            table = read("date,y\n" + text, untimed=untimed, gaps=gaps)
            assert len(table)
            assert np.isfinite(table["y"]).all()
