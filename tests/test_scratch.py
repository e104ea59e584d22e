"""The package as a whole: what importing it costs, its documentation, its generators."""

import inspect
import subprocess
import sys

import numpy as np
import pytest

import rnnbook.scratch
from rnnbook.scratch import GRU, Dropout, Embedding, Linear, Zoneout, init


def test_importing_it_imports_neither_torch_nor_matplotlib():
    code = "import sys, rnnbook.scratch; print(sorted({'torch', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_object_has_a_docstring_of_its_own():
    for name in rnnbook.scratch.__all__:
        thing = getattr(rnnbook.scratch, name)
        assert thing.__doc__, name
        if inspect.isclass(thing):
            for method, function in vars(thing).items():
                if inspect.isfunction(function) and not method.startswith("_"):
                    assert inspect.getdoc(getattr(thing, method)), f"{name}.{method}"


DRAWS = {
    "Dropout": lambda rng: Dropout(rng=rng),
    "Zoneout": lambda rng: Zoneout(GRU(2, 3), rng=rng),
    "Embedding": lambda rng: Embedding(2, 3, rng=rng),
    "Linear": lambda rng: Linear(2, 3, rng=rng),
    "GRU": lambda rng: GRU(2, 3, rng=rng),
    "orthogonal_": lambda rng: init.orthogonal_(GRU(2, 3), rng=rng),
    "glorot_uniform_": lambda rng: init.glorot_uniform_(GRU(2, 3), rng=rng),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_what_draws_wants_a_generator(draw):
    draw(None)
    draw(np.random.default_rng(0))
    for wrong in (0, "a", np.random.RandomState(0)):
        with pytest.raises(ValueError, match=r"rng must be a numpy.random.Generator, got "):
            draw(wrong)
