"""Variants of the LSTM (chapter ``lstm``), each a cell that changes what its name says.

``RecurrentLayer(D, H, cell=PeepholeCell)`` is the layer. Six of them are among those of Greff,
Srivastava, Koutník, Steunebrink & Schmidhuber (2017), LSTM: A Search Space Odyssey; layer
normalization and projection are added.

Dimensions: B batch, D input, H hidden; in a step x (B, D), h and c (B, H). A gate that is left out
keeps its rows in the weight matrices, unused.
"""

import numpy as np

from rnnbook.scratch.layer import sigmoid
from rnnbook.scratch.lstm import LSTMCell
from rnnbook.scratch.regularization import normalize, normalize_back


class NoInputGateCell(LSTMCell):
    """``i = 1``: everything is written. Args and errors: as :class:`LSTMCell`."""

    def gates(self, x, h_before):
        """``x`` (B, D), ``h_before`` (B, H) -> ``i, f, g, o``, each (B, H)."""
        i, f, g, o = super().gates(x, h_before)
        return np.ones_like(i), f, g, o  # a constant: i * (1 - i), its slope in back, is 0


class NoForgetGateCell(LSTMCell):
    """``f = 1``: nothing is erased, as in the LSTM of 1997. Args and errors: as LSTMCell."""

    def gates(self, x, h_before):
        """``x`` (B, D), ``h_before`` (B, H) -> ``i, f, g, o``, each (B, H)."""
        i, f, g, o = super().gates(x, h_before)
        return i, np.ones_like(f), g, o


class NoOutputGateCell(LSTMCell):
    """``o = 1``: everything is shown. Args and errors: as :class:`LSTMCell`."""

    def gates(self, x, h_before):
        """``x`` (B, D), ``h_before`` (B, H) -> ``i, f, g, o``, each (B, H)."""
        i, f, g, o = super().gates(x, h_before)
        return i, f, g, np.ones_like(o)


class NoOutputActivationCell(LSTMCell):
    """``h = o * c``: what is shown is not bounded. Args and errors: as :class:`LSTMCell`."""

    def step(self, x, state):
        """``x`` (B, D), ``state`` = (h, c), each (B, H) -> (h, c), and what :meth:`back` needs."""
        h_before, c_before = state
        i, f, g, o = self.gates(x, h_before)
        c = f * c_before + i * g
        return (o * c, c), (x, h_before, c_before, i, f, g, o, c)

    def back(self, dstate, kept):
        """``dstate`` = (dh, dc) -> ``dx``, the earlier (dh, dc), the gradients of the weights."""
        dh, dc = dstate
        x, h_before, c_before, i, f, g, o, c = kept
        do, dc = dh * c, dc + dh * o
        da = self.gates_back(i, f, g, o, dc * g, dc * c_before, dc * i, do)
        dx, dh_before, grads = self.linear_back(da, x, h_before)
        return dx, (dh_before, dc * f), grads


class CoupledCell(LSTMCell):
    """``i = 1 - f``: as much is written as was erased. Args and errors: as :class:`LSTMCell`.

    Three blocks of weights, in the order f, g, o.
    """

    blocks = 3

    def gates(self, x, h_before):
        """``x`` (B, D), ``h_before`` (B, H) -> ``i, f, g, o``, each (B, H)."""
        a_f, a_g, a_o = np.split(self.linear(x, h_before), 3, axis=1)
        f = sigmoid(a_f)
        return 1 - f, f, np.tanh(a_g), sigmoid(a_o)

    def gates_back(self, i, f, g, o, di, df, dg, do):
        """The gates and their gradients, each (B, H) -> ``da`` (B, 3H)."""
        da_f, da_o = (df - di) * f * (1 - f), do * o * (1 - o)
        return np.concatenate([da_f, dg * (1 - g**2), da_o], axis=1)


class PeepholeCell(LSTMCell):
    """Each gate sees its own cell: i and f the old content, o the new one.

        i_t = sigmoid(... + w_i * c_{t-1})    f_t = sigmoid(... + w_f * c_{t-1})
        o_t = sigmoid(... + w_o * c_t)

    Args and errors: as :class:`LSTMCell`; the three vectors are the rows of ``weight_c`` (3, H).
    Source: Gers, Schraudolph & Schmidhuber (2002), Learning Precise Timing with LSTM Recurrent
    Networks.
    """

    def shapes(self):
        """Shapes of the weights by name."""
        return super().shapes() | {"weight_c": (3, self.hidden_size)}

    def step(self, x, state):
        """``x`` (B, D), ``state`` = (h, c), each (B, H) -> (h, c), and what :meth:`back` needs."""
        (h_old, c_old), (w_i, w_f, w_o) = state, self.params["weight_c"]
        a_i, a_f, a_g, a_o = np.split(self.linear(x, h_old), 4, axis=1)
        i, f, g = sigmoid(a_i + w_i * c_old), sigmoid(a_f + w_f * c_old), np.tanh(a_g)
        c = f * c_old + i * g
        o = sigmoid(a_o + w_o * c)
        return (o * np.tanh(c), c), (x, h_old, c_old, c, i, f, g, o)

    def back(self, dstate, kept):
        """``dstate`` = (dh, dc) -> ``dx``, the earlier (dh, dc), the gradients of the weights."""
        (dh, dc), (w_i, w_f, w_o) = dstate, self.params["weight_c"]
        x, h_old, c_old, c, i, f, g, o = kept
        da_o = dh * np.tanh(c) * o * (1 - o)
        dc = dc + dh * o * (1 - np.tanh(c) ** 2) + da_o * w_o
        da_i, da_f = dc * g * i * (1 - i), dc * c_old * f * (1 - f)
        da = np.concatenate([da_i, da_f, dc * i * (1 - g**2), da_o], axis=1)
        dx, dh_before, grads = self.linear_back(da, x, h_old)
        grads["weight_c"] = np.stack([da_i * c_old, da_f * c_old, da_o * c]).sum(axis=1)
        return dx, (dh_before, dc * f + da_i * w_i + da_f * w_f), grads


