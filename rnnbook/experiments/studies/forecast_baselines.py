"""What a forecaster would use, on the five series of ``forecasting``, by the same rule.

Nothing here depends on a seed: one run for each series and each forecaster.
"""

from rnnbook.experiments.studies import forecasting

SEEDS = 1
CANDIDATES = (
    "persistence",
    "seasonal naive",
    "seasonal naive with drift",
    "ridge-AR",
    "kernel ridge",
    "ETS",
    "SARIMA",
)


def settings(quick: bool) -> list[dict]:
    """Each forecaster on each series; the quick version has the first series."""
    names = ["sunspots"] if quick else list(forecasting.SHAPES)
    return [{"series": name, "candidate": candidate} for name in names for candidate in CANDIDATES]


def canary() -> list[tuple[dict, int]]:
    """One that reads windows and one that filters, on the shortest series."""
    names = ("seasonal naive with drift", "ridge-AR")
    return [(setting, 0) for setting in settings(True) if setting["candidate"] in names]


def run(setting: dict, seed: int) -> dict:
    """As ``forecasting.run``; the seed plays no part."""
    return forecasting.run(setting, seed)
