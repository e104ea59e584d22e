"""Recurrent networks as ``torch.nn.Module``, from elementary tensor operations."""

from rnnbook.extras import needed

with needed("torch"):
    from rnnbook.pytorch.attention import AttentionSeq2Seq, Seq2Seq, attend
    from rnnbook.pytorch.fused import FusedGRU, FusedLSTM, FusedResetBeforeGRU, FusedRNN
    from rnnbook.pytorch.gru import GRU, ResetBeforeGRU
    from rnnbook.pytorch.lru import LRU
    from rnnbook.pytorch.lstm import LSTM
    from rnnbook.pytorch.minimal import MinGRU, MinLSTM, PositiveMinGRU
    from rnnbook.pytorch.model import SequenceModel
    from rnnbook.pytorch.recurrent_layer import RNN

__all__ = [
    "GRU",
    "LRU",
    "LSTM",
    "RNN",
    "AttentionSeq2Seq",
    "FusedGRU",
    "FusedLSTM",
    "FusedRNN",
    "FusedResetBeforeGRU",
    "MinGRU",
    "MinLSTM",
    "PositiveMinGRU",
    "ResetBeforeGRU",
    "Seq2Seq",
    "SequenceModel",
    "attend",
]
