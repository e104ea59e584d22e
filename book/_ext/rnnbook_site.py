"""What the site needs beyond settings.

No page for the texts that are read as notebooks, solutions that fold, references as a list, round
brackets around citations, equations of docstrings as they stand in the code, no source maps.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.writers.html5 import HTML5Translator
from sphinx_exercise.nodes import is_exercise_node, is_solution_node
from sphinxcontrib.bibtex.plugin import register_plugin
from sphinxcontrib.bibtex.style.referencing import BracketStyle
from sphinxcontrib.bibtex.style.referencing.author_year import AuthorYearReferenceStyle


def leave_out_texts(app: Sphinx, config: Config) -> None:
    """A chapter's page is made from its notebook.

    `only_build_toc_files` of Jupyter Book leaves out its text too, but takes the folder's own name
    for a pattern: in a clone under `book[1]` it finds nothing.
    """
    for text in Path(app.srcdir, "book").glob("*.md"):
        if Path(app.srcdir, "notebooks", f"{text.stem}.ipynb").exists():
            config.exclude_patterns.append(f"book/{text.name}")


class details(nodes.General, nodes.Element):
    """A block that is closed until the reader opens it."""


class summary(nodes.General, nodes.TextElement):
    """The visible line of a `details` block."""


def visit_details(self: HTML5Translator, node: details) -> None:
    self.body.append(self.starttag(node, "details"))


def depart_details(self: HTML5Translator, node: details) -> None:
    self.body.append("</details>\n")


def visit_summary(self: HTML5Translator, node: summary) -> None:
    self.body.append(self.starttag(node, "summary", "", CLASS="admonition-title"))


def depart_summary(self: HTML5Translator, node: summary) -> None:
    self.body.append("</summary>\n")


class FoldSolutions(SphinxPostTransform):
    """Turn every solution into <details>: closed without JavaScript, opened by click, key or link.

    sphinx-exercise gives the body of every exercise one id, and of every solution another; an id
    must be unique, so these go.
    """

    formats = ("html",)
    default_priority = 900  # after sphinx-exercise has numbered the titles

    def run(self) -> None:
        for exercise in list(self.document.findall(is_exercise_node)):
            exercise.children[-1]["ids"] = []
        for solution in list(self.document.findall(is_solution_node)):
            title, body = solution.children
            heading = summary()
            for part in title.children:  # without its link: a click on the summary opens it
                heading += part.children if isinstance(part, nodes.reference) else part
            fold = details("", heading, *body.children, ids=solution["ids"])
            fold["classes"] = ["admonition", "solution"]
            solution.parent.replace(solution, fold)


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


SECTIONS = ("Args:", "Attributes:", "Example:", "Raises:", "Returns:", "Source:")


def keep_equations(app: Sphinx, what, name, obj, options, lines: list[str]) -> None:
    """Print an indented block of a docstring as it is: it is an equation or a legend.

    Such a block follows a blank line; what belongs to a section such as ``Args:`` does not.
    """
    text, inside = [], False
    for line in lines:
        if line.startswith("    ") and not inside and text and not text[-1]:
            text += ["::", ""]
            inside = True
        elif line and not line.startswith(" "):
            inside = line in SECTIONS
        text.append(line)
    lines[:] = text


def drop_source_maps(app: Sphinx, problem: Exception | None) -> None:
    """Leave out what only the theme's own developers use: a third of the site's weight."""
    for path in Path(app.outdir, "_static").rglob("*.map"):
        path.unlink()


def setup(app: Sphinx) -> dict[str, bool]:
    register_plugin("sphinxcontrib.bibtex.style.referencing", "author_year_round", AuthorYearRound)
    app.connect("config-inited", leave_out_texts)
    app.add_node(details, html=(visit_details, depart_details))
    app.add_node(summary, html=(visit_summary, depart_summary))
    app.add_post_transform(FoldSolutions)
    app.add_post_transform(ListReferences)
    app.connect("autodoc-process-docstring", keep_equations, priority=100)  # before napoleon
    app.connect("build-finished", drop_source_maps)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
