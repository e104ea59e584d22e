"""Signals to forecast: sine mixtures, the Mackey-Glass equation, two measured series.

Dimensions: B sequences, T steps.
"""

import importlib
import math
from dataclasses import dataclass

import numpy as np

from rnnbook.checks import (
    check_between,
    check_choice,
    check_generator,
    check_positive,
    check_whole,
    finite_series,
)
from rnnbook.extras import needed
from rnnbook.tasks.batch import Batch


def sine_mixture(
    batch: int,
    steps: int,
    rng: np.random.Generator,
    *,
    components: int = 2,
    periods: tuple[float, float] = (8.0, 32.0),
    noise: float = 0.0,
) -> Batch:
    """Predict the next value of a sum of sines with unknown frequencies and phases.

    x_t = sqrt(2 / K) sum_k sin(w_k t + phi_k) + noise * (standard normal), with K ``components``,
    w_k uniform between 2 pi / periods[1] and 2 pi / periods[0], phi_k uniform on [0, 2 pi). The
    scale gives the noiseless signal variance 1.

    Returns:
        x and target (B, T, 1), target one step ahead of x.
    Raises:
        ValueError: for a size below one, a negative noise, periods that are not (short, long) with
            2 <= short < long, or what is no generator.
    """
    batch, steps = check_positive("batch", batch), check_positive("steps", steps)
    components = check_positive("components", components)
    noise = check_between("noise", noise, 0, math.inf)
    check_generator("rng", rng)
    low, high = _angular_frequencies(periods)
    frequency = rng.uniform(low, high, (batch, components, 1))
    phase = rng.uniform(0, 2 * np.pi, (batch, components, 1))
    waves = np.sin(frequency * np.arange(steps + 1) + phase)  # (B, K, T + 1)
    series = math.sqrt(2 / components) * waves.sum(axis=1)
    series += noise * rng.standard_normal(series.shape)
    return Batch(series[:, :-1, None], series[:, 1:, None])


def sine_mixture_baseline(
    *, periods: tuple[float, float] = (8.0, 32.0), noise: float = 0.0, persistence: bool = True
) -> float:
    """Mean squared error of "as now" (persistence) or of the constant 0 (the mean).

    One sine of amplitude A and uniform phase has E[x_t^2] = A^2 / 2 and E[x_t x_(t+1)] =
    A^2 / 2 cos w. The K independent sines have A^2 / 2 = 1 / K each, so the signal has
    variance 1 and E[(x_(t+1) - x_t)^2] = 2 (1 - E[cos w]), with
    E[cos w] = (sin w_high - sin w_low) / (w_high - w_low) for w uniform. Noise adds its variance
    once to the error of the constant and twice to that of persistence.

    Raises:
        ValueError: for a negative noise, or periods that are not (short, long) with
            2 <= short < long.
    """
    noise = check_between("noise", noise, 0, math.inf)
    low, high = _angular_frequencies(periods)
    if not persistence:
        return 1 + noise**2
    cosine = (math.sin(high) - math.sin(low)) / (high - low)
    return 2 * (1 - cosine) + 2 * noise**2


def _angular_frequencies(periods: tuple[float, float]) -> tuple[float, float]:
    short, long = (float(period) for period in periods)
    if not 2 <= short < long:
        raise ValueError(f"periods must be (short, long) with 2 <= short < long, got {periods}.")
    return 2 * math.pi / long, 2 * math.pi / short


def mackey_glass(
    steps: int,
    rng: np.random.Generator,
    *,
    delay: float = 17.0,
    substeps: int = 10,
    transient: int = 500,
) -> np.ndarray:
    """A trajectory of the Mackey-Glass equation, sampled once per unit of time.

    dx/dt = 0.2 x(t - delay) / (1 + x(t - delay)^10) - 0.1 x(t),

    with delay 17 chaotic. The history before time 0 is a constant, uniform on [0.8, 1.4]; the
    first ``transient`` samples are dropped. Integrated by the classical Runge-Kutta method with
    step 1 / ``substeps``; half-way between two grid points the delayed value is their mean.
    There is no closed form for the error of a forecast: use ``persistence_baseline``.

    Returns:
        the series, (steps,).
    Raises:
        ValueError: for ``steps`` or ``substeps`` below one, a negative transient, a delay that is
            not a positive multiple of the integration step, or what is no generator.
    Source:
        Mackey & Glass, "Oscillation and chaos in physiological control systems", Science 197,
        1977, pages 287-289.
    """
    steps, substeps = check_positive("steps", steps), check_positive("substeps", substeps)
    transient = check_whole("transient", transient, 0, math.inf)
    delay = check_between("delay", delay, 0, math.inf)
    check_generator("rng", rng)
    lag = round(delay * substeps)
    if lag < 1 or not math.isclose(lag, delay * substeps):
        raise ValueError(
            f"delay must be a positive multiple of 1 / substeps = {1 / substeps}, got {delay}."
        )
    dt = 1 / substeps
    path = np.empty(lag + 1 + (transient + steps - 1) * substeps)
    path[: lag + 1] = rng.uniform(0.8, 1.4)

    def slope(x: float, delayed: float) -> float:
        return 0.2 * delayed / (1 + delayed**10) - 0.1 * x

    for n in range(lag, len(path) - 1):
        x, before, after = path[n], path[n - lag], path[n - lag + 1]
        middle = (before + after) / 2
        k1 = slope(x, before)
        k2 = slope(x + dt / 2 * k1, middle)
        k3 = slope(x + dt / 2 * k2, middle)
        k4 = slope(x + dt * k3, after)
        path[n + 1] = x + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return path[lag + transient * substeps :: substeps].copy()


