"""One chapter, run in this process, with each of its assertions evaluated by itself.

tools/other_seeds.py starts it, with the name of a file that says what to read, and of another for
the report. Nothing is imported here that a chapter has not asked for, but NumPy.
"""

import ast
import contextlib
import io
import json
import linecache
import os
import re
import sys
import time
import traceback
import types
import warnings
from pathlib import Path
from typing import Any

import numpy as np

THIS_DRAW = re.compile(r"#.*\bthis draw\b")
FIXED_DRAW = re.compile(r"#.*\bfixed draw\b")
LITERAL_SEED = re.compile(r"(?:default_rng|RandomState|manual_seed)\(\[?\s*\d")
TAG = 0x5EED  # keeps shifted seeds apart from the children that a generator spawns
MAGIC = re.compile(r"^(\s*)[%!].*$", re.MULTILINE)


def shift_seeds(shift: int, torch_too: bool) -> None:
    """From here on, in this process, every explicit seed is another one."""
    import rnnbook

    library = str(Path(rnnbook.__file__).parent) + os.sep

    def is_kept(frame: types.FrameType) -> bool:
        line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
        if frame.f_code.co_filename.startswith(library):
            return LITERAL_SEED.search(line) is not None
        return FIXED_DRAW.search(line) is not None

    def mixed(seed) -> np.random.SeedSequence | None:
        """Another seed for one that is a number or several; None for anything else."""
        if isinstance(seed, np.random.SeedSequence):
            return np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, TAG, shift))
        if seed is None or isinstance(seed, np.random.Generator | np.random.BitGenerator):
            return None
        try:
            entropy = np.asarray(seed)
            if entropy.dtype.kind not in "iuO" or np.any(entropy < 0):  # O: very large ones
                return None
        except (TypeError, ValueError):
            return None
        return np.random.SeedSequence(entropy.tolist(), spawn_key=(TAG, shift))

    default_rng = np.random.default_rng

    def other_rng(seed=None):
        other = None if is_kept(sys._getframe(1)) else mixed(seed)
        return default_rng(seed if other is None else other)

    random_state = np.random.RandomState

    class Kind(type):  # what NumPy itself makes is still a RandomState
        def __instancecheck__(cls, instance) -> bool:
            return isinstance(instance, random_state)

    class RandomState(random_state, metaclass=Kind):
        def __init__(self, seed=None):
            other = None if is_kept(sys._getframe(1)) else mixed(seed)
            super().__init__(seed if other is None else other.generate_state(8))

    np.random.default_rng = other_rng
    np.random.RandomState = RandomState
    if not torch_too:
        return
    import torch

    def number(seed: int, frame: types.FrameType) -> int:
        if is_kept(frame):
            return seed
        high, low = np.random.SeedSequence(abs(int(seed)), spawn_key=(TAG, shift)).generate_state(2)
        return (int(high) << 31) ^ int(low)

    seed_torch = torch.manual_seed

    def manual_seed(seed):
        return seed_torch(number(seed, sys._getframe(1)))

    class Generator(torch.Generator):
        def manual_seed(self, seed):
            return super().manual_seed(number(seed, sys._getframe(1)))

    torch.manual_seed = torch.random.manual_seed = manual_seed
    torch.Generator = Generator


def read_experiments_from(folder: Path, minutes: float) -> dict[str, str]:
    """Let ``load_results`` read what ``folder`` has, and run there what is cheap.

    Returns:
        filled as experiments are read: of each, what was done.
    """
    import rnnbook.experiments
    from rnnbook.experiments import runner, stored

    what_was_done: dict[str, str] = {}
    load_shipped = stored.load_results

    def load_results(name, *, quick=False):
        name, file = str(name), folder / f"{Path(name).stem}.json"
        if not quick and not file.exists():
            cost = sum(run["seconds"] for run in load_shipped(name)["runs"]) / 60
            if cost > minutes:
                what_was_done[file.stem] = f"as stored, it takes {cost:.0f} minutes"
                return load_shipped(name)
            folder.mkdir(parents=True, exist_ok=True)
            before = stored.results_folder
            stored.results_folder = runner.results_folder = lambda experiment: folder
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    runner.run_experiment(name, jobs=1)
            finally:
                stored.results_folder = runner.results_folder = before
        if quick:
            return load_shipped(name, quick=True)
        what_was_done[file.stem] = "other seeds"
        return json.loads(file.read_text(encoding="utf-8"))

    stored.load_results = rnnbook.experiments.load_results = load_results
    return what_was_done


