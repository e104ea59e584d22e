"""Recurrences that can run in parallel over time (chapter ``efficient_training``).

When the gates look at the input only, and not at the state, the state obeys a linear recurrence,

    h_t = a_t * h_{t-1} + b_t,           a, b, h (B, T, H)     h_0 (B, H)     t = 1 ... T

whose coefficients are known for all t before the first step is taken. Two steps in a row are again
such a step, with coefficients ``(a_t a_{t-1}, a_t b_{t-1} + b_t)``. This composition is
associative, so the steps may be grouped at will: that is a scan. :func:`recurrence_loop` takes T
steps one after the other, :func:`recurrence_scan` about 2 log2(T) rounds over whole arrays. They
agree up to rounding.

Which of them is faster depends on the machine and on B x H: measure before choosing.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from rnnbook.checks import check_choice
from rnnbook.scratch.layer import Cell, RecurrentLayer, inside, sigmoid
from rnnbook.scratch.module import DType, Params


def recurrence_loop(a: np.ndarray, b: np.ndarray, h0: np.ndarray) -> np.ndarray:
    """All states of ``h_t = a_t * h_{t-1} + b_t``, one step after the other.

    ``a``, ``b`` (B, T, H) and ``h0`` (B, H) -> ``h`` (B, T, H). Shapes and values are not checked:
    what does not fit raises NumPy's ``ValueError`` or ``IndexError``, or is broadcast.
    """
    h = np.empty_like(b)
    previous = h0
    for t in range(b.shape[1]):
        previous = a[:, t] * previous + b[:, t]
        h[:, t] = previous
    return h


def recurrence_scan(a: np.ndarray, b: np.ndarray, h0: np.ndarray) -> np.ndarray:
    """All states of ``h_t = a_t * h_{t-1} + b_t``, by a scan.

    ``a``, ``b`` (B, T, H) and ``h0`` (B, H) -> ``h`` (B, T, H), by O(B T H) multiplications in all.
    Nothing is divided and no logarithm is taken, so coefficients of any sign and size will do.
    T is at least one. Shapes and values are not checked: what does not fit raises NumPy's
    ``ValueError``, or is broadcast.
    Source: Blelloch (1990), Prefix Sums and Their Applications, CMU-CS-90-190, section 1.4; for
    recurrent networks Martin & Cundy (2018), Parallelizing Linear Recurrent Neural Nets Over
    Sequence Length.
    """
    first = a[:, :1] * h0[:, None] + b[:, :1]  # with h0 inside, what precedes is zero
    return _scan(a, np.concatenate([first, b[:, 1:]], axis=1))


def _scan(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The recurrence from a zero state: every second state first, then those in between."""
    steps = b.shape[1]
    if steps == 1:
        return b
    a_even, b_even = a[:, 0 : steps - 1 : 2], b[:, 0 : steps - 1 : 2]
    a_odd, b_odd = a[:, 1::2], b[:, 1::2]
    h = np.empty_like(b)
    h[:, 1::2] = _scan(a_odd * a_even, a_odd * b_even + b_odd)  # two steps at once
    h[:, 0] = b[:, 0]
    h[:, 2::2] = a[:, 2::2] * h[:, 1 : steps - 1 : 2] + b[:, 2::2]
    return h


