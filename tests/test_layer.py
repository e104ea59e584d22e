"""What holds for every recurrent layer: halves, finite differences, copies, wrong input."""

import copy
import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from parity import assert_agree, named, parts, random_state, run_scratch, shapes

from rnnbook.gradcheck import check_layer
from rnnbook.scratch import (
    GRU,
    LSTM,
    RNN,
    Cell,
    RecurrentLayer,
    ResetBeforeGRU,
    enable_grad,
    fused,
)

PLAIN = [RNN, LSTM, GRU, ResetBeforeGRU]
LAYERS = PLAIN + [getattr(fused, f"Fused{kind.__name__}") for kind in PLAIN]
every_layer = pytest.mark.parametrize("kind", LAYERS, ids=lambda kind: kind.__name__)
B, T, D, H = 3, 5, 2, 4


def is_pair(kind):
    return kind.cell.state_names == ("h", "c")


def as_dict(state):
    return dict(enumerate(parts(state)))


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@every_layer
def test_a_layer_is_a_loop_over_its_cell(kind, rng):
    layer, cell = kind(D, H, rng=rng), kind.cell(D, H)
    cell.load_params({name.removesuffix("_l0"): array for name, array in layer.params.items()})
    x, state = rng.standard_normal((B, T, D)), random_state(layer, B, rng)
    output, final = layer.forward(x, state)
    state = tuple(part[0] for part in parts(state)) if is_pair(kind) else state[0]
    for t in range(T):
        called = cell(x[:, t], state)
        state, _ = cell.step(x[:, t], state)
        assert_agree(as_dict(called), as_dict(state), 0)
        assert np.abs(parts(state)[0] - output[:, t]).max() < 1e-12
    for last, part in zip(parts(state), parts(final), strict=True):
        assert np.abs(last - part[0]).max() < 1e-12


@every_layer
@given(drawn=shapes())
def test_finite_differences_agree(kind, drawn):
    rng = np.random.default_rng(0)
    layer = kind(*drawn["sizes"], rng=rng)
    x = rng.standard_normal((drawn["batch"], drawn["steps"], layer.input_size))
    state = random_state(layer, drawn["batch"], rng)
    errors = check_layer(layer, x, state=state, lengths=drawn["lengths"], rng=rng)
    assert max(errors.values()) < 1e-6, errors


@every_layer
@given(cut=st.integers(1, T - 1))
def test_two_halves_with_the_state_carried_over_are_the_whole(kind, cut):
    rng = np.random.default_rng(0)
    layer = kind(D, H, 2, rng=rng)
    x, state, dstate = (
        rng.standard_normal((B, T, D)),
        random_state(layer, B, rng),
        random_state(layer, B, rng),
    )
    doutput = rng.standard_normal((B, T, H))
    whole = run_scratch(layer, x, state, None, doutput, dstate)

    first, middle = layer.forward(x[:, :cut], state)
    second, final = layer.forward(x[:, cut:], middle)
    dx_second, dmiddle = layer.backward(doutput[:, cut:], dstate)
    grads = layer.grads
    layer.forward(x[:, :cut], state)
    dx_first, dinitial = layer.backward(doutput[:, :cut], dmiddle)
    halves = named(
        np.concatenate([first, second], axis=1),
        final,
        np.concatenate([dx_first, dx_second], axis=1),
        dinitial,
        {name: grads[name] + layer.grads[name] for name in grads},
    )
    assert_agree(halves, whole, 1e-12)


@every_layer
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_padded_sequence_is_the_sequence_alone(kind, bidirectional, rng):
    layer = kind(D, H, 2, bidirectional, rng=rng)
    x, lengths = rng.standard_normal((B, T, D)), [2, 5, 1]
    x[0, 2:], x[2, 1:] = np.nan, np.inf  # the padding is not looked at
    output, final = layer.forward(x, lengths=lengths)
    dx, _ = layer.backward(np.where(output == 0, np.nan, output))
    for b, length in enumerate(lengths):
        alone, state = layer.forward(x[b : b + 1, :length])
        assert np.abs(output[b, :length] - alone[0]).max() < 1e-12
        assert not output[b, length:].any()
        assert not dx[b, length:].any()
        for part, part_alone in zip(parts(final), parts(state), strict=True):
            assert np.abs(part[:, b] - part_alone[:, 0]).max() < 1e-12


