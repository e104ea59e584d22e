"""The layers with a hand-written backward pass for the whole sequence (``efficient_training``).

Autograd records every operation of every step and walks the record backwards. Here the loop is one
operation, a ``torch.autograd.Function``: it keeps only what its backward needs, takes everything
that does not wait for the next step out of the loop, and writes into buffers made beforehand.

    T steps, B batch, D input, H hidden, G blocks (RNN 1, LSTM 4, GRU 3)
    x (T, B, D)      h, c (T + 1, B, H), with h[t] the state before step t
    With a projection h and its gradient are (T + 1, B, P), and m = o * tanh(c) is (T, B, H).
    dX is the gradient of the loss with respect to X; a_* are pre-activations

In every backward ``dh`` (T + 1, B, H) starts as the immediate gradient, what the loss says of each
h itself, and becomes the total one as the loop adds what came back through the later steps.

Differentiable once, and what is returned cannot be changed in place, for backward needs it; torch
refuses both with an error. The readable layers, with the same parameters, are the definition.
"""

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from rnnbook.pytorch.gru import GRU, ResetBeforeGRU
from rnnbook.pytorch.layer import RecurrentLayer
from rnnbook.pytorch.lstm import LSTM
from rnnbook.pytorch.recurrent_layer import RNN


class RNNFunction(Function):
    """``(x, h0, w_ih, w_hh, b_ih, b_hh, nonlinearity) -> h`` (T, B, H)."""

    @staticmethod
    def forward(ctx, x, h0, w_ih, w_hh, b_ih, b_hh, nonlinearity):
        T, B, _ = x.shape
        H = h0.shape[1]
        phi_ = torch.tanh_ if nonlinearity == "tanh" else torch.relu_
        h = x.new_empty(T + 1, B, H)
        h[0] = h0
        torch.addmm(b_ih + b_hh, rows(x), w_ih.T, out=rows(h[1:]))
        before, w_hh_t = h0, w_hh.T
        for a in h[1:].unbind():  # (B, H): a_t, then h_t, in the same place
            before = phi_(a.addmm_(before, w_hh_t))
        ctx.save_for_backward(x, h, w_ih, w_hh)
        ctx.nonlinearity = nonlinearity
        return h[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx, dy):
        x, h, w_ih, w_hh = ctx.saved_tensors
        after = h[1:]
        slope = 1 - after * after if ctx.nonlinearity == "tanh" else (after > 0).to(h.dtype)

        dh = immediate(dy)
        dhs = dh.unbind()
        for t, slope_t in reversed(list(enumerate(slope.unbind()))):
            da_t = dhs[t + 1].mul_(slope_t)  # (B, H): dh, then da, in the same place
            dhs[t].addmm_(da_t, w_hh)
        da = rows(dh[1:])

        db = da.sum(0)
        dx = (da @ w_ih).view_as(x) if ctx.needs_input_grad[0] else None
        return dx, dh[0], da.T @ rows(x), da.T @ rows(h[:-1]), db, db, None


