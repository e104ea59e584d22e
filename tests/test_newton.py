"""rnnbook.pytorch.newton: states and gradients of the loop, iterations, failures that are told."""

import math
import re

import pytest

pytest.importorskip("torch", reason="the layers are torch modules")

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from rnnbook.pytorch import GRU, LSTM, RNN, FusedGRU, FusedLSTM, ResetBeforeGRU, newton
from rnnbook.pytorch.scan import recurrence_loop

F64 = torch.float64
KINDS = [RNN, LSTM, GRU, ResetBeforeGRU]
JACOBIANS = ["full", "diagonal", "zero"]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(*shape, dtype=F64, seed=0):
    return torch.randn(*shape, dtype=dtype, generator=generator(seed))


def layer_of(kind, *, scale=1.0, seed=0, dtype=F64, inputs=2, hidden=4, **options):
    layer = kind(inputs, hidden, dtype=dtype, **options)
    layer.reset_parameters(generator(seed))
    with torch.no_grad():
        layer.weight_hh_l0 *= scale
    return layer


def state_of(layer, batch, seed=7):
    """An initial state that is not zero."""
    parts = [
        0.5 * draw(1, batch, size, dtype=layer.weight_ih_l0.dtype, seed=seed + i)
        for i, size in enumerate(layer._state_sizes)
    ]
    return tuple(parts) if len(parts) > 1 else parts[0]


def both_ways(run, layer, x, state):
    """All outputs, final states, and gradients of all parameters, the input and the state."""
    x = x.clone().requires_grad_()
    parts = [s.clone().requires_grad_() for s in (state if isinstance(state, tuple) else (state,))]
    output, finals, *_ = run(x, tuple(parts) if len(parts) > 1 else parts[0])
    finals = finals if isinstance(finals, tuple) else (finals,)
    weighted = [(s * draw(*s.shape, seed=3 + i)).sum() for i, s in enumerate((output, *finals))]
    gradients = torch.autograd.grad(sum(weighted), [*layer.parameters(), x, *parts])
    return [output.detach(), *(s.detach() for s in finals)], gradients


def largest_error(ours, theirs):
    """In parts of the largest number of each array, where that is above 1."""
    return max(
        float((a - b).abs().max() / b.abs().max().clamp(min=1))
        for a, b in zip(ours, theirs, strict=True)
    )


def check_against_the_loop(layer, x, *, states, gradients, **options):
    state = state_of(layer, len(x))
    theirs = both_ways(layer, layer, x, state)
    ours = both_ways(lambda x, s: newton.over_time(layer, x, s, **options), layer, x, state)
    assert largest_error(ours[0], theirs[0]) <= states
    assert largest_error(ours[1], theirs[1]) <= gradients


# What it computes.


@pytest.mark.parametrize("steps", [1, 2, 16, 129, 1024])
@pytest.mark.parametrize("kind", KINDS)
def test_states_and_gradients_are_the_loops(kind, steps):
    layer = layer_of(kind)
    check_against_the_loop(layer, draw(3, steps, 2, seed=1), states=1e-12, gradients=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_over_long_sequences_too(kind):
    layer = layer_of(kind, hidden=8)
    check_against_the_loop(layer, draw(2, 4096, 2), states=1e-12, gradients=1e-11)


@pytest.mark.parametrize("jacobian", JACOBIANS)
@pytest.mark.parametrize("kind", KINDS)
def test_any_part_of_the_jacobian_gives_the_same(kind, jacobian):
    layer, x = layer_of(kind, seed=2), draw(2, 50, 2, seed=1)
    check_against_the_loop(layer, x, states=1e-12, gradients=1e-11, jacobian=jacobian)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (RNN, {"nonlinearity": "relu"}),
        (RNN, {"bias": False}),
        (LSTM, {"proj_size": 2}),
        (FusedLSTM, {}),
        (FusedGRU, {}),
    ],
)
@pytest.mark.parametrize("steps", [1, 40])
def test_the_kinds_of_layers(kind, options, steps):
    layer = layer_of(kind, **options)
    check_against_the_loop(layer, draw(3, steps, 2, seed=1), states=1e-12, gradients=1e-11)


