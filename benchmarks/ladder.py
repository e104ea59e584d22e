"""From the plain layer to the fused one, rung by rung, each with the same numbers.

    plain                 step and back of the cell, nothing else (``rnnbook.scratch``)
    projection hoisted    the product with x stands before the loop, for all steps at once
    one weight gradient   stands after the backward loop, for all steps at once, and so does dx
    one product a step    with [h; x; 1], instead of two products, two biases and their sum
    units in rows         and the batch in columns: (H, B) in memory, not (B, H)
    in place              every result has its place; derivatives for many steps at once
    kept arrays           these places outlast the call: the fused layer (``rnnbook.scratch``)

A rung keeps what the rungs before it have changed. Up to "units in rows" the formulas are the plain
cell's: a rung says where the products are taken, and no more. From "in place" on it is the fused
loop.

Dimensions: T steps, B batch, D input, H hidden, G blocks of rows in a weight matrix. ``p`` is what
x brings to the pre-activations, ``q`` what h brings.
"""

import copy

import numpy as np

from rnnbook import scratch
from rnnbook.scratch.layer import RecurrentLayer, run, run_back, sigmoid
from rnnbook.scratch.states import pack, unpack


class Rung(RecurrentLayer):
    """The plain loop, over cells that have something to do before it and after it too.

        before(x)                x (B, T, D); a step is given its number t in the place of x_t
        after(dx) -> dx, grads   what the loop backward has left over

    What a cell prepares and remembers belongs to one call, so each call has a copy of its own.
    """

    def _run(self, i, x, state, lengths):
        cell = copy.copy(self.cells[i])
        cell.before(x)
        output, end, tape = run(cell, Numbers(x), state, lengths, self._keeps_tape)
        return output, end, (cell, tape)

    def _run_back(self, i, tape, doutput, dstate, lengths):
        cell, tape = tape
        dx, dstate, grads = run_back(cell, tape, doutput, dstate, lengths)
        dx, others = cell.after(dx)
        for name, value in others.items():
            grads[name] += value
        return dx, dstate, grads


class Numbers:
    """Stands for ``x`` (B, T, D) in the loop, and gives each step its number."""

    def __init__(self, x):
        self.shape = x.shape

    def __getitem__(self, index):
        return index[1]


class Added:
    """RNN and LSTM add what x and h bring, so both get the gradient of the sum."""

    apart = False

    def linear(self, t, h):
        p, q = self.products(t, h)
        return p + q

    def linear_back(self, da, t, h):
        return self.products_back(da, da, t, h)


class RNNCell(Added, scratch.RNNCell):
    """The plain cell with its products in ``products``."""


class LSTMCell(Added, scratch.LSTMCell):
    """The plain cell with its products in ``products``."""


class GRUCell(scratch.GRUCell):
    """The plain cell with its products in ``products``: the reset gate stands between them."""

    apart = True

    def step(self, t, h_before):
        p, q = self.products(t, h_before)
        (p_r, p_z, p_n), (q_r, q_z, q_n) = np.split(p, 3, axis=1), np.split(q, 3, axis=1)
        r, z = sigmoid(p_r + q_r), sigmoid(p_z + q_z)
        n = np.tanh(p_n + r * q_n)
        h = (1 - z) * n + z * h_before
        return h, (t, h_before, r, z, n, q_n)

    def back(self, dh, kept):
        t, h_before, r, z, n, q_n = kept
        dz, dn = dh * (h_before - n), dh * (1 - z)
        da_n = dn * (1 - n**2)
        dr, dq_n = da_n * q_n, da_n * r
        da_r, da_z = dr * r * (1 - r), dz * z * (1 - z)
        dp = np.concatenate([da_r, da_z, da_n], axis=1)
        dq = np.concatenate([da_r, da_z, dq_n], axis=1)
        dx, dh_before, grads = self.products_back(dp, dq, t, h_before)
        return dx, dh * z + dh_before, grads


