"""Newton over time against the layers that run step by step: where it wins and where it loses."""

from collections.abc import Callable

import numpy as np
import torch

from benchmarks import layers
from benchmarks.clock import compare, milliseconds, short, take_turns
from benchmarks.processes import OwnProcess
from benchmarks.tables import table
from rnnbook import pytorch
from rnnbook.pytorch import newton

INPUTS = 2
GRU_SIZES = [  # batch, steps, hidden
    *((batch, 1024, hidden) for batch, hidden in [(1, 4), (1, 8), (1, 16), (1, 32)]),
    *((batch, 1024, hidden) for batch, hidden in [(4, 4), (4, 8), (4, 16), (16, 4), (16, 8)]),
    *((4, steps, 8) for steps in (64, 256, 4096)),
]
LSTM_SIZES = [(1, 1024, 4), (1, 1024, 8), (1, 1024, 16), (4, 1024, 8), (4, 256, 8)]
RACES = [("GRU", size) for size in GRU_SIZES] + [("LSTM", size) for size in LSTM_SIZES]
NEWTON = "Newton"
OTHERS = {"PyTorch plain": "loop", "PyTorch fused": "fused", "torch.nn": "torch.nn"}

Size = tuple[int, int, int]


def race(kind: str, size: Size, *, seconds: float, rounds: int) -> dict:
    """Forward and backward at one size: the ratios of Newton's time to each of the others'.

    All have the same weights, as torch draws them, and the same random input, and give the
    gradients of both; float32, each in a process of its own. The error is the largest of the
    input's gradient against the loop's, in parts of its largest number.

    Raises:
        AssertionError: where one computes something else, for then the times mean nothing.
        NotConverged: where Newton's method does not.
    """
    samplers: dict[str, OwnProcess] = {}
    try:
        for name in [NEWTON, *OTHERS]:
            samplers[name] = OwnProcess(contestant, kind, size, name)
        answers = {OTHERS.get(name, name): sampler.answer for name, sampler in samplers.items()}
        errors = relative_errors(answers, "loop")
        times = take_turns(samplers, seconds=seconds, rounds=rounds)
    finally:
        for sampler in samplers.values():
            sampler.close()
    against = {
        said: compare({NEWTON: times[NEWTON], name: times[name]}, name)[NEWTON]
        for name, said in OTHERS.items()
    }
    return {
        "kind": kind,
        "size": list(size),
        "rounds": len(times[NEWTON]),
        "ms": milliseconds(times[NEWTON]),
        "ratios": against,
        "iterations": iterations(kind, size),
        "errors": errors,
    }


def relative_errors(answers: dict[str, np.ndarray], reference: str) -> dict[str, float]:
    exact = answers[reference]
    errors = {}
    for name, answer in answers.items():
        errors[name] = short(float(np.abs(answer - exact).max() / np.abs(exact).max()))
        assert errors[name] < 1e-4, f"{name} gives another dx: {errors[name]}"
    return errors


def contestant(kind: str, size: Size, name: str) -> Callable[[], object]:
    """One contestant's forward and backward: same weights and same numbers for all."""
    batch, steps, hidden = size
    if name != NEWTON:
        return layers.contestant(kind, (batch, steps, INPUTS, hidden), name)
    layer, x, doutput = newton_layer(kind, size)
    sought = [x.requires_grad_(), *layer.parameters()]

    def run() -> torch.Tensor:
        output, *_ = newton.over_time(layer, x)
        return torch.autograd.grad(output, sought, doutput)[0]

    return run


def newton_layer(kind: str, size: Size):
    """The layer, the input and the output's gradient, as ``layers.contestant`` draws them."""
    batch, steps, hidden = size
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, steps, INPUTS), dtype=np.float32)
    doutput = rng.standard_normal((batch, steps, hidden), dtype=np.float32)
    torch.manual_seed(0)
    reference = getattr(torch.nn, kind)(INPUTS, hidden)
    layer = getattr(pytorch, kind)(INPUTS, hidden)
    layer.load_state_dict(reference.state_dict())
    return layer, torch.from_numpy(x), torch.from_numpy(doutput)


@torch.no_grad()
def iterations(kind: str, size: Size) -> int:
    layer, x, _ = newton_layer(kind, size)
    return newton.over_time(layer, x)[2].iterations


def report(rows: list[dict]) -> str:
    """A table of Newton's time over that of the others, one row a size, and what it says."""
    body = []
    for row in rows:
        batch, steps, hidden = row["size"]
        ratios = [f"{row['ratios'][said]['median']:.2f}" for said in OTHERS.values()]
        cells = [row["kind"], str(batch), str(steps), str(hidden), *ratios]
        body.append([*cells, str(row["iterations"])])
    head = ["", "batch", "T", "H", *(f"over {said}" for said in OTHERS.values()), "iterations"]
    wins = [
        f"than {said} at {sum(row['ratios'][said]['median'] < 1 for row in rows)}"
        for said in OTHERS.values()
    ]
    error = max(row["errors"][NEWTON] for row in rows)
    return (
        f"{table(head, body)}\n\nOf {len(rows)} sizes Newton over time is faster "
        f"{', '.join(wins)}. Largest error of a gradient against the loop's: {error:.0e}."
    )
