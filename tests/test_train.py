"""The training loop, for both families; kills and resumption in real processes.

Run as a script (``test_train.py FAMILY CHECKPOINT OUT [KILL]``) it trains, saves its weights to
OUT, and kills itself by SIGKILL where KILL says: "step N" within step N, "write N" while the Nth
checkpoint is complete on disk but not yet in its place.
"""

import itertools
import math
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import rnnbook.checkpoint
from rnnbook import tasks
from rnnbook.checkpoint import load_tree, save_tree
from rnnbook.scratch import losses, optim, schedules
from rnnbook.scratch.embedding import Embedding
from rnnbook.scratch.gru import GRU
from rnnbook.scratch.linear import Linear
from rnnbook.scratch.lstm import LSTM
from rnnbook.scratch.minimal import MinGRU
from rnnbook.scratch.model import SequenceModel, Stacked
from rnnbook.scratch.recurrent_layer import RNN
from rnnbook.scratch.regularization import Dropout, Zoneout
from rnnbook.tasks.batch import Batch
from rnnbook.train import History, TrainingDiverged, evaluate, fit
from rnnbook.train.adapters import generators

FAMILIES = ["scratch", "torch"]
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows ends a process at once by any signal


def make(family, seed=0, hidden=7, lr=0.01):
    """Model, loss and optimizer for the adding problem."""
    if family == "scratch":
        rng = np.random.default_rng(seed)
        layers = [MinGRU(2, hidden, rng=rng), MinGRU(hidden, hidden, rng=rng)]
        between = [Dropout(0.2, rng=np.random.default_rng(5))]
        model = SequenceModel(Stacked(layers, between), Linear(hidden, 1, rng=rng))
        return model, losses.mse, optim.Adam(model.params, lr=lr)
    torch = pytest.importorskip("torch")

    torch.manual_seed(seed)

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = torch.nn.GRU(2, hidden, batch_first=True)
            self.dropout, self.head = torch.nn.Dropout(0.2), torch.nn.Linear(hidden, 1)

        def forward(self, x):
            return self.head(self.dropout(self.rnn(x)[0][:, -1]))

    model = Model()
    return model, torch.nn.functional.mse_loss, torch.optim.Adam(model.parameters(), lr=lr)


def weights(model):
    if hasattr(model, "state_dict"):
        return {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}
    return {name: array.copy() for name, array in model.params.items()}


def equal(first, second):
    return first.keys() == second.keys() and all(np.array_equal(first[k], second[k]) for k in first)


def problem():
    rng = np.random.default_rng(1)
    return tasks.adding_problem(50, 6, rng), tasks.adding_problem(30, 6, rng)


def train(family, epochs=5, *, wrap=lambda loss: loss, parts=None, **options):
    """One run; everything that ``fit`` does is switched on."""
    model, loss, optimizer = parts or make(family)
    data, validation = problem()
    data = options.pop("data", data)
    settings = {
        "validation": validation,
        "rng": np.random.default_rng(3),
        "batch_size": 16,
        "max_norm": 0.5,
        "schedule": schedules.cosine(40, floor=0.1),
    } | options
    history = fit(model, data, loss=wrap(loss), optimizer=optimizer, epochs=epochs, **settings)
    return model, history


# The loop


@pytest.mark.parametrize("family", FAMILIES)
def test_training_learns_and_keeps_the_history(family):
    model, loss, optimizer = make(family, hidden=16)
    rng = np.random.default_rng(0)
    data, validation = tasks.adding_problem(400, 4, rng), tasks.adding_problem(100, 4, rng)
    history = fit(
        model,
        data,
        loss=loss,
        optimizer=optimizer,
        epochs=25,
        validation=validation,
        rng=rng,
    )
    steps = math.ceil(400 / 32)
    assert len(history.loss) == len(history.gradient_norm) == 25 * steps
    assert history.epochs == len(history.validation_loss) == 25
    assert history.train_loss[3] == pytest.approx(np.mean(history.loss[3 * steps : 4 * steps]))
    assert min(history.validation_loss) < tasks.adding_problem_baseline() / 3
    assert evaluate(model, validation, loss=loss) == pytest.approx(min(history.validation_loss))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_loop_is_the_loop_that_one_writes_by_hand(family):
    """Order of the data, clipping, schedule and update, repeated here in plain sight."""
    batch = problem()[0]
    trained, history = train(family, 3, validation=None)
    model, loss, optimizer = make(family)
    rng, schedule, step, norms = np.random.default_rng(3), schedules.cosine(40, floor=0.1), 0, []
    for _ in range(3):
        order = rng.permutation(50)
        for start in range(0, 50, 16):
            index = order[start : start + 16]
            x, target = batch.x[index], batch.target[index]
            if family == "scratch":
                _, dprediction = loss(model.forward(x), target)
                model.backward(dprediction)
                norms.append(optim.clip_grad_norm(model.grads, 0.5))
                optimizer.lr = 0.01 * schedule(step)
                optimizer.step(model.grads)
            else:
                torch = pytest.importorskip("torch")

                optimizer.zero_grad()
                as_float = torch.tensor(x, dtype=torch.float32), torch.tensor(target).float()
                loss(model(as_float[0]), as_float[1]).backward()
                norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)))
                optimizer.param_groups[0]["lr"] = 0.01 * schedule(step)
                optimizer.step()
            step += 1
    assert equal(weights(model), weights(trained))
    assert history.gradient_norm == norms
    assert max(norms) > 0.5  # or clipping would not have been tested


