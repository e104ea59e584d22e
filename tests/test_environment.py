"""tools/environment.py: what it installs and how, and the sentence in which each failure ends."""

from __future__ import annotations

import errno
import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tools import environment

pytestmark = pytest.mark.slow

ROOT = environment.ROOT
LOCKED = "uv==1 ; os_name != 'x' \\\n    --hash=sha256:12 \\\n    --hash=sha256:34\nwheel==1\n"


class Machine:
    """Notes the commands that environment.py would run, and answers for them."""

    def __init__(self, folder: Path):
        self.python = folder / ".venv/bin/python"
        self.steps: list[list[str]] = []
        self.settings = ""  # pip's
        self.installed: set[str] = set()
        self.elsewhere = False  # whether what is installed cannot be found
        self.fails: set[str] = set()  # words of commands that fail
        self.files: list[str] = []  # what the files given by -r say

    def run(self, arguments, **_):
        words = [str(a) for a in arguments]
        status = 1 if self.fails & set(words) else 0
        if words[1:2] == ["-c"]:
            lost = [pin for pin in words[3:] if pin.split("==")[0] not in self.installed]
            return subprocess.CompletedProcess(words, 0, "\n".join(lost), "")
        if "config" in words:
            return subprocess.CompletedProcess(words, 0, self.settings, "")
        self.steps.append(words)
        if "-r" in words:
            self.files.append(Path(words[words.index("-r") + 1]).read_text(encoding="utf-8"))
        if "venv" in words:
            self.python.parent.mkdir(parents=True)
            self.python.touch()
        if "--dry-run" not in words and status == 0 and not self.elsewhere:
            self.installed |= {"numpy", "uv"} if "-r" in words else set()
            self.installed |= {"torch"} if words[-1].startswith("torch==") else set()
        return subprocess.CompletedProcess(words, status, b"", b"")

    def done(self) -> list[str]:
        """What was installed, and by which program, a word for each step."""
        tools = {"uv": "uv", "pip": "pip", "venv": "venv"}
        return [f"{tools[words[2]]} {Path(words[-1]).name}" for words in self.steps]


@pytest.fixture
def machine(tmp_path, monkeypatch) -> Machine:
    """environment.py in an empty folder of a machine with a GPU, its commands noted."""
    machine = Machine(tmp_path)
    pins, lock = tmp_path / "requirements.txt", tmp_path / "requirements.lock"
    pins.write_text("# a comment\nnumpy==1\ntorch==2\nuv==1\n")
    lock.write_text(LOCKED)
    for name, value in {
        "ROOT": tmp_path,
        "VENV": tmp_path / ".venv",
        "VENV_PYTHON": machine.python,
        "DONE": tmp_path / ".venv/installed.sha256",
        "NAMED": pins,
        "LOCK": lock,
        "PINS": [pins, lock],
        "has_gpu": lambda: True,
    }.items():
        monkeypatch.setattr(environment, name, value)
    monkeypatch.setattr(environment.subprocess, "run", machine.run)
    monkeypatch.setattr(sys, "argv", ["environment.py"])
    for name in ("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT"):
        monkeypatch.setenv(name, "elsewhere")  # given back after the test
    return machine


def test_uv_installs_the_lock_and_pip_the_rest(machine, tmp_path):
    environment.main()
    steps = ["venv .venv", "pip uv.txt", "uv requirements.lock", "pip torch==2"]
    assert machine.done() == [*steps, f"pip {tmp_path.name}"]
    lock = machine.steps[2]
    assert lock[lock.index("--python") + 1] == str(machine.python)
    assert all("--require-hashes" in step for step in machine.steps if "-r" in step)
    assert machine.files == [LOCKED.split("wheel")[0].rstrip(), LOCKED]  # uv alone, then all


def test_pip_installs_where_uv_cannot_be_had(machine, tmp_path):
    machine.fails = {"--only-binary"}
    environment.main()
    steps = ["venv .venv", "pip uv.txt", "pip requirements.lock", "pip torch==2"]
    assert machine.done() == [*steps, f"pip {tmp_path.name}"]
    assert "--require-hashes" in machine.steps[2]


def test_pip_installs_where_uv_fails(machine, capsys):
    machine.fails = {"uv"}
    environment.main()
    assert machine.done()[2:4] == ["uv requirements.lock", "pip requirements.lock"]
    assert "pip tries" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("settings", "uv"),
    [
        ("global.index-url='https://mirror.example'", False),
        (":env:.no-index='1'", False),
        ("global.extra-index-url='https://mirror.example'\nglobal.timeout='9'", True),
    ],
)
def test_an_index_of_pips_settings_is_pips(machine, settings, uv):
    machine.settings = settings
    environment.main()
    assert ("uv requirements.lock" in machine.done()) == uv


