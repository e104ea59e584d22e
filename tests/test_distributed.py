"""rnnbook.distributed: several processes are one process, and one that dies ends all."""

import json
import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("psutil", reason="psutil ends a process")
pytest.importorskip("torch", reason="the processes train torch modules")

import psutil
import torch

from rnnbook import distributed
from rnnbook.checkpoint import load_tree, save_tree
from rnnbook.distributed import Plan, average, main, mean_loss, train

ROOT = Path(__file__).parents[1]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
OWN = ["-m", "rnnbook.distributed", "--processes", "2"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
STEPS = 15
SETTINGS = [
    {"task": "adding", "batch": 9},
    {"task": "reber"},
    {"task": "reber", "shares": "sorted"},
    {"task": "reber", "batch": 2, "shares": "sorted"},
]
NAIVE = [{"task": "reber", "weighting": "naive", "shares": s} for s in ("strided", "sorted")]
# What each of two processes does: several runs, with a file of its own each.
WORKER = """
import json, sys
import torch, torch.distributed as dist
from rnnbook.distributed import Plan, process_group, train
runs, place = json.loads(sys.argv[1]), sys.argv[2]
with process_group():
    losses = []
    for number, (settings, steps) in enumerate(runs):
        file = f"{place}/{number}-{dist.get_rank()}.npz"
        losses.append(train(Plan(world=2, **settings), steps, checkpoint=file))
    if dist.get_rank() == 0:
        json.dump(losses, open(f"{place}/losses.json", "w"))
"""


def plan(**settings):
    return Plan(hidden=8, dtype="float64", **settings)


def start(*command, **options):
    return subprocess.Popen(
        [sys.executable, *map(str, command)],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def finish(process, seconds=100):
    try:
        out, error = process.communicate(timeout=seconds)
    finally:
        process.kill()
    return process.returncode, out, error


def workers(process):
    """Process ids of what torchrun has started, by rank; where the system shows them."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            environment = (folder / "environ").read_text().split("\0")
        except OSError:  # gone, or another user's
            continue
        for entry in environment if parent == process.pid else []:
            if entry.startswith("RANK="):
                found[int(entry[5:])] = int(folder.name)
    return found


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A run of two processes of which one is killed: its end, and its checkpoint."""
    if not Path("/proc").is_dir():
        pytest.skip("needs /proc to find the processes")
    file = tmp_path_factory.mktemp("killed") / "run.npz"
    options = ["--task", "reber", "--hidden", 8, "--dtype", "float64", "--every", 5]
    process = start(*OWN, *options, "--steps", 10**6, "--checkpoint", file)
    while not file.exists() and process.poll() is None:
        time.sleep(0.05)
    psutil.Process(workers(process)[1]).kill()
    began = time.perf_counter()
    return file, options, finish(process), time.perf_counter() - began


@pytest.fixture(scope="module")
def together(killed, tmp_path_factory):
    """Losses of two processes for each of the settings, and of the killed run, unbroken."""
    place = tmp_path_factory.mktemp("together")
    longer = len(load_tree(killed[0])["losses"]) + 10
    runs = [({"hidden": 8, "dtype": "float64"} | s, STEPS) for s in [*SETTINGS, *NAIVE]]
    runs.append(({"hidden": 8, "dtype": "float64", "task": "reber"}, longer))
    (place / "worker.py").write_text(WORKER)
    code, _, error = finish(start(*TORCHRUN, place / "worker.py", json.dumps(runs), place))
    assert code == 0, error
    return place, json.loads((place / "losses.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(SETTINGS)))
def test_two_processes_give_the_losses_of_one(together, number):
    one = train(plan(**SETTINGS[number]), STEPS)
    np.testing.assert_allclose(together[1][number], one, rtol=0, atol=1e-12)
    assert len(set(one)) == STEPS


@pytest.mark.slow
def test_means_of_means_give_others(together):
    one = np.array(train(plan(task="reber"), STEPS))
    strided, sorted_ = (np.array(losses) - one for losses in together[1][len(SETTINGS) : -1])
    assert abs(strided[0]) < 1e-12  # the first loss is from before the first step
    assert 1e-6 < np.abs(strided).max() < np.abs(sorted_).max()


@pytest.mark.slow
def test_the_first_process_alone_writes(together):
    place, losses = together
    for number in range(len(losses)):
        assert (place / f"{number}-0.npz").exists()
        assert not (place / f"{number}-1.npz").exists()  # the first process writes


@pytest.mark.slow
def test_one_that_is_killed_ends_all_with_one_sentence(killed):
    file, _, (code, _, error), seconds = killed
    assert code == 1
    assert error == (
        f"A process of this run has ended, so all have stopped; --resume continues from {file}.\n"
    )
    assert seconds < 40


@pytest.mark.slow
def test_what_was_killed_goes_on_as_if_it_had_not_been(killed, together):
    """By torchrun, whatever the run was begun by."""
    file, options, *_ = killed
    unbroken = together[1][-1]
    output = file.with_name("losses.json")
    command = ["-m", "rnnbook.distributed", *options, "--steps", len(unbroken), "--output", output]
    code, out, error = finish(start(*TORCHRUN, *command, "--checkpoint", file, "--resume"))
    assert code == 0, error
    assert json.loads(output.read_text())["losses"] == unbroken
    assert f"step {len(unbroken):5}  loss {unbroken[-1]:.4f}" in out


@pytest.mark.parametrize("shares", ["strided", "sorted"])
@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_every_sequence_is_somebodys(shares, world):
    p = plan(task="reber", batch=7, shares=shares, world=world)
    batch = p.draw(np.random.default_rng(0))
    parts = [p.share(batch, rank) for rank in range(world)]
    assert sorted(n for part in parts for n in part.lengths) == sorted(batch.lengths)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    if shares == "sorted":
        for shorter, longer in pairwise(parts):
            assert shorter.lengths.max() <= longer.lengths.min()


@pytest.mark.parametrize("shares", ["strided", "sorted"])
def test_sums_over_counts_are_the_whole_batchs_gradient(shares):
    """In one process, what all_reduce adds up; and the mean of means is something else."""
    p = plan(task="reber", shares=shares, world=3)
    model, batch = p.model(), p.draw(np.random.default_rng(0))

    def gradient(part):
        loss, targets = mean_loss(model, part)
        parts = torch.autograd.grad(loss, list(model.parameters()))
        return torch.cat([part.flatten() for part in parts]), targets

    whole, count = gradient(batch)
    shares = [gradient(p.share(batch, rank)) for rank in range(3)]
    assert sum(n for _, n in shares) == count == batch.lengths.sum()
    weighted = sum(n * g for g, n in shares) / count
    torch.testing.assert_close(weighted, whole, rtol=0, atol=1e-14)
    naive = sum(g for g, _ in shares) / 3
    assert (naive - whole).norm() > 1e-3 * whole.norm()


def test_alone_an_average_is_the_numbers_themselves():
    numbers = [torch.ones(2, 3), torch.tensor(5.0)]
    for before, after in zip(numbers, average(numbers, 7), strict=True):
        assert torch.equal(before, after)


@pytest.mark.parametrize("task", ["adding", "reber"])
def test_alone_a_resumed_run_is_the_unbroken_one(task, tmp_path):
    file, p = tmp_path / "run.npz", plan(task=task)
    told = []
    unbroken = train(p, 9, tell=lambda step, loss: told.append((step, loss)))
    assert told == list(enumerate(unbroken))
    assert train(p, 5, checkpoint=file, every=2) == unbroken[:5]
    assert len(load_tree(file)["losses"]) == 5  # the last step's too
    assert train(p, 9, checkpoint=file, resume=True) == unbroken
    assert train(p, 9, checkpoint=file, resume=True) == unbroken  # nothing left to do
    assert train(p, 9, checkpoint=file) == unbroken  # anew
    longer = train(p, 11, checkpoint=tmp_path / "none.npz", resume=True)
    assert longer[:9] == unbroken


OTHERS = {
    "batch": ({"batch": 16}, "batch 32 where this has 16"),
    "task": ({"task": "reber"}, "task adding where this has reber"),
    "world": ({"world": 2}, "world 1 where this has 2"),
    "lr": ({"lr": 0.5}, r"lr 0\.01 where this has 0\.5"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_another_run_is_not_continued(case, tmp_path):
    file = tmp_path / "run.npz"
    train(plan(), 2, checkpoint=file)
    before, (changes, message) = file.read_bytes(), OTHERS[case]
    with pytest.raises(ValueError, match=f"checkpoint must be of the same run.*{message}"):
        train(plan(**changes), 4, checkpoint=file, resume=True)
    assert file.read_bytes() == before


def test_wrong_files_are_named(tmp_path):
    file = tmp_path / "run.npz"
    train(plan(), 3, checkpoint=file)
    with pytest.raises(ValueError, match="steps must be at least 3, the checkpoint's, got 2"):
        train(plan(), 2, checkpoint=file, resume=True)
    save_tree(tmp_path / "other.npz", {"a": 1})
    with pytest.raises(ValueError, match=r"must be of rnnbook.distributed, got another file"):
        train(plan(), 2, checkpoint=tmp_path / "other.npz")
    with pytest.raises(ValueError, match="checkpoint must be a file to write, got"):
        train(plan(), 2, checkpoint=tmp_path / "other.npz" / "run.npz")
    with pytest.raises(ValueError, match="must name a file where resume is True, got None"):
        train(plan(), 2, resume=True)
    with pytest.raises(ValueError, match="every must be a whole number of at least 1, got 0"):
        train(plan(), 2, every=0)


WRONG = {
    "task": ({"task": "x"}, "task must be one of 'adding', 'reber', got 'x'"),
    "weighting": ({"weighting": "x"}, "weighting must be one of"),
    "shares": ({"shares": "x"}, "shares must be one of"),
    "dtype": ({"dtype": "x"}, "dtype must be one of"),
    "hidden": ({"hidden": 0}, "hidden must be a whole number of at least 1, got 0"),
    "batch": ({"batch": 2, "world": 3}, "a sequence for each of 3 processes, got 2"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_plans_are_named(case):
    settings, message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        Plan(**settings)


def test_the_command_alone(tmp_path, capsys):
    output = tmp_path / "losses.json"
    assert main(["--steps", "4", "--hidden", "8", "--batch", "3", "--output", str(output)]) == 0
    written = json.loads(output.read_text())
    assert written["losses"] == train(Plan(hidden=8, batch=3), 4)
    assert written["plan"]["world"] == 1
    assert capsys.readouterr().out.count("loss") == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--task", "x"], "Argument --task: invalid choice: 'x'"),
        (["--stepss", "3"], "Unrecognized arguments: --stepss 3."),
        (["--steps", "0"], "steps must be a whole number of at least 1, got 0."),
        (["--processes", "0"], "processes must be a whole number of at least 1, got 0."),
        (["--processes", "40"], "batch must hold a sequence for each of 40 processes, got 32."),
        (["--processes", "2", "--every", "0"], "every must be a whole number of at least 1"),
        (["--resume"], "checkpoint must name a file where resume is True, got None."),
    ],
)
def test_wrong_options_are_one_sentence(options, message, capsys):
    assert main(options) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(message)
    assert said.err.count("\n") == 1


def test_the_farewell_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    def lost(*args, **options):
        raise distributed.Stopped

    monkeypatch.setattr(distributed, "train", lost)
    monkeypatch.setattr(distributed.signal, "signal", lambda *_: None)
    assert main(["--checkpoint", str(tmp_path / "run.npz")]) == 1
    assert "--checkpoint FILE keeps a run" in capsys.readouterr().err


def test_only_the_first_process_tells_of_wrong_options(monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    assert main(["--steps", "0"]) == 2
    assert capsys.readouterr().err == ""


def test_one_of_the_survivors_tells(monkeypatch):
    store = distributed.TCPStore("localhost", 0, is_master=True)
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    monkeypatch.setenv("MASTER_PORT", str(store.port))
    assert [distributed._nobody_told() for _ in range(3)] == [True, False, False]


def test_where_nobody_keeps_the_count_all_tell(monkeypatch):
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    assert distributed._nobody_told()
    assert distributed._nobody_told()
