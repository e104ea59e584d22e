"""The recurrent layer (chapter ``recurrent_layer``): Elman, Cognitive Science 14 (1990).

    a_t = W_ih x_t + b_ih + W_hh h_{t-1} + b_hh
    h_t = tanh(a_t)                                  or relu(a_t)

Dimensions: T steps, B batch, D input, H hidden; in the loops x (T, D, B) and h (T + 1, H, B), with
h[t] the state before step t.
"""

import numpy as np

from rnnbook.checks import check_choice
from rnnbook.scratch.layer import Cell, RecurrentLayer, backwards, blocks, product

NONLINEARITIES = ("tanh", "relu")


class RNNCell(Cell):
    """One step: ``h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)``.

    Args:
        input_size: D.
        hidden_size: H.
        nonlinearity: "tanh" or "relu".
        dtype: float64 or float32.
        rng: draws the weights, uniform between ``+-1 / sqrt(H)``.

    Raises:
        ValueError: a size below one, another nonlinearity or dtype, or an ``rng`` that is no
            generator.

    Source: Elman (1990), Finding structure in time.
    """

    blocks = 1

    def __init__(self, input_size, hidden_size, nonlinearity="tanh", *, dtype=np.float64, rng=None):
        check_choice("nonlinearity", nonlinearity, NONLINEARITIES)
        self.nonlinearity = nonlinearity
        super().__init__(input_size, hidden_size, dtype=dtype, rng=rng)

    def step(self, x: np.ndarray, h: np.ndarray) -> np.ndarray:
        """``x`` (B, D), ``h`` (B, H), zeros if None -> the new state (B, H).

        Raises:
            ValueError: a wrong shape, a state of the wrong kind, or a NaN or infinity.
        """
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
    errors are those of :class:`~rnnbook.scratch.layer.RecurrentLayer`.

    Source: Elman (1990); backward: Werbos (1990), Backpropagation through time.
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
        times_w = product(w, B)

        read = self._array("read", T + 1, H + D + 1, B)  # what each step reads: [h; x; 1]
        read[:T, H:-1] = x
        read[:, -1] = 1
        h = read[:, :H]  # h[t + 1] is written where step t + 1 will read it
        h[0] = h0
        for read_t, h_t in zip(read[:T], h[1:], strict=True):
            times_w(read_t, h_t)  # a (H, B)
            if self.nonlinearity == "tanh":
                np.tanh(h_t, out=h_t)
            else:
                np.maximum(h_t, 0, out=h_t)
        return read, (h,)

    def _backward(self, weights, read, doutput, ends, dfinal):
        w_ih, w_hh, _, _ = weights
        T, H, B = doutput.shape
        h = read[1:, :H]
        times_w_hh_t = product(np.ascontiguousarray(w_hh.T), B)

        dx = self._array("dx", T, w_ih.shape[1], B)
        dw = np.zeros((H, read.shape[1]), h.dtype)  # (H, H + D + 1)
        dh = np.zeros((H, B), h.dtype)
        for block in blocks(T, B):
            h_block = h[block]
            slope = 1 - h_block * h_block if self.nonlinearity == "tanh" else h_block > 0
            da = self._array("da", T, H, B)[block]
            steps = backwards(range(T)[block], doutput[block], slope, da)
            for t, doutput_t, slope_t, da_t in steps:
                if t in ends:
                    dh[:, ends[t]] += dfinal[:, ends[t]]
                dh += doutput_t
                np.multiply(dh, slope_t, out=da_t)
                times_w_hh_t(da_t, dh)
            dw += self._sum_of_products(da, read[block])
            np.matmul(w_ih.T, da, out=dx[block])

        db = dw[:, -1]
        return dx, (dh,), (dw[:, H:-1].copy(), dw[:, :H].copy(), db.copy(), db.copy())
