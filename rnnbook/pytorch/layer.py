"""What all recurrent layers share: parameters, stacking, directions, packed sequences and states.

    x (B, T, D) or packed, state0  ->  output (B, T, H * directions) or packed, state

with ``batch_first=False`` (T, B, D) and (T, B, H * directions), as is torch's default.

A layer is a loop over time. The loops stand in ``recurrent_layer.py``, ``lstm.py`` and ``gru.py``,
each beside its equations; this file brings the sequences to them. Inside, time comes first:

    T steps, B batch, D input, H hidden, G blocks (RNN 1, LSTM 4, GRU 3)
    x (T, B, D)      h (T, B, H), with h[t] the state after step t
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from rnnbook.checks import check_between, check_bool, check_positive, check_shape, check_whole

State = Tensor | tuple[Tensor, ...]
WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class RecurrentLayer(nn.Module):
    """Stacks one loop over layers and directions; arguments and results are those of torch.nn.

    One default differs: ``batch_first`` is True. Parameters have torch's names, shapes and order.

    A subclass names its ``blocks`` and ``state_names`` and supplies the loop of one layer and
    direction:

        _loop(weights, x, *state0) -> states         x (T, B, D), states (T, B, H), h first

    where ``weights`` are ``weight_ih`` (G * H, D), ``weight_hh`` (G * H, H), ``bias_ih`` and
    ``bias_hh`` (G * H,). States other than h may be a list of T tensors (B, H): mostly the last one
    alone is wanted. One that sets ``proj_size`` P before this class's ``__init__`` has P numbers
    instead of H in h, and ``weight_hr`` (P, H) after the other weights.

    Raises ``ValueError`` for sizes below one, a ``dropout`` outside 0 ... 1, a ``proj_size``
    outside 0 ... H - 1, and ``bias``, ``batch_first`` or ``bidirectional`` neither True nor
    False.
    """

    blocks: int
    state_names: tuple[str, ...] = ("h",)
    proj_size: int = 0
    weight_ih_l0: nn.Parameter

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = True,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device=None,
        dtype: torch.dtype | None = None,
    ):
        check_positive("input_size", input_size)
        check_positive("hidden_size", hidden_size)
        check_positive("num_layers", num_layers)
        check_bool("bias", bias)
        check_bool("batch_first", batch_first)
        check_between("dropout", dropout, 0, 1)
        check_bool("bidirectional", bidirectional)
        check_whole("proj_size", self.proj_size, 0, hidden_size - 1)
        super().__init__()
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout = bias, batch_first, dropout
        self.bidirectional = bidirectional
        self.directions = 2 if bidirectional else 1

        # In torch's order: layer by layer, the forward direction first.
        self._suffixes = [
            f"_l{k}{reverse}"
            for k in range(num_layers)
            for reverse in ("", "_reverse")[: self.directions]
        ]
        rows, shown = self.blocks * hidden_size, self._state_sizes[0]
        for i, suffix in enumerate(self._suffixes):
            size = input_size if i < self.directions else shown * self.directions
            shapes: dict[str, tuple[int, ...]] = {"bias_ih": (rows,), "bias_hh": (rows,)}
            shapes |= {"weight_ih": (rows, size), "weight_hh": (rows, shown)}
            shapes |= {"weight_hr": (shown, hidden_size)}
            for name in self._weight_names:
                empty = torch.empty(shapes[name], device=device, dtype=dtype)
                self.register_parameter(name + suffix, nn.Parameter(empty))
        self.reset_parameters()

    @property
    def _weight_names(self) -> tuple[str, ...]:
        """What one layer and direction has, in torch's order."""
        names = WEIGHTS if self.bias else WEIGHTS[:2]
        return (*names, "weight_hr") if self.proj_size else names

    @property
    def _state_sizes(self) -> list[int]:
        """How many numbers each of the states has: h is what a projection makes smaller."""
        sizes = [self.hidden_size] * len(self.state_names)
        return [self.proj_size or self.hidden_size, *sizes[1:]]

    @property
    def all_weights(self) -> list[list[nn.Parameter]]:
        """The parameters of each layer and direction, as ``torch.nn`` lists them."""
        return [
            [getattr(self, name + suffix) for name in self._weight_names]
            for suffix in self._suffixes
        ]

    def flatten_parameters(self) -> None:
        """Nothing: torch lays weights out anew for cuDNN here, which does not run these layers."""

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """torch's initialization: every number uniform between ``+-1 / sqrt(H)``."""
        bound = self.hidden_size**-0.5
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound, generator=generator)

    def forward(self, x: Tensor | PackedSequence, state: State | None = None):
        """Run over ``x`` from ``state``.

        Args:
            x: (B, T, D), with ``batch_first=False`` (T, B, D); (T, D) for a single sequence, or a
                ``PackedSequence``.
            state: the initial state, (L * directions, B, H) each, without B for a single sequence;
                zeros if None. ``h`` for RNN and GRU, the pair ``(h, c)`` for the LSTM. With a
                projection, h has P numbers and not H, here and in the output.

        Returns:
            ``output`` (B, T, H * directions), its axes in the order of those of ``x``, packed if
            ``x`` was; and ``state``, each sequence's own final state: for the backward direction,
            the one at its first step.

        Raises:
            ValueError: a wrong rank, feature size or dtype of the input, a state of the wrong
                shape, dtype or kind. Unlike ``rnnbook.scratch`` it does not look for NaN: on a
                GPU to look is to wait.
        """
        dtype = self.weight_ih_l0.dtype
        sequences = open_sequences(x, self.input_size, dtype, self.batch_first)
        starts = self._states(state, sequences)
        output, finals = self._stack(sequences.x, starts, sequences.lengths)
        state = tuple(sequences.close_state(final) for final in finals)
        return sequences.close(output), state if len(state) > 1 else state[0]

    def _stack(self, x: Tensor, starts: list[Tensor], lengths: Tensor | None):
        """All layers and directions: ``x`` (T, B, D) -> output (T, B, H * directions), finals."""
        finals: list[list[Tensor]] = [[] for _ in starts]
        for layer in range(self.num_layers):
            if layer and self.dropout and self.training:
                x = drop(x, self.dropout, lengths)
            outputs = []
            for direction in range(self.directions):
                i = layer * self.directions + direction
                seen = reverse(x, lengths) if direction else x
                states = self._loop(self._weights(i), seen, *(start[i] for start in starts))
                outputs.append(reverse(states[0], lengths) if direction else states[0])
                for final, s in zip(finals, states, strict=True):
                    final.append(last(s, lengths))
            x = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=2)
        return x, [torch.stack(final) for final in finals]

    def _loop(self, weights: tuple[Tensor, ...], x: Tensor, *state: Any) -> Any:
        raise NotImplementedError

    def _weights(self, i: int) -> tuple[Tensor, ...]:
        """The arrays of one layer and direction; zeros where it has no bias."""
        w_ih, w_hh, *others = (getattr(self, n + self._suffixes[i]) for n in self._weight_names)
        if self.bias:
            return w_ih, w_hh, *others
        zeros = w_hh.new_zeros(len(w_hh))
        return w_ih, w_hh, zeros, zeros, *others

    def _states(self, state: State | None, sequences: "Sequences") -> list[Tensor]:
        """``state`` as a list of tensors (L * directions, B, H)."""
        rows, batch = len(self._suffixes), sequences.x.shape[1]
        if state is None:
            return [sequences.x.new_zeros(rows, batch, size) for size in self._state_sizes]
        parts = state if isinstance(state, tuple | list) else (state,)
        if len(parts) != len(self.state_names):
            kind = f"the pair ({', '.join(self.state_names)})" if len(self.state_names) > 1 else "h"
            raise ValueError(f"state must be {kind}, got {len(parts)} of them.")
        dtype = self.weight_ih_l0.dtype
        for name, part, size in zip(self.state_names, parts, self._state_sizes, strict=True):
            sequences.check_state(f"state {name}", part, rows, size, dtype)
        return [sequences.open_state(part) for part in parts]

    def extra_repr(self) -> str:
        said = [f"{self.input_size}, {self.hidden_size}"]
        for name, usual in [
            ("proj_size", 0),
            ("num_layers", 1),
            ("bias", True),
            ("batch_first", True),
            ("dropout", 0.0),
            ("bidirectional", False),
        ]:
            if (value := getattr(self, name)) != usual:
                said.append(f"{name}={value}")
        return ", ".join(said)


