"""The layers with their loop written for speed (told in chapter ``efficient_training``).

``FusedLSTM`` is :class:`~rnnbook.scratch.lstm.LSTM` in everything but time: same arguments,
weights, errors and, up to rounding, numbers. Only the run of one cell through all steps is
written anew:

    units are rows and the batch is columns, so that a step reads ``W @ [h; x; 1]``, in one product
    derivatives that do not wait for the next step are taken for a block of steps at once
    the gradient of a weight matrix is one product over a block of steps
    everything is written into memory that the call before has used (:class:`Memory`)

The plain cells are the definition; the tests hold both together.

Dimensions: T steps, B batch, D input, H hidden; in the loops x (T, D, B) and h, c (T + 1, H, B),
with h[t] the state before step t.
"""

import math
from collections.abc import Iterator
from typing import Any, ClassVar, Self

import numpy as np

from rnnbook.scratch.gru import GRU, GRUCell, ResetBeforeGRU, ResetBeforeGRUCell
from rnnbook.scratch.layer import Cell, RecurrentLayer, inside
from rnnbook.scratch.lstm import LSTM, LSTMCell
from rnnbook.scratch.module import DType
from rnnbook.scratch.recurrent_layer import RNN, RNNCell
from rnnbook.scratch.states import pack, unpack

KEEP = 2**27  # bytes: a cell's memory that grew larger goes back to the operating system
CACHE_LINE = 64  # bytes
BLOCK = 1024  # columns (steps times batch) whose numbers stay in the processor's cache


class Memory:
    """Arrays to write to, those of the last call where they suffice.

    Fresh memory is handed over page by page by the operating system, which takes longer than
    filling it. One run of one cell owns a memory, from its forward to the end of its backward.
    """

    def __init__(self, dtype: DType):
        self.dtype = np.dtype(dtype)
        self.columns = 0  # steps times batch of the longest run so far
        self._kept: dict[str, np.ndarray] = {}
        self._last: dict[str, np.ndarray] = {}  # as they were handed out last

    def array(self, name: str, *shape: int) -> np.ndarray:
        """An array of any numbers, the same memory for the same name."""
        last = self._last.get(name)
        if last is not None and last.shape == shape:
            return last
        size = math.prod(shape)
        kept = self._kept.get(name)
        if kept is None or kept.size < size:
            kept = self._kept[name] = aligned(size, self.dtype)
        self._last[name] = array = kept[:size].reshape(shape)
        return array

    def in_order(self, name: str, x: np.ndarray) -> np.ndarray:
        """The numbers of ``x`` one after the other in memory: ``x`` itself, or a copy."""
        if x.flags.c_contiguous:
            return x
        copy = self.array(name, *x.shape)
        copy[...] = x
        return copy

    @property
    def nbytes(self) -> int:
        """Bytes that are kept."""
        return sum(array.nbytes for array in self._kept.values())


def aligned(size: int, dtype: np.dtype) -> np.ndarray:
    """An array of ``size`` any numbers that begins with a line of the processor's cache.

    One that begins elsewhere is read in pieces that straddle two lines, which costs a few percent.
    """
    nbytes = size * dtype.itemsize
    memory = np.empty(nbytes + CACHE_LINE, np.uint8)
    start = -memory.ctypes.data % CACHE_LINE
    return memory[start : start + nbytes].view(dtype)


