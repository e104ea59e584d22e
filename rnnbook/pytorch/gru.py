"""The GRU (chapter ``gru``), in its two forms: Cho et al. (2014).

r_t = sigmoid(W_ir x_t + b_ir + W_hr h_{t-1} + b_hr)              reset gate
z_t = sigmoid(W_iz x_t + b_iz + W_hz h_{t-1} + b_hz)              update gate

n_t = tanh(W_in x_t + b_in + r_t * (W_hn h_{t-1} + b_hn))         GRU: reset after the product
n_t = tanh(W_in x_t + b_in + W_hn (r_t * h_{t-1}) + b_hn)         ResetBeforeGRU: before it

h_t = (1 - z_t) * n_t + z_t * h_{t-1}

T steps, B batch, D input, H hidden
The three blocks lie in the weight matrices in the order r, z, n.
"""

import torch
from torch.nn import functional as F

from rnnbook.pytorch.layer import RecurrentLayer


class GRU(RecurrentLayer):
    """The GRU; takes, returns and stores what ``torch.nn.GRU`` does.

        n_t = tanh(W_in x_t + b_in + r_t * (W_hn h_{t-1} + b_hn))
        h_t = (1 - z_t) * n_t + z_t * h_{t-1}

    Args:
        input_size: D.
        hidden_size: H.
        num_layers: L, each reading the outputs of the one before.
        bias: whether there are ``b_ih`` and ``b_hh``.
        batch_first: whether x and output are (B, T, ...), or (T, B, ...), as is torch's default.
        dropout: the share of each layer's outputs, but the last one's, dropped in training.
        bidirectional: read every sequence from its end as well.
        device: where the parameters live.
        dtype: of the parameters.

    Call and errors: :meth:`~rnnbook.pytorch.layer.RecurrentLayer.forward`.
    Source: Cho et al. (2014), arXiv:1406.1078, in its first version.
    """

    blocks = 3

    def _loop(self, weights, x, h):
        w_ih, w_hh, b_ih, b_hh = weights
        hs = []
        for p in F.linear(x, w_ih, b_ih).unbind():  # (B, 3H), for all t in one product
            q = torch.addmm(b_hh, h, w_hh.T)  # (B, 3H)
            p_r, p_z, p_n = p.chunk(3, dim=1)  # (B, H) each, from the input
            q_r, q_z, q_n = q.chunk(3, dim=1)  # (B, H) each, from the old state
            # r_t = sigmoid(p_r + q_r),  z_t = sigmoid(p_z + q_z)
            r, z = (p_r + q_r).sigmoid(), (p_z + q_z).sigmoid()  # (B, H) each
            # n_t = tanh(p_n + r_t * q_n)
            n = (p_n + r * q_n).tanh()  # (B, H)
            # h_t = (1 - z_t) * n_t + z_t * h_{t-1}
            h = (1 - z) * n + z * h  # (B, H)
            hs.append(h)
        return (torch.stack(hs),)  # (T, B, H)


class ResetBeforeGRU(RecurrentLayer):
    """The GRU with the reset gate before the product: on the old state itself.

        n_t = tanh(W_in x_t + b_in + W_hn (r_t * h_{t-1}) + b_hn)
        h_t = (1 - z_t) * n_t + z_t * h_{t-1}

    Args, parameters' names, call and errors as :class:`GRU`; only the sum of the two biases matters
    here. Keras has it as ``GRU(reset_after=False)``.

    Source: Cho et al. (2014), arXiv:1406.1078, in its third version; Chung et al. (2014).
    """

    blocks = 3

    def _loop(self, weights, x, h):
        w_ih, w_hh, b_ih, b_hh = weights
        w_hr, w_hz, w_hn = w_hh.chunk(3)  # (H, H) each
        hs = []
        for p in F.linear(x, w_ih, b_ih + b_hh).unbind():  # (B, 3H), for all t in one product
            p_r, p_z, p_n = p.chunk(3, dim=1)  # (B, H) each
            # r_t = sigmoid(p_r + W_hr h_{t-1})
            r = torch.addmm(p_r, h, w_hr.T).sigmoid()  # (B, H)
            # z_t = sigmoid(p_z + W_hz h_{t-1})
            z = torch.addmm(p_z, h, w_hz.T).sigmoid()  # (B, H)
            # n_t = tanh(p_n + W_hn (r_t * h_{t-1}))
            n = torch.addmm(p_n, r * h, w_hn.T).tanh()  # (B, H)
            # h_t = (1 - z_t) * n_t + z_t * h_{t-1}
            h = (1 - z) * n + z * h  # (B, H)
            hs.append(h)
        return (torch.stack(hs),)  # (T, B, H)
