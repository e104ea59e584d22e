"""The command: what it prints and leaves are the numbers, and what it refuses is refused first."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

pd = pytest.importorskip("pandas")
pytest.importorskip("rnnbook.forecast", reason="it needs skforecast")
pytest.importorskip("rnnbook.plots", reason="the command draws a figure")

from rnnbook import forecast  # noqa: E402
from rnnbook.forecast import (  # noqa: E402
    BadFile,
    Candidate,
    Model,
    Plan,
    backtest,
    candidates,
    choose,
    chronological_split,
    command,
    compare,
    compare_many,
    conformal,
    holm,
    load,
    main,
    many,
    naive_error,
    paired_difference,
    read_series,
)
from rnnbook.forecast.comparison import parts  # noqa: E402

QUICK = ["--hidden", "2", "--networks", "1", "--window", "4"]


def months(count, start="2000-01"):
    return pd.date_range(start, periods=count, freq="MS")


def series(values, start="2000-01"):
    return pd.Series(np.asarray(values, dtype=float), months(len(values), start), name="y")


def write(path, y, head="month,y", more=""):
    rows = [f"{time:%Y-%m},{value!r}" for time, value in zip(y.index, y.tolist(), strict=True)]
    path.write_text("\n".join([head, *rows]) + "\n" + more, encoding="utf-8")
    return path


@pytest.fixture
def walk():
    return series(np.random.default_rng(3).normal(size=90).cumsum())


@pytest.fixture
def seasonal():
    noise = np.random.default_rng(0).normal(size=90)
    return series(10 + 3 * np.sin(np.arange(90) * 2 * np.pi / 12) + 0.3 * noise)


def shrunk(candidate, choices):
    """The first settings of each grid alone, and few epochs."""
    grid = {name: list(values)[:choices] for name, values in candidate.grid.items()}
    if "epochs" in grid:
        grid["epochs"] = [2, 4][:choices]
    return Candidate(candidate.name, candidate.make, grid)


@pytest.fixture
def few(monkeypatch):
    """``few(name, ...)``: only these candidates, with so many settings of each parameter."""

    def only(*names, choices=1):
        def chosen(*args, **options):
            found = candidates(*args, **options)
            return {name: shrunk(found[name], choices) for name in names}

        monkeypatch.setattr("rnnbook.forecast.comparison.candidates", chosen)
        return chosen

    return only


def read(path):
    return pd.read_csv(path, float_precision="round_trip")


def run(file, out, *more):
    return main([str(file), "--column", "y", "--out", str(out), *QUICK, *more])


def test_every_number_is_what_the_library_says(tmp_path, seasonal, few, capsys):
    chosen = few("persistence", "ridge-AR", "LSTM", choices=2)
    file, out = write(tmp_path / "y.csv", seasonal), tmp_path / "out"
    assert run(file, out, "--horizon", "3") == 0
    said = capsys.readouterr().out
    assert "read: 90 values, monthly, 2000-01 to 2007-06" in said
    saved = json.loads((out / "errors.json").read_text())
    rows = {row["name"]: row for row in saved["candidates"]}
    split = parts(90)
    first = seasonal[: split.test_start]
    family = chosen(seasonal.index, season=12, window=4, hidden=2)
    errors = {}
    for name, row in rows.items():
        search = choose(family[name], first, 3, start=split.train_end, stride=2)  # of 25
        assert json.loads(json.dumps(search.best)) == row["setting"]
        made = family[name].make(**search.best)
        before = backtest(made, first, split.train_end, 3, refits=3)
        found = backtest(made, seasonal, split.test_start, 3)
        errors[name] = found.errors
        half = conformal(before.errors, 0.8)
        assert row["validation_rmse"] == pytest.approx(before.overall(), rel=1e-9)
        np.testing.assert_allclose(row["test_rmse"], found.rmse(), rtol=1e-9)
        scale = naive_error(seasonal[: split.train_end], 12)
        np.testing.assert_allclose(row["test_mase"], found.mase(scale), rtol=1e-9)
        assert row["covered"] == np.mean(np.abs(found.errors) <= half)
        for number in (f"{before.overall():.4g}", *(f"{found.rmse()[k]:.4g}" for k in (0, 2))):
            assert re.search(rf"^{name} .* {re.escape(number)} ", said, re.MULTILINE)
        assert f"{row['covered']:.0%}" in said
    limit = 1.05 * min(row["validation_rmse"] for row in rows.values())
    best = next(name for name in family if name in rows and rows[name]["validation_rmse"] <= limit)
    assert saved["best"] == best
    assert f"chosen: {best}" in said
    assert rows[best]["difference"] is None
    others = [name for name in rows if name != best]
    wanted = [
        paired_difference((errors[name] ** 2).mean(1), (errors[best] ** 2).mean(1), 3)
        for name in others
    ]
    for name, difference, p in zip(others, wanted, holm([d.p for d in wanted]), strict=True):
        row = rows[name]["difference"]
        assert list(row.values()) == pytest.approx(
            [difference.mean, difference.low, difference.high, p, difference.blocks], rel=1e-6
        )
        assert f"{row['mean']:.3g} [{row['low']:.3g}, {row['high']:.3g}], {row['p']:.2g}" in said
    assert f"squared error minus that of {best}" in said
    assert "in pairs, averaged over 3 steps ahead; p by Holm" in said
    assert max(map(len, said.split("saved:")[0].splitlines())) <= 88


def test_with_few_origins_errors_are_compared_one_step_ahead(walk, few):
    few("persistence", "drift")
    walk = series([*walk, *walk])
    found = compare(walk, Plan(12, None, 4, hidden=2, networks=1))  # 25 origins, 36 are needed
    assert found.loss_steps() == 1
    losses = {name: result.test.errors[:, 0] ** 2 for name, result in found.results.items()}
    (other,) = set(losses) - {found.best}
    wanted = paired_difference(losses[other], losses[found.best])
    assert found.differences() == {other: wanted}


def test_the_best_is_chosen_by_validation_not_by_test(few, walk):
    """A walk that becomes a season in the test part."""
    few("persistence", "seasonal naive")
    after = walk.iloc[71] + 20 * np.sin(np.arange(18) * 2 * np.pi / 3)
    found = compare(series([*walk[:72], *after]), Plan(1, 3, 4, hidden=2, networks=1))
    least = min(found.results, key=lambda name: found.results[name].test.overall())
    assert (found.best, least) == ("persistence", "seasonal naive")


def test_what_validation_does_not_tell_from_the_best_is_named(few, walk, tmp_path, capsys):
    walk = series(np.cumsum([*np.diff(walk), *np.diff(walk)[::-1], *np.diff(walk)]))
    few("persistence", "seasonal naive", "ridge-AR", "LSTM")
    out = tmp_path / "out"
    assert run(write(tmp_path / "y.csv", walk), out, "--horizon", "2") == 0
    found = compare(walk, Plan(2, 12, 4, hidden=2, networks=1))
    losses = {name: (r.validation.errors**2).mean(1) for name, r in found.results.items()}
    wanted = [
        name
        for name in losses
        if name != found.best and paired_difference(losses[name], losses[found.best], 2).low <= 0
    ]
    assert 0 < len(wanted) < 3
    assert found.as_good() == wanted
    said = " ".join(capsys.readouterr().out.split())
    assert f" not told from it by validation, the simplest first: {', '.join(wanted)} " in said


def test_nothing_is_chosen_by_the_test_part(few, seasonal):
    few("persistence", "ridge-AR", "LSTM", choices=2)
    plan = Plan(2, 12, 4, hidden=2, networks=1)
    split = parts(90)
    changed = seasonal.copy()
    changed.iloc[split.test_start :] = 100 * changed.iloc[split.test_start :].to_numpy()[::-1]
    one, other = compare(seasonal, plan), compare(changed, plan)
    for name, result in one.results.items():
        assert result.setting == other.results[name].setting
        np.testing.assert_array_equal(
            result.validation.forecasts, other.results[name].validation.forecasts
        )
        np.testing.assert_array_equal(  # trained before the test part, and read nothing of it
            result.test.forecasts[0], other.results[name].test.forecasts[0]
        )
        assert list(result.test.origins) == list(range(split.test_start, 89))
        assert list(result.validation.origins) == list(range(split.train_end, split.test_start - 1))
    assert one.scale == other.scale == naive_error(seasonal[: split.train_end], 12)


def test_several_networks_are_averaged(few, seasonal):
    few("LSTM")
    one, two = (compare(seasonal, Plan(2, 12, 4, hidden=2, networks=n)) for n in (1, 2))
    assert one.results["LSTM"].setting == two.results["LSTM"].setting
    made = [
        candidates(seasonal.index, season=12, window=4, hidden=2, seeds=[seed])["LSTM"].make(
            **one.results["LSTM"].setting
        )
        for seed in (0, 1)
    ]
    split = parts(90)
    each = [backtest(forecaster, seasonal, split.test_start, 1).forecasts for forecaster in made]
    np.testing.assert_allclose(
        two.results["LSTM"].test.forecasts[:, :1], np.mean(each, axis=0)[:-1], rtol=1e-9
    )


@pytest.mark.parametrize("name", ["persistence", "seasonal naive"])
def test_the_forecast_goes_on_from_the_last_value(tmp_path, walk, seasonal, few, name):
    few(name, "LSTM")
    y = walk if name == "persistence" else seasonal
    out = tmp_path / "out"
    assert run(write(tmp_path / "y.csv", y), out, "--horizon", "5") == 0
    table = read(out / "forecast.csv")
    assert list(table.columns) == ["time", "forecast", "low", "high"]
    assert list(table["time"]) == [f"2007-{month:02d}-01" for month in range(7, 12)]
    saved = json.loads((out / "errors.json").read_text())
    assert saved["best"] == name
    wanted = np.full(5, y.iloc[-1]) if name == "persistence" else y.to_numpy()[-12:-7]
    np.testing.assert_array_equal(table["forecast"], wanted)  # with every digit
    result = compare(y, Plan(5, 12, 4, hidden=2, networks=1)).results[name]
    half = conformal(np.concatenate([result.validation.errors, result.test.errors]), 0.8)
    np.testing.assert_array_equal(table["low"], wanted - half)
    np.testing.assert_array_equal(table["high"], wanted + half)
    assert (out / "forecast.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in out.iterdir()) == [
        "errors.json",
        "forecast.csv",
        "forecast.png",
        "model.json",
    ]


def test_intervals_widen_with_coverage(tmp_path, walk, few):
    few("persistence", "LSTM")
    file, widths, covered = write(tmp_path / "y.csv", walk), [], []
    for coverage in ("0.5", "0.7"):
        assert run(file, tmp_path / coverage, "--horizon", "3", "--coverage", coverage) == 0
        table = read(tmp_path / coverage / "forecast.csv")
        widths.append((table["high"] - table["low"]).to_numpy())
        rows = json.loads((tmp_path / coverage / "errors.json").read_text())["candidates"]
        covered.append({row["name"]: row["covered"] for row in rows}["persistence"])
    assert (widths[0] < widths[1]).all()
    assert covered[0] < covered[1]


ALL = list(candidates(months(9), season=12, window=4))


@pytest.mark.parametrize("direct", [False, True])
def test_what_is_saved_forecasts_the_same(tmp_path, seasonal, direct):
    plan = Plan(3, 12, 4, hidden=2, networks=2, direct=direct)
    beside = pd.DataFrame({"x": np.random.default_rng(0).normal(size=93)}, index=months(93))
    reads = {"ridge-AR", "feed-forward", "SARIMA", "LSTM"}
    for name in ["ridge-AR", "LSTM", "kernel ridge"] if direct else ALL:
        grid = plan.candidates(seasonal.index)[name].grid
        setting = {key: choices[0] for key, choices in grid.items()}
        setting |= {"epochs": 2} if "epochs" in setting else {}
        known = beside if name in reads else None
        model = Model(name, setting, plan, seasonal, np.arange(1.0, 4), known)
        (tmp_path / "model.json").write_bytes(model.content())
        loaded = load(tmp_path)
        one, other = model.forecast(), loaded.forecast()
        pd.testing.assert_frame_equal(one, other, rtol=0, atol=1e-12)
        pd.testing.assert_series_equal(loaded.y, seasonal)
        assert (loaded.name, loaded.setting, loaded.plan) == (name, setting, plan)
        np.testing.assert_allclose(one["high"] - one["forecast"], [1, 2, 3])
        again = loaded.forecast(seasonal, known)
        pd.testing.assert_frame_equal(one, again, rtol=0, atol=1e-9)
        if known is not None:  # what is known of the first step ahead moves it
            moved = beside.copy()
            moved.iloc[90:] += 1
            assert abs(loaded.forecast(seasonal, moved) - one)["forecast"].iloc[0] > 1e-9


def test_what_is_no_model_is_told(tmp_path):
    with pytest.raises(BadFile, match="cannot be read"):
        load(tmp_path)
    for text in ("", "[]", "{}", '{"name": "LSTM"}'):
        (tmp_path / "model.json").write_text(text)
        with pytest.raises(BadFile, match="must be a model"):
            load(tmp_path)


@pytest.mark.parametrize("name", ["persistence", "ridge-AR", "SARIMA", "ETS"])
def test_apply_forecasts_on_with_the_model_as_it_was(tmp_path, seasonal, few, capsys, name):
    few(name, "LSTM")
    longer = series([*seasonal, *(seasonal.to_numpy()[30:37] + 5)])
    out, file = tmp_path / "out", write(tmp_path / "y.csv", seasonal)
    model = Model(name, _first(seasonal, name), Plan(3, 12, 4, hidden=2), seasonal, np.ones(3))
    out.mkdir()
    (out / "model.json").write_bytes(Model(**_kept(model)).content())
    capsys.readouterr()
    assert main(["apply", str(out), str(file)]) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[1].startswith("2007-07-01,")
    assert main(["apply", str(out), str(write(tmp_path / "z.csv", longer))]) == 0
    whole = capsys.readouterr().out
    assert whole.splitlines()[1].startswith("2008-02-01,")
    after = write(tmp_path / "after.csv", longer[90:])  # only what is new
    assert main(["apply", str(out), str(after), "--out", str(tmp_path / "on")]) == 0
    assert (tmp_path / "on" / "forecast.csv").read_text() == whole
    found = read(tmp_path / "on" / "forecast.csv")["forecast"].to_numpy()
    made = candidates(seasonal.index, season=12, window=4)[name].make(**_first(seasonal, name))
    made.fit(seasonal)
    if name == "persistence":
        wanted = np.full(3, longer.iloc[-1])
    elif name == "ridge-AR":
        wanted = made.predict(3, last_window=longer.iloc[-4:]).to_numpy()
    else:
        wanted = made.fitted_.append(longer[90:]).forecast(3).to_numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-7)


def _first(y, name):
    return {
        key: choices[0]
        for key, choices in candidates(y.index, season=12, window=4)[name].grid.items()
    }


def _kept(model):
    return {
        "name": model.name,
        "setting": model.setting,
        "plan": model.plan,
        "y": model.y,
        "half": model.half,
        "reading": {
            "time": None,
            "untimed": False,
            "every": None,
            "gaps": None,
            "decimal": None,
        },
    }


def test_apply_on_a_file_with_a_gap_before_it_or_that_does_not_go_on(tmp_path, seasonal, capsys):
    gap = write(tmp_path / "gap.csv", series(seasonal[:3], "2007-09"))
    early = write(tmp_path / "early.csv", seasonal[:50])
    days = pd.Series([1.0, 2, 3], pd.date_range("2007-07-02", periods=3, freq="D"))
    daily = tmp_path / "daily.csv"
    daily.write_text("day,y\n" + "".join(f"{t:%Y-%m-%d},{v}\n" for t, v in days.items()))
    for name in ("ETS", "ridge-AR"):
        model = Model(name, _first(seasonal, name), Plan(3, 12, 4), seasonal, np.ones(3))
        (tmp_path / "model.json").write_bytes(Model(**_kept(model)).content())
        code = main(["apply", str(tmp_path), str(gap)])
        said = capsys.readouterr()
        if name == "ETS":  # a state-space model goes over gaps
            assert code == 0
            assert said.out.splitlines()[1].startswith("2007-12-01,")
        else:
            assert code == 2
            assert "needs the last 4 values without gaps" in said.err
        for file in (early, daily):
            assert main(["apply", str(tmp_path), str(file)]) == 2
            assert "must go on in the steps" in capsys.readouterr().err
    revised = seasonal.copy()
    revised.iloc[-1] = 99
    assert main(["apply", str(tmp_path), str(write(tmp_path / "new.csv", revised))]) == 0
    printed = capsys.readouterr().out
    assert float(printed.splitlines()[1].split(",")[1]) == pytest.approx(
        model.forecast(revised)["forecast"].iloc[0]
    )
    assert model.forecast(revised)["forecast"].iloc[0] != model.forecast()["forecast"].iloc[0]


def test_rows_without_times_follow(tmp_path, walk, few, capsys):
    few("persistence", "LSTM")
    file, on = tmp_path / "y.csv", tmp_path / "on.csv"
    file.write_text("y\n" + "\n".join(map(repr, walk.tolist())) + "\n")
    on.write_text("y\n7\n8\n")
    more = ["--untimed", "--season", "1", "--horizon", "2"]
    assert run(file, tmp_path / "out", *more) == 0
    said = capsys.readouterr().out
    assert "no season; 2 steps ahead; windows of 4" in said
    table = read(tmp_path / "out" / "forecast.csv")
    assert list(table["time"]) == [90, 91]
    assert list(table["forecast"]) == [walk.iloc[-1]] * 2
    assert main(["apply", str(tmp_path / "out"), str(on)]) == 0
    rows = [row.split(",")[:2] for row in capsys.readouterr().out.splitlines()[1:]]
    assert rows == [["92", "8.0"], ["93", "8.0"]]


def test_numbers_as_times_go_on_in_their_steps(tmp_path, walk, few):
    few("persistence", "LSTM")
    file = tmp_path / "y.csv"
    rows = [f"{10 + 5 * k},{value!r}" for k, value in enumerate(walk.tolist())]
    file.write_text("\n".join(["n,y", *rows]) + "\n")
    assert run(file, tmp_path / "out", "--season", "1", "--horizon", "2") == 0
    assert list(read(tmp_path / "out" / "forecast.csv")["time"]) == [460, 465]
    assert load(tmp_path / "out").y.index[-1] == 455


@pytest.fixture
def known(tmp_path):
    """A file in which x tells y, also of three months that are to come; and x."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=93)
    y = 3 * x + 0.01 * rng.normal(size=93)
    rows = [
        f"{t:%Y-%m},{float(a)!r},{float(b)!r}"
        for t, a, b in zip(months(90), y[:90], x[:90], strict=True)
    ]
    ahead = [f"{t:%Y-%m},,{b}" for t, b in zip(months(93)[90:], x[90:], strict=True)]
    return tmp_path, rows, ahead, x


