"""Reading stored results, and what several seeds say together."""

import json
import os
from pathlib import Path

import numpy as np

from rnnbook.checks import check_between, check_choice, check_generator, check_positive
from rnnbook.extras import needed
from rnnbook.reach import ROOT

STUDIES = Path(__file__).parent / "studies"
SHIPPED = STUDIES.parent / "results"


def results_folder(experiment: Path) -> Path:
    """Where the results of an experiment's file are written: in the folder ``results`` beside it.

    Those of the library's own experiments lie with the library where that is a writable checkout;
    an installed library is left alone, and they go to ``rnnbook-results`` in the current folder.
    """
    if experiment.parent != STUDIES:
        return experiment.parent / "results"
    checkout = (ROOT / "pyproject.toml").exists() and os.access(SHIPPED, os.W_OK)
    return SHIPPED if checkout else Path.cwd() / "rnnbook-results"


def results_file(experiment: Path, *, quick: bool) -> Path:
    """Where merged results are written; quick ones are not kept by git."""
    folder = results_folder(experiment)
    return folder / (f".cache/{experiment.stem}-quick.json" if quick else f"{experiment.stem}.json")


def load_results(name: str | Path, *, quick: bool = False) -> dict:
    """The stored results of an experiment, by its name or the path of its file.

    Returns:
        a dict with ``experiment``, ``quick``, ``date``, ``code`` (a hash of each file that gave
        them), ``environments`` (versions and machine), ``runs``, each with ``setting``, ``seed``,
        ``metrics``, ``seconds`` and ``environment``, the number of its entry in ``environments``,
        and ``canary``, a few cheap runs by which the tests know whether the code still gives them.
    Raises:
        FileNotFoundError: where it was never run; the message is the command to run.
    """
    experiment = experiment_file(name)
    file = results_file(experiment, quick=quick)
    if experiment.parent == STUDIES and not quick and not file.exists():
        file = SHIPPED / file.name
    if not file.exists():
        option = " --quick" if quick else ""
        raise FileNotFoundError(
            f"{name} has no stored results; run: python -m rnnbook.experiments {name}{option}"
        )
    return json.loads(file.read_text(encoding="utf-8"))


def experiment_names() -> list[str]:
    """The experiments of this package."""
    return sorted(file.stem for file in STUDIES.glob("[!_]*.py"))


def experiment_file(name: str | Path) -> Path:
    """The file of an experiment: of this package, or the path of one's own.

    Raises:
        ValueError: where there is none.
    """
    if str(name) in experiment_names():
        return STUDIES / f"{name}.py"
    file = Path(name)
    if file.suffix == ".py" and file.is_file():
        return file.resolve()
    known = ", ".join(experiment_names())
    raise ValueError(f"NAME must be one of {known}, or the path of a .py file, got {name}.")


def summarize(
    results: dict,
    metric: str,
    by: list[str] | tuple[str, ...],
    *,
    method: str = "t",
    level: float = 0.95,
    resamples: int = 10_000,
    rng: np.random.Generator | None = None,
) -> list[dict]:
    """Mean and interval of a metric over the seeds, for each setting.

    With n seeds, mean m and standard deviation s (n - 1 in the denominator), the t interval is
    m -+ t s / sqrt(n), with t the (1 + level) / 2 quantile of Student's distribution with n - 1
    degrees of freedom: exact for normal values. The bootstrap interval is between the
    (1 -+ level) / 2 quantiles of the means of ``resamples`` samples drawn with replacement; it
    needs no normal values but is too narrow for few seeds.

    Args:
        results: as from ``load_results``.
        metric: a key of ``metrics``, one number for each run.
        by: the settings that tell groups apart: all that vary.
        method: "t" or "bootstrap".
        rng: for the bootstrap.
    Returns:
        for each group, in the order of its first run: its settings ``by``, ``n``, ``mean``,
        ``low``, ``high``, ``std``, ``values``.
    Raises:
        ValueError: where a metric or setting is missing or no finite number, a group has fewer
            than two seeds, or ``by`` leaves out a setting that varies.
    Source:
        Student, "The probable error of a mean", Biometrika 6(1), 1908; Efron, "Bootstrap methods:
        another look at the jackknife", The Annals of Statistics 7(1), 1979.
    """
    check_choice("method", method, ("t", "bootstrap"))
    check_between("level", level, 0, 1)
    check_positive("resamples", resamples)
    rng = np.random.default_rng() if rng is None else rng
    check_generator("rng", rng)
    summary = []
    for key, runs in _groups(results, by).items():
        values = np.array([_value(run, metric) for run in runs])
        n, mean, std = len(values), values.mean(), values.std(ddof=1)
        if method == "t":
            with needed("experiments"):
                from scipy.stats import t

            half = t.ppf((1 + level) / 2, n - 1) * std / np.sqrt(n)
            low, high = mean - half, mean + half
        else:
            means = values[rng.integers(0, n, (resamples, n))].mean(axis=1)
            low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
        summary.append(
            dict(zip(by, key, strict=True))
            | {"n": n, "mean": float(mean), "low": float(low), "high": float(high)}
            | {"std": float(std), "values": values.tolist()}
        )
    return summary


def _groups(results: dict, by) -> dict[tuple, list[dict]]:
    groups: dict[tuple, list[dict]] = {}
    for run in results["runs"]:
        for name in by:
            if name not in run["setting"]:
                known = ", ".join(run["setting"])
                raise ValueError(f"by must name settings ({known}), got {name!r}.")
        groups.setdefault(tuple(run["setting"][name] for name in by), []).append(run)
    for key, runs in groups.items():
        seeds = [run["seed"] for run in runs]
        if len(set(seeds)) < len(seeds):
            raise ValueError(
                f"by must name every setting that varies, got {list(by)} with two runs of one seed "
                f"for {key}."
            )
        if len(seeds) < 2:
            raise ValueError(f"results must hold two seeds at least, got one for {key}.")
    return groups


def _value(run: dict, metric: str) -> float:
    if metric not in run["metrics"]:
        known = ", ".join(run["metrics"])
        raise ValueError(f"metric must be one of {known}, got {metric!r}.")
    value = run["metrics"][metric]
    if not isinstance(value, int | float | np.number) or not np.isfinite(value):
        raise ValueError(
            f"metric {metric!r} must be a finite number in every run, got {value!r} in "
            f"{run['setting']}, seed {run['seed']}."
        )
    return float(value)
