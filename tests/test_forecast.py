"""Forecasting: nothing of the future gets in, known errors come out, the best lies inside."""

import numpy as np
import pytest

pytest.importorskip("rnnbook.forecast", reason="it needs skforecast")

import pandas as pd
from skforecast.direct import ForecasterDirect
from skforecast.recursive import ForecasterEquivalentDate, ForecasterRecursive
from sklearn.linear_model import LinearRegression, Ridge
from statsmodels.tsa.statespace.exponential_smoothing import ExponentialSmoothing
from statsmodels.tsa.statespace.sarimax import SARIMAX

from rnnbook.estimator import RecurrentRegressor
from rnnbook.forecast import (
    Backtest,
    backtest,
    calendar_features,
    candidates,
    choose,
    chronological_split,
    conformal,
    ets,
    examples,
    holm,
    naive_error,
    paired_difference,
    sarima,
    widened_search,
)


def monthly(values, start="2000-01"):
    return pd.Series(
        np.asarray(values, float), pd.date_range(start, periods=len(values), freq="MS"), name="y"
    )


@pytest.fixture
def wave():
    """A sine with period 12, 120 months, and some noise."""
    noise = 0.1 * np.random.default_rng(0).normal(size=120)
    return monthly(np.sin(2 * np.pi * np.arange(120) / 12) + noise)


def last_value():
    return ForecasterEquivalentDate(offset=1)


def test_split_is_in_the_order_of_time():
    split = chronological_split(100)
    assert (split.train_end, split.test_start) == (65, 80)
    with pytest.raises(ValueError, match="leave something to train on"):
        chronological_split(10, validation=0.5, test=0.5)


def test_examples_from_a_start_on():
    inputs, target = examples(np.arange(10.0), 3, start=7)
    np.testing.assert_array_equal(target, [7, 8, 9])
    np.testing.assert_array_equal(inputs[0], [4, 5, 6])


# -- from origins ---------------------------------------------------------------------------------


def test_errors_of_persistence_on_a_ramp():
    """From 99 values, k steps ahead, the ramp has moved by k; places as they are counted."""
    found = backtest(last_value(), monthly(np.arange(20)), 10, 4)
    np.testing.assert_array_equal(found.origins, [10, 11, 12, 13, 14, 15, 16])
    np.testing.assert_array_equal(found.errors, np.tile([1.0, 2, 3, 4], (7, 1)))
    np.testing.assert_array_equal(found.truth[:, 0], [10, 11, 12, 13, 14, 15, 16])
    np.testing.assert_allclose(found.rmse(), [1, 2, 3, 4])
    assert found.overall() == pytest.approx(np.sqrt(7.5))
    np.testing.assert_allclose(found.mase(naive_error(np.arange(10), 2)), [0.5, 1, 1.5, 2])


def test_measures_are_those_of_the_field():
    errors = np.array([[1.0, -2], [3, 4]])
    found = Backtest(np.arange(2), np.zeros((2, 2)), errors)
    np.testing.assert_allclose(found.rmse(), np.sqrt([5, 10]))
    np.testing.assert_allclose(found.mase(0.5), [4, 6])
    assert naive_error([1, 5, 2, 9], 2) == pytest.approx((1 + 4) / 2)
    with pytest.raises(ValueError, match="season"):
        naive_error([1, 2], 2)


@pytest.mark.parametrize("stride", [1, 3])
def test_every_model_forecasts_from_the_same_places(wave, stride):
    models = [
        last_value(),
        ForecasterRecursive(Ridge(), lags=5),
        ForecasterRecursive(Ridge(), lags=5, differentiation=1),
        ForecasterDirect(Ridge(), steps=4, lags=5),
        sarima((1, 0, 0)),
    ]
    for model in models:
        found = backtest(model, wave, 70, 4, stride=stride, refits=2)
        np.testing.assert_array_equal(found.origins, np.arange(70, 117, stride))
        for origin, truth in zip(found.origins, found.truth, strict=True):
            np.testing.assert_array_equal(truth, wave.iloc[origin : origin + 4])
        assert np.isfinite(found.forecasts).all()


