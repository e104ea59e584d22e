"""The chapter on gradient descent in two parts: each alone, in the minutes that it states.

And what its functions for exploding gradients measure.
"""

from __future__ import annotations

import ast
import builtins
import itertools
import re

import numpy as np
import pytest
from optional import optional

from rnnbook.scratch import RNN, Linear, SequenceModel, losses

chapters = optional("tools.chapters")
claims = optional("claims")
clipping = optional("rnnbook.experiments.studies.clipping")

WIDTH = 88  # what a page shows of a line of code without scrolling


@pytest.fixture(scope="module")
def parts():
    """The cells of the head, of Part 1, of Part 2 and of the rest."""
    found, heading = {"head": [], "Part 1": [], "Part 2": [], "rest": []}, "head"
    for cell in chapters.read_text("gradient_descent").cells:
        if cell.cell_type == "code":
            found[heading].append(cell)
            continue
        for piece in re.split(r"(?m)^(?=## )", cell.source):
            if piece.startswith("## "):
                heading = piece[3:9] if piece[3:9] in found else "rest"
            found[heading].append(type(cell)(cell, source=piece))
    return found


def minutes(cells) -> float:
    """200 words a minute; half a minute for each displayed equation, figure, cell in view."""
    text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    equations = re.findall(r"\$\$.*?\$\$|^`{3}\{math\}.*?^`{3}$", text, flags=re.S | re.M)
    words = claims.prose(text).split()
    code = [cell for cell in cells if cell.cell_type == "code"]
    figures = [cell for cell in code if "mystnb" in cell.metadata]
    seen = [c for c in code if not {"hide-input", "remove-cell"} & set(c.metadata.get("tags", []))]
    return len(words) / 200 + (len(equations) + len(figures) + len(seen)) / 2


@pytest.mark.parametrize("part", ["Part 1", "Part 2"])
def test_each_part_states_its_goals_and_honest_minutes(parts, part):
    text = "\n\n".join(cell.source for cell in parts[part] if cell.cell_type == "markdown")
    assert ":class: goals" in text
    assert "**You need**" in text
    (stated,) = re.findall(r"\*\*Reading\*\* takes about (\d+) minutes", text)
    assert abs(int(stated) - minutes(parts[part])) < 5


def names(tree: ast.AST) -> tuple[set[str], set[str]]:
    """The names that code binds, and those that it reads."""
    bound, read = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (read if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.alias):
            bound.add((node.asname or node.name).split(".")[0])
    return bound, read


def test_part_2_runs_without_the_cells_of_part_1(parts):
    known = set(dir(builtins))
    for cell in [*parts["head"], *parts["Part 2"]]:
        if cell.cell_type == "code":
            bound, read = names(claims.parse(cell.source))
            assert read - known - bound <= {"get_ipython"}, cell.source
            known |= bound


def test_visible_code_is_not_wider_than_the_page(parts):
    for cell in itertools.chain(*parts.values()):
        if cell.cell_type == "code" and "remove-cell" not in cell.metadata.get("tags", []):
            for line in cell.source.splitlines():
                assert len(line) <= WIDTH, line


def test_jacobian_norms_are_those_of_finite_differences():
    rng = np.random.default_rng(0)
    for nonlinearity in ("tanh", "relu"):
        layer, x = RNN(2, 5, nonlinearity=nonlinearity, rng=rng), rng.normal(size=(1, 6, 2))
        h = layer.forward(x)[0]
        for distance in range(1, 6):
            start, rest = h[:, -1 - distance], x[:, 6 - distance :]
            jacobian = np.empty((5, 5))
            for j, nudge in enumerate(1e-6 * np.eye(5)):
                up, down = (layer.forward(rest, start[None] + n)[0] for n in (nudge, -nudge))
                jacobian[:, j] = (up - down)[0, -1] / 2e-6
            measured = clipping.jacobian_norms(layer, x)[distance - 1]
            assert np.isclose(measured, np.linalg.norm(jacobian, 2), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("factor", [0.95, 1.05])
def test_head_curvature_is_where_descent_on_the_head_turns(factor):
    rng = np.random.default_rng(1)
    model = SequenceModel(RNN(1, 6, rng=rng), Linear(6, 1, rng=rng))
    x, y = clipping.recall(40, 5, rng)
    states = model.rnn.forward(x)[0][:, -1]
    rate = factor * 2 / clipping.head_curvature(states)
    history = []
    for _ in range(400):
        loss, dprediction = losses.mse(model.forward(x), y)
        model.backward(dprediction)
        history.append(loss)
        for name in ("head.weight", "head.bias"):
            model.params[name] -= rate * model.grads[name]
    assert (history[-1] < history[0]) == (factor < 1)


@pytest.mark.parametrize("part", ["", "rnn", "head"])
def test_clip_part_shortens_that_part_alone(part):
    grads = {"rnn.a": np.full(4, 3.0), "rnn.b": np.full(2, -1.0), "head.w": np.full(3, 2.0)}
    before = {name: g.copy() for name, g in grads.items()}
    clipping.clip_part(grads, part)
    assert np.isclose(clipping.norm_of(grads, part), 0.3, atol=1e-5)
    for name, gradient in grads.items():
        assert name.startswith(part) or np.array_equal(gradient, before[name])


def test_tuned_chooses_by_the_first_seeds_and_reports_the_others():
    def runs(lr, errors):
        return [
            {"setting": {"method": "a", "lr": lr}, "seed": seed, "metrics": {"test_mse": error}}
            for seed, error in enumerate(errors)
        ]

    results = {"runs": [*runs(0.1, [1, 1, 4, 9, 9]), *runs(0.3, [3, 3, 3, 0, 0])]}
    rate, others = clipping.tuned(results, {"method": "a"})
    assert rate == 0.1
    assert [metrics["test_mse"] for metrics in others] == [9, 9]
    assert clipping.tuned(results, {"method": "a"}, choose=4)[0] == 0.3
