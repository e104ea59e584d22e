"""The hand-written backward passes of rnnbook.pytorch.fused, taken alone."""

import pytest

pytest.importorskip("torch", reason="the layers are torch modules")

import torch

from rnnbook import pytorch
from rnnbook.pytorch.fused import (
    GRUFunction,
    LSTMFunction,
    ResetBeforeGRUFunction,
    RNNFunction,
)

T, B, D, H = 4, 3, 2, 5
F64 = torch.float64
CASES = [(RNNFunction, 1, 1, "tanh"), (RNNFunction, 1, 1, "relu"), (GRUFunction, 3, 1, None)]
CASES += [(LSTMFunction, 4, 2, None), (ResetBeforeGRUFunction, 3, 1, None)]
cases = pytest.mark.parametrize(("function", "blocks", "states", "nonlinearity"), CASES)


def draw(blocks, states, steps=T):
    """x, the states and the four weights, from a fixed seed."""
    g = torch.Generator().manual_seed(0)
    shapes = [(steps, B, D), *[(B, H)] * states]
    shapes += [(blocks * H, D), (blocks * H, H), (blocks * H,), (blocks * H,)]
    return [torch.randn(s, dtype=F64, generator=g).requires_grad_() for s in shapes]


@cases
@pytest.mark.parametrize("steps", [1, T])
def test_gradcheck(function, blocks, states, nonlinearity, steps):
    extra = () if nonlinearity is None else (nonlinearity,)
    inputs = draw(blocks, states, steps)
    assert torch.autograd.gradcheck(lambda *tensors: function.apply(*tensors, *extra), inputs)


def draw_projected(steps=T):
    """As ``draw(4, 2)``, for an LSTM whose h has 3 numbers."""
    x, _, c0, w_ih, _, b_ih, b_hh = draw(4, 2, steps)
    g = torch.Generator().manual_seed(1)
    h0, w_hh, w_hr = (
        torch.randn(shape, dtype=F64, generator=g).requires_grad_()
        for shape in [(B, 3), (4 * H, 3), (3, H)]
    )
    return [x, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr]


@pytest.mark.parametrize("steps", [1, T])
def test_gradcheck_of_the_projected_lstm(steps):
    assert torch.autograd.gradcheck(LSTMFunction.apply, draw_projected(steps))


@pytest.mark.parametrize("inputs", [draw(4, 2), draw_projected()])
@pytest.mark.parametrize("which", [0, 1])
def test_gradient_of_one_of_the_lstms_outputs_alone(which, inputs):
    assert torch.autograd.gradcheck(lambda *tensors: LSTMFunction.apply(*tensors)[which], inputs)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU", "ResetBeforeGRU"])
def test_backward_twice_over_one_graph_gives_the_same(name):
    layer = getattr(pytorch, f"Fused{name}")(D, H, 2, dtype=F64)
    x = torch.randn(B, T, D, dtype=F64, requires_grad=True)
    loss = layer(x)[0].square().sum()
    inputs = [x, *layer.parameters()]
    first = torch.autograd.grad(loss, inputs, retain_graph=True)
    second = torch.autograd.grad(loss, inputs)
    torch.testing.assert_close(first, second, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU", "ResetBeforeGRU"])
def test_neither_inputs_nor_outputs_are_changed(name):
    layer = getattr(pytorch, f"Fused{name}")(D, H, dtype=F64)
    x, dy = torch.randn(B, T, D, dtype=F64), torch.randn(B, T, H, dtype=F64)
    before = [x.clone(), dy.clone(), *(p.detach().clone() for p in layer.parameters())]
    output, _ = layer(x)
    kept = output.detach().clone()
    output.backward(dy)
    after = [x, dy, *(p.detach() for p in layer.parameters())]
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    torch.testing.assert_close(output.detach(), kept, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU", "ResetBeforeGRU"])
def test_a_change_in_place_of_what_backward_needs_is_refused_not_wrong(name):
    layer = getattr(pytorch, f"Fused{name}")(D, H)
    output, _ = layer(torch.randn(B, T, D))
    with pytest.raises(RuntimeError, match="modified inplace"):
        output.mul_(2)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU", "ResetBeforeGRU"])
def test_a_second_derivative_is_refused_not_wrong(name):
    layer = getattr(pytorch, f"Fused{name}")(D, H)
    x = torch.randn(B, T, D, requires_grad=True)
    (dx,) = torch.autograd.grad(layer(x)[0].square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        dx.sum().backward()
    readable = getattr(pytorch, name)(D, H)
    (dx,) = torch.autograd.grad(readable(x)[0].square().sum(), x, create_graph=True)
    dx.sum().backward()


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU", "ResetBeforeGRU"])
def test_frozen_parts_get_no_gradient(name):
    layer = getattr(pytorch, f"Fused{name}")(D, H)
    layer.weight_ih_l0.requires_grad_(False)
    layer(torch.randn(B, T, D))[0].sum().backward()
    assert layer.weight_ih_l0.grad is None
    assert layer.weight_hh_l0.grad.abs().sum() > 0


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU", "ResetBeforeGRU"])
def test_the_graph_is_short(name):
    """One operation for the whole loop, where the readable layer has some for every step."""

    def operations(layer):
        seen, queue = set(), [layer(torch.randn(B, 50, D))[0].grad_fn]
        while queue:
            node = queue.pop()
            if node is not None and node not in seen:
                seen.add(node)
                queue += [following for following, _ in node.next_functions]
        return len(seen)

    assert operations(getattr(pytorch, f"Fused{name}")(D, H)) < 20
    assert operations(getattr(pytorch, name)(D, H)) > 100


@pytest.mark.parametrize("packed", [False, True])
def test_fused_reset_before_gru_is_the_readable_one(packed):
    fused = pytorch.FusedResetBeforeGRU(D, H, 2, bidirectional=True, dtype=F64)
    readable = pytorch.ResetBeforeGRU(D, H, 2, bidirectional=True, dtype=F64)
    readable.load_state_dict(fused.state_dict())
    x, state = torch.randn(B, T, D, dtype=F64), torch.randn(4, B, H, dtype=F64)
    results = []
    for layer in (fused, readable):
        leaf, start = x.clone().requires_grad_(), state.clone().requires_grad_()
        given = leaf
        if packed:
            given = torch.nn.utils.rnn.pack_padded_sequence(
                leaf, torch.tensor([2, 4, 1]), batch_first=True, enforce_sorted=False
            )
        output, final = layer(given, start)
        data = output.data if packed else output
        loss = (data * data.detach().cos()).sum() + (final * final.detach().sin()).sum()
        results.append(
            [data, final, *torch.autograd.grad(loss, [leaf, start, *layer.parameters()])]
        )
    torch.testing.assert_close(*results, rtol=0, atol=1e-12)
