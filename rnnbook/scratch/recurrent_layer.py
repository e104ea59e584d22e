"""The recurrent layer (chapter ``recurrent_layer``): Elman, Cognitive Science 14 (1990).

    a_t = W_ih x_t + b_ih + W_hh h_{t-1} + b_hh
    h_t = tanh(a_t)                                  or relu(a_t)

Dimensions: T steps, B batch, D input, H hidden; in the loops x (T, D, B) and h (T + 1, H, B), with
h[t] the state before step t.
"""

import numpy as np

from rnnbook.checks import check_choice
from rnnbook.scratch.layer import Cell, RecurrentLayer, sum_of_products

NONLINEARITIES = ("tanh", "relu")


class RNNCell(Cell):
    """One step: ``h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)``.

    Args:
        input_size: D.
        hidden_size: H.
        nonlinearity: "tanh" or "relu".
        dtype: float64 or float32.
        rng: draws the weights, uniform between ``+-1 / sqrt(H)``.

    Source: Elman (1990), Finding structure in time.
    """

    blocks = 1

    def __init__(self, input_size, hidden_size, nonlinearity="tanh", *, dtype=np.float64, rng=None):
        check_choice("nonlinearity", nonlinearity, NONLINEARITIES)
        self.nonlinearity = nonlinearity
        super().__init__(input_size, hidden_size, dtype=dtype, rng=rng)

    def step(self, x: np.ndarray, h: np.ndarray) -> np.ndarray:
        """``x`` (B, D), ``h`` (B, H) -> the new state (B, H)."""
        x, h = self.checked(x, h)
        w_ih, w_hh, b_ih, b_hh = self.params.values()
        a = x @ w_ih.T + b_ih + h @ w_hh.T + b_hh  # (B, H)
        return np.tanh(a) if self.nonlinearity == "tanh" else np.maximum(a, 0)


class RNN(RecurrentLayer):
    """The recurrent layer over whole sequences; the same as ``torch.nn.RNN(batch_first=True)``.

    Args:
        input_size: D.
        hidden_size: H.
        num_layers: L, each reading the outputs of the one before.
        bidirectional: read every sequence from its end as well.
        nonlinearity: "tanh" or "relu".
        dtype: float64 or float32.
        rng: draws the weights, uniform between ``+-1 / sqrt(H)``.

    ``params`` and ``grads`` have the names and shapes of ``torch.nn.RNN``. The methods and their
    errors are those of :class:`RecurrentLayer`.

    Source: Elman (1990); backward: Werbos (1990), Backpropagation through time, section III.
    """

    blocks = 1

    def __init__(
        self,
        input_size,
        hidden_size,
        num_layers=1,
        bidirectional=False,
        *,
        nonlinearity="tanh",
        dtype=np.float64,
        rng=None,
    ):
        check_choice("nonlinearity", nonlinearity, NONLINEARITIES)
        self.nonlinearity = nonlinearity
        super().__init__(input_size, hidden_size, num_layers, bidirectional, dtype=dtype, rng=rng)

    def _forward(self, weights, x, h0):
        w_ih, w_hh, b_ih, b_hh = weights
        T, D, B = x.shape
        H = len(h0)
        w = np.concatenate([w_hh, w_ih, (b_ih + b_hh)[:, None]], axis=1)  # (H, H + D + 1)

        read = np.empty((T + 1, H + D + 1, B), x.dtype)  # what each step reads: [h; x; 1]
        read[:T, H:-1] = x
        read[:, -1] = 1
        h = read[:, :H]  # h[t + 1] is written where step t + 1 will read it
        h[0] = h0
        for t in range(T):
            a = np.dot(w, read[t], out=h[t + 1])  # (H, B)
            if self.nonlinearity == "tanh":
                np.tanh(a, out=a)
            else:
                np.maximum(a, 0, out=a)
        return read, (h,)

    def _backward(self, weights, read, doutput, ends, dfinal):
        w_ih, w_hh, _, _ = weights
        T, H, B = doutput.shape
        h = read[1:, :H]
        slope = 1 - h * h if self.nonlinearity == "tanh" else (h > 0).astype(h.dtype)

        w_hh_t = np.ascontiguousarray(w_hh.T)
        da = np.empty((T, H, B), h.dtype)
        dh = np.zeros((H, B), h.dtype)
        for t in reversed(range(T)):
            if t in ends:
                dh[:, ends[t]] += dfinal[:, ends[t]]
            dh += doutput[t]
            np.multiply(dh, slope[t], out=da[t])
            np.dot(w_hh_t, da[t], out=dh)

        dw = sum_of_products(da, read[:T])  # (H, H + D + 1)
        db = dw[:, -1]
        dx = np.matmul(w_ih.T, da)  # (T, D, B)
        return dx, (dh,), (dw[:, H:-1].copy(), dw[:, :H].copy(), db.copy(), db.copy())
