"""The checker itself: it must pass what is right and catch what is wrong."""

import numpy as np
import pytest

from rnnbook.gradcheck import check_layer, compare_gradients, numerical_gradient, relative_error
from rnnbook.scratch.fused import FusedLSTM


class Decay:
    """h_t = tanh(a * h_{t-1} + x_t), with a gradient that can be spoilt."""

    def __init__(self, spoilt=None, pair=False):
        self.params = {"a": np.array([0.5, -0.8])}
        self.grads = {}
        self.spoilt, self.pair = spoilt, pair  # pair: return the state as (h, c), c = c0 + sum(x)

    def forward(self, x, state=None, lengths=None):
        zero = np.zeros((1, x.shape[0], x.shape[2]))
        h0, c0 = (state or (zero, zero)) if self.pair else (zero if state is None else state, zero)
        hs = [h0[0]]
        for t in range(x.shape[1]):
            hs.append(np.tanh(self.params["a"] * hs[-1] + x[:, t]))
        self.hs = hs
        h, c = hs[-1][None], c0 + x.sum(1)
        return np.stack(hs[1:], axis=1), (h, c) if self.pair else h

    def backward(self, doutput, dstate):
        dh, dc = (dstate[0][0], dstate[1]) if self.pair else (dstate[0], 0 * dstate)
        dx = np.zeros_like(doutput)
        da = np.zeros(2)
        for t in reversed(range(doutput.shape[1])):
            dx[:, t] = (dh + doutput[:, t]) * (1 - self.hs[t + 1] ** 2)
            da += (dx[:, t] * self.hs[t]).sum(0)
            dh = dx[:, t] * self.params["a"]
        dx += dc[0][:, None]
        found = {"x": dx, "a": da, "h0": dh[None], "c0": dc.copy()}
        if self.spoilt:
            found[self.spoilt] = found[self.spoilt] * 1.001
        self.grads = {"a": found["a"]}
        return found["x"], (found["h0"], found["c0"]) if self.pair else found["h0"]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_numerical_gradient_of_a_cubic_is_right_and_restores_the_array(rng):
    a = rng.standard_normal((2, 3))
    before = a.copy()
    gradient = numerical_gradient(lambda: (a**3).sum(), a)
    np.testing.assert_allclose(gradient, 3 * a**2, rtol=1e-8, atol=1e-8)
    np.testing.assert_array_equal(a, before)


def test_the_step_trades_truncation_against_rounding():
    a = np.array(1.0)
    error = {
        eps: abs(numerical_gradient(lambda: np.exp(a), a, eps) - np.e)
        for eps in (1e-2, 5e-6, 1e-12)
    }
    assert error[1e-2] == pytest.approx(np.e * 1e-4 / 6, rel=1e-3)  # eps^2 f''' / 6
    assert error[5e-6] < 1e-9
    assert error[1e-12] > 1e-6  # two nearly equal numbers subtracted


def test_numerical_gradient_restores_the_array_when_the_function_raises():
    a = np.ones(2)

    def fails():
        raise RuntimeError("no loss")

    with pytest.raises(RuntimeError, match="no loss"):
        numerical_gradient(fails, a)
    np.testing.assert_array_equal(a, np.ones(2))


def test_float32_is_refused():
    with pytest.raises(TypeError, match="array must be a float64 array, got float32"):
        numerical_gradient(lambda: 0.0, np.ones(2, np.float32))
    with pytest.raises(TypeError, match="x must be a float64 array, got list"):
        check_layer(Decay(), [1.0], rng=np.random.default_rng(0))


@pytest.mark.parametrize("eps", [-0.1, 0, np.nan])
def test_a_step_that_is_not_positive_is_refused(eps):
    with pytest.raises(ValueError, match=f"eps must be positive, got {eps}"):
        numerical_gradient(lambda: 0.0, np.ones(2), eps=eps)


def test_relative_error():
    assert relative_error(np.zeros(3), np.zeros(3)) == 0
    assert relative_error(np.array([100.0, 0.0]), np.array([100.0, 1.0])) == pytest.approx(0.01)
    assert relative_error(np.ones(2), -np.ones(2)) == 2
    assert relative_error(np.zeros(2), np.ones(2)) == relative_error(np.ones(2), np.zeros(2)) == 1
    assert relative_error(np.zeros((0, 2)), np.zeros((0, 2))) == 0
    with pytest.raises(ValueError, match=r"b must have shape \(2, 1\), got \(2,\)"):
        relative_error(np.ones((2, 1)), np.ones(2))


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_what_is_no_number_is_never_right(number):
    """And stays so in ``max(errors.values())``, where a NaN would be passed over."""
    for other in (0.0, 1.0, number):
        a, b = np.array([other, 0.0]), np.array([number, 0.0])
        assert relative_error(a, b) == relative_error(b, a) == np.inf


