"""The network as a predictor, and how it does against the others."""

import numpy as np

from rnnbook.checks import check_finite, check_positive, check_whole, finite_series
from rnnbook.forecast.predictors import baselines
from rnnbook.forecast.series import (
    Predictor,
    Scaler,
    as_windows,
    chronological_split,
    examples,
    rolling_errors,
)
from rnnbook.scratch import FusedLSTM, Linear, SequenceModel, losses, optim
from rnnbook.tasks import Batch
from rnnbook.train import fit


class LSTMForecaster:
    """An LSTM that reads the window and a linear head that says the next value: a predictor.

    The network computes in float32 with scaled values; scaling there and back is done in float64.

    Args:
        window: W, how many values it reads.
        hidden: units of the layer.
        relative: predict changes instead of values (see ``Scaler``).
        rng: initial weights and the order of the examples.
    """

    def __init__(
        self, window: int, *, hidden: int = 16, relative: bool = False, rng: np.random.Generator
    ):
        window = check_positive("window", window)
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

        Raises:
            ValueError: for no series, one whose training part does not vary, a ``train_end`` that
                leaves no window before it, and what ``rnnbook.train.fit`` refuses.
        """
        values = finite_series("values", values, None)
        train_end = check_whole("train_end", train_end, self.window + 1, len(values))
        train, rest = values[:train_end], train_end < len(values)
        before, self.scaler = self.scaler, Scaler.fit(train, relative=self.relative)
        try:
            history = fit(
                self.model,
                self._batch(*examples(train, self.window)),
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
        except ValueError:  # a setting that is refused: nothing is changed
            self.scaler = before
            raise
        self.model.eval()  # from here on it predicts, and keeps nothing for a backward
        return history

    def _batch(self, inputs: np.ndarray, target: np.ndarray) -> Batch:
        scaler = self._fitted()
        scaled = scaler.scale(inputs, inputs)
        return Batch(scaled[:, :, None], scaler.scale(target, inputs)[:, None])

    def _fitted(self) -> Scaler:
        if self.scaler is None:
            raise RuntimeError("LSTMForecaster needs a call of fit before it forecasts.")
        return self.scaler

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Windows (N, W) -> the values that follow (N,).

        Raises ``ValueError`` for no windows of finite numbers, ``RuntimeError`` before ``fit``.
        """
        scaler, inputs = self._fitted(), as_windows(inputs)
        check_finite("inputs", inputs)
        scaled = scaler.scale(inputs, inputs)
        return scaler.unscale(self.model.forward(scaled[:, :, None]), inputs)[:, 0]


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
        ValueError: for no series, one whose training part does not vary, and where a part is too
            short for the window or the horizon, or the window for the season.
    """
    values = finite_series("values", values, None)
    window, horizon = check_positive("window", window), check_positive("horizon", horizon)
    check_positive("seeds", seeds)
    split = chronological_split(len(values))
    least = min(split.train_end - window, split.test_start - split.train_end)
    if least < 1 or len(values) - split.test_start < horizon:
        raise ValueError(
            f"values must be more for a window of {window} (shorter than the training part) and a "
            f"horizon of {horizon} (at most the test part), got {len(values)}."
        )
    known = values[: split.test_start]
    free = baselines(values[: split.train_end], window, season, relative=relative)
    networks = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        network = LSTMForecaster(window, hidden=hidden, relative=relative, rng=rng)
        network.fit(known, split.train_end, epochs=epochs)
        networks.append(network)

    def errors(predict: Predictor) -> np.ndarray:
        return rolling_errors(predict, values, split.test_start, window, horizon)

    table = {name: errors(predict) for name, predict in free.items()}
    return table | {"LSTM": np.array([errors(network) for network in networks])}, networks
