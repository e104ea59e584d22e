"""Data parallel training: each process takes its share of every batch (``efficient_training``).

    python -m rnnbook.distributed                         one process
    torchrun --nproc-per-node 2 -m rnnbook.distributed    two, on one machine or several
    python -m rnnbook.distributed --processes 2           two, without torchrun's report of failures

All processes hold the same weights. At each step, of one batch that all of them draw,

    process r   takes every world-th sequence from r on
                g_r, the gradient of its mean loss over n_r targets
    together    g = sum_r w_r g_r / sum_r w_r             one all_reduce
    process r   takes the optimizer's step with g, as all others do

With ``w_r = n_r`` this is the gradient of the mean over all targets: that of one process. With
``w_r = 1`` it is the mean of means, as ``DistributedDataParallel`` takes it: a target of a process
with few targets counts more than one of a process with many.

On GPUs the backend is nccl and each process has a GPU of its own; nothing else differs.
"""

import argparse
import dataclasses
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from rnnbook.checkpoint import check_writable, load_tree, save_tree, write_atomically
from rnnbook.checks import check_choice, check_positive
from rnnbook.extras import needed
from rnnbook.tasks.batch import Batch, one_hot
from rnnbook.tasks.memory import adding_problem
from rnnbook.tasks.reber import REBER_SYMBOLS, reber_grammar

with needed("torch"):
    import torch
    import torch.distributed as dist
    from torch import Tensor, nn
    from torch.distributed import TCPStore  # type: ignore[attr-defined]
    from torch.nn import functional as F

    from rnnbook.pytorch import FusedGRU, SequenceModel
    from rnnbook.train.adapters import TorchAdapter

TASKS = ("adding", "reber")
WEIGHTINGS = ("targets", "naive")
SHARES = ("strided", "sorted")
DTYPES = ("float32", "float64")


@dataclasses.dataclass(frozen=True)
class Plan:
    """What decides the numbers of a run; a checkpoint is continued by an equal plan alone.

    Attributes:
        task: "adding", one target for each sequence; "reber", one for each step, sequences unequal.
        weighting: "targets" or "naive", of the processes' gradients.
        shares: "strided", every world-th sequence; "sorted", sequences of about one length to
            each process: less padding, and as many sequences but not as many targets.
        batch: sequences of all processes together.
        hidden: units of the GRU.
        lr: Adam's learning rate.
        seed: of weights and data.
        dtype: "float32" or "float64".
        world: the number of processes.
    Raises:
        ValueError: for another task, weighting, way to share or dtype, sizes below one, and a batch
            with fewer sequences than processes.
    """

    task: str = "adding"
    weighting: str = "targets"
    shares: str = "strided"
    batch: int = 32
    hidden: int = 32
    lr: float = 0.01
    seed: int = 0
    dtype: str = "float32"
    world: int = 1

    def __post_init__(self) -> None:
        check_choice("task", self.task, TASKS)
        check_choice("weighting", self.weighting, WEIGHTINGS)
        check_choice("shares", self.shares, SHARES)
        check_choice("dtype", self.dtype, DTYPES)
        for name in ("batch", "hidden", "world"):
            check_positive(name, getattr(self, name))
        if self.batch < self.world:
            raise ValueError(
                f"batch must hold a sequence for each of {self.world} processes, got {self.batch}."
            )

    def draw(self, rng: np.random.Generator) -> Batch:
        """A batch for all processes."""
        if self.task == "adding":
            return adding_problem(self.batch, 20, rng)
        batch = reber_grammar(self.batch, rng)
        return dataclasses.replace(batch, x=one_hot(batch.x, len(REBER_SYMBOLS)))

    def share(self, batch: Batch, rank: int) -> Batch:
        """The sequences of process ``rank``."""
        order = np.arange(len(batch))
        if self.shares == "strided" or batch.lengths is None:
            return batch.take(order[rank :: self.world])
        order = np.argsort(batch.lengths, kind="stable")
        return batch.take(np.array_split(order, self.world)[rank])

    def model(self) -> nn.Module:
        """The model with its initial weights, the same in every process."""
        inputs, outputs = (2, 1) if self.task == "adding" else (len(REBER_SYMBOLS),) * 2
        layer, head = FusedGRU(inputs, self.hidden), nn.Linear(self.hidden, outputs)
        model = SequenceModel(layer, head, many_to="one" if self.task == "adding" else "many")
        generator = torch.Generator().manual_seed(self.seed)
        for parameter in model.parameters():
            nn.init.uniform_(
                parameter, -(self.hidden**-0.5), self.hidden**-0.5, generator=generator
            )
        return model.to(getattr(torch, self.dtype))


