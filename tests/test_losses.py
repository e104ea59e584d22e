"""Losses against ``torch.nn.functional`` and finite differences."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optional import optional

from rnnbook.gradcheck import numerical_gradient
from rnnbook.scratch.losses import huber, mse, softmax_cross_entropy

torch = optional("torch")
F = optional("torch.nn.functional")

shapes = st.lists(st.integers(1, 4), min_size=1, max_size=3)


def check(ours, theirs, prediction):
    """Loss and gradient equal torch's and the finite differences of the loss."""
    loss, dprediction = ours(prediction)
    p = torch.tensor(prediction, requires_grad=True)
    expected = theirs(p)
    expected.backward()
    assert isinstance(loss, float)
    assert loss == pytest.approx(expected.item(), rel=1e-12, abs=1e-12)
    np.testing.assert_allclose(dprediction, p.grad, rtol=0, atol=1e-12)
    numerical = numerical_gradient(lambda: ours(prediction)[0], prediction)
    np.testing.assert_allclose(dprediction, numerical, rtol=0, atol=1e-7)


@given(shape=shapes, seed=st.integers(0, 9))
def test_mse(shape, seed):
    p, y = np.random.default_rng(seed).standard_normal((2, *shape))
    check(lambda p: mse(p, y), lambda p: F.mse_loss(p, torch.tensor(y)), p)


@given(shape=shapes, delta=st.sampled_from([0.3, 1.0, 2.5]), seed=st.integers(0, 9))
def test_huber(shape, delta, seed):
    p, y = 2 * np.random.default_rng(seed).standard_normal((2, *shape))
    check(
        lambda p: huber(p, y, delta=delta),
        lambda p: F.huber_loss(p, torch.tensor(y), delta=delta),
        p,
    )


@given(shape=shapes, classes=st.integers(2, 5), seed=st.integers(0, 9), masked=st.booleans())
def test_softmax_cross_entropy(shape, classes, seed, masked):
    rng = np.random.default_rng(seed)
    logits = 3 * rng.standard_normal((*shape, classes))
    target = rng.integers(0, classes, shape)
    mask = rng.random(shape) < 0.6 if masked else None
    if masked:
        mask.flat[0] = True
        target[~mask] = -100
    check(
        lambda z: softmax_cross_entropy(z, target, mask),
        lambda z: F.cross_entropy(z.reshape(-1, classes), torch.tensor(target.reshape(-1))),
        logits,
    )


@given(shape=shapes, seed=st.integers(0, 9), axes=st.integers(1, 3), huge=st.booleans())
def test_masked_regression_is_that_of_what_counts(shape, seed, axes, huge):
    rng = np.random.default_rng(seed)
    p, y = 2 * rng.standard_normal((2, *shape))
    mask = rng.random(shape[:axes]) < 0.5
    mask.flat[0] = True
    y[~mask] = np.nan if huge else 1e300  # nobody looks there
    chosen, there = torch.tensor(y[mask]), torch.tensor(mask)
    check(lambda p: mse(p, y, mask), lambda p: F.mse_loss(p[there], chosen), p)
    theirs = lambda p: F.huber_loss(p[there], chosen, delta=0.7)  # noqa: E731
    check(lambda p: huber(p, y, mask, delta=0.7), theirs, p)
    assert not mse(p, y, mask)[1][~mask].any()


@pytest.mark.parametrize("loss", [mse, huber])
def test_a_mask_of_nothing_but_true_changes_nothing(loss):
    p, y = np.random.default_rng(0).standard_normal((2, 3, 4, 2)).astype(np.float32)
    expected, gradient = loss(p, y)
    for shape in ((3,), (3, 4), (3, 4, 2)):
        found, masked = loss(p, y, np.ones(shape, bool))
        assert found == pytest.approx(expected, rel=1e-6)
        assert masked.dtype == np.float32
        np.testing.assert_array_equal(masked, gradient)


@pytest.mark.parametrize("loss", [mse, huber])
def test_wrong_masks_of_a_regression_are_named(loss):
    p = np.ones((2, 3))
    with pytest.raises(ValueError, match=r"mask must have shape \(2, 3\), got \(3, 2\)"):
        loss(p, p, np.ones((3, 2), bool))
    with pytest.raises(ValueError, match=r"mask must have shape \(2,\), got \(\)"):
        loss(p, p, 0.5)
    with pytest.raises(ValueError, match=r"mask must be an array of bools .* got float64"):
        loss(p, p, np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"mask must be an array of bools .* got all false"):
        loss(p, p, np.zeros(2, bool))


def test_cross_entropy_of_huge_logits_does_not_overflow():
    loss, dlogits = softmax_cross_entropy(np.array([[1e4, -1e4]]), np.array([1]))
    assert loss == 2e4
    np.testing.assert_array_equal(dlogits, [[1, -1]])


def test_number_type_of_the_gradient_is_the_predictions():
    p = np.ones((2, 3), np.float32)
    assert mse(p, np.zeros((2, 3)))[1].dtype == np.float32
    assert huber(p, np.zeros((2, 3)))[1].dtype == np.float32
    assert softmax_cross_entropy(p, np.array([0, 2]))[1].dtype == np.float32


@pytest.mark.parametrize("loss", [mse, huber])
def test_whole_numbers_are_no_excuse(loss):
    prediction, target = np.array([1, 2]), np.array([1.5, 4.5])
    for a, b in zip(loss(prediction, target), loss(prediction * 1.0, target), strict=True):
        np.testing.assert_array_equal(a, b)
    logits = np.array([[1, 2, 3]])
    for a, b in zip(
        softmax_cross_entropy(logits, [0]), softmax_cross_entropy(logits * 1.0, [0]), strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_inputs_are_left_alone():
    z, y, mask = np.ones((2, 3)), np.array([0, -1]), np.array([True, False])
    softmax_cross_entropy(z, y, mask)
    assert (z == 1).all()
    assert y.tolist() == [0, -1]
    assert mask.tolist() == [True, False]


@pytest.mark.parametrize("loss", [mse, huber])
def test_wrong_targets_are_named(loss):
    with pytest.raises(ValueError, match=r"target must have shape \(4, 1\), got \(4,\)"):
        loss(np.ones((4, 1)), np.ones(4))
    with pytest.raises(ValueError, match=r"target must be finite, got nan at index \(1,\)"):
        loss(np.ones(2), np.array([0, np.nan]))


def test_huber_needs_a_positive_delta():
    with pytest.raises(ValueError, match="delta must be positive, got 0"):
        huber(np.ones(2), np.ones(2), delta=0)


def test_wrong_classes_and_masks_are_named():
    z, y = np.zeros((2, 3)), np.array([0, 2])
    with pytest.raises(ValueError, match=r"target must lie between 0 and 2, got 3 at index \(1,\)"):
        softmax_cross_entropy(z, np.array([0, 3]))
    with pytest.raises(ValueError, match="target must hold whole numbers, got float64"):
        softmax_cross_entropy(z, np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match=r"target must have shape \(2,\), got \(2, 1\)"):
        softmax_cross_entropy(z, y[:, None])
    with pytest.raises(ValueError, match=r"mask must have shape \(2,\), got \(3,\)"):
        softmax_cross_entropy(z, y, np.ones(3, bool))
    with pytest.raises(ValueError, match=r"mask must be an array of bools .* got int64"):
        softmax_cross_entropy(z, y, np.array([0, 1]))
    with pytest.raises(ValueError, match=r"mask must be an array of bools .* got all false"):
        softmax_cross_entropy(z, y, np.array([False, False]))
