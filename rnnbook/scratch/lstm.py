"""The LSTM (chapter ``lstm``): Hochreiter & Schmidhuber (1997), with the forget gate of Gers,
Schmidhuber & Cummins (2000).

    i_t = sigmoid(W_ii x_t + b_ii + W_hi h_{t-1} + b_hi)      input gate
    f_t = sigmoid(W_if x_t + b_if + W_hf h_{t-1} + b_hf)      forget gate
    g_t = tanh   (W_ig x_t + b_ig + W_hg h_{t-1} + b_hg)      candidate
    o_t = sigmoid(W_io x_t + b_io + W_ho h_{t-1} + b_ho)      output gate
    c_t = f_t * c_{t-1} + i_t * g_t
    h_t = o_t * tanh(c_t)

Dimensions: T steps, B batch, D input, H hidden; in the loops x (T, D, B) and h, c (T + 1, H, B),
with h[t] the state before step t. The four blocks lie in the weight matrices in the order i, f, g,
o, as in torch.
"""

import numpy as np

from rnnbook.scratch.layer import Cell, RecurrentLayer, sigmoid, sum_of_products


class LSTMCell(Cell):
    """One step of the LSTM.

        c_t = f_t * c_{t-1} + i_t * g_t        h_t = o_t * tanh(c_t)

    with the gates ``i, f, o`` and the candidate ``g`` as at the head of this file.

    Args:
        input_size: D.
        hidden_size: H.
        dtype: float64 or float32.
        rng: draws the weights, uniform between ``+-1 / sqrt(H)``.

    Source: Hochreiter & Schmidhuber (1997); Gers et al. (2000).
    """

    blocks = 4
    state_names = ("h", "c")

    def gates(self, x: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, ...]:
        """``x`` (B, D), ``h`` (B, H) -> ``i, f, g, o``, each (B, H)."""
        w_ih, w_hh, b_ih, b_hh = self.params.values()
        a = x @ w_ih.T + b_ih + h @ w_hh.T + b_hh  # (B, 4H)
        a_i, a_f, a_g, a_o = np.split(a, 4, axis=1)
        return sigmoid(a_i), sigmoid(a_f), np.tanh(a_g), sigmoid(a_o)

    def step(self, x: np.ndarray, state) -> tuple[np.ndarray, np.ndarray]:
        """``x`` (B, D), ``state`` = (h, c), each (B, H) -> the new (h, c)."""
        x, (h, c) = self.checked(x, state)
        i, f, g, o = self.gates(x, h)
        c = f * c + i * g
        h = o * np.tanh(c)
        return h, c


class LSTM(RecurrentLayer):
    """The LSTM over whole sequences; the same as ``torch.nn.LSTM(batch_first=True)``.

    Args:
        input_size: D.
        hidden_size: H.
        num_layers: L, each reading the outputs of the one before.
        bidirectional: read every sequence from its end as well.
        dtype: float64 or float32.
        rng: draws the weights, uniform between ``+-1 / sqrt(H)``.

    The state is the pair ``(h, c)``. ``params`` and ``grads`` have the names and shapes of
    ``torch.nn.LSTM``. The methods and their errors are those of :class:`RecurrentLayer`.

    Source: Hochreiter & Schmidhuber (1997), Long short-term memory; Gers, Schmidhuber & Cummins
    (2000), Learning to forget.
    """

    blocks = 4
    state_names = ("h", "c")

    def _forward(self, weights, x, h0, c0):
        w_ih, w_hh, b_ih, b_hh = weights
        T, D, B = x.shape
        H = len(h0)
        # sigmoid(a) = tanh(a / 2) / 2 + 1 / 2: with the gates' weights halved beforehand, one
        # call of tanh serves all four blocks.
        half = np.array([0.5, 0.5, 1.0, 0.5], x.dtype)[:, None, None]  # i, f, g, o
        shift = np.array([0.5, 0.5, 0.0, 0.5], x.dtype)[:, None, None]
        w = np.concatenate([w_hh, w_ih, (b_ih + b_hh)[:, None]], axis=1)  # (4H, H + D + 1)
        w = (w.reshape(4, H, -1) * half).reshape(w.shape)

        read = np.empty((T + 1, H + D + 1, B), x.dtype)  # what each step reads: [h; x; 1]
        read[:T, H:-1] = x
        read[:, -1] = 1
        h = read[:, :H]  # h[t + 1] is written where step t + 1 will read it
        c = np.empty((T + 1, H, B), x.dtype)
        h[0], c[0] = h0, c0
        gates = np.empty((T, 4, H, B), x.dtype)
        tanh_c = np.empty((T, H, B), x.dtype)
        ig = np.empty((H, B), x.dtype)
        for t in range(T):
            gate = gates[t]
            np.dot(w, read[t], out=gate.reshape(4 * H, B))
            np.tanh(gate, out=gate)
            gate *= half
            gate += shift
            i, f, g, o = gate  # (H, B) each
            np.multiply(f, c[t], out=c[t + 1])
            np.multiply(i, g, out=ig)
            c[t + 1] += ig
            np.tanh(c[t + 1], out=tanh_c[t])
            np.multiply(o, tanh_c[t], out=h[t + 1])
        return (read, gates, c, tanh_c), (h, c)

    def _backward(self, weights, tape, doutput, ends, dh_final, dc_final):
        w_ih, w_hh, _, _ = weights
        read, gates, c, tanh_c = tape
        T, H, B = doutput.shape
        i, f, g, o = gates.transpose(1, 0, 2, 3)  # (T, H, B) each

        # Everything that does not depend on the step after, for all steps at once:
        # da_i, da_f, da_g are multiples of dc, and da_o and part of dc are multiples of dh.
        dc_to_a = np.stack([g * i * (1 - i), c[:-1] * f * (1 - f), i * (1 - g * g)], axis=1)
        dh_to_a_o = tanh_c * o * (1 - o)
        dh_to_c = o * (1 - tanh_c * tanh_c)

        w_hh_t = np.ascontiguousarray(w_hh.T)
        da = np.empty((T, 4, H, B), c.dtype)
        dh = np.zeros((H, B), c.dtype)
        dc = np.zeros((H, B), c.dtype)
        part = np.empty((H, B), c.dtype)
        for t in reversed(range(T)):
            if t in ends:
                dh[:, ends[t]] += dh_final[:, ends[t]]
                dc[:, ends[t]] += dc_final[:, ends[t]]
            dh += doutput[t]
            np.multiply(dh, dh_to_c[t], out=part)
            dc += part
            np.multiply(dc, dc_to_a[t], out=da[t, :3])
            np.multiply(dh, dh_to_a_o[t], out=da[t, 3])
            np.dot(w_hh_t, da[t].reshape(4 * H, B), out=dh)
            dc *= f[t]

        da = da.reshape(T, 4 * H, B)
        dw = sum_of_products(da, read[:T])  # (4H, H + D + 1)
        db = dw[:, -1]
        dx = np.matmul(w_ih.T, da)  # (T, D, B)
        return dx, (dh, dc), (dw[:, H:-1].copy(), dw[:, :H].copy(), db.copy(), db.copy())
