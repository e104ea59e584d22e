"""Gradients on a stream: against backpropagation through time, in the mean, and in memory."""

import numpy as np
import pytest

from rnnbook.scratch import (
    GRUCell,
    LSTMCell,
    MinGRUCell,
    MinLSTMCell,
    RecurrentLayer,
    ResetBeforeGRUCell,
    RNNCell,
)
from rnnbook.scratch.lstm_variants import NormalizedCell, PeepholeCell, ProjectedCell
from rnnbook.scratch.online import (
    RTRL,
    UORO,
    OnlineGradient,
    SnAp1,
    TruncatedBPTT,
    back_rows,
    forward_derivative,
    jacobians,
    joined,
    split,
)

DENSE = [RNNCell, LSTMCell, GRUCell]
DIAGONAL = [MinGRUCell, MinLSTMCell]
OTHERS = [ResetBeforeGRUCell, PeepholeCell, NormalizedCell]
METHODS = {
    "RTRL": RTRL,
    "SnAp1": SnAp1,
    "UORO": lambda cell: UORO(cell, np.random.default_rng(0)),
    "TruncatedBPTT": lambda cell: TruncatedBPTT(cell, 3),
}
D, H = 3, 5


def problem(kind, steps, seed=0, dtype=np.float64, **of_cell):
    """A cell, a stream, and a gradient of the loss at each step."""
    rng = np.random.default_rng(seed)
    cell = kind(D, H, rng=rng, dtype=dtype, **of_cell)
    x = rng.standard_normal((steps, 1, D)).astype(dtype)
    return cell, x, rng.standard_normal((steps, 1, cell.output_size)).astype(dtype)


def total(online, x, dh):
    """The summed gradient of all steps, in one row."""
    whole = 0
    for x_t, dh_t in zip(x, dh, strict=True):
        online.step(x_t)
        whole = whole + joined(online.gradient(dh_t))
    return whole


def bptt(cell, x, dh):
    """The same by the layer: forward through all steps, then backward."""
    layer = RecurrentLayer(D, H, cell=type(cell), dtype=cell.dtype)
    layer.load_params({f"{name}_l0": value for name, value in cell.params.items()})
    layer.forward(x.swapaxes(0, 1))
    layer.backward(dh.swapaxes(0, 1))
    return joined({name: layer.grads[name] for name in layer.params})


def off(a, b):
    """Distance in parts of the second."""
    return np.linalg.norm(a - b) / np.linalg.norm(b)


@pytest.mark.parametrize("steps", [1, 2, 40])
@pytest.mark.parametrize("kind", DENSE + DIAGONAL + OTHERS)
def test_rtrl_is_backpropagation_through_time(kind, steps):
    cell, x, dh = problem(kind, steps)
    exact = bptt(cell, x, dh)
    assert np.abs(total(RTRL(cell), x, dh) - exact).max() < 1e-12 * max(1, np.abs(exact).max())
    assert off(total(TruncatedBPTT(cell, steps), x, dh), exact) < 1e-12


def test_rtrl_of_relu_and_of_a_projected_state():
    cell, x, dh = problem(RNNCell, 20, nonlinearity="relu")
    assert off(total(RTRL(cell), x, dh), total(TruncatedBPTT(cell, 20), x, dh)) < 1e-12
    rng = np.random.default_rng(0)
    cell = ProjectedCell(D, H, rng=rng)
    dh = rng.standard_normal((20, 1, cell.output_size))
    assert off(total(RTRL(cell), x, dh), total(TruncatedBPTT(cell, 20), x, dh)) < 1e-12


class Backward(RNNCell):
    """Its gradients come in another order than its weights."""

    def back(self, dh, kept):
        dx, dh_before, grads = super().back(dh, kept)
        return dx, dh_before, dict(reversed(grads.items()))


@pytest.mark.parametrize("method", [RTRL, lambda cell: TruncatedBPTT(cell, 9)])
def test_each_gradient_goes_to_its_own_weight(method):
    cell, x, dh = problem(Backward, 9)
    same, _, _ = problem(RNNCell, 9)
    assert off(total(method(cell), x, dh), bptt(same, x, dh)) < 1e-12


@pytest.mark.parametrize("steps", [1, 60])
@pytest.mark.parametrize("kind", DIAGONAL)
def test_a_diagonal_recurrence_needs_one_number_a_weight(kind, steps):
    cell, x, dh = problem(kind, steps)
    online = SnAp1(cell)
    assert off(total(online, x, dh), bptt(cell, x, dh)) < 1e-12
    assert online.numbers == cell.blocks * H * (D + 1)


