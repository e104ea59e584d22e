"""Every figure twice: in its own colors for a light page, in others for a dark one.

A figure is stored once, as SVG in the colors of rnnbook.plots. Here each of these colors has its
counterpart on dark pages; a figure with any other color fails the build. The wrapper around the
two pictures knows how small they may be drawn before their words cannot be read.
"""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ET
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.writers.html5 import HTML5Translator

from rnnbook import plots

DARK = {
    plots.PAPER: "#121212",  # the page
    plots.GRID: "#3A3A3A",
    plots.BLACK: "#E4E4E4",
    plots.CHALK: plots.CHALK,
    plots.BLUE: "#4FA8E8",
    plots.ORANGE: "#F0B429",
    plots.GREEN: "#2FC29A",
    plots.VERMILION: "#FF8A4C",
    plots.PURPLE: "#E3A3C6",
    plots.SKY: "#A9DDF8",
    plots.YELLOW: "#F7EC6E",
    plots.ROLES["input"]: "#123C57",
    plots.ROLES["state"]: "#0F4A3A",
    plots.ROLES["gate"]: "#5A430B",
    plots.ROLES["output"]: "#57304A",
    plots.ROLES["loss"]: "#64301A",
    plots.ROLES["plain"]: "#2E2E2E",
}
_warm = plots.ramp(DARK[plots.PURPLE], DARK[plots.VERMILION], 5)
_ramp = plots.ramp(DARK[plots.BLUE], DARK[plots.PURPLE], 5) + _warm[1:]
DARK |= dict(zip(plots.RAMP, _ramp, strict=True))

# What SVG paints with, as attribute or as style, whichever way it is written: `red`, `rgb(0 0 0)`.
PAINT = re.compile(
    r"(?<![\w-])(?:fill|stroke|(?:stop-|flood-|lighting-)?color)(?:\s*:|=[\"'])\s*([^;\"'}>]+)"
)
COLOR = re.compile(r"#[0-9A-Fa-f]{6}\b")
NO_COLOR = re.compile(r"none|inherit|url\(.*\)")
SMALLEST = 9.0  # pixels: the smallest that a figure's words may become on a narrow screen
PIXELS = 4 / 3  # of CSS in one point
SVG = "{http://www.w3.org/2000/svg}"
XLINK = "http://www.w3.org/1999/xlink"
ET.register_namespace("", SVG.strip("{}"))
ET.register_namespace("xlink", XLINK)
GROUND = re.compile(
    r'(<g id="(?:figure_1|axes_\d+)">\s*<g id="patch_\d+">\s*<path d="[^"]*" style=")fill: #ffffff'
)


def unlisted(svg: str) -> set[str]:
    """The colors of ``svg`` that have no counterpart on dark pages."""
    paints = {paint.strip() for paint in PAINT.findall(svg)} | set(COLOR.findall(svg))
    others = {one for one in paints if one.upper() not in DARK and not NO_COLOR.fullmatch(one)}
    return others | ({"black, unsaid"} if left_black(svg) else set())


def left_black(svg: str) -> bool:
    """Whether anything has no color of its own: it is black, which matplotlib does not write."""
    root = ET.fromstring(svg)
    if any("fill" in (style.text or "") for style in root.iter(f"{SVG}style")):
        return False  # colors by class, as in a picture not of matplotlib's
    named = {one.get("id"): one for one in root.iter() if one.get("id")}

    def filled(one: ET.Element) -> bool:
        said = re.search(r"fill:|fill-opacity: 0(?!\.)", one.get("style", ""))  # a hollow marker
        return said is not None or one.get("fill") is not None

    def has_area(one: ET.Element) -> bool:
        """A line from here to there has none."""
        parts = one.get("d", "").split("M")
        return one.tag != f"{SVG}path" or any(len(re.findall(r"-?[\d.]+", p)) > 4 for p in parts)

    def black(one: ET.Element) -> bool:
        if one.tag in {f"{SVG}{name}" for name in ("defs", "clipPath", "metadata")} or filled(one):
            return False
        if one.tag == f"{SVG}use":
            shape = named[one.get(f"{{{XLINK}}}href", "#")[1:]]
            return not filled(shape) and has_area(shape)
        shapes = {
            f"{SVG}{name}" for name in ("path", "rect", "circle", "ellipse", "polygon", "text")
        }
        return (one.tag in shapes and has_area(one)) or any(black(child) for child in one)

    return black(root)


def darkened(svg: str) -> str:
    """The same figure in the colors of a dark page.

    Raises:
        ValueError: for a color that is not one of rnnbook.plots.
    """
    if others := unlisted(svg):
        raise ValueError(f"the colors {sorted(others)} are not among those of rnnbook.plots")
    return COLOR.sub(lambda color: DARK.get(color.group().upper(), color.group()), svg)


def size(svg: str) -> tuple[float, float]:
    """Width and height in CSS pixels."""
    root = ET.fromstring(svg)
    _, _, width, height = map(float, root.get("viewBox", "").split())
    points = root.get("width", "").endswith("pt")
    return (width * PIXELS, height * PIXELS) if points else (width, height)


def transparent(svg: str) -> str:
    """The figure without the white behind it and behind its axes: the page is seen there."""
    return GROUND.sub(r"\1fill: none", svg)


