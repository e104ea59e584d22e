"""tools/other_seeds.py: the claims of a chapter, read again with other seeds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("jupytext", reason="the tools read the chapters by jupytext")
pytest.importorskip("torch", reason="chapters are read with torch's seeds shifted too")
pytest.importorskip("sklearn", reason="and with those of scikit-learn")

from rnnbook.experiments import load_results
from rnnbook.experiments.runner import run_experiment
from tools import chapters, other_seeds

pytestmark = pytest.mark.slow

ROOT = chapters.ROOT
HEAD = "---\nkernelspec:\n  display_name: Python 3\n  language: python\n  name: python3\n---\n\n"
CELL = "```{{code-cell}} ipython3\n{}\n```\n\n"


def chapter(*pieces: str) -> str:
    """Headings and words stay, the rest are cells."""
    return HEAD + "\n\n".join(
        piece if piece.startswith(("#", "`")) else CELL.format(piece.strip()) for piece in pieces
    )


@pytest.fixture
def book(tmp_path):
    """A function that writes a book with one chapter, and returns its folder."""

    def write(*pieces: str) -> Path:
        (tmp_path / "book").mkdir(exist_ok=True)
        (tmp_path / "_toc.yml").write_text(
            "format: jb-book\nroot: book/index\nchapters:\n  - file: notebooks/one\n"
        )
        (tmp_path / "book/one.md").write_text(chapter(*pieces))
        return tmp_path

    return write


def read(root: Path, *arguments: str) -> int:
    return other_seeds.main(["one", "--root", str(root), *arguments])


DRAWN, LAST = 0.6369616873214543, 0.016527635528529094
DRAW = "import numpy as np\ndraw = np.random.default_rng(0).random(4)\nprint(draw)"


def test_what_fell_is_told_and_the_chapter_goes_on(book, capsys):
    root = book(
        "# One",
        DRAW,
        "## A section",
        f"assert 0 <= draw.min() and draw.max() < 1\nassert draw[0] == {DRAWN}",
        "## Another",
        "assert draw[1] < 0  # this draw\nprint('on')\nassert np.all(draw[2:] < 0)\n"
        f"np.testing.assert_equal(draw[3], {LAST})",
    )
    assert read(root, "--shift", "1", "2") == 1
    told = capsys.readouterr().out
    assert "one: of 5 assertions 3 fell, 1 more are about one draw, 0 cells ended" in told
    assert f"1.1 A section (cell 4): fell in 2 of 2\n    assert draw[0] == {DRAWN}\n" in told
    assert "shift 1: draw[0] = 0." in told
    assert "shift 2: draw[0] = 0." in told
    assert "1.2 Another (cell 6): this draw in 2 of 2\n    assert draw[1] < 0" in told
    assert "assert np.all(draw[2:] < 0)\n      shift 1: draw[2:] = [0." in told
    assert "np.testing.assert_equal" in told
    assert "draw.min()" not in told


def test_the_chapters_own_seeds_give_what_it_gives(book):
    root = book("# One", DRAW, f"assert draw[0] == {DRAWN} and draw[3] == {LAST}")
    report = other_seeds.read_apart("one", 0, root)
    assert report["fell"] == report["errors"] == []
    assert report["assertions"] == 1
    namespace: dict = {}
    exec(DRAW, namespace)
    assert report["printed"] == [f"{namespace['draw']}\n", ""]
    assert read(root, "--shift", "0") == 0
    assert read(root, "--shift", "0", "1") == 1


def test_a_shift_gives_the_same_every_time_and_each_another(book):
    root = book("# One", DRAW)
    printed = {
        (shift, time): other_seeds.read_apart("one", shift, root)["printed"][0]
        for shift, time in [(0, 0), (1, 0), (1, 1), (2, 0)]
    }
    assert printed[1, 0] == printed[1, 1]
    assert len(set(printed.values())) == 3


SEEDED = {
    "a number": "np.random.default_rng(3).random()",
    "several": "np.random.default_rng([3, 4]).random()",
    "large": "np.random.default_rng(3**70).random()",
    "of NumPy": "np.random.default_rng(np.int64(3)).random()",
    "sequence": "np.random.default_rng(np.random.SeedSequence(3)).random()",
    "child": "np.random.default_rng(3).spawn(2)[1].random()",
    "state": "np.random.RandomState(3).rand()",
    "torch": "(torch.manual_seed(3), torch.rand(1).item())[1]",
    "negative": "(torch.manual_seed(-3), torch.rand(1).item())[1]",
    "generator": "torch.rand(1, generator=torch.Generator().manual_seed(3)).item()",
    "splitter": "[*KFold(5, shuffle=True, random_state=3).split(np.zeros(500))][0][1].sum()",
    "network": "MLPRegressor(max_iter=2, random_state=3).fit(X, y).coefs_[0].sum()",
    "regressor": "RecurrentRegressor('RNN', 2, epochs=1, random_state=3).fit(X, y).predict(X)[0]",
}
KEPT = {
    "marked": "np.random.default_rng(3).random()  # fixed draw",
    "calendar": "rule_or_position.CALENDAR.sum()",
    "series": "forecasting.load('sines').sum()",
}


def test_every_way_to_give_a_seed(book):
    """And what keeps its seed: marked lines, and what the library fixes for its tasks."""
    head = """
