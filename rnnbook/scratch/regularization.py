"""What keeps a network from learning its training set by heart (chapter ``generalization``).

    Dropout              fresh noise at every number, as ``torch.nn.Dropout``
    VariationalDropout   one mask for all steps of a sequence
    RecurrentDropout     such a mask on the way from ``h_{t-1}`` into the next step
    Zoneout              some units keep their last state
    LayerNorm            activations of one step, shifted and scaled to mean 0 and variance 1

All draw from an explicit generator while training, and are deterministic after ``eval()``.
"""

import numpy as np

from rnnbook.checks import (
    check_between,
    check_finite,
    check_forward_ran,
    check_fraction,
    check_lengths,
    check_positive,
    check_shape,
    generator_or_new,
)
from rnnbook.scratch.layer import Parameters, checked_states
from rnnbook.scratch.lstm import LSTM
from rnnbook.scratch.recurrent_layer import RNN
from rnnbook.scratch.states import pack, unpack


class Mode:
    """Training or evaluation: ``train()`` and ``eval()`` as in torch, ``training`` at first."""

    training = True

    def train(self, mode: bool = True) -> "Mode":
        """Switch to training; ``train(False)`` is ``eval()``. Returns itself."""
        self.training = mode
        return self

    def eval(self) -> "Mode":
        """Switch to evaluation. Returns itself."""
        return self.train(False)


class Dropout(Mode):
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
        check_fraction("p", p)
        self.p, self.rng = p, generator_or_new("rng", rng)
        self.params: dict[str, np.ndarray] = {}
        self.grads: dict[str, np.ndarray] = {}
        self._cache: tuple[np.ndarray, tuple[int, ...]] | None = None

    def forward(self, x: np.ndarray) -> np.ndarray:
        """``x`` of any shape -> the same shape."""
        x = np.asarray(x)
        mask = self._draw(x) if self.training else np.ones((), dtype=x.dtype)
        self._cache = mask, x.shape
        return x * mask

    def backward(self, doutput: np.ndarray) -> np.ndarray:
        """``dx = m * dy / (1 - p)``, with the mask of the last forward."""
        check_forward_ran(self, self._cache)
        mask, shape = self._cache
        doutput = np.asarray(doutput)
        check_shape("doutput", doutput, shape)
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

    def _draw(self, x):
        check_shape("x", x, ("B", "T", "D"))
        return inverted_mask((x.shape[0], 1, x.shape[2]), self.p, x.dtype, self.rng)


def inverted_mask(
    shape: tuple[int, ...], p: float, dtype: type, rng: np.random.Generator
) -> np.ndarray:
    """Zero with probability ``p``, else ``1 / (1 - p)``: one in expectation."""
    return ((rng.random(shape) >= p) / (1 - p)).astype(np.result_type(dtype, np.float32))


class LayerNorm(Parameters):
    """Shifts and scales the last axis to mean 0 and variance 1; the same as ``torch.nn.LayerNorm``.

        x^ = (x - mean) / sqrt(var + eps)         mean, var over the D features, var with 1/D
        y  = weight * x^ + bias

    Every step of every sequence by itself, so nothing depends on the batch and nothing changes for
    evaluation. ``params``: ``weight`` (D) of ones and ``bias`` (D) of zeros.
    Raises ``ValueError`` for a size that is not a whole number of at least 1.
    Source: Ba, Kiros & Hinton (2016), Layer Normalization, section 3.
    """

    def __init__(self, normalized_size: int, eps: float = 1e-5, *, dtype: type = np.float64):
        check_positive("normalized_size", normalized_size)
        check_between("eps", eps, 0, np.inf)
        self.eps = eps
        self.params = {
            "weight": np.ones(normalized_size, dtype=dtype),
            "bias": np.zeros(normalized_size, dtype=dtype),
        }
        self.grads: dict[str, np.ndarray] = {}
        self._cache: tuple[np.ndarray, np.ndarray] | None = None

    def forward(self, x: np.ndarray) -> np.ndarray:
        """``x`` (..., D) -> (..., D)."""
        weight = self.params["weight"]
        x = np.asarray(x, dtype=weight.dtype)
        check_shape("x", x, (*x.shape[:-1], len(weight)))
        centered = x - x.mean(axis=-1, keepdims=True)
        scale = 1 / np.sqrt((centered**2).mean(axis=-1, keepdims=True) + self.eps)
        normal = centered * scale
        self._cache = normal, scale
        return weight * normal + self.params["bias"]

    def backward(self, doutput: np.ndarray) -> np.ndarray:
        """``doutput`` (..., D) -> ``dx`` (..., D); fills ``grads``.

            dx^ = weight * dy
            dx  = (dx^ - mean(dx^) - x^ * mean(dx^ * x^)) / sqrt(var + eps)

        The two means are what flows through the mean and the variance of x.
        """
        check_forward_ran(self, self._cache)
        normal, scale = self._cache
        doutput = np.asarray(doutput, dtype=normal.dtype)
        check_shape("doutput", doutput, normal.shape)
        before = tuple(range(normal.ndim - 1))
        self.grads = {"weight": (doutput * normal).sum(before), "bias": doutput.sum(before)}
        dnormal = self.params["weight"] * doutput
        through_mean = dnormal.mean(axis=-1, keepdims=True)
        through_variance = normal * (dnormal * normal).mean(axis=-1, keepdims=True)
        return scale * (dnormal - through_mean - through_variance)


