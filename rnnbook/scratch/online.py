"""Gradients on a stream that does not end (chapter ``efficient_training``).

The state s_t is h_t, or h_t and c_t joined: S numbers. theta is all weights joined: N numbers.
Everything of the past that a gradient needs is in the influence matrix

    P_t = ds_t / dtheta,    (S, N)       P_t = J_t P_{t-1} + M_t,       P_0 = 0

with the step's Jacobian ``J_t = ds_t / ds_{t-1}`` (S, S) and its immediate derivative ``M_t``
(S, N), in which s_{t-1} is held fixed. The loss of step t then adds ``dL_t/ds_t P_t`` to the
gradient. Four ways to carry P, or something in its place, from step to step:

    RTRL            P itself                                 S N numbers    exact
    SnAp1           its entries that one step fills          N              biased
    UORO            a random product of two vectors          S + N          unbiased, noisy
    TruncatedBPTT   nothing of it; the last steps instead    O(S) a step    biased

They read one stream, B = 1, and what they keep does not grow with its length.
"""

import copy
from collections import deque
from typing import Any

import numpy as np

from rnnbook.checks import (
    check_finite,
    check_generator,
    check_positive,
    check_shape,
    real_numbers,
)
from rnnbook.scratch.gru import GRUCell
from rnnbook.scratch.layer import Cell
from rnnbook.scratch.lstm import LSTMCell
from rnnbook.scratch.minimal import MinGRUCell, MinLSTMCell
from rnnbook.scratch.module import Params
from rnnbook.scratch.recurrent_layer import RNNCell
from rnnbook.scratch.states import State, pack, unpack

# In a step of theirs a weight reaches the unit of its row only, and complex numbers pass.
UNIT_BY_UNIT = (RNNCell, LSTMCell, GRUCell, MinGRUCell, MinLSTMCell)


class OnlineGradient:
    """Reads a stream step by step and has the gradient of each step's loss at once.

        h = online.step(x)            x (1, D) -> h (1, H)
        grads = online.gradient(dh)   dL_t/dh_t (1, H) -> what this loss adds to each gradient

    With fixed weights the sum over all steps is the gradient of the summed loss. Weights may
    be changed after any step; what is carried on then still comes from the old ones.

    Args:
        cell: the cell, whose present weights each step uses.

    Raises:
        ValueError: for what is no cell; from the methods, for a wrong shape, NaN or infinity.
    """

    def __init__(self, cell: Cell):
        if not isinstance(cell, Cell):
            raise ValueError(f"cell must be a Cell, got {type(cell).__name__}.")
        self.cell = cell
        shapes = cell.state_shapes(1).values()
        self.state = pack([np.zeros(shape, cell.dtype) for shape in shapes])
        self.memory: Any = None  # all that is kept of the past

    def step(self, x: Any) -> np.ndarray:
        """Read ``x`` (1, D). Returns ``h`` (1, H)."""
        x = real_numbers("x", x, self.cell.dtype)
        check_shape("x", x, (1, self.cell.input_size))
        check_finite("x", x)
        before, x = self.state, x.copy()
        self.state, kept = self.cell.step(x, before)
        self._carry(x, before, kept)
        return unpack(self.state)[0].copy()

    def gradient(self, dh: Any) -> Params:
        """``dh`` (1, H) of the last step's loss -> its gradient for each of ``params``."""
        dh = real_numbers("dh", dh, self.cell.dtype)
        check_shape("dh", dh, (1, self.cell.output_size))
        return apart(self._gradient(dh), self.cell.params)

    @property
    def numbers(self) -> int:
        """How many numbers are kept of the past, beside the weights and the last state."""
        return sum({id(a): a.size for a in arrays(self.memory)}.values())

    def _carry(self, x, before, kept) -> None:
        """Bring ``memory`` from the state ``before`` to the present one."""
        raise NotImplementedError

    def _gradient(self, dh) -> np.ndarray:
        """``dh`` (1, H) -> the gradient of theta (N,)."""
        raise NotImplementedError


class RTRL(OnlineGradient):
    """Real-time recurrent learning: ``P_t = J_t P_{t-1} + M_t``, nothing left out.

    Any cell. Keeps S N numbers; a step takes about S^2 N multiplications.

    Args and errors: as :class:`OnlineGradient`.

    Source: Williams & Zipser (1989), A Learning Algorithm for Continually Running Fully
    Recurrent Neural Networks.
    """

    def __init__(self, cell: Cell):
        super().__init__(cell)
        S, N = joined(self.state).size, joined(cell.params).size
        self.memory = np.zeros((S, N), cell.dtype)

    def _carry(self, x, before, kept):
        J, M = jacobians(self.cell, kept)
        self.memory = J @ self.memory + M

    def _gradient(self, dh):
        return dh[0] @ self.memory[: dh.size]


