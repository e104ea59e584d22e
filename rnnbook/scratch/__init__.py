"""Recurrent networks in NumPy, forward and hand-written backward; never imports torch.

``LSTM`` is the plain layer, a loop over :class:`LSTMCell`, to be read; ``FusedLSTM`` gives the same
numbers sooner, to train for long.

Losses, optimizers, schedules and initial weights are functions and classes of their modules:
``losses.mse``, ``optim.Adam``, ``schedules.cosine``, ``init.orthogonal_``.
"""

from rnnbook.scratch import init, losses, optim, schedules
from rnnbook.scratch.embedding import Embedding
from rnnbook.scratch.fused import FusedGRU, FusedLSTM, FusedResetBeforeGRU, FusedRNN
from rnnbook.scratch.gru import GRU, GRUCell, ResetBeforeGRU, ResetBeforeGRUCell
from rnnbook.scratch.layer import Cell, RecurrentLayer
from rnnbook.scratch.linear import Linear
from rnnbook.scratch.lstm import LSTM, LSTMCell
from rnnbook.scratch.minimal import MinGRU, MinGRUCell, MinLSTM, MinLSTMCell
from rnnbook.scratch.model import SequenceModel, Stacked
from rnnbook.scratch.module import enable_grad
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
    "Cell",
    "Dropout",
    "Embedding",
    "FusedGRU",
    "FusedLSTM",
    "FusedRNN",
    "FusedResetBeforeGRU",
    "GRUCell",
    "LSTMCell",
    "LayerNorm",
    "Linear",
    "MinGRU",
    "MinGRUCell",
    "MinLSTM",
    "MinLSTMCell",
    "RNNCell",
    "RecurrentDropout",
    "RecurrentLayer",
    "ResetBeforeGRU",
    "ResetBeforeGRUCell",
    "SequenceModel",
    "Stacked",
    "VariationalDropout",
    "Zoneout",
    "enable_grad",
    "init",
    "losses",
    "optim",
    "schedules",
]
