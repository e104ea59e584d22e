"""Every function that takes a series or an array: whatever it comes as, float64's numbers.

Types of numbers, views, indexes, tensors; then what is no series, told in one sentence; then high
levels, and what looks like variation but is rounding.
"""

import functools
import warnings
from dataclasses import fields, is_dataclass

import numpy as np
import pytest

from rnnbook import gradcheck, tasks
from rnnbook.checks import check_finite, check_lengths, real_numbers
from rnnbook.experiments import summarize
from rnnbook.scratch import Embedding, FusedLSTM, Linear, schedules

pytestmark = pytest.mark.slow


def flat(result) -> list[np.ndarray]:
    """All arrays and numbers of a result, one after the other."""
    if is_dataclass(result):
        result = [getattr(result, field.name) for field in fields(result)]
    if isinstance(result, dict):
        result = list(result.values())
    if isinstance(result, list | tuple):
        return [array for part in result for array in flat(part)]
    return [] if result is None else [np.asarray(result)]


def assert_same(got, wanted) -> None:
    for one, other in zip(flat(got), flat(wanted), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


# What a series, or rows of windows, may come as


def view(shape_of):
    """``shape_of`` an array that holds twice the numbers: every second one along the first axis."""
    return np.repeat(shape_of, 2, axis=0)[::2]


def read_only(values):
    values = values.copy()
    values.flags.writeable = False
    return values


def pandas(index):
    def series(values):
        pd = pytest.importorskip("pandas")
        kind = pd.Series if values.ndim == 1 else pd.DataFrame
        return kind(values, index=index(pd, len(values)))

    return series


def column(values):
    pd = pytest.importorskip("pandas")
    return pd.DataFrame({"y": values, "z": 0 * values})["y"] if values.ndim == 1 else values


def nullable(kind):
    return lambda values: pandas(lambda pd, n: pd.RangeIndex(n))(values).astype(kind)


def tensor(dtype, **options):
    def of(values):
        torch = pytest.importorskip("torch")
        return torch.tensor(values, dtype=getattr(torch, dtype), **options)

    return of


FORMS = {
    "list": np.ndarray.tolist,
    "tuple": lambda values: tuple(map(tuple, values)) if values.ndim == 2 else tuple(values),
    "list of whole numbers": lambda values: values.astype(int).tolist(),
    **{
        dtype: functools.partial(np.ndarray.astype, dtype=dtype)
        for dtype in ("i1", "u1", "i2", "i4", "u4", "i8", "f2", "f4", "g", ">f8", ">f4", ">i2")
    },
    "reversed": lambda values: values[::-1].copy()[::-1],
    "every second": view,
    "int8, every second": lambda values: view(values.astype("i1")),
    "column-major": np.asfortranarray,
    "read-only": read_only,
    "pandas, shifted": pandas(lambda pd, n: pd.RangeIndex(5, n + 5)),
    "pandas, reversed": pandas(lambda pd, n: pd.RangeIndex(n)[::-1]),
    "pandas, dates": pandas(lambda pd, n: pd.date_range("2000-01-01", periods=n)),
    "pandas, fractions": pandas(lambda pd, n: np.linspace(0, 1, n)),
    "pandas, all alike": pandas(lambda pd, n: np.zeros(n, dtype=int)),
    "column of a DataFrame": column,
    "pandas, Int64": nullable("Int64"),
    "pandas, int8": nullable("int8"),
    **{dtype: tensor(dtype) for dtype in ("float64", "float32", "bfloat16", "int8", "uint8")},
    "tensor, requires grad": tensor("float64", requires_grad=True),
}

# 0 ... 127, whose differences go below 0 and whose squares go far above 127; two frames of sound.
SERIES = np.round(63.5 + 63.5 * np.sin(np.arange(330.0) ** 1.1))
ROWS = SERIES[:60].reshape(10, 6)


def forecasting():
    return pytest.importorskip("rnnbook.forecast", reason="it needs skforecast")


def regressor(X, y):
    estimator = pytest.importorskip("rnnbook.estimator", reason="it needs scikit-learn")
    regressor = estimator.RecurrentRegressor("RNN", 2, epochs=2, random_state=0).fit(X, y)
    return regressor.predict(ROWS), regressor.target_scaler_.scale_


def predicted(X):
    estimator = pytest.importorskip("rnnbook.estimator", reason="it needs scikit-learn")
    regressor = estimator.RecurrentRegressor("RNN", 2, epochs=1, random_state=0)
    return regressor.fit(ROWS, ROWS[:, 0]).predict(X)


def interval(samples):
    return pytest.importorskip("rnnbook.plots").mean_interval(samples)


def drawn(samples):
    plots = pytest.importorskip("rnnbook.plots")
    axes = plots.plt.figure().gca()
    plots.plot_runs(axes, np.arange(6), samples, "runs")
    lines = axes.get_lines()[0].get_xydata()
    plots.plt.close(axes.figure)
    return lines


OF_SERIES = {
    "windows": lambda series: tasks.windows(series, 5, horizon=2),
    "persistence_baseline": lambda series: tasks.persistence_baseline(series, horizon=3),
    "log_mel": tasks.log_mel,
    "examples": lambda series: forecasting().examples(series, 5, 9),
    "naive_error": lambda series: forecasting().naive_error(series, 4),
    "paired_difference": lambda series: forecasting().paired_difference(series, np.zeros(330)),
    "RecurrentRegressor.fit, y": lambda y: regressor(np.resize(ROWS, (330, 6)), y),
}
OF_ROWS = {
    "conformal": lambda errors: forecasting().conformal(errors, 0.6),
    "RecurrentRegressor.fit, X": lambda X: regressor(X, np.arange(10.0)),
    "RecurrentRegressor.predict": predicted,
    "mean_interval": interval,
    "plot_runs": drawn,
    "relative_error": lambda rows: gradcheck.relative_error(rows, ROWS[:, ::-1]),
    "relative_error, the other": lambda rows: gradcheck.relative_error(ROWS[:, ::-1], rows),
    "Linear": lambda rows: Linear(6, 2, rng=np.random.default_rng(0)).forward(rows),
}
WHOLE = {
    "Embedding": lambda x: Embedding(128, 2, rng=np.random.default_rng(0)).forward(x),
    "number_text": lambda tokens: len(tasks.number_text(real_numbers("tokens", tokens, None) % 9)),
    "spell": tasks.spell,
    "check_lengths": lambda lengths: check_lengths(lengths, 60, 130),
}
FLOATS = ("f2", "f4", "g", ">f8", ">f4", "float64", "float32", "bfloat16", "tensor, requires grad")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", OF_SERIES)
def test_a_series_may_come_as(name, form):
    call = OF_SERIES[name]
    assert_same(call(FORMS[form](SERIES)), call(SERIES))


@pytest.mark.parametrize("form", ["reversed", "every second", "pandas, reversed", "float64"])
@pytest.mark.parametrize("name", ["naive_error"])
def test_a_sum_does_not_depend_on_the_order_of_memory(name, form):
    """Of numbers with fractions it could, in the last digit: NumPy adds up as memory lies."""
    series = np.concatenate([SERIES] * 9) / 3 + np.sin(np.arange(9 * len(SERIES)))
    assert_same(OF_SERIES[name](FORMS[form](series)), OF_SERIES[name](series))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", OF_ROWS)
def test_windows_may_come_as(name, form):
    given = FORMS[form](ROWS)
    if form == "pandas, Int64" and "Regressor" not in name:  # pandas makes objects of a table
        with pytest.raises(ValueError, match="must hold real numbers, got object"):
            OF_ROWS[name](given)
        return
    with warnings.catch_warnings():  # scikit-learn says that it was trained on X without names
        warnings.filterwarnings("ignore", message="X has feature names")
        warnings.filterwarnings("ignore", message="X does not have valid feature names")
        assert_same(OF_ROWS[name](given), OF_ROWS[name](ROWS))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", WHOLE)
def test_whole_numbers_may_come_as(name, form):
    """Floats are refused, whatever their values; the caller's array is not kept."""
    whole = np.maximum(SERIES[:60].astype(int), 1)
    if form in FLOATS or form in ("list", "tuple"):
        with pytest.raises(ValueError, match=r"must (hold|be a)? ?(whole numbers?|be integers)\b"):
            WHOLE[name](FORMS[form](whole.astype(float)))
    else:
        assert_same(WHOLE[name](FORMS[form](whole)), WHOLE[name](whole))


@pytest.mark.parametrize("name", [*OF_SERIES, *OF_ROWS])
def test_truth_is_0_or_1(name):
    call, values = (OF_SERIES | OF_ROWS)[name], SERIES if name in OF_SERIES else ROWS
    assert_same(call(values > 63), call((values > 63).astype(float)))


# What is no series

MASKED = np.ma.masked_greater(SERIES, 120)
NO_SERIES = {
    "masked": (MASKED, "must not be masked"),
    "masked nowhere": (np.ma.asarray(SERIES), "must not be masked"),
    "objects": (SERIES.astype(object), "must hold real numbers, got object"),
    "text": (["1", "2"], "must hold real numbers, got <U1"),
    "complex": (SERIES + 0j, "must hold real numbers, got complex128"),
    "dates": (np.arange("2000", "2002", dtype="M8[M]"), "must hold real numbers, got datetime64"),
    "None": (None, "must hold real numbers, got object"),
    "a number": (3.0, r"must have shape \(length,\), got \(\)"),
    "nothing": ([], r"must have shape \(length,\), got \(0,\)"),
    "a column": (SERIES[:, None], r"must have shape \(length,\), got \(330, 1\)"),
    "ragged": ([[1.0], [2.0, 3.0]], "must be an array, got rows of unequal length"),
    "NaN": (np.where(SERIES > 120, np.nan, SERIES), "must be finite, got nan at index"),
    "infinity": (np.where(SERIES > 120, -np.inf, SERIES), "must be finite, got -inf at index"),
    "NaN in float16": (np.array([1, np.nan] * 200, "f2"), "must be finite, got nan at index"),
}


@pytest.mark.parametrize("kind", NO_SERIES)
@pytest.mark.parametrize("name", [name for name in OF_SERIES if "Regressor" not in name])
def test_what_is_no_series_is_told(name, kind):
    given, message = NO_SERIES[kind]
    with pytest.raises(ValueError, match=rf"^(series|waveform|train|values|losses) {message}"):
        OF_SERIES[name](given)


@pytest.mark.parametrize("kind", ["masked", "complex", "text", "ragged", "None"])
@pytest.mark.parametrize("name", OF_ROWS)
def test_what_are_no_windows_is_told(name, kind):
    given, message = NO_SERIES[kind]
    given = given[:60].reshape(10, 6) if kind in ("masked", "complex") else given
    if "Regressor" in name and kind != "masked":
        message = r"\w"  # scikit-learn's own words
    with pytest.raises(ValueError, match=message):
        OF_ROWS[name](given)


def test_lists_of_tensors_that_require_gradients_and_sparse_tensors_are_told():
    torch = pytest.importorskip("torch")
    for given in (list(torch.ones(3, requires_grad=True)), torch.ones(3).to_sparse()):
        with pytest.raises(
            ValueError, match=r"^series must be an array, got \w+ that NumPy cannot"
        ):
            tasks.windows(given, 1)


def test_finite_numbers_of_a_list_and_of_a_pandas_series():
    for form in (list, pandas(lambda pd, n: pd.RangeIndex(5, n + 5))):
        check_finite("x", form(np.ones(3)))
        with pytest.raises(ValueError, match="x must be finite, got nan at index"):
            check_finite("x", form(np.array([1, np.nan])))


def test_a_start_outside_of_the_series_is_told():
    for start in (-1, 330, 2.0):
        with pytest.raises(ValueError, match="start must be a whole number between 0 and 329"):
            forecasting().examples(SERIES, 5, start)


@pytest.mark.parametrize(("samples", "axis"), [(3.0, 0), ([1.0, 2.0], 1), ([1.0, 2.0], -2)])
def test_an_interval_needs_its_axis(samples, axis):
    plots = pytest.importorskip("rnnbook.plots")
    with pytest.raises(ValueError, match=f"samples must have an axis {axis}, got the shape"):
        plots.mean_interval(samples, axis)


def test_an_interval_of_runs_with_a_gap_has_one():
    """NaN is not left out in silence: where a run has no number there is no mean over the runs."""
    plots = pytest.importorskip("rnnbook.plots")
    mean, half = plots.mean_interval([[1, np.nan], [3, 4]])
    np.testing.assert_array_equal(mean, [2, np.nan])
    assert np.isnan(half).tolist() == [False, True]


@pytest.mark.parametrize("kind", [np.float32, np.float16, np.int8, np.float64, int])
def test_summaries_of_short_numbers(kind):
    """As a run returns them, before JSON has made them Python's."""
    pytest.importorskip("scipy")
    runs = [
        {"setting": {"cell": "rnn"}, "seed": seed, "metrics": {"steps": kind(value)}}
        for seed, value in enumerate([100, 120, 110])
    ]
    (group,) = summarize({"runs": runs}, "steps", ["cell"])
    assert group["values"] == [100, 120, 110]
    assert (group["mean"], group["std"]) == (110, 10)


def test_the_callers_arrays_are_neither_changed_nor_kept():
    rows, numbers = ROWS - 60, np.arange(5)
    forecasting().conformal(rows, 0.6)
    np.testing.assert_array_equal(rows, ROWS - 60)
    pairs = tasks.spell(numbers)
    numbers[:] = 9
    np.testing.assert_array_equal(pairs.numbers, np.arange(5))


def test_real_series_can_be_written_in():
    pytest.importorskip("statsmodels", reason="statsmodels ships the series")
    for name in ("sunspots", "co2", "elnino"):
        series = tasks.real_series(name)
        for array in (series.time, series.values):
            assert array.dtype == np.float64
            array += 1


# Levels


@pytest.mark.parametrize("power", [-40, 40])
def test_another_unit_changes_the_unit_of_the_errors(power):
    unit = 2.0**power
    baseline = tasks.persistence_baseline(unit * SERIES)
    assert baseline == pytest.approx(unit**2 * tasks.persistence_baseline(SERIES), rel=1e-12)
    assert forecasting().naive_error(unit * SERIES, 4) == unit * forecasting().naive_error(
        SERIES, 4
    )


@pytest.mark.parametrize("level", [1e7, 1e12])
def test_the_regressor_scales_at_a_high_level(level):
    """Of 600 values around 1e12, scikit-learn takes a standard deviation of 0.1 for none."""
    pytest.importorskip("sklearn")
    from rnnbook.estimator import RecurrentRegressor

    X = np.random.default_rng(0).integers(-160, 160, (128, 8)) / 1024
    y = X[:, 0]
    settings = {"cell": "RNN", "hidden_size": 2, "epochs": 3, "random_state": 0}
    low = RecurrentRegressor(**settings).fit(X, y)
    high = RecurrentRegressor(**settings).fit(X + level, y + level)
    assert high.input_scaler_.scale_[0] == pytest.approx(X.std(), rel=0.01)
    assert high.target_scaler_.scale_[0] == pytest.approx(y.std(), rel=0.01)
    difference = high.predict(X + level) - level - low.predict(X)
    assert np.abs(difference).max() < 0.02 * y.std()


# Settings that are NumPy's short numbers

WAVE = np.sin(np.arange(300.0))


def new():
    return np.random.default_rng(0)


CALLS = {
    "adding_problem": lambda as_: tasks.adding_problem(as_(120), as_(100), new()),
    "adding_problem_baseline": lambda as_: tasks.adding_problem_baseline(as_(1)),
    "copy_memory": lambda as_: tasks.copy_memory(
        as_(5), as_(100), new(), length=as_(100), symbols=as_(100)
    ),
    "copy_memory_baseline": lambda as_: tasks.copy_memory_baseline(
        as_(100), length=as_(100), symbols=as_(100)
    ),
    "temporal_order": lambda as_: tasks.temporal_order(as_(100), as_(100), new()),
    "flip_flop": lambda as_: tasks.flip_flop(
        as_(100), as_(100), new(), bits=as_(100), pulse=as_(0.25)
    ),
    "flip_flop_baseline": lambda as_: tasks.flip_flop_baseline(as_(100), pulse=as_(0.1)),
    "parity": lambda as_: tasks.parity(as_(100), as_(127), new(), least_steps=as_(127)),
    "parity_baseline": lambda as_: tasks.parity_baseline(as_(127), window=as_(100)),
    "counting": lambda as_: tasks.counting_language(
        as_(3), new(), letters=as_(26), least_n=as_(100), most_n=as_(127)
    ),
    "counting_b": lambda as_: tasks.counting_language_baseline(
        letters=as_(26), least_n=as_(100), most_n=as_(127)
    ),
    "counting_b2": lambda as_: tasks.counting_language_baseline(
        letters=as_(26), least_n=as_(100), most_n=as_(127), counts=False
    ),
    "brackets": lambda as_: tasks.brackets(
        as_(3), new(), kinds=as_(127), max_depth=as_(127), go_on=as_(0.1)
    ),
    "brackets_b": lambda as_: tasks.brackets_baseline(
        kinds=as_(127), max_depth=as_(127), go_on=as_(0.1), stack=False
    ),
    "automaton": lambda as_: np.array(
        [
            len(tasks.bracket_automaton(as_(127)).arcs),
            tasks.bracket_automaton(as_(127), go_on=as_(0.1)).entropy(),
        ]
    ),
    "sine": lambda as_: tasks.sine_mixture(
        as_(3), as_(127), new(), components=as_(127), periods=(as_(8), as_(32)), noise=as_(0.1)
    ),
    "sine_f": lambda as_: tasks.sine_mixture(
        as_(3), as_(127), new(), components=as_(127), periods=(as_(8.5), as_(32.3)), noise=as_(0.1)
    ),
    "sine_b": lambda as_: tasks.sine_mixture_baseline(
        periods=(as_(8.5), as_(32.3)), noise=as_(0.1)
    ),
    "sine_b2": lambda as_: tasks.sine_mixture_baseline(
        periods=(as_(8), as_(32)), noise=as_(0.1), persistence=False
    ),
    "sine_b3": lambda as_: tasks.sine_mixture_baseline(noise=as_(1000.0), persistence=False),
    "sine_b4": lambda as_: tasks.sine_mixture_baseline(noise=as_(100), persistence=False),
    "mackey": lambda as_: tasks.mackey_glass(
        as_(100), new(), delay=as_(17), substeps=as_(10), transient=as_(100)
    ),
    "mackey_f": lambda as_: tasks.mackey_glass(
        as_(100), new(), delay=as_(17.5), substeps=as_(10), transient=as_(100)
    ),
    "windows": lambda as_: tasks.windows(WAVE, as_(100), horizon=as_(100)),
    "persist": lambda as_: tasks.persistence_baseline(WAVE, horizon=as_(100)),
    "reber": lambda as_: tasks.reber_grammar(as_(3), new()),
    "words": lambda as_: [len(w) for w in tasks.number_words(as_(120))],
    "names": lambda as_: tasks.number_names(as_(3), new(), below=as_(120)),
    "names_b": lambda as_: [
        tasks.number_names_baseline(below=as_(120)),
        tasks.number_names_baseline(below=as_(120), characters=as_(2)),
    ],
    "spelled": lambda as_: tasks.spelled_numbers(as_(3), new(), below=as_(120)),
    "spelled_b": lambda as_: tasks.spelled_numbers_baseline(below=as_(120)),
    "vowel": lambda as_: tasks.vowel(
        "a", frames=as_(15), pitch=(as_(120), as_(100)), tract=as_(1.1)
    ),
    "vowel_words": lambda as_: tasks.vowel_words(
        as_(2), new(), bands=as_(16), silence=as_(25), noise=as_(0.1)
    ),
    "vowel_waveforms": lambda as_: np.concatenate(
        tasks.vowel_waveforms(["ai"], new(), silence=as_(120), noise=as_(0.1))
    ),
    "vowel_b": lambda as_: tasks.vowel_words_baseline(as_(1)),
    "log_mel": lambda as_: tasks.log_mel(WAVE, bands=as_(24)),
    "split": lambda as_: forecasting().chronological_split(
        as_(120), validation=as_(0.1), test=as_(0.3)
    ),
    "examples": lambda as_: forecasting().examples(WAVE, as_(100), as_(120)),
    "naive_error": lambda as_: forecasting().naive_error(WAVE, as_(100)),
    "conformal": lambda as_: forecasting().conformal(WAVE.reshape(100, 3), as_(0.1)),
    "paired_difference": lambda as_: vars(
        forecasting().paired_difference(WAVE, 0 * WAVE, as_(100))
    ),
    "Linear": lambda as_: Linear(as_(40), as_(100), rng=new()).params,
    "FusedLSTM": lambda as_: FusedLSTM(as_(40), as_(100), num_layers=as_(2), rng=new()).params,
    "Embedding": lambda as_: Embedding(as_(40), as_(100), rng=new()).params,
    "step_decay": lambda as_: [schedules.step_decay(as_(7), as_(0.7))(t) for t in (5, 300)],
    "cosine": lambda as_: [schedules.cosine(as_(100), as_(0.1))(t) for t in (5, 7, 300)],
    "warm_up": lambda as_: [schedules.warm_up(as_(100), as_(0.1))(t) for t in (5, 7, 300)],
}


@pytest.mark.parametrize("whole", [np.int8, np.uint8, np.int16, np.int32])
@pytest.mark.parametrize("name", CALLS)
def test_short_numbers_as_settings(name, whole):
    """An int8 times 2, a float16 squared, one over the root of an int16: as Python's numbers."""

    def short(value):
        return whole(value) if isinstance(value, int) else np.float16(value)

    def plain(value):
        return short(value).item()

    assert_same(CALLS[name](short), CALLS[name](plain))
