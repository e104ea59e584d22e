"""The layers with a hand-written backward pass for the whole sequence (``efficient_training``).

Autograd records every operation of every step and walks the record backwards. Here the loop is one
operation, a ``torch.autograd.Function``: it keeps only what its backward needs, takes everything
that does not wait for the next step out of the loop, and writes into buffers made beforehand.

    T steps, B batch, D input, H hidden, G blocks (RNN 1, LSTM 4, GRU 3)
    x (T, B, D)      h, c (T + 1, B, H), with h[t] the state before step t
    dX is the gradient of the loss with respect to X; a_* are pre-activations

In every backward ``dh`` (T + 1, B, H) starts as the immediate gradient, what the loss says of each
h itself, and becomes the total one as the loop adds what came back through the later steps.

Differentiable once. The readable layers, with the same parameters, are the definition.
"""

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from rnnbook.pytorch.gru import GRU
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
    """``(x, h0, c0, w_ih, w_hh, b_ih, b_hh) -> h, c``, each (T, B, H)."""

    @staticmethod
    def forward(ctx, x, h0, c0, w_ih, w_hh, b_ih, b_hh):
        T, B, _ = x.shape
        H = h0.shape[1]
        h, c = x.new_empty(2, T + 1, B, H)
        h[0], c[0] = h0, c0
        tanh_c = x.new_empty(T, B, H)
        gates = F.linear(x, w_ih, b_ih + b_hh)  # (T, B, 4H): a, then i, f, g, o, in the same place
        hs, cs, tanh_cs, w_hh_t = h.unbind(), c.unbind(), tanh_c.unbind(), w_hh.T
        i_f = gates[:, :, : 2 * H].unbind()  # neighbors, so one call serves both
        i, f, g, o = (block.unbind() for block in gates.chunk(4, dim=2))
        for t, a in enumerate(gates.unbind()):
            a.addmm_(hs[t], w_hh_t)  # (B, 4H)
            i_f[t].sigmoid_()
            g[t].tanh_()
            o[t].sigmoid_()
            torch.mul(f[t], cs[t], out=cs[t + 1]).addcmul_(i[t], g[t])
            torch.tanh(cs[t + 1], out=tanh_cs[t])
            torch.mul(o[t], tanh_cs[t], out=hs[t + 1])
        ctx.save_for_backward(x, h, c, tanh_c, gates, w_ih, w_hh)
        ctx.set_materialize_grads(False)
        return h[1:], c[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx, dh_given, dc_given):
        x, h, c, tanh_c, gates, w_ih, w_hh = ctx.saved_tensors
        T, B, H = tanh_c.shape
        i, f, g, o = gates.view(T, B, 4, H).unbind(2)  # (T, B, H) each

        # Everything that does not wait for the step after, for all steps at once:
        # da_i, da_f, da_g are multiples of dc; da_o and a part of dc are multiples of dh.
        to_a = torch.empty_like(gates).view(T, B, 4, H)
        torch.mul(i * g, 1 - i, out=to_a[:, :, 0])
        torch.mul(c[:-1] * f, 1 - f, out=to_a[:, :, 1])
        torch.mul(i, 1 - g * g, out=to_a[:, :, 2])
        torch.mul(tanh_c * o, 1 - o, out=to_a[:, :, 3])
        to_c = (o * (1 - tanh_c * tanh_c)).unbind()
        dc_to_a, dh_to_a_o = to_a[:, :, :3].unbind(), to_a[:, :, 3].unbind()

        dh = h.new_zeros(h.shape) if dh_given is None else immediate(dh_given)
        dc = h.new_zeros(B, H)
        da = torch.empty_like(to_a)
        da_ifg, da_o, f = da[:, :, :3].unbind(), da[:, :, 3].unbind(), f.unbind()
        dhs, das = dh.unbind(), da.view(T, B, 4 * H).unbind()
        for t in reversed(range(T)):
            if dc_given is not None:
                dc += dc_given[t]
            dc.addcmul_(dhs[t + 1], to_c[t])  # (B, H)
            torch.mul(dc[:, None], dc_to_a[t], out=da_ifg[t])  # (B, 3, H)
            torch.mul(dhs[t + 1], dh_to_a_o[t], out=da_o[t])  # (B, H)
            dhs[t].addmm_(das[t], w_hh)
            dc *= f[t]
        da = da.view(T * B, 4 * H)

        db = da.sum(0)
        dx = (da @ w_ih).view_as(x) if ctx.needs_input_grad[0] else None
        return dx, dh[0], dc, da.T @ rows(x), da.T @ rows(h[:-1]), db, db


