"""Which files of the library a piece of code depends on: what a stored result is traced to."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def reach(code: str, root: Path = ROOT) -> tuple[set[Path], set[str]]:
    """The files of rnnbook that ``code`` imports, directly or not, and the other packages.

    ``from rnnbook.scratch import LSTM`` reaches the module that LSTM comes from, not the whole
    package, so that work on one layer leaves the chapters on the others as they are. A package's
    __init__.py is taken to do nothing but gather names.
    """
    modules: set[Path] = set()
    packages: set[str] = set()
    seen: set[tuple[str, str | None]] = set()

    def visit(module: str, name: str | None = None) -> None:
        if (module, name) in seen:
            return
        seen.add((module, name))
        if module.split(".")[0] != "rnnbook":
            packages.add(module.split(".")[0])
            return
        path = root.joinpath(*module.split("."))
        if path.is_dir():
            init = path / "__init__.py"
            tree = (
                ast.parse(init.read_text(encoding="utf-8")) if init.exists() else ast.Module([], [])
            )
            if name and ((path / name).is_dir() or (path / f"{name}.py").exists()):
                return visit(f"{module}.{name}")
            wanted = [found for found in imports(tree, module) if found[2] == name or not name]
            for origin, original, _ in wanted or imports(tree, module):
                visit(origin, original)
            return
        path = path.with_suffix(".py")
        if path.exists() and path not in modules:
            modules.add(path)
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for origin, original, _ in imports(tree, module.rpartition(".")[0]):
                visit(origin, original)

    plain = re.sub(r"^\s*[%!].*$", "", code, flags=re.MULTILINE)  # magics are not Python
    for origin, original, _ in imports(ast.parse(plain), ""):
        visit(origin, original)
    elsewhere = re.sub(r"^\s*(from|import)\b.*$", "", plain, flags=re.MULTILINE)
    for dotted in re.findall(r"\brnnbook(?:\.\w+)+", elsewhere):  # attributes, `python -m`
        module, _, name = dotted.rpartition(".")
        visit(module, name)
    return modules, packages


def imports(tree: ast.AST, package: str) -> list[tuple[str, str | None, str]]:
    """(module, name in it or None, name here) of every import in ``tree``."""
    found: list[tuple[str, str | None, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, None, alias.asname or alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1]
            module = node.module or ""
            origin = ".".join([*base, module]).strip(".") if node.level else module
            found += [(origin, alias.name, alias.asname or alias.name) for alias in node.names]
    return found
