"""A cell knows one step and its reverse. A layer is a loop over its cell: here it stands, once.

    step       x_t, state_{t-1}      ->  state_t, kept                  one step forward
    back       dstate_t, kept        ->  dx_t, dstate_{t-1}, grads      the same step backward
    run        all steps from the first to the last
    run_back   all steps from the last to the first

:class:`RecurrentLayer` puts such runs upon each other and in both directions. Every kind of cell
(``recurrent_layer.py``, ``lstm.py``, ``gru.py``) comes to its sequences in this one way; what is in
``fused.py`` gives the same numbers faster.

Dimensions: T steps, B batch, D input, H hidden, G blocks of rows in a weight matrix (RNN 1, LSTM 4,
GRU 3). ``dX`` is the gradient of the loss with respect to X.
"""

from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from rnnbook.checks import (
    check_finite,
    check_lengths,
    check_positive,
    check_shape,
    generator_or_new,
    real_numbers,
)
from rnnbook.scratch.module import DType, Module, Params, draw
from rnnbook.scratch.states import State, checked_states, pack, unpack


class Cell(Module):
    """One step of a layer. A kind of cell has ``blocks``, ``state_names``, ``step`` and ``back``.

        step(x, state) -> state, kept            x (B, D); state h (B, H), or the pair (h, c)
        back(dstate, kept) -> dx, dstate, grads  grads: a gradient for each of ``params``

    Both are the formulas and nothing else: shapes are not checked. ``cell(x, state)`` checks what
    it is given, then takes the step.

    Args:
        input_size: D.
        hidden_size: H.
        dtype: float64 or float32.
        rng: draws the weights, uniform between ``+-1 / sqrt(H)``.

    Raises:
        ValueError: a size below one, another dtype, or an ``rng`` that is no generator.
    """

    blocks: ClassVar[int]
    state_names: ClassVar[tuple[str, ...]] = ("h",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        dtype: DType = np.float64,
        rng: np.random.Generator | None = None,
    ):
        super().__init__()
        self.input_size = check_positive("input_size", input_size)
        self.hidden_size = check_positive("hidden_size", hidden_size)
        self.params = draw(self.shapes(), self.bound(), dtype, rng)
        self.grads: Params = {}

    @property
    def dtype(self) -> np.dtype:
        """Of the weights."""
        return next(iter(self.params.values())).dtype

    @property
    def output_size(self) -> int:
        """Numbers in h: H, unless a cell shows less than it holds."""
        return self.hidden_size

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the weights by name."""
        rows = self.blocks * self.hidden_size
        return {
            "weight_ih": (rows, self.input_size),
            "weight_hh": (rows, self.output_size),
            "bias_ih": (rows,),
            "bias_hh": (rows,),
        }

    def bound(self) -> float:
        """Initial weights lie within plus and minus this: PyTorch's ``1 / sqrt(H)``."""
        return float(1 / np.sqrt(self.hidden_size))

    def state_shapes(self, *batch: int) -> dict[str, tuple[int, ...]]:
        """Shapes of the parts of a state: h has ``output_size`` numbers, what else there is H."""
        h, *others = self.state_names
        return {h: (*batch, self.output_size)} | dict.fromkeys(others, (*batch, self.hidden_size))

    def linear(self, x, h_before):
        """``a = x W_ih^T + b_ih + h W_hh^T + b_hh``: (B, D), (B, H) -> (B, G * H)."""
        w = self.params
        from_x = x @ w["weight_ih"].T + w["bias_ih"]
        return from_x + h_before @ w["weight_hh"].T + w["bias_hh"]

    def linear_back(self, da, x, h_before):
        """``da`` (B, G * H) -> ``dx`` (B, D), ``dh_before`` (B, H), the weights' gradients."""
        w = self.params
        dx, dh_before = da @ w["weight_ih"], da @ w["weight_hh"]
        grads = {"weight_ih": da.T @ x, "weight_hh": da.T @ h_before}
        grads |= {"bias_ih": da.sum(axis=0), "bias_hh": da.sum(axis=0)}
        return dx, dh_before, grads

    def step(self, x: np.ndarray, state: Any) -> tuple[Any, Any]:
        """``x`` (B, D) and the state -> the new state, and what :meth:`back` needs."""
        raise NotImplementedError

    def back(self, dstate: Any, kept: Any) -> tuple[np.ndarray, Any, Params]:
        """The gradient of a step's new state -> ``dx`` (B, D), ``dstate``, and ``grads``."""
        raise NotImplementedError

    def __call__(self, x: Any, state: Any = None) -> State:
        """``x`` (B, D) and the state, zeros if None -> the new state.

        Raises:
            ValueError: a wrong shape, a state of the wrong kind, or a NaN or infinity.
        """
        x = real_numbers("x", x, self.dtype)
        check_shape("x", x, ("B", self.input_size))
        check_finite("x", x)
        state = pack(checked_states("state", state, self.state_shapes(len(x)), self.dtype))
        return self.step(x, state)[0]


