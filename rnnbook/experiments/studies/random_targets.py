"""What a network learns from random targets: hidden sizes and epochs against a test set.

100 sequences of 10 uniform numbers, each with an independent uniform number as its target, as in
the program that chapter ``worked_example`` begins with. The best prediction is the constant 1/2,
with a mean squared error of 1/12; a training error below the 1/12 of the draw is memory.
"""

import numpy as np

from rnnbook.scratch import FusedLSTM, Linear, SequenceModel, losses, optim
from rnnbook.tasks import Batch
from rnnbook.train import evaluate, fit

SEEDS = 5


def random_batch(size: int, rng: np.random.Generator) -> Batch:
    """x (size, 10, 1) and target (size, 1), all uniform on [0, 1) and independent."""
    return Batch(rng.random((size, 10, 1)), rng.random((size, 1)))


def settings(quick: bool) -> list[dict]:
    """Hidden sizes, at the program's batch size and learning rate."""
    if quick:
        return [{"hidden": hidden, "epochs": [100]} for hidden in (1, 50)]
    return [
        # 200 units know all targets after 300 epochs, and 1000 would take them minutes.
        {"hidden": hidden, "epochs": [100, 300] if hidden == 200 else [100, 300, 1000]}
        for hidden in (1, 10, 50, 200)
    ]


def run(setting: dict, seed: int) -> dict:
    """Train one network and look at both errors on the way.

    Returns:
        train, test: mean squared errors at the recorded epochs, on the 100 training sequences and
        on 2000 new ones; train_constant: the error of the best constant on these 100 targets.
    """
    rng = np.random.default_rng(seed)
    train, test = random_batch(100, rng), random_batch(2000, rng)
    layer = FusedLSTM(1, setting["hidden"], dtype=np.float32, rng=rng)
    model = SequenceModel(layer, Linear(setting["hidden"], 1, dtype=np.float32, rng=rng))
    optimizer = optim.Adam(model.params)
    errors: dict[str, list[float]] = {"train": [], "test": []}
    done = 0
    for epochs in setting["epochs"]:
        fit(
            model,
            train,
            loss=losses.mse,
            optimizer=optimizer,
            epochs=epochs - done,
            batch_size=10,
            rng=rng,
            progress=False,
        )
        done = epochs
        for name, batch in (("train", train), ("test", test)):
            errors[name].append(round(evaluate(model, batch, loss=losses.mse), 6))
    return errors | {"train_constant": float(np.var(train.target))}
