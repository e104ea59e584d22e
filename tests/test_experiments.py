"""The experiment runner: stored at once, killed, resumed, merged, summarized."""

import json
import math
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from rnnbook.experiments import load_results, renewal, runner, stored, summarize, trace
from rnnbook.experiments.machine import one_thread
from rnnbook.experiments.runner import RunsFailed, run_experiment
from rnnbook.experiments.stored import experiment_file, experiment_names
from rnnbook.extras import MissingExtra

pytest.importorskip("joblib", reason="joblib runs the experiments")
pytest.importorskip("filelock", reason="filelock keeps two sweeps apart")

pytestmark = pytest.mark.slow

TOY = '''
"""A toy: the mean of a few numbers.

More.
"""
import os, time
from pathlib import Path
import numpy as np

SEEDS = 3

def settings(quick):
    return [{"n": n} for n in ((2, 3) if quick else (2, 3, 4))]

def run(setting, seed):
    with open(Path(__file__).with_name("log"), "a") as log:
        log.write(f"{setting['n']} {seed}\\n")
    hold = os.environ.get("TOY_HOLD")
    if hold == f"{setting['n']} {seed}":
        time.sleep(600)
    x = np.random.default_rng([seed, setting["n"]]).normal(size=setting["n"])
    return {"mean": x.mean(), "values": x, "process": os.getpid()}
'''


@pytest.fixture
def toy(tmp_path):
    file = tmp_path / "toy.py"
    file.write_text(TOY)
    return file


def log(toy):
    """The runs that were begun, in order, and forgets them."""
    file = toy.with_name("log")
    lines = file.read_text().splitlines() if file.exists() else []
    file.unlink(missing_ok=True)
    return lines


def command(*arguments):
    return [sys.executable, "-m", "rnnbook.experiments", *map(str, arguments)]


def call(*arguments):
    return subprocess.run(command(*arguments), capture_output=True, text=True)


def metrics(results):
    return [
        (run["setting"], run["seed"], run["metrics"]["mean"], run["metrics"]["values"])
        for run in results["runs"]
    ]


def test_results_hold_all_that_is_promised(toy):
    merged = run_experiment(toy)
    assert merged == load_results(toy)
    assert (merged["experiment"], merged["quick"]) == ("toy", False)
    assert [(run["setting"]["n"], run["seed"]) for run in merged["runs"]] == [
        (n, seed) for n in (2, 3, 4) for seed in range(3)
    ]
    (environment,) = merged["environments"]
    assert environment["versions"]["python"] == sys.version.split()[0]
    assert environment["versions"]["numpy"] == np.__version__
    assert environment["machine"]["cores"] == os.cpu_count()
    assert environment["machine"]["cpu"]
    assert len(merged["date"]) == 10
    x = np.random.default_rng([1, 3]).normal(size=3)
    assert merged["runs"][4]["metrics"]["mean"] == x.mean()
    assert merged["runs"][4]["metrics"]["values"] == x.tolist()


def test_results_name_neither_host_nor_paths(toy):
    run_experiment(toy)
    text = (toy.parent / "results/toy.json").read_text()
    assert socket.gethostname() not in text
    assert str(toy.parent) not in text
    assert str(Path.home()) not in text


def test_quick_results_lie_apart(toy):
    quick = run_experiment(toy, quick=True)
    assert [(run["setting"]["n"], run["seed"]) for run in quick["runs"]] == [
        (n, seed) for n in (2, 3) for seed in range(2)
    ]
    assert load_results(toy, quick=True) == quick
    with pytest.raises(FileNotFoundError, match=r"run: python -m rnnbook\.experiments .*toy\.py$"):
        load_results(toy)


def test_processes_give_what_one_process_gives(toy):
    alone = run_experiment(toy)
    together = run_experiment(toy, jobs=2, fresh=True)
    assert metrics(alone) == metrics(together)
    processes = {run["metrics"]["process"] for run in together["runs"]}
    assert os.getpid() not in processes


def test_only_what_is_missing_is_run(toy):
    run_experiment(toy, seeds=2)
    assert log(toy) == ["2 0", "2 1", "3 0", "3 1", "4 0", "4 1", "2 0", "3 0"]  # the canary last
    merged = run_experiment(toy, seeds=3)
    assert log(toy) == ["2 2", "3 2", "4 2"]
    assert len(merged["runs"]) == 9
    assert run_experiment(toy, seeds=3) == merged
    assert log(toy) == []


