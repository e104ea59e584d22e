"""A linear map, the head of most models (chapter ``recurrent_layer``).

y = x W^T + b           x (..., D)   W (K, D)   b (K)   y (..., K)
"""

import numpy as np

from rnnbook.checks import check_positive, check_shape, real_numbers
from rnnbook.scratch.module import DType, Module, Params, draw


class Linear(Module):
    """``y = x W^T + b`` on the last axis, whatever the others are; as ``torch.nn.Linear``.

    ``params``: ``weight`` (out_features, in_features) and ``bias`` (out_features), drawn uniformly
    from +-1/sqrt(in_features). ``bias=False`` leaves the bias out.
    Raises ``ValueError`` for a size that is not a whole number of at least 1.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: DType = np.float64,
        rng: np.random.Generator | None = None,
    ):
        super().__init__()
        in_features = check_positive("in_features", in_features)
        out_features = check_positive("out_features", out_features)
        shapes = {"weight": (out_features, in_features)} | (
            {"bias": (out_features,)} if bias else {}
        )
        self.params = draw(shapes, float(1 / np.sqrt(in_features)), dtype, rng)
        self.grads: Params = {}

    def forward(self, x: np.ndarray) -> np.ndarray:
        """``x`` (..., in_features) -> (..., out_features).

        Raises ``ValueError`` for another number of features, and for what are no real numbers.
        """
        weight = self.params["weight"]
        x = real_numbers("x", x, weight.dtype)
        check_shape("x", x, (*x.shape[:-1], weight.shape[1]))
        self._remember(x.copy())  # the caller may change it before backward
        y = x @ weight.T
        if "bias" in self.params:
            y += self.params["bias"]
        return y

    def backward(self, doutput: np.ndarray) -> np.ndarray:
        """``doutput`` (..., out_features) -> ``dx`` (..., in_features); fills ``grads``.

        dx = dy W        dW = sum over all rows of  dy^T x        db = sum over all rows of  dy

        Raises ``ValueError`` for a wrong shape, ``RuntimeError`` without a forward before it.
        """
        x = self._recall()
        weight = self.params["weight"]
        doutput = real_numbers("doutput", doutput, weight.dtype)
        check_shape("doutput", doutput, (*x.shape[:-1], weight.shape[0]))
        rows = doutput.reshape(-1, weight.shape[0])
        self.grads = {"weight": rows.T @ x.reshape(-1, weight.shape[1])}
        if "bias" in self.params:
            self.grads["bias"] = rows.sum(0)
        self._forget()
        return doutput @ weight