@pytest.mark.parametrize("family", FAMILIES)
def test_best_weights_are_restored_and_patience_stops(family):
    """A learning rate that grows without bound makes validation worse after a few steps."""
    parts = make(family)
    model, history = train(
        family, 60, parts=parts, patience=3, schedule=lambda step: 1.0 if step < 20 else 100.0
    )
    assert history.epochs == history.best_epoch + 4 < 60
    validation = problem()[1]
    best = evaluate(model, validation, loss=parts[1])
    assert best == pytest.approx(min(history.validation_loss))
    assert best < history.validation_loss[-1]


@pytest.mark.parametrize("family", FAMILIES)
def test_learning_rate_is_given_back(family):
    parts = make(family)
    train(family, 2, parts=parts, schedule=schedules.cosine(8))
    assert rate_of(parts[2]) == 0.01


def rate_of(optimizer):
    return optimizer.param_groups[0]["lr"] if hasattr(optimizer, "param_groups") else optimizer.lr


@pytest.mark.parametrize("family", FAMILIES)
def test_learning_rate_and_mode_are_given_back_after_an_error(family):
    parts = make(family)
    parts[0].eval()

    def wrap(loss):
        return lambda p, y: (_ for _ in ()).throw(KeyboardInterrupt)

    with pytest.raises(KeyboardInterrupt):
        train(family, 2, parts=parts, wrap=wrap, schedule=lambda step: 0.5)
    assert rate_of(parts[2]) == 0.01
    assert modes(parts[0]) == {False}


def modes(model):
    """Of every part."""
    if hasattr(model, "modules"):
        return {module.training for module in model.modules()}
    rnn = model.rnn
    parts = [model, rnn, *rnn.layers, *rnn.between, model.head]
    return {part.training for part in parts}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("training", [True, False])
def test_the_mode_stays_what_it_was(family, training):
    parts = make(family)
    parts[0].train(training)
    seen = []

    def wrap(loss):
        return lambda p, y: (seen.append(parts[0].training), loss(p, y))[1]

    train(family, 1, parts=parts, wrap=wrap)
    assert seen == [True] * 4 + [False] * 2  # steps, then validation
    assert modes(parts[0]) == {training}
    evaluate(parts[0], problem()[1], loss=parts[1])
    assert modes(parts[0]) == {training}
    with pytest.raises(ZeroDivisionError):
        evaluate(parts[0], problem()[1], loss=lambda p, y: 1 / 0)
    assert modes(parts[0]) == {training}


@pytest.mark.parametrize("family", FAMILIES)
def test_each_part_keeps_a_mode_of_its_own(family):
    model, loss, optimizer = make(family)
    dropout = model.dropout if family == "torch" else model.rnn.between[0]
    dropout.eval()
    evaluate(model, problem()[0], loss=loss)
    train(family, 1, parts=(model, loss, optimizer))
    assert not dropout.training
    assert modes(model) == {True, False}


def test_a_model_that_does_not_tell_its_mode_is_left_in_training():
    class Model:
        def __init__(self):
            self.params, self.grads, self.switched = {"w": np.ones((2, 1))}, {}, []

        def forward(self, x):
            return x[:, 0] @ self.params["w"]

        def backward(self, dprediction): ...

        def train(self, mode):
            self.switched.append(mode)

    model = Model()
    evaluate(model, problem()[0], loss=losses.mse)
    assert model.switched == [False, True]


# Frozen parameters


