"""The tables, and sentences about them, written from the measurements and never by hand.

What stands in a file between ``<!-- benchmarks NAME -->`` and ``<!-- end -->`` is made by the
function NAME of ``PARTS``.
"""

import math
import re
from pathlib import Path
from statistics import geometric_mean, median

from benchmarks import chunks, many, newton, online, unequal
from benchmarks.layers import KINDS, RACES, SIZES, microseconds, rate, time_of_parts
from benchmarks.tables import table
from rnnbook.experiments import load_results
from rnnbook.experiments.studies import batch_size

MARKED = re.compile(r"(<!-- benchmarks (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
NONE = "–"
VARIED = {"steps": ("T", 1), "hidden": ("H", 3), "batch": ("B", 0)}
LIBRARIES = {"openblas": "OpenBLAS", "blis": "BLIS", "mkl": "MKL"}


def write(path: Path, results: dict) -> None:
    """Bring the marked parts of a file up to date."""
    path.write_text(filled(path.read_text(encoding="utf-8"), results), encoding="utf-8")


def filled(text: str, results: dict) -> str:
    """``text`` with its marked parts made anew."""
    return MARKED.sub(lambda m: f"{m[1]}\n{PARTS[m[2]](results)}\n\n{m[3]}", text)


def console(results: dict) -> str:
    """A table of every layer at every size, the ladder, and what they were measured on."""
    rows, names = [], RACES["LSTM"][1:]
    for kind, size in _races(results):
        cells = [
            _ratio(results, kind, size, number, name)
            for number in _threads(results)
            for name in names
        ]
        rows.append([kind, _size(size), *map(_two, cells)])
    means = [_two(_mean(results, number, name)) for number in _threads(results) for name in names]
    rows.append(["geometric", "mean", *means])
    head = [f"{name}, {_count(n)}" for n in _threads(results) for name in names]
    said = ["Time of forward and backward over that of torch.nn (below 1 is faster).", ""]
    said += [table(["", "batch, T, input, hidden", *head], rows)]
    said += ["", "The ladder from plain to fused: time over that of plain, 1 thread.", ""]
    said += [ladder(results), "", machine(results)]
    return "\n".join([*said, *(f"{name}: {why}." for name, why in _unavailable(results).items())])


def machine(results: dict) -> str:
    """What was measured on, and when."""
    cpu, versions, blas = results["machine"], results["versions"], results["blas"]
    products = ""
    if blas:
        library = LIBRARIES.get(blas["library"], blas["library"])
        products = f"Its products: {library} {blas['version']}, kernel {blas['kernel']}. "
    rates = " and ".join(f"{p['gflops']:.0f} on {_count(p['threads'])}" for p in results["peak"])
    first, last = min(results["dates"].values()), max(results["dates"].values())
    days = f"on {first}" if first == last else f"between {first} and {last}"
    return (
        f"Measured {days}: {cpu['cpu']}, {cpu['cores']} cores, {cpu['system']}; "
        f"Python {versions['python']}, PyTorch {versions['torch']}, NumPy {versions['numpy']}. "
        f"{products}A float32 product reaches {rates} (GFLOP/s)."
    )


def numpy_fused(results: dict) -> str:
    shares = _shares(results, "NumPy plain", "NumPy fused")
    return _against_torch(results, "NumPy fused") + (
        f"\n\nThe plain layers take between {min(shares):.1f} and {max(shares):.1f} times as long "
        f"as the fused ones, {geometric_mean(shares):.1f} times in the geometric mean."
    )


def numpy_plain(results: dict) -> str:
    return _against_torch(results, "NumPy plain")


def pytorch_fused(results: dict) -> str:
    return _against_torch(results, "PyTorch fused")


def pytorch_plain(results: dict) -> str:
    names = {"": "PyTorch plain", "labml's ": "labml"}
    said = [_by_size(results, names), _verdicts(results, "PyTorch plain")]
    shares = _shares(results, "PyTorch plain", "labml")
    if shares:
        between = f"between {min(shares):.2f} and {max(shares):.2f}"
        said.append(f"Our plain LSTM takes {between} of the time of labml's.")
    else:
        said.append(f"labml's LSTM was not measured: {_unavailable(results)['labml']}.")
    return "\n\n".join(said)


def parts(results: dict) -> str:
    """What the LSTM's time goes into, at the five sizes; milliseconds."""
    body, each = [], ("calls", "rest", "all")
    for size in SIZES:
        plain, fused = (time_of_parts(results, size, form) for form in ("plain", "fused"))
        numbers = [fused["products"], *(form[name] for form in (plain, fused) for name in each)]
        body.append([_size(size), *(f"{float(f'{number:.2g}'):g}" for number in numbers)])
    head = ["batch, T, input, hidden", "products"]
    head += [f"{form}: {name}" for form in ("plain", "fused") for name in each]
    return table(head, body)


def roofline(results: dict) -> str:
    """Below which batch weights from main memory are what a step waits for; the price of a step."""
    gflops, gbytes = rate(results), rate(results, "gbytes")
    plain, fused, whole = (
        f"{microseconds(results, name):.0f}" for name in ("NumPy plain", "NumPy fused", "torch.nn")
    )
    return (
        f"Here a core copies {gbytes:.0f} GB/s in main memory, bytes read and written, and "
        f"multiplies at {gflops:.0f} GFLOP/s: with weights from there it would wait for them below "
        f"a batch of about {2 * gflops / gbytes:.0f}. A step of the smallest LSTM, forward and "
        f"backward, takes {plain} microseconds in the plain NumPy layer, {fused} in the fused one, "
        f"and {whole} in `torch.nn.LSTM`, which is one call for all steps."
    )


def ladder_lstm(results: dict) -> str:
    """The LSTM's part of the ladder, which the chapter tells."""
    races = [row for row in results["ladder"] if row["kind"] == "LSTM"]
    body = [["plain, ms", *(f"{race['ms']:.3g}" for race in races)]]
    body += [
        [rung, *(_two(race["ratios"][rung]["median"]) for race in races)]
        for rung in races[0]["ratios"]
    ]
    return table(["", *(_size(race["size"]) for race in races)], body)


def ladder(results: dict) -> str:
    """Rows are kinds and rungs; columns the sizes."""
    rows = results["ladder"]
    body = []
    for kind in KINDS:
        races = [row for row in rows if row["kind"] == kind]
        body.append([kind, "plain, ms", *(f"{race['ms']:.3g}" for race in races)])
        body += [
            [kind, rung, *(_two(race["ratios"][rung]["median"]) for race in races)]
            for rung in races[0]["ratios"]
        ]
    head = ["", "", *(_size(race["size"]) for race in races)]
    return table(head, body) + "\n\n" + _losses(rows)


def scan(results: dict) -> str:
    """Rows are scans and widths; columns the lengths."""
    rows = results["scan"]
    widths = list(dict.fromkeys(tuple(row["width"]) for row in rows))
    lengths = list(dict.fromkeys(row["steps"] for row in rows))
    found = {(row["library"], tuple(row["width"]), row["steps"]): row["ratios"] for row in rows}
    body = [
        [name, _nonbreaking(f"{batch} × {hidden}")]
        + [_two(found[library, (batch, hidden), T][method]["median"]) for T in lengths]
        for name, (library, method) in SCANS.items()
        for batch, hidden in widths
    ]
    head = ["scan", "batch × hidden", *(_nonbreaking(f"T = {T}") for T in lengths)]

    faster, errors = [], []
    for name, (library, method) in SCANS.items():
        those = [row for row in rows if row["library"] == library]
        below = sum(row["ratios"][method]["median"] < 1 for row in those)
        faster.append(f"{name} at {below} of {len(those)} sizes")
        errors.append(f"{name} {max(row['errors'][method] for row in those):.0e}")
    loop = max(row["errors"]["loop"] for row in rows)
    return (
        f"{table(head, body)}\n\nFaster than the loop: {', '.join(faster)}. "
        f"Largest error at any of them: {', '.join(errors)}; of the loops {loop:.0e}."
    )


def cost(results: dict) -> str:
    """Milliseconds of the fused NumPy layers, and shares of the peak, against T, H and B."""
    found = {(r["varied"], tuple(r["size"]), r["kind"]): r for r in results["cost"]}
    body = [
        [
            _nonbreaking(f"{VARIED[varied][0]} = {size[VARIED[varied][1]]}"),
            *(f"{found[varied, size, kind]['ms']['NumPy fused']:.3g}" for kind in KINDS),
            *(
                f"{100 * found[varied, size, kind]['share'][name]:.0f}"
                for name in ("NumPy fused", "torch.nn")
                for kind in KINDS
            ),
        ]
        for varied, size in dict.fromkeys((v, s) for v, s, _ in found)
    ]
    head = [f"{kind}, ms" for kind in KINDS]
    head += [f"{kind}, %" for kind in KINDS] + [f"nn {kind}, %" for kind in KINDS]
    return table(["", *head], body)


def batches(results: dict) -> str:
    """What updates of larger batches cost in sequences and in time: digits, by the study."""
    runs = load_results("batch_size")["runs"]
    ms = {
        row["size"][0]: row["ms"]["NumPy fused"]
        for row in results["cost"]
        if (row["kind"], row["varied"]) == ("GRU", "batch")
    }
    body = []
    for batch in batch_size.BATCHES:
        exponent, updates = _at_best_rate(runs, batch)
        rate = batch_size.TASKS["digits"].rate * 2.0**exponent
        seconds = updates * ms[batch] / 1e3
        numbers = [f"{updates:.0f}", f"{updates * batch:,.0f}", f"{ms[batch]:.2g}"]
        body.append([str(batch), f"{rate:g}", *numbers, f"{seconds:.2g}"])
    head = ["batch", "rate", "updates", "images", "one update, ms", "all, seconds"]
    return table(head, body)


def _at_best_rate(runs: list[dict], batch: int) -> tuple[int, float]:
    """The exponent chosen by the first three seeds, and the median of updates of the others."""
    found: dict[int, list[float]] = {}
    for run in runs:
        if [run["setting"][name] for name in ("task", "batch", "warm_up")] == ["digits", batch, 0]:
            updates = run["metrics"]["updates"]
            found.setdefault(run["setting"]["exponent"], []).append(updates or math.inf)
    best = min(found, key=lambda exponent: median(found[exponent][:3]))
    return best, median(found[best][3:])


def decisions(results: dict) -> str:
    """Where training is slow, what has helped, by how much, and when it does not help."""
    ladders = [
        row["ratios"]["kept arrays"]["median"] for row in results["ladder"] if row["kind"] == "LSTM"
    ]
    over = {
        kind: [
            row["ratios"]["PyTorch fused"]["median"]
            for row in results["layers"]
            if (row["kind"], row["threads"]) == (kind, 1)
        ]
        for kind in ("GRU", "RNN")
    }
    solved = min(results["newton"], key=lambda row: row["ratios"]["fused"]["median"])
    batch, steps, hidden = solved["size"]
    won = [
        f"{sum(ratio < 1 for ratio in ratios)} of {len(ratios)} sizes ({kind})"
        for kind in ("GRU", "LSTM")
        for ratios in [
            [r["ratios"]["fused"]["median"] for r in results["newton"] if r["kind"] == kind]
        ]
    ]
    chunked = [min(r["median"] for r in row["ratios"].values()) for row in results["chunks"]]
    buckets = [row["ratios"]["buckets"]["median"] for row in results["unequal"]]
    seeds = {row["seeds"]: row for row in results["seeds"] if row["size"][3] == 16}
    many, few = max(seeds), min(seeds)
    two = {
        f"batch {row['batch']}, H {row['hidden']}": row["ms"]["2"] / row["ms"]["1"]
        for row in results["parallel"]
    }
    best, worst = min(two, key=two.get), max(two, key=two.get)
    halves: dict[int, list[float]] = {}
    for row in results["compilers"]:
        if "bfloat16" in row["what"]:
            halves.setdefault(row["size"][3], []).append(row["ratio"]["median"])
    wide, narrow = max(halves), min(halves)
    rows = [
        [
            "a layer of your own, small",
            "fuse its loop ({ref}`sec-efficient-time`)",
            f"LSTM: {_range(ladders)} of the plain layer's time",
            "hundreds of units; a cell that you still change",
        ],
        [
            "an ordinary layer in PyTorch",
            "LSTM: `torch.nn`; GRU and RNN: `FusedGRU`, `FusedRNN`",
            f"{_range(over['GRU'])} (GRU), {_range(over['RNN'])} (RNN) of `torch.nn`'s time",
            "on a GPU, where `torch.nn` has cuDNN",
        ],
        [
            "long sequences, few units, a small batch",
            "Newton over time ({ref}`sec-efficient-newton`)",
            f"faster than the fused layer at {' and '.join(won)}; at best "
            f"{solved['ratios']['fused']['median']:.2f} of its time for batch {batch}, T {steps}, "
            f"H {hidden}",
            "wide states, large batches; networks near chaos; against `torch.nn.LSTM`",
        ],
        [
            "the cell is yours to choose",
            "a linear recurrence, by a scan or in chunks ({ref}`sec-efficient-scan`)",
            f"{_range(chunked)} of the loop's time in the best chunks",
            "what must track a state, as parity (positive gates)",
        ],
        [
            "a stream without an end",
            "MinGRU and SnAp-1 ({ref}`sec-efficient-online`)",
            "the exact gradient with one number for each weight",
            "dense recurrent weights: biased",
        ],
        [
            "memory is full",
            "checkpoints ({ref}`sec-efficient-memory`)",
            r"bytes of the order of $\sqrt T$, for one more forward pass",
            "a loss at every step keeps every output",
        ],
        [
            "lengths differ",
            "buckets ({ref}`sec-efficient-unequal`)",
            f"{_range(buckets)} of the padded time",
            "targets that depend on the length: noisier",
        ],
        [
            "many seeds of a small network",
            "`Ensemble` ({ref}`sec-efficient-many`)",
            f"{many} seeds, 16 units: {seeds[many]['ratios']['vmap']['median']:.2f} of a loop "
            "over plain layers",
            f"{few} seed: {seeds[few]['ratios']['vmap']['median']:.1f} times the loop",
        ],
        [
            "several processors",
            "`rnnbook.distributed` ({ref}`sec-efficient-many`)",
            f"two processes: {two[best]:.2f} of one's time ({best})",
            f"small batches: {two[worst]:.2f} ({worst})",
        ],
        [
            "processors are idle",
            "larger batches ({ref}`sec-efficient-batches`)",
            "four times the batch: less than half of the updates, up to 128",
            "one busy core; where a higher rate is not borne",
        ],
        [
            "the products take the time",
            "bfloat16 ({ref}`sec-efficient-compilers`)",
            f"{_range(halves[wide])} of float32's time (H {wide})",
            f"small layers: {_range(halves[narrow])} (H {narrow})",
        ],
    ]
    head = ["your situation", "what to do", "what it gains, measured", "when it does not help"]
    lines = "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * 4, *rows])
    title = "Where training is slow, and what has helped here."
    return f"```{{table}} {title}\n:name: tab-efficient-decide\n\n{lines}\n```"


def _range(values: list[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}"


PARTS = {
    "machine": machine,
    "numpy_fused": numpy_fused,
    "numpy_plain": numpy_plain,
    "pytorch_fused": pytorch_fused,
    "pytorch_plain": pytorch_plain,
    "parts": parts,
    "roofline": roofline,
    "ladder": ladder,
    "ladder_lstm": ladder_lstm,
    "batches": batches,
    "decisions": decisions,
    "scan": scan,
    "cost": cost,
}
TOLD = {  # by their own modules
    "newton": newton.report,
    "chunks": chunks.report,
    "online": online.report,
    "unequal": unequal.report,
    "seeds": many.seeds_table,
    "parallel": many.parallel_table,
    "compilers": many.compilers_table,
}
PARTS |= {
    name: lambda results, name=name, tell=tell: tell(results[name]) for name, tell in TOLD.items()
}
SCANS = {
    "NumPy": ("NumPy", "odd-even"),
    "PyTorch": ("PyTorch", "odd-even"),
    "in logs": ("PyTorch", "log-space"),
}


def _against_torch(results: dict, name: str) -> str:
    return _by_size(results, {"": name}) + "\n\n" + _verdicts(results, name)


def _by_size(results: dict, names: dict[str, str]) -> str:
    """Rows are sizes, for each number of threads; columns the kinds, for each of ``names``."""
    columns = [
        (prefix + kind, name, kind)
        for prefix, name in names.items()
        for kind in (["LSTM"] if name == "labml" else KINDS)
    ]
    body = [
        [str(n), _size(size)]
        + [_two(_ratio(results, kind, size, n, name)) for _, name, kind in columns]
        for n in _threads(results)
        for size in dict.fromkeys(size for _, size in _races(results))
    ]
    return table(["threads", "batch, T, input, hidden", *(head for head, _, _ in columns)], body)


def _verdicts(results: dict, name: str) -> str:
    """What the ratios of one contestant come to, in a sentence for each number of threads."""
    said = []
    for number in _threads(results):
        ratios = _ratios(results, number, name)
        if not ratios:
            return f"Not measured: {_unavailable(results)[name]}."
        (kind, size), worst = max(ratios.items(), key=lambda item: item[1])
        below = sum(ratio < 1 for ratio in ratios.values())
        said.append(
            f"On {_count(number)}: geometric mean {_mean(results, number, name):.2f}, "
            f"{below} of {len(ratios)} ratios below 1, largest {worst:.2f} "
            f"({kind} at {_size(size)})."
        )
    return " ".join(said)


def _losses(rows: list[dict]) -> str:
    """Which rungs of the ladder are slower than the one before, and where, in a sentence."""
    lost = {rung: [] for rung in rows[0]["ratios"]}
    for row in rows:
        before = 1.0  # the plain layer
        for rung, ratio in row["ratios"].items():
            if ratio["low"] > before:
                lost[rung].append(f"{row['kind']} at {_size(row['size'])}")
            before = ratio["high"]
    last = [list(row["ratios"].values())[-1]["median"] for row in rows]
    mean = f"From the first rung to the last: geometric mean {geometric_mean(last):.2f}."
    where = ", ".join(f"*{rung}* ({'; '.join(places)})" for rung, places in lost.items() if places)
    return f"{mean} Rungs that lose to the one before them: {where or 'none'}."


def _shares(results: dict, name: str, other: str) -> list[float]:
    """The time of ``name`` over that of ``other``, wherever both were measured."""
    return [
        row["ratios"][name]["median"] / row["ratios"][other]["median"]
        for row in results["layers"]
        if {name, other} <= row["ratios"].keys()
    ]


def _ratios(results: dict, number: int, name: str) -> dict[tuple, float]:
    return {
        (row["kind"], tuple(row["size"])): row["ratios"][name]["median"]
        for row in results["layers"]
        if row["threads"] == number and name in row["ratios"]
    }


def _ratio(results: dict, kind: str, size: tuple, number: int, name: str) -> float | None:
    return _ratios(results, number, name).get((kind, size))


def _mean(results: dict, number: int, name: str) -> float | None:
    ratios = _ratios(results, number, name)
    return geometric_mean(ratios.values()) if ratios else None


def _races(results: dict) -> list[tuple[str, tuple]]:
    return list(dict.fromkeys((row["kind"], tuple(row["size"])) for row in results["layers"]))


def _threads(results: dict) -> list[int]:
    return sorted({row["threads"] for row in results["layers"]})


def _unavailable(results: dict) -> dict[str, str]:
    return {name: why for row in results["layers"] for name, why in row["unavailable"].items()}


def _count(threads: int) -> str:
    return "1 thread" if threads == 1 else f"{threads} threads"


def _size(size: tuple) -> str:
    return ", ".join(map(str, size))


def _two(ratio: float | None) -> str:
    """Two digits."""
    return NONE if ratio is None else f"{ratio:.2f}"


def _nonbreaking(text: str) -> str:
    return text.replace(" ", "\N{NO-BREAK SPACE}")
