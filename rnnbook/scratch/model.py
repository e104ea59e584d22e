"""Layers put together: several recurrent layers, and a whole model (chapter ``worked_example``)."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from rnnbook.checks import check_choice, check_shape, real_numbers
from rnnbook.scratch.module import Module, Params, Recurrent
from rnnbook.scratch.states import State, checked_states, pack, unpack


class _Composite(Module):
    """Parts that answer together: one ``params``, one ``grads``, one mode."""

    def components(self) -> dict[str, Any]:
        """Each part under the prefix of its parameters."""
        raise NotImplementedError

    @property
    def params(self) -> Params:  # type: ignore[override] # made of the parts', never set
        """The very arrays of the parts, as ``PART.NAME``; to be changed in place."""
        return self._collect("params")

    @property
    def grads(self) -> Params:  # type: ignore[override] # the same
        """The gradients of the last backward, under the names of ``params``."""
        return self._collect("grads")

    def _collect(self, what: str) -> Params:
        return {
            self._full_name(prefix, name): array
            for prefix, part in self.components().items()
            for name, array in getattr(part, what).items()
        }

    def _full_name(self, prefix: str, name: str) -> str:
        return f"{prefix}.{name}"

    def train(self, mode: bool = True) -> Self:
        """Switch every part to training (or, with False, to evaluation). Returns itself."""
        for part in self.components().values():
            if hasattr(part, "train"):
                part.train(mode)
        return super().train(mode)


class Stacked(_Composite):
    """Recurrent layers one upon the other, with something between them; same calls as a layer.

        output^1 = layer_0(x)        output^{k+1} = layer_k(between_k(output^k))

    ``layers`` are single recurrent layers (of one or two directions), ``between`` one module for
    each gap, or None. With :class:`Dropout` between, this is ``torch.nn.LSTM(num_layers=L,
    dropout=p)``, parameter names included: nothing is dropped before the first layer, after the
    last, or on the way through time. The state stacks those of the layers along the first axis.
    Raises ``ValueError`` when the sizes do not fit or a gap has no module.
    Source: Zaremba, Sutskever & Vinyals (2014), Recurrent Neural Network Regularization,
    section 3.2.
    """

    def __init__(self, layers: Sequence[Recurrent], between: Sequence | None = None):
        super().__init__()
        self.layers, self.between = list(layers), None if between is None else list(between)
        if not self.layers:
            raise ValueError("layers must hold one layer at least, got none.")
        if between is not None and len(between) != len(layers) - 1:
            raise ValueError(
                f"between must hold {len(layers) - 1} modules for {len(layers)} layers, "
                f"got {len(between)}."
            )
        for k, layer in enumerate(self.layers):
            if not hasattr(layer, "state_names"):
                raise ValueError(
                    f"layers[{k}] must be a recurrent layer, got {type(layer).__name__}."
                )
            if layer.state_names != self.layers[0].state_names:
                raise ValueError(
                    f"layers[{k}] must have the state {', '.join(self.layers[0].state_names)}, as "
                    f"the first one, got {', '.join(layer.state_names)}."
                )
            if layer.num_layers != 1:
                raise ValueError(f"layers[{k}] must be a single layer, got {layer.num_layers}.")
            if layer.hidden_size != self.layers[0].hidden_size:
                raise ValueError(
                    f"layers[{k}] must have hidden_size {self.layers[0].hidden_size}, as the first "
                    f"one, got {layer.hidden_size}."
                )
            if k and layer.input_size != _width(self.layers[k - 1]):
                raise ValueError(
                    f"layers[{k}] must have input_size {_width(self.layers[k - 1])}, the output "
                    f"size of the layer before, got {layer.input_size}."
                )
        top = self.layers[-1]
        self.input_size, self.hidden_size = self.layers[0].input_size, top.hidden_size
        self.num_layers, self.bidirectional = len(self.layers), top.bidirectional
        self.state_names, self.dtype = top.state_names, self.layers[0].dtype

    def components(self) -> dict[str, Any]:
        """Layers as ``l0``, ``l1``, ...; what is between them as ``between.0``, ..."""
        parts = {f"l{k}": layer for k, layer in enumerate(self.layers)}
        return parts | {f"between.{k}": module for k, module in enumerate(self.between or [])}

    def _full_name(self, prefix: str, name: str) -> str:
        if prefix.startswith("between"):
            return f"{prefix}.{name}"
        return name.replace("_l0", f"_{prefix}")  # weight_ih_l0_reverse -> weight_ih_l1_reverse

    def forward(self, x: Any, state: Any = None, lengths: Any = None) -> tuple[np.ndarray, State]:
        """``x`` (B, T, D) -> ``output`` (B, T, dirs * H), state h or (h, c), each (L * dirs, B, H).

        ``state`` None stands for zeros; ``lengths`` (B,) goes to every layer. Raises
        ``ValueError`` as a layer's ``forward``.
        """
        x = real_numbers("x", x, self.dtype)
        check_shape("x", x, ("B", "T", self.input_size))
        batch = len(x)
        states = self._split("state", state, batch)
        finals = []
        for k, layer in enumerate(self.layers):
            if k and self.between:
                x = self.between[k - 1].forward(x)
            x, final = layer.forward(x, states[k], lengths)
            self._forget()  # until the last layer has run
            finals.append(final)
        self._remember(batch)
        return x, self._join(finals)

    def backward(self, doutput: Any, dstate: Any = None) -> tuple[np.ndarray, State]:
        """``doutput``, ``dstate`` (None: zeros) -> ``dx``, ``dstate0``; fills ``grads``.

        Raises ``ValueError`` for a wrong shape, ``RuntimeError`` before a forward.
        """
        dstates = self._split("dstate", dstate, self._recall(), finite=False)
        dstarts = []
        for k in reversed(range(len(self.layers))):
            doutput, dstart = self.layers[k].backward(doutput, dstates[k])
            dstarts.append(dstart)
            if k and self.between:
                doutput = self.between[k - 1].backward(doutput)
        self._forget()
        return doutput, self._join(dstarts[::-1])

    def _split(self, name: str, state: Any, batch: int, *, finite: bool = True) -> list:
        """Each layer's share of a state."""
        if state is None:
            return [None] * len(self.layers)
        ends = np.cumsum([1 + layer.bidirectional for layer in self.layers])
        shapes = {part: (int(ends[-1]), batch, self.hidden_size) for part in self.state_names}
        parts = checked_states(name, state, shapes, self.dtype, finite=finite)
        shares = [np.split(part, ends[:-1]) for part in parts]
        return [pack(list(share)) for share in zip(*shares, strict=True)]

    @staticmethod
    def _join(states: list[State]) -> State:
        return pack([np.concatenate(part) for part in zip(*map(unpack, states), strict=True)])