def test_columns_known_beforehand_are_read_also_of_what_is_to_come(known, few, capsys):
    tmp_path, rows, ahead, x = known
    few("persistence", "ridge-AR", "LSTM")
    file, out = tmp_path / "y.csv", tmp_path / "out"
    file.write_text("\n".join(["month,y,x", *rows, *ahead]) + "\n")
    assert run(file, out, "--with", "x", "--horizon", "3") == 0
    table = read(out / "forecast.csv")
    assert list(table["time"]) == ["2007-07-01", "2007-08-01", "2007-09-01"]
    np.testing.assert_allclose(table["forecast"], 3 * x[90:], atol=0.1)
    assert json.loads((out / "errors.json").read_text())["best"] == "ridge-AR"
    capsys.readouterr()
    assert main(["apply", str(out), str(file)]) == 0
    assert capsys.readouterr().out == (out / "forecast.csv").read_text()
    file.write_text("\n".join(["month,y,x", *rows, *ahead[:2]]) + "\n")
    for arguments in (["--with", "x"], ["--with", "z"], ["--with", "y"], []):
        assert run(file, tmp_path / "no", "--horizon", "3", *arguments) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert not (tmp_path / "no").exists()
        wanted = {"x": "3 rows beyond the last value .* got 2 of them", "z": "no column 'z'"}
        wanted["y"] = "other columns than 'y'"
        assert re.search(wanted.get((arguments or ["", ""])[1], "got '' in line"), said.err)
    assert main(["apply", str(out), str(file)]) == 0 or "got 2 of them" in capsys.readouterr().err


