"""The loop: ``fit`` and ``evaluate``."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from rnnbook.checks import check_between, check_generator, check_positive
from rnnbook.progress import progress_bar
from rnnbook.tasks.batch import Batch
from rnnbook.train.adapters import adapt
from rnnbook.train.history import History, TrainingDiverged
from rnnbook.train.run import Run, described, factor, named


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
        loss: called with prediction and target, and with the mask where the batch has one. Where
            it has lengths, a target for each step, and no mask, the loss sees the N steps that are
            no padding: prediction and target (N, ...). Returns (loss, dprediction) for a NumPy
            model, a scalar tensor for a torch model.
        optimizer: of ``rnnbook.scratch.optim`` or ``torch.optim``, made from the model's arrays.
            Made from some of them, it leaves the others as they are: they are frozen, and their
            gradients have no part in the norm.
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
        checkpoint: a file, written after each epoch. Without ``resume`` an earlier checkpoint of
            this name is replaced at the end of the first epoch; another file never is.
        resume: continue from ``checkpoint`` where it exists, else start. All that decides how a run
            goes on must be as it was: data and validation data to the last bit, batch size, loss
            (by name), optimizer and its settings with the learning rate, max_norm, the model's
            parts, their switches and number types, which parameters are moved. A longer
            ``epochs``, another ``patience``, and a schedule that gives the steps so far the same
            factors are taken on.
        progress: show a bar, if standard output and error are terminals and tqdm is installed.

    While it runs, the model is in training mode but for the validation; at the end it is in the
    mode in which it was, also where this raises.

    Returns:
        the history, from the very start also where a run is resumed.
    Raises:
        TrainingDiverged: at the first loss or gradient norm that is NaN or infinite.
        ValueError: for wrong arguments, and for a checkpoint of another run, naming what differs,
            before anything has changed.
        TypeError: where model or optimizer hold what a checkpoint cannot, before the first step.
    """
    rng = np.random.default_rng() if rng is None else rng
    _check(data, epochs, batch_size, steps_per_epoch, rng, validation, patience, max_norm)
    if resume and checkpoint is None:
        raise ValueError("checkpoint must name a file where resume is True, got None.")
    adapter = adapt(model, loss, optimizer)
    steps = math.ceil(len(data) / batch_size) if isinstance(data, Batch) else steps_per_epoch
    assert steps is not None  # _check has seen to it
    rates = adapter.learning_rates()
    history, best, run = History(), None, None
    if checkpoint is not None:
        settings = {
            "validation": described(validation),
            "batch_size": batch_size,
            "steps_per_epoch": steps,
            "data": described(data),
            "loss": named(loss),
            "max_norm": float(max_norm),
        }
        run = Run(checkpoint, settings, adapter, rng, schedule)
        history, best = run.begin(resume, epochs)

    bar = progress_bar(epochs * steps, done=history.epochs * steps, show=progress)
    try:
        with adapter.mode_kept():
            while history.epochs < epochs and not history.out_of_patience(patience):
                for batch in _epoch(data, batch_size, steps, rng):
                    step = len(history.loss)
                    rate_factor = factor(schedule, step)
                    if schedule is not None:
                        adapter.set_learning_rates([rate * rate_factor for rate in rates])
                    step_loss, norm = adapter.gradients(batch, max_norm)
                    if not (math.isfinite(step_loss) and math.isfinite(norm)):
                        last = history.gradient_norm[-1] if history.gradient_norm else None
                        raise TrainingDiverged(step, step_loss, norm, last)
                    adapter.update()
                    history.loss.append(step_loss)
                    history.gradient_norm.append(norm)
                    history.rate_factor.append(rate_factor)
                    bar.update()
                history.train_loss.append(float(np.mean(history.loss[-steps:])))
                if validation is not None:
                    history.validation_loss.append(_evaluate(adapter, validation, batch_size))
                    if history.best_epoch == history.epochs - 1:
                        best = adapter.weights()
                bar.set_postfix(**history.last())
                if run is not None:
                    run.save(history, best)
    finally:
        bar.close()
        adapter.set_learning_rates(rates)
    if best is not None:
        adapter.load_weights(best)
    return history


def evaluate(model, data: Batch, *, loss: Callable, batch_size: int = 256) -> float:
    """The mean loss over all targets of ``data``, or all that count, in evaluation mode.

    Arguments as for ``fit``. The model is left in the mode in which it was. Raises ``ValueError``
    for wrong arguments and for data without a target that counts.
    """
    check_positive("batch_size", batch_size)
    _check_batch("data", data)
    adapter = adapt(model, loss)
    with adapter.mode_kept():
        return _evaluate(adapter, data, batch_size)


def _evaluate(adapter, data: Batch, batch_size: int) -> float:
    losses, weights = [], []
    for start in range(0, len(data), batch_size):
        part = data.take(slice(start, start + batch_size))
        counts = part.counts
        weight = len(part) if counts is None else int(counts.sum())
        if weight:
            losses.append(adapter.evaluate(part))
            weights.append(weight)
    return float(np.average(losses, weights=weights))


def _epoch(data, batch_size: int, steps: int, rng: np.random.Generator):
    if isinstance(data, Batch):
        order = rng.permutation(len(data))
        for start in range(0, len(data), batch_size):
            yield data.take(order[start : start + batch_size])
    else:
        for _ in range(steps):
            batch = data(rng)
            _check_batch("what data returns", batch)
            yield batch


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
    if isinstance(data, Batch):
        _check_batch("data", data)
        if data.mask is not None:
            _check_minibatches(data.mask, batch_size)
    if validation is not None:
        _check_batch("validation", validation)
    if patience is not None and validation is None:
        raise ValueError("validation must be given where patience is, got None.")


def _check_batch(name: str, batch) -> None:
    """Raise ``ValueError`` unless ``batch`` is a Batch with a target that counts."""
    if not isinstance(batch, Batch):
        raise ValueError(f"{name} must be a Batch, got {type(batch).__name__}.")
    if len(batch) == 0:
        raise ValueError(f"{name} must hold one sequence at least, got none.")
    if batch.mask is not None and not batch.mask.any():
        raise ValueError(f"{name} must hold one target that counts at least, got a mask of False.")


def _check_minibatches(mask: np.ndarray, batch_size: int) -> None:
    """Raise ``ValueError`` where a minibatch could turn out to have no target that counts."""
    empty = np.flatnonzero(~mask.reshape(len(mask), -1).any(axis=1))
    smallest = len(mask) % batch_size or batch_size
    if len(empty) >= smallest:
        raise ValueError(
            "data must hold a target that counts in every minibatch, "
            f"got sequence {int(empty[0])} without one and minibatches of {smallest}."
        )