def test_it_is_made_once_and_again_for_other_pins_or_another_place(machine, tmp_path, monkeypatch):
    environment.main()
    made = len(machine.steps)
    environment.main()
    assert len(machine.steps) == made
    environment.NAMED.write_text("numpy==1\ntorch==2\nuv==1\nsix==1\n")
    machine.installed.add("six")
    environment.main()
    assert len(machine.steps) > made
    assert "-q" in next(step for step in machine.steps[made:] if "-r" in step)  # a repair is quiet
    made = len(machine.steps)
    environment.LOCK.write_text(LOCKED.replace("34", "56"))
    environment.main()
    assert len(machine.steps) > made
    made = len(machine.steps)
    monkeypatch.setattr(environment, "ROOT", tmp_path / "notebooks")
    environment.ROOT.mkdir()
    environment.main()
    assert len(machine.steps) > made


def test_interrupted_install_is_not_taken_for_a_finished_one(machine, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    install = environment.install
    monkeypatch.setattr(environment, "install", interrupted)
    with pytest.raises(KeyboardInterrupt):
        environment.main()
    assert not environment.DONE.exists()
    monkeypatch.setattr(environment, "install", install)
    environment.main()
    assert environment.DONE.exists()


def test_what_pip_put_elsewhere_is_no_finished_environment(machine):
    machine.elsewhere = True
    with pytest.raises(SystemExit, match=r"^numpy==1 was installed, and .*python does not find it"):
        environment.main()
    assert not environment.DONE.exists()


def test_variables_that_send_packages_elsewhere_are_set_aside(machine):
    environment.main()
    assert os.environ["PIP_USER"] == "0"
    assert not {"PIP_TARGET", "PIP_PREFIX", "PIP_ROOT"} & set(os.environ)


def test_here_installs_into_this_python(machine, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["environment.py", "--here"])
    environment.main()
    assert {step[0] for step in machine.steps} == {sys.executable}
    assert not environment.DONE.exists()


def test_old_python_is_told_so(machine, monkeypatch):
    monkeypatch.setattr(environment, "OLDEST", (99, 0))
    with pytest.raises(SystemExit, match=r"^rnnbook needs Python 99\.0 or newer, .*PYTHON="):
        environment.main()
    assert not machine.steps


def test_unknown_option_is_told_so(machine, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["environment.py", "--hear"])
    with pytest.raises(SystemExit, match="'--hear'"):
        environment.main()


def test_python_without_venv_is_told_so(machine, monkeypatch):
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SystemExit, match="apt install python3-venv"):
        environment.main()


def test_path_with_the_separator_of_paths_is_told_so(machine, tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "VENV", tmp_path / f"a{os.pathsep}b/.venv")
    with pytest.raises(SystemExit, match=rf"because {os.pathsep!r} separates .*: move the clone"):
        environment.main()
    assert not machine.steps


def test_folder_that_cannot_be_written_to_is_told_so(machine, tmp_path, monkeypatch):
    def refuse(dir):
        assert dir == tmp_path
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(environment.tempfile, "TemporaryFile", refuse)
    with pytest.raises(SystemExit, match=r"cannot be written to \(Read-only file system\): make"):
        environment.main()
    assert not machine.steps


def test_failing_step_ends_with_one_sentence(capfd):
    command = [sys.executable, "-c", "print('pip says'); raise SystemExit(3)"]
    with pytest.raises(SystemExit, match=r"^pip says\s+Installing x failed: try again\.$"):
        environment.run("Installing x", command, "try again.", quiet=True)
    assert "Installing x" in capfd.readouterr().out