@every_layer
def test_none_stands_for_zeros_in_backward(kind, rng):
    layer = kind(D, H, 2, True, rng=rng)
    x, dstate = rng.standard_normal((B, T, D)), random_state(layer, B, rng)
    none = run_scratch(layer, x, None, None, None, dstate)
    zeros = run_scratch(layer, x, None, None, np.zeros((B, T, 2 * H)), dstate)
    assert_agree(none, zeros, 0)
    doutput = rng.standard_normal((B, T, 2 * H))
    no_dstate = tuple(np.zeros_like(part) for part in parts(dstate))
    none = run_scratch(layer, x, None, None, doutput, None)
    zeros = run_scratch(layer, x, None, None, doutput, no_dstate if is_pair(kind) else no_dstate[0])
    assert_agree(none, zeros, 0)


@every_layer
def test_backward_belongs_to_the_latest_forward_and_uses_it_up(kind, rng):
    layer = kind(D, H, 2, True, rng=rng)
    x, doutput = rng.standard_normal((B, T, D)), rng.standard_normal((B, T, 2 * H))
    expected = run_scratch(layer, x, None, None, doutput, None)
    layer.forward(rng.standard_normal((B + 1, T + 2, D)))
    layer.forward(rng.standard_normal((B, T, D)))
    output, final = layer.forward(x)
    dx, dstate0 = layer.backward(doutput)
    assert_agree(named(output, final, dx, dstate0, layer.grads), expected, 0)
    with pytest.raises(
        RuntimeError, match=rf"^{kind.__name__}\.backward needs a call of forward b"
    ):
        layer.backward(doutput)


@every_layer
def test_in_evaluation_the_numbers_are_the_same_and_nothing_is_kept(kind, rng):
    layer = kind(D, H, 2, True, rng=rng)
    x = rng.standard_normal((B, T, D))
    expected = named(*layer.forward(x, lengths=[2, 5, 1]), *layer.forward(x), {})
    layer.eval()
    result = named(*layer.forward(x, lengths=[2, 5, 1]), *layer.forward(x), {})
    assert_agree(result, expected, 0)
    with pytest.raises(
        RuntimeError, match=r"before it, in training mode or within enable_grad\(\)\.$"
    ):
        layer.backward(np.zeros((B, T, 2 * H)))
    with enable_grad():
        layer.forward(x)
        layer.backward(np.zeros((B, T, 2 * H)))
    layer.train().forward(x)
    layer.backward(np.zeros((B, T, 2 * H)))


@every_layer
def test_going_over_to_evaluation_forgets_what_was_kept(kind, rng):
    layer = kind(D, H, rng=rng)
    layer.forward(rng.standard_normal((B, T, D)))
    layer.eval()
    with enable_grad(), pytest.raises(RuntimeError, match="needs a call of forward before it"):
        layer.backward(np.zeros((B, T, H)))


def test_an_error_within_enable_grad_ends_it(rng):
    layer = LSTM(D, H, rng=rng).eval()
    x = rng.standard_normal((B, T, D))
    with pytest.raises(ZeroDivisionError), enable_grad():
        raise ZeroDivisionError
    layer.forward(x)
    with pytest.raises(RuntimeError, match="within enable_grad"):
        layer.backward(np.zeros((B, T, H)))


@every_layer
@pytest.mark.parametrize("sizes", [(B, T, D, H), (1, 1, 1, 1), (1, T, 1, H), (B, 1, D, 1)])
def test_nothing_that_is_returned_or_given_is_an_alias(kind, sizes, rng):
    batch, steps, size, units = sizes
    layer = kind(size, units, rng=rng)
    x, state = rng.standard_normal((batch, steps, size)), random_state(layer, batch, rng)
    doutput, dstate = rng.standard_normal((batch, steps, units)), random_state(layer, batch, rng)
    expected = run_scratch(layer, x, state, None, doutput, dstate)

    given = x.copy(), copy.deepcopy(state), doutput.copy(), copy.deepcopy(dstate)
    output, final = layer.forward(*given[:2])
    kept = [array.copy() for array in (output, *parts(final))]
    for array in (given[0], *parts(given[1]), output, *parts(final)):
        array += 1
    dx, dstate0 = layer.backward(*given[2:])
    assert_agree(named(kept[0], tuple(kept[1:]), dx, dstate0, layer.grads), expected, 0)

    results = [dx, *parts(dstate0), *layer.grads.values()]
    kept = [array.copy() for array in results]
    layer.forward(*given[:2])
    layer.backward(*given[2:])
    for array, before in zip(results, kept, strict=True):
        assert np.array_equal(array, before)
    for array, before in zip(
        (*given[2:3], *parts(given[3])), (doutput, *parts(dstate)), strict=True
    ):
        assert np.array_equal(array, before)