class LSTMFunction(Function):
    """``(x, h0, c0, w_ih, w_hh, b_ih, b_hh) -> h, c``, each (T, B, H); with a projection ``w_hr``
    (P, H) as the last argument, h (T, B, P).
    """

    @staticmethod
    def forward(ctx, x, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr=None):
        T, B, _ = x.shape
        H = c0.shape[1]
        h, c = x.new_empty(T + 1, *h0.shape), x.new_empty(T + 1, B, H)
        h[0], c[0] = h0, c0
        tanh_c = x.new_empty(T, B, H)
        # tanh(a) = 2 sigmoid(2 a) - 1: with the candidate's weights doubled beforehand, one call
        # of sigmoid serves all four blocks.
        twice = x.new_tensor([1, 1, 2, 1]).repeat_interleave(H)  # i, f, g, o
        minus_one = x.new_tensor(-1)
        w_hh_t = (w_hh * twice[:, None]).T
        # (T, B, 4H): a, then i, f, g, o, in the same place
        gates = F.linear(x, w_ih * twice[:, None], (b_ih + b_hh) * twice)
        hs, cs, tanh_cs = h.unbind(), c.unbind(), tanh_c.unbind()
        ms = hs[1:] if w_hr is None else [x.new_empty(B, H)] * T
        i, f, g, o = (block.unbind() for block in gates.chunk(4, dim=2))
        for t, a in enumerate(gates.unbind()):
            a.addmm_(hs[t], w_hh_t).sigmoid_()  # (B, 4H)
            torch.add(minus_one, g[t], alpha=2, out=g[t])
            torch.mul(f[t], cs[t], out=cs[t + 1]).addcmul_(i[t], g[t])
            torch.tanh(cs[t + 1], out=tanh_cs[t])
            torch.mul(o[t], tanh_cs[t], out=ms[t])
            if w_hr is not None:
                torch.mm(ms[t], w_hr.T, out=hs[t + 1])
        ctx.save_for_backward(x, h, c, tanh_c, gates, w_ih, w_hh, w_hr)
        ctx.set_materialize_grads(False)
        return h[1:], c[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx, dh_given, dc_given):
        x, h, c, tanh_c, gates, w_ih, w_hh, w_hr = ctx.saved_tensors
        T, B, H = tanh_c.shape
        i, f, g, o = gates.view(T, B, 4, H).unbind(2)  # (T, B, H) each

        # Everything that does not wait for the step after, for all steps at once:
        # da_i, da_f, da_g are multiples of dc; da_o and a part of dc are multiples of dm.
        da = torch.empty_like(gates).view(T, B, 4, H)  # these factors, then da, in the same place
        times_sigmoid_slope(g, i, grad_input=da[:, :, 0])
        times_sigmoid_slope(c[:-1], f, grad_input=da[:, :, 1])
        times_tanh_slope(i, g, grad_input=da[:, :, 2])
        times_sigmoid_slope(tanh_c, o, grad_input=da[:, :, 3])
        to_c = times_tanh_slope(o, tanh_c, grad_input=torch.empty_like(tanh_c)).unbind()

        dh = h.new_zeros(h.shape) if dh_given is None else immediate(dh_given)
        dc = h.new_zeros(B, H)
        dc_blocks = dc[:, None]  # (B, 1, H), the same numbers
        da_ifg, da_o, f = da[:, :, :3].unbind(), da[:, :, 3].unbind(), f.unbind()
        dhs, das = dh.unbind(), da.view(T, B, 4 * H).unbind()
        for t in reversed(range(T)):
            if dc_given is not None:
                dc += dc_given[t]
            dm = dhs[t + 1] if w_hr is None else dhs[t + 1] @ w_hr  # (B, H)
            dc.addcmul_(dm, to_c[t])  # (B, H)
            da_ifg[t].mul_(dc_blocks)  # (B, 3, H)
            da_o[t].mul_(dm)  # (B, H)
            dhs[t].addmm_(das[t], w_hh)
            dc *= f[t]
        da = da.view(T * B, 4 * H)

        db = da.sum(0)
        dx = (da @ w_ih).view_as(x) if ctx.needs_input_grad[0] else None
        dw_hr = None if w_hr is None else rows(dh[1:]).T @ rows(gates[:, :, 3 * H :] * tanh_c)
        return dx, dh[0], dc, da.T @ rows(x), da.T @ rows(h[:-1]), db, db, dw_hr