class Fused(RecurrentLayer):
    """Runs a fast loop in the place of ``run`` and ``run_back``. A subclass supplies it:

        _forward(memory, weights, x, *state0) -> kept, states      states (T + 1, H, B), h first
        _backward(memory, weights, kept, doutput, ends, *dstate) -> dx, dstate0, dweights

    where ``weights`` are the four arrays of a cell, ``ends[t]`` are the columns whose sequence ends
    with step ``t``, and ``dstate`` (H, B) is the gradient of the states at those ends.

    Between calls at most one memory per cell is kept, and none in evaluation.
    """

    fuses: ClassVar[type[Cell]]  # the kind of cell whose steps the loop takes

    def _set_cells(self, cells: list[Cell], bidirectional: bool) -> None:
        if type(cells[0]) is not self.fuses:
            name = type(cells[0]).__name__
            raise ValueError(f"cell must be {self.fuses.__name__} for a fused loop, got {name}.")
        super()._set_cells(cells, bidirectional)
        self._spare: list[list[Memory]] = [[] for _ in cells]

    def _run(self, i, x, state, lengths):
        memory = self._memory(i, columns=x.shape[0] * x.shape[1])
        start = [part.T for part in unpack(state)]
        weights = self.cells[i].params.values()
        kept, states = self._forward(memory, weights, x.transpose(1, 2, 0), *start)
        end = pack([last(part, lengths).T for part in states])
        h = states[0][1:]
        if lengths is not None:
            np.copyto(h, 0, where=~inside(lengths, len(h)).transpose(1, 2, 0))
        return batch_first(memory, h), end, (memory, kept)

    def _memory(self, i: int, columns: int) -> Memory:
        """That of the last run of cell ``i``, unless it is taken, or by far too large."""
        try:
            memory = self._spare[i].pop()
        except IndexError:
            memory = Memory(self.dtype)
        if memory.columns > 4 * columns:
            memory = Memory(self.dtype)
        memory.columns = max(memory.columns, columns)
        return memory

    def _run_back(self, i, tape, doutput, dstate, lengths):
        memory, kept = tape
        dy = memory.in_order("turned", doutput.transpose(1, 2, 0))
        ends = sequence_ends(lengths, len(dy))
        dend = [part.T for part in unpack(dstate)]
        params = self.cells[i].params
        dx, dstart, dweights = self._backward(memory, params.values(), kept, dy, ends, *dend)
        grads = dict(zip(params, dweights, strict=True))
        return batch_first(memory, dx), pack([part.T for part in dstart]), grads

    def _forget(self) -> None:
        tape = getattr(self._thread, "tape", None)
        super()._forget()
        if tape is not None and self._keeps_tape:
            for spare, (memory, _) in zip(self._spare, tape.runs, strict=True):
                spare[:] = [memory] if memory.nbytes <= KEEP else []

    def train(self, mode: bool = True) -> Self:
        """Switch to training; ``train(False)`` is ``eval()``. Returns itself."""
        super().train(mode)
        if not mode:
            self._spare = [[] for _ in self.cells]
        return self

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_spare": [[] for _ in self.cells]}

    def _forward(self, memory: Memory, weights, x: np.ndarray, *state: Any) -> Any:
        raise NotImplementedError

    def _backward(self, memory: Memory, weights, kept, doutput, ends, *dstate) -> Any:
        raise NotImplementedError


