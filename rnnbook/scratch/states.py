"""A recurrent state: one array ``h`` for RNN and GRU, the pair ``(h, c)`` for the LSTM."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rnnbook.checks import check_finite, check_shape, real_numbers

State = np.ndarray | tuple[np.ndarray, ...]


def unpack(state: State | list[np.ndarray]) -> list[np.ndarray]:
    """``[h]`` or ``[h, c]``."""
    return list(state) if isinstance(state, tuple | list) else [state]


def pack(arrays: Sequence[np.ndarray]) -> State:
    """The inverse of :func:`unpack`."""
    return arrays[0] if len(arrays) == 1 else tuple(arrays)


def checked_states(
    name: str, state: Any, shapes: Mapping[str, tuple[int, ...]], dtype: Any, *, finite: bool = True
) -> list[np.ndarray]:
    """``state`` as a list of arrays of ``dtype``, one for each of ``shapes``; None: zeros.

    A gradient, unlike a state, may be NaN: ``finite`` is False for it.

    Raises:
        ValueError: a state of the wrong kind or shape, no real numbers, or a NaN or infinity.
    """
    if state is None:
        return [np.zeros(shape, dtype) for shape in shapes.values()]
    parts = unpack(state)
    if len(parts) != len(shapes):
        kind = "one array h" if len(shapes) == 1 else f"the pair ({', '.join(shapes)})"
        came = f"{len(parts)} arrays" if isinstance(state, tuple | list) else "one array"
        raise ValueError(f"{name} must be {kind}, got {came}.")
    arrays = []
    for (part, shape), value in zip(shapes.items(), parts, strict=True):
        check_shape(name if len(shapes) == 1 else f"{part} of {name}", value, shape)
        arrays.append(real_numbers(name, value, dtype))
        if finite:
            check_finite(name, arrays[-1])
    return arrays
