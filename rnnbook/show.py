"""Show the library's own lines inside a chapter, so that no chapter holds a second copy of them."""

import ast
import inspect
import textwrap

from rnnbook.extras import needed

with needed("chapters"):
    from IPython.display import Markdown


def source(thing, *, docstring: bool = False) -> str:
    """The source of a function, method or class as text.

    Args:
        thing: what to show; anything that ``inspect.getsource`` knows.
        docstring: keep the docstrings; a chapter usually says the same at greater length.
    """
    text = textwrap.dedent(inspect.getsource(thing))
    if docstring:
        return text.rstrip()
    lines: list[str | None] = [*text.splitlines()]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node):
            first = node.body[0]
            # A body that is nothing but its docstring keeps it, or the code would not parse.
            if len(node.body) > 1:
                for number in range(first.lineno - 1, first.end_lineno or first.lineno):
                    lines[number] = None
    kept = [line for line in lines if line is not None]
    # A blank line that separated the docstring from the code would now open the body.
    return "\n".join(
        line
        for i, line in enumerate(kept)
        if line.strip() or not (i and kept[i - 1].rstrip().endswith(":"))
    ).rstrip()


def show(*things, docstring: bool = False) -> Markdown:
    """Display the source of each of ``things``, highlighted, in reading order.

    Example:
        ``show(RNNCell.step, RNN.forward)`` as the last line of a cell.
    """
    text = "\n\n\n".join(source(thing, docstring=docstring) for thing in things)
    return Markdown(f"```python\n{text}\n```")
