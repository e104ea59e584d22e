"""Stacked layers and whole models against ``torch.nn``."""

import numpy as np
import pytest
from optional import optional

from rnnbook.gradcheck import check_layer, compare_gradients
from rnnbook.scratch.embedding import Embedding
from rnnbook.scratch.gru import GRU
from rnnbook.scratch.linear import Linear
from rnnbook.scratch.losses import mse
from rnnbook.scratch.lstm import LSTM
from rnnbook.scratch.minimal import MinGRU
from rnnbook.scratch.model import SequenceModel, Stacked
from rnnbook.scratch.module import enable_grad
from rnnbook.scratch.optim import Adam
from rnnbook.scratch.recurrent_layer import RNN
from rnnbook.scratch.regularization import Dropout, LayerNorm, Zoneout

torch = optional("torch")

KINDS = {RNN: torch.nn.RNN, GRU: torch.nn.GRU, LSTM: torch.nn.LSTM}
B, T, D, H, K = 3, 5, 2, 4, 3


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def torchs(ours, kind, *arguments, **settings):
    """torch's layer with the weights of ours; loading is strict, so the names must agree."""
    theirs = kind(*arguments, batch_first=True, dtype=torch.float64, **settings)
    theirs.load_state_dict({name: torch.tensor(array) for name, array in ours.params.items()})
    return theirs


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_stacked_layers_are_torchs_with_dropout_in_evaluation(rng, kind, bidirectional):
    dirs = 1 + bidirectional
    layers = [kind(d, H, 1, bidirectional, rng=rng) for d in (D, dirs * H, dirs * H)]
    stacked = Stacked(layers, [Dropout(0.5, rng=rng), Dropout(0.5, rng=rng)]).eval()
    theirs = torchs(stacked, KINDS[kind], D, H, 3, bidirectional=bidirectional, dropout=0.5).eval()

    x, doutput = rng.standard_normal((B, T, D)), rng.standard_normal((B, T, dirs * H))
    state = [rng.standard_normal((3 * dirs, B, H)) for _ in range(1 + (kind is LSTM))]
    state_t = [torch.tensor(s, requires_grad=True) for s in state]
    single = kind is not LSTM
    output, final = theirs(torch.tensor(x), state_t[0] if single else tuple(state_t))
    (output * torch.tensor(doutput)).sum().backward()

    with enable_grad():
        ours, ours_final = stacked.forward(x, state[0] if single else tuple(state))
        _, dstate = stacked.backward(doutput)
    np.testing.assert_allclose(ours, output.detach(), rtol=0, atol=1e-10)
    for a, b in zip(*(([s] if single else s) for s in (ours_final, final)), strict=True):
        np.testing.assert_allclose(a, b.detach(), rtol=0, atol=1e-10)
    for a, b in zip([dstate] if single else dstate, state_t, strict=True):
        np.testing.assert_allclose(a, b.grad, rtol=0, atol=1e-10)
    for name, parameter in theirs.named_parameters():
        np.testing.assert_allclose(stacked.grads[name], parameter.grad, rtol=0, atol=1e-10)


def test_stacked_layers_are_the_layer_of_many_layers(rng):
    stacked = Stacked([LSTM(D, H, 1, True, rng=rng), LSTM(2 * H, H, 1, True, rng=rng)])
    layer = LSTM(D, H, 2, True, rng=rng)
    layer.load_params(stacked.params)
    x, doutput = rng.standard_normal((B, T, D)), rng.standard_normal((B, T, 2 * H))
    for lengths in (None, [3, 5, 1]):
        results = []
        for one in (stacked, layer):
            output, state = one.forward(x, None, lengths)
            dx, dstate = one.backward(doutput, state)
            results.append({"output": output, "h": state[0], "c": state[1], "dx": dx, **one.grads})
            results[-1] |= {"dh": dstate[0], "dc": dstate[1]}
        for name, array in results[0].items():
            np.testing.assert_allclose(array, results[1][name], rtol=0, atol=1e-12)


def test_dropout_acts_between_the_layers_only(rng):
    """In torch: the same mask, put by hand between two single layers."""
    first, second = LSTM(D, H, rng=rng), LSTM(H, H, rng=rng)
    stacked = Stacked([first, second], [Dropout(0.5, rng=np.random.default_rng(1))])
    x = rng.standard_normal((B, T, D))
    output, _ = stacked.forward(x)
    mask = (np.random.default_rng(1).random((B, T, H)) >= 0.5) / 0.5
    below, _ = torchs(first, torch.nn.LSTM, D, H)(torch.tensor(x))
    expected, _ = torchs(second, torch.nn.LSTM, H, H)(below * torch.tensor(mask))
    np.testing.assert_allclose(output, expected.detach(), rtol=0, atol=1e-12)
    stacked.eval()
    assert (stacked.forward(x)[0] != output).any()


@pytest.mark.parametrize("kind", [RNN, GRU, LSTM, MinGRU])
def test_stacked_layers_agree_with_finite_differences(rng, kind):
    stacked = Stacked([kind(D, H, rng=rng), kind(H, H, rng=rng)], [LayerNorm(H)])
    errors = check_layer(stacked, rng.standard_normal((B, T, D)), lengths=[5, 2, 3], rng=rng)
    assert {"weight_ih_l1", "between.0.weight", "h0"} < set(errors)
    assert max(errors.values()) < 1e-7


