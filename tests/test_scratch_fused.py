"""What the fused layers add: memory that is kept between calls, bounded, and given back."""

import gc
import tracemalloc

import numpy as np
import pytest
from parity import assert_agree, parts, random_state, run_scratch

from rnnbook.scratch import fused
from rnnbook.scratch.fused import KEEP, Memory, blocks

KINDS = [fused.FusedRNN, fused.FusedLSTM, fused.FusedGRU, fused.FusedResetBeforeGRU]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def plain(layer):
    """The layer that ``layer`` makes fast, with its weights."""
    settings = {"dtype": layer.dtype}
    if hasattr(layer, "nonlinearity"):
        settings["nonlinearity"] = layer.nonlinearity
    kind = type(layer).__mro__[2]
    assert kind.__name__ == type(layer).__name__.removeprefix("Fused")
    twin = kind(
        layer.input_size, layer.hidden_size, layer.num_layers, layer.bidirectional, **settings
    )
    twin.load_params(layer.params)
    return twin


@every_kind
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (3, 5, 2, 4), (200, 13, 2, 4), (2, 1100, 1, 3)])
def test_fused_equals_plain(kind, dtype, padded, sizes, rng):
    batch, steps, size, units = sizes
    layer = kind(size, units, 2, True, dtype=dtype, rng=rng)
    arguments = (
        rng.standard_normal((batch, steps, size)),
        random_state(layer, batch, rng),
        rng.integers(1, steps, batch, endpoint=True) if padded else None,
        rng.standard_normal((batch, steps, 2 * units)),
        random_state(layer, batch, rng),
    )
    ours, theirs = run_scratch(layer, *arguments), run_scratch(plain(layer), *arguments)
    for name, array in theirs.items():
        assert ours[name].dtype == dtype
        scale = max(1, np.abs(array).max())
        assert np.abs(ours[name] - array).max() <= {8: 1e-12, 4: 2e-5}[array.itemsize] * scale, name


def test_relu_is_fused_too(rng):
    layer = fused.FusedRNN(2, 4, nonlinearity="relu", rng=rng)
    arguments = rng.standard_normal((3, 5, 2)), None, None, rng.standard_normal((3, 5, 4)), None
    assert_agree(run_scratch(layer, *arguments), run_scratch(plain(layer), *arguments), 1e-12)


def kept_bytes(layer):
    return sum(memory.nbytes for spare in layer._spare for memory in spare)


@every_kind
def test_memory_is_kept_for_the_next_call_of_the_same_size(kind, rng):
    layer = kind(4, 16, dtype=np.float32, rng=rng)
    x = rng.standard_normal((8, 50, 4))

    def call():
        output, _ = layer.forward(x)
        layer.backward(output)

    call()
    (memory,) = layer._spare[0]
    first = dict(memory._kept)
    call()
    (memory,) = layer._spare[0]
    assert memory._kept.keys() == first.keys()
    assert all(memory._kept[name] is array for name, array in first.items())


@every_kind
def test_a_small_call_gives_back_what_a_large_one_took(kind, rng):
    layer = kind(4, 32, rng=rng)
    output, _ = layer.forward(rng.standard_normal((32, 200, 4)))
    layer.backward(output)
    large = kept_bytes(layer)
    output, _ = layer.forward(rng.standard_normal((1, 2, 4)))
    layer.backward(output)
    assert large > 10**6 > 10**5 > kept_bytes(layer)


@every_kind
def test_what_is_larger_than_the_bound_is_given_back_after_backward(kind, rng, monkeypatch):
    monkeypatch.setattr(fused, "KEEP", 10**6)
    layer = kind(4, 32, rng=rng)
    output, _ = layer.forward(rng.standard_normal((32, 200, 4)))
    layer.backward(output)
    assert kept_bytes(layer) == 0


@every_kind
def test_evaluation_keeps_nothing(kind, rng):
    layer = kind(4, 32, rng=rng)
    x = rng.standard_normal((32, 200, 4))
    layer.forward(x)
    layer.eval()
    assert kept_bytes(layer) == 0
    gc.collect()
    tracemalloc.start()
    layer.forward(x)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak > 10**6 > 10**5 > kept
    assert kept_bytes(layer) == 0


@pytest.mark.slow
@every_kind
def test_the_bound_holds_what_the_benchmarks_largest_size_needs(kind, rng):
    # (64, 200, 64, 256), the largest of the five: more would be given back, and cost time.
    layer = kind(64, 256, dtype=np.float32, rng=rng)
    output, _ = layer.forward(np.zeros((64, 200, 64)))
    layer.backward(output)
    assert 0 < kept_bytes(layer) <= KEEP


def test_a_memory_hands_out_the_same_array_while_it_suffices():
    memory = Memory(np.float64)
    first = memory.array("a", 3, 4)
    assert memory.array("a", 2, 4).base is first.base
    assert memory.array("a", 1, 2).base is first.base
    assert memory.array("b", 3, 4).base is not first.base
    assert memory.array("a", 3, 5).base is not first.base


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1, 3, 100, 10**5])
def test_arrays_begin_with_a_line_of_the_cache(size, dtype):
    memory = Memory(dtype)
    for name in "abc":
        array = memory.array(name, size)
        assert array.ctypes.data % 64 == 0
        assert array.shape == (size,)
        assert array.dtype == dtype
    assert memory.nbytes == 3 * size * np.dtype(dtype).itemsize


def test_arrays_in_order_are_not_copied():
    memory, x = Memory(np.float64), np.arange(6.0).reshape(2, 3)
    assert memory.in_order("x", x) is x
    assert np.array_equal(memory.in_order("x", x.T), x.T)
    assert memory.in_order("x", x.T).flags.c_contiguous


@pytest.mark.parametrize(
    ("steps", "batch"), [(1, 1), (50, 32), (48, 32), (100, 30), (3, 1200), (7, 1024)]
)
def test_blocks_hold_every_step_once_and_the_last_first(steps, batch):
    held = [t for block in blocks(steps, batch) for t in reversed(range(steps)[block])]
    assert held == list(reversed(range(steps)))
    last, *others = (block.stop - block.start for block in blocks(steps, batch))
    assert max(last, *others, 0) * batch <= max(1024, batch)
    assert all(last <= length == others[0] for length in others)
    assert len([last, *others]) == np.ceil(steps / max(1, 1024 // batch))  # not one too many


@every_kind
def test_a_second_forward_takes_the_memory_of_the_first(kind, rng):
    layer = kind(4, 16, rng=rng)
    x = rng.standard_normal((8, 50, 4))
    layer.forward(x)
    first = layer._recall().runs[0][0]
    layer.forward(x)
    assert layer._recall().runs[0][0] is first
    assert parts(layer.forward(x)[1])[0].shape == (1, 8, 16)