class SnAp1(OnlineGradient):
    """RTRL that keeps the entries of P which a single step fills, and drops the others.

    In one step a weight reaches the unit i of its row only. So of a column of P the entry of
    unit i is kept, and hears of the past through the unit's own entry of the Jacobian:

        p_t = J_ii p_{t-1} + m_t

    What goes through other units is left out. In MinGRU and MinLSTM nothing does: exact. An
    LSTM's unit has two entries, h_i and c_i, and a p for each.
    Keeps N numbers (LSTM: 2N); a step takes O(N) multiplications.

    Args:
        cell: an RNN, LSTM, GRU, MinGRU or MinLSTM cell.

    Raises:
        ValueError: for another cell, and as :class:`OnlineGradient`.

    Source: Menick et al. (2021), Practical Real Time Recurrent Learning with a Sparse
    Approximation, section 3; exact for linear recurrences that are diagonal: Zucchet et al.
    (2023), Online Learning of Long-Range Dependencies.
    """

    def __init__(self, cell: Cell):
        check_unit_by_unit(cell)
        super().__init__(cell)
        H, parts = cell.hidden_size, len(cell.state_names)
        weights = cell.params.values()
        rows = [np.arange(len(w)).repeat(w[0].size) for w in weights]
        self.unit = np.concatenate(rows) % H  # (N,): the unit whose row a weight is in
        self.alone = copy.copy(cell)
        self.memory = np.zeros((parts, self.unit.size), cell.dtype)

    def _carry(self, x, before, kept):
        self.alone.params = without_others(self.cell.params)
        parts, H = len(self.memory), self.cell.hidden_size
        each = np.eye(parts, dtype=self.cell.dtype).repeat(H, axis=1)  # all of h; all of c
        rows = [back_rows(self.alone, u, kept) for u in each]
        J = np.array([row for row, _ in rows]).reshape(parts, parts, H)
        M = np.array([row for _, row in rows])
        self.memory = np.einsum("abn,bn->an", J[:, :, self.unit], self.memory) + M

    def _gradient(self, dh):
        return dh[0, self.unit] * self.memory[0]


class UORO(OnlineGradient):
    """Unbiased online recurrent optimization: P as a product of two random vectors.

        s~_t     = rho_0 J_t s~_{t-1} + rho_1 nu               nu: S random signs
        theta~_t = theta~_{t-1} / rho_0 + nu M_t / rho_1

    The mean of ``s~_t theta~_t`` over all signs is P_t, for any positive rho_0 and rho_1. Those
    here make the terms of both vectors equally long, where the spread is least.
    Keeps S + N numbers; a step takes O(N) multiplications.

    Args:
        cell: an RNN, LSTM, GRU, MinGRU or MinLSTM cell.
        rng: draws the signs.

    Raises:
        ValueError: for another cell, an ``rng`` that is no generator, and as
            :class:`OnlineGradient`.

    Source: Tallec & Ollivier (2018), Unbiased Online Recurrent Optimization, algorithm 1.
    """

    def __init__(self, cell: Cell, rng: np.random.Generator):
        check_unit_by_unit(cell)
        check_generator("rng", rng)
        super().__init__(cell)
        self.rng = rng
        self.memory = np.zeros_like(joined(self.state)), np.zeros_like(joined(cell.params))

    def _carry(self, x, before, kept):
        s, theta = self.memory
        nu = self.rng.choice([-1.0, 1.0], s.size).astype(s.dtype)
        J_s = forward_derivative(self.cell, x, before, s)
        _, nu_M = back_rows(self.cell, nu, kept)
        rho_0, rho_1 = balance(theta, J_s), balance(nu_M, nu)
        self.memory = rho_0 * J_s + rho_1 * nu, theta / rho_0 + nu_M / rho_1

    def _gradient(self, dh):
        s, theta = self.memory
        return (dh[0] @ s[: dh.size]) * theta


