"""Blocks that are closed until the reader opens them: solutions, hints and proofs.

They are <details>: closed without JavaScript, opened by click, key or link.
"""

from __future__ import annotations

import ast

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.writers.html5 import HTML5Translator
from sphinx_exercise.nodes import is_exercise_node, is_solution_node


class details(nodes.General, nodes.Element):
    """A block that is closed until the reader opens it."""


class summary(nodes.General, nodes.TextElement):
    """The visible line of a `details` block."""


def visit_details(self: HTML5Translator, node: details) -> None:
    self.body.append(self.starttag(node, "details"))


def depart_details(self: HTML5Translator, node: details) -> None:
    self.body.append("</details>\n")


def visit_summary(self: HTML5Translator, node: summary) -> None:
    self.body.append(self.starttag(node, "summary", ""))


def depart_summary(self: HTML5Translator, node: summary) -> None:
    self.body.append("</summary>\n")


def box(kind: str, title: list[nodes.Node], body: list[nodes.Node], ids: list[str]) -> details:
    """A fold that looks like the theme's boxes."""
    heading = summary("", "", *title, classes=["admonition-title"])
    return details("", heading, *body, ids=ids, classes=["admonition", kind])


class FoldSolutions(SphinxPostTransform):
    """Fold every solution and every hint.

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
            heading: list[nodes.Node] = []
            for part in title.children:  # without its link: a click on the summary opens it
                heading += part.children if isinstance(part, nodes.reference) else [part]
            solution.parent.replace(
                solution, box("solution", heading, body.children, solution["ids"])
            )
        for hint in list(self.document.findall(nodes.hint)):
            if "dropdown" in hint["classes"]:
                closed = box("hint", [nodes.Text("Hint")], hint.children, hint["ids"])
                hint.parent.replace(hint, closed)


def assertions(source: str) -> int:
    """How many statements ``source`` has if all of them are assertions, else 0."""
    try:
        body = ast.parse(source).body
    except SyntaxError:  # a magic command
        return 0
    return len(body) if all(isinstance(one, ast.Assert) for one in body) else 0


class FoldProofs(SphinxPostTransform):
    """Fold a cell that only asserts: what it proves stands in the sentences beside it."""

    formats = ("html",)
    default_priority = 890

    def run(self) -> None:
        for cell in list(self.document.findall(nodes.container)):
            inputs = [c for c in cell.children if "cell_input" in c.get("classes", [])]
            if "cell" not in cell["classes"] or len(cell.children) != 1 or not inputs:
                continue
            count = assertions(inputs[0].astext())
            if count:
                what = "an assertion" if count == 1 else f"{count} assertions"
                cell.children = []
                heading = summary("", f"Show the proof: {what}")
                cell += details("", heading, *inputs, classes=["proof"])


def setup(app: Sphinx) -> None:
    app.add_node(details, html=(visit_details, depart_details))
    app.add_node(summary, html=(visit_summary, depart_summary))
    app.add_post_transform(FoldSolutions)
    app.add_post_transform(FoldProofs)
