"""The experiments on attention: their tasks, their equal parameters, and what they store."""

import json

import pytest

pytest.importorskip("torch", reason="the experiments train torch modules")

import numpy as np
import torch
from torch.nn import functional as F

from rnnbook.experiments import load_results, summarize
from rnnbook.experiments.studies import architectures, spelled_numbers
from rnnbook.tasks.numbers import NUMBER_WORDS, number_words

KEYS, VALUES = architectures.KEYS, architectures.VALUES


def rng():
    return np.random.default_rng(0)


# The tasks


def test_recall_shows_every_pair_once_and_asks_for_each():
    batch = architectures.recall(20, 6, rng())
    assert batch.x.shape == (20, 12, 2)
    for x, target in zip(batch.x, batch.target, strict=True):
        (shown, asked) = x[:6], x[6:]
        pairs = {key: value - KEYS for key, value in shown.tolist()}
        assert len(pairs) == 6
        assert all(0 <= value < VALUES for value in pairs.values())
        assert (asked[:, 1] == KEYS + VALUES).all()
        assert sorted(asked[:, 0]) == sorted(pairs)
        assert target.tolist() == [pairs[key] for key in asked[:, 0]]
    assert any((x[:6, 0] != x[6:, 0]).any() for x in batch.x)


def test_cups_are_swapped_as_told():
    batch = architectures.cups(30, 15, rng())
    for x, target in zip(batch.x[:, :, 0], batch.target, strict=True):
        row = ["ball", "", "", "", ""]
        for swap, ball in zip(x, target, strict=True):
            one, other = architectures.SWAPS[swap]
            row[one], row[other] = row[other], row[one]
            assert row[ball] == "ball"
    assert len(architectures.SWAPS) == 10


def test_parity_is_that_of_the_library():
    batch = architectures.parity(5, 9, rng())
    assert batch.x.shape == (5, 9, 1)
    np.testing.assert_array_equal(batch.x[:, :, 0].cumsum(1) % 2, batch.target)


# The networks


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("task", architectures.TASKS)
def test_parameters_are_equal(task):
    _, symbols, answers = architectures.TASKS[task]
    models = [architectures.Model(name, symbols, answers) for name in architectures.BODIES]
    counts = [count(model.body) for model in models]
    assert max(counts) < 1.1 * min(counts)
    assert counts[0] == pytest.approx(26_000, rel=0.05)
    others = {count(model) - count(model.body) for model in models}
    assert len(others) == 1


def test_a_block_adds_to_what_it_reads():
    """Its docstring's two equations, with a mixer that looks one step back."""
    torch.manual_seed(0)

    class Back(torch.nn.Module):
        def forward(self, x):
            return x.roll(1, dims=1)

    block = architectures.Block(Back(), 6).double()
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    between = x + F.layer_norm(x, (6,)).roll(1, dims=1)
    _, first, _, second = block.mlp
    expected = between + second(F.gelu(first(F.layer_norm(between, (6,)))))
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize("name", architectures.BODIES)
def test_no_network_sees_the_future(name):
    torch.manual_seed(0)
    model = architectures.Model(name, 10, 5).double()
    x = torch.randint(0, 10, (2, 7, 1))
    other = x.clone()
    other[:, 4] = (other[:, 4] + 1) % 10
    ours, theirs = model(x), model(other)
    torch.testing.assert_close(ours[:, :4], theirs[:, :4])
    assert (ours[:, 4:] != theirs[:, 4:]).any(2).all()


def test_turned_keys_and_queries_know_their_distance_only():
    q, k = torch.randn(2, 8, dtype=torch.float64).unbind()
    steps = 12
    queries, keys = (architectures.turned(v.expand(steps, 8)) for v in (q, k))
    products = queries @ keys.T
    for distance in range(-4, 5):
        along = products.diagonal(distance)
        torch.testing.assert_close(along, along[:1].expand_as(along))
    assert products[0, 0] == pytest.approx(float(q @ k))
    assert products[0].std() > 1e-3
    second = torch.eye(8, dtype=torch.float64)[1]  # 10000^(-2/8) = 0.1 a step
    expected = torch.tensor([0, np.cos(0.3), 0, 0, 0, np.sin(0.3), 0, 0])
    torch.testing.assert_close(architectures.turned(second.expand(4, 8))[3], expected)


