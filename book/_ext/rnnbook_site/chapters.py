"""The chapters as the site sees them: their notebooks, and what these say of themselves."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ExtensionError

MINUTES = re.compile(r"\*\*Reading\*\* takes about (\d+) minutes")


@dataclass(frozen=True)
class Chapter:
    """A chapter's facts: from its head, its goals boxes, its stored run and its stored figure."""

    title: str
    question: str  # what it answers, for its card
    figure: str  # the name of the figure that its card is cut from
    part: int  # which axes of that figure
    minutes: int  # to read, all its goals boxes together
    seconds: int  # to run
    memory_gb: float  # at most, while it runs
    svg: str  # the figure

    @property
    def facts(self) -> str:
        return f"{self.minutes} min to read · runs in {self.seconds} s"


def read(path: Path) -> Chapter:
    """The facts of a stored notebook.

    Raises:
        ValueError: naming what is missing.
    """
    notebook = json.loads(path.read_text(encoding="utf-8"))
    about = notebook["metadata"]
    prose = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "markdown"]
    card, run = about.get("card", {}), about.get("rnnbook", {})
    minutes = [int(number) for text in prose for number in MINUTES.findall(text)]
    for what, there in {
        "`card:` in its head, with a question and a figure": {"question", "figure"} <= set(card),
        "`**Reading** takes about N minutes` in its goals": minutes,
        "stored run: `make notebooks` makes one": {"seconds", "peak_mb"} <= set(run),
        f"stored figure {card.get('figure')!r} in SVG": figure(notebook, card.get("figure")),
    }.items():
        if not there:
            raise ValueError(f"{path.name} has no {what}")
    return Chapter(
        title=re.search(r"^# (.*)", "\n".join(prose), re.M)[1],
        question=card["question"],
        figure=card["figure"],
        part=card.get("axes", 1),
        minutes=sum(minutes),
        seconds=run["seconds"],
        memory_gb=run["peak_mb"] / 1000,
        svg=figure(notebook, card["figure"]),
    )


def figure(notebook: dict, name: str | None) -> str | None:
    """The SVG of the figure called ``name``, or None."""
    for cell in notebook["cells"]:
        if cell["metadata"].get("mystnb", {}).get("figure", {}).get("name") == name:
            for output in cell.get("outputs", []):
                if found := output.get("data", {}).get("image/svg+xml"):
                    return "".join(found)
    return None


def chapter_of(app: Sphinx, docname: str) -> Chapter:
    """As ``read``, for a page; what is missing fails the build."""
    try:
        return read(Path(app.srcdir, f"{docname}.ipynb"))
    except ValueError as error:
        raise ExtensionError(f"{error}.") from None


def stored_figure(app: Sphinx, docname: str, name: str) -> str:
    """The SVG of a chapter's figure; one that is missing fails the build."""
    path = Path(app.srcdir, f"{docname}.ipynb")
    svg = figure(json.loads(path.read_text(encoding="utf-8")), name)
    if svg is None:
        raise ExtensionError(f"{path.name} has no stored figure {name!r} in SVG.")
    return svg


def leave_out_texts(app: Sphinx, config: Config) -> None:
    """A chapter's page is made from its notebook.

    `only_build_toc_files` of Jupyter Book leaves out its text too, but takes the folder's own name
    for a pattern: in a clone under `book[1]` it finds nothing.
    """
    for text in Path(app.srcdir, "book").glob("*.md"):
        if Path(app.srcdir, "notebooks", f"{text.stem}.ipynb").exists():
            config.exclude_patterns.append(f"book/{text.name}")


def state_facts(app: Sphinx, document: nodes.document) -> None:
    """Put the line of facts under a chapter's title."""
    docname = app.env.docname
    if docname.startswith("notebooks/"):
        chapter = chapter_of(app, docname)
        facts = f"{chapter.facts} with {chapter.memory_gb:.1f} GB on one core, no GPU"
        title = next(document.findall(nodes.title))
        title.parent.insert(1, nodes.paragraph("", facts, classes=["facts"]))


def setup(app: Sphinx) -> None:
    app.connect("config-inited", leave_out_texts)
    app.connect("doctree-read", state_facts)