import numpy as np, torch, warnings
warnings.simplefilter('ignore')
from sklearn.model_selection import KFold
from sklearn.neural_network import MLPRegressor
from rnnbook.estimator import RecurrentRegressor
from rnnbook.experiments.studies import forecasting, rule_or_position
X, y = np.linspace(-1, 1, 40).reshape(20, 2), np.arange(20.0)
generator = np.random.default_rng(3)
assert np.random.default_rng(generator) is generator
assert isinstance(np.random.RandomState(3), np.random.RandomState)
assert isinstance(np.random.mtrand._rand, np.random.RandomState)
"""
    ways = SEEDED | KEPT
    root = book(
        "# One",
        head,
        *(
            f"value = {way}\nprint(round(float(value), 9))"  # not what a sum's order decides
            for way in ways.values()
        ),
    )
    reports = [other_seeds.read_apart("one", shift, root) for shift in (0, 1)]
    for report in reports:
        assert report["errors"] + report["fell"] == []
    own, other = (dict(zip(ways, report["printed"][1:], strict=True)) for report in reports)
    assert {way for way in ways if own[way] == other[way]} == set(KEPT)


def test_assertions_in_functions_loops_and_handlers(book, capsys):
    root = book(
        "# One",
        "def check(x):\n    assert x < 3, 'too large'\n    return x",
        "try:\n    check(5)\nexcept AssertionError:\n    caught = True\nassert caught",
        "from contextlib import suppress\nwith suppress(AssertionError):\n    assert 0 > 1\n",
        "check(4)\nfor x in range(6):\n    assert x != 4\n    assert check(x) or True\nlast = x",
        "assert last == 5\nclass Case:\n    def tried(self):\n        check(7)\nCase().tried()\n"
        "check(8)  # this draw",
        "assert {}['missing'] == 1\nassert last == 5",
    )
    assert read(root, "--shift", "0") == 1
    told = capsys.readouterr().out
    assert "of 9 assertions 5 fell, 1 more are about one draw, 0 cells ended in an error" in told
    assert (
        "    check(4)\n    # in a function: assert x < 3, 'too large'\n      shift 0: too large"
        in told
    )
    assert "    assert x != 4\n" in told
    assert "    assert check(x) or True\n" in told
    assert "shift 0: KeyError: 'missing'" in told
    assert "this draw in 1 of 1\n    check(8)" in told


def test_an_error_is_told_and_the_next_cell_is_run(book, capsys):
    root = book(
        "# One",
        "one = 1\nassert one == 1\none / 0\nassert one == 2",
        "%matplotlib inline\nassert one == 1",
        "raise SystemExit(0)",
    )
    assert read(root, "--shift", "0") == 1
    told = capsys.readouterr().out
    assert "of 2 assertions 0 fell" in told
    assert "2 cells ended in an error" in told
    assert (
        "1 One (cell 2): error in 1 of 1\n    one / 0\n      shift 0: ZeroDivisionError: " in told
    )


def test_a_chapter_whose_process_dies_is_told(book, capsys):
    assert read(book("# One", "import os\nos._exit(3)"), "--shift", "0") == 1
    assert "one with shift 0 came to no end: status 3" in capsys.readouterr().out


def test_markdown_and_solutions(book, capsys):
    root = book(
        "# One",
        "## Exercises",
        "```{solution-start} ex-one\n```",
        "assert 1 > 2",
        "```{solution-end}\n```",
        "assert 2 > 2",
    )
    assert read(root, "--shift", "0", "--markdown") == 1
    told = capsys.readouterr().out
    assert told.startswith("# one: of 2 assertions 2 fell")
    assert (
        "## 1.1 Exercises, solution ex-one (cell 2): fell in 1 of 1\n```python\nassert 1 > 2"
        in told
    )
    assert "## 1.1 Exercises (cell 4)" in told


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(["two"], "no chapter 'two' in _toc.yml, which has: one."), (["--shift", "-1"], "at least 0")],
)
def test_what_cannot_be_read_is_refused(book, capsys, arguments, says):
    root = book("# One", DRAW)
    with pytest.raises(SystemExit) as end:
        other_seeds.main([*arguments, "--root", str(root)])
    assert end.value.code == 2
    assert says in capsys.readouterr().err


STUDY = """
import numpy as np

