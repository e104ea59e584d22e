"""The experiment on rules and positions: its tasks, its four models, and how they are tuned."""

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6", reason="the linear model is scikit-learn's")
pytest.importorskip("torch", reason="network and convolution are torch's")

import torch

from rnnbook.experiments.studies import rule_or_position as study
from rnnbook.tasks import Batch

KINDS = ("linear", "network", "convolution", "recurrent")


def sequences(task="latch", n=50, seed=0, **options):
    return study.sequences(task, n, np.random.default_rng(seed), **options)


def test_the_targets_are_what_it_says():
    latch = sequences()
    for x, target in zip(latch.x, latch.target, strict=True):
        marked = np.flatnonzero(x[:, 1])
        assert marked[0] == 0
        assert target == x[marked[-1], 0]
    assert latch.x[:, 1:, 1].mean() == pytest.approx(0.2, abs=0.04)
    calendar = sequences("calendar")
    expected = calendar.x[:, :, 0] @ study.CALENDAR
    np.testing.assert_allclose(calendar.target[:, 0], expected, rtol=1e-4, atol=1e-5)
    assert study.error(latch.target, latch.target) == 0
    constant = np.full(50, latch.target.mean())
    assert study.error(constant, latch.target) == pytest.approx(1)


def test_marks_are_as_rare_as_one_asks():
    rare = sequences(n=500, steps=200, marked=0.02)
    assert rare.x.shape == (500, 200, 2)
    assert rare.x[:, 1:, 1].mean() == pytest.approx(0.02, abs=0.003)


@pytest.mark.parametrize("kind", ["network", "convolution"])
@pytest.mark.parametrize("version", [0, 1])
def test_a_network_of_twenty_steps_slides_to_the_end(kind, version):
    model = study.build(kind, study.VERSIONS[kind][version], seed=0)
    long = sequences(steps=200)
    ends = Batch(long.x[:, -study.STEPS :], long.target)
    same = np.allclose(study.predict(model, long), study.predict(model, ends), atol=1e-6)
    assert same == (kind == "network")  # a convolution sees further back
    np.testing.assert_array_equal(study.flat(long), study.flat(ends))


def test_the_last_output_of_a_convolution_sees_29_steps_and_the_largest_all():
    x = sequences(n=4, steps=60).x
    for pool, sees in (("last", 29), ("max", 60)):
        model = study.build("convolution", {"pool": pool}, seed=1)
        inputs = torch.from_numpy(x).requires_grad_()
        model(inputs).sum().backward()
        assert inputs.grad is not None
        moves = inputs.grad.abs().sum(dim=(0, 2)).numpy() > 0
        assert moves[-sees:].any()
        assert not moves[:-sees].any()
        if pool == "last":
            assert moves[[-1, -29]].all()


def test_the_best_on_the_last_fifth_is_taken():
    data = sequences(n=60)
    validation = data.take(slice(48, None))
    model, rate, version = study.tuned("network", data, 0, rates=(0.01, 0.03), updates=20)
    best = study.error(study.predict(model, validation), validation.target)
    losses = {}
    for other in study.VERSIONS["network"]:
        for r in (0.01, 0.03):
            again = study.build("network", other, 0)
            rng = np.random.default_rng(0)
            study.learn(again, data.take(slice(48)), validation, r, rng, 20)
            losses[r, str(other)] = study.error(study.predict(again, validation), validation.target)
    assert best == pytest.approx(min(losses.values()))
    assert losses[rate, str(version)] == pytest.approx(best)


def test_the_last_fifth_is_not_learned_from():
    data = sequences(n=60)
    other = Batch(data.x, np.where(np.arange(60)[:, None] < 48, data.target, 9))
    one, another = (study.build("recurrent", {"units": 4}, 0) for _ in range(2))
    for model, batch in ((one, data), (another, other)):
        fifth = batch.take(slice(48, None))
        study.learn(model, batch.take(slice(48)), fifth, 0.01, np.random.default_rng(0), 2)
    np.testing.assert_array_equal(study.predict(one, data), study.predict(another, data))


def test_a_run_repeats_and_tests_each_model_on_new_sequences():
    latch, calendar = study.settings(True)
    found = study.run(latch, 0)
    assert found == study.run(latch, 0)
    assert found != study.run(latch, 1)
    for kind in KINDS:
        assert {kind, f"{kind} long", f"{kind} rare"} <= set(found)
    assert found["recurrent"] < 0.8 < 0.9 < found["linear"]
    found = study.run(calendar, 0)
    assert found["linear"] < 0.01  # it is linear
    assert 0.02 < found["network"] < 0.5  # far less where it has been trained
    assert found["recurrent"] > 0.7
    assert "linear long" not in found
