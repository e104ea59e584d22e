"""Synthesized vowels: words whose class is the order of their sounds.

A voice is a source, pulses of the vocal folds, sent through a filter, the resonances of the vocal
tract (formants). Each resonance is a linear recurrence on the last two values (Klatt 1980):

    y_n = (1 - b - c) x_n + b y_{n-1} + c y_{n-2}
    b = 2 exp(-pi W / R) cos(2 pi F / R)       c = -exp(-2 pi W / R)

    F: frequency     W: bandwidth     R: samples per second

Dimensions: B words, T frames, F bands, N syllables, P samples.
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np

from rnnbook.checks import (
    check_between,
    check_choice,
    check_generator,
    check_positive,
    check_shape,
    check_whole,
    finite_series,
)
from rnnbook.tasks.batch import Batch

SAMPLE_RATE = 8000  # samples per second
FRAME = 160  # samples in a frame: 20 ms
_CONTROL = 40  # samples between two settings of the filter: 5 ms

# First three formants in Hz. Men's averages: Peterson & Barney (1952).
_VOWELS = {"a": (730, 1090, 2440), "i": (270, 2290, 3010), "u": (300, 870, 2240)}
_NEUTRAL = (500, 1500, 2500)  # a tube of one width, 17.5 cm long, closed at one end
_BANDWIDTHS = (60, 90, 150)

VOWEL_ORDERS = tuple("".join(order) for order in itertools.permutations(_VOWELS))


def vowel(
    name: str,
    *,
    frames: int = 15,
    pitch: tuple[float, float] = (120.0, 100.0),
    tract: float = 1.0,
) -> np.ndarray:
    """The sound of one vowel, "a" as in "hod", "i" as in "heed" or "u" as in "who'd".

    The tract moves from its neutral form to that of the vowel and back: all formants along a
    line in the first quarter of the time and in the last, and the loudness with them.

    Args:
        frames: duration in frames of 20 ms.
        pitch: pulses per second at the beginning and at the end.
        tract: factor on all formants; above 1 for a shorter vocal tract.
    Returns:
        the waveform, (160 frames,), at 8000 samples per second, of root mean square 0.1.
    Raises:
        ValueError: for another name, frames below one or too few for a pulse, a pitch that is not
            two numbers in 20 .. 1000, or a tract not in 0.5 .. 1.3.
    Source:
        Fant, "Acoustic theory of speech production", 1960 (source and filter); Klatt, "Software
        for a cascade/parallel formant synthesizer", Journal of the Acoustical Society of America
        67(3), 1980 (resonators, glottal pulses, radiation); Peterson & Barney, "Control methods
        used in a study of the vowels", ibid. 24(2), 1952 (formants).
    """
    check_choice("name", name, tuple(_VOWELS))
    frames, tract = check_positive("frames", frames), check_between("tract", tract, 0.5, 1.3)
    ends = finite_series("pitch", pitch)
    check_shape("pitch", ends, (2,))
    for end in ends.tolist():
        check_between("pitch", end, 20, 1000)
    formants = np.array([_VOWELS[name]]) * tract
    neutral = np.array([_NEUTRAL]) * tract
    sound = _syllables(formants, neutral, np.array([frames]), ends[None])[0]
    if not sound.any():
        raise ValueError(f"frames must be enough for a pulse at the pitch {pitch}, got {frames}.")
    return 0.1 * sound / _root_mean_square(sound)


def _syllables(
    formants: np.ndarray, neutral: np.ndarray, frames: np.ndarray, pitch: np.ndarray
) -> np.ndarray:
    """Formants and neutral ones (N, 3), durations (N,), pitch (N, 2) -> waveforms (N, P).

    All N at once, sample after sample; a shorter one than the longest ends in silence.
    """
    # A resonance at 0 Hz gives the pulses of the vocal folds their slope, before the formants.
    width = np.array([100, *_BANDWIDTHS])[:, None]
    c = -np.exp(-2 * np.pi * width / SAMPLE_RATE)  # (4, 1)
    radius = 2 * np.exp(-np.pi * width / SAMPLE_RATE)
    y_last, y_before = np.zeros((2, 4, len(frames)))
    cycle = np.zeros(len(frames))
    sound = np.empty((FRAME * frames.max(), len(frames)))
    for n in range(len(sound)):
        u = (n + 0.5) / (FRAME * frames)  # from 0 to 1 within a syllable
        opening = np.clip(4 * np.minimum(u, 1 - u), 0, 1)
        cycle += (pitch[:, 0] + (pitch[:, 1] - pitch[:, 0]) * u) / SAMPLE_RATE
        pulse = cycle >= 1
        cycle -= pulse
        if n % _CONTROL == 0:
            now = neutral + opening[:, None] * (formants - neutral)  # (N, 3)
            frequency = np.insert(now.T, 0, 0, axis=0)  # (4, N)
            b = radius * np.cos(2 * np.pi * frequency / SAMPLE_RATE)
        memory = b * y_last + c * y_before
        gain = 1 - b - c
        y_before[...] = y_last
        y = pulse * opening
        for k in range(4):  # one resonance after the other
            y = y_last[k] = gain[k] * y + memory[k]
        sound[n] = y - y_before[3]  # what leaves the lips is the change
    return sound.T


def _root_mean_square(waveform: np.ndarray) -> float:
    return np.sqrt(np.mean(waveform**2))


def vowel_waveforms(
    words: Sequence[str], rng: np.random.Generator, *, silence: int = 25, noise: float = 0.05
) -> list[np.ndarray]:
    """Spoken words, each made of the letters a, i and u: what a reader can listen to.

    A word has a speaker, with a factor on all formants uniform between 0.9 and 1.2 and a pitch
    log-uniform between 90 and 220 Hz. Each of its vowels has, independently of its place and of
    the others, a duration of 4 to 12 frames, a glide between two pitches, each within 15 % of
    the speaker's, and a loudness between 1/2 and 1.

    Args:
        silence: the most frames before the word; their number is uniform on 0 .. silence.
        noise: standard deviation of white noise, as a share of the word's root mean square.
    Returns:
        waveforms of whole frames; a word without its noise has a root mean square of 0.1.
    Raises:
        ValueError: for no word, an empty one or another letter, a silence not in 0 .. 10 000, a
            negative noise, or what is no generator.
    """
    return _spoken(words, rng, silence, noise)[0]


def _spoken(words, rng, silence, noise) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Waveforms, and what each frame is: 0 silence, 1 a, 2 i, 3 u."""
    check_generator("rng", rng)
    silence = check_whole("silence", silence, 0, 10_000)
    noise = check_between("noise", noise, 0, math.inf)
    names = list(_VOWELS)
    if not len(words):
        raise ValueError("words must hold one word at least, got none.")
    for word in words:
        if not word or set(word) - set(names):
            raise ValueError(f"words must be made of the letters a, i and u, got {word!r}.")
    sizes = [len(word) for word in words]
    letters = np.array([names.index(letter) for word in words for letter in word])  # (N,)
    tract = np.repeat(rng.uniform(0.9, 1.2, len(words)), sizes)[:, None]
    pitch = np.repeat(np.exp(rng.uniform(math.log(90), math.log(220), len(words))), sizes)[:, None]
    frames = rng.integers(4, 13, len(letters))
    sound = _syllables(
        np.array(list(_VOWELS.values()))[letters] * tract,
        np.array(_NEUTRAL) * tract,
        frames,
        pitch * rng.uniform(0.85, 1.15, (len(letters), 2)),
    )
    loudness = rng.uniform(0.5, 1, len(letters))

    waveforms, labels = [], []
    for syllables in np.split(np.arange(len(letters)), np.cumsum(sizes)[:-1]):
        voice = np.concatenate([loudness[k] * sound[k, : FRAME * frames[k]] for k in syllables])
        pause = int(rng.integers(0, silence + 1))
        clean = np.pad(voice / _root_mean_square(voice), (FRAME * pause, 0))
        waveforms.append(0.1 * (clean + noise * rng.standard_normal(len(clean))))
        labels.append(np.repeat([0, *letters[syllables] + 1], [pause, *frames[syllables]]))
    return waveforms, labels


