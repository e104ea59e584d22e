"""Formal languages: parity (regular), a^n b^n (counting), brackets (a stack).

Dimensions: B sequences, T steps.
"""

import math

import numpy as np

from rnnbook.checks import (
    check_between,
    check_choice,
    check_generator,
    check_positive,
    check_whole,
)
from rnnbook.tasks.automaton import Automaton
from rnnbook.tasks.batch import Batch, next_symbol_batch


def parity(
    batch: int,
    steps: int,
    rng: np.random.Generator,
    *,
    many_to: str = "many",
    least_steps: int | None = None,
) -> Batch:
    """Is the number of ones odd?

    Bits are fair and independent. With ``many_to="many"`` the target of each step is the parity
    of the bits so far, with ``"one"`` that of the whole sequence. With ``least_steps`` lengths
    are uniform on least_steps .. steps.

    Returns:
        x (B, T, 1), 0.0 or 1.0; target, classes 0 or 1, (B, T) or (B,); latent (B, T), the
        running parity; lengths, and a mask with targets for each step, if ``least_steps`` is
        given.
    Raises:
        ValueError: for a size below one, another ``many_to``, a ``least_steps`` not in 1 .. steps,
            or what is no generator.
    Source:
        Deletang et al., "Neural networks and the Chomsky hierarchy", ICLR 2023 (parity check);
        as a hard case already in Minsky & Papert, "Perceptrons", 1969.
    """
    batch, steps = check_positive("batch", batch), check_positive("steps", steps)
    check_generator("rng", rng)
    check_choice("many_to", many_to, ("one", "many"))
    bits = rng.integers(0, 2, (batch, steps))
    lengths = mask = None
    if least_steps is not None:
        least_steps = check_positive("least_steps", least_steps)
        check_between("least_steps", least_steps, 1, steps)
        lengths = rng.integers(least_steps, steps + 1, batch)
        mask = np.arange(steps) < lengths[:, None]
        bits *= mask
    running = np.cumsum(bits, axis=1) % 2
    x = bits[:, :, None].astype(float)
    if many_to == "one":
        return Batch(x, running[:, -1], lengths, latent=running)
    return Batch(x, running, lengths, mask, running)


def parity_baseline(steps: int, *, window: int = 0) -> float:
    """Cross-entropy per step (nats) of the running parity for one that sees only a window.

    All bits but one leave the parity a fair coin, so whoever sees only the last ``window`` bits
    pays ln 2 wherever more came: nothing on the first ``window`` steps, ln 2 on the others. For
    the parity of the whole sequence that means ln 2 for every window below T.

    Raises:
        ValueError: for steps below one, or a window not in 0 .. steps.
    """
    steps = check_positive("steps", steps)
    window = check_whole("window", window, 0, steps)
    return math.log(2) * (steps - window) / steps


def counting_language(
    batch: int, rng: np.random.Generator, *, letters: int = 2, least_n: int = 1, most_n: int = 10
) -> Batch:
    """a^n b^n (two letters), a^n b^n c^n (three), ...: to be predicted symbol by symbol.

    A string is # a^n b^n #, with n uniform on least_n .. most_n. Tokens: 0 is #, 1 is a, 2 is b,
    and so on. After the first b everything is known to one who has counted.

    Returns:
        x and target, integer tokens (B, T), target one step ahead of x; lengths (letters n + 1)
        and mask; latent (B, T, letters - 1), the number of a's minus the number of each other
        letter so far: all that there is to remember.
    Raises:
        ValueError: for a batch below one, letters not in 2 .. 26, a ``least_n`` not in 1 .. most_n,
            or what is no generator.
    Source:
        Gers & Schmidhuber, "LSTM recurrent networks learn simple context-free and
        context-sensitive languages", IEEE Transactions on Neural Networks 12(6), 2001; Weiss,
        Goldberg & Yahav, "On the practical computational power of finite precision RNNs for
        language recognition", ACL 2018.
    """
    check_positive("batch", batch)
    check_generator("rng", rng)
    letters, least_n, most_n = _counts(letters, least_n, most_n)
    strings, latents = [], []
    for n in rng.integers(least_n, most_n + 1, batch):
        string = np.concatenate([[0], np.repeat(np.arange(1, letters + 1), n), [0]])
        seen = np.cumsum(string[:-1, None] == np.arange(1, letters + 1), axis=0)  # (T, letters)
        strings.append(string.tolist())
        latents.append(seen[:, :1] - seen[:, 1:])
    return next_symbol_batch(strings, latents)