class FusedRNN(Fused, RNN):
    """:class:`~rnnbook.scratch.recurrent_layer.RNN`, faster: same arguments, numbers, errors."""

    fuses = RNNCell

    def _forward(self, memory, weights, x, h0):
        w_ih, w_hh, b_ih, b_hh = weights
        T, D, B = x.shape
        H = len(h0)
        w = np.concatenate([w_hh, w_ih, (b_ih + b_hh)[:, None]], axis=1)  # (H, H + D + 1)

        read = memory.array("read", T + 1, H + D + 1, B)  # what each step reads: [h; x; 1]
        read[:T, H:-1] = x
        read[:, -1] = 1
        h = read[:, :H]  # h[t + 1] is written where step t + 1 will read it
        h[0] = h0
        for read_t, h_t in zip(read[:T], h[1:], strict=True):
            w.dot(read_t, h_t)  # a (H, B)
            if self.nonlinearity == "tanh":
                np.tanh(h_t, out=h_t)
            else:
                np.maximum(h_t, 0, out=h_t)
        return read, (h,)

    def _backward(self, memory, weights, read, doutput, ends, dfinal):
        w_ih, w_hh, _, _ = weights
        T, H, B = doutput.shape
        h = read[1:, :H]
        w_hh_t = np.ascontiguousarray(w_hh.T)

        dx = memory.array("dx", T, w_ih.shape[1], B)
        dw = np.zeros((H, read.shape[1]), h.dtype)  # (H, H + D + 1)
        dh = np.zeros((H, B), h.dtype)
        for block in blocks(T, B):
            h_block = h[block]
            slope = 1 - h_block * h_block if self.nonlinearity == "tanh" else h_block > 0
            da = memory.array("da", block.stop - block.start, H, B)
            steps = backwards(range(T)[block], doutput[block], slope, da)
            for t, doutput_t, slope_t, da_t in steps:
                if t in ends:
                    dh[:, ends[t]] += dfinal[:, ends[t]]
                dh += doutput_t
                np.multiply(dh, slope_t, out=da_t)
                w_hh_t.dot(da_t, dh)
            dw += sum_of_products(memory, da, read[block])
            np.matmul(w_ih.T, da, out=dx[block])

        db = dw[:, -1]
        return dx, (dh,), (dw[:, H:-1].copy(), dw[:, :H].copy(), db.copy(), db.copy())


