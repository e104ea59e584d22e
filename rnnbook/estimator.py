"""A recurrent network as a scikit-learn regressor, and a careful choice of its size (``faq``).

    z = (x - m) / s        m, s: mean and standard deviation of all values of all training windows
    prediction = head(h_T) unscaled by the mean and standard deviation of the training targets

With it, all of scikit-learn's tools work on networks of ``rnnbook.scratch``: cross-validation, grid
search, learning curves. Dimensions: n windows of T values.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from rnnbook.checks import (
    check_between,
    check_bool,
    check_choice,
    check_positive,
    check_whole,
    real_numbers,
    rounding,
)
from rnnbook.extras import needed
from rnnbook.scratch import (
    FusedGRU,
    FusedLSTM,
    FusedRNN,
    Linear,
    RecurrentLayer,
    SequenceModel,
    losses,
    optim,
    schedules,
)

with needed("estimator"):
    from sklearn.base import BaseEstimator, RegressorMixin
    from sklearn.preprocessing import StandardScaler
    from sklearn.utils.validation import check_is_fitted, validate_data
from rnnbook.tasks import Batch
from rnnbook.train import fit

CELLS: dict[str, type[RecurrentLayer]] = {"RNN": FusedRNN, "LSTM": FusedLSTM, "GRU": FusedGRU}


class RecurrentRegressor(RegressorMixin, BaseEstimator):
    """Reads a window of T values, one a step, and predicts a number from its last state.

    The network is a recurrent layer and a linear head in float64, trained on the squared error by
    Adam, with a learning rate that falls to zero along half a cosine and clipped gradients. Each
    row of X is a window in the order of time; columns beyond it (``window``) are known beside it,
    such as the month that is to be predicted, and are read at every step. Inputs and targets are
    scaled by what ``fit`` is given and nothing else, so that no fold of a cross-validation learns
    of its test part.

    Args:
        cell: "RNN" (tanh), "LSTM" or "GRU".
        hidden_size: units of the layer.
        epochs: how often all windows are gone through.
        batch_size: windows for each step.
        learning_rate: of Adam, at the first step.
        max_norm: gradients are shortened to this norm.
        window: T, how many columns of X are the window; None: all of them.
        latest_first: the window's columns run from the latest value to the earliest, as the lags of
            skforecast do.
        random_state: a seed or a generator, as ``numpy.random.default_rng`` takes it: initial
            weights and the order of the windows. A generator goes on from one ``fit`` to the next.

    Attributes:
        model_: the ``SequenceModel``, which works on scaled values.
        input_scaler_, target_scaler_: a ``StandardScaler`` each; the first one treats all places
            of a window alike.
        beside_scaler_: a ``StandardScaler`` of the columns beyond the window, or None.
        window_: T.
        history_: the losses of each step and epoch, on scaled targets.
        n_features_in_: T, and what is beside it.
    """

    def __init__(
        self,
        cell="LSTM",
        hidden_size=16,
        *,
        epochs=100,
        batch_size=32,
        learning_rate=0.01,
        max_norm=1.0,
        window=None,
        latest_first=False,
        random_state=None,
    ):
        self.cell = cell
        self.hidden_size = hidden_size
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.max_norm = max_norm
        self.window = window
        self.latest_first = latest_first
        self.random_state = random_state

    def fit(self, X, y):
        """Train a new network on windows X (n, T) and targets y (n,). Returns itself.

        Raises:
            ValueError: for wrong settings or data.
            TrainingDiverged: where loss or gradient become NaN or infinite.
        """
        check_choice("cell", self.cell, tuple(CELLS))
        hidden_size = check_positive("hidden_size", self.hidden_size)
        epochs = check_positive("epochs", self.epochs)
        batch_size = check_positive("batch_size", self.batch_size)
        learning_rate = check_between("learning_rate", self.learning_rate, 0, math.inf)
        max_norm = check_between("max_norm", self.max_norm, 0, math.inf)
        check_bool("latest_first", self.latest_first)
        rng = np.random.default_rng(self.random_state)
        X, y = _arrays(X=X, y=y)
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        y = y.astype(np.float64)  # a scaler would go on in float16
        self.window_ = X.shape[1] if self.window is None else self.window
        check_whole("window", self.window_, 1, X.shape[1])
        values, beside = X[:, : self.window_], X[:, self.window_ :]
        self.input_scaler_, self.target_scaler_ = _scaler(values), _scaler(y)
        self.beside_scaler_ = StandardScaler().fit(beside) if beside.size else None

        layer = CELLS[self.cell](1 + beside.shape[1], hidden_size, rng=rng)
        self.model_ = SequenceModel(layer, Linear(hidden_size, 1, rng=rng))
        self.history_ = fit(
            self.model_,
            Batch(self._inputs(X), self.target_scaler_.transform(y.reshape(-1, 1))),
            loss=losses.mse,
            optimizer=optim.Adam(self.model_.params, lr=learning_rate),
            epochs=epochs,
            batch_size=batch_size,
            rng=rng,
            max_norm=max_norm,
            schedule=schedules.cosine(epochs * math.ceil(len(X) / batch_size)),
            progress=False,
        )
        self.model_.eval()  # it will only predict, and keeps nothing for a backward
        return self

    def predict(self, X):
        """Windows X (n, T) -> predictions (n,)."""
        check_is_fitted(self)
        X = validate_data(self, *_arrays(X=X), dtype=np.float64, reset=False)
        # In parts, so that the memory for the states of all steps stays small.
        parts = np.array_split(self._inputs(X), math.ceil(len(X) / 1000))
        scaled = np.concatenate([self.model_.forward(part) for part in parts])
        return self.target_scaler_.inverse_transform(scaled)[:, 0]

    def _inputs(self, X: np.ndarray) -> np.ndarray:
        """(n, T + m) -> (n, T, 1 + m), scaled; what is beside the window stands at every step."""
        values = X[:, self.window_ - 1 :: -1] if self.latest_first else X[:, : self.window_]
        scaled = self.input_scaler_.transform(values.reshape(-1, 1)).reshape(*values.shape, 1)
        if self.beside_scaler_ is None:
            return scaled
        beside = self.beside_scaler_.transform(X[:, self.window_ :])
        steps = np.broadcast_to(beside[:, None], (*values.shape, beside.shape[1]))
        return np.concatenate([scaled, steps], axis=2)


def _scaler(values: np.ndarray) -> StandardScaler:
    """By the mean and standard deviation of all ``values``; constants are not scaled.

    scikit-learn's own bound for a constant grows with the number of values and their level: of a
    thousand around 1e12 it would take a standard deviation of 0.2 for none.
    """
    scaler = StandardScaler().fit(values.reshape(-1, 1))
    spread = np.sqrt(scaler.var_)
    scaler.scale_ = np.where(spread > rounding(values), spread, 1.0)
    return scaler


def _arrays(**data) -> list:
    """What scikit-learn misreads, as it should be read: it drops masks, and tensors' gradients."""
    return [
        real_numbers(name, array, None)
        if isinstance(array, np.ma.MaskedArray) or hasattr(array, "detach")
        else array
        for name, array in data.items()
    ]


