"""All candidates on one series: settings and the best by validation, the test part asked once.

Dimensions: N origins, K steps ahead.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rnnbook.checks import check_between, check_choice, check_positive
from rnnbook.estimator import CELLS
from rnnbook.extras import needed
from rnnbook.forecast.backtest import Backtest, backtest, conformal, naive_error
from rnnbook.forecast.candidates import Candidate, calendar_features, candidates, choose
from rnnbook.forecast.series import Split, chronological_split
from rnnbook.forecast.verdicts import Difference, fewest_origins, holm, paired_difference

with needed("forecast"):
    import pandas as pd

# The candidates that read columns known beforehand; the others have no place for them.
READ_BESIDE = ("ridge-AR", "kernel ridge", "feed-forward", "SARIMA", *CELLS)


def parts(length: int) -> Split:
    """The first half trains, 30 % choose, the last 20 % test.

    So many for validation, because the choice is among many settings and errors several steps ahead
    come in swarms: with 15 %, of 300 values of a random walk, a kernel ridge with the wrong width
    looked best by a tenth, and was half as bad again in the test part.
    """
    return chronological_split(length, validation=0.3, test=0.2)


@dataclass(frozen=True)
class Plan:
    """What is asked for: all that the candidates depend on, but the series.

    Attributes:
        steps: K, how far ahead. season: steps of a season; None for none. window: values that are
            read. hidden: units of the networks. networks: how many are averaged, with the seeds
            0, 1, ... cell: of the recurrent one. direct: one model for each step ahead, in place of
            one that reads its own forecasts. coverage: of the intervals.
    """

    steps: int
    season: int | None
    window: int
    hidden: int = 16
    networks: int = 5
    cell: str = "LSTM"
    direct: bool = False
    coverage: float = 0.8

    def candidates(self, index: "pd.Index", networks: int | None = None) -> dict[str, Candidate]:
        """All candidates for series with this index."""
        return candidates(
            index,
            season=self.season,
            window=self.window,
            hidden=self.hidden,
            cell=self.cell,
            seeds=range(networks or self.networks),
            direct=self.steps if self.direct else None,
        )

    def least_length(self) -> int:
        """How many values a series must have: for each of its three parts, see ``short_of``."""
        length = self.window + self.steps
        while self.short_of(length):
            length += 1
        return length

    def short_of(self, length: int) -> bool:
        """Whether one of the parts of a series of this length is too short.

        The first training part must hold ten windows with their targets (of changes, K steps on
        where ``direct``), and two seasons and five values; the validation part as many origins as
        there are trainings (3) and as an interval of this coverage needs; the test part ten.
        """
        split = parts(length)
        rows = self.window + 11 + (self.steps - 1) * self.direct
        origins = max(3, int(np.ceil(self.coverage / (1 - self.coverage) - 1e-9)))
        return (
            split.train_end < max(rows, 2 * (self.season or 1) + 5)
            or split.test_start - split.train_end < self.steps - 1 + origins
            or length - split.test_start < self.steps - 1 + 10
        )

    def check(self, y: "pd.Series") -> None:
        """Raise ``ValueError`` for settings that are wrong, or wrong for this series."""
        for name in ("steps", "window", "hidden", "networks"):
            check_positive(name, getattr(self, name))
        if self.season is not None:
            check_between("season", self.season, 2, np.inf)
        check_choice("cell", self.cell, tuple(CELLS))
        check_between("coverage", self.coverage, 0.01, 0.99)
        if self.short_of(len(y)):
            raise ValueError(
                f"A horizon of {self.steps}, a window of {self.window}, a season of "
                f"{self.season or 1} and a coverage of {self.coverage:g} need "
                f"{self.least_length()} values, for training, validation and test, got {len(y)}."
            )
        split = parts(len(y))
        if np.ptp(y.to_numpy()[: split.train_end]) == 0:
            raise ValueError(f"The first {split.train_end} values are all {y.iloc[0]:g}: no model.")
        if _scale(y, self.season) == 0:
            raise ValueError(
                f"The first {split.train_end} values repeat every {self.season or 1} exactly: "
                "no model is needed, and no error can be scaled by this one."
            )


def workable(data: Any) -> Any:
    """``data`` with the rows numbered, unless the calendar of its index tells a model something."""
    return data if calendar_features(data.index) else data.reset_index(drop=True)


@dataclass(frozen=True)
class Result:
    """Of one candidate: the settings chosen, those at an edge, and its held-out forecasts."""

    setting: dict[str, Any]
    at_edge: list[str]
    validation: Backtest
    test: Backtest

    def covered(self, coverage: float) -> float:
        """Share of the test part that intervals hold which are made from validation errors."""
        half = conformal(self.validation.errors, coverage)
        return float(np.mean(np.abs(self.test.errors) <= half))


MARGIN = 0.05


@dataclass(frozen=True)
class Comparison:
    """The results of all candidates; MASE is scaled by ``scale``."""

    results: dict[str, Result]
    scale: float

    @property
    def best(self) -> str:
        """The simplest candidate within 5 % of the least error in validation.

        Less does not pay for a model that is harder to understand, and is often chance: on a random
        walk somebody is always a little ahead of persistence. The test part plays no part.
        """
        errors = {name: result.validation.overall() for name, result in self.results.items()}
        least = min(errors.values())
        return next(name for name, error in errors.items() if error <= (1 + MARGIN) * least)

    def as_good(self) -> list[str]:
        """Candidates that validation does not tell from the best (``paired_difference``, 95 %, with
        no correction), the simplest first; none where it has too few origins to say."""
        losses = {
            name: np.mean(result.validation.errors**2, axis=1)
            for name, result in self.results.items()
        }
        best = losses.pop(self.best)
        steps = self.results[self.best].validation.truth.shape[1]
        if len(best) < fewest_origins(steps):
            return []
        return [
            name
            for name, loss in losses.items()
            if np.ptp(loss - best) == 0 or paired_difference(loss, best, steps).low <= 0
        ]

    def loss_steps(self) -> int:
        """Over how many steps ahead squared errors are averaged for ``differences``: K, or 1,
        or 0, for none, where the test part has too few origins for more."""
        origins, steps = self.results[self.best].test.truth.shape
        return next((k for k in (steps, 1) if origins >= fewest_origins(k)), 0)

    def differences(self) -> dict[str, Difference]:
        """Squared errors minus the best one's, paired, on the test part; p adjusted by Holm."""
        steps = self.loss_steps()
        if steps == 0:
            return {}
        losses = {
            name: np.mean(result.test.errors[:, :steps] ** 2, axis=1)
            for name, result in self.results.items()
        }
        best = losses.pop(self.best)
        found = {
            name: paired_difference(loss, best, steps)
            for name, loss in losses.items()
            if np.ptp(loss - best) > 0  # else they say the same
        }
        adjusted = list(holm([one.p for one in found.values()])) if found else []
        return {
            name: replace(one, p=float(p))
            for (name, one), p in zip(found.items(), adjusted, strict=True)
        }


