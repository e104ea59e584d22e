"""Checkpointing: the same gradients from less memory, both counted exactly."""

import math

import pytest

pytest.importorskip("torch", reason="checkpointing is torch's")

import torch

from rnnbook import pytorch
from rnnbook.pytorch.checkpointing import LiveBytes, checkpointed

F64 = torch.float64
B, D, H = 2, 3, 4
LAYERS = {
    "RNN": pytorch.RNN,
    "LSTM": pytorch.LSTM,  # a state of two
    "FusedGRU": pytorch.FusedGRU,
    "FusedLSTM": pytorch.FusedLSTM,
    "MinGRU": pytorch.MinGRU,
    "nn.LSTM": lambda *sizes, dtype: torch.nn.LSTM(*sizes, batch_first=True, dtype=dtype),
}


def setup(kind, steps, dtype=F64, seed=0):
    """A layer, a sequence, a state before it, and weights of the loss of the last state."""
    g = torch.Generator().manual_seed(seed)
    layer = LAYERS[kind](D, H, dtype=dtype)

    def normal(*shape):
        return torch.randn(*shape, dtype=F64, generator=g).to(dtype)

    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(normal(*parameter.shape) / 2)
    x, state, weights = normal(B, steps, D), normal(1, B, H), normal(1, B, H)
    return layer, x, (state, normal(1, B, H)) if "LSTM" in kind else state, weights


def loss_of(state, weights):
    return sum((part * weights).sum() for part in (state if type(state) is tuple else (state,)))


def gradients(kind, steps, segments, dtype=F64):
    """The loss, all gradients, and the number of steps computed."""
    layer, x, state, weights = setup(kind, steps, dtype)
    parts = state if isinstance(state, tuple) else (state,)
    sought = [x.requires_grad_(), *(p.requires_grad_() for p in parts), *layer.parameters()]
    computed = 0

    def advance(x, state):
        nonlocal computed
        computed += x.shape[1]
        return layer(x, state)[1]

    loss = loss_of(checkpointed(advance, x, state, segments=segments), weights)
    found = torch.autograd.grad(loss, sought)
    return [loss.detach(), *found], computed


def close(ours, theirs, bound):
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=bound)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("segments", [2, 3, 7, 99, "recursive"])
def test_gradients_are_those_of_all_at_once(kind, segments):
    expected, _ = gradients(kind, 7, 1)
    close(gradients(kind, 7, segments)[0], expected, 1e-12)
    single, _ = gradients(kind, 7, segments, torch.float32)
    assert all(x.dtype == torch.float32 for x in single)
    close([x.double() for x in single], expected, 1e-4)


@pytest.mark.parametrize("segments", [1, 5, "recursive"])
def test_a_single_step(segments):
    ours, computed = gradients("LSTM", 1, segments)
    assert computed == 1
    close(ours, gradients("LSTM", 1, 1)[0], 0)


@pytest.mark.parametrize("segments", [4, 16, 64, "recursive"])
def test_step_by_step_not_a_bit_differs(segments):
    """Backward does then the same in the same order."""
    g = torch.Generator().manual_seed(0)
    U, V, x = (torch.randn(*s, generator=g) / 2 for s in ((4, 4), (3, 4), (2, 64, 3)))
    sought = [U.requires_grad_(), V.requires_grad_()]

    def advance(x, h):
        for x_t in x.unbind(1):
            h = torch.tanh(x_t @ V + h @ U)
        return h

    def both(segments):
        h = checkpointed(advance, x, torch.zeros(2, 4), segments=segments)
        return torch.autograd.grad(h.sum(), sought)

    close(both(segments), both(1), 0)


@pytest.mark.parametrize("steps", [16, 64])
def test_how_many_steps_are_computed(steps):
    for segments in (1, 2, 4, steps):
        expected = 2 * steps - steps // segments  # the last segment once, all others twice
        assert gradients("RNN", steps, segments)[1] == expected
    assert gradients("RNN", steps, "recursive")[1] == steps * (1 + math.log2(steps) / 2)


