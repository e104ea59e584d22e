"""A run on disk: what it was called with, where it stands, and whether a new call continues it.

    a checkpoint holds          and a new call must
    run: every setting by name  have the same ones, all of them
    history                     ask for no fewer epochs, and have a schedule that gives every step
                                that was taken the same factor
    weights, best, state, rng   have places for them, of the same shapes and number types

What is not compared is taken on from the new call: ``epochs``, ``patience``, ``progress``, and what
the schedule says of steps to come.
"""

import types
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rnnbook.checkpoint import (
    check_alike,
    check_writable,
    load_tree,
    save_tree,
    tree_content,
)
from rnnbook.checks import check_shape
from rnnbook.tasks.batch import Batch
from rnnbook.train.history import History


class Run:
    """One call of ``fit`` and its checkpoint."""

    def __init__(self, path: str | Path, settings: dict[str, Any], adapter, rng, schedule):
        if not isinstance(path, str | Path):
            raise ValueError(f"checkpoint must be the name of a file, got {path!r}.")
        self.path, self.adapter, self.rng, self.schedule = Path(path), adapter, rng, schedule
        self.settings = settings | adapter.settings()

    def begin(self, resume: bool, epochs: int) -> tuple[History, dict | None]:
        """The history and the best weights so far; all else is where the checkpoint left it.

        Raises:
            ValueError: where the checkpoint is of another run, or the file cannot be one, before
                anything has changed.
            TypeError: where the model or the optimizer holds what a checkpoint cannot.
        """
        if self.path.is_dir():
            raise ValueError(f"checkpoint must name a file, got the folder {self.path}.")
        written = self.path.exists() and self.path.stat().st_size > 0
        saved = load_tree(self.path) if self.path.exists() and (resume or written) else None
        try:
            check_writable(self.path)
        except OSError as error:
            raise ValueError(
                f"checkpoint must name a file that can be written, got {self.path} ({error})."
            ) from error
        if written and not resume and not (isinstance(saved, dict) and "run" in saved):
            raise ValueError(f"checkpoint must not replace {self.path}, which is no checkpoint.")
        own = self._tree(History(), None)
        tree_content(own)
        if not resume or saved is None:
            return History(), None
        self._check(saved, own, epochs)
        self.adapter.load_state(saved["state"])  # first, for the optimizer looks at every number
        self.adapter.load_weights(saved["weights"])
        self.rng.bit_generator.state = saved["rng"]
        return History.from_state(saved["history"]), saved["best"]

    def save(self, history: History, best: dict | None) -> None:
        """Write the checkpoint."""
        save_tree(self.path, self._tree(history, best))

    def _tree(self, history: History, best: dict | None) -> dict[str, Any]:
        return {
            "run": self.settings,
            "weights": self.adapter.weights(),
            "best": best,
            "state": self.adapter.state(),
            "rng": self.rng.bit_generator.state,
            "history": history.state(),
        }

    def _check(self, saved, own: dict, epochs: int) -> None:
        """Raise ``ValueError`` unless all of ``saved`` can be loaded where ``own`` is now."""
        check_alike("checkpoint", saved, dict.fromkeys(own))
        if not isinstance(saved["run"], dict):
            raise ValueError(f"checkpoint's run must be a dict, got {saved['run']!r}.")
        for name in self.settings | saved["run"]:
            came, wanted = saved["run"].get(name), self.settings.get(name)
            if came != wanted:
                raise ValueError(
                    f"checkpoint must be of the same run, got one with {name} {came} "
                    f"where this has {wanted}."
                )
        self._check_history(saved["history"], epochs)
        state = dict(own["state"])
        if "cuda" in state:  # of another device it is not loaded
            state["cuda"] = None
        groups = getattr(self.adapter.optimizer, "param_groups", None)
        if groups is not None:  # of torch.optim, empty before the first step
            state["optimizer"] = {"state": None, "param_groups": None}
        best = None if self.settings["validation"] is None else own["weights"]
        for name, like in {
            "state": state,
            "weights": own["weights"],
            "best": best,
            "rng": own["rng"],
        }.items():
            check_alike(f"checkpoint's {name}", saved[name], like)
        if groups is not None:
            _check_groups(saved["state"]["optimizer"], groups)

    def _check_history(self, saved, epochs: int) -> None:
        check_alike("checkpoint's history", saved, dict.fromkeys(History().state()))
        done = np.size(saved["train_loss"])
        steps, validated = self.settings["steps_per_epoch"], self.settings["validation"] is not None
        for name, count in {
            "loss": done * steps,
            "gradient_norm": done * steps,
            "train_loss": done,
            "validation_loss": done * validated,
            "rate_factor": done * steps,
        }.items():
            check_alike(f"checkpoint's history[{name!r}]", saved[name], np.zeros(count))
        if epochs < done:
            raise ValueError(f"epochs must be at least {done}, the checkpoint's, got {epochs}.")
        for step, came in enumerate(saved["rate_factor"].tolist()):
            if (wanted := factor(self.schedule, step)) != came:
                raise ValueError(
                    "checkpoint must be of the same run, got one with a schedule that gave step "
                    f"{step} the factor {came} where this gives {wanted}."
                )