def test_attention_is_what_torch_says_it_is():
    torch.manual_seed(0)
    layer = architectures.Attention(8, heads=2).double()
    x = torch.randn(3, 5, 8, dtype=torch.float64)
    q, k, v = layer.project(x).split(8, dim=2)
    heads = []
    for h in (slice(0, 4), slice(4, 8)):
        scores = architectures.turned(q[..., h]) @ architectures.turned(k[..., h]).mT / 2
        scores = scores.masked_fill(torch.ones(5, 5).triu(1).bool(), -torch.inf)
        heads.append(scores.softmax(2) @ v[..., h])
    torch.testing.assert_close(layer(x), layer.back(torch.cat(heads, 2)))


def test_answers_are_counted_where_they_are_asked():
    batch = architectures.recall(4, 3, rng())
    wanted = F.one_hot(torch.from_numpy(batch.target), VALUES).float()

    def perfect(x):  # wrong wherever nothing is asked
        return torch.cat([torch.zeros_like(wanted), wanted], 1)

    assert architectures.right(perfect, batch).all()
    good = architectures.loss(100 * perfect(batch.x), torch.from_numpy(batch.target))
    assert good == pytest.approx(0, abs=1e-6)
    wrong = architectures.right(lambda x: perfect(x).flip(2), batch)
    assert not wrong.any()


@pytest.mark.slow
def test_architectures_run_and_repeat():
    settings = architectures.settings(True)
    assert len(settings) == 22
    for setting in (settings[0], settings[-1]):
        first, again, other = (architectures.run(setting, seed) for seed in (0, 0, 1))
        assert first["curve"].tolist() == again["curve"].tolist() != other["curve"].tolist()
        assert len(first["curve"]) == 10
    assert len(first["blocks"]) == architectures.TESTED // architectures.TRAINED
    assert first["far"] == pytest.approx(first["blocks"][-1], abs=1e-4)


# Spelled numbers


def test_no_number_is_both_trained_on_and_tested():
    train, test = spelled_numbers.split(300, 200, rng())
    assert (len(train), len(test)) == (300, 200)
    assert not set(train.numbers) & set(test.numbers)


def test_right_wants_every_word_and_the_end():
    _, test = spelled_numbers.split(10, 50, rng())

    class Speller(torch.nn.Module):
        """Knows the numbers by heart, and is wrong about those in ``spoiled``."""

        def translate(self, source, lengths, *, begin, end, longest):
            tokens = torch.from_numpy(test.target_out.copy())
            tokens[3, 0] += 1  # a wrong word
            tokens[4][tokens[4] == end] = 5  # no end
            assert (begin, end) == (1, 2)
            assert number_words(test.numbers[0])[0] == NUMBER_WORDS[tokens[0, 0]]
            return tokens, None

    good = spelled_numbers.right(Speller(), test)
    assert np.flatnonzero(~good).tolist() == [3, 4]

    class Terse(torch.nn.Module):
        """Says one word only, so that its answer has fewer steps than the longest right one."""

        def translate(self, source, lengths, *, begin, end, longest):
            return torch.from_numpy(test.target_out[:, :1].copy()), None

    assert not spelled_numbers.right(Terse(), test).any()


@pytest.mark.slow
def test_what_is_learned_is_the_next_word():
    pairs, _ = spelled_numbers.split(64, 1, rng())
    torch.manual_seed(0)
    model = spelled_numbers.Seq2Seq(spelled_numbers.DIGITS, len(NUMBER_WORDS), 16)
    last = spelled_numbers.train_on(model, pairs, 100, 32, 0.02, rng())
    arrays = pairs.source, pairs.target_in, pairs.target_out, pairs.mask
    source, target_in, target_out, mask = map(torch.from_numpy, arrays)
    with torch.no_grad():
        logits, _ = model(source, pairs.source_lengths, target_in)
    found = float(F.cross_entropy(logits[mask], target_out[mask]))
    assert found < 2  # ln 33 = 3.5 before
    assert last == pytest.approx(found, rel=0.15)  # the last updates, not the first


