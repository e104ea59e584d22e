"""From sequence to sequence, without attention and with it (chapter ``faq``).

An encoder reads the source in both directions, a decoder writes the target word by word:

    k_1 ... k_S = GRU in both directions (E x_1 ... E x_S)        what was read, around each symbol
    s_0 = tanh(W_0 k),    s_t = GRU(F y_{t-1}, s_{t-1})           k: what both directions end with
    logits_t = W_out tanh(W_c [s_t, c_t] + b_c) + b_out           c_t: the context

and the two models differ in the context alone, by which the decoder sees the source:

    Seq2Seq             c_t = k                                   the same at every step
    AttentionSeq2Seq    c_t = sum_s w_ts k_s                      looked up at every step

    B batch, S source steps, T target steps, H hidden, K kinds of target symbols
    x (B, S), y (B, T) whole numbers, 0 is padding      k_s, s_t, c_t (B, H)      w (B, T, S)
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rnnbook.checks import check_classes, check_lengths, check_positive, check_shape, check_whole
from rnnbook.pytorch.fused import FusedGRU


def attend(query: Tensor, keys: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Dot-product attention: what every query finds among the keys.

        w_ts = exp(q_t . k_s) / sum over unmasked r of exp(q_t . k_r)       0 where s is masked
        c_t = sum_s w_ts k_s

    Args:
        query: (B, T, H).
        keys: (B, S, H), at once what is compared with and what is returned.
        mask: bool (B, S), False where there is nothing to be seen; True somewhere in every row.

    Returns:
        ``context`` (B, T, H) and ``weights`` (B, T, S), which sum to 1 over S.

    Raises:
        ValueError: shapes that do not fit together.

    Source: Bahdanau, Cho & Bengio (2015), arXiv:1409.0473, the first; with this score, "dot",
    Luong, Pham & Manning (2015), arXiv:1508.04025, section 3.1.
    """
    check_shape("query", query, ("B", "T", "H"))
    B, _, H = query.shape
    check_shape("keys", keys, (B, "S", H))
    check_shape("mask", mask, keys.shape[:2])
    scores = query @ keys.transpose(1, 2)  # (B, T, S)
    weights = scores.masked_fill(~mask[:, None], -torch.inf).softmax(dim=2)
    return weights @ keys, weights


