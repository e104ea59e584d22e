"""What every task hands out: a ``Batch`` of sequences with their targets.

Dimensions: B sequences, T steps, D features.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from rnnbook.checks import check_lengths, check_positive


@dataclass(frozen=True)
class Batch:
    """Sequences and targets, NumPy arrays throughout.

    Attributes:
        x: inputs, float (B, T, D) or integer tokens (B, T); padding is 0.
        target: one for each sequence, (B, ...), or one for each step, (B, T, ...).
        lengths: integers (B,), each sequence's number of steps; None where all have T.
        mask: bool (B, T), False on padding. Given exactly where targets belong to steps and
            sequences differ in length; a loss averages over its True entries.
        latent: (B, T, ...), what an ideal machine would remember after each step (a counter, a
            stack depth, an automaton's state): never shown to a model, but looked for by a probe.
    Raises:
        ValueError: where the arrays do not hold as many sequences as x, or a length is not in
            1 .. T.
    """

    x: np.ndarray
    target: np.ndarray
    lengths: np.ndarray | None = None
    mask: np.ndarray | None = None
    latent: np.ndarray | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            array = getattr(self, field.name)
            if array is not None and len(array) != len(self.x):
                raise ValueError(
                    f"{field.name} must hold {len(self.x)} sequences as x does, got {len(array)}."
                )
        if self.lengths is not None:
            check_lengths(self.lengths, *self.x.shape[:2])

    def __len__(self) -> int:
        """The number of sequences B."""
        return len(self.x)

    def take(self, index: np.ndarray | slice) -> "Batch":
        """The chosen sequences, without the steps that are padding in all of them."""
        chosen: dict[str, Any] = {
            field.name: None if array is None else array[index]
            for field in fields(self)
            for array in [getattr(self, field.name)]
        }
        if self.lengths is not None:
            steps = int(chosen["lengths"].max())
            timed = ["x", "latent", "mask"] + (["target"] if self.mask is not None else [])
            for name in timed:
                if chosen[name] is not None:
                    chosen[name] = chosen[name][:, :steps]
        return Batch(**chosen)


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