def test_merged_runs_are_taken_where_the_single_ones_are_gone(toy):
    merged = run_experiment(toy, seeds=2)
    shutil.rmtree(toy.parent / "results/.cache")
    log(toy)
    more = run_experiment(toy, seeds=3)
    assert log(toy) == ["2 2", "3 2", "4 2", "2 0", "3 0"]
    assert [run for run in more["runs"] if run["seed"] < 2] == merged["runs"]


def test_fresh_runs_everything_again(toy):
    run_experiment(toy, seeds=1)
    log(toy)
    run_experiment(toy, seeds=1, fresh=True)
    assert len(log(toy)) == 3 + 2


def test_changed_code_runs_everything_again_and_its_runs_take_the_place_of_the_old(toy):
    old = run_experiment(toy, seeds=1)
    log(toy)
    toy.write_text(TOY.replace("normal(size", "uniform(size"))
    assert run_experiment(toy, seeds=1) != old
    assert len(log(toy)) == 3 + 2
    assert len(list((toy.parent / "results/.cache/toy").iterdir())) == 1


def test_a_change_of_a_file_that_the_experiment_reaches_counts(toy, monkeypatch):
    toy.write_text("from rnnbook.scratch import LSTM\n" + TOY)
    code = run_experiment(toy, seeds=1)["code"]
    assert next(iter(code)) == "toy.py"
    assert {"rnnbook/scratch/lstm.py", "rnnbook/scratch/layer.py", "rnnbook/checks.py"} < set(code)
    assert "rnnbook/scratch/gru.py" not in code
    log(toy)
    other = code | {"rnnbook/checks.py": "another"}
    monkeypatch.setattr(runner, "code_of", lambda file: other)
    run_experiment(toy, seeds=1)
    assert len(log(toy)) == 3 + 2


def test_a_second_sweep_is_told_who_runs(toy):
    environment = os.environ | {"TOY_HOLD": "2 1"}
    sweep = subprocess.Popen(command(toy), env=environment, stderr=subprocess.DEVNULL)
    try:
        wait_until_begun(toy, "2 1", sweep)
        second = call(toy)
        fresh = call(toy, "--fresh")
        for done in (second, fresh):
            assert done.returncode == 1
            who = rf"^toy is being run by process {sweep.pid} on \S+, since 20\d\d-.*\.$"
            assert re.match(who, done.stderr)
        quick = call(toy, "--quick")  # lies apart
        assert quick.returncode == 0, quick.stderr
    finally:
        sweep.kill()
        sweep.wait()
    assert log(toy)[:2] == ["2 0", "2 1"]
    assert call(toy).returncode == 0  # whoever died holds nothing, and lost nothing
    assert "2 0" not in log(toy)[:8]