class Stopped(Exception):
    """Another process has ended, or this one was told to."""


def mean_loss(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    """The mean loss over the targets of ``batch`` that count, and their number."""
    weight = next(model.parameters())
    x = torch.as_tensor(batch.x, dtype=weight.dtype, device=weight.device)
    target = torch.as_tensor(batch.target, device=weight.device)
    if batch.lengths is None:
        return F.mse_loss(model(x), target.to(weight.dtype)), len(batch)
    counts = torch.as_tensor(batch.counts, device=weight.device)
    prediction = model(x, batch.lengths)[counts]
    return F.cross_entropy(prediction, target[counts]), len(prediction)


def average(numbers: list[Tensor], weight: float) -> list[Tensor]:
    """The weighted mean of all processes' ``numbers``, by one all_reduce."""
    own = torch.cat([number.flatten() for number in numbers])
    sums = torch.cat([weight * own, own.new_tensor([weight])])
    if dist.is_initialized():
        try:
            dist.all_reduce(sums)
        except RuntimeError as error:  # another process is gone, or silent for too long
            raise Stopped from error
    means = (sums[:-1] / sums[-1]).split([number.numel() for number in numbers])
    return [mean.view_as(number) for mean, number in zip(means, numbers, strict=True)]


def train_step(model: nn.Module, optimizer, share: Batch, weighting: str) -> float:
    """One step with this process's share of a batch; the whole batch's loss before it."""
    loss, targets = mean_loss(model, share)
    optimizer.zero_grad()
    loss.backward()
    parameters = list(model.parameters())
    gradients = [p.grad for p in parameters if p.grad is not None]
    weight = targets if weighting == "targets" else 1
    for parameter, gradient in zip(parameters, average(gradients, weight), strict=True):
        parameter.grad = gradient
    optimizer.step()
    (mean,) = average([loss.detach()], targets)
    return float(mean)


def train(
    plan: Plan,
    steps: int,
    *,
    checkpoint: str | Path | None = None,
    every: int = 50,
    resume: bool = False,
    tell: Callable[[int, float], None] | None = None,
) -> list[float]:
    """Train by the plan, in each of ``plan.world`` processes at once; the loss of every step.

    Args:
        plan: what is trained, and how.
        steps: counted from the very start also where a run is resumed.
        checkpoint: a file that all processes see. The first of them writes it.
        every: steps from one checkpoint to the next; the last step has one as well.
        resume: continue from ``checkpoint`` where it exists, else start. At the same number of
            processes the end is that of an unbroken run to the last bit.
        tell: called with the number and the loss of each step.

    Raises:
        ValueError: wrong sizes, or a checkpoint of another run, naming what differs.
        Stopped: where another process has ended.
    """
    _check_run(steps, checkpoint, every, resume)
    rank, device = _place()
    model = plan.model().to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=plan.lr)
    run = _Run(plan, model, optimizer, np.random.default_rng(plan.seed))
    if checkpoint is not None:
        run.begin(Path(checkpoint), resume, steps)
    for step in range(len(run.losses), steps):
        batch = plan.share(plan.draw(run.rng), rank)
        run.losses.append(train_step(model, optimizer, batch, plan.weighting))
        if tell is not None:
            tell(step, run.losses[-1])
        due = (step + 1) % every == 0 or step + 1 == steps
        if checkpoint is not None and rank == 0 and due:
            save_tree(checkpoint, run.tree())
    return run.losses


