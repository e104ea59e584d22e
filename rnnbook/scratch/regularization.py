"""What keeps a network from learning its training set by heart (chapter ``generalization``).

    Dropout              fresh noise at every number, as ``torch.nn.Dropout``
    VariationalDropout   one mask for all steps of a sequence
    RecurrentDropout     such a mask on the way from ``h_{t-1}`` into the next step
    Zoneout              some units keep their last state
    LayerNorm            activations of one step, shifted and scaled to mean 0 and variance 1

All draw from an explicit generator while training, and are deterministic after ``eval()``.
"""

from typing import Self

import numpy as np

from rnnbook.checks import (
    check_between,
    check_fraction,
    check_positive,
    check_shape,
    generator_or_new,
    real_numbers,
)
from rnnbook.scratch.layer import Cell, RecurrentLayer, Transition, run, run_back
from rnnbook.scratch.lstm import LSTM
from rnnbook.scratch.module import DType, Module, Params, floating
from rnnbook.scratch.recurrent_layer import RNN
from rnnbook.scratch.states import pack, unpack


class Dropout(Module):
    """Sets each number to zero with probability ``p``; the same as ``torch.nn.Dropout``.

        training:    y = m * x / (1 - p),      m = 0 with probability p, else 1
        evaluation:  y = x

    Dividing by ``1 - p`` keeps the expectation, so nothing needs to change afterwards ("inverted").
    Raises ``ValueError`` unless ``p`` is at least 0 and below 1.
    Source: Srivastava, Hinton, Krizhevsky, Sutskever & Salakhutdinov (2014), Dropout: A Simple Way
    to Prevent Neural Networks from Overfitting. Where torch's recurrent layers place it, between
    stacked layers only: Zaremba, Sutskever & Vinyals (2014), Recurrent Neural Network
    Regularization, section 3.2; here :class:`rnnbook.scratch.model.Stacked` does it.
    """

    def __init__(self, p: float = 0.5, *, rng: np.random.Generator | None = None):
        super().__init__()
        check_fraction("p", p)
        self.p, self.rng = p, generator_or_new("rng", rng)
        self.params: Params = {}
        self.grads: Params = {}

    def forward(self, x: np.ndarray) -> np.ndarray:
        """``x`` of any shape -> the same shape.

        Raises ``ValueError`` for what are no real numbers.
        """
        x = real_numbers("x", x, None)
        mask = self._draw(x) if self.training else np.ones((), dtype=x.dtype)
        self._remember((mask, x.shape))
        return x * mask

    def backward(self, doutput: np.ndarray) -> np.ndarray:
        """``dx = m * dy / (1 - p)``, with the mask of the last forward.

        Raises ``ValueError`` for a wrong shape, ``RuntimeError`` without a forward before it.
        """
        mask, shape = self._recall()
        doutput = real_numbers("doutput", doutput, None)
        check_shape("doutput", doutput, shape)
        self._forget()
        return doutput * mask

    def _draw(self, x: np.ndarray) -> np.ndarray:
        return inverted_mask(x.shape, self.p, x.dtype, self.rng)


class VariationalDropout(Dropout):
    """Dropout of (B, T, D) that drops the same features at all steps of a sequence.

        y_t = m * x_t / (1 - p)          m (B, 1, D)

    A new mask for every step averages out along a sequence; one that stays is one sample of a
    thinned network, which is what the Bayesian reading of dropout asks for.
    Source: Gal & Ghahramani (2016), A Theoretically Grounded Application of Dropout in Recurrent
    Neural Networks, section 4; :class:`RecurrentDropout` is its other half.
    """

    def _draw(self, x: np.ndarray) -> np.ndarray:
        check_shape("x", x, ("B", "T", "D"))
        return inverted_mask((x.shape[0], 1, x.shape[2]), self.p, x.dtype, self.rng)


def inverted_mask(
    shape: tuple[int, ...], p: float, dtype: np.dtype, rng: np.random.Generator
) -> np.ndarray:
    """Zero with probability ``p``, else ``1 / (1 - p)``: one in expectation."""
    return ((rng.random(shape) >= p) / (1 - p)).astype(np.result_type(dtype, np.float32))


