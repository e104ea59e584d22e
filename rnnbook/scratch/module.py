"""What every part of a network is: named weights, their gradients, a mode, one tape a thread.

    forward    reads params, leaves a tape              backward    uses the tape up, fills grads

A tape is what backward must know of a forward pass. It belongs to the thread that ran the forward
pass, serves one backward pass, and never enters a copy or a pickle. In evaluation none is kept,
unless :func:`enable_grad` asks for it.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol, Self

import numpy as np

from rnnbook.checks import (
    check_finite,
    check_keys,
    check_shape,
    generator_or_new,
    real_numbers,
)
from rnnbook.scratch.states import State

Params = dict[str, np.ndarray]
DType = type | np.dtype | str  # a number type as NumPy takes it, such as np.float32
_ENABLED = ContextVar("enabled", default=False)


@contextmanager
def enable_grad() -> Iterator[None]:
    """Within this context ``forward`` keeps what ``backward`` needs in evaluation mode too.

    Example:
        ``model.eval()``, then ``with enable_grad(): model.forward(x); model.backward(dy)``.
    """
    token = _ENABLED.set(True)
    try:
        yield
    finally:
        _ENABLED.reset(token)


class Module:
    """Named weights ``params``, their gradients ``grads``, and the mode: training, at first.

    Several threads may call ``forward`` at once, and each one's ``backward`` goes back through its
    own. ``grads`` are those of whoever came last.
    """

    params: Params
    grads: Params
    training = True

    def __init__(self) -> None:
        self._thread = threading.local()

    def train(self, mode: bool = True) -> Self:
        """Switch to training; ``train(False)`` is ``eval()``. Returns itself."""
        self.training = mode
        if not mode:
            self._forget()
        return self

    def eval(self) -> Self:
        """Switch to evaluation: no noise, and nothing kept for a backward. Returns itself."""
        return self.train(False)

    def load_params(self, params: Mapping[str, Any]) -> None:
        """Copy ``params`` in; all of them or, when a name or a shape is wrong, none.

        Raises:
            ValueError: naming what is missing, unknown, of the wrong shape, not a real number, or
                not finite in the dtype of the weights.
        """
        own = self.params
        check_keys("params", params, own)
        arrays = {}
        for name, value in params.items():
            check_shape(name, value, own[name].shape)
            arrays[name] = real_numbers(name, value, own[name].dtype)
            check_finite(name, arrays[name])
        for name, array in arrays.items():
            own[name][...] = array

    @property
    def _keeps_tape(self) -> bool:
        return self.training or _ENABLED.get()

    def _remember(self, tape: Any) -> None:
        """Keep what this thread's backward will need, if there is to be one."""
        self._thread.tape = tape if self._keeps_tape else None

    def _recall(self) -> Any:
        """The tape of this thread's last forward. Raises ``RuntimeError`` if there is none."""
        tape = getattr(self._thread, "tape", None)
        if tape is None:
            raise RuntimeError(
                f"{type(self).__name__}.backward needs a call of forward before it"
                + ("." if self._keeps_tape else ", in training mode or within enable_grad().")
            )
        return tape

    def _forget(self) -> None:
        """The tape is used up, or about to be replaced."""
        self._thread.tape = None

    def __getstate__(self) -> dict[str, Any]:
        """A copy, or a pickle, holds weights and settings: it has not run yet."""
        state = {name: value for name, value in vars(self).items() if name != "_thread"}
        return state | {"grads": {}} if "grads" in state else state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._thread = threading.local()


class Recurrent(Protocol):
    """What a recurrent layer is, whether one cell, a stack, or wrapped in noise.

    ``forward`` takes ``x`` (B, T, D), a state and lengths, and returns ``output``
    (B, T, H * directions) and the final state; ``backward`` takes their gradients and returns
    ``dx`` and ``dstate0``. A state is one array (L * directions, B, H), or the pair ``(h, c)``.
    """

    input_size: int
    hidden_size: int
    num_layers: int
    bidirectional: bool
    state_names: tuple[str, ...]
    dtype: np.dtype

    @property
    def params(self) -> Params: ...
    @property
    def grads(self) -> Params: ...
    def forward(self, x: Any, state: Any = None, lengths: Any = None) -> tuple[np.ndarray, State]:
        """``x``, the initial state, each sequence's length -> output, final state."""
        ...

    def backward(self, doutput: Any, dstate: Any = None) -> tuple[np.ndarray, State]:
        """The gradients of what forward returned -> those of ``x`` and of the initial state."""
        ...

    def train(self, mode: bool = True) -> Any:
        """Switch to training or, with False, to evaluation."""
        ...


def draw(
    shapes: Mapping[str, tuple[int, ...]],
    bound: float,
    dtype: DType,
    rng: np.random.Generator | None,
) -> Params:
    """An array for each of ``shapes``, every number uniform between ``+-bound``."""
    dtype, rng = floating(dtype), generator_or_new("rng", rng)
    return {
        name: rng.uniform(-bound, bound, size=shape).astype(dtype) for name, shape in shapes.items()
    }


def floating(dtype: DType) -> np.dtype:
    """``dtype`` as NumPy's. Raises ``ValueError`` unless it is float32 or float64."""
    dtype = np.dtype(dtype)
    if dtype not in (np.float32, np.float64):
        raise ValueError(f"dtype must be float32 or float64, got {dtype}.")
    return dtype
