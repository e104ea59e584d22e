"""Several threads on one layer, model or estimator; copies and pickles that hold no batch."""

import copy
import gc
import pickle
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest

from rnnbook import scratch
from rnnbook.scratch import (
    GRU,
    LSTM,
    RNN,
    Dropout,
    Embedding,
    LayerNorm,
    Linear,
    MinGRU,
    MinLSTM,
    RecurrentDropout,
    RecurrentLayer,
    SequenceModel,
    Stacked,
    Zoneout,
    lstm_variants,
)

D, H = 3, 8


def layer(kind, **settings):
    return lambda rng: kind(D, H, 2, True, rng=rng, **settings)


LAYERS = {
    kind.__name__: layer(kind) for kind in (RNN, LSTM, GRU, scratch.ResetBeforeGRU, MinGRU, MinLSTM)
}
LAYERS |= {
    kind.__name__: layer(kind)
    for kind in (
        scratch.FusedRNN,
        scratch.FusedLSTM,
        scratch.FusedGRU,
        scratch.FusedResetBeforeGRU,
    )
}
LAYERS |= {
    "MinGRU, loop": layer(MinGRU, method="loop"),
    "projected": layer(RecurrentLayer, cell=lstm_variants.ProjectedCell),
    "Zoneout": lambda rng: Zoneout(LSTM(D, H, rng=rng), rng=rng),
    "RecurrentDropout": lambda rng: RecurrentDropout(LSTM(D, H, rng=rng), rng=rng),
    "Stacked": lambda rng: Stacked(
        [scratch.FusedGRU(D, H, rng=rng), GRU(H, H, rng=rng)], [LayerNorm(H)]
    ),
}
MODELS = {
    "one": lambda rng: SequenceModel(LSTM(D, H, 1, True, rng=rng), Linear(2 * H, 2, rng=rng)),
    "many": lambda rng: SequenceModel(
        scratch.FusedLSTM(D, H, rng=rng), Linear(H, 2, rng=rng), many_to="many"
    ),
    "embedding": lambda rng: SequenceModel(
        Stacked([scratch.FusedGRU(D, H, rng=rng), GRU(H, H, rng=rng)], [Dropout(0, rng=rng)]),
        Linear(H, 2, rng=rng),
        embedding=Embedding(5, D, rng=rng),
    ),
}
PARTS = LAYERS | MODELS
every_part = pytest.mark.parametrize("name", PARTS)


def make(name):
    return PARTS[name](np.random.default_rng(0))


def inputs(name, count, batch=4, steps=12):
    rng = np.random.default_rng(1)
    if name == "embedding":
        return list(rng.integers(0, 5, (count, batch, steps)))
    return list(rng.standard_normal((count, batch, steps, D)))


def flat(result):
    """All arrays in nested tuples, one after the other."""
    if isinstance(result, tuple):
        return np.concatenate([flat(part) for part in result])
    return np.ravel(result)


