"""Who learns from a stream that a sign is to be remembered for longer than the window?

A stream of random signs. Now and then one is marked; LAG steps later a second marker asks for it.
Only the answer counts, and after each answer the weights are changed. Every window of truncated
backpropagation is either as long as the memory of SnAp-1 allows ("equal memory") or just reaches
from the question back to the sign.

One who remembers nothing pays 1, the variance of a sign.
"""

from collections.abc import Callable

import numpy as np

from rnnbook.scratch import Cell, GRUCell, Linear, MinGRUCell, optim
from rnnbook.scratch.online import RTRL, UORO, OnlineGradient, SnAp1, TruncatedBPTT

LAG, UNITS = 20, 16
CELLS: dict[str, type[Cell]] = {"GRU": GRUCell, "MinGRU": MinGRUCell}
METHODS = {
    "GRU": ("RTRL", "SnAp-1", "UORO", "equal memory", "reaches"),
    "MinGRU": ("SnAp-1", "UORO", "equal memory", "reaches"),  # RTRL and SnAp-1 are the same here
}
RATES = {"GRU": (0.1, 0.03, 0.01, 0.003), "MinGRU": (0.3, 0.1, 0.03, 0.01)}
LOW_RATES = (0.03, 0.01, 0.003, 0.001)  # UORO's, which is noisy
BLOCK = 50  # answers over which an error is averaged


def new_cell(kind: str, rng: np.random.Generator) -> Cell:
    """A cell whose update gates keep most of the state at first: ``sigmoid(2)``, .88, of it."""
    cell = CELLS[kind](2, UNITS, rng=rng)
    z = slice(UNITS, 2 * UNITS) if kind == "GRU" else slice(0, UNITS)
    cell.params["bias_ih"][z] = 2 if kind == "GRU" else -2  # MinGRU's z lets the new in
    return cell


def equal_memory(cell: Cell) -> int:
    """The longest window that keeps no more numbers than SnAp-1 with this cell."""
    window, most = 1, SnAp1(cell).numbers
    while kept(cell, window + 1) <= most:
        window += 1
    return window


def kept(cell: Cell, window: int) -> int:
    """How many numbers truncated backpropagation keeps once its window is full."""
    online = TruncatedBPTT(cell, window)
    for _ in range(window):
        online.step(np.zeros((1, cell.input_size)))
    return online.numbers


def online_gradient(cell: Cell, method: str, rng: np.random.Generator) -> OnlineGradient:
    """The method that is known by this name."""
    ways: dict[str, Callable[[], OnlineGradient]] = {
        "RTRL": lambda: RTRL(cell),
        "SnAp-1": lambda: SnAp1(cell),
        "UORO": lambda: UORO(cell, rng),
        "equal memory": lambda: TruncatedBPTT(cell, equal_memory(cell)),
        "reaches": lambda: TruncatedBPTT(cell, LAG + 1),
    }
    return ways[method]()


def errand(rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """A piece of the stream, (steps, 1, 2), and the sign that it asks for."""
    steps = LAG + 1 + rng.integers(0, 4)
    x = np.zeros((steps, 1, 2))
    x[..., 0] = rng.choice([-1.0, 1.0], (steps, 1))
    x[0, 0, 1], x[LAG, 0, 1] = 1, -1
    return x, x[0, 0, 0]


def settings(quick: bool) -> list[dict]:
    """Every cell with every method, each at four rates."""
    return [
        {"cell": cell, "method": method, "lr": lr, "answers": 50 if quick else 1200}
        for cell in CELLS
        for method in METHODS[cell]
        for lr in ((0.01,) if quick else LOW_RATES if method == "UORO" else RATES[cell])
    ]


def run(setting: dict, seed: int) -> dict:
    """Learn from one stream, from its first step to its last.

    Returns:
        errors: the mean squared errors of the answers, block by block; numbers: how many the
            method keeps of the past; window: of truncated backpropagation, else 0.
    """
    data, weights, signs = np.random.default_rng(seed).spawn(3)
    cell, head = new_cell(setting["cell"], weights), Linear(UNITS, 1, rng=weights)
    online = online_gradient(cell, setting["method"], signs)
    of_cell = optim.Adam(cell.params, lr=setting["lr"])
    of_head = optim.Adam(head.params, lr=setting["lr"])
    errors = []
    for _ in range(setting["answers"]):
        x, sign = errand(data)
        for t, x_t in enumerate(x):
            h = online.step(x_t)
            if t == LAG:
                error = head.forward(h) - sign
                grads = online.gradient(head.backward(2 * error))
                optim.clip_grad_norm(grads, 1.0)
                of_cell.step(grads)
                of_head.step(head.grads)
                errors.append(error.item() ** 2)
    blocks = np.reshape(errors, (-1, BLOCK)).mean(axis=1)
    return {
        "errors": [round(float(error), 4) for error in blocks],
        "numbers": online.numbers,
        "window": online.memory.maxlen if isinstance(online, TruncatedBPTT) else 0,
    }
