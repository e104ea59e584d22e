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

from rnnbook.scratch.layer import Cell, RecurrentLayer, sigmoid, sum_of_products


class GRUCell(Cell):
    """One step of the GRU whose reset gate acts after the matrix product, as in torch and cuDNN.

        n_t = tanh(W_in x_t + b_in + r_t * (W_hn h_{t-1} + b_hn))
        h_t = (1 - z_t) * n_t + z_t * h_{t-1}

    Args:
        input_size: D.
        hidden_size: H.
        dtype: float64 or float32.
        rng: draws the weights, uniform between ``+-1 / sqrt(H)``.

    Source: Cho et al. (2014), arXiv:1406.1078, in its first version.
    """

    blocks = 3

    def step(self, x: np.ndarray, h: np.ndarray) -> np.ndarray:
        """``x`` (B, D), ``h`` (B, H) -> the new state (B, H)."""
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

    Args: as :class:`GRUCell`.

    Source: Cho et al. (2014), arXiv:1406.1078, in its third version; Chung et al. (2014).
    """

    blocks = 3

    def step(self, x: np.ndarray, h: np.ndarray) -> np.ndarray:
        """``x`` (B, D), ``h`` (B, H) -> the new state (B, H)."""
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
    errors are those of :class:`RecurrentLayer`.

    Source: Cho et al. (2014), arXiv:1406.1078, in its first version.
    """

    blocks = 3

    def _forward(self, weights, x, h0):
        w_ih, w_hh, b_ih, b_hh = weights
        T, _, B = x.shape
        H = len(h0)
        # The reset gate stands between the products with x and h, so they stay apart; that with
        # x is taken out of the loop. sigmoid(a) = tanh(a / 2) / 2 + 1 / 2, halved beforehand.
        half = np.repeat(np.array([0.5, 0.5, 1.0], x.dtype), H)[:, None]  # r, z, n
        p = np.matmul(half * w_ih, x)  # (T, 3H, B)
        p += half * b_ih[:, None]
        p = p.reshape(T, 3, H, B)
        w = half * np.concatenate([w_hh, b_hh[:, None]], axis=1)  # (3H, H + 1)

        read = np.empty((T + 1, H + 1, B), x.dtype)  # what each step reads: [h; 1]
        read[:, -1] = 1
        h = read[:, :H]
        h[0] = h0
        q = np.empty((T, 3, H, B), x.dtype)
        gates = np.empty((T, 2, H, B), x.dtype)
        n = np.empty((T, H, B), x.dtype)
        for t in range(T):
            q_n = q[t, 2]
            np.dot(w, read[t], out=q[t].reshape(3 * H, B))
            gate = gates[t]
            np.add(p[t, :2], q[t, :2], out=gate)
            np.tanh(gate, out=gate)
            gate *= 0.5
            gate += 0.5
            r, z = gate  # (H, B) each
            np.multiply(r, q_n, out=n[t])
            n[t] += p[t, 2]
            np.tanh(n[t], out=n[t])
            np.subtract(h[t], n[t], out=h[t + 1])  # h = n + z * (h_before - n)
            h[t + 1] *= z
            h[t + 1] += n[t]
        return (x, read, q[:, 2], gates, n), (h,)

    def _backward(self, weights, tape, doutput, ends, dfinal):
        w_ih, w_hh, _, _ = weights
        x, read, q_n, gates, n = tape
        T, H, B = doutput.shape
        r, z = gates[:, 0], gates[:, 1]  # (T, H, B) each

        # da_r, da_z and da_n are multiples of dh, for all steps at once.
        to_n = (1 - z) * (1 - n * n)
        to_z = (read[:T, :H] - n) * z * (1 - z)
        to_r = to_n * q_n * r * (1 - r)
        to_q = np.stack([to_r, to_z, to_n * r], axis=1)  # (T, 3, H, B)

        w_hh_t = np.ascontiguousarray(w_hh.T)
        dq = np.empty((T, 3, H, B), x.dtype)
        dh = np.zeros((H, B), x.dtype)
        back = np.empty((H, B), x.dtype)
        dp_n = np.empty((T, H, B), x.dtype)
        for t in reversed(range(T)):
            if t in ends:
                dh[:, ends[t]] += dfinal[:, ends[t]]
            dh += doutput[t]
            np.multiply(dh, to_q[t], out=dq[t])
            np.multiply(dh, to_n[t], out=dp_n[t])
            np.dot(w_hh_t, dq[t].reshape(3 * H, B), out=back)
            dh *= z[t]
            dh += back

        dw_hh = sum_of_products(dq.reshape(T, 3 * H, B), read[:T])  # (3H, H + 1)
        dp = dq  # the product with x sees the same gradients, but for the candidate
        dp[:, 2] = dp_n
        dp = dp.reshape(T, 3 * H, B)
        dw_ih = sum_of_products(dp, x)  # (3H, D)
        dx = np.matmul(w_ih.T, dp)  # (T, D, B)
        return dx, (dh,), (dw_ih, dw_hh[:, :H].copy(), dp.sum(axis=(0, 2)), dw_hh[:, H].copy())


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
        w_rz, w_n = 0.5 * w[: 2 * H], w[2 * H :]  # sigmoid(a) = tanh(a / 2) / 2 + 1 / 2

        read = np.empty((T + 1, H + D + 1, B), x.dtype)  # what the gates read: [h; x; 1]
        read[:T, H:-1] = x
        read[:, -1] = 1
        h = read[:, :H]
        h[0] = h0
        kept = read[:T].copy()  # what the candidate reads: [r * h; x; 1]
        gates = np.empty((T, 2, H, B), x.dtype)
        n = np.empty((T, H, B), x.dtype)
        for t in range(T):
            gate = gates[t]
            np.dot(w_rz, read[t], out=gate.reshape(2 * H, B))
            np.tanh(gate, out=gate)
            gate *= 0.5
            gate += 0.5
            r, z = gate  # (H, B) each
            np.multiply(r, h[t], out=kept[t, :H])
            np.dot(w_n, kept[t], out=n[t])
            np.tanh(n[t], out=n[t])
            np.subtract(h[t], n[t], out=h[t + 1])  # h = n + z * (h_before - n)
            h[t + 1] *= z
            h[t + 1] += n[t]
        return (read, kept, gates, n), (h,)

    def _backward(self, weights, tape, doutput, ends, dfinal):
        w_ih, w_hh, _, _ = weights
        read, kept, gates, n = tape
        T, H, B = doutput.shape
        r, z = gates[:, 0], gates[:, 1]  # (T, H, B) each
        h = read[:T, :H]

        # What leads from dh to da_n and da_z, and from d(r * h) to da_r, for all steps at once.
        to_n = (1 - z) * (1 - n * n)
        to_z = (h - n) * z * (1 - z)
        to_r = h * r * (1 - r)

        w_rz_t = np.ascontiguousarray(w_hh[: 2 * H].T)
        w_n_t = np.ascontiguousarray(w_hh[2 * H :].T)
        da = np.empty((T, 3, H, B), n.dtype)
        dh = np.zeros((H, B), n.dtype)
        drh = np.empty((H, B), n.dtype)
        back = np.empty((H, B), n.dtype)
        for t in reversed(range(T)):
            if t in ends:
                dh[:, ends[t]] += dfinal[:, ends[t]]
            dh += doutput[t]
            da_r, da_z, da_n = da[t]
            np.multiply(dh, to_n[t], out=da_n)
            np.multiply(dh, to_z[t], out=da_z)
            np.dot(w_n_t, da_n, out=drh)
            np.multiply(drh, to_r[t], out=da_r)
            np.dot(w_rz_t, da[t, :2].reshape(2 * H, B), out=back)
            dh *= z[t]
            dh += back
            drh *= r[t]
            dh += drh

        da = da.reshape(T, 3 * H, B)
        dw = np.concatenate(  # (3H, H + D + 1)
            [sum_of_products(da[:, : 2 * H], read[:T]), sum_of_products(da[:, 2 * H :], kept)]
        )
        db = dw[:, -1]
        dx = np.matmul(w_ih.T, da)  # (T, D, B)
        return dx, (dh,), (dw[:, H:-1].copy(), dw[:, :H].copy(), db.copy(), db.copy())
