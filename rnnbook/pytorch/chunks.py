"""Linear attention: one recurrence as a loop, in chunks, and as attention (``efficient_training``).

    S_t = a_t S_{t-1} + k_t v_t^T        o_t = S_t^T q_t        t = 1 ... T

The state is a matrix: each step writes a value ``v_t`` under a key ``k_t``, a gate ``a_t`` forgets,
and a query ``q_t`` reads. Unrolled, with ``a_{s+1} ... a_t`` the product of the gates in between,

    o_t = a_1 ... a_t S_0^T q_t  +  sum over s <= t of  a_{s+1} ... a_t (q_t . k_s) v_s

which is attention without a softmax. A chunk of C steps is computed so, and the state goes from one
chunk to the next: C = 1 is the loop, C = T is attention.

    T steps, B batch, N the size of keys, M of values, C steps in a chunk
    q, k (B, T, N)    v, o (B, T, M)    log_a (B, T)    S (B, N, M)
"""

import torch
from torch import Tensor

from rnnbook.checks import check_positive, check_shape


def linear_attention_loop(
    q: Tensor, k: Tensor, v: Tensor, log_a: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """The recurrence as it is written: arguments and results of :func:`linear_attention`."""
    S, outputs = state, []
    steps = (x.unbind(1) for x in (q, k, v, log_a.exp()))
    for q_t, k_t, v_t, a_t in zip(*steps, strict=True):
        S = a_t[:, None, None] * S + k_t[:, :, None] * v_t[:, None, :]  # (B, N, M)
        outputs.append((q_t[:, :, None] * S).sum(1))  # (B, M)
    return torch.stack(outputs, dim=1), S


def linear_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    log_a: Tensor,
    state: Tensor | None = None,
    *,
    chunk: int,
) -> tuple[Tensor, Tensor]:
    """All outputs of the recurrence, ``chunk`` steps at once; the results are those of the loop.

    It takes about ``B T (C (N + M) + 2 N M)`` multiplications in ``T / C`` rounds. Sums of log_a
    run over a chunk, and their digits are lost from the result: in float32 expect a relative error
    of about 1e-7 times the absolute value of the largest such sum.

    Args:
        q, k: queries and keys, (B, T, N).
        v: values, (B, T, M).
        log_a: the logarithms of the gates, (B, T), at most 0; zeros where nothing is forgotten.
        state: S_0 (B, N, M); zeros if None.
        chunk: C, at least 1. The last chunk is shorter where C does not divide T.

    Returns:
        The outputs o (B, T, M) and the last state S_T (B, N, M).

    Raises:
        ValueError: shapes that do not fit together, or a ``chunk`` that is no whole number of at
            least 1.

    Source: Katharopoulos et al. (2020), Transformers Are RNNs, section 3, without gates; with
    gates and chunks, Yang et al. (2024), Gated Linear Attention Transformers, sections 2 and 4.
    """
    check_shape("q", q, ("B", "T", "N"))
    B, T, N = q.shape
    check_shape("k", k, (B, T, N))
    check_shape("v", v, (B, T, "M"))
    check_shape("log_a", log_a, (B, T))
    M = v.shape[2]
    if state is not None:
        check_shape("state", state, (B, N, M))
    check_positive("chunk", chunk)

    S, outputs = q.new_zeros(B, N, M) if state is None else state, []
    chunks = (x.split(chunk, dim=1) for x in (q, k, v, log_a))
    for q_c, k_c, v_c, log_a_c in zip(*chunks, strict=True):
        o, S = one_chunk(q_c, k_c, v_c, log_a_c, S)
        outputs.append(o)
    return torch.cat(outputs, dim=1), S


def one_chunk(q: Tensor, k: Tensor, v: Tensor, log_a: Tensor, S: Tensor):
    """The outputs of C steps after the state ``S``, and the state after them."""
    A = log_a.cumsum(1)  # (B, C): log of a_1 ... a_t
    between = A[:, :, None] - A[:, None, :]  # (B, C, C): log of a_{s+1} ... a_t
    future = torch.ones_like(between[0], dtype=torch.bool).triu(1)  # s > t
    scores = (q @ k.mT) * between.masked_fill(future, -torch.inf).exp()
    o = scores @ v + A.exp()[:, :, None] * (q @ S)

    # (B, C): how much of step s the chunk's end still holds
    to_end = (A[:, -1:] - A).exp()
    S = A[:, -1].exp()[:, None, None] * S + (to_end[:, :, None] * k).mT @ v
    return o, S
