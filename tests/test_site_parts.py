"""The parts that the site is made with (book/_ext/rnnbook_site), one by one, without a build."""

from __future__ import annotations

import itertools
import json
import re
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from optional import optional

plots = optional("rnnbook.plots")
for package in ("sphinx_exercise", "bs4", "matplotlib"):
    pytest.importorskip(package, reason="the site is made with Sphinx from figures of matplotlib")

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "book" / "_ext"))

from docutils import nodes  # noqa: E402
from matplotlib import pyplot as plt  # noqa: E402
from rnnbook_site import chapters, figures, first_page, folds, previews, typesetting  # noqa: E402

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SVG = "{http://www.w3.org/2000/svg}"


def stored_figures():
    for path in NOTEBOOKS:
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            name = cell["metadata"].get("mystnb", {}).get("figure", {}).get("name")
            for output in cell.get("outputs", []):
                for kind, data in output.get("data", {}).items():
                    if kind.startswith("image/"):
                        yield pytest.param(name, kind, "".join(data), id=name)
    for path in sorted((ROOT / "book" / "images").glob("*.svg")):
        yield pytest.param(path.stem, "image/svg+xml", path.read_text("utf-8"), id=path.stem)


def drawn(tmp_path: Path, draw, **size) -> str:
    """What matplotlib makes of a figure in the book's style."""
    with plots.mpl.rc_context():
        plots.use_book_style()
        figure, axes = plt.subplots(**size)
        draw(figure, axes)
        figure.savefig(tmp_path / "figure.svg", metadata={"Date": None, "Creator": None})
        plt.close(figure)
    return (tmp_path / "figure.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "kind", "data"), stored_figures())
def test_figures_are_svg_in_listed_colors_and_readable(name, kind, data):
    assert kind == "image/svg+xml"
    assert not figures.unlisted(data)
    natural, _ = figures.size(data)
    assert figures.least_width(data) <= min(natural, 800), "its words are too small"
    assert "dc:date" not in data


def contrast(one: str, other: str) -> float:
    """Of WCAG 2.1: (lighter + 0.05) / (darker + 0.05) of the relative luminances."""

    def luminance(color: str) -> float:
        levels = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def test_dark_counterparts_stand_out_and_stay_apart():
    ground = figures.DARK[plots.PAPER]
    lines = [plots.BLUE, plots.ORANGE, plots.GREEN, plots.VERMILION, plots.PURPLE, plots.SKY]
    for color in [*lines, plots.BLACK]:
        assert contrast(figures.DARK[color], ground) > 4.5
    for fill in plots.ROLES.values():
        assert contrast(figures.DARK[plots.BLACK], figures.DARK[fill]) > 4.5
    levels = {c: np.array([int(figures.DARK[c][i : i + 2], 16) for i in (1, 3, 5)]) for c in lines}
    for one, other in itertools.combinations(lines, 2):
        assert np.abs(levels[one] - levels[other]).max() > 40, (one, other)


def test_an_unlisted_color_is_named(tmp_path):
    svg = drawn(tmp_path, lambda figure, axes: axes.plot([0, 1], color="#123456"))
    with pytest.raises(ValueError, match="#123456"):
        figures.darkened(svg)


@pytest.mark.parametrize(
    "paint",
    [
        'fill="red"',
        'style="fill:red"',
        'stroke="#fff"',
        'style="fill: rgb(0 0 0)"',
        "fill='#12345678'",
    ],
)
def test_a_color_is_found_however_it_is_written(paint):
    svg = f'<svg xmlns="http://www.w3.org/2000/svg"><g fill="none"><path {paint}/></g></svg>'
    (found,) = figures.unlisted(svg)
    assert found in paint


def test_black_is_found_though_matplotlib_does_not_write_it(tmp_path):
    for draw in (
        lambda figure, axes: axes.set_title("words", color="black"),
        lambda figure, axes: axes.bar([0, 1], [1, 2], color="black"),
    ):
        assert figures.unlisted(drawn(tmp_path, draw)) == {"black, unsaid"}
    crosses = drawn(tmp_path, lambda figure, axes: axes.plot([0, 1], marker="x"))
    assert not figures.unlisted(crosses)  # a cross has no area that could be black


def test_darkening_swaps_the_colors_and_nothing_else(tmp_path):
    svg = drawn(tmp_path, lambda figure, axes: axes.plot([0, 1], color=plots.BLUE))
    dark = figures.darkened(svg)
    assert plots.BLUE.lower() not in dark
    assert figures.DARK[plots.BLUE] in dark
    assert figures.COLOR.sub("", dark) == figures.COLOR.sub("", svg)


def test_the_ground_is_transparent_and_white_marks_are_not(tmp_path):
    def draw(figure, axes):
        axes.plot([0, 1], marker="o", markerfacecolor=plots.PAPER)

    svg = drawn(tmp_path, draw)
    bare = figures.transparent(svg)
    assert svg.count("fill: #ffffff") - bare.count("fill: #ffffff") == 2  # figure, axes
    assert "fill: #ffffff" in bare


@pytest.mark.parametrize("points", [6, 8, 10])
def test_least_width_is_where_the_smallest_words_have_nine_pixels(tmp_path, points):
    def draw(figure, axes):
        axes.set_xlabel("words", fontsize=points)
        axes.set_title("$a_{b_c}$", fontsize=12)  # the subscripts are smaller, and do not count

    svg = drawn(tmp_path, draw, figsize=(7, 3))
    natural, _ = figures.size(svg)
    assert natural == pytest.approx(7 * 96)
    at_least = figures.least_width(svg)
    assert at_least == pytest.approx(min(natural, natural * 9 / (points * 4 / 3)), rel=0.01)


def test_a_crop_keeps_one_axes_and_no_words(tmp_path):
    def draw(figure, axes):
        for ax, color in zip(axes, (plots.BLUE, plots.GREEN), strict=True):
            ax.plot([0, 1, 0], color=color, label="a line")
            ax.set(title="words", xlabel="more words")
            ax.legend()

    svg = drawn(tmp_path, draw, ncols=2)
    second = figures.crop(svg, 2)
    assert plots.GREEN.lower() in second
    assert plots.BLUE.lower() not in second
    root = ET.fromstring(second)
    kinds = {re.sub(r"_\d+$", "", one.get("id", "")) for one in root.iter(f"{SVG}g")}
    assert not kinds & {"text", "legend", "matplotlib.axis", "xtick"}
    used = {use.get(f"{{{figures.XLINK}}}href") for use in root.iter(f"{SVG}use")}
    assert used <= {f"#{one.get('id')}" for one in root.iter()}, "a marker lost its shape"
    assert used
    whole, part = (ET.fromstring(one).get("viewBox").split() for one in (svg, second))
    assert 0.2 < float(part[2]) / float(whole[2]) < 0.6
    with pytest.raises(ValueError, match="no axes 3"):
        figures.crop(svg, 3)


def test_a_crop_draws_no_marker_that_it_only_keeps_for_others(tmp_path):
    def draw(figure, axes):
        for ax in axes:  # the second uses the marker that the first defined
            ax.plot([0, 1, 0], color=plots.BLUE, marker="o")

    root = ET.fromstring(figures.crop(drawn(tmp_path, draw, ncols=2), 2))
    assert {one.tag.removeprefix(SVG) for one in root} == {"defs", "g"}
    assert len(list(root.iter(f"{SVG}use"))) == 3


def test_assertions_are_counted_where_there_is_nothing_else():
    assert folds.assertions("assert a\n# why\nassert b, 'because'") == 2
    assert folds.assertions("x = 1\nassert x") == 0
    assert folds.assertions("%matplotlib inline") == 0
    assert folds.assertions("") == 0


def together(*parts: nodes.Node) -> tuple[str, list[str]]:
    """A line as ``KeepTogether`` leaves it, and the pieces of it that no end of a line parts."""
    line = nodes.paragraph("", "", *parts)
    document = nodes.document(None, None)
    document += line
    transform = typesetting.KeepTogether.__new__(typesetting.KeepTogether)
    transform.document = document
    transform.run()
    return line.astext(), [
        one.astext() for one in line.findall(nodes.inline) if "together" in one["classes"]
    ]


def test_punctuation_stays_with_its_formula():
    long = nodes.literal("", "a" * 21)
    parts = nodes.Text("see ("), nodes.math("", "x"), nodes.Text("), then "), long
    line, kept = together(*parts, nodes.Text(", and"))
    assert kept == ["(x),"]
    assert line == f"see (x), then {long.astext()}, and"


def test_punctuation_is_taken_from_beside_its_formula_where_the_same_words_stand_twice():
    parts = nodes.strong("", "S"), nodes.Text(", ("), nodes.math("", "a"), nodes.Text(", (")
    assert together(*parts, nodes.math("", "b")) == ("S, (a, (b", ["(a,", "(b"])


def notebook(tmp_path, **changes) -> Path:
    """A chapter as `chapters.read` wants it, and what ``changes`` replaces in it."""
    prose = "# A title\n\n**Reading** takes about 20 minutes"
    parts = {
        "prose": prose,
        "card": {"question": "Why?", "figure": "fig-a"},
        "run": {"seconds": 12, "peak_mb": 340},
        "output": {"image/svg+xml": "<svg/>"},
    } | changes
    figure = {"cell_type": "code", "source": "", "outputs": [{"data": parts["output"]}]}
    figure["metadata"] = {"mystnb": {"figure": {"name": "fig-a"}}}
    cells = [{"cell_type": "markdown", "metadata": {}, "source": parts["prose"]}, figure]
    about = {"card": parts["card"], "rnnbook": parts["run"]}
    path = tmp_path / "chapter.ipynb"
    path.write_text(json.dumps({"cells": cells, "metadata": about}), encoding="utf-8")
    return path


def test_a_chapter_states_its_facts(tmp_path):
    chapter = chapters.read(notebook(tmp_path))
    assert (chapter.title, chapter.facts) == ("A title", "20 min to read · runs in 12 s")
    two = "# A title\n\n**Reading** takes about 20 minutes. **Reading** takes about 15 minutes"
    assert chapters.read(notebook(tmp_path, prose=two)).minutes == 35


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"card": {}}, "`card:` in its head"),
        ({"card": {"question": "Why?"}}, "`card:` in its head"),
        ({"prose": "# A title"}, r"takes about N minutes"),
        ({"run": {}}, "stored run"),
        ({"output": {"image/png": "iVBO"}}, "figure 'fig-a' in SVG"),
    ],
)
def test_a_missing_fact_is_named(tmp_path, changes, said):
    with pytest.raises(ValueError, match=f"chapter.ipynb has no .*{said}"):
        chapters.read(notebook(tmp_path, **changes))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_reading_takes_as_long_as_the_words(path):
    """At 60 to 200 words a minute: prose without solutions, and code, figures, exercises beside."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    prose, inside = "", False
    for cell in cells:
        text = "".join(cell["source"])
        inside = (inside or "{solution-start}" in text) and "{solution-end}" not in text
        if cell["cell_type"] == "markdown" and not inside:
            prose += text
    words = len(re.findall(r"[A-Za-z]{2,}", prose))
    assert 60 < words / chapters.read(path).minutes < 200


def test_a_preview_has_no_links_no_names_and_no_solution():
    soup = previews.BeautifulSoup(
        '<div id="a"><dt id="b">term</dt><dd id="c">what <a href="x">it</a> is<details>no</details>'
        '<a class="headerlink" href="#b">#</a></dd></div>',
        "html.parser",
    )
    assert previews.copy_of(soup.dt) == "<dd>what it is</dd>"


def test_a_page_shows_the_same_kinds_of_things_as_are_carried_to_it():
    script = (ROOT / "book/_static/book.js").read_text(encoding="utf-8")
    assert f'const SHOWN = "{previews.SHOWN}";' in script


def test_first_page_comes_before_the_figures_are_drawn_twice():
    assert first_page.FillFirstPage.default_priority < figures.DrawTwice.default_priority