class _BetweenSteps(Parameters, Mode):
    """A recurrent layer run one step at a time, with something done to its state in between.

        new = step(x_t, (drop * h_{t-1}, c_{t-1}))            one step of the layer
        s_t = keep_t * s_{t-1} + (1 - keep_t) * new           for s = h, and c if there is one

    It has the methods of a layer, so it can stand wherever a layer can. Padding is the case
    ``keep = 1``. A layer remembers its last forward only, so backward takes each step once more
    from the kept state before going back through it: that costs one more forward and saves a second
    implementation of every cell.
    """

    num_layers = 1
    bidirectional = False

    def __init__(self, layer, rng: np.random.Generator | None):
        if layer.num_layers != 1 or layer.bidirectional:
            raise ValueError(
                f"layer must have one layer and one direction, got {layer.num_layers} layers and "
                f"bidirectional={layer.bidirectional}."
            )
        self.layer, self.rng = layer, generator_or_new("rng", rng)
        self.input_size, self.hidden_size = layer.input_size, layer.hidden_size
        self.state_names, self.dtype = layer.state_names, layer.dtype
        self.params = layer.params
        self.grads: dict[str, np.ndarray] = {}
        self._cache: tuple | None = None

    def _noise(self, steps: int, state: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """``drop`` (1, B, H) and ``keep`` (T, len(state), 1, B, H); sizes of 1 are broadcast."""
        raise NotImplementedError

    def forward(self, x: np.ndarray, state=None, lengths: np.ndarray | None = None):
        """``x`` (B, T, D) -> ``output`` (B, T, H), state: as ``forward`` of the layer inside."""
        x = np.asarray(x, dtype=self.dtype)
        check_shape("x", x, ("B", "T", self.input_size))
        batch, steps, _ = x.shape
        shape = (1, batch, self.hidden_size)
        s = checked_states("state", state, self.state_names, shape, self.dtype)
        real = np.ones((steps, batch, 1), dtype=bool)
        if lengths is not None:
            real[:, :, 0] = np.arange(steps)[:, None] < check_lengths(lengths, batch, steps)
        x = np.where(real.transpose(1, 0, 2), x, 0)  # what lies beyond a sequence is ignored
        check_finite("x", x)
        self._cache = None  # until all steps have been taken
        drop, keep = self._noise(steps, s)
        keep = np.where(real[:, None, None], keep, 1).astype(s[0].dtype)

        entered, output = [], np.zeros((batch, steps, self.hidden_size), dtype=s[0].dtype)
        for t in range(steps):
            entered.append(pack([drop * s[0], *s[1:]]))
            _, new = self.layer.forward(x[:, t : t + 1], entered[t])
            s = [k * old + (1 - k) * n for k, old, n in zip(keep[t], s, unpack(new), strict=True)]
            output[:, t] = np.where(real[t], s[0][0], 0)
        self._cache = x, real, drop, keep, entered
        return output, pack(s)

    def backward(self, doutput: np.ndarray | None, dstate=None):
        """``doutput`` (B, T, H), ``dstate`` -> ``dx`` (B, T, D), ``dstate0``; fills ``grads``.

        None stands for zeros.
        """
        check_forward_ran(self, self._cache)
        x, real, drop, keep, entered = self._cache
        steps, batch = real.shape[:2]
        if doutput is not None:
            doutput = np.asarray(doutput, dtype=self.dtype)
            check_shape("doutput", doutput, (batch, steps, self.hidden_size))
        shape = (1, batch, self.hidden_size)
        ds = checked_states("dstate", dstate, self.state_names, shape, self.dtype, finite=False)

        dx = np.empty(x.shape, dtype=keep.dtype)
        grads = {name: np.zeros_like(p) for name, p in self.params.items()}
        for t in reversed(range(steps)):
            if doutput is not None:
                ds[0] = ds[0] + np.where(real[t], doutput[:, t], 0)
            self.layer.forward(x[:, t : t + 1], entered[t])
            dnew = pack([(1 - k) * d for k, d in zip(keep[t], ds, strict=True)])
            dx[:, t : t + 1], dentered = self.layer.backward(None, dnew)
            dh, *dc = unpack(dentered)
            ds = [k * d + e for k, d, e in zip(keep[t], ds, [drop * dh, *dc], strict=True)]
            for name, g in self.layer.grads.items():
                grads[name] += g
        self.grads = grads
        return dx, pack(ds)


class RecurrentDropout(_BetweenSteps):
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

    def __init__(self, layer, p: float = 0.25, *, rng: np.random.Generator | None = None):
        check_fraction("p", p)
        if not isinstance(layer, RNN | LSTM):
            raise ValueError(f"layer must be an RNN or an LSTM, got {type(layer).__name__}.")
        super().__init__(layer, rng)
        self.p = p

    def _noise(self, steps, state):
        drop = np.ones_like(state[0])
        if self.training:
            drop = inverted_mask(drop.shape, self.p, drop.dtype, self.rng)
        return drop, np.zeros((len(state), 1, 1, 1))


class Zoneout(_BetweenSteps):
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
        layer,
        p_hidden: float = 0.05,
        p_cell: float = 0.5,
        *,
        rng: np.random.Generator | None = None,
    ):
        check_between("p_hidden", p_hidden, 0, 1)
        check_between("p_cell", p_cell, 0, 1)
        super().__init__(layer, rng)
        self.p_hidden, self.p_cell = p_hidden, p_cell

    def _noise(self, steps, state):
        p = np.array([self.p_hidden, self.p_cell])[: len(state), None, None, None]
        keep = self.rng.random((steps, len(state), *state[0].shape)) < p if self.training else p
        return np.ones_like(state[0]), keep
