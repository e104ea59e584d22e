"""Is one forecast better than another, beyond what the choice of the test part explains?

    d_n = loss_n - other_n        the same origins, so compared in pairs
    D_j = mean of the j-th of m blocks of neighboring d_n
    mean(D) -+ t s / sqrt(m)      s: standard deviation of the D_j; t: Student's, m - 1 degrees

Neighboring origins share most of their future, so their losses go together, and N origins tell
less than N numbers would. Blocks as long as the horizon hardly do.
"""

from dataclasses import dataclass

import numpy as np

from rnnbook.checks import check_positive, check_shape, finite_series
from rnnbook.extras import needed

with needed("forecast"):
    from scipy import stats
    from statsmodels.stats.multitest import multipletests

SHORTEST = 5  # steps of a block at least: errors one step ahead may come in swarms, too
BLOCKS = 3  # at least


@dataclass(frozen=True)
class Difference:
    """Mean of the paired differences, its 95 % interval, the p-value of "no difference".

    It rests on so many ``blocks``, which count as independent.
    """

    mean: float
    low: float
    high: float
    p: float
    blocks: int


def paired_difference(losses, others, steps: int = 1) -> Difference:
    """Compare losses (N,) of two forecasts from the same origins, in the order of time.

    Below zero the first forecast is better. Where the differences are moving averages as long as
    the horizon, the interval misses the truth in 7 to 10 % of cases instead of 5. It speaks of
    other stretches of this series, not of other series, nor of networks with other seeds.

    Args:
        steps: how many steps ahead was forecast; blocks are as long, and 5 at least.
    Raises:
        ValueError: for fewer than three blocks, and where all blocks differ by the same.
    Source:
        Diebold & Mariano, "Comparing predictive accuracy" (1995), for the comparison in pairs;
        Carlstein, "The use of subseries values for estimating the variance of a general statistic
        from a stationary sequence" (1986), for the blocks.
    """
    losses, others = finite_series("losses", losses), finite_series("others", others)
    check_shape("others", others, (len(losses),))
    fewest = fewest_origins(steps)
    if len(losses) < fewest:
        raise ValueError(
            f"losses must be of {fewest} origins at least for {steps} steps ahead, "
            f"got {len(losses)}."
        )
    count = len(losses) // _block(steps)
    means = np.array([part.mean() for part in np.array_split(losses - others, count)])
    if np.ptp(means) == 0:
        raise ValueError(
            f"losses must differ from others by more than a constant, got {means[0]:g}."
        )
    found = stats.ttest_1samp(means, 0.0)
    low, high = found.confidence_interval(0.95)
    mean, low, high, p = map(float, (means.mean(), low, high, found.pvalue))
    return Difference(mean, low, high, p, count)


def fewest_origins(steps: int) -> int:
    """How many origins ``paired_difference`` needs for losses so many steps ahead."""
    return BLOCKS * _block(steps)


def _block(steps: int) -> int:
    return max(SHORTEST, check_positive("steps", steps))


def holm(p_values) -> np.ndarray:
    """p-values of several tests, adjusted so that one error in all of them stays as rare as p says.

    With p_(1) <= ... <= p_(m): adjusted p_(j) = max over i <= j of min(1, (m - i + 1) p_(i)).
    Source: Holm, "A simple sequentially rejective multiple test procedure" (1979).
    """
    return multipletests(p_values, method="holm")[1]