def test_direct_forecasts_have_a_model_for_each_step(tmp_path, seasonal, few, capsys):
    few("ridge-AR", "LSTM")
    assert run(write(tmp_path / "y.csv", seasonal), tmp_path, "--horizon", "3", "--direct") == 0
    assert "3 steps ahead, a model for each" in capsys.readouterr().out
    saved = json.loads((tmp_path / "errors.json").read_text())
    assert saved["plan"]["direct"] is True
    model = load(tmp_path)
    assert model.name == "ridge-AR"
    lagged = np.lib.stride_tricks.sliding_window_view(seasonal.to_numpy(), 4)
    for k in (1, 2, 3):  # each target k steps ahead, by the same ridge, fitted here
        made = candidates(seasonal.index, season=12, window=4)["ridge-AR"].make(**model.setting)
        skip = 3 - k  # ForecasterDirect trains all steps on the same origins
        ridge = made.estimator.fit(
            lagged[: len(lagged) - 3, ::-1], seasonal.to_numpy()[3 + k : len(seasonal) - skip]
        )
        wanted = ridge.predict(lagged[-1:, ::-1])[0]
        assert model.forecast()["forecast"].iloc[k - 1] == pytest.approx(wanted)


GROUP = ["--group", "name", "--horizon", "2", "--season", "1", *QUICK]


