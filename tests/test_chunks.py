"""Linear attention: loop, chunks, scan and masked attention are one function."""

import pytest

pytest.importorskip("torch", reason="linear attention is written in torch")

import torch
from hypothesis import given
from hypothesis import strategies as st

from rnnbook.pytorch.chunks import linear_attention, linear_attention_loop
from rnnbook.pytorch.scan import recurrence_scan

F64 = torch.float64


def draw(B, T, N, M, *, seed=0, dtype=F64, forget=1.0):
    """Queries, keys, values, gates' logarithms and a first state."""
    g = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, dtype=dtype, generator=g)

    log_a = forget * torch.nn.functional.logsigmoid(normal(B, T))
    return normal(B, T, N) / N**0.5, normal(B, T, N), normal(B, T, M), log_a, normal(B, N, M)


def with_gradients(f, inputs, seed=1):
    """Outputs, last state, and the gradients of a random sum of both."""
    inputs = [x.clone().requires_grad_() for x in inputs]
    results = f(*inputs)
    g = torch.Generator().manual_seed(seed)
    weights = [torch.randn(r.shape, dtype=F64, generator=g).to(r.dtype) for r in results]
    return [r.detach() for r in results] + list(torch.autograd.grad(results, inputs, weights))


def close(ours, theirs, bound):
    for one, other in zip(ours, theirs, strict=True):
        scale = max(1.0, other.abs().max().item())
        torch.testing.assert_close(one / scale, other / scale, rtol=0, atol=bound)


@given(
    sizes=st.tuples(*(st.integers(1, n) for n in (3, 17, 5, 4))),
    chunk=st.integers(1, 20),
    seed=st.integers(0, 5),
)
def test_chunks_of_any_length_are_the_loop(sizes, chunk, seed):
    inputs = draw(*sizes, seed=seed)
    ours = with_gradients(lambda *x: linear_attention(*x, chunk=chunk), inputs)
    close(ours, with_gradients(linear_attention_loop, inputs), 1e-12)


@pytest.mark.parametrize("chunk", [1, 7, 64, 300])
@pytest.mark.parametrize("forget", [0.0, 1.0, 100.0])  # nothing, usual, all but everything
def test_long_sequences(chunk, forget):
    inputs = draw(2, 300, 8, 6, forget=forget)
    exact = with_gradients(linear_attention_loop, inputs)
    close(with_gradients(lambda *x: linear_attention(*x, chunk=chunk), inputs), exact, 1e-12)
    single = [x.float() for x in inputs]
    ours = with_gradients(lambda *x: linear_attention(*x, chunk=chunk), single)
    assert all(x.dtype == torch.float32 for x in ours)
    close([x.double() for x in ours], exact, 1e-4 if forget == 100 else 1e-5)


def test_one_chunk_without_gates_is_masked_attention():
    q, k, v, log_a, _ = draw(3, 20, 4, 5, forget=0.0)
    expected = (q @ k.mT).tril() @ v
    close([linear_attention(q, k, v, log_a, chunk=20)[0]], [expected], 1e-12)


def test_the_recurrence_is_one_that_a_scan_takes():
    q, k, v, log_a, state = draw(2, 33, 4, 5)
    written = (k[:, :, :, None] * v[:, :, None, :]).flatten(2)  # (B, T, N * M)
    a = log_a.exp()[:, :, None].expand_as(written)
    states = recurrence_scan(a, written, state.flatten(1)).unflatten(2, (4, 5))
    expected = torch.einsum("btn,btnm->btm", q, states)
    close([linear_attention(q, k, v, log_a, state, chunk=8)[0]], [expected], 1e-12)


def test_two_halves_are_the_whole():
    inputs = draw(2, 30, 3, 4)
    *sequences, state = inputs
    whole = linear_attention(*inputs, chunk=8)
    first, state = linear_attention(*(x[:, :13] for x in sequences), state, chunk=8)
    second, state = linear_attention(*(x[:, 13:] for x in sequences), state, chunk=5)
    close([torch.cat([first, second], dim=1), state], whole, 1e-12)


def test_without_a_state_it_begins_with_zeros():
    *sequences, state = draw(2, 9, 3, 4)
    zeros = torch.zeros_like(state)
    ours = linear_attention(*sequences, chunk=4)
    close(ours, linear_attention(*sequences, zeros, chunk=4), 0)


def test_gradcheck():
    inputs = [x.requires_grad_() for x in draw(2, 5, 2, 3)]
    assert torch.autograd.gradcheck(lambda *x: linear_attention(*x, chunk=2), inputs)


GOOD = dict(zip(("q", "k", "v", "log_a", "state"), draw(2, 6, 3, 4), strict=True))
WRONG = [
    ({"q": torch.zeros(6, 3)}, r"q must have shape \(B, T, N\), got \(6, 3\)"),
    ({"k": torch.zeros(2, 6, 4)}, r"k must have shape \(2, 6, 3\), got \(2, 6, 4\)"),
    ({"v": torch.zeros(2, 5, 4)}, r"v must have shape \(2, 6, M\), got \(2, 5, 4\)"),
    ({"log_a": torch.zeros(2, 6, 1)}, r"log_a must have shape \(2, 6\), got \(2, 6, 1\)"),
    ({"state": torch.zeros(3, 4)}, r"state must have shape \(2, 3, 4\), got \(3, 4\)"),
    ({"chunk": 0}, "chunk must be a whole number of at least 1, got 0"),
    ({"chunk": 2.0}, "chunk must be a whole number of at least 1, got 2.0"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG, ids=[message for _, message in WRONG])
def test_wrong_input_is_told(changes, message):
    with pytest.raises(ValueError, match=message):
        linear_attention(**GOOD | {"chunk": 2} | changes)
