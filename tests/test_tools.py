"""The tools, used as a person would: on a small book of their own, with the mistakes one makes."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("jupytext", reason="the tools read the chapters by jupytext")
pytest.importorskip("nbclient", reason="the tools execute the chapters by nbclient")

import nbformat
import psutil

from tools import build, chapters, notebooks
from tools.watch import Watch

pytestmark = pytest.mark.slow

ROOT = chapters.ROOT
HEAD = """\
---
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

# A chapter

"""
CELL = "```{{code-cell}} ipython3\n{}\n```\n\n"


def chapter(*cells: str) -> str:
    return HEAD + "Words.\n\n".join(CELL.format(cell) for cell in cells)


@pytest.fixture
def house(tmp_path) -> Path:
    """A book of one chapter, `one`, beside a library of three modules; its path is a hard one."""
    tmp_path /= "my book[1]"
    tmp_path.mkdir()
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "book").mkdir()
    (tmp_path / "_toc.yml").write_text(
        "format: jb-book\nroot: book/index\nchapters:\n  - file: notebooks/one\n"
    )
    (tmp_path / "_config.yml").write_text(
        "title: A book\nonly_build_toc_files: true\nexclude_patterns: [_build, tools]\n"
        "execute:\n  execute_notebooks: 'off'\nrepository:\n  url: https://github.com/someone/book\n"
        "sphinx:\n  extra_extensions: [sphinx_exercise, sphinx.ext.autodoc]\n"
        "  local_extensions:\n    rnnbook_site: book/_ext\n"
    )
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "rnnbook"\nversion = "1.2"\n')
    (tmp_path / "requirements.txt").write_text("numpy==1\nscikit-learn==2\n")
    (tmp_path / "requirements.lock").write_text("six==1\n")
    (tmp_path / "book/index.md").write_text("# A book\n\nSee {doc}`/notebooks/one`.\n")
    colab = chapters.colab_cell(tmp_path)
    (tmp_path / "book/one.md").write_text(chapter(colab, "print('hello')"))
    layers = tmp_path / "rnnbook/layers"
    layers.mkdir(parents=True)
    (tmp_path / "rnnbook/__init__.py").write_text("")
    (tmp_path / "rnnbook/checks.py").write_text("import numpy as np\n")
    (layers / "__init__.py").write_text("from .lstm import LSTM\nfrom .gru import GRU as Gated\n")
    (layers / "lstm.py").write_text("from rnnbook.checks import np\n")
    (layers / "gru.py").write_text("import sklearn\nfrom . import lstm\n")
    return tmp_path


def names(house: Path, code: str) -> tuple[set[str], set[str]]:
    modules, packages = chapters.reach(code, house)
    return {path.stem for path in modules}, packages


@pytest.mark.parametrize(
    ("code", "modules", "packages"),
    [
        ("import torch", set(), {"torch"}),
        ("from rnnbook.layers import LSTM", {"lstm", "checks"}, {"numpy"}),
        ("from rnnbook.layers import Gated", {"gru", "lstm", "checks"}, {"numpy", "sklearn"}),
        ("from rnnbook.layers import gru", {"gru", "lstm", "checks"}, {"numpy", "sklearn"}),
        ("import rnnbook.layers", {"gru", "lstm", "checks"}, {"numpy", "sklearn"}),
        ("import rnnbook", set(), set()),
        ("%matplotlib inline\nfrom rnnbook import checks", {"checks"}, {"numpy"}),
        ("run('-m', 'rnnbook.checks')", {"checks"}, {"numpy"}),
    ],
)
def test_reach_follows_names_not_packages(house, code, modules, packages):
    assert names(house, code) == (modules, packages)


def test_reach_of_the_real_library():
    modules, packages = chapters.reach("from rnnbook.scratch.optim import Adam")
    assert ROOT / "rnnbook/checks.py" in modules
    assert not {"torch", "matplotlib"} & packages


def test_packages_only_gather_names():
    """Or a fingerprint would miss what an __init__.py does."""
    for path in (ROOT / "rnnbook").rglob("__init__.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            gathers = ast.Import | ast.ImportFrom | ast.Assign | ast.Expr
            for statement in node.body if isinstance(node, ast.With) else [node]:
                assert isinstance(statement, gathers), path


@pytest.mark.parametrize(
    ("path", "old", "new", "matters"),
    [
        ("rnnbook/layers/lstm.py", "np", "np as np", True),
        ("rnnbook/layers/gru.py", "sklearn", "sklearn as s", False),
        ("rnnbook/checks.py", "np", "np\n", True),
        ("requirements.txt", "numpy==1", "numpy==1.1", True),
        ("requirements.txt", "scikit-learn==2", "scikit-learn==3", False),
        ("book/one.md", "hello", "Hello", True),
        ("book/one.md", "Words", "Other words", False),
        ("results.json", "", "{}", False),
        ("rnnbook/memory.json", "", "{}", True),
    ],
)
def test_fingerprint_covers_what_the_outputs_depend_on(house, path, old, new, matters):
    one = house / "book/one.md"
    code = "from rnnbook.layers import LSTM\nresult = 'memory'\nprint('hello')"
    one.write_text(chapter(chapters.colab_cell(house), code))
    before = chapters.fingerprint(chapters.read_text("one", house), house)
    changed = house / path
    changed.write_text(changed.read_text().replace(old, new) if changed.exists() else new)
    after = chapters.fingerprint(chapters.read_text("one", house), house)
    assert (before != after) == matters


@pytest.mark.parametrize(
    ("key", "matters"), [("runs", True), ("date", True), ("code", False), ("canary", False)]
)
def test_what_ties_results_to_their_code_makes_no_chapter_stale(house, key, matters):
    (house / "book/one.md").write_text(chapter(chapters.colab_cell(house), "result = 'memory'"))
    text, stored = chapters.read_text("one", house), house / "rnnbook/memory.json"
    stored.write_text(json.dumps({"runs": 1, "date": 1, "code": 1, "canary": 1}))
    before = chapters.fingerprint(text, house)
    stored.write_text(json.dumps({"runs": 1, "date": 1, "code": 1, "canary": 1} | {key: 2}))
    assert (chapters.fingerprint(text, house) != before) == matters


def test_notebook_follows_its_text(house):
    assert "does not exist" in chapters.difference("one", house)
    assert notebooks.update("one", house).startswith("executed")
    assert notebooks.update("one", house) == "up to date"
    stored = chapters.read_notebook("one", house)
    assert stored.cells[-1].outputs[0].text == "hello\n"
    assert set(stored.metadata) == {"kernelspec", "language_info", "rnnbook"}
    assert not any("execution" in cell.metadata for cell in stored.cells)

    text = house / "book/one.md"
    text.write_text(text.read_text().replace("Words", "Other words"))
    assert "is not that of" in chapters.difference("one", house)
    assert notebooks.update("one", house) == "text updated, outputs kept"
    assert chapters.difference("one", house) is None
    kept = chapters.read_notebook("one", house)
    assert kept.cells[-1] == stored.cells[-1]
    assert "Other words" in kept.cells[2].source


def test_notebook_saved_by_jupyterlab_is_executed_anew(house):
    notebooks.update("one", house)
    path = house / "notebooks/one.ipynb"
    stored = nbformat.read(path, as_version=4)
    stored.metadata.language_info.version = "3.11.7"
    stored.cells[-1].outputs = []
    nbformat.write(stored, path)
    assert "saved by hand" in chapters.difference("one", house)
    assert notebooks.update("one", house).startswith("executed")
    assert chapters.read_notebook("one", house).cells[-1].outputs


def test_head_of_the_notebook_follows_the_text(house):
    notebooks.update("one", house)
    text = house / "book/one.md"
    text.write_text(text.read_text().replace("---\nkernel", "---\nmyst:\n  a: b\nkernel"))
    assert "the head of" in chapters.difference("one", house)
    assert notebooks.update("one", house) == "text updated, outputs kept"
    assert chapters.read_notebook("one", house).metadata.myst == {"a": "b"}


def test_notebook_that_fails_leaves_the_stored_one(house, capsys):
    stored = house / "notebooks/one.ipynb"
    stored.write_text(nbformat.writes(nbformat.v4.new_notebook()))
    before = stored.read_bytes()
    (house / "book/one.md").write_text(chapter(chapters.colab_cell(house), "1 / 0"))
    with pytest.raises(
        notebooks.Failed, match=r"Cell 4 of book/one\.md raised ZeroDivisionError: .*\.$"
    ):
        notebooks.update("one", house)
    assert "1 / 0" in capsys.readouterr().err
    assert stored.read_bytes() == before


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: python3", "name: python311", "kernel 'python311'"),
        ("someone/book", "someone/fork", "first code cell"),
    ],
)
def test_what_is_not_worth_executing(house, old, new, message):
    text = house / "book/one.md"
    text.write_text(text.read_text().replace(old, new))
    with pytest.raises(notebooks.Failed, match=message):
        notebooks.update("one", house)
    assert not (house / "notebooks/one.ipynb").exists()


def test_colab_installs_the_release_that_the_chapter_belongs_to(house):
    """Not the tip of the branch, which moves on under a chapter that somebody has saved."""
    (last,) = re.findall(r"git\+\S+(?=\"\))", chapters.colab_cell(house))
    assert last == "git+https://github.com/someone/book@v1.2"


def test_whoever_has_the_stored_notebook_open_reads_the_old_one_to_its_end(house):
    notebooks.update("one", house)
    stored = house / "notebooks/one.ipynb"
    before = stored.read_text(encoding="utf-8")
    text = house / "book/one.md"
    text.write_text(text.read_text().replace("Words", "Other words"))
    with stored.open(encoding="utf-8") as reader:
        if os.name == "nt":
            pytest.skip("Windows replaces no file that is open")
        notebooks.update("one", house)
        assert reader.read() == before
    assert "Other words" in stored.read_text(encoding="utf-8")
    assert [path.name for path in stored.parent.iterdir()] == ["one.ipynb"]


def test_notebook_that_cannot_be_put_in_place_leaves_the_stored_one(house, monkeypatch):
    def full(*_):
        raise OSError("no space left")

    notebooks.update("one", house)
    stored = house / "notebooks/one.ipynb"
    before = stored.read_bytes()
    text = house / "book/one.md"
    text.write_text(text.read_text().replace("Words", "Other words"))
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="no space left"):
        notebooks.update("one", house)
    assert [path.read_bytes() for path in stored.parent.iterdir()] == [before]


def test_notebook_is_executed_on_one_thread(house, monkeypatch):
    """As the tests execute it: sums over two threads may differ in a digit that is printed."""
    pools = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    for name in pools:
        monkeypatch.delenv(name)
    importlib.reload(notebooks)
    code = f"import os\nprint(*(os.environ.get(name) for name in {pools}))"
    (house / "book/one.md").write_text(chapter(chapters.colab_cell(house), code))
    notebooks.update("one", house)
    assert chapters.read_notebook("one", house).cells[-1].outputs[0].text == "1 1 1\n"


def test_chapter_without_text(house):
    (house / "book/one.md").unlink()
    with pytest.raises(notebooks.Failed, match=r"there is no book/one\.md"):
        notebooks.update("one", house)


def test_unknown_chapter_is_told_with_the_known_ones():
    with pytest.raises(SystemExit, match=r"No chapter 'lsmt' in _toc\.yml, which has: \w+"):
        notebooks.main(["lsmt"])


CONFLICT = "<<<<<<< HEAD\n{}=======\n{}>>>>>>> theirs\n"


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (
            "notebooks/one.ipynb",
            '{\n "cells": [],\n' + CONFLICT.format(' "nbformat": 4\n', ' "nbformat": 5\n') + "}\n",
            r"notebooks/one\.ipynb is no JSON from line 3 on \('<<<<<<< HEAD'\): delete it",
        ),
        ("notebooks/one.ipynb", "", r"notebooks/one\.ipynb is no JSON from line 1 on \(''\)"),
        ("notebooks/one.ipynb", "[]", r"notebooks/one\.ipynb is no notebook of format 4"),
        (
            "notebooks/one.ipynb",
            '{"nbformat": 3}',
            r"notebooks/one\.ipynb is no notebook of format 4",
        ),
        (
            "_toc.yml",
            "root: a\n" + CONFLICT.format("b: c\n", "b: d\n"),
            r"_toc\.yml .* from line 2 on",
        ),
        ("_config.yml", "a: b\nc: [d\n", r"_config\.yml is no valid YAML from line 2 on"),
        (
            "book/one.md",
            "---\nkernelspec:\n  name: [a\n---\n",
            r"book/one\.md is no .* from line 3 on",
        ),
        (
            "book/one.md",
            HEAD + CELL.format(":tags: [a\n\n1"),
            r"book/one\.md: Code cell 1 at line 10 could not be read",
        ),
    ],
)
def test_broken_file_is_named_with_its_line(house, monkeypatch, file, content, message):
    """By the tool that makes the notebooks and by the one that builds the pages."""
    stored = house / "notebooks/one.ipynb"
    stored.write_text(nbformat.writes(nbformat.v4.new_notebook()))
    (house / file).write_text(content)
    before = stored.read_bytes()
    for module, names in (
        (notebooks, ("slugs", "update")),
        (build, ("slugs", "difference", "read_yaml")),
    ):
        for name in names:
            function = getattr(module, name)
            monkeypatch.setattr(module, name, partial(function, root=house))
    monkeypatch.setattr(build, "sphinx", None)
    for make in (partial(notebooks.main, []), build.main):
        with pytest.raises(SystemExit, match=message) as raised:
            make()
        assert "\n" not in str(raised.value)
    assert stored.read_bytes() == before


def test_notebook_is_written_whole_or_not_at_all(house, monkeypatch):
    """Killed before the last step, the writer leaves the stored notebook as it was."""
    path = house / "notebooks/one.ipynb"
    path.write_text("as it was")

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(notebooks.os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        notebooks.write(nbformat.v4.new_notebook(), path)
    assert path.read_text() == "as it was"
    monkeypatch.undo()
    notebooks.write(nbformat.v4.new_notebook(), path)
    assert nbformat.read(path, as_version=4).cells == []
    assert path.stat().st_mode & 0o777 == 0o644 or os.name == "nt"


def test_paths_of_this_machine_are_taken_out_of_tracebacks(house):
    lines = [f"File {house}{os.sep}rnnbook{os.sep}checks.py:30"]
    output = nbformat.v4.new_output("error", ename="E", evalue="e", traceback=lines)
    cell = nbformat.v4.new_code_cell("1 / 0", outputs=[output])
    book = nbformat.v4.new_notebook(cells=[cell])
    notebooks.clean(book, {}, house)
    assert book.cells[0].outputs[0].traceback == [f"File rnnbook{os.sep}checks.py:30"]


def build_pages(house: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "tools.build"]
    return subprocess.run(command, cwd=house, capture_output=True, text=True, encoding="utf-8")


SQUARE = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 72 72" width="72pt" height="72pt">'
    '<path d="M 0 0 L 72 72" style="fill: none; stroke: #0072b2"/></svg>'
)


def test_failed_build_leaves_the_last_good_pages(house):
    for folder in ("tools", "book/_ext"):
        shutil.copytree(ROOT / folder, house / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for module in ("__init__", "reach", "extras", "checks", "plots"):
        shutil.copy(ROOT / f"rnnbook/{module}.py", house / "rnnbook")
    head = "# One\n\n**Reading** takes about 5 minutes."
    figure = nbformat.v4.new_code_cell(metadata={"mystnb": {"figure": {"name": "fig-one"}}})
    drawn = {"image/svg+xml": SQUARE}
    figure.outputs = [nbformat.v4.new_output("display_data", drawn)]
    first = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(head), figure])
    first.metadata.card = {"question": "Why?", "figure": "fig-one"}
    first.metadata.rnnbook = {"fingerprint": "none", "seconds": 1, "peak_mb": 100}
    nbformat.write(first, house / "notebooks/one.ipynb")
    done = build_pages(house)
    assert done.returncode == 0, done.stderr
    assert "`make notebooks`" in done.stdout  # the stub was never executed
    page = house / "_build/html/notebooks/one.html"
    assert done.stdout.strip().endswith((house / "_build/html/index.html").as_uri())
    assert "Nothing has changed" in build_pages(house).stdout

    good = page.read_bytes()
    first.cells[0].source = f"{head}\n\n{{ref}}`nowhere`, {{py:func}}`rnnbook.nothing`"
    nbformat.write(first, house / "notebooks/one.ipynb")
    failed = build_pages(house)
    assert failed.returncode == 1
    assert "undefined label: 'nowhere'" in failed.stderr
    assert "target not found: rnnbook.nothing" in failed.stderr  # and what else there is
    last = failed.stderr.strip().splitlines()[-1]
    assert last.startswith("The book was not built")
    assert "_build/html" in last
    assert page.read_bytes() == good
    assert [path.name for path in (house / "_build").iterdir()] == ["html"]

    del first.metadata["card"]
    nbformat.write(first, house / "notebooks/one.ipynb")
    said = build_pages(house).stderr.strip().splitlines()
    assert said[0] == "one.ipynb has no `card:` in its head, with a question and a figure."
    assert len(said) == 2  # and that the book was not built: no traceback


@pytest.mark.parametrize(
    ("path", "matters"),
    [
        ("_config.yml", True),
        ("_toc.yml", True),
        ("requirements.txt", True),
        ("requirements.lock", True),
        ("book/one.md", True),
        ("book/_static/book.css", True),
        ("notebooks/one.ipynb", True),
        ("rnnbook/layers/lstm.py", True),
        ("tools/build.py", True),
        ("rnnbook/__pycache__/checks.pyc", False),
        ("notebooks/.ipynb_checkpoints/one.ipynb", False),
        ("README.md", False),
    ],
)
def test_build_is_due_when_what_it_is_made_from_changes(house, monkeypatch, path, matters):
    monkeypatch.setattr(build, "ROOT", house)
    changed = house / path
    changed.parent.mkdir(parents=True, exist_ok=True)
    changed.touch()
    before = build.inputs()
    changed.write_text("another")
    assert (build.inputs() != before) == matters


def test_build_without_a_first_page_is_none(house, monkeypatch):
    pages = house / "_build/html"
    pages.mkdir(parents=True)
    (pages / "index.html").write_text("the last good one")
    monkeypatch.setattr(build, "ROOT", house)
    monkeypatch.setattr(build, "OUTPUT", pages)
    monkeypatch.setattr(build, "sphinx", lambda target: (0, ["nothing to do"]))
    monkeypatch.setattr(build, "slugs", list)
    with pytest.raises(SystemExit, match=r"was not built.*the last good pages stay"):
        build.main()
    assert [path.read_text() for path in pages.iterdir()] == ["the last good one"]


def test_build_is_due_when_a_page_moves(house, monkeypatch):
    monkeypatch.setattr(build, "ROOT", house)
    before = build.inputs()
    (house / "book/one.md").rename(house / "book/two.md")
    assert build.inputs() != before


def test_watch_sees_memory_that_a_child_held():
    hold = "import time; block = bytearray(300_000_000); time.sleep(0.5)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold!r}])"
    with subprocess.Popen([sys.executable, "-c", parent]) as process:
        watch = Watch(process.pid, interval=0.02)
        process.wait()
        watch.stop()
    assert 300 < watch.peak_mb < 600
    assert watch.seconds > 0.5


def test_watch_of_a_process_that_ended():
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        handle = psutil.Process(process.pid)
        watch = Watch(process.pid, interval=0.01)
        process.wait()
    assert not handle.is_running()
    watch.stop()
    assert watch.peak_mb < 200


@pytest.mark.parametrize(("profile", "same_again"), [("rnnbook", True), ("explore", False)])
def test_examples_are_the_same_in_every_run_unless_others_are_asked_for(profile, same_again):
    code = (
        "import conftest\n"
        "from hypothesis import given, strategies\n"
        "@given(strategies.integers())\n"
        "def draw(number):\n    print(number)\n"
        "draw()"
    )
    draws = [
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT / "tests",
            env={**os.environ, "HYPOTHESIS_PROFILE": profile},
            check=True,
            stdout=subprocess.PIPE,
        ).stdout.split()
        for _ in range(2)
    ]
    assert (draws[0] == draws[1]) == same_again
    assert len(draws[0]) > (20 if same_again else 200)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_help_lists_the_targets():
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True).stdout
    for target in ("book", "test", "quick", "test-portable", "notebooks", "lab", "bench", "clean"):
        assert re.search(rf"^make {target} +\w", listed, re.MULTILINE)


def test_every_text_has_its_place_in_the_book():
    toc = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    pages = set(re.findall(r"(?:root|file): (\S+)", toc))
    for path in (ROOT / "book").glob("*.md"):
        assert pages & {f"book/{path.stem}", f"notebooks/{path.stem}"}, f"{path.name}: no place"
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        assert f"notebooks/{path.stem}" in pages, f"{path.name} is no chapter"


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_links_of_the_repository_pages_resolve(page):
    for link in re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text(encoding="utf-8")):
        assert "://" in link or (ROOT / link).exists(), link