def memory(kind, steps, segments):
    """Bytes alive between forward and backward, and at most."""
    layer, x, state, weights = setup(kind, steps)
    with LiveBytes() as memory:
        state = checkpointed(lambda x, s: layer(x, s)[1], x, state, segments=segments)
        loss = loss_of(state, weights)
        held = memory.now
        loss.backward()
    return held, memory.peak


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "FusedGRU"])
def test_bytes_grow_as_steps_as_their_root_or_as_their_logarithm(kind):
    def exponents(segments_of):
        short, long = (memory(kind, T, segments_of(T)) for T in (32, 128))
        return [math.log(b / a, 4) for a, b in zip(short, long, strict=True)]

    assert all(0.9 < e <= 1.01 for e in exponents(lambda T: 1))
    assert all(0.3 < e < 0.6 for e in exponents(lambda T: round(T**0.5)))
    assert all(0 <= e < 0.2 for e in exponents(lambda T: "recursive"))


def test_the_square_root_keeps_the_least():
    peaks = {S: memory("FusedGRU", 256, S)[1] for S in (1, 2, 16, 64, 256)}
    assert min(peaks, key=peaks.get) in (16, 64)
    assert peaks[16] < peaks[1] / 5


@pytest.mark.parametrize("kind", LAYERS)
def test_what_lives_after_forward_is_what_autograd_has_saved(kind):
    layer, x, state, _ = setup(kind, 20)
    theirs = {t.untyped_storage().data_ptr() for t in (x, *layer.parameters())}
    theirs |= {t.untyped_storage().data_ptr() for t in (state if type(state) is tuple else [state])}
    saved = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in theirs:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with LiveBytes() as memory, torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        final = layer(x, state)[1]
    results = [t.nbytes for t in (final if isinstance(final, tuple) else (final,))]
    assert sum(saved.values()) <= memory.now <= sum(saved.values()) + 4 * sum(results)


def test_live_bytes_by_hand():
    before = torch.zeros(100, dtype=F64)
    with LiveBytes() as memory:
        a = torch.ones(10, dtype=F64)
        assert memory.now == 80
        b = a.view(2, 5)[1]  # no memory of its own
        a += 1
        assert memory.now == 80
        a = before[:50]
        assert memory.now == 80  # b holds what was a's
        del b
        assert memory.now == 0
        parts = [before[:3] + 1, *(before * 2).split(25)]
        assert memory.now == 24 + 800
        parts.pop()
        assert memory.now == 24 + 800
    assert memory.peak == 24 + 800


def dropping(generator):
    """A step that drops a tenth of its state, as drawn from ``generator``."""

    def advance(x, h):
        for x_t in x.unbind(1):
            keep = torch.empty_like(h).bernoulli_(0.9, generator=generator)
            h = torch.tanh(x_t + h * keep)
        return h

    return advance


@pytest.mark.parametrize(("own", "same"), [(False, True), (True, False)])
def test_only_torchs_own_generator_is_set_back(own, same):
    x = torch.randn(2, 40, 3, dtype=F64, generator=torch.Generator().manual_seed(0))
    found = []
    with torch.random.fork_rng():
        for segments in (1, 4):
            torch.manual_seed(1)
            advance = dropping(torch.Generator().manual_seed(1) if own else None)
            given = x.clone().requires_grad_()
            h = checkpointed(advance, given, torch.zeros(2, 3, dtype=F64), segments=segments)
            found.append((h.detach(), torch.autograd.grad(h.sum(), given)[0]))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1]) == same


WRONG = [
    ({"x": torch.zeros(4, 3)}, r"x must have shape \(B, T, D\), got \(4, 3\)"),
    ({"x": torch.zeros(1, 0, 3)}, r"x must have shape \(B, T, D\), got \(1, 0, 3\)"),
    ({"segments": 0}, "segments must be a whole number of at least 1, got 0"),
    ({"segments": None}, "segments must be a whole number of at least 1, got None"),
    ({"segments": "root"}, "segments must be one of 'recursive', got 'root'"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG, ids=[message for _, message in WRONG])
def test_wrong_input_is_told(changes, message):
    good = {"x": torch.zeros(2, 4, 3), "state": torch.zeros(2, 3), "segments": 2}
    with pytest.raises(ValueError, match=message):
        checkpointed(lambda x, state: state, **good | changes)
