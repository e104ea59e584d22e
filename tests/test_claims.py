"""The tests of the tests: what test_book.py looks for is found in samples, and only there.

And what the chapters say about time, of the stored measurements that they point to.
"""

from __future__ import annotations

import json
from statistics import geometric_mean

import claims
import pytest
import test_book
from nbformat.v4 import new_code_cell, new_markdown_cell

from tools import chapters

ASSERTION = "assert error < 0.1"


@pytest.mark.parametrize(
    "text",
    [
        r"C:\Users\somebody\book",
        r"File 'D:\\a\\book\\x.py'",
        "E:/book/x.py",
        "/home/somebody/book",
        "/Users/somebody",
        "/private/var/folders/x",
        "lib/python3.11/site-packages/numpy",
    ],
)
def test_a_path_of_a_machine_is_found(text):
    assert test_book.HOST_PATH.search(text)


@pytest.mark.parametrize(
    "text", ["File rnnbook/checks.py:30", "https://example.org/home", "H:W = 3:4", "ratio\\home"]
)
def test_what_is_no_path_of_a_machine(text):
    assert not test_book.HOST_PATH.search(text)


def test_a_progress_bar_is_found():
    assert test_book.PROGRESS.search(" 45%|####5     | 9/20")
    assert test_book.PROGRESS.search("epoch 1\repoch 2")
    assert not test_book.PROGRESS.search("45 % right | 3 of 4\n")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("the error is 0.03, then 1.5e-3 and 1e-7", ["0.03", "1.5e-3", "1e-7"]),
        ("in 12 % of the runs, or 12%, or five percent", ["12 %", "12%", "five percent"]),
        ("ten times as long, 2.5 times, a few times", ["ten times", "2.5"]),
        ("two thirds of it, half of them", ["thirds of", "half of"]),
        ("seven of eight seeds, 3 out of 20", ["seven of eight", "3 out of 20"]),
        ("a state of 2 KiB, after 30 ms", ["2 KiB", "30 ms"]),
        (":::{note}\nBy 0.2 more.\n:::", ["0.2"]),
        ("One of the two layers has 64 units in step 3 of the year 1997.", []),
        ("$0.3$ and $$0.4\n\\times 5$$ and `0.5` and {eq}`a-0.6`", []),
        ("## A rate of 0.3\n\n```python\nx = 0.3\n```\n\n[0](https://a.org/0.3)", []),
        ("```{exercise} Rates\n:label: ex-a\n\nTry 0.1 and 0.3.\n```", []),
        (":::{admonition} Predict before you run\n:class: predict\nIs it 0.1 or 0.3?\n:::", []),
        ("```{figure} a.svg\n:width: 50 %\n\nWords.\n```", []),
        ("{cite:p}`a2015` in Python 3, version v0.3", []),
    ],
)
def test_numbers_of_a_text(text, found):
    assert claims.numbers(text) == found


@pytest.mark.parametrize(
    ("code", "answer"),
    [
        (ASSERTION, True),
        ("for a in b:\n    assert a", True),
        ("np.testing.assert_allclose(a, b)", True),
        ("%matplotlib inline\nassert a == b", True),
        ("gradcheck.check_layer(layer, x, rng=rng)", False),
        ("print('assert')  # assert a", False),
        ("assert True", False),
        ("", False),
    ],
)
def test_what_counts_as_an_assertion(code, answer):
    assert claims.asserts(code) == answer


def chapter(*sources: str):
    """Cells: what begins with ``code:`` is code."""
    return [
        new_code_cell(source.removeprefix("code:"))
        if source.startswith("code:")
        else new_markdown_cell(source)
        for source in sources
    ]


SOLUTION = "```{{solution-start}} ex-a\n:class: dropdown\n```\n\n{}"
END = "```{solution-end}\n```"


