"""Seeds x settings, in parallel, each run stored at once; killed and resumed as one likes.

The process that starts the sweep hands out runs through joblib. Whoever has finished one writes it
to a file of its own, so a kill loses the runs in flight and no other.
"""

import ast
import hashlib
import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import numpy as np

from rnnbook.checkpoint import write_atomically
from rnnbook.checks import check_choice, check_positive
from rnnbook.experiments.stored import STUDIES, experiment_file, results_file
from rnnbook.progress import progress_bar

BACKENDS = ("loky", "dask", "ray")


class RunsFailed(RuntimeError):
    """Some runs ended in an error; the others are stored."""


def run_experiment(
    name: str | Path,
    *,
    seeds: int | None = None,
    resume: bool = False,
    jobs: int = 1,
    backend: str = "loky",
    address: str | None = None,
    quick: bool = False,
) -> dict:
    """Run an experiment with seeds 0 .. seeds - 1 and write its merged results.

    Args:
        name: of this package, or the path of a file.
        seeds: how many; without it the module's ``SEEDS``, without that 5 (quick: 2).
        resume: keep the runs that are stored. A run is known by its setting, its seed and the
            text of the experiment's file; whoever changes that text starts over.
        jobs: how many at a time. Each run has one thread.
        backend: joblib's: processes here (loky), or a Dask or Ray cluster.
        address: of a running cluster; without it one of ``jobs`` local workers is started.
    Returns:
        the merged results, as ``load_results`` gives them.
    Raises:
        RunsFailed: where runs ended in an error. The merged file is not written.
        ValueError: for an unknown name or backend, or a file that is no experiment.
        ModuleNotFoundError: where the backend is not installed.
    """
    check_choice("backend", backend, BACKENDS)
    check_positive("jobs", jobs)
    file = experiment_file(name)
    module = _load(file)
    seeds = (2 if quick else getattr(module, "SEEDS", 5)) if seeds is None else seeds
    check_positive("seeds", seeds)
    settings = module.settings(quick)

    folder = (
        results_file(file, quick=False).parent
        / ".cache"
        / (file.stem + ("-quick" if quick else ""))
    )
    if not resume:
        shutil.rmtree(folder, ignore_errors=True)
    source = file.read_text(encoding="utf-8")
    wanted = [
        (setting, seed, folder / _file_name(source, setting, seed))
        for setting in settings
        for seed in range(seeds)
    ]
    missing = [run for run in wanted if not run[2].exists()]
    failures = []
    bar = progress_bar(len(wanted), done=len(wanted) - len(missing), unit="run")
    with closing(bar), _backend(backend, jobs, address) as parallel:
        for failure in parallel(_execute, [(file, *run) for run in missing]):
            failures += [failure] if failure else []
            bar.update()
    if failures:
        raise RunsFailed(
            f"{len(failures)} of {len(wanted)} runs failed, the first with {failures[0]} "
            "The others are stored; continue with --resume."
        )
    merged = _merge(file.stem, quick, [json.loads(path.read_bytes()) for *_, path in wanted])
    text = json.dumps(merged, indent=1, allow_nan=False) + "\n"
    write_atomically(results_file(file, quick=quick), text.encode())
    return merged


def describe(file: Path) -> str:
    """The first line of an experiment's docstring, without importing it."""
    documentation = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return documentation.split("\n", 1)[0]


def _load(file: Path) -> ModuleType:
    if file.parent == STUDIES:
        module = importlib.import_module(f"rnnbook.experiments.studies.{file.stem}")
    else:
        specification = importlib.util.spec_from_file_location(file.stem, file)
        assert specification is not None  # of a .py file
        assert specification.loader is not None
        module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
    for function in ("settings", "run"):
        if not callable(getattr(module, function, None)):
            raise ValueError(f"{file.name} must define {function}(...), got no such function.")
    return module


def _file_name(source: str, setting: dict, seed: int) -> str:
    identity = json.dumps([source, setting, seed], sort_keys=True)
    return hashlib.sha256(identity.encode()).hexdigest()[:20] + ".json"


def _execute(file: Path, setting: dict, seed: int, path: Path) -> str | None:
    """One run, in whatever process it lands; stores it, or returns the error in one sentence."""
    module = _load(file)
    start = time.perf_counter()
    try:
        with _one_thread():
            metrics = module.run(setting, seed)
        record = {
            "setting": setting,
            "seed": seed,
            "metrics": metrics,
            "seconds": round(time.perf_counter() - start, 2),
            "environment": _environment(),
        }
        text = json.dumps(record, default=_plain, allow_nan=False)
    except Exception as error:  # one bad run must not stop the others
        return f"{setting}, seed {seed}: {type(error).__name__}: {error}"
    write_atomically(path, text.encode())
    return None


def _plain(value):
    """NumPy's numbers and arrays as JSON's."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"run must return numbers, strings and lists, got {type(value).__name__}.")


def _merge(name: str, quick: bool, records: list[dict]) -> dict:
    environments = []
    for record in records:
        if record["environment"] not in environments:
            environments.append(record["environment"])
        record["environment"] = environments.index(record["environment"])
    return {
        "experiment": name,
        "quick": quick,
        "date": datetime.now(UTC).date().isoformat(),
        "environments": environments,
        "runs": records,
    }


def _environment() -> dict:
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
def _one_thread() -> Iterator[None]:
    """Parallel runs would fight for cores, and sums over threads differ in their last digits."""
    from threadpoolctl import threadpool_limits

    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else None
    with threadpool_limits(1):
        if torch:
            torch.set_num_threads(1)
        try:
            yield
        finally:
            if torch:
                torch.set_num_threads(before)


@contextmanager
def _backend(backend: str, jobs: int, address: str | None) -> Iterator:
    """A function that calls another with each of many tuples and yields results as they come."""
    joblib = _required("joblib", "The runner")
    with ExitStack() as stack:
        if backend == "dask":
            distributed = _required("distributed", "--backend dask", install="dask[distributed]")
            local = {"n_workers": jobs, "threads_per_worker": 1, "dashboard_address": None}
            stack.enter_context(
                distributed.Client(address) if address else distributed.Client(**local)
            )
        elif backend == "ray":
            ray = _required("ray", "--backend ray")
            importlib.import_module("ray.util.joblib").register_ray()
            ray.init(address=address, num_cpus=None if address else jobs, log_to_driver=False)
            stack.callback(ray.shutdown)
        stack.enter_context(joblib.parallel_config(backend, n_jobs=jobs))

        def parallel(function, arguments):
            # Ray's backend can only return all results together; they are stored nevertheless.
            kind = "list" if backend == "ray" else "generator_unordered"
            pool = joblib.Parallel(return_as=kind, batch_size=1)
            return pool(joblib.delayed(function)(*each) for each in arguments)

        yield parallel


def _required(module: str, purpose: str, *, install: str | None = None) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{purpose} needs {module}, which is not installed: pip install {install or module}."
        ) from error
