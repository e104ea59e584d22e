"""rnnbook.pytorch: scans against the loop, MinGRU, MinLSTM and LRU."""

import math
import re

import pytest

pytest.importorskip("torch", reason="the layers are torch modules")

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rnnbook import pytorch, scratch
from rnnbook.pytorch.scan import recurrence_log_scan, recurrence_loop, recurrence_scan

MINIMAL = [pytorch.MinGRU, pytorch.MinLSTM, pytorch.PositiveMinGRU]
LAYERS = [*MINIMAL, pytorch.LRU]
PAIRS = [(kind, mode) for kind in MINIMAL for mode in kind.modes if mode != "loop"]
PAIRS.append((pytorch.LRU, "scan"))
sizes = st.tuples(*(st.integers(1, n) for n in (4, 19, 5)))  # B, T, H
F64 = torch.float64


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(*shape, dtype=F64, g):
    return torch.randn(*shape, dtype=dtype, generator=g)


def close(ours, theirs, atol=1e-10):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=atol)


def with_gradients(f, *inputs, dh):
    inputs = [tensor.clone().requires_grad_() for tensor in inputs]
    h = f(*inputs)
    return h.detach(), *torch.autograd.grad(h, inputs, dh)


def random_state(layer, batch, g):
    dtype = torch.complex128 if isinstance(layer, pytorch.LRU) else F64
    return draw(1, batch, layer.hidden_size, dtype=dtype, g=g)


