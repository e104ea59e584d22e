"""The layers of rnnbook.pytorch, readable and fused, against torch.nn and rnnbook.scratch."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from parity import assert_agree, copy_weights, run_scratch, run_torch
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from rnnbook import pytorch, scratch

B, T, D, H = 3, 5, 2, 4
TWINS = {
    "RNN": torch.nn.RNN,
    "LSTM": torch.nn.LSTM,
    "GRU": torch.nn.GRU,
}
KINDS = [*TWINS, *(f"Fused{name}" for name in TWINS)]


def make(name, *sizes, **options):
    """A layer and its torch.nn twin, in float64, with the same weights by way of state_dict."""
    ours = getattr(pytorch, name)(*sizes, dtype=torch.float64, **options)
    theirs = TWINS[name.removeprefix("Fused")](
        *sizes, batch_first=True, dtype=torch.float64, **options
    )
    theirs.load_state_dict(ours.state_dict(), strict=True)
    return ours, theirs


def random_state(layer, batch, rng):
    shape = (layer.num_layers * layer.directions, batch, layer.hidden_size)
    state = tuple(rng.standard_normal(shape) for _ in layer.state_names)
    return state if len(state) > 1 else state[0]


def agree(ours, theirs, lengths, rng, *, batch=B, steps=T):
    """Values and all gradients, with a state to begin with and a gradient for the final one."""
    arguments = (
        rng.standard_normal((batch, steps, ours.input_size)),
        random_state(ours, batch, rng),
        lengths,
        rng.standard_normal((batch, steps, ours.hidden_size * ours.directions)),
        random_state(ours, batch, rng),
    )
    assert_agree(run_torch(ours, *arguments), run_torch(theirs, *arguments))


@pytest.mark.parametrize(
    ("name", "num_layers", "bidirectional", "lengths", "bias"),
    itertools.product(KINDS, [1, 2, 3], [False, True], [None, [2, 5, 1]], [True, False]),
)
def test_values_and_gradients_are_those_of_torch(name, num_layers, bidirectional, lengths, bias):
    layers = make(name, D, H, num_layers, bias=bias, bidirectional=bidirectional)
    agree(*layers, lengths, np.random.default_rng(0))
