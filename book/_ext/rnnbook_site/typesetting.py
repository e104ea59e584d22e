"""A comma stays with the formula before it, and a bracket with the one behind it."""

from __future__ import annotations

import re

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

CLOSING = re.compile(r"^[^\s\w(\[—–-]+|^-\w+")  # , . ; : ) ’s, and the rest of "k-th"
OPENING = re.compile(r"[(\[“‘]+$")
LONGEST_CODE = 20  # characters; longer names may break at the end of a line


def keeps(node: nodes.Node) -> bool:
    """Whether ``node`` is a formula or a short piece of code within a line."""
    short = isinstance(node, nodes.literal) and len(node.astext()) <= LONGEST_CODE
    return isinstance(node, nodes.math) or short


class KeepTogether(SphinxPostTransform):
    """Wrap a formula and the punctuation that touches it, so that no line breaks between them."""

    formats = ("html",)
    default_priority = 890

    def run(self) -> None:
        for node in [one for one in self.document.findall() if keeps(one)]:
            parent = node.parent
            place = parent.index(node)
            before, after = OPENING, CLOSING
            parts: list[nodes.Node] = [node]
            if place + 1 < len(parent.children):
                parts += split(parent, place + 1, after, keep_end=True)
            if place > 0:
                parts = split(parent, place - 1, before, keep_end=False) + parts
            if len(parts) > 1:
                together = nodes.inline("", "", classes=["together"])
                parent.replace(node, together)
                together += parts


def split(parent: nodes.Element, place: int, mark: re.Pattern[str], *, keep_end: bool) -> list:
    """Cut from the text at ``place`` what ``mark`` matches, and return it as a text of its own."""
    text = parent.children[place]
    found = mark.search(str(text)) if isinstance(text, nodes.Text) else None
    if found is None:
        return []
    rest = str(text)[found.end() :] if keep_end else str(text)[: found.start()]
    parent[place] = nodes.Text(rest)  # by place: the same words may stand elsewhere in the line
    return [nodes.Text(found.group())]


def setup(app: Sphinx) -> None:
    app.add_post_transform(KeepTogether)
