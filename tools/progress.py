"""A line of progress that overwrites itself, where somebody watches."""

import sys


def progress(text: str) -> None:
    """Show ``text`` on the present line of a terminal; in a log, say nothing."""
    if sys.stdout.isatty():
        print(f"\r\x1b[K{text}", end="", flush=True)


def done(text: str) -> None:
    """End the line of progress with ``text``, which stays."""
    progress("")
    print(text, flush=True)