class TruncatedBPTT(OnlineGradient):
    """Back through the last ``window`` steps at every step, and no further.

    Any cell. Keeps what ``back`` needs of ``window`` steps, and takes them all at each gradient.
    With a window as long as the stream: backpropagation through time.

    Args:
        cell: the cell.
        window: how many steps, at least one.

    Raises:
        ValueError: for a window below one, and as :class:`OnlineGradient`.

    Source: Williams & Peng (1990), An Efficient Gradient-Based Algorithm for On-Line Training
    of Recurrent Network Trajectories.
    """

    def __init__(self, cell: Cell, window: int):
        super().__init__(cell)
        self.memory = deque(maxlen=check_positive("window", window))

    def _carry(self, x, before, kept):
        self.memory.append(kept)

    def _gradient(self, dh):
        total = np.zeros_like(joined(self.cell.params))
        u = np.zeros_like(joined(self.state))
        u[: dh.size] = dh[0]
        for kept in reversed(self.memory):
            u, u_M = back_rows(self.cell, u, kept)
            total += u_M
        return total


def back_rows(cell: Cell, u: np.ndarray, kept: Any) -> tuple[np.ndarray, np.ndarray]:
    """The cell's ``back`` in rows: ``u`` (S,) -> ``u J`` (S,) and ``u M`` (N,)."""
    _, earlier, grads = cell.back(split(u, cell), kept)
    return joined(earlier), joined({name: grads[name] for name in cell.params})


def jacobians(cell: Cell, kept: Any) -> tuple[np.ndarray, np.ndarray]:
    """``J`` (S, S) and ``M`` (S, N) of a step, row by row: unit vectors, taken back through it."""
    state_size = sum(size for _, size in cell.state_shapes(1).values())
    units = np.eye(state_size, dtype=cell.dtype)
    rows = [back_rows(cell, unit, kept) for unit in units]
    return np.array([row for row, _ in rows]), np.array([row for _, row in rows])


def forward_derivative(cell: Cell, x, state, v: np.ndarray) -> np.ndarray:
    """``J v`` (S,), by a step from ``s + i eps v``, which ends in ``f(s) + i eps J v``.

    That holds up to eps^2, and nothing is subtracted: with eps = 1e-20, exact to rounding.
    """
    eps = 1e-20
    aside = split(joined(state) + 1j * eps * v, cell)
    return joined(cell.step(x, aside)[0]).imag / eps


def balance(a: np.ndarray, b: np.ndarray) -> float:
    """The rho with ``|a / rho| = |rho b|``; 1 where both are zero."""
    tiny = 1e-9
    return float(np.sqrt((np.linalg.norm(a) + tiny) / (np.linalg.norm(b) + tiny)))


def without_others(params: Params) -> Params:
    """The weights, but those from one unit to another are zero."""
    if "weight_hh" not in params:
        return params
    w = params["weight_hh"]  # (G * H, H)
    own = np.arange(len(w))[:, None] % w.shape[1] == np.arange(w.shape[1])
    return params | {"weight_hh": np.where(own, w, 0)}


def joined(parts: State | Params) -> np.ndarray:
    """All numbers of a state, or of a dict of weights, in one row."""
    each = parts.values() if isinstance(parts, dict) else unpack(parts)
    return np.concatenate([array.ravel() for array in each])


def split(row: np.ndarray, cell: Cell) -> State:
    """A row (S,) as a state of the cell: undoes :func:`joined`."""
    ends = np.cumsum([size for _, size in cell.state_shapes(1).values()])
    return pack(np.split(row[None], ends[:-1], axis=1))


def apart(row: np.ndarray, like: Params) -> Params:
    """A row (N,) as a dict of weights: undoes :func:`joined`."""
    rows = np.split(row, np.cumsum([value.size for value in like.values()])[:-1])
    return {
        name: part.reshape(value.shape)
        for (name, value), part in zip(like.items(), rows, strict=True)
    }


def arrays(nest: Any) -> list[np.ndarray]:
    """All arrays in tuples within tuples."""
    if isinstance(nest, np.ndarray):
        return [nest]
    return [array for part in nest for array in arrays(part)]


def check_unit_by_unit(cell: Any) -> None:
    """Raise ``ValueError`` unless ``cell`` is one of the five kinds that SnAp1 and UORO take."""
    if type(cell) not in UNIT_BY_UNIT:
        kinds = ", ".join(kind.__name__ for kind in UNIT_BY_UNIT)
        raise ValueError(f"cell must be one of {kinds}, got {type(cell).__name__}.")
