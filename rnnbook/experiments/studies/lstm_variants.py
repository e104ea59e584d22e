"""What does each part of the LSTM do? Eight changes to it, on a task to keep and one to replace.

The adding problem asks to keep two numbers to the end and to forget nothing; the flip-flop asks to
replace what was kept whenever something new comes. The cells are those of
``rnnbook.scratch.lstm_variants``; six of the changes are among those of Greff et al., "LSTM: A
search space odyssey", IEEE Transactions on Neural Networks and Learning Systems 28(10), 2017.

Every variant runs at each of ``RATES``; its rate on a task is the one with the lowest median error
on validation sequences (:func:`tuned`), and only with that rate do test sequences count.
"""

import numpy as np

from rnnbook import tasks
from rnnbook.scratch import Linear, RecurrentLayer, SequenceModel, losses, optim
from rnnbook.scratch import lstm_variants as variants
from rnnbook.scratch.lstm import LSTMCell
from rnnbook.train import evaluate, fit

SEEDS = 8
CELLS, STEPS, LONG = 32, 25, 400
RATES = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16)

VARIANTS = {
    "Standard": LSTMCell,
    "NoInputGate": variants.NoInputGateCell,
    "NoForgetGate": variants.NoForgetGateCell,
    "NoOutputGate": variants.NoOutputGateCell,
    "NoOutputActivation": variants.NoOutputActivationCell,
    "Coupled": variants.CoupledCell,
    "Peepholes": variants.PeepholeCell,
    "Normalized": variants.NormalizedCell,
    "Projected": variants.ProjectedCell,
}

# draw, input features, outputs, an answer at every step
TASKS = {
    "adding": (tasks.adding_problem, 2, 1, "one"),
    "flip-flop": (tasks.flip_flop, 3, 3, "many"),
}


def settings(quick: bool) -> list[dict]:
    """Every variant on both tasks, at every rate."""
    updates, rates = (20, (0.02,)) if quick else (500, RATES)
    return [
        {"task": task, "variant": variant, "updates": updates, "batch": 32, "lr": lr}
        for task in TASKS
        for variant in VARIANTS
        for lr in rates
    ]


def canary() -> list[tuple[dict, int]]:
    """Three updates each: after twenty, layer normalization shows the machine's rounding."""
    return [(setting | {"updates": 3}, 0) for setting in settings(True)]


def tuned(stored: dict, task: str, metric: str) -> dict[str, tuple[float, np.ndarray]]:
    """For each variant its rate on ``task``, and ``metric`` at that rate, seed by seed."""
    found: dict[str, tuple[float, np.ndarray]] = {}
    runs = [run for run in stored["runs"] if run["setting"]["task"] == task]
    for variant in dict.fromkeys(run["setting"]["variant"] for run in runs):
        by_rate: dict[float, list[dict]] = {}
        for run in runs:
            if run["setting"]["variant"] == variant:
                by_rate.setdefault(run["setting"]["lr"], []).append(run["metrics"])
        rate = min(by_rate, key=lambda lr: np.median([m["validation_mse"] for m in by_rate[lr]]))
        found[variant] = rate, np.array([m[metric] for m in by_rate[rate]])
    return found


def make(variant: str, inputs: int, outputs: int, many_to: str, rng) -> SequenceModel:
    """A layer of the variant, its forget gates biased by 1, and a linear head."""
    layer = RecurrentLayer(inputs, CELLS, cell=VARIANTS[variant], dtype=np.float32, rng=rng)
    forget = slice(0, CELLS) if variant == "Coupled" else slice(CELLS, 2 * CELLS)
    layer.params["bias_ih_l0"][forget] = 1
    layer.params["bias_hh_l0"][forget] = 0
    head = Linear(layer.cells[0].output_size, outputs, dtype=np.float32, rng=rng)
    return SequenceModel(layer, head, many_to=many_to)


def run(setting: dict, seed: int) -> dict:
    """Train and test one variant.

    Returns:
        validation_mse and test_mse: on 500 and 1000 fresh sequences, of the last weights;
        long_mse: on 250 that are 16 times as long; parameters: of the layer.
    """
    draw, inputs, outputs, many_to = TASKS[setting["task"]]
    train_rng, other_rng, weights_rng = np.random.default_rng([seed, inputs]).spawn(3)
    model = make(setting["variant"], inputs, outputs, many_to, weights_rng)
    fit(
        model,
        lambda rng: draw(setting["batch"], STEPS, rng),
        loss=losses.mse,
        optimizer=optim.Adam(model.params, lr=setting["lr"]),
        epochs=1,
        steps_per_epoch=setting["updates"],
        rng=train_rng,
        max_norm=1.0,
        progress=False,
    )
    validation, test = draw(500, STEPS, other_rng), draw(1000, STEPS, other_rng)
    long = draw(250, LONG, other_rng)
    return {
        "validation_mse": evaluate(model, validation, loss=losses.mse, batch_size=500),
        "test_mse": evaluate(model, test, loss=losses.mse, batch_size=500),
        "long_mse": evaluate(model, long, loss=losses.mse, batch_size=250),
        "parameters": sum(p.size for p in model.rnn.params.values()),
    }
