"""The layers of rnnbook.pytorch, readable and fused, against torch.nn and rnnbook.scratch."""

import copy
import inspect
import itertools

import pytest

pytest.importorskip("torch", reason="the layers are torch modules")

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from parity import (
    assert_agree,
    copy_weights,
    output_size,
    random_state,
    run_scratch,
    run_torch,
)
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pack_sequence

from rnnbook import pytorch, scratch

B, T, D, H = 3, 5, 2, 4
TWINS = {"RNN": torch.nn.RNN, "LSTM": torch.nn.LSTM, "GRU": torch.nn.GRU}
KINDS = [*TWINS, *(f"Fused{name}" for name in TWINS)]
ALL = [*KINDS, "ResetBeforeGRU"]
F64 = torch.float64


def make(name, *sizes, batch_first=True, **options):
    """A layer and its torch.nn twin, in float64, with the same weights by way of state_dict."""
    options |= {"batch_first": batch_first, "dtype": F64}
    ours = getattr(pytorch, name)(*sizes, **options)
    theirs = TWINS[name.removeprefix("Fused")](*sizes, **options)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return ours, theirs


def agree(ours, theirs, lengths, *, batch=B, steps=T, seed=0):
    """Values and all gradients, with a state to begin with and a gradient for the final one."""
    rng = np.random.default_rng(seed)
    arguments = (
        rng.standard_normal((batch, steps, ours.input_size)),
        random_state(ours, batch, rng),
        lengths,
        rng.standard_normal((batch, steps, output_size(ours) * ours.directions)),
        random_state(ours, batch, rng),
    )
    results = []
    for layer in (ours, theirs):
        torch.manual_seed(seed)  # for dropout
        results.append(run_torch(layer, *arguments))
    assert_agree(*results, tolerance=1e-12)


def close(ours, theirs, atol=1e-10):
    """For tensors and for tuples of them."""
    torch.testing.assert_close(ours, theirs, rtol=0, atol=atol)


def part(state, index):
    """One sequence's share of a state."""
    return tuple(s[:, index] for s in state) if isinstance(state, tuple) else state[:, index]


@pytest.mark.parametrize(
    ("name", "num_layers", "bidirectional", "lengths", "bias"),
    itertools.product(KINDS, [1, 2, 3], [False, True], [None, [2, 5, 1]], [True, False]),
)
def test_values_and_gradients_are_those_of_torch(name, num_layers, bidirectional, lengths, bias):
    agree(*make(name, D, H, num_layers, bias=bias, bidirectional=bidirectional), lengths)


@pytest.mark.parametrize("name", ["RNN", "FusedRNN"])
@pytest.mark.parametrize("lengths", [None, [2, 5, 1]])
def test_relu(name, lengths):
    agree(*make(name, D, H, 2, nonlinearity="relu", bidirectional=True), lengths)


@pytest.mark.parametrize(
    ("name", "num_layers", "bidirectional", "lengths", "bias", "batch_first"),
    itertools.product(
        ["LSTM", "FusedLSTM"],
        [1, 2],
        [False, True],
        [None, [2, 5, 1]],
        [True, False],
        [True, False],
    ),
)
def test_projection(name, num_layers, bidirectional, lengths, bias, batch_first):
    options = {"bias": bias, "bidirectional": bidirectional, "batch_first": batch_first}
    agree(*make(name, D, H, num_layers, proj_size=3, **options), lengths)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("name", KINDS)
def test_time_first(name, bidirectional):
    agree(*make(name, D, H, 2, bidirectional=bidirectional, batch_first=False), None)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("lengths", [None, [2, 5, 1]])
@pytest.mark.parametrize("name", KINDS)
def test_dropout_draws_what_torch_draws(name, lengths, batch_first):
    options = {"dropout": 0.4, "bidirectional": True, "batch_first": batch_first}
    agree(*make(name, D, 8, 3, **options), lengths)
    if name.endswith("LSTM"):
        agree(*make(name, D, 8, 3, proj_size=5, **options), lengths)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("name", KINDS)
