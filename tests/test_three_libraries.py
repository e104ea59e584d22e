"""The worked example's program: the same losses in three libraries (chapter ``worked_example``)."""

import numpy as np
import pytest

from rnnbook.experiments import three_libraries


@pytest.fixture(scope="module")
def problem():
    data, start, batches = three_libraries.problem()
    return data, start, batches[:60]


@pytest.fixture(scope="module")
def losses(problem):
    return three_libraries.train_numpy(*problem)


def test_torch_has_the_same_losses(problem, losses):
    pytest.importorskip("torch")
    np.testing.assert_allclose(three_libraries.train_torch(*problem), losses, atol=1e-10)


def test_torch_has_the_same_losses_with_two_biases_and_its_epsilon(problem, losses):
    pytest.importorskip("torch")
    ours = three_libraries.train_numpy(*problem, eps=1e-8, frozen=())
    np.testing.assert_allclose(
        three_libraries.train_torch(*problem, eps=1e-8, frozen=()), ours, atol=1e-10
    )
    assert np.abs(ours - losses).max() > 1e-3  # a second bias makes another trajectory


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-6), ("float32", 1e-4)])
def test_keras_has_the_same_losses(problem, losses, monkeypatch, dtype, tolerance):
    pytest.importorskip("torch")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    pytest.importorskip("keras")
    keras_losses = three_libraries.train_keras(*problem, dtype=dtype)
    np.testing.assert_allclose(keras_losses, losses, atol=tolerance)


def test_stored_keras_run_is_of_this_problem(losses):
    from rnnbook.experiments import load_results

    for run in load_results("three_libraries")["runs"]:
        assert run["setting"]["steps"] == len(run["metrics"]["loss"]) == 1000
        np.testing.assert_allclose(run["metrics"]["loss"][:60], losses, atol=1e-5)
