"""What runs on every push and every week: pinned, on every system, as it is written elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("yaml", reason="workflows are YAML")

import yaml

ROOT = Path(__file__).parents[1]
FILES = {path.stem: path for path in (ROOT / ".github/workflows").glob("*.yml")}
JOBS = {
    f"{name}: {job}": content
    for name, path in FILES.items()
    for job, content in yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].items()
}


def commands(name: str) -> str:
    return "\n".join(step["run"] for step in JOBS[name]["steps"] if "run" in step)


def test_actions_are_pinned_by_commit_and_agree():
    text = "".join(path.read_text(encoding="utf-8") for path in FILES.values())
    uses = re.findall(r"uses: (\S+?)@(\S+)(?: # (v\d+\.\d+\.\d+))?$", text, re.MULTILINE)
    assert len(uses) == text.count("uses:")
    for action, commit, release in uses:
        assert re.fullmatch(r"[0-9a-f]{40}", commit), action
        assert release, f"{action}: say which release {commit} is"
    assert len({action for action, *_ in uses}) == len(set(uses))


@pytest.mark.parametrize("job", JOBS)
def test_every_job_ends(job):
    assert JOBS[job]["timeout-minutes"] <= 300


def test_every_python_and_every_system():
    matrix = JOBS["tests: test"]["strategy"]["matrix"]
    assert matrix["python"] == ["3.11", "3.12", "3.13", "3.14"]
    assert {name.partition("-")[0] for name in matrix["os"]} == {"ubuntu", "macos", "windows"}
    assert JOBS["tests: numpy"]["strategy"]["matrix"]["python"] == ["3.11", "3.14"]


def test_paths_are_written_as_the_system_does():
    for job in JOBS:
        assert "$PWD" not in commands(job), job


def test_what_is_promised_is_tried():
    assert "--resolution lowest-direct" in commands("tests: lowest")
    assert "--require-hashes -r requirements.lock" in commands("tests: hashes")
    assert "GITHUB_STEP_SUMMARY" in commands("tests: coverage")
    assert "rnnbook.experiments --check" in commands("weekly: again")
    assert "make other-seeds" in commands("weekly: other-seeds")
    environments = [step.get("env", {}) for step in JOBS["weekly: again"]["steps"]]
    assert {"HYPOTHESIS_PROFILE": "explore"} in environments
    assert "dist/*.whl" in commands("release: build")


@pytest.mark.parametrize("job", JOBS)
def test_files_and_modules_that_are_named_exist(job):
    for module in re.findall(r"python -m (tools\.\w+|rnnbook[.\w]*)", commands(job)):
        path = ROOT / module.replace(".", "/")
        assert path.is_dir() or path.with_suffix(".py").exists(), module
    for path in re.findall(r"(?<![\w./-])((?:tools|tests)/[\w./]+)", commands(job)):
        assert (ROOT / path).exists(), path
    for names in re.findall(r"test_\{(.*?)\}\.py", commands(job)):
        assert all((ROOT / f"tests/test_{name}.py").exists() for name in names.split(","))


def test_the_page_for_windows_has_the_steps_of_the_job():
    page = (ROOT / "README.md").read_text(encoding="utf-8").replace("\\", "/")
    for step in ("tools/environment.py", "-m tools.build", "-m pytest -n 2 --dist loadfile"):
        assert step in commands("tests: test")
        assert step in page