def test_each_run_has_one_thread_also_in_libraries_that_it_loads_itself(toy):
    pytest.importorskip("torch")
    toy.write_text(
        TOY.replace(
            "    return {",
            "    import threadpoolctl, torch\n"
            "    pools = [pool['num_threads'] for pool in threadpoolctl.threadpool_info()]\n"
            "    return {'pools': pools, 'torch': torch.get_num_threads(), ",
        )
    )
    environment = {name: text for name, text in os.environ.items() if "NUM_THREADS" not in name}
    done = subprocess.run(
        command(toy, "--seeds", 1), env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for run in load_results(toy)["runs"]:
        assert run["metrics"]["torch"] == 1
        assert run["metrics"]["pools"]
        assert set(run["metrics"]["pools"]) == {1}


def test_threads_are_given_back():
    from threadpoolctl import threadpool_info

    np.ones((2, 2)) @ np.ones((2, 2))
    before = [pool["num_threads"] for pool in threadpool_info()], dict(os.environ)
    with one_thread():
        assert os.environ["OMP_NUM_THREADS"] == "1"
    with pytest.raises(ZeroDivisionError), one_thread():
        raise ZeroDivisionError
    assert ([pool["num_threads"] for pool in threadpool_info()], dict(os.environ)) == before


def wait_until_begun(toy, run, sweep):
    begun = toy.with_name("log")
    deadline = time.monotonic() + 60
    while not (begun.exists() and run in begun.read_text()):
        assert time.monotonic() < deadline
        assert sweep.poll() is None
        time.sleep(0.05)


@pytest.mark.skipif(sys.platform == "win32", reason="process groups as on Unix")
def test_a_kill_loses_only_the_runs_in_flight(toy):
    """With one job a run is held up, and the sweep is killed while it hangs."""
    environment = os.environ | {"TOY_HOLD": "3 1"}
    sweep = subprocess.Popen(command(toy), env=environment)
    stored = toy.parent / "results/.cache/toy"
    try:
        wait_until_begun(toy, "3 1", sweep)
    finally:
        family = psutil.Process(sweep.pid)
        for process in [family, *family.children(recursive=True)]:
            process.kill()
        sweep.wait()
    assert log(toy) == ["2 0", "2 1", "2 2", "3 0", "3 1"]
    assert len(list(stored.rglob("*.json"))) == 4
    assert not (toy.parent / "results/toy.json").exists()
    resumed = call(toy)
    assert resumed.returncode == 0, resumed.stderr
    assert log(toy) == ["3 1", "3 2", "4 0", "4 1", "4 2", "2 0", "3 0"]
    resumed_metrics = metrics(load_results(toy))
    assert resumed_metrics == metrics(run_experiment(toy, fresh=True))


def test_a_failing_run_is_named_and_stops_no_other(toy):
    bad = "    if setting['n'] == 3 and seed == 1: raise RuntimeError('no luck')\n    x ="
    toy.write_text(TOY.replace("    x =", bad))
    with pytest.raises(RunsFailed, match=r"1 of 11 runs failed.*'n': 3.*seed 1.*no luck"):
        run_experiment(toy)
    assert len(log(toy)) == 9 + 2
    assert not (toy.parent / "results/toy.json").exists()
    with pytest.raises(RunsFailed):
        run_experiment(toy)
    assert log(toy) == ["3 1"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("float('nan')", "not JSON compliant"),
        ("object()", "run must return numbers, .* got object"),
    ],
)
def test_metrics_that_json_cannot_hold_are_told(toy, value, message):
    toy.write_text(TOY.replace("x.mean()", value))
    with pytest.raises(RunsFailed, match=message):
        run_experiment(toy, seeds=1)


def test_dask_with_two_local_workers(toy):
    pytest.importorskip("distributed", reason="Dask is not installed")
    here = metrics(run_experiment(toy))
    done = call(toy, "--backend", "dask", "--jobs", 2, "--fresh")
    assert done.returncode == 0, done.stderr
    results = load_results(toy)
    assert metrics(results) == here
    assert len({run["metrics"]["process"] for run in results["runs"]}) == 2


# The command line


def test_list_tells_every_experiment():
    shown = call("--list")
    assert shown.returncode == 0
    assert [line.split()[0] for line in shown.stdout.splitlines()] == experiment_names()
    assert "How long do RNN, LSTM and GRU remember?" in shown.stdout
    assert "adding_problem" in experiment_names()


