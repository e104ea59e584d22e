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
    """The plain loop over cells that also have something to do before it and after it.

        before(x) -> given               x (B, T, D); a step gets given[:, t] in the place of x_t
        after(dgiven) -> dx, grads       what the backward loop did not need
    """

    def _run(self, i, x, state, lengths):
        cell = copy.copy(self.cells[i])  # what it remembers belongs to this call alone
        output, end, tape = run(cell, cell.before(x), state, lengths, self._keeps_tape)
        return output, end, (cell, tape)

    def _run_back(self, i, tape, doutput, dstate, lengths):
        cell, tape = tape
        dgiven, dstate, grads = run_back(cell, tape, doutput, dstate, lengths)
        dx, others = cell.after(dgiven)
        for name, value in others.items():
            grads[name] += value
        return dx, dstate, grads


class Hoisted:
    """The product with x is one for all steps, before the loop: it waits for no state.

    In the loop remains the product with h.
    """

    def before(self, x):
        """``p`` (B, T, G * H), and ``x`` for the gradients."""
        self.x = x.copy()
        p = self.at_once(self.params["weight_ih"], self.x)
        p += self.params["bias_ih"]
        return Pair(p, self.x)

    def products(self, given, h):
        """What a step is given, and ``h`` (B, H) -> ``p, q`` (B, G * H)."""
        p, _ = given
        return p, self.times(self.params["weight_hh"], h) + self.params["bias_hh"]

    def products_back(self, dp, dq, given, h):
        """-> the gradients of what :meth:`after` wants, of ``h``, and of the weights."""
        w, (_, x) = self.params, given
        grads = {"weight_ih": dp.T @ x, "weight_hh": dq.T @ h}
        grads |= {"bias_ih": dp.sum(axis=0), "bias_hh": dq.sum(axis=0)}
        return dp @ w["weight_ih"], dq @ w["weight_hh"], grads

    def after(self, dx):
        """Nothing is left."""
        return dx, {}

    def linear(self, given, h):
        """RNN and LSTM add what comes from x and from h."""
        p, q = self.products(given, h)
        return p + q

    def linear_back(self, da, given, h):
        """The gradient of a sum is that of both its parts."""
        return self.products_back(da, da, given, h)

    def times(self, w, x):
        """A matrix (M, N) with ``x`` of one step, (B, N) -> (B, M)."""
        return x @ w.T

    def at_once(self, w, x):
        """A matrix (M, N) with ``x`` of all steps, (B, T, N) -> (B, T, M), in one product."""
        return (x.reshape(-1, x.shape[2]) @ w.T).reshape(*x.shape[:2], -1)


class OneGradient(Hoisted):
    """The gradients of the weights, and dx, are one product each, after the loop.

    They wait for no other step. In the backward loop remains what passes from step to step, dh.
    """

    def before(self, x):
        self.h, self.dq = [], []
        return super().before(x)

    def products(self, given, h):
        self.h.append(h)
        return super().products(given, h)

    def products_back(self, dp, dq, given, h):
        if dq is not dp:
            self.dq.append(dq)
        return dp, self.times(self.params["weight_hh"].T, dq), {}

    def after(self, dp):
        """From ``dp`` (B, T, G * H)."""
        dq = self.stacked(self.dq[::-1]) if self.dq else dp  # they differ in the GRU alone
        h = self.stacked(self.h)
        grads = {"weight_ih": self.summed(dp, self.x), "weight_hh": self.summed(dq, h)}
        grads |= {"bias_ih": dp.sum(axis=(0, 1)), "bias_hh": dq.sum(axis=(0, 1))}
        return self.at_once(self.params["weight_ih"].T, dp), grads

    def summed(self, d, x):
        """The sum of ``d x^T`` over steps and sequences: (B, T, M), (B, T, N) -> (M, N)."""
        return d.reshape(-1, d.shape[2]).T @ x.reshape(-1, x.shape[2])

    def stacked(self, steps):
        """T arrays (B, N) -> (B, T, N)."""
        return np.stack(steps, axis=1)


class OneProduct(OneGradient):
    """A step reads [h; x; 1] from one array, with one matrix [W_hh, W_ih, b].

    The array is made before the loop; a step writes its h into it. The gradient of the matrix holds
    those of all weights.
    """

    def before(self, x):
        w, H = self.params, self.hidden_size
        self.dq = []
        self.matrix = side_by_side(w["weight_hh"], w["weight_ih"], w["bias_ih"] + w["bias_hh"])
        self.read = self.ones(*x.shape[:2], self.matrix.shape[1])
        self.read[:, :, H:-1] = x
        return self.read

    def linear(self, read, h):
        read[:, : self.hidden_size] = h
        return self.times(self.matrix, read)

    def after(self, da):
        H = self.hidden_size
        dw = self.summed(da, self.read)
        grads = {"weight_hh": dw[:, :H], "weight_ih": dw[:, H:-1]}
        grads |= {"bias_ih": dw[:, -1], "bias_hh": dw[:, -1]}
        return self.at_once(self.params["weight_ih"].T, da), grads

    def ones(self, *shape):
        """An array (B, T, N)."""
        return np.ones(shape, self.dtype)