def wheel(folder: Path, name: str, needs: str = "") -> str:
    """A small wheel on disk; its hash."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{name}.py", "")
        file.writestr(f"{info}/METADATA", metadata + (f"Requires-Dist: {needs}\n" if needs else ""))
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{info}/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("variables", "arguments", "remedy"),
    [
        ({"PIP_NO_INDEX": "1"}, ["nosuch==1"], "no-index, keeps it .* unset PIP_NO_INDEX"),
        ({}, ["--no-index", "nosuch==1"], r"a pin cannot be had for Python 3\.\d+"),
        ({}, ["--no-index", "one==2.0"], r"a pin cannot be had for Python 3\.\d+"),
        ({}, ["--no-index", "one==1.0", "two==1.0"], "two pins exclude each other"),
        (
            {},
            ["--no-index", "--require-hashes", "-r", "HASHES"],
            "not the one that requirements.lock",
        ),
        ({}, ["--index-url", "http://127.0.0.1:9", "--retries", "1", "x"], "check the network"),
        ({}, ["--no-such-option"], "see pip's message above"),
    ],
)
def test_what_pip_says_decides_on_the_remedy(
    tmp_path, monkeypatch, capfd, variables, arguments, remedy
):
    """The pip of this Python, without network: its own words, not ours of them."""
    pytest.importorskip("pip", reason="this environment was made without pip")
    wheel(tmp_path, "one")
    wheel(tmp_path, "two", needs="one!=1.0")
    (tmp_path / "HASHES").write_text(f"one==1.0 --hash=sha256:{64 * '0'}\n")
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_FIND_LINKS": str(tmp_path),
        **variables,
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match=f"^Installing it failed: .*{remedy}"):
        environment.pip(sys.executable, "Installing it", ["--target", "there", "-q", *arguments])
    assert not (tmp_path / "there").exists()


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left",
            "disk",
        ),
        ("error: externally-managed-environment", "leave --here away"),
    ],
)
def test_what_cannot_be_played_here_has_its_remedy(said, remedy):
    assert remedy in environment.remedy_for(said)


def test_missing_asks_for_versions(tmp_path, monkeypatch):
    pins = tmp_path / "requirements.txt"
    here = importlib.metadata.version("pytest")
    pins.write_text(f"pytest=={here}\nhypothesis==0.1\nno-such-package==1\nbuilt==2\n")
    info = tmp_path / "built-2+cpu.dist-info"  # a build of its own is the version asked for
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: built\nVersion: 2+cpu\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(environment, "NAMED", pins)
    assert environment.missing(sys.executable) == ["hypothesis==0.1", "no-such-package==1"]


@pytest.mark.parametrize("answer", ["it answers", "it refuses", "it is silent", "no uv"])
def test_cpu_torch_only_where_its_index_answers(machine, monkeypatch, capsys, answer):
    def run(arguments, **options):
        if "--dry-run" in arguments and answer == "it is silent":
            raise subprocess.TimeoutExpired("uv", 30)
        return machine.run(arguments, **options)

    machine.fails = {"--dry-run"} if answer == "it refuses" else set()
    monkeypatch.setattr(environment.subprocess, "run", run)
    monkeypatch.setattr(environment.platform, "system", lambda: "Linux")
    monkeypatch.setattr(environment, "has_gpu", lambda: False)
    uv = ["python", "-m", "uv", "pip", "install"]
    environment.install_torch("python", None if answer == "no uv" else uv)
    assert machine.done()[-1:] == ["uv torch==2" if answer == "it answers" else "pip torch==2"]
    assert ("--torch-backend=cpu" in machine.steps[-1]) == (answer == "it answers")
    assert ("does not answer" in capsys.readouterr().out) == (answer != "it answers")
    made = len(machine.steps)
    environment.install_torch("python", uv)  # it is there
    assert len(machine.steps) == made


@pytest.mark.parametrize("tool", ["build", "notebooks", "other_seeds"])
def test_tools_outside_the_environment_say_where_to_go(tool, tmp_path):
    """A Python without packages, in the repository's folder and as a file."""
    bare = [sys.executable, "-S", "-E", "-s"]
    for command in ([*bare, "-m", f"tools.{tool}"], [*bare, str(ROOT / f"tools/{tool}.py")]):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 1
        assert re.fullmatch(
            rf"This Python does not find \w+: make .*tools/environment\.py.*-m tools\.{tool}` .*\.",
            done.stderr.strip(),
        )


def test_pins_are_made_whatever_the_lock_says():
    """The environment wants a lock that fits, and `make pins` is what mends one."""
    if not (ROOT / ".venv").exists() or shutil.which("make") is None:
        pytest.skip("make takes the environment in .venv")
    done = subprocess.run(["make", "-n", "pins"], cwd=ROOT, capture_output=True, text=True)
    assert "uv pip compile" in done.stdout
    assert "tools/environment.py" not in done.stdout


def test_pins_are_exact_and_the_lock_has_them_with_hashes_and_names_no_host():
    pins = environment.NAMED.read_text(encoding="utf-8")
    lock = environment.LOCK.read_text(encoding="utf-8")
    blocks = re.findall(
        r"^([\w-]+)==([\w.]+)( ;.*?)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)",
        lock,
        re.M,
    )
    comments = "".join(line for line in lock.splitlines(keepends=True) if line.startswith("#"))
    rebuilt = "".join(f"{n}=={v}{m} \\\n{hashes}" for n, v, m, hashes in blocks)
    assert comments + rebuilt == lock  # and nothing else is in it
    locked = {f"{name}=={version}" for name, version, _, _ in blocks}
    for line in pins.splitlines():
        if line and not line.startswith("#"):
            assert re.fullmatch(r"[\w-]+==[\w.]+", line)
            assert line in locked or line.startswith("torch=="), f"{line}: run `make pins`"
    assert "://" not in pins + lock
    assert not re.search(r"^(torch|triton|cuda|nvidia)", lock, re.MULTILINE)


def test_binder_and_ci_run_what_everybody_runs():
    assert "tools/environment.py --here" in (ROOT / ".binder/postBuild").read_text()
    assert not (ROOT / ".binder/requirements.txt").exists()
    version = (ROOT / ".binder/runtime.txt").read_text().strip().removeprefix("python-")
    assert tuple(map(int, version.split("."))) >= environment.OLDEST
    assert re.findall(r"^make (\w+)", (ROOT / ".ci/run").read_text(), re.MULTILINE)[-1] == "test"
    if os.name != "nt":
        assert os.access(ROOT / ".ci/run", os.X_OK)
        assert os.access(ROOT / ".binder/postBuild", os.X_OK)
