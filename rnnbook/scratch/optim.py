"""Optimizers with the very trajectories of ``torch.optim`` (chapter ``gradient_descent``).

Notation: ``theta`` a parameter, ``g`` its gradient, ``lr`` the learning rate, ``wd`` the weight
decay. An optimizer changes the arrays of ``params`` in place, so the layers that own them see it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from rnnbook.checks import (
    check_between,
    check_finite,
    check_fraction,
    check_keys,
    check_shape,
    check_whole,
)


class Optimizer:
    """What all optimizers share: the parameters, the running averages, saving and loading.

    ``params`` is a dict name -> array, as every layer and model of this library has it. The
    learning rate ``lr`` may be set at any time, for instance from :mod:`rnnbook.scratch.schedules`.
    Raises ``ValueError`` for a negative ``lr`` or ``weight_decay``, for an infinite ``lr``, and for
    no parameters.
    """

    averages: tuple[str, ...] = ()  # the running averages kept for each parameter, torch's names

    def __init__(self, params: Mapping[str, np.ndarray], lr: float, weight_decay: float):
        _check_rate("lr", lr)
        check_between("weight_decay", weight_decay, 0, np.inf)
        if not params:
            raise ValueError("params must hold one parameter at least, got none.")
        self.params, self.lr, self.weight_decay = params, lr, weight_decay
        self.steps = 0
        self.state = {
            average: {name: np.zeros_like(theta) for name, theta in params.items()}
            for average in self.averages
        }

    def step(self, grads: Mapping[str, np.ndarray]) -> None:
        """Change every parameter by one step, given the gradients under the same names.

        Raises ``ValueError`` for a missing, unknown or wrongly shaped gradient, for one of another
        kind than real numbers, and for an ``lr`` that is negative or not finite, before anything
        has changed. NaN in a gradient is not looked for.
        """
        _check_rate("lr", self.lr)
        check_keys("grads", grads, self.params)
        for name, theta in self.params.items():
            _check_fits(f"grads[{name!r}]", grads[name], theta)
        self.steps += 1
        for name, theta in self.params.items():
            self._update(theta, grads[name], *(self.state[a][name] for a in self.averages))

    def _update(self, theta: np.ndarray, g: np.ndarray, *averages: Any) -> None:
        """Change ``theta`` and its running averages in place."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, np.ndarray]:
        """A copy of all that changes while training: flat names -> arrays, ready for an npz file.

        ``steps``, ``lr`` and ``AVERAGE.PARAMETER``, for instance ``exp_avg.head.weight``. The other
        settings belong to the constructor.
        """
        flat = {"steps": np.array(self.steps), "lr": np.array(self.lr)}
        return flat | {name: array.copy() for name, array in self._flat_averages().items()}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from ``state``: the next steps are those the saved optimizer would have taken.

        Raises ``ValueError`` for a missing, unknown or wrongly shaped entry, and for one that is
        negative or not finite where it cannot be, before anything has changed.
        """
        averages = self._flat_averages()
        check_keys("state", state, ["steps", "lr", *averages])
        steps, lr = (np.asarray(state[name]).tolist() for name in ("steps", "lr"))
        check_whole("state['steps']", steps, 0, np.inf)
        _check_rate("state['lr']", lr)
        loaded = {}
        for name, array in averages.items():
            _check_fits(f"state[{name!r}]", state[name], array)
            loaded[name] = np.asarray(state[name], dtype=array.dtype)
            check_finite(f"state[{name!r}]", loaded[name])
        self.steps, self.lr = steps, float(lr)
        for name, array in averages.items():
            array[...] = loaded[name]

    def _flat_averages(self) -> dict[str, np.ndarray]:
        return {
            f"{average}.{name}": array
            for average, arrays in self.state.items()
            for name, array in arrays.items()
        }


def _check_rate(name: str, lr) -> None:
    """Raise ``ValueError`` unless ``lr`` is a finite number of at least 0."""
    check_between(name, lr, 0, np.inf)
    if lr == np.inf:
        raise ValueError(f"{name} must be finite, got {lr}.")


def _check_fits(name: str, array, like: np.ndarray) -> None:
    """Raise ``ValueError`` unless ``like`` can take ``array``, by shape and kind of numbers."""
    check_shape(name, array, like.shape)
    dtype = np.asarray(array).dtype
    if not np.can_cast(dtype, like.dtype, "same_kind"):
        raise ValueError(f"{name} must fit the dtype {like.dtype}, got {dtype}.")


class SGD(Optimizer):
    """Gradient descent, with momentum and Nesterov's momentum; the same as ``torch.optim.SGD``.

        g <- g + wd theta
        m <- momentum m + g                                              m_0 = 0
        theta <- theta - lr (g + momentum m   if nesterov else   m)

    Without momentum ``m`` is ``g``. Sources: Polyak (1964), Some methods of speeding up the
    convergence of iteration methods; Sutskever, Martens, Dahl & Hinton (2013), On the importance of
    initialization and momentum in deep learning, section 2. There the learning rate sits inside
    ``m``, here outside: the two differ as soon as ``lr`` changes.
    """

    averages = ("momentum_buffer",)

    def __init__(
        self,
        params: Mapping[str, np.ndarray],
        lr: float = 1e-3,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ):
        super().__init__(params, lr, weight_decay)
        check_between("momentum", momentum, 0, 1)
        if nesterov and momentum == 0:
            raise ValueError("nesterov must come with a momentum above 0, got momentum 0.")
        self.momentum, self.nesterov = momentum, nesterov

    def _update(self, theta, g, m):
        g = g + self.weight_decay * theta
        m *= self.momentum
        m += g
        theta -= self.lr * (g + self.momentum * m if self.nesterov else m)


class RMSProp(Optimizer):
    """Each entry's gradient over its running root mean square; the same as ``torch.optim.RMSprop``.

        g <- g + wd theta
        v <- alpha v + (1 - alpha) g^2                                    v_0 = 0
        theta <- theta - lr g / (sqrt(v) + eps)

    Source: Tieleman & Hinton (2012), Lecture 6.5, Neural Networks for Machine Learning (Coursera).
    """

    averages = ("square_avg",)

    def __init__(
        self,
        params: Mapping[str, np.ndarray],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        super().__init__(params, lr, weight_decay)
        check_between("alpha", alpha, 0, 1)
        check_between("eps", eps, 0, np.inf)
        self.alpha, self.eps = alpha, eps

    def _update(self, theta, g, v):
        g = g + self.weight_decay * theta
        v *= self.alpha
        v += (1 - self.alpha) * g**2
        theta -= self.lr * g / (np.sqrt(v) + self.eps)


class Adam(Optimizer):
    """Running mean over running root mean square, both unbiased; the same as ``torch.optim.Adam``.

        g <- g + wd theta
        m <- beta1 m + (1 - beta1) g                                      m_0 = 0
        v <- beta2 v + (1 - beta2) g^2                                    v_0 = 0
        theta <- theta - lr m' / (sqrt(v') + eps)
        m' = m / (1 - beta1^t)     v' = v / (1 - beta2^t)                 t = 1, 2, ...

    Source: Kingma & Ba (2015), Adam: A Method for Stochastic Optimization, algorithm 1.
    Keras takes ``eps = 1e-7``.
    """

    averages = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: Mapping[str, np.ndarray],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        super().__init__(params, lr, weight_decay)
        if np.shape(betas) != (2,):
            raise ValueError(f"betas must be two numbers, got {betas!r}.")
        for i, beta in enumerate(betas):
            check_fraction(f"betas[{i}]", beta)
        check_between("eps", eps, 0, np.inf)
        self.betas, self.eps = betas, eps

    def _update(self, theta, g, m, v):
        self._move(theta, g + self.weight_decay * theta, m, v)

    def _move(self, theta, g, m, v):
        beta1, beta2 = self.betas
        m *= beta1
        m += (1 - beta1) * g
        v *= beta2
        v += (1 - beta2) * g**2
        m_unbiased = m / (1 - beta1**self.steps)
        v_unbiased = v / (1 - beta2**self.steps)
        theta -= self.lr * m_unbiased / (np.sqrt(v_unbiased) + self.eps)


class AdamW(Adam):
    """Adam whose weight decay bypasses the averages; the same as ``torch.optim.AdamW``.

        theta <- theta - lr wd theta,         then Adam's step with the bare gradient

    In :class:`Adam` the decay enters ``g`` and is divided by ``sqrt(v)`` like everything else, so
    that weights with large gradients decay less.
    Source: Loshchilov & Hutter (2019), Decoupled Weight Decay Regularization, algorithm 2.
    """

    def __init__(
        self,
        params: Mapping[str, np.ndarray],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ):
        super().__init__(params, lr, betas, eps, weight_decay)

    def _update(self, theta, g, m, v):
        theta *= 1 - self.lr * self.weight_decay
        self._move(theta, g, m, v)


def clip_grad_norm(grads: Mapping[str, np.ndarray], max_norm: float) -> float:
    """Shorten all gradients together, in place, to a norm of ``max_norm`` at most.

        norm = sqrt(sum over all entries of g^2)        g <- g min(1, max_norm / (norm + 1e-6))

    The direction stays. Returns the norm before clipping, as ``torch.nn.utils.clip_grad_norm_``.
    A norm that is not finite is returned as it is and nothing is changed (torch would spread the
    NaN over every gradient): whoever trains should look at it. Raises ``ValueError`` for a negative
    ``max_norm``.
    Source: Pascanu, Mikolov & Bengio (2013), On the difficulty of training recurrent neural
    networks, section 3.2, algorithm 1.
    """
    check_between("max_norm", max_norm, 0, np.inf)
    squares = [float(np.sum(g.astype(np.float64) ** 2)) for g in grads.values()]
    norm = float(np.sqrt(sum(squares)))
    scale = max_norm / (norm + 1e-6)
    if np.isfinite(norm) and scale < 1:
        for g in grads.values():
            g *= scale
    return norm


def clip_grad_value(grads: Mapping[str, np.ndarray], clip_value: float) -> None:
    """Clip every entry of every gradient, in place, to [-clip_value, clip_value].

    This changes the direction too. The same as ``torch.nn.utils.clip_grad_value_``. Raises
    ``ValueError`` for a negative ``clip_value``.
    """
    check_between("clip_value", clip_value, 0, np.inf)
    for g in grads.values():
        np.clip(g, -clip_value, clip_value, out=g)