class FusedLSTM(Fused, LSTM):
    """:class:`~rnnbook.scratch.lstm.LSTM`, faster: same arguments, numbers, errors."""

    fuses = LSTMCell

    def _forward(self, memory, weights, x, h0, c0):
        w_ih, w_hh, b_ih, b_hh = weights
        T, D, B = x.shape
        H = len(h0)
        w = np.concatenate([w_hh, w_ih, (b_ih + b_hh)[:, None]], axis=1)  # (4H, H + D + 1)
        w = in_pairs_swapped(w)  # f, i, o, g: the gates side by side
        # sigmoid(a) = tanh(a / 2) / 2 + 1 / 2, with the gates' weights halved beforehand.
        half = np.array(0.5, x.dtype)
        w[: 3 * H] *= half

        read = memory.array("read", T + 1, H + D + 1, B)  # what each step reads: [h; x; 1]
        read[:T, H:-1] = x
        read[:, -1] = 1
        h = read[:, :H]  # h[t + 1] is written where step t + 1 will read it
        # The gates f, i, o and, in this order, their partners, what they multiply:
        # c_before, g, tanh_c.
        kept = memory.array("kept", T + 1, 6, H, B)
        c = kept[:, 3]
        h[0], c[0] = h0, c0

        fio, f_i, o = kept[:T, :3], kept[:T, :2], kept[:T, 2]
        c_g, g, tanh_c = kept[:T, 3:5], kept[:T, 4], kept[:T, 5]
        a = memory.array("a", 4 * H, B)
        a_fio, a_g = a[: 3 * H].reshape(3, H, B), a[3 * H :]
        fc, ig = fc_ig = memory.array("fc_ig", 2, H, B)
        steps = zip(read[:T], fio, f_i, o, c_g, g, tanh_c, c[1:], h[1:], strict=True)
        for read_t, fio_t, f_i_t, o_t, c_g_t, g_t, tanh_c_t, c_t, h_t in steps:
            w.dot(read_t, a)  # (4H, B)
            np.tanh(a_g, out=g_t)
            np.tanh(a_fio, out=a_fio)
            np.multiply(a_fio, half, out=fio_t)
            fio_t += half
            np.multiply(f_i_t, c_g_t, out=fc_ig)
            np.add(fc, ig, out=c_t)
            np.tanh(c_t, out=tanh_c_t)
            np.multiply(o_t, tanh_c_t, out=h_t)
        return (read, kept), (h, c)

    def _backward(self, memory, weights, tape, doutput, ends, dh_final, dc_final):
        w_ih, w_hh, _, _ = weights
        read, kept = tape
        T, H, B = doutput.shape
        w = in_pairs_swapped(np.concatenate([w_hh, w_ih], axis=1))  # (4H, H + D)
        w_t = np.ascontiguousarray(w.T)

        dread = np.zeros((w.shape[1], B), w.dtype)  # of what a step read: [dh; dx]
        dh, dread_x = dread[:H], dread[H:]
        dc = np.zeros((H, B), w.dtype)
        dx = memory.array("dx", T, len(dread_x), B)
        dw = np.zeros((4 * H, read.shape[1]), w.dtype)  # (4H, H + D + 1)

        one = np.array(1, w.dtype)
        products = memory.array("products", 3, H, B)  # f * c_before, i * g, o * tanh_c
        of_tanhs = products[1:]
        d = memory.array("d", 5, H, B)
        by_gates, by_tanhs = d[:3], d[3:]
        da_f, da_i, da_o, da_g, dc_by_h = d
        da = d[:4].reshape(4 * H, B)
        for block in blocks(T, B):
            # As (4H, steps, B) in memory, for the product that sums over steps and batch.
            columns = block.stop - block.start, B
            all_da = memory.array("da", 4 * H, *columns).transpose(1, 0, 2)
            gates, partners = kept[block, :3], kept[block, 3:]
            kept_parts = gates, partners, gates[:, 0], gates[:, 1:], partners[:, 1:]
            given = doutput[block], *kept_parts, all_da, dx[block]
            steps = backwards(range(T)[block], *given)
            for t, dy_t, gates_t, partners_t, f_t, i_o_t, tanhs_t, all_da_t, dx_t in steps:
                if t in ends:
                    dh[:, ends[t]] += dh_final[:, ends[t]]
                    dc[:, ends[t]] += dc_final[:, ends[t]]
                # Derivatives of gate * partner, by the gate's a:
                # partner * gate * (1 - gate),
                np.multiply(gates_t, partners_t, out=products)
                np.subtract(one, gates_t, out=by_gates)
                by_gates *= products
                # and by the a or c in a partner that is a tanh: gate * (1 - tanh^2).
                np.multiply(of_tanhs, tanhs_t, out=by_tanhs)
                np.subtract(i_o_t, by_tanhs, out=by_tanhs)
                dh += dy_t
                da_o *= dh
                dc_by_h *= dh
                dc += dc_by_h
                da_f *= dc
                da_i *= dc
                da_g *= dc
                all_da_t[...] = da
                w_t.dot(da, dread)
                dx_t[...] = dread_x
                dc *= f_t
            dw += sum_of_products(memory, all_da, read[block])

        dw = in_pairs_swapped(dw)
        db = dw[:, -1]
        return dx, (dh, dc), (dw[:, H:-1].copy(), dw[:, :H].copy(), db.copy(), db.copy())


