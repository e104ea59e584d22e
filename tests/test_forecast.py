"""Forecasting: nothing of the future gets in, known errors come out, bad files are told."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

from rnnbook import forecast, tasks
from rnnbook.checkpoint import load_tree
from rnnbook.forecast import (
    LSTMForecaster,
    Scaler,
    baselines,
    chronological_split,
    compare,
    examples,
    free_run,
    main,
    ridge_ar,
    rolling_errors,
    rolling_origins,
)


@pytest.fixture
def wave():
    """A sine with period 12, 120 values."""
    return np.sin(2 * np.pi * np.arange(120) / 12)


def write(path, rows, head="date,y"):
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return path


def monthly(values):
    return [f"{2000 + k // 12}-{k % 12 + 1:02d}-01,{value:.6f}" for k, value in enumerate(values)]


def test_split_is_in_the_order_of_time():
    split = chronological_split(100)
    assert (split.train_end, split.test_start) == (65, 80)
    with pytest.raises(ValueError, match="leave something to train on"):
        chronological_split(10, validation=0.5, test=0.5)


@pytest.mark.parametrize("relative", [False, True])
def test_scaler_returns_and_is_made_from_what_it_is_given(relative):
    values = np.random.default_rng(0).normal(5, 3, 50)
    inputs, target = examples(values, 4)
    scaler = Scaler.fit(values, relative=relative)
    scaled = scaler.scale(target[:, None], inputs)
    np.testing.assert_allclose(scaler.unscale(scaled, inputs)[:, 0], target)
    if relative:
        np.testing.assert_allclose(scaled[:, 0] * np.diff(values).std(), np.diff(values)[3:])
    else:
        np.testing.assert_allclose(scaled[:, 0], (target - values.mean()) / values.std())
    with pytest.raises(ValueError, match="train must vary"):
        Scaler.fit(np.ones(9), relative=relative)


def test_examples_from_a_start_on():
    inputs, target = examples(np.arange(10.0), 3, start=7)
    np.testing.assert_array_equal(target, [7, 8, 9])
    np.testing.assert_array_equal(inputs[0], [4, 5, 6])


def test_free_run_reads_its_own_forecasts():
    grow = free_run(lambda rows: rows[:, -1] + rows[:, -2], np.array([[1.0, 1], [2, 3]]), 4)
    np.testing.assert_array_equal(grow, [[2, 3, 5, 8], [5, 8, 13, 21]])


def test_rolling_errors_of_persistence_on_a_ramp():
    errors = rolling_errors(forecast.persistence, np.arange(20.0), 10, 3, 4)
    np.testing.assert_allclose(errors, [1, 2, 3, 4])  # k steps ahead a ramp has moved by k
    one = rolling_errors(forecast.persistence, np.arange(20.0) ** 2, 10, 3, 1)
    assert one[0] ** 2 == pytest.approx(
        tasks.persistence_baseline(np.arange(9.0, 20.0) ** 2)  # the origins 10 ... 19
    )
    with pytest.raises(ValueError, match="start"):
        rolling_errors(forecast.persistence, np.arange(20.0), 18, 3, 4)


def test_rolling_origins_never_train_on_what_follows():
    assert rolling_origins(100, folds=3, size=10) == [(70, 80), (80, 90), (90, 100)]
    with pytest.raises(ValueError, match="folds"):
        rolling_origins(20, folds=2, size=10)


@pytest.mark.parametrize("relative", [False, True])
def test_ridge_ar_finds_the_recursion_of_a_sine(wave, relative):
    """sin(w (t + 1)) = 2 cos(w) sin(w t) - sin(w (t - 1)), a linear recursion."""
    predict = ridge_ar(wave[:60], 4, penalty=1e-10, relative=relative)
    np.testing.assert_allclose(rolling_errors(predict, wave, 60, 4, 24), 0, atol=1e-4)


def test_ridge_ar_solves_its_equation():
    """The gradient of the penalized sum of squares vanishes: checked by scikit-learn's ridge."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    values = np.random.default_rng(1).normal(2, 3, 80)
    inputs, target = examples(values, 5)
    scaled = (inputs - values.mean()) / values.std()
    ridge = linear_model.Ridge(alpha=7.0).fit(scaled, target)
    np.testing.assert_allclose(ridge_ar(values, 5, penalty=7.0)(inputs), ridge.predict(scaled))


