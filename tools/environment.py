"""Make the book's environment: `.venv` with what requirements.txt pins, and rnnbook itself.

    python tools/environment.py           makes .venv; at once when there is nothing to do
    python tools/environment.py --here    installs into the Python that runs this (Binder)

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
from pathlib import Path

OLDEST = (3, 11)
ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
DONE = VENV / "installed.sha256"  # written last: an interrupted install leaves none
PINS = [ROOT / "requirements.txt", ROOT / "constraints.txt"]
PROBE_SECONDS = 30
NETWORK = "check the network and the free disk space, see pip's message above, and try again."


def wanted() -> str:
    """What a finished environment is stamped with: its pins and the place that it was made for."""
    content = "".join(path.read_text(encoding="utf-8") for path in PINS)
    return hashlib.sha256((content + str(ROOT)).encode()).hexdigest()


def run(step, arguments, remedy, quiet=False) -> None:
    """Run one step under a heading; end with one sentence if it fails."""
    print(f"==> {step}", flush=True)
    output = subprocess.PIPE if quiet else None
    done = subprocess.run([str(a) for a in arguments], stdout=output, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        sys.exit((done.stdout or b"").decode(errors="replace") + f"{step} failed: {remedy}")


def has_gpu() -> bool:
    return bool(shutil.which("nvidia-smi")) or Path("/proc/driver/nvidia").exists()


def install_cpu_torch(python) -> None:
    """Install PyTorch without CUDA on a Linux machine that has no use for it.

    There, pip's PyTorch brings several gigabytes of CUDA. uv knows where PyTorch keeps its CPU
    builds; where that place does not answer, nothing is done and pip decides.
    """
    if platform.system() != "Linux" or has_gpu():
        return
    pin = re.search(r"^torch==(.+)$", PINS[0].read_text(encoding="utf-8"), re.MULTILINE)
    ask = "import importlib.metadata as m; print(m.version('torch').split('+')[0])"
    answer = subprocess.run([str(python), "-c", ask], capture_output=True, text=True)
    if answer.stdout.strip() == pin[1]:
        return
    pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    run("Installing uv", [*pip, "-c", PINS[1], "uv"], NETWORK, quiet=True)
    uv = [python, "-m", "uv", "pip", "install", "--python", python, "--torch-backend=cpu", pin[0]]
    impatient = {**os.environ, "UV_HTTP_TIMEOUT": "10", "UV_HTTP_RETRIES": "0"}
    try:
        answer = subprocess.run(
            [str(a) for a in [*uv, "--dry-run", "--no-deps"]],
            env=impatient,
            capture_output=True,
            timeout=PROBE_SECONDS,
        )
        reachable = answer.returncode == 0
    except subprocess.TimeoutExpired:
        reachable = False
    if reachable:
        run("Installing PyTorch without CUDA", [*uv, "--no-deps"], NETWORK)
    else:
        print(
            "PyTorch's index of CPU builds does not answer: pip takes the build that it finds, "
            "on most Linux systems a large one with CUDA.",
            flush=True,
        )


def install(python, repair=False) -> None:
    """Install the pins and rnnbook into the environment of ``python``.

    A repair spares us pip's line for each package that is there already.
    """
    pip = [python, "-m", "pip", "install", "--disable-pip-version-check"]
    pip += ["-q"] if repair else []
    install_cpu_torch(python)
    run("Installing the packages of requirements.txt", [*pip, "-r", PINS[0]], NETWORK)
    run("Installing rnnbook", [*pip, "--no-deps", "-e", ROOT], NETWORK, quiet=True)


def make_venv() -> None:
    """Make .venv, unless a usable one is left from an earlier, interrupted run."""
    if VENV_PYTHON.exists():
        works = subprocess.run([str(VENV_PYTHON), "-m", "pip", "--version"], capture_output=True)
        if works.returncode == 0:
            return
    remedy = "give Python its venv module (on Debian and Ubuntu: apt install python3-venv)."
    if not importlib.util.find_spec("venv") or not importlib.util.find_spec("ensurepip"):
        sys.exit(f"This Python cannot make an environment: {remedy}")
    run("Making .venv", [sys.executable, "-m", "venv", "--clear", VENV], remedy)


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