class OneProductGRU(OneProduct):
    """In the GRU the reset gate stands between the products with x and with h, so both remain.

    [h; x; 1] becomes [h; 1], which a step reads, and [x; 1], before the loop.
    """

    def before(self, x):
        w, self.dq = self.params, []
        self.matrix = side_by_side(w["weight_hh"], w["bias_hh"])
        self.read = self.ones(*x.shape[:2], self.hidden_size + 1)
        self.x = self.ones(*x.shape[:2], self.input_size + 1)
        self.x[:, :, :-1] = x
        return Pair(self.at_once(side_by_side(w["weight_ih"], w["bias_ih"]), self.x), self.read)

    def products(self, given, h):
        p, read = given
        return p, self.linear(read, h)

    def after(self, dp):
        dw_x, dw_h = self.summed(dp, self.x), self.summed(self.stacked(self.dq[::-1]), self.read)
        grads = {"weight_ih": dw_x[:, :-1], "bias_ih": dw_x[:, -1]}
        grads |= {"weight_hh": dw_h[:, :-1], "bias_hh": dw_h[:, -1]}
        return self.at_once(self.params["weight_ih"].T, dp), grads


class Rows:
    """Units are rows and the batch is columns: an array (B, N) lies as (N, B) in memory.

    Then the block of a gate is one piece of memory. The formulas see transposes, which are views,
    and notice nothing: what NumPy computes from such arrays lies as they do.
    """

    def step(self, given, state):
        return super().step(given, in_rows(state))

    def back(self, dstate, kept):
        return super().back(in_rows(dstate), kept)

    def products_back(self, dp, dq, given, h):
        dp, dh, grads = super().products_back(dp, dq, given, h)
        return dp.T, dh, grads  # so that the loop puts them together as (N, T, B)

    def after(self, dp):
        return super().after(dp.transpose(2, 1, 0))

    def times(self, w, x):
        return (w @ x.T).T

    def at_once(self, w, x):
        return (w @ x.transpose(1, 2, 0)).transpose(2, 0, 1)  # in memory (T, N, B)

    def summed(self, d, x):
        columns = d.transpose(2, 1, 0).reshape(d.shape[2], -1)  # (M, T * B), a view
        return columns @ x.transpose(1, 0, 2).reshape(-1, x.shape[2])

    def stacked(self, steps):
        return np.stack([step.T for step in steps], axis=1).transpose(2, 1, 0)

    def ones(self, B, T, N):
        return np.ones((T, N, B), self.dtype).transpose(2, 0, 1)


class InPlace:
    """The fused loop with new memory in every call, as other NumPy code has it."""

    def _forget(self):
        super()._forget()
        self._spare = [[] for _ in self.cells]


class GRUCell(scratch.GRUCell):
    """The plain cell with its products in ``products``, as RNN and LSTM have theirs in ``linear``."""

    def step(self, given, h_before):
        p, q = self.products(given, h_before)
        (p_r, p_z, p_n), (q_r, q_z, q_n) = np.split(p, 3, axis=1), np.split(q, 3, axis=1)
        r, z = sigmoid(p_r + q_r), sigmoid(p_z + q_z)
        n = np.tanh(p_n + r * q_n)
        h = (1 - z) * n + z * h_before
        return h, (given, h_before, r, z, n, q_n)

    def back(self, dh, kept):
        given, h_before, r, z, n, q_n = kept
        dz, dn = dh * (h_before - n), dh * (1 - z)
        da_n = dn * (1 - n**2)
        dr, dq_n = da_n * q_n, da_n * r
        da_r, da_z = dr * r * (1 - r), dz * z * (1 - z)
        dp = np.concatenate([da_r, da_z, da_n], axis=1)
        dq = np.concatenate([da_r, da_z, dq_n], axis=1)
        dgiven, dh_before, grads = self.products_back(dp, dq, given, h_before)
        return dgiven, dh * z + dh_before, grads


class Pair:
    """Two arrays (B, T, ...) of which a step gets its parts together."""

    def __init__(self, first, second):
        self.arrays, self.shape = (first, second), first.shape

    def __getitem__(self, index):
        return tuple(array[index] for array in self.arrays)


def side_by_side(*weights):
    """Matrices (M, N), and biases (M,) as columns, in one matrix."""
    return np.concatenate([w.reshape(len(w), -1) for w in weights], axis=1)


def in_rows(state):
    """``state`` with its parts (B, H) as (H, B) in memory."""
    return pack([np.asfortranarray(part) for part in unpack(state)])


def layers(*rung):
    """For each kind the plain layer, with a cell that takes its products as ``rung`` does."""
    of_gru = [OneProductGRU if part is OneProduct else part for part in rung]
    cells = {"RNN": (*rung, scratch.RNNCell), "LSTM": (*rung, scratch.LSTMCell)}
    cells["GRU"] = (*of_gru, GRUCell)
    return {
        kind: type(kind, (Rung, PLAIN[kind]), {"cell": type(f"{kind}Cell", bases, {})})
        for kind, bases in cells.items()
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
