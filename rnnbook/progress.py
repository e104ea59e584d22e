"""A progress bar for terminals, and silence everywhere else (notebooks' stored outputs, logs)."""

import sys


class _Silence:
    """A progress bar that shows nothing."""

    def update(self) -> None: ...
    def set_postfix(self, **numbers) -> None: ...
    def close(self) -> None: ...


def progress_bar(total: int, *, done: int = 0, unit: str = "step", show: bool = True):
    """tqdm's bar with the time left, if wanted, on a terminal, and installed; else a silent one.

    ``done`` of ``total`` are known to be done from an earlier run.
    """
    if show and sys.stdout.isatty() and sys.stderr.isatty():
        try:
            from tqdm import tqdm
        except ModuleNotFoundError:
            return _Silence()
        return tqdm(total=total, initial=done, unit=unit)
    return _Silence()
