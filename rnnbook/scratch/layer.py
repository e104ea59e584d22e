"""What all recurrent layers share: parameters, stacking, directions, lengths and states.

    forward    x (B, T, D), state0  ->  output (B, T, H * directions), state
    backward   doutput, dstate      ->  dx, dstate0, and grads for every weight

A layer is a loop over its cell. The loop itself, forward and backward under each other, stands in
``recurrent_layer.py``, ``lstm.py`` and ``gru.py``; this file brings the sequences to it.

Inside the loops units are rows and the batch is columns, so that a step is ``W @ [h; x; 1]`` as in
the formulas, all gates in one product:

    T steps, B batch, D input, H hidden, G blocks (RNN 1, LSTM 4, GRU 3)
    x (T, D, B)      h (T + 1, H, B), with h[t] the state before step t
"""

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from rnnbook.checks import (
    check_finite,
    check_forward_ran,
    check_keys,
    check_lengths,
    check_positive,
    check_shape,
    generator_or_new,
)
from rnnbook.scratch.states import State, check_state, pack, unpack


class Parameters:
    """Named weights: ``params``, ``grads`` and the way to set them all at once."""

    params: dict[str, np.ndarray]

    def _draw(self, shapes: Mapping[str, tuple[int, ...]], hidden_size: int, dtype, rng) -> None:
        """PyTorch's initialization: every number uniform between ``+-1 / sqrt(H)``."""
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.float32, np.float64):
            raise ValueError(f"dtype must be float32 or float64, got {self.dtype}.")
        rng = generator_or_new("rng", rng)
        bound = 1 / np.sqrt(hidden_size)
        self.params = {
            name: rng.uniform(-bound, bound, size=shape).astype(self.dtype)
            for name, shape in shapes.items()
        }
        self.grads: dict[str, np.ndarray] = {}

    def load_params(self, params: Mapping[str, np.ndarray]) -> None:
        """Copy ``params`` in; all of them or, when a name or a shape is wrong, none.

        Raises:
            ValueError: naming what is missing, unknown, of the wrong shape, not a real number, or
                not finite in the dtype of the layer.
        """
        check_keys("params", params, self.params)
        arrays = {}
        for name, value in params.items():
            check_shape(name, value, self.params[name].shape)
            arrays[name] = real_numbers(name, value, self.params[name].dtype)
            check_finite(name, arrays[name])
        for name, array in arrays.items():
            self.params[name][...] = array


