"""The equations of docstrings as they stand in the code."""

from sphinx.application import Sphinx

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


def setup(app: Sphinx) -> None:
    app.connect("autodoc-process-docstring", keep_equations, priority=100)  # before napoleon