def least_width(svg: str) -> float:
    """The width in pixels at which the smallest words of a figure are ``SMALLEST`` pixels high.

    Matplotlib draws letters of 100 units, scaled down to the size of their font in points; what a
    subscript is scaled down further does not count. Pictures with letters of the browser's own
    stay as large as they are.
    """
    natural, _ = size(svg)
    scales = re.findall(r"scale\((0\.\d+) -0\.\d+\)", svg)
    if not scales:
        return natural if "<text" in svg else 0.0
    return min(natural, natural * SMALLEST / (100 * min(map(float, scales)) * PIXELS))


def crop(svg: str, part: int) -> str:
    """What is drawn in one axes of a figure, without words, ticks and legend.

    Args:
        svg: a figure as matplotlib writes it.
        part: the number of the axes, from 1, in the order in which they were made.

    Raises:
        ValueError: where the figure has no such axes, or these have no frame.
    """
    root = ET.fromstring(svg)
    figure = root.find(f"{SVG}g[@id='figure_1']")
    axes = figure.find(f"{SVG}g[@id='axes_{part}']") if figure is not None else None
    frame = axes.find(f"{SVG}g/{SVG}path") if axes is not None else None
    if frame is None or plots.PAPER.lower() not in frame.get("style", ""):
        raise ValueError(f"the figure has no axes {part} with a frame")
    dropped = [(figure, child) for child in figure if child is not axes]
    wordy = re.compile(r"text_|matplotlib\.axis_|legend_")
    dropped += [(axes, child) for child in axes if wordy.match(child.get("id", ""))]
    for parent, child in dropped:
        parent.remove(child)
    used = {use.get(f"{{{XLINK}}}href", "")[1:] for use in axes.iter(f"{SVG}use")}
    kept = ET.SubElement(root, f"{SVG}defs")
    for _, child in dropped:  # a marker is defined where it is first used
        shapes = [one for defs in child.iter(f"{SVG}defs") for one in defs]
        kept.extend(one for one in shapes if one.get("id") in used)
    for drawn in root.iter():
        if drawn.tag in {f"{SVG}path", f"{SVG}use"}:
            drawn.set("vector-effect", "non-scaling-stroke")
    numbers = [float(number) for number in re.findall(r"-?\d+\.?\d*", frame.get("d", ""))]
    left, right = min(numbers[0::2]), max(numbers[0::2])
    top, bottom = min(numbers[1::2]), max(numbers[1::2])
    margin = 0.02 * (right - left)
    box = (left - margin, top - margin, right - left + 2 * margin, bottom - top + 2 * margin)
    root.set("viewBox", " ".join(f"{number:.2f}" for number in box))
    for name in ("width", "height"):
        root.attrib.pop(name, None)
    metadata = root.find(f"{SVG}metadata")
    if metadata is not None:
        root.remove(metadata)
    return ET.tostring(root, encoding="unicode")


class drawing(nodes.General, nodes.Element):
    """A figure's two pictures; ``least`` and ``natural`` widths, and its ratio."""


def visit_drawing(self: HTML5Translator, node: drawing) -> None:
    style = "; ".join(f"--{name}: {node[name]}" for name in ("least", "natural", "ratio"))
    self.body.append(self.starttag(node, "div", CLASS="drawing", style=style))


def depart_drawing(self: HTML5Translator, node: drawing) -> None:
    self.body.append("</div>\n")


def stored(app: Sphinx, name: str, svg: str) -> str:
    """Write a picture for the site and return its path as Sphinx wants it, seen from the source."""
    path = Path(app.doctreedir, "figures", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(svg, encoding="utf-8")
    return Path(os.path.relpath(path, app.srcdir)).as_posix()


def pair(app: Sphinx, docname: str, svg: str, stem: str, alt: str) -> drawing:
    """A picture and its dark counterpart in one wrapper.

    Raises:
        ValueError: for a color that is not one of rnnbook.plots.
    """
    bare = transparent(svg)
    light = stored(app, f"{stem}.svg", bare)
    dark = stored(app, f"{stem}-dark.svg", darkened(bare))
    width, height = size(svg)
    both = drawing(
        "",
        least=f"{least_width(svg):.0f}px",
        natural=f"{width:.0f}px",
        ratio=f"{width:.0f} / {height:.0f}",
    )
    for path, theme in ((light, "for-light"), (dark, "for-dark")):
        app.env.images.add_file(docname, path)
        image = nodes.image(uri=path, candidates={"*": path}, alt=alt, classes=[theme])
        if theme == "for-dark":
            image["loading"] = "lazy"  # not before it is seen; paper takes the light one
        both += image
    return both


class DrawTwice(SphinxPostTransform):
    """Put beside each SVG its counterpart for dark pages."""

    formats = ("html",)
    default_priority = 900

    def run(self) -> None:
        for image in list(self.document.findall(nodes.image)):
            if not image["uri"].endswith(".svg") or isinstance(image.parent, drawing):
                continue
            path, alt = Path(self.app.srcdir, image["uri"]), image.get("alt", "")
            svg = path.read_text(encoding="utf-8")
            try:
                both = pair(self.app, self.env.docname, svg, path.stem, alt)
                image.parent.replace(image, both)
            except ValueError as error:
                raise ExtensionError(f"{self.env.docname}: {alt[:60]!r}: {error}.") from None


def setup(app: Sphinx) -> None:
    app.add_node(drawing, html=(visit_drawing, depart_drawing))
    app.add_post_transform(DrawTwice)
