"""The GRU (chapter ``gru``), in its two forms: Cho et al. (2014).

    r_t = sigmoid(W_ir x_t + b_ir + W_hr h_{t-1} + b_hr)              reset gate
    z_t = sigmoid(W_iz x_t + b_iz + W_hz h_{t-1} + b_hz)              update gate

    n_t = tanh(W_in x_t + b_in + r_t * (W_hn h_{t-1} + b_hn))         GRU: reset after the product
    n_t = tanh(W_in x_t + b_in + W_hn (r_t * h_{t-1}) + b_hn)         ResetBeforeGRU: before it

    h_t = (1 - z_t) * n_t + z_t * h_{t-1}

Dimensions: B batch, D input, H hidden; in a step x (B, D) and h (B, H), a row for each sequence.
The three blocks lie in the weight matrices in the order r, z, n, as in torch.
"""

import numpy as np

from rnnbook.scratch.layer import Cell, RecurrentLayer, sigmoid


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

    def step(self, x, h_before):
        """``x`` (B, D), ``h_before`` (B, H) -> ``h`` (B, H), and what :meth:`back` needs."""
        w = self.params
        p_r, p_z, p_n = np.split(x @ w["weight_ih"].T + w["bias_ih"], 3, axis=1)
        q_r, q_z, q_n = np.split(h_before @ w["weight_hh"].T + w["bias_hh"], 3, axis=1)
        r, z = sigmoid(p_r + q_r), sigmoid(p_z + q_z)
        n = np.tanh(p_n + r * q_n)
        h = (1 - z) * n + z * h_before
        return h, (x, h_before, r, z, n, q_n)

    def back(self, dh, kept):
        """``dh`` (B, H) -> ``dx`` (B, D), ``dh_before`` (B, H), the gradients of the weights."""
        w = self.params
        x, h_before, r, z, n, q_n = kept
        dz, dn = dh * (h_before - n), dh * (1 - z)
        da_n = dn * (1 - n**2)
        dr, dq_n = da_n * q_n, da_n * r
        da_r, da_z = dr * r * (1 - r), dz * z * (1 - z)
        dp = np.concatenate([da_r, da_z, da_n], axis=1)  # of the product with x
        dq = np.concatenate([da_r, da_z, dq_n], axis=1)  # of the product with h
        grads = {"weight_ih": dp.T @ x, "weight_hh": dq.T @ h_before}
        grads |= {"bias_ih": dp.sum(axis=0), "bias_hh": dq.sum(axis=0)}
        dx, dh_before = dp @ w["weight_ih"], dh * z + dq @ w["weight_hh"]
        return dx, dh_before, grads


class ResetBeforeGRUCell(Cell):
    """One step of the GRU whose reset gate acts on the old state, before the matrix product.

        n_t = tanh(W_in x_t + b_in + W_hn (r_t * h_{t-1}) + b_hn)
        h_t = (1 - z_t) * n_t + z_t * h_{t-1}

    Args and errors: as :class:`GRUCell`.

    Source: Cho et al. (2014), arXiv:1406.1078, in its third version; Chung et al. (2014).
    """

    blocks = 3

    def step(self, x, h_before):
        """``x`` (B, D), ``h_before`` (B, H) -> ``h`` (B, H), and what :meth:`back` needs."""
        w = self.params
        w_hr, w_hz, w_hn = np.split(w["weight_hh"], 3)
        p = x @ w["weight_ih"].T + w["bias_ih"] + w["bias_hh"]
        p_r, p_z, p_n = np.split(p, 3, axis=1)
        r, z = sigmoid(p_r + h_before @ w_hr.T), sigmoid(p_z + h_before @ w_hz.T)
        n = np.tanh(p_n + (r * h_before) @ w_hn.T)
        h = (1 - z) * n + z * h_before
        return h, (x, h_before, r, z, n)

    def back(self, dh, kept):
        """``dh`` (B, H) -> ``dx`` (B, D), ``dh_before`` (B, H), the gradients of the weights."""
        w = self.params
        w_hr, w_hz, w_hn = np.split(w["weight_hh"], 3)
        x, h_before, r, z, n = kept
        dz, dn = dh * (h_before - n), dh * (1 - z)
        da_n = dn * (1 - n**2)
        drh = da_n @ w_hn  # of r * h_before
        dr = drh * h_before
        da_r, da_z = dr * r * (1 - r), dz * z * (1 - z)
        da = np.concatenate([da_r, da_z, da_n], axis=1)
        dw_hr, dw_hz, dw_hn = da_r.T @ h_before, da_z.T @ h_before, da_n.T @ (r * h_before)
        grads = {"weight_ih": da.T @ x, "weight_hh": np.concatenate([dw_hr, dw_hz, dw_hn])}
        grads |= {"bias_ih": da.sum(axis=0), "bias_hh": da.sum(axis=0)}
        dh_before = dh * z + da_r @ w_hr + da_z @ w_hz + drh * r
        return da @ w["weight_ih"], dh_before, grads


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

    cell = GRUCell


class ResetBeforeGRU(RecurrentLayer):
    """The GRU with the reset gate before the product, over whole sequences.

    Args, ``params``, methods and errors as :class:`GRU`; only the sum of the two biases matters
    here. Keras has it as ``GRU(reset_after=False)``.

    Source: Cho et al. (2014), arXiv:1406.1078, in its third version; Chung et al. (2014).
    """

    cell = ResetBeforeGRUCell