def frozen_run(family, how, **options):
    """All but the head are frozen; ``how`` says in which way."""
    model, loss, _ = make(family)
    if family == "scratch":
        moved = {
            "part": model.head.params,
            "names": {name: p for name, p in model.params.items() if name.startswith("head")},
            "other names": {"w": model.params["head.weight"], "b": model.params["head.bias"]},
        }[how]
        optimizer = optim.Adam(moved, lr=0.01)
    else:
        torch = pytest.importorskip("torch")

        if how == "requires_grad":
            model.rnn.requires_grad_(False)
        moved = model.parameters() if how == "requires_grad" else model.head.parameters()
        optimizer = torch.optim.Adam(moved, lr=0.01)
    return train(family, parts=(model, loss, optimizer), **options)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_optimizer_of_some_parameters_leaves_the_others(family, tmp_path):
    before = weights(make(family)[0])
    ways = {"scratch": ["part", "names", "other names"], "torch": ["part", "requires_grad"]}[family]
    runs = [frozen_run(family, how) for how in ways]
    for model, history in runs:
        found = weights(model)
        assert {n for n in before if not np.array_equal(before[n], found[n])} == {
            "head.weight",
            "head.bias",
        }
        assert equal(found, weights(runs[0][0]))
        assert history == runs[0][1]
    assert min(runs[0][1].loss[:4]) > min(runs[0][1].loss)  # and something was learned
    frozen_run(family, ways[0], epochs=2, checkpoint=tmp_path / "run.npz")
    resumed = frozen_run(family, ways[0], checkpoint=tmp_path / "run.npz", resume=True)
    assert equal(weights(resumed[0]), weights(runs[0][0]))


@pytest.mark.parametrize("family", FAMILIES)
def test_frozen_parameters_have_no_part_in_the_norm(family):
    """By hand: the first step's norm is that of the head's gradients."""
    _, history = frozen_run(family, "part", epochs=1)
    model, loss, _ = make(family)  # from here on dropout draws what it drew in the run
    index = np.random.default_rng(3).permutation(50)[:16]
    batch = problem()[0].take(index)
    if family == "scratch":
        model.backward(loss(model.forward(batch.x), batch.target)[1])
        squares = [np.sum(g**2) for g in model.head.grads.values()]
    else:
        torch = pytest.importorskip("torch")

        loss(model(torch.tensor(batch.x).float()), torch.tensor(batch.target).float()).backward()
        squares = [float((p.grad**2).sum()) for p in model.head.parameters()]
    assert history.gradient_norm[0] == pytest.approx(math.sqrt(sum(squares)), rel=1e-5)


def test_gradients_of_frozen_parameters_do_not_pile_up():
    torch = pytest.importorskip("torch")

    def gradient(epochs):
        torch.manual_seed(0)
        model = torch.nn.Sequential(
            torch.nn.Linear(2, 3), torch.nn.Flatten(), torch.nn.Linear(18, 1)
        )
        optimizer = torch.optim.SGD(model[2].parameters(), lr=0.0)
        parts = model, torch.nn.functional.mse_loss, optimizer
        train("torch", epochs, parts=parts, batch_size=50, schedule=None)
        return model[0].weight.grad

    torch.testing.assert_close(gradient(3), gradient(1))


# What torch has besides: half precision, rates that are tensors, optimizers that ask again


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_trains_and_resumes_bit_for_bit(dtype, tmp_path):
    torch = pytest.importorskip("torch")

    from rnnbook.convert import copy_weights, get_params

    def parts(seed):
        model, loss, _ = make("torch", seed=seed)
        model = model.to(getattr(torch, dtype))
        return model, loss, torch.optim.Adam(model.parameters(), lr=0.01, eps=1e-4)

    whole, history = train("torch", 4, parts=parts(0))
    assert history.train_loss[-1] < history.train_loss[0]
    train("torch", 2, parts=parts(0), checkpoint=tmp_path / "run.npz")
    options = {"checkpoint": tmp_path / "run.npz", "resume": True}
    again, resumed = train("torch", 4, parts=parts(9), **options)
    assert resumed == history
    assert all(map(torch.equal, whole.parameters(), again.parameters()))
    assert {p.dtype for p in again.parameters()} == {getattr(torch, dtype)}
    other, loss, _ = make("torch")
    with pytest.raises(ValueError, match=rf"torch\.{dtype}, .* where this has torch\.float32"):
        train(
            "torch",
            4,
            parts=(other, loss, torch.optim.Adam(other.parameters(), 0.01, eps=1e-4)),
            **options,
        )

    copy = make("torch")[0]
    copy_weights(whole, copy)
    for name, array in get_params(whole).items():
        np.testing.assert_array_equal(array, copy.state_dict()[name])
    back = parts(7)[0]
    copy_weights(copy, back)
    assert all(map(torch.equal, whole.parameters(), back.parameters()))


def test_an_epsilon_that_is_zero_in_float16_is_told_before_the_first_step():
    torch = pytest.importorskip("torch")

    model, loss, _ = make("torch")
    optimizer = torch.optim.Adam(model.half().parameters())
    with pytest.raises(ValueError, match=r"eps must be above 0 in torch\.float16 too, got 1e-08"):
        train("torch", 1, parts=(model, loss, optimizer))


