"""The first page's hero and cards, cut at build from the figures that the chapters stored."""

from __future__ import annotations

import re
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective

from .chapters import Chapter, chapter_of, stored_figure
from .figures import crop, pair

PAGE = "book/index"


class hero_part(nodes.General, nodes.Element):
    """One axes of a chapter's figure, with a caption under it."""


class chapter_cards(nodes.General, nodes.Element):
    """A card for each chapter."""


class HeroPart(SphinxDirective):
    """``{hero} notebooks/SLUG FIGURE AXES`` with the caption as its body and ``:alt:``."""

    required_arguments = 3
    has_content = True
    option_spec = {"alt": directives.unchanged_required}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        docname, figure, part = self.arguments
        part = hero_part(docname=docname, figure=figure, part=int(part), alt=self.options["alt"])
        self.state.nested_parse(self.content, self.content_offset, part)
        return [part]


class ChapterCards(SphinxDirective):
    """``{chapters}``: a card for each chapter, in reading order."""

    def run(self) -> list[nodes.Node]:
        return [chapter_cards()]


def picture(app: Sphinx, name: str, svg: str, part: int, alt: str) -> nodes.Element:
    """One axes of a figure, light and dark."""
    try:
        return pair(app, PAGE, crop(svg, part), name, alt)
    except ValueError as error:
        raise ExtensionError(f"{name}: {error}.") from None


def card(app: Sphinx, number: int, docname: str, chapter: Chapter) -> nodes.Element:
    """Picture, number, question, title and facts; the question is the link."""
    alt = f"A part of {chapter.figure}, a figure of this chapter"
    link = nodes.reference(
        "", chapter.question, refuri=app.builder.get_relative_uri(PAGE, docname), internal=True
    )
    words = nodes.container(
        "",
        nodes.paragraph("", str(number), classes=["number"]),
        nodes.paragraph("", "", link, classes=["question"]),
        nodes.paragraph("", chapter.title, classes=["title"]),
        nodes.paragraph("", chapter.facts, classes=["facts"]),
        classes=["words"],
    )
    shown = picture(app, f"card-{docname.rpartition('/')[2]}", chapter.svg, chapter.part, alt)
    return nodes.list_item("", shown, words)


class FillFirstPage(SphinxPostTransform):
    """Cut the figures, once all chapters are read."""

    formats = ("html",)
    default_priority = 880  # before figures get their counterparts

    def run(self) -> None:
        for part in list(self.document.findall(hero_part)):
            svg = stored_figure(self.app, part["docname"], part["figure"])
            shown = picture(self.app, f"hero-{part['part']}", svg, part["part"], part["alt"])
            part.parent.replace(part, nodes.container("", shown, *part.children, classes=["hero"]))
        for place in list(self.document.findall(chapter_cards)):
            names = [name for name in self.env.found_docs if name.startswith("notebooks/")]
            names.sort(key=lambda name: self.env.toc_secnumbers[name][""])
            cards = [
                card(self.app, number, name, chapter_of(self.app, name))
                for number, name in enumerate(names, 1)
            ]
            place.parent.replace(place, nodes.bullet_list("", *cards, classes=["chapters"]))


def finish(app: Sphinx, problem: Exception | None) -> None:
    """Fold the first page's sidebar, and name the book once in its title.

    The page has all links that the sidebar has, and is wide without it.
    """
    path, book = Path(app.outdir, f"{PAGE}.html"), app.config.html_title
    if problem is None and path.exists():
        page = path.read_text(encoding="utf-8")
        sidebar = 'class="bd-sidebar-primary'
        page = page.replace(sidebar, 'class="pst-sidebar-hidden bd-sidebar-primary', 1)
        page = re.sub(r"<title>.*?</title>", f"<title>{book}</title>", page, count=1, flags=re.S)
        path.write_text(page, encoding="utf-8")


def setup(app: Sphinx) -> None:
    app.add_directive("hero", HeroPart)
    app.add_directive("chapters", ChapterCards)
    app.add_node(hero_part)
    app.add_node(chapter_cards)
    app.add_post_transform(FillFirstPage)
    app.connect("build-finished", finish)
