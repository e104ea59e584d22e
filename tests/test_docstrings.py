"""What the library says of itself: every public object has a docstring and is on the API page."""

from __future__ import annotations

import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import rnnbook

PAGE = Path(__file__).parents[1] / "book" / "api.md"
INTERNAL = {"progress", "reach"}  # only the library and its tools use them
MODULES = sorted({m.name for m in pkgutil.iter_modules(rnnbook.__path__)} - INTERNAL)
DIRECTIVE = re.compile(r"^\.\. auto(module|class|function):: (\S+)\n((?:   :.*\n)*)", re.M)

pytestmark = pytest.mark.parametrize("module", MODULES)


def documentable(thing) -> bool:
    return inspect.isclass(thing) or inspect.isfunction(thing)


def public(module) -> dict[str, object]:
    """Full name -> class or function: those in ``__all__``, or else those defined in the module."""
    found = {}
    for name, thing in vars(module).items():
        own = getattr(thing, "__module__", None) == module.__name__ and not name.startswith("_")
        exported = name in getattr(module, "__all__", ())
        if inspect.ismodule(thing) and exported:
            found |= public(thing)
        elif documentable(thing) and (exported or own):
            found[f"{thing.__module__}.{thing.__qualname__}"] = thing
    return found


def family(thing) -> list:
    """A class and those of its bases that are ours; a function alone."""
    bases = thing.__mro__ if inspect.isclass(thing) else [thing]
    return [base for base in bases if base.__module__.startswith("rnnbook.")]


def has_docstring(thing) -> bool:
    """Of its own: a dataclass or named tuple without one gets its signature."""
    doc = thing.__doc__ or ""
    return bool(doc.strip()) and not doc.startswith(f"{thing.__name__}(")


def undocumented_methods(cls: type) -> list[str]:
    kinds = property | classmethod | staticmethod
    return [
        name
        for name, member in vars(cls).items()
        if not name.startswith("_")
        and (inspect.isfunction(member) or isinstance(member, kinds))
        and not inspect.getdoc(getattr(cls, name))
    ]


def on_the_page(full_name: str, page: str) -> bool:
    module, _, name = full_name.rpartition(".")
    for kind, target, options in DIRECTIVE.findall(page):
        if kind != "module" and target == full_name:
            return True
        if kind == "module" and target == module:
            members = re.search(r"^   :members:(.*)$", options, re.M)
            if members and (not members[1].strip() or name in re.split(r"[,\s]+", members[1])):
                return True
    return False


@pytest.fixture
def objects(module):
    found = public(pytest.importorskip(f"rnnbook.{module}", reason="it needs a package more"))
    assert found
    return found


def test_every_public_object_has_a_docstring(objects):
    missing = [name for name, thing in objects.items() if not has_docstring(thing)]
    for name, thing in objects.items():
        for cls in family(thing) if inspect.isclass(thing) else []:
            missing += [f"{name}.{method}" for method in undocumented_methods(cls)]
    assert missing == []


def test_api_page_lists_every_public_object(objects):
    page = PAGE.read_text(encoding="utf-8")
    wanted = {
        re.sub(r"\._\w+", "", f"{part.__module__}.{part.__qualname__}")  # _results is no address
        for thing in objects.values()
        for part in family(thing)  # what is inherited is told by the base
        if not part.__name__.startswith("_")
    }
    assert sorted(name for name in wanted if not on_the_page(name, page)) == []
