"""Where a chapter states a number, what it asserts, and what a clock has told it.

A number here is a measurement or a ratio: a decimal, a percentage, a multiple, a share, a size. Not
counted are those of formulas and programs, of citations and cross-references, of headings, and of
what a reader is asked. A *passage* is the prose between two cells of code, within one section or
one solution; it is asserted where one of the two cells, or runs of cells, beside it asserts.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import groupby

from nbformat import NotebookNode

WORDS = (
    "two three four five six seven eight nine ten eleven twelve fifteen twenty thirty forty fifty "
    "sixty seventy eighty ninety hundred thousand"
)
COUNT = rf"(?:\d[\d,.]*|{WORDS.replace(' ', '|')})"
UNIT = r"%|percent\b|times\b|[kMG]i?B\b|ms\b|degrees\b"
NUMBER = re.compile(
    rf"""(?<![\w.-]) (?:
        \d+ \. \d+ (?: e[+-]?\d+ )?  |  \d+ e[+-]?\d+
      | {COUNT} \s? (?: {UNIT} )
      | {COUNT} \s (?: out\s )? of \s (?: the\s )? {COUNT} \b
      | (?: half | thirds? | quarters? | fifths? | tenths? | hundredths? ) \s of \b
    )""",
    re.VERBOSE | re.IGNORECASE,
)
FENCE = r"^(?P<fence>`{3,}|:{3,}|~{3,}) *%s.*?^(?P=fence)\s*?$"
NO_PROSE = [
    r"<!-- benchmarks \w+ -->.*?<!-- end -->",  # written from what was measured
    FENCE % r"\{(?:code-cell|math|bibliography|contents|eval-rst|figure|image|exercise)\}",
    FENCE % r"\{admonition\} Predict",
    FENCE % r"\w+\s*$",  # a listing
    r"^:[\w-]+:[^\n]*$",  # a directive's option
    r"^\([^\n]*\)=$",  # a target
    r"^#+ [^\n]*$",
    r"\$\$.*?\$\$|\$[^$]+\$",
    r"\{[\w:]+\}`[^`]*`|`[^`]*`",
    r"\]\([^)]*\)",
]
PART = re.compile(
    r"^#{1,4} (?P<title>.*)|^`+\{solution-(?P<edge>start|end)\} *(?P<label>\S*)", re.M
)
CLOCK = re.compile(r"\btime\.\w+\(|\b(perf_counter|process_time|monotonic|timeit)|\bnow\(")


def prose(text: str) -> str:
    """Markdown without formulas, programs, references, headings and questions."""
    for pattern in NO_PROSE:
        text = re.sub(pattern, " ", text, flags=re.MULTILINE | re.DOTALL)
    return text


def numbers(text: str) -> list[str]:
    """The measured numbers that a piece of Markdown states."""
    return [found[0] for found in NUMBER.finditer(prose(text))]


def parse(code: str) -> ast.Module:
    """A cell's code as Python, without magics."""
    return ast.parse(re.sub(r"^(\s*)[%!].*$", r"\1pass", code, flags=re.MULTILINE))


def asserts(code: str) -> bool:
    """Whether the code asserts something that could be false."""
    return any(
        (isinstance(node, ast.Assert) and not isinstance(node.test, ast.Constant))
        or (isinstance(node, ast.Attribute) and node.attr.startswith("assert_"))
        for node in ast.walk(parse(code))
    )


def parts(cells: list[NotebookNode]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """(title, [(kind, source), ...]) of each section, its solutions apart, in the order of ends."""
    open_parts: list[tuple[str, list]] = [("head", [])]
    for cell in cells:
        if cell.cell_type == "code":
            open_parts[-1][1].append(("code", cell.source))
            continue
        start = 0
        for edge in PART.finditer(cell.source):
            open_parts[-1][1].append(("markdown", cell.source[start : edge.start()]))
            start = edge.start() if edge["title"] else edge.end()
            if edge["edge"] == "start":
                open_parts.append((edge["label"], []))
            else:
                yield open_parts.pop()
                if edge["title"]:
                    open_parts.append((edge["title"], []))
        open_parts[-1][1].append(("markdown", cell.source[start:]))
    yield from open_parts


def unasserted(cells: list[NotebookNode]) -> list[str]:
    """The passages that state a number with no assertion beside, as "title: numbers"."""
    found = []
    for title, pieces in parts(cells):
        runs = [
            (kind, "\n\n".join(source for _, source in run))
            for kind, run in groupby(pieces, key=lambda piece: piece[0])
        ]
        for index, (kind, text) in enumerate(runs):
            beside = [*runs[max(index - 1, 0) : index], *runs[index + 1 : index + 2]]
            if kind == "markdown" and numbers(text) and not any(asserts(c) for _, c in beside):
                found.append(f"{title}: {', '.join(numbers(text))}")
    return found


def timed(code: str) -> list[str]:
    """The assertions, in a whole chapter's code, about what a clock said.

    What a statement at the top level binds comes from a clock where it reads one, or a name that
    does. That is coarse: a name that is bound twice counts as measured from its first use on.
    """
    measured: set[str] = set()
    body = parse(code).body
    before = -1
    while before != len(measured):
        before = len(measured)
        for statement in body:
            names = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
            if CLOCK.search(ast.unparse(statement)) or names & measured:
                measured |= set(bound(statement))
    return [
        ast.unparse(node)
        for node in ast.walk(ast.Module(body, []))
        if isinstance(node, ast.Assert)
        and measured & {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}
    ]


def bound(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement gives a meaning to, those of loops left out."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        yield statement.name
        return
    for node in ast.walk(statement):
        match node:
            case ast.Assign(targets=targets):
                pass
            case ast.AugAssign(target=target) | ast.AnnAssign(target=target):
                targets = [target]
            case ast.Call(func=ast.Attribute(value=target, attr="append" | "extend" | "update")):
                targets = [target]
            case _:
                continue
        for target in targets:
            while isinstance(target, ast.Subscript | ast.Attribute):
                target = target.value
            yield from (node.id for node in ast.walk(target) if isinstance(node, ast.Name))