class Sequences(NamedTuple):
    """Sequences with time first, and the way back to the form in which they came."""

    x: Tensor  # (T, B, D)
    lengths: Tensor | None  # (B,) where they came packed
    packed: PackedSequence | None
    single: bool  # one sequence, without the axis B
    batch_first: bool  # as they came, where they came neither packed nor single

    def close(self, output: Tensor) -> Tensor | PackedSequence:
        """``output`` (T, B, F) in the form in which ``x`` came."""
        if self.packed is not None and self.lengths is not None:  # both, or neither
            data = pack_padded_sequence(output, self.lengths.cpu()).data
            _, sizes, order, back = self.packed
            return PackedSequence(data, sizes, order, back)
        if self.single:
            return output.squeeze(1)
        return output.transpose(0, 1) if self.batch_first else output

    def check_state(self, name: str, state, rows: int, hidden_size: int, dtype) -> None:
        """Raise ``ValueError`` unless ``state`` fits these sequences and weights of ``dtype``."""
        batch = () if self.single else (self.x.shape[1],)
        check_tensor(name, state, (rows, *batch, hidden_size), dtype)

    def open_state(self, state: Tensor) -> Tensor:
        """A state (L * directions, B, H) in the order of ``x``."""
        if self.single:
            return state.unsqueeze(1)
        order = None if self.packed is None else self.packed.sorted_indices
        return state if order is None else state.index_select(1, order)

    def close_state(self, state: Tensor) -> Tensor:
        """The inverse of ``open_state``."""
        if self.single:
            return state.squeeze(1)
        back = None if self.packed is None else self.packed.unsorted_indices
        return state if back is None else state.index_select(1, back)


