"""What pyproject.toml promises: extras, addresses, the long description, what is shipped."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import rnnbook

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CITED = "book/references.md"
EXTRAS = PROJECT["optional-dependencies"]
DISTRIBUTION = {
    "sklearn": "scikit-learn",
    "matplotlib_inline": "matplotlib-inline",
    "cycler": "matplotlib",
    "distributed": "dask",
}


def brought(extra: str) -> set[str]:
    """The packages of an extra, those of the extras that it names included."""
    found: set[str] = set()
    for requirement in EXTRAS[extra]:
        name, more = re.match(r"([\w-]+)(?:\[(.*?)\])?", requirement).groups()
        if name == "rnnbook":
            found |= set().union(*(brought(other) for other in more.split(",")))
        else:
            found.add(name)
    return found


def imported(tree: ast.AST) -> set[str]:
    """The distributions that code imports, without Python's own and rnnbook."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module.partition(".")[0])
    own = sys.stdlib_module_names | {"rnnbook"}
    return {DISTRIBUTION.get(name, name).lower() for name in names - own}


def test_every_package_that_rnnbook_imports_is_numpy_or_in_an_extra():
    everything = set().union(*(brought(extra) for extra in EXTRAS)) | {"numpy"}
    for path in (ROOT / "rnnbook").rglob("*.py"):
        assert imported(ast.parse(path.read_text(encoding="utf-8"))) <= everything, path


def test_the_extra_that_is_named_brings_what_is_imported():
    named = set()
    for path in (ROOT / "rnnbook").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.With) and "needed(" in (call := ast.unparse(node.items[0])):
                extra = re.fullmatch(r"needed\('(\w+)'\)", call)[1]
                assert imported(node) <= brought(extra), path
                named.add(extra)
    assert named >= {
        "torch",
        "plots",
        "estimator",
        "series",
        "safetensors",
        "chapters",
        "experiments",
    }


def test_extras_are_listed_where_they_are_looked_for():
    page = (ROOT / PROJECT["readme"]).read_text(encoding="utf-8")
    table = page[page.index("| extra") : page.index("\n\nas in")]
    assert set(re.findall(r"`(\w+)`", table)) >= set(EXTRAS)


def test_the_address_of_the_repository_is_one():
    config = (ROOT / "_config.yml").read_text(encoding="utf-8")
    address = re.search(r"^repository:\n +url: (\S+)$", config, re.MULTILINE)[1]
    for name in ("README.md", PROJECT["readme"], "pyproject.toml", "CITATION.cff", CITED):
        found = re.findall(r"https://github\.com/\w+/[\w.-]+", (ROOT / name).read_text("utf-8"))
        assert set(found) == {address}, name


def test_links_of_the_long_description_hold_on_any_page():
    page = (ROOT / PROJECT["readme"]).read_text(encoding="utf-8")
    source = PROJECT["urls"]["Source"]
    for link in re.findall(r"\]\((\S+?)\)", page) + list(PROJECT["urls"].values()):
        assert link.startswith("https://"), link
        if link.startswith(f"{source}/blob/main/"):
            assert (ROOT / link.removeprefix(f"{source}/blob/main/")).exists(), link


@pytest.mark.parametrize("page", ["README.md", PROJECT["readme"]])
def test_examples_run(page):
    examples = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)
    assert examples
    for example in examples:
        subprocess.run([sys.executable, "-c", example], check=True, cwd=ROOT)


def test_one_version():
    assert PROJECT["version"] == rnnbook.__version__


def test_what_is_shipped(tmp_path):
    """Results and types are; tests, which would need the chapters and the tools, are not."""
    found = [d.version for d in importlib.metadata.distributions(name="setuptools")]
    if not found or int(found[0].partition(".")[0]) < 77:
        pytest.skip("setuptools 77 builds it")
    for name in ("rnnbook", "tests"):
        ignore = shutil.ignore_patterns("__pycache__", ".cache")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignore)
    for name in ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "LICENSE-TEXT"):
        shutil.copy(ROOT / name, tmp_path)
    code = "from setuptools import build_meta as b; print(b.build_sdist('.'), b.build_wheel('.'))"
    command = [sys.executable, "-W", "ignore", "-c", code]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    (wheel,), (sdist,) = tmp_path.glob("*.whl"), tmp_path.glob("*.tar.gz")
    shipped = zipfile.ZipFile(wheel).namelist()
    results = (ROOT / "rnnbook/experiments/results").glob("*.json")
    wanted = {f"rnnbook/experiments/results/{path.name}" for path in results}
    assert set(shipped) >= wanted | {"rnnbook/py.typed"}
    assert {name.partition("/")[0].partition("-")[0] for name in shipped} == {"rnnbook"}
    with tarfile.open(sdist) as file:
        assert not [name for name in file.getnames() if "/tests" in name]


def test_the_book_is_cited_with_its_version():
    for name in (CITED, "CITATION.cff"):
        said = re.findall(r"(?<!-)[Vv]ersion:? (\d[\d.]*\d)", (ROOT / name).read_text("utf-8"))
        assert set(said) == {PROJECT["version"]}, name
