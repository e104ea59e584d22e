"""Experiments that take longer than a chapter may: several seeds, stored results.

    python -m rnnbook.experiments --list
    python -m rnnbook.experiments NAME [--seeds N] [--fresh] [--jobs N] [--backend loky|dask|ray]
    python -m rnnbook.experiments --stale | --renew | --check

An experiment is a module in ``studies``, known by its file name (not one that starts with _), with

    settings(quick: bool) -> list[dict]      what is to be compared; all values fit into JSON
    run(setting: dict, seed: int) -> dict    one run's metrics, numbers or lists of numbers

and, where the defaults are not right,

    SEEDS         how many seeds, 5
    canary()      settings and seeds of a few cheap runs, by which the tests know whether the code
                  still gives the stored results: all quick settings with seed 0
    UNSTEADY      metrics that a machine's speed or rounding decides, which are not compared

A file of your own works the same: give its path as NAME. Its results lie in the folder ``results``
beside it; chapters read them by ``load_results``.
"""

from rnnbook.experiments.stored import load_results, summarize

__all__ = ["load_results", "summarize"]
