"""Make the book's environment: `.venv` with what requirements.lock pins, PyTorch, and rnnbook.

    python tools/environment.py           makes .venv; at once when there is nothing to do
    python tools/environment.py --here    installs into the Python that runs this (Binder)

What requirements.txt names and all that it brings along stands in requirements.lock, each file with
its hash; PyTorch alone has builds of other hashes, and is chosen for the machine. uv installs the
lock where it can be had, and pip elsewhere.

Standard library only, and no syntax that an old Python could not read far enough to be told so.
"""

import hashlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

OLDEST = (3, 11)
ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
DONE = VENV / "installed.sha256"  # written last: an interrupted install leaves none
NAMED, LOCK = PINS = [ROOT / "requirements.txt", ROOT / "requirements.lock"]
PROBE_SECONDS = 30
NOT_FOUND = r"No matching distribution|Could not find a version"
REMEDIES = {  # where pip fails: what it says, and what helps; the first that is found counts
    r"No space left|not enough space|Disk quota": "free about 2 GB on the disk, and try again.",
    r"DO NOT MATCH THE HASHES": "a file is not the one that requirements.lock names: try again, "
    "and where it stays so, open an issue and do not install it.",
    r"externally-managed": "this Python belongs to the system: leave --here away.",
    r"Retrying \(|ConnectionError|ReadTimeout|SSLError|ProxyError": "check the network, see pip's "
    "message above, and try again.",
    r"ERROR: ResolutionImpossible": "two pins exclude each other, see pip's "
    "message above: change requirements.txt, then run `make pins`.",
    NOT_FOUND: f"a pin cannot be had for Python {platform.python_version()} on this system, see "
    "pip's message above: take another Python, or change the pin in requirements.txt, then run "
    "`make pins`.",
}
ASK = """
import importlib.metadata as metadata, sys
for pin in sys.argv[1:]:
    name, _, version = pin.partition("==")
    try:
        found = metadata.version(name)
    except metadata.PackageNotFoundError:
        found = ""
    if found.split("+")[0] != version:
        print(pin)
"""


def wanted() -> str:
    """What a finished environment is stamped with: its pins and the place that it was made for."""
    content = "".join(path.read_text(encoding="utf-8") for path in PINS)
    return hashlib.sha256((content + str(ROOT)).encode()).hexdigest()


