"""What a run leaves behind: its history, or the error that ended it."""

import math
from dataclasses import dataclass, field

import numpy as np


class TrainingDiverged(ArithmeticError):
    """The loss or the gradient became NaN or infinite. The weights are those before that step.

    Attributes:
        step: the step, counted from 0 over all epochs.
        loss, gradient_norm: as they came out at that step.
        last_gradient_norm: of the last good step, before clipping; None where there was none.
    """

    def __init__(
        self, step: int, loss: float, gradient_norm: float, last_gradient_norm: float | None
    ):
        self.step, self.loss, self.gradient_norm = step, loss, gradient_norm
        self.last_gradient_norm = last_gradient_norm
        before = (
            "there was no good step before"
            if last_gradient_norm is None
            else f"the gradient norm of the last good step was {last_gradient_norm:.3g}"
        )
        super().__init__(
            f"Training diverged at step {step}: the loss is {loss:.3g} and the gradient norm "
            f"{gradient_norm:.3g}; {before}."
        )

    def __reduce__(self):  # an exception is pickled on its way from a worker process
        return type(self), (self.step, self.loss, self.gradient_norm, self.last_gradient_norm)


@dataclass
class History:
    """What happened: lists with one entry a step or one entry an epoch.

    Attributes:
        loss: the loss of each step, before its update.
        gradient_norm: the Euclidean norm over all parameters that are moved, before clipping.
        train_loss: the mean of the epoch's step losses.
        validation_loss: after each epoch; empty without validation data.
        rate_factor: of each step again: what the schedule made of the learning rate, 1 without one.
    """

    loss: list[float] = field(default_factory=list)
    gradient_norm: list[float] = field(default_factory=list)
    train_loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    rate_factor: list[float] = field(default_factory=list)

    @property
    def epochs(self) -> int:
        """The number of epochs that were finished."""
        return len(self.train_loss)

    @property
    def best_epoch(self) -> int:
        """The epoch, from 0, whose weights were kept: of the least validation loss, or the last."""
        if not self.validation_loss:
            return self.epochs - 1
        return int(np.argmin([math.inf if math.isnan(v) else v for v in self.validation_loss]))

    def out_of_patience(self, patience: int | None) -> bool:
        """Whether ``patience`` epochs have gone by since the best one."""
        return patience is not None and self.epochs - 1 - self.best_epoch >= patience

    def last(self) -> dict[str, str]:
        """The losses of the last epoch, rounded for a progress bar."""
        lists = {"train": self.train_loss, "validation": self.validation_loss}
        return {name: f"{values[-1]:.3g}" for name, values in lists.items() if values}

    def state(self) -> dict[str, np.ndarray]:
        """The lists as arrays."""
        return {name: np.array(values) for name, values in vars(self).items()}

    @classmethod
    def from_state(cls, state: dict[str, np.ndarray]) -> "History":
        """The reverse of ``state``."""
        return cls(**{name: array.tolist() for name, array in state.items()})
