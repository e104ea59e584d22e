"""The LSTM (chapter ``lstm``): Hochreiter & Schmidhuber (1997), with the forget gate of Gers,
Schmidhuber & Cummins (2000).

    i_t = sigmoid(W_ii x_t + b_ii + W_hi h_{t-1} + b_hi)      input gate
    f_t = sigmoid(W_if x_t + b_if + W_hf h_{t-1} + b_hf)      forget gate
    g_t = tanh   (W_ig x_t + b_ig + W_hg h_{t-1} + b_hg)      candidate
    o_t = sigmoid(W_io x_t + b_io + W_ho h_{t-1} + b_ho)      output gate
    c_t = f_t * c_{t-1} + i_t * g_t
    h_t = o_t * tanh(c_t)                 or, with a projection, W_hr (o_t * tanh(c_t))

    T steps, B batch, D input, H hidden
    The four blocks lie in the weight matrices in the order i, f, g, o.
"""

import torch
from torch.nn import functional as F

from rnnbook.pytorch.layer import RecurrentLayer


class LSTM(RecurrentLayer):
    """The LSTM; takes, returns and stores what ``torch.nn.LSTM`` does.

        c_t = f_t * c_{t-1} + i_t * g_t        h_t = o_t * tanh(c_t)

    Args:
        input_size: D.
        hidden_size: H.
        num_layers: L, each reading the outputs of the one before.
        bias: whether there are ``b_ih`` and ``b_hh``.
        batch_first: whether x and output are (B, T, ...), or (T, B, ...), as is torch's default.
        dropout: the share of each layer's outputs, but the last one's, dropped in training.
        bidirectional: read every sequence from its end as well.
        proj_size: P < H, the numbers that h has after a projection, W_hr (P, H); 0 for none.
        device: where the parameters live.
        dtype: of the parameters.

    The state is the pair ``(h, c)``.
    Call and errors: :meth:`~rnnbook.pytorch.layer.RecurrentLayer.forward`.
    Source: Hochreiter & Schmidhuber (1997), Long short-term memory; Gers, Schmidhuber & Cummins
    (2000), Learning to forget; the projection: Sak, Senior & Beaufays (2014), Long Short-Term
    Memory Recurrent Neural Network Architectures for Large Scale Acoustic Modeling.
    """

    blocks = 4
    state_names = ("h", "c")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = True,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device=None,
        dtype: torch.dtype | None = None,
    ):
        self.proj_size = proj_size
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            device,
            dtype,
        )

    def _loop(self, weights, x, h, c):
        w_ih, w_hh, b_ih, b_hh, *w_hr = weights
        w, b = torch.cat([w_ih, w_hh], dim=1).T, b_ih + b_hh  # (D + H, 4H), (4H,)
        hs, cs = [], []
        for x_t in x.unbind():  # (B, D)
            # a_t = W_ih x_t + b_ih + W_hh h_{t-1} + b_hh, all gates in one product
            a = torch.addmm(b, torch.cat([x_t, h], dim=1), w)  # (B, 4H)
            a_i, a_f, a_g, a_o = a.chunk(4, dim=1)  # (B, H) each
            i, f, g, o = a_i.sigmoid(), a_f.sigmoid(), a_g.tanh(), a_o.sigmoid()
            # c_t = f_t * c_{t-1} + i_t * g_t
            c = f * c + i * g  # (B, H)
            # h_t = o_t * tanh(c_t)
            h = o * c.tanh()  # (B, H)
            if w_hr:
                # h_t = W_hr (o_t * tanh(c_t))
                h = F.linear(h, *w_hr)  # (B, P)
            hs.append(h)
            cs.append(c)
        return torch.stack(hs), cs  # (T, B, H), and T times (B, H)