def run(step, arguments, remedy, quiet=False) -> None:
    """Run one step under a heading; end with one sentence if it fails.

    ``remedy`` is its last part, or a function that gives it.
    """
    print(f"==> {step}", flush=True)
    output = subprocess.PIPE if quiet else None
    done = subprocess.run([str(a) for a in arguments], stdout=output, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        remedy = remedy() if callable(remedy) else remedy
        sys.exit((done.stdout or b"").decode(errors="replace") + f"{step} failed: {remedy}")


def pip(python, step, arguments, quiet=False) -> None:
    """Install something with pip; what helps where it fails is read from pip's own log."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "pip.log"
        command = [python, "-m", "pip", "--disable-pip-version-check", "--log", log, "install"]

        def remedy() -> str:
            said = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
            return remedy_for(said, pip_settings(python))

        run(step, [*command, *arguments], remedy, quiet)


def pip_settings(python) -> str:
    """What pip takes from its files and the environment, one ``section.name='value'`` a line."""
    command = [str(python), "-m", "pip", "config", "list"]
    return subprocess.run(command, capture_output=True, text=True).stdout or ""


def remedy_for(said, settings="") -> str:
    """What helps where pip fails, from what it ``said`` and the ``settings`` that it works with."""
    if re.search(r"\.no-index=", settings) and re.search(NOT_FOUND, said):
        return (
            "a setting of pip's, no-index, keeps it from the packages: unset PIP_NO_INDEX (see "
            "`pip config list`), or name a folder that holds them all in PIP_FIND_LINKS."
        )
    for pattern, remedy in REMEDIES.items():
        if re.search(pattern, said):
            return remedy
    return "see pip's message above, and try again."


def missing(python) -> list[str]:
    """The pins of requirements.txt that ``python`` has not, or in another version."""
    pins = re.findall(r"^[\w-]+==\S+", NAMED.read_text(encoding="utf-8"), re.MULTILINE)
    done = subprocess.run([str(python), "-c", ASK, *pins], capture_output=True, text=True)
    return done.stdout.split()


def has_gpu() -> bool:
    return bool(shutil.which("nvidia-smi")) or Path("/proc/driver/nvidia").exists()


def uv_of(python) -> list | None:
    """The command that installs with uv, which is put beside ``python`` first; None without uv.

    uv does not know pip's settings, so where these name an index of their own, pip installs.
    """
    if re.search(r"\.(no-index|index-url)=", pip_settings(python)):
        return None
    with tempfile.TemporaryDirectory() as folder:
        only = Path(folder) / "uv.txt"
        lock = LOCK.read_text(encoding="utf-8")
        only.write_text(re.search(r"^uv==.*(?:\n .*)*", lock, re.MULTILINE)[0])
        pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        pip += ["--only-binary", ":all:", "--require-hashes", "-r", only]
        print("==> Installing uv", flush=True)
        done = subprocess.run([str(a) for a in pip], capture_output=True)
    uv = [python, "-m", "uv", "pip", "install", "--python", python]
    return uv if done.returncode == 0 else None


def install_lock(python, uv, repair) -> None:
    """Install requirements.lock by uv where it can, and by pip."""
    step = "Installing the packages of requirements.lock"
    lock = ["--require-hashes", "-r", LOCK]
    if uv:
        print(f"==> {step}", flush=True)
        if subprocess.run([str(a) for a in [*uv, *lock]]).returncode == 0:
            return
        print("uv did not succeed, see above: pip tries.", flush=True)
    # A repair spares us pip's line for each package that is there already.
    pip(python, step, ["-q", *lock] if repair else lock)


def install_torch(python, uv) -> None:
    """Install PyTorch, without CUDA on a Linux machine that has no use for it.

    There, pip's PyTorch brings several gigabytes of CUDA. uv knows where PyTorch keeps its CPU
    builds; where that place does not answer, pip decides.
    """
    pin = re.search(r"^torch==.+$", NAMED.read_text(encoding="utf-8"), re.MULTILINE)[0]
    if pin not in missing(python):
        return
    if platform.system() == "Linux" and not has_gpu():
        if uv and answers([*uv, "--torch-backend=cpu", "--no-deps", pin]):
            cpu = [*uv, "--torch-backend=cpu", "--no-deps", pin]
            return run("Installing PyTorch without CUDA", cpu, remedy_for(""))
        print(
            "PyTorch's index of CPU builds does not answer: pip takes the build that it finds, "
            "on most Linux systems a large one with CUDA.",
            flush=True,
        )
    pip(python, "Installing PyTorch", [pin])


def answers(uv) -> bool:
    """Whether what ``uv`` would install can be had without much waiting."""
    impatient = {**os.environ, "UV_HTTP_TIMEOUT": "10", "UV_HTTP_RETRIES": "0"}
    command = [str(a) for a in [*uv, "--dry-run"]]
    try:
        done = subprocess.run(command, env=impatient, capture_output=True, timeout=PROBE_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def install(python, repair=False) -> None:
    """Install pins and rnnbook into the environment of ``python``; all must be found there then."""
    os.environ["PIP_USER"] = "0"
    for elsewhere in ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT"):
        os.environ.pop(elsewhere, None)
    uv = uv_of(python)
    install_lock(python, uv, repair)
    install_torch(python, uv)
    itself = ["--no-deps", "--no-build-isolation", "-e", ROOT]
    pip(python, "Installing rnnbook", itself, quiet=True)
    if lost := missing(python):
        sys.exit(
            f"{lost[0]} was installed, and {python} does not find it: a setting of pip's sends it "
            "elsewhere; see `pip config list`, and unset it."
        )


def check_place() -> None:
    """What must hold of the repository's folder before an environment can be made in it."""
    if os.pathsep in str(VENV):
        sys.exit(
            f"An environment cannot be made in {ROOT}, because {os.pathsep!r} separates the "
            "folders in PATH: move the clone to a folder without it in its name."
        )
    try:
        tempfile.TemporaryFile(dir=ROOT).close()
    except OSError as error:
        sys.exit(
            f"The folder {ROOT} cannot be written to ({error.strerror}): make the clone in a "
            "folder of yours."
        )


def make_venv() -> None:
    """Make .venv, unless a usable one is left from an earlier, interrupted run."""
    if VENV_PYTHON.exists():
        works = subprocess.run([str(VENV_PYTHON), "-m", "pip", "--version"], capture_output=True)
        if works.returncode == 0:
            return
    remedy = "give Python its venv module (on Debian and Ubuntu: apt install python3-venv)."
    if not importlib.util.find_spec("venv") or not importlib.util.find_spec("ensurepip"):
        sys.exit(f"This Python cannot make an environment: {remedy}")
    run("Making .venv", [sys.executable, "-m", "venv", "--clear", VENV], "see the message above.")


def main() -> None:
    if sys.version_info < OLDEST:
        found = f"{platform.python_version()} ({sys.executable})"
        sys.exit(
            f"rnnbook needs Python {OLDEST[0]}.{OLDEST[1]} or newer, and this is {found}: "
            "install a newer one, or name one that is there, as in `make book PYTHON=python3.12`."
        )
    arguments = sys.argv[1:]
    if arguments == ["--here"]:
        return install(sys.executable)
    if arguments:
        sys.exit(f"environment.py knows the option --here only, not {' '.join(arguments)!r}.")
    stamp = wanted()
    if VENV_PYTHON.exists() and DONE.exists() and DONE.read_text(encoding="utf-8") == stamp:
        return
    check_place()
    repair = DONE.exists()
    DONE.unlink(missing_ok=True)
    what = "The pins have changed: updating" if repair else "A few minutes, once: making"
    print(f"{what} the environment in .venv.", flush=True)
    make_venv()
    install(VENV_PYTHON, repair)
    DONE.write_text(stamp, encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Interrupted: run the same command again, and it goes on from here.")
