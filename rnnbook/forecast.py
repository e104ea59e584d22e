"""Forecast a series, and compare the network with what costs nothing (``worked_example``).

    python -m rnnbook.forecast data.csv --column y

The file's rows are equally spaced in time, the earliest first. Its first part trains, the next one
says when to stop, the last one is looked at once. What comes out: the errors of an LSTM (several
seeds) and of four baselines, one step ahead and running free; a figure; the forecast beyond the
end; the weights.

Dimensions: N windows of W values, K steps ahead. A *predictor* is a function from windows (N, W)
to the values that follow them, (N,).
"""

import argparse
import csv
import itertools
import json
import math
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from rnnbook.checkpoint import save_tree, write_atomically
from rnnbook.checks import check_between, check_finite, check_fraction, check_positive, check_shape
from rnnbook.extras import MissingExtra
from rnnbook.scratch import FusedLSTM, Linear, SequenceModel, losses, optim
from rnnbook.tasks import Batch, windows
from rnnbook.train import fit

Predictor = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Split:
    """Where the training part ends, and where the test part begins; validation is between."""

    train_end: int
    test_start: int


def chronological_split(length: int, *, validation: float = 0.15, test: float = 0.2) -> Split:
    """The first values train, the next ``validation`` share chooses, the last ``test`` share tests.

    Raises:
        ValueError: for shares that are no fractions or leave no value to train on.
    """
    check_positive("length", length)
    check_fraction("validation", validation)
    check_fraction("test", test)
    test_start = length - round(test * length)
    train_end = test_start - round(validation * length)
    if train_end < 1:
        raise ValueError(
            f"validation and test must leave something to train on, got {validation} and {test}."
        )
    return Split(train_end, test_start)


