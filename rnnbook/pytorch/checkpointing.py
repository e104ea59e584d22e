"""Checkpointing: backward recomputes what forward did not keep (chapter ``efficient_training``).

Backpropagation through time needs what every step has computed, and so keeps memory in proportion
to T. It can do with less: keep a few states, the checkpoints, and when backward arrives there,
run forward again from the nearest. (How a training is stored is ``rnnbook.checkpoint``.)

    segments    kept at once                 steps computed, all in all
    1           T steps                      T, nothing twice
    S           S states and T / S steps     2 T
    "recursive" log2(T) states and one step  T (1 + log2(T) / 2)
"""

import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten
from torch.utils.checkpoint import checkpoint

from rnnbook.checks import check_choice, check_positive, check_shape

Advance = Callable[[Tensor, Any], Any]


def checkpointed(advance: Advance, x: Tensor, state: Any, *, segments: int | str) -> Any:
    """The state after all of ``x``, of which backward needs little memory.

    The gradients are those of ``advance(x, state)``. Outputs of all steps are not returned: to hold
    them takes memory in proportion to T already.

    Args:
        advance: ``advance(x, state)`` is the state after the steps of ``x`` (B, any T, D). It is
            called again in backward, so it must compute the same again: of what is random, only
            torch's own generators are set back, and counters count twice.
        x: (B, T, D).
        state: a tensor or a tuple of tensors, not None.
        segments: into how many parts time is cut; sqrt(T) keeps the least. "recursive" cuts in two
            halves, each of them again, down to a single step.

    Raises:
        ValueError: an ``x`` that has not three axes, or ``segments`` neither "recursive" nor a
            whole number of at least 1.

    Source: Chen et al. (2016), Training Deep Nets with Sublinear Memory Cost, section 4; for
    recurrent networks, with the best cuts for a given memory, Gruslys et al. (2016),
    Memory-Efficient Backpropagation Through Time.
    """
    check_shape("x", x, ("B", "T", "D"))
    if isinstance(segments, str):
        check_choice("segments", segments, ("recursive",))
        return in_halves(advance, x, state)
    check_positive("segments", segments)
    return in_segments(advance, x, state, segments)


def in_segments(advance: Advance, x: Tensor, state: Any, segments: int) -> Any:
    """Keep the state before each segment; the last, where backward begins, keeps everything."""
    *earlier, last = x.tensor_split(min(segments, x.shape[1]), dim=1)
    for part in earlier:
        state = recomputed(advance, part, state)
    return advance(last, state)


def in_halves(advance: Advance, x: Tensor, state: Any) -> Any:
    """Keep the state before the first half, and treat both halves likewise."""
    if x.shape[1] == 1:
        return advance(x, state)
    first, second = x.tensor_split(2, dim=1)
    state = recomputed(partial(in_halves, advance), first, state)
    return in_halves(advance, second, state)


def recomputed(advance: Advance, x: Tensor, state: Any) -> Any:
    """``advance(x, state)``, of which x and state are kept, and nothing else."""
    # Tensor by tensor: those within a tuple torch holds fast, even inside another checkpoint.
    tensors, form = tree_flatten(state)

    def run(x, *tensors):
        return advance(x, tree_unflatten(tensors, form))

    return checkpoint(run, x, *tensors, use_reentrant=False)


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of tensors made within ``with LiveBytes() as memory:`` while they live.

    Every result of a torch operation counts, of forward and backward, until nothing refers to its
    memory any more; views share memory and count once. What was there before does not count, nor
    does what an operation uses inside itself, nor Python's own objects.

    Attributes:
        now: bytes alive at this moment.
        peak: the most there were at any moment.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        given = storages((args, kwargs))
        for address, storage in storages(result).items():
            if address not in given:  # else a view, or an argument written to
                self._count(storage)
        return result

    def _count(self, storage) -> None:
        size = storage.nbytes()
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._release, size)

    def _release(self, size: int) -> None:
        self.now -= size


def storages(tree) -> dict:
    """The memory behind the tensors in ``tree``, by its address: once for all views of it."""
    tensors = [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
    return {s._cdata: s for s in (tensor.untyped_storage() for tensor in tensors)}
