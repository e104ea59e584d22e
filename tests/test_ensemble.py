"""rnnbook.pytorch.ensemble: S models at once are S models alone."""

import pytest

pytest.importorskip("torch", reason="the models are torch modules")

import torch
from torch import nn
from torch.nn.functional import mse_loss

from rnnbook import pytorch
from rnnbook.pytorch.ensemble import Ensemble

F64 = torch.float64
SEEDS = (0, 3, 8)
# batch, steps, input, hidden, outputs
SIZES = [(1, 1, 1, 1, 1), (4, 8, 2, 8, 1), (3, 5, 2, 33, 2), (32, 6, 7, 64, 3)]


def build(kind, seed, size, dtype=F64, **options):
    _, _, D, H, K = size
    g = torch.Generator().manual_seed(seed)
    layer = getattr(pytorch, kind)(D, H, dtype=dtype, **options)
    layer.reset_parameters(g)
    head = nn.Linear(H * layer.directions, K, dtype=dtype)
    for parameter in head.parameters():
        nn.init.uniform_(parameter, -0.5, 0.5, generator=g)
    return pytorch.SequenceModel(layer, head)


def data(size, *, models=None, dtype=F64, seed=1):
    B, T, D, _, K = size
    g, first = torch.Generator().manual_seed(seed), () if models is None else (models,)
    x = torch.randn(*first, B, T, D, dtype=dtype, generator=g)
    return x, torch.randn(*first, B, K, dtype=dtype, generator=g)


def alone(model, x, target, *, steps, max_norm=None, loss=mse_loss):
    """Losses, first gradients and weights after training in the ordinary way."""
    optimizer, losses, first = torch.optim.Adam(model.parameters(), lr=0.01), [], None
    for _ in range(steps):
        optimizer.zero_grad()
        value = loss(model(x), target)
        value.backward()
        if max_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        first = first or {name: p.grad.clone() for name, p in model.named_parameters()}
        optimizer.step()
        losses.append(value.detach())
    return torch.stack(losses), first, model.state_dict()


def together(models, x, target, *, steps, max_norm=None, loss=mse_loss, **options):
    ensemble = Ensemble(models)
    optimizer, losses, first = torch.optim.Adam(ensemble.parameters(), lr=0.01), [], None
    for _ in range(steps):
        losses.append(ensemble.gradients(loss, x, target, **options))
        if max_norm is not None:
            ensemble.clip_grad_norm(max_norm)
        first = first or {name: p.grad.clone() for name, p in ensemble.params.items()}
        optimizer.step()
    return torch.stack(losses, dim=1), first, ensemble.state_dicts()


def compare(ours, theirs, atol):
    losses, first, weights = ours
    for s, (their_losses, their_first, their_weights) in enumerate(theirs):
        torch.testing.assert_close(losses[s], their_losses, rtol=0, atol=atol)
        for name, gradient in their_first.items():
            torch.testing.assert_close(first[name][s], gradient, rtol=0, atol=atol)
        assert weights[s].keys() == their_weights.keys()
        for name, value in their_weights.items():  # Adam divides by gradients, small ones too
            torch.testing.assert_close(weights[s][name], value, rtol=0, atol=100 * atol)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU", "ResetBeforeGRU"])
def test_models_at_once_are_models_alone(kind, size):
    models = [build(kind, seed, size) for seed in SEEDS]
    ours = together(models, *data(size), steps=5)
    compare(ours, [alone(model, *data(size), steps=5) for model in models], atol=1e-12)


@pytest.mark.parametrize("options", [{"num_layers": 2}, {"bidirectional": True}, {"bias": False}])
def test_other_shapes_of_layers(options):
    models = [build("LSTM", seed, SIZES[1], **options) for seed in SEEDS]
    ours = together(models, *data(SIZES[1]), steps=3)
    compare(ours, [alone(model, *data(SIZES[1]), steps=3) for model in models], atol=1e-12)


def test_single_precision():
    size = SIZES[1]
    models = [build("GRU", seed, size, torch.float32) for seed in SEEDS]
    x, target = data(size, dtype=torch.float32)
    ours = together(models, x, target, steps=3)
    compare(ours, [alone(model, x, target, steps=3) for model in models], atol=2e-6)


def test_each_model_has_its_own_data():
    size = SIZES[1]
    models = [build("GRU", seed, size) for seed in SEEDS]
    x, target = data(size, models=len(SEEDS))
    ours = together(models, x, target, steps=3, own_data=True)
    theirs = [alone(model, x[s], target[s], steps=3) for s, model in enumerate(models)]
    compare(ours, theirs, atol=1e-12)


def test_each_model_is_clipped_by_its_own_norm():
    size = SIZES[1]
    models = [build("GRU", seed, size) for seed in SEEDS]
    with torch.no_grad():
        models[1].head.bias += 100  # one that explodes
    norm = 0.5
    ours = together(models, *data(size), steps=3, max_norm=norm)
    theirs = [alone(model, *data(size), steps=3, max_norm=norm) for model in models]
    compare(ours, theirs, atol=1e-12)
    ensemble = Ensemble(models)
    losses = ensemble.gradients(mse_loss, *data(size))
    graphs = [losses.grad_fn, *(p.grad.grad_fn for p in ensemble.parameters())]
    assert graphs == [None] * len(graphs)  # nothing holds on to a graph
    norms = ensemble.clip_grad_norm(norm)
    assert norms[1] > 20 * norms[0]
    assert torch.equal(ensemble.clip_grad_norm(1e9), ensemble.clip_grad_norm(1e9))
    assert (ensemble.clip_grad_norm(1e9) <= norm + 1e-12).all()