def counting_language_baseline(
    *, letters: int = 2, least_n: int = 1, most_n: int = 10, counts: bool = True
) -> float:
    """Least cross-entropy per predicted symbol (nats) over many strings, with or without counting.

    A string has letters n + 1 predictions, with mean letters m + 1, where m = E[n].

    Who counts is unsure only of n, told by the first b: the entropy of a string is ln N, with N
    the number of values that n can have.

    Who does not count sees only the last symbol. After # comes a for certain. A block of n equal
    letters is followed n - 1 times by itself and once by the next symbol, so with h(p) the
    entropy of a coin and p = 1 / m each of the letters m expected predictions costs h(p).

    Raises:
        ValueError: for letters not in 2 .. 26, or a ``least_n`` not in 1 .. most_n.
    """
    letters, least_n, most_n = _counts(letters, least_n, most_n)
    mean = (least_n + most_n) / 2
    if counts:
        loss = math.log(most_n - least_n + 1)
    else:
        stay, leave = 1 - 1 / mean, 1 / mean
        choice = -sum(p * math.log(p) for p in (stay, leave) if p > 0)
        loss = letters * mean * choice
    return loss / (letters * mean + 1)


def _counts(letters: int, least_n: int, most_n: int) -> tuple[int, int, int]:
    letters, least_n = check_positive("letters", letters), check_positive("least_n", least_n)
    most_n = check_positive("most_n", most_n)
    check_between("letters", letters, 2, 26)
    check_between("least_n", least_n, 1, most_n)
    return letters, least_n, most_n


# The three symbols of the depth automaton; brackets of several kinds are told apart afterwards.
_END, _OPEN, _CLOSE = 0, 1, 2


def bracket_automaton(max_depth: int = 4, *, go_on: float = 0.5) -> Automaton:
    """Well-nested brackets of one kind as an automaton over depths; symbols 0 #, 1 open, 2 close.

    State 0 writes the first #, state 1 the first bracket. State 2 + d stands at depth d. At
    depth 0 the string ends with probability 1 - ``go_on``, between 0 and ``max_depth`` brackets
    open and close with probability 1/2, and at ``max_depth`` they close.

    Raises:
        ValueError: for a ``max_depth`` below one, or a ``go_on`` not in 0 .. 0.999.
    """
    max_depth = check_positive("max_depth", max_depth)
    go_on = check_between("go_on", go_on, 0, 0.999)
    end = max_depth + 3
    ground = ((_END, end, 1 - go_on), (_OPEN, 3, go_on))
    middle = [((_OPEN, d + 3, 0.5), (_CLOSE, d + 1, 0.5)) for d in range(1, max_depth)]
    top = ((_CLOSE, max_depth + 1, 1.0),)
    return Automaton((((_END, 1, 1.0),), ((_OPEN, 3, 1.0),), ground, *middle, top))


def brackets(
    batch: int,
    rng: np.random.Generator,
    *,
    kinds: int = 2,
    max_depth: int = 4,
    go_on: float = 0.5,
) -> Batch:
    """Well-nested brackets of several kinds (Dyck words of bounded depth), symbol by symbol.

    A string is # and at least one pair of brackets and #, drawn from ``bracket_automaton``; each
    opening bracket is of any kind with equal probability, and a closing one is of the kind of
    the bracket that it closes. Tokens: 0 is #, 1 .. kinds open, kinds + 1 .. 2 kinds close.

    Returns:
        x and target, integer tokens (B, T), target one step ahead of x; lengths and mask; latent
        (B, T), the depth of the stack after each input symbol.
    Raises:
        ValueError: for a size below one, a ``go_on`` not in 0 .. 0.999, or what is no generator.
    Source:
        Hewitt et al., "RNNs can generate bounded hierarchical languages with optimal memory",
        EMNLP 2020, where the language is Dyck-(kinds, max_depth).
    """
    batch, kinds = check_positive("batch", batch), check_positive("kinds", kinds)
    check_generator("rng", rng)
    automaton = bracket_automaton(max_depth, go_on=go_on)
    strings, depths = [], []
    for _ in range(batch):
        shape, _ = automaton.sample(rng)
        string, stack, depth = [], [], []
        for symbol in shape:
            if symbol == _OPEN:
                stack.append(int(rng.integers(1, kinds + 1)))
                string.append(stack[-1])
            elif symbol == _CLOSE:
                string.append(stack.pop() + kinds)
            else:
                string.append(0)
            depth.append(len(stack))
        strings.append(string)
        depths.append(np.array(depth[:-1]))
    return next_symbol_batch(strings, depths)


def brackets_baseline(
    *, kinds: int = 2, max_depth: int = 4, go_on: float = 0.5, stack: bool = True
) -> float:
    """Least cross-entropy per predicted symbol (nats) over many strings, with or without a stack.

    A string is its shape, with the entropy of the automaton, and a free choice among ``kinds``
    for each opening bracket; with a stack the kind of a closing one is known. Who only counts
    the depth knows the shape as well but not that kind, which given the depths is uniform: ln
    kinds more for each closing bracket. A string of length L has L - 1 predictions.

    Raises:
        ValueError: for ``kinds`` or a ``max_depth`` below one, or a ``go_on`` not in 0 .. 0.999.
    """
    kinds = check_positive("kinds", kinds)
    automaton = bracket_automaton(max_depth, go_on=go_on)
    guesses = automaton.expected_count(_OPEN) + (0 if stack else automaton.expected_count(_CLOSE))
    loss = automaton.entropy() + guesses * math.log(kinds)
    return loss / (automaton.expected_length() - 1)