def test_the_command_is_silent_but_for_its_last_line(toy):
    done = call(toy, "--seeds", 1, "--quick")
    place = toy.parent / "results/.cache/toy-quick.json"
    assert done.stdout == f"2 runs, 0.00 core hours: {place}\n"
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "NAME is missing"),
        (["nothing"], "NAME must be one of adding_problem"),
        (["adding_problem", "--seeds", "0"], "seeds must be a whole number of at least 1, got 0"),
        (["adding_problem", "--jobs", "0"], "jobs must be a whole number of at least 1, got 0"),
        (["adding_problem", "--backend", "magic"], "invalid choice: 'magic'"),
    ],
)
def test_wrong_arguments_end_with_a_sentence(arguments, message):
    done = call(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_backend_is_told(toy):
    try:
        import ray  # noqa: F401
    except ModuleNotFoundError:
        done = call(toy, "--backend", "ray")
        assert done.returncode == 2
        assert 'This needs ray, which is not installed: pip install "rnnbook[ray]".' in done.stderr
    else:
        pytest.skip("ray is installed")


def test_failed_runs_end_with_status_1(toy):
    toy.write_text(TOY.replace("    x =", "    1 / 0\n    x ="))
    done = call(toy)
    assert done.returncode == 1
    assert "11 of 11 runs failed" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_is_no_experiment_is_told(toy):
    toy.write_text("def settings(quick): return []\n")
    with pytest.raises(ValueError, match=r"toy\.py must define run\(\.\.\.\)"):
        run_experiment(toy)


# What ties results to the code


HASHED = '''
"""A module."""

def f(x):
    """Twice."""
    # by a sum
    return x + x  # of two


class A:
    """Nothing."""
    text = "# no comment"
'''


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("Twice.", "Two times.", True),
        ('    """Nothing."""\n', "", True),
        ("# by a sum", "", True),
        ("\n\n\nclass", "\nclass", True),
        ("  # of two", "", True),
        ("x + x", "x + 2 * x", False),
        ("# no comment", "# a comment", False),
        ("class A", "class B", False),
    ],
)
def test_what_counts_as_a_change_of_code(old, new, same, tmp_path):
    assert old in HASHED
    file = tmp_path / "study.py"
    file.write_text(HASHED)
    before = trace.code_of(file)
    file.write_text(HASHED.replace(old, new))
    assert (trace.code_of(file) == before) is same


def test_differences_name_the_metric_and_both_values():
    stored = {"loss": 1.0, "curve": [1.0, 2.0], "n": 3, "by": {"a": 0.5}, "kind": "x", "time": 1.0}
    assert trace.differences(stored, stored, 1e-3) == []
    near = stored | {"loss": 1.0005, "curve": [1.0, 2.001], "by": {"a": 0.50001}, "time": 9.0}
    assert trace.differences(near, stored, 1e-3, unsteady=("time",)) == []
    for metrics, sentence in [
        (stored | {"loss": 1.002}, "loss is 1.002, stored is 1."),
        (stored | {"curve": [1.0]}, "curve is [1.0], stored is [1.0, 2.0]."),
        (stored | {"curve": [1.0, 2.1]}, "curve is [1.0, 2.1], stored is [1.0, 2.0]."),
        (stored | {"by": {"a": 0.6}}, "by is {'a': 0.6}, stored is {'a': 0.5}."),
        (stored | {"kind": "y"}, "kind is y, stored is x."),
        (stored | {"new": 1}, "new is new."),
        ({name: stored[name] for name in stored if name != "n"}, "n is missing."),
    ]:
        assert trace.differences(metrics, stored, 1e-3) == [sentence]


def test_what_is_stale_and_why(toy):
    assert renewal.why_stale(toy) == "it was never run"
    run_experiment(toy)
    assert renewal.why_stale(toy) is None
    toy.write_text(TOY.replace("A toy", "A small toy"))
    assert renewal.why_stale(toy) is None
    toy.write_text(TOY.replace("normal(size", "uniform(size"))
    assert renewal.why_stale(toy) == "toy.py changed"
    toy.write_text(TOY.replace("(2, 3, 4)", "(2, 3, 5)"))
    assert renewal.why_stale(toy) == "its settings have changed"
    toy.write_text(TOY)
    file = toy.parent / "results/toy.json"
    results = json.loads(file.read_text())
    results["code"]["rnnbook/gone.py"] = "0"
    file.write_text(json.dumps(results))
    assert renewal.why_stale(toy) == "rnnbook/gone.py changed"
    del results["code"]
    file.write_text(json.dumps(results))
    assert renewal.why_stale(toy) == "its code was not recorded"


STEADY = TOY + "\nUNSTEADY = ('process',)\n"
CANARY = "\ndef canary(): return [({'n': 4}, 7)]\n"


def test_canary_and_cheapest_run_tell_changed_numbers(toy):
    toy.write_text(STEADY)
    run_experiment(toy, jobs=2)
    assert renewal.try_canary(toy) == renewal.try_cheapest(toy) == []
    toy.write_text(STEADY.replace("normal(size", "uniform(size"))
    found = renewal.try_canary(toy)
    assert len(found) == 2 * 2  # mean and values of both
    assert re.match(r"\{'n': 2\}, seed 0: mean is [\d.-]+, stored is [\d.-]+\.$", found[0])
    assert len(renewal.try_cheapest(toy)) == 2


