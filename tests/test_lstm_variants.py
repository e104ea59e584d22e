"""The variants of the LSTM: right gradients, and the standard cell but for what each name says."""

import inspect

import numpy as np
import pytest
from parity import random_state

from rnnbook.experiments import load_results
from rnnbook.experiments.studies import lstm_variants as experiment
from rnnbook.gradcheck import check_layer
from rnnbook.scratch import LSTM, RecurrentLayer
from rnnbook.scratch import lstm_variants as v

B, T, D, H = 3, 4, 2, 5
CELLS = [cell for cell in vars(v).values() if getattr(cell, "__module__", "") == v.__name__]
every_cell = pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.__name__)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def x(rng):
    return rng.standard_normal((B, T, D))


def make(cell, *settings, rng=None):
    return RecurrentLayer(D, H, *settings, cell=cell, rng=rng)


def standard(like, **changed):
    """An LSTM with the weights of a variant, some of them changed."""
    layer = LSTM(D, H)
    layer.load_params({name: like.params[name] for name in layer.params} | changed)
    return layer


def agree(a, b):
    np.testing.assert_allclose(a.forward(X)[0], b.forward(X)[0], rtol=0, atol=1e-12)


X = np.random.default_rng(7).standard_normal((B, T, D))


@every_cell
@pytest.mark.parametrize(
    ("settings", "lengths"),
    [((), None), pytest.param((2, True), [2, 4, 1], marks=pytest.mark.slow)],
)
def test_finite_differences_agree(cell, settings, lengths, rng, x):
    layer = make(cell, *settings, rng=rng)
    for array in layer.params.values():
        array += 0.3 * rng.standard_normal(array.shape)  # gains beside 1, peepholes beside 0
    shapes = layer.cells[0].state_shapes(len(layer.cells), B)
    state = tuple(rng.standard_normal(shape) for shape in shapes.values())
    errors = check_layer(layer, x, state=state, lengths=lengths, rng=rng)
    assert {"x", "h0", "c0", *layer.params} == set(errors)
    # What is not used has a gradient of zero by both ways, which counts as an error of zero.
    assert max(errors.values()) < 1e-6, errors


def test_a_variant_that_readers_write_is_short():
    """Peepholes, coupled gates and projection, without docstrings and blank lines."""
    for cell in (v.PeepholeCell, v.CoupledCell, v.ProjectedCell):
        text, lines, inside = inspect.getsource(cell), 0, False
        for line in text.splitlines():
            quotes = line.count('"""')
            lines += bool(line.strip()) and not inside and not quotes
            inside ^= quotes == 1
        assert lines <= 20, (cell.__name__, lines)


def test_projected_is_torchs(rng, x):
    torch = pytest.importorskip("torch")
    layer = make(v.ProjectedCell, 2, True, rng=rng)
    theirs = torch.nn.LSTM(
        D, H, 2, proj_size=H // 2, bidirectional=True, batch_first=True, dtype=torch.float64
    )
    theirs.load_state_dict({name: torch.tensor(p) for name, p in layer.params.items()})
    output, (h, c) = layer.forward(x)
    expected, (h_t, c_t) = theirs(torch.tensor(x))
    expected.sum().backward()
    layer.backward(np.ones_like(output))
    for mine, wanted in [(output, expected), (h, h_t), (c, c_t)]:
        np.testing.assert_allclose(mine, wanted.detach(), rtol=0, atol=1e-12)
    for name, parameter in theirs.named_parameters():
        np.testing.assert_allclose(layer.grads[name], parameter.grad, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("cell", "gate"),
    [(v.NoInputGateCell, "i"), (v.NoForgetGateCell, "f"), (v.NoOutputGateCell, "o")],
)
def test_a_gate_taken_out_is_a_gate_held_open(cell, gate, rng):
    without = make(cell, rng=rng)
    held = {name: array.copy() for name, array in without.params.items()}
    block = slice("ifgo".index(gate) * H, ("ifgo".index(gate) + 1) * H)
    for name in held:
        held[name][block] = 50.0 if name.startswith("bias") else 0  # sigmoid(100) is 1
    agree(without, standard(without, **held))
    without.forward(X)
    without.backward(np.ones((B, T, H)))
    assert not any(grad[block].any() for grad in without.grads.values())


def test_coupled_is_standard_with_opposite_weights(rng):
    coupled, layer = make(v.CoupledCell, rng=rng), LSTM(D, H)
    layer.load_params({n: np.concatenate([-p[:H], p]) for n, p in coupled.params.items()})
    agree(coupled, layer)


def test_output_activation_is_all_that_differs(rng, x):
    bare = make(v.NoOutputActivationCell, rng=rng)
    state = tuple(part[0] for part in random_state(standard(bare), B, rng))
    h_bare, c_bare = bare.cells[0](x[:, 0], state)
    h, c = standard(bare).cells[0](x[:, 0], state)
    np.testing.assert_array_equal(c_bare, c)
    np.testing.assert_allclose(h_bare * np.tanh(c) / c, h, rtol=0, atol=1e-12)