@every_layer
def test_no_two_gradients_share_their_memory(kind, rng):
    # An optimizer may change each in place.
    layer = kind(D, H, 2, True, rng=rng)
    output, final = layer.forward(rng.standard_normal((B, T, D)))
    dx, dstate0 = layer.backward(output, final)
    arrays = [dx, *parts(dstate0), *layer.grads.values()]
    for one, other in itertools.combinations(arrays, 2):
        assert not np.may_share_memory(one, other)


@every_layer
def test_parameters_are_read_anew_at_each_forward(kind, rng):
    layer, other = kind(D, H, 2, True, rng=rng), kind(D, H, 2, True, rng=rng)
    x, doutput = rng.standard_normal((B, T, D)), rng.standard_normal((B, T, 2 * H))
    layer.forward(x)
    for name, array in other.params.items():
        layer.params[name][...] = array
    ours, theirs = (run_scratch(one, x, None, None, doutput, None) for one in (layer, other))
    assert_agree(ours, theirs, 0)


@every_layer
def test_a_copy_of_a_layer_works_like_the_layer(kind, rng):
    layer = kind(D, H, 2, True, rng=rng)
    before = len(pickle.dumps(layer))
    x, doutput = rng.standard_normal((B, T, D)), rng.standard_normal((B, T, 2 * H))
    expected = run_scratch(layer, x, None, None, doutput, None)
    layer.grads = {}
    assert len(pickle.dumps(layer)) == before  # what a run has kept does not travel
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert_agree(run_scratch(other, x, None, None, doutput, None), expected, 0)


@every_layer
def test_float32_stays_float32_and_is_near_float64(kind, rng):
    layer, double = kind(D, H, 2, True, dtype=np.float32, rng=rng), kind(D, H, 2, True)
    double.load_params(layer.params)
    assert all(array.dtype == np.float32 for array in layer.params.values())
    arguments = (
        rng.standard_normal((B, T, D)),
        random_state(layer, B, rng),
        [2, 5, 1],
        rng.standard_normal((B, T, 2 * H)),
        random_state(layer, B, rng),
    )
    single = run_scratch(layer, *arguments)
    assert all(array.dtype == np.float32 for array in single.values())
    assert_agree(single, run_scratch(double, *arguments), 1e-4)


@every_layer
def test_the_generator_decides_the_weights_within_torchs_bound(kind):
    one, same = (kind(D, 25, 2, True, rng=np.random.default_rng(1)) for _ in range(2))
    for name, array in one.params.items():
        assert np.array_equal(array, same.params[name])
        assert np.abs(array).max() <= 1 / 5
    everything = np.concatenate([array.ravel() for array in one.params.values()])
    assert np.abs(everything).max() > 0.99 / 5
    assert abs(everything.mean()) < 0.01
    assert not np.array_equal(kind(D, 25).params["weight_ih_l0"], one.params["weight_ih_l0"])


WRONG_SIZES = [
    ((0, 3), {}, r"input_size must be a whole number of at least 1, got 0"),
    ((2, 3.0), {}, r"hidden_size must be a whole number of at least 1, got 3.0"),
    ((2, 3, 0), {}, r"num_layers must be a whole number of at least 1, got 0"),
    ((2, 3), {"dtype": np.int64}, r"dtype must be float32 or float64, got int64"),
    ((2, 3), {"rng": 5}, r"rng must be a numpy.random.Generator, got int"),
]


@every_layer
@pytest.mark.parametrize(("sizes", "options", "sentence"), WRONG_SIZES)
def test_wrong_sizes_are_told(kind, sizes, options, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}"):
        kind(*sizes, **options)
    if len(sizes) == 2:
        with pytest.raises(ValueError, match=f"^{sentence}"):
            kind.cell(*sizes, **options)


@every_layer
def test_a_layer_that_has_a_cell_takes_no_other(kind):
    with pytest.raises((ValueError, TypeError), match=r"^cell must be left out|unexpected keyword"):
        kind(D, H, cell=GRU.cell)


@pytest.mark.parametrize("cell", [None, 3, GRU])
def test_a_layer_without_a_cell_wants_one(cell):
    with pytest.raises(ValueError, match=r"^cell must be a class of Cell's kind, got "):
        RecurrentLayer(D, H, cell=cell)