def test_renewing_runs_no_more_than_it_must(toy):
    toy.write_text(STEADY)
    first = run_experiment(toy)
    log(toy)
    assert renewal.renew(toy) == "up to date"
    assert log(toy) == []

    toy.write_text(STEADY.replace("x = np", "x = 1 * np"))  # other code, the same numbers
    assert renewal.renew(toy) == "toy.py changed; the numbers are as stored"
    assert len(log(toy)) == 2 + 1  # the canary and the cheapest
    renewed = load_results(toy)
    assert renewed["code"] == trace.code_of(toy) != first["code"]
    assert renewed == first | {"code": renewed["code"]}

    toy.write_text(STEADY.replace("x = np", "x = 2 * np"))
    done = renewal.renew(toy)
    assert re.match(r"toy\.py changed; \{'n': 2\}, seed 0: mean is .*: 9 runs made$", done)
    assert load_results(toy)["runs"][0]["metrics"]["mean"] == pytest.approx(
        2 * first["runs"][0]["metrics"]["mean"]
    )

    toy.write_text(double := STEADY.replace("x = np", "x = 2 * np") + CANARY)
    assert renewal.renew(toy) == "toy.py changed; the numbers are as stored"
    assert [run["setting"]["n"] for run in load_results(toy)["canary"]] == [4]
    assert renewal.why_stale(toy) is None

    toy.write_text(double.replace("(2, 3, 4)", "(2, 3)"))
    assert renewal.renew(toy) == "its settings have changed: 6 runs made"


def test_the_cheapest_run_counts_where_the_canary_sees_nothing(toy):
    """Only the full settings go through the changed line."""
    toy.write_text(STEADY)
    run_experiment(toy)
    only_full = "x = np", "x = (1 if setting['n'] < 4 else 2) * np"
    results = load_results(toy)
    for run in results["runs"]:
        run["seconds"] = 1 if run["setting"]["n"] == 4 else 2
    (toy.parent / "results/toy.json").write_text(json.dumps(results))
    toy.write_text(STEADY.replace(*only_full))
    assert renewal.try_canary(toy) == []
    assert renewal.renew(toy).endswith(": 9 runs made")


def test_the_commands_name_what_is_stale_and_what_differs(toy):
    toy.write_text(STEADY)
    assert "it was never run; its cost is unknown" in call(toy, "--stale").stdout
    assert call(toy, "--renew").returncode == 0
    stale = call(toy, "--stale")
    assert (stale.returncode, stale.stdout) == (0, "")
    assert call(toy, "--check").stdout.endswith(" as stored\n")
    toy.write_text(STEADY.replace("x = np", "x = 2 * np"))
    stale, checked = call(toy, "--stale"), call(toy, "--check")
    assert stale.returncode == checked.returncode == 1
    assert "toy.py changed; 0.00 core hours if the numbers changed" in stale.stdout
    assert re.search(r"mean is [\d.-]+, stored is [\d.-]+\.$", checked.stdout.strip())


def test_an_installed_library_is_left_alone(tmp_path, monkeypatch):
    study = experiment_file("adding_problem")
    assert stored.results_folder(study) == stored.SHIPPED
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stored, "ROOT", tmp_path)  # no pyproject.toml: no checkout
    assert stored.results_folder(study) == tmp_path / "rnnbook-results"
    assert len(load_results("adding_problem")["runs"]) == 75  # those that came with it
    own = tmp_path / "rnnbook-results/adding_problem.json"
    own.parent.mkdir()
    own.write_text('{"runs": []}')
    assert load_results("adding_problem") == {"runs": []}


def test_a_read_only_checkout_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: path != stored.SHIPPED)
    assert stored.results_folder(experiment_file("counting")) == tmp_path / "rnnbook-results"


# Summaries


def results_of(values, **more):
    return {
        "runs": [
            {"setting": {"cell": cell} | more, "seed": seed, "metrics": {"mse": value}}
            for cell, row in values.items()
            for seed, value in enumerate(row)
        ]
    }