@dataclass(frozen=True)
class Scaler:
    """Values as a network likes them: z = (value - level) / spread.

    The level is the mean of the training part; or, where ``relative``, each window's last value, so
    that the network sees and predicts changes and a trend does not carry it out of its range.
    """

    mean: float
    spread: float
    relative: bool

    @classmethod
    def fit(cls, train: np.ndarray, *, relative: bool = False) -> "Scaler":
        """Mean and standard deviation of the training part (where ``relative``, of its changes).

        Raises:
            ValueError: where the training part does not vary.
        """
        spread = float(np.std(np.diff(train) if relative else train))
        if not spread > 0:
            raise ValueError(f"train must vary, got {len(train)} values with spread {spread}.")
        return cls(float(np.mean(train)), spread, relative)

    def level(self, inputs: np.ndarray) -> np.ndarray | float:
        """What is subtracted from windows (N, W): (N, 1) or a number."""
        return inputs[:, -1:] if self.relative else self.mean

    def scale(self, values: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        """``values`` (N, ...) that belong to the windows ``inputs`` (N, W), scaled."""
        return (values - self.level(inputs)) / self.spread

    def unscale(self, scaled: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        """The reverse of ``scale``."""
        return scaled * self.spread + self.level(inputs)


def examples(values: np.ndarray, window: int, start: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Windows (N, W) and the values that follow them (N,), for the values from ``start`` on.

    A window may reach back before ``start``: what is past at the time of the forecast is known.
    """
    batch = windows(values[max(start - window, 0) :], window)
    return batch.x[:, :, 0], batch.target[:, 0]


def mean_predictor(train: np.ndarray) -> Predictor:
    """Always the mean of the training part."""
    mean = float(np.mean(train))
    return lambda inputs: np.full(len(inputs), mean)


def persistence(inputs: np.ndarray) -> np.ndarray:
    """As now: the last value of each window."""
    return inputs[:, -1]


def seasonal_predictor(season: int) -> Predictor:
    """As one season ago: x_(t+1) = x_(t+1-season)."""
    check_positive("season", season)
    return lambda inputs: inputs[:, -season]


def ridge_ar(
    train: np.ndarray, window: int, *, penalty: float = 1.0, relative: bool = False
) -> Predictor:
    """A linear function of the last ``window`` values, by least squares with a ridge penalty.

        minimize  sum_n (y_n - w . z_n - b)^2 + penalty |w|^2

    over the training part's scaled windows z_n and targets y_n; the intercept b is not penalized.
    Source: Hastie, Tibshirani & Friedman, "The Elements of Statistical Learning" (2009), 3.4.1.
    """
    check_between("penalty", penalty, 0, math.inf)
    scaler = Scaler.fit(train, relative=relative)
    inputs, target = examples(train, window)
    z = scaler.scale(inputs, inputs)  # (N, W)
    y = scaler.scale(target[:, None], inputs)[:, 0]
    z_mean, y_mean = z.mean(axis=0), y.mean()
    gram = (z - z_mean).T @ (z - z_mean) + penalty * np.eye(window)
    w = np.linalg.solve(gram, (z - z_mean).T @ (y - y_mean))
    b = y_mean - z_mean @ w
    return lambda rows: scaler.unscale((scaler.scale(rows, rows) @ w + b)[:, None], rows)[:, 0]


class LSTMForecaster:
    """An LSTM that reads the window and a linear head that says the next value: a predictor.

    Args:
        window: W, how many values it reads.
        hidden: units of the layer.
        relative: predict changes instead of values (see :class:`Scaler`).
        rng: initial weights and the order of the examples.
    """

    def __init__(
        self, window: int, *, hidden: int = 16, relative: bool = False, rng: np.random.Generator
    ):
        check_positive("window", window)
        self.window, self.relative, self.rng = window, relative, rng
        layer = FusedLSTM(1, hidden, dtype=np.float32, rng=rng)
        self.model = SequenceModel(layer, Linear(hidden, 1, dtype=np.float32, rng=rng))
        self.scaler: Scaler | None = None

    def fit(
        self,
        values: np.ndarray,
        train_end: int,
        *,
        epochs: int = 150,
        patience: int = 20,
        batch_size: int = 32,
        lr: float = 0.01,
    ):
        """Train on ``values[:train_end]``, stop by the error on the rest. Returns the history.

        The scaler knows the training part only. Without a rest, all epochs are run.
        """
        self.scaler = Scaler.fit(values[:train_end], relative=self.relative)
        rest = train_end < len(values)
        history = fit(
            self.model,
            self._batch(*examples(values[:train_end], self.window)),
            loss=losses.mse,
            optimizer=optim.Adam(self.model.params, lr=lr),
            epochs=epochs,
            batch_size=batch_size,
            rng=self.rng,
            validation=self._batch(*examples(values, self.window, train_end)) if rest else None,
            patience=patience if rest else None,
            max_norm=1.0,
            progress=False,
        )
        self.model.eval()  # from here on it predicts, and keeps nothing for a backward
        return history

    def _batch(self, inputs: np.ndarray, target: np.ndarray) -> Batch:
        scaler = self._fitted()
        scaled = scaler.scale(inputs, inputs)[:, :, None]
        return Batch(scaled, scaler.scale(target[:, None], inputs))

    def _fitted(self) -> Scaler:
        if self.scaler is None:
            raise RuntimeError("LSTMForecaster needs a call of fit before it forecasts.")
        return self.scaler

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Windows (N, W) -> the values that follow (N,).

        Raises ``RuntimeError`` before a call of ``fit``.
        """
        scaler = self._fitted()
        scaled = scaler.scale(inputs, inputs)
        return scaler.unscale(self.model.forward(scaled[:, :, None]), inputs)[:, 0]


def free_run(predict: Predictor, inputs: np.ndarray, steps: int) -> np.ndarray:
    """Forecast ``steps`` values after each window (N, W), reading one's own forecasts: (N, K)."""
    check_positive("steps", steps)
    inputs = inputs.copy()
    forecasts = np.empty((len(inputs), steps))
    for k in range(steps):
        forecasts[:, k] = predict(inputs)
        inputs = np.concatenate([inputs[:, 1:], forecasts[:, k : k + 1]], axis=1)
    return forecasts


def rolling_errors(
    predict: Predictor, values: np.ndarray, start: int, window: int, steps: int
) -> np.ndarray:
    """Root mean squared error at 1 ... K steps ahead, over all origins from ``start`` on: (K,).

    Each place is an origin in its turn: the predictor gets the true values before it and runs free
    for K steps. Column 0 is the one-step error. The predictor is not trained anew.

    Raises:
        ValueError: where less than K values follow ``start`` or less than W precede it.
    """
    check_shape("values", values, ("length",))
    check_between("start", start, window, len(values) - steps)
    future = np.lib.stride_tricks.sliding_window_view(values[start:], steps)  # (N, K)
    inputs = examples(values, window, start)[0][: len(future)]
    return np.sqrt(np.mean((free_run(predict, inputs, steps) - future) ** 2, axis=0))


def rolling_origins(length: int, *, folds: int, size: int) -> list[tuple[int, int]]:
    """Where each fold's training part ends and its test block ends: the last ``folds`` blocks.

    Each block is forecast by a model trained on everything before it, never on anything after.
    Raises ``ValueError`` where nothing would be left to train on in the first fold.
    """
    check_positive("folds", folds)
    check_positive("size", size)
    check_between("folds * size", folds * size, 1, length - 1)
    ends = [length - k * size for k in reversed(range(folds))]
    return [(end - size, end) for end in ends]


def baselines(
    train: np.ndarray, window: int, season: int, *, penalty: float = 1.0, relative: bool = False
) -> dict[str, Predictor]:
    """Four predictors that any network has to beat, made from the training part."""
    check_between("season", season, 1, window)
    return {
        "mean": mean_predictor(train),
        "persistence": persistence,
        "seasonal": seasonal_predictor(season),
        "ridge-AR": ridge_ar(train, window, penalty=penalty, relative=relative),
    }


MONTH = re.compile(r"\d{4}-\d\d")


class BadFile(ValueError):
    """The file cannot be forecast; the message says why in one sentence."""


def read_series(path: str | Path, column: str, time: str | None = None) -> np.ndarray:
    """One column of a CSV file with a head, as numbers; checks that time increases.

    Args:
        time: the column that holds the time, as ISO dates (``2005-01``, ``2005-01-31``), with or
            without an hour, or as numbers. Without it the first column, unless that is ``column``.
    Raises:
        BadFile: for a missing file or column, no rows, a value that is missing, no number, NaN or
            infinite, and for times that cannot be read or do not increase.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = [(reader.line_num, row) for row in reader]
            names = reader.fieldnames or []
    except FileNotFoundError as error:
        raise BadFile(f"{path} does not exist.") from error
    except OSError as error:
        raise BadFile(f"{path} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadFile(f"{path} must be a CSV file in UTF-8, got another.") from error
    for name in [column] if time is None else [column, time]:
        if name not in names:
            raise BadFile(f"{path} has no column {name!r}; it has {', '.join(names) or 'none'}.")
    if not rows:
        raise BadFile(f"{path} has no rows below its head.")
    values = np.array([_number(row[column], column, line) for line, row in rows])
    if time is None and names[0] != column:
        time = names[0]
    if time is not None:
        _check_increasing([(line, _moment(row[time], time, line)) for line, row in rows], time)
    return values


def _number(text: str | None, column: str, line: int) -> float:
    try:
        value = float(text or "")
    except ValueError as error:
        raise BadFile(
            f"Column {column!r} must hold numbers only, got {text!r} in line {line}."
        ) from error
    if not math.isfinite(value):
        raise BadFile(
            f"Column {column!r} must hold finite numbers only, got {value} in line {line}."
        )
    return value


def _moment(text: str | None, column: str, line: int) -> float:
    """A number as it is; an ISO date as days, a month as its first."""
    time = text or ""
    try:
        return float(time)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(f"{time}-01" if MONTH.fullmatch(time) else time)
    except ValueError as error:
        raise BadFile(
            f"Column {column!r} must hold the time as ISO dates or numbers, got {text!r} in line "
            f"{line}; name another by --time."
        ) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp() / 86400


def _check_increasing(moments: list[tuple[int, float]], column: str) -> None:
    for (_, before), (line, now) in itertools.pairwise(moments):
        if not now > before:
            raise BadFile(
                f"Column {column!r} must increase from row to row, but line {line} is not later "
                "than the one before; sort the rows by time."
            )


def compare(
    values: np.ndarray,
    *,
    window: int,
    season: int,
    horizon: int,
    hidden: int = 16,
    epochs: int = 150,
    seeds: int = 5,
    relative: bool = False,
) -> tuple[dict[str, np.ndarray], list[LSTMForecaster]]:
    """Errors on the test part, which is used for this and nothing else, and the trained networks.

    Returns:
        for each baseline (K,) and for "LSTM" (seeds, K): the root mean squared error at 1 ... K
        steps ahead; and one network a seed.
    Raises:
        ValueError: where a part is too short for the window or the horizon.
    """
    check_shape("values", values, ("length",))
    check_finite("values", values)
    check_positive("seeds", seeds)
    split = chronological_split(len(values))
    least = min(split.train_end - window, split.test_start - split.train_end)
    if least < 1 or len(values) - split.test_start < horizon:
        raise ValueError(
            f"values must be more for a window of {window} (shorter than the training part) and a "
            f"horizon of {horizon} (at most the test part), got {len(values)}."
        )
    known = values[: split.test_start]
    train = values[: split.train_end]
    networks = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        network = LSTMForecaster(window, hidden=hidden, relative=relative, rng=rng)
        network.fit(known, split.train_end, epochs=epochs)
        networks.append(network)

    def errors(predict: Predictor) -> np.ndarray:
        return rolling_errors(predict, values, split.test_start, window, horizon)

    free = baselines(train, window, season, relative=relative)
    table = {name: errors(predict) for name, predict in free.items()}
    return table | {"LSTM": np.array([errors(network) for network in networks])}, networks


def main(arguments: list[str] | None = None) -> int:
    """The command line. Returns 0, or 2 with one sentence on standard error."""
    parser = argparse.ArgumentParser(
        prog="python -m rnnbook.forecast",
        description="Train an LSTM on a column of a CSV file and compare it with baselines.",
    )
    parser.add_argument("file", help="a CSV file with a head, rows equally spaced in time")
    parser.add_argument("--column", required=True, help="what to forecast")
    parser.add_argument("--time", help="the column with the time (the first one)")
    parser.add_argument("--season", type=int, default=12, help="steps of a season (12)")
    parser.add_argument("--window", type=int, default=24, help="values that are read (24)")
    parser.add_argument("--horizon", type=int, default=12, help="steps of a free run (12)")
    parser.add_argument("--hidden", type=int, default=16, help="units of the LSTM (16)")
    parser.add_argument("--epochs", type=int, default=150, help="the most epochs (150)")
    parser.add_argument("--seeds", type=int, default=5, help="how many networks, at least 2 (5)")
    parser.add_argument("--relative", action="store_true", help="predict changes: for a trend")
    parser.add_argument("--out", type=Path, default=Path("forecast"), help="folder (forecast)")
    options = parser.parse_args(arguments)
    settings = {
        name: getattr(options, name)
        for name in ("window", "season", "horizon", "hidden", "epochs", "seeds", "relative")
    }
    try:
        import rnnbook.plots  # noqa: F401  what its figure needs is missed before the training

        check_between("seeds", options.seeds, 2, math.inf)  # one seed has no interval
        if options.out.exists() and not options.out.is_dir():
            raise ValueError(f"out must be a folder, got the file {options.out}.")
        values = read_series(options.file, options.column, options.time)
        table, networks = compare(values, **settings)
        future = np.array(
            [free_run(net, values[None, -options.window :], options.horizon)[0] for net in networks]
        )
    except (ValueError, MissingExtra) as error:
        print(error, file=sys.stderr)
        return 2
    _report(table, options.horizon)
    _save(options.out, settings, table, networks, future)
    _plot(options.out, options.column, values, table, future)
    print(f"saved: errors.json, forecast.csv, weights.npz, forecast.png in {options.out}")
    return 0


def _report(table: dict[str, np.ndarray], horizon: int) -> None:
    from rnnbook.plots import mean_interval

    print(f"root mean squared error on the test part{'1 step':>12}{f'{horizon} steps':>20}")
    for name, errors in table.items():
        if errors.ndim == 1:
            print(f"{name:40}{errors[0]:12.4g}{errors[-1]:20.4g}")
        else:
            mean, half = mean_interval(errors)
            one, last = (f"{mean[k]:.4g} ± {half[k]:.2g}" for k in (0, -1))
            print(f"{name:40}{one:>16}{last:>20}")
    best = min(table, key=lambda name: table[name][..., 0].mean())
    print(f"best one step ahead: {best}")


def _save(out: Path, settings: dict, table: dict, networks: list, future: np.ndarray) -> None:
    errors = {name: values.tolist() for name, values in table.items()}
    text = json.dumps({"settings": settings, "rmse": errors}, indent=1) + "\n"
    write_atomically(out / "errors.json", text.encode())
    lines = ["step,mean," + ",".join(f"seed{seed}" for seed in range(len(future)))]
    for k, column in enumerate(future.T, start=1):
        lines.append(",".join([str(k), *(f"{value:.6g}" for value in (column.mean(), *column))]))
    write_atomically(out / "forecast.csv", ("\n".join(lines) + "\n").encode())
    weights = [{"scaler": vars(net.scaler), "params": net.model.params} for net in networks]
    save_tree(out / "weights.npz", weights)


def plot_errors(ax, table: dict[str, np.ndarray]) -> None:
    """Draw what ``compare`` returns against the steps ahead; the LSTM with its 95 % interval."""
    from rnnbook import plots

    looks = {
        "mean": (":", plots.BLACK),
        "persistence": ("--", plots.ORANGE),
        "seasonal": ("-.", plots.GREEN),
        "ridge-AR": ("-", plots.BLUE),
    }
    steps = np.arange(1, table["mean"].size + 1)
    for name, (dash, color) in looks.items():
        ax.plot(steps, table[name], dash, color=color, marker="", label=name)
    color = plots.MODEL_COLORS["LSTM"]
    plots.plot_runs(ax, steps, table["LSTM"], "LSTM", marker="", color=color)
    ax.set(xlabel="steps ahead")


def _plot(out: Path, column: str, values: np.ndarray, table: dict, future: np.ndarray) -> None:
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
    figure.savefig(out / "forecast.png")
    plt.close(figure)


if __name__ == "__main__":
    sys.exit(main())
