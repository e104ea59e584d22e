"""Embedding against ``torch.nn.Embedding``."""

import numpy as np
import pytest
from optional import optional

from rnnbook.scratch.embedding import Embedding

torch = optional("torch")


@pytest.mark.parametrize("shape", [(), (7,), (3, 4)])
def test_values_and_gradients_are_torchs_with_repeated_indices(shape):
    rng = np.random.default_rng(0)
    ours = Embedding(3, 5, rng=rng)
    theirs = torch.nn.Embedding(3, 5, dtype=torch.float64)
    theirs.load_state_dict({"weight": torch.tensor(ours.params["weight"])})
    x = rng.integers(0, 3, shape)
    doutput = rng.standard_normal((*shape, 5))
    y = theirs(torch.tensor(x))
    y.backward(torch.tensor(doutput))

    np.testing.assert_array_equal(ours.forward(x), y.detach())
    assert ours.backward(doutput) is None
    np.testing.assert_allclose(ours.grads["weight"], theirs.weight.grad, rtol=0, atol=1e-12)


def test_it_equals_a_linear_map_of_a_one_hot_input():
    embedding = Embedding(4, 2, rng=np.random.default_rng(0))
    x = np.array([[0, 3], [2, 2]])
    np.testing.assert_array_equal(embedding.forward(x), np.eye(4)[x] @ embedding.params["weight"])


def test_wrong_input_is_named():
    embedding = Embedding(4, 2, dtype=np.float32, rng=np.random.default_rng(0))
    with pytest.raises(RuntimeError, match=r"Embedding\.backward needs a call of forward"):
        embedding.backward(np.ones((1, 2)))
    with pytest.raises(ValueError, match=r"x must lie between 0 and 3, got -1 at index \(0, 1\)"):
        embedding.forward(np.array([[0, -1]]))
    with pytest.raises(ValueError, match=r"x must lie between 0 and 3, got 4 at index \(1,\)"):
        embedding.forward(np.array([0, 4]))
    with pytest.raises(ValueError, match="x must hold whole numbers, got float64"):
        embedding.forward(np.ones(3))
    assert embedding.forward(np.array([1, 1, 2])).dtype == np.float32
    with pytest.raises(ValueError, match=r"doutput must have shape \(3, 2\), got \(3, 4\)"):
        embedding.backward(np.ones((3, 4)))
    assert embedding.grads == {}