def windows(series: np.ndarray, steps: int, *, horizon: int = 1) -> Batch:
    """All windows of a series, each with the value ``horizon`` steps after its end.

    Returns:
        x (N, steps, 1) and target (N, 1), in the order of time, N = len(series) - steps -
        horizon + 1. The arrays are copies.
    Raises:
        ValueError: where the series is not one-dimensional, holds no finite real numbers or is too
            short for one window, or ``steps`` or ``horizon`` is below one.
    """
    series = finite_series("series", series)
    steps, horizon = check_positive("steps", steps), check_positive("horizon", horizon)
    count = len(series) - steps - horizon + 1
    if count < 1:
        raise ValueError(
            f"series must have at least steps + horizon = {steps + horizon} values, "
            f"got {len(series)}."
        )
    views = np.lib.stride_tricks.sliding_window_view(series, steps)[:count]
    return Batch(views[:, :, None].copy(), series[steps + horizon - 1 :, None].copy())


def persistence_baseline(series: np.ndarray, *, horizon: int = 1) -> float:
    """Mean squared error, on this series, of "in ``horizon`` steps as now".

    Raises:
        ValueError: where the series is not one-dimensional or holds no finite real numbers, or
            ``horizon`` is not in 1 .. len(series) - 1.
    """
    series = finite_series("series", series)
    horizon = check_positive("horizon", horizon)
    check_between("horizon", horizon, 1, len(series) - 1)
    return float(np.mean((series[horizon:] - series[:-horizon]) ** 2))


@dataclass(frozen=True)
class Series:
    """A measured series: values (N,), at equal distances in time (N,), in years."""

    name: str
    unit: str
    time: np.ndarray
    values: np.ndarray
    source: str


def real_series(name: str) -> Series:
    """A measured series that statsmodels ships: no download.

    "sunspots": yearly mean sunspot number, 1700 to 2008. "co2": monthly means of the weekly
    atmospheric carbon dioxide at Mauna Loa in ppm, March 1958 to December 2001; five months
    without a measurement are interpolated linearly. "elnino": monthly mean temperature of the sea's
    surface in the eastern Pacific (0 to 10 degrees South, 80 to 90 degrees West), 1950 to 2010.

    Raises:
        ValueError: where the name is unknown.
        ModuleNotFoundError: where statsmodels is not installed.
    Source:
        statsmodels.datasets: sunspots (National Geophysical Data Center), co2 (Keeling & Whorf,
        "Atmospheric CO2 concentrations derived from flask air samples at sites in the SIO
        network", CDIAC, 2004), elnino (NOAA, ERSST.V3B, Nino 1+2); all public domain.
    """
    check_choice("name", name, ("sunspots", "co2", "elnino"))
    with needed("series"):
        dataset = importlib.import_module(f"statsmodels.datasets.{name}")
    data = dataset.load_pandas().data
    if name == "sunspots":  # copies, for the arrays of pandas may be read-only
        time, values = data["YEAR"].to_numpy(copy=True), data["SUNACTIVITY"].to_numpy(copy=True)
        return Series(name, "sunspot number", time, values, "National Geophysical Data Center")
    if name == "elnino":  # a row for each year, a column for each month
        time = (data["YEAR"].to_numpy()[:, None] + (np.arange(12) + 0.5) / 12).ravel()
        values = data.drop(columns="YEAR").to_numpy().ravel()
        return Series(name, "degrees Celsius", time, values, "NOAA, ERSST.V3B, Nino 1+2")
    monthly = data["co2"].resample("MS").mean().interpolate()
    time = (monthly.index.year + (monthly.index.month - 0.5) / 12).to_numpy(copy=True)
    values = monthly.to_numpy(copy=True)
    return Series(name, "ppm", time, values, "Keeling & Whorf, CDIAC 2004")
