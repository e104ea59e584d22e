"""GRU against LSTM again, each at the learning rate that its validation loss chooses.

Runs of ``gru_vs_lstm`` at several rates: on the adding problem with an LSTM whose forget gates
begin open as well; on the other tasks at the rates that are not stored with it. A grid is wide
enough if the rate with the smallest validation loss is not at its edge.
"""

from rnnbook.experiments.studies import gru_vs_lstm
from rnnbook.experiments.studies.gru_vs_lstm import run

__all__ = ["RATES", "SEEDS", "UNSTEADY", "run", "settings"]

SEEDS = 3
UNSTEADY = gru_vs_lstm.UNSTEADY
LSTM, FORGET_BIAS, GRU = "LSTM", "LSTM, forget bias 1", "GRU, equal parameters"
RATES: dict[str, dict[str, tuple[float, ...]]] = {
    "adding": {
        LSTM: (0.005, 0.01, 0.02, 0.04),
        FORGET_BIAS: (0.005, 0.01, 0.02, 0.04),
        GRU: (0.005, 0.01, 0.02, 0.04, 0.08),
    },
    "sines": dict.fromkeys((LSTM, GRU), (0.0025, 0.01, 0.02)),
    "reber": dict.fromkeys((LSTM, GRU), (0.0025, 0.01, 0.02)),
}


def settings(quick: bool) -> list[dict]:
    """The models of each task at their rates."""
    steps = 40 if quick else 1500
    return [
        {"task": task, "model": model, "steps": steps, "batch": 32, "lr": rate, "max_norm": 1.0}
        for task, models in RATES.items()
        for model, rates in models.items()
        for rate in (rates[:1] if quick else rates)
    ]
