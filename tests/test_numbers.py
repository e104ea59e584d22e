"""Names of numbers: their grammar, and each exact baseline against brute force."""

import math
from collections import Counter

import numpy as np
import pytest

from rnnbook import tasks
from rnnbook.tasks import NUMBER_CHARACTERS, NUMBER_WORDS

NAMES = {
    0: "zero",
    13: "thirteen",
    20: "twenty",
    42: "forty-two",
    100: "one hundred",
    115: "one hundred fifteen",
    342: "three hundred forty-two",
    1000: "one thousand",
    30_000: "thirty thousand",
    90_090: "ninety thousand ninety",
    100_001: "one hundred thousand one",
    999_999: "nine hundred ninety-nine thousand nine hundred ninety-nine",
}


@pytest.fixture
def rng():
    return np.random.default_rng(20240611)


# Names


@pytest.mark.parametrize("n", NAMES)
def test_names_as_one_writes_them(n):
    assert tasks.number_name(n) == NAMES[n]
    assert tasks.number_words(n) == NAMES[n].replace("-", " ").split(" ")


def test_every_name_denotes_its_number_and_no_other():
    numbers = [*range(3000), *range(0, 10**6, 331), 10**6 - 1]
    names = [tasks.number_name(n) for n in numbers]
    assert [tasks.named_number(name) for name in names] == numbers
    assert len(set(names)) == len(set(numbers))


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "one ", "two one", "forty two", "forty-twelve", "twenty-hundred", "zero one"),
        *("hundred", "one hundred hundred", "twenty hundred", "one hundred and two", "One"),
        *("thousand", "one thousand thousand", "one thousand two thousand", "one thousand zero"),
        *("two hundred one hundred", "seven hundred-two", "forty--two", "forty-two ", "fourty"),
        "one hundred hundred hundred",  # a million, which has no name here
    ],
)
def test_what_is_no_name_denotes_nothing(text):
    assert tasks.named_number(text) is None


# Text


def test_tokens_and_text(rng):
    assert NUMBER_CHARACTERS[0] == "#"
    assert len(set(NUMBER_CHARACTERS)) == len(NUMBER_CHARACTERS)
    tokens = tasks.number_tokens("forty-two")
    assert tokens[0] == tokens[-1] == 0
    assert all(tokens[1:-1])
    assert tasks.number_text(tokens) == tasks.number_text([*tokens, 0, 0]) == "forty-two"


@pytest.mark.parametrize("below", [1, 20, 1000, 1001, 50_000, 10**6])
def test_number_names(rng, below):
    batch = tasks.number_names(200, rng, below=below)
    for x, target, length in zip(batch.x, batch.target, batch.lengths, strict=True):
        assert x[0] == target[length - 1] == 0
        np.testing.assert_array_equal(x[1:length], target[: length - 1])
        text = tasks.number_text(x)
        assert len(text) == length - 1
        assert tasks.named_number(text) < below


def test_numbers_are_uniform(rng):
    batch = tasks.number_names(20_000, rng, below=4)
    counts = Counter(tasks.number_text(x) for x in batch.x)
    assert set(counts) == {"zero", "one", "two", "three"}
    assert all(count == pytest.approx(5000, rel=0.05) for count in counts.values())


def test_latent_tells_whether_thousand_has_been_read(rng):
    batch = tasks.number_names(300, rng, below=3000)
    said = 0
    for x, length, latent in zip(batch.x, batch.lengths, batch.latent, strict=True):
        for t in range(length):
            assert latent[t] == ("thousand" in tasks.number_text(x[: t + 1]))
        said += latent[length - 1]
    assert 150 < said < 250


def brute_force(below, context):
    """Mean loss of the best predictor that sees ``context``, over every name there is."""
    follows, predictions = {}, 0
    for n in range(below):
        string = f"#{tasks.number_name(n)}#"
        for end in range(1, len(string)):
            follows.setdefault(context(string[:end]), Counter())[string[end]] += 1
            predictions += 1
    loss = 0.0
    for counts in follows.values():
        share = np.array(list(counts.values())) / counts.total()
        loss -= counts.total() * np.sum(share * np.log(share))
    return loss / predictions


BELOW = [1, 7, 1000, 1001, 2345]


@pytest.mark.parametrize("below", BELOW)
def test_least_loss_by_brute_force(below):
    exact = brute_force(below, lambda seen: seen)
    assert tasks.number_names_baseline(below=below) == pytest.approx(exact)


@pytest.mark.parametrize("below", BELOW)
@pytest.mark.parametrize("characters", [0, 1, 2, 3, 8])
def test_loss_of_who_sees_few_characters(below, characters):
    exact = brute_force(below, lambda seen: seen[len(seen) - min(len(seen), characters) :])
    baseline = tasks.number_names_baseline(below=below, characters=characters)
    assert baseline == pytest.approx(exact)


@pytest.mark.parametrize("below", BELOW)
def test_loss_of_who_forgets_thousand(below):
    def part(seen):
        if seen.endswith("thousand"):
            return "thousand"
        return seen[1:].split("thousand ")[-1]

    exact = brute_force(below, part)
    assert tasks.number_names_baseline(below=below, forgets=True) == pytest.approx(exact)


def test_baselines_are_in_order():
    """The more is seen the less is paid; forgetting costs about a coin at the end of each part."""
    losses = [tasks.number_names_baseline(characters=k) for k in (0, 1, 2, 3)]
    least, forgets = (tasks.number_names_baseline(forgets=f) for f in (False, True))
    assert losses == sorted(losses, reverse=True)
    assert least < forgets < losses[-1]
    predictions = math.log(10**6) / least
    assert (forgets - least) * predictions == pytest.approx(2 * math.log(2), rel=0.01)


