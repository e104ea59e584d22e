"""What does learning to remember do to Newton's method? Iterations, while a GRU learns to add.

At intervals of the training, the states of the same fresh sequences are found by Newton's method
over the whole sequence, from zeros and from the states that the weights gave some updates earlier.
"""

import numpy as np

from rnnbook import tasks
from rnnbook.extras import needed
from rnnbook.pytorch import FusedGRU, SequenceModel, newton
from rnnbook.train import evaluate, fit

with needed("torch"):
    import torch
    from torch import nn
    from torch.nn import functional as F

SEQUENCES = 8  # that Newton's method runs on, all at once
EARLIER = 10  # updates between the weights that gave a warm start and those it is for


def settings(quick: bool) -> list[dict]:
    """One network, looked at before training and after each interval of updates."""
    common = {"hidden_size": 16, "batch": 32, "lr": 0.01}
    if quick:
        return [common | {"T": 20, "every": 20, "intervals": 1}]
    return [common | {"T": 100, "every": 50, "intervals": 16}]


def network(layer: FusedGRU, generator: torch.Generator) -> SequenceModel:
    """The layer with a linear head on its last state; all weights uniform, as is torch's way."""
    hidden_size = layer.hidden_size
    model = SequenceModel(layer, nn.Linear(hidden_size, 1, dtype=layer.weight_ih_l0.dtype))
    bound = hidden_size**-0.5
    for parameter in model.parameters():
        nn.init.uniform_(parameter, -bound, bound, generator=generator)
    return model


@torch.no_grad()
def counts(layer: FusedGRU, x: torch.Tensor) -> dict:
    """How the states of ``x`` (B, T, D) are found from zeros: iterations with all of the Jacobian,
    its diagonal and none of it; and the largest Lyapunov exponent along them, its mean over B.
    """
    cap = x.shape[1]  # after T iterations all states are right
    reports = {
        jacobian: newton.over_time(layer, x, jacobian=jacobian, max_iterations=cap)[2]
        for jacobian in ("full", "diagonal", "zero")
    }
    before = newton.shifted(x.new_zeros(len(x), layer.hidden_size), reports["full"].states)
    _, J = newton.linearize(newton.step_of(layer), x, before)
    exponent = float(newton.lyapunov_exponents(J)[:, 0].mean())
    return {name: report.iterations for name, report in reports.items()} | {"exponent": exponent}


def run(setting: dict, seed: int) -> dict:
    """Train one network.

    Returns:
        lists over ``updates``, 0 and the end of each interval: loss, of 1000 fresh sequences;
        full, diagonal, zero and exponent, as ``counts`` gives them; and over all but the first:
        warm, the iterations from the states for the weights ``EARLIER`` updates before.
    """
    rng, fresh_rng = np.random.default_rng(seed).spawn(2)
    steps = setting["T"]
    layer = FusedGRU(2, setting["hidden_size"], dtype=torch.float64)
    model = network(layer, torch.Generator().manual_seed(seed))
    optimizer = torch.optim.Adam(model.parameters(), lr=setting["lr"])
    x = torch.from_numpy(tasks.adding_problem(SEQUENCES, steps, fresh_rng).x)
    test = tasks.adding_problem(1000, steps, fresh_rng)

    def train(updates: int) -> None:
        fit(
            model,
            lambda rng: tasks.adding_problem(setting["batch"], steps, rng),
            loss=F.mse_loss,
            optimizer=optimizer,
            epochs=1,
            steps_per_epoch=updates,
            rng=rng,
            max_norm=1.0,
            progress=False,
        )

    def look() -> dict:
        return {"loss": evaluate(model, test, loss=F.mse_loss)} | counts(layer, x)

    rows, warm = [look()], []
    for _ in range(setting["intervals"]):
        train(setting["every"] - EARLIER)
        states = newton.over_time(layer, x)[2].states
        train(EARLIER)
        warm.append(newton.over_time(layer, x, guess=states)[2].iterations)
        rows.append(look())
    updates = [setting["every"] * interval for interval in range(len(rows))]
    lists = {name: [row[name] for row in rows] for name in rows[0]}
    return {"updates": updates, "warm": warm} | lists
