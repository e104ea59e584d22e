"""Minibatches of sequences of about the same length."""

import numpy as np

from rnnbook.checks import (
    check_generator,
    check_lengths,
    check_positive,
    check_shape,
    real_numbers,
)


def bucketed(
    lengths: np.ndarray, batch_size: int, rng: np.random.Generator, *, buckets: int = 4
) -> list[np.ndarray]:
    """Minibatches of sequences about as long as each other, which need little padding.

    The sequences are sorted by length and cut into buckets of equally many; batches are drawn at
    random within each bucket, and come in random order. With lengths uniform in 1 ... T and large
    batches, a share of about K / (K + 1) of their steps is real, K the number of buckets.

    Args:
        lengths: integers (N,), each sequence's number of steps, at least 1.
        batch_size: the number of sequences in a batch; the last of a bucket may be smaller.
        rng: draws the batches and their order.
        buckets: K; with 1, batches are drawn from all sequences.

    Returns:
        Indices of sequences, an array for each batch, for ``Batch.take``: every sequence once.

    Raises:
        ValueError: lengths that are no integers of at least 1, sizes below one, an ``rng`` that is
            no generator.
    """
    lengths = real_numbers("lengths", lengths, None)
    check_shape("lengths", lengths, ("N",))
    check_lengths(lengths, len(lengths), lengths.max())
    check_positive("batch_size", batch_size)
    check_generator("rng", rng)
    check_positive("buckets", buckets)

    order = rng.permutation(len(lengths))  # those of equal length in random order
    order = order[np.argsort(lengths[order], kind="stable")]
    batches = []
    for bucket in np.array_split(order, buckets):
        shuffled = rng.permutation(bucket)
        batches += [shuffled[i : i + batch_size] for i in range(0, len(bucket), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]