@pytest.mark.parametrize("kind", KINDS)
def test_float32(kind):
    layer, x = layer_of(kind, dtype=torch.float32), draw(3, 300, 2, dtype=torch.float32)
    check_against_the_loop(layer, x, states=1e-5, gradients=1e-5)


@pytest.mark.parametrize("kind", [LSTM, GRU])
@pytest.mark.parametrize("form", ["single", "time first", "packed"])
def test_the_forms_of_input_that_a_layer_takes(kind, form):
    layer = layer_of(kind, batch_first=form != "time first")
    x = {"single": draw(9, 2), "time first": draw(9, 3, 2), "packed": draw(3, 9, 2)}[form]
    if form == "packed":
        x = pack_padded_sequence(x, [4, 9, 6], batch_first=True, enforce_sorted=False)
    theirs, our_state = layer(x), None
    *ours, _ = newton.over_time(layer, x, our_state)
    for a, b in zip(flat(ours), flat(theirs), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def flat(value):
    if isinstance(value, torch.Tensor):
        return [value]
    return [t for part in value if isinstance(part, torch.Tensor | tuple) for t in flat(part)]


def test_any_step_will_do():
    cell, leak = nn.GRUCell(2, 3, dtype=F64), 0.3

    def step(x, h):
        return (1 - leak) * h + leak * cell(x, h)

    x, state0, dh = draw(2, 30, 2), draw(2, 3), draw(2, 30, 3, seed=5)
    h, report = newton.solve(step, x, state0)
    by_loop = newton.loop(step, x, state0)
    torch.testing.assert_close(h, by_loop, rtol=0, atol=1e-12)
    assert report.iterations <= 6
    ours, theirs = (torch.autograd.grad(s, list(cell.parameters()), dh) for s in (h, by_loop))
    assert largest_error(ours, theirs) <= 1e-11


def test_a_linear_step_takes_one_iteration():
    A = 0.4 * draw(3, 3)
    _, report = newton.solve(lambda x, h: x + h @ A.T, draw(2, 100, 3, seed=1), draw(2, 3))
    assert report.iterations == 1


def test_the_diagonal_is_enough_where_there_is_nothing_else():
    a, x, state0 = torch.tensor([0.9, -0.5], dtype=F64), draw(2, 100, 2, seed=1), draw(2, 2)
    count = {
        jacobian: newton.solve(lambda x, h: a * h + x, x, state0, jacobian=jacobian)[1].iterations
        for jacobian in JACOBIANS
    }
    assert count == {"full": 1, "diagonal": 1, "zero": 100}


def test_a_step_may_ignore_its_state():
    x = draw(2, 10, 3)
    h, _ = newton.solve(lambda x, h: x.tanh() + 0 * h, x, draw(2, 3))
    torch.testing.assert_close(h, x.tanh(), rtol=0, atol=1e-15)


def test_gradients_are_of_first_order_only():
    layer, x = layer_of(GRU), draw(1, 5, 2).requires_grad_()
    output, *_ = newton.over_time(layer, x)
    with pytest.raises(RuntimeError, match="is differentiable once"):
        torch.autograd.grad(output.sum(), x, create_graph=True)


def test_without_gradients_there_is_none():
    layer, x = layer_of(GRU), draw(1, 5, 2)
    with torch.no_grad():
        output, _, report = newton.over_time(layer, x)
    assert not output.requires_grad
    output, _, report = newton.over_time(layer, x)
    assert output.requires_grad
    assert not report.states.requires_grad


# How many iterations.


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", KINDS)
def test_iterations_hardly_depend_on_the_length(kind, seed):
    layer, x = layer_of(kind, seed=seed, hidden=8), draw(2, 1024, 2, seed=seed)
    counts = [newton.over_time(layer, x[:, :T])[2].iterations for T in (16, 64, 256, 1024)]
    assert set(counts) <= {3, 4, 5, 6}


def test_residuals_fall_quadratically():
    _, _, report = newton.over_time(layer_of(GRU, hidden=8), draw(2, 200, 2))
    assert len(report.residuals) == report.iterations + 1
    for before, after in zip(report.residuals[1:-2], report.residuals[2:-1], strict=True):
        assert after <= 10 * before**2


def test_the_right_guess_is_found_right():
    layer, x = layer_of(LSTM), draw(2, 60, 2)
    _, _, cold = newton.over_time(layer, x)
    with torch.no_grad():
        layer.weight_hh_l0 += 1e-4
    _, _, warm = newton.over_time(layer, x, guess=cold.states)
    _, _, again = newton.over_time(layer, x, guess=warm.states)
    assert again.iterations == 0 < warm.iterations < cold.iterations


def test_a_guess_of_nan_costs_one_iteration():
    layer, x = layer_of(GRU), draw(2, 60, 2)
    _, _, cold = newton.over_time(layer, x)
    _, _, report = newton.over_time(layer, x, guess=cold.states * math.nan)
    assert report.iterations == cold.iterations + 1


@pytest.mark.parametrize("jacobian", JACOBIANS)
@pytest.mark.parametrize("seed", range(3))
def test_after_k_iterations_k_states_are_right(seed, jacobian):
    layer = layer_of(GRU, scale=12.0, seed=seed, hidden=16)  # chaotic: nothing else helps
    x, wild = draw(1, 60, 2, seed=seed), 10 * draw(1, 60, 16, seed=seed + 50)
    for k in (1, 2, 7, 30, 60):
        options = {"jacobian": jacobian, "max_iterations": k, "guess": wild[:, :k]}
        output, _, report = newton.over_time(layer, x[:, :k], **options)
        assert report.iterations <= k
        exact = layer(x[:, :k])[0][:, :8]
        torch.testing.assert_close(output[:, :8], exact, rtol=0, atol=1e-9)


# What fails is told.


def chaotic(seed=0):
    return layer_of(RNN, scale=12.0, seed=seed, hidden=16), draw(2, 60, 2, seed=seed)


@pytest.mark.parametrize("jacobian", JACOBIANS)
def test_no_solution_is_an_error_that_says_so(jacobian):
    layer, x = chaotic()
    said = r"After 20 iterations the largest residual is \d\.\de[+-]\d\d, above the tolerance of"
    with pytest.raises(newton.NotConverged, match=said):
        newton.over_time(layer, x, max_iterations=20, jacobian=jacobian)


def test_or_the_loop_runs_and_the_report_says_so():
    layer, x = chaotic()
    options = {"max_iterations": 5, "otherwise": "loop"}
    output, _, report = newton.over_time(layer, x, **options)
    assert report.looped
    assert report.iterations == 5
    assert report.residuals[-1] > 1e-3
    by_loop = newton.loop(newton.step_of(layer), x, x.new_zeros(len(x), layer.hidden_size))
    torch.testing.assert_close(output, by_loop, rtol=0, atol=0)
    torch.testing.assert_close(report.states, by_loop.detach(), rtol=0, atol=0)
    check_against_the_loop(layer, x[:, :20], states=1e-12, gradients=1e-11, **options)


@pytest.mark.parametrize("seed", range(3))
def test_even_chaos_is_solved_to_rounding_if_slowly(seed):
    layer, x = chaotic(seed)
    output, _, report = newton.over_time(layer, x, max_iterations=60)
    assert 40 < report.iterations <= 60
    assert not report.looped
    step, before = newton.step_of(layer), newton.shifted(x.new_zeros(2, 16), report.states)
    again = newton.everywhere(step, x, before)
    assert (again - output).abs().max() < 1e-14  # each step right, given the one before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [1e3, 1e200])
def test_numbers_beyond_all_bounds_are_never_returned(kind, scale):
    layer, x = layer_of(kind, scale=scale, hidden=8), draw(2, 40, 2)
    try:
        output, _, report = newton.over_time(layer, x, max_iterations=40)
    except newton.NotConverged:
        return
    assert output.isfinite().all()
    assert report.residuals[-1] <= 1e-14


def test_corrections_beyond_all_bounds_are_dropped():
    def step(x, h):
        return (1e200 * h + x).tanh()  # its Jacobian at a zero guess is 1e200, two of them overflow

    x, state0 = draw(2, 40, 1), torch.zeros(2, 1, dtype=F64)
    h, report = newton.solve(step, x, state0, max_iterations=40)
    torch.testing.assert_close(h, newton.loop(step, x, state0), rtol=0, atol=1e-12)
    assert report.iterations > 1


def test_nan_in_the_weights_is_no_solution():
    layer, x = layer_of(GRU), draw(1, 5, 2)
    with torch.no_grad():
        layer.weight_hh_l0[0, 0] = math.nan
    with pytest.raises(newton.NotConverged, match="residual is nan"):
        newton.over_time(layer, x, max_iterations=8)


def test_a_clamp_helps_where_the_states_lie_within_and_fails_where_they_do_not():
    layer, x = layer_of(GRU, scale=4.0, seed=2, hidden=8, inputs=1), draw(2, 100, 1, seed=2)
    output, _, report = newton.over_time(layer, x, clamp=1)
    torch.testing.assert_close(output, layer(x)[0], rtol=0, atol=1e-12)
    assert report.iterations <= newton.over_time(layer, x, max_iterations=100)[2].iterations
    with pytest.raises(newton.NotConverged):
        newton.over_time(layer, x, clamp=0.1)


def test_a_tolerance_that_passes_anything_takes_one_step_from_the_guess():
    layer, x = layer_of(GRU), draw(2, 10, 2)
    output, _, report = newton.over_time(layer, x, tolerance=math.inf)
    assert report.iterations == 0
    torch.testing.assert_close(output[:, 0], layer(x)[0][:, 0], rtol=0, atol=1e-15)


X, H0 = draw(2, 6, 3), draw(2, 4)


def step(x, h):
    return (h + x.sum(1, keepdim=True)).tanh()


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((X[0], H0), {}, "x must have shape (2, T, D), got (6, 3)."),
        ((X[:, :0], H0), {}, "x must have shape (2, T, D), got (2, 0, 3)."),
        ((X[:1], H0), {}, "x must have shape (2, T, D), got (1, 6, 3)."),
        ((X.float(), H0), {}, "x must have dtype torch.float64 to fit the weights, got"),
        ((X.numpy(), H0), {}, "x must be a torch tensor or a PackedSequence, got ndarray."),
        ((X, H0[0]), {}, "state0 must have shape (B, S), got (4,)."),
        ((X, None), {}, "state0 must be a torch tensor, got NoneType."),
        ((X, H0.long()), {}, "state0 must hold floats, got torch.int64."),
        ((X, H0.to(torch.complex128)), {}, "state0 must hold floats, got torch.complex128."),
        ((X * math.nan, H0), {}, "x must be finite, got nan at index (0, 0, 0)."),
        ((X, H0 * math.inf), {}, "state0 must be finite, got"),
        ((X, H0), {"guess": X}, "guess must have shape (2, 6, 4), got (2, 6, 3)."),
        ((X, H0), {"jacobian": "half"}, "jacobian must be one of 'full', 'diagonal', 'zero', got"),
        ((X, H0), {"clamp": -1}, "clamp must lie between 0 and inf, got -1."),
        ((X, H0), {"tolerance": -1}, "tolerance must lie between 0 and inf, got -1."),
        ((X, H0), {"max_iterations": 0}, "max_iterations must be a whole number of at least 1"),
        ((X, H0), {"otherwise": "hope"}, "otherwise must be one of 'error', 'loop', got 'hope'."),
    ],
)
def test_wrong_arguments(arguments, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        newton.solve(step, *arguments, **options)


def test_a_step_of_another_size():
    with pytest.raises(ValueError, match=r"what step returns must have shape \(12, 4\), got"):
        newton.solve(lambda x, h: torch.cat([h, h], dim=1), X, H0)


@pytest.mark.parametrize(
    "layer", [GRU(2, 3, num_layers=2), GRU(2, 3, bidirectional=True), nn.GRU(2, 3), None]
)
def test_wrong_layers(layer):
    with pytest.raises(ValueError, match=r"^layer must be a recurrent layer of rnnbook.pytorch"):
        newton.over_time(layer, X)


# Its parts.


@given(
    sizes=st.tuples(*(st.integers(1, n) for n in (3, 19, 4))),  # B, T, S
    seed=st.integers(0, 5),
)
def test_the_scan_of_matrices_is_the_loop(sizes, seed):
    B, T, S = sizes
    a, b = draw(B, T, S, S, seed=seed), draw(B, T, S, seed=seed + 10)
    h = torch.zeros(B, S, dtype=F64)
    for t, h_t in enumerate(newton.matrix_scan(a, b).unbind(1)):
        h = newton.times(a[:, t], h) + b[:, t]
        torch.testing.assert_close(h_t, h, rtol=1e-9, atol=1e-9)


def test_diagonal_matrices_give_the_elementwise_recurrence():
    a, b = draw(2, 33, 3, seed=0), draw(2, 33, 3, seed=1)
    ours = newton.matrix_scan(a.diag_embed(), b)
    torch.testing.assert_close(ours, recurrence_loop(a, b, torch.zeros(2, 3, dtype=F64)))


@pytest.mark.parametrize("kind", KINDS)
def test_jacobians_by_finite_differences(kind):
    layer, x = layer_of(kind), draw(2, 5, 2)
    step = newton.step_of(layer)
    S = sum(layer._state_sizes)
    before = draw(2, 5, S, seed=4)
    f, J = newton.linearize(step, x, before)
    assert J.shape == (2, 5, S, S)
    torch.testing.assert_close(f, newton.everywhere(step, x, before))
    for j, direction in enumerate(1e-6 * torch.eye(S, dtype=F64)):
        up = newton.everywhere(step, x, before + direction)
        down = newton.everywhere(step, x, before - direction)
        torch.testing.assert_close(J[..., j], (up - down) / 2e-6, rtol=0, atol=1e-8)
    _, diagonal = newton.linearize(step, x, before, "diagonal")
    torch.testing.assert_close(diagonal, J.diagonal(dim1=2, dim2=3))


@pytest.mark.parametrize("seed", range(3))
def test_lyapunov_exponents_of_a_linear_recurrence(seed):
    wanted = torch.tensor([0.3, -0.2, -1.5], dtype=F64)
    Q = torch.linalg.qr(draw(3, 3, seed=seed)).Q
    A = Q @ (wanted.exp().diag() + draw(3, 3, seed=seed + 9).triu(1)) @ Q.T
    J = torch.stack([A, A / 2])[:, None].expand(2, 2000, 3, 3)
    expected = torch.stack([wanted, wanted - math.log(2)])
    torch.testing.assert_close(newton.lyapunov_exponents(J), expected, rtol=0, atol=0.01)
    turn = 0.5 * torch.tensor([[0, -1], [1, 0]], dtype=F64).expand(1, 9, 2, 2)
    torch.testing.assert_close(
        newton.lyapunov_exponents(turn), torch.full((1, 2), math.log(0.5), dtype=F64)
    )


def test_the_exponent_of_no_memory_is_minus_infinity():
    assert newton.lyapunov_exponents(torch.zeros(1, 4, 2, 2)).tolist() == [[-math.inf] * 2]


def test_wrong_jacobians():
    with pytest.raises(ValueError, match=r"J must have shape \(B, T, 3, 3\), got \(2, 5, 4, 3\)"):
        newton.lyapunov_exponents(torch.zeros(2, 5, 4, 3))
