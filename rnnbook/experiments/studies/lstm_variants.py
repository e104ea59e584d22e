"""What does each part of the LSTM do? Eight changes to it, on a task to keep and one to replace.

The adding problem asks to keep two numbers to the end and to forget nothing; the flip-flop asks to
replace what was kept whenever something new comes. The cells are those of
``rnnbook.scratch.lstm_variants``; six of the changes are among those of Greff et al., "LSTM: A
search space odyssey", IEEE Transactions on Neural Networks and Learning Systems 28(10), 2017.

Rates and verdicts come from different seeds. Seeds 0 to 7 run every variant at each of ``RATES``,
on beyond their end where the best lies there; a variant's rate on a task is the one with the lowest
median error on validation sequences (:func:`tuned`). Sixteen other seeds train at that rate, and
only their test sequences count (:func:`scored`). On the adding problem, the standard cell and those
that lack a gate also train four times as long.
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
WIDER = {("flip-flop", "Peepholes"): (0.32,)}  # their best of RATES was the last
FIRST_TESTED = (100, 108)  # sixteen seeds that chose no rate
UPDATES, LONGER = 500, 2000

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


# What ``tuned`` gives, a rate for each of VARIANTS.
CHOSEN = {
    "adding": (0.02, 0.04, 0.02, 0.01, 0.04, 0.04, 0.04, 0.01, 0.02),
    "flip-flop": (0.08, 0.08, 0.08, 0.04, 0.08, 0.08, 0.16, 0.04, 0.04),
}


def settings(quick: bool) -> list[dict]:
    """Every variant on both tasks: at every rate, then with other seeds at the one chosen."""
    if quick:
        found = [_setting(task, variant, 20, 0.02) for task in TASKS for variant in VARIANTS]
        return [*found, found[0] | {"first_seed": FIRST_TESTED[0]}]
    tuning = [
        _setting(task, variant, UPDATES, lr)
        for task in TASKS
        for variant in VARIANTS
        for lr in (*RATES, *WIDER.get((task, variant), ()))
    ]
    final = [
        _setting(task, variant, UPDATES, lr) | {"first_seed": first}
        for first in FIRST_TESTED
        for task, rates in CHOSEN.items()
        for variant, lr in zip(VARIANTS, rates, strict=True)
    ]
    final += [
        _setting("adding", variant, LONGER, lr) | {"first_seed": FIRST_TESTED[0]}
        for variant, lr in zip(VARIANTS, CHOSEN["adding"], strict=True)
        if variant in ("Standard", "NoInputGate", "NoOutputGate")
    ]
    return tuning + final


def canary() -> list[tuple[dict, int]]:
    """Three updates each: after twenty, layer normalization shows the machine's rounding."""
    return [(setting | {"updates": 3}, 0) for setting in settings(True)]


def _setting(task: str, variant: str, updates: int, lr: float) -> dict:
    return {"task": task, "variant": variant, "updates": updates, "batch": 32, "lr": lr}


def tuned(stored: dict, task: str) -> dict[str, dict[float, float]]:
    """For each variant the median validation error on ``task`` at each rate tried."""
    errors: dict[str, dict[float, list[float]]] = {}
    for run in stored["runs"]:
        setting = run["setting"]
        if setting["task"] == task and "first_seed" not in setting:
            by_rate = errors.setdefault(setting["variant"], {})
            by_rate.setdefault(setting["lr"], []).append(run["metrics"]["validation_mse"])
    return {
        variant: {lr: float(np.median(seeds)) for lr, seeds in by_rate.items()}
        for variant, by_rate in errors.items()
    }


def scored(stored: dict, task: str, metric: str, updates: int = UPDATES) -> dict[str, np.ndarray]:
    """For each variant ``metric`` at its rate on ``task``, with the seeds that chose no rate."""
    found: dict[str, list[float]] = {}
    for run in stored["runs"]:
        setting = run["setting"]
        if (setting["task"], setting["updates"]) == (task, updates) and "first_seed" in setting:
            found.setdefault(setting["variant"], []).append(run["metrics"][metric])
    return {variant: np.array(seeds) for variant, seeds in found.items()}


def make(variant: str, inputs: int, outputs: int, many_to: str, rng) -> SequenceModel:
    """A layer of the variant, its forget gates biased by 1, and a linear head."""
    layer = RecurrentLayer(inputs, CELLS, cell=VARIANTS[variant], dtype=np.float32, rng=rng)
    forget = slice(0, CELLS) if variant == "Coupled" else slice(CELLS, 2 * CELLS)
    layer.params["bias_ih_l0"][forget] = 1
    layer.params["bias_hh_l0"][forget] = 0
    head = Linear(layer.cells[0].output_size, outputs, dtype=np.float32, rng=rng)
    return SequenceModel(layer, head, many_to=many_to)


def run(setting: dict, seed: int) -> dict:
    """Train and test one variant, with the seed ``seed`` of those that the setting begins.

    Returns:
        validation_mse and test_mse: on 500 and 1000 fresh sequences, of the last weights;
        long_mse: on 250 that are 16 times as long; parameters: of the layer.
    """
    draw, inputs, outputs, many_to = TASKS[setting["task"]]
    seed += setting.get("first_seed", 0)
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
