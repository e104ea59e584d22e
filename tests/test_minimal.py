"""MinGRU and MinLSTM: loop and scan, torch's autograd, finite differences."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optional import optional

from rnnbook.gradcheck import check_layer
from rnnbook.scratch.minimal import (
    MinGRU,
    MinLSTM,
    recurrence_backward,
    recurrence_loop,
    recurrence_scan,
)

torch = optional("torch")

KINDS = [MinGRU, MinLSTM]
METHODS = ["loop", "scan"]
sizes = st.tuples(*(st.integers(1, n) for n in (4, 19, 4, 5)))  # B, T, D, H


def torch_forward(layer, x, h, lengths):
    """The equations of the docstrings in torch, one sequence and one step at a time."""
    p = {name: torch.tensor(array, requires_grad=True) for name, array in layer.params.items()}
    outputs, finals = [], []
    for b in range(x.shape[0]):
        state, rows = h[0, b], []
        for t in range(x.shape[1]):
            if t >= lengths[b]:
                rows.append(torch.zeros_like(state))
                continue
            blocks = (p["weight_ih_l0"] @ x[b, t] + p["bias_ih_l0"]).split(layer.hidden_size)
            if isinstance(layer, MinGRU):
                z, n = torch.sigmoid(blocks[0]), blocks[1]
                state = (1 - z) * state + z * n
            else:
                i, f, g = torch.sigmoid(blocks[0]), torch.sigmoid(blocks[1]), blocks[2]
                state = f / (f + i) * state + i / (f + i) * g
            rows.append(state)
        outputs.append(torch.stack(rows))
        finals.append(state)
    return torch.stack(outputs), torch.stack(finals)[None], p


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
@given(sizes=sizes, padded=st.booleans(), seed=st.integers(0, 5))
def test_values_and_gradients_are_autograds(kind, method, sizes, padded, seed):
    B, T, D, H = sizes
    rng = np.random.default_rng(seed)
    layer = kind(D, H, method=method, rng=rng)
    x, h0 = rng.standard_normal((B, T, D)), rng.standard_normal((1, B, H))
    doutput, dstate = rng.standard_normal((B, T, H)), rng.standard_normal((1, B, H))
    lengths = rng.integers(1, T + 1, B) if padded else None
    x_t, h0_t = torch.tensor(x, requires_grad=True), torch.tensor(h0, requires_grad=True)
    output, final, p = torch_forward(layer, x_t, h0_t, lengths if padded else [T] * B)
    ((output * torch.tensor(doutput)).sum() + (final * torch.tensor(dstate)).sum()).backward()

    ours, state = layer.forward(x, h0, lengths)
    dx, dh0 = layer.backward(doutput, dstate)
    close = {"rtol": 0, "atol": 1e-10}
    np.testing.assert_allclose(ours, output.detach(), **close)
    np.testing.assert_allclose(state, final.detach(), **close)
    np.testing.assert_allclose(dx, x_t.grad, **close)
    np.testing.assert_allclose(dh0, h0_t.grad, **close)
    assert set(layer.grads) == set(layer.params)
    for name, parameter in p.items():
        np.testing.assert_allclose(layer.grads[name], parameter.grad, **close)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
def test_finite_differences_agree(kind, method):
    rng = np.random.default_rng(0)
    layer = kind(3, 4, method=method, rng=rng)
    x, state = rng.standard_normal((2, 5, 3)), rng.standard_normal((1, 2, 4))
    for start, lengths in [(None, None), (state, None), (state, [5, 2])]:
        errors = check_layer(layer, x, state=start, lengths=lengths, rng=rng)
        assert max(errors.values()) < 1e-7, errors


@given(sizes=sizes, seed=st.integers(0, 5))
def test_loop_and_scan_agree_for_coefficients_of_any_sign(sizes, seed):
    B, T, _, H = sizes
    rng = np.random.default_rng(seed)
    a, b, dh = rng.standard_normal((3, B, T, H))
    h0 = rng.standard_normal((B, H))
    a[rng.random(a.shape) < 0.1] = 0  # where a logarithm or a division would fail
    before = a.copy(), b.copy()
    h = recurrence_loop(a, b, h0)
    np.testing.assert_allclose(recurrence_scan(a, b, h0), h, rtol=1e-10, atol=1e-10)
    by_loop = recurrence_backward(a, h0, h, dh, recurrence_loop)
    by_scan = recurrence_backward(a, h0, h, dh, recurrence_scan)
    for one, other in zip(by_loop, by_scan, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(a, before[0])
    np.testing.assert_array_equal(b, before[1])


@pytest.mark.parametrize("kind", KINDS)
def test_two_halves_with_the_state_carried_over_are_the_whole(kind):
    rng = np.random.default_rng(0)
    layer = kind(3, 4, rng=rng)
    x = rng.standard_normal((2, 9, 3))
    whole, last = layer.forward(x)
    first, state = layer.forward(x[:, :4])
    second, end = layer.forward(x[:, 4:], state)
    np.testing.assert_allclose(np.concatenate([first, second], axis=1), whole, atol=1e-12)
    np.testing.assert_allclose(end, last, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_returned_does_not_alias_what_backward_needs(method):
    rng = np.random.default_rng(0)
    layer = MinLSTM(3, 4, method=method, rng=rng)
    x = rng.standard_normal((2, 5, 3))
    output, state = layer.forward(x)
    expected, _ = layer.backward(np.ones_like(output))
    output, state = layer.forward(x)
    output[...] = state[...] = 7
    np.testing.assert_array_equal(layer.backward(np.ones_like(output))[0], expected)


def test_what_lies_beyond_a_sequence_is_ignored():
    layer = MinGRU(3, 4, rng=np.random.default_rng(0))
    x = np.ones((2, 5, 3))
    output, state = layer.forward(x, lengths=[3, 5])
    x[0, 3:] = np.nan
    again, state_again = layer.forward(x, lengths=[3, 5])
    np.testing.assert_array_equal(again, output)
    np.testing.assert_array_equal(state_again, state)


def test_gradient_of_the_final_state_alone():
    rng = np.random.default_rng(0)
    layer = MinGRU(3, 4, rng=rng)
    x = rng.standard_normal((2, 5, 3))
    output, state = layer.forward(x)
    through_state, _ = layer.backward(None, np.ones_like(state))
    doutput = np.zeros_like(output)
    doutput[:, -1] = 1
    layer.forward(x)
    np.testing.assert_allclose(through_state, layer.backward(doutput)[0], atol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_float32_stays_float32_and_large_inputs_do_not_overflow(kind):
    layer = kind(3, 4, dtype=np.float32, rng=np.random.default_rng(0))
    output, state = layer.forward(np.full((2, 5, 3), 1e4))
    dx, dh0 = layer.backward(np.ones_like(output))
    assert {a.dtype for a in (output, state, dx, dh0, *layer.grads.values())} == {
        np.dtype(np.float32)
    }
    assert all(np.isfinite(a).all() for a in (output, state, dx, *layer.grads.values()))


def test_two_closed_gates_of_the_minlstm_share_equally():
    layer = MinLSTM(1, 1, rng=np.random.default_rng(0))
    layer.params["weight_ih_l0"][:, 0] = [-1, -1, 0]
    layer.params["bias_ih_l0"][:] = [0, 0, 4]
    output, _ = layer.forward(np.full((1, 1, 1), 1e3))
    assert output.item() == 2  # half of h0 = 0, half of g = 4
    layer.backward(np.ones_like(output))
    assert layer.grads["bias_ih_l0"].tolist() == [1, -1, 0.5]


def test_wrong_input_is_named():
    layer = MinGRU(3, 4, rng=np.random.default_rng(0))
    x = np.zeros((2, 5, 3))
    with pytest.raises(RuntimeError, match=r"MinGRU\.backward needs a call of forward before it"):
        layer.backward(None)
    with pytest.raises(ValueError, match=r"x must have shape \(B, T, 3\), got \(5, 3\)"):
        layer.forward(x[0])
    with pytest.raises(ValueError, match=r"x must be finite, got nan at index \(0, 0, 0\)"):
        layer.forward(x + np.nan)
    with pytest.raises(ValueError, match=r"state must have shape \(1, 2, 4\), got \(2, 4\)"):
        layer.forward(x, np.zeros((2, 4)))
    with pytest.raises(ValueError, match="lengths must lie between 1 and T = 5, got 6 at index 1"):
        layer.forward(x, lengths=[5, 6])
    layer.forward(x)
    with pytest.raises(ValueError, match=r"doutput must have shape \(2, 5, 4\), got \(2, 5, 3\)"):
        layer.backward(x)
    with pytest.raises(ValueError, match=r"dstate must have shape \(1, 2, 4\), got \(2, 4\)"):
        layer.backward(None, np.zeros((2, 4)))
    assert layer.grads == {}
    with pytest.raises(ValueError, match="method must be one of 'loop', 'scan', got 'fast'"):
        MinLSTM(3, 4, method="fast")