class Transition(Protocol):
    """One step from state to state, and its reverse: all that :func:`run` asks of a cell.

    Every :class:`Cell` is one; so is a cell with noise around it (``regularization.py``).
    """

    @property
    def params(self) -> Params:
        """The weights, whose gradients :meth:`back` returns."""
        ...

    def step(self, x: np.ndarray, state: Any) -> tuple[Any, Any]:
        """``x`` (B, D) and the state -> the new state, and what :meth:`back` needs."""
        ...

    def back(self, dstate: Any, kept: Any) -> tuple[np.ndarray, Any, Params]:
        """The gradient of a step's new state -> ``dx`` (B, D), ``dstate``, and ``grads``."""
        ...


def run(cell, x, state, lengths=None, keep=True):
    """Forward through all steps of a :class:`Transition`, the first one first.

    ``x`` (B, T, D) -> h after each step (B, T, H), the final state, and what was kept of each step
    (nothing if ``keep`` is False). With ``lengths`` (B,), a sequence that has ended keeps its state
    and shows zeros.
    """
    output, tape = [], []
    for t in range(x.shape[1]):
        goes_on = None if lengths is None else t < lengths
        new, kept = cell.step(x[:, t], state)
        state = choose(goes_on, new, state)
        output.append(choose(goes_on, unpack(state)[0], 0))
        if keep:
            tape.append(kept)
    return np.stack(output, axis=1), state, tape


def run_back(cell, tape, doutput, dstate, lengths=None):
    """Backward through all steps of a :class:`Transition`, the last one first.

    ``doutput`` (B, T, H), zero where a sequence has ended, and the gradient of the final state ->
    ``dx`` (B, T, D), the gradient of the initial state, and those of the weights: each step adds
    its own, because all steps share the weights. A sequence that has ended passes its gradient on.
    """
    dx, grads = [], {name: np.zeros_like(value) for name, value in cell.params.items()}
    for t in reversed(range(len(tape))):
        goes_on = None if lengths is None else t < lengths
        dh, *others = unpack(dstate)
        dstate = pack([dh + doutput[:, t], *others])
        dx_t, dstate_before, grads_t = cell.back(choose(goes_on, dstate, 0), tape[t])
        dstate = choose(goes_on, dstate_before, dstate)
        dx.append(dx_t)
        for name, value in grads_t.items():
            grads[name] += value
    return np.stack(dx[::-1], axis=1), dstate, grads


