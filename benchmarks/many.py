"""Many at once: seeds by vmap, processes, and what compilers and shorter numbers gain.

On a machine with a GPU the same functions measure there; CUDA graphs are measured only there.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import mse_loss

from benchmarks.clock import (
    compare,
    milliseconds,
    seconds_per_call,
    short,
    take_turns,
    threads,
)
from benchmarks.tables import table
from rnnbook import pytorch
from rnnbook.distributed import Plan, process_group, train
from rnnbook.pytorch import SequenceModel
from rnnbook.pytorch.ensemble import Ensemble

ROOT = Path(__file__).parent.parent
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
Size = tuple[int, int, int, int]  # batch, steps, input, hidden

SEEDS = [1, 4, 16, 64]
OUTPUTS = 3  # with one, products of matrices become such with a vector, which round otherwise
ENSEMBLES: list[Size] = [(8, 20, 2, 16), (32, 20, 2, 64)]
PROCESSES = [1, 2]
PARALLEL = [(32, 32), (512, 128)]  # batch of all processes, hidden
STEPS = 60  # of which the first third is not counted
COMPILED = {"one step": 1, "a loop of 4 steps": 4}
PATIENCE = 90  # seconds for a compiler
SHORTER: list[Size] = [(32, 50, 16, 64), (64, 50, 64, 256)]
KINDS = ["RNN", "LSTM", "GRU"]
LOOPS = {"torch.nn": nn.GRU, "fused": pytorch.FusedGRU, "plain": pytorch.GRU}


# Seeds


def seeds_race(number: int, size: Size, *, seconds: float, rounds: int) -> dict:
    """One training step of S GRUs: by vmap, and one after another with each kind of layer.

    Raises:
        AssertionError: where vmap gives other losses or gradients, beyond rounding.
    """
    x, target = _data(size)
    plain = [_model(pytorch.GRU, size, seed) for seed in range(number)]
    contestants: dict[str, Callable[[], object]] = {
        name: _one_after_another([_model(kind, size, seed) for seed in range(number)], x, target)
        for name, kind in LOOPS.items()
    }
    contestants["vmap"] = _side_by_side(plain, x, target)
    same_bits, error = _difference(plain, x, target)
    assert error < 1e-4, error
    samplers = {name: partial(seconds_per_call, run) for name, run in contestants.items()}
    times = take_turns(samplers, seconds=seconds, rounds=rounds)
    return {
        "seeds": number,
        "size": list(size),
        "device": DEVICE,
        "plain_ms": milliseconds(times["plain"]),
        "ratios": compare(times, "plain"),
        "error": short(error),
        "same_bits": same_bits,
    }


def _data(size: Size) -> tuple[torch.Tensor, torch.Tensor]:
    batch, steps, inputs, _ = size
    g = torch.Generator().manual_seed(0)
    x = torch.randn(batch, steps, inputs, generator=g)
    return x.to(DEVICE), torch.randn(batch, OUTPUTS, generator=g).to(DEVICE)


def _model(kind, size: Size, seed: int) -> SequenceModel:
    _, _, inputs, hidden = size
    layer = kind(inputs, hidden, batch_first=True)
    model = SequenceModel(layer, nn.Linear(hidden, OUTPUTS))
    g = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        nn.init.uniform_(parameter, -(hidden**-0.5), hidden**-0.5, generator=g)
    return model.to(DEVICE)


def _one_after_another(models, x, target) -> Callable[[], None]:
    optimizers = [torch.optim.Adam(model.parameters(), lr=1e-3) for model in models]

    def run() -> None:
        for model, optimizer in zip(models, optimizers, strict=True):
            optimizer.zero_grad()
            mse_loss(model(x), target).backward()
            optimizer.step()
        _wait()

    return run


def _side_by_side(models, x, target) -> Callable[[], None]:
    ensemble = Ensemble(models)
    optimizer = torch.optim.Adam(ensemble.parameters(), lr=1e-3)

    def run() -> None:
        ensemble.gradients(mse_loss, x, target)
        optimizer.step()
        _wait()

    return run


def _difference(models, x, target) -> tuple[bool, float]:
    """Whether an ensemble's gradients are those of its models to the bit, and the largest error."""
    ensemble = Ensemble(models)
    ensemble.gradients(mse_loss, x, target)
    same, error = True, 0.0
    for s, model in enumerate(models):
        parameters = dict(model.named_parameters())
        own = torch.autograd.grad(mse_loss(model(x), target), list(parameters.values()))
        for name, gradient in zip(parameters, own, strict=True):
            theirs = ensemble.params[name].grad[s]
            same &= torch.equal(theirs, gradient)
            error = max(error, float((theirs - gradient).detach().abs().max()))
    return same, error


