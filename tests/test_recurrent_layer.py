"""RNN against torch.nn.RNN."""

import itertools

import numpy as np
import pytest
import torch
from parity import assert_agree, copy_weights, random_state, run_scratch, run_torch

from rnnbook.scratch import RNN

B, T, D, H = 3, 5, 2, 4


@pytest.mark.parametrize(
    ("nonlinearity", "num_layers", "bidirectional", "with_lengths"),
    itertools.product(["tanh", "relu"], [1, 2, 3], [False, True], [False, True]),
)
def test_rnn_equals_torch(nonlinearity, num_layers, bidirectional, with_lengths):
    rng = np.random.default_rng(0)
    layer = RNN(D, H, num_layers, bidirectional, nonlinearity=nonlinearity, rng=rng)
    module = torch.nn.RNN(
        D,
        H,
        num_layers,
        nonlinearity,
        batch_first=True,
        bidirectional=bidirectional,
        dtype=torch.float64,
    )
    copy_weights(layer, module)
    x, state, dstate = rng.standard_normal((B, T, D)), random_state(layer, B, rng), None
    dstate = random_state(layer, B, rng)
    doutput = rng.standard_normal((B, T, H * layer.directions))
    lengths = np.array([2, 5, 1]) if with_lengths else None
    arguments = (x, state, lengths, doutput, dstate)
    assert_agree(run_scratch(layer, *arguments), run_torch(module, *arguments))