class Hoisted:
    """The product with x is one for all steps, before the loop: it waits for no state.

    In the loop remains the product with h.
    """

    def before(self, x):
        self.x = x.copy()  # (B, T, D)
        self.p = self.at_once(self.params["weight_ih"], self.x)  # (B, T, G * H)
        self.p += self.params["bias_ih"]

    def products(self, t, h):
        """Step ``t`` and ``h`` (B, H) -> ``p, q``, each (B, G * H)."""
        w = self.params
        return self.p[:, t], self.times(w["weight_hh"], h) + w["bias_hh"]

    def products_back(self, dp, dq, t, h):
        """The gradients of ``p`` and ``q`` -> those of ``x``, ``h`` and the weights."""
        w = self.params
        grads = {"weight_ih": dp.T @ self.x[:, t], "weight_hh": dq.T @ h}
        grads |= {"bias_ih": dp.sum(axis=0), "bias_hh": dq.sum(axis=0)}
        return dp @ w["weight_ih"], dq @ w["weight_hh"], grads

    def after(self, dx):
        return dx, {}

    def times(self, w, x):
        """A matrix (M, N) with ``x`` of one step, (B, N) -> (B, M)."""
        return x @ w.T

    def at_once(self, w, x):
        """A matrix (M, N) with ``x`` of all steps, (B, T, N) -> (B, T, M), in one product."""
        return (x.reshape(-1, x.shape[2]) @ w.T).reshape(*x.shape[:2], -1)


class OneGradient(Hoisted):
    """The gradients of the weights, and dx, are one product each, after the loop.

    In the loop remains what one step backward needs of the next: dh.
    """

    def before(self, x):
        super().before(x)
        self.h = self.room(x, self.hidden_size)
        self.dp, self.dq = self.rooms_for_gradients(x)

    def products(self, t, h):
        self.h[:, t] = h
        return super().products(t, h)

    def products_back(self, dp, dq, t, h):
        self.dp[:, t] = dp
        if self.apart:
            self.dq[:, t] = dq
        nothing = dp[:, :0]  # in the place of dx
        return nothing, self.times(self.params["weight_hh"].T, dq), {}

    def after(self, _):
        grads = {
            "weight_ih": self.summed(self.dp, self.x),
            "weight_hh": self.summed(self.dq, self.h),
        }
        grads |= {"bias_ih": self.dp.sum(axis=(0, 1)), "bias_hh": self.dq.sum(axis=(0, 1))}
        return self.at_once(self.params["weight_ih"].T, self.dp), grads

    def summed(self, d, x):
        """The sum of ``d x^T`` over steps and sequences: (B, T, M), (B, T, N) -> (M, N)."""
        return d.reshape(-1, d.shape[2]).T @ x.reshape(-1, x.shape[2])

    def room(self, x, size):
        """For a step's (B, size), all steps: (B, T, size)."""
        return np.empty((*x.shape[:2], size), self.dtype)

    def rooms_for_gradients(self, x):
        """For ``dp`` and ``dq``, which are the same where p and q are added."""
        dp = self.room(x, len(self.params["bias_hh"]))
        return dp, np.empty_like(dp) if self.apart else dp


class OneProduct(OneGradient):
    """A step reads [h; x; 1] from one array, with one matrix [W_hh, W_ih, b].

    The array is made before the loop; a step writes its h into it. The gradient of the matrix holds
    those of all weights.
    """

    def before(self, x):
        w, H = self.params, self.hidden_size
        self.matrix = side_by_side(w["weight_hh"], w["weight_ih"], w["bias_ih"] + w["bias_hh"])
        self.read = self.room(x, self.matrix.shape[1])
        self.read[:, :, H:-1], self.read[:, :, -1] = x, 1
        self.dp, self.dq = self.rooms_for_gradients(x)

    def linear(self, t, h):
        read = self.read[:, t]
        read[:, : self.hidden_size] = h
        return self.times(self.matrix, read)

    def after(self, _):
        H, dw = self.hidden_size, self.summed(self.dp, self.read)
        grads = {"weight_hh": dw[:, :H], "weight_ih": dw[:, H:-1]}
        grads |= {"bias_ih": dw[:, -1], "bias_hh": dw[:, -1]}
        return self.at_once(self.params["weight_ih"].T, self.dp), grads


