"""The command line: reads, compares, and leaves errors, forecast, weights and a figure."""

import argparse
import json
import math
import sys
from pathlib import Path

import numpy as np

from rnnbook.checkpoint import save_tree, write_atomically
from rnnbook.checks import check_between
from rnnbook.extras import MissingExtra
from rnnbook.forecast.figure import draw
from rnnbook.forecast.files import read_series
from rnnbook.forecast.model import compare
from rnnbook.forecast.series import free_run


def main(arguments: list[str] | None = None) -> int:
    """The command line. Returns 0, or 2 with one sentence on standard error."""
    parser = argparse.ArgumentParser(
        prog="python -m rnnbook.forecast",
        description="Train an LSTM on a column of a CSV file and compare it with baselines.",
    )
    parser.add_argument("file", help="a CSV file with a head, rows equally spaced in time")
    parser.add_argument("--column", required=True, help="what to forecast")
    parser.add_argument("--time", help="the column with the time (the first one)")
    parser.add_argument("--season", type=int, default=12, help="steps of a season (12)")
    parser.add_argument("--window", type=int, default=24, help="values that are read (24)")
    parser.add_argument("--horizon", type=int, default=12, help="steps of a free run (12)")
    parser.add_argument("--hidden", type=int, default=16, help="units of the LSTM (16)")
    parser.add_argument("--epochs", type=int, default=150, help="the most epochs (150)")
    parser.add_argument("--seeds", type=int, default=5, help="how many networks, at least 2 (5)")
    parser.add_argument("--relative", action="store_true", help="predict changes: for a trend")
    parser.add_argument("--out", type=Path, default=Path("forecast"), help="folder (forecast)")
    options = parser.parse_args(arguments)
    settings = {
        name: getattr(options, name)
        for name in ("window", "season", "horizon", "hidden", "epochs", "seeds", "relative")
    }
    try:
        import rnnbook.plots  # noqa: F401  what its figure needs is missed before the training

        check_between("seeds", options.seeds, 2, math.inf)  # one seed has no interval
        if options.out.exists() and not options.out.is_dir():
            raise ValueError(f"out must be a folder, got the file {options.out}.")
        values = read_series(options.file, options.column, options.time).to_numpy()
        table, networks = compare(values, **settings)
        future = np.array(
            [free_run(net, values[None, -options.window :], options.horizon)[0] for net in networks]
        )
    except (ValueError, MissingExtra) as error:
        print(error, file=sys.stderr)
        return 2
    _report(table, options.horizon)
    _save(options.out, settings, table, networks, future)
    draw(options.out / "forecast.png", options.column, values, table, future)
    print(f"saved: errors.json, forecast.csv, weights.npz, forecast.png in {options.out}")
    return 0


def _report(table: dict[str, np.ndarray], horizon: int) -> None:
    from rnnbook.plots import mean_interval

    print(f"root mean squared error on the test part{'1 step':>12}{f'{horizon} steps':>20}")
    for name, errors in table.items():
        if errors.ndim == 1:
            print(f"{name:40}{errors[0]:12.4g}{errors[-1]:20.4g}")
        else:
            mean, half = mean_interval(errors)
            one, last = (f"{mean[k]:.4g} ± {half[k]:.2g}" for k in (0, -1))
            print(f"{name:40}{one:>16}{last:>20}")
    best = min(table, key=lambda name: table[name][..., 0].mean())
    print(f"best one step ahead: {best}")


def _save(out: Path, settings: dict, table: dict, networks: list, future: np.ndarray) -> None:
    errors = {name: values.tolist() for name, values in table.items()}
    text = json.dumps({"settings": settings, "rmse": errors}, indent=1) + "\n"
    write_atomically(out / "errors.json", text.encode())
    lines = ["step,mean," + ",".join(f"seed{seed}" for seed in range(len(future)))]
    for k, column in enumerate(future.T, start=1):
        numbers = [float(column.mean()), *column.tolist()]
        lines.append(",".join([str(k), *map(repr, numbers)]))  # every digit that there is
    write_atomically(out / "forecast.csv", ("\n".join(lines) + "\n").encode())
    weights = [{"scaler": vars(net.scaler), "params": net.model.params} for net in networks]
    save_tree(out / "weights.npz", weights)