def test_summary_by_t():
    """Values 1, 2, 3, 4, 5: s = sqrt(2.5), and t = 2.7764 with four degrees of freedom."""
    first, second = summarize(results_of({"rnn": [1, 2, 3, 4, 5], "gru": [7, 7]}), "mse", ["cell"])
    half = 2.776445 * math.sqrt(2.5 / 5)
    assert (first["cell"], first["n"], first["mean"]) == ("rnn", 5, 3)
    assert first["low"] == pytest.approx(3 - half)
    assert first["high"] == pytest.approx(3 + half)
    assert first["std"] == pytest.approx(math.sqrt(2.5))
    assert first["values"] == [1, 2, 3, 4, 5]
    assert (second["cell"], second["low"], second["high"]) == ("gru", 7, 7)


@pytest.mark.parametrize(("method", "n"), [("t", 5), ("bootstrap", 60)])
def test_intervals_cover_as_often_as_they_say(method, n):
    rng = np.random.default_rng(0)
    trials = 600
    runs = results_of({str(trial): rng.normal(2.0, 3.0, n).tolist() for trial in range(trials)})
    groups = summarize(runs, "mse", ["cell"], method=method, level=0.8, resamples=400, rng=rng)
    covered = np.mean([group["low"] <= 2.0 <= group["high"] for group in groups])
    assert covered == pytest.approx(0.8, abs=0.05)


def test_wrong_summaries_are_told():
    good = results_of({"rnn": [1.0, 2.0]})
    for arguments, message in [
        ((good, "mae", ["cell"]), "metric must be one of mse, got 'mae'"),
        ((good, "mse", ["T"]), r"by must name settings \(cell\), got 'T'"),
        ((results_of({"rnn": [1.0]}), "mse", ["cell"]), "two seeds at least, got one"),
        ((results_of({"rnn": [1.0, None]}), "mse", ["cell"]), "must be a finite number .* None"),
        ((results_of({"rnn": [1, 2], "gru": [3, 4]}), "mse", []), "every setting that varies"),
    ]:
        with pytest.raises(ValueError, match=message):
            summarize(*arguments)
    with pytest.raises(ValueError, match="method must be one of 't', 'bootstrap', got 'z'"):
        summarize(good, "mse", ["cell"], method="z")


# The experiments of this package


def test_adding_problem_compares_equal_parameters():
    from rnnbook.experiments.studies import adding_problem

    for quick in (True, False):
        for setting in adding_problem.settings(quick):
            size = adding_problem.hidden_size(setting["cell"], setting["parameters"])
            model = adding_problem.build(setting["cell"], size, np.random.default_rng(0))
            count = sum(array.size for array in model.params.values())
            assert count == adding_problem.parameter_count(setting["cell"], size)
            assert count == pytest.approx(setting["parameters"], rel=0.05)


def test_adding_problem_runs_and_repeats():
    from rnnbook.experiments.studies import adding_problem

    setting = adding_problem.settings(True)[1]
    first, again = (adding_problem.run(setting, 0) for _ in range(2))
    assert first["test_mse"] == again["test_mse"]
    assert first["test_mse"] != adding_problem.run(setting, 1)["test_mse"]
    assert len(first["curve"]) == setting["epochs"]
    assert json.dumps(first["parameters"])


def test_adding_problem_quick():
    done = call("adding_problem", "--quick", "--jobs", 2)
    assert done.returncode == 0, done.stderr
    groups = summarize(load_results("adding_problem", quick=True), "test_mse", ["cell", "T"])
    assert len(groups) == 6
    assert all(group["mean"] < 0.5 for group in groups)


def test_copy_memory_starts_the_forget_gates_where_asked_and_repeats():
    from rnnbook.experiments.studies import adding_problem, copy_memory

    settings = copy_memory.settings(True)
    default, opened = (s for s in settings if s["cell"] == "lstm")
    first, again, other = (copy_memory.run(s, 0) for s in (default, default, opened))
    assert first["test_loss"] == again["test_loss"] != other["test_loss"]
    for setting in copy_memory.settings(False):
        size = adding_problem.hidden_size(setting["cell"], setting["parameters"], 10, 9)
        count = adding_problem.parameter_count(setting["cell"], size, 10, 9)
        assert count == pytest.approx(setting["parameters"], rel=0.05)


