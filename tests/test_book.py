"""What must hold of every chapter: whichever _toc.yml names is covered without another line."""

from __future__ import annotations

import re

import pytest
from optional import optional

from tools.watch import MEMORY_MB, SECONDS

chapters = optional("tools.chapters")
claims = optional("claims")
yaml = optional("yaml")

HOST_PATH = re.compile(
    r"(?<![\w.])/(home|root|Users|private|tmp|var|opt|mnt|work)/|site-packages|\b[A-Z]:[\\/]"
)
PROGRESS = re.compile(r"\r|\b\d+%\|")  # a carriage return; tqdm's bar

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("slug", chapters.slugs())]


@pytest.fixture
def text(slug):
    return chapters.read_text(slug)


@pytest.fixture
def markdown(text):
    return "\n\n".join(cell.source for cell in text.cells if cell.cell_type == "markdown")


@pytest.fixture
def code(slug):
    """The code cells of the stored notebook."""
    notebook = chapters.read_notebook(slug)
    assert notebook is not None, f"notebooks/{slug}.ipynb does not exist: run `make notebooks`"
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell) -> list[str]:
    return cell.metadata.get("tags", [])


def test_notebook_is_what_the_present_text_and_code_give(slug):
    reason = chapters.difference(slug)
    assert reason is None, f"{reason}: run `make notebooks`"


def test_code_fits_the_page(text):
    """Lines of at most 88 characters, wherever code is shown, folded or not."""
    shown = [cell for cell in text.cells if cell.cell_type == "code"]
    shown = [cell for cell in shown if "remove-cell" not in tags(cell)]
    lines = [line for cell in shown for line in cell.source.splitlines()]
    assert [line for line in lines if len(line) > 88] == []


def test_what_it_prints_fits_the_page(code):
    """Printed results and the library's lines that `show` displays."""
    for cell in code:
        if "remove-cell" in tags(cell) or "remove-output" in tags(cell):
            continue
        for output in cell.outputs:
            shown = [output.get("text", ""), output.get("data", {}).get("text/markdown", "")]
            lines = [line for text in shown for line in text.splitlines()]
            assert [line for line in lines if len(line) > 88] == []


def test_head_names_no_versions(slug):
    head = chapters.text_path(slug).read_text(encoding="utf-8").split("\n---\n")[0]
    assert "version" not in head
    assert yaml.safe_load(head.removeprefix("---"))["kernelspec"] == chapters.KERNEL


def test_first_code_cell_installs_the_library_on_colab(text):
    first = next(cell for cell in text.cells if cell.cell_type == "code")
    assert first.source == chapters.colab_cell()
    assert tags(first) == ["remove-cell"]


def test_every_cell_was_executed_in_order(code):
    counts = [cell.execution_count for cell in code]
    assert counts == list(range(1, len(code) + 1))


def test_outputs_hold_no_warning_no_error_and_no_progress_bar(code):
    for cell in code:
        for output in cell.outputs:
            assert output.get("name") != "stderr", output.text
            assert output.output_type != "error" or "raises-exception" in tags(cell), output
            assert not PROGRESS.search(output.get("text", "")), output.text


def test_notebook_names_no_machine(slug, code):
    notebook = chapters.read_notebook(slug)
    assert notebook.metadata.kernelspec == chapters.KERNEL
    assert set(notebook.metadata.language_info) == {"name", "pygments_lexer"}
    for output in (output for cell in code for output in cell.outputs):
        shown = [output.get("text", ""), *output.get("traceback", [])]
        shown += [str(data) for kind, data in output.get("data", {}).items() if "text" in kind]
        for piece in shown:
            assert not HOST_PATH.search(piece), piece


def test_every_number_in_prose_has_an_assertion_beside_it(text):
    assert not claims.unasserted(text.cells), "assert them there, or say it without a number"


def test_no_assertion_depends_on_a_clock(text):
    cells = [cell.source for cell in text.cells if cell.cell_type == "code"]
    assert not claims.timed("\n".join(cells)), "assert a stored measurement: tests/test_claims.py"


def test_ignored_output_is_asserted_about_by_the_next_cell(code):
    for cell, after in zip(code, [*code[1:], None], strict=True):
        assert "nbval-skip" not in tags(cell), cell.source
        assert "NBVAL" not in cell.source, "use the cell's tags"
        if "nbval-ignore-output" in tags(cell):
            assert after is not None, cell.source
            assert claims.asserts(after.source), f"nothing is asserted after:\n{cell.source}"


def test_no_cell_relies_on_a_closing_semicolon(text):
    """nbval runs cells outside IPython's history, where a semicolon silences nothing."""
    for cell in text.cells:
        if cell.cell_type == "code":
            assert not cell.source.rstrip().endswith(";"), f"assign it to _:\n{cell.source}"


def test_every_exercise_has_a_solution_that_runs(text):
    exercises, solved, within = set(), set(), None
    for cell in text.cells:
        if cell.cell_type == "code":
            solved |= {within} - {None}
            continue
        exercises |= set(re.findall(r"\{exercise\}.*\n:label: (\S+)", cell.source))
        for start, label in re.findall(r"\{solution-(start|end)\}[ \t]*(\S*)", cell.source):
            within = label if start == "start" else None
    assert exercises
    assert exercises - solved == set(), "exercises without a solution that holds a code cell"
    assert within is None, f"the solution of {within} has no end"


def test_every_exercise_has_a_folded_hint(markdown):
    for exercise in re.findall(r"```+\{exercise\}.*?\n```+\n", markdown + "\n", re.S):
        assert re.search(r":::+\{hint\}\n:class: dropdown\n\S", exercise), exercise


def test_terms_are_in_the_glossary(markdown):
    glossary = (chapters.ROOT / "book/glossary.md").read_text(encoding="utf-8")
    known = set(re.findall(r"^([\w][^\n]*)\n {2}", glossary, re.M))
    terms = {re.sub(r".*<(.*)>", r"\1", term) for term in re.findall(r"\{term\}`(.*?)`", markdown)}
    assert len(terms) >= 5
    assert terms <= known


def test_solutions_are_folded(markdown):
    for options in re.findall(r"\{solution-start\} \S+\n((?::.*\n)*)", markdown):
        assert ":class: dropdown" in options


def test_figures_have_captions_and_alternative_text(code, markdown):
    for cell in code:
        kinds = {kind for output in cell.outputs for kind in output.get("data", {})}
        if any(kind.startswith("image/") for kind in kinds):
            shown = cell.metadata.get("mystnb", {})
            assert shown.get("image", {}).get("alt"), f"no mystnb: image: alt: in\n{cell.source}"
            assert shown.get("figure", {}).get("caption"), f"no caption:\n{cell.source}"
    assert not re.search(r"!\[\s*\]\(", markdown), "an image without alternative text"
    for options in re.findall(r"\{(?:figure|image)\} \S+\n((?::.*\n)*)", markdown):
        assert ":alt:" in options


def test_stored_run_was_within_memory_and_time(slug):
    """On the author's machine; conftest.py measures it anew on this one."""
    run = chapters.read_notebook(slug).metadata.rnnbook
    assert run.peak_mb < MEMORY_MB
    assert run.seconds < SECONDS


def test_readme_lists_the_chapter(slug):
    assert f"notebooks/{slug}.ipynb" in (chapters.ROOT / "README.md").read_text(encoding="utf-8")
