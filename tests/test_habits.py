"""What is kept beside the code: the files that GitHub, pre-commit and coverage read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("coverage", reason="coverage checks its own settings")
pytest.importorskip("jupytext", reason="the tools read the chapters by jupytext")

import coverage
import yaml

from tools import chapters

ROOT = chapters.ROOT


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


@pytest.mark.parametrize("form", sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("[!c]*.yml")))
def test_issue_forms_have_what_github_asks_for(form):
    content = yaml.safe_load(form.read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= set(content)
    ids = [element["id"] for element in content["body"]]
    assert len(set(ids)) == len(ids)
    assert all(element["attributes"]["label"] for element in content["body"])
    assert any(element.get("validations", {}).get("required") for element in content["body"])


@pytest.mark.parametrize(
    "page", [".github/PULL_REQUEST_TEMPLATE.md", "CONTRIBUTING.md", "SECURITY.md"]
)
def test_pages_name_targets_of_make_that_exist(page):
    targets = set(re.findall(r"^([a-z-]+):.*## ", read("Makefile"), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", read(page))) <= targets


def test_contributing_is_one_page():
    assert len(read("CONTRIBUTING.md").splitlines()) <= 100


def test_quick_runs_neither_what_is_slow_nor_a_browser_nor_a_notebook():
    (recipe,) = re.findall(r"^quick:.*\n\t(.*)$", read("Makefile"), re.MULTILINE)
    assert "pytest tests " in recipe
    assert "-m 'not slow and not browser'" in recipe
    assert "HYPOTHESIS_PROFILE=quick" in recipe


def test_hooks_run_the_pinned_programs_and_ask_no_network():
    (repository,) = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"]
    assert repository["repo"] == "local"
    tests = read("tests/test_book.py") + read("tests/test_house.py")
    for hook in repository["hooks"]:
        assert hook["language"] == "system"
        assert hook["entry"].startswith(".venv/bin/")
        for path in re.findall(r"tests/\w+\.py", hook["entry"]):
            assert (ROOT / path).exists()
        for name in re.findall(r"-k (\w+)", hook["entry"]):
            assert re.search(rf"def test_\w*{name}", tests)


@pytest.mark.parametrize(
    ("path", "hooks"),
    [
        ("book/gru.md", {"pairs"}),
        ("rnnbook/scratch/gru.py", {"pairs", "house"}),
        ("book/images/house.svg", {"pairs", "house"}),
        ("tests/test_gru.py", set()),
        ("_toc.yml", {"pairs"}),
    ],
)
def test_hooks_see_what_they_are_about(path, hooks):
    (repository,) = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"]
    patterns = {hook["id"]: hook["files"] for hook in repository["hooks"] if "files" in hook}
    assert {name for name, pattern in patterns.items() if re.search(pattern, path)} == hooks


def test_dependabot_looks_after_the_actions_alone():
    """Python's pins move together, with the notebooks that were executed with them."""
    updates = yaml.safe_load(read(".github/dependabot.yml"))["updates"]
    assert [update["package-ecosystem"] for update in updates] == ["github-actions"]


def test_coverage_is_of_the_library_and_the_tools():
    config = coverage.Coverage(config_file=str(ROOT / "pyproject.toml"), data_file=None).config
    assert config.source == ["rnnbook", "tools"]
    assert config.branch
    assert all(Path(ROOT / folder).is_dir() for folder in config.source)
