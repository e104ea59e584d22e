"""Is one forecast better than another, beyond what the choice of the test part explains?

    d_n = loss_n - other_n             the same origins, so compared in pairs
    mean(d) -+ t * s,                  s^2 by Newey & West, as neighboring origins share their future

This is the test of Diebold and Mariano: its null hypothesis is that both lose the same on average.
"""

from dataclasses import dataclass

import numpy as np

from rnnbook.checks import check_finite, check_positive, check_shape, real_numbers
from rnnbook.extras import needed

with needed("forecast"):
    from statsmodels.regression.linear_model import OLS
    from statsmodels.stats.multitest import multipletests


@dataclass(frozen=True)
class Difference:
    """Mean of the paired differences, its 95 % interval, and the p-value of "no difference"."""

    mean: float
    low: float
    high: float
    p: float


def paired_difference(losses, others, steps: int = 1) -> Difference:
    """The test of Diebold and Mariano for losses (N,) at the same origins, in the order of time.

    Below zero the first forecast is better. It says nothing of other series, nor of networks with
    other seeds; for those there must be several.

    Args:
        steps: how many steps ahead was forecast. Errors of an optimal forecast k steps ahead are
            correlated over k - 1 origins; the variance is estimated with one and a half times as
            many lags (weights fall linearly), at least with one.
    Raises:
        ValueError: for fewer origins than four times the lags, or 10; and where all pairs differ
            by the same, so that no error can be estimated.
    Source:
        Diebold & Mariano, "Comparing predictive accuracy" (1995), section 1.1; Newey & West, "A
        simple, positive semi-definite, heteroskedasticity and autocorrelation consistent
        covariance matrix" (1987).
    """
    losses, others = (
        real_numbers(name, value, np.float64)
        for name, value in (("losses", losses), ("others", others))
    )
    check_shape("losses", losses, ("N",))
    check_shape("others", others, (len(losses),))
    check_finite("losses", losses)
    check_finite("others", others)
    if len(losses) < fewest_origins(steps):
        raise ValueError(
            f"losses must be of {fewest_origins(steps)} origins at least for {steps} steps ahead, "
            f"got {len(losses)}."
        )
    difference = losses - others
    if np.ptp(difference) == 0:
        raise ValueError(
            f"losses must differ from others by more than a constant, got {difference[0]:g} always."
        )
    fitted = OLS(difference, np.ones_like(difference)).fit(
        cov_type="HAC", cov_kwds={"maxlags": _lags(steps), "use_correction": True}, use_t=True
    )
    (low, high) = fitted.conf_int(0.05)[0]
    return Difference(float(fitted.params[0]), float(low), float(high), float(fitted.pvalues[0]))


def fewest_origins(steps: int) -> int:
    """How many origins ``paired_difference`` needs for losses so many steps ahead."""
    return max(10, 4 * _lags(steps))


def _lags(steps: int) -> int:
    return max(1, round(1.5 * (check_positive("steps", steps) - 1)))


def holm(p_values) -> np.ndarray:
    """p-values of several tests, adjusted so that one error in all of them stays as rare as p says.

    With p_(1) <= ... <= p_(m): adjusted p_(j) = max over i <= j of min(1, (m - i + 1) p_(i)).
    Source: Holm, "A simple sequentially rejective multiple test procedure" (1979).
    """
    return multipletests(p_values, method="holm")[1]
