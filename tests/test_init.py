"""Initial weights: gate by gate, layer by layer, direction by direction."""

import numpy as np
import pytest

from rnnbook.scratch.gru import GRU
from rnnbook.scratch.init import glorot_uniform_, identity_, orthogonal_, set_forget_bias
from rnnbook.scratch.linear import Linear
from rnnbook.scratch.lstm import LSTM
from rnnbook.scratch.minimal import MinGRU
from rnnbook.scratch.recurrent_layer import RNN

H = 5


@pytest.fixture(params=[(RNN, 1), (GRU, 3), (LSTM, 4)], ids=["RNN", "GRU", "LSTM"])
def layer_and_gates(request):
    kind, gates = request.param
    return kind(3, H, 2, True, rng=np.random.default_rng(0)), gates


def blocks(layer, kind):
    return [
        array[k : k + H]
        for name, array in layer.params.items()
        if name.startswith(kind)
        for k in range(0, len(array), H)
    ]


def changed(layer, change):
    """The names of the parameters that ``change`` has changed; none may be replaced."""
    arrays = dict(layer.params)
    before = {name: array.copy() for name, array in arrays.items()}
    change()
    assert all(layer.params[name] is array for name, array in arrays.items())
    return {name for name, array in arrays.items() if (array != before[name]).any()}


def test_orthogonal_makes_every_gate_orthogonal(layer_and_gates):
    layer, gates = layer_and_gates
    names = changed(layer, lambda: orthogonal_(layer, 2.0, rng=np.random.default_rng(1)))
    assert names == {name for name in layer.params if name.startswith("weight_hh")}
    found = blocks(layer, "weight_hh")
    assert len(found) == gates * 4  # two layers, two directions
    for block in found:
        np.testing.assert_allclose(block.T @ block, 4 * np.eye(H), atol=1e-12)
    assert len({block[0, 0] for block in found}) == len(found)  # drawn one by one


def test_orthogonal_is_uniform():
    """The mean of a Haar matrix is zero; without the signs, the diagonal's is far from it."""
    rng, layer = np.random.default_rng(0), RNN(1, 3, rng=np.random.default_rng(0))
    total = np.zeros((3, 3))
    for _ in range(1000):
        orthogonal_(layer, rng=rng)
        total += layer.params["weight_hh_l0"]
    assert np.abs(total / 1000).max() < 0.08  # a standard error of 0.018


def test_identity_is_the_irnn(layer_and_gates):
    layer, _ = layer_and_gates
    names = changed(layer, lambda: identity_(layer, 0.5))
    assert names == {name for name in layer.params if not name.startswith("weight_ih")}
    for block in blocks(layer, "weight_hh"):
        np.testing.assert_array_equal(block, 0.5 * np.eye(H))
    assert not any(block.any() for block in blocks(layer, "bias"))


def test_an_irnn_without_input_keeps_its_state():
    rnn = RNN(2, 3, nonlinearity="relu", rng=np.random.default_rng(0))
    identity_(rnn)
    h0 = np.array([[[0.5, 1.0, 2.0]]])
    _, h = rnn.forward(np.zeros((1, 50, 2)), h0)
    np.testing.assert_array_equal(h, h0)


def test_glorot_takes_its_bound_from_one_gate(layer_and_gates):
    layer, _ = layer_and_gates
    names = changed(layer, lambda: glorot_uniform_(layer, rng=np.random.default_rng(1)))
    assert names == {name for name in layer.params if name.startswith("weight_ih")}
    for name in names:
        inputs = layer.params[name].shape[1]
        bound = np.sqrt(6 / (inputs + H))
        assert 0.75 * bound < np.abs(layer.params[name]).max() <= bound


def test_glorot_of_a_linear_layer_has_its_variance():
    linear = Linear(300, 200, rng=np.random.default_rng(0))
    assert changed(linear, lambda: glorot_uniform_(linear, rng=np.random.default_rng(1))) == {
        "weight"
    }
    assert linear.params["weight"].var() == pytest.approx(2 / 500, rel=0.02)


def test_forget_bias_is_the_sum_of_both_biases():
    lstm = LSTM(3, H, 2, True, rng=np.random.default_rng(0))
    before = {name: array.copy() for name, array in lstm.params.items()}
    set_forget_bias(lstm, 1.5)
    for end in ("l0", "l0_reverse", "l1", "l1_reverse"):
        effective = lstm.params[f"bias_ih_{end}"] + lstm.params[f"bias_hh_{end}"]
        np.testing.assert_array_equal(effective[H : 2 * H], np.full(H, 1.5))
        old = before[f"bias_ih_{end}"] + before[f"bias_hh_{end}"]
        others = np.r_[0:H, 2 * H : 4 * H]
        np.testing.assert_array_equal(effective[others], old[others])


def test_the_forget_gate_sees_it():
    lstm = LSTM(2, 3, rng=np.random.default_rng(0))
    for array in lstm.params.values():
        array[...] = 0
    set_forget_bias(lstm, 30.0)  # f = 1 up to 1e-13, and i * g = 0
    c0 = np.array([[[0.1, -0.2, 0.3]]])
    _, (_, c) = lstm.forward(np.zeros((1, 20, 2)), (np.zeros((1, 1, 3)), c0))
    np.testing.assert_allclose(c, c0, atol=1e-10)


def test_wrong_layers_are_named():
    gru = GRU(3, H, rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match="layer must be an LSTM, with four gates, got GRU with 3"):
        set_forget_bias(gru)
    minimal = MinGRU(3, H, rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match="must have a parameter weight_hh, got MinGRU without"):
        orthogonal_(minimal)
    with pytest.raises(ValueError, match="must have a parameter weight_hh, got Linear without"):
        identity_(Linear(2, 3))


def test_a_forget_bias_that_is_no_number_is_refused_and_changes_nothing():
    lstm = LSTM(2, 3, rng=np.random.default_rng(0))
    before = {name: array.copy() for name, array in lstm.params.items()}
    with pytest.raises(ValueError, match="value must lie between -inf and inf, got nan"):
        set_forget_bias(lstm, np.nan)
    for name, array in lstm.params.items():
        np.testing.assert_array_equal(array, before[name])