def test_no_sequences_are_let_through_as_by_torch(name, batch_first):
    ours, theirs = make(name, D, H, 2, batch_first=batch_first)
    x = torch.zeros((0, T, D) if batch_first else (T, 0, D), dtype=F64)
    close(ours(x), theirs(x))


@pytest.mark.parametrize("name", KINDS)
@given(
    sizes=st.tuples(*(st.integers(1, n) for n in (4, 7, 3, 4, 2))),
    bidirectional=st.booleans(),
    data=st.data(),
)
def test_any_shape(name, sizes, bidirectional, data):
    batch, steps, D, H, num_layers = sizes
    lengths = data.draw(st.none() | st.lists(st.integers(1, steps), min_size=batch, max_size=batch))
    if lengths:
        lengths[0] = steps
    layers = make(name, D, H, num_layers, bidirectional=bidirectional)
    agree(*layers, lengths, batch=batch, steps=steps, seed=data.draw(st.integers(0, 3)))


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("lengths", [None, [2, 5, 1]])
@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU", "ResetBeforeGRU"])
def test_values_and_gradients_are_those_of_scratch(name, lengths, bidirectional):
    rng = np.random.default_rng(0)
    theirs = getattr(scratch, name)(D, H, 2, bidirectional, rng=rng)
    ours = getattr(pytorch, name)(D, H, 2, bidirectional=bidirectional, dtype=F64)
    copy_weights(theirs, ours)
    arguments = (
        rng.standard_normal((B, T, D)),
        random_state(theirs, B, rng),
        None if lengths is None else np.array(lengths),
        rng.standard_normal((B, T, H * theirs.directions)),
        random_state(theirs, B, rng),
    )
    assert_agree(run_torch(ours, *arguments), run_scratch(theirs, *arguments))


@pytest.mark.parametrize("name", ALL)
def test_two_halves_with_the_state_carried_over_are_the_whole(name):
    layer = getattr(pytorch, name)(D, H, 2, dtype=F64)
    x = torch.randn(B, 9, D, dtype=F64)
    whole, final = layer(x)
    first, state = layer(x[:, :4])
    second, end = layer(x[:, 4:], state)
    close(torch.cat([first, second], dim=1), whole, 1e-12)
    close(end, final, 1e-12)


@pytest.mark.parametrize("name", ALL)
def test_a_single_sequence_needs_no_batch(name):
    layer = getattr(pytorch, name)(D, H, 2, bidirectional=True, dtype=F64)
    x = torch.randn(B, T, D, dtype=F64)
    output, state = layer(x)
    single, single_state = layer(x[1])
    close(single, output[1])
    close(single_state, part(state, 1))
    again, _ = layer(x)
    carried, _ = layer(x, state)
    close(again, output)
    close(layer(x[1], part(state, 1))[0], carried[1])


@pytest.mark.parametrize("enforce_sorted", [True, False])
@pytest.mark.parametrize("name", KINDS)
def test_packed_in_packed_out(name, enforce_sorted):
    ours, theirs = make(name, D, H, 2, bidirectional=True)
    lengths = [5, 3, 3] if enforce_sorted else [3, 5, 2]
    packed = pack_padded_sequence(
        torch.randn(B, T, D, dtype=F64), lengths, True, enforce_sorted=enforce_sorted
    )
    output, state = ours(packed)
    expected, expected_state = theirs(packed)
    assert isinstance(output, PackedSequence)
    close(output.data, expected.data)
    for ours_, theirs_ in zip(output[1:], expected[1:], strict=True):
        assert (ours_ is None) == (theirs_ is None)
        if ours_ is not None:
            assert ours_.tolist() == theirs_.tolist()
    close(state, expected_state)


