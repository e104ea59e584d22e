"""Newton's method over the whole sequence (chapter ``efficient_training``): Lim et al. (2024).

The states of a recurrent layer solve T equations, h_t = f(x_t, h_{t-1}). The loop solves them one
after the other. Newton's method guesses all states g at once, sees by how much each equation
fails, and corrects the guess by the linear equations nearest to them:

    r_t = f(x_t, g_{t-1}) - g_t                  the residual of equation t
    J_t = df/dh at (x_t, g_{t-1})                the step's Jacobian
    d_t = J_t d_{t-1} + r_t,     d_0 = 0         the correction: a linear recurrence, so a scan
    g_t <- g_t + d_t = f(x_t, g_{t-1}) + J_t d_{t-1}

until no residual is more than rounding. With the diagonal of J in its place, or with zero, a
correction is cheaper, and more of them are needed to the same solution.

    T steps, B batch, D input, S numbers in the state: an LSTM's are h and c together
    x (B, T, D)      g, r, d, h (B, T, S)      J (B, T, S, S)
    step: x_t (N, D) and h_{t-1} (N, S) -> h_t (N, S), each row for itself; N is B * T, or B
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function

from rnnbook.checks import (
    check_between,
    check_choice,
    check_finite,
    check_positive,
    check_shape,
)
from rnnbook.pytorch.layer import RecurrentLayer, check_tensor, last, open_sequences
from rnnbook.pytorch.scan import odd_even, recurrence_scan

Step = Callable[[Tensor, Tensor], Tensor]


class NotConverged(RuntimeError):
    """After the last iteration allowed, some equation still fails by more than the tolerance."""


class Report(NamedTuple):
    """How the states were found."""

    iterations: int  # how many corrections were made
    residuals: list[float]  # the largest |r_t| of the first guess and after each correction
    looped: bool  # whether the states are the loop's, since the method did not converge
    states: Tensor  # (B, T, S), without gradient: the guess to start from next time


def solve(
    step: Step,
    x: Tensor,
    state0: Tensor,
    *,
    jacobian: str = "full",
    guess: Tensor | None = None,
    clamp: float = math.inf,
    tolerance: float | None = None,
    max_iterations: int = 100,
    otherwise: str = "error",
) -> tuple[Tensor, Report]:
    """All states of ``h_t = step(x_t, h_{t-1})``, by Newton's method; differentiable once.

    After k iterations the first k states are right, whatever the guess; where the method works,
    all of them are after a few.

    Args:
        step: x_t (N, D) and h_{t-1} (N, S) -> h_t (N, S), each row for itself, differentiable in
            both and in the weights that it holds. It is called with all steps at once.
        x: (B, T, D).
        state0: (B, S).
        jacobian: "full"; "diagonal", which leaves the rest of J out; "zero", which leaves all of
            it out, so that each iteration is one step everywhere. The gradient is exact with all.
        guess: of the states, (B, T, S); zeros if None. The states for the weights of some updates
            ago save iterations.
        clamp: keep the guess within -clamp ... clamp, where the states are known to be: 1 for a
            GRU that starts from zeros. It keeps large corrections from making things worse.
        tolerance: the largest residual that passes, in parts of the largest state where that
            exceeds 1. If None, 16 times the spacing of the floats at 1.
        max_iterations: the cap.
        otherwise: what is done where the cap is met: "error", or "loop", which runs the loop.

    Returns:
        the states (B, T, S), and a :class:`Report`.

    Raises:
        NotConverged: where the cap is met and ``otherwise`` is "error".
        ValueError: wrong shapes, dtypes or options; NaN or infinity in ``x`` or ``state0``.

    Source: Lim et al. (2024), Parallelizing Non-Linear Sequential Models over the Sequence Length,
    sections 3.1 and 3.2; diagonal: Gonzalez et al. (2024), Towards Scalable and Stable
    Parallelization of Nonlinear RNNs, section 4.1.
    """
    _check(x, state0, jacobian, guess, clamp, tolerance, max_iterations, otherwise)
    if tolerance is None:
        tolerance = 16 * torch.finfo(state0.dtype).eps
    if guess is None:
        guess = state0.new_zeros(*x.shape[:2], state0.shape[1])

    residuals: list[float] = []
    with torch.no_grad():
        while True:
            before = shifted(state0, guess)
            f, J = linearize(step, x, before, jacobian)
            residual = (f - guess).abs().max() / f.abs().max().clamp(min=1)
            residuals.append(float(residual))
            if residuals[-1] <= tolerance or len(residuals) > max_iterations:
                break
            guess = corrected(guess, f, J).clamp(-clamp, clamp)
            guess = torch.where(guess.isfinite(), guess, 0)

    looped = not residuals[-1] <= tolerance  # NaN is no solution either
    if looped and otherwise == "error":
        raise NotConverged(
            f"After {max_iterations} iterations the largest residual is {residuals[-1]:.1e}, above "
            f"the tolerance of {tolerance:.1e}: allow more iterations, clamp the guess, or run "
            "the loop (otherwise='loop')."
        )
    if looped:
        h = loop(step, x, state0)
    else:
        before = shifted(state0, guess)
        h = everywhere(step, x, before)
        if h.requires_grad:
            full = J if jacobian == "full" else linearize(step, x, before, "full")[1]
            h = _ThroughTime.apply(h, full)
    return h, Report(len(residuals) - 1, residuals, looped, h.detach())


def everywhere(step: Step, x: Tensor, before: Tensor) -> Tensor:
    """f(x_t, g_{t-1}) for all t at once, (B, T, S), from ``before`` (B, T, S), the g_{t-1}."""
    h = step(x.flatten(0, 1), before.flatten(0, 1))
    check_shape("what step returns", h, (len(x) * x.shape[1], before.shape[2]))
    return h.view_as(before)


def shifted(state0: Tensor, guess: Tensor) -> Tensor:
    """The state before each step, (B, T, S)."""
    return torch.cat([state0[:, None], guess[:, :-1]], dim=1)


@torch.enable_grad()
def linearize(
    step: Step, x: Tensor, before: Tensor, jacobian: str = "full"
) -> tuple[Tensor, Tensor]:
    """f (B, T, S) and J (B, T, S, S) at all ``before``; or J's diagonal, or zeros, (B, T, S).

    Row i of J is the gradient of f's number i. No f depends on another's ``before``, so one
    backward pass gives this row for all B * T of them.
    """
    before = before.detach().requires_grad_()
    f = everywhere(step, x.detach(), before)
    if jacobian == "zero":
        return f.detach(), torch.zeros_like(f)
    grad = partial(torch.autograd.grad, retain_graph=True, materialize_grads=True)
    rows = [grad(f_i.sum(), before)[0] for f_i in f.unbind(2)]
    J = torch.stack(rows, dim=2)
    return f.detach(), J if jacobian == "full" else J.diagonal(dim1=2, dim2=3)


def corrected(guess: Tensor, f: Tensor, J: Tensor) -> Tensor:
    """The next guess: d_t = J_t d_{t-1} + r_t by a scan, with all of J or with a diagonal.

    It is f_t + J_t d_{t-1}, which equals g_t + d_t, but is the step itself where nothing before is
    wrong, whatever the size of g_t.
    """
    zero = torch.zeros_like(f[:, 0])
    if J.ndim == 4:
        return f + times(J, shifted(zero, matrix_scan(J, f - guess)))
    return f + J * shifted(zero, recurrence_scan(J, f - guess, zero))


def matrix_scan(a: Tensor, b: Tensor) -> Tensor:
    """All states of ``h_t = A_t h_{t-1} + b_t`` from ``h_0 = 0``, with matrices A_t, by a scan.

    ``a`` (B, T, S, S) and ``b`` (B, T, S) -> ``h`` (B, T, S), by about T products of matrices. As
    :func:`~rnnbook.pytorch.scan.recurrence_scan`: every second state first, then the others.
    """
    return odd_even(a, b, torch.matmul, lambda b, a, h: b + times(a, h))


def times(matrices: Tensor, vectors: Tensor) -> Tensor:
    return (matrices @ vectors[..., None])[..., 0]


class _ThroughTime(Function):
    """The states as they are. Backward turns immediate gradients into total ones,

        delta_t = dh_t + J_{t+1}^T delta_{t+1}

    a scan in reversed time: all that reaches the loss through later states.

    J is a number here, so a second derivative would lack what its changes do, and is refused.
    """

    @staticmethod
    def forward(ctx, h, J):
        ctx.save_for_backward(J)
        return h.view_as(h)

    @staticmethod
    def backward(ctx, dh):
        if torch.is_grad_enabled():  # with create_graph=True
            raise RuntimeError("newton.solve is differentiable once; run the loop.")
        (J,) = ctx.saved_tensors
        J_next = torch.cat([J[:, 1:], torch.zeros_like(J[:, :1])], dim=1)
        return matrix_scan(J_next.mT.flip(1), dh.flip(1)).flip(1), None


def loop(step: Step, x: Tensor, state0: Tensor) -> Tensor:
    """All states of ``h_t = step(x_t, h_{t-1})``, (B, T, S), one after the other."""
    h, hs = state0, []
    for x_t in x.unbind(1):
        h = step(x_t, h)
        hs.append(h)
    return torch.stack(hs, dim=1)


def over_time(layer: RecurrentLayer, x, state=None, **options):
    """What ``layer(x, state)`` returns, found by :func:`solve`, and how.

    Args:
        layer: of ``rnnbook.pytorch``, with one layer and direction.
        x, state: as for the layer. ``options``: those of :func:`solve`.

    Returns:
        ``output`` and ``state`` as the layer's, and the :class:`Report`.

    Raises:
        ValueError, NotConverged: as :func:`solve`; for a layer of another kind.
    """
    step = step_of(layer)
    sequences = open_sequences(x, layer.input_size, layer.weight_ih_l0.dtype, layer.batch_first)
    state0 = torch.cat([start[0] for start in layer._states(state, sequences)], dim=1)
    states, report = solve(step, sequences.x.transpose(0, 1), state0, **options)
    parts = states.transpose(0, 1).split(layer._state_sizes, dim=2)  # (T, B, H) each
    finals = [sequences.close_state(last(part, sequences.lengths)[None]) for part in parts]
    return sequences.close(parts[0]), tuple(finals) if len(finals) > 1 else finals[0], report


def step_of(layer: RecurrentLayer) -> Step:
    """A layer's step, for :func:`solve`: its loop over a single step."""
    if not isinstance(layer, RecurrentLayer) or layer.num_layers * layer.directions > 1:
        raise ValueError(
            "layer must be a recurrent layer of rnnbook.pytorch with one layer and direction, "
            f"got {layer}."
        )
    weights = layer._weights(0)

    def step(x_t: Tensor, h: Tensor) -> Tensor:
        states = layer._loop(weights, x_t[None], *h.split(layer._state_sizes, dim=1))
        return torch.cat([s[0] for s in states], dim=1)

    return step