MODELS = {
    "ridge": lambda: ForecasterRecursive(Ridge(), lags=6),
    "network": lambda: ForecasterRecursive(
        RecurrentRegressor("GRU", 2, epochs=1, latest_first=True, random_state=0), lags=6
    ),
    "ETS": lambda: ets(4, trend=True),
    "SARIMA": lambda: sarima((1, 0, 0), (0, 1, 1), 4),
    "drift": lambda: sarima((0, 0, 0), (0, 1, 0), 12, drift=True),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("refits", [1, 3])
def test_no_forecast_reads_what_comes_after_its_origin(wave, name, refits):
    """Change the future, and see whether the forecast moves."""
    place = 95
    changed = wave.copy()
    changed.iloc[place:] = -7.0 * changed.iloc[place:] + 50
    before, after = (
        backtest(MODELS[name](), series, 80, 3, refits=refits) for series in (wave, changed)
    )
    early = before.origins <= place
    np.testing.assert_array_equal(before.forecasts[early], after.forecasts[early])
    assert not np.allclose(before.forecasts[~early], after.forecasts[~early])


def test_refits_train_on_all_that_came_and_once_does_not():
    """A trend that sets in after the start: who trains anew sees it."""
    y = monthly(np.r_[np.random.default_rng(0).normal(size=60), 5.0 * np.arange(60)])
    once, often = (
        backtest(ForecasterRecursive(LinearRegression(), lags=3), y, 60, 1, refits=refits)
        for refits in (1, 6)
    )
    assert often.rmse()[0] < 0.2 * once.rmse()[0]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (
            lambda: sarima((2, 0, 0), (0, 1, 1), 12),
            lambda y: SARIMAX(
                y, order=(2, 0, 0), seasonal_order=(0, 1, 1, 12), concentrate_scale=True
            ),
        ),
        (
            lambda: sarima((0, 1, 1), drift=True),
            lambda y: SARIMAX(y, order=(0, 1, 1), trend="c", concentrate_scale=True),
        ),
        (
            lambda: ets(12, trend=True, damped=True),
            lambda y: ExponentialSmoothing(
                y,
                trend=True,
                damped_trend=True,
                seasonal=12,
                initialization_method="estimated",
            ),
        ),
    ],
)
def test_one_pass_gives_what_statsmodels_says_from_each_place(wave, ours, theirs):
    model = ours().fit(wave.iloc[:90])
    found = model.from_origins(wave, np.array([90, 97, 110]), 7)
    for origin, forecasts in zip((90, 97, 110), found, strict=True):
        with np.errstate(all="ignore"):
            there = theirs(wave.iloc[:origin]).filter(model.fitted_.params)
        np.testing.assert_allclose(forecasts, there.forecast(7), rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(model.predict(7), found[0], rtol=1e-8, atol=1e-8)


def test_seasonal_naive_with_drift_goes_on_by_the_mean_change():
    """A season that grows by 12 a year, with drift: exact; without: a year behind."""
    y = monthly(np.arange(72) + np.tile([3.0, -1, 4], 24))
    season = candidates(y.index, season=3, window=6)
    drift, plain = (
        backtest(season[name].make(), y, 60, 6)
        for name in ("seasonal naive with drift", "seasonal naive")
    )
    np.testing.assert_allclose(drift.errors, 0, atol=1e-6)
    np.testing.assert_allclose(plain.errors, np.tile([3.0, 3, 3, 6, 6, 6], (7, 1)))


def test_what_is_known_beside_the_series_is_used():
    rng = np.random.default_rng(0)
    y = monthly(rng.normal(size=100))
    beside = pd.DataFrame({"plan": rng.normal(size=100)}, index=y.index)
    y = y + 10 * beside["plan"]
    for model in (ForecasterRecursive(Ridge(), lags=3), sarima((1, 0, 0))):
        with_it, without = (backtest(model, y, 70, 5, exog=known) for known in (beside, None))
        assert with_it.overall() < 0.3 * without.overall()


def test_a_start_without_room_is_refused(wave):
    for start in (0, 117):
        with pytest.raises(ValueError, match="start"):
            backtest(last_value(), wave, start, 4)


# -- intervals and verdicts -----------------------------------------------------------------------


def test_conformal_half_widths_by_hand():
    errors = np.array([[-4.0, 1], [2, -3], [1, 2], [3, 4]])
    np.testing.assert_array_equal(conformal(errors, 0.6), [3, 3])  # the third of four
    np.testing.assert_array_equal(conformal(errors, 0.8), [4, 4])  # the fourth
    assert np.isinf(conformal(errors, 0.81)).all()  # there is no fifth


def test_conformal_intervals_cover_what_they_promise():
    """Errors that are exchangeable: 0.8 to 0.8 + 1 / (N + 1), whatever their distribution."""
    rng = np.random.default_rng(0)
    held, new = rng.standard_t(2, (4000, 19, 1)), rng.standard_t(2, (4000, 1))
    covered = np.mean([abs(e[0]) <= conformal(h, 0.8)[0] for h, e in zip(held, new, strict=True)])
    assert 0.78 < covered < 0.82


def test_difference_of_paired_losses():
    """White differences: the interval is that of a t-test, nearly."""
    rng = np.random.default_rng(0)
    other = rng.normal(size=400) ** 2
    found = paired_difference(other + 0.3 + rng.normal(size=400), other)
    assert found.mean == pytest.approx(0.3, abs=0.1)
    assert found.high - found.low == pytest.approx(2 * 1.99 / 20, rel=0.15)
    assert found.low > 0
    assert found.p < 0.001
    reverse = paired_difference(other, other + 0.3 + rng.normal(size=400))
    assert reverse.mean < 0


def test_overlapping_horizons_widen_the_interval():
    """Moving averages of 12: a t-interval of all 130 numbers is far too narrow."""
    missed = {1: 0, 12: 0}
    rng = np.random.default_rng(0)
    for _ in range(1000):
        d = np.convolve(rng.normal(size=141), np.ones(12) / 12, "valid")
        for steps in missed:
            found = paired_difference(d, np.zeros(130), steps)
            missed[steps] += not found.low < 0 < found.high
    assert found.blocks == 10
    assert 60 < missed[12] < 120 < 200 < missed[1]  # of 1000, where 50 are meant


def test_blocks_by_hand():
    losses = np.repeat([1.0, 3.0, 2.0], [6, 5, 5])  # 16 origins: blocks of 6, 5 and 5
    found = paired_difference(losses, np.zeros(16))
    assert found.blocks == 3
    assert found.mean == pytest.approx(2)
    assert found.high - 2 == pytest.approx(4.3027 / np.sqrt(3), rel=1e-4)
    assert found.p == pytest.approx(0.0742, abs=1e-4)


def test_differences_that_say_nothing_are_refused():
    with pytest.raises(ValueError, match="39 origins at least for 13 steps ahead, got 38"):
        paired_difference(np.arange(38.0), np.ones(38), 13)
    with pytest.raises(ValueError, match="15 origins at least"):
        paired_difference(np.arange(14.0), np.ones(14))
    with pytest.raises(ValueError, match="by more than a constant"):
        paired_difference(np.arange(60.0), np.arange(60.0))
    with pytest.raises(ValueError, match="others"):
        paired_difference(np.arange(60.0), np.ones(59))


def test_holm_by_hand():
    np.testing.assert_allclose(holm([0.04, 0.01, 0.03]), [0.06, 0.03, 0.06])


# -- the search -----------------------------------------------------------------------------------


def test_a_grid_is_widened_until_its_best_lies_inside():
    asked = []

    def score(x, flag):
        asked.append(x)
        return abs(np.log10(x) + 7) + flag

    found = widened_search(score, {"x": [0.01, 1.0], "flag": [1, 0]}, {"x": (1e-12, 1e3)})
    assert found.best == pytest.approx({"x": 1e-8, "flag": 0}) or found.best == pytest.approx(
        {"x": 1e-6, "flag": 0}
    )
    tried = sorted({setting["x"] for setting, _ in found.tried})
    assert tried[0] < found.best["x"] < tried[-1]
    assert found.at_edge == []
    assert len(asked) == len(found.tried)  # nothing twice
    assert found.score == pytest.approx(1)


def test_a_best_at_the_limit_is_named():
    found = widened_search(lambda x: x, {"x": [0.1, 1.0]}, {"x": (1e-3, 10)})
    assert found.best["x"] == pytest.approx(1e-3)
    assert found.at_edge == ["x"]
    whole = widened_search(lambda n: -n, {"n": [25, 75]}, {"n": (8, 700)})
    assert whole.best == {"n": 675}
    assert whole.at_edge == ["n"]


def test_what_cannot_be_scored_is_never_best():
    found = widened_search(
        lambda x: {1.0: np.nan, 2.0: 5.0, 4.0: 7.0}[x], {"x": [1.0, 2.0, 4.0]}, {}
    )
    assert found.best == {"x": 2.0}
    with pytest.raises(ValueError, match="finite for one combination"):
        widened_search(lambda x: np.nan, {"x": [1.0, 2.0]}, {})
    with pytest.raises(ValueError, match="two values of x"):
        widened_search(lambda x: x, {"x": [1.0]}, {"x": (0.1, 10)})


# -- the candidates -------------------------------------------------------------------------------


def test_calendars():
    frequencies = {
        "MS": 12,
        "ME": 12,
        "QS": 4,
        "D": 7 + 12,
        "W-SUN": 12,
        "h": 24 + 7 + 12,
    }
    for frequency, columns in frequencies.items():
        index = pd.date_range("2001-01-01", periods=900, freq=frequency)
        assert calendar_features(index).fit_transform(index).shape[1] == columns, frequency
    assert calendar_features(pd.date_range("1700", periods=50, freq="YS")) is None
    assert calendar_features(pd.RangeIndex(50)) is None


def test_which_candidates_there_are(wave):
    assert list(candidates(wave.index, season=12, window=12)) == [
        "persistence",
        "seasonal naive",
        "seasonal naive with drift",
        "ridge-AR",
        "kernel ridge",
        "feed-forward",
        "ETS",
        "SARIMA",
        "LSTM",
    ]
    without = candidates(pd.RangeIndex(50), season=None, window=12, cell="GRU")
    assert list(without)[:2] == ["persistence", "drift"]
    assert list(without)[-1] == "GRU"
    assert "calendar" not in without["ridge-AR"].grid
    assert without["SARIMA"].grid["seasonal"] == [(0, 0, 0)]


SMALL = {
    "ridge-AR": {"penalty": 1.0},
    "kernel ridge": {"penalty": 0.01, "width": 3.0},
    "feed-forward": {"decay": 0.1},
    "LSTM": {"epochs": 2},
}


@pytest.mark.parametrize("changes", [False, True])
@pytest.mark.parametrize("name", SMALL)
def test_units_and_levels_do_not_matter(wave, name, changes):
    """Ten times the values and a thousand more: the same forecast in the new unit."""
    family = candidates(wave.index, season=12, window=8, hidden=4, seeds=[0, 1])
    setting = SMALL[name] | {"changes": changes, "calendar": True}
    one, other = (
        backtest(family[name].make(**setting), series, 90, 5).forecasts
        for series in (wave, 10 * wave + 1000)
    )
    np.testing.assert_allclose(
        other, 10 * one + 1000, rtol=2e-4 if name == "feed-forward" else 1e-7
    )


def test_changes_follow_a_trend_that_values_cannot():
    """A line: a network that sees values has a ceiling, one that sees changes has not."""
    rng = np.random.default_rng(0)
    y = monthly(np.arange(160) + 0.3 * rng.normal(size=160))
    make = candidates(y.index, season=None, window=6)["kernel ridge"].make
    values, changes = (
        backtest(make(penalty=0.1, width=3.0, changes=how), y, 100, 6) for how in (False, True)
    )
    assert changes.overall() < 1 < 10 < values.overall()


def test_a_network_of_several_seeds_says_their_mean(wave):
    def one_step(seeds):
        make = candidates(wave.index, season=12, window=8, hidden=3, seeds=seeds)["LSTM"].make
        return backtest(make(epochs=2, changes=False), wave, 90, 1).forecasts

    apart = [one_step([seed]) for seed in (0, 1)]
    assert not np.allclose(*apart)
    np.testing.assert_allclose(one_step([0, 1]), np.mean(apart, axis=0))


def test_the_calendar_helps_who_reads_a_short_window():
    """A shape of twelve months that three values do not tell."""
    rng = np.random.default_rng(1)
    y = monthly(np.tile(rng.normal(size=12), 20) + 0.1 * rng.normal(size=240))
    make = candidates(y.index, season=12, window=2)["ridge-AR"].make
    blind, told = (
        backtest(make(penalty=1.0, changes=False, calendar=how), y, 180, 12)
        for how in (False, True)
    )
    assert told.overall() < 0.15 < 0.5 < blind.overall()


def test_choice_by_rolling_origins_sees_no_test_part(wave):
    """It gets what lies before; and its score is the backtest's of what it chose."""
    family = candidates(wave.index, season=12, window=8)
    found = choose(family["ridge-AR"], wave.iloc[:96], 4, start=60, refits=3, stride=2)
    again = backtest(
        family["ridge-AR"].make(**found.best), wave.iloc[:96], 60, 4, stride=2, refits=3
    )
    assert found.score == pytest.approx(again.overall())
    assert found.score == min(score for _, score in found.tried)
    assert len(found.tried) >= 12


def test_the_right_model_is_found():
    """A season and a trend: ETS and SARIMA choose those that know a season."""
    rng = np.random.default_rng(0)
    season = np.tile([10.0, -3, 4, -11], 18)
    y = pd.Series(0.5 * np.arange(72) + season + rng.normal(size=72))
    family = candidates(y.index, season=4, window=4)
    for name in ("ETS", "SARIMA"):
        found = choose(family[name], y, 4, start=52, refits=1, stride=4)
        assert found.best["seasonal"] in (4, (0, 1, 1))
        assert found.score < 2.5