def test_baselines_on_a_sine(wave):
    free = baselines(wave[:60], 12, 12)
    errors = {name: rolling_errors(predict, wave, 60, 12, 12) for name, predict in free.items()}
    np.testing.assert_allclose(errors["seasonal"], 0, atol=1e-12)
    np.testing.assert_allclose(errors["mean"], np.sqrt(0.5), rtol=0.05)
    assert errors["persistence"][0] == pytest.approx(2 * np.sin(np.pi / 12) * np.sqrt(0.5), rel=0.1)
    assert errors["persistence"][11] < 1e-12  # a whole period later
    with pytest.raises(ValueError, match="season"):
        baselines(wave, 12, 13)


@pytest.mark.parametrize("relative", [False, True])
def test_the_network_learns_a_sine(wave, relative):
    network = LSTMForecaster(6, hidden=8, relative=relative, rng=np.random.default_rng(0))
    network.fit(wave[:90], 75, epochs=150)
    assert rolling_errors(network, wave, 90, 6, 1)[0] < 0.1  # persistence: 0.37


def test_fit_does_not_see_what_follows_the_training_part(wave):
    """Other values after the training part change neither the scaler nor the weights."""
    nets = []
    for scale in (1.0, 100.0):
        values = np.concatenate([wave[:60], scale * wave[60:90]])
        net = LSTMForecaster(6, hidden=3, rng=np.random.default_rng(0))
        net.fit(values, 60, epochs=1)
        nets.append(net)
    assert nets[0].scaler == nets[1].scaler
    for name, array in nets[0].model.params.items():
        np.testing.assert_array_equal(array, nets[1].model.params[name])


def test_compare_does_not_train_on_the_test_part(wave):
    settings = {"window": 6, "season": 6, "horizon": 4, "epochs": 2, "seeds": 2}
    values = wave + np.random.default_rng(0).normal(size=wave.shape)
    changed = values.copy()
    changed[chronological_split(len(values)).test_start :] *= 50
    _, before = compare(values, **settings)
    _, after = compare(changed, **settings)
    for one, other in zip(before, after, strict=True):
        for name, array in one.model.params.items():
            np.testing.assert_array_equal(array, other.model.params[name])


