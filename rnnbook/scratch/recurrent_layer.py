"""The simple recurrent layer (chapter ``recurrent_layer``).

    a_t = W_ih x_t + b_ih + W_hh h_{t-1} + b_hh
    h_t = tanh(a_t)        or   h_t = max(0, a_t)

B sequences   D inputs   H hidden units         x_t (D, B)   a_t, h_t (H, B)

Inside a step, units stand in rows and sequences in columns, as in the formulas, and the three parts
of the sum are one product: W u_t with u_t = [x_t; 1; h_{t-1}] (see :mod:`rnnbook.scratch.layer`).
Source: Elman (1990), Finding Structure in Time, Cognitive Science 14(2).
"""

from types import SimpleNamespace

import numpy as np

from rnnbook.checks import check_choice
from rnnbook.scratch.layer import Cell, RecurrentLayer


class RNNCell(Cell):
    """One step of :class:`RNN`: ``h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)``.

    ``nonlinearity`` is "tanh" or "relu". ``params``: ``weight_ih`` (H, D), ``weight_hh`` (H, H),
    ``bias_ih`` and ``bias_hh`` (H).
    """

    blocks = 1

    def __init__(self, input_size: int, hidden_size: int, *, nonlinearity="tanh", **options):
        check_choice("nonlinearity", nonlinearity, ("tanh", "relu"))
        super().__init__(input_size, hidden_size, **options)
        self.nonlinearity = nonlinearity
        self.activate, self.slope = {"tanh": (np.tanh, tanh_slope), "relu": (relu, relu_slope)}[
            nonlinearity
        ]

    def allocate(self, steps: int, batch: int) -> SimpleNamespace:
        tape = super().allocate(steps, batch)
        tape.da = self.empty(steps, self.hidden_size, batch)
        tape.states, tape.dstates = (tape.h,), (tape.dh,)
        tape.forward = list(zip(tape.u, tape.h[1:], strict=True))
        tape.backward = list(zip(tape.dh[1:], tape.da, tape.du, strict=True))
        return tape

    def forward_step(self, u, h):
        a = np.dot(self.W, u, out=h)  # (H, B)  a = W_ih x + b_ih + W_hh h_before + b_hh
        self.activate(a, out=h)  # (H, B)  h = tanh(a)

    def slopes(self, tape, part):
        self.slope(tape.h[1:][part], out=tape.da[part])  # 1 - h^2

    def backward_step(self, dh, da, du):
        da *= dh  # (H, B)  da = (1 - h^2) * dh
        np.dot(self.W.T, da, out=du)  # (D + 1 + H, B)  dx = W_ih^T da,  dh_before = W_hh^T da


class RNN(RecurrentLayer):
    """The simple recurrent layer, as ``torch.nn.RNN(batch_first=True)``.

        h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)

    with ``max(0, .)`` in place of ``tanh`` for ``nonlinearity="relu"``. The state is ``h``
    (L * directions, B, H). See :class:`rnnbook.scratch.layer.RecurrentLayer` for ``forward``,
    ``backward``, ``params`` and ``grads``.
    Raises ``ValueError`` for a size that is not a whole number of at least 1, an unknown
    ``nonlinearity`` and a ``dtype`` other than float32 and float64.
    Source: Elman (1990), Finding Structure in Time, Cognitive Science 14(2).
    """

    cell_class = RNNCell

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bidirectional: bool = False,
        *,
        nonlinearity: str = "tanh",
        dtype: type = np.float64,
        rng: np.random.Generator | None = None,
    ):
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bidirectional,
            dtype=dtype,
            rng=rng,
            nonlinearity=nonlinearity,
        )
        self.nonlinearity = nonlinearity


def tanh_slope(h, out):
    """The derivative of tanh where it has the value ``h``: 1 - h^2."""
    np.multiply(h, h, out=out)
    np.subtract(1, out, out=out)


def relu(a, out):
    """max(0, a)."""
    np.maximum(a, 0, out=out)


def relu_slope(h, out):
    """The derivative of max(0, a) where it has the value ``h``: 1 if h > 0, else 0."""
    np.greater(h, 0, out=out)
