"""Does the best number of hidden units grow in proportion to the data's complexity?

A teacher of known size labels the data: a random RNN with k tanh units reads windows of uniform
noise, and the target is a linear function of its last state, plus noise. A student RNN with k
units could be the very teacher. Each run chooses among students of several sizes by
cross-validation, as one would who does not know k, and tests all of them on fresh windows.

The windows are drawn independently, so folds may be taken anywhere (``KFold``); windows cut from
one series would need ``TimeSeriesSplit``.
"""

import math

import numpy as np

from rnnbook.estimator import RecurrentRegressor, one_standard_error
from rnnbook.extras import needed
from rnnbook.scratch import FusedRNN, Linear, SequenceModel, init

with needed("estimator"):
    from sklearn.linear_model import RidgeCV
    from sklearn.metrics import mean_squared_error
    from sklearn.model_selection import GridSearchCV, KFold

SEEDS = 8
STEPS = 10
SIZES = [1, 2, 4, 8, 16, 32, 64]
FOLDS = 5
TEST = 5000


class Teacher:
    """y = f(x) + noise e, with f a random RNN of ``units`` units and e standard normal.

        h_t = tanh(g Q h_{t-1} + u x_t + b)        Q random orthogonal, u ~ N(0, 1), b ~ N(0, 1/4)
        f(x) = (v . h_T - m) / s                   v ~ N(0, 1)

    with x uniform on [-1, 1], and m and s such that f has mean 0 and variance 1 (over 20,000
    windows). No prediction has an expected squared error below ``noise^2``. The gain is
    g = 1 + log2(k) / 10, so that a larger teacher is harder for a linear model as well; with one
    gain for all sizes it would not be, as v averages over more units.
    """

    def __init__(self, units: int, noise: float, rng: np.random.Generator):
        layer, head = FusedRNN(1, units, rng=rng), Linear(units, 1, rng=rng)
        init.orthogonal_(layer, gain=1 + math.log2(units) / 10, rng=rng)
        layer.params["weight_ih_l0"][...] = rng.normal(size=(units, 1))
        layer.params["bias_ih_l0"][...] = rng.normal(0, 0.5, units)
        layer.params["bias_hh_l0"][...] = 0
        head.params["weight"][...] = rng.normal(size=(1, units))
        self.model, self.noise = SequenceModel(layer, head), noise
        values = self(self.windows(20_000, rng))
        head.params["weight"] /= values.std()
        head.params["bias"][...] = (head.params["bias"] - values.mean()) / values.std()

    def windows(self, size: int, rng: np.random.Generator) -> np.ndarray:
        """``size`` windows of ``STEPS`` values."""
        return rng.uniform(-1, 1, (size, STEPS))

    def __call__(self, windows: np.ndarray) -> np.ndarray:
        """The targets without noise: the best prediction there is."""
        return self.model.forward(windows[:, :, None])[:, 0]

    def draw(self, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Windows (size, STEPS) and targets (size,)."""
        x = self.windows(size, rng)
        return x, self(x) + rng.normal(0, self.noise, size)


def settings(quick: bool) -> list[dict]:
    """Teachers, numbers of windows and noises; as many updates, about, for all."""
    if quick:
        return [
            {"teacher": teacher, "windows": 50, "noise": 0.3, "sizes": [1, 4], "epochs": 20}
            for teacher in (1, 16)
        ]
    return [
        {"teacher": teacher, "windows": n, "noise": noise, "sizes": SIZES, "epochs": epochs}
        for teacher in (1, 4, 16)
        for n, epochs in ((100, 200), (1000, 30))
        for noise in (0.1, 0.3)
    ]


def run(setting: dict, seed: int) -> dict:
    """Choose a size by cross-validation, then test all sizes.

    Returns:
        cv_error, cv_standard_error: of each size, the mean squared error over the folds and its
        standard error; chosen_minimum, chosen_one_standard_error: the sizes that two rules choose;
        excess_error: of each size, trained on all windows, the mean squared distance to the
        teacher without noise on fresh windows, which is the expected squared error above the floor
        noise^2; linear_excess_error: the same for ridge regression, its penalty chosen by
        cross-validation.
    """
    teaching, drawing = np.random.default_rng(seed).spawn(2)
    teacher = Teacher(setting["teacher"], setting["noise"], teaching)
    x, y = teacher.draw(setting["windows"], drawing)
    test = teacher.windows(TEST, drawing)

    sizes = setting["sizes"]
    student = RecurrentRegressor("RNN", epochs=setting["epochs"], random_state=seed)
    search = GridSearchCV(
        student,
        {"hidden_size": sizes},
        scoring="neg_mean_squared_error",
        cv=KFold(FOLDS),
        refit=one_standard_error("hidden_size"),
    ).fit(x, y)
    errors = -search.cv_results_["mean_test_score"]

    def excess_error(regressor) -> float:
        return round(mean_squared_error(teacher(test), regressor.fit(x, y).predict(test)), 6)

    return {
        "cv_error": errors.round(6),
        "cv_standard_error": (search.cv_results_["std_test_score"] / np.sqrt(FOLDS - 1)).round(6),
        "chosen_minimum": sizes[np.argmin(errors)],
        "chosen_one_standard_error": search.best_params_["hidden_size"],
        "excess_error": [excess_error(student.set_params(hidden_size=size)) for size in sizes],
        "linear_excess_error": excess_error(RidgeCV(np.logspace(-3, 3, 13))),
    }
