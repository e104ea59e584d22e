"""The benchmarks run, and what the README and the book say of speed is what was measured.

No test here looks at a clock.
"""

import json
import os
import re
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pytest

pytest.importorskip("psutil", reason="psutil knows which processes there are")
pytest.importorskip("threadpoolctl", reason="threadpoolctl sets the number of threads")
pytest.importorskip("torch", reason="torch is what the layers are measured against")

import psutil
import torch

from benchmarks import __main__ as bench
from benchmarks import layers, newton, online, report, scans, unequal
from benchmarks.__main__ import FIGURES, PAGES, README, RESULTS, ROOT, TABLES, dumps
from benchmarks.clock import SAMPLE, blas, compare, seconds_per_call, take_turns, threads
from benchmarks.ladder import RUNGS
from benchmarks.layers import Unavailable
from benchmarks.processes import OwnProcess

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def results():
    return json.loads(RESULTS.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", [README, *PAGES], ids=lambda path: path.stem)
def test_tables_are_those_of_the_stored_measurements(path, results):
    text = path.read_text(encoding="utf-8")
    assert report.MARKED.search(text)
    assert report.filled(text, results) == text, "run `python -m benchmarks --readme --page`"


def test_every_table_stands_on_some_page():
    text = "".join(path.read_text(encoding="utf-8") for path in PAGES)
    assert set(re.findall(r"<!-- benchmarks (\w+) -->", text)) == set(report.PARTS)


@pytest.mark.parametrize("path", FIGURES, ids=lambda path: path.stem)
def test_figures_are_drawn_from_the_stored_measurements(path, results):
    from benchmarks.figure import fingerprint

    svg = path.read_text(encoding="utf-8")
    assert fingerprint(results) in svg, "run `python -m benchmarks --plot`"


def test_stored_measurements_are_of_the_present_code(results):
    changed = bench.changed(results)
    assert not changed, f"{', '.join(changed)} changed: run `make results`"


def test_what_is_measured_and_what_measures_is_traced():
    code = bench.code()
    assert {"benchmarks/ladder.py", "rnnbook/scratch/fused.py", "rnnbook/pytorch/scan.py"} <= set(
        code
    )
    other = {"code": code | {"rnnbook/scratch/fused.py": "0", "rnnbook/gone.py": "1"}}
    assert bench.changed(other) == ["rnnbook/gone.py", "rnnbook/scratch/fused.py"]
    assert bench.changed({"code": code}) == []


def test_only_what_is_as_fast_as_stored_is_renewed(results, monkeypatch, tmp_path, capsys):
    slower = 1.0

    def race(kind, size, names, **_):
        (row,) = (
            row
            for row in results["layers"]
            if (row["kind"], tuple(row["size"]), row["threads"]) == (kind, size, 1)
        )
        fused = {"median": row["ratios"]["NumPy fused"]["median"] * slower}
        return row | {"ratios": row["ratios"] | {"NumPy fused": fused}}

    monkeypatch.setattr(layers, "race", race)
    monkeypatch.setattr(bench, "RESULTS", tmp_path / "results.json")
    old = results | {"code": {}}
    slower = 1.5
    assert bench.renew(old) == 1
    assert "NumPy fused, LSTM at 10, 10, 1, 50: " in capsys.readouterr().err
    assert not bench.RESULTS.exists()
    slower = 1.1
    assert bench.renew(old) == 0
    assert json.loads(bench.RESULTS.read_text()) == results | {"code": bench.code()}
    assert bench.renew(results | {"code": bench.code()}) == 0


def test_stored_measurements_are_complete(results):
    wanted = {(kind, size) for kind in layers.KINDS for size in layers.SIZES}
    for number in {1, results["threads"]}:
        rows = [row for row in results["layers"] if row["threads"] == number]
        assert {(row["kind"], tuple(row["size"])) for row in rows} == wanted
        assert {name for row in rows for name in row["unavailable"]} <= {"labml"}
        assert {name for row in rows for name in row["ratios"]} >= set(layers.OURS)
    assert {(row["kind"], tuple(row["size"])) for row in results["ladder"]} == wanted
    assert all(["plain", *row["ratios"]] == list(RUNGS) for row in results["ladder"])
    assert len(results["scan"]) == 2 * len(scans.STEPS) * len(scans.WIDTHS)
    assert len(results["cost"]) == 3 * sum(map(len, layers.COSTS.values()))


def test_every_table_was_measured_and_has_its_day(results):
    assert list(results["dates"]) == list(TABLES)
    assert all(results[name] for name in TABLES)
    assert len(results["newton"]) == len(newton.RACES)
    assert len(results["online"]) == len(online.HIDDEN)
    assert len(results["unequal"]) == 2 * 3 * len(unequal.SIZES)
    days = report.machine(results | {"dates": {"a": "2030-01-01", "b": "2030-02-01"}})
    assert days.startswith("Measured between 2030-01-01 and 2030-02-01: ")


def test_tables_measured_anew_join_the_others(results, monkeypatch):
    today = {"peak": "2030-01-01"}
    new = results | {"peak": [{"threads": 1}], "dates": today, "code": bench.code()}
    monkeypatch.setattr(bench, "changed", lambda stored: [])
    joined = bench.joined(new)
    assert joined["peak"] == [{"threads": 1}]
    assert joined["dates"] == results["dates"] | today
    assert joined["scan"] == results["scan"]
    with pytest.raises(ValueError, match="must have the same threads, 7, got"):
        bench.joined(new | {"threads": 7})
    monkeypatch.setattr(bench, "changed", lambda stored: ["rnnbook/scratch/fused.py"])
    with pytest.raises(ValueError, match=r"but rnnbook/scratch/fused\.py changed"):
        bench.joined(new)


def test_time_has_three_parts(results):
    for size in layers.SIZES:
        for form in ("plain", "fused"):
            parts = layers.time_of_parts(results, size, form)
            three = parts["products"] + parts["calls"] + parts["rest"]
            assert three == pytest.approx(parts["all"])
    assert layers.operations("LSTM", (10, 10, 1, 50)) == 6_120_000


def test_stored_measurements_name_no_machine(results):
    assert set(results["machine"]) == {"cpu", "cores", "system"}
    assert not re.search(r"/(home|root|Users|tmp|opt|work)/", RESULTS.read_text(encoding="utf-8"))


def test_the_kernel_of_the_products_is_told(results):
    found = blas()
    assert set(found) <= {"library", "version", "kernel"}
    assert f"kernel {results['blas']['kernel']}" in report.machine(results)
    silent = report.machine(results | {"blas": {}})
    assert "kernel" not in silent
    assert results["versions"]["numpy"] in silent


def test_json_comes_back_as_it_was(results):
    assert json.loads(dumps(results)) == results


def test_ratios_and_their_mean():
    times = {"torch.nn": np.array([1.0, 2.0, 4.0]), "fused": np.array([0.5, 2.0, 1.0])}
    assert compare(times, "torch.nn") == {"fused": {"median": 0.5, "low": 0.375, "high": 0.75}}

    def race(kind, fused, plain):
        ratios = {"NumPy fused": {"median": fused}, "NumPy plain": {"median": plain}}
        size = [1, 2, 3, 4]
        return {"kind": kind, "size": size, "threads": 1, "ratios": ratios, "unavailable": {}}

    races = [race("RNN", 0.25, 1.0), race("LSTM", 2.0, 4.0), race("GRU", 1.0, 1.0)]
    said = report.numpy_fused({"layers": races})
    assert "geometric mean 0.79, 1 of 3 ratios below 1" in said
    assert "largest 2.00 (LSTM at 1, 2, 3, 4)" in said
    assert "plain layers take between 1.0 and 4.0 times as long" in said
    assert "2.0 times in the geometric mean" in said


def test_what_the_ladder_says_of_rungs_that_lose():
    def race(kind, size, *ratios):
        quartiles = [{"low": r - 0.1, "median": r, "high": r + 0.1} for r in ratios]
        named = dict(zip(("hoisted", "in place"), quartiles, strict=True))
        return {"kind": kind, "size": size, "ms": 2.0, "ratios": named}

    small, large = [1, 2, 3, 4], [5, 6, 7, 8]
    rnn, lstm, gru = [
        [race(kind, size, *ratios) for size, ratios in zip((small, large), both, strict=True)]
        for kind, both in [
            ("RNN", [(1.05, 0.5), (1.2, 0.5)]),  # by less than the quartiles, and by more
            ("LSTM", [(1.2, 0.5), (0.4, 0.5)]),
            ("GRU", [(0.4, 0.5), (0.3, 0.6)]),
        ]
    ]
    said = report.ladder({"ladder": rnn + lstm + gru})
    assert "From the first rung to the last: geometric mean 0.52." in said
    assert (
        "*hoisted* (RNN at 5, 6, 7, 8; LSTM at 1, 2, 3, 4), *in place* (GRU at 5, 6, 7, 8)." in said
    )
    cells = [line.strip("| ").split(" | ") for line in said.splitlines() if "GRU |" in line]
    assert [[cell.strip() for cell in row] for row in cells] == [
        ["GRU", "plain, ms", "2", "2"],
        ["GRU", "hoisted", "0.40", "0.30"],
        ["GRU", "in place", "0.50", "0.60"],
    ]
    said = report.ladder({"ladder": rnn[:1] + lstm[1:] + gru[:1]})
    assert said.endswith("Rungs that lose to the one before them: none.")


def test_contestants_take_turns():
    calls = []

    def sampler(name, repeats):
        calls.append(name * repeats)
        return SAMPLE / 3

    with threads(1):
        samplers = {name: partial(sampler, name) for name in "ab"}
        times = take_turns(samplers, seconds=0, rounds=3)
    warm_up, a, b = ["a", "a", "b", "b"], ["a", "aaa"], ["b", "bbb"]
    assert (
        calls == warm_up + a + b + b + a + a + b
    )  # before each sample, a call that does not count
    assert all(list(values) == [SAMPLE / 3] * 3 for values in times.values())


def test_seconds_of_one_call(monkeypatch):
    calls = []
    clock = iter([1.0, 3.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    assert seconds_per_call(lambda: calls.append(1), 4) == 0.5
    assert len(calls) == 4


def own_sum(number):
    calls = []

    def function():
        calls.append(os.getpid())
        return [number, torch.get_num_threads(), len(calls), *set(calls)]

    return function


def test_a_function_in_its_own_process():
    with threads(1):
        sampler = OwnProcess(own_sum, 7)
    try:
        number, with_threads, calls, process = sampler.answer
        assert (number, with_threads, calls) == (7, 1, 1)
        assert process != os.getpid()
        assert sampler(3) > 0
    finally:
        sampler.close()
    assert not psutil.pid_exists(process)


def cannot(reason):
    raise Unavailable(reason)


def test_what_another_process_raises_is_raised_here():
    with pytest.raises(Unavailable, match="not on this machine"):
        OwnProcess(cannot, "not on this machine")


@pytest.mark.parametrize("kind", layers.KINDS)
def test_a_layer_with_another_gradient_may_not_race(kind, monkeypatch):
    size = (2, 3, 4, 5)
    names = ["torch.nn", *layers.OURS]
    answers = {name: np.asarray(layers.contestant(kind, size, name)()) for name in names}
    layers.check_same(answers)
    with pytest.raises(AssertionError, match="NumPy plain gives another dx"):
        layers.check_same(answers | {"NumPy plain": 1.01 * answers["NumPy plain"]})

    def check(answers):
        assert set(answers) == set(names)
        raise AssertionError("so they were compared")

    monkeypatch.setattr(layers, "check_same", check)
    with pytest.raises(AssertionError, match="so they were compared"):
        layers.race(kind, size, names, seconds=0, rounds=1)


def test_who_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "labml_nn.lstm", None)
    with pytest.raises(Unavailable, match="cannot be imported"):
        layers.contestant("LSTM", (2, 3, 4, 5), "labml")

    def own_process(make, kind, size, name):
        if name == "labml":
            raise Unavailable("not here")
        return OwnProcess(make, kind, size, name)

    monkeypatch.setattr(layers, "OwnProcess", own_process)
    row = layers.race("LSTM", (2, 3, 4, 5), ["torch.nn", "labml"], seconds=0, rounds=1)
    assert row["unavailable"] == {"labml": "not here"}
    assert row["ratios"] == {}


def test_what_a_ratio_is_measured_by():
    row = layers.race("GRU", (2, 3, 4, 5), list(RUNGS)[:3], seconds=0, rounds=1)
    assert list(row["ratios"]) == ["projection hoisted", "one weight gradient"]
    assert row["ms"] > 0
    assert row["rounds"] == 1


def test_quick_run_prints_two_tables():
    one_thread = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks", "--quick", "peak", "layers", "ladder"]
    before = RESULTS.read_bytes()
    done = subprocess.run(command, cwd=ROOT, env=one_thread, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("|")]
    of_layers = 2 + 6 + 1  # head, two sizes of three kinds, geometric means
    assert len(rows) == of_layers + 2 + 3 * len(RUNGS)
    assert RESULTS.read_bytes() == before


@pytest.mark.parametrize("name", ["newton", "chunks", "online", "unequal", "seeds", "parallel"])
def test_other_tables_can_be_measured_and_told(name):
    measured = bench.measure([name], quick=True)
    assert measured[name]
    lines = report.PARTS[name](measured).splitlines()
    assert lines[0].startswith("|")
    assert len(lines) >= 2 + len(measured[name]) // 2


def test_an_unknown_table_is_named(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmarks", "speed"])
    with pytest.raises(SystemExit):
        bench.main()
    assert "TABLE must be one of peak, calls, layers" in capsys.readouterr().err
