"""References as a list without numbers, and round brackets around citations."""

from __future__ import annotations

from dataclasses import dataclass, field

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinxcontrib.bibtex.plugin import register_plugin
from sphinxcontrib.bibtex.style.referencing import BracketStyle
from sphinxcontrib.bibtex.style.referencing.author_year import AuthorYearReferenceStyle


class ListReferences(SphinxPostTransform):
    """Turn a bibliography into a list without numbers: the text cites by author and year."""

    formats = ("html",)
    default_priority = 900  # after sphinxcontrib-bibtex has resolved the citations

    def run(self) -> None:
        citations = list(self.document.findall(nodes.citation))
        for parent in {id(entry.parent): entry.parent for entry in citations}.values():
            entries = [
                nodes.list_item("", *entry.children[1:], ids=entry["ids"])
                for entry in parent.findall(nodes.citation)
            ]
            parent.children = []
            parent += nodes.bullet_list("", *entries, classes=["references"])


@dataclass
class AuthorYearRound(AuthorYearReferenceStyle):
    """(Hochreiter and Schmidhuber, 1997) and Hochreiter and Schmidhuber (1997)."""

    bracket_parenthetical: BracketStyle = field(default_factory=lambda: BracketStyle("(", ")"))
    bracket_textual: BracketStyle = field(default_factory=lambda: BracketStyle("(", ")"))


def setup(app: Sphinx) -> None:
    register_plugin("sphinxcontrib.bibtex.style.referencing", "author_year_round", AuthorYearRound)
    app.add_post_transform(ListReferences)