def log_mel(waveform: np.ndarray, *, bands: int = 16) -> np.ndarray:
    """Waveform (P,) -> logarithm to base 10 of the power in each band and frame, (T, bands).

    Frames of 20 ms follow one another without overlap, each under a Hann window; samples after
    the last whole frame are left out. The bands are triangles, evenly spaced between 0 and 4000
    Hz on the mel scale, m = 2595 log10(1 + f / 700): wide where hearing tells little apart.
    Powers below 1e-8 are raised to it.

    Raises:
        ValueError: where the waveform is not one-dimensional, holds no finite real numbers or has
            less than one frame, or the bands are not in 1 .. 24.
    Source:
        Davis & Mermelstein, "Comparison of parametric representations for monosyllabic word
        recognition in continuously spoken sentences", IEEE Transactions on Acoustics, Speech, and
        Signal Processing 28(4), 1980 (triangles on the mel scale).
    """
    waveform = finite_series("waveform", waveform)
    check_between("waveform's length", len(waveform), FRAME, math.inf)
    check_whole("bands", bands, 1, 24)
    steps = len(waveform) // FRAME
    framed = waveform[: steps * FRAME].reshape(steps, FRAME) * np.hanning(FRAME)
    power = np.abs(np.fft.rfft(framed, 256)) ** 2 / FRAME  # (T, 129)
    frequency = np.fft.rfftfreq(256, 1 / SAMPLE_RATE)
    edges = np.linspace(0, 2595 * math.log10(1 + SAMPLE_RATE / 2 / 700), bands + 2)
    edges = 700 * (10 ** (edges / 2595) - 1)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rise, fall = (frequency - low) / (middle - low), (high - frequency) / (high - middle)
    weight = np.maximum(np.minimum(rise, fall), 0)  # (bands, 129)
    weight /= weight.sum(axis=1, keepdims=True)
    return np.log10(np.maximum(power @ weight.T, 1e-8))


