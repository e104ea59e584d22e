"""One training loop for both families (chapters from ``gradient_descent`` on).

    for each step:   loss, gradients  ->  clip  ->  optimizer      (stop at NaN or infinity)
    for each epoch:  validation  ->  best weights  ->  checkpoint  ->  patience

All that decides the future of a run (weights, optimizer, order of the data, every generator in the
model, history) is in the checkpoint, so a run that was killed continues bit for bit; and so is what
it was called with, so that no other run continues it.
"""

from rnnbook.train.history import History, TrainingDiverged
from rnnbook.train.loop import evaluate, fit

__all__ = ["History", "TrainingDiverged", "evaluate", "fit"]