def test_a_relu_layer_may_overflow_beyond_a_sequences_end():
    """The short sequence must not hear of what its padding would have become."""
    layer = pytorch.RNN(1, 1, nonlinearity="relu")
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(1e3)
    short, long = torch.ones(1, 1, requires_grad=True), torch.zeros(30, 1)
    _, h = layer(pack_sequence([short, long], enforce_sorted=False))
    h[0, 0].sum().backward()
    assert h[0, 0].isfinite()
    assert short.grad.isfinite().all()


@pytest.mark.parametrize("name", KINDS)
def test_dropout_stands_between_layers_and_in_training_only(name):
    ours, theirs = make(name, D, 50, 2, dropout=0.5)
    x = torch.randn(B, T, D, dtype=F64)
    close(ours.eval()(x), theirs.eval()(x))
    ours.train()
    torch.manual_seed(0)
    first, state = ours(x)
    torch.manual_seed(1)
    second, other = ours(x)
    assert not torch.equal(first, second)
    assert (first != 0).all()  # nothing is dropped after the last layer
    h, other_h = (state[0], other[0]) if isinstance(state, tuple) else (state, other)
    close(h[0], other_h[0])  # nor before the first
    ours, theirs = make(name, D, H, 2, dropout=1.0)
    close(ours.train()(x)[0], theirs.train()(x)[0])
    first, _ = make(name, D, H, 1)[0](x)
    assert first.isfinite().all()


