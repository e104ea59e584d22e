"""Seeds x settings, in parallel, each run stored at once; killed and resumed as one likes.

The process that starts the sweep hands out runs through joblib. Whoever has finished one writes it
to a file of its own, so a kill loses the runs in flight and no other. A run is known by its
setting, its seed and the code that it reaches; what is known is not run again.
"""

import ast
import hashlib
import importlib
import importlib.util
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from rnnbook.checkpoint import write_atomically
from rnnbook.checks import check_choice, check_positive
from rnnbook.experiments.machine import environment, one_thread
from rnnbook.experiments.stored import STUDIES, experiment_file, results_file, results_folder
from rnnbook.experiments.trace import canary, code_of
from rnnbook.extras import needed
from rnnbook.progress import progress_bar

BACKENDS = ("loky", "dask", "ray")


class RunsFailed(RuntimeError):
    """Some runs ended in an error; the others are stored."""


class Busy(RuntimeError):
    """Another process runs the same experiment; the message names it."""


def run_experiment(
    name: str | Path,
    *,
    seeds: int | None = None,
    fresh: bool = False,
    jobs: int = 1,
    backend: str = "loky",
    address: str | None = None,
    quick: bool = False,
) -> dict:
    """Run an experiment with seeds 0 .. seeds - 1 and write its merged results.

    Args:
        name: of this package, or the path of a file.
        seeds: how many; without it the module's ``SEEDS``, without that 5 (quick: 2).
        fresh: run everything again, also what the present code has given already.
        jobs: how many at a time. Each run has one thread.
        backend: joblib's: processes here (loky), or a Dask or Ray cluster.
        address: of a running cluster; without it one of ``jobs`` local workers is started.
    Returns:
        the merged results, as ``load_results`` gives them.
    Raises:
        RunsFailed: where runs ended in an error. The merged file is not written.
        Busy: while another process runs the same experiment.
        ValueError: for an unknown name or backend, or a file that is no experiment.
        ModuleNotFoundError: where the backend is not installed.
    """
    check_choice("backend", backend, BACKENDS)
    check_positive("jobs", jobs)
    file = experiment_file(name)
    module = load(file)
    seeds = seeds_of(module, quick) if seeds is None else seeds
    check_positive("seeds", seeds)
    code, results = code_of(file), results_file(file, quick=quick)
    runs = [(setting, seed) for setting in module.settings(quick) for seed in range(seeds)]
    tried = [] if quick else canary(module)
    with _held(_cache(file, quick)) as folder:
        if fresh:
            shutil.rmtree(folder, ignore_errors=True)
        place = folder / _hash(code)
        wanted = [(setting, seed, place / _file_name(setting, seed)) for setting, seed in runs]
        wanted += [(*run, place / _file_name("canary", *run)) for run in tried]
        if not fresh and results.exists():
            _take(json.loads(results.read_bytes()), code, place)
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
                "The others are stored; the same command goes on."
            )
        records = [json.loads(path.read_bytes()) for *_, path in wanted]
        merged = {"experiment": file.stem, "quick": quick, "date": _today(), "code": code}
        merged |= _merge(records[: len(runs)]) | {"canary": _bare(records[len(runs) :])}
        write(merged, results)
        for other in folder.iterdir():
            if other != place:  # runs of other code
                shutil.rmtree(other)
    return merged


def seeds_of(module: ModuleType, quick: bool) -> int:
    """How many seeds an experiment takes where nobody says otherwise."""
    return 2 if quick else getattr(module, "SEEDS", 5)


def describe(file: Path) -> str:
    """The first line of an experiment's docstring, without importing it."""
    documentation = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return documentation.split("\n", 1)[0]


def load(file: Path) -> ModuleType:
    if file.parent == STUDIES:
        with needed("experiments"):
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


def _cache(file: Path, quick: bool) -> Path:
    """Where single runs lie until they are merged."""
    return results_folder(file) / ".cache" / (file.stem + ("-quick" if quick else ""))


def _hash(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:20]


def _file_name(*identity: Any) -> str:
    return _hash(*identity) + ".json"


@contextmanager
def _held(folder: Path) -> Iterator[Path]:
    """``folder`` for this process alone."""
    with needed("experiments"):
        import filelock
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder.with_name(folder.name + ".lock"))
    holder = folder.with_name(folder.name + ".holder")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        who = holder.read_text(encoding="utf-8") if holder.exists() else "another process"
        raise Busy(f"{folder.name} is being run by {who}.") from None
    try:
        now = datetime.now().astimezone().isoformat(" ", "minutes")
        who = f"process {os.getpid()} on {socket.gethostname()}, since {now}"
        holder.write_text(who, encoding="utf-8")
        yield folder
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _take(stored: dict, code: dict[str, str], place: Path) -> None:
    """Put merged runs of the same code back among the single ones."""
    if stored.get("code") != code:
        return
    for run in stored["runs"]:
        path = place / _file_name(run["setting"], run["seed"])
        if not path.exists():
            record = run | {"environment": stored["environments"][run["environment"]]}
            write_atomically(path, json.dumps(record).encode())


def _execute(file: Path, setting: dict, seed: int, path: Path) -> str | None:
    """One run, in whatever process it lands; stores it, or returns the error in one sentence."""
    module = load(file)
    start = time.perf_counter()
    try:
        with one_thread():
            metrics = module.run(setting, seed)
        record = {
            "setting": setting,
            "seed": seed,
            "metrics": metrics,
            "seconds": round(time.perf_counter() - start, 2),
            "environment": environment(),
        }
        text = json.dumps(record, default=plain, allow_nan=False)
    except Exception as error:  # one bad run must not stop the others
        return f"{setting}, seed {seed}: {type(error).__name__}: {error}"
    write_atomically(path, text.encode())
    return None


def plain(value):
    """NumPy's numbers and arrays as JSON's."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"run must return numbers, strings and lists, got {type(value).__name__}.")


def _merge(records: list[dict]) -> dict:
    environments = []
    for record in records:
        if record["environment"] not in environments:
            environments.append(record["environment"])
        record["environment"] = environments.index(record["environment"])
    return {"environments": environments, "runs": records}


def _bare(records: list[dict]) -> list[dict]:
    return [{key: record[key] for key in ("setting", "seed", "metrics")} for record in records]


def write(merged: dict, results: Path) -> None:
    """Store merged results, in one step."""
    text = json.dumps(merged, indent=1, allow_nan=False) + "\n"
    write_atomically(results, text.encode())


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


@contextmanager
def _backend(backend: str, jobs: int, address: str | None) -> Iterator:
    """A function that calls another with each of many tuples and yields results as they come."""
    with needed("experiments"):
        import joblib
    with ExitStack() as stack:
        if backend == "dask":
            with needed("cluster"):
                import distributed
            local = {"n_workers": jobs, "threads_per_worker": 1, "dashboard_address": None}
            stack.enter_context(
                distributed.Client(address) if address else distributed.Client(**local)
            )
        elif backend == "ray":
            with needed("ray"):
                import ray
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
