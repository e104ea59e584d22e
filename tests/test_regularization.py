"""Dropout, variational dropout, zoneout and layer normalization, forward and backward."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optional import optional

from rnnbook.gradcheck import check_layer, compare_gradients
from rnnbook.scratch.gru import GRU
from rnnbook.scratch.lstm import LSTM
from rnnbook.scratch.minimal import MinGRU
from rnnbook.scratch.module import enable_grad
from rnnbook.scratch.recurrent_layer import RNN
from rnnbook.scratch.regularization import (
    Dropout,
    LayerNorm,
    RecurrentDropout,
    VariationalDropout,
    Zoneout,
)

torch = optional("torch")

NOISE = [Dropout, VariationalDropout]


class SameNoise:
    """A module that draws the same masks at every forward, for finite differences."""

    def __init__(self, module):
        self.module = module

    def __getattr__(self, name):
        return getattr(self.module, name)

    def forward(self, *arguments):
        self.module.rng = np.random.default_rng(3)
        return self.module.forward(*arguments)


@pytest.mark.parametrize("kind", NOISE)
def test_dropout_drops_a_share_p_and_scales_the_rest(kind):
    dropout = kind(0.3, rng=np.random.default_rng(0))
    y = dropout.forward(np.full((100, 8, 60), 2.0))
    assert set(np.unique(y)) == {0, 2 / 0.7}
    assert (y == 0).mean() == pytest.approx(0.3, abs=0.03)
    assert y.mean() == pytest.approx(2, abs=0.1)


def test_dropout_draws_anew_at_every_step_and_variational_dropout_does_not():
    x = np.ones((4, 9, 50))
    fresh = Dropout(rng=np.random.default_rng(0)).forward(x)
    fixed = VariationalDropout(rng=np.random.default_rng(0)).forward(x)
    assert (fixed == fixed[:, :1]).all()
    assert 0.4 < (fresh != fresh[:, :1])[:, 1:].mean() < 0.6
    assert (fixed[0] != fixed[1]).any()  # each sequence has a mask of its own
    dropout = VariationalDropout(rng=np.random.default_rng(0))
    assert (dropout.forward(x) != dropout.forward(x)).any()  # and so has each batch


@pytest.mark.parametrize("kind", NOISE)
def test_the_gradient_passes_through_the_mask_of_the_last_forward(kind):
    rng = np.random.default_rng(0)
    x, doutput = rng.standard_normal((2, 3, 4, 5))
    dropout = SameNoise(kind(0.4))
    dropout.forward(x)
    dx = dropout.backward(doutput)
    assert (dx == 0).any()
    errors = compare_gradients(lambda: (dropout.forward(x) * doutput).sum(), {"x": x}, {"x": dx})
    assert errors["x"] < 1e-8


@pytest.mark.parametrize("kind", NOISE)
def test_evaluation_changes_nothing_as_in_torch(kind):
    x = np.random.default_rng(0).standard_normal((2, 3, 4))
    dropout = kind(0.9, rng=np.random.default_rng(0)).eval()
    np.testing.assert_array_equal(dropout.forward(x), x)
    with enable_grad():
        dropout.forward(x)
        np.testing.assert_array_equal(dropout.backward(x), x)
    assert (dropout.train().forward(x) != x).any()
    assert not dropout.train(False).training


@pytest.mark.parametrize("kind", NOISE)
def test_noise_follows_the_generator_and_keeps_the_number_type(kind):
    x = np.ones((2, 3, 4), np.float32)
    a, b = (kind(rng=np.random.default_rng(7)).forward(x) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    assert a.dtype == np.float32


def test_wrong_input_of_dropout_is_named():
    with pytest.raises(ValueError, match="p must be at least 0 and below 1, got 1"):
        Dropout(1)
    with pytest.raises(RuntimeError, match=r"Dropout\.backward needs a call of forward before it"):
        Dropout().backward(np.ones(2))
    with pytest.raises(ValueError, match=r"x must have shape \(B, T, D\), got \(3, 4\)"):
        VariationalDropout().forward(np.ones((3, 4)))
    for dropout in (Dropout(), VariationalDropout()):
        dropout.forward(np.ones((2, 3, 4)))
        for shape in [(3, 4), (2, 5, 4)]:
            with pytest.raises(ValueError, match=r"doutput must have shape \(2, 3, 4\), got"):
                dropout.backward(np.ones(shape))


@given(shape=st.lists(st.integers(1, 4), max_size=3), size=st.integers(1, 6))
def test_layer_norm_is_torchs(shape, size):
    rng = np.random.default_rng(0)
    ours, theirs = LayerNorm(size, 1e-3), torch.nn.LayerNorm(size, 1e-3, dtype=torch.float64)
    for name, parameter in theirs.named_parameters():
        ours.params[name][...] = rng.standard_normal(size)
        parameter.data = torch.tensor(ours.params[name])
    x, doutput = 3 + rng.standard_normal((2, *shape, size))
    x_t = torch.tensor(x, requires_grad=True)
    y = theirs(x_t)
    y.backward(torch.tensor(doutput))

    np.testing.assert_allclose(ours.forward(x), y.detach(), rtol=0, atol=1e-10)
    np.testing.assert_allclose(ours.backward(doutput), x_t.grad, rtol=0, atol=1e-10)
    for name, parameter in theirs.named_parameters():
        np.testing.assert_allclose(ours.grads[name], parameter.grad, rtol=0, atol=1e-10)


def test_layer_norm_agrees_with_finite_differences():
    rng = np.random.default_rng(0)
    norm = LayerNorm(5)
    norm.params["weight"][...] = rng.standard_normal(5)
    x, doutput = rng.standard_normal((2, 3, 4, 5))
    norm.forward(x)
    gradients = {"x": norm.backward(doutput), **norm.grads}
    errors = compare_gradients(
        lambda: (norm.forward(x) * doutput).sum(), {"x": x, **norm.params}, gradients
    )
    assert set(errors) == {"x", "weight", "bias"}
    assert max(errors.values()) < 1e-7


def test_wrong_input_of_layer_norm_is_named():
    norm = LayerNorm(4)
    with pytest.raises(RuntimeError, match=r"LayerNorm\.backward needs a call of forward"):
        norm.backward(np.ones((2, 4)))
    with pytest.raises(ValueError, match=r"x must have shape \(2, 4\), got \(2, 3\)"):
        norm.forward(np.ones((2, 3)))
    norm.forward(np.ones((2, 4)))
    with pytest.raises(ValueError, match=r"doutput must have shape \(2, 4\), got \(1, 4\)"):
        norm.backward(np.ones((1, 4)))
    with pytest.raises(ValueError, match="eps must lie between 0 and inf, got -1"):
        LayerNorm(4, -1)


RECURRENT = [RNN, GRU, LSTM, MinGRU]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", RECURRENT)
def test_zoneout_agrees_with_finite_differences(kind, training):
    rng = np.random.default_rng(0)
    zoneout = Zoneout(kind(3, 4, rng=rng), 0.3, 0.6).train(training)
    x, h, c = (rng.standard_normal(shape) for shape in [(3, 5, 3), (1, 3, 4), (1, 3, 4)])
    given = (h, c) if kind is LSTM else h
    for state, lengths in [(None, None), (given, None), (given, [2, 5, 1])]:
        errors = check_layer(SameNoise(zoneout), x, state=state, lengths=lengths, rng=rng)
        assert max(errors.values()) < 1e-7, errors


@pytest.mark.parametrize("training", [True, False])
def test_zoneout_is_the_papers_equation_around_torchs_lstm_cell(training):
    rng = np.random.default_rng(0)
    lstm = LSTM(3, 4, rng=rng)
    cell = torch.nn.LSTMCell(3, 4, dtype=torch.float64)
    cell.load_state_dict({n.removesuffix("_l0"): torch.tensor(p) for n, p in lstm.params.items()})
    x = rng.standard_normal((2, 6, 3))
    output, (h_n, c_n) = (
        Zoneout(lstm, 0.3, 0.6, rng=np.random.default_rng(1)).train(training).forward(x)
    )

    keep = np.broadcast_to([[[[[0.3]]], [[[0.6]]]]], (6, 2, 1, 2, 4))
    if training:
        keep = np.random.default_rng(1).random(keep.shape) < keep
    keep = torch.tensor(keep.astype(float))[:, :, 0]
    h = c = torch.zeros(2, 4, dtype=torch.float64)
    for t in range(6):
        h_new, c_new = cell(torch.tensor(x[:, t]), (h, c))
        h = keep[t, 0] * h + (1 - keep[t, 0]) * h_new
        c = keep[t, 1] * c + (1 - keep[t, 1]) * c_new
        np.testing.assert_allclose(output[:, t], h.detach(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(h_n[0], h.detach(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(c_n[0], c.detach(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", RECURRENT)
def test_zoneout_without_noise_is_the_layer_itself(kind):
    rng = np.random.default_rng(0)
    layer = kind(3, 4, rng=rng)
    x, doutput = rng.standard_normal((2, 5, 3)), rng.standard_normal((2, 5, 4))
    lengths = [3, 5]
    output, _ = layer.forward(x, lengths=lengths)
    dx, _ = layer.backward(doutput)
    grads = {name: g.copy() for name, g in layer.grads.items()}
    zoneout = Zoneout(layer, 0.0, 0.0, rng=rng)
    np.testing.assert_allclose(zoneout.forward(x, lengths=lengths)[0], output, atol=1e-12)
    np.testing.assert_allclose(zoneout.backward(doutput)[0], dx, atol=1e-12)
    for name, g in grads.items():
        np.testing.assert_allclose(zoneout.grads[name], g, atol=1e-12)


@pytest.mark.parametrize("wrap", [Zoneout, RecurrentDropout])
def test_what_lies_beyond_a_sequence_is_ignored(wrap):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 5, 3))
    layer = SameNoise(wrap(LSTM(3, 4, rng=rng)))
    output, (h, c) = layer.forward(x, None, [3, 5])
    x[0, 3:] = np.nan
    again, (h_again, c_again) = layer.forward(x, None, [3, 5])
    np.testing.assert_array_equal(again, output)
    np.testing.assert_array_equal(h_again, h)
    np.testing.assert_array_equal(c_again, c)
    assert not output[0, 3:].any()
    np.testing.assert_array_equal(h[0, 0], output[0, 2])
    dx, _ = layer.backward(np.ones_like(output))
    assert not dx[0, 3:].any()
    assert np.isfinite(dx).all()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", [RNN, LSTM])
def test_recurrent_dropout_agrees_with_finite_differences(kind, training):
    rng = np.random.default_rng(0)
    dropout = RecurrentDropout(kind(3, 4, rng=rng), 0.4).train(training)
    x, h, c = (rng.standard_normal(shape) for shape in [(3, 5, 3), (1, 3, 4), (1, 3, 4)])
    given = (h, c) if kind is LSTM else h
    for state, lengths in [(None, None), (given, [2, 5, 1])]:
        errors = check_layer(SameNoise(dropout), x, state=state, lengths=lengths, rng=rng)
        assert max(errors.values()) < 1e-7, errors


def test_recurrent_dropout_masks_h_alike_at_all_steps_and_never_c():
    rng = np.random.default_rng(0)
    lstm = LSTM(3, 4, rng=rng)
    cell = torch.nn.LSTMCell(3, 4, dtype=torch.float64)
    cell.load_state_dict({n.removesuffix("_l0"): torch.tensor(p) for n, p in lstm.params.items()})
    x = rng.standard_normal((2, 6, 3))
    dropout = RecurrentDropout(lstm, 0.4, rng=np.random.default_rng(1))
    output, _ = dropout.forward(x)
    mask = torch.tensor((np.random.default_rng(1).random((1, 2, 4)) >= 0.4) / 0.6)[0]
    assert set(mask.unique().tolist()) == {0, 1 / 0.6}
    h = c = torch.zeros(2, 4, dtype=torch.float64)
    for t in range(6):
        h, c = cell(torch.tensor(x[:, t]), (mask * h, c))
        np.testing.assert_allclose(output[:, t], h.detach(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(dropout.eval().forward(x)[0], lstm.forward(x)[0], atol=1e-12)


@pytest.mark.parametrize("wrap", [Zoneout, RecurrentDropout])
def test_a_layer_of_float32_stays_float32(wrap):
    rng = np.random.default_rng(0)
    layer = wrap(LSTM(3, 4, dtype=np.float32, rng=rng), rng=rng)
    state = tuple(rng.standard_normal((2, 1, 2, 4)))
    output, final = layer.forward(rng.standard_normal((2, 5, 3)), state)
    dx, dstate = layer.backward(np.ones(output.shape), state)
    found = {a.dtype for a in (output, *final, dx, *dstate, *layer.grads.values())}
    assert found == {np.dtype(np.float32)}


def test_recurrent_dropout_refuses_layers_whose_h_is_their_memory():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="layer must be an RNN or an LSTM, got GRU"):
        RecurrentDropout(GRU(2, 3, rng=rng))
    with pytest.raises(ValueError, match="p must be at least 0 and below 1, got 1"):
        RecurrentDropout(LSTM(2, 3, rng=rng), 1)
    with pytest.raises(ValueError, match="layer must have one layer and one direction, got 1"):
        RecurrentDropout(LSTM(2, 3, bidirectional=True, rng=rng))


@pytest.mark.parametrize("training", [True, False])
def test_noise_around_a_noisy_layer_is_both(training):
    rng = np.random.default_rng(0)
    inner = RecurrentDropout(LSTM(3, 4, rng=rng), 0.4)
    both = Zoneout(inner, 0.3, 0.6).train(training)
    assert inner.training is training
    x = rng.standard_normal((2, 6, 3))

    class Both(SameNoise):
        def forward(self, *arguments):
            inner.rng = np.random.default_rng(5)
            return super().forward(*arguments)

    errors = check_layer(Both(both), x, rng=rng)
    assert max(errors.values()) < 1e-7, errors
    output, _ = Both(both).forward(x)
    inner.p = 0
    alone, _ = Both(both).forward(x)
    assert (output != alone).any() == training


def test_a_share_p_of_the_units_keeps_its_state():
    rng = np.random.default_rng(0)
    output, _ = Zoneout(GRU(2, 50, rng=rng), 0.3, rng=rng).forward(rng.standard_normal((20, 9, 2)))
    assert (output[:, 1:] == output[:, :-1]).mean() == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize("wrap", [Zoneout, RecurrentDropout])
def test_a_run_that_failed_half_way_has_not_run(wrap, monkeypatch):
    rng = np.random.default_rng(0)
    layer = wrap(RNN(1, 2, rng=rng), 0.5, rng=rng)
    layer.forward(np.ones((1, 9, 1)))
    step, calls = layer.cells[0].step, []

    def interrupted(x, state):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return step(x, state)

    monkeypatch.setattr(layer.cells[0], "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        layer.forward(np.ones((1, 9, 1)))
    with pytest.raises(RuntimeError, match="needs a call of forward"):
        layer.backward(None)


def test_wrong_input_of_zoneout_is_named():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="p_hidden must lie between 0 and 1, got 2"):
        Zoneout(GRU(2, 3, rng=rng), 2)
    with pytest.raises(ValueError, match="layer must have one layer and one direction, got 2"):
        Zoneout(GRU(2, 3, num_layers=2, rng=rng))
    zoneout = Zoneout(GRU(2, 3, rng=rng), rng=rng)
    with pytest.raises(RuntimeError, match=r"Zoneout\.backward needs a call of forward before it"):
        zoneout.backward(None)
    with pytest.raises(ValueError, match=r"x must have shape \(B, T, 2\), got \(4, 5, 3\)"):
        zoneout.forward(np.ones((4, 5, 3)))
    with pytest.raises(ValueError, match=r"\(1, 4, 3\), got \(1, 2, 3\)"):
        zoneout.forward(np.ones((4, 5, 2)), np.ones((1, 2, 3)))
    noise, x = zoneout.rng.bit_generator.state, np.ones((4, 5, 2))
    x[1, 4, 0] = np.nan
    with pytest.raises(ValueError, match=r"x must be finite, got nan at index \(1, 4, 0\)"):
        zoneout.forward(x)
    assert zoneout.rng.bit_generator.state == noise
    zoneout.forward(np.ones((4, 5, 2)))
    with pytest.raises(ValueError, match=r"doutput must have shape \(4, 5, 3\), got \(4, 5, 2\)"):
        zoneout.backward(np.ones((4, 5, 2)))
    with pytest.raises(ValueError, match=r"dstate must have shape \(1, 4, 3\), got \(4, 3\)"):
        zoneout.backward(None, np.ones((4, 3)))
    with pytest.raises(ValueError, match="dstate must be one array h, got 2 arrays"):
        zoneout.backward(None, (np.ones((1, 4, 3)), np.ones((1, 4, 3))))
