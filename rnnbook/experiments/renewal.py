"""Stored results and their code: what is stale, what would still come out, what to do."""

import json
from pathlib import Path
from types import ModuleType

from rnnbook.experiments.machine import one_thread
from rnnbook.experiments.runner import load, plain, run_experiment, seeds_of, write
from rnnbook.experiments.stored import experiment_file, results_file
from rnnbook.experiments.trace import (
    TOLERANCE,
    TRAINED_TOLERANCE,
    canary,
    changed,
    code_of,
    differences,
)

SETTINGS = "its settings have changed"


def why_stale(name: str | Path) -> str | None:
    """What keeps the stored results from being those of the present code, or None."""
    file = experiment_file(name)
    results = results_file(file, quick=False)
    if not results.exists():
        return "it was never run"
    stored, module = json.loads(results.read_bytes()), load(file)
    runs = [[s, seed] for s in module.settings(False) for seed in range(seeds_of(module, False))]
    if [[run["setting"], run["seed"]] for run in stored["runs"]] != json.loads(json.dumps(runs)):
        return SETTINGS
    if files := changed(stored, file):
        return f"{', '.join(files)} changed" if "code" in stored else "its code was not recorded"
    return None if _has_present_canary(stored, module) else "its canary has other settings"


def try_canary(name: str | Path) -> list[str]:
    """Run the stored canary again. What differs, a sentence each."""
    file = experiment_file(name)
    stored = json.loads(results_file(file, quick=False).read_bytes())
    return _differences(load(file), stored.get("canary", []), TOLERANCE)


def try_cheapest(name: str | Path) -> list[str]:
    """Make the cheapest of the stored runs again. What differs, a sentence each."""
    file = experiment_file(name)
    stored = json.loads(results_file(file, quick=False).read_bytes())
    run = min(stored["runs"], key=lambda run: run["seconds"])
    return _differences(load(file), [run], TRAINED_TOLERANCE)


def renew(name: str | Path, *, jobs: int = 1) -> str:
    """Tie stored results to the present code, at the least cost. Says what was done.

    Where the canary and the cheapest run come out as stored, only the hashes are written anew;
    otherwise the whole experiment is run.
    """
    reason = why_stale(name)
    if reason is None:
        return "up to date"
    file = experiment_file(name)
    results = results_file(file, quick=False)
    stored = json.loads(results.read_bytes()) if results.exists() else {}
    if stored and reason != SETTINGS:
        found, module = try_canary(name) or try_cheapest(name), load(file)
        if not found:
            if not _has_present_canary(stored, module):
                stored["canary"] = _run_canary(module)
            write(stored | {"code": code_of(file)}, results)
            return f"{reason}; the numbers are as stored"
        reason += f"; {found[0]}"
    merged = run_experiment(name, jobs=jobs)
    return f"{reason.rstrip('.')}: {len(merged['runs'])} runs made"


def _has_present_canary(stored: dict, module: ModuleType) -> bool:
    known = [[run["setting"], run["seed"]] for run in stored.get("canary", [])]
    return known == json.loads(json.dumps(canary(module)))


def _again(module: ModuleType, setting: dict, seed: int) -> dict:
    """The metrics of one run, as they would be stored."""
    with one_thread():
        metrics = module.run(setting, seed)
    return json.loads(json.dumps(metrics, default=plain, allow_nan=False))


def _run_canary(module: ModuleType) -> list[dict]:
    return [
        {"setting": setting, "seed": seed, "metrics": _again(module, setting, seed)}
        for setting, seed in canary(module)
    ]


def _differences(module: ModuleType, runs: list[dict], tolerance: float) -> list[str]:
    unsteady = getattr(module, "UNSTEADY", ())
    found = []
    for run in runs:
        metrics = _again(module, run["setting"], run["seed"])
        found += [
            f"{run['setting']}, seed {run['seed']}: {difference}"
            for difference in differences(metrics, run["metrics"], tolerance, unsteady=unsteady)
        ]
    return found