@pytest.mark.parametrize("kind", DENSE + DIAGONAL)
def test_each_steps_gradient_is_that_of_its_own_loss(kind):
    cell, x, dh = problem(kind, 6)
    exact, online = SnAp1(cell) if kind in DIAGONAL else RTRL(cell), TruncatedBPTT(cell, 6)
    for x_t, dh_t in zip(x, dh, strict=True):
        np.testing.assert_allclose(exact.step(x_t), online.step(x_t), rtol=0, atol=0)
        theirs = online.gradient(dh_t)
        for name, grad in exact.gradient(dh_t).items():
            assert grad.shape == cell.params[name].shape
            np.testing.assert_allclose(grad, theirs[name], rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", DENSE)
def test_snap_is_rtrl_with_all_but_the_units_own_entries_dropped(kind):
    """Written with whole matrices and a mask: which entries of P does one step fill?"""
    cell, x, dh = problem(kind, 30)
    online, reference, state, P = SnAp1(cell), 0, SnAp1(cell).state, 0
    rng = np.random.default_rng(1)
    _, kept = cell.step(x[0], split(rng.standard_normal(joined(state).size), cell))
    filled = jacobians(cell, kept)[1].reshape(-1, H, joined(cell.params).size) != 0
    own = np.concatenate([filled.any(axis=0)] * len(filled))  # h and c of the same unit
    assert own.sum() == online.numbers
    for x_t, dh_t in zip(x, dh, strict=True):
        state, kept = cell.step(x_t, state)
        J, M = jacobians(cell, kept)
        P = (J @ P + M) * own if np.ndim(P) else M * own
        reference = reference + dh_t[0] @ P[:H]
    assert off(total(online, x, dh), reference) < 1e-12
    assert off(reference, bptt(cell, x, dh)) > 1e-3  # a bias


@pytest.mark.parametrize("kind", DENSE + DIAGONAL)
def test_the_derivative_forward_is_the_jacobians_product(kind):
    cell, x, _ = problem(kind, 1)
    rng = np.random.default_rng(1)
    size = joined(OnlineGradient(cell).state).size
    v, u, state = rng.standard_normal((3, size))
    _, kept = cell.step(x[0], split(state, cell))
    J, M = jacobians(cell, kept)
    pushed = forward_derivative(cell, x[0], split(state, cell), v)
    np.testing.assert_allclose(pushed, J @ v, rtol=0, atol=1e-13)
    for row, matrix in zip(back_rows(cell, u, kept), (J, M), strict=True):
        np.testing.assert_allclose(row, u @ matrix, rtol=0, atol=1e-13)


class EverySign:
    """In the place of a generator: hands out the signs that it was given, one step's at a time."""

    def __init__(self, signs):
        self.signs = iter(signs)

    def choice(self, values, size):
        return next(self.signs)


@pytest.mark.parametrize("kind", [RNNCell, GRUCell, MinGRUCell, LSTMCell])
def test_the_mean_of_uoro_over_all_signs_is_the_gradient(kind):
    """Unbiased, exactly: with 3 steps and S = 2 (LSTM: 2 steps, S = 4) all signs can be tried."""
    rng = np.random.default_rng(0)
    steps = 2 if kind is LSTMCell else 3
    cell = kind(1, 2, rng=rng)
    x, dh = rng.standard_normal((steps, 1, 1)), rng.standard_normal((steps, 1, 2))
    size = joined(OnlineGradient(cell).state).size
    bits = np.arange(2 ** (steps * size))[:, None] >> np.arange(steps * size) & 1
    draws = []
    for signs in (2.0 * bits - 1).reshape(-1, steps, size):
        online = UORO(cell, rng)
        online.rng = EverySign(signs)
        draws.append(total(online, x, dh))
    exact = total(RTRL(cell), x, dh)
    assert off(np.mean(draws, axis=0), exact) < 1e-12
    assert off(draws[0], exact) > 0.1  # and no draw is


def test_the_spread_of_uoro_averages_out():
    cell, x, dh = problem(RNNCell, 12)
    rng = np.random.default_rng(0)
    draws = np.array([total(UORO(cell, rng), x, dh) for _ in range(400)])
    exact = bptt(cell, x, dh)
    groups = draws.reshape(4, 100, -1).mean(axis=1)
    one, hundred = (np.mean([off(row, exact) ** 2 for row in rows]) for rows in (draws, groups))
    assert 30 < one / hundred < 300  # 100 in the mean


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("kind", DENSE + DIAGONAL)
def test_nothing_grows_with_the_stream(kind, name):
    cell, x, dh = problem(kind, 1000)
    online, sizes = METHODS[name](cell), {}
    for t, x_t in enumerate(x):
        online.step(x_t)
        sizes[t + 1] = online.numbers
    assert sizes[10] == sizes[1000]
    assert all(np.isfinite(grad).all() for grad in online.gradient(dh[0]).values())


@pytest.mark.parametrize(("kind", "parts"), [(RNNCell, 1), (GRUCell, 1), (LSTMCell, 2)])
def test_the_numbers_kept(kind, parts):
    cell, x, _ = problem(kind, 1)
    weights = joined(cell.params).size
    S = parts * H
    assert RTRL(cell).numbers == S * weights
    assert SnAp1(cell).numbers == parts * weights
    assert METHODS["UORO"](cell).numbers == S + weights
    per_step = {RNNCell: D + H, GRUCell: D + 5 * H, LSTMCell: D + 7 * H}[kind]
    online = TruncatedBPTT(cell, 4)
    for _ in range(9):
        online.step(x[0])
    last = H if kind is RNNCell else 0  # an RNN's h is the next step's h_before: once, and the last
    assert online.numbers == 4 * per_step + last


@pytest.mark.parametrize("window", [1, 3, 7])
def test_truncation_drops_what_lies_before_the_window(window):
    """The gradient of the last loss as from a stream that began ``window`` steps before."""
    cell, x, dh = problem(LSTMCell, 12)
    online = TruncatedBPTT(cell, window)
    late = RTRL(cell)
    for t in range(12):
        if t == 12 - window:
            late.state = online.state
        online.step(x[t])
        if t >= 12 - window:
            late.step(x[t])
    assert off(joined(online.gradient(dh[-1])), joined(late.gradient(dh[-1]))) < 1e-12


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("kind", DENSE + DIAGONAL)
def test_float32_stays_float32(kind, name):
    cell, x, dh = problem(kind, 8, dtype=np.float32)
    online = METHODS[name](cell)
    for x_t in x:
        assert online.step(x_t).dtype == np.float32
    grads = online.gradient(dh[0])
    assert {grad.dtype for grad in grads.values()} == {np.dtype(np.float32)}
    double, x, dh = problem(kind, 8)
    other = METHODS[name](double)
    for x_t in x:
        other.step(x_t)
    assert off(joined(grads), joined(other.gradient(dh[0]))) < 1e-4


@pytest.mark.parametrize("name", METHODS)
def test_the_callers_arrays_are_neither_changed_nor_kept(name):
    cell, x, dh = problem(GRUCell, 4)
    clean, online, weights = METHODS[name](cell), METHODS[name](cell), joined(cell.params)
    for x_t in x:
        clean.step(x_t)
        given = x_t.copy()
        online.step(given)[...] = 7
        given[...] = 7
    online.gradient(dh[0])["bias_ih"][...] = 7
    assert np.array_equal(joined(online.gradient(dh[0])), joined(clean.gradient(dh[0])))
    assert np.array_equal(weights, joined(cell.params))


@pytest.mark.parametrize("name", METHODS)
def test_new_weights_are_used_from_the_next_step_on(name):
    cell, x, dh = problem(RNNCell, 3)
    online, other = METHODS[name](cell), METHODS[name](cell)
    first = online.step(x[0]), other.step(x[0])
    assert np.array_equal(*first)
    cell.params["weight_hh"] *= 2
    h, _ = cell.step(x[1], first[0])
    assert np.array_equal(online.step(x[1]), h)
    fresh, late = joined(online.gradient(dh[1])), other
    cell.params["weight_hh"] /= 2
    late.step(x[1])
    assert off(joined(late.gradient(dh[1])), fresh) > 1e-3


def test_before_the_first_step_there_is_nothing():
    cell, _, dh = problem(RNNCell, 1)
    for make in METHODS.values():
        assert not joined(make(cell).gradient(dh[0])).any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: RTRL("cell"), "cell must be a Cell, got str"),
        (lambda: TruncatedBPTT(RNNCell(1, 2), 0), "window must be a whole number of at least 1"),
        (lambda: TruncatedBPTT(None, 2), "cell must be a Cell, got NoneType"),
        (lambda: SnAp1(ResetBeforeGRUCell(1, 2)), "cell must be one of RNNCell, .* got ResetB"),
        (lambda: UORO(NormalizedCell(1, 2), np.random.default_rng(0)), "got NormalizedCell"),
        (lambda: UORO(RNNCell(1, 2), 0), "rng must be a numpy.random.Generator, got int"),
        (lambda: RTRL(RNNCell(1, 2)).step(np.zeros((2, 1))), r"x must have shape \(1, 1\)"),
        (lambda: RTRL(RNNCell(1, 2)).step([1.0]), "x must have shape"),
        (lambda: RTRL(RNNCell(1, 2)).step([[np.nan]]), "x must be finite"),
        (lambda: RTRL(RNNCell(1, 2)).gradient(np.zeros((1, 3))), r"dh must have shape \(1, 2\)"),
    ],
)
def test_wrong_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_wrong_step_changes_nothing():
    cell, x, dh = problem(RNNCell, 2)
    online, clean = RTRL(cell), RTRL(cell)
    for one in (online, clean):
        one.step(x[0])
    with pytest.raises(ValueError, match="finite"):
        online.step(np.full((1, D), np.inf))
    assert np.array_equal(online.step(x[1]), clean.step(x[1]))
    assert np.array_equal(joined(online.gradient(dh[0])), joined(clean.gradient(dh[0])))
