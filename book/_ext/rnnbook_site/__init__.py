"""What the site needs beyond settings, one module for each thing.

chapters: no page for the texts that are read as notebooks; each chapter's line of facts
docstrings: the equations of docstrings as they stand in the code
figures: every figure in the colors of a light page and of a dark one
first_page: the hero and the cards, cut from the chapters' figures
folds: solutions, hints and proofs that open by click, key or link
previews: what a link points to, carried along for the reader who hovers over it
sources: references as a list, round brackets around citations
typesetting: a comma stays with the formula before it
"""

from __future__ import annotations

from pathlib import Path

from sphinx.application import Sphinx

from . import chapters, docstrings, figures, first_page, folds, previews, sources, typesetting

PARTS = [chapters, docstrings, figures, first_page, folds, previews, sources, typesetting]


def drop_source_maps(app: Sphinx, problem: Exception | None) -> None:
    """Leave out what only the theme's own developers use: a third of the site's weight."""
    for path in Path(app.outdir, "_static").rglob("*.map"):
        path.unlink()


def setup(app: Sphinx) -> dict[str, bool]:
    for part in PARTS:
        part.setup(app)
    app.connect("build-finished", drop_source_maps)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
