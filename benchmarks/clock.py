"""Times that can be compared: contestants take turns, each with the same number of threads."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from threadpoolctl import threadpool_info, threadpool_limits

SAMPLE = 0.005  # a sample lasts as long as this many seconds at least, if need be by repetition
PAUSE = 0.05  # seconds after which the threads of a pool that is not in use have gone to sleep


@contextmanager
def threads(number: int) -> Iterator[None]:
    """NumPy's products and PyTorch on ``number`` threads each."""
    before = torch.get_num_threads()
    with threadpool_limits(number, user_api="blas"):
        torch.set_num_threads(number)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def blas() -> dict[str, str]:
    """NumPy's library of matrix products and its kernel, which it chooses for the processor."""
    for library in threadpool_info():
        if library["user_api"] == "blas" and "numpy" in library["filepath"]:
            kernel = library.get("architecture", "of unknown kind")
            return {
                "library": library["internal_api"],
                "version": library["version"],
                "kernel": kernel,
            }
    return {}  # as with Apple's Accelerate, which tells nothing


def take_turns(
    samplers: Mapping[str, Callable[[int], float]], *, seconds: float, rounds: int
) -> dict[str, np.ndarray]:
    """Seconds for one call of each contestant, once in each round.

    A round asks all of them, every second round in reverse order. A call that is not measured goes
    before each sample, so that everybody finds the caches as in a loop of its own. NumPy and
    PyTorch keep a pool of threads each, and one that has just finished spins for a while and takes
    the cores from the other; so with several threads each sample waits until the pools sleep.

    Args:
        samplers: by name; ``sampler(n)`` makes n calls and returns the seconds of one, as
            :func:`seconds_per_call` does. Each is asked twice before the first round.
        seconds: begin no further round after this time
        rounds: but make this many at least.
    """
    several = torch.get_num_threads() > 1
    repeats = {}
    for name, sample in samplers.items():
        sample(1)
        repeats[name] = max(1, round(SAMPLE / sample(1)))

    times = {name: [] for name in samplers}
    order = list(samplers)
    start = time.perf_counter()
    while len(times[order[0]]) < rounds or time.perf_counter() - start < seconds:
        for name in order:
            if several:
                time.sleep(PAUSE)
            samplers[name](1)
            times[name].append(samplers[name](repeats[name]))
        order.reverse()
    return {name: np.array(values) for name, values in times.items()}


def compare(times: Mapping[str, np.ndarray], reference: str) -> dict[str, dict[str, float]]:
    """For each function but the reference, the median and the quartiles over the rounds of the
    ratio of its time to the reference's."""
    ratios = {}
    for name, values in times.items():
        if name != reference:
            low, median, high = np.quantile(values / times[reference], [0.25, 0.5, 0.75])
            ratios[name] = {"median": short(median), "low": short(low), "high": short(high)}
    return ratios


def milliseconds(values: np.ndarray) -> float:
    return short(1e3 * np.median(values))


def short(value: float) -> float:
    """Four digits: more would be noise."""
    return float(f"{value:.4g}")


def seconds_per_call(function: Callable[[], object], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        function()
    return (time.perf_counter() - start) / repeats