@pytest.fixture
def pooled():
    """Four series of one recursion, at levels of their own; the last begins later."""
    rng = np.random.default_rng(1)
    found = {}
    for k in range(4):
        values = [0.0]
        for _ in range(79):
            values.append(0.8 * values[-1] + rng.normal())
        found[f"s{k}"] = series(10 * k + np.array(values))
    found["s3"] = found["s3"][20:]
    return found


@pytest.fixture
def small(monkeypatch):
    """Two models for each by itself, ridge and the network for all, with few settings."""
    whole = many._pooled

    def alone(*args, **options):
        found = candidates(*args, **options)
        return {name: shrunk(found[name], 1 + (name == "ridge-AR")) for name in many.ALONE}

    def pooled(*args):
        for one in whole(*args):
            if "feed" not in one.name:
                few = shrunk(one, 1)
                yield Candidate(one.name, one.make, {**few.grid, "encoding": [None, "onehot"]})

    monkeypatch.setattr(many, "_pooled", pooled)
    monkeypatch.setattr(many, "candidates", alone)
    monkeypatch.setattr(many, "ALONE", ("persistence", "ridge-AR"))


def test_many_series_are_compared_as_each_would_be(pooled, small):
    options = {"season": None, "window": 4, "hidden": 2}
    found = compare_many(pooled, 2, **options)
    assert list(found.mase()) == [
        "persistence",
        "ridge-AR",
        "ridge, all series",
        "LSTM, all series",
    ]
    split = chronological_split(80)
    for k, y in enumerate(pooled.values()):
        late = 80 - len(y)
        assert found.scales[k] == naive_error(y[: split.train_end - late])
        family = many.candidates(y.index, season=None, window=4)
        first = y[: split.test_start - late]
        setting = choose(family["ridge-AR"], first, 2, start=split.train_end - late, refits=1).best
        assert found.settings["ridge-AR"][k] == setting
        made = family["ridge-AR"].make(**setting)
        after = backtest(made, y, split.test_start - late, 2)
        np.testing.assert_allclose(found.test["ridge-AR"][k], after.errors)
        before = backtest(made, first, split.train_end - late, 2)
        np.testing.assert_allclose(found.validation["ridge-AR"][k], before.errors)
        assert found.mase()["ridge-AR"][k] == pytest.approx(
            np.abs(after.errors).mean() / found.scales[k]
        )
    validation = {name: values.mean() for name, values in found.mase("validation").items()}
    assert found.best == min(validation, key=validation.get)
    name = next(iter(found.differences()))
    one, other = (found.mase()[each] for each in (name, found.best))
    difference = found.differences()[name]
    half = 3.182446 * np.std(one - other, ddof=1) / 2  # Student's t with 3 degrees of freedom
    assert difference.mean == pytest.approx((one - other).mean())
    assert [difference.low, difference.high] == pytest.approx(
        [difference.mean - half, difference.mean + half], rel=1e-6
    )
    assert found.best not in found.differences()


