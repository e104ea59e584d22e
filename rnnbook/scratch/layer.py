"""What all recurrent layers share (chapter ``recurrent_layer``).

Three ideas, from small to large:

- a :class:`Cell` knows the equations of one step, forward and backward, and nothing of time;
- :class:`Unrolled` takes a cell through T steps and back again;
- a :class:`RecurrentLayer` stacks them, in one direction or both, checks what comes in, and keeps
  each sequence of a padded batch to its own length.

B sequences   T steps   D inputs   H hidden units   G blocks of H rows in the weights   L layers

Outside, arrays are batch first, ``x (B, T, D)``. Inside, time comes first and one step is a matrix
with units in rows and sequences in columns, so that the code has the form of the formulas,
``a = W h``, and the block of each gate lies in one piece of memory. What enters a step is one array,

    u_t = [x_t; 1; h_{t-1}]      (D + 1 + H, B)       W = [W_ih, b_ih + b_hh, W_hh]      (G H, D + 1 + H)

so that one product, ``W u_t``, serves the input, the biases and the state. Every array is allocated
once and then used again, and the view of it that belongs to step t is made once as well: for
the sizes of this book, asking NumPy for something costs as much as the arithmetic.
"""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import ClassVar

import numpy as np

from rnnbook.checks import (
    check_choice,
    check_finite,
    check_forward_ran,
    check_keys,
    check_lengths,
    check_positive,
    check_shape,
)

State = np.ndarray | tuple[np.ndarray, ...]  # h, or (h, c) for the LSTM


class Cell:
    """One step of a recurrent layer; a subclass fills in the equations.

    ``params``: ``weight_ih`` (G H, D), ``weight_hh`` (G H, H), ``bias_ih`` and ``bias_hh`` (G H), as
    in ``torch.nn``'s cells, drawn uniformly from +-1/sqrt(H). ``grads`` has the same names after a
    backward step. Raises ``ValueError`` for a size that is not a whole number of at least 1 and for
    a ``dtype`` other than float32 and float64.
    """

    blocks: ClassVar[int]  # G
    state_names: ClassVar[tuple[str, ...]] = ("h",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        dtype: type = np.float64,
        rng: np.random.Generator | None = None,
    ):
        check_positive("input_size", input_size)
        check_positive("hidden_size", hidden_size)
        self.dtype = np.dtype(dtype)
        check_choice("dtype", self.dtype.name, ("float32", "float64"))
        self.input_size, self.hidden_size = input_size, hidden_size

        rng = np.random.default_rng(rng)  # a new one for None
        rows, bound = self.blocks * hidden_size, 1 / np.sqrt(hidden_size)
        shapes = {
            "weight_ih": (rows, input_size),
            "weight_hh": (rows, hidden_size),
            "bias_ih": (rows,),
            "bias_hh": (rows,),
        }
        self.params = {
            name: rng.uniform(-bound, bound, shape).astype(self.dtype)
            for name, shape in shapes.items()
        }
        self.grads: dict[str, np.ndarray] = {}

    def load_params(self, params: Mapping[str, np.ndarray]) -> None:
        """Copy ``params`` in, all of them or (with a ``ValueError``) none."""
        load_params(self.params, params)

    def step(self, x_t: np.ndarray, state: State | None = None) -> State:
        """One step: ``x_t`` (B, D), state of (B, H) arrays or None for zeros -> the next state.

        Raises ``ValueError`` for a wrong shape or kind, and for NaN or infinity.
        """
        _, after = self._unroll_one(x_t, state)
        return whole(after)

    def step_backward(
        self, x_t: np.ndarray, state: State | None, dstate: State
    ) -> tuple[np.ndarray, State]:
        """Gradients of ``step(x_t, state)``, from ``dstate``, that of the state which it returns.

        Returns ``(dx_t, dstate_before)`` with the shapes of ``x_t`` and the state; fills ``grads``.
        Raises ``ValueError`` for a wrong shape or kind, and for NaN or infinity in what is given.
        """
        unrolled, after = self._unroll_one(x_t, state)
        dstate = check_state("dstate", dstate, self, after[0].shape)
        dx, dbefore = unrolled.backward(None, dstate, {0: slice(None)})
        return dx[0].T.copy(), whole(dbefore)

    def _unroll_one(self, x_t, state):
        x_t = np.asarray(x_t, dtype=self.dtype)
        check_shape("x_t", x_t, ("B", self.input_size))
        check_finite("x_t", x_t)
        state = check_state("state", state, self, (len(x_t), self.hidden_size))
        unrolled = Unrolled(self)
        _, after = unrolled.forward(x_t.T[None], state, {0: slice(None)})
        return unrolled, after

    # What Unrolled calls. Most cells keep these as they are ...

    def pack(self) -> None:
        """Put the parameters side by side: W = [W_ih, b_ih + b_hh, W_hh]."""
        p = self.params
        bias = p["bias_ih"] + p["bias_hh"]
        self.W = np.concatenate([p["weight_ih"], bias[:, None], p["weight_hh"]], axis=1)

    def allocate(self, steps: int, batch: int) -> SimpleNamespace:
        """The arrays of an unrolled cell; slot t of ``u`` holds what enters step t."""
        D, H = self.input_size, self.hidden_size
        u = self.empty(steps + 1, D + 1 + H, batch)  # the last slot receives the final state
        du = self.empty(steps + 1, D + 1 + H, batch)
        u[:, D] = 1
        return SimpleNamespace(
            steps=steps,
            batch=batch,
            u=u[:-1],
            du=du[:-1],
            x=u[:-1, :D],
            dx=du[:-1, :D],
            h=u[:, D + 1 :],
            dh=du[:, D + 1 :],
        )

    def empty(self, *shape: int) -> np.ndarray:
        return np.empty(shape, self.dtype)

    def weight_gradients(self, tape: SimpleNamespace) -> None:
        """Fill ``grads``: dW = sum over t of da_t u_t^T, one product for all steps."""
        D = self.input_size
        dW = as_matrix(tape.da) @ as_matrix(tape.u).T
        self.grads = {
            "weight_ih": dW[:, :D].copy(),
            "weight_hh": dW[:, D + 1 :].copy(),
            "bias_ih": dW[:, D].copy(),
            "bias_hh": dW[:, D].copy(),
        }

    # ... and every cell brings its equations.

    def forward_step(self, *arrays: np.ndarray) -> None:
        """Write the next state, from the arrays of one step."""
        raise NotImplementedError

    def slopes(self, tape: SimpleNamespace, part: slice) -> None:
        """The derivative of each step's elementwise functions, for all steps in ``part``."""
        raise NotImplementedError

    def backward_step(self, *arrays: np.ndarray) -> None:
        """Turn the gradient of the state after the step into those of ``u`` and the state before."""
        raise NotImplementedError


