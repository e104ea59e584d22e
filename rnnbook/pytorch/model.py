"""A recurrent layer with a head, and an embedding if need be (chapter ``worked_example``)."""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rnnbook.checks import check_choice, check_lengths, check_shape


class SequenceModel(nn.Module):
    """A recurrent layer and a head: from sequences to one prediction each, or one for each step.

        many_to="one":    prediction = head(h_T)               (B, K)
        many_to="many":   prediction = head(output)            (B, T, K)

    ``layer`` is any layer of ``rnnbook.pytorch``, or of ``torch.nn`` with ``batch_first=True``;
    ``head`` any module, for instance ``torch.nn.Linear``. With ``embedding``, the input is whole
    numbers (B, T). "One" takes each sequence's own last step; with two directions the last state of
    both, side by side: the backward direction's is the one that has read everything, while its
    output at the last step has seen that step alone. The names of the ``state_dict`` are those of
    ``params`` in :class:`rnnbook.scratch.model.SequenceModel`: ``rnn.``, ``head.``, ``embedding.``.
    Raises ``ValueError`` for another ``many_to``, a ``layer`` that is none (a cell, say), and one
    that takes time first, which would run over the batch without a word.
    """

    def __init__(
        self,
        layer: nn.Module,
        head: nn.Module,
        *,
        many_to: str = "one",
        embedding: nn.Module | None = None,
    ):
        check_choice("many_to", many_to, ("one", "many"))
        kind = type(layer).__name__
        if not hasattr(layer, "bidirectional"):
            raise ValueError(
                f"layer must be a recurrent layer of rnnbook.pytorch or torch.nn, got {kind}."
            )
        if not getattr(layer, "batch_first", True):
            raise ValueError(f"layer must take the batch first, got {kind} with batch_first=False.")
        super().__init__()
        if embedding is not None:
            self.embedding = embedding
        self.rnn, self.head, self.many_to = layer, head, many_to

    def forward(self, x: Tensor, lengths=None) -> Tensor:
        """``x`` (B, T, D), or (B, T) with an embedding -> prediction (B, K) or (B, T, K).

        ``lengths`` (B,) is each sequence's number of steps; all T if None. Beyond a sequence's end
        the head sees zeros. Raises ``ValueError`` for lengths outside 1 ... T, for an ``x`` of
        another rank and for a linear head of another size than the layer's output.
        """
        rank = 2 if hasattr(self, "embedding") else 3
        if getattr(x, "ndim", None) != rank:  # a layer would take (T, D) for a single sequence
            check_shape("x", x, ("B", "T", "D")[:rank])
        if hasattr(self, "embedding"):
            x = self.embedding(x)
        if lengths is None:
            output, _ = self.rnn(x)  # (B, T, F)
        else:
            lengths = torch.from_numpy(check_lengths(lengths, *x.shape[:2]))
            packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            packed, _ = self.rnn(packed)
            output, _ = pad_packed_sequence(packed, batch_first=True, total_length=x.shape[1])
        self._check_head(output.shape[2])
        return self.head(output if self.many_to == "many" else self._last(output, lengths))

    def _last(self, output: Tensor, lengths: Tensor | None) -> Tensor:
        """What stands after each sequence's own last step: (B, T, F) -> (B, F)."""
        final = output.shape[1] - 1 if lengths is None else lengths - 1
        end = output[torch.arange(len(output)), final]
        if not self.rnn.bidirectional:
            return end
        H = output.shape[2] // 2  # a projection makes it smaller than hidden_size
        return torch.cat([end[:, :H], output[:, 0, H:]], dim=1)  # backward: it ends at the start

    def _check_head(self, size: int) -> None:
        """Raise ``ValueError`` where the head says how many numbers it takes, and it is not F."""
        wanted = getattr(self.head, "in_features", None) or size  # LazyLinear does not know yet
        if wanted != size:
            raise ValueError(
                f"head must have in_features {size}, the layer's output, got {wanted}."
            )