def test_a_model_of_all_series_learns_from_all_and_not_from_what_is_to_come(
    pooled, small, monkeypatch
):
    monkeypatch.setattr(many, "_least", lambda *args: "ridge, all series")
    options = {"season": None, "window": 4, "hidden": 2}
    split = chronological_split(80)
    found = compare_many(pooled, 2, **options)
    changed = {name: y.copy() for name, y in pooled.items()}
    changed["s0"].iloc[split.test_start :] *= -9
    other = compare_many(changed, 2, **options)
    assert found.settings == other.settings
    for name in found.test:
        np.testing.assert_array_equal(found.validation[name], other.validation[name])
        np.testing.assert_array_equal(found.test[name][1:], other.test[name][1:])
    setting = found.settings["ridge, all series"]
    ridge = next(many._pooled(months(9), 4, 2, "LSTM", [0])).make(**setting)
    ridge.fit({name: y[y.index < months(80)[split.test_start]] for name, y in pooled.items()})
    said = ridge.predict(2)
    for k, (name, y) in enumerate(pooled.items()):
        ours = (
            y.iloc[split.test_start - (80 - len(y)) :][:2] - found.test["ridge, all series"][k, 0]
        )
        np.testing.assert_allclose(ours, said["pred"][said["level"] == name])
    ridge.fit(pooled)
    said = ridge.predict(2)
    for name in pooled:  # beyond the end, from all values
        np.testing.assert_allclose(found.forecasts[name], said["pred"][said["level"] == name])
    earlier = {name: y.copy() for name, y in pooled.items()}
    earlier["s0"].iloc[:30] *= 3  # another series' past
    moved = compare_many(earlier, 2, **options)
    assert (moved.test["ridge, all series"][1] != found.test["ridge, all series"][1]).any()
    np.testing.assert_array_equal(moved.test["ridge-AR"][1], found.test["ridge-AR"][1])


