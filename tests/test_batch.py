"""A batch of whatever holds numbers, or one sentence; and which of its targets count."""

import numpy as np
import pytest
from test_train import FAMILIES, problem, train

from rnnbook.scratch import GRU, Linear, SequenceModel, losses, optim
from rnnbook.tasks import Batch
from rnnbook.tasks.buckets import bucketed
from rnnbook.train import evaluate, fit


def pandas(batch):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(batch.target, index=range(100, 150))
    return Batch(batch.x, frame)


def tensors(batch, change=lambda tensor: tensor):
    torch = pytest.importorskip("torch")
    return Batch(change(torch.tensor(batch.x)), torch.tensor(batch.target, requires_grad=True))


def read_only(batch):
    batch.x.flags.writeable = False
    return batch


SAME = {
    "tensors": tensors,
    "lists": lambda b: Batch(b.x.tolist(), b.target.tolist()),
    "pandas": pandas,
    "big-endian": lambda b: Batch(b.x.astype(">f8"), b.target.astype(">f8")),
    "reversed": lambda b: Batch(b.x[::-1].copy()[::-1], b.target[::-1].copy()[::-1]),
    "long": lambda b: Batch(b.x.astype(np.longdouble), b.target),
    "Fortran's order": lambda b: Batch(np.asfortranarray(b.x), b.target),
    "read-only": read_only,
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", SAME)
def test_training_on_it_is_training_on_arrays(kind, family):
    batch = SAME[kind](problem()[0])
    _, expected = train(family, 2, validation=problem()[0])
    _, history = train(family, 2, data=batch, validation=batch)  # which is taken in slices
    assert history == expected


def test_half_precision_tensors_become_float32():
    torch = pytest.importorskip("torch")
    batch = tensors(problem()[0], lambda tensor: tensor.to(torch.bfloat16))
    assert batch.x.dtype == np.float32


def test_an_array_is_kept_as_it_is():
    x, target = np.zeros((3, 2, 1)), np.zeros(3, np.int32)
    batch = Batch(x, target)
    assert batch.x is x
    assert batch.target is target


X = np.zeros((3, 4, 2))
WRONG = [
    ({"x": X.astype(object)}, "x must hold real numbers, got object"),
    ({"x": np.full((3, 4), "a")}, "x must hold real numbers, got <U1"),
    ({"x": [[1, 2], [3]]}, "x must be an array, got rows of unequal length"),
    ({"x": np.ma.array(X)}, "x must not be masked"),
    ({"x": X + 1j}, "x must hold real numbers, got complex128"),
    ({"x": None}, "x must hold real numbers, got object"),
    ({"x": 3}, "x must be an array of sequences, got 3"),
    ({"target": None}, "target must hold real numbers, got object"),
    ({"target": 3.0}, "target must be an array of sequences, got 3.0"),
    ({"x": np.zeros(3), "lengths": [1, 1, 1]}, r"x must have steps where .* lengths, got \(3,\)"),
    ({"lengths": [1, 2, 5]}, "lengths must lie between 1 and T = 4, got 5 at index 2"),
    ({"lengths": [1.0, 2, 3]}, "lengths must be integers, got float64"),
    ({"mask": np.ones((3, 4), int)}, "mask must be an array of bools, got int64"),
    ({"mask": np.ones((3, 5), bool)}, r"mask must have .* of \(3, 4, 1\), got \(3, 5\)"),
    (
        {"mask": np.ones(3, bool)},
        r"mask must have the target's first axes, two at least, .* \(3,\)",
    ),
]


@pytest.mark.parametrize(("changes", "message"), WRONG, ids=[message for _, message in WRONG])
def test_what_is_no_batch_is_told(changes, message):
    with pytest.raises(ValueError, match=message):
        Batch(**{"x": X, "target": np.zeros((3, 4, 1))} | changes)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, ">i8"])
def test_tokens_and_classes_of_every_width(family, dtype):
    tokens = np.array([[0, 2], [1, 1], [2, 0]])
    batch = Batch(tokens.astype(dtype), tokens[:, 0].astype(dtype))
    if family == "scratch":
        from rnnbook.scratch import Embedding

        model = SequenceModel(GRU(4, 5), Linear(5, 3), embedding=Embedding(3, 4))
        assert evaluate(model, batch, loss=losses.softmax_cross_entropy) > 0
    else:
        torch = pytest.importorskip("torch")

        model = torch.nn.Sequential(
            torch.nn.Embedding(3, 4), torch.nn.Flatten(), torch.nn.Linear(8, 3)
        )
        assert evaluate(model, batch, loss=torch.nn.functional.cross_entropy) > 0