def in_threads(number, function, arguments):
    """``function`` of all arguments, by so many threads that begin at once."""
    barrier = Barrier(number)

    def work(share):
        barrier.wait()
        return [function(argument) for argument in share]

    with ThreadPoolExecutor(number) as pool:
        shares = list(pool.map(work, [arguments[k::number] for k in range(number)]))
    return [shares[k % number][k // number] for k in range(len(arguments))]


@every_part
@pytest.mark.parametrize("number", [2, 4])
def test_forward_in_threads_is_forward(name, number):
    part, xs = make(name).eval(), inputs(name, 40)
    expected = [flat(part.forward(x)) for x in xs]
    for found, wanted in zip(in_threads(number, part.forward, xs), expected, strict=True):
        np.testing.assert_array_equal(flat(found), wanted)


@every_part
@pytest.mark.parametrize("number", [2, 4])
def test_backward_goes_back_through_its_own_forward(name, number):
    part, xs = make(name).eval(), inputs(name, 24)

    def both_ways(x):
        with scratch.enable_grad():  # in evaluation, for the noise that training would draw
            y = part.forward(x)
            result = part.backward(y if name in MODELS else y[0])
        return y if result is None else (y, result)

    expected = [flat(both_ways(x)) for x in xs]
    for found, wanted in zip(in_threads(number, both_ways, xs), expected, strict=True):
        np.testing.assert_array_equal(flat(found), wanted)


@every_part
def test_a_pickle_holds_weights_and_settings_and_no_batch(name):
    part = make(name)
    fresh = len(pickle.dumps(part))
    for x in inputs(name, 2, batch=50, steps=40):
        y = part.forward(x)
        part.backward(y if name in MODELS else y[0])
    part.forward(x)
    weights = sum(array.nbytes for array in part.params.values())
    assert len(pickle.dumps(part)) <= fresh + 100  # a generator's state may take a digit more
    assert fresh < weights + 12_000
    for other in (copy.deepcopy(part), pickle.loads(pickle.dumps(part))):
        np.testing.assert_array_equal(
            flat(other.eval().forward(x)), flat(make(name).eval().forward(x))
        )
        for mine, its in zip(part.params.values(), other.params.values(), strict=True):
            assert not np.may_share_memory(mine, its)
        for array in other.params.values():
            array[...] = 0  # the copy's own weights are what it runs with
        assert (flat(other.forward(x)) == 0).all() or name == "embedding"
        assert any(array.any() for array in part.params.values())


@every_part
@pytest.mark.slow
def test_nothing_of_a_batch_outlives_its_backward(name):
    part = make(name)
    x = inputs(name, 1, batch=100, steps=60)[0]
    for small in inputs(name, 2, batch=1, steps=2):  # whatever is made once
        y = part.forward(small)
        part.backward(y if name in MODELS else y[0])
    del y
    gc.collect()
    tracemalloc.start()
    y = part.forward(x)
    held, _ = tracemalloc.get_traced_memory()
    part.backward(y if name in MODELS else y[0])
    y = None
    part.eval()  # a fused layer keeps memory for its next call until then
    gc.collect()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 50_000 < held


@every_part
def test_later_changes_of_the_input_are_not_seen(name):
    part, x = make(name), inputs(name, 1)[0]
    y = part.forward(x)
    doutput = y if name in MODELS else y[0]
    part.rng = np.random.default_rng(0)
    part.forward(x)
    expected = part.backward(doutput)
    grads = {name: array.copy() for name, array in part.grads.items()}
    part.rng = np.random.default_rng(0)
    given = x.copy()
    part.forward(given)
    given[...] = 1
    found = part.backward(doutput)
    if expected is not None:
        np.testing.assert_array_equal(flat(found), flat(expected))
    for name, array in grads.items():
        np.testing.assert_array_equal(part.grads[name], array)


def test_linear_and_layer_norm_do_not_see_later_changes_either():
    rng = np.random.default_rng(0)
    for part in (Linear(D, 2, rng=rng), LayerNorm(D)):
        x = rng.standard_normal((4, D))
        part.forward(x)
        dx = part.backward(np.ones_like(part.forward(x)))
        grads = dict(part.grads)
        y = part.forward(x)
        x[...] = 7
        np.testing.assert_array_equal(part.backward(np.ones_like(y)), dx)
        for name, array in grads.items():
            np.testing.assert_array_equal(part.grads[name], array)


@pytest.mark.parametrize("number", [2, 4])
def test_an_estimator_predicts_alike_in_threads(number):
    pytest.importorskip("sklearn")
    from rnnbook.estimator import RecurrentRegressor

    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 6))
    estimator = RecurrentRegressor("GRU", 4, epochs=1, random_state=0).fit(X, X.mean(axis=1))
    parts = [X[k : k + 20] for k in range(40)]
    expected = [estimator.predict(part) for part in parts]
    for found, wanted in zip(in_threads(number, estimator.predict, parts), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
    tracemalloc.start()
    estimator.predict(rng.standard_normal((2000, 6)))
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 50_000 < peak


@pytest.mark.parametrize("number", [2, 4])
def test_permutation_importance_with_threads(number):
    pytest.importorskip("sklearn")
    import joblib
    from sklearn.inspection import permutation_importance

    from rnnbook.estimator import RecurrentRegressor

    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 5))
    estimator = RecurrentRegressor("LSTM", 4, epochs=2, random_state=0).fit(X, X[:, 3])
    y = X[:, 3]
    alone = permutation_importance(estimator, X, y, n_repeats=4, random_state=0)
    with joblib.parallel_config("threading", n_jobs=number):
        threads = permutation_importance(
            estimator, X, y, n_repeats=4, random_state=0, n_jobs=number
        )
    np.testing.assert_array_equal(threads.importances, alone.importances)


def test_a_fitted_estimators_pickle_holds_no_batch():
    pytest.importorskip("sklearn")
    from rnnbook.estimator import RecurrentRegressor

    rng = np.random.default_rng(0)
    sizes = []
    for n in (50, 500):
        X = rng.standard_normal((n, 6))
        estimator = RecurrentRegressor("GRU", 4, epochs=1, batch_size=n, random_state=0)
        estimator.fit(X, X.mean(axis=1)).predict(X)
        sizes.append(len(pickle.dumps(estimator)))
    assert sizes[1] < sizes[0] + 500
