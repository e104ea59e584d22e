"""What the training loop asks of a model, answered for both families.

``ScratchAdapter`` speaks to NumPy models with a hand-written ``backward``, ``TorchAdapter`` to
``torch.nn.Module``. The loop knows neither. torch is imported only for a torch model.
"""

import inspect
import math
import sys
import types
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from rnnbook.checks import NotFiniteError, as_array, check_keys
from rnnbook.scratch.optim import clip_grad_norm
from rnnbook.tasks.batch import Batch


def adapt(model, loss: Callable, optimizer=None) -> "ScratchAdapter | TorchAdapter":
    """The adapter of the model's family.

    Raises:
        ValueError: where the model belongs to neither family, or the optimizer does not move the
            model's own parameters, or not by steps along gradients alone.
    """
    if "torch" in sys.modules and isinstance(model, sys.modules["torch"].nn.Module):
        return TorchAdapter(model, loss, optimizer)
    if all(hasattr(model, name) for name in ("params", "grads", "forward", "backward")):
        return ScratchAdapter(model, loss, optimizer)
    raise ValueError(
        "model must be a torch.nn.Module or have params, grads, forward and backward, "
        f"got {type(model).__name__}."
    )


def _arguments(batch: Batch) -> tuple:
    """What the model's forward takes."""
    return (batch.x,) if batch.lengths is None else (batch.x, batch.lengths)


def _counted(prediction, batch: Batch) -> np.ndarray | None:
    """For a loss that gets no mask: the places of the targets that count, None for all."""
    counts = batch.counts if batch.mask is None else None
    if counts is not None and tuple(prediction.shape[:2]) != counts.shape:
        raise ValueError(
            f"prediction must have first axes {counts.shape}, one for each step as the target has, "
            f"got shape {tuple(prediction.shape)}."
        )
    return counts