class Cell(Parameters):
    """One step of a layer, as its equations say it: the definition that the loops make fast.

    ``params`` are ``weight_ih`` (G * H, D), ``weight_hh`` (G * H, H), ``bias_ih`` and ``bias_hh``
    (G * H,).
    """

    blocks: int
    state_names: tuple[str, ...] = ("h",)

    def __init__(self, input_size: int, hidden_size: int, *, dtype=np.float64, rng=None):
        check_positive("input_size", input_size)
        check_positive("hidden_size", hidden_size)
        self.input_size, self.hidden_size = input_size, hidden_size
        self._draw(weight_shapes(self.blocks, input_size, hidden_size), hidden_size, dtype, rng)

    def checked(self, x: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """``x`` (B, D) and the state, (B, H) each, as arrays of the cell's dtype.

        Raises:
            ValueError: a wrong shape, a state of the wrong kind, or a NaN or infinity.
        """
        x = np.asarray(x, dtype=self.dtype)
        check_shape("x", x, ("B", self.input_size))
        check_finite("x", x)
        shape = (len(x), self.hidden_size)
        return x, pack(checked_states("state", state, self.state_names, shape, self.dtype))


class RecurrentLayer(Parameters):
    """Stacks one loop over layers and directions.

    A subclass names its ``blocks`` and ``state_names`` and supplies the loop:

        _forward(weights, x, *state0) -> tape, states         states (T + 1, H, B), h first
        _backward(weights, tape, doutput, ends, *dstate) -> dx, dstate0, dweights

    where ``weights`` are one direction's four arrays, ``ends[t]`` are the columns whose sequence
    ends with step ``t``, and ``dstate`` (H, B) is the gradient of the states at those ends.
    """

    blocks: int
    state_names: tuple[str, ...] = ("h",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bidirectional: bool = False,
        *,
        dtype=np.float64,
        rng: np.random.Generator | None = None,
    ):
        for name, value in [
            ("input_size", input_size),
            ("hidden_size", hidden_size),
            ("num_layers", num_layers),
        ]:
            check_positive(name, value)
        self.input_size, self.hidden_size = input_size, hidden_size
        self.num_layers, self.bidirectional = num_layers, bidirectional
        self.directions = 2 if bidirectional else 1
        self._tape = None
        self._memory: dict[tuple[int, str], np.ndarray] = {}
        self._at = 0  # which layer and direction is being run

        # In torch's order: layer by layer, the forward direction first.
        self._suffixes = [
            f"_l{k}{reverse}"
            for k in range(num_layers)
            for reverse in ("", "_reverse")[: self.directions]
        ]
        shapes = {}
        for i, suffix in enumerate(self._suffixes):
            size = input_size if i < self.directions else hidden_size * self.directions
            for name, shape in weight_shapes(self.blocks, size, hidden_size).items():
                shapes[name + suffix] = shape
        self._draw(shapes, hidden_size, dtype, rng)

    def forward(self, x: np.ndarray, state=None, lengths: np.ndarray | None = None):
        """Run over ``x`` from ``state``.

        Args:
            x: (B, T, D); what lies beyond a sequence's length is ignored.
            state: the initial state, (L * directions, B, H) each; zeros if None. ``h`` for RNN and
                GRU, the pair ``(h, c)`` for the LSTM.
            lengths: (B,), each sequence's number of steps, 1 ... T; all T if None.

        Returns:
            ``output`` (B, T, H * directions), zero beyond each sequence's end, and ``state``, each
            sequence's own final state: for the backward direction, the one at its first step.

        Raises:
            ValueError: a wrong rank, feature size, state shape or kind, a length outside 1 ... T,
                or a NaN or infinity in the input or the state.
        """
        x = np.asarray(x, dtype=self.dtype)
        check_shape("x", x, ("B", "T", self.input_size))
        batch, steps, _ = x.shape
        if lengths is not None:
            lengths = check_lengths(lengths, batch, steps)
            inside = _inside(lengths, steps)
            x = np.where(inside.transpose(2, 0, 1), x, 0)
        check_finite("x", x)
        starts = self._states("state", state, batch)
        self._tape = None  # what is written from here on belongs to no finished run

        x = units_in_rows(x)  # (T, D, B), a view: each loop copies it to where it reads
        finals = [np.empty_like(start) for start in starts]
        tapes = []
        for layer in range(self.num_layers):
            outputs = []
            for direction in range(self.directions):
                i = self._at = layer * self.directions + direction
                seen = reverse(x, lengths) if direction else x
                tape, states = self._forward(self._weights(i), seen, *(s[i].T for s in starts))
                tapes.append(tape)
                for final, s in zip(finals, states, strict=True):
                    final[i] = last(s, lengths).T
                h = states[0][1:]
                if lengths is not None:
                    np.copyto(h, 0, where=~inside)
                outputs.append(reverse(h, lengths) if direction else h)
            x = outputs[0] if len(outputs) == 1 else np.concatenate(outputs, axis=1)
        self._tape = tapes, lengths, steps, batch
        return self._batch_first(x), pack(finals)

    def backward(self, doutput: np.ndarray | None, dstate=None):
        """The gradients of a loss, given those with respect to what ``forward`` returned.

        Args:
            doutput: (B, T, H * directions), or None where only the final state entered the loss.
            dstate: as ``state``, or None where the final state did not enter the loss.

        Returns:
            ``dx`` (B, T, D) and ``dstate0``, as ``state``. Fills ``grads`` anew.

        Raises:
            RuntimeError: before any ``forward``.
            ValueError: a gradient of another shape or kind than what ``forward`` returned.
        """
        check_forward_ran(self, self._tape)
        tapes, lengths, steps, batch = self._tape
        width = self.hidden_size * self.directions
        if doutput is None:
            dy = np.zeros((steps, width, batch), self.dtype)
        else:
            doutput = np.asarray(doutput, dtype=self.dtype)
            check_shape("doutput", doutput, (batch, steps, width))
            dy = self._in_order("turned", units_in_rows(doutput))
        dfinals = self._states("dstate", dstate, batch, finite=False)
        ends = sequence_ends(lengths, steps)

        dstarts = [np.empty_like(dfinal) for dfinal in dfinals]
        grads = {}
        for layer in reversed(range(self.num_layers)):
            if lengths is not None:
                dy = np.where(_inside(lengths, steps), dy, 0)
            dseen = []  # for each direction
            for direction in range(self.directions):
                i = self._at = layer * self.directions + direction
                dh = dy[:, direction * self.hidden_size : (direction + 1) * self.hidden_size]
                dx, dstart, dweights = self._backward(
                    self._weights(i),
                    tapes[i],
                    reverse(dh, lengths) if direction else dh,
                    ends,
                    *(d[i].T for d in dfinals),
                )
                dseen.append(reverse(dx, lengths) if direction else dx)
                for d, value in zip(dstarts, dstart, strict=True):
                    d[i] = value.T
                for name, value in zip(WEIGHTS, dweights, strict=True):
                    grads[name + self._suffixes[i]] = value
            dy = dseen[0] if len(dseen) == 1 else dseen[0] + dseen[1]
        self.grads = {name: grads[name] for name in self.params}
        return self._batch_first(dy), pack(dstarts)

    def _forward(self, weights, x, *state):
        raise NotImplementedError

    def _backward(self, weights, tape, doutput, ends, *dstate):
        raise NotImplementedError

    def _array(self, name: str, *shape: int) -> np.ndarray:
        """Memory to write to: that of the last call, if it suffices.

        Fresh memory is handed over page by page by the operating system, which takes longer than
        filling it. What leaves the layer is a copy, so that nobody sees the next call's numbers.
        """
        size = math.prod(shape)
        memory = self._memory.get((self._at, name))
        if memory is None or memory.size < size:
            memory = self._memory[self._at, name] = np.empty(size, self.dtype)
        return memory[:size].reshape(shape)

    def _in_order(self, name: str, x: np.ndarray) -> np.ndarray:
        """The numbers of ``x`` one after the other in memory: ``x`` itself, or a kept copy."""
        if x.flags.c_contiguous:
            return x
        copy = self._array(name, *x.shape)
        copy[...] = x
        return copy

    def _batch_first(self, x: np.ndarray) -> np.ndarray:
        """(T, F, B) -> (B, T, F), a new array."""
        # Step by step each matrix is small enough to be turned within the cache.
        return self._in_order("turned", x.transpose(0, 2, 1)).transpose(1, 0, 2).copy()

    def _sum_of_products(self, da: np.ndarray, read: np.ndarray) -> np.ndarray:
        """The gradient of a matrix: ``sum over t of da[t] @ read[t].T``, in one product.

        Shapes: ``da`` (T, M, B), ``read`` (T, N, B) -> (M, N).
        """
        columns = self._in_order("columns", da.transpose(1, 0, 2))  # (M, T, B)
        rows = self._in_order("rows", read.transpose(0, 2, 1))  # (T, B, N)
        return columns.reshape(len(columns), -1) @ rows.reshape(-1, rows.shape[2])

    def __getstate__(self) -> dict:
        """A copy of a layer, or a pickled one, has not run yet."""
        return self.__dict__ | {"_tape": None, "_memory": {}}

    def _weights(self, i: int) -> tuple[np.ndarray, ...]:
        return tuple(self.params[name + self._suffixes[i]] for name in WEIGHTS)

    def _states(self, name: str, state, batch: int, *, finite: bool = True) -> list[np.ndarray]:
        """``state`` as a list of arrays (L * directions, B, H) of the layer's dtype."""
        shape = (len(self._suffixes), batch, self.hidden_size)
        return checked_states(name, state, self.state_names, shape, self.dtype, finite=finite)


def checked_states(
    name: str, state: State | None, names, shape, dtype, *, finite: bool = True
) -> list[np.ndarray]:
    """``state`` as a list of arrays, one of ``shape`` for each of ``names``; None: zeros.

    A gradient, unlike a state, may be NaN: ``finite`` is False for it.
    """
    zeros = [np.zeros(shape, dtype) for _ in names]
    if state is None:
        return zeros
    check_state(name, state, pack(zeros))
    arrays = [real_numbers(name, array, dtype) for array in unpack(state)]
    if finite:
        for array in arrays:
            check_finite(name, array)
    return arrays


def real_numbers(name: str, value, dtype) -> np.ndarray:
    """``value``, an array or a tensor, as an array of ``dtype``; infinite what is too large."""
    if hasattr(value, "detach"):
        value = value.detach().double().cpu()
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} must hold real numbers, got {array.dtype}.")
    with np.errstate(over="ignore"):
        return array.astype(dtype, copy=False)


WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def weight_shapes(blocks: int, input_size: int, hidden_size: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the four arrays of one layer and direction."""
    rows = blocks * hidden_size
    shapes = (rows, input_size), (rows, hidden_size), (rows,), (rows,)
    return dict(zip(WEIGHTS, shapes, strict=True))


def sigmoid(a: np.ndarray) -> np.ndarray:
    """``1 / (1 + exp(-a))``, as ``(1 + tanh(a / 2)) / 2``, which never overflows."""
    return 0.5 * np.tanh(0.5 * a) + 0.5


def blocks(steps: int, batch: int) -> list[slice]:
    """The steps in blocks of up to 1024 columns, the last block first; the others are equally long.

    Large enough that a product over a block is as fast as one over all steps, small enough that
    what was computed for a block is still in the processor's cache when it is used.
    """
    number = math.ceil(steps / max(1, 1024 // batch))
    size = math.ceil(steps / number)
    return [slice(t, min(t + size, steps)) for t in reversed(range(0, steps, size))]


def backwards(*arrays) -> Iterator[tuple]:
    """``(array[t], ...)`` for all ``arrays`` together, the last ``t`` first."""
    return zip(*(array[::-1] for array in arrays), strict=True)


def product(w: np.ndarray, columns: int) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The function ``(x, out) -> w @ x`` for matrices ``x`` of so many columns, as fast as can be.

    A library for matrix products copies a large matrix into an order of its own before each use,
    and here the same ``w`` is used at every step. On processors with AVX-512, OpenBLAS (which comes
    with NumPy) leaves the copy out up to 10^6 multiplications: a larger ``w`` is cut there into as
    many pieces of rows as it takes, unless they become too thin.
    """
    rows, inner = w.shape
    if AVX512 and rows * inner * columns > 10**6:
        for pieces in range(2, rows // 8 + 1):
            if rows % pieces == 0 and rows // pieces * inner * columns <= 10**6:
                cut = w.reshape(pieces, -1, inner)
                return lambda x, out: np.matmul(cut, x, out=out.reshape(pieces, -1, columns))
    return w.dot


AVX512 = any(
    name.startswith(("AVX512", "X86_V4"))
    for name in np.show_config(mode="dicts").get("SIMD Extensions", {}).get("found", ())
)


def units_in_rows(x: np.ndarray) -> np.ndarray:
    """(B, T, F) -> (T, F, B), a view."""
    return x.transpose(1, 2, 0)


def reverse(x: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
    """Each sequence of ``x`` (T, F, B) read from its own end; what lies beyond stays there."""
    if lengths is None:
        return x[::-1]
    t = np.arange(len(x))[:, None]
    source = np.where(t < lengths, lengths - 1 - t, t)  # (T, B)
    return np.take_along_axis(x, source[:, None, :], axis=0)


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


def _inside(lengths: np.ndarray, steps: int) -> np.ndarray:
    """(T, 1, B): True where a step belongs to its sequence."""
    return np.arange(steps)[:, None, None] < lengths