def test_dropout_drops_its_share():
    """With identity weights, ones in and relu, the second layer passes on what dropout left."""
    layer = pytorch.RNN(100, 100, 2, nonlinearity="relu", bias=False, dropout=0.3)
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            parameter.copy_(torch.eye(100) if "ih" in name else torch.zeros(100, 100))
    torch.manual_seed(0)
    output, _ = layer(torch.ones(20, 10, 100))
    values = sorted(set(output.flatten().tolist()))
    assert values == pytest.approx([0, 1 / 0.7])
    assert (output == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize("name", ALL)
def test_float32_device_and_initialization(name):
    layer = getattr(pytorch, name)(D, 400, 2, device="cpu")
    assert {p.dtype for p in layer.parameters()} == {torch.float32}
    assert all(p.abs().max() <= 0.05 for p in layer.parameters())  # 1 / sqrt(400)
    assert max(p.abs().max() for p in layer.parameters()) > 0.0499
    layer.reset_parameters(torch.Generator().manual_seed(3))
    before = [p.clone() for p in layer.parameters()]
    layer.reset_parameters(torch.Generator().manual_seed(3))
    close(list(layer.parameters()), before, 0)
    output, _ = layer(torch.randn(B, T, D))
    assert output.dtype == torch.float32
    assert getattr(pytorch, name)(D, H, device="meta").weight_ih_l0.is_meta


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", [*KINDS, "projected LSTM", "projected FusedLSTM"])
def test_same_initial_weights_as_torch_from_the_same_seed(name, bias):
    options = {"bidirectional": True, "bias": bias, "batch_first": True}
    options |= {"proj_size": 3} if name.startswith("projected") else {}
    name = name.split()[-1]
    torch.manual_seed(0)
    ours = getattr(pytorch, name)(D, H, 2, **options)
    torch.manual_seed(0)
    theirs = TWINS[name.removeprefix("Fused")](D, H, 2, **options)
    close(dict(ours.state_dict()), dict(theirs.state_dict()), 0)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    close(ours.all_weights, theirs.all_weights, 0)
    for weights in ours.all_weights:
        assert all(any(weight is own for own in ours.parameters()) for weight in weights)


@pytest.mark.parametrize("name", ALL)
def test_flatten_parameters_may_be_called_and_changes_nothing(name):
    layer = getattr(pytorch, name)(D, H, 2)
    before = [(parameter, parameter.data_ptr()) for parameter in layer.parameters()]
    assert layer.flatten_parameters() is None
    after = [(parameter, parameter.data_ptr()) for parameter in layer.parameters()]
    assert [(id(p), where) for p, where in after] == [(id(p), where) for p, where in before]


def test_a_layer_pickled_before_there_were_projections_still_runs():
    layer = pytorch.LSTM(D, H)
    x = torch.randn(B, T, D)
    before, _ = layer(x)
    del layer.__dict__["proj_size"]
    close(layer(x)[0], before, 0)


@pytest.mark.parametrize("name", KINDS)
def test_arguments_come_in_torchs_order(name):
    if name.removeprefix("Fused") == "RNN":  # torch.nn.RNN hides them in *args
        order = "input_size hidden_size num_layers nonlinearity bias batch_first dropout "
    else:
        order = "input_size hidden_size num_layers bias batch_first dropout "
    order += "bidirectional proj_size " if name.endswith("LSTM") else "bidirectional "
    signature = inspect.signature(getattr(pytorch, name))
    assert list(signature.parameters) == (order + "device dtype").split()


@pytest.mark.parametrize("name", ALL)
def test_autocast(name):
    layer = getattr(pytorch, name)(D, H)
    head = torch.nn.Linear(D, D)
    x = torch.randn(B, T, D)
    exact, state = layer(head(x))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output, _ = layer(head(x))
        output.float().sum().backward()
        carried, _ = layer(head(x), state)  # x in bfloat16, the state in float32
    close(output.float(), exact, 0.05)
    close(carried.float(), layer(head(x), state)[0], 0.05)
    assert head.weight.grad.isfinite().all()


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU", "ResetBeforeGRU"])
def test_many_seeds_at_once(name):
    """torch.func: stacked parameters through vmap."""
    layers = [getattr(pytorch, name)(D, H, 2, dtype=F64) for _ in range(3)]
    params, buffers = torch.func.stack_module_state(layers)
    x = torch.randn(B, T, D, dtype=F64)
    outputs = torch.func.vmap(
        lambda p: torch.func.functional_call(layers[0], (p, buffers), (x,))[0]
    )(params)
    for output, layer in zip(outputs, layers, strict=True):
        close(output, layer(x)[0])


@pytest.mark.parametrize("name", ALL)
def test_copies_are_independent(name):
    layer = getattr(pytorch, name)(D, H)
    other = copy.deepcopy(layer)
    x = torch.randn(B, T, D)
    before, _ = layer(x)
    with torch.no_grad():
        other.weight_hh_l0.zero_()
    close(layer(x)[0], before, 0)
    assert not torch.equal(other(x)[0], before)


def test_repr_says_what_is_not_usual():
    layer = pytorch.LSTM(2, 3, num_layers=2, dropout=0.5, bidirectional=True, bias=False)
    assert repr(layer) == "LSTM(2, 3, num_layers=2, bias=False, dropout=0.5, bidirectional=True)"
    assert repr(pytorch.GRU(2, 3)) == "GRU(2, 3)"
    assert repr(pytorch.LSTM(2, 3, proj_size=1, batch_first=False)) == (
        "LSTM(2, 3, proj_size=1, batch_first=False)"
    )


@pytest.mark.parametrize("name", ALL)
def test_wrong_arguments_are_named(name):
    cls = getattr(pytorch, name)
    cases = [
        ({"input_size": 0}, "input_size must be a whole number of at least 1, got 0"),
        ({"hidden_size": 2.5}, r"hidden_size must be a whole number of at least 1, got 2\.5"),
        ({"num_layers": 0}, "num_layers must be a whole number of at least 1, got 0"),
        ({"dropout": 1.5}, r"dropout must lie between 0 and 1, got 1\.5"),
        ({"batch_first": "False"}, "batch_first must be True or False, got 'False'"),
        ({"bias": 0}, "bias must be True or False, got 0"),
        ({"bidirectional": None}, "bidirectional must be True or False, got None"),
    ]
    if name.endswith("RNN"):
        message = "nonlinearity must be one of 'tanh', 'relu', got 'sigmoid'"
        cases.append(({"nonlinearity": "sigmoid"}, message))
    if name.endswith("LSTM"):
        for wrong in (-1, H, 1.5):
            message = f"proj_size must be a whole number between 0 and {H - 1}, got {wrong}"
            cases.append(({"proj_size": wrong}, message))
    for wrong, message in cases:
        with pytest.raises(ValueError, match=message):
            cls(**{"input_size": D, "hidden_size": H} | wrong)


@pytest.mark.parametrize("name", ALL)
def test_wrong_input_is_named(name):
    layer = getattr(pytorch, name)(D, H, 2)
    x, h = torch.zeros(B, T, D), torch.zeros(2, B, H)
    pair = name.endswith("LSTM")
    packed = pack_padded_sequence(torch.zeros(B, T, D + 1), [5, 4, 3], True)
    cases = [
        ((x[0, 0],), r"x must have shape \(B, T, 2\), got \(2,\)"),
        ((x[None],), r"x must have shape \(B, T, 2\), got \(1, 3, 5, 2\)"),
        ((x[..., :1],), r"x must have shape \(B, T, 2\), got \(3, 5, 1\)"),
        ((x[0, :, :1],), r"x must have shape \(T, 2\), got \(5, 1\)"),
        ((x[:, :0],), r"x must have shape \(B, T, 2\), got \(3, 0, 2\)"),
        (("sequence",), r"x must be a torch tensor or a PackedSequence, got str"),
        ((x.numpy(),), r"x must be a torch tensor or a PackedSequence, got ndarray"),
        ((x[0].numpy(),), r"x must be a torch tensor or a PackedSequence, got ndarray"),
        ((packed,), r"x\.data must have shape \(N, 2\), got \(12, 3\)"),
        ((x.double(),), r"x must have dtype torch\.float32 to fit.*, got torch\.float64"),
        ((pack_padded_sequence(x.double(), [5, 4, 3], True),), r"x\.data must have dtype"),
        ((x, h) if pair else (x, (h, h)), "state must be .*, got [12] of them"),
    ]
    for wrong, shape in [(h[:1], r"\(1, 3, 4\)"), (h[:, 0], r"\(2, 4\)")]:
        state = (h, wrong) if pair else wrong
        last = "c" if pair else "h"
        cases.append(((x, state), rf"state {last} must have shape \(2, 3, 4\), got {shape}"))
    for wrong, message in [
        (h.numpy(), "must be a torch tensor, got ndarray"),
        (h.double(), r"must have dtype torch\.float32 to fit the weights, got torch\.float64"),
    ]:
        cases.append(
            ((x, (h, wrong) if pair else wrong), f"state {'c' if pair else 'h'} {message}")
        )
    cases.append(
        ((x[0], (h, h) if pair else h), r"state h must have shape \(2, 4\), got \(2, 3, 4\)")
    )
    for arguments, message in cases:
        with pytest.raises(ValueError, match=message):
            layer(*arguments)
    layer = getattr(pytorch, name)(D, H, 2, batch_first=False)
    for wrong, message in [
        (x[..., :1], r"x must have shape \(T, B, 2\), got \(3, 5, 1\)"),
        (x[:0], r"x must have shape \(T, B, 2\), got \(0, 5, 2\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            layer(wrong)


@pytest.mark.parametrize("name", ["LSTM", "FusedLSTM"])
def test_a_state_of_the_wrong_size_for_a_projection_is_named(name):
    layer = getattr(pytorch, name)(D, H, proj_size=2)
    h, c = torch.zeros(1, B, 2), torch.zeros(1, B, H)
    for state, message in [
        ((c, c), r"state h must have shape \(1, 3, 2\), got \(1, 3, 4\)"),
        ((h, h), r"state c must have shape \(1, 3, 4\), got \(1, 3, 2\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            layer(torch.zeros(B, T, D), state)
