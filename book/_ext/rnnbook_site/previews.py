"""What links to other pages point to, carried along in each page.

book.js shows an equation, a figure, a table, an exercise, a term or a source when the reader points
at a link to it. What stands on the same page it finds there; what stands on another is copied into
a <template> at the end of the article when the book is built, for a page that was opened from disk
may not read its neighbors.
"""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from urllib.parse import unquote

from bs4 import BeautifulSoup, Tag
from sphinx.application import Sphinx

# Which elements are shown, whole or in part: book.js has the same list.
SHOWN = "div.math, figure, table, div.exercise, dt, ul.references > li"


def article(path: Path) -> Tag:
    page = path.read_text(encoding="utf-8")
    text = re.search(r"<article.*</article>", page, re.S)
    return BeautifulSoup(text.group() if text else "", "html.parser")


def copy_of(target: Tag) -> str:
    """The HTML of what is shown, without anything that could be clicked or named twice."""
    shown = target.find_next_sibling("dd") if target.name == "dt" else target
    copied = BeautifulSoup(str(shown), "html.parser")
    for one in copied.select(".headerlink, details"):
        one.decompose()
    for one in copied.find_all(True):
        del one["id"]
        if one.name == "a":
            one.unwrap()
    return str(copied)


def carry(app: Sphinx, problem: Exception | None) -> None:
    """Put into each page what its links to other pages show."""
    if problem is not None:
        return
    paths = [Path(app.builder.get_outfilename(name)).resolve() for name in app.env.found_docs]
    articles = {path: article(path) for path in paths}
    shown = {
        (path, one["id"]): one
        for path in paths
        for one in articles[path].select(SHOWN)
        if one.get("id")
    }
    for path in paths:
        carried: dict[str, str] = {}
        for link in articles[path].select("a.internal[href*='.html#']"):
            place, _, anchor = unquote(link["href"]).partition("#")
            target = shown.get(((path.parent / place).resolve(), anchor))
            if target is not None:
                carried.setdefault(link["href"], copy_of(target))
        pieces = [f'<div data-for="{escape(href)}">{html}</div>' for href, html in carried.items()]
        if pieces:
            template = f'<template id="previews">{"".join(pieces)}</template></article>'
            page = path.read_text(encoding="utf-8").replace("</article>", template, 1)
            path.write_text(page, encoding="utf-8")


def setup(app: Sphinx) -> None:
    app.connect("build-finished", carry)