def test_forget_bias_repeats_and_differs_by_bias():
    pytest.importorskip("torch")
    from rnnbook.experiments.studies import forget_bias

    settings = forget_bias.settings(True)
    default, opened, shut = (forget_bias.run(setting, 0) for setting in settings)
    assert default == forget_bias.run(settings[0], 0)
    assert len({run["test_mse"] for run in (default, opened, shut)}) == 3


def test_units_and_epochs_looks_at_nothing_in_the_test_part():
    pytest.importorskip("statsmodels", reason="statsmodels ships the series")
    from sklearn.model_selection import TimeSeriesSplit

    from rnnbook import tasks
    from rnnbook.estimator import RecurrentRegressor
    from rnnbook.experiments.studies import units_and_epochs
    from rnnbook.forecast import chronological_split

    series = tasks.real_series("elnino").values
    test_start = chronological_split(len(series)).test_start
    X, y = units_and_epochs.before_test()
    np.testing.assert_array_equal(X[0], series[:12])
    assert y[-1] == series[test_start - 1]
    setting = units_and_epochs.settings(True)[0]
    first, again, other = (units_and_epochs.run(setting, seed) for seed in (0, 0, 1))
    assert first == again != other
    assert first["rmse"] == pytest.approx(np.mean(first["folds"]), abs=1e-3)
    last = RecurrentRegressor("GRU", setting["units"], epochs=2, random_state=0)
    (*_, (train, tested)) = TimeSeriesSplit(5).split(X)
    error = last.fit(X[train], y[train]).predict(X[tested]) - y[tested]
    assert first["folds"][-1] == pytest.approx(np.sqrt(np.mean(error**2)), abs=1e-4)
    assert len(first["folds"]) == 5


def test_vowel_order_repeats():
    from rnnbook.experiments.studies import vowel_order

    setting = vowel_order.settings(True)[0]
    assert vowel_order.run(setting, 0) == vowel_order.run(setting, 0)
    assert vowel_order.run(setting, 0) != vowel_order.run(setting, 1)


def test_vowel_order_tells_apart_what_its_three_models_see(monkeypatch):
    from sklearn.linear_model import LogisticRegression

    from rnnbook import tasks
    from rnnbook.experiments.studies import vowel_order

    drawing, _ = np.random.default_rng(0).spawn(2)
    words = tasks.vowel_words(120, drawing)
    frames = np.array([x[:n].mean(axis=0) for x, n in zip(words.x, words.lengths, strict=True)])
    frames = (frames - frames[:60].mean(axis=0)) / frames[:60].std(axis=0)
    by_hand = LogisticRegression(max_iter=1000).fit(frames[:60], words.target[:60])
    found = vowel_order.run(vowel_order.settings(True)[0], 0)
    assert found["averaged"] == by_hand.score(frames[60:], words.target[60:])
    assert len(set(found.values())) == 3

    class Knowing:
        def forward(self, x, lengths):
            assert lengths.tolist() == words.lengths[60:].tolist()
            return np.eye(6)[words.target[60:]]

    monkeypatch.setattr(vowel_order, "recurrent", lambda *_: Knowing())
    assert vowel_order.run(vowel_order.settings(True)[0], 0)["recurrent"] == 1


@pytest.fixture
def study(name):
    """The name of an experiment that can be run here."""
    pytest.importorskip(f"rnnbook.experiments.studies.{name}", reason="it needs a package more")
    return name


@pytest.mark.parametrize("name", experiment_names())
def test_stored_results_are_of_the_present_code(study):
    reason = renewal.why_stale(study)
    assert reason is None, f"{study} is stale: {reason}; run `make results`"


@pytest.mark.parametrize("name", experiment_names())
def test_the_present_code_gives_the_stored_numbers(study):
    try:
        differ = renewal.try_canary(study)
    except MissingExtra as error:
        pytest.skip(str(error))
    assert not differ, f"{study} gives other numbers; run `make results`:\n" + "\n".join(differ)


@pytest.mark.parametrize("name", experiment_names())
def test_stored_results_name_no_machine(name):
    results = load_results(name)
    assert results["quick"] is False
    for environment in results["environments"]:
        assert set(environment["machine"]) == {"cpu", "cores", "system"}
        assert set(environment["versions"]) >= {"python", "numpy"}
    assert not re.search(r"/(home|root|Users|tmp|opt|work)/", json.dumps(results))