def vowel_words(
    batch: int,
    rng: np.random.Generator,
    *,
    bands: int = 16,
    silence: int = 25,
    noise: float = 0.05,
) -> Batch:
    """In which order were the three vowels spoken?

    A word has each of the vowels a, i and u once, its order uniform on the six of
    ``VOWEL_ORDERS``; its sound is that of ``vowel_waveforms``, its frames those of ``log_mel``.

    Returns:
        x (B, T, bands), padding is 0; target (B,), the index in ``VOWEL_ORDERS``; lengths;
        latent (B, T), what each frame is: 0 silence, 1 a, 2 i, 3 u.
    Raises:
        ValueError: for a batch below one, bands not in 1 .. 24, a silence not in 0 .. 10 000, a
            negative noise, or what is no generator.
    """
    check_positive("batch", batch)
    check_generator("rng", rng)
    check_whole("bands", bands, 1, 24)  # before the long way to the waveforms
    target = rng.integers(0, len(VOWEL_ORDERS), batch)
    waveforms, labels = _spoken([VOWEL_ORDERS[order] for order in target], rng, silence, noise)
    lengths = np.array([len(label) for label in labels])
    mask = np.arange(lengths.max()) < lengths[:, None]
    x, latent = np.zeros((*mask.shape, bands)), np.zeros(mask.shape, dtype=np.int64)
    # Waveforms are whole frames, so the frames of all words in a row are those of each.
    x[mask] = log_mel(np.concatenate(waveforms), bands=bands)
    latent[mask] = np.concatenate(labels)
    return Batch(x, target, lengths, latent=latent)


def vowel_words_baseline(known: int = 0) -> float:
    """Highest accuracy of who knows which vowels were the first ``known`` ones, and no more.

    The vowels left can be in (3 - known)! orders, all equally likely: 1 / (3 - known)!.

    With 0 this is the bound for every model that sees all frames but not in which order they
    came (their average, a histogram, any set of them). For let a word with the order (p, q, r)
    be the syllables g(p, s, e_1), g(q, s, e_2), g(r, s, e_3), with s the speaker and e_j what is
    drawn for the j-th place. The e_j are independent and alike and do not depend on the order, so
    to exchange two of them leaves their joint distribution as it is. Hence the set {g(a, s, e),
    g(i, s, e'), g(u, s, e'')} has one distribution for all six orders. Each frame lies within one
    syllable or within the silence, and the noise is alike everywhere, so the set of frames has
    one distribution as well and tells nothing of the order.

    Raises:
        ValueError: where ``known`` is not in 0 .. 3.
    """
    check_whole("known", known, 0, 3)
    return 1 / math.factorial(3 - known)
