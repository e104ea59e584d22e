"""Every rung of the ladder, from plain to fused, gives the numbers of the plain layer."""

from functools import cache

import pytest

pytest.importorskip("torch", reason="torch is the last rung")
pytest.importorskip("threadpoolctl", reason="threadpoolctl sets the number of threads")

import numpy as np
from parity import random_state, run_scratch

from benchmarks import ladder
from benchmarks.ladder import PLAIN, RUNGS
from benchmarks.layers import SIZES
from rnnbook.scratch.fused import BLOCK

SMALL = (3, 5, 2, 4)
CASES = {  # sizes, layers, both directions, lengths
    "one layer": (SMALL, 1, False, None),
    "two layers": (SMALL, 2, False, None),
    "bidirectional": (SMALL, 1, True, None),
    "lengths": (SMALL, 1, False, [2, 5, 1]),
    "all of it": (SMALL, 2, True, [2, 5, 1]),
}
CASES |= {  # the longer ones only for two and a half blocks of the fused loop
    f"{batch}, {steps}, {size}, {units}": (
        (batch, min(steps, 5 * BLOCK // (2 * batch)), size, units),
        1,
        False,
        None,
    )
    for batch, steps, size, units in SIZES
}
rungs = pytest.mark.parametrize("rung", list(RUNGS)[1:])
kinds = pytest.mark.parametrize("kind", PLAIN)


def run(rung, kind, case):
    """All that a layer returns and computes, in float64."""
    (batch, steps, size, units), num_layers, bidirectional, lengths = CASES[case]
    rng = np.random.default_rng(0)
    layer = RUNGS[rung][kind](size, units, num_layers, bidirectional, rng=rng)
    x = rng.standard_normal((batch, steps, size))
    state, dstate = random_state(layer, batch, rng), random_state(layer, batch, rng)
    doutput = rng.standard_normal((batch, steps, units * layer.directions))
    return run_scratch(layer, x, state, lengths, doutput, dstate)


@cache
def expected(kind, case):
    return run("plain", kind, case)


@pytest.mark.parametrize(
    "case",
    [pytest.param(c, marks=pytest.mark.slow if CASES[c][0] in SIZES else ()) for c in CASES],
)
@kinds
@rungs
def test_a_rung_gives_the_numbers_of_the_plain_layer(rung, kind, case):
    results = run(rung, kind, case)
    assert results.keys() == expected(kind, case).keys()
    for name, array in expected(kind, case).items():
        assert results[name].shape == array.shape, name
        error = np.abs(results[name] - array).max()
        assert error <= 1e-12 * max(1, np.abs(array).max()), name


@kinds
@rungs
def test_relu_and_evaluation_too(rung, kind):
    settings = {"nonlinearity": "relu"} if kind == "RNN" else {}
    x = np.random.default_rng(0).standard_normal((3, 5, 2))
    layer, plain = (
        layers[kind](2, 4, rng=np.random.default_rng(1), **settings).eval()
        for layers in (RUNGS[rung], PLAIN)
    )
    np.testing.assert_allclose(layer.forward(x)[0], plain.forward(x)[0], rtol=0, atol=1e-12)
    with pytest.raises(RuntimeError, match="needs a call of forward"):
        layer.backward(x)


@kinds
@rungs
def test_the_caller_may_change_x_before_backward(rung, kind):
    rng = np.random.default_rng(0)
    layer, x = RUNGS[rung][kind](2, 4, rng=rng), rng.standard_normal((3, 5, 2))
    output, _ = layer.forward(x)
    layer.backward(output)
    expected = layer.grads
    layer.forward(x)
    x[:] = 0
    layer.backward(output)
    for name, array in expected.items():
        assert np.array_equal(layer.grads[name], array), name


@kinds
def test_units_stay_in_rows(kind, monkeypatch):
    """NumPy keeps the order in memory from step to step; if it did not, only time would tell."""
    gradients = []
    taken = ladder.OneGradient.products_back

    def products_back(self, dp, dq, t, h):
        gradients.extend([dp, dq, h])
        return taken(self, dp, dq, t, h)

    monkeypatch.setattr(ladder.OneGradient, "products_back", products_back)
    layer = RUNGS["units in rows"][kind](2, 4, rng=np.random.default_rng(0))
    x = np.random.default_rng(1).standard_normal((3, 5, 2))
    output, _ = layer.forward(x)
    _, steps = layer._recall().runs[0]
    layer.backward(output)
    kept = [array for step in steps for array in step[1:]]  # after the step's number
    assert len(kept) >= 2 * len(steps)
    assert len(gradients) == 3 * len(steps)
    assert all(array.flags.f_contiguous for array in kept + gradients)


@kinds
def test_arrays_are_kept_on_the_last_rung_alone(kind):
    largest = max(SIZES, key=np.prod)
    for rung, number, shape in [("in place", 0, SMALL), ("kept arrays", 1, largest)]:
        batch, steps, size, units = shape
        layer = RUNGS[rung][kind](size, units, dtype=np.float32)
        output, _ = layer.forward(np.zeros((batch, steps, size)))
        layer.backward(output)
        assert [len(spare) for spare in layer._spare] == [number]
