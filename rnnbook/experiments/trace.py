"""Which code a stored result comes from, and whether the present code would still give it.

    code      of each file that an experiment reaches, a hash; stored beside the results
    canary    a few runs that take seconds, stored too: the tests make them again and compare

When code changes, the results are stale. If the canary and the cheapest of the stored runs come out
as they were, the hashes are renewed; if not, the whole experiment is due.
"""

import ast
import hashlib
import io
import math
import tokenize
from pathlib import Path
from types import ModuleType
from typing import Any

from rnnbook.reach import ROOT, reach

# How far numbers may be apart, relatively: rounding differs between machines, and training makes
# the difference larger, the longer it lasts.
TOLERANCE = 1e-3  # in a canary
TRAINED_TOLERANCE = 0.05  # in a whole run


def code_of(file: Path) -> dict[str, str]:
    """A hash of each file that the experiment in ``file`` reaches, its own first.

    Comments, docstrings and blank lines do not count. Names are relative to the folder of the
    library; the experiment's own is that of its file.
    """
    source = file.read_text(encoding="utf-8")
    modules, _ = reach(source)
    others = {path.relative_to(ROOT).as_posix(): path for path in sorted(modules - {file})}
    return {file.name: _hash(source)} | {
        name: _hash(path.read_text(encoding="utf-8")) for name, path in others.items()
    }


def changed(stored: dict, file: Path) -> list[str]:
    """The files that differ from those that gave the ``stored`` results."""
    before, now = stored.get("code", {}), code_of(file)
    return [name for name in (now | before) if now.get(name) != before.get(name)]


def canary(module: ModuleType) -> list[tuple[dict, int]]:
    """The settings and seeds of an experiment's canary: its own, or all quick ones with seed 0."""
    if hasattr(module, "canary"):
        return module.canary()
    return [(setting, 0) for setting in module.settings(True)]


def differences(
    metrics: dict, stored: dict, tolerance: float, *, unsteady: tuple[str, ...] = ()
) -> list[str]:
    """How the ``metrics`` of one run differ from the ``stored`` ones, a sentence for each.

    Args:
        tolerance: relative.
        unsteady: names that are not compared, as training makes any rounding visible in them.
    """
    found = []
    for name in stored | metrics:
        if name in unsteady:
            continue
        if name not in metrics or name not in stored:
            found.append(f"{name} is {'missing' if name in stored else 'new'}.")
        elif not _alike(metrics[name], stored[name], tolerance):
            found.append(f"{name} is {_short(metrics[name])}, stored is {_short(stored[name])}.")
    return found


def _alike(value: Any, stored: Any, tolerance: float) -> bool:
    if isinstance(stored, list):
        same = isinstance(value, list) and len(value) == len(stored)
        return same and all(_alike(*pair, tolerance) for pair in zip(value, stored, strict=True))
    if isinstance(stored, dict):
        same = isinstance(value, dict) and value.keys() == stored.keys()
        return same and all(_alike(value[key], stored[key], tolerance) for key in stored)
    if isinstance(stored, bool) or not isinstance(stored, int | float):
        return value == stored
    return math.isclose(value, stored, rel_tol=tolerance, abs_tol=1e-6)


def _short(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) < 60 else text[:57] + "..."


def _hash(source: str) -> str:
    """Of the lines of ``source`` without comments, docstrings and blank lines."""
    lines: list[str] = source.splitlines()
    comments = tokenize.generate_tokens(io.StringIO(source).readline)
    for token in comments:
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            continue
        if ast.get_docstring(node) is not None:
            text = node.body[0]
            for row in range(text.lineno - 1, text.end_lineno or text.lineno):
                lines[row] = ""
    code = "\n".join(line.rstrip() for line in lines if line.strip())
    return hashlib.sha256(code.encode()).hexdigest()[:16]
