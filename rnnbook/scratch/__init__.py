"""Recurrent networks in NumPy, forward and hand-written backward; never imports torch.

Losses, optimizers, schedules and initial weights are functions and classes of their modules:
``losses.mse``, ``optim.Adam``, ``schedules.cosine``, ``init.orthogonal_``.
"""

from rnnbook.scratch import init, losses, optim, schedules
from rnnbook.scratch.embedding import Embedding
from rnnbook.scratch.gru import GRU, GRUCell, ResetBeforeGRU, ResetBeforeGRUCell
from rnnbook.scratch.linear import Linear
from rnnbook.scratch.lstm import LSTM, LSTMCell
from rnnbook.scratch.minimal import MinGRU, MinLSTM
from rnnbook.scratch.model import SequenceModel, Stacked
from rnnbook.scratch.recurrent_layer import RNN, RNNCell
from rnnbook.scratch.regularization import (
    Dropout,
    LayerNorm,
    RecurrentDropout,
    VariationalDropout,
    Zoneout,
)

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Dropout",
    "Embedding",
    "GRUCell",
    "LSTMCell",
    "LayerNorm",
    "Linear",
    "MinGRU",
    "MinLSTM",
    "RNNCell",
    "RecurrentDropout",
    "ResetBeforeGRU",
    "ResetBeforeGRUCell",
    "SequenceModel",
    "Stacked",
    "VariationalDropout",
    "Zoneout",
    "init",
    "losses",
    "optim",
    "schedules",
]
