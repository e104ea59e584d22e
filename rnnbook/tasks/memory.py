"""Tasks that ask how long a network remembers: adding, copying, the order of two symbols.

Dimensions: B sequences, T steps.
"""

import math

import numpy as np

from rnnbook.checks import check_between, check_generator, check_positive
from rnnbook.tasks.batch import Batch


def _sizes(batch: int, steps: int, rng: np.random.Generator, least: int = 1) -> tuple[int, int]:
    batch, steps = check_positive("batch", batch), check_positive("steps", steps)
    check_between("steps", steps, least, math.inf)
    check_generator("rng", rng)
    return batch, steps


def adding_problem(batch: int, steps: int, rng: np.random.Generator) -> Batch:
    """Add the two marked numbers of a long sequence.

    Each step shows a number, uniform on [0, 1], and a marker. One step of the first half and one
    of the second half, each uniform, carry the marker 1; all others carry 0. The target is the
    sum of the two marked numbers.

    Returns:
        x (B, T, 2) with number and marker; target (B, 1).
    Raises:
        ValueError: for a batch below one, fewer than two steps, or what is no generator.
    Source:
        Hochreiter & Schmidhuber, "Long short-term memory", Neural Computation 9(8), 1997,
        section 5.4 (there: numbers in [-1, 1] and other marker positions); in this form
        Arjovsky, Shah & Bengio, "Unitary evolution recurrent neural networks", ICML 2016.
    """
    batch, steps = _sizes(batch, steps, rng, least=2)
    rows, half = np.arange(batch), steps // 2
    number = rng.random((batch, steps))
    first = rng.integers(0, half, batch)
    second = rng.integers(half, steps, batch)
    marker = np.zeros_like(number)
    marker[rows, first] = marker[rows, second] = 1
    target = number[rows, first] + number[rows, second]
    return Batch(np.stack([number, marker], axis=2), target[:, None])


def adding_problem_baseline(known: int = 0) -> float:
    """Mean squared error of the best prediction that knows only ``known`` of the two numbers.

    The best prediction is the conditional mean, 1/2 for each number not known. Its error is the
    variance of those numbers, 1/12 each and independent: 1/6 for a constant, 1/12 for a network
    that remembers one number, 0 for both.

    Raises:
        ValueError: where ``known`` is not in 0 .. 2.
    """
    return (2 - check_between("known", known, 0, 2)) / 12


def copy_memory(
    batch: int, delay: int, rng: np.random.Generator, *, length: int = 10, symbols: int = 8
) -> Batch:
    """Repeat ``length`` symbols after a pause.

    With the paper's ``length = 10``, ``symbols = 8`` and T = ``delay``: ten symbols drawn
    uniformly from 0 .. 7, then T - 1 blanks (8), the delimiter (9), ten blanks. The target is
    T + 10 blanks and then the ten symbols.

    Returns:
        x and target, integer tokens (B, delay + 2 length); ``symbols`` + 2 different tokens
        come in, ``symbols`` + 1 go out.
    Raises:
        ValueError: for a size below one, or what is no generator.
    Source:
        Arjovsky, Shah & Bengio, "Unitary evolution recurrent neural networks", ICML 2016, after
        Hochreiter & Schmidhuber, "Long short-term memory", Neural Computation 9(8), 1997.
    """
    batch, delay = check_positive("batch", batch), check_positive("delay", delay)
    length, symbols = check_positive("length", length), check_positive("symbols", symbols)
    check_generator("rng", rng)
    blank, delimiter = symbols, symbols + 1
    message = rng.integers(0, symbols, (batch, length))
    x = np.full((batch, delay + 2 * length), blank, dtype=np.int64)
    target = x.copy()
    x[:, :length] = message
    x[:, delay + length - 1] = delimiter
    target[:, -length:] = message
    return Batch(x, target)


def copy_memory_baseline(delay: int, *, length: int = 10, symbols: int = 8) -> float:
    """Cross-entropy per step (nats) of the best prediction that remembers no symbol.

    It tells the blanks without loss, for it needs only to count or to wait for the delimiter,
    and gives each of the ``length`` symbols of the answer probability 1 / ``symbols``, at a cost
    of ln ``symbols`` each. Averaged over all steps: length ln(symbols) / (delay + 2 length), in
    the paper's case 10 ln 8 / (T + 20).

    Raises:
        ValueError: for a delay, a length or a number of symbols below one.
    """
    delay, length = check_positive("delay", delay), check_positive("length", length)
    symbols = check_positive("symbols", symbols)
    return length * math.log(symbols) / (delay + 2 * length)


