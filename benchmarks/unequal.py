"""Sequences of unequal length: padded, packed, or padded in buckets."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from benchmarks.clock import compare, milliseconds, seconds_per_call, short, take_turns
from benchmarks.tables import table
from rnnbook import pytorch, scratch

SIZES = [(32, 50, 16, 64), (32, 200, 16, 64)]  # sequences in a batch, steps, input, hidden
KINDS = ["LSTM", "GRU"]
BATCHES = 4


def unequal_race(
    library: str, kind: str, size: tuple[int, int, int, int], *, seconds: float, rounds: int
) -> dict:
    """Three ways through four batches of sequences of 1 ... T steps, against plain padding.

    Padded: the layer runs over the padding as well. Packed: it is told the lengths, by a
    ``PackedSequence`` (made from the padded batch, and its output padded again: that is timed) or
    by ``lengths``. Buckets: four other batches of as many sequences each, the shortest, the next,
    and so on, padded to their own longest. Timed are the outputs and, from a gradient for each
    real step, the gradients of input and weights; float32.

    Raises:
        AssertionError: where a way gives another gradient of the input, for then the times mean
            nothing.
    """
    batch, steps, inputs, hidden = size
    rng = np.random.default_rng(0)
    lengths = rng.permutation(np.linspace(1, steps, BATCHES * batch).round().astype(int))
    real = (np.arange(steps) < lengths[:, None])[:, :, None]
    x, dh = (
        (real * rng.standard_normal((len(lengths), steps, n))).astype(np.float32)
        for n in (inputs, hidden)
    )
    drawn = np.array_split(np.arange(len(lengths)), BATCHES)
    sorted_ = np.array_split(np.argsort(lengths), BATCHES)
    gradient = LIBRARIES[library](kind, inputs, hidden)

    ways, gradients, shares = {}, {}, {}
    for name, batches in {"padded": drawn, "packed": drawn, "buckets": sorted_}.items():
        jobs, found = [], np.zeros_like(x)
        for chosen in batches:
            longest = lengths[chosen].max()
            told = lengths[chosen] if name == "packed" else None
            job = partial(gradient, x[chosen, :longest], dh[chosen, :longest], told)
            found[chosen, :longest] = job()
            jobs.append(job)
        ways[name], gradients[name] = partial(in_turn, jobs), found
        padded = sum(len(chosen) * lengths[chosen].max() for chosen in batches)
        shares[name] = short(lengths.sum() / padded)
    for name, dx in gradients.items():
        error = np.abs(dx - gradients["padded"]).max()
        assert error < 1e-4, f"{library} {kind}, {name}, gives another gradient: {error}"

    samplers = {name: partial(seconds_per_call, way) for name, way in ways.items()}
    times = take_turns(samplers, seconds=seconds, rounds=rounds)
    return {
        "library": library,
        "kind": kind,
        "size": list(size),
        "real": {"padded": shares["padded"], "buckets": shares["buckets"]},
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


LIBRARIES: dict[str, Callable] = {
    "torch.nn": partial(_torch, torch.nn, ""),
    "PyTorch fused": partial(_torch, pytorch, "Fused"),
    "NumPy fused": _numpy,
}


def report(rows: list[dict]) -> str:
    """A table, a row for each layer, and sentences about them."""
    sizes = list(dict.fromkeys(tuple(row["size"]) for row in rows))
    found = {(row["library"], row["kind"], tuple(row["size"])): row for row in rows}
    body = []
    for library, kind in dict.fromkeys((row["library"], row["kind"]) for row in rows):
        cells = [f"{library} {kind}"]
        for size in sizes:
            row = found[library, kind, size]
            ratios = [f"{row['ratios'][way]['median']:.2f}" for way in ("packed", "buckets")]
            cells += [f"{row['padded_ms']:.3g}", *ratios]
        body.append(cells)
    head = [""]
    for _, steps, *_ in sizes:
        head += [f"T\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{steps}: padded, ms", "packed", "buckets"]

    faster = {
        way: sum(row["ratios"][way]["median"] < 1 for row in rows) for way in ("packed", "buckets")
    }
    slowest = max(rows, key=lambda row: row["ratios"]["packed"]["median"])
    worst = slowest["ratios"]["packed"]["median"]
    shares = [row["real"] for row in rows]
    said = (
        f"Real are {_percent(shares, 'padded')} of the steps in batches as they are drawn, and "
        f"{_percent(shares, 'buckets')} in buckets. Faster than padding: packed in "
        f"{faster['packed']} of {len(rows)} rows and sizes, in buckets in {faster['buckets']}. "
        f"Slowest, packed, is {slowest['library']} {slowest['kind']} at T = {slowest['size'][1]}: "
        f"{worst:.1f} times the padded time."
    )
    return f"{table(head, body)}\n\n{said}"


def _percent(shares: list[dict], way: str) -> str:
    values = [100 * share[way] for share in shares]
    low, high = f"{min(values):.0f}", f"{max(values):.0f}"
    return f"{low} %" if low == high else f"{low} to {high} %"