def test_least_loss_by_simulation(rng):
    batch = tasks.number_names(20_000, rng)
    loss = len(batch) * math.log(10**6) / batch.mask.sum()
    assert loss == pytest.approx(tasks.number_names_baseline(), rel=0.005)


# Pairs


def test_spelling():
    pairs = tasks.spell([342, 0, 70_016])
    assert len(pairs) == 3
    np.testing.assert_array_equal(pairs.numbers, [342, 0, 70_016])
    np.testing.assert_array_equal(pairs.source, [[4, 5, 3, 0, 0], [1, 0, 0, 0, 0], [8, 1, 1, 2, 7]])
    np.testing.assert_array_equal(pairs.source_lengths, [3, 1, 5])
    np.testing.assert_array_equal(pairs.mask.sum(axis=1), [5, 2, 4])
    words = [[NUMBER_WORDS[token] for token in row] for row in pairs.target_out]
    assert words[0] == ["three", "hundred", "forty", "two", "<end>"]
    assert words[1] == ["zero", "<end>", *["<padding>"] * 3]
    assert words[2] == ["seventy", "thousand", "sixteen", "<end>", "<padding>"]


def test_targets_are_shifted_and_padded(rng):
    pairs = tasks.spelled_numbers(300, rng)
    assert pairs.target_in.shape == pairs.target_out.shape == pairs.mask.shape
    assert (pairs.target_in[:, 0] == 1).all()
    lengths = pairs.mask.sum(axis=1)
    for n, inside, outside, length in zip(
        pairs.numbers, pairs.target_in, pairs.target_out, lengths, strict=True
    ):
        np.testing.assert_array_equal(inside[1:length], outside[: length - 1])
        assert outside[length - 1] == 2
        assert not inside[length:].any()
        assert not outside[length:].any()
        assert [NUMBER_WORDS[token] for token in inside[1:length]] == tasks.number_words(n)
    assert len(set(NUMBER_WORDS)) == len(NUMBER_WORDS)


@pytest.mark.parametrize(("below", "counts"), [(10, 1), (11, 2), (2500, 4), (10**6, 6)])
def test_counts_of_digits_are_uniform(rng, below, counts):
    pairs = tasks.spelled_numbers(12_000, rng, below=below)
    assert pairs.numbers.min() < 10
    assert pairs.numbers.max() < below
    digits, often = np.unique(pairs.source_lengths, return_counts=True)
    np.testing.assert_array_equal(digits, np.arange(1, counts + 1))
    np.testing.assert_allclose(often, 12_000 / counts, rtol=0.1)
    one_digit = pairs.numbers[pairs.source_lengths == 1]
    np.testing.assert_allclose(np.bincount(one_digit), len(one_digit) / 10, rtol=0.2)


@pytest.mark.parametrize("below", [10, 11, 2500, 21_000])
@pytest.mark.parametrize("sees_length", [False, True])
def test_spelled_numbers_baseline(below, sees_length):
    """Each number by itself: its probability, and its number of symbols."""
    digits = np.array([len(str(n)) for n in range(below)])
    each = np.bincount(digits)[digits]  # numbers with as many digits
    probability = 1 / each / digits.max()
    symbols = np.array([len(tasks.number_words(n)) + 1 for n in range(below)])
    surprise = np.log(each) if sees_length else -np.log(probability)
    exact = probability @ surprise / (probability @ symbols)
    baseline = tasks.spelled_numbers_baseline(below=below, sees_length=sees_length)
    assert baseline == pytest.approx(exact)


RNG = np.random.default_rng(0)
WRONG = [
    (lambda: tasks.number_words(10**6), "n must be a whole number between 0 and 999999"),
    (lambda: tasks.number_words(-1), "n must be a whole number between 0 and 999999, got -1"),
    (lambda: tasks.number_name(3.0), "n must be a whole number between 0 and 999999, got 3.0"),
    (lambda: tasks.number_name(True), "n must be a whole number between 0 and 999999, got True"),
    (lambda: tasks.number_text([1.5]), "tokens must hold whole numbers, got float64"),
    (lambda: tasks.number_text([]), r"tokens must have shape \(T,\), got \(0,\)"),
    (lambda: tasks.number_tokens("two!"), "text must hold the characters .* got '!'"),
    (lambda: tasks.number_text([22]), "tokens must lie between 0 and 21, got 22"),
    (lambda: tasks.number_names(0, RNG), "batch must be a whole number of at least 1, got 0"),
    (lambda: tasks.number_names(1, 3), "rng must be a numpy.random.Generator, got int"),
    (lambda: tasks.number_names(1, RNG, below=0), "below must be a whole number between 1 and"),
    (
        lambda: tasks.number_names(1, RNG, below=10**7),
        "below must be a whole number between 1 and 1000000",
    ),
    (lambda: tasks.number_names_baseline(characters=9), "characters must be a whole number .* 8"),
    (
        lambda: tasks.number_names_baseline(characters=1, forgets=True),
        "characters must be None where forgets is True, got 1",
    ),
    (lambda: tasks.spell([10**6]), "n must be a whole number between 0 and 999999"),
    (lambda: tasks.spell([]), r"numbers must have shape \(B,\), got \(0,\)"),
    (lambda: tasks.spelled_numbers(0, RNG), "batch must be a whole number of at least 1, got 0"),
    (lambda: tasks.spelled_numbers(1, 3), "rng must be a numpy.random.Generator, got int"),
    (lambda: tasks.spelled_numbers(1, RNG, below=0), "below must be a whole number"),
]


@pytest.mark.parametrize(("call", "message"), WRONG, ids=[message for _, message in WRONG])
def test_wrong_input_is_told(call, message):
    with pytest.raises(ValueError, match=message):
        call()