class GRUFunction(Function):
    """``(x, h0, w_ih, w_hh, b_ih, b_hh) -> h`` (T, B, H)."""

    @staticmethod
    def forward(ctx, x, h0, w_ih, w_hh, b_ih, b_hh):
        T, B, _ = x.shape
        H = h0.shape[1]
        h = x.new_empty(T + 1, B, H)
        h[0] = h0
        q = x.new_empty(T, B, 3 * H)  # W_hh h + b_hh
        gates = F.linear(x, w_ih, b_ih)  # (T, B, 3H): p, then r, z, n, in the same place
        hs, qs, w_hh_t = h.unbind(), q.unbind(), w_hh.T
        q_rz, q_n = q[:, :, : 2 * H].unbind(), q[:, :, 2 * H :].unbind()
        rz = gates[:, :, : 2 * H].unbind()
        r, z, n = (block.unbind() for block in gates.chunk(3, dim=2))
        for t in range(T):
            torch.addmm(b_hh, hs[t], w_hh_t, out=qs[t])  # (B, 3H)
            rz[t].add_(q_rz[t]).sigmoid_()
            n[t].addcmul_(r[t], q_n[t]).tanh_()
            torch.lerp(n[t], hs[t], z[t], out=hs[t + 1])  # n + z * (h - n)
        ctx.save_for_backward(x, h, q, gates, w_ih, w_hh)
        return h[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx, dy):
        x, h, q, gates, w_ih, w_hh = ctx.saved_tensors
        T, B, H = dy.shape
        r, z, n = gates.view(T, B, 3, H).unbind(2)  # (T, B, H) each
        q_n = q[:, :, 2 * H :]

        # dp and dq, the gradients of the two products, are multiples of dh, for all t at once.
        to_p = torch.empty_like(gates).view(T, B, 3, H)
        to_r, to_z, to_n = to_p.unbind(2)
        torch.mul(1 - z, 1 - n * n, out=to_n)
        torch.mul((h[:-1] - n) * z, 1 - z, out=to_z)
        torch.mul(to_n * q_n * r, 1 - r, out=to_r)
        to_q = to_p.clone()
        to_q[:, :, 2] *= r  # the candidate saw its product through the reset gate

        dh = immediate(dy)
        dq = torch.empty_like(to_q)
        dhs, zs, to_qs = dh.unbind(), z.unbind(), to_q.unbind()
        dq_blocks, dqs = dq.unbind(), dq.view(T, B, 3 * H).unbind()
        for t in reversed(range(T)):
            torch.mul(dhs[t + 1][:, None], to_qs[t], out=dq_blocks[t])  # (B, 3, H)
            dhs[t].addcmul_(dhs[t + 1], zs[t]).addmm_(dqs[t], w_hh)
        dq = dq.view(T * B, 3 * H)
        dp = to_p.mul_(dh[1:, :, None]).view(T * B, 3 * H)

        dx = (dp @ w_ih).view_as(x) if ctx.needs_input_grad[0] else None
        return dx, dh[0], dp.T @ rows(x), dq.T @ rows(h[:-1]), dp.sum(0), dq.sum(0)


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
            x, *state = (tensor.to(weights[0].dtype) for tensor in (x, *state))
            return self._apply_function(x, *state, *weights)


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