class FusedGRU(Fused, GRU):
    """:class:`~rnnbook.scratch.gru.GRU`, faster: same arguments, numbers, errors."""

    fuses = GRUCell

    def _forward(self, memory, weights, x, h0):
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

        read = memory.array("read", T + 1, H + 1 + D, B)  # what a step reads: [h; 1] and [1; x]
        read[:, H] = 1
        read[:T, H + 1 :] = x
        h = read[:, :H]  # h[t + 1] is written where step t + 1 will read it
        h[0] = h0
        p = memory.array("p", T, 3 * H, B)  # from the input; n takes the place of its last block
        q = memory.array("q", T, 3 * H, B)  # from the old state; r and z take that of theirs
        rq_n = memory.array("rq_n", H, B)
        np.matmul(w_x, read[:T, H:], out=p)

        p_rz, n = p[:, : 2 * H], p[:, 2 * H :]
        rz, r, z, q_n = q[:, : 2 * H], q[:, :H], q[:, H : 2 * H], q[:, 2 * H :]
        steps = zip(read[:T, : H + 1], q, rz, p_rz, r, q_n, n, h[:T], h[1:], z, strict=True)
        for read_t, q_t, rz_t, p_rz_t, r_t, q_n_t, n_t, h_before, h_t, z_t in steps:
            w_h.dot(read_t, q_t)  # (3H, B)
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

    def _backward(self, memory, weights, tape, doutput, ends, dfinal):
        w_ih, w_hh, _, _ = weights
        read, r, z, q_n, n = tape
        T, H, B = doutput.shape
        h = read[:, :H]
        w_nrz_t = np.ascontiguousarray(np.concatenate([w_hh[2 * H :], w_hh[: 2 * H]]).T)

        dx = memory.array("dx", T, w_ih.shape[1], B)
        dw_nrz = np.zeros((3 * H, H + 1), n.dtype)
        dw_x = np.zeros((3 * H, 1 + w_ih.shape[1]), n.dtype)
        dh = np.zeros((H, B), n.dtype)
        for block in blocks(T, B):
            # The gradients of q_n, a_r, a_z, a_n and, by way of z, of the old state are multiples
            # of dh: by what, is known for all steps of the block at once.
            d = memory.array("d", block.stop - block.start, 5, H, B)
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
                w_nrz_t.dot(dq_t, dh)
                dh += dh_by_z
            dw_nrz += sum_of_products(memory, dq, read[block, : H + 1])
            dw_x += sum_of_products(memory, dp, read[block, H:])
            np.matmul(w_ih.T, dp, out=dx[block])

        dw_h = np.concatenate([dw_nrz[H:], dw_nrz[:H]])
        dweights = dw_x[:, 1:], dw_h[:, :H], dw_x[:, 0], dw_h[:, H]
        return dx, (dh,), tuple(dw.copy() for dw in dweights)


class FusedResetBeforeGRU(Fused, ResetBeforeGRU):
    """:class:`~rnnbook.scratch.gru.ResetBeforeGRU`, faster: same arguments, numbers, errors."""

    fuses = ResetBeforeGRUCell

    def _forward(self, memory, weights, x, h0):
        w_ih, w_hh, b_ih, b_hh = weights
        T, D, B = x.shape
        H = len(h0)
        w = np.concatenate([w_hh, w_ih, (b_ih + b_hh)[:, None]], axis=1)  # (3H, H + D + 1)
        half = np.array(0.5, x.dtype)
        w[: 2 * H] *= half  # sigmoid(a) = tanh(a / 2) / 2 + 1 / 2
        w_rz, w_n = w[: 2 * H], w[2 * H :]

        read = memory.array("read", T + 1, H + D + 1, B)  # what the gates read: [h; x; 1]
        read[:T, H:-1] = x
        read[:, -1] = 1
        h = read[:, :H]  # h[t + 1] is written where step t + 1 will read it
        h[0] = h0
        read_n = memory.array("read_n", T, H + D + 1, B)  # what the candidate reads: [r * h; x; 1]
        read_n[...] = read[:T]
        rz = memory.array("rz", T, 2 * H, B)
        n = memory.array("n", T, H, B)

        r, z, rh = rz[:, :H], rz[:, H:], read_n[:, :H]
        steps = zip(read[:T], rz, r, h[:T], rh, read_n, n, h[1:], z, strict=True)
        for read_t, rz_t, r_t, h_before, rh_t, read_n_t, n_t, h_t, z_t in steps:
            w_rz.dot(read_t, rz_t)  # (2H, B)
            np.tanh(rz_t, out=rz_t)
            rz_t *= half
            rz_t += half
            np.multiply(r_t, h_before, out=rh_t)
            w_n.dot(read_n_t, n_t)  # (H, B)
            np.tanh(n_t, out=n_t)
            np.subtract(h_before, n_t, out=h_t)  # h = n + z * (h_before - n)
            h_t *= z_t
            h_t += n_t
        return (read, read_n, r, z, n), (h,)

    def _backward(self, memory, weights, tape, doutput, ends, dfinal):
        w_ih, w_hh, _, _ = weights
        read, read_n, r, z, n = tape
        T, H, B = doutput.shape
        h = read[:, :H]
        w_rz_t = np.ascontiguousarray(w_hh[: 2 * H].T)
        w_n_t = np.ascontiguousarray(w_hh[2 * H :].T)

        dx = memory.array("dx", T, w_ih.shape[1], B)
        dw = np.zeros((3 * H, read.shape[1]), n.dtype)  # (3H, H + D + 1)
        dh = np.zeros((H, B), n.dtype)
        drh = np.empty((H, B), n.dtype)
        dh_by_gates = np.empty((H, B), n.dtype)
        for block in blocks(T, B):
            # da_z and da_n are multiples of dh, and da_r of d(r * h): by what, is known for all
            # steps of the block at once.
            da = memory.array("da", block.stop - block.start, 3 * H, B)
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
                w_n_t.dot(da_n, drh)
                da_r *= drh
                w_rz_t.dot(da_rz_t, dh_by_gates)
                drh *= r_t
                dh *= z_t
                dh += dh_by_gates
                dh += drh
            dw[: 2 * H] += sum_of_products(memory, da_rz, read[block])
            dw[2 * H :] += sum_of_products(memory, to_n, read_n[block])
            np.matmul(w_ih.T, da, out=dx[block])

        db = dw[:, -1]
        return dx, (dh,), (dw[:, H:-1].copy(), dw[:, :H].copy(), db.copy(), db.copy())