def test_the_command_forecasts_many_series(tmp_path, pooled, small, capsys, monkeypatch):
    winner, kept = "persistence", []
    file, out = tmp_path / "y.csv", tmp_path / "out"
    rows = [f"{n},{t:%Y-%m},{float(v)!r}" for n, y in pooled.items() for t, v in y.items()]
    file.write_text("\n".join(["name,month,y", *rows]) + "\n")
    monkeypatch.setattr(many, "_least", lambda *args: winner)

    def compared(*args, **options):
        kept.append((args, options, compare_many(*args, **options)))
        return kept[0][2]

    monkeypatch.setattr(command, "compare_many", compared)
    arguments = [str(file), "--column", "y", "--time", "month", "--out", str(out), *GROUP]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    (given, steps), options, found = kept[0]
    for name, y in pooled.items():
        np.testing.assert_array_equal(given[name], y)
    options.pop("tell")
    wanted = {"season": None, "window": 4, "hidden": 2, "seeds": range(1), "stride": 1}
    assert (steps, options) == (2, wanted)
    saved = json.loads((out / "errors.json").read_text())
    adjusted = dict(
        zip(found.differences(), holm([d.p for d in found.differences().values()]), strict=True)
    )
    for row in saved["models"]:
        name = row["name"]
        assert row["validation_mase"] == pytest.approx(found.mase("validation")[name].mean())
        assert row["test_mase"] == pytest.approx(found.mase()[name].mean())
        assert row["test_mase_by_series"] == pytest.approx(found.mase()[name])
        assert re.search(rf"^{name} .* {row['test_mase']:.3g} ", said, re.MULTILINE)
        if name != winner:
            assert row["difference"]["mean"] == pytest.approx(found.differences()[name].mean)
            assert row["difference"]["p"] == pytest.approx(adjusted[name])
    assert f"best in validation: {winner}" in said
    table = read(out / "forecast.csv")
    assert list(table.columns) == ["time", "name", "forecast", "low", "high"]
    assert list(table["name"]) == [name for name in pooled for _ in range(2)]
    assert list(table["time"]) == ["2006-09-01", "2006-10-01"] * 4
    for k, (name, y) in enumerate(pooled.items()):
        part = table[table["name"] == name]
        np.testing.assert_allclose(part["forecast"], found.forecasts[name])
        np.testing.assert_array_equal(part["forecast"], y.iloc[-1])
        held = np.concatenate([found.validation[winner][k], found.test[winner][k]])
        np.testing.assert_allclose(part["high"] - part["forecast"], conformal(held, 0.8))
    for bad, message in [
        (["--with", "x"], "--group takes no --with"),
        (["--direct"], "--group takes no --direct"),
        (["--horizon", "40"], "A horizon of 40"),
    ]:
        assert main([*arguments[:-8], *arguments[-8:], *bad, "--out", str(tmp_path / "no")]) == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "no").exists()


