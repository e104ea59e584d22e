"""Recurrent networks as ``torch.nn.Module``, from elementary tensor operations."""

from rnnbook.pytorch.fused import FusedGRU, FusedLSTM, FusedRNN
from rnnbook.pytorch.gru import GRU, ResetBeforeGRU
from rnnbook.pytorch.lstm import LSTM
from rnnbook.pytorch.recurrent_layer import RNN

__all__ = ["GRU", "LSTM", "RNN", "FusedGRU", "FusedLSTM", "FusedRNN", "ResetBeforeGRU"]
