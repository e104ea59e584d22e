"""Experiments that take longer than a chapter may: several seeds, stored results.

    python -m rnnbook.experiments --list
    python -m rnnbook.experiments NAME [--seeds N] [--resume] [--jobs N] [--backend loky|dask|ray]

An experiment is a module in ``studies``, known by its file name (not one that starts with _), with

    settings(quick: bool) -> list[dict]      what is to be compared; all values fit into JSON
    run(setting: dict, seed: int) -> dict    one run's metrics, numbers or lists of numbers

and, if five are not right, ``SEEDS``. A file of your own works the same: give its path as NAME. Its
results lie in the folder ``results`` beside it; chapters read them by ``load_results``.
"""

from rnnbook.experiments.stored import load_results, summarize

__all__ = ["load_results", "summarize"]
