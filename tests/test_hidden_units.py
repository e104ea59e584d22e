"""The experiment on hidden units: its teacher is what it says, and a run chooses as it says."""

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6", reason="the students are scikit-learn's")
pytest.importorskip("joblib", reason="joblib runs the experiments")

from sklearn.linear_model import LinearRegression
from sklearn.model_selection import KFold, cross_val_score

from rnnbook.estimator import RecurrentRegressor
from rnnbook.experiments.studies import hidden_units
from rnnbook.experiments.studies.hidden_units import Teacher

SIZES = (1, 4, 16)


@pytest.mark.parametrize("units", SIZES)
def test_a_teacher_is_the_network_of_its_docstring(units):
    teacher = Teacher(units, 0.3, np.random.default_rng(units))
    p = teacher.model.params
    w = p["rnn.weight_hh_l0"]
    gain = 1 + np.log2(units) / 10
    np.testing.assert_allclose(w.T @ w, gain**2 * np.eye(units), atol=1e-12)
    x = teacher.windows(1, np.random.default_rng(0))
    h = np.zeros(units)
    for value in x[0]:
        h = np.tanh(w @ h + p["rnn.weight_ih_l0"][:, 0] * value + p["rnn.bias_ih_l0"])
    np.testing.assert_allclose(teacher(x), p["head.weight"] @ h + p["head.bias"])


@pytest.mark.parametrize(("units", "noise"), [(1, 0.1), (4, 0.3), (16, 0.3)])
def test_targets_have_variance_one_and_the_teacher_errs_by_the_noise(units, noise):
    """The mean of N squares has a standard error of sqrt(2 / N) noise^2: 1 % for 20,000."""
    rng = np.random.default_rng(1)
    teacher = Teacher(units, noise, rng)
    x, y = teacher.draw(20_000, rng)
    assert x.shape == (20_000, hidden_units.STEPS)
    assert (x.min(), x.max()) == (pytest.approx(-1, abs=1e-3), pytest.approx(1, abs=1e-3))
    assert teacher(x).mean() == pytest.approx(0, abs=0.03)
    assert teacher(x).var() == pytest.approx(1, abs=0.05)
    assert np.mean((y - teacher(x)) ** 2) == pytest.approx(noise**2, rel=0.04)
    assert y.var() == pytest.approx(1 + noise**2, abs=0.06)


def test_larger_teachers_are_harder_for_a_linear_model():
    def unexplained(units, seed):
        rng = np.random.default_rng(seed)
        teacher = Teacher(units, 0.0, rng)
        x, y = teacher.draw(2000, rng)
        return 1 - LinearRegression().fit(x, y).score(x, y)

    means = [np.mean([unexplained(units, seed) for seed in range(8)]) for units in SIZES]
    assert means[1] > 1.2 * means[0]
    assert means[2] > 1.2 * means[1]


def test_one_seed_has_one_teacher_whatever_the_windows_and_the_noise():
    linear = [
        hidden_units.run(
            {"teacher": 4, "windows": n, "noise": noise, "sizes": [1], "epochs": 1}, seed=3
        )["linear_excess_error"]
        for n, noise in ((2000, 0.0), (4000, 0.01))
    ]
    assert linear[0] == pytest.approx(linear[1], rel=0.05)


@pytest.mark.slow
def test_a_run_repeats_and_chooses_what_its_errors_say():
    setting = {"teacher": 4, "windows": 60, "noise": 0.3, "sizes": [1, 2, 8], "epochs": 30}
    first, again = (hidden_units.run(setting, 0) for _ in range(2))
    assert first["excess_error"] == again["excess_error"]
    assert first["excess_error"] != hidden_units.run(setting, 1)["excess_error"]
    teaching, drawing = np.random.default_rng(0).spawn(2)
    x, y = Teacher(4, 0.3, teaching).draw(60, drawing)
    student = RecurrentRegressor("RNN", 8, epochs=30, random_state=0)
    folds = -cross_val_score(student, x, y, cv=KFold(5), scoring="neg_mean_squared_error")
    error, standard_error = first["cv_error"], first["cv_standard_error"]
    assert error[2] == pytest.approx(folds.mean(), abs=1e-6)
    assert standard_error[2] == pytest.approx(folds.std(ddof=1) / np.sqrt(5), abs=1e-6)
    best = np.argmin(error)
    assert first["chosen_minimum"] == setting["sizes"][best]
    good = error <= error[best] + standard_error[best]
    assert first["chosen_one_standard_error"] == setting["sizes"][np.flatnonzero(good)[0]]
    assert (error > 0.3**2).all()


@pytest.mark.slow
def test_the_student_of_one_unit_finds_a_teacher_of_one():
    """The excess error is measured against the teacher, without the noise of 0.25."""
    setting = {"teacher": 1, "windows": 400, "noise": 0.5, "sizes": [1], "epochs": 60}
    result = hidden_units.run(setting, 0)
    assert result["excess_error"][0] < 0.03
    assert result["cv_error"][0] == pytest.approx(0.25, rel=0.2)
    assert result["linear_excess_error"] > 0.05


def test_settings_cross_teachers_windows_and_noises():
    settings = hidden_units.settings(False)
    crossed = {(s["teacher"], s["windows"], s["noise"]) for s in settings}
    assert len(crossed) == len(settings) == 12
    for setting in settings:  # about as many updates for all
        updates = setting["epochs"] * setting["windows"] / 32
        assert updates == pytest.approx(800, rel=0.25)