class Seq2Seq(nn.Module):
    """Encoder and decoder with nothing between them but one vector: c_t = k.

    Args:
        source_symbols: how many kinds of source symbols, with the padding 0.
        target_symbols: K, how many kinds of target symbols, with the padding 0.
        hidden_size: H, even; each direction of the encoder has H / 2 units, the decoder H, and
            symbols of both languages become vectors of size H.

    Raises ``ValueError`` for sizes below one and an odd ``hidden_size``.
    Source: Sutskever, Vinyals & Le (2014), arXiv:1409.3215, and, with the context at every step,
    Cho et al. (2014), arXiv:1406.1078.
    """

    def __init__(self, source_symbols: int, target_symbols: int, hidden_size: int):
        check_positive("source_symbols", source_symbols)
        check_positive("target_symbols", target_symbols)
        check_positive("hidden_size", hidden_size)
        if hidden_size % 2:
            raise ValueError(
                f"hidden_size must be even, one half for each direction, got {hidden_size}."
            )
        super().__init__()
        H = hidden_size
        self.source_embedding = nn.Embedding(source_symbols, H)
        self.target_embedding = nn.Embedding(target_symbols, H)
        self.encoder = FusedGRU(H, H // 2, bidirectional=True)
        self.start = nn.Linear(H, H, bias=False)
        self.decoder = FusedGRU(H, H)
        self.combine = nn.Linear(2 * H, H)
        self.head = nn.Linear(H, target_symbols)

    def forward(self, source: Tensor, source_lengths, target_in: Tensor):
        """The decoder is told the right symbol after each step (teacher forcing).

        Args:
            source: whole numbers (B, S).
            source_lengths: whole numbers (B,); what lies beyond them has no influence.
            target_in: whole numbers (B, T), what the decoder reads: the target, one step late.

        Returns:
            ``logits`` (B, T, K) for the symbol after each of ``target_in``, and the attention's
            ``weights`` (B, T, S); None where there is no attention.

        Raises:
            ValueError: wrong shapes, lengths outside 1 ... S, symbols that are none.
        """
        memory = self._encode(source, source_lengths)
        check_shape("target_in", target_in, (len(source), "T"))
        check_classes("target_in", target_in.cpu().numpy(), self.head.out_features)
        logits, _, weights = self._decode(target_in, self._first_state(memory), memory)
        return logits, weights

    @torch.no_grad()
    def translate(self, source: Tensor, source_lengths, *, begin: int, end: int, longest: int):
        """The decoder reads its own best guess after each step (greedy decoding).

        Args:
            source, source_lengths: as for :meth:`forward`.
            begin: the symbol that the decoder reads first.
            end: the symbol with which it ends a sequence.
            longest: the most steps, with ``end``.

        Returns:
            ``tokens`` (B, T), with ``end`` and zeros after it, T the length of the longest; and
            ``weights`` (B, T, S), None where there is no attention.

        Raises:
            ValueError: wrong shapes, lengths outside 1 ... S, symbols that are none.
        """
        kinds = self.head.out_features
        check_whole("begin", begin, 0, kinds - 1)
        check_whole("end", end, 0, kinds - 1)
        check_positive("longest", longest)
        memory = self._encode(source, source_lengths)
        state = self._first_state(memory)
        token = torch.full((len(source), 1), begin, device=source.device)
        ended = torch.zeros_like(token, dtype=torch.bool)
        steps: list[tuple[Tensor, Tensor | None]] = []
        while len(steps) < longest and not ended.all():
            logits, state, weights = self._decode(token, state, memory)
            token = logits.argmax(dim=2).masked_fill(ended, 0)  # (B, 1)
            ended = ended | (token == end)
            steps.append((token, weights))
        tokens, weights = zip(*steps, strict=True)
        return torch.cat(tokens, 1), None if weights[0] is None else torch.cat(weights, 1)

    def _encode(self, source: Tensor, source_lengths) -> "Memory":
        check_shape("source", source, ("B", "S"))
        B, S = source.shape
        lengths = torch.from_numpy(check_lengths(source_lengths, B, S))
        check_classes("source", source.cpu().numpy(), self.source_embedding.num_embeddings)
        embedded = self.source_embedding(source)
        packed = pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
        packed, ends = self.encoder(packed)  # ends (2, B, H / 2)
        keys, _ = pad_packed_sequence(packed, batch_first=True, total_length=S)
        mask = torch.arange(S) < lengths[:, None]
        return Memory(keys, mask.to(source.device), torch.cat([*ends], dim=1))

    def _first_state(self, memory: "Memory") -> Tensor:
        # s_0 = tanh(W_0 k)
        return self.start(memory.summary).tanh()[None]  # (1, B, H)

    def _decode(self, target: Tensor, state: Tensor, memory: "Memory"):
        """Steps with the inputs ``target`` (B, T) from ``state``: logits, state, weights."""
        # s_t = GRU(F y_{t-1}, s_{t-1})
        states, state = self.decoder(self.target_embedding(target), state)  # (B, T, H)
        context, weights = self._context(states, memory)  # (B, T, H)
        # logits_t = W_out tanh(W_c [s_t, c_t] + b_c) + b_out
        combined = self.combine(torch.cat([states, context], dim=2)).tanh()
        return self.head(combined), state, weights

    def _context(self, states: Tensor, memory: "Memory") -> tuple[Tensor, Tensor | None]:
        # c_t = k
        return memory.summary[:, None].expand_as(states), None


class AttentionSeq2Seq(Seq2Seq):
    """:class:`Seq2Seq` whose decoder looks back at all that the encoder wrote: c_t = attention.

        c_t = sum_s w_ts k_s,        w_ts = softmax over s of (s_t . k_s)

    Arguments, parameters, calls and errors as :class:`Seq2Seq`: attention itself has no parameter.
    Source: Bahdanau, Cho & Bengio (2015), arXiv:1409.0473; in this form, the context after the
    decoder's state and the score "dot", Luong, Pham & Manning (2015), arXiv:1508.04025, section 3.
    """

    def _context(self, states, memory):
        # w_ts = softmax over s of (s_t . k_s),  c_t = sum_s w_ts k_s
        return attend(states, memory.keys, memory.mask)


class Memory(NamedTuple):
    """What the encoder has made of the source."""

    keys: Tensor  # k_s (B, S, H), zeros beyond the end
    mask: Tensor  # (B, S), False there
    summary: Tensor  # k (B, H)
