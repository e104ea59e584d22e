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

    def _forward(self, weights, x, h0, c0):
        w_ih, w_hh, b_ih, b_hh = weights
        T, D, B = x.shape
        H = len(h0)
        w = np.concatenate([w_hh, w_ih, (b_ih + b_hh)[:, None]], axis=1)  # (4H, H + D + 1)
        w = swap_g_and_o(w)  # i, f, o, g: the gates side by side
        # sigmoid(a) = tanh(a / 2) / 2 + 1 / 2: with the gates' weights halved beforehand, one
        # call of tanh serves all four blocks.
        half = np.array(0.5, x.dtype)
        w[: 3 * H] *= half
        times_w = product(w, B)

        read = self._array("read", T + 1, H + D + 1, B)  # what each step reads: [h; x; 1]
        read[:T, H:-1] = x
        read[:, -1] = 1
        h = read[:, :H]  # h[t + 1] is written where step t + 1 will read it
        # The gates i, f, o and, in this order, what they multiply: g, c_before, tanh_c.
        kept = self._array("kept", T + 1, 6, H, B)
        c, tanh_c = kept[:, 4], kept[:T, 5]
        ig, fc = ig_fc = self._array("ig_fc", 2, H, B)
        h[0], c[0] = h0, c0

        a = kept[:T, :4].reshape(T, 4 * H, B)
        ifo, o, i_f, g_c = kept[:T, :3], kept[:T, 2], kept[:T, :2], kept[:T, 3:5]
        steps = zip(read[:T], a, ifo, i_f, g_c, c[1:], tanh_c, o, h[1:], strict=True)
        for read_t, a_t, ifo_t, i_f_t, g_c_t, c_t, tanh_c_t, o_t, h_t in steps:
            times_w(read_t, a_t)  # (4H, B)
            np.tanh(a_t, out=a_t)
            ifo_t *= half
            ifo_t += half
            np.multiply(i_f_t, g_c_t, out=ig_fc)
            np.add(ig, fc, out=c_t)
            np.tanh(c_t, out=tanh_c_t)
            np.multiply(o_t, tanh_c_t, out=h_t)
        return (read, kept), (h, c)

    @np.errstate(over="ignore")  # of f * c_before^2, which nobody needs: see by_partners
    def _backward(self, weights, tape, doutput, ends, dh_final, dc_final):
        w_ih, w_hh, _, _ = weights
        read, kept = tape
        T, H, B = doutput.shape
        w = swap_g_and_o(np.concatenate([w_hh, w_ih], axis=1))  # (4H, H + D)
        times_w_t = product(np.ascontiguousarray(w.T), B)

        dread = np.zeros((w.shape[1], B), w.dtype)  # of what a step read: [dh; dx]
        dh, dread_x = dread[:H], dread[H:]
        dc = np.zeros((H, B), w.dtype)
        dx = self._array("dx", T, len(dread_x), B)
        dw = np.zeros((4 * H, read.shape[1]), w.dtype)  # (4H, H + D + 1)

        one = np.array(1, w.dtype)
        products = self._array("products", 3, H, B)  # i * g, f * c_before, o * tanh_c
        d = self._array("d", 6, H, B)
        by_gates, by_partners = d[:3], d[3:]
        da, da_i, da_f, da_o, da_g, dc_by_h = d[:4].reshape(4 * H, B), *d[:4], d[5]
        for block in blocks(T, B):
            # As (4H, steps, B) in memory, for the product that sums over steps and batch.
            all_da = self._array("da", 4 * H, blocks(T, B)[-1].stop, B).transpose(1, 0, 2)
            all_da = all_da[: block.stop - block.start]
            gates, partners, f = kept[block, :3], kept[block, 3:], kept[block, 1]
            steps = range(T)[block], doutput[block], gates, partners, f, all_da, dx[block]
            for t, doutput_t, gates_t, partners_t, f_t, all_da_t, dx_t in backwards(*steps):
                if t in ends:
                    dh[:, ends[t]] += dh_final[:, ends[t]]
                    dc[:, ends[t]] += dc_final[:, ends[t]]
                # Derivatives of gate * partner, by the gate's a: partner * gate * (1 - gate),
                np.multiply(gates_t, partners_t, out=products)
                np.subtract(one, gates_t, out=by_gates)
                by_gates *= products
                # and by the a of a partner that is a tanh, as g and tanh_c: gate * (1 - partner^2).
                # The row of c_before between them stays unused: one product of all three is faster.
                np.multiply(products, partners_t, out=by_partners)
                np.subtract(gates_t, by_partners, out=by_partners)
                dh += doutput_t
                da_o *= dh
                dc_by_h *= dh
                dc += dc_by_h
                da_i *= dc
                da_f *= dc
                da_g *= dc
                all_da_t[...] = da
                times_w_t(da, dread)
                dx_t[...] = dread_x
                dc *= f_t
            dw += sum_of_products(all_da, read[block])

        dw = swap_g_and_o(dw)
        db = dw[:, -1]
        return dx, (dh, dc), (dw[:, H:-1].copy(), dw[:, :H].copy(), db.copy(), db.copy())


def swap_g_and_o(w: np.ndarray) -> np.ndarray:
    """The blocks of rows from the order i, f, g, o to i, f, o, g, or back."""
    return w.reshape(4, -1)[[0, 1, 3, 2]].reshape(w.shape)
