"""One training loop for both families (chapters from ``gradient_descent`` on).

    for each step:   loss, gradients  ->  clip  ->  optimizer      (stop at NaN or infinity)
    for each epoch:  validation  ->  best weights  ->  checkpoint  ->  patience

All that decides the future of a run (weights, optimizer, order of the data, every generator in the
model, history) is in the checkpoint, so a run that was killed continues bit for bit.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rnnbook.adapters import adapt
from rnnbook.checkpoint import check_alike, load_tree, save_tree
from rnnbook.checks import (
    check_between,
    check_generator,
    check_positive,
    check_shape,
)
from rnnbook.progress import progress_bar
from rnnbook.tasks.batch import Batch


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
    """What happened: lists with one entry a step, then lists with one entry an epoch.

    Attributes:
        loss: the loss of each step, before its update.
        gradient_norm: the Euclidean norm over all parameters, before clipping.
        train_loss: the mean of the epoch's step losses.
        validation_loss: after each epoch; empty without validation data.
    """

    loss: list[float] = field(default_factory=list)
    gradient_norm: list[float] = field(default_factory=list)
    train_loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)

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


def fit(
    model,
    data: Batch | Callable[[np.random.Generator], Batch],
    *,
    loss: Callable,
    optimizer,
    epochs: int,
    batch_size: int = 32,
    steps_per_epoch: int | None = None,
    rng: np.random.Generator | None = None,
    validation: Batch | None = None,
    patience: int | None = None,
    max_norm: float = math.inf,
    schedule: Callable[[int], float] | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
) -> History:
    """Train ``model`` in place.

    Args:
        model: a ``torch.nn.Module``, or a NumPy model with ``params``, ``grads``, ``forward`` and
            ``backward``. It is called with x, and with lengths where the batch has them.
        data: a ``Batch``, gone through once an epoch in a new random order; or a function from a
            generator to a fresh ``Batch`` for each step.
        loss: called with prediction and target, and with the mask where the batch has one. Returns
            (loss, dprediction) for a NumPy model, a scalar tensor for a torch model.
        optimizer: of ``rnnbook.scratch.optim`` or ``torch.optim``, made from the model's arrays.
        epochs: the most epochs, counted from the very start also where a run is resumed.
        batch_size: sequences for each step; the last step of an epoch may have fewer.
        steps_per_epoch: how many steps make an epoch where data is a function.
        rng: the order of the data, and the generator that a data function gets.
        validation: its loss is taken after each epoch. The best weights are kept and are those of
            the model at the end; without it the model keeps the last ones.
        patience: stop after so many epochs without a new least validation loss.
        max_norm: gradients are shortened to this norm (Pascanu, Mikolov & Bengio, "On the
            difficulty of training recurrent neural networks", ICML 2013).
        schedule: step -> factor on the optimizer's learning rate (``rnnbook.scratch.schedules``).
        checkpoint: a file, written after each epoch.
        resume: continue from ``checkpoint`` where it exists, else start.
        progress: show a bar, if standard output and error are terminals and tqdm is installed.

    Returns:
        the history, from the very start also where a run is resumed.
    Raises:
        TrainingDiverged: at the first loss or gradient norm that is NaN or infinite.
        ValueError: for wrong arguments, and for a checkpoint of another run or another model,
            before anything has changed.
    """
    rng = np.random.default_rng() if rng is None else rng
    _check(data, epochs, batch_size, steps_per_epoch, rng, validation, patience, max_norm)
    if resume and checkpoint is None:
        raise ValueError("checkpoint must name a file where resume is True, got None.")
    adapter = adapt(model, loss, optimizer)
    sequences = len(data) if isinstance(data, Batch) else None
    steps = steps_per_epoch if sequences is None else math.ceil(sequences / batch_size)
    assert steps is not None  # _check has seen to it
    run = {
        "optimizer": type(optimizer).__name__,
        "steps_per_epoch": steps,
        "sequences": sequences,
    }

    history, base_rates = History(), adapter.learning_rates()
    best = None
    if resume and checkpoint is not None and Path(checkpoint).exists():
        saved = load_tree(checkpoint)
        _check_same_run(saved, _tree(run, adapter, best, rng, history, base_rates), optimizer)
        history, base_rates = History.from_state(saved["history"]), saved["base_rates"]
        best = saved["best"]
        adapter.load_state(saved["state"])  # first, for the optimizer looks at every number
        adapter.load_weights(saved["weights"])
        rng.bit_generator.state = saved["rng"]

    bar = progress_bar(epochs * steps, done=history.epochs * steps, show=progress)
    try:
        while history.epochs < epochs and not _out_of_patience(history, patience):
            for batch in _epoch(data, batch_size, steps, rng):
                if schedule is not None:
                    factor = schedule(len(history.loss))
                    adapter.set_learning_rates([rate * factor for rate in base_rates])
                step_loss, norm = adapter.gradients(batch, max_norm)
                if not (math.isfinite(step_loss) and math.isfinite(norm)):
                    last = history.gradient_norm[-1] if history.gradient_norm else None
                    raise TrainingDiverged(len(history.loss), step_loss, norm, last)
                adapter.update()
                history.loss.append(step_loss)
                history.gradient_norm.append(norm)
                bar.update()
            history.train_loss.append(float(np.mean(history.loss[-steps:])))
            if validation is not None:
                history.validation_loss.append(_evaluate(adapter, validation, batch_size))
                if history.best_epoch == history.epochs - 1:
                    best = adapter.weights()
            bar.set_postfix(**history.last())
            if checkpoint is not None:
                save_tree(checkpoint, _tree(run, adapter, best, rng, history, base_rates))
    finally:
        bar.close()
        adapter.set_learning_rates(base_rates)
    if best is not None:
        adapter.load_weights(best)
    return history


def evaluate(model, data: Batch, *, loss: Callable, batch_size: int = 256) -> float:
    """The mean loss over all targets of ``data`` (over all unmasked ones), in evaluation mode.

    Arguments as for ``fit``. The model stays in training mode.
    """
    check_positive("batch_size", batch_size)
    return _evaluate(adapt(model, loss), data, batch_size)


def _evaluate(adapter, data: Batch, batch_size: int) -> float:
    losses, weights = [], []
    for start in range(0, len(data), batch_size):
        part = data.take(slice(start, start + batch_size))
        losses.append(adapter.evaluate(part))
        weights.append(len(part) if part.mask is None else part.mask.sum())
    return float(np.average(losses, weights=weights))


def _epoch(data, batch_size: int, steps: int, rng: np.random.Generator):
    if isinstance(data, Batch):
        order = rng.permutation(len(data))
        for start in range(0, len(data), batch_size):
            yield data.take(order[start : start + batch_size])
    else:
        for _ in range(steps):
            yield data(rng)


def _out_of_patience(history: History, patience: int | None) -> bool:
    return patience is not None and history.epochs - 1 - history.best_epoch >= patience


def _check(data, epochs, batch_size, steps_per_epoch, rng, validation, patience, max_norm) -> None:
    if not isinstance(data, Batch) and not callable(data):
        raise ValueError(f"data must be a Batch or a function, got {type(data).__name__}.")
    if isinstance(data, Batch) != (steps_per_epoch is None):
        raise ValueError(
            "steps_per_epoch must be given where data is a function, and only there, "
            f"got {steps_per_epoch}."
        )
    for name, value in {
        "epochs": epochs,
        "batch_size": batch_size,
        "steps_per_epoch": steps_per_epoch,
        "patience": patience,
    }.items():
        if value is not None:
            check_positive(name, value)
    check_generator("rng", rng)
    check_between("max_norm", max_norm, 0, math.inf)
    if validation is not None and not isinstance(validation, Batch):
        raise ValueError(f"validation must be a Batch, got {type(validation).__name__}.")
    if patience is not None and validation is None:
        raise ValueError("validation must be given where patience is, got None.")


def _tree(run, adapter, best, rng, history, base_rates) -> dict:
    """What a checkpoint holds."""
    return {
        "run": run,
        "weights": adapter.weights(),
        "best": best,
        "state": adapter.state(),
        "rng": rng.bit_generator.state,
        "history": history.state(),
        "base_rates": base_rates,
    }


def _check_same_run(saved, own: dict, optimizer) -> None:
    """Raise ``ValueError`` unless all of ``saved`` can be loaded where ``own`` is now."""
    check_alike("checkpoint", saved, dict.fromkeys(own))
    check_alike("checkpoint's run", saved["run"], dict.fromkeys(own["run"]))
    for name, value in own["run"].items():
        if saved["run"][name] != value:
            raise ValueError(
                f"checkpoint must be of the same run, got one with {name} "
                f"{saved['run'][name]} where this has {value}."
            )
    state = dict(own["state"])
    if "cuda" in state:  # of another device it is not loaded
        state["cuda"] = None
    if hasattr(optimizer, "param_groups"):  # of torch.optim, empty before the first step
        state["optimizer"] = {"state": None, "param_groups": None}
    best = None if saved["best"] is None else own["weights"]
    expected = own | {"best": best, "state": state, "history": dict.fromkeys(own["history"])}
    for name, like in expected.items():
        check_alike(f"checkpoint's {name}", saved[name], like)
    if hasattr(optimizer, "param_groups"):
        _check_groups(saved["state"]["optimizer"], optimizer.param_groups)


def _check_groups(saved: dict, groups: list[dict]) -> None:
    """Raise ``ValueError`` unless a state of ``torch.optim`` belongs to such parameter groups."""
    wanted, came = (
        [len(group["params"]) for group in some] for some in (groups, saved["param_groups"])
    )
    if came != wanted:
        raise ValueError(
            f"checkpoint's optimizer must have parameter groups of sizes {wanted}, got {came}."
        )
    parameters = [parameter for group in groups for parameter in group["params"]]
    for number, averages in saved["state"].items():
        for name, array in averages.items():
            if np.size(array) > 1 and 1 not in array.shape:  # neither a counter nor Adafactor's
                label = f"checkpoint's {name} of the optimizer's parameter {number}"
                check_shape(label, array, parameters[number].shape)