def compare(
    y: "pd.Series",
    plan: Plan,
    *,
    beside: "pd.DataFrame | None" = None,
    tell: Callable[[str], None] = lambda name: None,
) -> Comparison:
    """Choose each candidate's settings on the first 80 % of ``y``, and test it on the rest.

    Settings are chosen by at most 16 rolling origins (three trainings), a network's with the first
    seed alone; then each origin of the validation part counts, and all networks. For the test
    part, each is trained once on all that lies before it.

    Args:
        beside: what is known beforehand, aligned with ``y``; ``READ_BESIDE`` names who reads it.
        tell: is called with the name of each candidate before it is tried.
    """
    plan.check(y)
    y, beside = workable(y), None if beside is None else workable(beside).iloc[: len(y)]
    split = parts(len(y))
    first = y.iloc[: split.test_start]
    origins = split.test_start - split.train_end - plan.steps + 1
    trial = plan.candidates(y.index, networks=1)
    results = {}
    for name, candidate in plan.candidates(y.index).items():
        tell(name)
        exog = beside if name in READ_BESIDE else None
        early = None if exog is None else exog.iloc[: split.test_start]
        search = choose(
            trial[name],
            first,
            plan.steps,
            start=split.train_end,
            stride=-(-origins // 16),
            exog=early,
        )
        found = [
            backtest(candidate.make(**search.best), part, start, plan.steps, refits=n, exog=known)
            for part, start, n, known in (
                (first, split.train_end, 3, early),
                (y, split.test_start, 1, exog),
            )
        ]
        results[name] = Result(search.best, search.at_edge, *found)
    return Comparison(results, _scale(y, plan.season))


def _scale(y: "pd.Series", season: int | None) -> float:
    return naive_error(y.to_numpy()[: parts(len(y)).train_end], season or 1)
