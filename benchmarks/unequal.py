"""Sequences of unequal length: padded, packed, or padded in buckets."""

from functools import partial

import numpy as np
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from benchmarks.clock import compare, milliseconds, seconds_per_call, short, take_turns
from rnnbook import pytorch, scratch

SIZES = [(32, 50, 16, 64), (32, 200, 16, 64)]  # sequences, steps, input, hidden
KINDS = ["LSTM", "GRU"]
BUCKETS = 4


def unequal_race(
    library: str, kind: str, size: tuple[int, int, int, int], *, seconds: float, rounds: int
) -> dict:
    """Three ways through sequences of 1 ... T steps: their time over that of plain padding.

    Padded: the layer runs over the padding as well. Packed: it is told the lengths, by a
    ``PackedSequence`` (made from the padded batch, and its output padded again: that is timed) or
    by ``lengths``. Buckets: sorted by length and cut into four batches, each padded to its own
    longest, one after the other. Timed are the outputs and, from a gradient for each real step,
    the gradients of input and weights; float32.

    Raises:
        AssertionError: where a way gives another gradient of the input, for then the times mean
            nothing.
    """
    batch, steps, inputs, hidden = size
    rng = np.random.default_rng(0)
    lengths = rng.permutation(np.linspace(1, steps, batch).round().astype(int))
    real = (np.arange(steps) < lengths[:, None])[:, :, None]
    x, dh = (real * rng.standard_normal((batch, steps, n)) for n in (inputs, hidden))
    gradient = LIBRARIES[library](kind, inputs, hidden)

    everything = [np.arange(batch)]
    buckets = np.array_split(np.argsort(lengths), BUCKETS)
    ways, gradients = {}, {}
    for name, parts in {"padded": everything, "packed": everything, "buckets": buckets}.items():
        jobs = [
            partial(
                gradient,
                x[part, : lengths[part].max()].astype(np.float32),
                dh[part, : lengths[part].max()].astype(np.float32),
                lengths[part] if name == "packed" else None,
            )
            for part in parts
        ]
        gradients[name] = np.zeros_like(x)
        for part, job in zip(parts, jobs, strict=True):
            gradients[name][part, : lengths[part].max()] = job()
        ways[name] = partial(in_turn, jobs)
    for name, dx in gradients.items():
        error = np.abs(dx - gradients["padded"]).max()
        assert error < 1e-4, f"{library} {kind}, {name}, gives another gradient: {error}"

    samplers = {name: partial(seconds_per_call, way) for name, way in ways.items()}
    times = take_turns(samplers, seconds=seconds, rounds=rounds)
    computed = sum(len(part) * lengths[part].max() for part in buckets)
    return {
        "library": library,
        "kind": kind,
        "size": list(size),
        "real": {"padded": short(real.mean()), "buckets": short(lengths.sum() / computed)},
        "padded_ms": milliseconds(times["padded"]),
        "ratios": compare(times, "padded"),
    }


def in_turn(jobs) -> None:
    for job in jobs:
        job()


def _torch(layers, prefix, kind, inputs, hidden):
    layer = getattr(layers, prefix + kind)(inputs, hidden, batch_first=True)

    def gradient(x, dh, lengths):
        x, dh = torch.from_numpy(x).requires_grad_(), torch.from_numpy(dh)
        if lengths is None:
            output, _ = layer(x)
        else:
            packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            output, _ = pad_packed_sequence(layer(packed)[0], batch_first=True)
        return torch.autograd.grad(output, [x, *layer.parameters()], dh)[0].numpy()

    return gradient


def _numpy(kind, inputs, hidden):
    rng = np.random.default_rng(0)
    layer = getattr(scratch, f"Fused{kind}")(inputs, hidden, dtype=np.float32, rng=rng)

    def gradient(x, dh, lengths):
        layer.forward(x, lengths=lengths)
        return layer.backward(dh)[0]

    return gradient


LIBRARIES = {
    "torch.nn": partial(_torch, torch.nn, ""),
    "PyTorch fused": partial(_torch, pytorch, "Fused"),
    "NumPy fused": _numpy,
}