def is_assertion(node: ast.stmt) -> bool:
    """``assert ...`` or ``np.testing.assert_allclose(...)``, a statement by itself."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        return ast.unparse(node.value.func).split(".")[-1].startswith("assert_")
    return isinstance(node, ast.Assert)


class EachByItself(ast.NodeTransformer):
    """Assertions note what they find, and go on.

    Those within functions raise as ever: a chapter may count on that, and where it does not, the
    statement that called the function falls. So do those whose error is caught.
    """

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda):
            return node
        if isinstance(node, ast.Try) and node.handlers:
            return node
        if isinstance(node, ast.With) and re.search(
            r"raises|suppress", "".join(ast.unparse(item) for item in node.items)
        ):
            return node
        if isinstance(node, ast.stmt) and is_assertion(node):
            call = "__rnnbook_{}__({}, {})"
            held = ast.parse(call.format("held", node.lineno, node.end_lineno)).body
            fell = ast.parse(call.format("fell", node.lineno, node.end_lineno)).body
            handler = ast.ExceptHandler(ast.Name("Exception", ast.Load()), None, fell)
            wrapped = ast.Try([node], [handler], held, [])
            for part in ast.walk(wrapped):
                if not hasattr(part, "lineno") and isinstance(part, ast.stmt | ast.excepthandler):
                    ast.copy_location(part, node)
            return ast.fix_missing_locations(wrapped)
        return self.generic_visit(node)


class Reading:
    """One chapter, run once; what its assertions said."""

    def __init__(self, slug: str):
        self.slug = slug
        self.held: set[tuple[int, int]] = set()
        self.fallen: dict[tuple[int, int], dict] = {}
        self.errors: list[dict] = []
        self.printed: list[str] = []
        self.module = types.ModuleType("__main__")
        self.names = self.module.__dict__
        self.names["__rnnbook_held__"] = lambda first, last: self.held.add((self.cell, first))
        self.names["__rnnbook_fell__"] = lambda first, last: self.fell(
            first, last, sys.exc_info()[1]
        )
        self.cell, self.section, self.lines = 0, "", [""]

    def run(self, cells: list[tuple[int, str, str]]) -> None:
        """Each cell is its number, its section and its source."""
        sys.modules["__main__"] = self.module
        for self.cell, self.section, source in cells:
            self.lines = source.splitlines()
            with contextlib.redirect_stdout(io.StringIO()) as out:
                self.run_cell(MAGIC.sub(r"\1pass", source))
            self.printed.append(out.getvalue())
            if "matplotlib.pyplot" in sys.modules:
                sys.modules["matplotlib.pyplot"].close("all")

    def run_cell(self, source: str) -> None:
        name = f"<{self.slug}, cell {self.cell}>"
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        for statement in ast.parse(source).body:
            first, last = statement.lineno, statement.end_lineno or statement.lineno
            code = compile(ast.Module([EachByItself().visit(statement)], []), name, "exec")
            try:
                exec(code, self.names)
            except AssertionError as error:
                self.fell(first, first if hasattr(statement, "body") else last, error)
            except (Exception, SystemExit) as error:
                what = f"{type(error).__name__}: {error}".splitlines()[0]
                line = innermost(error, name) or first
                self.errors.append(self.place(line, line) | {"error": short(what, 200)})
                return

    def place(self, first: int, last: int) -> dict:
        source = "\n".join(self.lines[first - 1 : last])
        marked = THIS_DRAW.search(source) is not None
        return {
            "cell": self.cell,
            "section": self.section,
            "line": first,
            "source": source.strip(),
            "marked": marked,
        }

    def fell(self, first: int, last: int, error: BaseException) -> None:
        key = self.cell, first
        if key in self.fallen:
            self.fallen[key]["times"] += 1
            return
        found = self.place(first, last)
        raised = traceback.extract_tb(error.__traceback__)[-1]
        if (
            raised.filename.startswith(f"<{self.slug}")
            and raised.line != self.lines[first - 1].strip()
        ):
            found["within"] = raised.line
            found["marked"] |= THIS_DRAW.search(raised.line or "") is not None
        said = str(error).strip().splitlines()
        kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
        values = self.values(found["source"]) if "within" not in found else []
        found["values"] = [short(f"{kind}{line}", 100) for line in said[:3]] + values
        self.fallen[key] = found | {"times": 1}

    def values(self, source: str) -> list[str]:
        """What stood on the two sides of the comparisons that did not hold."""
        try:
            (statement,) = ast.parse(source).body
            test = statement.test  # type: ignore[attr-defined]
        except (SyntaxError, ValueError, AttributeError):
            return []
        names = {k: v for k, v in self.names.items() if not k.startswith("__")}
        found = []
        parts = test.values if isinstance(test, ast.BoolOp) else [test]
        for part in parts:
            with contextlib.suppress(Exception):
                if eval(ast.unparse(part), dict(names)):
                    continue
                for side in sides(part):
                    text = ast.unparse(side)
                    value = show(eval(text, dict(names)))
                    if value != text and not isinstance(side, ast.Constant):
                        found.append(f"{short(text, 70)} = {value}")
        return found

    def report(self) -> dict:
        held = self.held - set(self.fallen)
        return {
            "assertions": len(held) + len(self.fallen),
            "fell": list(self.fallen.values()),
            "errors": self.errors,
            "printed": self.printed,
        }


def sides(test: ast.expr) -> list[ast.expr]:
    """What a test compares; of ``np.all(a < b)`` and ``(a < b).all()``, a and b."""
    match test:
        case ast.Compare():
            return [test.left, *test.comparators]
        case ast.Call(args=[ast.Compare() as inner]):
            return sides(inner)
        case ast.Call(func=ast.Attribute(value=ast.Compare() as inner)):
            return sides(inner)
    return [test]


def innermost(error: BaseException, name: str) -> int | None:
    """The line of the cell called ``name`` in which an error arose."""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == name]
    return lines[-1] if lines else None


def short(text: str, most: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 3] + "..."


def show(value: Any) -> str:
    with np.printoptions(precision=4, suppress=False, threshold=20, linewidth=10**6):
        text = f"{value:.5g}" if isinstance(value, float | np.floating) else str(value)
    return short(text, 110)


def main(task_file: str, report_file: str) -> None:
    warnings.simplefilter("ignore")  # of figures that nobody sees, of numbers that overflow
    start = time.perf_counter()
    task = json.loads(Path(task_file).read_text(encoding="utf-8"))
    if task["shift"]:
        shift_seeds(task["shift"], task["torch"])
    made = {}
    if task["experiments"]:
        folder = Path(task["experiments"]) / f"shift-{task['shift']}"
        made = read_experiments_from(folder, task["minutes"])
    reading = Reading(task["slug"])
    reading.run(task["cells"])
    seconds = round(time.perf_counter() - start, 1)
    report = reading.report() | {"seconds": seconds, "stored": made}
    Path(report_file).write_text(json.dumps(report), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
