"""What was compared, and the forecast beyond the end, as a figure."""

import io
from collections.abc import Mapping

import numpy as np

from rnnbook.extras import needed

with needed("forecast"):
    import pandas as pd

DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))


def plot_errors(ax, errors: Mapping[str, np.ndarray]) -> None:
    """Draw errors (K,) of several candidates against the steps ahead, each with a look of its own.

    The first is drawn thickest: the command puts the one that it chose there.
    """
    from rnnbook import plots

    colors = (plots.BLUE, plots.ORANGE, plots.GREEN, plots.PURPLE, plots.SKY, plots.BLACK)
    for k, (name, values) in enumerate(errors.items()):
        color = plots.MODEL_COLORS.get(name, colors[k % len(colors)])
        ax.plot(
            np.arange(1, len(values) + 1),
            values,
            color=color,
            linestyle=DASHES[k % len(DASHES)],
            linewidth=2.6 if k == 0 else 1.2,
            marker="",
            label=name,
        )
    ax.set(xlabel="steps ahead", ylim=(0, None))


def draw(
    y: "pd.Series",
    forecasts: Mapping[str, "pd.DataFrame"],
    errors: Mapping[str, np.ndarray] | None = None,
    coverage: float = 0.8,
) -> bytes:
    """The end of ``y`` and forecasts beyond it, as PNG; beside it errors by horizon.

    Args:
        forecasts: by name, the best one first, which is drawn with its interval.
        errors: of ``plot_errors``, on the test part.
    """
    from matplotlib import pyplot as plt

    from rnnbook import plots

    plots.use_book_style()
    figure, axes = plt.subplots(
        1, 1 + bool(errors), figsize=(9.5, 3.6), width_ratios=[5, 4][: 1 + bool(errors)]
    )
    left, *right = np.atleast_1d(axes)
    shown = y.iloc[-6 * len(next(iter(forecasts.values()))) :]
    left.plot(shown.index, shown, marker="", color=plots.BLACK, label=str(y.name))
    for k, (name, table) in enumerate(forecasts.items()):
        color = plots.MODEL_COLORS.get(name, plots.BLUE)
        dash = DASHES[k % len(DASHES)]
        left.plot(
            table.index, table["forecast"], marker="", linestyle=dash, color=color, label=name
        )
        if k == 0:
            left.fill_between(
                table.index,
                table["low"],
                table["high"],
                color=color,
                alpha=0.2,
                linewidth=0,
                label=f"{100 * coverage:g} % interval",
            )
    dates = isinstance(y.index, pd.DatetimeIndex)
    left.set(xlabel="" if dates else "row", ylabel=str(y.name).replace("$", r"\$"))
    if dates:
        left.tick_params(axis="x", rotation=30)
    left.legend(loc="best", fontsize="small")
    if errors:
        plot_errors(right[0], errors)
        right[0].set(ylabel="root mean squared error on the test part")
        figure.legend(*right[0].get_legend_handles_labels(), loc="outside right center")
    content = io.BytesIO()
    figure.savefig(content, format="png")
    plt.close(figure)
    return content.getvalue()