@pytest.mark.parametrize("dtype", [F64, torch.complex128])
@given(sizes=sizes, seed=st.integers(0, 5))
def test_the_scan_is_the_loop_for_any_coefficients(dtype, sizes, seed):
    B, T, H = sizes
    g = generator(seed)
    a, b, dh = (draw(B, T, H, dtype=dtype, g=g) for _ in range(3))
    a[torch.rand(a.shape, generator=g) < 0.1] = 0  # where a logarithm or a division would fail
    h0 = draw(B, H, dtype=dtype, g=g)
    by_loop = with_gradients(recurrence_loop, a, b, h0, dh=dh)
    by_scan = with_gradients(recurrence_scan, a, b, h0, dh=dh)
    for ours, theirs in zip(by_scan, by_loop, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@given(sizes=sizes, seed=st.integers(0, 5))
def test_the_log_scan_is_the_loop_for_positive_coefficients(sizes, seed):
    B, T, H = sizes
    g = generator(seed)
    log_a, log_b, dh = (draw(B, T, H, g=g) for _ in range(3))
    h0 = draw(B, H, g=g)
    h0[0] = 0
    by_loop = with_gradients(
        lambda log_a, log_b, h0: recurrence_loop(log_a.exp(), log_b.exp(), h0),
        log_a,
        log_b,
        h0,
        dh=dh,
    )
    by_scan = with_gradients(recurrence_log_scan, log_a, log_b, h0, dh=dh)
    for ours, theirs in zip(by_scan, by_loop, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [F64, torch.complex128])
@pytest.mark.parametrize("steps", [1, 2, 6, 7])
def test_gradcheck_of_the_scan(dtype, steps):
    g = generator()
    a, b = (draw(2, steps, 3, dtype=dtype, g=g).requires_grad_() for _ in range(2))
    h0 = draw(2, 3, dtype=dtype, g=g).requires_grad_()
    assert torch.autograd.gradcheck(recurrence_scan, (a, b, h0))


def test_the_loop_by_hand():
    h = recurrence_loop(
        torch.tensor([[[2.0], [3.0]]]), torch.tensor([[[1.0], [5.0]]]), torch.ones(1, 1)
    )
    assert h.tolist() == [[[3.0], [14.0]]]


def test_the_scan_of_a_long_sequence_keeps_its_digits():
    g = generator()
    a = torch.rand(1, 5000, 4, dtype=F64, generator=g)
    b, h0 = draw(1, 5000, 4, g=g), draw(1, 4, g=g)
    close(recurrence_scan(a, b, h0), recurrence_loop(a, b, h0), atol=1e-13)
    single = recurrence_scan(a.float(), b.float(), h0.float())
    close(single.double(), recurrence_loop(a, b, h0), atol=1e-5)


@pytest.mark.parametrize(("kind", "mode"), PAIRS)
@given(sizes=sizes, packed=st.booleans(), seed=st.integers(0, 5))
def test_modes_agree_from_any_state(kind, mode, sizes, packed, seed):
    B, T, H = sizes
    g = generator(seed)
    layer, loop = kind(3, H, mode=mode, dtype=F64), kind(3, H, mode="loop", dtype=F64)
    layer.reset_parameters(g)
    loop.load_state_dict(layer.state_dict())
    x, h0 = draw(B, T, 3, g=g), random_state(layer, B, g)
    lengths = torch.randint(1, T + 1, (B,), generator=g)
    results = []
    for module in (layer, loop):
        given_x, given_h0 = x.clone().requires_grad_(), h0.clone().requires_grad_()
        if packed:
            sequence = pack_padded_sequence(given_x, lengths, True, enforce_sorted=False)
            output, state = module(sequence, given_h0)
            output, _ = pad_packed_sequence(output, True)
        else:
            output, state = module(given_x, given_h0)
        loss = (output * output.detach().cos()).sum() + (state * state.detach()).real.sum()
        gradients = torch.autograd.grad(loss, [given_x, given_h0, *module.parameters()])
        results.append([output, state, *gradients])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("mode", ["loop", "scan"])
@pytest.mark.parametrize("name", ["MinGRU", "MinLSTM"])
def test_the_minimal_layers_are_those_of_scratch(name, mode):
    rng = np.random.default_rng(0)
    theirs = getattr(scratch, name)(3, 4, rng=rng)
    ours = getattr(pytorch, name)(3, 4, mode=mode, dtype=F64)
    ours.load_state_dict({key: torch.tensor(value) for key, value in theirs.params.items()})
    x, h0 = rng.standard_normal((2, 7, 3)), rng.standard_normal((1, 2, 4))
    doutput, dstate = rng.standard_normal((2, 7, 4)), rng.standard_normal((1, 2, 4))
    x_t, h0_t = torch.tensor(x, requires_grad=True), torch.tensor(h0, requires_grad=True)
    output, state = ours(x_t, h0_t)
    ((output * torch.tensor(doutput)).sum() + (state * torch.tensor(dstate)).sum()).backward()
    expected, expected_state = theirs.forward(x, h0)
    dx, dh0 = theirs.backward(doutput, dstate)
    for got, want in [
        (output, expected),
        (state, expected_state),
        (x_t.grad, dx),
        (h0_t.grad, dh0),
    ]:
        close(got.detach(), torch.tensor(want))
    for key, parameter in ours.named_parameters():
        close(parameter.grad, torch.tensor(theirs.grads[key]))


def test_the_positive_mingru_by_its_equations():
    g = generator()
    layer = pytorch.PositiveMinGRU(3, 4, dtype=F64)
    layer.reset_parameters(g)
    x, h = draw(1, 6, 3, g=g), torch.rand(1, 1, 4, dtype=F64, generator=g)
    output, _ = layer(x, h)
    h = h[0, 0]
    for t in range(6):
        a_z, a_n = (layer.weight_ih_l0 @ x[0, t] + layer.bias_ih_l0).split(4)
        z = 1 / (1 + torch.exp(-a_z))
        n = torch.stack([a + 0.5 if a >= 0 else 1 / (1 + torch.exp(-a)) for a in a_n])
        assert (n > 0).all()
        h = (1 - z) * h + z * n
        close(output[0, t], h)


def test_the_lru_by_its_equations():
    g = generator()
    layer = pytorch.LRU(3, 4, dtype=F64)
    layer.reset_parameters(g)
    x, h0 = draw(1, 6, 3, g=g), random_state(layer, 1, g)
    output, state = layer(x, h0)
    h = h0[0, 0]
    b, c = torch.complex(layer.B_re, layer.B_im), torch.complex(layer.C_re, layer.C_im)
    for t in range(6):
        u = x[0, t].to(torch.complex128)
        eigenvalues = torch.exp(-torch.exp(layer.nu_log) + 1j * torch.exp(layer.theta_log))
        h = eigenvalues * h + torch.exp(layer.gamma_log) * (b @ u)
        close(output[0, t], (c @ h).real + layer.D * x[0, t])
    close(state[0, 0], h)


def test_the_lru_starts_in_its_ring_with_normalized_states():
    layer = pytorch.LRU(8, 4000, r_min=0.4, r_max=0.95, max_phase=math.pi / 10)
    layer.reset_parameters(generator())
    eigenvalues = layer.eigenvalues().detach()
    assert 0.4 <= eigenvalues.abs().min() < 0.41
    assert 0.949 < eigenvalues.abs().max() <= 0.95
    assert eigenvalues.angle().min() > 0
    assert 0.31 < eigenvalues.angle().max() <= math.pi / 10
    # uniform in area: the mean of r^2 is the middle
    assert abs((eigenvalues.abs() ** 2).mean() - (0.16 + 0.9025) / 2) < 0.01
    # White noise in: after many steps each state has the variance of B x, here one.
    layer = pytorch.LRU(8, 100, r_max=0.95)
    layer.reset_parameters(generator())
    _, state = layer(torch.randn(1000, 100, 8, generator=generator()))
    assert abs((state.detach().abs() ** 2).mean() - 1) < 0.05


@pytest.mark.parametrize("kind", LAYERS)
def test_two_halves_with_the_state_carried_over_are_the_whole(kind):
    layer = kind(3, 4, dtype=F64)
    x = draw(2, 9, 3, g=generator())
    whole, final = layer(x)
    first, state = layer(x[:, :4])
    second, end = layer(x[:, 4:], state)
    close(torch.cat([first, second], dim=1), whole, atol=1e-12)
    close(end, final, atol=1e-12)


@pytest.mark.parametrize("kind", LAYERS)
def test_a_single_sequence_needs_no_batch(kind):
    layer = kind(3, 4, dtype=F64)
    x = draw(2, 5, 3, g=generator())
    h0 = random_state(layer, 2, generator())
    output, state = layer(x, h0)
    single, single_state = layer(x[1], h0[:, 1])
    close(single, output[1])
    close(single_state, state[:, 1])


@pytest.mark.parametrize("kind", LAYERS)
def test_packed_sequences_end_where_they_end(kind):
    layer = kind(3, 4, dtype=F64)
    x, lengths = draw(3, 5, 3, g=generator()), [2, 5, 3]
    h0 = random_state(layer, 3, generator())
    packed, state = layer(pack_padded_sequence(x, lengths, True, enforce_sorted=False), h0)
    output, out_lengths = pad_packed_sequence(packed, True)
    assert out_lengths.tolist() == lengths
    for b, length in enumerate(lengths):
        alone, end = layer(x[b, :length], h0[:, b])
        close(output[b, :length], alone)
        close(state[:, b], end)


def test_large_inputs_do_not_overflow():
    for kind in MINIMAL:
        for mode in kind.modes:
            layer = kind(3, 4, mode=mode)
            x = torch.full((2, 5, 3), 1e4, requires_grad=True)
            output, _ = layer(x)
            output.sum().backward()
            assert output.isfinite().all(), (kind, mode)
            assert x.grad.isfinite().all(), (kind, mode)


def test_wrong_input_is_named():
    for kind in LAYERS:
        with pytest.raises(ValueError, match="input_size must be a whole number of at least 1"):
            kind(0, 4)
        with pytest.raises(ValueError, match=r"mode must be one of 'loop', 'scan'.*, got 'fast'"):
            kind(3, 4, mode="fast")
        layer = kind(3, 4)
        with pytest.raises(ValueError, match=r"x must have shape \(B, T, 3\), got \(2, 5, 4\)"):
            layer(torch.zeros(2, 5, 4))
        with pytest.raises(ValueError, match=r"state must have shape \(1, 2, 4\), got \(2, 4\)"):
            layer(torch.zeros(2, 5, 3), torch.zeros(2, 4))


@pytest.mark.parametrize("kind", LAYERS)
def test_arrays_and_other_dtypes_are_refused(kind):
    layer = kind(3, 4)
    x, state = torch.zeros(2, 5, 3), layer(torch.zeros(2, 5, 3))[1].detach()
    double = torch.complex128 if state.is_complex() else F64
    packed = pack_padded_sequence(x.double(), [5, 4], True)
    for arguments, message in [
        ((x.numpy(),), "x must be a torch tensor or a PackedSequence, got ndarray"),
        ((x, state.numpy()), "state must be a torch tensor, got ndarray"),
        ((x, (state,)), "state must be a torch tensor, got tuple"),
        ((x.double(),), "x must have dtype torch.float32 to fit the weights, got torch.float64"),
        ((packed,), "x.data must have dtype torch.float32 to fit the weights, got torch.float64"),
        (
            (x, state.to(double)),
            f"state must have dtype {state.dtype} to fit the weights, got {double}",
        ),
    ]:
        with pytest.raises(ValueError, match=re.escape(message)):
            layer(*arguments)


@pytest.mark.parametrize("kind", LAYERS)
def test_autocast(kind):
    """It casts; so the input may be in bfloat16 and the state in float32."""
    layer = kind(3, 4)
    x = draw(2, 5, 3, dtype=torch.float32, g=generator())
    exact, state = layer(x)
    carried, _ = layer(x, state)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        close(layer(x.bfloat16())[0].float(), exact, atol=0.05)
        close(layer(x.bfloat16(), state)[0].float(), carried, atol=0.05)


def test_wrong_rings_are_named():
    with pytest.raises(ValueError, match=r"r_min must lie between 0 and 0\.5, got 0\.9"):
        pytorch.LRU(3, 4, r_min=0.9, r_max=0.5)
