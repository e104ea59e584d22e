"""What a run was called with is part of it: the same run continues a checkpoint, or none does."""

import math
from functools import partial

import numpy as np
import pytest
from test_train import FAMILIES, equal, everything, make, problem, train, weights

from rnnbook.checkpoint import load_tree
from rnnbook.scratch import losses, optim, schedules
from rnnbook.tasks.batch import Batch
from rnnbook.train import History, evaluate, fit
from rnnbook.train.run import named


def other_data(**changes):
    batch = problem()[0]
    return Batch(**{"x": batch.x, "target": batch.target} | changes)


# What differs in the second call, and what the sentence must say of it.
CHANGES = {
    "no validation": ({"validation": None}, r"validation x \(30, 6, 2\) .* where this has None"),
    "validation": ({"validation": problem()[0]}, r"validation x \(30, .*this has x \(50, 6, 2\)"),
    "batch_size": ({"batch_size": 15}, "batch_size 16 where this has 15"),
    "max_norm": ({"max_norm": 1.0}, "max_norm 0.5 where this has 1.0"),
    "schedule": (
        {"schedule": schedules.cosine(80, floor=0.1)},
        "schedule that gave step 1 the factor 0.99.* where this gives 0.99",
    ),
    "no schedule": ({"schedule": None}, "schedule that gave step 1 .* where this gives 1.0"),
    "loss": ({"wrap": lambda loss: partial(loss)}, r"loss mse(_loss)? where this has mse\w*\(\)"),
    "data": ({"data": other_data(x=problem()[0].x + 1e-9)}, r"data x \(50, .*checksum .*checksum"),
    "shape": ({"data": other_data(x=np.ones((50, 7, 2)))}, r"has x \(50, 7, 2\) float64"),
    "dtype": (
        {"data": other_data(x=np.ones((50, 6, 2), np.float32))},
        r"has x \(50, 6, 2\) float32",
    ),
    "epochs": ({"epochs": 1}, "epochs must be at least 2, the checkpoint's, got 1"),
}


def refused(file, family, message, *, parts=None, **options):
    parts = parts or make(family, seed=1)
    rng = np.random.default_rng(9)
    before, saved = everything(parts, rng), file.read_bytes()
    with pytest.raises(ValueError, match=message):
        train(family, **{"epochs": 3} | options, parts=parts, rng=rng, checkpoint=file, resume=True)
    assert everything(parts, rng) == before
    assert file.read_bytes() == saved


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("case", CHANGES)
def test_another_setting_is_refused_in_a_sentence_and_nothing_changes(case, family, tmp_path):
    options, message = CHANGES[case]
    train(family, 2, checkpoint=tmp_path / "run.npz")
    refused(tmp_path / "run.npz", family, message, **options)


def test_validation_that_is_new_is_refused(tmp_path):
    train("scratch", 2, checkpoint=tmp_path / "run.npz", validation=None)
    refused(tmp_path / "run.npz", "scratch", r"validation None where this has x \(30, 6, 2\)")


def with_optimizer(family, change):
    model, loss, _ = make(family, seed=1)
    if family == "scratch":
        return model, loss, change(optim, model.params, {})
    torch = pytest.importorskip("torch")

    return model, loss, change(torch.optim, model.parameters(), {"foreach": None})


