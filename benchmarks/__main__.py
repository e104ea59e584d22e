"""Measure, or write what was measured into the README and the book.

python -m benchmarks             measure everything (about twenty minutes), store it in
                                 results.json, then do all that stands below the next line
python -m benchmarks newton ...  the same for the tables that are named; the others stay
python -m benchmarks --quick     the small sizes, a few rounds: shows that it runs, stores nothing

python -m benchmarks --readme    write the table of README.md from results.json
python -m benchmarks --page      write the tables of the book's pages from results.json
python -m benchmarks --plot      draw the figures in book/images from results.json
python -m benchmarks --renew     if the code has changed: race a few again (a minute); where these
                                 come out as stored, the measurements are tied to the new code
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import torch

from benchmarks import chunks, layers, many, newton, online, report, scans, unequal
from benchmarks.clock import blas, threads
from benchmarks.ladder import RUNGS
from rnnbook.checkpoint import write_atomically
from rnnbook.experiments.machine import environment
from rnnbook.experiments.trace import code_of
from rnnbook.progress import progress_bar

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results.json"
README = ROOT / "README.md"
PAGES = [ROOT / "book" / "benchmarks.md", ROOT / "book" / "efficient_training.md"]
FIGURES = {  # drawn by what
    ROOT / "book" / "images" / "benchmarks.svg": "draw",
    ROOT / "book" / "images" / "efficient.svg": "draw_parts",
}
MEASURING = (
    "chunks",
    "clock",
    "ladder",
    "layers",
    "many",
    "newton",
    "online",
    "processes",
    "scans",
    "unequal",
)
# What --renew races again, and how far a ratio may be from the stored one: days differ by as much.
AGAIN = [(kind, layers.SIZES[number]) for kind in ("LSTM", "GRU") for number in (0, 2)]
FACTOR = 1.3


Jobs = list[tuple[int, Callable[[], dict]]]  # threads, and what measures one row


def measure(names: Iterable[str], *, quick: bool = False) -> dict:
    """The tables that are named, and where and when they were measured; ``quick`` takes only the
    first sizes of each, and two rounds.
    """
    several = torch.get_num_threads()  # as many as there are cores, or as the environment says
    jobs = {name: TABLES[name](several, quick) for name in names}
    today = datetime.now(UTC).date().isoformat()
    results = {**environment(), "blas": blas(), "threads": several}
    results |= {"dates": dict.fromkeys(jobs, today), "code": code()}
    bar = progress_bar(sum(map(len, jobs.values())), unit="measurement")
    for name, each in jobs.items():
        results[name] = []
        for number, job in each:
            with threads(number):
                results[name].append(job())
            bar.update()
    bar.close()
    return results


def of_layers(several: int, quick: bool) -> Jobs:
    return [
        (number, partial(layers.race, kind, size, names, **much(quick)))
        for number in sorted({1, several})
        for size in layers.SIZES[first(quick)]
        for kind, names in layers.RACES.items()
    ]


def of_ladder(several: int, quick: bool) -> Jobs:
    return [
        (1, partial(layers.race, kind, size, list(RUNGS), **much(quick)))
        for kind in layers.KINDS
        for size in layers.SIZES[first(quick)]
    ]


def of_scan(several: int, quick: bool) -> Jobs:
    return [
        (1, partial(scans.scan_race, library, steps, width, **little(quick)))
        for library in scans.LIBRARIES
        for width in scans.WIDTHS
        for steps in scans.STEPS[first(quick)]
    ]


def of_cost(several: int, quick: bool) -> Jobs:
    return [
        (1, partial(layers.cost, kind, varied, size, **little(quick)))
        for kind in layers.KINDS
        for varied, sizes in layers.COSTS.items()
        for size in sizes[first(quick)]
    ]


def of_peak(several: int, quick: bool) -> Jobs:
    return [(n, partial(layers.peak, **much(quick))) for n in sorted({1, several})]


def of_calls(several: int, quick: bool) -> Jobs:
    return [(1, partial(layers.calls, kind, **little(quick))) for kind in layers.KINDS]


def of_newton(several: int, quick: bool) -> Jobs:
    races = newton.RACES[first(quick)]
    return [(1, partial(newton.race, kind, size, **little(quick))) for kind, size in races]


def of_chunks(several: int, quick: bool) -> Jobs:
    widths = chunks.WIDTHS[first(quick)]
    return [(1, partial(chunks.chunk_race, width, **little(quick))) for width in widths]


def of_online(several: int, quick: bool) -> Jobs:
    return [
        (1, partial(online.online_race, hidden, **little(quick)))
        for hidden in online.HIDDEN[first(quick)]
    ]


def of_unequal(several: int, quick: bool) -> Jobs:
    return [
        (1, partial(unequal.unequal_race, library, kind, size, **little(quick)))
        for library in unequal.LIBRARIES
        for kind in unequal.KINDS
        for size in unequal.SIZES[first(quick)]
    ]


def of_seeds(several: int, quick: bool) -> Jobs:
    return [
        (1, partial(many.seeds_race, number, size, **little(quick)))
        for size in many.ENSEMBLES
        for number in many.SEEDS[first(quick)]
    ]


def of_parallel(several: int, quick: bool) -> Jobs:
    sizes = many.PARALLEL[first(quick)]
    return [(1, partial(many.parallel, size, quick=quick)) for size in sizes]


def of_compilers(several: int, quick: bool) -> Jobs:
    shorter = [
        partial(many.bfloat16, kind, size, **little(quick))
        for size in many.SHORTER[first(quick)]
        for kind in many.KINDS
    ]
    shorter.append(partial(many.graphs, many.SHORTER[0], **little(quick)))
    compiled = [] if quick else [partial(many.compiled, name) for name in many.COMPILED]
    return [(1, job) for job in shorter + compiled]


def first(quick: bool) -> slice:
    return slice(2 if quick else None)


def much(quick: bool) -> dict:
    return {"seconds": 0 if quick else 3, "rounds": 2 if quick else 5}


def little(quick: bool) -> dict:
    return much(quick) | {"seconds": 0 if quick else 0.5}


TABLES: dict[str, Callable[[int, bool], Jobs]] = {
    "peak": of_peak,
    "calls": of_calls,
    "layers": of_layers,
    "ladder": of_ladder,
    "scan": of_scan,
    "cost": of_cost,
    "newton": of_newton,
    "chunks": of_chunks,
    "online": of_online,
    "unequal": of_unequal,
    "seeds": of_seeds,
    "parallel": of_parallel,
    "compilers": of_compilers,
}


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
    known = f"tables to measure, of {', '.join(TABLES)}; all without a name"
    parser.add_argument("table", nargs="*", metavar="TABLE", help=known)
    for option in ("quick", "readme", "page", "plot", "renew"):
        parser.add_argument(f"--{option}", action="store_true")
    asked = parser.parse_args()
    everything = not (asked.readme or asked.page or asked.plot)

    for name in asked.table:
        if name not in TABLES:
            parser.error(f"TABLE must be one of {', '.join(TABLES)}, got {name}.")

    if asked.renew:
        return renew(json.loads(RESULTS.read_text(encoding="utf-8")))
    if everything:
        measured = measure(asked.table or TABLES, quick=asked.quick)
        if {"peak", "layers", "ladder"} <= measured.keys():
            print(report.console(measured))
        if asked.quick:
            return 0
        try:
            results = joined(measured) if asked.table else measured
        except ValueError as error:
            parser.error(str(error))
        write_atomically(RESULTS, dumps(results).encode())
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    if asked.readme or everything:
        report.write(README, results)
    if asked.page or everything:
        for page in PAGES:
            report.write(page, results)
    if asked.plot or everything:
        from benchmarks import figure

        for path, draw in FIGURES.items():
            getattr(figure, draw)(results, path)
    return 0


def joined(measured: dict) -> dict:
    """Stored results with some tables measured anew.

    Raises:
        ValueError: where the others were measured on another machine, with other versions, or are
            of other code.
    """
    stored = json.loads(RESULTS.read_text(encoding="utf-8"))
    if other := [name for name in changed(stored) if name in stored["code"]]:
        raise ValueError(
            f"the stored tables must be of the present code, but {', '.join(other)} changed: "
            "run `python -m benchmarks --renew`, or measure all of them."
        )
    for name in ("machine", "versions", "blas", "threads"):
        if stored[name] != measured[name]:
            raise ValueError(
                f"the stored tables must have the same {name}, {measured[name]}, got "
                f"{stored[name]}: measure all of them."
            )
    dates = stored["dates"] | measured["dates"]
    return stored | measured | {"dates": {name: dates[name] for name in TABLES if name in dates}}


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