def test_many_series_must_fit_together(pooled):
    options = {"season": None, "window": 4}
    for changed, message in [
        ({"s1": pooled["s1"][:-1]}, "must end together"),
        ({"s3": pooled["s3"][25:]}, "14 values at least in the training part"),
        ({"s2": series(np.ones(80))}, "must vary, got 's2'"),
    ]:
        with pytest.raises(ValueError, match=message):
            compare_many(pooled | changed, 2, **options)
    with pytest.raises(ValueError, match="two at least"):
        compare_many({"s0": pooled["s0"]}, 2, **options)
    with pytest.raises(ValueError, match="steps"):
        compare_many(pooled, 30, **options)


REFUSED = {
    "no file": (["--column", "y"], "does not exist"),
    "no column": (["--column", "z"], "no column 'z'"),
    "horizon": (["--horizon", "12"], r"A horizon of 12, .* need 1\d\d values, .* got 90"),
    "no horizon": (["--horizon", "0"], "horizon must lie"),
    "season": (["--season", "40"], r"a season of 40 .* need \d+ values"),
    "no season": (["--season", "0"], "season must lie"),
    "window": (["--window", "60"], r"a window of 60, .* need \d+ values"),
    "no window": (["--window", "0"], "window must lie"),
    "hidden": (["--hidden", "0"], "hidden must be"),
    "networks": (["--networks", "0"], "networks must be"),
    "coverage": (["--coverage", "1.5"], "coverage must lie between"),
    "coverage of a few": (["--coverage", "0.97"], r"a coverage of 0.97 need \d+ values"),
    "out": (["--out", "FILE"], "out must be a folder, got .*, which is a file"),
    "below": (["--out", "FILE/a/b"], "out must be a folder, got .*, which is a file"),
    "time": (["--time", "when"], "no column 'when'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_refused_first(tmp_path, walk, capsys, monkeypatch, name):
    monkeypatch.setattr(command, "compare", None)  # nothing is trained
    more, message = REFUSED[name]
    file = tmp_path / "y.csv"
    if name != "no file":
        write(file, walk)
    more = [word.replace("FILE", str(file)) for word in more]
    assert run(file, tmp_path / "out", *more) == 2
    said = capsys.readouterr()
    assert re.search(message, said.err), said.err
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.endswith(".\n")
    assert [path.name for path in tmp_path.iterdir()] == ["y.csv"][: name != "no file"]


def test_series_that_need_no_model_are_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command, "compare", None)
    for y, message in [
        (series(np.ones(90)), "values are all 1"),
        (series(np.tile(np.arange(12.0), 8)), "repeat every 12 exactly"),
        (series(np.arange(20.0)), r"need \d+ values, .* got 20"),
    ]:
        assert run(write(tmp_path / "y.csv", y), tmp_path / "out") == 2
        assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_told_first(tmp_path, walk, capsys, monkeypatch):
    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(command, "compare", None)
    monkeypatch.setattr(command, "check_writable", full)
    assert run(write(tmp_path / "y.csv", walk), tmp_path / "out") == 2
    assert "No space left on device" in capsys.readouterr().err


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9])
def test_the_least_length_is_the_least(direct, coverage):
    for steps, season, window in [(1, None, 2), (3, 12, 4), (12, 12, 24), (2, 30, 2)]:
        plan = Plan(steps, season, window, direct=direct, coverage=coverage)
        least = plan.least_length()
        assert not plan.short_of(least)
        assert all(map(plan.short_of, range(2, least)))
        split = parts(least)
        errors = np.ones((split.test_start - split.train_end - steps + 1, steps))
        assert np.isfinite(conformal(errors, coverage)).all()
        assert split.train_end >= window + 11
        assert split.train_end >= 2 * (season or 1) + 5


