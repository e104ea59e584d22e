"""``python -m rnnbook.experiments``: see the package's docstring."""

import argparse
import sys

from rnnbook.experiments.runner import BACKENDS, RunsFailed, describe, run_experiment
from rnnbook.experiments.stored import experiment_file, experiment_names, results_file


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m rnnbook.experiments",
        description="Run an experiment over its settings and several seeds, and store the results.",
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="an experiment, or a .py file")
    parser.add_argument("--seeds", type=int, metavar="N", help="how many seeds (0 .. N - 1)")
    parser.add_argument("--resume", action="store_true", help="keep the runs that are stored")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at a time (1)")
    parser.add_argument("--backend", choices=BACKENDS, default="loky", help="where they run (loky)")
    parser.add_argument("--address", help="of a running Dask or Ray cluster")
    parser.add_argument("--quick", action="store_true", help="the small version: seconds")
    parser.add_argument("--list", action="store_true", help="show what there is, and stop")
    arguments = vars(parser.parse_args())
    name = arguments.pop("name")
    if arguments.pop("list"):
        for known in experiment_names():
            print(f"{known:24} {describe(experiment_file(known))}")
        return 0
    if name is None:
        parser.error("NAME is missing; --list shows what there is.")
    try:
        merged = run_experiment(name, **arguments)
        file = results_file(experiment_file(name), quick=arguments["quick"])
    except (ValueError, ModuleNotFoundError) as error:
        parser.error(str(error))
    except RunsFailed as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped. Finished runs are stored; continue with --resume.", file=sys.stderr)
        return 130
    hours = sum(run["seconds"] for run in merged["runs"]) / 3600
    print(f"{len(merged['runs'])} runs, {hours:.2f} core hours: results/{file.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