class GRUFunction(Function):
    """``(x, h0, w_ih, w_hh, b_ih, b_hh) -> h`` (T, B, H)."""

    @staticmethod
    def forward(ctx, x, h0, w_ih, w_hh, b_ih, b_hh):
        T, B, _ = x.shape
        H = h0.shape[1]
        h = x.new_empty(T + 1, B, H)
        h[0] = h0
        # (T, B, 3H): a_r, a_z, p_n, then r, z, n, in the same place
        gates = F.linear(x, w_ih, b_ih + torch.cat([b_hh[: 2 * H], b_hh.new_zeros(H)]))
        q_n = x.new_empty(T, B, H)  # W_hn h + b_hn
        w_rz_t, w_n_t, b_n = w_hh[: 2 * H].T, w_hh[2 * H :].T, b_hh[2 * H :]
        hs, q_ns, rz = h.unbind(), q_n.unbind(), gates[:, :, : 2 * H].unbind()
        r, z, n = (block.unbind() for block in gates.chunk(3, dim=2))
        for t in range(T):
            rz[t].addmm_(hs[t], w_rz_t).sigmoid_()  # (B, 2H)
            torch.addmm(b_n, hs[t], w_n_t, out=q_ns[t])  # (B, H)
            n[t].addcmul_(r[t], q_ns[t]).tanh_()
            torch.lerp(n[t], hs[t], z[t], out=hs[t + 1])  # n + z * (h - n)
        ctx.save_for_backward(x, h, q_n, gates, w_ih, w_hh)
        return h[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx, dy):
        x, h, q_n, gates, w_ih, w_hh = ctx.saved_tensors
        T, B, H = dy.shape
        r, z, n = gates.view(T, B, 3, H).unbind(2)  # (T, B, H) each

        # dq = (da_r, da_z, da_n * r) is a multiple of dh, for all steps at once.
        dq = torch.empty_like(gates).view(T, B, 3, H)  # these factors, then dq, in the same place
        to_n = (1 - z) * (1 - n * n)
        times_sigmoid_slope(to_n * q_n, r, grad_input=dq[:, :, 0])
        times_sigmoid_slope(h[:-1] - n, z, grad_input=dq[:, :, 1])
        torch.mul(to_n, r, out=dq[:, :, 2])

        dh = immediate(dy)
        dhs, dh_blocks, zs = dh.unbind(), dh.unsqueeze(2).unbind(), z.unbind()
        dq_blocks, dqs = dq.unbind(), dq.view(T, B, 3 * H).unbind()
        for t in reversed(range(T)):
            dq_blocks[t].mul_(dh_blocks[t + 1])  # (B, 3, H)
            dhs[t].addcmul_(dhs[t + 1], zs[t]).addmm_(dqs[t], w_hh)
        dw_hh, db_hh = rows(dq.flatten(2)).T @ rows(h[:-1]), dq.sum((0, 1)).flatten()

        torch.mul(dh[1:], to_n, out=dq[:, :, 2])  # the input's product does not pass through r
        da = rows(dq.flatten(2))  # (T * B, 3H)
        dx = (da @ w_ih).view_as(x) if ctx.needs_input_grad[0] else None
        return dx, dh[0], da.T @ rows(x), dw_hh, da.sum(0), db_hh


