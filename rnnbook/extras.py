"""What to install where a package is missing: rnnbook itself needs NumPy alone."""

from collections.abc import Iterator
from contextlib import contextmanager


class MissingExtra(ModuleNotFoundError):
    """A package is not installed; the message names the extra that brings it."""


@contextmanager
def needed(extra: str) -> Iterator[None]:
    """Import within what the extra ``extra`` of rnnbook brings.

    Example:
        ``with needed("torch"): import torch``

    Raises:
        MissingExtra: where that is not installed, in one sentence; a ``ModuleNotFoundError``.
    """
    try:
        yield
    except MissingExtra:
        raise
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "rnnbook"):
            raise
        message = f'This needs {package}, which is not installed: pip install "rnnbook[{extra}]".'
        raise MissingExtra(message, name=error.name) from error
