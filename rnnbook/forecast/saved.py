"""A forecaster in a file: what it was fitted to, and how, so that loading fits it again.

``model.json`` holds the candidate's name and settings, the plan (window, season, seeds) and the
series. The fit is deterministic, so the one that is loaded says the same. That serves all
candidates alike, skforecast's and statsmodels', needs no pickle (which runs what a stranger has put
in), is readable, and small: of a thousand values 20 kB.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rnnbook.checks import check_keys
from rnnbook.extras import needed
from rnnbook.forecast.comparison import READ_BESIDE, Plan, workable
from rnnbook.forecast.statespace import StateSpace
from rnnbook.forecast.steps import BadFile

with needed("forecast"):
    import pandas as pd

FILE = "model.json"


@dataclass
class Model:
    """A candidate with its settings, fitted to all of ``y``.

    Attributes:
        beside: what is known beforehand, from the first row of ``y`` on, K rows longer; or None.
        half: half-widths of the intervals 1 ... K steps ahead.
        reading: how the file was read, for ``apply`` to read another in the same way.
    """

    name: str
    setting: dict[str, Any]
    plan: Plan
    y: "pd.Series"
    half: np.ndarray
    beside: "pd.DataFrame | None" = None
    reading: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        y, exog = workable(self.y), self._known(self.beside)
        self._forecaster = self.plan.candidates(y.index)[self.name].make(**self.setting)
        self._forecaster.fit(y, **({} if exog is None else {"exog": exog.iloc[: len(y)]}))

    def _known(self, beside: "pd.DataFrame | None") -> "pd.DataFrame | None":
        return None if beside is None or self.name not in READ_BESIDE else workable(beside)

    def forecast(
        self, y: "pd.Series | None" = None, beside: "pd.DataFrame | None" = None
    ) -> "pd.DataFrame":
        """The K values after ``y`` (what it was fitted to), as ``forecast``, ``low``, ``high``.

        Args:
            y: begins where the series began that the model was fitted to, and may go on beyond its
                end; the model stays as it was. NaN is missing.
            beside: what is known beforehand, K rows longer than ``y``.
        Raises:
            ValueError: where the model needs values that are missing, at the end of ``y``.
        """
        steps, tool = self.plan.steps, self._forecaster
        whole, exog = (self.y, self.beside) if y is None else (y, beside)
        values, known = workable(whole), self._known(exog)
        more = {} if known is None else {"exog": known.iloc[len(values) :]}
        if isinstance(tool, StateSpace):
            before = None if known is None else known.iloc[: len(values)]
            state = tool.make(values, before).filter(tool.fitted_.params)
            found = state.forecast(steps, **more)
        else:
            window = values.iloc[-tool.window_size :]
            if window.isna().any():
                raise ValueError(f"{self.name} needs the last {len(window)} values without gaps.")
            found = tool.predict(steps, last_window=window, **more)
        middle = np.asarray(found, dtype=np.float64)
        return pd.DataFrame(
            {"forecast": middle, "low": middle - self.half, "high": middle + self.half},
            index=beyond(whole.index, steps),
        )

    def joined(
        self, y: "pd.Series", beside: "pd.DataFrame | None" = None
    ) -> "tuple[pd.Series, pd.DataFrame | None]":
        """The series that the model was fitted to and ``y``, which goes on where it ended, or later
        (then NaN stands between), or repeats some of it, and counts then. Rows without a time
        follow. ``beside`` likewise.

        Raises:
            ValueError: where ``y`` ends before the series did, or has other steps.
        """
        old = self.y.index
        if self.reading.get("untimed"):
            y = y.set_axis(y.index + len(old))
            beside = None if beside is None else beside.set_axis(beside.index + len(old))
        grid = old
        try:
            while grid[-1] < y.index[-1]:
                grid = grid.append(beyond(grid, len(y)))
            place = grid.get_indexer(y.index)
        except TypeError:  # dates among numbers, or with an offset among those without
            place = np.array([-1])
        if (place < 0).any() or place[-1] < len(old) - 1:
            raise ValueError(
                f"The file must go on in the steps of the series that the model learned, from "
                f"{old[-1]} on, got {y.index[0]} to {y.index[-1]}."
            )
        whole = y.set_axis(grid[place]).reindex(grid[: place[-1] + 1])
        whole = whole.fillna(self.y)
        if isinstance(old, pd.DatetimeIndex):
            whole.index.freq = old.freq
        if beside is not None and self.beside is not None:
            beside = beside.combine_first(self.beside)
        return whole, beside

    def content(self) -> bytes:
        """What ``load`` reads."""
        beside = self.beside
        saved = {
            "name": self.name,
            "setting": self.setting,
            "plan": asdict(self.plan),
            "reading": dict(self.reading),
            "index": _index_saved(self.y.index),
            "column": self.y.name,
            "y": self.y.tolist(),
            "beside": None if beside is None else {name: beside[name].tolist() for name in beside},
            "half": np.asarray(self.half).tolist(),
        }
        return (json.dumps(saved, indent=1) + "\n").encode()


def load(folder: str | Path) -> Model:
    """The model that the command has saved in ``folder``, fitted again.

    Raises:
        BadFile: where there is none.
    """
    path = Path(folder) / FILE
    try:
        saved = json.loads(path.read_bytes())
        check_keys("saved", saved, [*Model.__annotations__, "index", "column"])
        index = _index_loaded(saved["index"], len(saved["y"]))
        y = pd.Series(saved["y"], index, dtype=np.float64, name=saved["column"])
        beside = saved["beside"]
        if beside is not None:
            rows = len(y) + saved["plan"]["steps"]
            beside = pd.DataFrame(beside, index=_index_loaded(saved["index"], rows))
        setting = {  # JSON has no tuples
            key: tuple(value) if isinstance(value, list) else value
            for key, value in saved["setting"].items()
        }
        plan = Plan(**saved["plan"])
        half = np.array(saved["half"])
        return Model(saved["name"], setting, plan, y, half, beside, saved["reading"])
    except OSError as error:
        raise BadFile(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadFile(f"{path} must be a model that the forecast command saved.") from error


def beyond(index: "pd.Index", steps: int) -> "pd.Index":
    """The ``steps`` dates or numbers that follow an index of equal steps."""
    if isinstance(index, pd.DatetimeIndex):
        return pd.date_range(index[-1], periods=steps + 1, freq=index.freq)[1:]
    step = (index[-1] - index[0]) / (len(index) - 1)
    if step == round(step) and np.issubdtype(index.dtype, np.integer):
        step = round(step)
    return pd.Index(index[-1] + step * np.arange(1, steps + 1))


def _index_saved(index: "pd.Index") -> dict[str, Any]:
    if isinstance(index, pd.DatetimeIndex):
        months = index.freq.kwds.get("months", 0)  # a DateOffset has no name
        return {"start": index[0].isoformat(), "freq": index.freqstr, "months": months}
    return {"numbers": index.tolist()}


def _index_loaded(saved: dict[str, Any], length: int) -> "pd.Index":
    if "numbers" in saved:
        index = pd.Index(saved["numbers"])
        return index.append(beyond(index, length - len(index))) if length > len(index) else index
    freq = pd.DateOffset(months=saved["months"]) if saved["months"] else saved["freq"]
    return pd.date_range(saved["start"], periods=length, freq=freq)