def recurrence_backward(
    a: np.ndarray,
    h0: np.ndarray,
    h: np.ndarray,
    dh: np.ndarray,
    recurrence: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of a linear recurrence, by the same recurrence run backwards in time.

    ``dh`` (B, T, H) is the immediate gradient of each state. The total one, ``delta``, also counts
    what reaches the loss through the next state:

        delta_t = dh_t + a_{t+1} * delta_{t+1},          delta_{T+1} = 0

    which is the forward recurrence with time reversed and ``a`` moved by one step; so a scan serves
    here as well. Then, from ``h_t = a_t * h_{t-1} + b_t``,

        da_t = delta_t * h_{t-1}        db_t = delta_t        dh_0 = a_1 * delta_1

    ``recurrence`` is :func:`recurrence_loop` or :func:`recurrence_scan`. Returns ``(da, db, dh0)``.
    Shapes and values are not checked: what does not fit raises as the recurrence does.
    Source: Martin & Cundy (2018).
    """
    a_next = np.concatenate([a[:, 1:], np.zeros_like(a[:, :1])], axis=1)
    delta = recurrence(a_next[:, ::-1], dh[:, ::-1], np.zeros_like(h0))[:, ::-1]
    h_before = np.concatenate([h0[:, None], h[:, :-1]], axis=1)
    return delta * h_before, delta, a[:, 0] * delta[:, 0]


class _MinimalCell(Cell):
    """A step of ``h_t = a_t * h_{t-1} + b_t``, with coefficients that come from the input alone.

    A subclass computes them from the blocks of ``W x_t + b`` (``coefficients``), and takes their
    gradients back (``coefficients_back``). ``params``: ``weight_ih`` (G * H, D), ``bias_ih``
    (G * H,), drawn uniformly between ``+-1 / sqrt(D)``.
    """

    def shapes(self) -> dict[str, tuple[int, ...]]:
        rows = self.blocks * self.hidden_size
        return {"weight_ih": (rows, self.input_size), "bias_ih": (rows,)}

    def bound(self) -> float:
        return float(1 / np.sqrt(self.input_size))

    def coefficients(self, *p: Any) -> tuple[np.ndarray, np.ndarray, Any]:
        """The blocks (..., H) of ``W x + b`` -> ``a``, ``b`` (..., H), what the way back needs."""
        raise NotImplementedError

    def coefficients_back(self, da: np.ndarray, db: np.ndarray, kept: Any) -> list[np.ndarray]:
        """``da``, ``db`` (..., H) -> the gradients of the blocks (..., H)."""
        raise NotImplementedError

    def products(self, x: np.ndarray) -> list[np.ndarray]:
        """``x`` (..., D) -> the blocks of ``W x + b``, each (..., H)."""
        p = x @ self.params["weight_ih"].T + self.params["bias_ih"]
        return np.split(p, self.blocks, axis=-1)

    def products_back(self, dp: list[np.ndarray], x: np.ndarray) -> tuple[np.ndarray, Params]:
        """The gradients of the blocks -> ``dx`` (..., D), and those of the weights."""
        dp_all = np.concatenate(dp, axis=-1)  # (..., G * H)
        rows = dp_all.reshape(-1, dp_all.shape[-1])
        grads = {"weight_ih": rows.T @ x.reshape(len(rows), -1), "bias_ih": rows.sum(axis=0)}
        return dp_all @ self.params["weight_ih"], grads

    def step(self, x, h_before):
        """``x`` (B, D), ``h_before`` (B, H) -> ``h`` (B, H), and what :meth:`back` needs."""
        a, b, kept = self.coefficients(*self.products(x))
        return a * h_before + b, (x, h_before, a, kept)

    def back(self, dh, kept):
        """``dh`` (B, H) -> ``dx`` (B, D), ``dh_before`` (B, H), the gradients of the weights."""
        x, h_before, a, of_coefficients = kept
        dp = self.coefficients_back(dh * h_before, dh, of_coefficients)
        dx, grads = self.products_back(dp, x)
        return dx, dh * a, grads


class MinGRUCell(_MinimalCell):
    """One step of :class:`MinGRU`: ``h_t = (1 - z_t) * h_{t-1} + z_t * n_t``.

    Args and errors: as :class:`~rnnbook.scratch.layer.Cell`. Source: Feng et al. (2024).
    """

    blocks = 2

    def coefficients(self, a_z, n):
        """``z = sigmoid(a_z)``: ``a = 1 - z``, ``b = z * n``."""
        z = sigmoid(a_z)
        return 1 - z, z * n, (z, n)

    def coefficients_back(self, da, db, kept):
        """Through ``a = 1 - z`` and ``b = z * n``."""
        z, n = kept
        dz = db * n - da
        return [dz * z * (1 - z), db * z]


class MinLSTMCell(_MinimalCell):
    """One step of :class:`MinLSTM`: ``h_t = (f_t h_{t-1} + i_t g_t) / (f_t + i_t)``.

    Args and errors: as :class:`~rnnbook.scratch.layer.Cell`. Source: Feng et al. (2024).
    """

    blocks = 3

    def coefficients(self, a_i, a_f, g):
        """``i, f = sigmoid(a_i), sigmoid(a_f)``: ``a = f / (f + i)``, ``b = (1 - a) * g``."""
        i, f = sigmoid(a_i), sigmoid(a_f)
        # f / (f + i) by way of log f - log i, so that two closed gates do not give 0 / 0
        a = sigmoid(np.logaddexp(0, -a_i) - np.logaddexp(0, -a_f))
        return a, (1 - a) * g, (i, f, g, a)

    def coefficients_back(self, da, db, kept):
        """Through ``b = (1 - a) * g`` and ``a = f / (f + i)``."""
        i, f, g, a = kept
        # da/df = (1 - a) a / f,  da/di = -(1 - a) a / i
        slope = (da - db * g) * a * (1 - a)
        return [-slope * (1 - i), slope * (1 - f), db * (1 - a)]


class _MinimalLayer(RecurrentLayer):
    """What MinGRU and MinLSTM share: the scan in the place of the loop."""

    cell: ClassVar[type[_MinimalCell]]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bidirectional: bool = False,
        *,
        method: str = "scan",
        dtype: DType = np.float64,
        rng: np.random.Generator | None = None,
    ):
        check_choice("method", method, ("loop", "scan"))
        self.method = method
        super().__init__(input_size, hidden_size, num_layers, bidirectional, dtype=dtype, rng=rng)

    def _run(self, i, x, state, lengths):
        if self.method == "loop":
            return super()._run(i, x, state, lengths)
        cell, x = self.cells[i], x.copy()  # the caller may change x before backward reads it
        a, b, kept = cell.coefficients(*cell.products(x))
        goes_on = True if lengths is None else inside(lengths, x.shape[1])
        a, b = np.where(goes_on, a, 1), np.where(goes_on, b, 0)  # afterwards: h_t = h_{t-1}
        h = recurrence_scan(a, b, state)
        return np.where(goes_on, h, 0), h[:, -1], (x, state, a, h, kept, goes_on)

    def _run_back(self, i, tape, doutput, dstate, lengths):
        if self.method == "loop":
            return super()._run_back(i, tape, doutput, dstate, lengths)
        cell, (x, state, a, h, kept, goes_on) = self.cells[i], tape
        dh = doutput.copy()
        dh[:, -1] += dstate
        da, db, dstart = recurrence_backward(a, state, h, dh, recurrence_scan)
        da, db = np.where(goes_on, da, 0), np.where(goes_on, db, 0)
        dx, grads = cell.products_back(cell.coefficients_back(da, db, kept), x)
        return dx, dstart, grads


class MinGRU(_MinimalLayer):
    """The GRU without what its gates see of the state.

        z_t = sigmoid(W_z x_t + b_z)
        n_t = W_n x_t + b_n
        h_t = (1 - z_t) * h_{t-1} + z_t * n_t

    Mind the roles: as in the paper, ``z`` lets the *new* value in, while in this library's
    :class:`~rnnbook.scratch.gru.GRU` (and torch's) it keeps the old one.

    Args:
        input_size: D.
        hidden_size: H.
        num_layers: L, each reading the outputs of the one before.
        bidirectional: read every sequence from its end as well.
        method: "scan" or "loop", with the same results.
        dtype: float64 or float32.
        rng: draws the weights, uniform between ``+-1 / sqrt(D)``.

    ``params``: ``weight_ih_l0`` (2H, D) with the rows of z, then n; ``bias_ih_l0`` (2H).
    Raises ``ValueError`` for a size below one, another method or dtype, and an ``rng`` that is no
    generator.
    Source: Feng et al. (2024), Were RNNs All We Needed?
    """

    cell = MinGRUCell


class MinLSTM(_MinimalLayer):
    """The LSTM without output gate, and without what its gates see of the state.

        i_t = sigmoid(W_i x_t + b_i)
        f_t = sigmoid(W_f x_t + b_f)
        g_t = W_g x_t + b_g
        h_t = f_t / (f_t + i_t) * h_{t-1} + i_t / (f_t + i_t) * g_t

    Its state is one array ``h``, like a GRU's. Args and errors as :class:`MinGRU`. ``params``:
    ``weight_ih_l0`` (3H, D) with the rows of i, f, g (the order of torch's LSTM); ``bias_ih_l0``
    (3H).
    Source: Feng et al. (2024), Were RNNs All We Needed?
    """

    cell = MinLSTMCell
