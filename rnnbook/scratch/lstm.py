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

    Raises:
        ValueError: a size below one, another dtype, or an ``rng`` that is no generator.

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
        """``x`` (B, D), ``state`` = (h, c), each (B, H), zeros if None -> the new (h, c).

        Raises:
            ValueError: a wrong shape, a state of the wrong kind, or a NaN or infinity.
        """
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
    ``torch.nn.LSTM``. The methods and their errors are those of
    :class:`~rnnbook.scratch.layer.RecurrentLayer`.

    Source: Hochreiter & Schmidhuber (1997), Long short-term memory; Gers, Schmidhuber & Cummins
    (2000), Learning to forget.
    """

    blocks = 4
    state_names = ("h", "c")

    def _forward(self, weights, x, h0, c0):
        w_ih, w_hh, b_ih, b_hh = weights
        T, D, B = x.shape
        H = len(h0)
        w = np.concatenate([w_hh, w_ih, (b_ih + b_hh)[:, None]], axis=1)  # (4H, H + D + 1)
        w = in_pairs_swapped(w)  # f, i, o, g: the gates side by side
        # sigmoid(a) = tanh(a / 2) / 2 + 1 / 2, with the gates' weights halved beforehand.
        half = np.array(0.5, x.dtype)
        w[: 3 * H] *= half
        times_w = product(w, B)

        read = self._array("read", T + 1, H + D + 1, B)  # what each step reads: [h; x; 1]
        read[:T, H:-1] = x
        read[:, -1] = 1
        h = read[:, :H]  # h[t + 1] is written where step t + 1 will read it
        # The gates f, i, o and, in this order, their partners, what they multiply: c_before, g,
        # tanh_c.
        kept = self._array("kept", T + 1, 6, H, B)
        c = kept[:, 3]
        h[0], c[0] = h0, c0

        fio, f_i, o = kept[:T, :3], kept[:T, :2], kept[:T, 2]
        c_g, g, tanh_c = kept[:T, 3:5], kept[:T, 4], kept[:T, 5]
        a = np.empty((4 * H, B), x.dtype)
        a_fio, a_g = a[: 3 * H].reshape(3, H, B), a[3 * H :]
        fc, ig = fc_ig = np.empty((2, H, B), x.dtype)
        steps = zip(read[:T], fio, f_i, o, c_g, g, tanh_c, c[1:], h[1:], strict=True)
        for read_t, fio_t, f_i_t, o_t, c_g_t, g_t, tanh_c_t, c_t, h_t in steps:
            times_w(read_t, a)  # (4H, B)
            np.tanh(a_g, out=g_t)
            np.tanh(a_fio, out=a_fio)
            np.multiply(a_fio, half, out=fio_t)
            fio_t += half
            np.multiply(f_i_t, c_g_t, out=fc_ig)
            np.add(fc, ig, out=c_t)
            np.tanh(c_t, out=tanh_c_t)
            np.multiply(o_t, tanh_c_t, out=h_t)
        return (read, kept), (h, c)

    def _backward(self, weights, tape, doutput, ends, dh_final, dc_final):
        w_ih, w_hh, _, _ = weights
        read, kept = tape
        T, H, B = doutput.shape
        w = in_pairs_swapped(np.concatenate([w_hh, w_ih], axis=1))  # (4H, H + D)
        times_w_t = product(np.ascontiguousarray(w.T), B)

        dread = np.zeros((w.shape[1], B), w.dtype)  # of what a step read: [dh; dx]
        dh, dread_x = dread[:H], dread[H:]
        dc = np.zeros((H, B), w.dtype)
        dx = self._array("dx", T, len(dread_x), B)
        dw = np.zeros((4 * H, read.shape[1]), w.dtype)  # (4H, H + D + 1)

        one = np.array(1, w.dtype)
        products = np.empty((3, H, B), w.dtype)  # f * c_before, i * g, o * tanh_c
        of_tanhs = products[1:]
        d = np.empty((5, H, B), w.dtype)
        by_gates, by_tanhs = d[:3], d[3:]
        da, da_f, da_i, da_o, da_g, dc_by_h = d[:4].reshape(4 * H, B), *d
        for block in blocks(T, B):
            # As (4H, steps, B) in memory, for the product that sums over steps and batch.
            all_da = self._array("da", 4 * H, block.stop - block.start, B).transpose(1, 0, 2)
            gates, partners = kept[block, :3], kept[block, 3:]
            kept_parts = gates, partners, gates[:, 0], gates[:, 1:], partners[:, 1:]
            steps = backwards(range(T)[block], doutput[block], *kept_parts, all_da, dx[block])
            for t, doutput_t, gates_t, partners_t, f_t, i_o_t, tanhs_t, all_da_t, dx_t in steps:
                if t in ends:
                    dh[:, ends[t]] += dh_final[:, ends[t]]
                    dc[:, ends[t]] += dc_final[:, ends[t]]
                # Derivatives of gate * partner, by the gate's a: partner * gate * (1 - gate),
                np.multiply(gates_t, partners_t, out=products)
                np.subtract(one, gates_t, out=by_gates)
                by_gates *= products
                # and by the a or c in a partner that is a tanh: gate * (1 - tanh^2).
                np.multiply(of_tanhs, tanhs_t, out=by_tanhs)
                np.subtract(i_o_t, by_tanhs, out=by_tanhs)
                dh += doutput_t
                da_o *= dh
                dc_by_h *= dh
                dc += dc_by_h
                da_f *= dc
                da_i *= dc
                da_g *= dc
                all_da_t[...] = da
                times_w_t(da, dread)
                dx_t[...] = dread_x
                dc *= f_t
            dw += self._sum_of_products(all_da, read[block])

        dw = in_pairs_swapped(dw)
        db = dw[:, -1]
        return dx, (dh, dc), (dw[:, H:-1].copy(), dw[:, :H].copy(), db.copy(), db.copy())


def in_pairs_swapped(w: np.ndarray) -> np.ndarray:
    """The blocks of rows from the order i, f, g, o to f, i, o, g, or back."""
    return w.reshape(4, -1)[[1, 0, 3, 2]].reshape(w.shape)