def test_wrong_stacks_are_named(rng):
    a, b, wide = GRU(D, H, rng=rng), GRU(H, H, rng=rng), GRU(H, 7, rng=rng)
    with pytest.raises(ValueError, match="between must hold 1 modules for 2 layers, got 2"):
        Stacked([a, b], [Dropout(), Dropout()])
    with pytest.raises(ValueError, match=r"layers\[1\] must have input_size 4, .* got 2"):
        Stacked([a, a])
    with pytest.raises(ValueError, match=r"layers\[1\] must have hidden_size 4, .* got 7"):
        Stacked([a, wide])
    with pytest.raises(ValueError, match=r"layers\[0\] must be a single layer, got 2"):
        Stacked([GRU(D, H, 2, rng=rng)])
    with pytest.raises(ValueError, match="layers must hold one layer at least, got none"):
        Stacked([])
    with pytest.raises(ValueError, match=r"state must have shape \(2, 3, 4\), got \(1, 3, 4\)"):
        Stacked([a, b]).forward(np.ones((B, T, D)), np.ones((1, B, H)))
    with pytest.raises(ValueError, match=r"layers\[1\] must be a recurrent layer, got Linear"):
        Stacked([a, Linear(H, H)])
    with pytest.raises(ValueError, match=r"layers\[1\] must have the state h, .* got h, c"):
        Stacked([a, LSTM(H, H)])


def test_what_a_stack_refuses_changes_nothing(rng):
    stacked = Stacked([GRU(D, H, rng=rng), GRU(H, H, rng=rng)], [Dropout()])
    x, doutput = rng.standard_normal((B, T, D)), rng.standard_normal((B, T, H))

    def forward():
        stacked.between[0].rng = np.random.default_rng(5)
        stacked.forward(x)

    forward()
    before = stacked.backward(doutput)[0]
    grads = {name: array.copy() for name, array in stacked.grads.items()}
    noise = stacked.between[0].rng.bit_generator.state

    late = np.ones((2, B, H))
    late[1, 2, 3] = np.nan  # in the share of the second layer
    refused = {
        r"state must be finite, got nan at index \(1, 2, 3\)": (2 * x, late),
        "state must be an array of shape .* got str": (2 * x, "ab"),
        "state must be one array h, got 2 arrays": (2 * x, ([0], [1])),
        r"x must have shape \(B, T, 2\)": (x[:, :, :1], None),
        r"x must have shape \(B, T, 2\), got \(\)": (3.0, None),
        "x must be finite": (x * np.nan, None),
    }
    forward()
    for message, arguments in refused.items():
        with pytest.raises(ValueError, match=message):
            stacked.forward(*arguments)
    with pytest.raises(ValueError, match=r"dstate must have shape \(2, 3, 4\), got \(1, 3, 4\)"):
        stacked.backward(doutput, np.ones((1, B, H)))
    assert stacked.between[0].rng.bit_generator.state == noise
    assert all(np.array_equal(stacked.grads[name], array) for name, array in grads.items())
    assert np.array_equal(stacked.backward(doutput)[0], before)


def test_a_stack_that_failed_half_way_has_not_run(rng):
    stacked = Stacked([RNN(D, H, nonlinearity="relu", rng=rng), RNN(H, H, rng=rng)])
    stacked.forward(np.ones((B, T, D)))
    stacked.layers[0].params["bias_ih_l0"][...] = 1e308
    with np.errstate(over="ignore"), pytest.raises(ValueError, match="x must be finite, got inf"):
        stacked.forward(np.ones((B, T, D)))
    with pytest.raises(RuntimeError, match="needs a call of forward"):
        stacked.backward(np.ones((B, T, H)))


class TorchModel(torch.nn.Module):
    """The twin in torch, with packed sequences, and its last steps picked by hand."""

    def __init__(self, ours, kind, layers, bidirectional, many_to, vocabulary):
        super().__init__()
        dirs = 1 + bidirectional
        self.rnn = kind(D, H, layers, bidirectional=bidirectional, batch_first=True)
        self.head = torch.nn.Linear(dirs * H, K)
        if vocabulary:
            self.embedding = torch.nn.Embedding(vocabulary, D)
        self.double()
        self.load_state_dict({name: torch.tensor(array) for name, array in ours.params.items()})
        self.many_to, self.bidirectional = many_to, bidirectional

    def forward(self, x, lengths):
        if hasattr(self, "embedding"):
            x = self.embedding(x)
        packed = torch.nn.utils.rnn.pack_padded_sequence(
            x, torch.tensor(lengths), batch_first=True, enforce_sorted=False
        )
        output, _ = self.rnn(packed)
        output, _ = torch.nn.utils.rnn.pad_packed_sequence(output, batch_first=True)
        if self.many_to == "many":
            return self.head(output)
        last = torch.stack([output[b, n - 1, :H] for b, n in enumerate(lengths)])
        if self.bidirectional:  # the backward direction ends at the first step
            last = torch.cat([last, output[:, 0, H:]], dim=1)
        return self.head(last)


