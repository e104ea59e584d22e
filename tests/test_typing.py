"""What the type checker knows: which things are recurrent layers, and which can be stepped.

`make lint` checks the library itself; here its protocols are put to the test from outside.
"""

import importlib.resources
import re
import tomllib
from pathlib import Path

import pytest

pytest.importorskip("mypy", reason="mypy is the type checker")

from mypy import api

from rnnbook.scratch.module import Recurrent

ROOT = Path(__file__).parents[1]

HEAD = """\
from typing import Any
import numpy as np
from rnnbook.scratch import *
from rnnbook.scratch.layer import run, run_back
from rnnbook.scratch.module import Params, Recurrent
from rnnbook.scratch.states import State

x = np.zeros((2, 5, 3))
def wanted(layer: Recurrent) -> None: ...
"""
RECURRENT = [
    "RNN(3, 4, nonlinearity='relu')",
    "LSTM(3, 4, num_layers=2)",
    "GRU(3, 4, bidirectional=True)",
    "ResetBeforeGRU(3, 4)",
    "RecurrentLayer(3, 4, cell=LSTMCell)",
    "FusedRNN(3, 4)",
    "FusedLSTM(3, 4)",
    "FusedGRU(3, 4)",
    "FusedResetBeforeGRU(3, 4)",
    "MinGRU(3, 4, method='loop')",
    "MinLSTM(3, 4, dtype=np.float32)",
    "Zoneout(GRU(3, 4))",
    "RecurrentDropout(FusedLSTM(3, 4))",
    "Stacked([LSTM(3, 4), LSTM(4, 4)], between=[Dropout()])",
]
RIGHT = [
    *(f"wanted({layer})" for layer in RECURRENT),
    *(f"Stacked([{layer}])" for layer in RECURRENT),
    *(f"SequenceModel({layer}, Linear(4, 1))" for layer in RECURRENT),
    "run(RNNCell(3, 4), x, x[0])",
    "run(LSTMCell(3, 4), x, (x[0], x[0]))",
    "run_back(MinGRUCell(3, 4), [], x, x[0])",
    "LSTM(3, 4).eval().train().cells",
    "GRU(3, 4, rng=np.random.default_rng(0)).forward([[[1, 2, 3]]])[0].shape",
]
WRONG = [
    "wanted(Linear(3, 4))",
    "wanted(LayerNorm(3))",
    "wanted(LSTMCell(3, 4))",
    "wanted(SequenceModel(LSTM(3, 4), Linear(4, 1)))",
    "wanted(LSTM)",
    "wanted('LSTM')",
    "Stacked([LSTM(3, 4), Linear(4, 4)])",
    "SequenceModel(Linear(3, 4), Linear(4, 1))",
    "Zoneout(Stacked([LSTM(3, 4)]))",
    "RecurrentDropout(GRU(3, 4))",
    "LSTM(3, 4, rng=0)",
    "LSTM('3', 4)",
    "MinGRU(3, 4, mode='scan')",
]
# A layer of one's own, member by member. Whatever is left out or changed must be missed.
MEMBERS = {
    "input_size": "input_size: int",
    "hidden_size": "hidden_size: int",
    "num_layers": "num_layers: int",
    "bidirectional": "bidirectional: bool",
    "state_names": "state_names: tuple[str, ...]",
    "dtype": "dtype: np.dtype",
    "params": "params: Params",
    "grads": "grads: Params",
    "forward": "def forward(self, x: Any, state: Any = None, lengths: Any = None) "
    "-> tuple[np.ndarray, State]: raise NotImplementedError",
    "backward": "def backward(self, doutput: Any, dstate: Any = None) "
    "-> tuple[np.ndarray, State]: raise NotImplementedError",
    "train": "def train(self, mode: bool = True) -> None: ...",
}
OTHER = {
    "params": "params: list[np.ndarray]",
    "forward": "def forward(self, x: Any) -> np.ndarray: raise NotImplementedError",
    "backward": "def backward(self, doutput: Any) -> np.ndarray: raise NotImplementedError",
    "train": "def train(self) -> None: ...",
}


def own(name: str, members: dict[str, str]) -> str:
    """The source of a class."""
    return "\n".join([f"class {name}:", *(f"    {line}" for line in members.values())])


def without(name: str) -> str:
    return own(f"No_{name}", {key: line for key, line in MEMBERS.items() if key != name})


CLASSES = [own("Mine", MEMBERS), *map(without, MEMBERS)]
CLASSES += [own(f"Other_{name}", MEMBERS | {name: line}) for name, line in OTHER.items()]
RIGHT.append("wanted(Mine())")
WRONG += [f"wanted(No_{name}())" for name in MEMBERS]
WRONG += [f"wanted(Other_{name}())" for name in OTHER]


@pytest.fixture(scope="module")
def said(tmp_path_factory) -> dict[str, str]:
    """Each line of which the type checker has something to say, and what."""
    folder = tmp_path_factory.mktemp("typing")
    source = "\n".join([HEAD, *CLASSES, *RIGHT, *WRONG, ""])
    (folder / "snippet.py").write_text(source, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MYPYPATH", str(ROOT))
        options = ["--config-file", str(ROOT / "pyproject.toml"), "--no-warn-unused-configs"]
        options += ["--cache-dir", str(folder), "--no-color-output", "--hide-error-context"]
        report, problems, _ = api.run([*options, str(folder / "snippet.py")])
    assert problems == ""
    lines = source.splitlines()
    found = re.findall(r"^.*snippet\.py:(\d+): error: (.*)$", report, re.MULTILINE)
    assert len(found) == report.count(" error: "), report  # of the snippet alone
    return {lines[int(number) - 1]: message for number, message in found}


@pytest.mark.slow
def test_nothing_is_held_against_what_is_right(said):
    assert {line: message for line, message in said.items() if line not in WRONG} == {}


@pytest.mark.parametrize("line", WRONG)
def test_what_is_wrong_is_refused(said, line):
    assert re.search(r"\[(arg-type|list-item|call-arg)\]$", said.get(line, "no word"))


def test_a_recurrent_layer_is_what_the_protocol_says():
    """So that a member that the protocol gains is looked for here as well."""
    members = set(Recurrent.__annotations__) | set(vars(Recurrent))
    assert {name for name in members if not name.startswith("_")} == set(MEMBERS)


def test_the_types_are_shipped():
    """Without ``py.typed`` in the wheel, nobody else's type checker reads the annotations."""
    assert importlib.resources.files("rnnbook").joinpath("py.typed").is_file()
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "py.typed" in settings["tool"]["setuptools"]["package-data"]["rnnbook"]
