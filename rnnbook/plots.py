"""One look for every figure of the book: colors, intervals, and the pieces of cell diagrams.

The eight colors are those of Okabe and Ito ("Color universal design", 2008), chosen to stay apart
for color-blind readers; every line also gets a marker or a dash of its own, so that no figure
depends on color alone. Figures use no other colors: the site swaps these for others on dark pages.
"""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from rnnbook.extras import needed

with needed("plots"):
    import matplotlib as mpl
    from cycler import cycler
    from matplotlib import pyplot as plt
    from matplotlib.axes import Axes
    from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch
    from scipy import stats

from rnnbook.checks import real_numbers

BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, YELLOW, BLACK = "#CC79A7", "#56B4E9", "#F0E442", "#222222"
PAPER, GRID = "#FFFFFF", "#DDDDDD"
CHALK = "#FEFEFE"  # white on an image: the same on dark pages

# A kind of model has the same color in every chapter.
MODEL_COLORS = {"RNN": BLUE, "LSTM": VERMILION, "GRU": GREEN, "baseline": BLACK}


def ramp(start: str, end: str, count: int) -> list[str]:
    """``count`` colors from ``start`` to ``end``, evenly spaced in RGB, each as ``#RRGGBB``."""
    ends = np.array([[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in (start, end)])
    mixed = ends[0] + np.linspace(0, 1, count)[:, None] * (ends[1] - ends[0])
    return ["#" + "".join(f"{round(level):02X}" for level in color) for color in mixed]


RAMP = ramp(BLUE, PURPLE, 5) + ramp(PURPLE, VERMILION, 5)[1:]  # for what is ordered

# What a box in a diagram holds decides how it is filled.
ROLES = {
    "input": "#D6ECFA",
    "state": "#D5F0E6",
    "gate": "#FBE7BF",
    "output": "#F3DDEA",
    "loss": "#F9D9C8",
    "plain": "#F2F2F2",
}


def use_book_style() -> None:
    """Set matplotlib's defaults to the book's. Each chapter calls it once, in its first cell.

    Notebooks show figures as SVG from then on, the same bytes for the same data: letters are
    paths, names are salted with a constant, and neither date nor version is written.
    """
    mpl.rcParams.update(
        {
            "figure.figsize": (7.0, 3.0),
            "figure.dpi": 110,
            "figure.facecolor": PAPER,
            "axes.facecolor": PAPER,
            "figure.constrained_layout.use": True,
            "font.size": 10,
            "axes.titlesize": 10,
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "text.color": BLACK,
            "axes.labelcolor": BLACK,
            "axes.edgecolor": BLACK,
            "xtick.color": BLACK,
            "ytick.color": BLACK,
            "grid.color": GRID,
            "grid.linewidth": 0.6,
            "axes.axisbelow": True,
            "legend.frameon": False,
            "lines.linewidth": 1.6,
            "lines.markersize": 4.5,
            "image.cmap": "viridis",
            "axes.prop_cycle": cycler(color=[BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY])
            + cycler(marker=["o", "s", "^", "D", "v", "P"]),
            "svg.hashsalt": "rnnbook",
        }
    )
    jupyter = sys.modules.get("IPython")  # a notebook has it; who only saves files needs it not
    if jupyter is not None and jupyter.get_ipython() is not None:
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("svg", metadata={"Creator": None, "Date": None})


def mean_interval(samples: np.ndarray, axis: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Mean and half-width of its 95 % interval over independent runs.

    The half-width is ``t * s / sqrt(n)`` with Student's t for ``n - 1`` degrees of freedom, the
    usual small-sample interval for a mean.

    Args:
        samples: one run a row, or along ``axis``; at least two runs. NaN gives NaN.

    Raises:
        ValueError: with fewer than two runs, where no spread can be estimated, without such an
            axis, and for what are no real numbers.
    """
    samples = real_numbers("samples", samples, np.float64)
    if not -samples.ndim <= axis < samples.ndim:
        raise ValueError(f"samples must have an axis {axis}, got the shape {samples.shape}.")
    n = samples.shape[axis]
    if n < 2:
        raise ValueError(f"samples must hold at least 2 runs along axis {axis}, got {n}.")
    half = stats.t.ppf(0.975, n - 1) * samples.std(axis=axis, ddof=1) / np.sqrt(n)
    return samples.mean(axis=axis), half


def plot_runs(
    ax: Axes, x: Sequence[float] | np.ndarray, samples: np.ndarray, label: str, **style: Any
) -> None:
    """Draw the mean of several runs with its 95 % interval.

    Args:
        x: positions, shape (N,).
        samples: one run a row, shape (runs, N).
        label: the legend's entry.
        style: passed to ``ax.plot``.

    Raises:
        ValueError: with fewer than two runs, or another number of positions than samples.
    """
    mean, half = mean_interval(samples)
    (line,) = ax.plot(x, mean, label=label, **style)
    ax.fill_between(x, mean - half, mean + half, color=line.get_color(), alpha=0.2, linewidth=0)


class Diagram:
    """A canvas for boxes, operations and arrows, in the units of its own grid.

    Forward arrows are dark and solid, gradients vermilion and dashed: in every diagram of the book.
    """

    def __init__(self, width: float, height: float, scale: float = 0.62):
        self.figure, self.ax = plt.subplots(figsize=(width * scale, height * scale))
        self.ax.set(xlim=(0, width), ylim=(0, height), aspect="equal")
        self.ax.axis("off")

    def box(
        self, x: float, y: float, text: str, role: str = "plain", *, width=1.3, height=0.8
    ) -> None:
        """A labeled box centered at (x, y), filled as its role.

        Raises:
            KeyError: for a role that ``ROLES`` does not have.
        """
        self.ax.add_patch(
            FancyBboxPatch(
                (x - width / 2, y - height / 2),
                width,
                height,
                boxstyle="round,pad=0,rounding_size=0.15",
                facecolor=ROLES[role],
                edgecolor=BLACK,
                linewidth=1,
                zorder=2,
            )
        )
        self.text(x, y, text)

    def operation(self, x: float, y: float, text: str) -> None:
        """A small circle for an elementwise operation."""
        self.ax.add_patch(Circle((x, y), 0.3, facecolor=PAPER, edgecolor=BLACK, zorder=2))
        self.text(x, y, text)

    def text(self, x: float, y: float, text: str, **style: Any) -> None:
        """Text centered at (x, y); ``style`` is passed to ``ax.text`` and wins over the book's."""
        usual: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 10, "zorder": 3}
        self.ax.text(x, y, text, **(usual | style))

    def arrow(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
        label: str = "",
        *,
        gradient: bool = False,
        bend: float = 0.0,
        offset: tuple[float, float] = (0.0, 0.22),
    ) -> None:
        """An arrow from ``start`` to ``end``, labeled at its middle plus ``offset``."""
        color = VERMILION if gradient else BLACK
        self.ax.add_patch(
            FancyArrowPatch(
                start,
                end,
                arrowstyle="-|>",
                mutation_scale=11,
                color=color,
                linestyle=(0, (4, 2)) if gradient else "-",
                linewidth=1.2,
                connectionstyle=f"arc3,rad={bend}",
                shrinkA=0,
                shrinkB=0,
                zorder=1,
            )
        )
        if label:
            x = (start[0] + end[0]) / 2 + offset[0]
            y = (start[1] + end[1]) / 2 + offset[1]
            self.text(x, y, label, fontsize=9, color=color)