class ScratchAdapter:
    """A NumPy model, a loss that returns (loss, dprediction), an ``rnnbook.scratch`` optimizer."""

    def __init__(self, model, loss: Callable, optimizer):
        self.model, self.loss, self.optimizer = model, loss, optimizer
        params = model.params
        moved = {} if optimizer is None else getattr(optimizer, "params", {})
        if optimizer is not None:
            _check_own(params.values(), moved.values())
        names = {id(array): name for name, array in params.items()}
        # The optimizer may have been made from a part of the model, under the part's names.
        self.moved = {
            own: own if params.get(own) is array else names[id(array)]
            for own, array in moved.items()
        }
        self.grads: dict[str, np.ndarray] = {}

    def gradients(self, batch: Batch, max_norm: float) -> tuple[float, float]:
        """Loss and gradient norm; the gradients, clipped to ``max_norm``, wait for ``update``.

        Parameters that the optimizer does not move have no part in the norm.
        """
        self._mode(training=True)
        prediction = self._prediction(batch)
        if prediction is None:
            return math.nan, math.nan
        loss, dprediction = self._loss(prediction, batch)
        self.model.backward(dprediction)
        grads = self.model.grads
        self.grads = {own: grads[name] for own, name in self.moved.items() if name in grads}
        return float(loss), clip_grad_norm(self.grads, max_norm)

    def update(self) -> None:
        """One step of the optimizer along the gradients."""
        self.optimizer.step(self.grads)

    def evaluate(self, batch: Batch) -> float:
        """The loss in evaluation mode, which stays on."""
        self._mode(training=False)
        prediction = self._prediction(batch)
        return math.nan if prediction is None else float(self._loss(prediction, batch)[0])

    def _prediction(self, batch: Batch) -> np.ndarray | None:
        """None where one part of the model gave the next one infinity or NaN."""
        try:
            return self.model.forward(*_arguments(batch))
        except NotFiniteError:
            if np.isfinite(batch.x).all():
                return None
            raise

    def _loss(self, prediction: np.ndarray, batch: Batch) -> tuple[float, np.ndarray]:
        if batch.mask is not None:
            return self.loss(prediction, batch.target, batch.mask)
        counts = _counted(prediction, batch)
        if counts is None:
            return self.loss(prediction, batch.target)
        loss, gradient = self.loss(prediction[counts], batch.target[counts])
        dprediction = np.zeros_like(prediction)
        dprediction[counts] = gradient
        return loss, dprediction

    def _mode(self, training: bool) -> None:
        if hasattr(self.model, "train"):
            self.model.train(training)

    @contextmanager
    def mode_kept(self) -> Iterator[None]:
        """At the end every part is in the mode, training or evaluation, in which it was."""
        before = [(part, part.training) for _, part in _modules(self.model)]
        try:
            yield
        finally:
            self._mode(training=True)
            for part, training in before:  # a whole comes before its parts
                part.train(training)

    def learning_rates(self) -> list[float]:
        """One for each parameter group: here one."""
        return [float(self.optimizer.lr)]

    def set_learning_rates(self, rates: list[float]) -> None:
        """The reverse of ``learning_rates``."""
        (self.optimizer.lr,) = rates

    def settings(self) -> dict[str, Any]:
        """Under one name each, all of the model and the optimizer that decides how a run goes on
        and never changes on the way."""
        found: dict[str, Any] = {"optimizer": type(self.optimizer).__name__}
        for name, value in vars(self.optimizer).items():
            if name not in ("params", "state", "steps"):
                found[f"optimizer's {name}"] = _plain(value)
        for path, part in _modules(self.model):
            found |= _described(path, part)
        moved = {name: number for number, name in enumerate(self.moved.values())}
        for name, array in self.model.params.items():
            found[f"model's {name}"] = _place(array.dtype, moved.get(name))
        return found

    def weights(self) -> dict[str, np.ndarray]:
        """Copies of all parameters."""
        return {name: array.copy() for name, array in self.model.params.items()}

    def load_weights(self, weights: dict[str, np.ndarray]) -> None:
        """Write parameters in place, for the optimizer holds the same arrays."""
        check_keys("checkpoint", weights, self.model.params)
        for name, array in self.model.params.items():
            array[...] = weights[name]

    def state(self) -> dict:
        """All that changes while training, but the weights: a tree for ``checkpoint``."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "generators": [g.bit_generator.state for g in generators(self.model)],
        }

    def load_state(self, state: dict) -> None:
        """The reverse of ``state``."""
        self.optimizer.load_state_dict(state["optimizer"])
        for generator, saved in zip(generators(self.model), state["generators"], strict=True):
            generator.bit_generator.state = saved


class TorchAdapter:
    """An ``nn.Module``, a loss that returns a scalar tensor, a ``torch.optim`` optimizer."""

    def __init__(self, model, loss: Callable, optimizer):
        import torch

        self.torch, self.model, self.loss, self.optimizer = torch, model, loss, optimizer
        parameters = list(model.parameters())
        groups = getattr(optimizer, "param_groups", [])
        self.moved = [parameter for group in groups for parameter in group["params"]]
        if optimizer is not None:
            _check_own(parameters, [p for p in self.moved if p.requires_grad])
            _check_steps_alone(optimizer)
            self._check_epsilons()
        self.device = parameters[0].device if parameters else torch.device("cpu")
        self.dtype = next((p.dtype for p in parameters if p.is_floating_point()), None)

    def _check_epsilons(self) -> None:
        """A divisor that is rounded to 0 is told now, not as divergence after the first step."""
        for group in self.optimizer.param_groups:
            eps = float(group["eps"]) if isinstance(group.get("eps"), int | float) else 0.0
            for dtype in {p.dtype for p in group["params"] if p.is_floating_point()}:
                if eps > 0 and not self.torch.tensor(eps, dtype=dtype) > 0:
                    raise ValueError(
                        f"optimizer's eps must be above 0 in {dtype} too, "
                        f"got {eps}, which is rounded to 0."
                    )

    def _tensor(self, array: np.ndarray):
        """On the model's device; numbers in its dtype, whole ones as torch.nn wants them."""
        dtype = {"f": self.dtype, "b": None}.get(array.dtype.kind, self.torch.int64)
        if not array.flags.writeable:  # or torch warns
            array = array.copy()
        return self.torch.as_tensor(array, device=self.device, dtype=dtype)

    def _loss(self, batch: Batch):
        prediction = self.model(*map(self._tensor, _arguments(batch)))
        target = self._tensor(batch.target)
        if batch.mask is not None:
            return self.loss(prediction, target, self._tensor(batch.mask))
        counts = _counted(prediction, batch)
        if counts is None:
            return self.loss(prediction, target)
        places = self._tensor(counts)
        return self.loss(prediction[places], target[places])

    def gradients(self, batch: Batch, max_norm: float) -> tuple[float, float]:
        """Loss and gradient norm; the gradients, clipped to ``max_norm``, wait for ``update``.

        Parameters that the optimizer does not move have no part in the norm.
        """
        self.model.train()
        self.model.zero_grad(set_to_none=True)
        loss = self._loss(batch)
        loss.backward()
        norm = self.torch.nn.utils.clip_grad_norm_(self.moved, max_norm)
        return float(loss.detach()), float(norm)

    def update(self) -> None:
        """One step of the optimizer along the gradients."""
        self.optimizer.step()

    def evaluate(self, batch: Batch) -> float:
        """The loss in evaluation mode, which stays on, without a graph."""
        self.model.eval()
        with self.torch.no_grad():
            return float(self._loss(batch))

    @contextmanager
    def mode_kept(self) -> Iterator[None]:
        """At the end every part is in the mode, training or evaluation, in which it was."""
        before = [(module, module.training) for module in self.model.modules()]
        try:
            yield
        finally:
            for module, training in before:
                module.training = training

    def learning_rates(self) -> list[float]:
        """One for each parameter group."""
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def set_learning_rates(self, rates: list[float]) -> None:
        """The reverse of ``learning_rates``."""
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            if self.torch.is_tensor(group["lr"]):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def settings(self) -> dict[str, Any]:
        """Under one name each, all of the model and the optimizer that decides how a run goes on
        and never changes on the way."""
        found: dict[str, Any] = {"optimizer": type(self.optimizer).__name__}
        moved: dict[int, str] = {}
        for number, group in enumerate(self.optimizer.param_groups):
            label = "optimizer's" if number == 0 else f"optimizer's group {number}'s"
            for name, value in group.items():
                if name != "params":
                    found[f"{label} {name}"] = _plain(value)
            moved |= {id(p): f"{number}.{place}" for place, p in enumerate(group["params"])}
        for path, module in self.model.named_modules():
            found |= _described(f"model.{path}".rstrip("."), module)
        for name, parameter in self.model.named_parameters():
            place = moved.get(id(parameter)) if parameter.requires_grad else None
            found[f"model's {name}"] = _place(parameter.dtype, place)
        return found

    def weights(self) -> dict[str, np.ndarray]:
        """Copies of all parameters and buffers."""
        return self._arrays(dict(self.model.state_dict()))

    def load_weights(self, weights: dict[str, np.ndarray]) -> None:
        """Write parameters and buffers in place."""
        check_keys("checkpoint", weights, self.model.state_dict())
        self.model.load_state_dict(self._tensors(weights))

    def state(self) -> dict:
        """All that changes while training, but the weights: a tree for ``checkpoint``."""
        cuda = self.device.type == "cuda"
        return self._arrays(
            {
                "optimizer": self.optimizer.state_dict(),
                "generators": [g.get_state() for g in self._generators()],
                "cpu": self.torch.get_rng_state(),  # nn.Dropout draws from these two
                "cuda": self.torch.cuda.get_rng_state(self.device) if cuda else None,
            }
        )

    def load_state(self, state: dict) -> None:
        """The reverse of ``state``."""
        state = self._tensors(state)
        self.optimizer.load_state_dict(state["optimizer"])
        for generator, saved in zip(self._generators(), state["generators"], strict=True):
            generator.set_state(saved)
        self.torch.set_rng_state(state["cpu"])
        if self.device.type == "cuda" and state["cuda"] is not None:
            self.torch.cuda.set_rng_state(state["cuda"], self.device)

    def _generators(self) -> list:
        held = (value for module in self.model.modules() for value in vars(module).values())
        return [value for value in held if isinstance(value, self.torch.Generator)]

    def _arrays(self, tree):
        """The tree with copies of its tensors as arrays."""
        return _map(
            tree, lambda leaf: as_array(leaf).copy() if self.torch.is_tensor(leaf) else leaf
        )

    def _tensors(self, tree):
        """The tree with copies of its arrays as tensors."""
        return _map(
            tree,
            lambda leaf: self.torch.tensor(leaf) if isinstance(leaf, np.ndarray) else leaf,
        )


