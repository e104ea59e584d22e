"""Which forget bias does an LSTM need to remember for T steps?

The input is T uniform numbers between -1 and 1, the target the first of them: there is no shorter
lag from which to begin. A constant reaches the error 1/3. With f = sigmoid(b) at the start, the
gradient reaches the first step reduced by about f^T. At T = 160, where no forget bias helps, the
input gates also begin at a bias of -2 instead of PyTorch's, near 0.
"""

import numpy as np

from rnnbook.extras import needed

with needed("torch"):
    import torch

SEEDS = 10
UNITS = 16


def settings(quick: bool) -> list[dict]:
    """Every forget bias, from PyTorch's (None: near 0) on, at every T."""
    found = [
        {"T": T, "bias": bias, "updates": 40 if quick else 600, "batch": 32, "lr": 0.01}
        for T in ((5,) if quick else (10, 20, 40, 80, 160))
        for bias in ((None, 4.0) if quick else (None, 0.0, 1.0, 2.0, 3.0, 4.0, 6.0))
    ]
    shut = [found[-1]] if quick else [s for s in found if (s["T"], s["bias"]) == (160, 6.0)]
    return found + [setting | {"write": -2.0} for setting in shut]


def run(setting: dict, seed: int) -> dict:
    """Train one LSTM of 16 units to recall.

    Returns:
        test_mse: on 2000 fresh sequences.
    """
    T = setting["T"]
    torch.manual_seed(seed)
    layer, head = torch.nn.LSTM(1, UNITS, batch_first=True), torch.nn.Linear(UNITS, 1)
    biases = setting.get("write"), setting["bias"]  # of the first two blocks: i, f, g, o
    for block, bias in enumerate(biases):
        if bias is not None:
            with torch.no_grad():
                gate = slice(block * UNITS, (block + 1) * UNITS)
                layer.get_parameter("bias_ih_l0")[gate] = bias
                layer.get_parameter("bias_hh_l0")[gate] = 0
    parameters = [*layer.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=setting["lr"])
    rng = np.random.default_rng([seed, T])

    def error(size: int) -> torch.Tensor:
        x = torch.tensor(rng.uniform(-1, 1, (size, T, 1)), dtype=torch.float32)
        return torch.nn.functional.mse_loss(head(layer(x)[0][:, -1]), x[:, 0])

    for _ in range(setting["updates"]):
        optimizer.zero_grad()
        error(setting["batch"]).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
    with torch.no_grad():
        return {"test_mse": error(2000).item()}
