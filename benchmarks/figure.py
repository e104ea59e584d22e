"""The figure of the book's page on speed, drawn from the measurements."""

import hashlib
import json
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt

from benchmarks.layers import KINDS
from rnnbook import plots

LINES = {"NumPy odd-even": "-", "PyTorch odd-even": "--", "PyTorch log-space": ":"}


def draw(results: dict, path: Path) -> None:
    """Three panels: the layers against ``torch.nn``, scans against the loop, shares of the peak."""
    with mpl.rc_context():
        plots.use_book_style()
        figure, (race, scan, share) = plt.subplots(1, 3, figsize=(9.5, 3.8), width_ratios=[4, 3, 3])
        _race(race, results)
        _scan(scan, results)
        _share(share, results)
        path.parent.mkdir(exist_ok=True)
        metadata = {"Date": None, "Creator": None, "Description": fingerprint(results)}
        figure.savefig(path, metadata=metadata)
        plt.close(figure)


def fingerprint(results: dict) -> str:
    """What the figure carries, so that one drawn from other measurements is noticed."""
    return hashlib.sha256(json.dumps(results).encode()).hexdigest()


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
