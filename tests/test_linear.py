"""Linear against ``torch.nn.Linear``: values, gradients, shapes, wrong input."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optional import optional

from rnnbook.scratch.linear import Linear

torch = optional("torch")


@given(
    shape=st.lists(st.integers(1, 4), max_size=3),
    sizes=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    bias=st.booleans(),
)
def test_values_and_gradients_are_torchs(shape, sizes, bias):
    rng = np.random.default_rng(0)
    ours = Linear(*sizes, bias=bias, rng=rng)
    theirs = torch.nn.Linear(*sizes, bias=bias, dtype=torch.float64)
    theirs.load_state_dict({name: torch.tensor(p) for name, p in ours.params.items()})

    x = rng.standard_normal((*shape, sizes[0]))
    doutput = rng.standard_normal((*shape, sizes[1]))
    x_t = torch.tensor(x, requires_grad=True)
    y_t = theirs(x_t)
    y_t.backward(torch.tensor(doutput))

    np.testing.assert_allclose(ours.forward(x), y_t.detach(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(ours.backward(doutput), x_t.grad, rtol=0, atol=1e-12)
    assert set(ours.grads) == set(ours.params)
    for name, parameter in theirs.named_parameters():
        np.testing.assert_allclose(ours.grads[name], parameter.grad, rtol=0, atol=1e-12)


def test_backward_overwrites_the_gradients():
    linear = Linear(2, 3, rng=np.random.default_rng(0))
    for _ in range(2):
        linear.forward(np.ones((4, 2)))
        linear.backward(np.ones((4, 3)))
    np.testing.assert_array_equal(linear.grads["bias"], [4, 4, 4])


def test_float32_stays_float32():
    linear = Linear(2, 3, dtype=np.float32, rng=np.random.default_rng(0))
    assert linear.forward(np.ones((4, 2))).dtype == np.float32
    assert linear.backward(np.ones((4, 3))).dtype == np.float32
    assert linear.grads["weight"].dtype == linear.params["weight"].dtype == np.float32


def test_initial_weights_follow_the_generator_and_the_bound():
    a, b = (Linear(16, 50, rng=np.random.default_rng(3)).params["weight"] for _ in range(2))
    np.testing.assert_array_equal(a, b)
    assert 0.2 < np.abs(a).max() <= 0.25


def test_wrong_input_is_named():
    linear = Linear(2, 3, rng=np.random.default_rng(0))
    with pytest.raises(RuntimeError, match=r"Linear\.backward needs a call of forward before it"):
        linear.backward(np.ones((4, 3)))
    with pytest.raises(ValueError, match=r"x must have shape \(4, 2\), got \(4, 5\)"):
        linear.forward(np.ones((4, 5)))
    linear.forward(np.ones((4, 2)))
    with pytest.raises(ValueError, match=r"doutput must have shape \(4, 3\), got \(4, 2\)"):
        linear.backward(np.ones((4, 2)))
    assert linear.grads == {}
    with pytest.raises(
        ValueError, match="out_features must be a whole number of at least 1, got 0"
    ):
        Linear(2, 0)
