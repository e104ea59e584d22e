"""RNN and RNNCell against torch.nn."""

import numpy as np
import pytest
from hypothesis import given
from optional import optional
from parity import assert_same_as_torch, combinations, shapes

from rnnbook.scratch import RNN, RNNCell

torch = optional("torch")


def torch_twin(layer):
    return torch.nn.RNN(
        layer.input_size,
        layer.hidden_size,
        layer.num_layers,
        layer.nonlinearity,
        batch_first=True,
        bidirectional=layer.bidirectional,
        dtype=torch.float64,
    )


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@combinations
def test_equals_torch(nonlinearity, num_layers, bidirectional, lengths, with_state):
    rng = np.random.default_rng(0)
    layer = RNN(2, 4, num_layers, bidirectional, nonlinearity=nonlinearity, rng=rng)
    assert_same_as_torch(
        layer, torch_twin(layer), rng, batch=3, steps=5, lengths=lengths, with_state=with_state
    )


@given(shapes())
def test_equals_torch_for_any_shape(drawn):
    rng = np.random.default_rng(0)
    layer = RNN(*drawn.pop("sizes"), rng=rng)
    assert_same_as_torch(layer, torch_twin(layer), rng, **drawn, with_state=True)


def test_equals_torch_over_many_blocks_of_steps():
    rng = np.random.default_rng(0)
    layer = RNN(2, 4, 2, True, rng=rng)
    lengths = rng.integers(1, 14, 200)  # blocks of five, five and three steps
    assert_same_as_torch(
        layer, torch_twin(layer), rng, batch=200, steps=13, lengths=lengths, with_state=True
    )


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_a_step_equals_torch(nonlinearity):
    rng = np.random.default_rng(0)
    cell = RNNCell(2, 4, nonlinearity, rng=rng)
    twin = torch.nn.RNNCell(2, 4, nonlinearity=nonlinearity, dtype=torch.float64)
    twin.load_state_dict({name: torch.tensor(array) for name, array in cell.params.items()})
    x, h = rng.standard_normal((3, 2)), rng.standard_normal((3, 4))
    expected = twin(torch.tensor(x), torch.tensor(h)).detach()
    assert np.abs(cell.step(x, h)[0] - expected.numpy()).max() < 1e-12


@pytest.mark.filterwarnings("ignore:overflow")
def test_what_grows_in_the_padding_stays_there():
    # Steps beyond a sequence's end are computed and thrown away; here they reach infinity.
    layer = RNN(1, 1, nonlinearity="relu")
    layer.load_params(
        {
            "weight_ih_l0": np.ones((1, 1)),
            "weight_hh_l0": np.full((1, 1), 10.0),
            "bias_ih_l0": np.zeros(1),
            "bias_hh_l0": np.zeros(1),
        }
    )
    x = np.zeros((2, 400, 1))
    x[0, 0] = 1  # ends after two steps, and would be 1e399 at the last
    output, h = layer.forward(x, lengths=[2, 400])
    dx, _ = layer.backward(np.ones_like(output))
    assert output[0, :3, 0].tolist() == [1, 10, 0]
    assert h[0, 0, 0] == 10
    assert layer.grads["weight_hh_l0"] == 1
    assert dx[0, :3, 0].tolist() == [11, 1, 0]


def test_an_unknown_nonlinearity_is_told():
    for kind in (RNN, RNNCell):
        with pytest.raises(ValueError, match="nonlinearity must be one of 'tanh', 'relu', got 'si"):
            kind(2, 3, nonlinearity="sigmoid")
