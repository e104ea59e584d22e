"""Learning-rate schedules: functions that turn a step into a factor (``gradient_descent``).

    optimizer.lr = base_lr * schedule(step)             step = 0, 1, 2, ...

What a step is, an update or an epoch, is for the caller to say. Each equals the scheduler of
``torch.optim.lr_scheduler`` that its docstring names.
"""

import math
from collections.abc import Callable

from rnnbook.checks import check_between, check_positive

Schedule = Callable[[int], float]


def constant() -> Schedule:
    """``factor = 1``, always."""
    return lambda step: 1.0


def step_decay(step_size: int, gamma: float = 0.1) -> Schedule:
    """``factor = gamma^floor(step / step_size)``; the same as ``StepLR``.

    Raises ``ValueError`` unless ``step_size`` is a whole number of at least 1 and ``gamma`` lies in
    [0, 1].
    """
    step_size = check_positive("step_size", step_size)
    gamma = check_between("gamma", gamma, 0, 1)
    return lambda step: gamma ** (step // step_size)


def cosine(steps: int, floor: float = 0.0) -> Schedule:
    """From 1 to ``floor`` within ``steps`` along half a cosine, then ``floor``.

        factor = floor + (1 - floor) (1 + cos(pi min(step, steps) / steps)) / 2

    The same as ``CosineAnnealingLR(T_max=steps, eta_min=floor * base_lr)`` up to ``steps``; beyond
    them torch's rises again. Raises ``ValueError`` unless ``steps`` is a whole number of at least 1
    and ``floor`` in [0, 1].
    Source: Loshchilov & Hutter (2017), SGDR: Stochastic Gradient Descent with Warm Restarts,
    section 3, equation (5).
    """
    steps, floor = check_positive("steps", steps), check_between("floor", floor, 0, 1)
    gap = 1 - floor
    return lambda step: floor + gap * (1 + math.cos(math.pi * min(step / steps, 1))) / 2


def warm_up(steps: int, start: float = 1 / 3, then: Schedule | None = None) -> Schedule:
    """From ``start`` to 1 along a line within ``steps``, then ``then``, which starts at its own 0.

        factor = start + (1 - start) step / steps           for step < steps
        factor = then(step - steps)                         from there on (1 without ``then``)

    The same as ``LinearLR(start_factor=start, total_iters=steps)``, with ``then`` as the second of
    a ``SequentialLR``. Raises ``ValueError`` unless ``steps`` is a whole number of at least 1 and
    ``start`` in [0, 1]; a ``start`` of 0 makes the first step do nothing.
    Source: Goyal et al. (2017), Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour,
    section 2.2.
    """
    steps, start = check_positive("steps", steps), check_between("start", start, 0, 1)
    then = then or constant()
    return lambda step: start + (1 - start) * step / steps if step < steps else then(step - steps)