def test_command_trains_compares_plots_and_saves(tmp_path, wave, capsys):
    pytest.importorskip("rnnbook.plots", reason="the command draws a figure")
    file = write(tmp_path / "wave.csv", monthly(wave))
    out = tmp_path / "out"
    arguments = [
        "--column",
        "y",
        "--window",
        "12",
        "--horizon",
        "6",
        "--seeds",
        "2",
        "--epochs",
        "3",
        "--hidden",
        "4",
    ]
    assert main([str(file), *arguments, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    for name in ("mean", "persistence", "seasonal", "ridge-AR", "LSTM"):
        assert name in said
    saved = json.loads((out / "errors.json").read_text())["rmse"]
    assert np.array(saved["LSTM"]).shape == (2, 6)
    assert len(saved["seasonal"]) == 6
    assert len((out / "forecast.csv").read_text().splitlines()) == 7
    assert (out / "forecast.png").read_bytes().startswith(b"\x89PNG")
    weights = load_tree(out / "weights.npz")
    assert weights[0]["params"]["rnn.weight_hh_l0"].shape == (16, 4)


GOOD = monthly(np.random.default_rng(0).normal(size=100))
BAD = {
    "too short": (GOOD[:30], "date,y", "values must be more for a window of 24 .* got 30"),
    "constant": (monthly(np.ones(200)), "date,y", "train must vary"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_file_ends_with_one_sentence(tmp_path, capsys, name):
    pytest.importorskip("rnnbook.plots", reason="the command draws a figure")
    rows, head, message = BAD[name]
    file = write(tmp_path / "bad.csv", rows, head)
    assert main([str(file), "--column", "y", "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert re.search(message, said.err), said.err
    assert said.err.rstrip().endswith(".")
    assert not (tmp_path / "out").exists()


def test_paths_that_cannot_be_used_are_told_before_anything_is_trained(tmp_path, capsys):
    pytest.importorskip("rnnbook.plots", reason="the command draws a figure")
    file = write(tmp_path / "y.csv", GOOD)
    for arguments, message in [
        ([str(tmp_path), "--column", "y"], "cannot be read: "),
        ([str(file), "--column", "y", "--out", str(file)], "out must be a folder, got the file"),
    ]:
        assert main(arguments) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.count("\n") == 1
        assert message in said.err


def test_no_two_errors_look_alike():
    axes = pytest.importorskip("matplotlib.pyplot").subplots()[1]
    table = dict.fromkeys(["mean", "persistence", "seasonal", "ridge-AR"], np.arange(1.0, 4))
    forecast.plot_errors(axes, table | {"LSTM": np.ones((2, 3))})
    lines = axes.get_lines()
    assert [line.get_label() for line in lines] == [*table, "LSTM"]
    assert len({line.get_color() for line in lines}) == 5
    for line in lines[:4]:
        np.testing.assert_array_equal(line.get_xydata(), [[1, 1], [2, 2], [3, 3]])
    axes.figure.clear()


def test_missing_file_is_told_by_the_command_itself(tmp_path):
    """As a person calls it, in a process of its own."""
    pytest.importorskip("rnnbook.plots", reason="the command draws a figure")
    command = [sys.executable, "-m", "rnnbook.forecast", str(tmp_path / "no.csv"), "--column", "y"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 2
    assert "does not exist" in run.stderr
    assert "Traceback" not in run.stderr


def test_the_forecast_is_saved_with_all_its_digits(tmp_path, wave):
    """Six would be 1e+07 in every row."""
    pytest.importorskip("rnnbook.plots", reason="the command draws a figure")
    values = 1e7 + np.round(wave + np.arange(120) % 7, 2)
    file = write(
        tmp_path / "high.csv", [f"{k},{value!r}" for k, value in enumerate(values.tolist())]
    )
    out = tmp_path / "out"
    settings = {"window": 6, "season": 6, "horizon": 3, "hidden": 2, "epochs": 1, "seeds": 2}
    options = [f"--{name}={value}" for name, value in settings.items()]
    assert main([str(file), "--column=y", *options, f"--out={out}"]) == 0
    rows = np.loadtxt(out / "forecast.csv", delimiter=",", skiprows=1)
    _, networks = compare(values, **settings)
    future = np.array([free_run(net, values[None, -6:], 3)[0] for net in networks])
    np.testing.assert_array_equal(rows[:, 0], [1, 2, 3])
    np.testing.assert_array_equal(rows[:, 1], future.mean(axis=0))
    np.testing.assert_array_equal(rows[:, 2:], future.T)
    assert (future.std(axis=1) > 0).all()


def test_errors_can_be_drawn_as_they_were_saved(tmp_path):
    axes = pytest.importorskip("matplotlib.pyplot").subplots()[1]
    table = {name: [1.0, 2.0] for name in ("mean", "persistence", "seasonal", "ridge-AR")}
    forecast.plot_errors(axes, table | {"LSTM": [[1.0, 2.0], [2.0, 3.0]]})
    np.testing.assert_array_equal(axes.get_lines()[-1].get_xydata(), [[1, 1.5], [2, 2.5]])
    axes.figure.clear()
