"""The figures of speed: of the book's page, and of its chapter; drawn from the measurements."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt

from benchmarks.layers import KINDS, SIZES, microseconds, operations, rate, time_of_parts
from rnnbook import plots

LINES = {"NumPy odd-even": "-", "PyTorch odd-even": "--", "PyTorch log-space": ":"}


def draw(results: dict, path: Path) -> None:
    """Three panels: the layers against ``torch.nn``, scans against the loop, shares of the peak."""
    with _stored(results, path):
        _, (race, scan, share) = plt.subplots(1, 3, figsize=(9.5, 3.8), width_ratios=[4, 3, 3])
        _race(race, results)
        _scan(scan, results)
        _share(share, results)


def draw_parts(results: dict, path: Path) -> None:
    """Two panels: what the LSTM's time goes into, and what bounds its rate."""
    with _stored(results, path):
        _, (parts, bounds) = plt.subplots(1, 2, figsize=(7, 3.2), width_ratios=[4, 3])
        _parts(parts, results)
        _bounds(bounds, results)


@contextmanager
def _stored(results: dict, path: Path) -> Iterator[None]:
    """Stores the figure that is drawn inside."""
    with mpl.rc_context():
        plots.use_book_style()
        yield
        path.parent.mkdir(exist_ok=True)
        metadata = {"Date": None, "Creator": None, "Description": fingerprint(results)}
        plt.savefig(path, metadata=metadata)
        plt.close()


def fingerprint(results: dict) -> str:
    """What the figure carries, so that one drawn from other measurements is noticed."""
    return hashlib.sha256(json.dumps(results).encode()).hexdigest()


def _parts(ax, results: dict) -> None:
    colors = {"products": plots.BLUE, "calls": plots.VERMILION, "rest": plots.SKY}
    for number, size in enumerate(SIZES):
        plain = time_of_parts(results, size, "plain")["all"]
        for form, at in (("plain", number - 0.2), ("fused", number + 0.2)):
            below = 0.0
            parts = time_of_parts(results, size, form)
            for name, color in colors.items():
                ax.bar(at, parts[name] / plain, 0.34, bottom=below, color=color)
                below += parts[name] / plain
            ax.annotate(form[0], (at, below), ha="center", va="bottom", fontsize=9)
    for name, color in colors.items():
        ax.bar(0, 0, color=color, label=name)
    ax.set_xticks(range(len(SIZES)), ["\n".join(map(str, size)) for size in SIZES])
    ax.set(xlabel="batch, T, input, hidden (downwards)", ylabel="time / time of the plain layer")
    ax.set(title="What the time goes into", ylim=(0, 1.3))
    ax.legend(loc="upper center", ncols=3, fontsize=9)


def _bounds(ax, results: dict) -> None:
    """The rate against the work in a step: no step is faster than its calls, or than the peak."""
    rows = [row for row in results["cost"] if row["kind"] == "LSTM" and row["varied"] == "hidden"]
    work = np.array([operations("LSTM", row["size"]) / row["size"][1] for row in rows])
    wide = np.geomspace(work.min() / 4, work.max() * 2, 50)
    for name, color, marker in (
        ("NumPy fused", plots.VERMILION, "o"),
        ("torch.nn", plots.BLACK, "s"),
    ):
        roof = np.minimum(wide / microseconds(results, name) / 1e3, rate(results))
        ax.plot(wide, roof, "--", color=color, linewidth=1, marker="")
        steps = np.array([row["ms"][name] / row["size"][1] for row in rows])
        ax.plot(work, work / steps / 1e6, marker, color=color, label=name)
    ax.set(xscale="log", yscale="log", xlabel="FLOP in a step", ylabel="GFLOP/s")
    ax.set(title="What bounds the rate")
    _plain(ax.yaxis)
    ax.legend(loc="lower right", fontsize=9)