@every_layer
def test_a_fused_loop_takes_the_steps_of_its_own_cell_only(kind):
    class OtherCell(kind.cell):
        pass

    class Other(kind):
        cell = OtherCell

    if kind in PLAIN:
        assert isinstance(Other(D, H).cells[0], OtherCell)
    else:
        with pytest.raises(
            ValueError, match=r"^cell must be \w+Cell for a fused loop, got OtherCe"
        ):
            Other(D, H)


def test_a_cell_of_ones_own_is_a_layer(rng):
    class Leaky(Cell):
        """h_t = h_{t-1} / 2 + a_t / 2"""

        blocks = 1

        def step(self, x, h_before):
            return (h_before + self.linear(x, h_before)) / 2, (x, h_before)

        def back(self, dh, kept):
            dx, dh_before, grads = self.linear_back(dh / 2, *kept)
            return dx, dh_before + dh / 2, grads

    layer = RecurrentLayer(D, H, 2, True, cell=Leaky, rng=rng)
    x = rng.standard_normal((B, T, D))
    errors = check_layer(layer, x, lengths=[2, 5, 1], rng=rng)
    assert max(errors.values()) < 1e-6


def zeros(*shape, **entries):
    array = np.zeros(shape)
    for value in entries.values():
        array.flat[-1] = value
    return array


WRONG_INPUT = [
    ({"x": [[["a", "b"]]]}, r"x must hold real numbers, got <U1\."),
    ({"x": zeros(B, T, D) * 1j}, r"x must hold real numbers, got complex128\."),
    ({"x": [[[1, 2], [3]]]}, r"x must be an array, got rows of unequal length\."),
    (
        {"x": np.ma.masked_equal(zeros(B, T, D), 0)},
        r"x must not be masked: fill or drop what is masked beforehand\.",
    ),
    ({"x": zeros(T, D)}, r"x must have shape \(B, T, 2\), got \(5, 2\)\."),
    ({"x": zeros(B, T, D + 1)}, r"x must have shape \(B, T, 2\), got \(3, 5, 3\)\."),
    ({"x": zeros(B, 0, D)}, r"x must have shape \(B, T, 2\), got \(3, 0, 2\)\."),
    ({"x": zeros(B, T, D, bad=np.nan)}, r"x must be finite, got nan at index \(2, 4, 1\)\."),
    ({"x": zeros(B, T, D, bad=np.inf)}, r"x must be finite, got inf at index \(2, 4, 1\)\."),
    ({"lengths": [2, 0, 1]}, r"lengths must lie between 1 and T = 5, got 0 at index 1\."),
    ({"lengths": [2, 5, 6]}, r"lengths must lie between 1 and T = 5, got 6 at index 2\."),
    ({"lengths": [2, 5]}, r"lengths must have shape \(3,\), got \(2,\)\."),
    ({"lengths": [2.0, 5.0, 1.0]}, r"lengths must be integers, got float64\."),
]


@every_layer
@pytest.mark.parametrize(("wrong", "sentence"), WRONG_INPUT)
def test_wrong_input_is_told_and_changes_nothing(kind, wrong, sentence, rng):
    layer = kind(D, H, rng=rng)
    x, doutput = rng.standard_normal((B, T, D)), rng.standard_normal((B, T, H))
    expected = run_scratch(layer, x, None, None, doutput, None)
    output, final = layer.forward(x)
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        layer.forward(**({"x": zeros(B, T, D)} | wrong))
    dx, dstate0 = layer.backward(doutput)
    assert_agree(named(output, final, dx, dstate0, layer.grads), expected, 0)


@every_layer
def test_a_wrong_state_is_told(kind, rng):
    layer, cell = kind(D, H, rng=rng), kind.cell(D, H, rng=rng)
    x = np.zeros((B, T, D))

    def whole(part):
        return (part, part) if is_pair(kind) else part

    name = "h of state" if is_pair(kind) else "state"
    with pytest.raises(ValueError, match=rf"^{name} must have shape \(1, 3, 4\), got \(3, 4\)\.$"):
        layer.forward(x, whole(np.zeros((B, H))))
    with pytest.raises(ValueError, match=r"^state must be finite, got nan at index \(0, 2, 3\)\.$"):
        layer.forward(x, whole(zeros(1, B, H, bad=np.nan)))
    with pytest.raises(ValueError, match=rf"^{name} must have shape \(3, 4\), got \(1, 3, 4\)\.$"):
        cell(x[:, 0], whole(np.zeros((1, B, H))))
    with pytest.raises(ValueError, match=r"^state must be finite, got inf at index \(2, 3\)\.$"):
        cell(x[:, 0], whole(zeros(B, H, bad=np.inf)))
    with pytest.raises(ValueError, match=r"^x must have shape \(B, 2\), got \(3, 5, 2\)\.$"):
        cell(x, whole(np.zeros((B, H))))
    with pytest.raises(ValueError, match=r"^x must be finite, got nan at index \(0, 1\)\.$"):
        cell(zeros(1, D, bad=np.nan), whole(np.zeros((1, H))))
    if not is_pair(kind):
        pair = (np.zeros((1, B, H)), np.zeros((1, B, H)))
        with pytest.raises(ValueError, match=r"^state must be one array h, got 2 arrays\.$"):
            layer.forward(x, pair)


