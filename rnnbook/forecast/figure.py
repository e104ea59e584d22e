"""What ``compare`` found, and the forecast beyond the end, as a figure."""

from pathlib import Path

import numpy as np


def plot_errors(ax, table: dict[str, np.ndarray]) -> None:
    """Draw what ``compare`` returns against the steps ahead; the LSTM with its 95 % interval."""
    from rnnbook import plots

    looks = {
        "mean": (":", plots.BLACK),
        "persistence": ("--", plots.ORANGE),
        "seasonal": ("-.", plots.GREEN),
        "ridge-AR": ("-", plots.BLUE),
    }
    steps = np.arange(1, len(table["mean"]) + 1)
    for name, (dash, color) in looks.items():
        ax.plot(steps, table[name], dash, color=color, marker="", label=name)
    color = plots.MODEL_COLORS["LSTM"]
    plots.plot_runs(ax, steps, table["LSTM"], "LSTM", marker="", color=color)
    ax.set(xlabel="steps ahead")


def draw(file: Path, column: str, values: np.ndarray, table: dict, future: np.ndarray) -> None:
    """Save a figure: the end of a series with its forecasts (seeds, K), and the errors."""
    from matplotlib import pyplot as plt

    from rnnbook import plots

    plots.use_book_style()
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), width_ratios=[2, 1])
    shown = min(len(values), 10 * future.shape[1])
    steps = np.arange(len(values) - shown, len(values))
    left.plot(steps, values[-shown:], marker="", color=plots.BLACK, label=column)
    ahead = np.arange(len(values), len(values) + future.shape[1])
    color = plots.MODEL_COLORS["LSTM"]
    plots.plot_runs(left, ahead, future, "LSTM, mean over seeds", marker="", color=color)
    left.set(xlabel="row", ylabel=column)
    left.legend()
    plot_errors(right, table)
    right.set(ylabel="root mean squared error", ylim=(0, None))
    figure.legend(*right.get_legend_handles_labels(), loc="outside upper right", ncols=5)
    figure.savefig(file)
    plt.close(figure)