def lyapunov_exponents(J: Tensor) -> Tensor:
    """By how much small differences grow along a trajectory, in nats a step: the largest first.

    Of the Jacobians ``J`` (B, T, S, S) along it, the product ``J_T ... J_1`` is taken with its
    columns made orthogonal anew at each step; the exponents (B, S) are the means over t of the
    logarithms by which they were stretched. Above zero, the network is chaotic.
    Source: Benettin et al. (1980), Lyapunov Characteristic Exponents for Smooth Dynamical Systems,
    Meccanica 15.
    """
    check_shape("J", J, ("B", "T", *[getattr(J, "shape", "S")[-1]] * 2))
    Q, stretches = torch.eye(J.shape[-1], dtype=J.dtype, device=J.device), []
    for J_t in J.unbind(1):
        Q, R = torch.linalg.qr(J_t @ Q)
        stretches.append(R.diagonal(dim1=1, dim2=2).abs().log())
    return torch.stack(stretches).mean(dim=0).sort(dim=1, descending=True).values


def _check(x, state0, jacobian, guess, clamp, tolerance, max_iterations, otherwise) -> None:
    dtype: Any = getattr(state0, "dtype", None)
    check_tensor("state0", state0, ("B", "S"), dtype)
    if not dtype.is_floating_point:
        raise ValueError(f"state0 must hold floats, got {dtype}.")
    check_tensor("x", x, (len(state0), "T", "D"), dtype)
    check_finite("state0", state0)
    check_finite("x", x)
    if guess is not None:
        check_tensor("guess", guess, (*x.shape[:2], state0.shape[1]), dtype)
    check_choice("jacobian", jacobian, ("full", "diagonal", "zero"))
    check_between("clamp", clamp, 0, math.inf)
    if tolerance is not None:
        check_between("tolerance", tolerance, 0, math.inf)
    check_positive("max_iterations", max_iterations)
    check_choice("otherwise", otherwise, ("error", "loop"))
