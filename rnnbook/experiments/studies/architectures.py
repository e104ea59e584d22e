"""Attention or a state? Recalling and keeping track, at equal numbers of parameters.

Three networks, each with about 26 000 weights between embedding and head: an LSTM of two layers;
two blocks of a linear recurrence whose gates see the input only (MinGRU), as in state-space models;
two blocks of causal attention with rotary positions (Su et al., "RoFormer", arXiv:2104.09864).
Three tasks:

    recall   N pairs of a key and a value, then the N keys in another order: tell their values.
             Attention keeps all pairs, the other two have a state of fixed size. After Arora et
             al., "Zoology: Measuring and improving recall in efficient language models", ICLR
             2024, but with key and value in one step.
    parity   Is the number of ones odd, after each step?
    cups     A ball is under the first of five cups, each step swaps two of them: where is the ball
             now? Both are trained on ``TRAINED`` steps and tested on ten times as many. After
             Merrill, Petty & Sabharwal, "The illusion of state in state-space models", ICML 2024,
             and Deletang et al., "Neural networks and the Chomsky hierarchy", ICLR 2023.

All get 1000 updates, and some, to see what more would bring, also 4000. The learning rate is each
network's best of 0.003, 0.01 and 0.03 in trials with one seed on recall of 8 pairs and on cups.

    B batch, T steps, F symbols in a step, C width;  x (B, T, F), inside the blocks (B, T, C)
"""

import itertools

import numpy as np

from rnnbook import tasks
from rnnbook.extras import needed
from rnnbook.pytorch import MinGRU
from rnnbook.tasks import Batch
from rnnbook.train import fit

with needed("torch"):
    import torch
    from torch import Tensor, nn
    from torch.nn import functional as F

SEEDS = 5
WIDTH = 40
KEYS, VALUES, CUPS = 32, 8, 5
SWAPS = np.array(list(itertools.combinations(range(CUPS), 2)))
TRAINED, TESTED = 20, 200
PAIRS = (4, 8, 16, 32)
# Is it the budget? Those that leave something to learn, with four times the updates.
LONGER = (
    ("recall", 16, "LSTM"),
    ("recall", 16, "linear recurrence"),
    ("parity", TRAINED, "linear recurrence"),
    ("parity", TRAINED, "attention"),
)
RATES = {"LSTM": 0.01, "linear recurrence": 0.01, "attention": 0.003}


def recall(size: int, pairs: int, rng: np.random.Generator) -> Batch:
    """x (B, 2N, 2): a key with its value, N times, then a key with the sign that asks, N times;
    target (B, N), the values of the keys asked. Keys come before values in the numbering."""
    keys = np.argsort(rng.random((size, KEYS)), axis=1)[:, :pairs]  # no key twice
    values = rng.integers(0, VALUES, (size, pairs))
    order = np.argsort(rng.random((size, pairs)), axis=1)
    asked = np.take_along_axis(keys, order, 1)
    shown = np.stack([keys, KEYS + values], axis=2)
    asking = np.stack([asked, np.full_like(asked, KEYS + VALUES)], axis=2)
    return Batch(np.concatenate([shown, asking], 1), np.take_along_axis(values, order, 1))


def parity(size: int, steps: int, rng: np.random.Generator) -> Batch:
    """x (B, T, 1), zeros and ones; target (B, T), the parity so far."""
    batch = tasks.parity(size, steps, rng)
    return Batch(batch.x.astype(np.int64), batch.target)


def cups(size: int, steps: int, rng: np.random.Generator) -> Batch:
    """x (B, T, 1), which of the ten pairs of cups is swapped; target (B, T), where the ball is."""
    x = rng.integers(0, len(SWAPS), (size, steps))
    ball = np.zeros(size, dtype=np.int64)
    target = np.empty_like(x)
    for t in range(steps):
        one, other = SWAPS[x[:, t]].T
        ball = np.where(ball == one, other, np.where(ball == other, one, ball))
        target[:, t] = ball
    return Batch(x[:, :, None], target)


# draw, kinds of symbols, kinds of answers
TASKS = {
    "recall": (recall, KEYS + VALUES + 1, VALUES),
    "parity": (parity, 2, 2),
    "cups": (cups, len(SWAPS), CUPS),
}


