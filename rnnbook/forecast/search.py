"""A grid that is widened until its best lies inside."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rnnbook.checks import check_between


@dataclass(frozen=True)
class Search:
    """The best setting, its score, the scores of all that were tried, and what is still at an edge.

    ``at_edge`` names the parameters whose best value is the last that was allowed.
    """

    best: dict[str, Any]
    score: float
    tried: list[tuple[dict[str, Any], float]]
    at_edge: list[str]


def widened_search(
    score: Callable[..., float],
    grid: Mapping[str, Sequence],
    limits: Mapping[str, tuple[float, float]],
) -> Search:
    """Try all combinations; where the best lies at the edge, go on in that direction.

    A parameter in ``limits`` has two or more values above 0, in ascending order, as ``[0.01, 1,
    100]``; its grid is continued by the same factor (rounded to whole numbers where all are), as
    long as its best value is the first or the last and the next one is within the limits.

    Args:
        score: of the combination that it gets as keywords; the least is the best. NaN and infinity
            are never the best.
    Raises:
        ValueError: where a grid that may be widened has fewer than two values or none above 0, and
            where no combination has a finite score.
    """
    values = {name: list(choices) for name, choices in grid.items()}
    for name in limits:
        if len(values[name]) < 2:
            few = values[name]
            raise ValueError(f"grid must have two values of {name} or more, got {few}.")
        check_between(f"the grid's {name}", values[name][0], math.ulp(0.0), math.inf)
    scores: dict[tuple, float] = {}
    while True:
        for combination in itertools.product(*values.values()):
            if combination not in scores:
                found = score(**dict(zip(values, combination, strict=True)))
                scores[combination] = found if math.isfinite(found) else math.inf
        best = min(scores, key=scores.__getitem__)
        if not math.isfinite(scores[best]):
            raise ValueError(f"score must be finite for one combination of {values}.")
        setting = dict(zip(values, best, strict=True))
        edges = {
            name: value
            for name in limits
            if (value := _beyond(values[name], setting[name])) is not None
        }
        wider = {
            name: value
            for name, value in edges.items()
            if limits[name][0] <= value <= limits[name][1]
        }
        if not wider:
            settings = [dict(zip(values, key, strict=True)) for key in scores]
            tried = list(zip(settings, scores.values(), strict=True))
            return Search(setting, scores[best], tried, list(edges))
        for name, value in wider.items():
            values[name] = sorted([*values[name], value])


def _beyond(choices: list, value: float) -> float | None:
    """The value that continues ``choices`` beyond ``value``, where that is the first or last."""
    whole = all(isinstance(choice, int) for choice in choices)
    if value == choices[-1]:
        following = choices[-1] * (choices[-1] / choices[-2])
    elif value == choices[0]:
        following = choices[0] * (choices[0] / choices[1])
    else:
        return None
    return max(1, round(following)) if whole else following