class RecurrentLayer(Module):
    """Runs its cells over sequences, one upon the other, in one direction or both.

    ``RecurrentLayer(D, H, cell=YourCell)`` is the layer of a cell of your own; ``LSTM`` and its
    like name theirs. Keywords beyond those below go to the cell.

    Args:
        input_size: D.
        hidden_size: H.
        num_layers: L, each reading the outputs of the one before.
        bidirectional: read every sequence from its end as well.
        cell: the kind of cell, where the class names none.
        dtype: float64 or float32.
        rng: draws the weights, uniform between ``+-1 / sqrt(H)``.

    ``params`` and ``grads`` have the names and shapes of ``torch.nn``: each cell's, with ``_l0``,
    ``_l1``, ... for the layer and ``_reverse`` for the backward direction.

    Raises:
        ValueError: a size below one, another dtype, an ``rng`` that is no generator, no ``cell``,
            or one for a class that names its own.
    """

    cell: ClassVar[type[Cell]]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bidirectional: bool = False,
        *,
        cell: type[Cell] | None = None,
        dtype: DType = np.float64,
        rng: np.random.Generator | None = None,
        **of_cell: Any,
    ):
        super().__init__()
        kind = self._kind(cell)
        for name, value in [
            ("input_size", input_size),
            ("hidden_size", hidden_size),
            ("num_layers", num_layers),
        ]:
            check_positive(name, value)
        directions = 2 if bidirectional else 1
        rng = generator_or_new("rng", rng)
        cells: list[Cell] = []
        for layer in range(num_layers):
            size = cells[-1].output_size * directions if layer else input_size
            for _ in range(directions):
                cells.append(kind(size, hidden_size, dtype=dtype, rng=rng, **of_cell))
        self._set_cells(cells, bidirectional)

    def _kind(self, cell: Any) -> type[Cell]:
        """The class of the cells: the layer's own or, where it has none, the one given."""
        own = getattr(self, "cell", None)
        if own is not None and cell is not None:
            raise ValueError(f"cell must be left out: {type(self).__name__} has its own.")
        kind = cell if own is None else own
        if not (isinstance(kind, type) and issubclass(kind, Cell)):
            raise ValueError(f"cell must be a class of Cell's kind, got {kind!r}.")
        return kind

    def _set_cells(self, cells: list[Cell], bidirectional: bool) -> None:
        """Layer by layer, as in torch, the forward direction first."""
        first = cells[0]
        self.cells, self.bidirectional = cells, bidirectional
        self.directions = 2 if bidirectional else 1
        self.num_layers = len(cells) // self.directions
        self.input_size, self.hidden_size = first.input_size, first.hidden_size
        self.state_names, self.dtype = first.state_names, first.dtype
        # For each cell, what torch adds to the names of its weights.
        self._suffixes = [
            f"_l{i // self.directions}" + ("_reverse" if i % self.directions else "")
            for i in range(len(cells))
        ]
        self.params = {
            name + suffix: array
            for cell, suffix in zip(cells, self._suffixes, strict=True)
            for name, array in cell.params.items()
        }
        self.grads: Params = {}

    def forward(self, x: Any, state: Any = None, lengths: Any = None) -> tuple[np.ndarray, State]:
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
        x = real_numbers("x", x, self.dtype)
        check_shape("x", x, ("B", "T", self.input_size))
        batch, steps, _ = x.shape
        if lengths is not None:
            lengths = check_lengths(lengths, batch, steps)
            x = np.where(inside(lengths, steps), x, 0)
        check_finite("x", x)
        starts = self._states("state", state, batch)
        self._forget()

        finals, tapes = [np.empty_like(start) for start in starts], []
        for layer in range(self.num_layers):
            outputs = []
            for direction in range(self.directions):
                i = layer * self.directions + direction
                seen = reverse(x, lengths) if direction else x
                begin = pack([start[i] for start in starts])
                output, end, tape = self._run(i, seen, begin, lengths)
                outputs.append(reverse(output, lengths) if direction else output)
                tapes.append(tape)
                for final, part in zip(finals, unpack(end), strict=True):
                    final[i] = part
            x = outputs[0] if len(outputs) == 1 else np.concatenate(outputs, axis=2)
        self._remember(Tape(tapes, lengths, batch, steps))
        return x, pack(finals)

    def backward(self, doutput: Any, dstate: Any = None) -> tuple[np.ndarray, State]:
        """The gradients of a loss, given those with respect to what ``forward`` returned.

        Args:
            doutput: (B, T, H * directions), or None where only the final state entered the loss.
            dstate: as ``state``, or None where the final state did not enter the loss.

        Returns:
            ``dx`` (B, T, D) and ``dstate0``, as ``state``. Fills ``grads`` anew.

        Raises:
            RuntimeError: without a ``forward`` before it, of the same thread, that no ``backward``
                has used yet, in training mode or within ``enable_grad()``.
            ValueError: a gradient of another shape or kind than what ``forward`` returned.
        """
        tapes, lengths, batch, steps = self._recall()
        size = self.cells[0].output_size
        if doutput is None:
            dy = np.zeros((batch, steps, size * self.directions), self.dtype)
        else:
            dy = real_numbers("doutput", doutput, self.dtype)
            check_shape("doutput", dy, (batch, steps, size * self.directions))
        dends = self._states("dstate", dstate, batch, finite=False)
        if lengths is not None:
            dy = np.where(inside(lengths, steps), dy, 0)

        dstarts = [np.empty_like(dend) for dend in dends]
        grads: Params = {}
        for layer in reversed(range(self.num_layers)):
            dseen = []  # for each direction
            for direction in range(self.directions):
                i = layer * self.directions + direction
                dh = dy[:, :, direction * size : (direction + 1) * size]
                dh = reverse(dh, lengths) if direction else dh
                dend = pack([part[i] for part in dends])
                dx, dbegin, of_cell = self._run_back(i, tapes[i], dh, dend, lengths)
                dseen.append(reverse(dx, lengths) if direction else dx)
                for dstart, part in zip(dstarts, unpack(dbegin), strict=True):
                    dstart[i] = part
                suffix = self._suffixes[i]
                grads |= {name + suffix: value for name, value in of_cell.items()}
            dy = dseen[0] if len(dseen) == 1 else dseen[0] + dseen[1]
        self.grads = {name: grads[name] for name in self.params}
        self._forget()
        return dy, pack(dstarts)

    def _run(
        self, i: int, x: np.ndarray, state: State, lengths: np.ndarray | None
    ) -> tuple[np.ndarray, State, Any]:
        """:func:`run` with cell ``i``: what a faster layer overrides, with the next one."""
        # Copies: the caller may change x and state before backward reads them again.
        state = pack([part.copy() for part in unpack(state)])
        return run(self.cells[i], x.copy(), state, lengths, self._keeps_tape)

    def _run_back(
        self, i: int, tape: Any, doutput: np.ndarray, dstate: State, lengths: np.ndarray | None
    ) -> tuple[np.ndarray, State, Params]:
        """:func:`run_back` with cell ``i``."""
        return run_back(self.cells[i], tape, doutput, dstate, lengths)

    def _states(self, name: str, state, batch: int, *, finite: bool = True) -> list[np.ndarray]:
        """``state`` as a list of arrays (L * directions, B, H)."""
        shapes = self.cells[0].state_shapes(len(self.cells), batch)
        return checked_states(name, state, shapes, self.dtype, finite=finite)