def _check_run(steps, checkpoint, every, resume) -> None:
    check_positive("steps", steps)
    check_positive("every", every)
    if resume and checkpoint is None:
        raise ValueError("checkpoint must name a file where resume is True, got None.")


@dataclasses.dataclass
class _Run:
    """All that decides how a run goes on."""

    plan: Plan
    model: nn.Module
    optimizer: torch.optim.Optimizer
    rng: np.random.Generator
    losses: list[float] = dataclasses.field(default_factory=list)

    @property
    def _adapter(self) -> TorchAdapter:
        return TorchAdapter(self.model, mean_loss, self.optimizer)

    def tree(self) -> dict[str, Any]:
        return {
            "plan": dataclasses.asdict(self.plan),
            "weights": self._adapter.weights(),
            "state": self._adapter.state(),
            "rng": self.rng.bit_generator.state,
            "losses": np.array(self.losses),
        }

    def begin(self, path: Path, resume: bool, steps: int) -> None:
        """Continue from the checkpoint, if there is one and it is asked for.

        Raises ``ValueError`` for a file that is no checkpoint of a run, of this run where it is
        continued, that is beyond ``steps`` or cannot be written; then nothing has changed.
        """
        saved = None
        try:
            check_writable(path)
            saved = load_tree(path) if path.exists() else None
        except OSError as error:
            raise ValueError(
                f"checkpoint must be a file to write, got {path} ({error})."
            ) from error
        if saved is not None and (
            not isinstance(saved, dict) or saved.keys() != self.tree().keys()
        ):
            raise ValueError(
                f"checkpoint must be of rnnbook.distributed, got another file, {path}."
            )
        if saved is None or not resume:
            return
        for name, wanted in dataclasses.asdict(self.plan).items():
            if (came := saved["plan"].get(name)) != wanted:
                raise ValueError(
                    f"checkpoint must be of the same run, got one with {name} {came} "
                    f"where this has {wanted}."
                )
        if (done := len(saved["losses"])) > steps:
            raise ValueError(f"steps must be at least {done}, the checkpoint's, got {steps}.")
        self._adapter.load_weights(saved["weights"])
        self._adapter.load_state(saved["state"])
        self.rng.bit_generator.state = saved["rng"]
        self.losses = saved["losses"].tolist()


def _place() -> tuple[int, torch.device]:
    """This process's rank, and where it computes."""
    rank = dist.get_rank() if dist.is_initialized() else 0
    if torch.cuda.is_available():
        return rank, torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return rank, torch.device("cpu")


@contextmanager
def process_group(timeout: float = 60) -> Iterator[None]:
    """The group of the processes that torchrun has started; nothing where it has started none.

    Raises ``Stopped`` within it where another process ends, or is silent for ``timeout`` seconds.
    """
    if not dist.is_torchelastic_launched():
        yield
        return
    before = signal.signal(signal.SIGTERM, _stop)  # from torchrun, when another process has ended
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    try:
        dist.init_process_group(backend, timeout=timedelta(seconds=timeout))
        yield
        dist.destroy_process_group()
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(number, frame) -> None:
    raise Stopped