def generators(model) -> list[np.random.Generator]:
    """Every generator that a NumPy model holds (dropout's, say), at any depth, each once."""
    return [part for _, part in _parts(model) if isinstance(part, np.random.Generator)]


def _parts(value, path: str = "model", seen: set[int] | None = None) -> Iterator[tuple[str, Any]]:
    """Every object that a NumPy model holds, at any depth, each once, with the way to it."""
    seen = set() if seen is None else seen
    if id(value) in seen or isinstance(value, types.ModuleType | type):
        return
    seen.add(id(value))
    inside: Any = ()
    if isinstance(value, dict):
        inside = value.items()
    elif isinstance(value, list | tuple):
        inside = enumerate(value)
    elif isinstance(value, np.random.Generator):
        yield path, value
    elif hasattr(value, "__dict__"):
        yield path, value
        inside = vars(value).items()
    for name, item in inside:
        yield from _parts(item, f"{path}.{name}", seen)


def _modules(model) -> Iterator[tuple[str, Any]]:
    """The parts of a NumPy model that have a mode, with the way to each."""
    for path, part in _parts(model):
        if hasattr(part, "train") and hasattr(part, "training"):
            yield path, part


def _described(path: str, module) -> dict[str, Any]:
    """The class of a part of a model and its settings: numbers, words, switches.

    Whole numbers are left out: they are sizes, seen in the weights, or counters.
    """
    settings = {
        f"{path}'s {name}": _plain(value)
        for name, value in vars(module).items()
        if isinstance(value, bool | float | np.floating | str) and not name.startswith("_")
    }
    settings.pop(f"{path}'s training", None)
    return {path: type(module).__name__} | settings


