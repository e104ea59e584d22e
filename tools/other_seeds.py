"""Read the chapters' claims again with other seeds: python -m tools.other_seeds [SLUG ...]

    --shift N ...        which other seeds; 0 are the chapter's own (default: 1 2 3)
    --experiments DIR    make cheap stored experiments anew with these seeds, in DIR, and read them
    --minutes M          how much core time such an experiment may have taken (5)
    --markdown           write what fell as Markdown

Each chapter runs in a process of its own for each shift. Every seed that a chapter gives, or passes
on to the library, is mixed with the shift: those of ``np.random.default_rng`` and ``RandomState``
(hence ``random_state=`` of scikit-learn's estimators and of ours), ``torch.manual_seed`` and
``torch.Generator``. Each assertion is then evaluated by itself: one that falls is noted, and the
chapter goes on. Status 1 if any fell, or any cell ended in an error.

Three kinds of lines are not what other seeds can contradict:

    assert ...  # this draw          the text says that this is about one draw: told apart
    ... default_rng(3)  # fixed draw keeps its seed: a data set that stored results are about
    a seed written as a number within rnnbook/ keeps it too: it is part of a task, such as the
        calendar of ``rule_or_position``, and what is stored was measured with it

Not shifted: what processes draw that a chapter starts itself. Experiments are left as stored where
they cost more than --minutes; then claims on them are read as they are.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

try:
    from rnnbook.reach import reach
    from tools.chapters import ROOT, Failed, read_text, slugs, text_path
    from tools.progress import done, progress
except ModuleNotFoundError as error:
    sys.exit(
        f"This Python does not find {error.name}: make the environment with `python "
        "tools/environment.py`, then run, in this folder, `.venv/bin/python -m tools.other_seeds` "
        "(on Windows, .venv\\Scripts\\python)."
    )

MINUTES = 5
HEADING = re.compile(r"^(#{1,4}) (.*)|^`+\{solution-(start|end)\} *(\S*)", re.MULTILINE)


def code_cells(slug: str, root: Path = ROOT) -> Iterator[tuple[int, str, str]]:
    """(its number among all cells, its section's number and title, its source) of code cells."""
    chapter = slugs(root).index(slug) + 1
    counts, title, solution = [chapter, 0, 0, 0], "", ""
    for number, cell in enumerate(read_text(slug, root).cells, start=1):
        if cell.cell_type == "code":
            yield number, f"{title}{f', solution {solution}' if solution else ''}", cell.source
            continue
        for found in HEADING.finditer(cell.source):
            hashes, words, edge, label = found.groups()
            if edge:
                solution = label if edge == "start" else ""
                continue
            level = len(hashes) - 1
            if level:
                counts[level:] = [counts[level] + 1] + [0] * (3 - level)
            elif title:  # a comment in a listing
                continue
            place = ".".join(map(str, counts[: level + 1]))
            title = f"{place} {words}"


def read_apart(
    slug: str,
    shift: int,
    root: Path = ROOT,
    experiments: Path | None = None,
    minutes: float = MINUTES,
) -> dict:
    """What a chapter's assertions say with the seeds of ``shift``, read in a fresh process."""
    cells = list(code_cells(slug, root))
    _, packages = reach("\n".join(source for *_, source in cells))
    task = {
        "slug": slug,
        "cells": cells,
        "shift": shift,
        "torch": "torch" in packages,
        "experiments": str(experiments.resolve()) if experiments else None,
        "minutes": minutes,
    }
    threads = {f"{pool}_NUM_THREADS": "1" for pool in ("OMP", "OPENBLAS", "MKL")}
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    folder = root / "notebooks"
    with tempfile.TemporaryDirectory() as place:
        to_read, report = Path(place) / "task.json", Path(place) / "report.json"
        to_read.write_text(json.dumps(task), encoding="utf-8")
        ran = subprocess.run(
            [sys.executable, "-m", "tools.reading", str(to_read), str(report)],
            cwd=folder if folder.is_dir() else root,
            env=threads | os.environ | {"PYTHONPATH": path, "MPLBACKEND": "Agg"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        if not report.exists():
            last = ran.stderr.strip().splitlines()[-1:] or [f"status {ran.returncode}"]
            raise Failed(f"{slug} with shift {shift} came to no end: {last[0]}")
        return json.loads(report.read_text(encoding="utf-8"))


def together(reports: dict[int, dict]) -> tuple[list[dict], list[dict]]:
    """What fell, and what ended in an error, each once with the shifts in which it did."""
    fell: dict[tuple, dict] = {}
    errors: dict[tuple, dict] = {}
    for shift, report in reports.items():
        for kind, into in (("fell", fell), ("errors", errors)):
            for found in report[kind]:
                key = found["cell"], found["line"]
                entry = into.setdefault(key, found | {"shifts": {}})
                entry["shifts"][shift] = found.get("values") or [found.get("error", "")]
    return [fell[key] for key in sorted(fell)], [errors[key] for key in sorted(errors)]


def tell(slug: str, reports: dict[int, dict], markdown: bool) -> Iterator[str]:
    """What was found in a chapter, line by line."""
    fell, errors = together(reports)
    unmarked = [entry for entry in fell if not entry["marked"]]
    counts = sorted({report["assertions"] for report in reports.values()})
    seconds = sum(report["seconds"] for report in reports.values())
    yield (
        f"{'# ' if markdown else ''}{slug}: of {' or '.join(map(str, counts))} assertions "
        f"{len(unmarked)} fell, {len(fell) - len(unmarked)} more are about one draw, "
        f"{len(errors)} cells ended in an error; shifts {', '.join(map(str, reports))}, "
        f"{seconds:.0f} s"
    )
    stored = {k: v for report in reports.values() for k, v in report["stored"].items()}
    for name, how in stored.items():
        yield f"{'- ' if markdown else '  '}{name}: {how}"
    for what, entries in (
        ("fell", unmarked),
        ("error", errors),
        ("this draw", [entry for entry in fell if entry["marked"]]),
    ):
        for entry in entries:
            yield ""
            where = f"{entry['section']} (cell {entry['cell']})"
            share = f"{what} in {len(entry['shifts'])} of {len(reports)}"
            yield f"## {where}: {share}" if markdown else f"  {where}: {share}"
            lines = [entry["source"]]
            if "within" in entry:
                lines.append(f"# in a function: {entry['within']}")
            yield from ["```python", *lines, "```"] if markdown else indented(lines)
            for shift, values in entry["shifts"].items():
                said = ": ".join(filter(None, [f"shift {shift}", "; ".join(filter(None, values))]))
                yield f"- {said}" if markdown else f"      {said}"


def indented(lines: list[str]) -> list[str]:
    return ["    " + line for text in lines for line in text.splitlines()]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.other_seeds",
        description="Read the chapters' claims again with other seeds.",
    )
    parser.add_argument("slug", nargs="*", metavar="SLUG", help="chapters (all)")
    parser.add_argument("--shift", type=int, nargs="+", default=[1, 2, 3], metavar="N")
    parser.add_argument("--experiments", type=Path, metavar="DIR")
    parser.add_argument("--minutes", type=float, default=MINUTES, metavar="M")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    known = slugs(chosen.root)
    for slug in chosen.slug:
        if slug not in known or not text_path(slug, chosen.root).exists():
            parser.error(f"no chapter {slug!r} in _toc.yml, which has: {', '.join(known)}.")
    if min(chosen.shift) < 0:
        parser.error(f"--shift must be at least 0, got {min(chosen.shift)}.")
    rest = chosen.root, chosen.experiments, chosen.minutes
    status = 0
    for slug in chosen.slug or known:
        reports = {}
        for shift in dict.fromkeys(chosen.shift):
            progress(f"{slug}, shift {shift}")
            try:
                reports[shift] = read_apart(slug, shift, *rest)
            except Failed as failure:
                done(str(failure))
                return 1
        done("\n".join(tell(slug, reports, chosen.markdown)))
        fell, errors = together(reports)
        if errors or not all(entry["marked"] for entry in fell):
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
