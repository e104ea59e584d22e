"""LSTM and LSTMCell against torch.nn."""

import numpy as np
import pytest
from hypothesis import given
from optional import optional
from parity import assert_same_as_torch, combinations, shapes

from rnnbook.scratch import LSTM, LSTMCell

torch = optional("torch")


def torch_twin(layer):
    return torch.nn.LSTM(
        layer.input_size,
        layer.hidden_size,
        layer.num_layers,
        batch_first=True,
        bidirectional=layer.bidirectional,
        dtype=torch.float64,
    )


@combinations
def test_equals_torch(num_layers, bidirectional, lengths, with_state):
    rng = np.random.default_rng(0)
    layer = LSTM(2, 4, num_layers, bidirectional, rng=rng)
    assert_same_as_torch(
        layer, torch_twin(layer), rng, batch=3, steps=5, lengths=lengths, with_state=with_state
    )


@given(shapes())
def test_equals_torch_for_any_shape(drawn):
    rng = np.random.default_rng(0)
    layer = LSTM(*drawn.pop("sizes"), rng=rng)
    assert_same_as_torch(layer, torch_twin(layer), rng, **drawn, with_state=True)


def test_equals_torch_over_many_blocks_of_steps():
    rng = np.random.default_rng(0)
    layer = LSTM(2, 4, 2, True, rng=rng)
    lengths = rng.integers(1, 14, 200)  # blocks of five, five and three steps
    assert_same_as_torch(
        layer, torch_twin(layer), rng, batch=200, steps=13, lengths=lengths, with_state=True
    )


def test_a_step_equals_torch():
    rng = np.random.default_rng(0)
    cell = LSTMCell(2, 4, rng=rng)
    twin = torch.nn.LSTMCell(2, 4, dtype=torch.float64)
    twin.load_state_dict({name: torch.tensor(array) for name, array in cell.params.items()})
    x, h, c = (rng.standard_normal((3, size)) for size in (2, 4, 4))
    expected = twin(torch.tensor(x), (torch.tensor(h), torch.tensor(c)))
    for ours, theirs in zip(cell.step(x, (h, c))[0], expected, strict=True):
        assert np.abs(ours - theirs.detach().numpy()).max() < 1e-12


def test_gates_saturate_without_a_warning():
    layer = LSTM(1, 2, dtype=np.float32)
    output, (h, c) = layer.forward(np.array([[[1e30], [-1e30]]]))
    layer.backward(np.ones_like(output))
    assert all(np.isfinite(array).all() for array in (output, h, c, *layer.grads.values()))


@pytest.mark.parametrize("c", [1e20, 3e37])
def test_a_large_cell_state_has_a_gradient(c):
    """Its square has no place in float32, but nothing in the equations asks for it."""
    layer = LSTM(2, 3, dtype=np.float32, rng=np.random.default_rng(0))
    state = np.ones((1, 2, 3), np.float32), np.full((1, 2, 3), c, np.float32)
    output, _ = layer.forward(np.ones((2, 4, 2)), state)
    dx, (dh0, dc0) = layer.backward(np.ones_like(output))
    assert all(np.isfinite(array).all() for array in (dx, dh0, dc0, *layer.grads.values()))


def test_a_state_of_the_wrong_kind_is_told():
    layer, cell = LSTM(2, 3), LSTMCell(2, 3)
    x, h = np.zeros((1, 4, 2)), np.zeros((1, 1, 3))
    with pytest.raises(ValueError, match=r"^state must be the pair \(h, c\), got one array\.$"):
        layer.forward(x, h)
    with pytest.raises(ValueError, match=r"^state must be the pair \(h, c\), got 3 arrays\.$"):
        layer.forward(x, (h, h, h))
    with pytest.raises(ValueError, match=r"^c of state must have shape \(1, 1, 3\), got \(1, 3\)"):
        layer.forward(x, (h, h[0]))
    with pytest.raises(ValueError, match=r"^state must be the pair \(h, c\), got one array\.$"):
        cell(x[0], np.zeros((4, 3)))
    layer.forward(x)
    with pytest.raises(ValueError, match=r"^dstate must be the pair \(h, c\), got one array\.$"):
        layer.backward(None, h)
