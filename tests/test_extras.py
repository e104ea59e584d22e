"""A missing package ends in one sentence: which, and the extra of rnnbook that brings it."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from rnnbook.extras import MissingExtra, needed

ROOT = Path(__file__).parents[1]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
    "optional-dependencies"
]
# Run where only NumPy can be imported: what becomes of each module and of each experiment.
NUMPY_ALONE = """
import importlib, json, pkgutil, sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if not path and name not in sys.stdlib_module_names | {"rnnbook", "numpy"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
import rnnbook
from rnnbook.experiments import runner, stored

def outcome(function, *arguments):
    try:
        function(*arguments)
    except Exception as error:
        return f"{type(error).__name__}: {error}"

walk = pkgutil.walk_packages(rnnbook.__path__, "rnnbook.", lambda _: None)
names = [module.name for module in walk]
said = {name: outcome(importlib.import_module, name) for name in names if ".studies." not in name}
files = {name: stored.experiment_file(name) for name in stored.experiment_names()}
print(json.dumps(said | {name: outcome(runner.load, file) for name, file in files.items()}))
"""


def test_every_module_and_experiment_without_its_packages():
    done = subprocess.run(
        [sys.executable, "-c", NUMPY_ALONE], cwd=ROOT, capture_output=True, text=True, check=True
    )
    said = json.loads(done.stdout)
    sentences = {
        f"MissingExtra: This needs {package}, which is not installed: "
        f'pip install "rnnbook[{extra}]".'
        for extra, package in [
            ("torch", "torch"),
            ("plots", "matplotlib"),
            ("estimator", "sklearn"),
            ("chapters", "IPython"),
            ("experiments", "torch"),
            ("experiments", "sklearn"),
            ("forecast", "pandas"),
        ]
    }
    for name, sentence in said.items():
        assert sentence is None or sentence in sentences, f"{name}: {sentence}"
    assert sentences >= {
        said[f"rnnbook.{name}"] for name in ("pytorch", "plots", "show", "forecast")
    }
    assert sentences >= {said[name] for name in ("rnnbook.estimator", "forget_bias", "vowel_order")}
    for name in ("scratch", "train", "tasks", "convert", "experiments.runner"):
        assert said[f"rnnbook.{name}"] is None, name


def missing(package: str):
    return pytest.raises(MissingExtra, match=rf'^This needs {package}, .* "rnnbook\[torch\]"\.$')


def test_it_is_a_module_not_found_and_keeps_the_name():
    with missing("no_such_package") as caught, needed("torch"):
        import no_such_package.part  # noqa: F401
    assert isinstance(caught.value, ModuleNotFoundError)
    assert caught.value.name == "no_such_package"


def test_the_inner_word_counts():
    with missing("no_such_package"), needed("chapters"), needed("torch"):
        import no_such_package  # noqa: F401


def test_a_mistake_of_our_own_is_not_blamed_on_a_package():
    with pytest.raises(ModuleNotFoundError, match=r"named 'rnnbook\.nothing'"), needed("torch"):
        import rnnbook.nothing  # noqa: F401
    with pytest.raises(ImportError, match="cannot import name"), needed("torch"):
        from json import no_such_name  # noqa: F401


def test_forecast_says_so_before_it_trains(tmp_path):
    """One sentence and status 2, as for any other wrong input."""
    code = (
        "import sys; sys.modules['matplotlib'] = None; from rnnbook.forecast import main; "
        "sys.exit(main(['nothing.csv', '--column', 'x']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("This needs matplotlib")
    assert done.stderr.count("\n") == 1