class LayerNorm(Module):
    """Shifts and scales the last axis to mean 0 and variance 1; the same as ``torch.nn.LayerNorm``.

        y = weight * normalize(x) + bias

    Every step of every sequence by itself, so nothing depends on the batch and nothing changes for
    evaluation. ``params``: ``weight`` (D) of ones and ``bias`` (D) of zeros.
    Raises ``ValueError`` for a size that is not a whole number of at least 1, and a dtype other
    than float32 and float64.
    Source: Ba, Kiros & Hinton (2016), Layer Normalization, section 3.
    """

    def __init__(self, normalized_size: int, eps: float = 1e-5, *, dtype: DType = np.float64):
        super().__init__()
        check_positive("normalized_size", normalized_size)
        check_between("eps", eps, 0, np.inf)
        dtype = floating(dtype)
        self.eps = eps
        self.params = {
            "weight": np.ones(normalized_size, dtype=dtype),
            "bias": np.zeros(normalized_size, dtype=dtype),
        }
        self.grads: Params = {}

    def forward(self, x: np.ndarray) -> np.ndarray:
        """``x`` (..., D) -> (..., D).

        Raises ``ValueError`` for another number of features, and for what are no real numbers.
        """
        weight = self.params["weight"]
        x = real_numbers("x", x, weight.dtype)
        check_shape("x", x, (*x.shape[:-1], len(weight)))
        normal, kept = normalize(x, self.eps)
        self._remember(kept)
        return weight * normal + self.params["bias"]

    def backward(self, doutput: np.ndarray) -> np.ndarray:
        """``doutput`` (..., D) -> ``dx`` (..., D); fills ``grads``.

        Raises ``ValueError`` for a wrong shape, ``RuntimeError`` without a forward before it.
        """
        kept = self._recall()
        normal, _ = kept
        doutput = real_numbers("doutput", doutput, normal.dtype)
        check_shape("doutput", doutput, normal.shape)
        before = tuple(range(normal.ndim - 1))
        self.grads = {"weight": (doutput * normal).sum(before), "bias": doutput.sum(before)}
        self._forget()
        return normalize_back(self.params["weight"] * doutput, kept)


def normalize(x: np.ndarray, eps: float = 1e-5) -> tuple[np.ndarray, tuple]:
    """The last axis with mean 0 and variance 1, and what :func:`normalize_back` needs.

    x^ = (x - mean) / sqrt(var + eps)         mean, var over the D features, var with 1/D
    """
    centered = x - x.mean(axis=-1, keepdims=True)
    scale = 1 / np.sqrt((centered**2).mean(axis=-1, keepdims=True) + eps)
    normal = centered * scale
    return normal, (normal, scale)


def normalize_back(dnormal: np.ndarray, kept: tuple) -> np.ndarray:
    """``dx^`` -> ``dx``, both of the shape of ``x``.

        dx = (dx^ - mean(dx^) - x^ * mean(dx^ * x^)) / sqrt(var + eps)

    The two means are what flows through the mean and the variance of x.
    """
    normal, scale = kept
    through_mean = dnormal.mean(axis=-1, keepdims=True)
    through_variance = normal * (dnormal * normal).mean(axis=-1, keepdims=True)
    return scale * (dnormal - through_mean - through_variance)


class _Noisy(RecurrentLayer):
    """A layer whose cell runs with something done to its state at every step; same calls.

    ``_around(cell)`` gives the cell for the next run, with ``step`` and ``back`` made from those of
    ``cell``. The weights are those of ``layer``.
    """

    def __init__(self, layer: RecurrentLayer, rng: np.random.Generator | None):
        Module.__init__(self)
        if not isinstance(layer, RecurrentLayer):
            raise ValueError(f"layer must be a recurrent layer, got {type(layer).__name__}.")
        if layer.num_layers != 1 or layer.bidirectional:
            raise ValueError(
                f"layer must have one layer and one direction, got {layer.num_layers} layers and "
                f"bidirectional={layer.bidirectional}."
            )
        self.layer, self.rng = layer, generator_or_new("rng", rng)
        self._set_cells(layer.cells, layer.bidirectional)

    def train(self, mode: bool = True) -> Self:
        """Switch to training; ``train(False)`` is ``eval()``. Returns itself."""
        self.layer.train(mode)
        return super().train(mode)

    def _wrapped(self, cell: Cell, batch: int) -> Transition:
        """With the noise of ``layer`` inside, if it is a noisy one too."""
        inner = self.layer._wrapped(cell, batch) if isinstance(self.layer, _Noisy) else cell
        return self._around(inner, batch)

    def _around(self, cell: Transition, batch: int) -> Transition:
        raise NotImplementedError

    def _run(self, i, x, state, lengths):
        cell = self._wrapped(self.cells[i], len(x))
        *results, tape = run(cell, x.copy(), state, lengths, self._keeps_tape)
        return *results, (cell, tape)

    def _run_back(self, i, tape, doutput, dstate, lengths):
        cell, of_steps = tape
        return run_back(cell, of_steps, doutput, dstate, lengths)


class _Wrapped:
    """What ``run`` asks of a cell, around another cell."""

    def __init__(self, cell: Transition):
        self.cell, self.params = cell, cell.params