def open_sequences(
    x: Tensor | PackedSequence, input_size: int, dtype: torch.dtype, batch_first: bool = True
) -> Sequences:
    """``x`` (B, T, D), or (T, B, D), (T, D) or packed -> :class:`Sequences`, with time first.

    Raises ``ValueError`` for another rank, feature size or dtype.
    """
    if isinstance(x, PackedSequence):
        check_tensor("x.data", x.data, ("N", input_size), dtype)
        # Without their indices the sequences stay in the packed order, the longest first.
        padded, lengths = pad_packed_sequence(PackedSequence(x.data, x.batch_sizes))
        return Sequences(padded, lengths.to(padded.device), x, False, batch_first)
    if getattr(x, "ndim", None) == 2:
        check_tensor("x", x, ("T", input_size), dtype)
        return Sequences(x.unsqueeze(1), None, None, True, batch_first)
    # As torch.nn, no sequences at all are let through: no letter stands for a size of 0.
    none = getattr(x, "ndim", None) == 3 and not x.shape[0 if batch_first else 1]
    batch = 0 if none else "B"
    axes = (batch, "T") if batch_first else ("T", batch)
    check_tensor("x", x, (*axes, input_size), dtype)
    return Sequences(x.transpose(0, 1) if batch_first else x, None, None, False, batch_first)


def check_tensor(name: str, value, shape: tuple, dtype: torch.dtype) -> None:
    """Raise ``ValueError`` unless ``value`` is a tensor of ``shape`` (see ``check_shape``) and
    ``dtype``; under autocast, which casts, of any dtype.
    """
    if not isinstance(value, Tensor):
        kinds = "a torch tensor or a PackedSequence" if name == "x" else "a torch tensor"
        raise ValueError(f"{name} must be {kinds}, got {type(value).__name__}.")
    check_shape(name, value, shape)
    if value.dtype != dtype and not torch.is_autocast_enabled(value.device.type):
        raise ValueError(f"{name} must have dtype {dtype} to fit the weights, got {value.dtype}.")


def drop(x: Tensor, share: float, lengths: Tensor | None) -> Tensor:
    """``x`` (T, B, F) without a ``share`` of its numbers, drawn as torch draws them: in the order
    of the packed data, and none beyond a sequence's end.
    """
    if lengths is None:
        return F.dropout(x, share)
    within = torch.arange(len(x), device=x.device)[:, None] < lengths  # (T, B)
    return torch.zeros_like(x).masked_scatter(within[:, :, None], F.dropout(x[within], share))


def reverse(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Each sequence of ``x`` (T, B, F) read from its own end; what lies beyond stays there."""
    if lengths is None:
        return x.flip(0)
    t = torch.arange(len(x), device=x.device)[:, None]
    source = torch.where(t < lengths, lengths - 1 - t, t)  # (T, B)
    return x.gather(0, source[:, :, None].expand_as(x))


def last(states: Tensor | list[Tensor], lengths: Tensor | None) -> Tensor:
    """Each sequence's state after its last step: ``states`` (T, B, H) -> (B, H)."""
    if lengths is None:
        return states[-1]
    if isinstance(states, list):
        states = torch.stack(states)
    return states[lengths - 1, torch.arange(len(lengths), device=states.device)]
