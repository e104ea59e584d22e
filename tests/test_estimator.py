"""The regressor: scikit-learn's own checks and tools, and nothing learned from a test part."""

import pickle
import re
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6", reason="the estimator is scikit-learn's")

from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    TimeSeriesSplit,
    cross_val_score,
    cross_validate,
    learning_curve,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_estimator

from rnnbook.estimator import RecurrentRegressor, one_standard_error
from rnnbook.forecast import examples
from rnnbook.scratch import GRU, LSTM, RNN, Linear, SequenceModel, losses, optim

QUICK = RecurrentRegressor("RNN", 3, epochs=3, random_state=0)


@pytest.fixture(scope="module")
def logistic():
    """Windows of 4 values of x_(t+1) = 4 x_t (1 - x_t), whose values are not correlated."""
    values = [0.3]
    while len(values) < 404:
        values.append(4 * values[-1] * (1 - values[-1]))
    return examples(np.array(values), 4)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(2, 3, (40, 5))
    return X, 7 + 2 * X[:, 0] * X[:, -1]


@pytest.mark.slow
def test_scikit_learns_own_checks():
    """Raises at the first check that fails; the skipped one waits for SCIPY_ARRAY_API=1."""
    results = check_estimator(RecurrentRegressor(), on_skip=None)
    skipped = {r["check_name"] for r in results if r["status"] != "passed"}
    assert skipped <= {"check_array_api_input"}
    assert len(results) > 40


@pytest.mark.parametrize(("cell", "layer_class"), [("RNN", RNN), ("LSTM", LSTM), ("GRU", GRU)])
def test_fit_is_the_training_that_its_docstring_tells(data, cell, layer_class):
    """Each step by hand: 40 windows in steps of 16, 16 and 8."""
    X, y = data
    x, target = (X - X.mean()) / X.std(), ((y - y.mean()) / y.std())[:, None]
    rng = np.random.default_rng(5)
    layer = layer_class(1, 3, rng=rng)
    model = SequenceModel(layer, Linear(3, 1, rng=rng))
    optimizer, step = optim.Adam(model.params, lr=0.02), 0
    for _ in range(4):
        order = rng.permutation(40)
        for part in (order[:16], order[16:32], order[32:]):
            optimizer.lr = 0.02 * (1 + np.cos(np.pi * step / 12)) / 2
            _, dprediction = losses.mse(model.forward(x[part, :, None]), target[part])
            model.backward(dprediction)
            optim.clip_grad_norm(model.grads, 0.5)
            optimizer.step(model.grads)
            step += 1

    settings = {"epochs": 4, "batch_size": 16, "learning_rate": 0.02, "max_norm": 0.5}
    regressor = RecurrentRegressor(cell, 3, random_state=5, **settings).fit(X, y)
    by_hand = y.mean() + y.std() * model.forward(x[:, :, None])[:, 0]
    np.testing.assert_allclose(regressor.predict(X), by_hand, rtol=1e-9)
    assert len(regressor.history_.loss) == 12
    for name, array in model.params.items():
        np.testing.assert_allclose(regressor.model_.params[name], array, rtol=1e-9, atol=1e-12)


def test_it_learns_what_a_linear_model_cannot(logistic):
    X, y = logistic
    ridge = Ridge().fit(X[:300], y[:300]).score(X[300:], y[300:])
    regressor = RecurrentRegressor("RNN", 8, epochs=60, random_state=0).fit(X[:300], y[:300])
    assert ridge < 0.1
    assert regressor.score(X[300:], y[300:]) > 0.98


def test_a_prediction_by_hand(data):
    """The equations, one value of the window after the other."""
    X, y = data
    regressor = clone(QUICK).fit(X, y)
    h = np.zeros(3)
    p = regressor.model_.params
    for x in (X[0] - X.mean()) / X.std():
        bias = p["rnn.bias_ih_l0"] + p["rnn.bias_hh_l0"]
        h = np.tanh(p["rnn.weight_ih_l0"][:, 0] * x + p["rnn.weight_hh_l0"] @ h + bias)
    by_hand = y.mean() + y.std() * (p["head.weight"] @ h + p["head.bias"])
    np.testing.assert_allclose(regressor.predict(X[:1]), by_hand)


def test_other_units_of_measurement_change_nothing(data):
    """Scaled data look the same, so a x + b for all values and c y + d for all targets only change
    the predictions' unit."""
    X, y = data
    before = clone(QUICK).fit(X, y).predict(X)
    after = clone(QUICK).fit(-3 * X + 100, y).predict(-3 * X + 100)
    flipped = clone(QUICK).fit(-X, y).predict(-X)
    np.testing.assert_allclose(after, flipped, rtol=1e-6)
    after = clone(QUICK).fit(3 * X + 100, 50 * y - 8).predict(3 * X + 100)
    np.testing.assert_allclose(after, 50 * before - 8, rtol=1e-6)


