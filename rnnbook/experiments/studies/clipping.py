"""Does clipping help where gradients explode through time? Recalling the first of twenty numbers.

The layer begins as the identity, with relu, so that each Jacobian is the identity where units are
active: a factor of exactly 1 a step. One update later it is a little more, and nothing flattens
large states. Plain gradient descent; each method gets a grid of rates; the chapter chooses the
rate by the first seeds and reports the others.
"""

import numpy as np

from rnnbook.scratch import FusedRNN, Linear, SequenceModel, init, losses, optim

SEEDS = 13
LIMIT = 1000  # a run whose loss exceeds it is stopped, and that is its error
RATES = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)


def clip_part(grads: dict, part: str) -> None:
    """Clip the gradients whose names begin with ``part``, to norm 0.3 together."""
    optim.clip_grad_norm({name: g for name, g in grads.items() if name.startswith(part)}, 0.3)


METHODS = {
    "no clipping": lambda grads: None,
    "by norm": lambda grads: clip_part(grads, ""),
    "by value": lambda grads: optim.clip_grad_value(grads, 0.1),
    "layer only": lambda grads: clip_part(grads, "rnn"),
    "head only": lambda grads: clip_part(grads, "head"),
}


def settings(quick: bool) -> list[dict]:
    """Every method at every rate."""
    rates, updates = ((0.01,), 50) if quick else (RATES, 800)
    return [
        {"method": method, "lr": lr, "T": 20, "hidden_size": 16, "updates": updates}
        for method in METHODS
        for lr in rates
    ]


def recall(
    n: int,
    steps: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """n sequences of uniform random numbers (n, steps, 1); the target (n, 1) is the first."""
    x = rng.uniform(-1, 1, size=(n, steps, 1))
    return x, x[:, 0]


def jacobian_norms(layer: FusedRNN, x: np.ndarray) -> np.ndarray:
    """Norms of dh_T / dh_t for one sequence x (1, T, D), at the distances T - t = 1 ... T - 1."""
    h = layer.forward(x)[0][0]  # (T, H)
    slope = 1 - h**2 if layer.nonlinearity == "tanh" else (h > 0).astype(float)
    product, norms = np.eye(layer.hidden_size), []
    for t in range(len(h) - 1, 0, -1):
        # J_T ... J_{t + 1}
        product = product @ (slope[t][:, None] * layer.params["weight_hh_l0"])
        norms.append(np.linalg.norm(product, 2))
    return np.array(norms)


def head_curvature(states: np.ndarray) -> float:
    """Largest eigenvalue of the Hessian of the mean squared error in the weights of a linear head.

    states (n, H): what the head reads. One output; its bias reads a one.
    """
    read = np.hstack([states, np.ones((len(states), 1))])
    return float(2 * np.linalg.eigvalsh(read.T @ read / len(read))[-1])


def norm_of(grads: dict, part: str) -> float:
    """The norm of all gradients whose names begin with ``part``, together."""
    return float(np.sqrt(sum((g**2).sum() for name, g in grads.items() if name.startswith(part))))


def through_time(layer: FusedRNN, x: np.ndarray) -> float:
    """The largest of the norms of dh_T / dh_1 for the first four sequences."""
    return max(float(jacobian_norms(layer, x[i : i + 1])[-1]) for i in range(4))


def run(setting: dict, seed: int) -> dict:
    """Train and test one network.

    Returns:
        test_mse: on 2000 fresh sequences; updates: how many were made before the loss exceeded
        LIMIT; largest_norm: of the layer's gradient, before clipping, over the training; and at
        the moment of that one: head_norm, of the head's gradient; jacobian, the norm of
        dh_T / dh_1; head_step, the rate times the head's curvature. last_jacobian: at the end.
    """
    rng, test_rng = np.random.default_rng(seed).spawn(2)
    hidden_size, steps, rate = setting["hidden_size"], setting["T"], setting["lr"]
    layer = FusedRNN(1, hidden_size, nonlinearity="relu", rng=rng)
    init.identity_(layer)
    layer.params["weight_ih_l0"] *= 0.1  # small steps of a state that only adds up
    model = SequenceModel(layer, Linear(hidden_size, 1, rng=rng))
    largest = {"largest_norm": 0.0}
    for updates in range(setting["updates"] + 1):
        done = updates == setting["updates"]
        x, y = recall(2000, steps, test_rng) if done else recall(32, steps, rng)
        loss, dprediction = losses.mse(model.forward(x), y)
        if done or not loss < LIMIT:
            break
        model.backward(dprediction)
        grads = {name: g.copy() for name, g in model.grads.items()}
        if (norm := norm_of(grads, "rnn")) > largest["largest_norm"]:
            states = layer.forward(x)[0][:, -1]
            largest = {
                "largest_norm": norm,
                "head_norm": norm_of(grads, "head"),
                "jacobian": through_time(layer, x),
                "head_step": rate * head_curvature(states),
            }
        METHODS[setting["method"]](grads)
        for name, gradient in grads.items():
            model.params[name] -= rate * gradient
    error = float(loss) if loss < LIMIT else LIMIT
    last = through_time(layer, x) if loss < LIMIT else 0.0
    return {"test_mse": error, "updates": updates, "last_jacobian": last} | largest


def tuned(results: dict, kind: dict, choose: int = 3) -> tuple[float, list[dict]]:
    """The best rate of the runs with these settings, and what the other seeds gave at it.

    The rate is the one with the least mean error over the first ``choose`` seeds; the runs that
    are returned, in the order of their seeds, are those of all others.
    """
    by_rate: dict[float, dict[int, dict]] = {}
    for run in results["runs"]:
        if kind.items() <= run["setting"].items():
            by_rate.setdefault(run["setting"]["lr"], {})[run["seed"]] = run["metrics"]

    def error(rate: float) -> float:
        chosen_by = [by_rate[rate][seed]["test_mse"] for seed in range(choose)]
        return float(np.mean(chosen_by))

    rate = min(by_rate, key=error)
    return rate, [metrics for seed, metrics in by_rate[rate].items() if seed >= choose]