class ResetBeforeGRUFunction(Function):
    """``(x, h0, w_ih, w_hh, b_ih, b_hh) -> h`` (T, B, H)."""

    @staticmethod
    def forward(ctx, x, h0, w_ih, w_hh, b_ih, b_hh):
        T, B, _ = x.shape
        H = h0.shape[1]
        h = x.new_empty(T + 1, B, H)
        h[0] = h0
        gates = F.linear(x, w_ih, b_ih + b_hh)  # (T, B, 3H): a, then r, z, n, in the same place
        rh = x.new_empty(T, B, H)  # r * h, what the candidate reads
        w_rz_t, w_n_t = w_hh[: 2 * H].T, w_hh[2 * H :].T
        hs, rhs, rz = h.unbind(), rh.unbind(), gates[:, :, : 2 * H].unbind()
        r, z, n = (block.unbind() for block in gates.chunk(3, dim=2))
        for t in range(T):
            rz[t].addmm_(hs[t], w_rz_t).sigmoid_()  # (B, 2H)
            torch.mul(r[t], hs[t], out=rhs[t])
            n[t].addmm_(rhs[t], w_n_t).tanh_()
            torch.lerp(n[t], hs[t], z[t], out=hs[t + 1])  # n + z * (h - n)
        ctx.save_for_backward(x, h, rh, gates, w_ih, w_hh)
        return h[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx, dy):
        x, h, rh, gates, w_ih, w_hh = ctx.saved_tensors
        T, B, H = dy.shape
        r, z, n = gates.view(T, B, 3, H).unbind(2)  # (T, B, H) each

        # da_z and da_n are multiples of dh, and da_r of d(r * h), for all steps at once.
        da = torch.empty_like(gates).view(T, B, 3, H)  # these factors, then da, in the same place
        times_sigmoid_slope(h[:-1], r, grad_input=da[:, :, 0])
        times_sigmoid_slope(h[:-1] - n, z, grad_input=da[:, :, 1])
        torch.mul(1 - z, 1 - n * n, out=da[:, :, 2])

        dh, w_rz, w_n = immediate(dy), w_hh[: 2 * H], w_hh[2 * H :]
        dhs, dh_blocks, rs, zs = dh.unbind(), dh.unsqueeze(2).unbind(), r.unbind(), z.unbind()
        da_r, da_zn = da[:, :, 0].unbind(), da[:, :, 1:].unbind()
        da_n, da_rz = da[:, :, 2].unbind(), da.view(T, B, 3 * H)[:, :, : 2 * H].unbind()
        for t in reversed(range(T)):
            da_zn[t].mul_(dh_blocks[t + 1])  # (B, 2, H)
            drh = da_n[t] @ w_n  # (B, H)
            da_r[t].mul_(drh)
            dhs[t].addcmul_(dhs[t + 1], zs[t]).addcmul_(drh, rs[t]).addmm_(da_rz[t], w_rz)
        da = rows(da.flatten(2))  # (T * B, 3H)

        dw_hh = torch.cat([da[:, : 2 * H].T @ rows(h[:-1]), da[:, 2 * H :].T @ rows(rh)])
        dx = (da @ w_ih).view_as(x) if ctx.needs_input_grad[0] else None
        db = da.sum(0)
        return dx, dh[0], da.T @ rows(x), dw_hh, db, db


# One pass each: grad_input = grad * y * (1 - y), and grad * (1 - y^2), for y = sigmoid or tanh.
times_sigmoid_slope = torch.ops.aten.sigmoid_backward.grad_input
times_tanh_slope = torch.ops.aten.tanh_backward.grad_input


def rows(x: Tensor) -> Tensor:
    """(T, B, F) -> (T * B, F): a sum over all steps and sequences becomes one product."""
    return x.reshape(-1, x.shape[2])


def immediate(dy: Tensor) -> Tensor:
    """``dy`` (T, B, H) as a new (T + 1, B, H), with a zero for the initial state."""
    return torch.cat([dy.new_zeros(1, *dy.shape[1:]), dy])


class _Fused(RecurrentLayer):
    """Runs a ``torch.autograd.Function`` instead of the readable loop."""

    def _loop(self, weights, x, *state):
        # In-place arithmetic needs one dtype throughout: that of the weights, also under autocast.
        with torch.autocast(x.device.type, enabled=False):
            cast = [tensor.to(weights[0].dtype) for tensor in (x, *state)]
            return self._apply_function(*cast, *weights)

    def _apply_function(self, *tensors):
        raise NotImplementedError


class FusedRNN(_Fused, RNN):
    """:class:`RNN` with a hand-written backward pass: same arguments, results, ``state_dict``."""

    def _apply_function(self, *tensors):
        return (RNNFunction.apply(*tensors, self.nonlinearity),)


class FusedLSTM(_Fused, LSTM):
    """:class:`LSTM` with a hand-written backward pass: same arguments, results, ``state_dict``."""

    def _apply_function(self, *tensors):
        return LSTMFunction.apply(*tensors)


class FusedGRU(_Fused, GRU):
    """:class:`GRU` with a hand-written backward pass: same arguments, results, ``state_dict``."""

    def _apply_function(self, *tensors):
        return (GRUFunction.apply(*tensors),)


class FusedResetBeforeGRU(_Fused, ResetBeforeGRU):
    """:class:`ResetBeforeGRU` with a hand-written backward pass: same arguments and results."""

    def _apply_function(self, *tensors):
        return (ResetBeforeGRUFunction.apply(*tensors),)
