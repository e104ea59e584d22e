r"""Are the hand-written gradients right? Finite differences answer (chapter ``gradient_descent``).

A backward pass turns the gradient of a loss with respect to what a layer returned into the
gradients with respect to what went in. Any loss will do for a check, so the simplest is taken: a
fixed random weight on every number that comes out,

    loss = sum(output * doutput) + sum(h_n * dh_n) + ...,

whose gradient with respect to the output is ``doutput`` itself. A zero, a missing term or a swapped
gate cannot hide from random weights, as it could from a sum of all outputs.

How far to step (``eps``). The central difference of a smooth function is off by

    (f(a + eps) - f(a - eps)) / (2 eps) - f'(a)  =  eps^2 f'''(a) / 6  +  rounding,
    |rounding|  <=  about  u |f| / eps,        u = 1.1e-16 in float64,

so a long step is wrong because the function bends, and a short one because two nearly equal numbers
are subtracted. The sum is least near ``eps = u^(1/3)``, about 5e-6, where some ten of the sixteen
digits are right (Nocedal & Wright 2006, *Numerical Optimization*, section 8.1). The default of 1e-6
lies a little to the short side, where the error hardly depends on how much the function bends and
about nine digits are right. In float32 (u = 6e-8) the best step leaves four or five digits, too few
to tell a small mistake from rounding; hence everything here asks for float64.
"""

from collections.abc import Callable, Mapping

import numpy as np

from rnnbook.checks import check_shape, real_numbers
from rnnbook.scratch.module import enable_grad
from rnnbook.scratch.states import pack, unpack


def numerical_gradient(f: Callable[[], float], array: np.ndarray, eps: float = 1e-6) -> np.ndarray:
    """Gradient of the scalar ``f()`` with respect to ``array``, by central differences.

    ``f`` takes no argument: it reads ``array``, whose entries are moved in place by ``+eps`` and
    ``-eps``, one after the other, and put back (also when ``f`` raises). Two calls for each entry.

    Returns an array of the shape of ``array``. Raises ``TypeError`` unless ``array`` is a float64
    array, ``ValueError`` unless ``eps`` is positive and moves each entry by that much: at 1e9
    a step of 1e-6 is a matter of rounding.
    Source: Nocedal & Wright (2006), Numerical Optimization, 2nd ed., section 8.1.
    """
    _check_float64("array", array)
    if not eps > 0:
        raise ValueError(f"eps must be positive, got {eps!r}.")
    gradient = np.empty_like(array)
    for index in np.ndindex(array.shape):
        original = array[index]
        if not abs((original + eps) - (original - eps) - 2 * eps) < eps / 100:
            raise ValueError(f"eps must be well above the rounding of {original}, got {eps!r}.")
        try:
            array[index] = original + eps
            above = float(f())
            array[index] = original - eps
            below = float(f())
        finally:
            array[index] = original
        gradient[index] = (above - below) / (2 * eps)
    return gradient


def relative_error(a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference between ``a`` and ``b``, over the largest entry of either.

        max|a - b| / max(max|a|, max|b|),      0 where both are zero everywhere
                                               infinity where a number is NaN or infinite

    The scale is that of the whole array, because an entry that is nearly zero has no digits of its
    own: its error is the rounding of the large numbers that it was computed from.
    Raises ``ValueError`` when the shapes differ, and for what are no real numbers.
    """
    a, b = real_numbers("a", a, np.float64), real_numbers("b", b, np.float64)
    check_shape("b", b, a.shape)
    with np.errstate(invalid="ignore"):
        difference = np.abs(a - b).max(initial=0)
    if not difference < np.inf:  # a NaN would hide in a maximum over several errors
        return np.inf
    scale = max(np.abs(a).max(initial=0), np.abs(b).max(initial=0))
    return float(difference / scale) if scale else 0.0


def compare_gradients(
    loss: Callable[[], float],
    arrays: Mapping[str, np.ndarray],
    gradients: Mapping[str, np.ndarray],
    eps: float = 1e-6,
) -> dict[str, float]:
    """Relative error of each of ``gradients`` against finite differences of ``loss()``.

    ``arrays`` names what ``loss`` reads, ``gradients`` holds the hand-written gradient under the
    same names. Returns name -> :func:`relative_error`.
    """
    return {
        name: relative_error(gradients[name], numerical_gradient(loss, array, eps))
        for name, array in arrays.items()
    }


def check_layer(
    layer, x: np.ndarray, *, state=None, lengths=None, rng: np.random.Generator, eps: float = 1e-6
) -> dict[str, float]:
    """Check every gradient of a recurrent layer: its inputs, initial states and parameters.

    ``layer`` is any layer of ``rnnbook.scratch`` in float64 (``forward(x, state, lengths)``
    returns ``(output, state)``, ``backward(doutput, dstate)`` returns ``(dx, dstate0)``).
    Random weights for the output and the final state come from ``rng``; forward and backward run
    once, finite differences do the rest: two more forward passes for every number that is checked,
    so keep the layer small.

    Returns name -> relative error, with the names ``"x"``, ``"h0"`` (for an LSTM also ``"c0"``) and
    those of ``layer.params``. A correct layer stays below about 1e-7; a wrong sign or a forgotten
    term gives errors between 1e-3 and 2. Leaves ``x``, ``state`` and the parameters as they were.
    Raises ``TypeError`` for an array that is not float64.
    """
    for name, array in {"x": x, **layer.params}.items():
        _check_float64(name, array)

    with enable_grad():  # in evaluation mode too
        output, final = layer.forward(x, state, lengths)
        doutput = rng.standard_normal(output.shape)
        dfinal = [rng.standard_normal(part.shape) for part in unpack(final)]
        dx, dstate0 = layer.backward(doutput, pack(dfinal))
    gradients = {"x": dx, **_named(dstate0), **layer.grads}
    gradients = {name: gradient.copy() for name, gradient in gradients.items()}

    # No state means zeros, whose gradient is checked as well.
    start = [np.zeros_like(part) for part in unpack(final)] if state is None else unpack(state)
    start = [part.copy() for part in start]
    arrays = {"x": x.copy(), **_named(start), **layer.params}

    def loss() -> float:
        output, final = layer.forward(arrays["x"], pack(start), lengths)
        return np.sum(output * doutput) + sum(
            np.sum(part * dpart) for part, dpart in zip(unpack(final), dfinal, strict=True)
        )

    return compare_gradients(loss, arrays, gradients, eps)


def _named(state) -> dict[str, np.ndarray]:
    return dict(zip(("h0", "c0"), unpack(state), strict=False))


def _check_float64(name: str, array) -> None:
    if type(array) is not np.ndarray or array.dtype != np.float64:  # nor a masked one
        came = array.dtype if type(array) is np.ndarray else type(array).__name__
        raise TypeError(
            f"{name} must be a float64 array, got {came}: float32 keeps too few digits for a check."
        )