def _wait() -> None:
    if DEVICE == "cuda":
        torch.cuda.synchronize()


# Processes


def parallel(size: tuple[int, int], *, quick: bool = False) -> dict:
    """Milliseconds of a step of ``rnnbook.distributed`` with one and with two processes."""
    batch, hidden = size
    steps = 6 if quick else STEPS
    ms: dict[str, float | None] = {}
    for number in PROCESSES:
        if DEVICE == "cuda" and number > torch.cuda.device_count():
            ms[str(number)] = None  # nccl wants a GPU for each process
            continue
        command = [
            "-m",
            "torch.distributed.run",
            "--standalone",
            f"--nproc-per-node={number}",
            "-m",
            "benchmarks.many",
            "parallel",
        ]
        ms[str(number)] = _in_a_process([*command, str(batch), str(hidden), str(steps)], 120)["ms"]
    return {"batch": batch, "hidden": hidden, "device": DEVICE, "ms": ms}


def _parallel(batch: int, hidden: int, steps: int) -> dict:
    ends: list[float] = []
    with process_group():
        plan = Plan(batch=batch, hidden=hidden, world=int(os.environ["WORLD_SIZE"]))
        train(plan, steps, tell=lambda step, loss: ends.append(time.perf_counter()))
    return {"ms": milliseconds(np.diff(ends)[steps // 3 :])}


# Compilers


def compiled_size(steps: int) -> Size:
    return 32, steps, 16, 64


def compiled(name: str) -> dict:
    """``torch.compile`` of a GRU over a few steps, forward and backward, with an empty cache.

    The row has the seconds until the first result, and the ratio of the time to that without; or
    says why it has not.
    """
    row: dict[str, object] = {"what": f"torch.compile, {name}", "device": DEVICE}
    row["size"] = list(compiled_size(COMPILED[name]))
    with tempfile.TemporaryDirectory() as cache:
        environment = {"TORCHINDUCTOR_CACHE_DIR": cache}
        try:
            return row | _in_a_process(
                ["-m", "benchmarks.many", "compiled", str(COMPILED[name])], PATIENCE, environment
            )
        except subprocess.TimeoutExpired:
            return row | {"not_measured": f"no end within {PATIENCE} s"}
        except subprocess.CalledProcessError as error:
            return row | {"not_measured": error.stderr.strip().splitlines()[-1]}


def _compiled(steps: int) -> dict:
    with threads(1):
        _, _, inputs, hidden = size = compiled_size(steps)
        x, _ = _data(size)
        layer = pytorch.GRU(inputs, hidden, device=DEVICE)
        began = time.perf_counter()
        fast = torch.compile(layer)
        contestants = {"eager": _both_ways(layer, x), "compiled": _both_ways(fast, x)}
        contestants["compiled"]()
        seconds = time.perf_counter() - began
        samplers = {name: partial(seconds_per_call, run) for name, run in contestants.items()}
        times = take_turns(samplers, seconds=3, rounds=5)
    ratio = compare(times, "eager")["compiled"]
    return {"seconds": short(seconds), "eager_ms": milliseconds(times["eager"]), "ratio": ratio}


def _both_ways(layer, x) -> Callable[[], None]:
    parameters = list(layer.parameters())

    def run() -> None:
        torch.autograd.grad(layer(x)[0].sum(), parameters)
        _wait()

    return run


def graphs(size: Size, *, seconds: float, rounds: int) -> dict:
    """A CUDA graph of a GRU's loop, forward and backward: one launch in the place of hundreds."""
    row = {"what": "CUDA graph", "device": DEVICE, "size": list(size)}
    if DEVICE == "cpu":
        return row | {"not_measured": "no GPU"}
    x, _ = _data(size)
    layer = pytorch.GRU(size[2], size[3], device=DEVICE)
    eager = _both_ways(layer, x)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    parameters = list(layer.parameters())
    with torch.cuda.stream(side):
        for _ in range(3):
            torch.autograd.grad(layer(x)[0].sum(), parameters)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        torch.autograd.grad(layer(x)[0].sum(), parameters)

    def replay() -> None:
        graph.replay()
        _wait()

    runs = {"eager": eager, "graph": replay}
    samplers = {name: partial(seconds_per_call, run) for name, run in runs.items()}
    times = take_turns(samplers, seconds=seconds, rounds=rounds)
    return row | {
        "eager_ms": milliseconds(times["eager"]),
        "ratio": compare(times, "eager")["graph"],
    }


# Shorter numbers


def bfloat16(kind: str, size: Size, *, seconds: float, rounds: int) -> dict:
    """Forward and backward of torch.nn's layer under autocast, and the error of its states."""
    batch, steps, inputs, hidden = size
    g = torch.Generator().manual_seed(0)
    x = torch.randn(batch, steps, inputs, generator=g).to(DEVICE)
    layer = getattr(nn, kind)(inputs, hidden, batch_first=True)
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, -(hidden**-0.5), hidden**-0.5, generator=g)
    layer = layer.to(DEVICE)
    plain = _both_ways(layer, x)

    def shorter() -> None:
        with torch.autocast(DEVICE, dtype=torch.bfloat16):
            plain()

    samplers = {
        name: partial(seconds_per_call, run)
        for name, run in {"float32": plain, "bfloat16": shorter}.items()
    }
    times = take_turns(samplers, seconds=seconds, rounds=rounds)
    with torch.no_grad():
        exact, _ = layer(x)
        with torch.autocast(DEVICE, dtype=torch.bfloat16):
            rough, _ = layer(x)
    return {
        "what": f"bfloat16, {kind}",
        "device": DEVICE,
        "size": list(size),
        "eager_ms": milliseconds(times["float32"]),
        "ratio": compare(times, "float32")["bfloat16"],
        "error": short(float((rough.float() - exact).abs().max())),
    }


# Tables


def seeds_table(rows: list[dict]) -> str:
    """Rows are sizes and numbers of seeds; columns who trains them."""
    head = ["batch, T, input, hidden", "seeds", "plain loop, ms"]
    head += ["vmap", "loop of fused", "loop of torch.nn", "same bits"]
    body = [
        [", ".join(map(str, row["size"])), str(row["seeds"]), f"{row['plain_ms']:.3g}"]
        + [f"{row['ratios'][name]['median']:.2f}" for name in ("vmap", "fused", "torch.nn")]
        + ["yes" if row["same_bits"] else "no"]
        for row in rows
    ]
    won = [row for row in rows if row["ratios"]["vmap"]["high"] < 1]
    best = min(row["ratios"]["vmap"]["median"] for row in rows)
    nearest = [
        row
        for row in rows
        if row["ratios"]["vmap"]["median"]
        < min(row["ratios"][name]["median"] for name in ("fused", "torch.nn"))
    ]
    error = max(row["error"] for row in rows)
    return (
        f"{table(head, body)}\n\nOne training step of all seeds, in parts of the time of a loop "
        f"over plain GRUs. vmap is faster than that at {len(won)} of {len(rows)} sizes, at best "
        f"{best:.2f} of its time; and faster than any loop at {len(nearest)}. The largest "
        f"difference of a gradient: {error:.0e}."
    )


def parallel_table(rows: list[dict]) -> str:
    """Rows are sizes, columns numbers of processes."""
    head = ["batch", "hidden", *(f"{n} process{'es' * (n > 1)}, ms" for n in PROCESSES), "ratio"]
    body = []
    for row in rows:
        one, two = (row["ms"][str(n)] for n in PROCESSES)
        cells = [_or_none(one, "{:.3g}"), _or_none(two, "{:.3g}")]
        ratio = "–" if one is None or two is None else f"{two / one:.2f}"
        body.append([str(row["batch"]), str(row["hidden"]), *cells, ratio])
    return f"{table(head, body)}\n\nOne step of `rnnbook.distributed`, one thread a process."


def compilers_table(rows: list[dict]) -> str:
    """Rows are ways to have the same layer faster: those of "shorter" and of the compilers."""
    head = ["", "on", "batch, T, input, hidden", "as it is, ms", "ratio", "once, s", "error"]
    body, missing = [], []
    for row in rows:
        size = ", ".join(map(str, row["size"])) if "size" in row else "–"
        if "not_measured" in row:
            missing.append(f"{row['what']} ({row['not_measured']})")
        cells = [_or_none(row.get("eager_ms"), "{:.3g}")]
        cells += [_or_none(row.get("ratio", {}).get("median"), "{:.2f}")]
        cells += [_or_none(row.get("seconds"), "{:.0f}"), _or_none(row.get("error"), "{:.0e}")]
        body.append([row["what"], row["device"], size, *cells])
    said = f"Not measured: {'; '.join(missing)}." if missing else "All were measured."
    return f"{table(head, body)}\n\n{said}"


def _or_none(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)


def _in_a_process(command: list[str], patience: float, environment: dict | None = None) -> dict:
    """The row that a process prints as its last line."""
    own = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)} | (environment or {})
    done = subprocess.run(
        [sys.executable, *command],
        env=os.environ | own,
        capture_output=True,
        text=True,
        timeout=patience,
        check=True,
    )
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    """What :func:`_in_a_process` runs."""
    if sys.argv[1] == "parallel":
        row = _parallel(*map(int, sys.argv[2:]))
        if os.environ.get("RANK", "0") == "0":
            print(json.dumps(row), flush=True)
    else:
        print(json.dumps(_compiled(int(sys.argv[2]))))


if __name__ == "__main__":
    main()
