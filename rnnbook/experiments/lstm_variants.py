"""What does each part of the LSTM do? Eight changes to it, on a task to keep and one to replace.

The adding problem asks to keep two numbers to the end and to forget nothing; the flip-flop asks to
replace what was kept whenever something new comes. Each class changes what its name says and leaves
the rest; the changes are those of Greff et al., "LSTM: A search space odyssey", IEEE Transactions
on Neural Networks and Learning Systems 28(10), 2017, with layer normalization and projection added.

    B batch, T steps, D input, H cells;  x (B, T, D),  h and c (B, H),  blocks i, f, g, o
"""

import numpy as np
import torch
from torch import nn

from rnnbook import tasks
from rnnbook.train import evaluate, fit

SEEDS = 5
CELLS, STEPS, LONG = 32, 25, 400


class Standard(nn.Module):
    """The LSTM as ``torch.nn.LSTM`` has it, one step at a time."""

    def __init__(self, input_size: int, hidden_size: int, output_size: int | None = None):
        super().__init__()
        self.hidden_size = hidden_size
        self.output_size = hidden_size if output_size is None else output_size
        self.input = nn.Linear(input_size, 4 * hidden_size)
        self.recurrent = nn.Linear(self.output_size, 4 * hidden_size)
        bound = hidden_size**-0.5
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)
        forget = slice(hidden_size, 2 * hidden_size)
        with torch.no_grad():
            self.input.bias[forget] = 1
            self.recurrent.bias[forget] = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, D) -> h after each step (B, T, output_size)."""
        h = x.new_zeros(len(x), self.output_size)
        c = x.new_zeros(len(x), self.hidden_size)
        outputs = []
        for a_x in self.input(x).unbind(1):
            h, c = self.step(a_x, h, c)
            outputs.append(h)
        return torch.stack(outputs, 1)

    def step(self, a_x: torch.Tensor, h: torch.Tensor, c: torch.Tensor):
        """What the input adds to the pre-activations (B, 4H), and the state -> the new state."""
        i, f, g, o = (a_x + self.recurrent(h)).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


class NoInputGate(Standard):
    """i = 1: everything is written."""

    def step(self, a_x, h, c):
        _, f, g, o = (a_x + self.recurrent(h)).chunk(4, 1)
        c = f.sigmoid() * c + g.tanh()
        return o.sigmoid() * c.tanh(), c


class NoForgetGate(Standard):
    """f = 1: nothing is erased, as in the LSTM of 1997."""

    def step(self, a_x, h, c):
        i, _, g, o = (a_x + self.recurrent(h)).chunk(4, 1)
        c = c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


class NoOutputGate(Standard):
    """o = 1: everything is shown."""

    def step(self, a_x, h, c):
        i, f, g, _ = (a_x + self.recurrent(h)).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return c.tanh(), c


class NoOutputActivation(Standard):
    """h = o * c: what is shown is not bounded."""

    def step(self, a_x, h, c):
        i, f, g, o = (a_x + self.recurrent(h)).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c, c


class Coupled(Standard):
    """i = 1 - f: as much is written as was erased."""

    def step(self, a_x, h, c):
        _, f, g, o = (a_x + self.recurrent(h)).chunk(4, 1)
        f = f.sigmoid()
        c = f * c + (1 - f) * g.tanh()
        return o.sigmoid() * c.tanh(), c


class Peepholes(Standard):
    """Each gate sees its own cell: i and f the old content, o the new one."""

    def __init__(self, input_size: int, hidden_size: int):
        super().__init__(input_size, hidden_size)
        self.peep_i, self.peep_f, self.peep_o = (
            nn.Parameter(torch.zeros(hidden_size)) for _ in range(3)
        )

    def step(self, a_x, h, c):
        i, f, g, o = (a_x + self.recurrent(h)).chunk(4, 1)
        i = (i + self.peep_i * c).sigmoid()
        f = (f + self.peep_f * c).sigmoid()
        c = f * c + i * g.tanh()
        o = (o + self.peep_o * c).sigmoid()
        return o * c.tanh(), c


class Normalized(Standard):
    """Layer normalization of both products, and of the cell where it is read."""

    def __init__(self, input_size: int, hidden_size: int):
        super().__init__(input_size, hidden_size)
        self.norm_x, self.norm_h = (
            nn.LayerNorm(4 * hidden_size, elementwise_affine=False) for _ in range(2)
        )
        self.gain_x, self.gain_h = (nn.Parameter(torch.ones(4 * hidden_size)) for _ in range(2))
        self.norm_c = nn.LayerNorm(hidden_size)

    def step(self, a_x, h, c):
        a_x = self.gain_x * self.norm_x(a_x - self.input.bias) + self.input.bias
        a_h = self.gain_h * self.norm_h(h @ self.recurrent.weight.T) + self.recurrent.bias
        i, f, g, o = (a_x + a_h).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * self.norm_c(c).tanh(), c


class Projected(Standard):
    """h = W (o * tanh c): half as many numbers are shown, and fed back, as there are cells."""

    def __init__(self, input_size: int, hidden_size: int):
        super().__init__(input_size, hidden_size, hidden_size // 2)
        self.projection = nn.Linear(hidden_size, self.output_size, bias=False)

    def step(self, a_x, h, c):
        h, c = super().step(a_x, h, c)
        return self.projection(h), c


VARIANTS = {
    cell.__name__: cell
    for cell in (
        Standard,
        NoInputGate,
        NoForgetGate,
        NoOutputGate,
        NoOutputActivation,
        Coupled,
        Peepholes,
        Normalized,
        Projected,
    )
}


class Model(nn.Module):
    """A variant with a linear head, on the last step or on every step."""

    def __init__(self, variant: str, input_size: int, outputs: int, every_step: bool):
        super().__init__()
        self.layer = VARIANTS[variant](input_size, CELLS)
        self.head = nn.Linear(self.layer.output_size, outputs)
        self.every_step = every_step

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, D) -> (B, K), or (B, T, K) for every step."""
        output = self.layer(x)
        return self.head(output if self.every_step else output[:, -1])


