"""Losses: each returns ``(loss, dprediction)``, a mean and its gradient (``gradient_descent``).

The mean is that of ``torch.nn``'s ``reduction="mean"``, over every entry for MSE and Huber, over
every place for cross-entropy; with a mask, over those that count.
"""

import numpy as np

from rnnbook.checks import check_classes, check_finite, check_shape


def mse(
    prediction: np.ndarray, target: np.ndarray, mask: np.ndarray | None = None
) -> tuple[float, np.ndarray]:
    """Mean squared error of N numbers; the same as ``torch.nn.MSELoss``.

        loss = sum (p - y)^2 / N                dp = 2 (p - y) / N

    ``prediction`` and ``target`` have one shape (a (B, 1) against a (B,) would be broadcast to
    (B, B), a loss that trains towards the mean). With ``mask``, bools of that shape or of its first
    axes, only the N numbers where it is true count; the others get a zero gradient, and what their
    target says is not looked at. Returns ``(loss, dprediction)``.
    Raises ``ValueError`` for other shapes, for a target that is not finite, and for a mask that is
    not boolean or leaves nothing.
    """
    error = _error(prediction, target, mask)
    return float(np.mean(error**2)), _placed(2 * error / error.size, mask, prediction)


def huber(
    prediction: np.ndarray,
    target: np.ndarray,
    mask: np.ndarray | None = None,
    *,
    delta: float = 1.0,
) -> tuple[float, np.ndarray]:
    """Squared near zero, linear beyond ``delta``; the same as ``torch.nn.HuberLoss``.

        e = p - y       l(e) = e^2 / 2                        if |e| <= delta
                        l(e) = delta (|e| - delta / 2)        otherwise
        loss = sum l(e) / N             dp = clip(e, -delta, delta) / N

    ``mask`` as for :func:`mse`. Returns ``(loss, dprediction)``; raises as :func:`mse`, and unless
    ``delta`` is positive.
    Source: Huber (1964), Robust Estimation of a Location Parameter,
    The Annals of Mathematical Statistics 35(1).
    """
    if not delta > 0:
        raise ValueError(f"delta must be positive, got {delta!r}.")
    error = _error(prediction, target, mask)
    clipped = np.clip(error, -delta, delta)
    # One formula for both branches: within delta, clipped is the error itself.
    loss = float(np.mean(clipped * (error - clipped / 2)))
    return loss, _placed(clipped / error.size, mask, prediction)


def softmax_cross_entropy(
    logits: np.ndarray, target: np.ndarray, mask: np.ndarray | None = None
) -> tuple[float, np.ndarray]:
    """Mean of ``-log softmax(logits)[target]``; the same as ``torch.nn.CrossEntropyLoss``.

        loss = sum_n (log sum_k exp(z_nk) - z_n[y_n]) / N
        dz_nk = (softmax(z_n)_k - [k = y_n]) / N

    ``logits`` (..., K), ``target`` (...) of whole numbers from 0 to K - 1. With ``mask`` (...) of
    bools, only the N places that are true count (in torch: ``ignore_index``); the others get a zero
    gradient, and what their target says is not looked at. The loss is in nats.
    Returns ``(loss, dlogits)``. Raises ``ValueError`` for a wrong shape, a target out of range, a
    mask that is not boolean or leaves nothing.
    """
    logits, target = _floating(logits), np.asarray(target)
    check_shape("logits", logits, (*logits.shape[:-1], "K"))
    check_shape("target", target, logits.shape[:-1])
    if mask is None:
        mask = np.ones(target.shape, dtype=bool)
    mask = _checked_mask(mask, target.shape)
    check_classes("target", np.where(mask, target, 0), logits.shape[-1])

    z, y = logits[mask], target[mask]  # (N, K), (N,)
    z = z - z.max(axis=1, keepdims=True)  # exp cannot overflow, and softmax does not change
    log_softmax = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    rows = np.arange(len(y))
    loss = -np.mean(log_softmax[rows, y])

    dz = np.exp(log_softmax)
    dz[rows, y] -= 1
    dlogits = np.zeros_like(logits)
    dlogits[mask] = dz / len(y)
    return float(loss), dlogits


def _error(prediction, target, mask) -> np.ndarray:
    """``prediction - target`` in the prediction's number type; with a mask, where it is true."""
    prediction = _floating(prediction)
    target = np.asarray(target, dtype=prediction.dtype)
    check_shape("target", target, prediction.shape)
    if mask is not None:
        mask = _checked_mask(mask, prediction.shape[: max(1, np.ndim(mask))])
        prediction, target = prediction[mask], target[mask]
    check_finite("target", target)
    return prediction - target


def _placed(gradient: np.ndarray, mask, prediction) -> np.ndarray:
    """``gradient`` where the mask is true, zero elsewhere: an array like the prediction."""
    if mask is None:
        return gradient
    whole = np.zeros(np.shape(prediction), gradient.dtype)
    whole[np.asarray(mask)] = gradient
    return whole


def _checked_mask(mask, shape: tuple[int, ...]) -> np.ndarray:
    """``mask`` as an array; ``ValueError`` unless bools of ``shape``, one of them true at least."""
    mask = np.asarray(mask)
    check_shape("mask", mask, shape)
    if mask.dtype != bool or not mask.any():
        came = "all false" if mask.dtype == bool else mask.dtype
        raise ValueError(f"mask must be an array of bools with one true at least, got {came}.")
    return mask


def _floating(prediction) -> np.ndarray:
    """Whole numbers become floating-point numbers; what is floating-point keeps its type."""
    prediction = np.asarray(prediction)
    if np.issubdtype(prediction.dtype, np.floating):
        return prediction
    return prediction.astype(np.float64)
