"""What all recurrent layers share: parameters, stacking, directions, packed sequences and states.

    x (B, T, D) or packed, state0  ->  output (B, T, H * directions) or packed, state

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

from rnnbook.checks import check_between, check_positive, check_shape

State = Tensor | tuple[Tensor, ...]
WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class RecurrentLayer(nn.Module):
    """Stacks one loop over layers and directions; arguments and results are those of torch.nn.

    A subclass names its ``blocks`` and ``state_names`` and supplies the loop of one layer and
    direction:

        _loop(weights, x, *state0) -> states         x (T, B, D), states (T, B, H), h first

    where ``weights`` are ``weight_ih`` (G * H, D), ``weight_hh`` (G * H, H), ``bias_ih`` and
    ``bias_hh`` (G * H,). States other than h may be a list of T tensors (B, H): mostly the last one
    alone is wanted.

    Raises ``ValueError`` for sizes below one, a ``dropout`` outside 0 ... 1, and for
    ``batch_first=False``: here the batch is always the first axis.
    """

    blocks: int
    state_names: tuple[str, ...] = ("h",)
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
        check_between("dropout", dropout, 0, 1)
        if not batch_first:
            raise ValueError(
                f"batch_first must be True: {type(self).__name__} takes the batch first, got False."
            )
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
        rows = self.blocks * hidden_size
        for i, suffix in enumerate(self._suffixes):
            size = input_size if i < self.directions else hidden_size * self.directions
            shapes = ((rows, size), (rows, hidden_size), (rows,), (rows,))
            for name, shape in zip(WEIGHTS, shapes, strict=True):
                if bias or name.startswith("weight"):
                    empty = torch.empty(shape, device=device, dtype=dtype)
                    self.register_parameter(name + suffix, nn.Parameter(empty))
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """torch's initialization: every number uniform between ``+-1 / sqrt(H)``."""
        bound = self.hidden_size**-0.5
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound, generator=generator)

    def forward(self, x: Tensor | PackedSequence, state: State | None = None):
        """Run over ``x`` from ``state``.

        Args:
            x: (B, T, D), (T, D) for a single sequence, or a ``PackedSequence``.
            state: the initial state, (L * directions, B, H) each, without B for a single sequence;
                zeros if None. ``h`` for RNN and GRU, the pair ``(h, c)`` for the LSTM.

        Returns:
            ``output`` (B, T, H * directions), packed if ``x`` was, and ``state``, each sequence's
            own final state: for the backward direction, the one at its first step.

        Raises:
            ValueError: a wrong rank, feature size or dtype of the input, a state of the wrong
                shape, dtype or kind. Unlike ``rnnbook.scratch`` it does not look for NaN: on a
                GPU to look is to wait.
        """
        sequences = open_sequences(x, self.input_size, self.weight_ih_l0.dtype)
        starts = self._states(state, sequences)
        output, finals = self._stack(sequences.x, starts, sequences.lengths)
        state = tuple(sequences.close_state(final) for final in finals)
        return sequences.close(output), state if len(state) > 1 else state[0]

    def _stack(self, x: Tensor, starts: list[Tensor], lengths: Tensor | None):
        """All layers and directions: ``x`` (T, B, D) -> output (T, B, H * directions), finals."""
        finals: list[list[Tensor]] = [[] for _ in starts]
        for layer in range(self.num_layers):
            if layer and self.dropout:
                x = F.dropout(x, self.dropout, self.training)
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
        """The four arrays of one layer and direction; zeros where it has no bias."""
        suffix = self._suffixes[i]
        if self.bias:
            return tuple(getattr(self, name + suffix) for name in WEIGHTS)
        w_ih, w_hh = getattr(self, "weight_ih" + suffix), getattr(self, "weight_hh" + suffix)
        zeros = w_hh.new_zeros(len(w_hh))
        return w_ih, w_hh, zeros, zeros

    def _states(self, state: State | None, sequences: "Sequences") -> list[Tensor]:
        """``state`` as a list of tensors (L * directions, B, H)."""
        rows, batch = len(self._suffixes), sequences.x.shape[1]
        dtype = self.weight_ih_l0.dtype
        if state is None:
            zeros = sequences.x.new_zeros(rows, batch, self.hidden_size)
            return [zeros] * len(self.state_names)
        parts = state if isinstance(state, tuple | list) else (state,)
        if len(parts) != len(self.state_names):
            kind = f"the pair ({', '.join(self.state_names)})" if len(self.state_names) > 1 else "h"
            raise ValueError(f"state must be {kind}, got {len(parts)} of them.")
        for name, part in zip(self.state_names, parts, strict=True):
            sequences.check_state(f"state {name}", part, rows, self.hidden_size, dtype)
        return [sequences.open_state(part) for part in parts]

    def extra_repr(self) -> str:
        said = [f"{self.input_size}, {self.hidden_size}"]
        for name, usual in [
            ("num_layers", 1),
            ("bias", True),
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

    def close(self, output: Tensor) -> Tensor | PackedSequence:
        """``output`` (T, B, F) in the form in which ``x`` came."""
        if self.packed is not None and self.lengths is not None:  # both, or neither
            data = pack_padded_sequence(output, self.lengths.cpu()).data
            _, sizes, order, back = self.packed
            return PackedSequence(data, sizes, order, back)
        return output.squeeze(1) if self.single else output.transpose(0, 1)

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


def open_sequences(x: Tensor | PackedSequence, input_size: int, dtype: torch.dtype) -> Sequences:
    """``x`` (B, T, D), (T, D) or packed -> :class:`Sequences`, with time first.

    Raises ``ValueError`` for another rank, feature size or dtype.
    """
    if isinstance(x, PackedSequence):
        check_tensor("x.data", x.data, ("N", input_size), dtype)
        # Without their indices the sequences stay in the packed order, the longest first.
        padded, lengths = pad_packed_sequence(PackedSequence(x.data, x.batch_sizes))
        return Sequences(padded, lengths.to(padded.device), x, False)
    if getattr(x, "ndim", None) == 2:
        check_tensor("x", x, ("T", input_size), dtype)
        return Sequences(x.unsqueeze(1), None, None, True)
    check_tensor("x", x, ("B", "T", input_size), dtype)
    return Sequences(x.transpose(0, 1), None, None, False)


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