# draw, input features, outputs, an answer at every step
TASKS = {
    "adding": (tasks.adding_problem, 2, 1, False),
    "flip-flop": (tasks.flip_flop, 3, 3, True),
}


def settings(quick: bool) -> list[dict]:
    """Every variant on both tasks."""
    updates = 20 if quick else 500
    return [
        {"task": task, "variant": variant, "updates": updates, "batch": 32, "lr": 0.02}
        for task in TASKS
        for variant in VARIANTS
    ]


def run(setting: dict, seed: int) -> dict:
    """Train and test one variant.

    Returns:
        test_mse: on 1000 fresh sequences, of the last weights; long_mse: on 250 that are 16 times
        as long; parameters: of the layer.
    """
    draw, inputs, outputs, every_step = TASKS[setting["task"]]
    train_rng, other_rng = np.random.default_rng([seed, inputs]).spawn(2)
    torch.manual_seed(seed)
    model = Model(setting["variant"], inputs, outputs, every_step)
    loss = nn.functional.mse_loss
    fit(
        model,
        lambda rng: draw(setting["batch"], STEPS, rng),
        loss=loss,
        optimizer=torch.optim.Adam(model.parameters(), lr=setting["lr"]),
        epochs=1,
        steps_per_epoch=setting["updates"],
        rng=train_rng,
        max_norm=1.0,
        progress=False,
    )
    return {
        "test_mse": evaluate(model, draw(1000, STEPS, other_rng), loss=loss, batch_size=500),
        "long_mse": evaluate(model, draw(250, LONG, other_rng), loss=loss, batch_size=250),
        "parameters": sum(p.numel() for p in model.layer.parameters()),
    }