TEMPORAL_ORDER_SYMBOLS = "EBabcdXY"


def temporal_order(batch: int, steps: int, rng: np.random.Generator) -> Batch:
    """Tell in which order two symbols came that are far apart.

    A sequence starts with E, ends with B, and is filled with distractors a, b, c, d, but for two
    steps t1 and t2 (counted from 0) that show X or Y, each with probability 1/2. With T steps,
    t1 is uniform on T/10 .. T/5 and t2 on T/2 .. 6T/10 (rounded down). The class is
    0 for X, X; 1 for X, Y; 2 for Y, X; 3 for Y, Y.

    Returns:
        x, integer tokens (B, T) that index ``TEMPORAL_ORDER_SYMBOLS``; target, classes (B,).
    Raises:
        ValueError: for a batch below one, fewer than 10 steps, or what is no generator.
    Source:
        Hochreiter & Schmidhuber, "Long short-term memory", Neural Computation 9(8), 1997,
        section 5.6, task 6a, where T is drawn from 100 .. 110 and the positions are those of
        T = 100.
    """
    batch, steps = _sizes(batch, steps, rng, least=10)
    rows = np.arange(batch)
    x = rng.integers(2, 6, (batch, steps))
    x[:, 0], x[:, -1] = 0, 1
    t1 = rng.integers(steps // 10, steps // 5 + 1, batch)
    t2 = rng.integers(steps // 2, 6 * steps // 10 + 1, batch)
    first, second = rng.integers(0, 2, (2, batch))
    x[rows, t1], x[rows, t2] = 6 + first, 6 + second
    return Batch(x, 2 * first + second)


def temporal_order_baseline(*, sees_counts: bool = False) -> float:
    """Cross-entropy (nats) of the best prediction that is blind to order.

    The four classes are equally likely: one that sees nothing pays ln 4. One that sees how often
    each symbol came, but not when, knows the class for X, X and Y, Y; for the other half of the
    sequences X, Y and Y, X remain equally likely: 1/2 ln 2 (and accuracy 3/4).
    """
    return math.log(2) / 2 if sees_counts else math.log(4)


def flip_flop(
    batch: int, steps: int, rng: np.random.Generator, *, bits: int = 3, pulse: float = 0.1
) -> Batch:
    """Hold the sign of the last pulse in each of several channels.

    At each step and in each channel, independently, comes a pulse with probability ``pulse``, +1
    or -1 with equal probability; else the input is 0. The target is the last pulse of its
    channel, 0 before the first.

    Returns:
        x, target and latent (the target again: it is the memory), each (B, T, bits).
    Raises:
        ValueError: for a size below one, a ``pulse`` not in 0 .. 1, or what is no generator.
    Source:
        Sussillo & Barak, "Opening the black box: low-dimensional dynamics in high-dimensional
        recurrent neural networks", Neural Computation 25(3), 2013, the 3-bit flip-flop (there
        in continuous time).
    """
    batch, steps = _sizes(batch, steps, rng)
    check_positive("bits", bits)
    check_between("pulse", pulse, 0, 1)
    shape = (batch, steps, bits)
    x = np.where(rng.random(shape) < pulse, rng.choice([-1.0, 1.0], shape), 0.0)
    last = np.maximum.accumulate(np.where(x != 0, np.arange(steps)[:, None], 0), axis=1)
    target = np.take_along_axis(x, last, axis=1)
    return Batch(x, target, latent=target)


def flip_flop_baseline(steps: int, *, pulse: float = 0.1, sees_input: bool = True) -> float:
    """Mean squared error of the best prediction without memory.

    With q = 1 - pulse, a channel is silent up to and including step t (from 1) with probability
    q^t, so E[target_t^2] = 1 - q^t. A prediction that sees nothing is 0, by symmetry, and pays
    just that. One that sees the present input repeats a pulse without error and says 0 where
    there is none; it pays where there is no pulse now but was one before: q (1 - q^(t-1)).
    Both are averaged over t = 1 .. T.

    Raises:
        ValueError: for steps below one, or a ``pulse`` not in 0 .. 1.
    """
    steps, pulse = check_positive("steps", steps), check_between("pulse", pulse, 0, 1)
    silent = (1 - pulse) ** np.arange(1, steps + 1)  # q^t
    return float(np.mean((1 - pulse if sees_input else 1) - silent))