@pytest.mark.parametrize("vocabulary", [None, 6])
@pytest.mark.parametrize("many_to", ["one", "many"])
@pytest.mark.parametrize(("layers", "bidirectional"), [(1, False), (2, False), (2, True)])
@pytest.mark.parametrize("kind", KINDS)
def test_the_model_is_its_twin_in_torch(rng, kind, layers, bidirectional, many_to, vocabulary):
    ours = SequenceModel(
        kind(D, H, layers, bidirectional, rng=rng),
        Linear((1 + bidirectional) * H, K, rng=rng),
        many_to=many_to,
        embedding=Embedding(vocabulary, D, rng=rng) if vocabulary else None,
    )
    theirs = TorchModel(ours, KINDS[kind], layers, bidirectional, many_to, vocabulary)
    x = rng.integers(0, vocabulary, (B, T)) if vocabulary else rng.standard_normal((B, T, D))
    lengths = [3, 5, 1]
    x_t = torch.tensor(x, requires_grad=not vocabulary)
    expected = theirs(x_t, lengths)
    dprediction = rng.standard_normal(expected.shape)
    expected.backward(torch.tensor(dprediction))

    np.testing.assert_allclose(ours.forward(x, lengths), expected.detach(), rtol=0, atol=1e-10)
    dx = ours.backward(dprediction)
    if vocabulary:
        assert dx is None
    else:
        np.testing.assert_allclose(dx, x_t.grad, rtol=0, atol=1e-10)
    assert set(ours.grads) == {name for name, _ in theirs.named_parameters()}
    for name, parameter in theirs.named_parameters():
        np.testing.assert_allclose(ours.grads[name], parameter.grad, rtol=0, atol=1e-10)


def test_a_model_of_many_parts_agrees_with_finite_differences(rng):
    below, above = Zoneout(LSTM(D, H, rng=rng)), LSTM(H, H, rng=rng)
    model = SequenceModel(Stacked([below, above], [LayerNorm(H)]), Linear(H, 1, rng=rng)).eval()
    assert not below.training
    x, y = rng.standard_normal((B, T, D)), rng.standard_normal((B, 1))
    with enable_grad():
        _, dprediction = mse(model.forward(x, [3, 5, 1]), y)
        dx = model.backward(dprediction)
    gradients = {name: g.copy() for name, g in model.grads.items()} | {"x": dx}
    errors = compare_gradients(
        lambda: mse(model.forward(x, [3, 5, 1]), y)[0], {"x": x, **model.params}, gradients
    )
    assert {"rnn.weight_hh_l1", "rnn.between.0.bias", "head.bias"} < set(errors)
    assert max(errors.values()) < 1e-6, errors


def test_an_optimizer_trains_the_models_own_arrays(rng):
    model = SequenceModel(GRU(1, 8, rng=rng), Linear(8, 1, rng=rng))
    optimizer = Adam(model.params, lr=0.02)
    x = rng.uniform(size=(64, 5, 1))
    y = x.mean(1)
    losses = []
    for _ in range(200):
        loss, dprediction = mse(model.forward(x), y)
        model.backward(dprediction)
        optimizer.step(model.grads)
        losses.append(loss)
    assert losses[-1] < 0.05 * y.var()


def test_weights_are_loaded_together_or_not_at_all(rng):
    model = SequenceModel(Stacked([GRU(D, H, rng=rng)]), Linear(H, K, rng=rng))
    wanted = {name: rng.standard_normal(array.shape) for name, array in model.params.items()}
    before = {name: array.copy() for name, array in model.params.items()}
    with pytest.raises(ValueError, match=r"params has the unknown head\.scale"):
        model.load_params(wanted | {"head.scale": np.ones(1)})
    with pytest.raises(ValueError, match=r"head\.bias must have shape \(3,\), got \(4,\)"):
        model.load_params(wanted | {"head.bias": np.ones(4)})
    for name, array in model.params.items():
        np.testing.assert_array_equal(array, before[name])
    model.load_params(wanted)
    np.testing.assert_array_equal(model.head.params["bias"], wanted["head.bias"])
    np.testing.assert_array_equal(
        model.rnn.layers[0].params["weight_hh_l0"], wanted["rnn.weight_hh_l0"]
    )


def test_wrong_input_of_the_model_is_named(rng):
    with pytest.raises(ValueError, match="many_to must be one of 'one', 'many', got 'all'"):
        SequenceModel(GRU(D, H, rng=rng), Linear(H, K, rng=rng), many_to="all")
    model = SequenceModel(GRU(D, H, rng=rng), Linear(H, K, rng=rng))
    with pytest.raises(RuntimeError, match=r"SequenceModel\.backward needs a call of forward"):
        model.backward(np.ones((B, K)))
    model.forward(np.ones((B, T, D)))
    with pytest.raises(ValueError, match=r"doutput must have shape \(3, 3\), got \(3, 2\)"):
        model.backward(np.ones((B, 2)))