def test_a_rate_that_is_a_tensor_is_a_rate(tmp_path):
    torch = pytest.importorskip("torch")

    def parts(seed, tensor=True):
        model, loss, _ = make("torch", seed=seed)
        lr = torch.tensor(0.01) if tensor else float(torch.tensor(0.01))
        return model, loss, torch.optim.Adam(model.parameters(), lr=lr)

    expected, history = train("torch", 4, parts=parts(0, tensor=False))
    held = parts(0)
    file = tmp_path / "run.npz"
    train("torch", 2, parts=held, checkpoint=file)
    assert torch.equal(rate_of(held[2]), torch.tensor(0.01))
    again, resumed = train("torch", 4, parts=parts(3), checkpoint=file, resume=True)
    for name in ("loss", "rate_factor"):
        np.testing.assert_allclose(getattr(resumed, name), getattr(history, name), rtol=1e-5)
    for name, array in weights(again).items():
        np.testing.assert_allclose(array, weights(expected)[name], atol=1e-6)


def test_an_optimizer_that_asks_for_the_loss_again_is_told():
    torch = pytest.importorskip("torch")

    model, loss, _ = make("torch")
    optimizer = torch.optim.LBFGS(model.parameters())
    with pytest.raises(
        ValueError, match=r"optimizer must take its step along .*, got LBFGS, which"
    ):
        train("torch", 1, parts=(model, loss, optimizer))


def test_a_model_without_parameters_is_evaluated():
    torch = pytest.importorskip("torch")

    model, data = torch.nn.Flatten(), Batch(np.ones((3, 2, 2)), np.zeros((3, 4)))
    assert evaluate(model, data, loss=torch.nn.functional.mse_loss) == 1


@pytest.mark.parametrize("stopped_by", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("where", ["loss", "schedule"])
@pytest.mark.parametrize("family", FAMILIES)
def test_learning_rates_are_given_back_after_an_error(family, where, stopped_by):
    """Whoever catches it and trains on would otherwise go on at the rate of that step."""
    model, loss, optimizer = make(family)
    if family == "torch":  # two groups, each with a rate of its own
        torch = pytest.importorskip("torch")

        groups = [{"params": part.parameters()} for part in (model.rnn, model.head)]
        optimizer = torch.optim.Adam([groups[0], groups[1] | {"lr": 0.5}], lr=0.01)

    def stop_at(step, count, then):
        def called(*arguments):
            if next(count) == step:
                raise stopped_by("stop")
            return then(*arguments)

        return called

    falling = schedules.cosine(8)
    with pytest.raises(stopped_by, match="stop"):
        train(
            family,
            parts=(model, loss, optimizer),
            wrap=lambda loss: stop_at(4 if where == "loss" else -1, itertools.count(), loss),
            schedule=stop_at(4 if where == "schedule" else -1, itertools.count(), falling),
        )
    if family == "scratch":
        assert optimizer.lr == 0.01
    else:
        assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.5]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_function_draws_fresh_data(family):
    model, loss, optimizer = make(family)
    drawn = []

    def data(rng):
        drawn.append(tasks.adding_problem(8, 5, rng))
        return drawn[-1]

    rng = np.random.default_rng(2)
    history = fit(model, data, loss=loss, optimizer=optimizer, epochs=2, steps_per_epoch=3, rng=rng)
    assert len(drawn) == len(history.loss) == 6
    again = np.random.default_rng(2)
    for batch in drawn:
        np.testing.assert_array_equal(batch.x, tasks.adding_problem(8, 5, again).x)