def batch_first(memory: Memory, x: np.ndarray) -> np.ndarray:
    """(T, F, B) -> (B, T, F), a new array."""
    # Step by step each matrix is small enough to be turned within the cache.
    return memory.in_order("turned", x.transpose(0, 2, 1)).transpose(1, 0, 2).copy()


def sum_of_products(memory: Memory, da: np.ndarray, read: np.ndarray) -> np.ndarray:
    """The gradient of a matrix: ``sum over t of da[t] @ read[t].T``, in one product.

    Shapes: ``da`` (T, M, B), ``read`` (T, N, B) -> (M, N).
    """
    columns = memory.in_order("columns", da.transpose(1, 0, 2))  # (M, T, B)
    rows = memory.in_order("rows", read.transpose(0, 2, 1))  # (T, B, N)
    return columns.reshape(len(columns), -1) @ rows.reshape(-1, rows.shape[2])


def blocks(steps: int, batch: int) -> list[slice]:
    """The steps in blocks of up to ``BLOCK`` columns, the last one first; the others equally long.

    Large enough that a product over a block is as fast as one over all steps, small enough that
    what was computed for a block is still in the processor's cache when it is used.
    """
    number = math.ceil(steps / max(1, BLOCK // batch))
    size = math.ceil(steps / number)
    return [slice(t, min(t + size, steps)) for t in reversed(range(0, steps, size))]


def backwards(*arrays) -> Iterator[tuple]:
    """``(array[t], ...)`` for all ``arrays`` together, the last ``t`` first."""
    return zip(*(array[::-1] for array in arrays), strict=True)


def in_pairs_swapped(w: np.ndarray) -> np.ndarray:
    """The blocks of rows from the order i, f, g, o to f, i, o, g, or back."""
    return w.reshape(4, -1)[[1, 0, 3, 2]].reshape(w.shape)


def last(states: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
    """Each sequence's state after its last step: ``states`` (T + 1, H, B) -> (H, B)."""
    if lengths is None:
        return states[-1]
    return np.take_along_axis(states, lengths[None, None, :], axis=0)[0]


def sequence_ends(lengths: np.ndarray | None, steps: int) -> dict[int, np.ndarray | slice]:
    """For each step with which some sequence ends, the columns of those sequences."""
    if lengths is None:
        return {steps - 1: slice(None)}
    return {int(n) - 1: np.flatnonzero(lengths == n) for n in np.unique(lengths)}