def test_compare_gradients_names_each_array(rng):
    a, b = rng.standard_normal((2, 3))
    errors = compare_gradients(lambda: a @ b, {"a": a, "b": b}, {"a": b.copy(), "b": -a})
    assert errors["a"] < 1e-8
    assert errors["b"] == pytest.approx(2)


def test_check_layer_checks_a_layer_in_evaluation_mode(rng):
    layer = FusedLSTM(2, 3, rng=rng).eval()
    assert max(check_layer(layer, rng.standard_normal((2, 4, 2)), rng=rng).values()) < 1e-7
    assert not layer.training


def test_check_layer_writes_into_nothing_that_it_was_given(rng):
    x, state = rng.standard_normal((3, 4, 2)), rng.standard_normal((1, 3, 2))
    x.flags.writeable = state.flags.writeable = False
    assert max(check_layer(Decay(), x, state=state, rng=rng).values()) < 1e-7


def test_check_layer_keeps_the_gradients_of_a_layer_that_uses_their_memory_again(rng):
    class Thrifty(Decay):
        def forward(self, x, state=None, lengths=None):
            for array in self.grads.values():
                array[...] = np.nan
            return super().forward(x, state, lengths)

    assert max(check_layer(Thrifty(), rng.standard_normal((3, 4, 2)), rng=rng).values()) < 1e-7


@pytest.mark.parametrize("pair", [False, True])
@pytest.mark.parametrize("with_state", [False, True])
def test_check_layer_passes_what_is_right(rng, pair, with_state):
    x, h, c = (rng.standard_normal(s) for s in [(3, 4, 2), (1, 3, 2), (1, 3, 2)])
    state = ((h, c) if pair else h) if with_state else None
    before = x.copy(), h.copy()
    errors = check_layer(Decay(pair=pair), x, state=state, rng=rng)
    assert set(errors) == {"x", "h0", "a"} | ({"c0"} if pair else set())
    assert max(errors.values()) < 1e-7
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(h, before[1])


@pytest.mark.parametrize("spoilt", ["x", "h0", "c0", "a"])
def test_check_layer_catches_an_error_of_one_part_in_a_thousand(rng, spoilt):
    errors = check_layer(Decay(spoilt, pair=True), rng.standard_normal((3, 4, 2)), rng=rng)
    assert errors.pop(spoilt) == pytest.approx(1e-3, rel=0.01)
    assert max(errors.values()) < 1e-7


def test_relative_error_of_small_integers():
    """100 - (-100) is not -56, and 0 - 1 not 255."""
    a, b = np.array([100, 1]), np.array([-100, 1])
    assert relative_error(a.astype(np.int8), b.astype(np.int8)) == 2
    assert relative_error(np.zeros(1, np.uint8), np.ones(1, np.uint8)) == 1
    assert relative_error([True], [False]) == 1
    with pytest.raises(ValueError, match="a must not be masked"):
        relative_error(np.ma.masked_equal(a, 1), b)


@pytest.mark.parametrize("level", [1e9, -1e12])
def test_a_step_that_rounding_swallows_is_told(level):
    """It would be off by a tenth at 1e9 and 0 at 1e12, whatever the function."""
    array = np.array([1.0, level])
    with pytest.raises(
        ValueError, match=r"eps must be well above the rounding of -?1\S+, got 1e-06"
    ):
        numerical_gradient(lambda: float(array.sum()), array)
    np.testing.assert_array_equal(array, [1, level])
    wide = numerical_gradient(lambda: float(array[1] - level), array, eps=1e3)
    np.testing.assert_allclose(wide, [0, 1], rtol=1e-3)


def test_masked_arrays_have_no_numerical_gradient():
    array = np.ma.masked_equal(np.arange(3.0), 1)
    with pytest.raises(TypeError, match="array must be a float64 array, got MaskedArray"):
        numerical_gradient(lambda: 0.0, array)
