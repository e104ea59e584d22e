"""Whole numbers in English words: text with an exactly known entropy, and digits to be spelled.

342 is "three hundred forty-two": the American form, without "and". Dimensions: B sequences, T
steps, S digits.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rnnbook.checks import (
    check_classes,
    check_generator,
    check_positive,
    check_shape,
    check_whole,
    real_numbers,
)
from rnnbook.tasks.batch import Batch, next_symbol_batch

_LIMIT = 1_000_000  # what is called "million" and more is not spelled here
_UNITS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    *("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen"),
    *("eighteen", "nineteen"),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_WORDS = (*_UNITS, *_TENS, "hundred", "thousand")
_VALUES = {word: n for n, word in enumerate(_UNITS)} | {
    word: 10 * n for n, word in enumerate(_TENS, start=2)
}

NUMBER_CHARACTERS = "#" + "".join(sorted({" ", "-"}.union(*_WORDS)))
NUMBER_WORDS = ("<padding>", "<begin>", "<end>", *_WORDS)


# Numbers and their names


def number_words(n: int) -> list[str]:
    """342 -> ["three", "hundred", "forty", "two"], for 0 <= n < 1 000 000.

    Raises:
        ValueError: for a number that is not whole or not in 0 .. 999 999.
    """
    check_whole("n", n, 0, _LIMIT - 1)
    thousands, rest = divmod(int(n), 1000)
    words = [*_words_below_thousand(thousands), "thousand"] if thousands else []
    return words + _words_below_thousand(rest) if rest or not words else words


def _words_below_thousand(n: int) -> list[str]:
    hundreds, rest = divmod(n, 100)
    words = [_UNITS[hundreds], "hundred"] if hundreds else []
    if rest >= 20:
        words.append(_TENS[rest // 10 - 2])
        rest %= 10
    if rest or not words:
        words.append(_UNITS[rest])
    return words


def number_name(n: int) -> str:
    """342 -> "three hundred forty-two": words apart by a space, tens and units by a hyphen.

    Raises:
        ValueError: for a number that is not whole or not in 0 .. 999 999.
    """
    return re.sub(f"({'|'.join(_TENS)}) (?!thousand)", r"\1-", " ".join(number_words(n)))


def named_number(text: str) -> int | None:
    """The number that ``text`` is the correct name of, or None; the inverse of ``number_name``."""
    total = part = 0
    for word in re.split("[ -]", text):
        if word == "thousand":
            total, part = 1000 * part, 0
        elif word == "hundred":
            part *= 100
        elif word in _VALUES:
            part += _VALUES[word]
        else:
            return None
    n = total + part
    # Words in a wrong order give a number too, but one that has another name.
    return n if n < _LIMIT and number_name(n) == text else None


# Names as text, character by character


def number_tokens(text: str) -> list[int]:
    """Characters -> tokens, the index in ``NUMBER_CHARACTERS``, with a border # at both ends.

    Raises:
        ValueError: for a character that no number's name has.
    """
    unknown = set(text) - set(NUMBER_CHARACTERS[1:])
    if unknown:
        raise ValueError(
            f"text must hold the characters {NUMBER_CHARACTERS[1:]!r}, got {min(unknown)!r}."
        )
    return [0, *map(NUMBER_CHARACTERS.index, text), 0]


def number_text(tokens: Sequence[int] | np.ndarray) -> str:
    """Tokens -> characters, without borders and padding; the inverse of ``number_tokens``.

    Raises:
        ValueError: where the tokens are not one-dimensional, not whole, or not an index in
            ``NUMBER_CHARACTERS``.
    """
    tokens = real_numbers("tokens", tokens, None)
    check_shape("tokens", tokens, ("T",))
    check_classes("tokens", tokens, len(NUMBER_CHARACTERS))
    return "".join(NUMBER_CHARACTERS[token] for token in tokens if token)


def number_names(batch: int, rng: np.random.Generator, *, below: int = _LIMIT) -> Batch:
    """Names of numbers, uniform on 0 .. below - 1: to be predicted character by character.

    A string is # name #; tokens index ``NUMBER_CHARACTERS``, with 0 for the border #.

    Returns:
        x and target, integer tokens (B, T), target one step ahead of x; lengths (characters of
        the name + 1) and mask; latent (B, T), 1 from the last letter of "thousand" on and 0
        before: what must be remembered over the longest time, for a name has it once at most.
    Raises:
        ValueError: for a batch below one, ``below`` not in 1 .. 1 000 000, or what is no generator.
    """
    check_positive("batch", batch)
    check_generator("rng", rng)
    check_whole("below", below, 1, _LIMIT)
    names = [number_name(n) for n in rng.integers(0, below, batch)]
    strings = [number_tokens(name) for name in names]
    latents = [_after_thousand(name) for name in names]
    return next_symbol_batch(strings, latents)


def _after_thousand(name: str) -> np.ndarray:
    seen = [name[:end].endswith("thousand") for end in range(len(name) + 1)]
    return np.logical_or.accumulate(seen).astype(np.int64)


def number_names_baseline(
    *, below: int = _LIMIT, characters: int | None = None, forgets: bool = False
) -> float:
    """Least cross-entropy per predicted character (nats) over many names.

    A name of L characters has L + 1 predictions, the last one of its end. The mean over all
    predictions of many names tends to the expected loss of a name divided by the expected number
    of its predictions, E[L + 1].

    Who sees everything: different numbers have different names, so a name has the entropy
    ln(below) of its number, and no model's expected loss is less.

    Who sees only some context c of what came before: the best prediction is the share
    N(c, y) / N(c) of y among all that follows c, so the expected loss is the sum over c and y of
    N(c, y) ln(N(c) / N(c, y)), with N(c, y) the expected number of times that y follows c in a
    name. With ``characters`` k the context is the last k characters, the # in front included.
    With ``forgets`` it is what came after the border or after "thousand " (and that word itself
    where it has just come): such a model writes both parts of a name well, but does not remember
    in which of the two it is.

    The counts need no loop over all names. The name of 1000 t + r is that of t, " thousand", and
    for r > 0 a space and that of r. What is predicted up to " thousand" depends on t alone, and
    what comes after it, given no more than these 8 letters, on r alone: about 2000 pieces of
    text, each with the number of names that it is in.

    Raises:
        ValueError: where ``below`` is not in 1 .. 1 000 000, ``characters`` is not in 0 .. 8, or is
            given where ``forgets`` is True.
    """
    below = check_whole("below", below, 1, _LIMIT)
    if characters is not None:
        characters = check_whole("characters", characters, 0, len("thousand"))
        if forgets:
            raise ValueError(f"characters must be None where forgets is True, got {characters}.")
    elif not forgets:
        predictions = sum(count * len(text) for _, text, count in _pieces(below))
        return below * math.log(below) / predictions

    def context(seen: str) -> str:
        if characters is None:  # forgets
            return seen.removeprefix("#").removeprefix("thousand ")
        return seen[max(0, len(seen) - characters) :]

    follows: dict[str, Counter[str]] = {}
    for before, text, count in _pieces(below):
        for end, character in enumerate(text):
            counts = follows.setdefault(context(before + text[:end]), Counter())
            counts[character] += count
    totals = {c: counts.total() for c, counts in follows.items()}
    loss = sum(
        n * math.log(totals[c] / n) for c, counts in follows.items() for n in counts.values()
    )
    return loss / sum(totals.values())


def _pieces(below: int) -> Iterator[tuple[str, str, int]]:
    """(what stands before, text to be predicted, in how many names)."""
    for n in range(min(below, 1000)):
        yield "#", number_name(n) + "#", 1
    for t in range(1, math.ceil(below / 1000)):
        yield "#", number_name(t) + " thousand", min(1000, below - 1000 * t)
    for r in range(min(below - 1000, 1000)):
        yield "thousand", f" {number_name(r)}#" if r else "#", (below - 1 - r) // 1000


# Digits to be spelled, word by word


@dataclass(frozen=True)
class Pairs:
    """Numbers in digits (source) and in words (target): sequence to sequence.

    Attributes:
        numbers: (B,), the numbers themselves.
        source: (B, S), digits 0 .. 9 as tokens 1 .. 10, the first digit first; padding is 0.
        source_lengths: (B,), how many digits each number has.
        target_in: (B, T), 1 (begin) and the words, as the index in ``NUMBER_WORDS``, 3 and more;
            padding is 0.
        target_out: (B, T), the words and 2 (end): ``target_in`` one step later.
        mask: bool (B, T), False on padding.
    """

    numbers: np.ndarray
    source: np.ndarray
    source_lengths: np.ndarray
    target_in: np.ndarray
    target_out: np.ndarray
    mask: np.ndarray

    def __len__(self) -> int:
        """The number of pairs B."""
        return len(self.numbers)


def spell(numbers: Sequence[int] | np.ndarray) -> Pairs:
    """The pairs of given numbers, each from 0 to 999 999.

    Raises:
        ValueError: for no number, or one that is not whole or not in 0 .. 999 999.
    """
    numbers = real_numbers("numbers", numbers, None)
    check_shape("numbers", numbers, ("B",))
    numbers = np.array([check_whole("n", n, 0, _LIMIT - 1) for n in numbers])
    words = [[NUMBER_WORDS.index(word) for word in number_words(n)] for n in numbers]
    source, source_lengths = _padded([[int(digit) + 1 for digit in str(n)] for n in numbers])
    target_in, lengths = _padded([[1, *row] for row in words])
    target_out, _ = _padded([[*row, 2] for row in words])
    mask = np.arange(target_in.shape[1]) < lengths[:, None]
    return Pairs(numbers, source, source_lengths, target_in, target_out, mask)


def _padded(rows: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    lengths = np.array([len(row) for row in rows])
    array = np.zeros((len(rows), lengths.max()), dtype=np.int64)
    # Row-major order makes one assignment through the mask fill the rows one after another.
    array[np.arange(lengths.max()) < lengths[:, None]] = np.concatenate(rows)
    return array, lengths


def spelled_numbers(batch: int, rng: np.random.Generator, *, below: int = _LIMIT) -> Pairs:
    """Pairs of random numbers: the count of digits is uniform, then the number given that count.

    Numbers uniform on 0 .. 999 999 would have six digits nine times in ten. 0 has one digit.

    Raises:
        ValueError: for a batch below one, ``below`` not in 1 .. 1 000 000, or what is no generator.
    """
    check_positive("batch", batch)
    check_generator("rng", rng)
    ranges = np.array(_digit_ranges(below))
    low, high = ranges[rng.integers(0, len(ranges), batch)].T
    return spell(rng.integers(low, high))


def spelled_numbers_baseline(*, below: int = _LIMIT, sees_length: bool = False) -> float:
    """Least cross-entropy per target symbol (nats) of a decoder that cannot read the digits.

    Who reads them reaches 0. Who does not pays the entropy of the number, or with ``sees_length``
    that given its count of digits. With D counts, of which count d has N_d numbers, these are
    ln D + mean over d of ln N_d and mean over d of ln N_d, divided by the expected number of
    target symbols, one for each word and one for the end.

    Raises:
        ValueError: where ``below`` is not in 1 .. 1 000 000.
    """
    ranges = _digit_ranges(below)
    rest = np.array([len(_words_below_thousand(r)) for r in range(1000)])
    thousands, units = np.divmod(np.arange(below), 1000)
    words = rest[units] - ((units == 0) & (thousands > 0))  # no "zero" after "thousand"
    words += (rest[thousands] + 1) * (thousands > 0)
    symbols = np.mean([words[low:high].mean() + 1 for low, high in ranges])
    entropy = np.mean([math.log(high - low) for low, high in ranges])
    return float((entropy + (0 if sees_length else math.log(len(ranges)))) / symbols)


def _digit_ranges(below: int) -> list[tuple[int, int]]:
    """From and up to (not included), for each count of digits."""
    check_whole("below", below, 1, _LIMIT)
    starts = [0, *(10**d for d in range(1, len(str(below - 1))))]
    return list(zip(starts, [*starts[1:], below], strict=True))