class SequenceModel(_Composite):
    """A recurrent layer and a head: from sequences to one prediction each, or one for each step.

        many_to="one":    prediction = head(h_T)               (B, K)
        many_to="many":   prediction = head(output)            (B, T, K)

    ``layer`` is any recurrent layer, ``head`` anything with ``forward`` and ``backward``, for
    instance :class:`Linear`. With ``embedding``, the input is whole numbers (B, T). "One" takes
    each sequence's own last state, of the top layer; with two directions the final states of both,
    side by side: the backward direction's is the one that has read everything, while its output at
    the last step has seen that step alone. ``params`` and ``grads`` carry the prefixes ``rnn.``,
    ``head.``, ``embedding.``.
    Raises ``ValueError`` for another ``many_to``.
    """

    def __init__(self, layer: Recurrent, head: Any, *, many_to: str = "one", embedding: Any = None):
        super().__init__()
        check_choice("many_to", many_to, ("one", "many"))
        self.rnn, self.head, self.embedding, self.many_to = layer, head, embedding, many_to

    def components(self) -> dict[str, Any]:
        """``embedding`` (if there is one), ``rnn``, ``head``."""
        parts = {} if self.embedding is None else {"embedding": self.embedding}
        return parts | {"rnn": self.rnn, "head": self.head}

    def forward(self, x: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
        """``x`` (B, T, D), or (B, T) with an embedding -> prediction (B, K) or (B, T, K).

        ``lengths`` (B,), each sequence's number of steps; all T if None. Raises ``ValueError`` as
        the ``forward`` of its parts.
        """
        if self.embedding is not None:
            x = self.embedding.forward(x)
        output, final = self.rnn.forward(x, lengths=lengths)
        self._remember([part.shape for part in unpack(final)])
        if self.many_to == "many":
            return self.head.forward(output)
        h = unpack(final)[0]  # (L * dirs, B, H): the top layer comes last
        return self.head.forward(np.concatenate(h[-self._directions :], axis=1))

    def backward(self, dprediction: np.ndarray) -> np.ndarray | None:
        """``dprediction`` -> ``dx`` (None with an embedding); fills ``grads``.

        Raises ``ValueError`` for a wrong shape, ``RuntimeError`` before a forward.
        """
        shapes = self._recall()
        dfeatures = self.head.backward(dprediction)
        if self.many_to == "many":
            dx, _ = self.rnn.backward(dfeatures)
        else:
            dstate = [np.zeros(shape, self.rnn.dtype) for shape in shapes]
            dstate[0][-self._directions :] = np.split(dfeatures, self._directions, axis=1)
            dx, _ = self.rnn.backward(None, pack(dstate))
        self._forget()
        return dx if self.embedding is None else self.embedding.backward(dx)

    @property
    def _directions(self) -> int:
        return 2 if self.rnn.bidirectional else 1


def _width(layer: Recurrent) -> int:
    """Features of a layer's output."""
    return layer.hidden_size * (2 if layer.bidirectional else 1)
