"""Minimal recurrences: the loop over time against scans, in time and in error."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from benchmarks.clock import compare, milliseconds, seconds_per_call, short, take_turns
from rnnbook.pytorch import scan
from rnnbook.scratch.minimal import recurrence_backward, recurrence_loop, recurrence_scan

STEPS = [64, 128, 256, 512, 1024, 2048, 4096]
WIDTHS = [(1, 16), (4, 32), (16, 128)]  # batch, hidden


def scan_race(
    library: str, steps: int, width: tuple[int, int], *, seconds: float, rounds: int
) -> dict:
    """The scans of one library at one size: the ratio of their time to the loop's, and the errors.

    The coefficients are a MinGRU's, ``a = 1 - z`` and ``b = z * n``, with the positive candidates
    ``n`` that a scan over logarithms needs (Feng et al., 2024, appendix B). Timed are all states
    and, from a gradient for each of them, the gradients of ``a``, ``b`` and ``h_0``; float32. The
    error is the largest of any state, against the loop in float64, in parts of the largest state.

    Raises:
        AssertionError: where a method computes something else, for then the times mean nothing.
    """
    batch, hidden = width
    rng = np.random.default_rng(0)
    p, q, dh = rng.standard_normal((3, batch, steps, hidden))
    z = 1 / (1 + np.exp(-p))
    n = np.where(q >= 0, q + 0.5, 1 / (1 + np.exp(-q)))
    a, b, h0 = 1 - z, z * n, np.full((batch, hidden), 0.5)
    exact = recurrence_loop(a, b, h0)

    methods = LIBRARIES[library](*(array.astype(np.float32) for array in (a, b, h0, dh)))
    samplers = {name: partial(seconds_per_call, method) for name, method in methods.items()}
    times = take_turns(samplers, seconds=seconds, rounds=rounds)
    errors = {name: np.abs(np.asarray(method()) - exact).max() for name, method in methods.items()}
    for name, error in errors.items():
        assert error < 0.05 * np.abs(exact).max(), f"{name} gives other states: {error}"
    return {
        "library": library,
        "steps": steps,
        "width": list(width),
        "loop_ms": milliseconds(times["loop"]),
        "ratios": compare(times, "loop"),
        "errors": {name: short(error / np.abs(exact).max()) for name, error in errors.items()},
    }


def _numpy(a, b, h0, dh) -> dict[str, Callable[[], np.ndarray]]:
    def both_ways(recurrence):
        def run() -> np.ndarray:
            h = recurrence(a, b, h0)
            recurrence_backward(a, h0, h, dh, recurrence)
            return h

        return run

    return {"loop": both_ways(recurrence_loop), "odd-even": both_ways(recurrence_scan)}


def _pytorch(a, b, h0, dh) -> dict[str, Callable[[], torch.Tensor]]:
    sought = [torch.from_numpy(array).requires_grad_() for array in (a, b, h0)]
    dh = torch.from_numpy(dh)

    def both_ways(recurrence):
        def run() -> torch.Tensor:
            h = recurrence(*sought)
            torch.autograd.grad(h, sought, dh)
            return h.detach()

        return run

    return {
        "loop": both_ways(scan.recurrence_loop),
        "odd-even": both_ways(scan.recurrence_scan),
        "log-space": both_ways(_from_logarithms),
    }


def _from_logarithms(a, b, h0) -> torch.Tensor:
    return scan.recurrence_log_scan(a.log(), b.log(), h0)


LIBRARIES = {"NumPy": _numpy, "PyTorch": _pytorch}