def test_peepholes_look_at_the_right_cell(rng, x):
    layer = make(v.PeepholeCell, rng=rng)
    layer.params["weight_c_l0"][...] = 0
    agree(layer, standard(layer))
    layer.params["weight_c_l0"][...] = np.array([[0.7], [-0.4], [1.3]])
    cell, (h, c) = layer.cells[0], rng.standard_normal((2, B, H))
    a_i, a_f, a_g, a_o = np.split(cell.linear(x[:, 0], h), 4, axis=1)

    def sigma(a):
        return 1 / (1 + np.exp(-a))

    c_new = sigma(a_f - 0.4 * c) * c + sigma(a_i + 0.7 * c) * np.tanh(a_g)
    h_new = sigma(a_o + 1.3 * c_new) * np.tanh(c_new)
    for mine, wanted in zip(cell(x[:, 0], (h, c)), (h_new, c_new), strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=0, atol=1e-12)


def test_normalized_follows_ba_kiros_hinton(rng, x):
    cell = make(v.NormalizedCell, rng=rng).cells[0]
    w, (h, c) = cell.params, rng.standard_normal((2, B, H))
    assert all((w[name] == 1).all() for name in ("gain_ih", "gain_hh", "gain_c"))
    assert not w["bias_c"].any()

    def norm(a):
        return (a - a.mean(1, keepdims=True)) / np.sqrt(a.var(1, keepdims=True) + 1e-5)

    def sigma(a):
        return 1 / (1 + np.exp(-a))

    a = norm(x[:, 0] @ w["weight_ih"].T) + norm(h @ w["weight_hh"].T) + w["bias_ih"] + w["bias_hh"]
    i, f, g, o = np.split(a, 4, axis=1)
    c_new = sigma(f) * c + sigma(i) * np.tanh(g)
    h_new = sigma(o) * np.tanh(norm(c_new))
    for mine, wanted in zip(cell(x[:, 0], (h, c)), (h_new, c_new), strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=0, atol=1e-12)


def test_normalized_hardly_sees_weights_ten_times_as_large(rng):
    """A small constant keeps the division from being one by zero: hardly, not never."""
    moved = {}
    for cell in (v.NormalizedCell, LSTM.cell):
        layer = make(cell, rng=rng)
        before = layer.forward(X)[0]
        for weight in ("weight_ih_l0", "weight_hh_l0"):
            layer.params[weight] *= 10
        moved[cell] = np.abs(layer.forward(X)[0] - before).max()
    assert moved[v.NormalizedCell] < 0.02 < 0.2 < moved[LSTM.cell]


def test_the_experiment_has_every_variant_and_begins_by_remembering():
    assert set(experiment.VARIANTS.values()) == {LSTM.cell, *CELLS}
    for name in experiment.VARIANTS:
        model = experiment.make(name, 2, 1, "one", np.random.default_rng(0))
        rows = 0 if name == "Coupled" else 1
        for bias, value in (("bias_ih_l0", 1), ("bias_hh_l0", 0)):
            forget = model.rnn.params[bias].reshape(-1, experiment.CELLS)[rows]
            assert (forget == value).all()


@pytest.mark.parametrize("variant", experiment.VARIANTS)
def test_every_variant_trains(variant, monkeypatch):
    monkeypatch.setattr(experiment, "LONG", 30)
    setting = {"task": "flip-flop", "variant": variant, "updates": 2, "batch": 4, "lr": 0.02}
    first, again = (experiment.run(setting, 0) for _ in range(2))
    assert first == again
    assert first != experiment.run(setting, 1)


def test_rates_and_verdicts_come_from_different_seeds():
    settings = experiment.settings(False)
    tuning = [s for s in settings if "first_seed" not in s]
    final = [s for s in settings if "first_seed" in s]
    assert min(s["first_seed"] for s in final) >= experiment.SEEDS
    assert {(s["task"], s["variant"]) for s in tuning} == {(s["task"], s["variant"]) for s in final}
    draws = {
        first: experiment.run(final[0] | {"first_seed": first, "updates": 1}, seed)["test_mse"]
        for first, seed in ((0, 3), (2, 1), (3, 0), (100, 0))
    }
    assert draws[0] == draws[2] == draws[3] != draws[100]


@pytest.mark.parametrize("task", experiment.TASKS)
def test_the_rates_chosen_are_the_tuned_ones_and_lie_inside_the_grid(task):
    errors = experiment.tuned(load_results("lstm_variants"), task)
    assert list(errors) == list(experiment.VARIANTS)
    for rate, by_rate in zip(experiment.CHOSEN[task], errors.values(), strict=True):
        assert rate == min(by_rate, key=by_rate.get)
        assert min(by_rate) < rate < max(by_rate)


def test_scored_are_the_seeds_that_chose_no_rate():
    stored = load_results("lstm_variants")
    scores = experiment.scored(stored, "adding", "test_mse", experiment.UPDATES)
    assert list(scores) == list(experiment.VARIANTS)
    assert {len(seeds) for seeds in scores.values()} == {16}
    chose = {
        run["metrics"]["test_mse"] for run in stored["runs"] if "first_seed" not in run["setting"]
    }
    assert not chose & set(np.concatenate(list(scores.values())))
    longer = experiment.scored(stored, "adding", "test_mse", experiment.LONGER)
    assert {name: len(seeds) for name, seeds in longer.items()} == dict.fromkeys(
        ("Standard", "NoInputGate", "NoOutputGate"), experiment.SEEDS
    )