class RecurrentDropout(_Noisy):
    """A recurrent layer that reads its own last output through one mask; same calls as a layer.

        training:    step(x_t, m * h_{t-1} / (1 - p))           m (B, H), one for all steps
        evaluation:  step(x_t, h_{t-1})

    The LSTM's ``c`` is never dropped. With :class:`VariationalDropout` on the input this is the
    dropout of Gal & Ghahramani (2016), A Theoretically Grounded Application of Dropout in Recurrent
    Neural Networks, section 4. ``params`` are those of ``layer``, which must be an RNN or an LSTM:
    in the others ``h_{t-1}`` is also the memory itself, and ``1 / (1 - p)`` at every step would let
    it grow without bound. Raises ``ValueError`` for another layer, for more than one layer or
    direction, and unless ``p`` is at least 0 and below 1.
    """

    def __init__(
        self, layer: RNN | LSTM, p: float = 0.25, *, rng: np.random.Generator | None = None
    ):
        check_fraction("p", p)
        if not isinstance(layer, RNN | LSTM):
            raise ValueError(f"layer must be an RNN or an LSTM, got {type(layer).__name__}.")
        super().__init__(layer, rng)
        self.p = p

    def _around(self, cell: Transition, batch: int) -> Transition:
        mask = np.ones((), self.dtype)
        if self.training:
            mask = inverted_mask((batch, self.cells[0].output_size), self.p, self.dtype, self.rng)
        return _Dropped(cell, mask)


class _Dropped(_Wrapped):
    """A cell that reads ``mask * h``."""

    def __init__(self, cell: Transition, mask: np.ndarray):
        super().__init__(cell)
        self.mask = mask

    def step(self, x, state):
        h, *others = unpack(state)
        return self.cell.step(x, pack([self.mask * h, *others]))

    def back(self, dstate, kept):
        dx, dentered, grads = self.cell.back(dstate, kept)
        dh, *others = unpack(dentered)
        return dx, pack([self.mask * dh, *others]), grads


class Zoneout(_Noisy):
    """A recurrent layer whose units now and then keep their last state; same calls as a layer.

        training:    h_t = m_t * h_{t-1} + (1 - m_t) * h~_t         m_t = 1 with probability p
        evaluation:  h_t = p   * h_{t-1} + (1 - p)   * h~_t         the expectation

    with ``h~_t`` what the layer would have computed; the LSTM's ``c`` likewise, with a mask and a
    probability of its own (``p_cell``, without effect on a layer that has no ``c``). Where a unit
    is kept, the gradient passes the step unchanged.
    ``params`` are those of ``layer``. Raises ``ValueError`` unless both probabilities lie in [0, 1]
    and ``layer`` has one layer and one direction.
    Source: Krueger et al. (2017), Zoneout: Regularizing RNNs by Randomly Preserving Hidden
    Activations, section 3.
    """

    def __init__(
        self,
        layer: RecurrentLayer,
        p_hidden: float = 0.05,
        p_cell: float = 0.5,
        *,
        rng: np.random.Generator | None = None,
    ):
        check_between("p_hidden", p_hidden, 0, 1)
        check_between("p_cell", p_cell, 0, 1)
        super().__init__(layer, rng)
        self.p_hidden, self.p_cell = p_hidden, p_cell

    def _around(self, cell: Transition, batch: int) -> Transition:
        return _Kept(cell, (self.p_hidden, self.p_cell), self.rng if self.training else None)


class _Kept(_Wrapped):
    """A cell that mixes its new state with the old one: ``keep * old + (1 - keep) * new``."""

    def __init__(self, cell: Transition, p: tuple[float, float], rng: np.random.Generator | None):
        super().__init__(cell)
        self.p, self.rng = p, rng

    def step(self, x, state):
        new, kept = self.cell.step(x, state)
        pairs = list(zip(unpack(new), unpack(state), strict=True))
        keep = [self._mask(p, part) for p, (part, _) in zip(self.p, pairs, strict=False)]
        mixed = [k * old + (1 - k) * part for k, (part, old) in zip(keep, pairs, strict=True)]
        return pack(mixed), (kept, keep)

    def back(self, dstate, kept):
        of_step, keep = kept
        parts = list(zip(keep, unpack(dstate), strict=True))
        dx, dbefore, grads = self.cell.back(pack([(1 - k) * d for k, d in parts]), of_step)
        dmixed = [k * d + db for (k, d), db in zip(parts, unpack(dbefore), strict=True)]
        return dx, pack(dmixed), grads

    def _mask(self, p: float, part: np.ndarray) -> np.ndarray:
        chosen = p if self.rng is None else self.rng.random(part.shape) < p
        return np.asarray(chosen, part.dtype)
