"""Draw the house from its imports into book/images/house.svg: python -m tools.architecture

A room is what lies directly in rnnbook, a folder or a file. An arrow says that something in a room
imports something of another. A room stands one floor above the highest that it imports, so all
arrows run down; arrows that others imply (a -> c, where a -> b -> c) are left out.
"""

import ast
from itertools import pairwise
from pathlib import Path

from rnnbook.reach import imports

ROOT = Path(__file__).resolve().parent.parent
PICTURE = Path("book/images/house.svg")
LETTER, PAD, GAP, HEIGHT, FLOOR, MARGIN = 7.0, 9.0, 9.0, 26.0, 70.0, 4.0
STYLE = (  # in colors of rnnbook.plots, which have counterparts on dark pages
    "text{font:12px ui-monospace,Menlo,Consolas,monospace;text-anchor:middle;fill:#222222}"
    "rect{stroke:#222222;rx:5}.folder{fill:#D6ECFA;stroke-width:1.6}.file{fill:#F2F2F2}"
    ".paper{fill:#FFFFFF;stroke:none}path{fill:none;stroke:#222222}"
    "marker path{fill:#222222;stroke:none}"
)

Graph = dict[str, set[str]]


def rooms(root: Path = ROOT) -> Graph:
    """Each room of rnnbook and the rooms that it imports from, anywhere in its files."""
    house = root / "rnnbook"
    found: Graph = {}
    for path in sorted(house.rglob("*.py")):
        inside = path.relative_to(house).with_suffix("").parts
        if inside == ("__init__",):
            continue
        needed = found.setdefault(inside[0], set())
        package = ".".join(("rnnbook", *inside[:-1]))
        for module, name, _ in imports(ast.parse(path.read_text(encoding="utf-8")), package):
            top, *below = [*module.split("."), *([name] if name else [])]
            if top == "rnnbook" and below and below[0] != inside[0]:
                needed.add(below[0])
    return {room: {other for other in needed if other in found} for room, needed in found.items()}


def below(graph: Graph, room: str) -> set[str]:
    """All that a room depends on, directly or not."""
    seen: set[str] = set()
    waiting = [*graph[room]]
    while waiting:
        if (other := waiting.pop()) not in seen:
            seen.add(other)
            waiting += graph[other]
    return seen


def floors(graph: Graph) -> dict[str, int]:
    """The floor of each room, 0 for those that import no other.

    Raises:
        ValueError: where rooms import one another in a circle.
    """
    for room in graph:
        if room in below(graph, room):
            raise ValueError(f"rooms must not import one another in a circle, got one at {room!r}.")
    level: dict[str, int] = {}
    for room in sorted(graph, key=lambda room: len(below(graph, room))):
        level[room] = max((level[other] + 1 for other in graph[room]), default=0)
    return level


def reduced(graph: Graph) -> Graph:
    """The graph without the arrows that others imply."""
    return {
        room: {o for o in needed if not any(o in below(graph, via) for via in needed - {o})}
        for room, needed in graph.items()
    }


def layout(graph: Graph) -> tuple[dict[str, tuple[float, float]], list[list[str]], float]:
    """Where each room stands, the points that each arrow passes, and the picture's width.

    An arrow that runs down several floors gets a place of its own on each (a name with " > "), so
    that it passes beside the rooms. Each floor is then sorted by the mean place of its neighbors.
    """
    level = floors(graph)
    top = max(level.values())
    rows: list[list[str]] = [sorted(r for r in graph if level[r] == f) for f in range(top + 1)]
    paths = []
    for room in sorted(graph):
        for other in sorted(reduced(graph)[room]):
            between = range(level[room] - 1, level[other], -1)
            paths.append([room, *(f"{room} > {other} {floor}" for floor in between), other])
            for floor, name in zip(between, paths[-1][1:-1], strict=True):
                rows[floor].append(name)
    neighbors: dict[str, list[str]] = {name: [] for row in rows for name in row}
    for a, b in (pair for path in paths for pair in pairwise(path)):
        neighbors[a].append(b)
        neighbors[b].append(a)

    def wide(name: str) -> float:
        return GAP / 2 if " > " in name else LETTER * len(name) + PAD

    width = max(sum(map(wide, row)) + GAP * (len(row) - 1) for row in rows) + 2 * MARGIN
    place: dict[str, tuple[float, float]] = {}
    for sweep in range(24):
        for floor, row in enumerate(rows):
            if sweep:
                row.sort(
                    key=lambda name: (
                        sum(place[n][0] for n in neighbors[name]) / max(len(neighbors[name]), 1)
                    )
                )
            free = (width - 2 * MARGIN - sum(map(wide, row))) / (len(row) + 1)
            x = MARGIN + free
            for name in row:
                place[name] = x + wide(name) / 2, MARGIN + HEIGHT / 2 + FLOOR * (top - floor)
                x += wide(name) + free
    return place, paths, width


def draw(root: Path = ROOT) -> str:
    """The picture as SVG, the same for the same imports."""
    graph = rooms(root)
    place, paths, width = layout(graph)
    height = max(y for _, y in place.values()) + HEIGHT / 2 + MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}">',
        f"<style>{STYLE}</style>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z"/></marker></defs>',
        '<rect class="paper" width="100%" height="100%"/>',
    ]
    for path in paths:
        points = [place[name] for name in path]
        curve = f"M{points[0][0]:.1f} {points[0][1] + HEIGHT / 2:.1f}"
        for (x0, y0), (x1, y1) in pairwise(points):
            start, end = y0 + HEIGHT / 2, y1 - HEIGHT / 2
            middle = (start + end) / 2
            curve += f"C{x0:.1f} {middle:.1f} {x1:.1f} {middle:.1f} {x1:.1f} {end:.1f}"
            if (x1, y1) != points[-1]:
                curve += f"V{y1 + HEIGHT / 2:.1f}"  # straight down between the rooms of a floor
        lines.append(f'<path d="{curve}" marker-end="url(#tip)"/>')
    for room in sorted(graph):
        (x, y), size = place[room], LETTER * len(room) + PAD
        kind = "folder" if (root / "rnnbook" / room).is_dir() else "file"
        lines.append(
            f'<rect class="{kind}" x="{x - size / 2:.1f}" y="{y - HEIGHT / 2:.1f}" '
            f'width="{size:.1f}" height="{HEIGHT:.0f}"/>'
            f'<text x="{x:.1f}" y="{y + 4:.1f}">{room}</text>'
        )
    return "\n".join([*lines, "</svg>\n"])


if __name__ == "__main__":
    (ROOT / PICTURE).write_text(draw(), encoding="utf-8")
