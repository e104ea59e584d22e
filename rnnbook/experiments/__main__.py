"""``python -m rnnbook.experiments``: see the package's docstring."""

import argparse
import sys
from pathlib import Path

from rnnbook.experiments import renewal
from rnnbook.experiments.runner import BACKENDS, Busy, RunsFailed, describe, run_experiment
from rnnbook.experiments.stored import (
    experiment_file,
    experiment_names,
    load_results,
    results_file,
)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m rnnbook.experiments",
        description="Run an experiment over its settings and several seeds, and store the results. "
        "What the present code has given already is not run again.",
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="an experiment, or a .py file")
    parser.add_argument("--seeds", type=int, metavar="N", help="how many seeds (0 .. N - 1)")
    parser.add_argument("--fresh", action="store_true", help="run everything again")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at a time (1)")
    parser.add_argument("--backend", choices=BACKENDS, default="loky", help="where they run (loky)")
    parser.add_argument("--address", help="of a running Dask or Ray cluster")
    parser.add_argument("--quick", action="store_true", help="the small version: seconds")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--list", action="store_true", help="show what there is, and stop")
    instead.add_argument(
        "--stale", action="store_true", help="show whose code has changed, why, and what it costs"
    )
    instead.add_argument(
        "--renew", action="store_true", help="bring stale results up to date, at the least cost"
    )
    instead.add_argument(
        "--check", action="store_true", help="make one stored run of each again, and compare"
    )
    arguments = vars(parser.parse_args())
    name = arguments.pop("name")
    names = experiment_names() if name is None else [name]
    doing = {way: arguments.pop(way) for way in ("list", "stale", "renew", "check")}
    try:
        if doing["list"]:
            return show_list()
        if doing["stale"]:
            return show_stale(names)
        if doing["renew"]:
            return renew(names, arguments["jobs"])
        if doing["check"]:
            return check(names)
        if name is None:
            parser.error("NAME is missing; --list shows what there is.")
        merged = run_experiment(name, **arguments)
        file = results_file(experiment_file(name), quick=arguments["quick"])
    except (ValueError, ModuleNotFoundError) as error:
        parser.error(str(error))
    except (RunsFailed, Busy) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped. Finished runs are stored; the same command goes on.", file=sys.stderr)
        return 130
    place = file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
    print(f"{len(merged['runs'])} runs, {hours(merged):.2f} core hours: {place}")
    return 0


def hours(results: dict) -> float:
    return sum(run["seconds"] for run in results["runs"]) / 3600


def show_list() -> int:
    for name in experiment_names():
        print(f"{name:24} {describe(experiment_file(name))}")
    return 0


def show_stale(names: list[str]) -> int:
    """One line for each; status 1 if there is any."""
    due = {name: reason for name in names if (reason := renewal.why_stale(name))}
    for name, reason in due.items():
        try:
            cost = f"{hours(load_results(name)):.2f} core hours if the numbers changed"
        except FileNotFoundError:
            cost = "its cost is unknown"
        print(f"{name:24} {reason}; {cost}")
    return 1 if due else 0


def renew(names: list[str], jobs: int) -> int:
    for name in names:
        print(f"{name:24} {renewal.renew(name, jobs=jobs)}", flush=True)
    return 0


def check(names: list[str]) -> int:
    status = 0
    for name in names:
        found = renewal.try_cheapest(name)
        print(f"{name:24} {found[0] if found else 'as stored'}", flush=True)
        status = 1 if found else status
    return status


if __name__ == "__main__":
    sys.exit(main())