# Which targets count


def forecasts(family, seed=0):
    """A regression for each step of sequences of 1 to 6 steps, whose padding says 1e3."""
    rng = np.random.default_rng(seed)
    x, lengths = rng.normal(size=(20, 6, 2)), rng.integers(1, 6, 20)
    lengths[0] = 6
    real = np.arange(6) < lengths[:, None]
    x[~real] = 0
    target = np.where(real[:, :, None], x.sum(axis=2, keepdims=True), 1e3)
    if family == "scratch":
        layer, head = GRU(2, 5, rng=rng), Linear(5, 1, rng=rng)
        model = SequenceModel(layer, head, many_to="many")
        return model, losses.mse, optim.Adam(model.params, lr=0.01), x, target, lengths, real
    torch = pytest.importorskip("torch")

    torch.manual_seed(seed)

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = torch.nn.GRU(2, 5, batch_first=True), torch.nn.Linear(5, 1)

        def forward(self, x, lengths):
            return self.head(self.rnn(x)[0])

    model = Model()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    return model, torch.nn.functional.mse_loss, optimizer, x, target, lengths, real


def masked(family, loss):
    """The loss by hand, of a mask."""
    if family == "scratch":
        return losses.mse
    return lambda prediction, target, mask: loss(prediction[mask], target[mask])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("batch_size", [1, 4, 20])