OPTIMIZERS = {
    "lr": (lambda o, p, _: o.Adam(p, lr=0.5), "optimizer's lr 0.01 where this has 0.5"),
    "betas": (
        lambda o, p, _: o.Adam(p, lr=0.01, betas=(0.5, 0.9)),
        r"optimizer's betas \(0.9, 0.999\) where this has \(0.5, 0.9\)",
    ),
    "weight_decay": (
        lambda o, p, _: o.Adam(p, lr=0.01, weight_decay=0.5),
        "optimizer's weight_decay 0.* where this has 0.5",
    ),
    "kind": (lambda o, p, _: o.AdamW(p, lr=0.01), "optimizer Adam where this has AdamW"),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("case", OPTIMIZERS)
def test_another_optimizer_or_setting_of_it_is_refused(case, family, tmp_path):
    change, message = OPTIMIZERS[case]
    train(family, 2, checkpoint=tmp_path / "run.npz")
    refused(tmp_path / "run.npz", family, message, parts=with_optimizer(family, change))


def test_whole_numbers_among_the_settings_are_seen(tmp_path):
    def parts(lr):
        model, loss, _ = make("scratch")
        return model, loss, optim.SGD(model.params, lr=lr)

    train("scratch", 2, parts=parts(1), checkpoint=tmp_path / "run.npz")
    refused(tmp_path / "run.npz", "scratch", "lr 1 where this has 2", parts=parts(2))


def test_other_parameter_groups_are_refused(tmp_path):
    torch = pytest.importorskip("torch")

    def parts(split):
        model, loss, _ = make("torch")
        first, *others = model.parameters()
        groups = [{"params": [first]}, {"params": others}] if split else [first, *others]
        if split == "reordered":
            groups = [*others, first]
        return model, loss, torch.optim.Adam(groups, lr=0.01)

    train("torch", 2, parts=parts(None), checkpoint=tmp_path / "run.npz")
    message = "optimizer's group 1's lr None where this has 0.01"
    refused(tmp_path / "run.npz", "torch", message, parts=parts("split"))
    message = "weight_ih_l0 .*number 0.0 of the optimizer where this has .*number 0.5"
    refused(tmp_path / "run.npz", "torch", message, parts=parts("reordered"))


@pytest.mark.parametrize("family", FAMILIES)
def test_another_switch_or_number_type_of_the_model_is_refused(family, tmp_path):
    train(family, 2, checkpoint=tmp_path / "run.npz")
    parts = make(family, seed=1)
    dropout = parts[0].dropout if family == "torch" else parts[0].rnn.between[0]
    dropout.p = 0.3
    refused(tmp_path / "run.npz", family, "'s p 0.2 where this has 0.3", parts=parts)
    if family == "torch":
        torch = pytest.importorskip("torch")

        model, loss, _ = make(family)
        parts = model.double(), loss, torch.optim.Adam(model.parameters(), lr=0.01)
        refused(tmp_path / "run.npz", family, "torch.float32.* this has torch.float64", parts=parts)


@pytest.mark.parametrize("family", FAMILIES)
def test_other_frozen_parameters_are_refused(family, tmp_path):
    train(family, 2, checkpoint=tmp_path / "run.npz")

    def some(o, parameters, _):
        if family == "scratch":
            parameters = {name: p for name, p in parameters.items() if name != "head.bias"}
        else:
            parameters = list(parameters)[:-1]
        return o.Adam(parameters, lr=0.01)

    message = "model's head.bias .* of the optimizer where this has .*, not moved"
    refused(tmp_path / "run.npz", family, message, parts=with_optimizer(family, some))


@pytest.mark.parametrize("family", FAMILIES)
def test_what_the_documentation_takes_on_is_taken_on(family, tmp_path):
    """More epochs, another patience, a schedule with the same past: as from the start."""
    file = tmp_path / "run.npz"

    def later(factor):
        return lambda step: 1.0 if step < 8 else factor

    train(family, 2, checkpoint=file, patience=9, schedule=later(0.5))
    options = {"patience": 1, "schedule": later(0.25)}
    model, history = train(family, 6, checkpoint=file, resume=True, **options)
    whole, expected = train(family, 6, **options)
    assert history == expected
    assert equal(weights(model), weights(whole))
    assert set(history.rate_factor) <= {1.0, 0.25}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_history_and_the_weights_at_the_end_belong_together(family, tmp_path):
    """Also where the resumed part finds nothing better."""
    file = tmp_path / "run.npz"
    bad = {"schedule": lambda step: 1.0 if step < 12 else 300.0}
    train(family, 3, checkpoint=file, **bad)
    parts = make(family, seed=4)
    model, history = train(family, 6, parts=parts, checkpoint=file, resume=True, **bad)
    assert history.best_epoch < 3
    found = evaluate(model, problem()[1], loss=parts[1])
    assert found == pytest.approx(min(history.validation_loss), rel=1e-5)


def test_a_function_of_data_is_known_by_its_name(tmp_path):
    def draw(rng):
        return other_data()

    def other(rng):
        return other_data()

    file = tmp_path / "run.npz"
    settings = {"steps_per_epoch": 3, "validation": None, "checkpoint": file}
    train("scratch", 2, data=draw, **settings)
    with pytest.raises(ValueError, match=r"data .*<locals>\.draw where this has .*<locals>\.other"):
        train("scratch", 3, data=other, resume=True, **settings)
    _, history = train("scratch", 3, data=draw, resume=True, **settings)
    assert history.epochs == 3


def test_functions_have_names():
    class Loss:
        def __init__(self, delta):
            self.delta, self._seen, self.training = delta, 0, True

        def __call__(self): ...

    assert named(losses.mse) == "mse"
    assert named(partial(losses.huber, delta=2.0)) == "huber(delta=2.0)"
    assert named(Loss(2.0)).endswith("Loss(delta=2.0)")
    assert named(History().out_of_patience) == "History.out_of_patience"
    first, second = (lambda p, y: losses.mse(p, y)), (lambda p, y: losses.huber(p, y))
    again = lambda p, y: losses.mse(p, y)  # noqa: E731
    assert named(first) == named(again) != named(second)
    assert named(lambda p: p * 1.0) != named(lambda p: p * 2.0)


def test_parameters_that_require_no_gradient_are_frozen_ones(tmp_path):
    train("torch", 2, checkpoint=tmp_path / "run.npz")
    parts = make("torch", seed=1)
    parts[0].head.bias.requires_grad_(False)
    message = "model's head.bias .* of the optimizer where this has .*, not moved"
    refused(tmp_path / "run.npz", "torch", message, parts=parts)


# What cannot be a checkpoint


@pytest.mark.parametrize("resume", [True, False])
@pytest.mark.parametrize("kind", ["npy", "npz", "folder", "text", "below a file", "number"])
def test_what_can_be_no_checkpoint_is_told_before_the_first_step(kind, resume, tmp_path):
    file = tmp_path / "run.npz"
    if kind == "npy":
        with open(file, "wb") as opened:
            np.save(opened, np.arange(3))
    elif kind == "npz":
        np.savez(file, a=np.arange(3))
    elif kind == "folder":
        file.mkdir()
    elif kind == "text":
        file.write_text("my data")
    elif kind == "below a file":
        file.write_text("my data")
        file /= "run.npz"
    else:
        file = 3
    asked = []
    before = sorted((path.name, path.is_dir() or path.read_bytes()) for path in tmp_path.iterdir())
    with pytest.raises(ValueError, match=r"checkpoint"):
        train("scratch", 1, checkpoint=file, resume=resume, wrap=lambda loss: asked.append)
    assert asked == []
    after = sorted((path.name, path.is_dir() or path.read_bytes()) for path in tmp_path.iterdir())
    assert after == before


def test_another_tree_is_not_replaced_and_an_empty_file_is(tmp_path):
    from rnnbook.checkpoint import save_tree

    file = tmp_path / "run.npz"
    save_tree(file, {"weights": np.ones(3)})
    with pytest.raises(ValueError, match=r"checkpoint must not replace .*run\.npz, which is no"):
        train("scratch", 1, checkpoint=file)
    file.write_bytes(b"")  # as tempfile makes one
    train("scratch", 1, checkpoint=file)
    assert load_tree(file)["history"]["train_loss"].shape == (1,)


def test_what_a_checkpoint_cannot_hold_is_told_before_the_first_step(tmp_path):
    torch = pytest.importorskip("torch")

    class Odd(torch.nn.Linear):
        def get_extra_state(self):
            return object()

        def set_extra_state(self, state): ...

    model = Odd(2, 1)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    with pytest.raises(TypeError, match="tree must hold numbers, strings and arrays, got object"):
        fit(
            model,
            Batch(np.ones((3, 2)), np.ones((3, 1))),
            loss=torch.nn.functional.mse_loss,
            optimizer=torch.optim.SGD(model.parameters()),
            epochs=1,
            checkpoint=tmp_path / "run.npz",
        )
    assert all(map(torch.equal, before, model.parameters()))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("factor", [-1.0, math.nan, math.inf])
def test_a_factor_that_is_no_factor_is_told(factor):
    with pytest.raises(ValueError, match=f"schedule must give factors from 0 on, got {factor} at"):
        train("scratch", 1, schedule=lambda step: factor)