def main(arguments: list[str] | None = None) -> int:
    """The command line. Returns 0; 2 for wrong options, 1 where a process has ended, 130 for
    Ctrl-C, each with one sentence on standard error."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    first = os.environ.get("RANK", "0") == "0"
    try:
        options = vars(_parser().parse_args(arguments))
        processes, output = options.pop("processes"), options.pop("output")
        started = dist.is_torchelastic_launched()
        world = int(os.environ["WORLD_SIZE"]) if started else check_positive("processes", processes)
        names = [field.name for field in dataclasses.fields(Plan) if field.name != "world"]
        plan = Plan(world=world, **{name: options.pop(name) for name in names})
        _check_run(**options)
        if world > 1 and not started:
            return launch(world, arguments)
        with process_group():
            losses = train(plan, **options, tell=_told(options["steps"]) if first else None)
        if output is not None and first:
            content = {"plan": dataclasses.asdict(plan), "losses": losses}
            write_atomically(output, json.dumps(content).encode())
    except ValueError as error:
        if first:  # the others found the same
            print(error, file=sys.stderr)
        return 2
    except Stopped:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun's may come late
        if _nobody_told():
            print(_farewell(options["checkpoint"]), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        if first:
            print("Interrupted.", file=sys.stderr)
        return 130
    return 0


def launch(processes: int, arguments: list[str]) -> int:
    """Start as many processes as torchrun does, without its report where one of them ends.

    Returns 0, or 1 where one has failed: the others have said so.
    """
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    reports = logging.getLogger("torch.distributed.elastic")
    reports.addHandler(logging.NullHandler())
    reports.propagate = False
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=str(os.getpid()),
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",  # any port that is free
        max_restarts=0,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "rnnbook.distributed", *arguments)
    except ChildFailedError as error:
        codes = [failure.exitcode for failure in error.failures.values()]
        if max(codes) < 0:
            print("Every process was killed.", file=sys.stderr)
        return 2 if 2 in codes else 1
    return 0


class _Parser(argparse.ArgumentParser):
    """A wrong option is a ``ValueError``: one sentence, and not one from each process."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message[0].upper()}{message[1:]}.")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m rnnbook.distributed",
        description="Train a GRU, each process on its share of every batch.",
    )
    add, plan = parser.add_argument, Plan()
    add(
        "--processes",
        type=int,
        default=1,
        metavar="N",
        help="started here; torchrun starts its own",
    )
    add("--task", choices=TASKS, default=plan.task, help="reber has unequal lengths (adding)")
    add("--weighting", choices=WEIGHTINGS, default=plan.weighting, help="of gradients (targets)")
    add("--shares", choices=SHARES, default=plan.shares, help="of a batch (strided)")
    add("--batch", type=int, default=plan.batch, metavar="B", help="of all processes together (32)")
    add("--hidden", type=int, default=plan.hidden, metavar="H", help="units (32)")
    add("--lr", type=float, default=plan.lr, help="learning rate (0.01)")
    add("--seed", type=int, default=plan.seed, metavar="N", help="of weights and data (0)")
    add("--dtype", choices=DTYPES, default=plan.dtype, help="(float32)")
    add("--steps", type=int, default=200, metavar="N", help="(200)")
    add("--checkpoint", metavar="FILE", help="where the run stands is written to it")
    add("--every", type=int, default=50, metavar="N", help="steps between checkpoints (50)")
    add("--resume", action="store_true", help="continue from the checkpoint, if there is one")
    add("--output", metavar="FILE", help="the losses, as JSON")
    return parser


def _told(steps: int) -> Callable[[int, float], None]:
    """Prints ten losses on the way."""

    def tell(step: int, loss: float) -> None:
        if (step + 1) % max(1, steps // 10) == 0:
            print(f"step {step + 1:5}  loss {loss:.4f}", flush=True)

    return tell


def _nobody_told() -> bool:
    """Whether this is the first of the processes left that asks: torchrun keeps the count."""
    with suppress(Exception):  # the keeper is gone: better told twice than not at all
        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = TCPStore(host, port, is_master=False, timeout=timedelta(seconds=2))
        return store.add("rnnbook.distributed told", 1) == 1
    return True


def _farewell(checkpoint: str | None) -> str:
    on = "--checkpoint FILE keeps a run so that it can be resumed."
    if checkpoint is not None and Path(checkpoint).exists():
        on = f"--resume continues from {checkpoint}."
    return f"A process of this run has ended, so all have stopped; {on}"


if __name__ == "__main__":
    sys.exit(main())