@pytest.mark.parametrize("family", FAMILIES)
def test_masks_and_lengths_reach_model_and_loss(family):
    batch = tasks.counting_language(20, np.random.default_rng(0), most_n=5)
    seen = []
    if family == "scratch":
        model = SequenceModel(MinGRU(4, 6), Linear(6, 3), many_to="many", embedding=Embedding(3, 4))
        optimizer = optim.Adam(model.params)

        def loss(logits, target, mask):
            seen.append((target.shape, mask.sum()))
            return losses.softmax_cross_entropy(logits, target, mask)
    else:
        torch = pytest.importorskip("torch")

        class Model(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.embedding, self.head = torch.nn.Embedding(3, 4), torch.nn.Linear(4, 3)

            def forward(self, x, lengths):
                assert lengths.shape == (len(x),)
                return self.head(self.embedding(x))

        model = Model()
        optimizer = torch.optim.Adam(model.parameters())

        def loss(logits, target, mask):
            seen.append((tuple(target.shape), int(mask.sum())))
            return torch.nn.functional.cross_entropy(logits[mask], target[mask])

    whole = evaluate(model, batch, loss=loss)
    seen.clear()
    in_parts = evaluate(model, batch, loss=loss, batch_size=7)
    assert in_parts == pytest.approx(whole)  # parts weigh by their unmasked targets
    assert sum(count for _, count in seen) == batch.mask.sum()
    fit(model, batch, loss=loss, optimizer=optimizer, epochs=1, rng=np.random.default_rng(0))


@pytest.mark.parametrize("family", FAMILIES)
def test_evaluation_is_without_dropout_and_training_with(family):
    model, loss, _ = make(family)
    data = problem()[0]
    assert evaluate(model, data, loss=loss) == evaluate(model, data, loss=loss)
    assert model.training


def test_a_nan_validation_loss_is_never_the_best():
    history = History(train_loss=[1.0] * 3, validation_loss=[2.0, math.nan, 1.0])
    assert history.best_epoch == 2


@pytest.mark.slow
def test_a_numpy_lstm_comes_near_the_entropy_of_the_grammar():
    """Task, baseline, layer, masked loss and loop together: no better than the entropy allows,
    and better than anything that forgets the second symbol."""
    rng = np.random.default_rng(0)
    model = SequenceModel(
        LSTM(8, 24, rng=rng), Linear(24, 7, rng=rng), many_to="many", embedding=Embedding(7, 8)
    )
    model.embedding.params["weight"][...] = rng.normal(size=(7, 8))
    data, validation = tasks.reber_grammar(2000, rng), tasks.reber_grammar(2000, rng)
    history = fit(
        model,
        data,
        loss=losses.softmax_cross_entropy,
        optimizer=optim.Adam(model.params, lr=0.01),
        epochs=12,
        validation=validation,
        max_norm=1.0,
        rng=rng,
    )
    best = min(history.validation_loss)
    assert best == pytest.approx(tasks.reber_baseline(), abs=0.02)
    assert best < tasks.reber_baseline(forgets=True) - 0.03


# Divergence


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("family", FAMILIES)
def test_divergence_names_the_step_and_leaves_the_last_good_weights(family, value):
    before = []
    parts = make(family)

    def wrap(loss):
        count = iter(range(100))

        def broken(prediction, target):
            result = loss(prediction, target)
            if next(count) < 6:
                return result
            before.append(weights(parts[0]))
            return (value, result[1]) if family == "scratch" else result * value

        return broken

    with pytest.raises(TrainingDiverged) as caught:
        train(family, parts=parts, wrap=wrap, validation=None)
    error = caught.value
    assert error.step == 6
    assert f"step 6: the loss is {value}" in str(error)
    assert f"last good step was {error.last_gradient_norm:.3g}" in str(error)
    _, history = train(family, 2, validation=None)
    assert error.last_gradient_norm == history.gradient_norm[5]
    assert equal(weights(parts[0]), before[0])
    rebuilt = pickle.loads(pickle.dumps(error))
    assert (str(rebuilt), rebuilt.step) == (str(error), 6)


@pytest.mark.parametrize("family", FAMILIES)
def test_divergence_at_the_first_step(family):
    wrap = {
        "scratch": lambda loss: lambda p, y: (math.nan, loss(p, y)[1]),
        "torch": lambda loss: lambda p, y: loss(p, y) * math.nan,
    }[family]
    with pytest.raises(TrainingDiverged, match=r"step 0: .* there was no good step before"):
        train(family, wrap=wrap)


def test_an_infinite_gradient_stops_too():
    def wrap(loss):
        return lambda p, y: (loss(p, y)[0], loss(p, y)[1] * math.inf)

    parts = make("scratch")
    before = weights(parts[0])
    with (
        np.errstate(invalid="ignore", over="ignore"),
        pytest.raises(TrainingDiverged, match=r"gradient norm (nan|inf)"),
    ):
        train("scratch", parts=parts, wrap=wrap)
    assert equal(weights(parts[0]), before)


RECURRENT = {
    "RNN": lambda rng: relu(2, rng),
    "LSTM": lambda rng: LSTM(2, 3, bidirectional=True, rng=rng),
    "GRU": lambda rng: GRU(2, 3, rng=rng),
    "Zoneout": lambda rng: Zoneout(relu(2, rng), rng=rng),
    "Stacked": lambda rng: Stacked([relu(2, rng), relu(3, rng)]),
}


def relu(inputs, rng):
    return RNN(inputs, 3, nonlinearity="relu", rng=rng)


def many_to(number, make_layer):
    rng = np.random.default_rng(0)
    layer = make_layer(rng)
    head = Linear(layer.hidden_size * (1 + layer.bidirectional), 1, rng=rng)
    model = SequenceModel(layer, head, many_to=number)
    target = np.ones((4, 1) if number == "one" else (4, 50, 1))
    return model, Batch(x=np.ones((4, 50, 2)), target=target)


@pytest.mark.parametrize("number", ["one", "many"])
@pytest.mark.parametrize("layer", RECURRENT.values(), ids=RECURRENT)
def test_a_gradient_of_nan_is_divergence_in_every_model(layer, number):
    model, data = many_to(number, layer)
    before = weights(model)

    def nan(prediction, target):
        return math.nan, prediction * math.nan

    with pytest.raises(TrainingDiverged, match="step 0: the loss is nan"):
        fit(model, data, loss=nan, optimizer=optim.SGD(model.params), epochs=1)
    assert equal(weights(model), before)


@pytest.mark.parametrize("number", ["one", "many"])
@pytest.mark.parametrize("layer", ["Zoneout", "Stacked"])
def test_infinity_between_two_parts_is_divergence(layer, number):
    model, data = many_to(number, RECURRENT[layer])
    for array in model.rnn.params.values():
        array[...] = 1e200
    optimizer = optim.SGD(model.params)
    with np.errstate(over="ignore", invalid="ignore"):
        with pytest.raises(TrainingDiverged, match="step 0: the loss is nan"):
            fit(model, data, loss=losses.mse, optimizer=optimizer, epochs=1)
        assert math.isnan(evaluate(model, data, loss=losses.mse))
    data.x[0, 0, 0] = np.nan  # this is no divergence
    with pytest.raises(ValueError, match="x must be finite, got nan"):
        fit(model, data, loss=losses.mse, optimizer=optimizer, epochs=1)


# Checkpoints


@pytest.mark.parametrize("family", FAMILIES)
def test_resume_is_bit_for_bit_in_one_process(family, tmp_path):
    file = tmp_path / "run.npz"
    whole, history = train(family, 6)
    train(family, 2, checkpoint=file)
    # Other weights and generators: everything has to come from the file.
    again, resumed = train(
        family,
        6,
        parts=make(family, seed=9),
        rng=np.random.default_rng(99),
        checkpoint=file,
        resume=True,
    )
    assert equal(weights(whole), weights(again))
    assert history == resumed


@pytest.mark.parametrize("family", FAMILIES)
def test_a_finished_run_is_only_loaded(family, tmp_path):
    file = tmp_path / "run.npz"
    first, history = train(family, 4, checkpoint=file)
    before = file.read_bytes()
    again, resumed = train(family, 4, parts=make(family, seed=9), checkpoint=file, resume=True)
    assert equal(weights(first), weights(again))
    assert resumed == history
    assert file.read_bytes() == before


def test_resume_without_a_file_starts(tmp_path):
    _, history = train("scratch", 2, checkpoint=tmp_path / "none.npz", resume=True)
    assert history.epochs == 2


def test_without_resume_a_run_starts_over(tmp_path):
    file = tmp_path / "run.npz"
    train("scratch", 3, checkpoint=file)
    _, history = train("scratch", 2, checkpoint=file)
    assert history.epochs == 2


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kill", ["step 9", "write 3", "none"])
@pytest.mark.slow
def test_a_killed_run_continues_bit_for_bit(family, kill, tmp_path):
    """Four steps an epoch: step 9 is in the third epoch, the third checkpoint after it."""
    whole, _ = train(family)
    expected = weights(whole)
    script = [sys.executable, __file__, family, str(tmp_path / "run.npz"), str(tmp_path / "out")]
    killed = subprocess.run([*script, kill], capture_output=True, text=True)
    if kill == "none":
        assert killed.returncode == 0, killed.stderr
    else:
        assert abs(killed.returncode) == KILL, killed.stderr
        assert not (tmp_path / "out.npz").exists()
        assert len(load_tree(tmp_path / "run.npz")["history"]["train_loss"]) == 2
        subprocess.run([*script, "none"], check=True)
    with np.load(tmp_path / "out.npz") as file:
        assert equal(dict(file), expected)


def main(family, checkpoint, out, kill="none"):
    kind, number = (*kill.split(), "0")[:2]

    def die():
        os.kill(os.getpid(), KILL)

    def wrap(loss):
        count = iter(range(10_000))

        def counted(*arguments):
            # Validation, two batches of 16 for 30 sequences, calls the loss as well.
            if next(count) == int(number) + 2 * 2 and kind == "step":
                die()
            return loss(*arguments)

        return counted

    if kind == "write":
        replace, calls = os.replace, []

        def killing_replace(source, destination):
            calls.append(destination)
            if len(calls) == int(number):
                assert Path(source).stat().st_size > 0
                die()
            replace(source, destination)

        rnnbook.checkpoint.os.replace = killing_replace
    model, _ = train(family, wrap=wrap, checkpoint=checkpoint, resume=True)
    np.savez(out, **weights(model))


def test_checkpoints_need_no_pickle(tmp_path):
    for family in FAMILIES:
        train(family, 1, checkpoint=tmp_path / family)
        with np.load(tmp_path / family, allow_pickle=False) as file:
            assert all(file[name].dtype.kind in "biufc" for name in file.files)


@pytest.mark.parametrize("content", [b"", b"no zip", None])
def test_a_broken_checkpoint_is_told(content, tmp_path):
    file = tmp_path / "run.npz"
    if content is None:
        np.savez(file, a=np.zeros(2))
    else:
        file.write_bytes(content)
    with pytest.raises(ValueError, match=r"run\.npz must be a file of rnnbook\.checkpoint"):
        train("scratch", checkpoint=file, resume=True)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_checkpoint_of_another_run_is_refused_and_nothing_changes(family, tmp_path):
    file = tmp_path / "run.npz"
    train(family, 2, checkpoint=file)
    parts = make(family, hidden=8)
    before = weights(parts[0])
    with pytest.raises(ValueError, match=r"checkpoint's .* must have shape"):
        train(family, 3, parts=parts, checkpoint=file, resume=True)
    assert equal(weights(parts[0]), before)


def everything(parts, rng):
    """All that a refused resume must leave as it was, as text."""
    model, _, optimizer = parts
    held = [generator.bit_generator.state for generator in [*generators(model), rng]]
    return repr((weights(model), optimizer.state_dict(), held))


def assert_refused(parts, file, message):
    rng = np.random.default_rng(9)
    before = everything(parts, rng)
    with pytest.raises(ValueError, match=message):
        train(None, 3, parts=parts, rng=rng, checkpoint=file, resume=True)
    assert everything(parts, rng) == before


@pytest.mark.parametrize("saved_with", [0, 1])
def test_another_number_of_generators_is_refused_and_nothing_changes(saved_with, tmp_path):
    torch = pytest.importorskip("torch")

    def parts(held, seed):
        model, loss, optimizer = make("torch", seed=seed)
        model.dropout.generator = torch.Generator() if held else None
        return model, loss, optimizer

    file = tmp_path / "run.npz"
    train("torch", 2, parts=parts(saved_with, 0), checkpoint=file)
    message = rf"state\['generators'\] must number {1 - saved_with} as .*, got {saved_with}\."
    assert_refused(parts(1 - saved_with, 1), file, message)


@pytest.mark.parametrize("family", FAMILIES)
def test_another_bit_generator_is_refused_and_nothing_changes(family, tmp_path):
    file = tmp_path / "run.npz"
    train(family, 2, checkpoint=file, rng=np.random.Generator(np.random.MT19937(3)))
    message = "checkpoint's rng must be the state of a PCG64 generator, got MT19937"
    assert_refused(make(family, seed=1), file, message)
    train(family, 3, checkpoint=file, resume=True, rng=np.random.Generator(np.random.MT19937(4)))


def test_another_bit_generator_in_the_model_is_refused_and_nothing_changes(tmp_path):
    file = tmp_path / "run.npz"
    train("scratch", 2, checkpoint=file)
    parts = make("scratch", seed=1)
    parts[0].rnn.between[0].rng = np.random.Generator(np.random.SFC64(1))
    message = r"state\['generators'\]\[0\] must be the state of a SFC64 generator, got PCG64"
    assert_refused(parts, file, message)


BROKEN = {
    "run": (lambda tree: tree.pop("run"), "checkpoint is missing run"),
    "unknown": (lambda tree: tree.update({0: 1}), "checkpoint has the unknown 0"),
    "in run": (lambda tree: tree["run"].pop("batch_size"), "one with batch_size None .* has 16"),
    "more in run": (lambda tree: tree["run"].update(a=1), "one with a 1 where this has None"),
    "run no dict": (
        lambda tree: tree.update(run=[1]),
        r"checkpoint's run must be a dict, got \[1\]",
    ),
    "generators": (
        lambda tree: tree["state"]["generators"].append(1),
        r"state\['generators'\] must number [01] as .*, got [12]",
    ),
    "losses": (
        lambda tree: tree["history"].update(loss=np.zeros(7)),
        r"history\['loss'\] must have shape \(8,\), got \(7,\)",
    ),
    "dtype": (
        lambda tree: tree["weights"].update({"head.bias": np.array([1], np.float16)}),
        r"weights\['head.bias'\] must have the dtype float(64|32), got float16",
    ),
    "state": (lambda tree: tree["state"].pop("optimizer"), "state is missing optimizer"),
    "history": (lambda tree: tree["history"].pop("loss"), "history is missing loss"),
    "best": (lambda tree: tree["best"].popitem(), "checkpoint's best is missing head"),
    "weights": (lambda tree: tree.update(weights=None), "weights must be a dict, got NoneType"),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("case", BROKEN)
def test_a_checkpoint_with_a_wrong_part_is_refused_and_nothing_changes(family, case, tmp_path):
    file = tmp_path / "run.npz"
    train(family, 2, checkpoint=file)
    tree = load_tree(file)
    change, message = BROKEN[case]
    change(tree)
    save_tree(file, tree)
    assert_refused(make(family, seed=1), file, message)


@pytest.mark.parametrize(
    ("entry", "value", "message"),
    [
        ("exp_avg.head.bias", np.ones(2), r"must have shape \(1,\), got \(2,\)"),
        ("exp_avg_sq.head.bias", np.array(["a"]), "must have the dtype float64, got <U1"),
        ("exp_avg_sq.head.bias", np.array([np.nan]), "must be finite, got nan"),
        ("other", np.ones(1), "has the unknown other"),
    ],
)
def test_another_state_of_a_numpy_optimizer_is_refused(entry, value, message, tmp_path):
    file = tmp_path / "run.npz"
    train("scratch", 2, checkpoint=file)
    tree = load_tree(file)
    tree["state"]["optimizer"][entry] = value
    save_tree(file, tree)
    assert_refused(make("scratch", seed=1), file, message)


TORCH_STATES = {
    "sizes": (
        lambda state: state["param_groups"][0]["params"].pop(),
        r"optimizer must have parameter groups of sizes \[6\], got \[5\]",
    ),
    "groups": (
        lambda state: state["param_groups"].append(state["param_groups"][0]),
        r"optimizer must have parameter groups of sizes \[6\], got \[6, 6\]",
    ),
    "shape": (
        lambda state: state["state"][0].update(exp_avg=np.zeros((2, 2))),
        r"exp_avg of the optimizer's parameter 0 must have shape \(21, 2\), got \(2, 2\)",
    ),
}


@pytest.mark.parametrize("case", TORCH_STATES)
def test_another_state_of_a_torch_optimizer_is_refused(case, tmp_path):
    file = tmp_path / "run.npz"
    train("torch", 2, checkpoint=file)
    tree = load_tree(file)
    change, message = TORCH_STATES[case]
    change(tree["state"]["optimizer"])
    save_tree(file, tree)
    assert_refused(make("torch", seed=1), file, message)


# What stays quiet, and wrong input


def test_training_is_silent_where_output_is_no_terminal(capfd):
    train("scratch", 2, progress=True)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("progress", [True, False])
def test_a_terminal_gets_a_bar(progress, monkeypatch, capsys):
    pytest.importorskip("tqdm")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    train("scratch", 2, progress=progress)
    shown = capsys.readouterr().err
    assert ("8/8" in shown and "validation=" in shown) == progress
    assert bool(shown) == progress


def test_training_a_numpy_model_never_imports_torch():
    code = (
        "import sys, numpy as np; from rnnbook import tasks; from rnnbook.train import fit\n"
        "from rnnbook.scratch import Linear, losses, optim\n"
        "from rnnbook.scratch.minimal import MinGRU\n"
        "from rnnbook.scratch.model import SequenceModel\n"
        "model = SequenceModel(MinGRU(2, 3), Linear(3, 1))\n"
        "rng = np.random.default_rng(0)\n"
        "fit(model, tasks.adding_problem(4, 4, rng), loss=losses.mse,\n"
        "    optimizer=optim.SGD(model.params), epochs=1, rng=rng)\n"
        "print(sorted({'torch', 'matplotlib', 'scipy'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


WRONG = [
    ({"epochs": 0}, "epochs must be a whole number of at least 1, got 0"),
    ({"batch_size": 0}, "batch_size must be a whole number"),
    ({"patience": 0}, "patience must be a whole number"),
    ({"patience": 2, "validation": None}, "validation must be given where patience is"),
    ({"max_norm": -1.0}, "max_norm must lie between 0 and inf, got -1.0"),
    ({"rng": 3}, "rng must be a numpy.random.Generator, got int"),
    ({"steps_per_epoch": 3}, "steps_per_epoch must be given where data is a function"),
    ({"resume": True}, "checkpoint must name a file where resume is True"),
    ({"validation": np.zeros(3)}, "validation must be a Batch, got ndarray"),
]


@pytest.mark.parametrize(("options", "message"), WRONG, ids=[message for _, message in WRONG])
def test_wrong_arguments_are_told_and_change_nothing(options, message):
    parts = make("scratch")
    before = weights(parts[0])
    with pytest.raises(ValueError, match=message):
        train("scratch", **({"epochs": 2} | options), parts=parts)
    assert equal(weights(parts[0]), before)


def test_wrong_data_and_models_are_told():
    model, loss, optimizer = make("scratch")
    with pytest.raises(ValueError, match="data must be a Batch or a function, got list"):
        fit(model, [1], loss=loss, optimizer=optimizer, epochs=1)
    with pytest.raises(ValueError, match=r"model must be a torch\.nn\.Module or have params"):
        fit(object(), problem()[0], loss=loss, optimizer=optimizer, epochs=1)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_optimizer_of_another_model_is_told(family):
    model, loss, _ = make(family)
    _, _, stranger = make(family)
    with pytest.raises(ValueError, match="optimizer must be made from the model's own parameters"):
        fit(model, problem()[0], loss=loss, optimizer=stranger, epochs=1)


if __name__ == "__main__":
    main(*sys.argv[1:])
