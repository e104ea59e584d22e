"""Linear recurrences that can run in parallel over time (chapter ``efficient_training``).

    h_t = a_t * h_{t-1} + b_t,           a, b, h (B, T, H)     h_0 (B, H)     t = 1 ... T

Two steps in a row are again such a step, with coefficients ``(a_t a_{t-1}, a_t b_{t-1} + b_t)``.
This composition is associative, so the steps may be grouped at will: that is a scan. Three ways to
the same states, all differentiable, the first two for complex numbers as well:

    recurrence_loop        T steps, one after the other
    recurrence_scan        about 2 log2(T) rounds over whole tensors
    recurrence_log_scan    two cumulative sums, of logarithms: for positive a and b only

Which is fastest depends on the machine and on B x H: measure before choosing.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable


def recurrence_loop(a: Tensor, b: Tensor, h0: Tensor) -> Tensor:
    """All states of ``h_t = a_t * h_{t-1} + b_t``, one step after the other.

    ``a``, ``b`` (B, T, H) and ``h0`` (B, H) -> ``h`` (B, T, H).
    """
    h, hs = h0, []
    # Not a[:, t]: each such view would get a gradient as long as the sequence, T^2 in all.
    for a_t, b_t in zip(a.unbind(1), b.unbind(1), strict=True):
        h = torch.addcmul(b_t, a_t, h)
        hs.append(h)
    return torch.stack(hs, dim=1)


class _Scan(Function):
    """The scan and, as its backward, the scan of the gradients in reversed time."""

    @staticmethod
    def forward(ctx, a, b, h0):
        first = torch.addcmul(b[:, :1], a[:, :1], h0[:, None])  # with h0 inside, zero precedes
        b = torch.cat([first, b[:, 1:]], dim=1)
        h = odd_even(a, b, torch.mul, torch.addcmul)
        ctx.save_for_backward(a, h0, h)
        return h

    @staticmethod
    @once_differentiable
    def backward(ctx, dh):
        # The total gradient of a state also counts what reaches the loss through the next one:
        #     delta_t = dh_t + conj(a_{t+1}) * delta_{t+1}
        # then da_t = delta_t * conj(h_{t-1}),  db_t = delta_t,  dh_0 = conj(a_1) * delta_1.
        a, h0, h = ctx.saved_tensors
        a_next = torch.cat([a[:, 1:], torch.zeros_like(a[:, :1])], dim=1).conj()
        delta = odd_even(a_next.flip(1), dh.flip(1), torch.mul, torch.addcmul).flip(1)
        h_before = torch.cat([h0[:, None], h[:, :-1]], dim=1)
        return delta * h_before.conj(), delta, a[:, 0].conj() * delta[:, 0]


def recurrence_scan(a: Tensor, b: Tensor, h0: Tensor) -> Tensor:
    """All states of ``h_t = a_t * h_{t-1} + b_t``, by a scan; differentiable once.

    ``a``, ``b`` (B, T, H) and ``h0`` (B, H) -> ``h`` (B, T, H), by O(B T H) multiplications in all.
    Nothing is divided and no logarithm is taken, so coefficients of any sign and size will do.
    Source: Blelloch (1990), Prefix Sums and Their Applications, CMU-CS-90-190, section 1.4; for
    recurrent networks, with the gradient, Martin & Cundy (2018), Parallelizing Linear Recurrent
    Neural Nets Over Sequence Length.
    """
    return _Scan.apply(a, b, h0)


def odd_even(a: Tensor, b: Tensor, compose: Callable, apply: Callable) -> Tensor:
    """The recurrence from a zero state: every second state first, then those in between.

    ``compose(a2, a1)`` is one coefficient for two steps, ``apply(b, a, h)`` is ``a h + b``: for
    numbers ``torch.mul`` and ``torch.addcmul``, for matrices their products.
    """
    steps = b.shape[1]
    if steps == 1:
        return b
    a_even, b_even = a[:, 0 : steps - 1 : 2], b[:, 0 : steps - 1 : 2]
    a_odd, b_odd = a[:, 1::2], b[:, 1::2]
    # Two steps at once:
    two, b_two = compose(a_odd, a_even), apply(b_odd, a_odd, b_even)
    h = torch.empty_like(b)
    h[:, 1::2] = odd_even(two, b_two, compose, apply)
    h[:, 0] = b[:, 0]
    h[:, 2::2] = apply(b[:, 2::2], a[:, 2::2], h[:, 1 : steps - 1 : 2])
    return h


def recurrence_log_scan(log_a: Tensor, log_b: Tensor, h0: Tensor) -> Tensor:
    """All states of ``h_t = a_t * h_{t-1} + b_t`` from the logarithms of positive a and b.

        A_t = log a_1 + ... + log a_t
        h_t = exp(A_t) * h_0 + exp(A_t + log(sum over s <= t of exp(log b_s - A_s)))

    ``log_a``, ``log_b`` (B, T, H) and ``h0`` (B, H), of any sign -> ``h`` (B, T, H). The sum A
    grows with T and takes digits from the result: in float32 expect a relative error of about
    1e-7 times the absolute value of A_T.
    Source: Heinsen (2023), Efficient Parallelization of a Ubiquitous Sequential Computation,
    arXiv:2311.06281; used so by Feng et al. (2024), appendix B.
    """
    log_products = log_a.cumsum(dim=1)  # A_t
    log_sums = torch.logcumsumexp(log_b - log_products, dim=1)
    return log_products.exp() * h0[:, None] + (log_products + log_sums).exp()