class OneProductGRU(OneProduct):
    """As the reset gate stands between the products with x and with h, both remain.

    [h; x; 1] becomes [h; 1], which a step reads, and [x; 1], before the loop.
    """

    def before(self, x):
        w = self.params
        self.matrix = side_by_side(w["weight_hh"], w["bias_hh"])
        self.read = self.room(x, self.hidden_size + 1)
        self.x = self.room(x, self.input_size + 1)
        self.read[:, :, -1], self.x[:, :, :-1], self.x[:, :, -1] = 1, x, 1
        self.p = self.at_once(side_by_side(w["weight_ih"], w["bias_ih"]), self.x)
        self.dp, self.dq = self.rooms_for_gradients(x)

    def products(self, t, h):
        return self.p[:, t], self.linear(t, h)

    def after(self, _):
        dw_x, dw_h = self.summed(self.dp, self.x), self.summed(self.dq, self.read)
        grads = {"weight_ih": dw_x[:, :-1], "bias_ih": dw_x[:, -1]}
        grads |= {"weight_hh": dw_h[:, :-1], "bias_hh": dw_h[:, -1]}
        return self.at_once(self.params["weight_ih"].T, self.dp), grads


class Rows:
    """Units are rows and the batch is columns: an array (B, N) lies as (N, B) in memory.

    Then the block of a gate is one piece of memory. The formulas see transposes, which are views,
    and notice nothing: what NumPy computes from such arrays lies as they do.
    """

    def step(self, t, state):
        return super().step(t, in_rows(state))

    def back(self, dstate, kept):
        return super().back(in_rows(dstate), kept)

    def times(self, w, x):
        return (w @ x.T).T

    def at_once(self, w, x):
        return (w @ x.transpose(1, 2, 0)).transpose(2, 0, 1)  # in memory (T, M, B)

    def summed(self, d, x):
        columns = d.transpose(2, 1, 0).reshape(d.shape[2], -1)  # (M, T * B)
        return columns @ x.transpose(1, 0, 2).reshape(-1, x.shape[2])

    def room(self, x, size):
        return np.empty((x.shape[1], size, x.shape[0]), self.dtype).transpose(2, 0, 1)


class InPlace:
    """The fused loop with new memory in every call, as other NumPy code has it."""

    def _forget(self):
        super()._forget()
        self._spare = [[] for _ in self.cells]


def side_by_side(*weights):
    """Matrices (M, N), and biases (M,) as columns, in one matrix."""
    return np.concatenate([w.reshape(len(w), -1) for w in weights], axis=1)


def in_rows(state):
    """``state`` with its parts (B, H) as (H, B) in memory."""
    return pack([np.asfortranarray(part) for part in unpack(state)])


def layers(*rung):
    """For each kind the plain layer, with a cell that takes its products as ``rung`` does."""
    of_gru = [OneProductGRU if part is OneProduct else part for part in rung]
    bases = {"RNN": (*rung, RNNCell), "LSTM": (*rung, LSTMCell), "GRU": (*of_gru, GRUCell)}
    return {
        kind: type(kind, (Rung, plain), {"cell": type(f"{kind}Cell", bases[kind], {})})
        for kind, plain in PLAIN.items()
    }


PLAIN = {"RNN": scratch.RNN, "LSTM": scratch.LSTM, "GRU": scratch.GRU}
FUSED = {"RNN": scratch.FusedRNN, "LSTM": scratch.FusedLSTM, "GRU": scratch.FusedGRU}
# The layers of each rung.
RUNGS = {
    "plain": PLAIN,
    "projection hoisted": layers(Hoisted),
    "one weight gradient": layers(OneGradient),
    "one product a step": layers(OneProduct),
    "units in rows": layers(Rows, OneProduct),
    "in place": {kind: type(kind, (InPlace, fused), {}) for kind, fused in FUSED.items()},
    "kept arrays": FUSED,
}