def _plain(value) -> Any:
    """A setting as a checkpoint can hold it."""
    if hasattr(value, "tolist"):  # an array, a tensor, or one of their numbers
        return _plain(value.tolist())
    if isinstance(value, tuple | list):
        return tuple(map(_plain, value))
    if isinstance(value, bool | int | float | str | None):
        return value
    return getattr(value, "__qualname__", type(value).__qualname__)


def _place(dtype, place) -> str:
    return f"{dtype}, " + ("not moved" if place is None else f"number {place} of the optimizer")


def _map(tree, change: Callable):
    if isinstance(tree, dict):
        return {key: _map(item, change) for key, item in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(_map(item, change) for item in tree)
    return change(tree)


def _check_own(own: Collection, moved: Collection) -> None:
    strangers = set(map(id, moved)) - set(map(id, own))
    if strangers or not moved:
        raise ValueError(
            "optimizer must be made from the model's own parameters, "
            "got one that moves no or other arrays."
        )


def _check_steps_alone(optimizer) -> None:
    """Raise ``ValueError`` where a step asks for a function that gives the loss again."""
    closure = inspect.signature(type(optimizer).step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise ValueError(
            "optimizer must take its step along given gradients, "
            f"got {type(optimizer).__name__}, which asks for the loss more than once."
        )
