"""The recurrent layer (chapter ``recurrent_layer``): Elman, Cognitive Science 14 (1990).

    a_t = W_ih x_t + b_ih + W_hh h_{t-1} + b_hh
    h_t = tanh(a_t)                                  or relu(a_t)

Dimensions: B batch, D input, H hidden; in a step x (B, D) and h (B, H), a row for each sequence.
"""

import numpy as np

from rnnbook.checks import check_choice
from rnnbook.scratch.layer import Cell, RecurrentLayer
from rnnbook.scratch.module import DType


class RNNCell(Cell):
    """One step: ``h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)``.

    Args:
        input_size: D.
        hidden_size: H.
        nonlinearity: "tanh" or "relu".
        dtype: float64 or float32.
        rng: draws the weights, uniform between ``+-1 / sqrt(H)``.

    Raises:
        ValueError: a size below one, another nonlinearity or dtype, or an ``rng`` that is no
            generator.

    Source: Elman (1990), Finding structure in time; backward: Werbos (1990), Backpropagation
    through time.
    """

    blocks = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        nonlinearity: str = "tanh",
        *,
        dtype: DType = np.float64,
        rng: np.random.Generator | None = None,
    ):
        check_choice("nonlinearity", nonlinearity, ("tanh", "relu"))
        self.nonlinearity = nonlinearity
        super().__init__(input_size, hidden_size, dtype=dtype, rng=rng)

    def step(self, x, h_before):
        """``x`` (B, D), ``h_before`` (B, H) -> ``h`` (B, H), and what :meth:`back` needs."""
        a = self.linear(x, h_before)
        h = np.tanh(a) if self.nonlinearity == "tanh" else np.maximum(a, 0)
        return h, (x, h_before, h)

    def back(self, dh, kept):
        """``dh`` (B, H) -> ``dx`` (B, D), ``dh_before`` (B, H), the gradients of the weights."""
        x, h_before, h = kept
        da = dh * (1 - h**2) if self.nonlinearity == "tanh" else dh * (h > 0)
        return self.linear_back(da, x, h_before)


class RNN(RecurrentLayer):
    """The recurrent layer over whole sequences; the same as ``torch.nn.RNN(batch_first=True)``.

    Args:
        input_size: D.
        hidden_size: H.
        num_layers: L, each reading the outputs of the one before.
        bidirectional: read every sequence from its end as well.
        nonlinearity: "tanh" or "relu".
        dtype: float64 or float32.
        rng: draws the weights, uniform between ``+-1 / sqrt(H)``.

    ``params`` and ``grads`` have the names and shapes of ``torch.nn.RNN``. The methods and their
    errors are those of :class:`~rnnbook.scratch.layer.RecurrentLayer`.

    Source: Elman (1990), Finding structure in time.
    """

    cell = RNNCell

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bidirectional: bool = False,
        *,
        nonlinearity: str = "tanh",
        dtype: DType = np.float64,
        rng: np.random.Generator | None = None,
    ):
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bidirectional,
            dtype=dtype,
            rng=rng,
            nonlinearity=nonlinearity,
        )
        self.nonlinearity = nonlinearity
