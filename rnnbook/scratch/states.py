"""A recurrent state: one array ``h`` for RNN and GRU, the pair ``(h, c)`` for the LSTM."""

from collections.abc import Sequence

import numpy as np

from rnnbook.checks import check_shape

State = np.ndarray | tuple[np.ndarray, ...]


def unpack(state: State) -> list[np.ndarray]:
    """``[h]`` or ``[h, c]``."""
    return list(state) if isinstance(state, tuple | list) else [state]


def pack(arrays: Sequence[np.ndarray]) -> State:
    """The inverse of :func:`unpack`."""
    return arrays[0] if len(arrays) == 1 else tuple(arrays)


def check_state(name: str, state: State, like: State) -> None:
    """Raise ``ValueError`` unless ``state`` is of the kind and the shapes of ``like``."""
    arrays, wanted = unpack(state), unpack(like)
    if len(arrays) != len(wanted):
        kind = "one array h" if len(wanted) == 1 else "the pair (h, c)"
        came = f"{len(arrays)} arrays" if isinstance(state, tuple | list) else "one array"
        raise ValueError(f"{name} must be {kind}, got {came}.")
    for part, array, want in zip("hc", arrays, wanted, strict=False):
        check_shape(name if len(wanted) == 1 else f"{part} of {name}", array, want.shape)