SEEDS = 3


def settings(quick):
    return [{"size": 2}, {"size": 3}]


def run(setting, seed):
    return {"sum": np.random.default_rng([seed, setting["size"]]).random(setting["size"]).sum()}
"""


def test_stored_experiments_are_made_anew_where_they_are_cheap(book, tmp_path):
    pytest.importorskip("joblib", reason="by which experiments are run")
    pytest.importorskip("threadpoolctl", reason="each on one thread")
    pytest.importorskip("filelock", reason="by one process at a time")
    study = tmp_path / "study.py"
    study.write_text(STUDY)
    shown = run_experiment(study)["runs"]
    shipped = tmp_path / "results/study.json"
    before = shipped.read_bytes()
    root = book(
        "# One",
        "from rnnbook.experiments import load_results\n"
        f"runs = load_results({str(study)!r})['runs']",
        "print([[run['seed'], run['setting']['size'], run['metrics']['sum']] for run in runs])",
        "print(len(load_results('architectures')['runs']))",
    )
    place = tmp_path / "made"
    plain = other_seeds.read_apart("one", 1, root)
    dear, made, again, other = (
        other_seeds.read_apart("one", shift, root, place, minutes)
        for shift, minutes in [(1, -1), (1, 5), (1, 5), (2, 5)]
    )
    assert all(not report["errors"] for report in (plain, dear, made, again, other))
    others = f"{len(load_results('architectures')['runs'])}\n"
    stored = [[run["seed"], run["setting"]["size"], run["metrics"]["sum"]] for run in shown]
    assert plain["printed"] == dear["printed"] == ["", f"{stored}\n", others]
    assert plain["stored"] == {}
    assert dear["stored"]["study"] == "as stored, it takes 0 minutes"
    assert made["stored"]["study"] == "other seeds"
    assert made["stored"]["architectures"].startswith("as stored, it takes ")
    assert made["printed"] == again["printed"]
    assert made["printed"][2] == other["printed"][2] == others
    values = [json.loads(report["printed"][1]) for report in (plain, made, other)]
    assert [[run[:2] for run in runs] for runs in values] == [[run[:2] for run in stored]] * 3
    assert len({run[2] for runs in values for run in runs}) == 3 * len(stored)
    assert (place / "shift-1/study.json").exists()
    assert shipped.read_bytes() == before


def streams(cell) -> str:
    """What a stored cell printed."""
    return "".join(o.text for o in cell.outputs if o.output_type == "stream" and o.name == "stdout")


def test_the_cheapest_chapter_holds_with_other_seeds():
    """The other chapters: `make other-seeds`, and a job every week."""
    stored = chapters.read_notebook("recurrent_layer")
    assert stored is not None
    own = other_seeds.read_apart("recurrent_layer", 0)
    assert own["fell"] == own["errors"] == []
    cells = [cell for cell in stored.cells if cell.cell_type == "code"]
    steady = [
        (printed, streams(cell))
        for printed, cell in zip(own["printed"], cells, strict=True)
        if "nbval-ignore-output" not in cell.metadata.get("tags", [])
    ]
    assert [printed for printed, _ in steady] == [text for _, text in steady]
    other = other_seeds.read_apart("recurrent_layer", 1)
    assert other["printed"] != own["printed"]
    assert other["assertions"] == own["assertions"]
    assert [found for found in other["fell"] if not found["marked"]] == other["errors"] == []
