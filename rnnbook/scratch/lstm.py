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

from rnnbook.scratch.layer import (
    Cell,
    RecurrentLayer,
    backwards,
    blocks,
    product,
    sigmoid,
    sum_of_products,
)


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

    # The order of the blocks inside: the sigmoids side by side, and i, f as a pair before g, c, the
    # pair with which they are multiplied.
    _inside = (3, 0, 1, 2)  # o, i, f, g
    _outside = (1, 2, 3, 0)  # and back: i, f, g, o

    def _forward(self, weights, x, h0, c0):
        w_ih, w_hh, b_ih, b_hh = weights
        T, D, B = x.shape
        H = len(h0)
        w = np.concatenate([w_hh, w_ih, (b_ih + b_hh)[:, None]], axis=1)  # (4H, H + D + 1)
        w = reorder(w, self._inside)
        # sigmoid(a) = tanh(a / 2) / 2 + 1 / 2: with the gates' weights halved beforehand, one
        # call of tanh serves all four blocks.
        half = np.array(0.5, x.dtype)
        w[: 3 * H] *= half
        times_w = product(w, B)

        read = self._array("read", T + 1, H + D + 1, B)  # what each step reads: [h; x; 1]
        read[:T, H:-1] = x
        read[:, -1] = 1
        h = read[:, :H]  # h[t + 1] is written where step t + 1 will read it
        kept = self._array("kept", T + 1, 5, H, B)  # o, i, f, g, and c of before the step
        c = kept[:, 4]
        tanh_c = self._array("tanh_c", T, H, B)
        ig_fc = self._array("ig_fc", T, 2, H, B)  # i * g and f * c_before
        h[0], c[0] = h0, c0

        a = kept[:T, :4].reshape(T, 4 * H, B)
        oif, o, i_f, g_c = a[:, : 3 * H], kept[:T, 0], kept[:T, 1:3], kept[:T, 3:]
        ig, fc = ig_fc[:, 0], ig_fc[:, 1]
        steps = zip(read[:T], a, oif, i_f, g_c, ig_fc, ig, fc, c[1:], tanh_c, o, h[1:], strict=True)
        for read_t, a_t, oif_t, i_f_t, g_c_t, ig_fc_t, ig_t, fc_t, c_t, tanh_c_t, o_t, h_t in steps:
            times_w(read_t, a_t)  # (4H, B)
            np.tanh(a_t, out=a_t)
            oif_t *= half
            oif_t += half
            np.multiply(i_f_t, g_c_t, out=ig_fc_t)
            np.add(ig_t, fc_t, out=c_t)
            np.tanh(c_t, out=tanh_c_t)
            np.multiply(o_t, tanh_c_t, out=h_t)
        return (read, kept[:T, :4], ig_fc, tanh_c), (h, c)

    def _backward(self, weights, tape, doutput, ends, dh_final, dc_final):
        w_ih, w_hh, _, _ = weights
        read, gates, ig_fc, tanh_c = tape
        T, H, B = doutput.shape
        w_ih, w_hh = reorder(w_ih, self._inside), reorder(w_hh, self._inside)
        times_w_hh_t = product(np.ascontiguousarray(w_hh.T), B)

        dx = self._array("dx", T, w_ih.shape[1], B)
        dw = np.zeros((4 * H, read.shape[1]), read.dtype)  # (4H, H + D + 1)
        dh = np.zeros((H, B), read.dtype)
        dc = np.zeros((H, B), read.dtype)
        for block in blocks(T, B):
            # What does not depend on the step after, for all steps of the block at once: part of
            # dc and da_o are multiples of dh; da_i, da_f and da_g are multiples of dc.
            o, i, f, g = gates[block].transpose(1, 0, 2, 3)
            ig, fc = ig_fc[block].transpose(1, 0, 2, 3)
            h = read[1:, :H][block]
            d = self._array("d", T, 5, H, B)[block]
            np.subtract(o, h * tanh_c[block], out=d[:, 0])  # dc: o * (1 - tanh_c^2)
            np.multiply(h, 1 - o, out=d[:, 1])  # da_o: tanh_c * o * (1 - o)
            np.multiply(ig, 1 - i, out=d[:, 2])  # da_i: g * i * (1 - i)
            np.multiply(fc, 1 - f, out=d[:, 3])  # da_f: c_before * f * (1 - f)
            np.subtract(i, ig * g, out=d[:, 4])  # da_g: i * (1 - g^2)
            da = d[:, 1:].reshape(-1, 4 * H, B)
            steps = range(T)[block], doutput[block], d[:, :2], d[:, 0], d[:, 2:], da, f
            for t, doutput_t, of_dh, dc_by_h, of_dc, da_t, f_t in backwards(*steps):
                if t in ends:
                    dh[:, ends[t]] += dh_final[:, ends[t]]
                    dc[:, ends[t]] += dc_final[:, ends[t]]
                dh += doutput_t
                of_dh *= dh
                dc += dc_by_h
                of_dc *= dc
                times_w_hh_t(da_t, dh)
                dc *= f_t
            dw += sum_of_products(da, read[block])
            np.matmul(w_ih.T, da, out=dx[block])

        dw = reorder(dw, self._outside)
        db = dw[:, -1]
        return dx, (dh, dc), (dw[:, H:-1].copy(), dw[:, :H].copy(), db.copy(), db.copy())


def reorder(w: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    """The blocks of rows of ``w`` in another order."""
    return w.reshape(len(order), -1)[list(order)].reshape(w.shape)