def test_every_fold_is_scaled_by_its_own_training_part(data):
    X, y = data
    X = X + np.arange(40)[:, None]  # the folds differ
    folds = KFold(4)
    search = cross_validate(clone(QUICK), X, y, cv=folds, return_estimator=True)
    for (train, test), fitted in zip(folds.split(X), search["estimator"], strict=True):
        assert fitted.input_scaler_.mean_[0] == pytest.approx(X[train].mean())
        assert fitted.input_scaler_.scale_[0] == pytest.approx(X[train].std())
        assert fitted.target_scaler_.mean_[0] == pytest.approx(y[train].mean())
        one_by_one = [fitted.predict(X[[i]])[0] for i in test]
        np.testing.assert_allclose(fitted.predict(X[test]), one_by_one)


@pytest.mark.parametrize(("X", "y"), [(np.full((9, 4), 0.1), np.arange(9.0)), (None, np.ones(9))])
def test_constant_inputs_or_targets_are_no_division_by_zero(X, y):
    X = np.random.default_rng(0).normal(size=(9, 4)) if X is None else X
    prediction = RecurrentRegressor("RNN", 3, epochs=100, random_state=0).fit(X, y).predict(X)
    np.testing.assert_allclose(prediction, y.mean(), atol=0.05)


def test_many_windows_are_predicted_as_few(data):
    regressor = clone(QUICK).fit(*data)
    X = np.random.default_rng(1).normal(2, 3, (2001, 5))
    np.testing.assert_allclose(regressor.predict(X)[-3:], regressor.predict(X[-3:]))


def test_equal_seeds_give_equal_numbers_and_others_do_not(data):
    X, y = data
    first, again, other = (
        clone(QUICK).set_params(random_state=seed).fit(X, y).predict(X) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)
    going_on = clone(QUICK).set_params(random_state=np.random.default_rng(1))
    np.testing.assert_array_equal(going_on.fit(X, y).predict(X), first)
    assert not np.allclose(going_on.fit(X, y).predict(X), first)


def test_clone_and_pickle(data):
    X, y = data
    fitted = clone(QUICK).fit(X, y)
    np.testing.assert_array_equal(clone(fitted).fit(X, y).predict(X), fitted.predict(X))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict(X), fitted.predict(X))
    assert not hasattr(clone(fitted), "model_")


