"""Gradients on a stream: the time of a step against the number of units."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from benchmarks.clock import compare, milliseconds, seconds_per_call, short, take_turns
from benchmarks.tables import table
from rnnbook.scratch import RNN, Cell, MinGRU, MinGRUCell, RecurrentLayer, RNNCell
from rnnbook.scratch.online import RTRL, UORO, OnlineGradient, SnAp1, joined

HIDDEN = [8, 16, 32, 64, 128, 256, 512, 1024]
INPUT = 4
STEPS = 5  # of the stream on which the gradients are compared
LONG = 32  # steps of BPTT
RTRL_TO = 256  # units; beyond, a step takes many seconds and gigabytes
NAMES = ("RTRL", "SnAp-1", "UORO", "MinGRU")
FITTED = 3  # sizes, the largest, from which a growth is read


def online_race(hidden: int, *, seconds: float, rounds: int) -> dict:
    """The time of a step of each method at one number of units, and what each keeps.

    One stream of 4 inputs, float64. RTRL, SnAp-1 and UORO read a step with the same RNN and give
    the gradient of its loss; so does SnAp-1 with a MinGRU, for which it is exact. BPTT is the
    plain RNN over 32 steps, forward and backward, with a loss at each; its time is divided by 32.

    Raises:
        AssertionError: where an exact method gives another gradient than BPTT.
    """
    rng = np.random.default_rng(0)
    x, dh = rng.standard_normal((LONG, 1, INPUT)), rng.standard_normal((LONG, 1, hidden))
    cell, minimal = RNNCell(INPUT, hidden, rng=rng), MinGRUCell(INPUT, hidden, rng=rng)
    methods: dict[str, OnlineGradient] = {
        "SnAp-1": SnAp1(cell),
        "UORO": UORO(cell, rng),
        "MinGRU": SnAp1(minimal),
    }
    layers = {"MinGRU": _layer(MinGRU, minimal)}
    if hidden <= RTRL_TO:
        methods["RTRL"], layers["RTRL"] = RTRL(cell), _layer(RNN, cell)

    errors = {}
    for name, layer in layers.items():
        exact = _back_and_forth(layer, x[:STEPS], dh[:STEPS])
        total = sum(_step(methods[name], x[t], dh[t]) for t in range(STEPS))
        errors[name] = short(float(np.abs(total - exact).max() / np.abs(exact).max()))
        assert errors[name] < 1e-12, f"{name} gives another gradient: {errors[name]}"

    samplers: dict[str, Callable[[int], float]] = {
        name: partial(seconds_per_call, partial(_step, online, x[0], dh[0]))
        for name, online in methods.items()
    }
    long = partial(_back_and_forth, _layer(RNN, cell), x, dh)
    samplers["BPTT"] = lambda repeats: seconds_per_call(long, -(-repeats // LONG)) / LONG
    times = take_turns(samplers, seconds=seconds, rounds=rounds)
    return {
        "hidden": hidden,
        "ms": {name: milliseconds(values) for name, values in times.items()},
        "ratios": compare(times, "BPTT"),
        "numbers": {name: online.numbers for name, online in methods.items()},
        "errors": errors,
    }


def _step(online: OnlineGradient, x, dh) -> np.ndarray:
    online.step(x)
    return joined(online.gradient(dh))


def _layer(kind: type[RecurrentLayer], cell: Cell) -> RecurrentLayer:
    layer = kind(cell.input_size, cell.hidden_size)
    layer.load_params({f"{name}_l0": value for name, value in cell.params.items()})
    return layer


def _back_and_forth(layer: RecurrentLayer, x, dh) -> np.ndarray:
    layer.forward(x.swapaxes(0, 1))
    layer.backward(dh.swapaxes(0, 1))
    return joined({name: layer.grads[name] for name in layer.params})


def growth(rows: Sequence[dict], name: str) -> float:
    """The exponent p of a time that grows like H^p, by least squares over the largest sizes."""
    known = [row for row in rows if name in row["ms"]][-FITTED:]
    hidden = np.log([row["hidden"] for row in known])
    ms = np.log([row["ms"][name] for row in known])
    return short(np.polyfit(hidden, ms, 1)[0])


def report(rows: Sequence[dict]) -> str:
    """The rows of :func:`online_race` as a table, and what they say."""
    head = ["H", "BPTT, µs", *(f"{name}, ×" for name in NAMES), *(f"{n} keeps" for n in NAMES)]
    body = [
        [
            str(row["hidden"]),
            f"{1e3 * row['ms']['BPTT']:,.0f}",
            *(_two(row["ratios"].get(name)) for name in NAMES),
            *(f"{row['numbers'][name]:,}" if name in row["numbers"] else "–" for name in NAMES),
        ]
        for row in rows
    ]
    ends = {
        name: [row["hidden"] for row in rows if name in row["ms"]][-FITTED:]
        for name in ("BPTT", *NAMES)
    }
    fitted = ", ".join(
        f"{name} H^{growth(rows, name):.1f} ({hidden[0]} to {hidden[-1]} units)"
        for name, hidden in ends.items()
    )
    return (
        f"{table(head, body)}\n\nTime of a step; columns with × are multiples of BPTT's, one "
        f"stream, one thread. Over the {FITTED} largest sizes of each the time grows like {fitted}."
    )


def _two(ratio: dict[str, float] | None) -> str:
    """Two digits, or all of a whole number."""
    if ratio is None:
        return "–"
    median = ratio["median"]
    return f"{median:,.0f}" if median >= 100 else f"{median:.2g}"
