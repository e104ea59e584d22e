"""What every task hands out: a ``Batch`` of sequences with their targets.

Dimensions: B sequences, T steps, D features.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from rnnbook.checks import as_array, check_lengths, check_positive, real_numbers


@dataclass(frozen=True)
class Batch:
    """Sequences and targets, NumPy arrays throughout.

    Lists, torch tensors and pandas objects become arrays, other byte orders and reversed views an
    ordinary copy; an array that needs none of this is kept as it is.

    Attributes:
        x: inputs, float (B, T, D) or integer tokens (B, T); padding is 0.
        target: one for each sequence, (B, ...), or one for each step, (B, T, ...).
        lengths: integers (B,), each sequence's number of steps; None where all have T. With them, a
            target (B, T, ...) belongs to steps, and padding does not count.
        mask: bool (B, T), or (B, T, ...) as the target: False where a target does not count, on
            padding for instance; a loss averages over its True entries. None: all within the
            lengths count.
        latent: (B, T, ...), what an ideal machine would remember after each step (a counter, a
            stack depth, an automaton's state): never shown to a model, but looked for by a probe.
    Raises:
        ValueError: for what is no array of real numbers, where the arrays do not hold as many
            sequences as x, a length is not in 1 .. T, or the mask has not the target's first axes.
    """

    x: np.ndarray
    target: np.ndarray
    lengths: np.ndarray | None = None
    mask: np.ndarray | None = None
    latent: np.ndarray | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None and field.name not in ("x", "target"):
                continue
            array = _ordinary(field.name, value)
            object.__setattr__(self, field.name, array)  # the class is frozen
            if array.ndim == 0:
                raise ValueError(f"{field.name} must be an array of sequences, got {value!r}.")
            if len(array) != len(self.x):
                raise ValueError(
                    f"{field.name} must hold {len(self.x)} sequences as x does, got {len(array)}."
                )
        if self.lengths is not None:
            if self.x.ndim < 2:
                raise ValueError(f"x must have steps where there are lengths, got {self.x.shape}.")
            object.__setattr__(self, "lengths", check_lengths(self.lengths, *self.x.shape[:2]))
        if self.mask is not None:
            if self.mask.dtype != bool:
                raise ValueError(f"mask must be an array of bools, got {self.mask.dtype}.")
            if self.mask.shape != self.target.shape[: max(2, self.mask.ndim)]:
                raise ValueError(
                    f"mask must have the target's first axes, two at least, of "
                    f"{self.target.shape}, got {self.mask.shape}."
                )

    def __len__(self) -> int:
        """The number of sequences B."""
        return len(self.x)

    @property
    def counts(self) -> np.ndarray | None:
        """bool, True where a target counts: the mask, or else what is within the lengths.

        None where every target counts.
        """
        if self.mask is not None or not self._stepwise:
            return self.mask
        return np.arange(self.x.shape[1]) < self.lengths[:, None]  # type: ignore[index] # stepwise

    @property
    def _stepwise(self) -> bool:
        """Whether the target has padding as x has."""
        return self.lengths is not None and self.target.shape[1:2] == self.x.shape[1:2]

    def take(self, index: np.ndarray | slice) -> "Batch":
        """The chosen sequences, without the steps that are padding in all of them."""
        chosen: dict[str, Any] = {
            field.name: None if array is None else array[index]
            for field in fields(self)
            for array in [getattr(self, field.name)]
        }
        if self.lengths is not None and len(chosen["lengths"]):
            steps = int(chosen["lengths"].max())
            for name in ["x", "latent"] + (["target", "mask"] if self._stepwise else []):
                if chosen[name] is not None:
                    chosen[name] = chosen[name][:, :steps]
        return Batch(**chosen)


def _ordinary(name: str, value) -> np.ndarray:
    """``value`` as an array of real numbers that NumPy and torch alike can work on."""
    array = real_numbers(name, as_array(value), None)
    if array.dtype.itemsize > 8:  # torch has no longer ones
        return array.astype(np.float64)
    if not array.dtype.isnative:
        return array.astype(array.dtype.newbyteorder("="))
    return array.copy() if min(array.strides, default=0) < 0 else array


def one_hot(tokens: np.ndarray, size: int) -> np.ndarray:
    """Tokens (B, T) as unit vectors (B, T, size): for layers without an embedding.

    Raises:
        ValueError: where a token is not in 0 .. size - 1, or the size is below one.
    """
    check_positive("size", size)
    if tokens.min() < 0 or tokens.max() >= size:
        raise ValueError(
            f"tokens must lie between 0 and {size - 1}, got {tokens.min()} to {tokens.max()}."
        )
    return np.eye(size)[tokens]


def next_symbol_batch(strings: list[list[int]], latents: list[np.ndarray]) -> Batch:
    """Pad strings for next-symbol prediction: x is a string without its last symbol, target the
    string without its first, ``latents`` what is to be remembered at each input step."""
    lengths = np.array([len(string) - 1 for string in strings])
    steps = lengths.max()
    mask = np.arange(steps) < lengths[:, None]  # (B, T)
    x = np.zeros(mask.shape, dtype=np.int64)
    target = np.zeros_like(x)
    latent = np.zeros((*mask.shape, *latents[0].shape[1:]), dtype=np.int64)
    # Row-major order makes one assignment through the mask fill the rows one after another.
    x[mask] = np.concatenate([string[:-1] for string in strings])
    target[mask] = np.concatenate([string[1:] for string in strings])
    latent[mask] = np.concatenate(latents)
    return Batch(x, target, lengths, mask, latent)
