"""What the training loop asks of a model, answered for both families.

``ScratchAdapter`` speaks to NumPy models with a hand-written ``backward``, ``TorchAdapter`` to
``torch.nn.Module``. The loop in ``rnnbook.train`` knows neither. torch is imported only for a torch
model.
"""

import math
import sys
import types
from collections.abc import Callable, Collection, Iterator

import numpy as np

from rnnbook.checks import NotFiniteError, check_keys
from rnnbook.scratch.optim import clip_grad_norm
from rnnbook.tasks.batch import Batch


def adapt(model, loss: Callable, optimizer=None) -> "ScratchAdapter | TorchAdapter":
    """The adapter of the model's family.

    Raises:
        ValueError: where the model belongs to neither family, or the optimizer does not move the
            model's own parameters.
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


def _wanted(batch: Batch) -> tuple:
    """What the loss takes after the prediction."""
    return (batch.target,) if batch.mask is None else (batch.target, batch.mask)


class ScratchAdapter:
    """A NumPy model, a loss that returns (loss, dprediction), an ``rnnbook.scratch`` optimizer."""

    def __init__(self, model, loss: Callable, optimizer):
        self.model, self.loss, self.optimizer = model, loss, optimizer
        if optimizer is not None:
            _check_own(model.params.values(), getattr(optimizer, "params", {}).values())

    def gradients(self, batch: Batch, max_norm: float) -> tuple[float, float]:
        """Loss and gradient norm; the gradients, clipped to ``max_norm``, stay in the model."""
        self._mode(training=True)
        prediction = self._prediction(batch)
        if prediction is None:
            return math.nan, math.nan
        loss, dprediction = self.loss(prediction, *_wanted(batch))
        self.model.backward(dprediction)
        return float(loss), clip_grad_norm(self.model.grads, max_norm)

    def update(self) -> None:
        """One step of the optimizer along the gradients."""
        self.optimizer.step(self.model.grads)

    def evaluate(self, batch: Batch) -> float:
        """The loss in evaluation mode."""
        self._mode(training=False)
        prediction = self._prediction(batch)
        self._mode(training=True)
        return math.nan if prediction is None else float(self.loss(prediction, *_wanted(batch))[0])

    def _prediction(self, batch: Batch) -> np.ndarray | None:
        """None where one part of the model gave the next one infinity or NaN."""
        try:
            return self.model.forward(*_arguments(batch))
        except NotFiniteError:
            if np.isfinite(batch.x).all():
                return None
            raise

    def _mode(self, training: bool) -> None:
        if hasattr(self.model, "train"):
            self.model.train(training)

    def learning_rates(self) -> list[float]:
        """One for each parameter group: here one."""
        return [self.optimizer.lr]

    def set_learning_rates(self, rates: list[float]) -> None:
        """The reverse of ``learning_rates``."""
        (self.optimizer.lr,) = rates

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
        self.parameters = list(model.parameters())
        if optimizer is not None:
            groups = getattr(optimizer, "param_groups", [])
            _check_own(self.parameters, [p for group in groups for p in group["params"]])
        self.device = self.parameters[0].device
        self.dtype = next((p.dtype for p in self.parameters if p.is_floating_point()), None)

    def _tensor(self, array: np.ndarray):
        floating = np.issubdtype(array.dtype, np.floating)
        return self.torch.as_tensor(
            array, device=self.device, dtype=self.dtype if floating else None
        )

    def _loss(self, batch: Batch):
        prediction = self.model(*map(self._tensor, _arguments(batch)))
        return self.loss(prediction, *map(self._tensor, _wanted(batch)))

    def gradients(self, batch: Batch, max_norm: float) -> tuple[float, float]:
        """Loss and gradient norm; the gradients, clipped to ``max_norm``, stay in the model."""
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._loss(batch)
        loss.backward()
        norm = self.torch.nn.utils.clip_grad_norm_(self.parameters, max_norm)
        return float(loss.detach()), float(norm)

    def update(self) -> None:
        """One step of the optimizer along the gradients."""
        self.optimizer.step()

    def evaluate(self, batch: Batch) -> float:
        """The loss in evaluation mode, without a graph."""
        self.model.eval()
        with self.torch.no_grad():
            loss = float(self._loss(batch))
        self.model.train()
        return loss

    def learning_rates(self) -> list[float]:
        """One for each parameter group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def set_learning_rates(self, rates: list[float]) -> None:
        """The reverse of ``learning_rates``."""
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate

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
            tree,
            lambda leaf: leaf.detach().cpu().numpy().copy() if self.torch.is_tensor(leaf) else leaf,
        )

    def _tensors(self, tree):
        """The tree with copies of its arrays as tensors."""
        return _map(
            tree,
            lambda leaf: self.torch.tensor(leaf) if isinstance(leaf, np.ndarray) else leaf,
        )


def generators(model) -> list[np.random.Generator]:
    """Every generator that a NumPy model holds (dropout's, say), at any depth, each once."""
    return list(_generators(model, set()))


def _generators(value, seen: set[int]) -> Iterator[np.random.Generator]:
    if id(value) in seen or isinstance(value, types.ModuleType):
        return
    seen.add(id(value))
    if isinstance(value, np.random.Generator):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _generators(item, seen)
    elif hasattr(value, "__dict__"):
        yield from _generators(vars(value), seen)


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