def _race(ax, results: dict) -> None:
    sizes = list(dict.fromkeys(tuple(row["size"]) for row in results["layers"]))
    for name, fill in (("fused", "full"), ("plain", "none")):
        for offset, kind, marker in zip((-0.25, 0, 0.25), KINDS, "os^", strict=True):
            ratios = [
                row["ratios"][f"NumPy {name}"]
                for row in results["layers"]
                if row["kind"] == kind and row["threads"] == 1
            ]
            median, low, high = (
                np.array([ratio[key] for ratio in ratios]) for key in ("median", "low", "high")
            )
            ax.errorbar(
                np.arange(len(sizes)) + offset,
                median,
                yerr=[np.maximum(median - low, 0), np.maximum(high - median, 0)],
                fmt=marker,
                fillstyle=fill,
                color=plots.MODEL_COLORS[kind],
                label=f"{kind}, {name}",
            )
    ax.axhline(1, color=plots.BLACK, linestyle="--", linewidth=1)
    ax.set(title="NumPy layers, 1 thread", ylabel="time / time of torch.nn")
    ax.set_yscale("log", base=2)
    ax.set_xticks(range(len(sizes)), ["\n".join(map(str, size)) for size in sizes])
    ax.set_xlabel("batch, T, input, hidden (downwards)")
    _plain(ax.yaxis)
    low, _ = ax.get_ylim()
    ax.set_ylim(bottom=low / 3)  # room for the legend
    ax.legend(loc="lower center", ncols=2, fontsize=8)


def _scan(ax, results: dict) -> None:
    widths = list(dict.fromkeys(tuple(row["width"]) for row in results["scan"]))
    for width, color, marker in zip(
        widths, (plots.BLUE, plots.ORANGE, plots.PURPLE), "oD^", strict=True
    ):
        for name, line in LINES.items():
            library, method = name.split()
            rows = [
                row
                for row in results["scan"]
                if row["library"] == library and tuple(row["width"]) == width
            ]
            ax.plot(
                [row["steps"] for row in rows],
                [row["ratios"][method]["median"] for row in rows],
                linestyle=line,
                color=color,
                marker=marker,
            )
        ax.plot([], [], color=color, marker=marker, label=f"{width[0]} × {width[1]}")
    for name, line in LINES.items():
        ax.plot([], [], color=plots.BLACK, linestyle=line, marker="", label=name)
    ax.axhline(1, color=plots.BLACK, linestyle="--", linewidth=1)
    ax.set(title="scan against loop", xlabel="T", ylabel="time / time of the loop")
    ax.set(xscale="log", yscale="log")
    steps = sorted({row["steps"] for row in results["scan"]})[::2]
    ax.set_xticks(steps, map(str, steps))
    ax.minorticks_off()
    _plain(ax.yaxis)
    _legend_below(ax)


def _share(ax, results: dict) -> None:
    for kind, marker in zip(KINDS, "os^", strict=True):
        rows = [r for r in results["cost"] if r["kind"] == kind and r["varied"] == "hidden"]
        for name, line in (("NumPy fused", "-"), ("torch.nn", "--")):
            ax.plot(
                [row["size"][3] for row in rows],
                [100 * row["share"][name] for row in rows],
                linestyle=line,
                marker=marker,
                color=plots.MODEL_COLORS[kind],
                label=f"nn.{kind}" if name == "torch.nn" else kind,
            )
    hidden = [row["size"][3] for row in rows]
    ax.set(
        title="share of the peak", xlabel="hidden units", ylabel="%", xscale="log", ylim=(0, None)
    )
    ax.set_xticks(hidden, map(str, hidden))
    ax.minorticks_off()
    _legend_below(ax)


def _plain(axis) -> None:
    """Numbers, not powers of ten, on a logarithmic axis."""
    axis.set_major_formatter(mpl.ticker.FormatStrFormatter("%g"))
    axis.set_minor_formatter(mpl.ticker.NullFormatter())


def _legend_below(ax) -> None:
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2, fontsize=8, handlelength=3)
