"""The LSTM (chapter ``lstm``): Hochreiter & Schmidhuber (1997), with the forget gate of Gers,
Schmidhuber & Cummins (2000).

    i_t = sigmoid(W_ii x_t + b_ii + W_hi h_{t-1} + b_hi)      input gate
    f_t = sigmoid(W_if x_t + b_if + W_hf h_{t-1} + b_hf)      forget gate
    g_t = tanh   (W_ig x_t + b_ig + W_hg h_{t-1} + b_hg)      candidate
    o_t = sigmoid(W_io x_t + b_io + W_ho h_{t-1} + b_ho)      output gate
    c_t = f_t * c_{t-1} + i_t * g_t
    h_t = o_t * tanh(c_t)

Dimensions: B batch, D input, H hidden; in a step x (B, D), h and c (B, H), a row for each sequence.
The four blocks lie in the weight matrices in the order i, f, g, o, as in torch.
"""

import numpy as np

from rnnbook.scratch.layer import Cell, RecurrentLayer, sigmoid


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

    def gates(self, x, h_before):
        """``x`` (B, D), ``h_before`` (B, H) -> ``i, f, g, o``, each (B, H)."""
        a_i, a_f, a_g, a_o = np.split(self.linear(x, h_before), 4, axis=1)
        return sigmoid(a_i), sigmoid(a_f), np.tanh(a_g), sigmoid(a_o)

    def gates_back(self, i, f, g, o, di, df, dg, do):
        """The gates and their gradients, each (B, H) -> ``da`` (B, 4H)."""
        da_i, da_f = di * i * (1 - i), df * f * (1 - f)
        da_g, da_o = dg * (1 - g**2), do * o * (1 - o)
        return np.concatenate([da_i, da_f, da_g, da_o], axis=1)

    def step(self, x, state):
        """``x`` (B, D), ``state`` = (h, c), each (B, H) -> (h, c), and what :meth:`back` needs."""
        h_before, c_before = state
        i, f, g, o = self.gates(x, h_before)
        c = f * c_before + i * g
        tanh_c = np.tanh(c)
        h = o * tanh_c
        return (h, c), (x, h_before, c_before, i, f, g, o, tanh_c)

    def back(self, dstate, kept):
        """``dstate`` = (dh, dc) -> ``dx``, the earlier (dh, dc), the gradients of the weights."""
        dh, dc = dstate
        x, h_before, c_before, i, f, g, o, tanh_c = kept
        do = dh * tanh_c
        dc = dc + dh * o * (1 - tanh_c**2)
        df, dc_before = dc * c_before, dc * f
        di, dg = dc * g, dc * i
        da = self.gates_back(i, f, g, o, di, df, dg, do)
        dx, dh_before, grads = self.linear_back(da, x, h_before)
        return dx, (dh_before, dc_before), grads


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

    cell = LSTMCell
