"""The GRU (chapter ``gru``), in its two forms: Cho et al. (2014).

    r_t = sigmoid(W_ir x_t + b_ir + W_hr h_{t-1} + b_hr)              reset gate
    z_t = sigmoid(W_iz x_t + b_iz + W_hz h_{t-1} + b_hz)              update gate

    n_t = tanh(W_in x_t + b_in + r_t * (W_hn h_{t-1} + b_hn))         GRU: reset after the product
    n_t = tanh(W_in x_t + b_in + W_hn (r_t * h_{t-1}) + b_hn)         ResetBeforeGRU: before it

    h_t = (1 - z_t) * n_t + z_t * h_{t-1}

Dimensions: T steps, B batch, D input, H hidden; in the loops x (T, D, B) and h (T + 1, H, B), with
h[t] the state before step t. The three blocks lie in the weight matrices in the order r, z, n, as
in torch.
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


class GRUCell(Cell):
    """One step of the GRU whose reset gate acts after the matrix product, as in torch and cuDNN.

        n_t = tanh(W_in x_t + b_in + r_t * (W_hn h_{t-1} + b_hn))
        h_t = (1 - z_t) * n_t + z_t * h_{t-1}

    Args:
        input_size: D.
        hidden_size: H.
        dtype: float64 or float32.
        rng: draws the weights, uniform between ``+-1 / sqrt(H)``.

    Raises:
        ValueError: a size below one, another dtype, or an ``rng`` that is no generator.

    Source: Cho et al. (2014), arXiv:1406.1078, in its first version.
    """

    blocks = 3

    def step(self, x: np.ndarray, h: np.ndarray) -> np.ndarray:
        """``x`` (B, D), ``h`` (B, H), zeros if None -> the new state (B, H).

        Raises:
            ValueError: a wrong shape, a state of the wrong kind, or a NaN or infinity.
        """
        x, h = self.checked(x, h)
        w_ih, w_hh, b_ih, b_hh = self.params.values()
        p_r, p_z, p_n = np.split(x @ w_ih.T + b_ih, 3, axis=1)  # from the input
        q_r, q_z, q_n = np.split(h @ w_hh.T + b_hh, 3, axis=1)  # from the old state
        r = sigmoid(p_r + q_r)
        z = sigmoid(p_z + q_z)
        n = np.tanh(p_n + r * q_n)
        return (1 - z) * n + z * h


class ResetBeforeGRUCell(Cell):
    """One step of the GRU whose reset gate acts on the old state, before the matrix product.

        n_t = tanh(W_in x_t + b_in + W_hn (r_t * h_{t-1}) + b_hn)
        h_t = (1 - z_t) * n_t + z_t * h_{t-1}

    Args and errors: as :class:`GRUCell`.

    Source: Cho et al. (2014), arXiv:1406.1078, in its third version; Chung et al. (2014).
    """

    blocks = 3

    def step(self, x: np.ndarray, h: np.ndarray) -> np.ndarray:
        """``x`` (B, D), ``h`` (B, H), zeros if None -> the new state (B, H).

        Raises:
            ValueError: a wrong shape, a state of the wrong kind, or a NaN or infinity.
        """
        x, h = self.checked(x, h)
        w_ih, w_hh, b_ih, b_hh = self.params.values()
        w_hr, w_hz, w_hn = np.split(w_hh, 3)
        p_r, p_z, p_n = np.split(x @ w_ih.T + b_ih + b_hh, 3, axis=1)  # from the input
        r = sigmoid(p_r + h @ w_hr.T)
        z = sigmoid(p_z + h @ w_hz.T)
        n = np.tanh(p_n + (r * h) @ w_hn.T)
        return (1 - z) * n + z * h


class GRU(RecurrentLayer):
    """The GRU over whole sequences; the same as ``torch.nn.GRU(batch_first=True)``.

    Args:
        input_size: D.
        hidden_size: H.
        num_layers: L, each reading the outputs of the one before.
        bidirectional: read every sequence from its end as well.
        dtype: float64 or float32.
        rng: draws the weights, uniform between ``+-1 / sqrt(H)``.

    ``params`` and ``grads`` have the names and shapes of ``torch.nn.GRU``. The methods and their
    errors are those of :class:`~rnnbook.scratch.layer.RecurrentLayer`.

    Source: Cho et al. (2014), arXiv:1406.1078, in its first version.
    """

    blocks = 3

    def _forward(self, weights, x, h0):
        w_ih, w_hh, b_ih, b_hh = weights
        T, D, B = x.shape
        H = len(h0)
        # The reset gate stands between the products with x and h, so they stay apart; that with
        # x is taken out of the loop.
        w_x = np.concatenate([b_ih[:, None], w_ih], axis=1)  # (3H, 1 + D)
        w_h = np.concatenate([w_hh, b_hh[:, None]], axis=1)  # (3H, H + 1)
        # sigmoid(a) = tanh(a / 2) / 2 + 1 / 2, with the gates' weights halved beforehand.
        half = np.array(0.5, x.dtype)
        w_x[: 2 * H] *= half
        w_h[: 2 * H] *= half
        times_w_h = product(w_h, B)

        read = self._array("read", T + 1, H + 1 + D, B)  # what a step reads: [h; 1] and [1; x]
        read[:, H] = 1
        read[:T, H + 1 :] = x
        h = read[:, :H]  # h[t + 1] is written where step t + 1 will read it
        h[0] = h0
        p = self._array("p", T, 3 * H, B)  # from the input; n takes the place of its last block
        q = self._array("q", T, 3 * H, B)  # from the old state; r and z take the place of theirs
        rq_n = self._array("rq_n", H, B)
        np.matmul(w_x, read[:T, H:], out=p)

        p_rz, n = p[:, : 2 * H], p[:, 2 * H :]
        rz, r, z, q_n = q[:, : 2 * H], q[:, :H], q[:, H : 2 * H], q[:, 2 * H :]
        steps = zip(read[:T, : H + 1], q, rz, p_rz, r, q_n, n, h[:T], h[1:], z, strict=True)
        for read_t, q_t, rz_t, p_rz_t, r_t, q_n_t, n_t, h_before, h_t, z_t in steps:
            times_w_h(read_t, q_t)  # (3H, B)
            rz_t += p_rz_t
            np.tanh(rz_t, out=rz_t)
            rz_t *= half
            rz_t += half
            np.multiply(r_t, q_n_t, out=rq_n)
            n_t += rq_n
            np.tanh(n_t, out=n_t)
            np.subtract(h_before, n_t, out=h_t)  # h = n + z * (h_before - n)
            h_t *= z_t
            h_t += n_t
        return (read, r, z, q_n, n), (h,)

    def _backward(self, weights, tape, doutput, ends, dfinal):
        w_ih, w_hh, _, _ = weights
        read, r, z, q_n, n = tape
        T, H, B = doutput.shape
        h = read[:, :H]
        w_nrz = np.concatenate([w_hh[2 * H :], w_hh[: 2 * H]])
        times_w_nrz_t = product(np.ascontiguousarray(w_nrz.T), B)

        dx = self._array("dx", T, w_ih.shape[1], B)
        dw_nrz = np.zeros((3 * H, H + 1), n.dtype)
        dw_x = np.zeros((3 * H, 1 + w_ih.shape[1]), n.dtype)
        dh = np.zeros((H, B), n.dtype)
        for block in blocks(T, B):
            # The gradients of q_n, a_r, a_z, a_n and, by way of z, of the old state are multiples
            # of dh: by what, is known for all steps of the block at once.
            d = self._array("d", T, 5, H, B)[block]
            to_q, to_r, to_z, to_n, to_h = d.transpose(1, 0, 2, 3)
            r_, n_ = r[block], n[block]
            open_ = 1 - z[block]
            np.multiply(open_, 1 - n_ * n_, out=to_n)
            np.multiply(h[1:][block] - n_, open_, out=to_z)  # h - n = z * (h_before - n)
            np.multiply(to_n, r_, out=to_q)
            np.multiply(to_q * q_n[block], 1 - r_, out=to_r)
            to_h[...] = z[block]
            dq = d[:, :3].reshape(-1, 3 * H, B)  # n, r, z: what the product with h gets,
            dp = d[:, 1:4].reshape(-1, 3 * H, B)  # r, z, n: and that with x
            steps = range(T)[block], doutput[block], d, dq, to_h
            for t, doutput_t, d_t, dq_t, dh_by_z in backwards(*steps):
                if t in ends:
                    dh[:, ends[t]] += dfinal[:, ends[t]]
                dh += doutput_t
                d_t *= dh
                times_w_nrz_t(dq_t, dh)
                dh += dh_by_z
            dw_nrz += self._sum_of_products(dq, read[block, : H + 1])
            dw_x += self._sum_of_products(dp, read[block, H:])
            np.matmul(w_ih.T, dp, out=dx[block])

        dw_h = np.concatenate([dw_nrz[H:], dw_nrz[:H]])
        dweights = dw_x[:, 1:], dw_h[:, :H], dw_x[:, 0], dw_h[:, H]
        return dx, (dh,), tuple(dw.copy() for dw in dweights)


class ResetBeforeGRU(RecurrentLayer):
    """The GRU with the reset gate before the product, over whole sequences.

    Args, ``params``, methods and errors as :class:`GRU`; only the sum of the two biases matters
    here. Keras has it as ``GRU(reset_after=False)``.

    Source: Cho et al. (2014), arXiv:1406.1078, in its third version; Chung et al. (2014).
    """

    blocks = 3

    def _forward(self, weights, x, h0):
        w_ih, w_hh, b_ih, b_hh = weights
        T, D, B = x.shape
        H = len(h0)
        w = np.concatenate([w_hh, w_ih, (b_ih + b_hh)[:, None]], axis=1)  # (3H, H + D + 1)
        half = np.array(0.5, x.dtype)
        w[: 2 * H] *= half  # sigmoid(a) = tanh(a / 2) / 2 + 1 / 2
        times_w_rz, times_w_n = product(w[: 2 * H], B), product(w[2 * H :], B)

        read = self._array("read", T + 1, H + D + 1, B)  # what the gates read: [h; x; 1]
        read[:T, H:-1] = x
        read[:, -1] = 1
        h = read[:, :H]  # h[t + 1] is written where step t + 1 will read it
        h[0] = h0
        read_n = self._array("read_n", T, H + D + 1, B)  # what the candidate reads: [r * h; x; 1]
        read_n[...] = read[:T]
        rz = self._array("rz", T, 2 * H, B)
        n = self._array("n", T, H, B)

        r, z, rh = rz[:, :H], rz[:, H:], read_n[:, :H]
        steps = zip(read[:T], rz, r, h[:T], rh, read_n, n, h[1:], z, strict=True)
        for read_t, rz_t, r_t, h_before, rh_t, read_n_t, n_t, h_t, z_t in steps:
            times_w_rz(read_t, rz_t)  # (2H, B)
            np.tanh(rz_t, out=rz_t)
            rz_t *= half
            rz_t += half
            np.multiply(r_t, h_before, out=rh_t)
            times_w_n(read_n_t, n_t)  # (H, B)
            np.tanh(n_t, out=n_t)
            np.subtract(h_before, n_t, out=h_t)  # h = n + z * (h_before - n)
            h_t *= z_t
            h_t += n_t
        return (read, read_n, r, z, n), (h,)

    def _backward(self, weights, tape, doutput, ends, dfinal):
        w_ih, w_hh, _, _ = weights
        read, read_n, r, z, n = tape
        T, H, B = doutput.shape
        h = read[:, :H]
        times_w_rz_t = product(np.ascontiguousarray(w_hh[: 2 * H].T), B)
        times_w_n_t = product(np.ascontiguousarray(w_hh[2 * H :].T), B)

        dx = self._array("dx", T, w_ih.shape[1], B)
        dw = np.zeros((3 * H, read.shape[1]), n.dtype)  # (3H, H + D + 1)
        dh = np.zeros((H, B), n.dtype)
        drh = np.empty((H, B), n.dtype)
        dh_by_gates = np.empty((H, B), n.dtype)
        for block in blocks(T, B):
            # da_z and da_n are multiples of dh, and da_r of d(r * h): by what, is known for all
            # steps of the block at once.
            da = self._array("da", T, 3 * H, B)[block]
            to_r, to_z, to_n = da[:, :H], da[:, H : 2 * H], da[:, 2 * H :]
            r_, z_, n_ = r[block], z[block], n[block]
            open_ = 1 - z_
            np.multiply(read_n[block, :H], 1 - r_, out=to_r)  # r * h_before is in read_n
            np.multiply(h[1:][block] - n_, open_, out=to_z)  # h - n = z * (h_before - n)
            np.multiply(open_, 1 - n_ * n_, out=to_n)
            da_rz = da[:, : 2 * H]
            steps = range(T)[block], doutput[block], to_r, to_z, to_n, da_rz, r_, z_
            for t, doutput_t, da_r, da_z, da_n, da_rz_t, r_t, z_t in backwards(*steps):
                if t in ends:
                    dh[:, ends[t]] += dfinal[:, ends[t]]
                dh += doutput_t
                da_n *= dh
                da_z *= dh
                times_w_n_t(da_n, drh)
                da_r *= drh
                times_w_rz_t(da_rz_t, dh_by_gates)
                drh *= r_t
                dh *= z_t
                dh += dh_by_gates
                dh += drh
            dw[: 2 * H] += self._sum_of_products(da_rz, read[block])
            dw[2 * H :] += self._sum_of_products(to_n, read_n[block])
            np.matmul(w_ih.T, da, out=dx[block])

        db = dw[:, -1]
        return dx, (dh,), (dw[:, H:-1].copy(), dw[:, :H].copy(), db.copy(), db.copy())