class Unrolled:
    """A cell taken through T steps, and back: the loop over time, with the memory that it needs.

    Inside, units stand in rows: ``x`` (T, D, B). A state is a tuple of (B, H) arrays. ``ends`` tells
    after which step (counted from 0) which sequences of the batch end: their final state is taken,
    and its gradient put back in, there.
    """

    def __init__(self, cell: Cell):
        self.cell = cell
        self.tape: SimpleNamespace | None = None

    def forward(
        self, x: np.ndarray, state: Sequence[np.ndarray], ends: Mapping
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """``x`` (T, D, B) -> ``h`` (T, H, B), a view that the next call overwrites; final state."""
        cell, (steps, _, batch) = self.cell, x.shape
        if self.tape is None or (self.tape.steps, self.tape.batch) != (steps, batch):
            self.tape = cell.allocate(steps, batch)
        tape = self.tape
        cell.pack()
        tape.x[:] = x
        for array, initial in zip(tape.states, state, strict=True):
            array[0] = initial.T

        for arrays in tape.forward:
            cell.forward_step(*arrays)

        final = tuple(np.empty_like(initial) for initial in state)
        for t, b in ends.items():
            for array, part in zip(tape.states, final, strict=True):
                part[b] = array[t + 1, :, b].T if isinstance(b, slice) else array[t + 1][:, b].T
        return tape.h[1:], final

    def backward(
        self, doutput: np.ndarray | None, dstate: Sequence[np.ndarray], ends: Mapping
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """``doutput`` (T, H, B) or None -> ``dx`` (T, D, B), a view; gradient of the initial state.

        The gradient of h_t has two parts: what the output at step t sends, and what step t + 1
        sends back. ``tape.dh[t + 1]`` already holds the second when step t begins.
        """
        cell, tape = self.cell, self.tape
        for array in tape.dstates:
            array[-1] = 0
        # The slopes of some steps at once: few calls, and still within the processor's cache.
        block = max(1, CACHE // (tape.batch * cell.hidden_size * cell.dtype.itemsize))
        for first in reversed(range(0, tape.steps, block)):
            part = slice(first, min(first + block, tape.steps))
            cell.slopes(tape, part)
            for t in reversed(range(part.start, part.stop)):
                if t in ends:
                    for array, given in zip(tape.dstates, dstate, strict=True):
                        array[t + 1][:, ends[t]] += given[ends[t]].T
                if doutput is not None:
                    tape.dh[t + 1] += doutput[t]
                cell.backward_step(*tape.backward[t])
        cell.weight_gradients(tape)
        return tape.dx, tuple(array[0].T.copy() for array in tape.dstates)

    def __getstate__(self) -> dict:
        # A copy of the arrays would cut the views of single steps off from them.
        return {"cell": self.cell, "tape": None}


CACHE = 2**16  # bytes of one block of units over the steps whose slopes are computed at once


class RecurrentLayer:
    """Cells over time: ``num_layers`` of them in a stack, in one direction or in both.

    ``params`` and ``grads`` have the names of ``torch.nn``: ``weight_ih_l0``, ``weight_hh_l0``,
    ``bias_ih_l0``, ``bias_hh_l0``, with ``l1``, ... for the layers above and ``_reverse`` for the
    second direction. The parameters are read anew at each forward pass; change them in place.
    """

    cell_class: ClassVar[type[Cell]]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bidirectional: bool = False,
        *,
        dtype: type = np.float64,
        rng: np.random.Generator | None = None,
        **cell_options,
    ):
        check_positive("num_layers", num_layers)
        self.input_size, self.hidden_size = input_size, hidden_size
        self.num_layers, self.bidirectional = num_layers, bidirectional
        self.dtype = np.dtype(dtype)
        rng = np.random.default_rng(rng)

        self._unrolled: dict[str, Unrolled] = {}  # by the suffix of their parameters' names
        for k in range(num_layers):
            size = input_size if k == 0 else hidden_size * self.directions
            for suffix in [f"_l{k}", f"_l{k}_reverse"][: self.directions]:
                cell = self.cell_class(size, hidden_size, dtype=dtype, rng=rng, **cell_options)
                self._unrolled[suffix] = Unrolled(cell)
        self.params = {
            name + suffix: array
            for suffix, unrolled in self._unrolled.items()
            for name, array in unrolled.cell.params.items()
        }
        self.grads: dict[str, np.ndarray] = {}
        self._spans: _Spans | None = None

    @property
    def directions(self) -> int:
        """1, or 2 when bidirectional."""
        return 2 if self.bidirectional else 1

    def load_params(self, params: Mapping[str, np.ndarray]) -> None:
        """Copy ``params`` in, all of them or (with a ``ValueError``) none."""
        load_params(self.params, params)

    def forward(
        self, x: np.ndarray, state: State | None = None, lengths: np.ndarray | None = None
    ) -> tuple[np.ndarray, State]:
        """Read ``x`` (B, T, D) from ``state``, arrays of (L * directions, B, H) or None for zeros.

        Returns the last layer's ``output`` (B, T, H * directions) and the final state, with the
        shape of ``state``: layer by layer, forward before reverse. With ``lengths`` (B,), each
        sequence ends after its own number of steps: its final state is the one there, the reverse
        direction starts there, and its output is zero beyond; what ``x`` holds there is not looked
        at. Raises ``ValueError`` for a wrong shape, a state of the wrong kind, a length outside
        1 ... T, and for NaN or infinity.
        """
        x = np.asarray(x, dtype=self.dtype)
        check_shape("x", x, ("B", "T", self.input_size))
        batch, steps, _ = x.shape
        spans = _Spans(lengths, batch, steps)
        sequence = spans.without_padding(x.transpose(1, 2, 0))  # (T, D, B)
        check_finite("x", sequence)
        state = self._check_state("state", state, batch)

        self._spans = spans
        finals = []
        for k, layer in enumerate(self._layers()):
            outputs = []
            for d, (suffix, unrolled) in enumerate(layer):
                unrolled.cell.params = self._of(suffix)
                before = [part[k * self.directions + d] for part in state]
                h, final = unrolled.forward(spans.read(sequence, d), before, spans.ends)
                outputs.append(spans.read(spans.without_padding(h), d))
                finals.append(final)
            sequence = outputs[0] if len(outputs) == 1 else np.concatenate(outputs, axis=1)
        return sequence.transpose(2, 0, 1).copy(), whole([np.stack(p) for p in zip(*finals)])

    def backward(
        self, doutput: np.ndarray | None, dstate: State | None = None
    ) -> tuple[np.ndarray, State]:
        """Gradients of a loss, from those with respect to what the latest ``forward`` returned.

        ``doutput`` (B, T, H * directions) and ``dstate`` (like the state) may be None for zeros.
        Returns ``dx`` (B, T, D) and ``dstate0``, the gradient of the initial state; fills ``grads``.
        Raises ``RuntimeError`` before the first forward, ``ValueError`` for a wrong shape or kind.
        """
        check_forward_ran(self, self._spans)
        spans, H = self._spans, self.hidden_size
        batch, steps = spans.batch, spans.steps
        if doutput is not None:
            doutput = np.asarray(doutput, dtype=self.dtype)
            check_shape("doutput", doutput, (batch, steps, H * self.directions))
            doutput = spans.without_padding(doutput.transpose(1, 2, 0))  # (T, H * directions, B)
        dstate = self._check_state("dstate", dstate, batch)

        grads = {}
        dinitials = {}
        for k, layer in reversed(list(enumerate(self._layers()))):
            dsequence = None
            for d, (suffix, unrolled) in enumerate(layer):
                dh = None if doutput is None else spans.read(doutput[:, d * H : (d + 1) * H], d)
                dfinal = [part[k * self.directions + d] for part in dstate]
                dx, dinitials[suffix] = unrolled.backward(dh, dfinal, spans.ends)
                dx = spans.read(dx, d)
                dsequence = dx if dsequence is None else dsequence + dx
                grads |= {name + suffix: g for name, g in unrolled.cell.grads.items()}
            doutput = dsequence
        self.grads = {name: grads[name] for name in self.params}
        dstate0 = zip(*(dinitials[suffix] for suffix in self._unrolled), strict=True)
        return doutput.transpose(2, 0, 1).copy(), whole([np.stack(part) for part in dstate0])

    def _layers(self) -> list[list[tuple[str, Unrolled]]]:
        """The unrolled cells, one list for each layer."""
        items = list(self._unrolled.items())
        return [items[k : k + self.directions] for k in range(0, len(items), self.directions)]

    def _of(self, suffix: str) -> dict[str, np.ndarray]:
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        return {name: self.params[name + suffix] for name in names}

    def _check_state(self, name, state, batch) -> tuple[np.ndarray, ...]:
        shape = (self.num_layers * self.directions, batch, self.hidden_size)
        return check_state(name, state, next(iter(self._unrolled.values())).cell, shape)


class _Spans:
    """Where each sequence of a padded batch ends, for arrays (T, anything, B)."""

    def __init__(self, lengths: np.ndarray | None, batch: int, steps: int):
        self.batch, self.steps = batch, steps
        self.padding = None
        self.ends = {steps - 1: slice(None)}
        if lengths is not None:
            lengths = check_lengths(lengths, batch, steps)
            t = np.arange(steps)[:, None, None]
            self.padding = t >= lengths  # (T, 1, B)
            self.ends = {int(n) - 1: np.flatnonzero(lengths == n) for n in np.unique(lengths)}
            self.reversal = np.where(self.padding, t, lengths - 1 - t)

    def without_padding(self, array: np.ndarray) -> np.ndarray:
        return array if self.padding is None else np.where(self.padding, 0, array)

    def read(self, array: np.ndarray, direction: int) -> np.ndarray:
        """In reading order of the direction: as it is, or each sequence from its own end."""
        if direction == 0:
            return array
        if self.padding is None:
            return array[::-1]
        return np.take_along_axis(array, self.reversal, axis=0)


def as_matrix(array: np.ndarray) -> np.ndarray:
    """(T, F, B) -> (F, T * B)."""
    return array.transpose(1, 0, 2).reshape(array.shape[1], -1)


def whole(parts: Sequence[np.ndarray]) -> State:
    """The state as users know it: ``h`` alone, or the pair ``(h, c)``."""
    return parts[0] if len(parts) == 1 else tuple(parts)


def check_state(
    name: str, state: State | None, cell: Cell, shape: tuple[int, ...]
) -> tuple[np.ndarray, ...]:
    """Return the parts of ``state`` as arrays of the cell's dtype; None stands for zeros."""
    names = cell.state_names
    if state is None:
        return tuple(np.zeros(shape, cell.dtype) for _ in names)
    if len(names) == 1:
        if isinstance(state, tuple):
            raise ValueError(f"{name} must be the array {names[0]}, got a tuple of {len(state)}.")
        parts = {name: state}
    else:
        if not isinstance(state, tuple | list) or len(state) != len(names):
            came = f"{type(state).__name__}"
            if isinstance(state, tuple | list):
                came += f" of {len(state)}"
            raise ValueError(f"{name} must be the pair ({', '.join(names)}), got {came}.")
        parts = {f"{part} in {name}": array for part, array in zip(names, state, strict=True)}
    arrays = {part: np.asarray(array, dtype=cell.dtype) for part, array in parts.items()}
    for part, array in arrays.items():
        check_shape(part, array, shape)
        check_finite(part, array)
    return tuple(arrays.values())


def load_params(params: dict[str, np.ndarray], given: Mapping[str, np.ndarray]) -> None:
    """Copy ``given`` into the arrays of ``params``, all or (with a ``ValueError``) none.

    Names and shapes must agree and every number be finite.
    """
    check_keys("params", given, params)
    arrays = {name: np.asarray(array, dtype=params[name].dtype) for name, array in given.items()}
    for name, array in arrays.items():
        check_shape(name, array, params[name].shape)
        check_finite(name, array)
    for name, array in arrays.items():
        params[name][...] = array
