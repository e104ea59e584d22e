"""RNN, LSTM and GRU: who races, and forward and backward against each other and the machine.

``plain`` is the layer that the chapters show, in NumPy (``rnnbook.scratch.LSTM``) or in PyTorch
(``rnnbook.pytorch.LSTM``), ``fused`` the one beside it that is written for speed (``FusedLSTM``).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch

from benchmarks.clock import compare, milliseconds, seconds_per_call, short, take_turns
from benchmarks.ladder import FUSED, PLAIN, RUNGS
from benchmarks.processes import OwnProcess
from rnnbook import pytorch

KINDS = {"RNN": 1, "LSTM": 4, "GRU": 3}  # blocks in a weight matrix
SIZES = [  # batch, steps, input, hidden
    (10, 10, 1, 50),
    (32, 50, 16, 64),
    (32, 100, 32, 128),
    (64, 200, 64, 256),
    (16, 1000, 8, 64),
]
# What is varied, and the sizes.
COSTS = {
    "steps": [(32, steps, 16, 64) for steps in (25, 50, 100, 200, 400, 800)],
    "hidden": [(32, 50, 16, hidden) for hidden in (16, 32, 64, 128, 256, 512)],
    "batch": [(batch, 8, 8, 32) for batch in (8, 32, 128, 512)],
}
PRODUCT = 1024  # rows and columns of the product that stands for the machine's peak
COPIED = 2**26  # bytes of the array whose copy stands for its memory: more than caches hold
SMALLEST = (1, 200, 1, 1)  # of a step with next to no arithmetic, what takes time is its calls

Size = tuple[int, int, int, int]


class Unavailable(Exception):
    """A contestant cannot take part; the message says why."""


def _autograd(layer, x, doutput):
    x, doutput = torch.from_numpy(x).requires_grad_(), torch.from_numpy(doutput)
    sought = [x, *layer.parameters()]

    def run() -> torch.Tensor:
        output, _ = layer(x)
        return torch.autograd.grad(output, sought, doutput)[0]

    return run


def _numpy(layers, reference, x, doutput):
    layer = layers[type(reference).__name__](x.shape[2], doutput.shape[2], dtype=np.float32)
    layer.load_params({name: p.detach().numpy() for name, p in reference.named_parameters()})

    def run() -> np.ndarray:
        layer.forward(x)
        return layer.backward(doutput)[0]

    return run


def _pytorch(prefix, reference, x, doutput):
    name = prefix + type(reference).__name__
    layer = getattr(pytorch, name)(x.shape[2], doutput.shape[2])
    layer.load_state_dict(reference.state_dict())
    return _autograd(layer, x, doutput)


def _labml(reference, x, doutput):
    try:
        from labml_nn.lstm import LSTM
    except ImportError as error:
        raise Unavailable(f"labml-nn cannot be imported ({type(error).__name__})") from error
    layer = LSTM(x.shape[2], doutput.shape[2], 1)
    cell, (w_ih, w_hh, b_ih, b_hh) = layer.cells[0], reference.parameters()
    cell.load_state_dict(
        {
            "input_lin.weight": w_ih.detach(),
            "hidden_lin.weight": w_hh.detach(),
            "hidden_lin.bias": (b_ih + b_hh).detach(),
        }
    )
    time_first = (np.ascontiguousarray(array.swapaxes(0, 1)) for array in (x, doutput))
    run = _autograd(layer, *time_first)
    return lambda: run().swapaxes(0, 1)


CONTESTANTS = {
    "torch.nn": _autograd,
    "NumPy fused": partial(_numpy, FUSED),
    "NumPy plain": partial(_numpy, PLAIN),
    "PyTorch fused": partial(_pytorch, "Fused"),
    "PyTorch plain": partial(_pytorch, ""),
    "labml": _labml,
} | {rung: partial(_numpy, layers) for rung, layers in RUNGS.items()}
OURS = ["NumPy fused", "NumPy plain", "PyTorch fused", "PyTorch plain"]
# For each kind who races: first the one whose time is the measure of the others'.
RACES = {kind: ["torch.nn", *OURS] for kind in KINDS}
RACES["LSTM"].append("labml")


def race(kind: str, size: Size, names: list[str], *, seconds: float, rounds: int) -> dict:
    """One kind at one size: the ratios to the first of ``names``, and who is missing, and why."""
    reference = names[0]
    with contestants(kind, size, names) as (samplers, unavailable):
        times = take_turns(samplers, seconds=seconds, rounds=rounds)
    return {
        "kind": kind,
        "size": list(size),
        "threads": torch.get_num_threads(),
        "rounds": len(times[reference]),
        "ms": milliseconds(times[reference]),
        "ratios": compare(times, reference),
        "unavailable": unavailable,
    }


def cost(kind: str, varied: str, size: Size, *, seconds: float, rounds: int) -> dict:
    """What one kind costs at one size, and its share of the machine's peak: the rate of its
    multiplications and additions over that of a large product beside it.
    """
    with contestants(kind, size, ["torch.nn", "NumPy fused"]) as (samplers, _):
        with_product = samplers | {"product": partial(seconds_per_call, product())}
        times = take_turns(with_product, seconds=seconds, rounds=rounds)
    work = operations(kind, size) / (2 * PRODUCT**3)
    return {
        "kind": kind,
        "varied": varied,
        "size": list(size),
        "ms": {name: milliseconds(times[name]) for name in samplers},
        "share": {
            name: short(work * np.median(times["product"] / times[name])) for name in samplers
        },
    }


def operations(kind: str, size: Size) -> int:
    """Multiplications and additions in products, forward and backward: ``6 T B G H (D + H)``.

    Forward, the gradients of the inputs and those of the weights take one product each of the
    weights ``(G H, D + H)`` with a column of every sequence and step.
    """
    batch, steps, inputs, hidden = size
    return 6 * steps * batch * KINDS[kind] * hidden * (inputs + hidden)


def calls(kind: str, *, seconds: float, rounds: int) -> dict:
    """Microseconds a step, forward and backward, of one sequence of one number, with one unit."""
    with contestants(kind, SMALLEST, ["torch.nn", *OURS]) as (samplers, _):
        times = take_turns(samplers, seconds=seconds, rounds=rounds)
    steps = SMALLEST[1]
    us = {name: short(1e6 * np.median(values) / steps) for name, values in times.items()}
    return {"kind": kind, "size": list(SMALLEST), "us": us}


def peak(*, seconds: float, rounds: int) -> dict:
    """The rate of a large float32 product of NumPy's, in GFLOP/s; that of a copy of a large array
    in memory, bytes read and bytes written, in GB/s.
    """
    samplers = {
        "product": partial(seconds_per_call, product()),
        "copy": partial(seconds_per_call, copy()),
    }
    times = take_turns(samplers, seconds=seconds, rounds=rounds)
    rate = 2 * PRODUCT**3 / np.median(times["product"])
    memory = 2 * COPIED / np.median(times["copy"])
    return {
        "threads": torch.get_num_threads(),
        "gflops": short(rate / 1e9),
        "gbytes": short(memory / 1e9),
    }


def time_of_parts(results: dict, size: tuple, form: str) -> dict[str, float]:
    """Milliseconds of the NumPy LSTM, ``form`` "plain" or "fused", at one size, one thread.

    products: at the rate of a large product; calls: what as many steps take where there is next to
    nothing to compute; rest: what is left; all: what was measured.
    """
    (race,) = (
        row for row in results["ladder"] if (row["kind"], tuple(row["size"])) == ("LSTM", size)
    )
    share = race["ratios"]["kept arrays"]["median"] if form == "fused" else 1
    whole = share * race["ms"]
    products = operations("LSTM", size) / rate(results) / 1e6
    calls = size[1] * microseconds(results, f"NumPy {form}") / 1e3
    rest = max(0, whole - products - calls)
    return {"products": products, "calls": calls, "rest": rest, "all": whole}


def rate(results: dict, of: str = "gflops") -> float:
    """GFLOP/s of a large product on one thread, or "gbytes" of a large copy."""
    return next(row[of] for row in results["peak"] if row["threads"] == 1)


def microseconds(results: dict, name: str) -> float:
    """Of a step of the LSTM with next to no arithmetic, forward and backward."""
    return next(row["us"][name] for row in results["calls"] if row["kind"] == "LSTM")


def product() -> Callable[[], object]:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, PRODUCT, PRODUCT), dtype=np.float32)
    out = np.empty_like(a)
    return lambda: np.dot(a, b, out=out)


def copy() -> Callable[[], object]:
    a = np.zeros(COPIED, np.uint8)
    out = np.ones_like(a)
    return lambda: np.copyto(out, a)


@contextmanager
def contestants(kind: str, size: Size, names: list[str]) -> Iterator[tuple[dict, dict[str, str]]]:
    """Samplers of forward and backward by name, and of those who cannot take part, why.

    Raises:
        AssertionError: where their gradients differ, for then the times mean nothing.
    """
    samplers, unavailable = {}, {}
    try:
        for name in names:
            try:
                samplers[name] = OwnProcess(contestant, kind, size, name)
            except Unavailable as reason:
                unavailable[name] = str(reason)
        check_same({name: sampler.answer for name, sampler in samplers.items()})
        yield samplers, unavailable
    finally:
        for sampler in samplers.values():
            sampler.close()


def contestant(kind: str, size: Size, name: str) -> Callable[[], object]:
    """One contestant's forward and backward: same weights and same numbers for all.

    Raises:
        Unavailable: what it needs is not installed.
    """
    batch, steps, inputs, hidden = size
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, steps, inputs), dtype=np.float32)
    doutput = rng.standard_normal((batch, steps, hidden), dtype=np.float32)
    torch.manual_seed(0)
    reference = getattr(torch.nn, kind)(inputs, hidden, batch_first=True)
    return CONTESTANTS[name](reference, x, doutput)


def check_same(answers: dict[str, np.ndarray]) -> None:
    expected = next(iter(answers.values()))
    for name, answer in answers.items():
        difference = np.abs(answer - expected).max()
        assert difference < 1e-3 * np.abs(expected).max(), f"{name} gives another dx: {difference}"
