"""The benchmarks run, and what the README and the book say of speed is what was measured.

No test here looks at a clock.
"""

import json
import os
import re
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is what the layers are measured against")

from benchmarks import layers, report, scans
from benchmarks.__main__ import FIGURE, PAGE, README, RESULTS, ROOT, dumps
from benchmarks.clock import blas, compare, take_turns, threads


@pytest.fixture(scope="module")
def results():
    return json.loads(RESULTS.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", [README, PAGE], ids=lambda path: path.name)
def test_tables_are_those_of_the_stored_measurements(path, results):
    text = path.read_text(encoding="utf-8")
    assert set(re.findall(r"<!-- benchmarks (\w+) -->", text)) >= {"machine", "scratch"}
    assert report.filled(text, results) == text, "run `python -m benchmarks --readme --page`"


def test_figure_is_drawn_from_the_stored_measurements(results):
    from benchmarks.figure import fingerprint

    svg = FIGURE.read_text(encoding="utf-8")
    assert fingerprint(results) in svg, "run `python -m benchmarks --plot`"


def test_stored_measurements_are_complete(results):
    wanted = {(kind, size) for kind in layers.KINDS for size in layers.SIZES}
    for number in {1, results["threads"]}:
        rows = [row for row in results["layers"] if row["threads"] == number]
        assert {(row["kind"], tuple(row["size"])) for row in rows} == wanted
        assert {name for row in rows for name in row["unavailable"]} <= {"labml"}
    assert len(results["scan"]) == 2 * len(scans.STEPS) * len(scans.WIDTHS)
    assert len(results["cost"]) == 3 * sum(map(len, layers.COSTS.values()))


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
    times = {"torch.nn": np.array([1.0, 2.0, 4.0]), "scratch": np.array([0.5, 2.0, 1.0])}
    assert compare(times, "torch.nn") == {"scratch": {"median": 0.5, "low": 0.375, "high": 0.75}}

    def race(kind, ratio):
        ratios = {"scratch": {"median": ratio}}
        size = [1, 2, 3, 4]
        return {"kind": kind, "size": size, "threads": 1, "ratios": ratios, "unavailable": {}}

    said = report.scratch({"layers": [race("RNN", 0.25), race("LSTM", 2.0), race("GRU", 1.0)]})
    assert "geometric mean 0.79, 1 of 3 ratios below 1" in said
    assert "largest 2.00 (LSTM at 1, 2, 3, 4)" in said


def test_functions_take_turns():
    calls = []
    functions = {name: lambda name=name: (calls.append(name), time.sleep(0.02)) for name in "ab"}
    with threads(1):
        times = take_turns(functions, seconds=0, rounds=3)
    assert "".join(calls) == "aabb" + "ab" + "ba" + "ab"  # two warm-up calls each, three rounds
    assert all(len(values) == 3 for values in times.values())


@pytest.mark.parametrize("kind", layers.KINDS)
def test_a_layer_with_another_gradient_may_not_race(kind, monkeypatch):
    size = (2, 3, 4, 5)
    names = ["torch.nn", "scratch"]
    assert set(layers.contestants(kind, size, names)[0]) == set(names)
    honest = layers.CONTESTANTS["scratch"]
    wrong = {"scratch": lambda *given: lambda: 1.01 * honest(*given)()}
    monkeypatch.setattr(layers, "CONTESTANTS", layers.CONTESTANTS | wrong)
    with pytest.raises(AssertionError, match="scratch gives another dx"):
        layers.contestants(kind, size, names)


def test_who_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "labml_nn.lstm", None)
    row = layers.layer_race("LSTM", (2, 3, 4, 5), seconds=0, rounds=1)
    assert "labml_nn.lstm cannot be imported" in row["unavailable"]["labml"]
    assert "labml" not in row["ratios"]
    assert "scratch" in row["ratios"]


@pytest.mark.slow
def test_quick_run_prints_one_table():
    one_thread = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks", "--quick"]
    before = RESULTS.read_bytes()
    done = subprocess.run(command, cwd=ROOT, env=one_thread, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 6 + 1  # head, two sizes of three kinds, geometric means
    assert RESULTS.read_bytes() == before