class Tape(NamedTuple):
    """What a layer's backward needs of its forward."""

    runs: list  # for each cell
    lengths: np.ndarray | None
    batch: int
    steps: int


def sigmoid(a: np.ndarray) -> np.ndarray:
    """``1 / (1 + exp(-a))``, as ``(1 + tanh(a / 2)) / 2``, which never overflows."""
    return 0.5 * np.tanh(0.5 * a) + 0.5


def choose(rows: np.ndarray | None, state: State, other: Any) -> State:
    """``state`` where ``rows`` (B,) is true, ``other`` (a state or a number) where it is not.

    None for ``rows``: ``state`` everywhere.
    """
    if rows is None:
        return state
    parts = unpack(state)
    others = [other] * len(parts) if np.isscalar(other) else unpack(other)
    return pack([np.where(rows[:, None], p, o) for p, o in zip(parts, others, strict=True)])


def reverse(x: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
    """Each sequence of ``x`` (B, T, F) read from its own end; what lies beyond stays there."""
    if lengths is None:
        return x[:, ::-1]
    t = np.arange(x.shape[1])
    source = np.where(t < lengths[:, None], lengths[:, None] - 1 - t, t)  # (B, T)
    return np.take_along_axis(x, source[:, :, None], axis=1)


def inside(lengths: np.ndarray, steps: int) -> np.ndarray:
    """(B, T, 1): True where a step belongs to its sequence."""
    return (np.arange(steps) < lengths[:, None])[:, :, None]
