"""Packages that some tests need: where one is missing these are skipped, and the others run."""

from __future__ import annotations

import importlib
from typing import Any

import pytest


class Missing:
    """Stands for a module that is not installed: whoever takes something from it is skipped."""

    def __init__(self, name: str):
        self.module = name

    def __getattr__(self, name: str):
        if name.startswith("__"):  # asked by Python and pytest of any object
            raise AttributeError(name)
        pytest.skip(f"{self.module} is not installed", allow_module_level=True)


def optional(module: str) -> Any:
    """The module, or what stands for it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        return Missing(module)
