"""Linear attention: its time against the length of a chunk, from the loop to attention."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from benchmarks.clock import compare, milliseconds, seconds_per_call, short, take_turns
from benchmarks.tables import table
from rnnbook.pytorch.chunks import linear_attention, linear_attention_loop

STEPS = 1024
CHUNKS = [1, 4, 16, 32, 64, 128, 256, 512, 1024]
WIDTHS = [(1, 16, 16), (4, 32, 32), (8, 64, 64)]  # batch, keys, values


def chunk_race(width: tuple[int, int, int], *, seconds: float, rounds: int) -> dict:
    """Chunks of every length at one size: the ratio of their time to the loop's, and the errors.

    Timed are the outputs and, from a gradient for each of them, the gradients of all five inputs;
    float32, gates around 0.98. The error is the largest of any output, against the loop in float64,
    in parts of the largest output.

    Raises:
        AssertionError: where a length of chunk gives something else than the loop, for then the
            times mean nothing.
    """
    batch, keys, values = width
    rng = np.random.default_rng(0)
    q, k = (rng.standard_normal((batch, STEPS, keys)) / keys**0.5 for _ in range(2))
    v, do = (rng.standard_normal((batch, STEPS, values)) for _ in range(2))
    log_a = -np.logaddexp(0, -4 - rng.standard_normal((batch, STEPS)))
    state = rng.standard_normal((batch, keys, values))
    arrays = [torch.from_numpy(array) for array in (q, k, v, log_a, state)]
    exact = linear_attention_loop(*arrays)[0]

    sought = [array.float().requires_grad_() for array in arrays]
    given = torch.from_numpy(do).float()
    methods = {"loop": both_ways(linear_attention_loop, sought, given)}
    for chunk in CHUNKS:
        attention = partial(linear_attention, chunk=chunk)
        methods[str(chunk)] = both_ways(attention, sought, given)
    samplers = {name: partial(seconds_per_call, method) for name, method in methods.items()}
    times = take_turns(samplers, seconds=seconds, rounds=rounds)
    largest = exact.abs().max()
    errors = {n: ((m() - exact).abs().max() / largest).item() for n, m in methods.items()}
    for name, error in errors.items():
        assert error < 1e-4, f"chunk {name} gives other outputs: {error}"
    return {
        "steps": STEPS,
        "width": list(width),
        "loop_ms": milliseconds(times["loop"]),
        "ratios": compare(times, "loop"),
        "errors": {name: short(error) for name, error in errors.items()},
    }


def both_ways(attention, sought, do) -> Callable[[], torch.Tensor]:
    """The outputs and all gradients."""

    def run() -> torch.Tensor:
        o, _ = attention(*sought)
        torch.autograd.grad(o, sought, do)
        return o.detach()

    return run


def report(rows: list[dict]) -> str:
    """A table, a row for each size, and sentences about them."""
    lengths = [f"C\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{chunk}" for chunk in CHUNKS]
    head = ["batch × keys × values", "loop, ms", *lengths]
    body = [
        [
            "\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}".join(map(str, row["width"])),
            f"{row['loop_ms']:.3g}",
            *(f"{row['ratios'][str(c)]['median']:.2f}" for c in CHUNKS),
        ]
        for row in rows
    ]
    best = [min(CHUNKS, key=lambda c: row["ratios"][str(c)]["median"]) for row in rows]
    inside = sum(1 < c < STEPS for c in best)
    errors = max(error for row in rows for error in row["errors"].values())
    said = (
        f"The fastest chunks have {', '.join(map(str, best))} of the {STEPS} steps, row by row: "
        f"in {inside} of {len(rows)} rows neither the loop nor attention. "
        f"Largest error of any of them: {errors:.0e}."
    )
    return f"{table(head, body)}\n\n{said}"