def factor(schedule: Callable[[int], float] | None, step: int) -> float:
    """What the schedule makes of the learning rate at this step. ``ValueError`` below 0 or NaN."""
    found = 1.0 if schedule is None else float(schedule(step))
    if not 0 <= found < np.inf:
        raise ValueError(f"schedule must give factors from 0 on, got {found} at step {step}.")
    return found


def described(data: Batch | Callable | None) -> str | None:
    """Data as a setting: shapes, number types and a checksum; a function by its name."""
    if not isinstance(data, Batch):
        return None if data is None else named(data)
    arrays = {name: array for name, array in vars(data).items() if array is not None}
    sizes = ", ".join(f"{name} {array.shape} {array.dtype}" for name, array in arrays.items())
    checksum = 0
    for array in arrays.values():
        checksum = zlib.crc32(np.ascontiguousarray(array).data, checksum)
    return f"{sizes} (checksum {checksum:08x})"


def named(function: Callable) -> str:
    """A function as a setting: its name; a lambda has its code besides, a partial its arguments.

    An object is named by its class and its plain attributes.
    """
    if isinstance(function, partial):
        given = [*map(repr, function.args), *(f"{k}={v!r}" for k, v in function.keywords.items())]
        return f"{named(function.func)}({', '.join(given)})"
    if isinstance(function, types.FunctionType) and function.__name__ == "<lambda>":
        code = function.__code__
        parts = (code.co_code, code.co_names, [c for c in code.co_consts if np.isscalar(c)])
        return f"{function.__qualname__} (checksum {zlib.crc32(repr(parts).encode()):08x})"
    if hasattr(function, "__qualname__"):
        return function.__qualname__
    settings = {
        name: value
        for name, value in getattr(function, "__dict__", {}).items()
        if isinstance(value, bool | int | float | str) and not name.startswith("_")
    }
    settings.pop("training", None)
    given = [f"{name}={value!r}" for name, value in settings.items()]
    return f"{type(function).__qualname__}({', '.join(given)})"


def _check_groups(saved: dict, groups: list[dict]) -> None:
    """Raise ``ValueError`` unless a state of ``torch.optim`` belongs to such parameter groups."""
    wanted, came = (
        [len(group["params"]) for group in some] for some in (groups, saved["param_groups"])
    )
    if came != wanted:
        raise ValueError(
            f"checkpoint's optimizer must have parameter groups of sizes {wanted}, got {came}."
        )
    parameters = [parameter for group in groups for parameter in group["params"]]
    for number, averages in saved["state"].items():
        for name, array in averages.items():
            if np.size(array) > 1 and 1 not in array.shape:  # neither a counter nor Adafactor's
                label = f"checkpoint's {name} of the optimizer's parameter {number}"
                check_shape(label, array, parameters[number].shape)