def test_the_tools_of_scikit_learn(logistic):
    X, y = logistic
    root = make_pipeline(FunctionTransformer(np.sqrt), RecurrentRegressor("RNN", random_state=0))
    root.set_params(recurrentregressor__epochs=15, recurrentregressor__learning_rate=0.03)
    search = GridSearchCV(
        root,
        {"recurrentregressor__hidden_size": [6, 1]},
        cv=TimeSeriesSplit(3),
        refit=one_standard_error("recurrentregressor__hidden_size"),
    ).fit(X, y)
    assert search.best_params_ == {"recurrentregressor__hidden_size": 6}  # one unit is monotone
    assert search.score(X, y) > 0.9
    assert pickle.loads(pickle.dumps(search)).predict(X) == pytest.approx(search.predict(X))

    scores = cross_val_score(root, X, y, cv=TimeSeriesSplit(3))
    assert scores[-1] > 0.9
    sizes, _, test = learning_curve(
        root, X, y, train_sizes=[20, 200], cv=TimeSeriesSplit(2, test_size=80)
    )
    assert sizes.tolist() == [20, 200]
    assert test[1].mean() > test[0].mean() + 0.2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cell": "lstm"}, "cell must be one of 'RNN', 'LSTM', 'GRU', got 'lstm'."),
        ({"hidden_size": 0}, "hidden_size must be a whole number of at least 1, got 0."),
        ({"epochs": 1.5}, "epochs must be a whole number of at least 1, got 1.5."),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, got 0."),
        ({"learning_rate": -1}, "learning_rate must lie between 0 and inf, got -1."),
        ({"max_norm": -1}, "max_norm must lie between 0 and inf, got -1."),
    ],
)
def test_wrong_settings_are_told_when_fitting(data, settings, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        clone(QUICK).set_params(**settings).fit(*data)


@pytest.mark.parametrize("wrong", [{"max_norm": -1}, {"random_state": -1}, {"hidden_size": 0}])
def test_a_refused_fit_leaves_the_last_one(data, wrong):
    X, y = data
    fitted = clone(QUICK).fit(X, y)
    before = fitted.predict(X)
    with pytest.raises(ValueError):  # noqa: PT011
        fitted.set_params(**wrong).fit(9 * X[:, 1:], y)
    np.testing.assert_array_equal(fitted.predict(X), before)


def test_wrong_data_are_told(data):
    X, y = data
    fitted = clone(QUICK).fit(X, y)
    with pytest.raises(ValueError, match="X has 4 features, but RecurrentRegressor is expecting 5"):
        fitted.predict(X[:, 1:])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        clone(QUICK).fit(X, y[1:])
    with pytest.raises(ValueError, match="contains NaN"):
        clone(QUICK).fit(np.where(X > 5, np.nan, X), y)


@pytest.mark.slow
def test_it_needs_no_torch():
    code = "import sys, rnnbook.estimator; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


# One standard error


def results_of(scores, **parameters):
    """``cv_results_`` as GridSearchCV makes it, from each candidate's scores over the folds."""
    scores = np.array(scores, dtype=float)
    named = {f"param_{name}": np.ma.array(values) for name, values in parameters.items()}
    splits = {f"split{k}_test_score": column for k, column in enumerate(scores.T)}
    return named | splits | {"mean_test_score": scores.mean(1), "std_test_score": scores.std(1)}


# Mean 10 and s = 2 over four folds: a standard error of 1.
BEST = [10 + np.sqrt(3), 10 - np.sqrt(3), 10 + np.sqrt(3), 10 - np.sqrt(3)]


@pytest.mark.parametrize(
    ("means", "sizes", "chosen"),
    [
        ([8.9, 9.1, 10, 9.9], [1, 2, 4, 8], 2),  # 8.9 is further than one standard error
        ([8.9, 8.9, 10, 9.9], [1, 2, 4, 8], 4),
        ([9.9, 10, 9.1, 8], [8, 4, 2, 1], 2),  # whatever the order of the grid
        ([9.5, 10], [16, 2], 2),  # a larger one is not chosen
        ([np.nan, 9.5, 10], [1, 2, 4], 2),
    ],
)
def test_the_smallest_within_one_standard_error(means, sizes, chosen):
    results = results_of([[m] * 4 if m != 10 else BEST for m in means], hidden_size=sizes)
    assert sizes[one_standard_error("hidden_size")(results)] == chosen


def test_the_border_lies_at_s_over_the_root_of_the_folds():
    """s with K - 1 in the denominator: 1 here; with K it would be 0.87."""
    for mean, index in ((9.001, 0), (8.999, 1)):
        results = results_of([[mean] * 4, BEST], hidden_size=[1, 2])
        assert np.std(BEST, ddof=1) / np.sqrt(4) == pytest.approx(1)
        assert one_standard_error("hidden_size")(results) == index


def test_of_equally_small_candidates_the_better_one_is_chosen():
    scores = [[9.2] * 4, [9.6] * 4, [9.4] * 4, BEST]
    rates = [0.1, 0.2, 0.3, 0.1]
    results = results_of(scores, hidden_size=[1, 1, 1, 2], rate=rates)
    assert one_standard_error("hidden_size")(results) == 1
    assert one_standard_error("rate")(results) == 3
    assert one_standard_error("rate")(results_of([[1, 1]] * 3, rate=[2, 1, 1])) == 1


@pytest.mark.parametrize(
    ("results", "message"),
    [
        (results_of([[1, 2]], cell=["RNN"], epochs=[3]), r"\(cell, epochs\), got 'hidden_size'\."),
        (results_of([[1]], hidden_size=[3]), "cv must make 2 folds at least .* got 1"),
        (results_of([[np.nan] * 2] * 2, hidden_size=[1, 2]), "one finite mean score at least"),
        (
            {
                "param_hidden_size": [1],
                "split0_test_score": [-np.inf],
                "split1_test_score": [-np.inf],
                "mean_test_score": [-np.inf],
                "std_test_score": [np.nan],
            },
            "one finite mean score at least",
        ),
    ],
)
def test_results_that_cannot_be_chosen_from_are_told(results, message):
    with pytest.raises(ValueError, match=message):
        one_standard_error("hidden_size")(results)


def test_the_index_of_a_table_plays_no_part():
    """As one sorts it: by rank, so that the first row is not row 0."""
    pd = pytest.importorskip("pandas")
    scores = [[8.0] * 4, [9.5, 9.4, 9.3, 9.6], BEST, [9.9, 9.8, 9.7, 9.9]]
    table = pd.DataFrame(results_of(scores, hidden_size=[1, 2, 4, 8]))
    for order in ([0, 1, 2, 3], [2, 3, 1, 0], [3, 1, 0, 2]):
        place = one_standard_error("hidden_size")(table.iloc[order])
        assert table.iloc[order]["param_hidden_size"].iloc[place] == 2


@pytest.mark.parametrize("table", [False, True])
def test_candidates_without_the_parameter_are_not_compared_by_it(table):
    """Of a list of grids, ``cv_results_`` masks what a candidate was not given."""
    for hidden, message in (([1, 2], None), ([9, 2], "must be set in every good candidate, got")):
        scores = [BEST, [1.0] * 4] if message is None else [[1.0] * 4, BEST]
        results = results_of(scores)
        results["param_hidden_size"] = np.ma.array(hidden, mask=[False, True], dtype=object)
        if table:
            results = pytest.importorskip("pandas").DataFrame(results)
        if message is None:
            assert one_standard_error("hidden_size")(results) == 0
        else:
            with pytest.raises(ValueError, match=message):
                one_standard_error("hidden_size")(results)


def test_short_numbers_as_settings_are_as_python_numbers(data):
    settings = {"hidden_size": 40, "epochs": 2, "batch_size": 100}
    plain = clone(QUICK).set_params(**settings).fit(*data).predict(data[0])
    short = {name: np.int8(value) for name, value in settings.items()}
    np.testing.assert_array_equal(
        clone(QUICK).set_params(**short).fit(*data).predict(data[0]), plain
    )
