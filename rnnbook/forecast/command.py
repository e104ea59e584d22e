"""The command line: reads, compares by a backtest, and leaves the forecast, its model, a figure."""

import argparse
import contextlib
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from rnnbook.checkpoint import check_writable, write_atomically
from rnnbook.checks import check_between
from rnnbook.extras import MissingExtra, needed
from rnnbook.forecast.backtest import conformal
from rnnbook.forecast.comparison import Plan, compare, parts
from rnnbook.forecast.figure import draw
from rnnbook.forecast.files import read_series, read_table
from rnnbook.forecast.many import check_many, compare_many
from rnnbook.forecast.saved import FILE, Model, beyond, load
from rnnbook.forecast.steps import BadFile, describe, season_of
from rnnbook.forecast.tables import as_csv, as_json, many_rows, many_text, rows_of, text_of

with needed("forecast"):
    import pandas as pd


def main(arguments: list[str] | None = None) -> int:
    """The command line. Returns 0; 2 with one sentence on standard error; 130 for Ctrl-C."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        import rnnbook.plots  # noqa: F401  what its figure needs is missed before the training

        with warnings.catch_warnings():  # of fits that did not converge: the backtest judges
            warnings.simplefilter("ignore")
            if arguments[:1] == ["apply"]:
                _apply(_apply_parser().parse_args(arguments[1:]))
            else:
                options = _parser().parse_args(arguments)
                (_run_many if options.group else _run)(options)
    except (ValueError, MissingExtra) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted: nothing was written.", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m rnnbook.forecast",
        description="Compare forecasts of a column of a CSV file by a backtest, choose one by "
        "validation, and forecast beyond the end with it. 'apply FOLDER data.csv' forecasts on.",
    )
    add = parser.add_argument
    add("file", help="a CSV file with a head, the earliest row first")
    add("--column", required=True, help="what to forecast")
    add("--time", help="the column with the time (the first one)")
    add("--untimed", action="store_true", help="no column holds the time: rows are equal steps")
    add("--every", help="average over equal steps, such as D, W or MS")
    add("--gaps", choices=("fill", "ignore"), help="interpolate what is missing, or leave it out")
    add("--decimal", choices=(".", ","), help="the decimal mark (.)")
    add("--with", dest="beside", help="columns known beforehand, a,b: also in rows with no value")
    add("--group", help="the column that tells many series apart, to be forecast together")
    add("--season", type=int, help="steps of a season; 1: none (a day, a week, a year by the time)")
    add("--horizon", type=int, help="how many steps ahead (a season, or 12; fewer in short files)")
    add("--window", type=int, help="values that are read (a season, at least 12; or fewer)")
    add("--direct", action="store_true", help="one model for each step ahead")
    add("--hidden", type=int, default=16, help="units of the networks (16)")
    add("--networks", type=int, default=5, help="how many networks are averaged (5)")
    add("--coverage", type=float, default=0.8, help="of the intervals (0.8)")
    add("--out", type=Path, default=Path("forecast"), help="folder (forecast)")
    return parser


def _apply_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m rnnbook.forecast apply",
        description="Forecast beyond the end of a file that goes on where another ended, by the "
        "model that was chosen and fitted there.",
    )
    parser.add_argument("folder", type=Path, help="the --out of the first call")
    parser.add_argument("file", help="a CSV file with the same columns; untimed rows follow")
    parser.add_argument("--out", type=Path, help="folder (else the forecast is printed)")
    return parser


def _run(options: argparse.Namespace) -> None:
    """One series."""
    names = [name for name in (options.beside or "").split(",") if name]
    reading = {
        name: getattr(options, name) for name in ("time", "untimed", "every", "gaps", "decimal")
    }
    y, beside = _read(options.file, options.column, names, reading)
    plan = _plan(options, y.index, len(y))
    plan.check(y)
    if beside is not None:
        beside = _covering(beside, y.index, plan.steps, options.file)
    _check_out(options.out)
    print(f"read: {describe(y)}")
    print(_said(plan))
    with _progress() as tell:
        found = compare(y, plan, beside=beside, tell=tell)
    rows = rows_of(found, plan)
    print(text_of(rows, found, plan))
    models = {}
    for name in dict.fromkeys([found.best, plan.cell]):
        result = found.results[name]
        errors = np.concatenate([result.validation.errors, result.test.errors])
        half = conformal(errors, plan.coverage)
        known = {"reading": reading | {"beside": names}}
        models[name] = Model(name, result.setting, plan, y, half, beside, **known)
    forecasts = {name: model.forecast() for name, model in models.items()}
    shown = {row["name"]: np.array(row["test_rmse"]) for row in rows}
    shown = {found.best: shown[found.best], **shown}  # it is drawn thickest
    summary = {"read": describe(y), "plan": asdict(plan), "best": found.best, "candidates": rows}
    _write(
        options.out,
        {
            "errors.json": as_json(summary),
            "forecast.csv": as_csv(forecasts[found.best]),
            FILE: models[found.best].content(),
            "forecast.png": draw(y, forecasts, shown, plan.coverage),
        },
    )


def _run_many(options: argparse.Namespace) -> None:
    """Many series in one long file."""
    for name in ("beside", "direct"):
        if getattr(options, name):
            raise ValueError(f"--group takes no --{'with' if name == 'beside' else name}.")
    frames = read_table(
        options.file,
        [options.column],
        time=options.time,
        group=options.group,
        untimed=options.untimed,
        every=options.every,
        gaps=options.gaps,
        decimal=options.decimal,
    )
    series = {str(name): frame[options.column] for name, frame in frames.items()}
    longest = max(series.values(), key=len)
    plan = _plan(options, longest.index, len(longest))
    plan.check(longest)
    check_many(series, plan.steps, season=plan.season, window=plan.window)
    _check_out(options.out)
    print(f"read: {len(series)} series, the longest {describe(longest)}")
    print(_said(plan))
    stride = -(-round(0.15 * len(longest)) // 16)
    with _progress() as tell:
        found = compare_many(
            series,
            plan.steps,
            season=plan.season,
            window=plan.window,
            hidden=plan.hidden,
            seeds=range(plan.networks),
            stride=stride,
            tell=tell,
        )
    rows = many_rows(found)
    print(many_text(rows, found))
    best = found.best
    errors = np.concatenate([found.validation[best], found.test[best]], axis=1)
    after = beyond(longest.index, plan.steps)
    tables = []
    for name, held in zip(found.names, errors, strict=True):
        middle, half = found.forecasts[name].to_numpy(), conformal(held, plan.coverage)
        columns = {"forecast": middle, "low": middle - half, "high": middle + half}
        part = pd.DataFrame(columns, index=after)
        part.insert(0, options.group, name)
        tables.append(part)
    summary = {"series": found.names, "plan": asdict(plan), "best": best, "models": rows}
    _write(
        options.out, {"errors.json": as_json(summary), "forecast.csv": as_csv(pd.concat(tables))}
    )


def _apply(options: argparse.Namespace) -> None:
    """The saved model on a file that goes on."""
    model = load(options.folder)
    reading = dict(model.reading)
    names = reading.pop("beside", [])
    y, beside = _read(options.file, str(model.y.name), names, reading)
    y, beside = model.joined(y, beside)
    if beside is not None:
        beside = _covering(beside, y.index, model.plan.steps, options.file)
    if options.out is not None:
        _check_out(options.out)
    forecast = model.forecast(y, beside)
    if options.out is None:
        print(as_csv(forecast).decode(), end="")
        return
    print(f"{model.name}, from the end of {describe(y)}")
    figure = draw(y, {model.name: forecast}, None, model.plan.coverage)
    _write(options.out, {"forecast.csv": as_csv(forecast), "forecast.png": figure})


def _read(
    path: str, column: str, names: list[str], reading: dict[str, Any]
) -> "tuple[pd.Series, pd.DataFrame | None]":
    """The series, and what is known beforehand, which may go on beyond its end."""
    if not names:
        return read_series(path, column, **reading), None
    if column in names:
        raise ValueError(f"--with must be other columns than {column!r}, which is forecast.")
    if reading["gaps"] == "ignore":
        raise ValueError("--with takes no --gaps ignore: rows would be left out of one column.")
    y = read_table(path, [column], ahead=True, **reading)[column]
    return y, read_table(path, names, **reading)


def _covering(beside: "pd.DataFrame", index: "pd.Index", steps: int, path: str) -> "pd.DataFrame":
    """The rows of ``index`` and ``steps`` more, or one sentence of what is missing."""
    wanted = index.append(beyond(index, steps))
    there = len(wanted) - len(wanted.difference(beside.index))
    if there < len(wanted):
        raise BadFile(
            f"{path} must hold {', '.join(map(repr, beside))} for the {steps} rows beyond the last "
            f"value too, with the value left empty, got {max(0, there - len(index))} of them; add "
            "rows, or ask for a shorter --horizon."
        )
    kept = beside.reindex(wanted)
    if isinstance(index, pd.DatetimeIndex):
        kept.index.freq = index.freq
    return kept


def _plan(options: argparse.Namespace, index: "pd.Index", length: int) -> Plan:
    """What was asked for, and for what was not, what suits the series."""
    season = options.season if options.season is not None else season_of(index)
    if options.season is None and getattr(index, "freq", None) is None:
        raise ValueError(
            "--season must say how many rows a season has, or 1 for none, where the file has no "
            "dates that tell."
        )
    if season is not None:
        check_between("season", season, 1, np.inf)
    season = None if season == 1 else season
    for name in ("horizon", "window"):
        if getattr(options, name) is not None:
            check_between(name, getattr(options, name), 1, np.inf)
    check_between("coverage", options.coverage, 0.01, 0.99)
    known = {
        "season": season,
        "hidden": options.hidden,
        "networks": options.networks,
        "direct": options.direct,
        "coverage": options.coverage,
    }
    window = options.window
    if window is None:
        whole = (season or 12) * -(-12 // (season or 12))
        window = max(1, min(whole, parts(length).train_end // 3))
    if options.horizon is not None:
        return Plan(options.horizon, window=window, **known)
    plans = [Plan(steps, window=window, **known) for steps in range(1, (season or 12) + 1)]
    fitting = [plan for plan in plans if not plan.short_of(length)]
    return fitting[-1] if fitting else plans[0]


def _said(plan: Plan) -> str:
    season = f"a season of {plan.season} steps" if plan.season else "no season"
    how = ", a model for each" if plan.direct else ""
    return (
        f"{season}; {plan.steps} step{'s' * (plan.steps > 1)} ahead{how}; windows of {plan.window}"
    )


def _check_out(out: Path) -> None:
    """Refuse a folder that cannot be written, before anything is trained; makes none."""
    there = next(each for each in (out, *out.absolute().parents) if each.exists())
    if not there.is_dir():
        raise ValueError(f"out must be a folder, got {there}, which is a file.")
    try:
        check_writable(there / "forecast.csv")
    except OSError as error:
        raise ValueError(
            f"out must be a folder to write in, got {out}: {error.strerror}."
        ) from error


def _write(out: Path, files: dict[str, bytes]) -> None:
    """All of it exists before the first file is written, and each is written whole."""
    try:
        for name, content in files.items():
            write_atomically(out / name, content)
    except OSError as error:
        raise ValueError(f"{out} cannot be written: {error.strerror}.") from error
    print(f"saved: {', '.join(files)} in {out}")


@contextlib.contextmanager
def _progress() -> Iterator[Any]:
    """``tell(name)``: a line on standard error for each that begins, with the seconds it took."""
    started: list[float] = []

    def end() -> None:
        if started:
            print(f" {time.perf_counter() - started.pop():.1f} s", file=sys.stderr, flush=True)

    def tell(name: str) -> None:
        end()
        print(f"{name} ...", end="", file=sys.stderr, flush=True)
        started.append(time.perf_counter())

    try:
        yield tell
    finally:
        end()