@every_layer
def test_a_wrong_gradient_is_told_and_leaves_grads_as_they_were(kind, rng):
    layer = kind(D, H, rng=rng)
    with pytest.raises(RuntimeError, match=rf"^{kind.__name__}\.backward needs a call of forward"):
        layer.backward(np.zeros((B, T, H)))
    x = rng.standard_normal((B, T, D))
    output, final = layer.forward(x)
    layer.backward(output)
    grads = {name: array.copy() for name, array in layer.grads.items()}
    layer.forward(x)
    with pytest.raises(ValueError, match=r"^doutput must have shape \(3, 5, 4\), got \(3, 4\)\.$"):
        layer.backward(output[:, -1])
    with pytest.raises(ValueError, match=r"must have shape \(1, 3, 4\), got \(1, 2, 4\)\.$"):
        layer.backward(None, tuple(p[:, :2] for p in final) if is_pair(kind) else final[:, :2])
    assert_agree(layer.grads, grads, 0)


@every_layer
def test_parameters_are_loaded_all_or_none(kind, rng):
    for layer in (kind(D, H, rng=rng), kind.cell(D, H, rng=rng)):
        before = {name: array.copy() for name, array in layer.params.items()}
        first, *_, last = before
        new = {name: array + 1 for name, array in before.items()}
        wrong = [
            ({**new, "peephole": np.zeros(1)}, "params has the unknown peephole"),
            ({name: new[name] for name in new if name != last}, f"params is missing {last}"),
            ({**new, last: new[last][:-1]}, f"{last} must have shape"),
            ({**new, last: new[last] * np.nan}, f"{last} must be finite"),
        ]
        for params, sentence in wrong:
            with pytest.raises(ValueError, match=f"^{sentence}"):
                layer.load_params(params)
            assert_agree(layer.params, before, 0)
        arrays = dict(layer.params)
        layer.load_params(new)
        assert_agree(layer.params, new, 0)
        assert all(layer.params[name] is array for name, array in arrays.items())
        new[first] += 1
        assert not np.array_equal(layer.params[first], new[first])


@every_layer
def test_a_run_that_was_interrupted_leaves_no_old_tape(kind, monkeypatch, rng):
    layer = kind(D, H, rng=rng)
    layer.forward(rng.standard_normal((B, T, D)))

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(layer, "_run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        layer.forward(rng.standard_normal((B, T, D)))
    with pytest.raises(RuntimeError, match="needs a call of forward"):
        layer.backward(rng.standard_normal((B, T, H)))


@every_layer
def test_weights_of_another_kind_are_named_and_change_nothing(kind, rng):
    layer = kind(D, H, dtype=np.float32, rng=rng)
    before = {name: array.copy() for name, array in layer.params.items()}
    shape = before["bias_hh_l0"].shape
    wrong = {
        "must hold real numbers, got <U1": np.full(shape, "a"),
        "must hold real numbers, got complex128": np.full(shape, 1j),
        r"must be finite, got inf at index \(0,\)": np.full(shape, 1e300),
        "must be an array of shape .*, got NoneType": None,
    }
    for message, array in wrong.items():
        with pytest.raises(ValueError, match=f"bias_hh_l0 {message}"):
            layer.load_params({name: 2 * a for name, a in before.items()} | {"bias_hh_l0": array})
    with pytest.raises(ValueError, match="params has the unknown 3"):
        layer.load_params(before | {3: 0})
    for name, array in before.items():
        assert np.array_equal(layer.params[name], array)


def test_a_tensor_that_needs_a_gradient_can_be_loaded(rng):
    torch = pytest.importorskip("torch")
    layer, twin = GRU(D, H, rng=rng), torch.nn.GRU(D, H, batch_first=True)
    layer.load_params(dict(twin.named_parameters()))
    assert np.array_equal(layer.params["bias_hh_l0"], twin.bias_hh_l0.detach().numpy())
