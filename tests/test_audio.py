"""Synthesized vowels: their formants, their frames, and that only the order tells the class."""

import itertools

import numpy as np
import pytest

from rnnbook import tasks
from rnnbook.tasks import FRAME, SAMPLE_RATE, VOWEL_ORDERS, audio
from rnnbook.tasks.audio import _syllables

FORMANTS = {"a": (730, 1090, 2440), "i": (270, 2290, 3010), "u": (300, 870, 2240)}


@pytest.fixture
def rng():
    return np.random.default_rng(20240612)


@pytest.fixture(scope="module")
def words():
    return tasks.vowel_words(1500, np.random.default_rng(20240613))


def spectrum(waveform):
    """Power at every Hz."""
    return np.abs(np.fft.rfft(waveform * np.hanning(len(waveform)), SAMPLE_RATE)) ** 2


# The sound


@pytest.mark.parametrize("name", FORMANTS)
@pytest.mark.parametrize("tract", [1.0, 1.15])
def test_a_vowel_has_its_formants(name, tract):
    """At a low pitch the pulses sample the filter finely: its peaks are at the formants."""
    sound = tasks.vowel(name, frames=60, pitch=(25, 25), tract=tract)
    middle = sound[len(sound) // 4 : -len(sound) // 4]
    smooth = np.convolve(spectrum(middle), np.hanning(60), mode="same")
    level = np.log(smooth) + 1.0 * np.log(np.maximum(np.arange(len(smooth)), 1))  # source: 1 / f
    peaks = [f for f in range(150, 3900) if level[f] == level[f - 60 : f + 61].max()]
    for formant in FORMANTS[name]:
        assert min(abs(peak - tract * formant) for peak in peaks) < 45


@pytest.mark.parametrize("pitch", [90, 130, 200])
def test_a_vowel_has_its_pitch(pitch):
    def heard(sound):
        same = np.correlate(sound, sound, mode="full")[len(sound) - 1 :]
        return SAMPLE_RATE / (20 + np.argmax(same[20:120]))

    assert heard(tasks.vowel("a", frames=20, pitch=(pitch, pitch))) == pytest.approx(
        pitch, rel=0.03
    )
    glide = np.split(tasks.vowel("a", frames=66, pitch=(pitch, 1.3 * pitch)), 11)
    for place in (2, 8):  # the third of eleven parts, and the third from the end
        expected = pitch * (1 + 0.3 * (place + 0.5) / 11)
        assert heard(glide[place]) == pytest.approx(expected, rel=0.03)


@pytest.mark.slow
def test_a_vowel_opens_from_the_neutral_tract_and_closes():
    a, i = (tasks.log_mel(tasks.vowel(name, frames=80, pitch=(50, 50))) for name in "ai")
    apart = np.abs((a - a.mean(1, keepdims=True)) - (i - i.mean(1, keepdims=True))).mean(axis=1)
    assert max(apart[0], apart[-1]) < 0.2 * apart[40]  # loudness aside
    # The loudness alone, where the formants stay: half of the full one after an eighth of the time.
    neutral = np.array([[500.0, 1500.0, 2500.0]])
    sound = _syllables(neutral, neutral, np.array([80]), np.array([[100.0, 100.0]]))
    loudness = np.sqrt(np.mean(sound.reshape(80, FRAME) ** 2, axis=1)) / np.std(sound[0, 6000:7000])
    expected = np.clip(4 * np.minimum(np.arange(80) + 0.5, 79.5 - np.arange(80)) / 80, 0, 1)
    np.testing.assert_allclose(loudness, expected, atol=0.06)


def test_a_vowel_has_its_loudness():
    sound = tasks.vowel("u", frames=5)
    assert sound.shape == (5 * FRAME,)
    assert np.sqrt(np.mean(sound**2)) == pytest.approx(0.1)


def test_a_resonance_is_that_of_its_recurrence():
    """One pulse through the cascade: the spectrum is the product of the resonators' responses."""
    formants = np.array([[700.0, 1200.0, 2500.0]])
    sound = _syllables(formants, formants, np.array([30]), np.array([[50.0, 50.0]]))[0]
    start, period = 10 * FRAME, SAMPLE_RATE // 50
    one = sound[start : start + period]  # a period of the periodic middle: its harmonics
    f = 50 * np.arange(1, 70)
    z = np.exp(-2j * np.pi * f / SAMPLE_RATE)
    response = 1 - z
    for frequency, width in zip((0, *formants[0]), (100, 60, 90, 150), strict=True):
        c = -np.exp(-2 * np.pi * width / SAMPLE_RATE)
        b = 2 * np.exp(-np.pi * width / SAMPLE_RATE) * np.cos(2 * np.pi * frequency / SAMPLE_RATE)
        response *= (1 - b - c) / (1 - b * z - c * z**2)
    np.testing.assert_allclose(np.abs(np.fft.rfft(one))[1:70], np.abs(response), rtol=2e-2)


def test_syllables_do_not_depend_on_their_company():
    """A shorter one has the same samples alone, and what follows it dies away."""
    formants = np.array([FORMANTS["a"], FORMANTS["u"]], dtype=float)
    neutral = np.full((2, 3), (500.0, 1500.0, 2500.0))
    frames, pitch = np.array([12, 5]), np.array([[100.0, 110.0], [200.0, 150.0]])
    both = _syllables(formants, neutral, frames, pitch)
    alone = _syllables(formants[1:], neutral[1:], frames[1:], pitch[1:])
    assert both.shape == (2, 12 * FRAME)
    np.testing.assert_array_equal(both[1, : 5 * FRAME], alone[0])
    assert np.abs(both[1, 8 * FRAME :]).max() < 1e-5 * np.abs(alone).max()


def test_waveforms(rng):
    loud = tasks.vowel_waveforms(["a", "iu", "auiau"], rng, noise=0, silence=0)
    for waveform, letters in zip(loud, (1, 2, 5), strict=True):
        assert len(waveform) % FRAME == 0
        assert 4 * letters <= len(waveform) // FRAME <= 12 * letters
        assert np.sqrt(np.mean(waveform**2)) == pytest.approx(0.1)
    many = tasks.vowel_waveforms(["a"] * 300, rng, noise=0, silence=3)
    pauses = [np.flatnonzero(waveform)[0] // FRAME for waveform in many]
    assert set(pauses) == {0, 1, 2, 3}
    noisy = tasks.vowel_waveforms(["a"] * 50, rng, noise=0.5, silence=400)
    before = np.concatenate([w[: len(w) - 12 * FRAME] for w in noisy])
    assert before.std() == pytest.approx(0.05, rel=0.02)


def test_speakers_and_syllables_are_drawn_as_told(rng, monkeypatch):
    given = []

    def steady(formants, neutral, frames, pitch):
        given.append((formants, neutral, frames, pitch))
        return np.ones((len(frames), FRAME * frames.max()))

    monkeypatch.setattr(audio, "_syllables", steady)
    waveforms = tasks.vowel_waveforms(["ai"] * 3000, rng, noise=0, silence=0)
    ((formants, neutral, frames, pitch),) = given
    tract = formants[::2, 0] / FORMANTS["a"][0]
    assert (tract.min(), tract.max()) == (
        pytest.approx(0.9, abs=0.01),
        pytest.approx(1.2, abs=0.01),
    )
    np.testing.assert_allclose(formants[1::2] / FORMANTS["i"], np.tile(tract, (3, 1)).T)
    np.testing.assert_allclose(neutral[::2] / (500, 1500, 2500), np.tile(tract, (3, 1)).T)
    assert set(frames) == set(range(4, 13))
    logs = np.log(pitch)  # (6000, 2): the speaker's and the glide's
    assert np.exp(logs.min()) == pytest.approx(90 * 0.85, rel=0.05)
    assert np.exp(logs.max()) == pytest.approx(220 * 1.15, rel=0.05)
    assert logs.mean() == pytest.approx(np.log(90 * 220) / 2, abs=0.02)
    ratio = pitch[:, 0] / pitch[:, 1]
    assert ratio.max() == pytest.approx(1.15 / 0.85, rel=0.03)
    assert np.corrcoef(logs[::2, 0], logs[1::2, 0])[0, 1] > 0.8  # one speaker, both syllables
    loudness = np.array([waveform[0] / waveform[-1] for waveform in waveforms])
    assert (loudness.min(), loudness.max()) == (
        pytest.approx(0.5, rel=0.05),
        pytest.approx(2, rel=0.05),
    )


# Frames


def test_log_mel_puts_a_tone_into_its_band():
    """Centres of the triangles by hand: 16 bands, 17 equal steps from 0 to 2146 mel."""
    top = 2595 * np.log10(1 + 4000 / 700)
    centres = 700 * (10 ** (top * np.arange(1, 17) / 17 / 2595) - 1)
    time = np.arange(10 * FRAME + 7) / SAMPLE_RATE
    for band in range(16):
        frames = tasks.log_mel(np.sin(2 * np.pi * centres[band] * time))
        assert frames.shape == (10, 16)
        assert (frames.argmax(axis=1) == band).all()


def test_log_mel_is_a_logarithm_of_power(rng):
    waveform = rng.standard_normal(50 * FRAME)
    frames = tasks.log_mel(waveform)
    np.testing.assert_allclose(tasks.log_mel(10 * waveform), frames + 2)
    # White noise of variance 1: each band's mean power is the window's, mean of hanning squared.
    power = np.mean(10**frames)
    assert power == pytest.approx(np.mean(np.hanning(FRAME) ** 2), rel=0.1)
    assert (tasks.log_mel(np.zeros(FRAME)) == -8).all()


def test_frames_are_those_of_the_waveforms():
    batch = tasks.vowel_words(5, np.random.default_rng(2), bands=12)
    again = np.random.default_rng(2)
    order = again.integers(0, 6, 5)
    np.testing.assert_array_equal(batch.target, order)
    waveforms = tasks.vowel_waveforms([VOWEL_ORDERS[k] for k in order], again)
    for x, length, waveform in zip(batch.x, batch.lengths, waveforms, strict=True):
        np.testing.assert_allclose(x[:length], tasks.log_mel(waveform, bands=12))
        assert not x[length:].any()


def test_latent_spells_the_word(words):
    assert tuple(sorted(VOWEL_ORDERS)) == VOWEL_ORDERS
    assert len(VOWEL_ORDERS) == 6
    for latent, length, target in zip(words.latent, words.lengths, words.target, strict=True):
        runs = [(key, len(list(run))) for key, run in itertools.groupby(latent[:length])]
        assert "".join("-aiu"[key] for key, _ in runs).lstrip("-") == VOWEL_ORDERS[target]
        assert all(4 <= size <= 12 for key, size in runs if key)
        assert not latent[length:].any()
    silence = (words.latent[:, :26] == 0).cumprod(axis=1).sum(axis=1)
    assert set(silence) == set(range(26))
    assert (np.bincount(words.target) > 150).all()


# Only the order tells


def ridge_accuracy(train, test, targets):
    """Of a linear classifier by least squares, on features in units of their deviation."""
    mean, spread = train.mean(axis=0), train.std(axis=0) + 1e-9
    train, test = ((x - mean) / spread for x in (train, test))
    train, test = (np.column_stack([x, np.ones(len(x))]) for x in (train, test))
    gram = train.T @ train + 10 * np.eye(train.shape[1])
    weight = np.linalg.solve(gram, train.T @ np.eye(6)[targets[: len(train)]])
    return np.mean((test @ weight).argmax(axis=1) == targets[len(train) :])


def test_durations_and_frames_say_nothing_without_their_order(words):
    """Sums, sums of squares and extremes over time, and the number of frames: all near 1/6."""
    x, padding = words.x, (np.arange(words.x.shape[1]) >= words.lengths[:, None])[:, :, None]
    extremes = np.where(padding, 9, x).min(axis=1), np.where(padding, -9, x).max(axis=1)
    blind = np.column_stack([words.lengths, x.sum(axis=1), (x**2).sum(axis=1), *extremes])
    accuracy = ridge_accuracy(blind[:1000], blind[1000:], words.target)
    error = np.sqrt(1 / 6 * 5 / 6 / 500)
    assert abs(accuracy - tasks.vowel_words_baseline()) < 3 * error


def test_frames_in_order_say_it(words):
    """A sort of all frames, each recognized, into the order of the first of each vowel."""
    frames = words.x[words.latent > 0]
    kinds = words.latent[words.latent > 0] - 1
    centres = np.stack([frames[kinds == k].mean(axis=0) for k in range(3)])
    silence = words.x[:, :1][words.latent[:, :1] == 0].mean(axis=0)
    votes = ((words.x[:, :, None] - np.stack([silence, *centres])) ** 2).sum(axis=3).argmin(axis=2)
    steps = np.arange(words.x.shape[1])
    valid = steps < words.lengths[:, None]
    middles = np.stack(
        [
            ((votes == k) * valid * steps).sum(axis=1)
            / np.maximum(((votes == k) * valid).sum(axis=1), 1)
            for k in (1, 2, 3)
        ],
        axis=1,
    )
    guess = [VOWEL_ORDERS.index("".join("aiu"[k] for k in row)) for row in middles.argsort(axis=1)]
    assert np.mean(guess == words.target) > 0.9


def test_exchanging_two_places_exchanges_two_classes():
    """What the proof says: the same draws with two letters exchanged give the same syllables
    in another order where the draws of these places are exchanged as well."""
    formants = {name: np.array([values], dtype=float) for name, values in FORMANTS.items()}
    neutral = np.array([[500.0, 1500.0, 2500.0]])
    draws = [(5, (100, 110)), (9, (90, 120)), (7, (130, 100))]

    def frames(word, draws):
        parts = [
            _syllables(formants[name], neutral, np.array([size]), np.array([pitch], dtype=float))[0]
            for name, (size, pitch) in zip(word, draws, strict=True)
        ]
        return tasks.log_mel(np.concatenate(parts))

    first = frames("aiu", draws)
    second = frames("iau", [draws[1], draws[0], draws[2]])
    assert not np.allclose(first, second)
    np.testing.assert_allclose(np.sort(first, axis=0), np.sort(second, axis=0))


def test_baseline():
    assert [tasks.vowel_words_baseline(k) for k in (0, 1, 2, 3)] == [1 / 6, 1 / 2, 1, 1]


RNG = np.random.default_rng(0)
WRONG = [
    (lambda: tasks.vowel("o"), "name must be one of 'a', 'i', 'u', got 'o'"),
    (lambda: tasks.vowel("a", frames=0), "frames must be a whole number of at least 1, got 0"),
    (lambda: tasks.vowel("a", pitch=(0, 100)), "pitch must lie between 20 and 1000, got 0"),
    (lambda: tasks.vowel("a", pitch=(100,)), r"pitch must have shape \(2,\), got \(1,\)"),
    (
        lambda: tasks.vowel("a", frames=1, pitch=(20, 20)),
        r"frames must be enough for a pulse at the pitch \(20, 20\), got 1",
    ),
    (lambda: tasks.vowel("a", tract=2.0), "tract must lie between 0.5 and 1.3, got 2.0"),
    (lambda: tasks.vowel_waveforms(["ao"], RNG), "words must be made of .* got 'ao'"),
    (lambda: tasks.vowel_waveforms([""], RNG), "words must be made of the letters .* got ''"),
    (lambda: tasks.vowel_waveforms([], RNG), "words must hold one word at least, got none"),
    (lambda: tasks.vowel_waveforms(["a"], 1), "rng must be a numpy.random.Generator, got int"),
    (lambda: tasks.vowel_words(0, RNG), "batch must be a whole number of at least 1, got 0"),
    (lambda: tasks.vowel_words(1, RNG, noise=-1.0), "noise must lie between 0 and inf, got -1.0"),
    (lambda: tasks.vowel_words(1, RNG, silence=-1), "silence must be a whole number .* got -1"),
    (
        lambda: tasks.vowel_words(1, RNG, bands=25),
        "bands must be a whole number between 1 and 24, got 25",
    ),
    (lambda: tasks.log_mel(np.zeros(9)), "waveform's length must lie between 160 and inf, got 9"),
    (lambda: tasks.log_mel(np.full(200, np.nan)), "waveform must be finite, got nan"),
    (lambda: tasks.vowel_words_baseline(4), "known must be a whole number between 0 and 3, got 4"),
    (lambda: tasks.vowel_words_baseline(1.5), "known must be a whole number .* got 1.5"),
    (lambda: tasks.vowel_waveforms(["a"], RNG, silence=2.5), "silence must be a whole number"),
]


@pytest.mark.parametrize(("call", "message"), WRONG, ids=[message for _, message in WRONG])
def test_wrong_input_is_told(call, message):
    with pytest.raises(ValueError, match=message):
        call()