@pytest.mark.parametrize(
    ("cells", "titles"),
    [
        (["# A\n\nBy 0.3.", f"code:{ASSERTION}"], []),
        ([f"code:{ASSERTION}", "By 0.3."], []),
        (["code:x = 1", f"code:{ASSERTION}", "code:y = 1", "By 0.3."], []),
        (["# A\n\nBy 0.3.", "code:x = 1"], ["A"]),
        (["# A\n\n", f"code:{ASSERTION}", "## B\n\nBy 0.3."], ["B"]),
        (["# A\n\nBy 0.3.\n\n## B\n\nWords.", f"code:{ASSERTION}"], ["A"]),
        (["# A", f"code:{ASSERTION}", "Words.", "code:x = 1", "By 0.3."], ["A"]),
        (["# A", SOLUTION.format("By 0.3."), f"code:{ASSERTION}", END], []),
        (["# A", SOLUTION.format("By 0.3."), "code:x = 1", END, f"code:{ASSERTION}"], ["ex-a"]),
        (["# A", SOLUTION.format(""), f"code:{ASSERTION}", f"{END}\n\nBy 0.3."], ["A"]),
        (["# A", SOLUTION.format(""), f"code:{ASSERTION}", f"{END}\n# B\n\nBy 0.3."], ["B"]),
    ],
)
def test_a_number_is_asserted_beside(cells, titles):
    assert [claim.split(":")[0] for claim in claims.unasserted(chapter(*cells))] == titles


@pytest.mark.parametrize(
    "code",
    [
        "start = time.perf_counter()\nassert time.perf_counter() - start < 1",
        "start = perf_counter()\nf()\ntook = perf_counter() - start\nassert took < 1",
        "def took(f):\n    return timeit.timeit(f)\nratio = took(f) / took(g)\nassert ratio < 2",
        "took = []\nfor f in fs:\n    took.append(seconds(f))\nassert took[0] < took[1]\n"
        "def seconds(f):\n    return perf_counter()",
        "with one_thread():\n    took['a'] = perf_counter()\nassert took['a'] < 1",
    ],
)
def test_an_assertion_about_a_clock_is_found(code):
    assert len(claims.timed(code)) == 1


def test_an_assertion_beside_a_clock_is_no_assertion_about_it():
    code = "for f in fs:\n    took.append(perf_counter())\nassert len(fs) == 3\nprint(took)"
    assert claims.timed(code) == []


# What the chapters say about time


@pytest.fixture(scope="module")
def stored() -> dict:
    return json.loads((chapters.ROOT / "benchmarks/results.json").read_text(encoding="utf-8"))


def cost(stored, kind: str, layer: str, what: str = "ms") -> list[float]:
    """A column of the table on cost, from the smallest layer to the largest."""
    rows = [r for r in stored["cost"] if (r["kind"], r["varied"]) == (kind, "hidden")]
    return [row[what][layer] for row in sorted(rows, key=lambda row: row["size"])]


def test_gru_saves_less_time_than_arithmetic(stored):
    gru, lstm = cost(stored, "GRU", "NumPy fused"), cost(stored, "LSTM", "NumPy fused")
    ratios = [ours / theirs for ours, theirs in zip(gru, lstm, strict=True)]
    assert 0.75 < geometric_mean(ratios) < 1


def test_gru_pytorchs_takes_longer_than_its_lstm(stored):
    pairs = zip(cost(stored, "GRU", "torch.nn"), cost(stored, "LSTM", "torch.nn"), strict=True)
    assert all(gru > lstm for gru, lstm in pairs)


def test_recurrent_layer_small_layers_pay_for_asking(stored):
    share = cost(stored, "RNN", "NumPy fused", "share")
    assert share == sorted(share)
    assert share[0] < 0.15 < 0.7 < share[-1]


def test_worked_example_pytorch_between_plain_and_fused(stored):
    size = [10, 10, 1, 50]
    (row,) = (
        row
        for row in stored["layers"]
        if (row["kind"], row["size"], row["threads"]) == ("LSTM", size, 1)
    )
    assert row["ratios"]["NumPy fused"]["median"] < 1 < row["ratios"]["NumPy plain"]["median"]
