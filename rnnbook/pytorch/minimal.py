"""MinGRU and MinLSTM (chapter ``efficient_training``): Feng et al. (2024), Were RNNs All We Needed?

Their gates look at the input only, and not at the state, so that the state obeys a linear
recurrence, h_t = a_t * h_{t-1} + b_t, which ``scan.py`` runs as a loop or in parallel over time.

T steps, B batch, D input, H hidden;  x (B, T, D)   a, b, h (B, T, H)
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence

from rnnbook.checks import check_choice, check_positive
from rnnbook.pytorch.layer import last, open_sequences
from rnnbook.pytorch.scan import recurrence_log_scan, recurrence_loop, recurrence_scan

RECURRENCES = {"loop": recurrence_loop, "scan": recurrence_scan}


class _MinimalLayer(nn.Module):
    """What MinGRU and MinLSTM share: everything but how ``a`` and ``b`` come from the input."""

    blocks: int
    modes: tuple[str, ...] = ("loop", "scan")
    bidirectional = False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        mode: str = "scan",
        device=None,
        dtype: torch.dtype | None = None,
    ):
        check_positive("input_size", input_size)
        check_positive("hidden_size", hidden_size)
        check_choice("mode", mode, self.modes)
        super().__init__()
        self.input_size, self.hidden_size, self.mode = input_size, hidden_size, mode
        rows = self.blocks * hidden_size
        options = {"device": device, "dtype": dtype}
        self.weight_ih_l0 = nn.Parameter(torch.empty(rows, input_size, **options))
        self.bias_ih_l0 = nn.Parameter(torch.empty(rows, **options))
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """As ``torch.nn.Linear``: every number uniform between ``+-1 / sqrt(D)``."""
        bound = self.input_size**-0.5
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound, generator=generator)

    def forward(self, x: Tensor | PackedSequence, state: Tensor | None = None):
        """Run over ``x`` from ``state``.

        Args:
            x: (B, T, D), (T, D) for a single sequence, or a ``PackedSequence``.
            state: (1, B, H), (1, H) for a single sequence; zeros if None.

        Returns:
            ``output`` (B, T, H), packed if ``x`` was, and each sequence's final ``state``.

        Raises:
            ValueError: a wrong rank, feature size or dtype of the input, a wrong shape or dtype of
                the state.
        """
        dtype = self.weight_ih_l0.dtype
        sequences = open_sequences(x, self.input_size, dtype)
        if state is None:
            h0 = sequences.x.new_zeros(sequences.x.shape[1], self.hidden_size)
        else:
            sequences.check_state("state", state, 1, self.hidden_size, dtype)
            h0 = sequences.open_state(state)[0]
        # The batch comes first here: time is what the scan runs over.
        p = F.linear(sequences.x.transpose(0, 1), self.weight_ih_l0, self.bias_ih_l0)
        h = self._states(p.chunk(self.blocks, dim=2), h0).transpose(0, 1)  # (T, B, H)
        final = last(h, sequences.lengths)[None]  # (1, B, H)
        return sequences.close(h), sequences.close_state(final)

    def _states(self, p: tuple[Tensor, ...], h0: Tensor) -> Tensor:
        return RECURRENCES[self.mode](*self._coefficients(*p), h0)

    def _coefficients(self, *p: Any) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}, mode={self.mode!r}"


class MinGRU(_MinimalLayer):
    """The GRU without what its gates see of the state.

        z_t = sigmoid(W_z x_t + b_z)
        n_t = W_n x_t + b_n
        h_t = (1 - z_t) * h_{t-1} + z_t * n_t

    Mind the roles: as in the paper, ``z`` lets the *new* value in, while in :class:`GRU` it keeps
    the old one. Parameters: ``weight_ih_l0`` (2H, D) with the rows of z, then n; ``bias_ih_l0``
    (2H), as in ``rnnbook.scratch``. ``mode`` is "loop" or "scan", with the same results.
    Source: Feng et al. (2024).
    """

    blocks = 2

    def _coefficients(self, a_z, n):
        z = a_z.sigmoid()
        return 1 - z, z * n


class PositiveMinGRU(_MinimalLayer):
    """The MinGRU whose candidates are positive, so that they have logarithms.

        z_t = sigmoid(W_z x_t + b_z)
        n_t = g(W_n x_t + b_n),          g(a) = a + 1/2 for a >= 0,  sigmoid(a) below
        h_t = (1 - z_t) * h_{t-1} + z_t * n_t

    It is the form of the paper's experiments. ``mode`` is "loop", "scan" or "log_scan", Heinsen's
    scan over logarithms, with the same results.
    Parameters as :class:`MinGRU`. Source: Feng et al. (2024), appendix B.
    """

    blocks = 2
    modes = ("loop", "scan", "log_scan")

    def _states(self, p, h0):
        if self.mode != "log_scan":
            return super()._states(p, h0)
        a_z, a_n = p
        # log(1 - z) = log sigmoid(-a_z) keeps the digits that 1 - z loses
        log_n = torch.where(a_n >= 0, (a_n.relu() + 0.5).log(), F.logsigmoid(a_n))
        return recurrence_log_scan(F.logsigmoid(-a_z), F.logsigmoid(a_z) + log_n, h0)

    def _coefficients(self, a_z, a_n):
        z = a_z.sigmoid()
        return 1 - z, z * torch.where(a_n >= 0, a_n + 0.5, a_n.sigmoid())


class MinLSTM(_MinimalLayer):
    """The LSTM without output gate, and without what its gates see of the state.

        i_t = sigmoid(W_i x_t + b_i)
        f_t = sigmoid(W_f x_t + b_f)
        g_t = W_g x_t + b_g
        h_t = f_t / (f_t + i_t) * h_{t-1} + i_t / (f_t + i_t) * g_t

    Its state is one tensor ``h``, like a GRU's. Parameters: ``weight_ih_l0`` (3H, D) with the rows
    of i, f, g; ``bias_ih_l0`` (3H), as in ``rnnbook.scratch``. ``mode`` is "loop" or "scan", with
    the same results. Source: Feng et al. (2024).
    """

    blocks = 3

    def _coefficients(self, a_i, a_f, g):
        # f / (f + i) by way of log f - log i, so that two closed gates do not give 0 / 0
        keep = (F.logsigmoid(a_f) - F.logsigmoid(a_i)).sigmoid()
        return keep, (1 - keep) * g
