"""Measure, or write what was measured into the README and the book.

python -m benchmarks             measure everything (about ten minutes), store results.json,
                                 then do all that stands below the next line
python -m benchmarks --quick     the small sizes, a few rounds: shows that it runs, stores nothing

python -m benchmarks --readme    write the table of README.md from results.json
python -m benchmarks --page      write the tables of book/benchmarks.md from results.json
python -m benchmarks --plot      draw book/images/benchmarks.svg from results.json
"""

import argparse
import json
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import torch

from benchmarks import layers, report, scans
from benchmarks.clock import blas, threads
from benchmarks.ladder import RUNGS
from rnnbook.experiments.runner import _environment
from rnnbook.progress import progress_bar

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results.json"
README = ROOT / "README.md"
PAGE = ROOT / "book" / "benchmarks.md"
FIGURE = ROOT / "book" / "images" / "benchmarks.svg"


def measure(*, quick: bool = False) -> dict:
    """All measurements; ``quick`` takes only the first sizes of each, and two rounds."""
    first = slice(2 if quick else None)
    much, little = (
        {"seconds": 0 if quick else seconds, "rounds": 2 if quick else 5} for seconds in (3, 0.5)
    )
    jobs = []
    several = torch.get_num_threads()  # as many as there are cores, or as the environment says
    for number in sorted({1, several}):
        jobs.append(("peak", number, partial(layers.peak, **much)))
        jobs += [
            ("layers", number, partial(layers.race, kind, size, names, **much))
            for size in layers.SIZES[first]
            for kind, names in layers.RACES.items()
        ]
    jobs += [
        ("ladder", 1, partial(layers.race, kind, size, list(RUNGS), **much))
        for kind in layers.KINDS
        for size in layers.SIZES[first]
    ]
    jobs += [
        ("scan", 1, partial(scans.scan_race, library, steps, width, **little))
        for library in scans.LIBRARIES
        for width in scans.WIDTHS
        for steps in scans.STEPS[first]
    ]
    jobs += [
        ("cost", 1, partial(layers.cost, kind, varied, size, **little))
        for kind in layers.KINDS
        for varied, sizes in layers.COSTS.items()
        for size in sizes[first]
    ]

    today = datetime.now(UTC).date().isoformat()
    results = {"date": today, **_environment(), "blas": blas(), "threads": several}
    bar = progress_bar(len(jobs), unit="measurement")
    for table, number, job in jobs:
        with threads(number):
            results.setdefault(table, []).append(job())
        bar.update()
    bar.close()
    return results


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for option in ("quick", "readme", "page", "plot"):
        parser.add_argument(f"--{option}", action="store_true")
    asked = parser.parse_args()
    everything = not (asked.readme or asked.page or asked.plot)

    if everything:
        results = measure(quick=asked.quick)
        print(report.console(results))
        if asked.quick:
            return
        RESULTS.write_text(dumps(results), encoding="utf-8")
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    if asked.readme or everything:
        report.write(README, results)
    if asked.page or everything:
        report.write(PAGE, results)
    if asked.plot or everything:
        from benchmarks.figure import draw

        draw(results, FIGURE)


def dumps(results: dict) -> str:
    """JSON with one measurement on a line."""
    parts = []
    for name, value in results.items():
        if isinstance(value, list):
            rows = ",\n  ".join(json.dumps(row) for row in value)
            parts.append(f'"{name}": [\n  {rows}\n ]')
        else:
            parts.append(f'"{name}": {json.dumps(value)}')
    return "{\n " + ",\n ".join(parts) + "\n}\n"


if __name__ == "__main__":
    main()
