"""Many related series: a model for each by itself, or one for all of them?

Ten short pieces of one mechanism, the Mackey-Glass equation from ten starts, each with noise of its
own: 90 values are little for a model that begins with nothing. All models are chosen and compared
by ``rnnbook.forecast.compare_many``; other pieces and other weights for each seed.
"""

import numpy as np

from rnnbook import tasks
from rnnbook.extras import needed
from rnnbook.forecast import compare_many

with needed("forecast"):
    import pandas as pd

SEEDS = 3
LENGTH, HORIZON, WINDOW = 90, 6, 12
NOISE = 0.01


def pieces(count: int, rng: np.random.Generator) -> dict[str, "pd.Series"]:
    """So many series of ``LENGTH`` values, each from a start of its own, with noise."""
    return {
        f"piece {k:02d}": pd.Series(
            tasks.mackey_glass(LENGTH, start) + NOISE * start.normal(size=LENGTH)
        )
        for k, start in enumerate(rng.spawn(count))
    }


def settings(quick: bool) -> list[dict]:
    """Ten series; the quick version has two."""
    return [{"series": 2 if quick else 10}]


def run(setting: dict, seed: int) -> dict:
    """Compare them.

    Returns:
        mase: of each model on the test parts, the mean over the series; validation: the same on
        the validation parts; best: the model that is best there.
    """
    series = pieces(setting["series"], np.random.default_rng(seed))
    found = compare_many(
        series, HORIZON, season=None, window=WINDOW, hidden=16, seeds=[seed], stride=6
    )
    means = {
        part: {name: round(float(mase.mean()), 5) for name, mase in found.mase(part).items()}
        for part in ("test", "validation")
    }
    return {"mase": means["test"], "validation": means["validation"], "best": found.best}
