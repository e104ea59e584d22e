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

import numpy as np

from rnnbook.checks import (
    check_choice,
    check_finite,
    check_forward_ran,
    check_lengths,
    check_positive,
    check_shape,
)
from rnnbook.scratch.layer import Parameters, sigmoid


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


class _MinimalLayer(Parameters):
    """What MinGRU and MinLSTM share: everything but how ``a`` and ``b`` come from the input.

    A subclass names its number of blocks and turns pre-activations ``(B, T, blocks * H)`` into the
    coefficients ``a``, ``b`` (``_coefficients``) and their gradients back (``_dpre``).
    """

    blocks: int
    num_layers = 1
    bidirectional = False
    state_names = ("h",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        method: str = "scan",
        dtype: type = np.float64,
        rng: np.random.Generator | None = None,
    ):
        check_positive("input_size", input_size)
        check_positive("hidden_size", hidden_size)
        check_choice("method", method, ("loop", "scan"))
        self.input_size, self.hidden_size = input_size, hidden_size
        self._recurrence = {"loop": recurrence_loop, "scan": recurrence_scan}[method]
        shapes = {
            "weight_ih_l0": (self.blocks * hidden_size, input_size),
            "bias_ih_l0": (self.blocks * hidden_size,),
        }
        self._draw(shapes, input_size, dtype, rng)
        self._cache: tuple | None = None

    def forward(
        self, x: np.ndarray, state: np.ndarray | None = None, lengths: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """``x`` (B, T, D), ``state`` (1, B, H) or None for zeros -> ``output`` (B, T, H), state.

        With ``lengths`` (B,), a sequence's state stays as it is after its own last step, and its
        output is zero there, as for a packed sequence. Raises ``ValueError`` for a wrong shape, a
        length outside 1 ... T, and for an input or state that is not finite.
        """
        weight = self.params["weight_ih_l0"]
        x = np.asarray(x, dtype=weight.dtype)
        check_shape("x", x, ("B", "T", self.input_size))
        batch, steps, _ = x.shape
        if state is None:
            state = np.zeros((1, batch, self.hidden_size), dtype=weight.dtype)
        state = np.asarray(state, dtype=weight.dtype)
        check_shape("state", state, (1, batch, self.hidden_size))
        check_finite("state", state)
        real = np.ones((batch, steps, 1), dtype=bool)
        if lengths is not None:
            real = (np.arange(steps) < check_lengths(lengths, batch, steps)[:, None])[..., None]
            x = np.where(real, x, 0)  # what lies beyond a sequence is ignored
        check_finite("x", x)

        pre = x @ weight.T + self.params["bias_ih_l0"]  # (B, T, blocks * H)
        a, b, inner = self._coefficients(*np.split(pre, self.blocks, axis=2))
        a, b = np.where(real, a, 1), np.where(real, b, 0)  # padding: h_t = h_{t-1}
        h = self._recurrence(a, b, state[0])
        self._cache = x, real, a, state[0], h, inner
        return np.where(real, h, 0), h[None, :, -1].copy()

    def backward(
        self, doutput: np.ndarray | None, dstate: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """``doutput`` (B, T, H), ``dstate`` (1, B, H) -> ``dx`` (B, T, D), ``dstate0`` (1, B, H).

        Fills ``grads``. None stands for zeros. Raises ``ValueError`` for a wrong shape and
        ``RuntimeError`` before a forward.
        """
        check_forward_ran(self, self._cache)
        x, real, a, h0, h, inner = self._cache
        dh = np.zeros_like(h)
        if doutput is not None:
            check_shape("doutput", doutput, h.shape)
            dh += np.where(real, doutput, 0)
        if dstate is not None:
            check_shape("dstate", dstate, (1, *h0.shape))
            dh[:, -1] += dstate[0]

        da, db, dh0 = recurrence_backward(a, h0, h, dh, self._recurrence)
        da, db = np.where(real, da, 0), np.where(real, db, 0)
        dpre = np.concatenate(self._dpre(da, db, *inner), axis=2)
        rows = dpre.reshape(-1, dpre.shape[2])
        self.grads = {
            "weight_ih_l0": rows.T @ x.reshape(-1, self.input_size),
            "bias_ih_l0": rows.sum(0),
        }
        return dpre @ self.params["weight_ih_l0"], dh0[None]


class MinGRU(_MinimalLayer):
    """The GRU without what its gates see of the state.

        z_t = sigmoid(W_z x_t + b_z)
        n_t = W_n x_t + b_n
        h_t = (1 - z_t) * h_{t-1} + z_t * n_t

    Mind the roles: as in the paper, ``z`` lets the *new* value in, while in this library's
    :class:`~rnnbook.scratch.gru.GRU` (and torch's) it keeps the old one. ``params``:
    ``weight_ih_l0`` (2H, D) with the rows of z, then n; ``bias_ih_l0`` (2H). ``method`` is "scan"
    or "loop", with the same results.
    Raises ``ValueError`` for a size below one, another method or dtype, and an ``rng`` that is no
    generator.
    Source: Feng et al. (2024), Were RNNs All We Needed?
    """

    blocks = 2

    def _coefficients(self, a_z, n):
        z = sigmoid(a_z)
        return 1 - z, z * n, (z, n)

    def _dpre(self, da, db, z, n):
        dz = db * n - da
        return dz * z * (1 - z), db * z


class MinLSTM(_MinimalLayer):
    """The LSTM without output gate, and without what its gates see of the state.

        i_t = sigmoid(W_i x_t + b_i)
        f_t = sigmoid(W_f x_t + b_f)
        g_t = W_g x_t + b_g
        h_t = f_t / (f_t + i_t) * h_{t-1} + i_t / (f_t + i_t) * g_t

    Its state is one array ``h``, like a GRU's. ``params``: ``weight_ih_l0`` (3H, D) with the rows
    of i, f, g (the order of torch's LSTM); ``bias_ih_l0`` (3H). ``method`` is "scan" or "loop",
    with the same results. Raises ``ValueError`` for a size below one, another method or dtype, and
    an ``rng`` that is no generator.
    Source: Feng et al. (2024), Were RNNs All We Needed?
    """

    blocks = 3

    def _coefficients(self, a_i, a_f, g):
        i, f = sigmoid(a_i), sigmoid(a_f)
        # f / (f + i) by way of log f - log i, so that two closed gates do not give 0 / 0
        keep = sigmoid(np.logaddexp(0, -a_i) - np.logaddexp(0, -a_f))
        return keep, (1 - keep) * g, (i, f, g, keep)

    def _dpre(self, da, db, i, f, g, keep):
        dkeep = da - db * g
        # keep = f / (f + i):  dkeep/df = (1 - keep) keep / f,  dkeep/di = -(1 - keep) keep / i
        slope = dkeep * keep * (1 - keep)
        return -slope * (1 - i), slope * (1 - f), db * (1 - keep)