def one_standard_error(parameter: str) -> Callable[[Mapping], int]:
    """For ``GridSearchCV(refit=...)``: the smallest ``parameter`` that is as good as the best.

        best = argmax_j m_j        choose the smallest with  m_j >= m_best - s_best / sqrt(K)

    with m_j the mean and s_j the standard deviation (K - 1 in the denominator) of candidate j's
    scores over K folds: a simpler model, where the folds cannot tell it from the best. Among
    candidates of the same value the one with the best mean counts; failed ones (NaN) do not.

    Args:
        parameter: as in the grid, such as "hidden_size" or "regressor__hidden_size".
    Returns:
        a function from ``cv_results_`` (also as a DataFrame, whose index plays no part) to the
        place of the chosen candidate. It raises ``ValueError`` for a parameter that is not in the
        grid or not set for a candidate that might be chosen, for fewer than two folds, and where
        every candidate failed.
    Source:
        Breiman, Friedman, Olshen & Stone, "Classification and Regression Trees" (1984), the "1 SE
        rule"; Hastie, Tibshirani & Friedman, "The Elements of Statistical Learning" (2009),
        7.10.1.
    """
    return partial(_one_standard_error, parameter)


def _one_standard_error(parameter: str, cv_results: Mapping) -> int:
    grid = [name.removeprefix("param_") for name in cv_results if name.startswith("param_")]
    if parameter not in grid:
        raise ValueError(
            f"parameter must be one of the grid's ({', '.join(grid)}), got {parameter!r}."
        )
    folds = sum(name.startswith("split") and name.endswith("_test_score") for name in cv_results)
    if folds < 2:
        raise ValueError(f"cv must make 2 folds at least for a standard error, got {folds}.")
    means = np.asarray(cv_results["mean_test_score"])
    if not np.isfinite(means).any():
        raise ValueError("cv_results must hold one finite mean score at least, got none.")
    best = int(np.nanargmax(means))
    # scikit-learn's std has K in the denominator: std / sqrt(K - 1) is s / sqrt(K).
    error = np.asarray(cv_results["std_test_score"])[best] / math.sqrt(folds - 1)
    good = np.flatnonzero(means >= means[best] - error)
    values = np.ma.asarray(cv_results[f"param_{parameter}"])
    # Of several grids in a list, not each may have the parameter: masked there, NaN in a DataFrame.
    if any(values[j] is np.ma.masked or values[j] != values[j] for j in good):
        raise ValueError(f"parameter must be set in every good candidate, got {parameter!r}.")
    return int(min(good, key=lambda j: (values[j], -means[j])))
