"""Where a run ran: versions and machine, and one thread for each run."""

import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from rnnbook.extras import needed

POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def environment() -> dict:
    """Versions and machine, without anything that names the machine's owner."""
    versions = {"python": platform.python_version(), "numpy": np.__version__}
    for package in ("torch", "keras", "rnnbook"):
        if package in sys.modules:
            versions[package] = importlib.metadata.version(package)
    machine = {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    return {"versions": versions, "machine": machine}


def _cpu() -> str:
    """The processor's model name."""
    if Path("/proc/cpuinfo").exists():
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    if platform.system() == "Darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    return platform.processor()


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for NumPy and PyTorch, also where they are imported later, within.

    Parallel runs would fight for cores, and sums over threads differ in their last digits.
    """
    with needed("experiments"):
        from threadpoolctl import threadpool_limits

    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else None
    pools = {name: os.environ.get(name) for name in POOLS}
    os.environ.update(dict.fromkeys(POOLS, "1"))  # for libraries that are not loaded yet
    try:
        with threadpool_limits(1):
            if torch:
                torch.set_num_threads(1)
            yield
    finally:
        for name, value in pools.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        if torch:
            torch.set_num_threads(before)