def test_padding_does_not_count_with_a_mask_or_with_lengths_alone(family, batch_size):
    histories, results = [], []
    for with_mask in (True, False):
        model, loss, optimizer, x, target, lengths, real = forecasts(family)
        batch = Batch(x, target, lengths, real if with_mask else None)
        loss = masked(family, loss) if with_mask else loss
        history = fit(
            model,
            batch,
            loss=loss,
            optimizer=optimizer,
            epochs=3,
            batch_size=batch_size,
            rng=np.random.default_rng(0),
            validation=batch,
        )
        histories.append(history)
        results.append(evaluate(model, batch, loss=loss, batch_size=7))
    assert max(histories[1].loss) < 100  # the padding's 1e3 would be seen
    for name in ("loss", "gradient_norm", "validation_loss"):
        first, second = (getattr(history, name) for history in histories)
        np.testing.assert_allclose(first, second, rtol=1e-6)
    assert results[0] == pytest.approx(results[1], rel=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_parts_weigh_by_the_steps_that_count(family):
    model, loss, _, x, target, lengths, _ = forecasts(family)
    batch = Batch(x, target, lengths)
    whole = evaluate(model, batch, loss=loss)
    assert evaluate(model, batch, loss=loss, batch_size=3) == pytest.approx(whole, rel=1e-5)


def test_a_target_for_each_sequence_has_no_padding():
    batch = Batch(np.zeros((3, 4, 2)), np.ones((3, 1)), np.array([1, 2, 3]))
    assert batch.counts is None
    assert batch.take(slice(0, 2)).target.shape == (2, 1)


def test_targets_for_each_step_are_cut_with_the_steps():
    batch = Batch(np.zeros((3, 4, 2)), np.ones((3, 4, 1)), np.array([1, 2, 3]))
    part = batch.take(slice(0, 2))
    assert part.target.shape == (2, 2, 1)
    assert part.counts.tolist() == [[True, False], [True, True]]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prediction_of_another_number_of_steps_is_told(family):
    model, loss, optimizer, x, target, lengths, _ = forecasts(family)
    if family == "scratch":
        model.many_to = "one"
    else:
        model.forward = lambda x, lengths: model.rnn(x)[0][:, -1]
    with pytest.raises(ValueError, match=r"prediction must have first axes \(20, 6\), .* \(20, "):
        fit(model, Batch(x, target, lengths), loss=loss, optimizer=optimizer, epochs=1)


# What there is nothing to learn from


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", ["data", "validation"])
def test_no_sequences_are_told(family, name):
    nothing = problem()[0].take(slice(0, 0))
    with pytest.raises(ValueError, match=f"{name} must hold one sequence at least, got none"):
        train(family, 1, **{name: nothing})


def test_no_sequences_and_no_batch_are_told_by_evaluate_and_of_functions():
    model = SequenceModel(GRU(2, 5), Linear(5, 1))
    nothing = problem()[0].take(slice(0, 0))
    with pytest.raises(ValueError, match="data must hold one sequence at least, got none"):
        evaluate(model, nothing, loss=losses.mse)
    with pytest.raises(ValueError, match="data must be a Batch, got list"):
        evaluate(model, [nothing], loss=losses.mse)
    for returned, message in ((nothing, "must hold one"), ((X, X), "must be a Batch, got tuple")):
        with pytest.raises(ValueError, match=f"what data returns {message}"):
            train("scratch", 1, data=lambda rng, batch=returned: batch, steps_per_epoch=2)


def test_nothing_that_counts_is_told():
    model, _, optimizer, x, target, lengths, real = forecasts("scratch")
    nowhere = np.zeros_like(real)
    settings = {"loss": losses.mse, "optimizer": optimizer, "epochs": 1}
    with pytest.raises(ValueError, match="data must hold one target that counts at least"):
        fit(model, Batch(x, target, mask=nowhere), **settings)
    nowhere[3:] = real[3:]
    partly = Batch(x, target, lengths, nowhere)
    with pytest.raises(ValueError, match="got sequence 0 without one and minibatches of 3"):
        fit(model, partly, batch_size=17, **settings)
    fit(model, partly, batch_size=10, **settings)  # seven count in every ten at least
    expected = evaluate(model, partly, loss=losses.mse)
    assert evaluate(model, partly, loss=losses.mse, batch_size=1) == pytest.approx(expected)


# Batches of about equal length


@pytest.mark.parametrize("count", [1, 3, 8, 100])
@pytest.mark.parametrize("buckets", [1, 2, 4, 200])
def test_buckets_hold_every_sequence_once(count, buckets):
    lengths = np.random.default_rng(0).integers(1, 10, count)
    batches = bucketed(lengths, 8, np.random.default_rng(1), buckets=buckets)
    assert sorted(np.concatenate(batches)) == list(range(count))
    assert 1 <= min(map(len, batches)) <= max(map(len, batches)) <= 8


def test_batches_of_different_buckets_do_not_overlap_in_length():
    lengths = np.random.default_rng(0).permutation(np.arange(1, 129))
    batches = bucketed(lengths, 8, np.random.default_rng(1), buckets=4)
    found = [set((lengths[batch] - 1) // 32) for batch in batches]
    assert all(len(bucket) == 1 for bucket in found)
    order = [bucket.pop() for bucket in found]
    assert order != sorted(order)  # nor does training go from short to long
    assert any(np.ptp(lengths[batch]) > 16 for batch in batches)  # within, as it comes


def real_share(lengths, batches):
    return lengths.sum() / sum(len(batch) * lengths[batch].max() for batch in batches)


@pytest.mark.parametrize("buckets", [1, 2, 4, 9])
def test_what_share_of_the_steps_is_real(buckets):
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 1001, 9 * 64 * 20)
    share = real_share(lengths, bucketed(lengths, 64, rng, buckets=buckets))
    assert share == pytest.approx(buckets / (buckets + 1), abs=0.02)


def test_other_batches_with_every_call_and_the_same_with_the_same_seed():
    lengths = np.full(40, 7)  # ties are drawn as well
    rng = np.random.default_rng(0)
    first, second = (bucketed(lengths, 10, rng) for _ in range(2))
    again = bucketed(lengths, 10, np.random.default_rng(0))
    assert np.array_equal(first, again)
    groups = {frozenset(batch.tolist()) for batch in first}
    assert groups != {frozenset(batch.tolist()) for batch in second}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lengths": [[1, 2]]}, r"lengths must have shape \(N,\), got \(1, 2\)"),
        ({"lengths": []}, r"lengths must have shape \(N,\), got \(0,\)"),
        ({"lengths": [1.0, 2.0]}, "lengths must be integers, got float64"),
        ({"lengths": [3, 0]}, "lengths must lie between 1 and T = 3, got 0 at index 1"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, got 0"),
        ({"rng": 3}, "rng must be a numpy.random.Generator, got int"),
        ({"buckets": 1.5}, "buckets must be a whole number of at least 1, got 1.5"),
    ],
)
def test_what_cannot_be_put_into_buckets_is_told(changes, message):
    good = {"lengths": [1, 2, 3], "batch_size": 2, "rng": np.random.default_rng(0)}
    with pytest.raises(ValueError, match=message):
        bucketed(**good | changes)
