"""Many models of one kind, trained at once by ``torch.func.vmap`` (``efficient_training``).

A small network leaves most of a machine idle: its steps cost more in calls than in arithmetic. S of
them, of S seeds, have the same shapes and do the same operations. So their weights are stacked, and
one call works on all of them:

    one model     weight (n, m)          loss ()      gradient (n, m)
    S of them     weight (S, n, m)       loss (S,)    gradient (S, n, m)

No model's gradient has a part in another's. S is the number of models.
"""

import copy
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap

from rnnbook.checks import check_between


class Ensemble:
    """S models that are trained side by side, each as if it were alone.

        ensemble = Ensemble([build(seed) for seed in range(S)])
        optimizer = torch.optim.Adam(ensemble.parameters(), lr=0.01)
        losses = ensemble.gradients(loss, x, target)               (S,)
        optimizer.step()

    Losses and gradients are those of a model alone up to rounding: the products of S matrices at
    once may add in another order than S products. An optimizer that works number by number (SGD,
    Adam, AdamW) then takes the steps that S optimizers would take.

    Args:
        models: equal but for their numbers, and called with ``x`` alone. What is stacked are copies
            of their weights. They hold torch's own operations, or ``rnnbook.pytorch``'s plain
            layers: those that are one ``autograd.Function`` (the fused ones, the scans) cannot be
            mapped, and neither can what draws random numbers, as dropout does in training.

    Attributes:
        params: the stacked weights, (S, ...) each, under their names in a model.
    Raises:
        ValueError: for no models, what is none, and models that differ in names, shapes or types.
    """

    def __init__(self, models: Iterable[nn.Module]):
        models = list(models)
        _check_alike(models)
        self._model = copy.deepcopy(models[0]).to("meta")  # what to do, without numbers
        self.params, self._buffers = stack_module_state(models)

    def __len__(self) -> int:
        """The number of models S."""
        return len(next(iter(self.params.values())))

    def parameters(self) -> list[Tensor]:
        """What the optimizer moves."""
        return [weights for weights in self.params.values() if weights.requires_grad]

    def gradients(
        self,
        loss: Callable[..., Tensor],
        x: Tensor,
        *targets: Tensor,
        own_data: bool = False,
    ) -> Tensor:
        """Fill ``grad`` of the stacked weights; each model's loss (S,), before the update.

        Args:
            loss: ``loss(model(x), *targets)`` is a scalar; a mask may be among the targets.
            x, targets: seen by all models; or with ``own_data`` (S, ...) each, one for each model.

        Raises:
            ValueError: for data that are not S, and layers that cannot be mapped.
        """

        def loss_of_one(params, buffers, x, *targets):
            prediction = functional_call(self._model, (params, buffers), (x,))
            return loss(prediction, *targets)

        data = (x, *targets)
        self._check_data(data, own_data)
        axes = (0, 0) + (0 if own_data else None,) * len(data)
        weights = {name: stacked.detach() for name, stacked in self.params.items()}
        try:
            gradients, losses = vmap(grad_and_value(loss_of_one), axes)(
                weights, self._buffers, *data
            )
        except RuntimeError as error:
            raise _explained(error) from error
        for name, stacked in self.params.items():
            stacked.grad = gradients[name] if stacked.requires_grad else None
        return losses

    def clip_grad_norm(self, max_norm: float) -> Tensor:
        """Shorten each model's gradient to ``max_norm``; the norms (S,) that they had.

        ``torch.nn.utils.clip_grad_norm_`` would take all S gradients for one, and shorten every
        model's because of one that explodes.
        """
        check_between("max_norm", max_norm, 0, float("inf"))
        gradients = [weights.grad for weights in self.parameters() if weights.grad is not None]
        if not gradients:
            raise ValueError("gradients must be called before clip_grad_norm, got no gradients.")
        norms = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in gradients]).norm(dim=0)
        factors = (max_norm / (norms + 1e-6)).clamp(max=1)
        for gradient in gradients:
            gradient *= factors.view(-1, *[1] * (gradient.ndim - 1))
        return norms

    def state_dicts(self) -> list[dict[str, Tensor]]:
        """What each model's ``load_state_dict`` takes."""
        stacked = self.params | self._buffers
        return [
            {name: numbers[s].detach().clone() for name, numbers in stacked.items()}
            for s in range(len(self))
        ]

    def _check_data(self, data: tuple[Tensor, ...], own_data: bool) -> None:
        for name, tensor in zip(("x", *["targets"] * len(data)), data, strict=False):
            if own_data and (tensor.ndim == 0 or len(tensor) != len(self)):
                raise ValueError(
                    f"{name} must hold data for {len(self)} models where own_data is True, "
                    f"got shape {tuple(tensor.shape)}."
                )


def _check_alike(models: list) -> None:
    """Raise ``ValueError`` unless these are modules of the same weights, in shape and type."""
    if not models:
        raise ValueError("models must hold one torch.nn.Module at least, got none.")
    for number, model in enumerate(models):
        if not isinstance(model, nn.Module):
            raise ValueError(f"models must be torch.nn.Modules, got {type(model).__name__}.")
        if _described(model) != _described(models[0]):
            raise ValueError(
                "models must be equal but for their numbers, "
                f"got number {number} with other weights or switches than number 0."
            )
    if not any(True for _ in models[0].parameters()):
        raise ValueError("models must have parameters, got none.")


def _described(model: nn.Module) -> tuple:
    weights = [
        (name, tuple(p.shape), p.dtype, p.device, p.requires_grad)
        for name, p in model.named_parameters()
    ]
    return type(model), str(model), model.training, weights


def _explained(error: RuntimeError) -> Exception:
    """Of torch's errors the one that a layer of ours causes, in our words."""
    if "autograd.Function" not in str(error):
        return error
    return ValueError(
        "models must be of operations that torch can map, got a torch.autograd.Function: take the "
        "plain layer instead of the fused one, and the loop instead of the scan."
    )