def test_by_digits_is_in_the_order_of_the_digits(monkeypatch):
    monkeypatch.setattr(spelled_numbers, "train_on", lambda *_: 0.0)
    monkeypatch.setattr(spelled_numbers, "right", lambda _, pairs: pairs.source_lengths == 5)
    found = spelled_numbers.run(spelled_numbers.settings(True)[0], 0)
    assert found["by_digits"] == [None, 0, 0, 0, 1, 0]  # all of one digit are trained on


@pytest.mark.slow
def test_spelled_numbers_run_and_repeat():
    plain, _, attentive = spelled_numbers.settings(True)[:3]
    first, again, other = (spelled_numbers.run(s, 0) for s in (plain, plain, attentive))
    assert first == again
    assert first["train_loss"] != other["train_loss"]
    assert first["parameters"] == other["parameters"]
    assert json.dumps(first)


# What is stored


@pytest.mark.parametrize("module", [architectures, spelled_numbers])
def test_stored_results_are_of_the_present_settings(module):
    results = load_results(module.__name__.rpartition(".")[2])
    stored = [(run["setting"], run["seed"]) for run in results["runs"]]
    seeds = range(module.SEEDS)
    assert stored == [(setting, seed) for setting in module.settings(False) for seed in seeds]


def test_attention_spells_numbers_that_one_vector_does_not():
    by = ["model", "trained", "updates"]
    groups = summarize(load_results("spelled_numbers"), "accuracy", by)
    found = {tuple(group[name] for name in by): group for group in groups}
    for trained in (500, 1000, 2000, 4000):
        for updates in (600, 2400):
            plain = found["one vector", trained, updates]
            assert found["attention", trained, 600]["low"] > plain["high"]


def stored(task, metric, updates):
    """{(model, size): its group} of a task in the stored results."""
    results = load_results("architectures")
    wanted = {"task": task, "updates": updates}
    runs = [run for run in results["runs"] if wanted.items() <= run["setting"].items()]
    groups = summarize(results | {"runs": runs}, metric, ["model", "size"])
    return {(group["model"], group["size"]): group for group in groups}


def test_only_attention_recalls_many_pairs():
    found = stored("recall", "accuracy", 1000)
    for pairs in architectures.PAIRS:
        assert found["attention", pairs]["low"] > 0.99
    longer = stored("recall", "accuracy", 4000)
    for name in ("LSTM", "linear recurrence"):
        means = [found[name, pairs]["mean"] for pairs in architectures.PAIRS]
        assert means == sorted(means, reverse=True)
        assert means[0] > 0.7
        assert found[name, 32]["high"] < 0.4
        assert found[name, 16]["high"] < longer[name, 16]["low"] < longer[name, 16]["high"] < 0.99


@pytest.mark.parametrize(("task", "chance"), [("parity", 1 / 2), ("cups", 1 / 5)])
def test_only_the_lstm_keeps_track_far_beyond_what_it_was_trained_on(task, chance):
    found = stored(task, "far", 1000)
    steps = architectures.TRAINED
    assert found["LSTM", steps]["low"] > 0.9
    for name in ("linear recurrence", "attention"):
        assert abs(found[name, steps]["mean"] - chance) < 0.05


def test_more_updates_teach_parity_of_the_trained_length_only():
    near, far = (stored("parity", metric, 4000) for metric in ("accuracy", "far"))
    for name in ("linear recurrence", "attention"):
        assert near[name, architectures.TRAINED]["mean"] > 0.85
        assert abs(far[name, architectures.TRAINED]["mean"] - 0.5) < 0.05
