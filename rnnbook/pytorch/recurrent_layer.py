"""The recurrent layer (chapter ``recurrent_layer``): Elman, Cognitive Science 14 (1990).

a_t = W_ih x_t + b_ih + W_hh h_{t-1} + b_hh
h_t = tanh(a_t)                                  or relu(a_t)

T steps, B batch, D input, H hidden
"""

import torch
from torch.nn import functional as F

from rnnbook.checks import check_choice
from rnnbook.pytorch.layer import RecurrentLayer


class RNN(RecurrentLayer):
    """The recurrent layer; takes, returns and stores what ``torch.nn.RNN`` does.

        h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)

    Args:
        input_size: D.
        hidden_size: H.
        num_layers: L, each reading the outputs of the one before.
        nonlinearity: "tanh" or "relu".
        bias: whether there are ``b_ih`` and ``b_hh``.
        batch_first: whether x and output are (B, T, ...), or (T, B, ...), as is torch's default.
        dropout: the share of each layer's outputs, but the last one's, dropped in training.
        bidirectional: read every sequence from its end as well.
        device: where the parameters live.
        dtype: of the parameters.

    Call and errors: :meth:`~rnnbook.pytorch.layer.RecurrentLayer.forward`.
    Source: Elman (1990), Finding structure in time.
    """

    blocks = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = True,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device=None,
        dtype: torch.dtype | None = None,
    ):
        check_choice("nonlinearity", nonlinearity, ("tanh", "relu"))
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
        self.nonlinearity = nonlinearity

    def _loop(self, weights, x, h):
        w_ih, w_hh, b_ih, b_hh = weights
        phi = torch.tanh if self.nonlinearity == "tanh" else torch.relu
        hs = []
        # W_ih x_t + b_ih + b_hh does not wait for the state: one product for all t
        for p in F.linear(x, w_ih, b_ih + b_hh).unbind():  # (B, H)
            # a_t = W_ih x_t + b_ih + b_hh + W_hh h_{t-1}
            a = torch.addmm(p, h, w_hh.T)  # (B, H)
            # h_t = tanh(a_t)
            h = phi(a)  # (B, H)
            hs.append(h)
        return (torch.stack(hs),)  # (T, B, H)
