"""GRU against torch.nn, ResetBeforeGRU against its equations in torch, differentiated by torch."""

import numpy as np
import pytest
from hypothesis import given
from optional import optional
from parity import assert_same_as_torch, combinations, shapes

from rnnbook.scratch import GRU, GRUCell, ResetBeforeGRU, ResetBeforeGRUCell

torch = optional("torch")
packing = optional("torch.nn.utils.rnn")


def reset_before_step(x, h, w_ih, w_hh, b_ih, b_hh):
    """Cho et al. (2014), equations 5 to 8, with this book's z: it keeps the old state."""
    (w_ir, w_iz, w_in), (w_hr, w_hz, w_hn) = w_ih.chunk(3), w_hh.chunk(3)
    (b_ir, b_iz, b_in), (b_hr, b_hz, b_hn) = b_ih.chunk(3), b_hh.chunk(3)
    r = torch.sigmoid(x @ w_ir.T + b_ir + h @ w_hr.T + b_hr)
    z = torch.sigmoid(x @ w_iz.T + b_iz + h @ w_hz.T + b_hz)
    n = torch.tanh(x @ w_in.T + b_in + (r * h) @ w_hn.T + b_hn)
    return (1 - z) * n + z * h


class TorchResetBeforeGRU(torch.nn.GRU):
    """One sequence after the other, without padding: slow, and with nothing to get wrong."""

    def forward(self, x, h0):
        packed = isinstance(x, packing.PackedSequence)
        if packed:
            x, lengths = packing.pad_packed_sequence(x, batch_first=True)
        else:
            lengths = [x.shape[1]] * x.shape[0]
        output = torch.zeros(*x.shape[:2], self.hidden_size * (1 + self.bidirectional)).to(x)
        final = [[None] * len(x) for _ in h0]
        for b, length in enumerate(lengths):
            sequence = list(x[b, :length])
            for layer in range(self.num_layers):
                runs = []
                for direction in range(1 + self.bidirectional):
                    row = layer * (1 + self.bidirectional) + direction
                    h, states = h0[row, b], []
                    for x_t in sequence[::-1] if direction else sequence:
                        h = reset_before_step(x_t, h, *self.all_weights[row])
                        states.append(h)
                    final[row][b] = h
                    runs.append(states[::-1] if direction else states)
                sequence = [torch.cat(both) for both in zip(*runs, strict=True)]
            output[b, :length] = torch.stack(sequence)
        if packed:
            output = packing.pack_padded_sequence(output, lengths, True, enforce_sorted=False)
        return output, torch.stack([torch.stack(row) for row in final])


TWINS = {GRU: torch.nn.GRU, ResetBeforeGRU: TorchResetBeforeGRU}


def torch_twin(layer):
    return TWINS[type(layer)](
        layer.input_size,
        layer.hidden_size,
        layer.num_layers,
        batch_first=True,
        bidirectional=layer.bidirectional,
        dtype=torch.float64,
    )


@pytest.mark.parametrize("kind", TWINS)
@combinations
def test_equals_torch(kind, num_layers, bidirectional, lengths, with_state):
    rng = np.random.default_rng(0)
    layer = kind(2, 4, num_layers, bidirectional, rng=rng)
    assert_same_as_torch(
        layer, torch_twin(layer), rng, batch=3, steps=5, lengths=lengths, with_state=with_state
    )


@pytest.mark.parametrize("kind", TWINS)
@given(drawn=shapes())
def test_equals_torch_for_any_shape(kind, drawn):
    rng = np.random.default_rng(0)
    layer = kind(*drawn["sizes"], rng=rng)
    sequences = {name: drawn[name] for name in ("batch", "steps", "lengths")}
    assert_same_as_torch(layer, torch_twin(layer), rng, **sequences, with_state=True)


@pytest.mark.parametrize("kind", TWINS)
@pytest.mark.slow
def test_equals_torch_over_many_blocks_of_steps(kind):
    rng = np.random.default_rng(0)
    layer = kind(2, 4, 2, True, rng=rng)
    lengths = rng.integers(1, 14, 200)  # blocks of five, five and three steps
    assert_same_as_torch(
        layer, torch_twin(layer), rng, batch=200, steps=13, lengths=lengths, with_state=True
    )


@pytest.mark.parametrize("kind", [GRUCell, ResetBeforeGRUCell])
def test_a_step_equals_torch(kind):
    rng = np.random.default_rng(0)
    cell = kind(2, 4, rng=rng)
    weights = {name: torch.tensor(array) for name, array in cell.params.items()}
    x, h = rng.standard_normal((3, 2)), rng.standard_normal((3, 4))
    if kind is GRUCell:
        twin = torch.nn.GRUCell(2, 4, dtype=torch.float64)
        twin.load_state_dict(weights)
        expected = twin(torch.tensor(x), torch.tensor(h)).detach()
    else:
        expected = reset_before_step(torch.tensor(x), torch.tensor(h), *weights.values())
    assert np.abs(cell.step(x, h)[0] - expected.numpy()).max() < 1e-12


def test_the_two_forms_are_two_models():
    rng = np.random.default_rng(0)
    after, before = GRU(2, 4, rng=rng), ResetBeforeGRU(2, 4)
    before.load_params(after.params)
    x = rng.standard_normal((3, 5, 2))
    assert np.abs(after.forward(x)[0] - before.forward(x)[0]).max() > 1e-3
