"""One small program in NumPy, PyTorch and Keras: same weights, same batches, same losses.

100 sequences of 10 uniform numbers, each with a uniform number as its target; LSTM(50), Dense(1),
Adam, mean squared error, batches of 10, 100 epochs: 1000 steps. Chapter ``worked_example`` runs all
three; what is stored here is Keras' run, for readers who have not installed it.
"""

import os
import time

import numpy as np

from rnnbook.convert import to_keras
from rnnbook.experiments.studies.random_targets import random_batch
from rnnbook.extras import needed
from rnnbook.scratch import FusedLSTM, Linear, SequenceModel, losses, optim
from rnnbook.tasks import Batch

SEEDS = 1
UNSTEADY = ("seconds",)
HIDDEN, BATCH, EPOCHS = 50, 10, 100
# So small that it does not matter where it stands: Keras puts it elsewhere (see the chapter).
EPSILON = 1e-14
FROZEN = "rnn.bias_hh_l0"  # Keras has one bias, so the second one stays at zero everywhere


def problem(seed: int = 0) -> tuple[Batch, dict[str, np.ndarray], list[np.ndarray]]:
    """The data, the initial weights under torch's names, and the 1000 batches as indices."""
    rng = np.random.default_rng(seed)
    data = random_batch(100, rng)
    model = SequenceModel(FusedLSTM(1, HIDDEN, rng=rng), Linear(HIDDEN, 1, rng=rng))
    start = {name: array.copy() for name, array in model.params.items()}
    start[FROZEN][...] = 0
    orders = (rng.permutation(100).reshape(-1, BATCH) for _ in range(EPOCHS))
    batches = [batch for order in orders for batch in order]
    return data, start, batches


def train_numpy(data, start, batches, *, eps=EPSILON, frozen=(FROZEN,)):
    """The loss of each step with ``rnnbook.scratch``."""
    model = SequenceModel(FusedLSTM(1, HIDDEN), Linear(HIDDEN, 1))
    model.load_params(start)
    moved = {name: array for name, array in model.params.items() if name not in frozen}
    optimizer = optim.Adam(moved, eps=eps)
    steps = []
    for batch in batches:
        loss, dprediction = losses.mse(model.forward(data.x[batch]), data.target[batch])
        model.backward(dprediction)
        optimizer.step({name: model.grads[name] for name in moved})
        steps.append(loss)
    return np.array(steps)


def train_torch(data, start, batches, *, eps=EPSILON, frozen=(FROZEN,)):
    """The loss of each step with ``torch.nn`` and ``torch.optim``, in float64."""
    with needed("torch"):
        import torch

    rnn = torch.nn.LSTM(1, HIDDEN, batch_first=True, dtype=torch.float64)
    head = torch.nn.Linear(HIDDEN, 1, dtype=torch.float64)
    model = torch.nn.ModuleDict({"rnn": rnn, "head": head})
    model.load_state_dict({name: torch.tensor(array) for name, array in start.items()})
    moved = [p for name, p in model.named_parameters() if name not in frozen]
    optimizer = torch.optim.Adam(moved, eps=eps)
    x, target = torch.tensor(data.x), torch.tensor(data.target)
    steps = []
    for batch in batches:
        optimizer.zero_grad()
        output, _ = rnn(x[batch])
        loss = torch.nn.functional.mse_loss(head(output[:, -1]), target[batch])
        loss.backward()
        optimizer.step()
        steps.append(loss.item())
    return np.array(steps)


def train_keras(data, start, batches, *, eps=EPSILON, dtype="float64"):
    """The loss of each step with Keras 3 on its torch backend. Raises ImportError without Keras."""
    os.environ.setdefault("KERAS_BACKEND", "torch")  # before the first import
    with needed("keras"):
        import keras

    keras.config.set_floatx(dtype)
    model = keras.Sequential(
        [keras.Input((10, 1)), keras.layers.LSTM(HIDDEN), keras.layers.Dense(1)]
    )
    rnn, head = model.layers
    layer = {n.removeprefix("rnn."): w for n, w in start.items() if "rnn." in n}
    rnn.set_weights(to_keras(layer, "LSTM")[0])  # transposed; two biases become one
    head.set_weights([start["head.weight"].T, start["head.bias"]])
    adam = keras.optimizers.Adam(epsilon=eps)
    model.compile(optimizer=adam, loss="mean_squared_error")
    x, target = data.x.astype(dtype), data.target.astype(dtype)
    steps = []
    for batch in batches:
        steps.append(float(model.train_on_batch(x[batch], target[batch])))
    return np.array(steps)


def settings(quick: bool) -> list[dict]:
    """Keras' run in both float types."""
    return [{"dtype": dtype, "steps": 20 if quick else 1000} for dtype in ("float64", "float32")]


def run(setting: dict, seed: int) -> dict:
    """Returns: loss of each step; seconds of the steps alone, without the import."""
    data, start, batches = problem(seed)
    train_keras(data, start, batches[:1], dtype=setting["dtype"])  # the import, and a warm-up
    begin = time.perf_counter()
    loss = train_keras(data, start, batches[: setting["steps"]], dtype=setting["dtype"])
    return {"loss": loss.round(9), "seconds": round(time.perf_counter() - begin, 2)}