class Recurrence(nn.Module):
    """Two layers of ``torch.nn.LSTM``."""

    def __init__(self, width: int):
        super().__init__()
        self.lstm = nn.LSTM(width, width, num_layers=2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.lstm(x)[0]


class LinearRecurrence(nn.Module):
    """A MinGRU with a third more states than the width, and the way back to the width."""

    def __init__(self, width: int):
        super().__init__()
        states = width * 4 // 3
        self.layer, self.back = MinGRU(width, states), nn.Linear(states, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.back(self.layer(x)[0])


class Attention(nn.Module):
    """Causal attention with four heads; keys and queries are turned by their positions."""

    def __init__(self, width: int, heads: int = 4):
        super().__init__()
        self.heads = heads
        self.project, self.back = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        B, T, C = x.shape
        q, k, v = self.project(x).view(B, T, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(turned(q), turned(k), v, is_causal=True)
        return self.back(y.transpose(1, 2).reshape(B, T, C))


def turned(x: Tensor) -> Tensor:
    """Rotary positions: step t turns the i-th pair of features by the angle t 10000^(-2i/D).

    ``x`` (..., T, D) -> the same; the product of a turned query and a turned key depends on their
    distance only.
    """
    T, D = x.shape[-2:]
    speed = 10_000 ** (-torch.arange(0, D, 2, dtype=x.dtype) / D)
    angle = torch.arange(T)[:, None] * speed  # (T, D / 2)
    sin, cos = angle.sin(), angle.cos()
    one, other = x.chunk(2, dim=-1)
    return torch.cat([one * cos - other * sin, one * sin + other * cos], dim=-1)


class Block(nn.Module):
    """x + mixer(norm(x)), which looks along time, then x + mlp(norm(x)), which does not."""

    def __init__(self, mixer: nn.Module, width: int):
        super().__init__()
        self.mixer = nn.Sequential(nn.LayerNorm(width), mixer)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mixer(x)
        return x + self.mlp(x)


def two_blocks(mixer: type[nn.Module], width: int) -> nn.Module:
    """One on top of the other, each with a mixer of its own."""
    return nn.Sequential(*(Block(mixer(width), width) for _ in range(2)))


# What stands between embedding and head
BODIES = {
    "LSTM": Recurrence,
    "linear recurrence": lambda width: two_blocks(LinearRecurrence, width),
    "attention": lambda width: two_blocks(Attention, width),
}


class Model(nn.Module):
    """Embeddings, one of the bodies, normalization and a linear head for every step."""

    def __init__(self, body: str, symbols: int, answers: int):
        super().__init__()
        self.embedding = nn.Embedding(symbols, WIDTH)
        self.body = BODIES[body](WIDTH)
        self.head = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, answers))

    def forward(self, x: Tensor) -> Tensor:
        """Symbols (B, T, F) -> logits (B, T, K)."""
        return self.head(self.body(self.embedding(x).sum(2)))


def answered(logits: Tensor, target: Tensor) -> Tensor:
    """The logits of the last steps, those that have a target: (B, T, K), (B, N) -> (B, N, K)."""
    return logits[:, -target.shape[1] :]


def loss(logits: Tensor, target: Tensor) -> Tensor:
    """The mean cross-entropy of the answers, in nats."""
    return F.cross_entropy(answered(logits, target).flatten(0, 1), target.flatten())


@torch.no_grad()
def right(model: nn.Module, data: Batch) -> np.ndarray:
    """Which answers are right, bool (B, N)."""
    target = torch.as_tensor(data.target)
    return (answered(model(torch.as_tensor(data.x)), target).argmax(2) == target).numpy()


def settings(quick: bool) -> list[dict]:
    """Every model on every task, recall with more and more pairs; then some with more updates."""
    updates = 10 if quick else 1000
    sizes = {"recall": PAIRS, "parity": (TRAINED,), "cups": (TRAINED,)}
    runs = [(task, size, model) for task in TASKS for size in sizes[task] for model in BODIES]
    return [
        {"task": task, "size": size, "model": model, "lr": RATES[model]}
        | {"updates": times * updates, "batch": 32}
        for times, runs in ((1, runs), (4, LONGER))
        for task, size, model in runs
    ]


def run(setting: dict, seed: int) -> dict:
    """Train and test one network; all models see the same sequences.

    Returns:
        accuracy: on fresh sequences as long as those trained on; curve: the training loss over
        each tenth of the updates; parameters: between embedding and head; for parity and cups
        also far, the accuracy over the last ``TRAINED`` steps of sequences ten times as long,
        and blocks, that over every ``TRAINED`` steps of them.
    """
    draw, symbols, answers = TASKS[setting["task"]]
    train_rng, test_rng = np.random.default_rng([seed, setting["size"]]).spawn(2)
    torch.manual_seed(seed)
    model = Model(setting["model"], symbols, answers)
    updates = setting["updates"]
    history = fit(
        model,
        lambda rng: draw(setting["batch"], setting["size"], rng),
        loss=loss,
        optimizer=torch.optim.Adam(model.parameters(), lr=setting["lr"]),
        epochs=10,
        steps_per_epoch=updates // 10,
        rng=train_rng,
        max_norm=1.0,
        schedule=lambda step: min(1, (step + 1) / 50, 2 - 2 * step / updates),
        progress=False,
    )
    metrics = {
        "accuracy": right(model, draw(500, setting["size"], test_rng)).mean(),
        "curve": np.round(history.train_loss, 4),
        "parameters": sum(p.numel() for p in model.body.parameters()),
    }
    if setting["task"] != "recall":
        long = right(model, draw(200, TESTED, test_rng))
        blocks = long.reshape(len(long), -1, TRAINED).mean((0, 2))
        metrics |= {"far": blocks[-1], "blocks": np.round(blocks, 4)}
    return metrics
