"""The house: its picture is that of the imports, arrows run down, its page names what exists."""

from __future__ import annotations

import importlib
import re

import pytest

from tools import architecture
from tools.architecture import ROOT, below, draw, floors, layout, reduced, rooms

TAUGHT = {"scratch", "pytorch", "tasks"}
USES = {"train", "forecast", "estimator", "generate"}


def test_picture_is_what_the_imports_give():
    stored = (ROOT / architecture.PICTURE).read_text(encoding="utf-8")
    assert stored == draw(), "run `python -m tools.architecture`"


def test_what_is_taught_knows_nothing_of_its_use():
    graph = rooms()
    for room in TAUGHT:
        assert not below(graph, room) & (USES | {"adapters"}), room
        assert not below(graph, room) & (TAUGHT - {room}), f"{room} is to be read alone"


def test_nothing_knows_of_the_experiments():
    for room, known in rooms().items():
        assert "experiments" not in known, room


def test_arrows_run_down():
    graph = rooms()
    level = floors(graph)
    place, paths, _ = layout(graph)
    assert len(paths) > len(graph) / 2
    for path in paths:
        heights = [place[name][1] for name in path]
        assert heights == sorted(set(heights)), path
        assert level[path[0]] > level[path[-1]]


@pytest.fixture
def house(tmp_path):
    """A house of four rooms: top imports from all others, in every way that Python has."""
    for name, code in {
        "__init__.py": "from rnnbook import nothing",
        "top/__init__.py": "from .inner import x\nfrom .. import base",
        "top/inner.py": "import rnnbook.middle as m\nimport numpy\n",
        "middle.py": "def f():\n    from rnnbook.base import deep\n    from . import side\n",
        "base/__init__.py": "",
        "base/deep.py": "from rnnbook.base import other",
        "side.py": "import rnnbook\n",
    }.items():
        file = tmp_path / "rnnbook" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(code)
    return tmp_path


def test_rooms_of_a_small_house(house):
    graph = rooms(house)
    assert graph == {
        "top": {"middle", "base"},
        "middle": {"base", "side"},
        "base": set(),
        "side": set(),
    }
    assert floors(graph) == {"base": 0, "side": 0, "middle": 1, "top": 2}
    assert below(graph, "top") == {"middle", "base", "side"}
    assert reduced(graph)["top"] == {"middle"}


def test_another_import_is_another_picture(house):
    before = draw(house)
    (house / "rnnbook/side.py").write_text("from rnnbook import base\n")
    assert draw(house) != before


def test_a_circle_is_told():
    with pytest.raises(ValueError, match="in a circle, got one at 'a'"):
        floors({"a": {"b"}, "b": {"c"}, "c": {"a"}})


def test_rooms_do_not_overlap_and_arrows_pass_beside_them():
    graph = rooms()
    place, _, width = layout(graph)
    half = {name: architecture.LETTER * len(name) / 2 for name in graph}
    for room in graph:
        x, y = place[room]
        assert half[room] < x < width - half[room]
        for name, (other, floor) in place.items():
            if name != room and floor == y:
                assert abs(x - other) > half[room] + half.get(name, 0), (room, name)


def test_picture_can_be_read_on_a_phone():
    """A phone is 390 pixels wide, and its column of text 350: letters stay at ten and more."""
    _, _, width = layout(rooms())
    assert 12 * 350 / width > 10


def test_page_tells_every_room_and_names_what_exists():
    page = (ROOT / "book/architecture.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`(\w+)`", page))
    graph = rooms()
    assert set(graph) <= told
    dotted = set(re.findall(r"`(\w+(?:\.\w+)+)`", page))
    names = {name for name in dotted if name.split(".")[0] in graph}
    assert len(names) > 10
    for name in names:
        room, *attributes = name.split(".")
        thing = importlib.import_module(f"rnnbook.{room}")
        for attribute in attributes:
            assert hasattr(thing, attribute), name
            thing = getattr(thing, attribute)
    for path in re.findall(r"`([\w/]+/(?:\w+\.\w+)?)`", page):
        place = ROOT / path
        assert (place.parent if re.search("NAME|SLUG", path) else place).exists(), path
