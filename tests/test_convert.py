"""Weights between scratch, torch, Keras, ONNX, the papers' GRU, and files."""

import io
import os
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optional import optional
from parity import random_state

from rnnbook import convert, scratch

torch = optional("torch")
pytorch = optional("rnnbook.pytorch")

os.environ.setdefault("KERAS_BACKEND", "torch")  # before keras is imported, below

KINDS = list(convert.KINDS)
B, T, D, H = 3, 5, 2, 4


def make(kind, num_layers=1, bidirectional=False, *, rng=None, hidden_size=H):
    rng = np.random.default_rng(0) if rng is None else rng
    return getattr(scratch, kind)(D, hidden_size, num_layers, bidirectional, rng=rng)


def unlike(layer):
    """The same layer with other weights."""
    return make(type(layer).__name__, layer.num_layers, layer.bidirectional, rng=rng_of(1))


def rng_of(seed):
    return np.random.default_rng(seed)


def equal(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        np.testing.assert_array_equal(ours[name], array, err_msg=name)


def close(ours, theirs, atol=1e-12):
    np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=0, atol=atol)


layouts = pytest.mark.parametrize(
    ("num_layers", "bidirectional"), [(1, False), (3, False), (1, True), (2, True)]
)
kinds = pytest.mark.parametrize("kind", KINDS)


# Between models


@kinds
@layouts
def test_scratch_to_pytorch_to_torch_and_back(kind, num_layers, bidirectional):
    layer = make(kind, num_layers, bidirectional)
    module = getattr(pytorch, kind)(
        D, H, num_layers, bidirectional=bidirectional, dtype=torch.float64
    )
    convert.copy_weights(layer, module)
    x, state = rng_of(2).standard_normal((B, T, D)), random_state(layer, B, rng_of(3))
    output, final = layer.forward(x, state)
    as_tensors = [torch.tensor(part) for part in (state if isinstance(state, tuple) else [state])]
    with torch.no_grad():
        theirs, their_final = module(
            torch.tensor(x), tuple(as_tensors) if len(as_tensors) > 1 else as_tensors[0]
        )
    close(theirs, output)
    for ours_, theirs_ in zip(np.atleast_1d(final), np.atleast_1d(their_final), strict=True):
        close(theirs_, ours_)

    if kind != "ResetBeforeGRU":  # torch.nn has none
        twin = getattr(torch.nn, kind)(D, H, num_layers, bidirectional=bidirectional)
        twin.double()
        convert.copy_weights(module, twin)
        module = twin
    other = unlike(layer)
    convert.copy_weights(module, other)
    equal(other.params, layer.params)