def test_all_candidates_can_be_fitted_to_the_least_length(few):
    few(*ALL)
    plan = Plan(2, 4, 3, hidden=2, networks=1)
    rng = np.random.default_rng(0)
    found = compare(series(rng.normal(size=plan.least_length())), plan)
    assert list(found.results) == ALL
    assert found.differences() == {}  # of ten origins
    assert found.loss_steps() == 0
    for result in found.results.values():
        assert np.isfinite(result.validation.overall())
        assert np.isfinite(result.test.overall())


def test_what_was_not_asked_for_suits_the_series():
    parse = command._parser().parse_args
    for count, more, wanted in [
        (300, [], (12, 12, 12)),
        (60, [], (12, 3, 10)),
        (300, ["--season", "7"], (7, 7, 14)),
        (300, ["--season", "1"], (None, 12, 12)),
        (300, ["--horizon", "2", "--window", "5"], (12, 2, 5)),
        (60, ["--season", "1"], (None, 3, 10)),
    ]:
        plan = command._plan(parse(["f", "--column", "y", *more]), months(count), count)
        assert (plan.season, plan.steps, plan.window) == wanted
    with pytest.raises(ValueError, match="--season must say"):
        command._plan(parse(["f", "--column", "y"]), pd.RangeIndex(300), 300)
    daily = pd.date_range("2000", periods=300, freq="D")
    assert command._plan(parse(["f", "--column", "y"]), daily, 300).season == 7


def test_interrupting_writes_nothing(tmp_path, walk, capsys, monkeypatch):
    def interrupted(*args, tell, **options):
        tell("ridge-AR")
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "compare", interrupted)
    assert run(write(tmp_path / "y.csv", walk), tmp_path / "out") == 130
    said = capsys.readouterr().err
    assert said.endswith("Interrupted: nothing was written.\n")
    assert re.match(r"ridge-AR \.\.\. \d+\.\d s\n", said)
    assert not (tmp_path / "out").exists()


def test_parameters_at_an_edge_are_named(tmp_path, walk, few, capsys, monkeypatch):
    few("persistence", "ridge-AR", "LSTM")
    once = choose

    def at_edge(candidate, *args, **options):
        search = once(candidate, *args, **options)
        if candidate.name == "ridge-AR":
            search.at_edge.append("penalty")
        return search

    monkeypatch.setattr("rnnbook.forecast.comparison.choose", at_edge)
    assert run(write(tmp_path / "y.csv", walk), tmp_path / "out", "--horizon", "2") == 0
    assert "ridge-AR: the best penalty, 0.01, is the last allowed." in capsys.readouterr().out


def test_no_two_errors_look_alike():
    axes = pytest.importorskip("matplotlib.pyplot").subplots()[1]
    errors = {name: np.arange(1.0, 4) + k for k, name in enumerate(ALL)}
    forecast.plot_errors(axes, errors)
    lines = axes.get_lines()
    assert [line.get_label() for line in lines] == ALL
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == len(ALL)
    for k, line in enumerate(lines):
        np.testing.assert_array_equal(line.get_xydata(), [[1, 1 + k], [2, 2 + k], [3, 3 + k]])
    assert lines[0].get_linewidth() > max(line.get_linewidth() for line in lines[1:])
    axes.figure.clear()


def test_missing_file_is_told_by_the_command_itself(tmp_path):
    """As a person calls it, in a process of its own."""
    call = [sys.executable, "-m", "rnnbook.forecast", str(tmp_path / "no.csv"), "--column", "y"]
    done = subprocess.run(call, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.endswith("does not exist.\n")
    assert "Traceback" not in done.stderr


def test_the_rows_that_are_left_out_at_the_end(tmp_path):
    file = tmp_path / "y.csv"
    file.write_text("month,y,x\n2000-01,1,1\n2000-02,2,2\n2000-03,3,3\n2000-04,,4\n")
    table = forecast.read_table(file, ["y"], ahead=True)
    assert list(table["y"]) == [1, 2, 3]
    with pytest.raises(BadFile, match="got '' in line 5"):
        read_series(file, "y")
    file.write_text("month,y,x\n2000-01,1,1\n2000-02,,2\n2000-03,3,3\n2000-04,,4\n")
    with pytest.raises(BadFile, match="got '' in line 3"):
        forecast.read_table(file, ["y"], ahead=True)