class ProjectedCell(LSTMCell):
    """``h = W_hr (o * tanh c)``: half as many numbers are shown, and fed back, as there are cells.

    ``h`` has P = H // 2 numbers, ``weight_hh`` is (4H, P), ``weight_hr`` (P, H).
    Args and errors: as :class:`LSTMCell`. ``torch.nn.LSTM`` has it as ``proj_size``.
    Source: Sak, Senior & Beaufays (2014), Long Short-Term Memory Recurrent Neural Network
    Architectures for Large Scale Acoustic Modeling.
    """

    @property
    def output_size(self):
        """P, the numbers in h."""
        return self.hidden_size // 2

    def shapes(self):
        """Shapes of the weights by name."""
        return super().shapes() | {"weight_hr": (self.output_size, self.hidden_size)}

    def step(self, x, state):
        """``x`` (B, D), ``state`` = h (B, P), c (B, H) -> (h, c), and what :meth:`back` needs."""
        (shown, c), kept = super().step(x, state)
        return (shown @ self.params["weight_hr"].T, c), (shown, kept)

    def back(self, dstate, kept):
        """``dstate`` = (dh, dc) -> ``dx``, the earlier (dh, dc), the gradients of the weights."""
        (dh, dc), (shown, of_step) = dstate, kept
        dx, dbefore, grads = super().back((dh @ self.params["weight_hr"], dc), of_step)
        return dx, dbefore, grads | {"weight_hr": dh.T @ shown}


class NormalizedCell(LSTMCell):
    """Layer normalization of both products, and of the cell where it is read.

        a = gain_ih * norm(W_ih x) + b_ih + gain_hh * norm(W_hh h) + b_hh
        h = o * tanh(gain_c * norm(c) + bias_c)

    with :func:`~rnnbook.scratch.regularization.normalize` as norm; gains begin at 1, ``bias_c`` at
    0. Args and errors: as :class:`LSTMCell`.
    Source: Ba, Kiros & Hinton (2016), Layer Normalization, equations (20) to (22).
    """

    def __init__(self, input_size, hidden_size, *, dtype=np.float64, rng=None):
        super().__init__(input_size, hidden_size, dtype=dtype, rng=rng)
        for name, value in [("gain_ih", 1), ("gain_hh", 1), ("gain_c", 1), ("bias_c", 0)]:
            self.params[name][...] = value

    def shapes(self):
        """Shapes of the weights by name."""
        H = self.hidden_size
        gains = {"gain_ih": (4 * H,), "gain_hh": (4 * H,), "gain_c": (H,), "bias_c": (H,)}
        return super().shapes() | gains

    def step(self, x, state):
        """``x`` (B, D), ``state`` = (h, c), each (B, H) -> (h, c), and what :meth:`back` needs."""
        (h_before, c_before), w = state, self.params
        n_x, of_x = normalize(x @ w["weight_ih"].T)
        n_h, of_h = normalize(h_before @ w["weight_hh"].T)
        a = w["gain_ih"] * n_x + w["bias_ih"] + w["gain_hh"] * n_h + w["bias_hh"]
        a_i, a_f, a_g, a_o = np.split(a, 4, axis=1)
        i, f, g, o = sigmoid(a_i), sigmoid(a_f), np.tanh(a_g), sigmoid(a_o)
        c = f * c_before + i * g
        n_c, of_c = normalize(c)
        tanh_c = np.tanh(w["gain_c"] * n_c + w["bias_c"])
        normal, of_norms = (n_x, n_h, n_c), (of_x, of_h, of_c)
        kept = x, h_before, c_before, (i, f, g, o), tanh_c, normal, of_norms
        return (o * tanh_c, c), kept

    def back(self, dstate, kept):
        """``dstate`` = (dh, dc) -> ``dx``, the earlier (dh, dc), the gradients of the weights."""
        (dh, dc), w = dstate, self.params
        x, h_before, c_before, (i, f, g, o), tanh_c, normal, of_norms = kept
        (n_x, n_h, n_c), (of_x, of_h, of_c) = normal, of_norms
        do = dh * tanh_c
        dread = dh * o * (1 - tanh_c**2)  # of gain_c * n_c + bias_c
        dc = dc + normalize_back(w["gain_c"] * dread, of_c)
        da = self.gates_back(i, f, g, o, dc * g, dc * c_before, dc * i, do)
        dp = normalize_back(w["gain_ih"] * da, of_x)  # of W_ih x
        dq = normalize_back(w["gain_hh"] * da, of_h)  # of W_hh h
        grads = {"weight_ih": dp.T @ x, "weight_hh": dq.T @ h_before}
        grads |= {"bias_ih": da.sum(axis=0), "bias_hh": da.sum(axis=0)}
        grads |= {"gain_ih": (da * n_x).sum(axis=0), "gain_hh": (da * n_h).sum(axis=0)}
        grads |= {"gain_c": (dread * n_c).sum(axis=0), "bias_c": dread.sum(axis=0)}
        return dp @ w["weight_ih"], (dq @ w["weight_hh"], dc * f), grads
