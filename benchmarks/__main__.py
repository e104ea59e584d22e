"""Measure, or write what was measured into the README and the book.

python -m benchmarks             measure everything (about ten minutes), store results.json,
                                 then do all that stands below the next line
python -m benchmarks --quick     the small sizes, a few rounds: shows that it runs, stores nothing

python -m benchmarks --readme    write the table of README.md from results.json
python -m benchmarks --page      write the tables of book/benchmarks.md from results.json
python -m benchmarks --plot      draw book/images/benchmarks.svg from results.json
python -m benchmarks --renew     if the code has changed: race a few again (a minute); where these
                                 come out as stored, the measurements are tied to the new code
"""

import argparse
import json
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import torch

from benchmarks import layers, report, scans
from benchmarks.clock import blas, threads
from benchmarks.ladder import RUNGS
from rnnbook.checkpoint import write_atomically
from rnnbook.experiments.machine import environment
from rnnbook.experiments.trace import code_of
from rnnbook.progress import progress_bar

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results.json"
README = ROOT / "README.md"
PAGE = ROOT / "book" / "benchmarks.md"
FIGURE = ROOT / "book" / "images" / "benchmarks.svg"
MEASURING = ("clock", "ladder", "layers", "processes", "scans")
# What --renew races again, and how far a ratio may be from the stored one: days differ by as much.
AGAIN = [(kind, layers.SIZES[number]) for kind in ("LSTM", "GRU") for number in (0, 2)]
FACTOR = 1.3


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
    results = {"date": today, **environment(), "blas": blas(), "threads": several, "code": code()}
    bar = progress_bar(len(jobs), unit="measurement")
    for table, number, job in jobs:
        with threads(number):
            results.setdefault(table, []).append(job())
        bar.update()
    bar.close()
    return results


def code() -> dict[str, str]:
    """A hash of each file whose code is measured, or measures."""
    found: dict[str, str] = {}
    for name in MEASURING:
        for path, value in code_of(ROOT / "benchmarks" / f"{name}.py").items():
            found[path if "/" in path else f"benchmarks/{path}"] = value
    return dict(sorted(found.items()))


def changed(results: dict) -> list[str]:
    """The files that are not those that were measured."""
    before, now = results.get("code", {}), code()
    return sorted(name for name in before | now if before.get(name) != now.get(name))


def differences(results: dict, races: list[dict]) -> list[str]:
    """What in ``races`` is further from the stored ratios than days are, a sentence each."""
    found = []
    for race in races:
        (stored,) = (
            row
            for row in results["layers"]
            if all(row[key] == race[key] for key in ("kind", "size", "threads"))
        )
        for name in layers.OURS:
            now, before = (row["ratios"][name]["median"] for row in (race, stored))
            if not 1 / FACTOR < now / before < FACTOR:
                place = f"{race['kind']} at {', '.join(map(str, race['size']))}"
                found.append(f"{name}, {place}: {now} times torch.nn's time, stored is {before}.")
    return found


def renew(results: dict) -> int:
    """Tie stored measurements to the present code, if it still takes as long."""
    if not changed(results):
        print("benchmarks               up to date")
        return 0
    with threads(1):
        races = [
            layers.race(kind, size, ["torch.nn", *layers.OURS], seconds=3, rounds=5)
            for kind, size in AGAIN
        ]
    if found := differences(results, races):
        print("\n".join([*found, "Run `make bench`."]), file=sys.stderr)
        return 1
    write_atomically(RESULTS, dumps(results | {"code": code()}).encode())
    print(f"benchmarks               {', '.join(changed(results))} changed; as fast as stored")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for option in ("quick", "readme", "page", "plot", "renew"):
        parser.add_argument(f"--{option}", action="store_true")
    asked = parser.parse_args()
    everything = not (asked.readme or asked.page or asked.plot)

    if asked.renew:
        return renew(json.loads(RESULTS.read_text(encoding="utf-8")))
    if everything:
        results = measure(quick=asked.quick)
        print(report.console(results))
        if asked.quick:
            return 0
        write_atomically(RESULTS, dumps(results).encode())
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    if asked.readme or everything:
        report.write(README, results)
    if asked.page or everything:
        report.write(PAGE, results)
    if asked.plot or everything:
        from benchmarks.figure import draw

        draw(results, FIGURE)
    return 0


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
    sys.exit(main())