def test_a_mask_may_be_among_the_targets():
    size = SIZES[1]
    models = [build("GRU", seed, size) for seed in SEEDS]
    x, target = data(size)
    counts = torch.tensor([True, False, True, True])

    def masked(prediction, target, counts):
        return ((prediction - target) ** 2)[:, 0].mul(counts).sum() / counts.sum()

    losses = Ensemble(models).gradients(masked, x, target, counts)
    for loss, model in zip(losses, models, strict=True):
        expected = mse_loss(model(x[counts]), target[counts])
        torch.testing.assert_close(loss, expected.detach(), rtol=0, atol=1e-13)


def test_models_are_not_changed_and_frozen_weights_stay():
    models = [build("RNN", seed, SIZES[1]) for seed in SEEDS]
    for model in models:
        model.rnn.weight_hh_l0.requires_grad_(False)
    before = [{k: v.clone() for k, v in model.state_dict().items()} for model in models]
    _, _, after = together_frozen(models)
    for model, old, new in zip(models, before, after, strict=True):
        assert all(torch.equal(model.state_dict()[name], old[name]) for name in old)
        assert torch.equal(new["rnn.weight_hh_l0"], old["rnn.weight_hh_l0"])
        assert not torch.equal(new["rnn.weight_ih_l0"], old["rnn.weight_ih_l0"])
        model.load_state_dict(new)


def together_frozen(models):
    ensemble = Ensemble(models)
    optimizer = torch.optim.Adam(ensemble.parameters(), lr=0.01)
    assert len(ensemble.parameters()) == len(ensemble.params) - 1
    ensemble.gradients(mse_loss, *data(SIZES[1]))
    assert ensemble.params["rnn.weight_hh_l0"].grad is None
    optimizer.step()
    return ensemble, optimizer, ensemble.state_dicts()


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_torch_nn_cannot_be_mapped_forward(name):
    """The reason for the plain layers: vmap of a forward pass has no rule for torch's."""
    models = [getattr(nn, name)(2, 4, batch_first=True) for _ in range(2)]
    stacked, _ = torch.func.stack_module_state(models)

    def forward(params, x):
        return torch.func.functional_call(models[0], params, (x,))[0]

    with pytest.raises(RuntimeError, match="Batching rule not implemented"):
        torch.func.vmap(forward, (0, None))(stacked, torch.zeros(3, 5, 2))


@pytest.mark.parametrize("kind", ["FusedRNN", "FusedLSTM", "FusedGRU"])
def test_fused_layers_are_refused_in_a_sentence(kind):
    ensemble = Ensemble([build(kind, seed, SIZES[1]) for seed in SEEDS])
    with pytest.raises(ValueError, match="take the plain layer instead of the fused one"):
        ensemble.gradients(mse_loss, *data(SIZES[1]))


def test_other_errors_stay_torchs():
    ensemble = Ensemble([build("GRU", seed, SIZES[1]) for seed in SEEDS])
    x, target = data(SIZES[1])
    with pytest.raises(RuntimeError, match="size of tensor"):
        ensemble.gradients(lambda p, t: ((p - t) ** 2).mean(), x, target[:3])


WRONG = {
    "none": ([], "models must hold one torch.nn.Module at least, got none"),
    "no module": ([nn.Linear(1, 1), 3], "models must be torch.nn.Modules, got int"),
    "shapes": ([nn.Linear(1, 1), nn.Linear(2, 1)], "equal but for their numbers, got number 1"),
    "mode": ([nn.Linear(1, 1), nn.Linear(1, 1).eval()], "equal but for their numbers"),
    "dtype": ([nn.Linear(1, 1), nn.Linear(1, 1, dtype=F64)], "equal but for their numbers"),
    "no weights": ([nn.Tanh(), nn.Tanh()], "models must have parameters, got none"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_models_are_named(case):
    models, message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        Ensemble(models)


def test_wrong_data_and_order_are_named():
    ensemble = Ensemble([build("GRU", seed, SIZES[1]) for seed in SEEDS])
    with pytest.raises(ValueError, match="gradients must be called before clip_grad_norm"):
        ensemble.clip_grad_norm(1.0)
    with pytest.raises(ValueError, match=r"max_norm must lie between 0 and inf, got -1"):
        ensemble.clip_grad_norm(-1)
    x, target = data(SIZES[1], models=3)
    with pytest.raises(ValueError, match=r"x must hold data for 3 models .* \(2, 4, 8, 2\)"):
        ensemble.gradients(mse_loss, x[:2], target, own_data=True)
    with pytest.raises(ValueError, match=r"targets must hold data for 3 models"):
        ensemble.gradients(mse_loss, x, target[:2], own_data=True)
