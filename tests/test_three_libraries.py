"""The worked example's program: the same losses in three libraries (chapter ``worked_example``)."""

import numpy as np
import pytest

from rnnbook.experiments.studies import three_libraries


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


def test_keras_has_the_defaults_that_the_chapter_tells(problem, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    layer = keras.layers.LSTM(6)
    layer.build((None, 10, 3))
    kernel, recurrent, bias = layer.get_weights()
    assert np.abs(kernel).max() <= np.sqrt(6 / (3 + 4 * 6))  # Glorot, over all gates at once
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(6), atol=1e-5)
    np.testing.assert_array_equal(bias, np.repeat([0, 1, 0, 0], 6))  # i, f, c, o
    dense = keras.layers.Dense(1)
    dense.build((None, 6))
    assert np.abs(dense.get_weights()[0]).max() <= np.sqrt(6 / 7)
    np.testing.assert_array_equal(dense.get_weights()[1], 0)
    assert keras.optimizers.Adam().epsilon == 1e-7


def test_keras_adam_has_its_epsilon_beside_the_biased_average(monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    theta = keras.Variable(np.zeros(3, np.float32))
    adam = keras.optimizers.Adam(learning_rate=0.1, epsilon=0.01)
    adam.build([theta])
    g = np.array([1.0, -0.1, 0.01], np.float32)
    adam.apply_gradients([(keras.ops.convert_to_tensor(g), theta)])
    # t = 1: m = 0.1 g, v = 0.001 g^2
    expected = -0.1 * np.sqrt(0.001) * g / (np.sqrt(0.001) * np.abs(g) + 0.01)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(theta), expected, rtol=1e-4)


def test_keras_shows_the_mean_over_an_epoch(monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.set_weights([np.zeros((1, 1))])
    # A step by -0.5 times the gradient -4 takes the weight to 2, where the second loss is 9.
    model.compile(optimizer=keras.optimizers.SGD(0.5), loss="mean_squared_error")
    x = np.ones((2, 1))
    history = model.fit(x, np.array([[2.0], [5.0]]), batch_size=1, shuffle=False, verbose=0)
    assert history.history["loss"] == [pytest.approx((4 + 9) / 2)]
    assert float(model.train_on_batch(x, 0 * x)) == pytest.approx(25)  # the batch's own, at 5


def test_stored_keras_run_is_of_this_problem(losses):
    from rnnbook.experiments import load_results

    for run in load_results("three_libraries")["runs"]:
        assert run["setting"]["steps"] == len(run["metrics"]["loss"]) == 1000
        np.testing.assert_allclose(run["metrics"]["loss"][:60], losses, atol=1e-5)