@pytest.mark.parametrize("many_to", ["one", "many"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("kind", ["RNN", "LSTM"])
def test_sequence_models_are_twins(kind, bidirectional, many_to):
    rng, width = rng_of(0), H * (1 + bidirectional)
    ours = scratch.SequenceModel(
        getattr(scratch, kind)(3, H, 2, bidirectional, rng=rng),
        scratch.Linear(width, 5, rng=rng),
        many_to=many_to,
        embedding=scratch.Embedding(7, 3, rng=rng),
    )
    x, lengths = rng.integers(0, 7, (B, T)), np.array([2, 5, 3])
    for layers in (pytorch, torch.nn):
        layer = getattr(layers, kind)(3, H, 2, batch_first=True, bidirectional=bidirectional)
        theirs = pytorch.SequenceModel(
            layer, torch.nn.Linear(width, 5), many_to=many_to, embedding=torch.nn.Embedding(7, 3)
        ).double()
        assert set(theirs.state_dict()) == set(ours.params)
        convert.copy_weights(ours, theirs)
        for given_lengths in (None, lengths):
            prediction = ours.forward(x, given_lengths)
            twin = theirs(torch.tensor(x), given_lengths)
            close(twin.detach(), prediction)
            dprediction = rng.standard_normal(prediction.shape)
            ours.backward(dprediction)
            theirs.zero_grad()
            (twin * torch.tensor(dprediction)).sum().backward()
            for name, parameter in theirs.named_parameters():
                close(parameter.grad, ours.grads[name])


def test_models_without_embedding_and_with_a_scan():
    model = pytorch.SequenceModel(pytorch.LRU(D, H), torch.nn.Linear(D, 1))
    x = torch.zeros(B, T, D)
    x[1, 2:] = torch.nan  # beyond its end
    assert model(x, [5, 2, 3]).isfinite().all()
    assert set(dict(model.named_children())) == {"rnn", "head"}
    with pytest.raises(ValueError, match="many_to must be one of 'one', 'many', got 'all'"):
        pytorch.SequenceModel(pytorch.LRU(D, H), torch.nn.Linear(D, 1), many_to="all")
    with pytest.raises(ValueError, match="lengths must lie between 1 and T = 5, got 6 at index 0"):
        model(x, [6, 2, 3])


def test_params_are_copies_and_take_the_models_dtype():
    layer, module = make("GRU"), torch.nn.GRU(D, H)  # float32
    convert.copy_weights(layer, module)
    assert module.weight_ih_l0.dtype == torch.float32
    assert module.weight_ih_l0.requires_grad
    for model in (layer, module):
        params = convert.get_params(model)
        before = params["weight_hh_l0"].copy()
        params["weight_hh_l0"][:] = 7
        np.testing.assert_array_equal(convert.get_params(model)["weight_hh_l0"], before)


@pytest.mark.parametrize("make_model", [make, lambda kind: getattr(torch.nn, kind)(D, H)])
def test_wrong_params_are_named_and_nothing_changes(make_model):
    model = make_model("LSTM")
    before = convert.get_params(model)
    good = {name: array + 1 for name, array in before.items()}
    missing = {name: array for name, array in good.items() if name != "bias_hh_l0"}
    cases = [
        (missing, "params is missing bias_hh_l0"),
        (good | {"weight": np.ones(2)}, "params has the unknown weight"),
        (missing | {"b_hh": np.ones(2)}, "params is missing bias_hh_l0 and has the unknown b_hh"),
        (good | {"bias_hh_l0": np.ones(3)}, r"bias_hh_l0 must have shape \(16,\), got \(3,\)"),
        (
            good | {"bias_hh_l0": np.full(16, np.nan)},
            r"bias_hh_l0 must be finite, got nan at index \(0,\)",
        ),
        (good | {"bias_hh_l0": np.full(16, "1")}, "bias_hh_l0 must .* numbers, got .*<U1"),
        (good | {"bias_hh_l0": np.full(16, None)}, "bias_hh_l0 must .* numbers, got .*object"),
        (good | {"bias_hh_l0": np.full(16, 1j)}, "bias_hh_l0 must hold real numbers, got complex"),
        (good | {"bias_hh_l0": None}, r"bias_hh_l0 must be an array of shape \(16,\), got None"),
        (good | {3: np.ones(16)}, "params must have strings as keys, got 3"),
        (good | {None: None, "b": None}, "params must have strings as keys, got None"),
        (None, "params must be a dict of arrays, got NoneType"),
    ]
    for params, message in cases:
        with pytest.raises(ValueError, match=message):
            convert.set_params(model, params)
        equal(convert.get_params(model), before)
    convert.set_params(model, good)
    equal(convert.get_params(model), good)


def test_a_torch_module_takes_all_arrays_of_numbers_and_none_that_overflow():
    model = torch.nn.GRU(D, H)
    good = convert.get_params(model)
    numbers = np.arange(12)
    for array in (
        numbers[::-1],
        numbers.astype(">f4"),
        numbers.astype(np.longdouble),
        torch.arange(12, dtype=torch.bfloat16),
    ):
        convert.set_params(model, good | {"bias_hh_l0": array})
        expected = array.tolist()
        assert model.bias_hh_l0.tolist() == expected
    with pytest.raises(ValueError, match=r"bias_hh_l0 must be finite, got inf at index \(0,\)"):
        convert.set_params(model, good | {"bias_hh_l0": np.full(12, 1e300)})  # not in float32
    counter = torch.nn.BatchNorm1d(1)
    wrong = convert.get_params(counter) | {"num_batches_tracked": np.array(np.nan)}
    with pytest.raises(ValueError, match="num_batches_tracked must be finite, got nan"):
        convert.set_params(counter, wrong)


@pytest.mark.parametrize(("wrong", "came"), [("a", "<U1"), (None, "object")])
def test_other_weights_than_numbers_are_named_on_every_route(wrong, came):
    params = make("GRU").params
    (keras,), (onnx,) = convert.to_keras(params, "GRU"), convert.to_onnx(params, "GRU")
    bad = params | {"bias_ih_l0": np.full(12, wrong)}
    for route, *arguments in [
        (convert.to_keras, bad, "GRU"),
        (convert.to_onnx, bad, "GRU"),
        (convert.flip_update_gate, bad),
        (convert.from_keras, [[*keras[:2], np.full((2, 12), wrong)]], "GRU"),
        (convert.from_onnx, [onnx | {"B": np.full((1, 24), wrong)}], "GRU"),
    ]:
        with pytest.raises(ValueError, match=f"bias_ih_l0 must be an array of numbers, .* {came}"):
            route(*arguments)
    with pytest.raises(ValueError, match="params must have strings as keys, got 3"):
        convert.to_keras(params | {3: np.ones(2)}, "GRU")
    with pytest.raises(ValueError, match=r"nodes\[0\] must have strings as keys, got 3"):
        convert.from_onnx([{3: np.ones(2)}], "GRU")


def test_convert_and_scratch_need_neither_torch_nor_keras():
    program = (
        "import sys, tempfile, os; from rnnbook import convert, scratch;"
        "layer = scratch.LSTM(2, 3); path = os.path.join(tempfile.mkdtemp(), 'w.npz');"
        "convert.save_params(path, convert.get_params(layer));"
        "convert.set_params(layer, convert.load_params(path));"
        "convert.from_keras(convert.to_keras(layer.params, 'LSTM'), 'LSTM');"
        "assert not {'torch', 'keras', 'safetensors', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("layers", [torch.nn, pytorch])
@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@layouts
def test_a_layer_without_bias_is_one_of_zeros(layers, kind, num_layers, bidirectional):
    options = {"bidirectional": bidirectional, "batch_first": True, "dtype": torch.float64}
    bare = getattr(layers, kind)(D, H, num_layers, bias=False, **options)
    x = rng_of(2).standard_normal((B, T, D))
    expected = bare(torch.tensor(x))[0].detach()

    ours = make(kind, num_layers, bidirectional)
    convert.copy_weights(bare, ours)  # from none to zeros
    close(ours.forward(x)[0], expected)
    with_bias = getattr(layers, kind)(D, H, num_layers, **options)
    convert.copy_weights(bare, with_bias)
    close(with_bias(torch.tensor(x))[0].detach(), expected)

    other = getattr(layers, kind)(D, H, num_layers, bias=False, **options)
    convert.copy_weights(ours, other)  # from zeros to none
    close(other(torch.tensor(x))[0].detach(), expected)
    before = convert.get_params(other)
    ours.params["bias_hh_l0"][-1] = 1
    ours.params["weight_ih_l0"] += 1
    with pytest.raises(ValueError, match="params has the unknown bias_hh_l0"):
        convert.copy_weights(ours, other)
    equal(convert.get_params(other), before)

    params = convert.get_params(bare)
    for to, back in [
        (convert.to_keras, convert.from_keras),
        (convert.to_onnx, convert.from_onnx),
    ]:
        theirs = to(params, kind)
        assert len(theirs[0]) == (2 * (1 + bidirectional) if to is convert.to_keras else 2)
        convert.set_params(other, back(theirs, kind))
        equal(convert.get_params(other), params)
    if kind == "GRU":
        equal(convert.flip_update_gate(convert.flip_update_gate(params)), params)


def test_models_and_heads_without_bias():
    ours = scratch.SequenceModel(make("GRU"), scratch.Linear(H, 2, bias=False, rng=rng_of(1)))
    layer = torch.nn.GRU(D, H, batch_first=True, bias=False)
    theirs = pytorch.SequenceModel(layer, torch.nn.Linear(H, 2)).double()
    convert.copy_weights(theirs, pytorch.SequenceModel(pytorch.GRU(D, H), torch.nn.Linear(H, 2)))
    with pytest.raises(ValueError, match=r"params has the unknown head\.bias"):
        convert.copy_weights(theirs, ours)
    with torch.no_grad():
        theirs.head.bias.zero_()
    convert.copy_weights(theirs, ours)
    x = rng_of(2).standard_normal((B, T, D))
    close(ours.forward(x), theirs(torch.tensor(x)).detach())
    # what is missing but has no weight beside it is still missed
    layer, norm = make("GRU"), torch.nn.LayerNorm(H)
    with pytest.raises(ValueError, match="params is missing bias, weight"):
        convert.copy_weights(layer, norm)
    params = convert.get_params(layer)
    del params["bias_ih_l0"], params["bias_hh_l0"]
    with pytest.raises(ValueError, match="params is missing bias_hh_l0, bias_ih_l0"):
        convert.set_params(make("GRU"), params)


@pytest.mark.parametrize("wrong", [np.full(12, "a"), np.full(12, None), None])
def test_superfluous_biases_must_be_numbers(wrong):
    bare = torch.nn.GRU(D, H, bias=False)
    params = convert.get_params(bare)
    with pytest.raises(ValueError, match="bias_ih_l0 must be an array of numbers"):
        convert.set_params(bare, params | {"bias_ih_l0": wrong})
    zeros = torch.zeros(12, dtype=torch.bfloat16)
    convert.set_params(bare, params | {"bias_ih_l0": zeros})


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_goes_through_numpy_unchanged(dtype):
    source, target = torch.nn.GRU(D, H, dtype=dtype), torch.nn.GRU(D, H, dtype=dtype)
    convert.copy_weights(source, target)
    for name, tensor in source.state_dict().items():
        assert torch.equal(target.state_dict()[name], tensor)
    layer = make("GRU")
    convert.copy_weights(source, layer)
    close(layer.params["weight_ih_l0"], source.weight_ih_l0.detach().double(), 0)
    counter = torch.nn.BatchNorm1d(1)
    assert convert.get_params(counter)["num_batches_tracked"].dtype == np.int64


def test_a_projection_is_copied_and_refused_where_there_is_none():
    source = torch.nn.LSTM(D, H, 2, proj_size=3, bidirectional=True)
    target = pytorch.FusedLSTM(D, H, 2, proj_size=3, bidirectional=True)
    convert.copy_weights(source, target)
    equal(convert.get_params(target), convert.get_params(source))
    for to in (convert.to_keras, convert.to_onnx):
        with pytest.raises(ValueError, match="params has the unknown weight_hr_l0"):
            to(convert.get_params(torch.nn.LSTM(D, H, proj_size=3)), "LSTM")


# Orders of gates, and the papers' GRU


def test_reorder_by_hand():
    array = np.arange(8).reshape(8, 1)
    assert convert.reorder(array, "ifgo", "iofg")[:, 0].tolist() == [0, 1, 6, 7, 2, 3, 4, 5]
    back = convert.reorder(convert.reorder(array, "ifgo", "iofg"), "iofg", "ifgo")
    np.testing.assert_array_equal(back, array)
    with pytest.raises(ValueError, match="target must hold the letters of 'ifgo', got 'rzn'"):
        convert.reorder(array, "ifgo", "rzn")
    with pytest.raises(ValueError, match="array must have a multiple of 3 rows, got 8"):
        convert.reorder(array, "rzn", "zrn")


@pytest.mark.parametrize("kind", ["GRU", "ResetBeforeGRU"])
def test_the_update_gate_of_chung_takes_the_new_state(kind):
    """The equations of Chung et al. (2014) with flipped weights are this library's layer."""
    layer = make(kind)
    flipped = convert.flip_update_gate(layer.params)
    equal(convert.flip_update_gate(flipped), layer.params)
    x = rng_of(2).standard_normal((1, T, D))
    output, _ = layer.forward(x)
    w_ir, w_iz, w_in = np.split(flipped["weight_ih_l0"], 3)
    w_hr, w_hz, w_hn = np.split(flipped["weight_hh_l0"], 3)
    b_ir, b_iz, b_in = np.split(flipped["bias_ih_l0"], 3)
    b_hr, b_hz, b_hn = np.split(flipped["bias_hh_l0"], 3)
    h = np.zeros(H)
    for t in range(T):
        r = 1 / (1 + np.exp(-(w_ir @ x[0, t] + b_ir + w_hr @ h + b_hr)))
        z = 1 / (1 + np.exp(-(w_iz @ x[0, t] + b_iz + w_hz @ h + b_hz)))
        if kind == "GRU":
            n = np.tanh(w_in @ x[0, t] + b_in + r * (w_hn @ h + b_hn))
        else:
            n = np.tanh(w_in @ x[0, t] + b_in + w_hn @ (r * h) + b_hn)
        h = (1 - z) * h + z * n
        close(output[0, t], h)


# Keras

SINGLE = 1e-6  # Keras multiplies in float32 even where layers and inputs are float64


@pytest.fixture
def keras():
    """Keras on the torch backend, if it is there."""
    keras = pytest.importorskip("keras", reason="keras is not installed")
    if keras.backend.backend() != "torch":
        pytest.skip("keras runs on another backend than torch")
    return keras


def keras_stack(keras, kind, layer):
    """Keras layers of the same sizes as a scratch layer, built."""
    cls = {"RNN": "SimpleRNN", "LSTM": "LSTM"}.get(kind, "GRU")
    options = {"return_sequences": True, "return_state": True, "dtype": "float64"}
    if cls == "GRU":
        options["reset_after"] = kind == "GRU"
    stack, size = [], D
    for _ in range(layer.num_layers):
        one = getattr(keras.layers, cls)(H, **options)
        if layer.bidirectional:
            one = keras.layers.Bidirectional(one, dtype="float64")
        one.build((B, T, size))
        stack.append(one)
        size = H * layer.directions
    return stack


def run_keras(stack, x):
    """Output of the last layer, and the final states of all, as torch has them."""
    states = []
    for one in stack:
        x, *final = one(x)
        states += final
    return x.detach().numpy(), [state.detach().numpy() for state in states]


@kinds
@layouts
@pytest.mark.slow
def test_keras_and_back(keras, kind, num_layers, bidirectional):
    layer = make(kind, num_layers, bidirectional)
    stack = keras_stack(keras, kind, layer)
    for one, weights in zip(stack, convert.to_keras(layer.params, kind), strict=True):
        one.set_weights(weights)
    x = rng_of(2).standard_normal((B, T, D))
    output, final = layer.forward(x)
    theirs, states = run_keras(stack, x)
    close(theirs, output, SINGLE)
    # Keras lists h (and c) layer by layer and direction by direction
    final = final if isinstance(final, tuple) else (final,)
    close(states, [part[i] for i in range(len(final[0])) for part in final], SINGLE)

    other = unlike(layer)
    other.load_params(convert.from_keras([one.get_weights() for one in stack], kind))
    close(other.forward(x)[0], output)  # the sum of the biases, shared otherwise
    if kind == "GRU":
        equal(other.params, layer.params)


@kinds
def test_keras_with_weights_of_its_own_drawing(keras, kind):
    layer = make(kind, 2, True)
    stack = keras_stack(keras, kind, layer)
    layer.load_params(convert.from_keras([one.get_weights() for one in stack], kind))
    x = rng_of(2).standard_normal((B, T, D))
    close(layer.forward(x)[0], run_keras(stack, x)[0], SINGLE)


@kinds
@pytest.mark.parametrize("bidirectional", [False, True])
def test_keras_without_biases(kind, bidirectional):
    layer = make(kind, bidirectional=bidirectional)
    for name in layer.params:
        if name.startswith("bias"):
            layer.params[name][:] = 0
    (weights,) = convert.to_keras(layer.params, kind)
    matrices = [array for i, array in enumerate(weights) if i % 3 != 2]
    equal(convert.from_keras([matrices], kind), layer.params)


def test_wrong_keras_weights_are_named():
    good = convert.to_keras(make("LSTM").params, "LSTM")
    kernel, recurrent, bias = good[0]
    cases = [
        ([good[0] * 3], r"layers\[0\] must hold 2 or 3 arrays, or twice as many .* got 9"),
        ([[kernel, recurrent.T, bias]], r"layers\[0\] recurrent_kernel must have shape \(16, 64\)"),
        ([[kernel.T, recurrent, bias]], r"layers\[0\] kernel must have shape \(D, 16\), got \(16"),
        ([[kernel, recurrent, bias[:3]]], r"layers\[0\] bias must have shape \(16,\), got \(3,\)"),
        ([good[0], good[0]], r"weight_ih_l1 must have shape \(16, 4\), got \(16, 2\)"),
        ([good[0], good[0] * 2], r"params is missing .*weight_ih_l0_reverse"),
        ([], "params is missing weight_hh_l0, weight_ih_l0"),
    ]
    for layers, message in cases:
        with pytest.raises(ValueError, match=message):
            convert.from_keras(layers, "LSTM")
    with pytest.raises(ValueError, match=r"kind must be one of 'RNN', .*, got 'SimpleRNN'"):
        convert.from_keras(good, "SimpleRNN")


@kinds
@pytest.mark.parametrize("bias", [True, False])
def test_two_layers_in_one_list_are_not_two_directions(kind, bias):
    rng = rng_of(0)

    def in_one_list(size):
        layer = getattr(scratch, kind)(size, H, 2, rng=rng)
        lists = convert.to_keras(layer.params, kind)
        return [array for weights in lists for array in weights[: 2 + bias]]

    for bidirectional in (None, True, False):
        with pytest.raises(ValueError, match=r"layers\[0\] must hold one layer, got [46] arrays"):
            convert.from_keras([in_one_list(D)], kind, bidirectional=bidirectional)
    # Two layers and two directions of the same sizes look alike: then it must be said
    alike = in_one_list(H)
    with pytest.raises(ValueError, match=r"bidirectional must be True if the [46] arrays .* None"):
        convert.from_keras([alike], kind)
    with pytest.raises(ValueError, match=r"layers\[0\] must hold one layer, got [46] arrays"):
        convert.from_keras([alike], kind, bidirectional=False)
    params = convert.from_keras([alike], kind, bidirectional=True)
    assert "weight_ih_l0_reverse" in params
    half = len(alike) // 2
    assert "weight_ih_l1" in convert.from_keras([alike[:half], alike[half:]], kind)
    with pytest.raises(ValueError, match=r"layers\[0\] must hold two directions, got [23] arrays"):
        convert.from_keras([alike[:half], alike[half:]], kind, bidirectional=True)
    with pytest.raises(ValueError, match=r"layers\[0\] must be a list of one layer's arrays"):
        convert.from_keras(alike, kind)


@kinds
def test_a_stack_of_two_directions_with_as_many_inputs_as_units_need_not_say_so(kind):
    layer = getattr(scratch, kind)(H, H, 2, True, rng=rng_of(0))
    lists = convert.to_keras(layer.params, kind)
    x = rng_of(1).standard_normal((B, T, H))
    before, _ = layer.forward(x)
    layer.load_params(convert.from_keras(lists, kind))
    close(layer.forward(x)[0], before)


def test_wrong_params_for_keras_and_onnx_are_named():
    params = make("GRU", 2, True).params
    for to in (convert.to_keras, convert.to_onnx):
        with pytest.raises(ValueError, match=r"weight_ih_l0 must have shape \(16, D\), got \(12"):
            to(params, "LSTM")
        fewer = {name: array for name, array in params.items() if name != "bias_hh_l1_reverse"}
        with pytest.raises(ValueError, match="params is missing bias_hh_l1_reverse"):
            to(fewer, "GRU")
        with pytest.raises(ValueError, match="params has the unknown gain"):
            to(params | {"gain": np.ones(3)}, "GRU")
        wide = params["weight_ih_l0_reverse"].repeat(2, axis=1)
        with pytest.raises(
            ValueError, match=r"weight_ih_l0_reverse must have shape \(12, 2\), got"
        ):
            to(params | {"weight_ih_l0_reverse": wide}, "GRU")


# ONNX


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def onnx_direction(kind, x, w, r, b):
    """One direction of an ONNX node as the operators' specification writes it; x (T, B, D)."""
    w_b, r_b = np.split(b, 2)
    h = c = np.zeros((x.shape[1], r.shape[1]))
    outputs = []
    for x_t in x:
        if kind == "RNN":
            h = np.tanh(x_t @ w.T + h @ r.T + w_b + r_b)
        elif kind == "LSTM":
            i, o, f, c_new = np.split(x_t @ w.T + h @ r.T + w_b + r_b, 4, axis=1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(c_new)
            h = sigmoid(o) * np.tanh(c)
        else:
            (w_z, w_r, w_h), (r_z, r_r, r_h) = np.split(w, 3), np.split(r, 3)
            (w_bz, w_br, w_bh), (r_bz, r_br, r_bh) = np.split(w_b, 3), np.split(r_b, 3)
            z = sigmoid(x_t @ w_z.T + h @ r_z.T + w_bz + r_bz)
            r_t = sigmoid(x_t @ w_r.T + h @ r_r.T + w_br + r_br)
            if kind == "GRU":  # linear_before_reset = 1
                h_new = np.tanh(x_t @ w_h.T + r_t * (h @ r_h.T + r_bh) + w_bh)
            else:
                h_new = np.tanh(x_t @ w_h.T + (r_t * h) @ r_h.T + r_bh + w_bh)
            h = (1 - z) * h_new + z * h
        outputs.append(h)
    return np.stack(outputs)  # (T, B, H)


def onnx_node(kind, x, node):
    """x (B, T, D) -> (B, T, H * directions) by the equations above."""
    x, parts = x.transpose(1, 0, 2), []
    for direction in range(len(node["W"])):
        arrays = (node[name][direction] for name in "WRB")
        y = onnx_direction(kind, x[::-1] if direction else x, *arrays)
        parts.append(y[::-1] if direction else y)
    return np.concatenate(parts, axis=2).transpose(1, 0, 2)


def onnx_package(kind, x, node):
    """The same by the reference evaluator of the onnx package."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    from onnx.reference import ReferenceEvaluator

    operator = {"ResetBeforeGRU": "GRU"}.get(kind, kind)
    count = len(node["W"])
    options = {"hidden_size": H, "direction": ["forward", "bidirectional"][count - 1]}
    if operator == "GRU":
        options["linear_before_reset"] = int(kind == "GRU")
    make_one = onnx.helper.make_node(operator, ["X", "W", "R", "B"], ["Y", "Y_h"], **options)
    types = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.DOUBLE, None)
        for name in ("X", "W", "R", "B", "Y", "Y_h")
    ]
    graph = onnx.helper.make_graph([make_one], "g", types[:4], types[4:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 14)])
    y, _ = ReferenceEvaluator(model).run(None, {"X": x.transpose(1, 0, 2), **node})
    return y.transpose(2, 0, 1, 3).reshape(*x.shape[:2], count * H)  # from (T, dirs, B, H)


@pytest.mark.parametrize("run", [onnx_node, onnx_package])
@kinds
@layouts
def test_onnx_and_back(kind, num_layers, bidirectional, run):
    layer = make(kind, num_layers, bidirectional)
    nodes = convert.to_onnx(layer.params, kind)
    x = rng_of(2).standard_normal((B, T, D))
    y = x
    for node in nodes:
        y = run(kind, y, node)
    close(y, layer.forward(x)[0])
    equal(convert.from_onnx(nodes, kind), layer.params)


def test_wrong_onnx_nodes_are_named():
    (node,) = convert.to_onnx(make("GRU").params, "GRU")
    cases = [
        ({"W": node["W"], "B": node["B"]}, r"nodes\[0\] is missing R"),
        (node | {"R": None}, r"nodes\[0\] is missing R"),
        (node | {"initial_h": np.ones((1, B, H))}, r"nodes\[0\] initial_h must be zero"),
        (node | {"initial_c": np.zeros((1, B, H))}, r"nodes\[0\] has the unknown initial_c"),
        (node | {"R": node["R"].repeat(3, axis=0)}, r"nodes\[0\] R must have 1 or 2 dir.*, got 3"),
        (node | {"P": 1}, r"nodes\[0\] has the unknown P"),
        (node | {"R": node["R"][0]}, r"nodes\[0\] R must have shape \(directions, G \* H, H\)"),
        (node | {"R": node["R"][:, 1:]}, r"nodes\[0\] R must have shape \(1, 12, 4\), got \(1, 11"),
        (node | {"W": node["W"][:, 1:]}, r"nodes\[0\] W must have shape \(1, 12, D\), got \(1, 11"),
        (node | {"B": node["B"][:, 1:]}, r"nodes\[0\] B must have shape \(1, 24\), got \(1, 23\)"),
    ]
    for wrong, message in cases:
        with pytest.raises(ValueError, match=message):
            convert.from_onnx([wrong], "GRU")


@kinds
@pytest.mark.parametrize("bidirectional", [False, True])
def test_onnx_inputs_that_may_be_left_out(kind, bidirectional):
    layer = make(kind, 2, bidirectional)
    nodes = convert.to_onnx(layer.params, kind)
    state = np.zeros((1 + bidirectional, B, H))
    more = {"initial_h": state, "sequence_lens": np.full(B, T, np.int32)}
    lstms = {"initial_c": state, "P": np.zeros((1 + bidirectional, 3 * H))}
    more |= lstms if kind == "LSTM" else {}
    equal(convert.from_onnx([node | more for node in nodes], kind), layer.params)
    for name in lstms if kind == "LSTM" else []:
        with pytest.raises(ValueError, match=rf"nodes\[1\] {name} must be zero"):
            convert.from_onnx([nodes[0], nodes[1] | {name: lstms[name] + 1}], kind)

    for name in layer.params:
        if name.startswith("bias_") and "l1" in name:
            layer.params[name][:] = 0
    bare = {name: array for name, array in nodes[1].items() if name != "B"}
    for without in (bare, nodes[1] | {"B": None}):
        equal(convert.from_onnx([nodes[0], without], kind), layer.params)


@given(
    kind=st.sampled_from(KINDS),
    num_layers=st.integers(1, 3),
    bidirectional=st.booleans(),
    hidden_size=st.integers(1, 4),
    seed=st.integers(0, 5),
)
def test_every_route_and_back(kind, num_layers, bidirectional, hidden_size, seed):
    layer = make(kind, num_layers, bidirectional, rng=rng_of(seed), hidden_size=hidden_size)
    equal(convert.from_onnx(convert.to_onnx(layer.params, kind), kind), layer.params)
    lists = convert.to_keras(layer.params, kind)
    back = convert.from_keras(lists, kind, bidirectional=bidirectional)
    for name in layer.params:
        if name.startswith("bias_ih") and kind != "GRU":  # one bias: only the sum survives
            other = name.replace("ih", "hh")
            close(back[name] + back[other], layer.params[name] + layer.params[other])
        elif not name.startswith("bias_hh") or kind == "GRU":
            np.testing.assert_array_equal(back[name], layer.params[name])


# Files


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_files_hold_every_bit(tmp_path, ending):
    pytest.importorskip("safetensors" if ending == "safetensors" else "numpy")
    path = tmp_path / f"weights.{ending}"
    params = make("LSTM", 2, True).params | {
        "transposed": np.arange(6.0).reshape(2, 3).T,
        "single": np.float32([[0.1]]),
        "file": np.array([3, -4]),
        "scalar": np.array(3.5),
    }
    convert.save_params(path, params)
    loaded = convert.load_params(str(path))
    equal(loaded, params)
    assert loaded["scalar"].shape == ()
    assert {name: array.dtype for name, array in loaded.items()} == {
        name: array.dtype for name, array in params.items()
    }


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch, ending):
    pytest.importorskip("safetensors" if ending == "safetensors" else "numpy")
    path = tmp_path / f"weights.{ending}"
    old, new = make("RNN").params, make("RNN", rng=rng_of(1)).params
    convert.save_params(path, old)

    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space left"):
        convert.save_params(path, new)
    monkeypatch.undo()
    equal(convert.load_params(path), old)
    for wrong in ([1.0], np.array([None]), np.array(["a"])):
        with pytest.raises(ValueError, match="weight_ih_l0 must be an array of numbers, got "):
            convert.save_params(path, new | {"weight_ih_l0": wrong})
    equal(convert.load_params(path), old)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_what_a_file_cannot_hold_is_named(tmp_path):
    path = tmp_path / "w.safetensors"
    for params, message in [
        ({"a": np.ones(2) * 1j}, "a must have numbers of 8 bytes at most, got complex128"),
        ({"__metadata__": np.ones(2)}, "params must have other keys .*, got '__metadata__'"),
        ({3: np.ones(2)}, "params must have strings as keys, got 3"),
    ]:
        with pytest.raises(ValueError, match=message):
            convert.save_params(path, params)
    with pytest.raises(ValueError, match="params must have strings as keys, got 3"):
        convert.save_params(tmp_path / "w.npz", {3: np.ones(2)})
    assert not list(tmp_path.iterdir())
    convert.save_params(tmp_path / "w.npz", {"__metadata__": np.ones(2) * 1j})
    equal(convert.load_params(tmp_path / "w.npz"), {"__metadata__": np.ones(2) * 1j})


def test_an_npz_file_with_other_things_than_numbers_is_refused(tmp_path):
    path = tmp_path / "w.npz"
    np.savez(path, a=np.ones(2), words=np.array(["a"]))
    with pytest.raises(
        ValueError, match=r"words in .*w\.npz must be an array of numbers, got .*U1"
    ):
        convert.load_params(path)
    np.savez(path, a=np.ones(2))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(
        ValueError, match=r"readme\.txt in .* must be an array of numbers, got bytes"
    ):
        convert.load_params(path)


def test_wrong_files_are_named(tmp_path):
    pytest.importorskip("safetensors")
    with pytest.raises(ValueError, match=r"path must end in \.safetensors or \.npz, got 'w\.pt'"):
        convert.save_params(tmp_path / "w.pt", {})
    with pytest.raises(ValueError, match=r"path must end in \.safetensors or \.npz, got 'w\.pt'"):
        convert.load_params(tmp_path / "w.pt")
    for ending in ("npz", "safetensors"):
        path = tmp_path / f"w.{ending}"
        with pytest.raises(FileNotFoundError):
            convert.load_params(path)
        objects = io.BytesIO()
        np.savez(objects, a=np.array([{}], dtype=object))
        array = io.BytesIO()
        np.save(array, np.ones(3))
        good = io.BytesIO()
        np.savez(good, a=np.ones(300))
        for content in (
            b"",
            b"nonsense",
            pickle.dumps({"a": 1}),
            objects.getvalue(),
            array.getvalue(),
            good.getvalue()[:-40],
        ):
            path.write_bytes(content)
            kind = {"npz": "an npz file", "safetensors": "a safetensors file"}[ending]
            with pytest.raises(ValueError, match=f"must be {kind}"):
                convert.load_params(path)


def test_safetensors_missing_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ImportError, match=r"needs safetensors, .*rnnbook\[safetensors\]"):
        convert.save_params(tmp_path / "w.safetensors", make("RNN").params)
    assert not list(tmp_path.iterdir())
