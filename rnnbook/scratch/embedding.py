"""A table of vectors, one for each symbol (chapter ``recurrent_layer``).

y[b, t] = W[x[b, t]]           x (B, T) whole numbers   W (V, D)   y (B, T, D)
"""

import numpy as np

from rnnbook.checks import (
    check_classes,
    check_positive,
    check_shape,
    generator_or_new,
    real_numbers,
)
from rnnbook.scratch.module import DType, Module, Params, floating


class Embedding(Module):
    """Looks up row ``x`` of ``weight``; the same as ``torch.nn.Embedding``.

    It is the linear map of a one-hot input, without the zeros being multiplied.
    ``params``: ``weight`` (num_embeddings, embedding_dim), drawn from the standard normal.
    Raises ``ValueError`` for a size that is not a whole number of at least 1, and a dtype other
    than float32 and float64.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        dtype: DType = np.float64,
        rng: np.random.Generator | None = None,
    ):
        super().__init__()
        check_positive("num_embeddings", num_embeddings)
        check_positive("embedding_dim", embedding_dim)
        rng = generator_or_new("rng", rng)
        weight = rng.standard_normal((num_embeddings, embedding_dim)).astype(floating(dtype))
        self.params = {"weight": weight}
        self.grads: Params = {}

    def forward(self, x: np.ndarray) -> np.ndarray:
        """``x`` (...) of whole numbers from 0 to V - 1 -> (..., embedding_dim).

        Raises ``ValueError`` for anything else: a negative index would silently count from the end.
        """
        weight = self.params["weight"]
        x = real_numbers("x", x, None)
        check_classes("x", x, len(weight))
        self._remember(x.copy())  # the caller may change it before backward
        return weight[x]

    def backward(self, doutput: np.ndarray) -> None:
        """``doutput`` (..., embedding_dim); fills ``grads``. Indices have no gradient.

        dW[v] = sum of dy over all places where x = v

        Raises ``ValueError`` for a wrong shape, ``RuntimeError`` without a forward before it.
        """
        x = self._recall()
        weight = self.params["weight"]
        doutput = real_numbers("doutput", doutput, weight.dtype)
        check_shape("doutput", doutput, (*x.shape, weight.shape[1]))
        dweight = np.zeros_like(weight)
        np.add.at(dweight, x, doutput)  # unlike +=, adds again where an index is repeated
        self.grads = {"weight": dweight}
        self._forget()
