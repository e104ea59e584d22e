"""Tasks: their definition, their shapes, and each exact baseline against a simulation."""

import math
import subprocess
import sys

import numpy as np
import pytest

from rnnbook import tasks
from rnnbook.tasks.automaton import Automaton


@pytest.fixture
def rng():
    return np.random.default_rng(20240607)


def conditional_loss(classes, context):
    """Mean cross-entropy of the best predictor that sees only ``context``, by counting."""
    loss = 0.0
    for value in np.unique(context):
        counts = np.bincount(classes[context == value]).astype(float)
        counts = counts[counts > 0]
        loss -= np.sum(counts * np.log(counts / counts.sum()))
    return loss / len(classes)


def same(first, second):
    return all(
        np.array_equal(a, b)
        for a, b in zip(vars(first).values(), vars(second).values(), strict=True)
        if a is not None
    )


DRAWS = {
    "adding_problem": lambda rng: tasks.adding_problem(6, 9, rng),
    "copy_memory": lambda rng: tasks.copy_memory(6, 5, rng),
    "temporal_order": lambda rng: tasks.temporal_order(6, 20, rng),
    "flip_flop": lambda rng: tasks.flip_flop(6, 9, rng),
    "parity": lambda rng: tasks.parity(6, 9, rng, least_steps=3),
    "counting_language": lambda rng: tasks.counting_language(6, rng, letters=3),
    "brackets": lambda rng: tasks.brackets(6, rng),
    "reber_grammar": lambda rng: tasks.reber_grammar(6, rng),
    "sine_mixture": lambda rng: tasks.sine_mixture(6, 9, rng),
}


@pytest.mark.parametrize("name", DRAWS)
def test_a_generator_decides_everything(name):
    draw = DRAWS[name]
    first, again, other = (draw(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert same(first, again)
    assert not np.array_equal(first.x, other.x)


@pytest.mark.parametrize("name", DRAWS)
def test_masks_and_lengths_agree(name, rng):
    batch = DRAWS[name](rng)
    assert len(batch) == 6
    if batch.mask is not None:
        np.testing.assert_array_equal(batch.mask.sum(axis=1), batch.lengths)
        assert batch.target.shape == batch.mask.shape
        assert not batch.x[~batch.mask].any()


def test_take_drops_steps_that_are_padding_only(rng):
    batch = tasks.counting_language(200, rng, most_n=20)
    chosen = batch.take(np.flatnonzero(batch.lengths == 5))
    assert len(chosen) > 0
    for array in (chosen.x, chosen.target, chosen.mask, chosen.latent):
        assert array.shape[1] == 5
    assert chosen.mask.all()


def test_take_keeps_targets_of_whole_sequences(rng):
    batch = tasks.parity(50, 12, rng, many_to="one", least_steps=1)
    chosen = batch.take(slice(0, 4))
    assert chosen.target.shape == (4,)
    assert chosen.x.shape[1] == chosen.lengths.max()


def test_a_batch_with_unequal_numbers_is_refused():
    with pytest.raises(ValueError, match="target must hold 3 sequences as x does, got 2"):
        tasks.Batch(np.zeros((3, 4, 1)), np.zeros((2, 1)))


def test_one_hot():
    tokens = np.array([[0, 2], [1, 1]])
    vectors = tasks.one_hot(tokens, 3)
    assert vectors.shape == (2, 2, 3)
    np.testing.assert_array_equal(vectors.argmax(axis=2), tokens)
    assert (vectors.sum(axis=2) == 1).all()
    with pytest.raises(ValueError, match="tokens must lie between 0 and 1, got 0 to 2"):
        tasks.one_hot(tokens, 2)


# Adding, copying, order, flip-flop


@pytest.mark.parametrize("steps", [2, 7, 30])
def test_adding_problem(rng, steps):
    batch = tasks.adding_problem(500, steps, rng)
    assert batch.x.shape == (500, steps, 2)
    assert batch.target.shape == (500, 1)
    marker = batch.x[:, :, 1]
    assert (marker[:, : steps // 2].sum(axis=1) == 1).all()
    assert (marker[:, steps // 2 :].sum(axis=1) == 1).all()
    np.testing.assert_allclose((batch.x[:, :, 0] * marker).sum(axis=1), batch.target[:, 0])
    if steps > 2:  # every position of each half is drawn
        assert (marker.sum(axis=0) > 0).all()


def test_adding_problem_baseline(rng):
    batch = tasks.adding_problem(200_000, 4, rng)
    number, marker = batch.x[:, :, 0], batch.x[:, :, 1]
    first = (number * marker)[:, :2].sum(axis=1, keepdims=True)
    assert tasks.adding_problem_baseline() == pytest.approx(1 / 6)
    for known, prediction in ((0, 1.0), (1, first + 0.5), (2, batch.target)):
        error = np.mean((batch.target - prediction) ** 2)
        assert error == pytest.approx(tasks.adding_problem_baseline(known), rel=0.02)


@pytest.mark.parametrize(("length", "symbols"), [(10, 8), (3, 4)])
def test_copy_memory(rng, length, symbols):
    delay, blank, delimiter = 7, symbols, symbols + 1
    batch = tasks.copy_memory(400, delay, rng, length=length, symbols=symbols)
    steps = delay + 2 * length
    assert batch.x.shape == batch.target.shape == (400, steps)
    message = batch.x[:, :length]
    assert set(np.unique(message)) == set(range(symbols))
    np.testing.assert_array_equal(batch.target[:, -length:], message)
    assert (batch.target[:, :-length] == blank).all()
    # The delimiter comes one step before the answer is due.
    assert (batch.x[:, steps - length - 1] == delimiter).all()
    assert (batch.x == delimiter).sum() == 400
    assert (batch.x[:, length : steps - length - 1] == blank).all()
    assert (batch.x[:, steps - length :] == blank).all()


def test_copy_memory_baseline(rng):
    batch = tasks.copy_memory(50_000, 5, rng)
    per_step = [conditional_loss(column, np.zeros_like(column)) for column in batch.target.T]
    assert np.mean(per_step) == pytest.approx(tasks.copy_memory_baseline(5), rel=1e-3)
    assert tasks.copy_memory_baseline(100) == pytest.approx(10 * math.log(8) / 120)
    for wrong in ({"delay": 0}, {"delay": 5, "length": 0}, {"delay": 5, "symbols": -2}):
        with pytest.raises(ValueError, match=f"{list(wrong)[-1]} must be"):
            tasks.copy_memory_baseline(**wrong)


def test_temporal_order(rng):
    steps = 100
    batch = tasks.temporal_order(3000, steps, rng)
    symbols = np.array(list(tasks.TEMPORAL_ORDER_SYMBOLS))[batch.x]
    assert (symbols[:, 0] == "E").all()
    assert (symbols[:, -1] == "B").all()
    relevant = np.isin(symbols, ["X", "Y"])
    assert (relevant.sum(axis=1) == 2).all()
    where = np.argwhere(relevant)[:, 1].reshape(-1, 2)
    assert set(where[:, 0]) == set(range(10, 21))
    assert set(where[:, 1]) == set(range(50, 61))
    pairs = ["".join(row[keep]) for row, keep in zip(symbols, relevant, strict=True)]
    assert [["XX", "XY", "YX", "YY"].index(pair) for pair in pairs] == batch.target.tolist()
    assert set(np.unique(symbols)) == set("EBabcdXY")


@pytest.mark.parametrize("steps", [10, 11, 19])
def test_temporal_order_keeps_its_symbols_apart_when_short(rng, steps):
    batch = tasks.temporal_order(500, steps, rng)
    assert ((batch.x >= 6).sum(axis=1) == 2).all()
    assert (batch.x[:, 0] == 0).all()
    assert (batch.x[:, -1] == 1).all()


def test_temporal_order_baseline(rng):
    batch = tasks.temporal_order(100_000, 10, rng)
    nothing = conditional_loss(batch.target, np.zeros(len(batch)))
    counts = conditional_loss(batch.target, (batch.x == 6).sum(axis=1))
    assert nothing == pytest.approx(tasks.temporal_order_baseline(), rel=1e-3)
    assert counts == pytest.approx(tasks.temporal_order_baseline(sees_counts=True), rel=0.02)


def test_flip_flop_holds_the_last_pulse(rng):
    batch = tasks.flip_flop(20, 30, rng, bits=2, pulse=0.2)
    assert batch.x.shape == batch.target.shape == (20, 30, 2)
    held = np.zeros((20, 2))
    for t in range(30):
        held = np.where(batch.x[:, t] != 0, batch.x[:, t], held)
        np.testing.assert_array_equal(batch.target[:, t], held)
    assert set(np.unique(batch.x)) == {-1.0, 0.0, 1.0}


@pytest.mark.parametrize("pulse", [0.05, 0.5])
def test_flip_flop_baseline(rng, pulse):
    steps = 12
    batch = tasks.flip_flop(40_000, steps, rng, pulse=pulse)
    assert (batch.x != 0).mean() == pytest.approx(pulse, rel=0.02)
    blind, repeat = (np.mean((batch.target - guess) ** 2) for guess in (0.0, batch.x))
    assert blind == pytest.approx(
        tasks.flip_flop_baseline(steps, pulse=pulse, sees_input=False), rel=0.02
    )
    assert repeat == pytest.approx(tasks.flip_flop_baseline(steps, pulse=pulse), rel=0.02)


# Languages


def test_parity(rng):
    batch = tasks.parity(300, 9, rng)
    assert batch.x.shape == (300, 9, 1)
    for t in range(9):
        odd = batch.x[:, : t + 1, 0].sum(axis=1) % 2 == 1
        np.testing.assert_array_equal(batch.target[:, t] == 1, odd)
    one = tasks.parity(300, 9, rng, many_to="one", least_steps=2)
    assert set(one.lengths) == set(range(2, 10))
    for x, length, target in zip(one.x, one.lengths, one.target, strict=True):
        assert x[:length].sum() % 2 == target


@pytest.mark.parametrize("window", [0, 3, 8])
def test_parity_baseline(rng, window):
    steps = 8
    batch = tasks.parity(40_000, steps, rng)
    bits = batch.x[:, :, 0].astype(int)
    losses = []
    for t in range(steps):
        seen = bits[:, max(0, t + 1 - window) : t + 1] if window else bits[:, :0]
        context = seen @ (2 ** np.arange(seen.shape[1]))
        losses.append(conditional_loss(batch.target[:, t], context))
    assert np.mean(losses) == pytest.approx(tasks.parity_baseline(steps, window=window), abs=1e-3)


@pytest.mark.parametrize("letters", [2, 3])
def test_counting_language(rng, letters):
    batch = tasks.counting_language(100, rng, letters=letters, least_n=2, most_n=6)
    for x, target, length, latent in zip(
        batch.x, batch.target, batch.lengths, batch.latent, strict=True
    ):
        n = (length - 1) // letters
        word = "#" + "".join(letter * n for letter in "abc"[:letters]) + "#"
        assert "".join("#abc"[token] for token in x[:length]) == word[:-1]
        assert "".join("#abc"[token] for token in target[:length]) == word[1:]
        for t in range(length):
            for k in range(1, letters):
                other = "abc"[k]
                assert latent[t, k - 1] == word[: t + 1].count("a") - word[: t + 1].count(other)
    assert set((batch.lengths - 1) // letters) == {2, 3, 4, 5, 6}


@pytest.mark.parametrize("letters", [2, 3])
def test_counting_language_baseline(rng, letters):
    options = {"letters": letters, "least_n": 2, "most_n": 7}
    batch = tasks.counting_language(40_000, rng, **options)
    symbol, target = batch.x[batch.mask], batch.target[batch.mask]
    bigram = conditional_loss(target, symbol)
    history = symbol + batch.latent[batch.mask] @ 100 ** np.arange(1, letters)
    counting = conditional_loss(target, history)
    assert bigram == pytest.approx(
        tasks.counting_language_baseline(**options, counts=False), rel=0.01
    )
    assert counting == pytest.approx(tasks.counting_language_baseline(**options), rel=0.01)


def test_brackets_are_nested(rng):
    kinds, max_depth = 3, 4
    batch = tasks.brackets(500, rng, kinds=kinds, max_depth=max_depth)
    for x, target, length, depth in zip(
        batch.x, batch.target, batch.lengths, batch.latent, strict=True
    ):
        word = [*x[:length].tolist(), int(target[length - 1])]
        assert word[0] == word[-1] == 0
        stack = []
        for t, token in enumerate(word[1:-1], start=1):
            if token <= kinds:
                stack.append(token)
            else:
                assert stack.pop() == token - kinds
            assert depth[t] == len(stack) <= max_depth
        assert not stack
        assert length >= 3
    assert set(np.unique(batch.x)) == set(range(2 * kinds + 1))
    assert batch.latent.max() == max_depth


@pytest.mark.parametrize("max_depth", [1, 3])
@pytest.mark.slow
def test_brackets_baseline(rng, max_depth):
    options = {"kinds": 2, "max_depth": max_depth, "go_on": 0.4}
    batch = tasks.brackets(30_000, rng, **options)
    target, depth = batch.target[batch.mask], batch.latent[batch.mask]
    start = (np.arange(batch.x.shape[1]) == 0)[None] & batch.mask
    context = np.where(start[batch.mask], -1, depth)
    counter = conditional_loss(target, context)
    # With a stack: the kind of the bracket on top is known as well.
    rows = zip(batch.x, batch.mask, strict=True)
    top = np.concatenate([stack_tops(row[keep]) for row, keep in rows])
    assert counter == pytest.approx(tasks.brackets_baseline(**options, stack=False), rel=0.02)
    stack = conditional_loss(target, 10 * context + top)
    assert stack == pytest.approx(tasks.brackets_baseline(**options), rel=0.02)


def stack_tops(tokens, kinds=2):
    stack, tops = [0], []
    for token in tokens:
        if 1 <= token <= kinds:
            stack.append(token)
        elif token > kinds:
            stack.pop()
        tops.append(stack[-1])
    return np.array(tops)


# Automata and the Reber grammar


def test_reber_strings_of_the_literature():
    """Five strings in the grammar and five outside it, from N. Schraudolph's course notes."""
    automaton = tasks.reber_automaton(embedded=False)

    def accepts(string, state=0):
        for symbol in string:
            if state == len(automaton.arcs):
                return False
            follow = {tasks.REBER_SYMBOLS[s]: after for s, after, _ in automaton.arcs[state]}
            if symbol not in follow:
                return False
            state = follow[symbol]
        return state == len(automaton.arcs)

    for string in ("BTSSXXTVVE", "BPVVE", "BTXXVPSE", "BPVPXVPXVPXVVE", "BTSXXVPSE"):
        assert accepts(string), string
    for string in ("BTSSPXSE", "BPTVVB", "BTXXVVSE", "BPVSPSE", "BTSSSE"):
        assert not accepts(string), string


def test_embedded_reber_repeats_its_second_symbol(rng):
    batch = tasks.reber_grammar(400, rng)
    inner = {
        "".join(tasks.REBER_SYMBOLS[s] for s in string)
        for string, _ in tasks.reber_automaton(embedded=False).strings(14)
    }
    checked = set()
    for x, target, length in zip(batch.x, batch.target, batch.lengths, strict=True):
        word = "".join(tasks.REBER_SYMBOLS[s] for s in [x[0], *target[:length]])
        np.testing.assert_array_equal(x[1:length], target[: length - 1])
        assert word[0] + word[-1] == "BE"
        assert word[1] == word[-2]
        assert word[1] in "TP"
        if len(word) <= 18:
            assert word[2:-2] in inner
            checked.add(word)
    assert len(checked) > 50


@pytest.mark.parametrize("embedded", [True, False])
def test_reber_entropy_by_enumeration(embedded):
    automaton = tasks.reber_automaton(embedded=embedded)
    strings = list(automaton.strings(30))
    probabilities = np.array([p for _, p in strings])
    assert len({string for string, _ in strings}) == len(strings)
    assert probabilities.sum() == pytest.approx(1, abs=2e-3)
    assert -np.sum(probabilities * np.log(probabilities)) == pytest.approx(
        automaton.entropy(), rel=0.01
    )
    lengths = np.array([len(string) for string, _ in strings])
    assert probabilities @ lengths == pytest.approx(automaton.expected_length(), rel=0.01)


def test_reber_by_hand():
    """The inner grammar has 8 symbols and the embedded one 8 + 4 on average, as the chain's
    equations give by hand; its only further choice is one fair coin."""
    inner, embedded = (tasks.reber_automaton(embedded=e) for e in (False, True))
    assert inner.expected_length() == pytest.approx(8)
    assert embedded.expected_length() == pytest.approx(12)
    assert inner.entropy() == pytest.approx(6 * math.log(2))  # six fair coins on average
    assert embedded.entropy() == pytest.approx(7 * math.log(2))


@pytest.mark.parametrize("embedded", [True, False])
@pytest.mark.slow
def test_reber_baseline_by_simulation(rng, embedded):
    batch = tasks.reber_grammar(20_000, rng, embedded=embedded)
    target, state = batch.target[batch.mask], batch.latent[batch.mask]
    loss = conditional_loss(target, state)
    assert loss == pytest.approx(tasks.reber_baseline(embedded=embedded), rel=0.01)


@pytest.mark.slow
def test_reber_baseline_of_one_that_forgets(rng):
    batch = tasks.reber_grammar(20_000, rng)
    target, state = batch.target[batch.mask], batch.latent[batch.mask]
    # The two copies of the inner grammar, and the two states that close them, become one.
    merged = np.where((state >= 9) & (state <= 15), state - 7, np.where(state == 17, 16, state))
    loss = conditional_loss(target, merged)
    assert loss == pytest.approx(tasks.reber_baseline(forgets=True), rel=0.01)
    with pytest.raises(ValueError, match="forgets must be False"):
        tasks.reber_baseline(embedded=False, forgets=True)


def test_automaton_refuses_what_has_no_such_entropy():
    with pytest.raises(ValueError, match="arcs of state 0 must have probabilities that sum to 1"):
        Automaton((((0, 1, 0.4), (1, 1, 0.5)),))
    with pytest.raises(ValueError, match="arcs of state 0 must write different symbols"):
        Automaton((((0, 1, 0.5), (0, 0, 0.5)),))


def test_expected_count_and_visits():
    automaton = Automaton((((7, 0, 0.75), (9, 1, 0.25)),))  # geometric: 3 sevens on average
    assert automaton.expected_count(7) == pytest.approx(3)
    assert automaton.expected_visits() == pytest.approx([4])


# Signals


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_sine_mixture_baseline(rng, noise):
    batch = tasks.sine_mixture(20_000, 8, rng, components=3, noise=noise)
    assert batch.x.shape == batch.target.shape == (20_000, 8, 1)
    np.testing.assert_array_equal(batch.x[:, 1:], batch.target[:, :-1])
    persistence = np.mean((batch.target - batch.x) ** 2)
    assert persistence == pytest.approx(tasks.sine_mixture_baseline(noise=noise), rel=0.02)
    constant = tasks.sine_mixture_baseline(noise=noise, persistence=False)
    assert np.mean(batch.target**2) == pytest.approx(constant, rel=0.02)


def test_noiseless_sines_obey_a_linear_recurrence(rng):
    batch = tasks.sine_mixture(1, 200, rng, components=2)
    series = batch.x[0, :, 0]
    past = np.lib.stride_tricks.sliding_window_view(series[:-1], 4)
    coefficients, *_ = np.linalg.lstsq(past, series[4:], rcond=None)
    np.testing.assert_allclose(past @ coefficients, series[4:], atol=1e-9)


def test_mackey_glass_solves_its_equation(rng):
    """A finer grid gives the same trajectory, and a fixed point stays where it is."""
    coarse, fine = (
        tasks.mackey_glass(60, np.random.default_rng(3), substeps=n, transient=0) for n in (10, 40)
    )
    np.testing.assert_allclose(coarse, fine, atol=2e-3)
    assert coarse.std() > 0.05
    # 0.2 / (1 + x^10) = 0.1 at x = 1: the point to which short delays converge.
    assert tasks.mackey_glass(1, rng, delay=2.0, transient=3000)[0] == pytest.approx(1, abs=1e-6)


def test_mackey_glass_is_of_fourth_order_while_its_past_is_known():
    """Until one delay has passed the equation is linear, dx/dt = forcing - 0.1 x."""
    start = np.random.default_rng(3).uniform(0.8, 1.4)
    rest = 2 * start / (1 + start**10)  # where the slope is zero
    exact = rest + (start - rest) * np.exp(-0.1 * np.arange(18))
    errors = [
        np.abs(tasks.mackey_glass(18, np.random.default_rng(3), substeps=n, transient=0) - exact)
        for n in (1, 2, 4)
    ]
    orders = np.diff([-np.log2(error.max()) for error in errors])
    np.testing.assert_allclose(orders, 4, atol=0.1)


def test_mackey_glass_is_of_second_order_beyond():
    """There a mean of two neighbors stands for the delayed value between them."""
    paths = {
        n: tasks.mackey_glass(50, np.random.default_rng(3), substeps=n, transient=0)
        for n in (2, 4, 8, 64)
    }
    errors = [np.abs(paths[n] - paths[64]).max() for n in (2, 4, 8)]
    np.testing.assert_allclose(-np.diff(np.log2(errors)), 2, atol=0.1)


def test_mackey_glass_is_chaotic_at_delay_17():
    class Fixed(np.random.Generator):
        def uniform(self, low, high):
            return self.start

    paths = []
    for start in (1.2, 1.2 + 1e-6):
        generator = Fixed(np.random.PCG64(0))
        generator.start = start
        paths.append(tasks.mackey_glass(3000, generator))
    apart = np.abs(paths[0] - paths[1])
    assert apart[0] < 1e-3
    assert apart[-1000:].max() > 0.1


def test_windows_of_a_series():
    series = np.arange(10.0)
    batch = tasks.windows(series, 4, horizon=2)
    assert batch.x.shape == (5, 4, 1)
    np.testing.assert_array_equal(batch.x[0, :, 0], [0, 1, 2, 3])
    np.testing.assert_array_equal(batch.target[:, 0], [5, 6, 7, 8, 9])
    batch.x[0, 0, 0] = 99
    assert series[0] == 0
    assert tasks.persistence_baseline(series, horizon=3) == 9


def test_real_series():
    pytest.importorskip("statsmodels", reason="statsmodels ships the series")
    sunspots, co2 = tasks.real_series("sunspots"), tasks.real_series("co2")
    assert (sunspots.time[0], sunspots.time[-1]) == (1700, 2008)
    assert (np.diff(sunspots.time) == 1).all()
    assert len(co2.values) == 12 * 43 + 10
    np.testing.assert_allclose(np.diff(co2.time), 1 / 12, atol=1e-9)
    assert np.isfinite(co2.values).all()
    assert 310 < co2.values.min() < co2.values.max() < 375
    elnino = tasks.real_series("elnino")
    assert len(elnino.values) == 12 * 61
    assert 18 < elnino.values.min() < elnino.values.max() < 30
    np.testing.assert_allclose(np.diff(elnino.time), 1 / 12, atol=1e-9)
    by_month = elnino.values.reshape(61, 12).mean(axis=0)  # south of the equator: warm in March
    assert by_month.argmax() in (1, 2)
    assert by_month.argmin() in (7, 8)


def test_real_series_without_statsmodels(monkeypatch):
    for module in [name for name in sys.modules if name.startswith("statsmodels")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "statsmodels", None)
    with pytest.raises(ModuleNotFoundError, match=r"needs statsmodels, .*rnnbook\[series\]"):
        tasks.real_series("co2")


def test_tasks_need_neither_torch_nor_scipy():
    code = (
        "import sys, rnnbook.tasks;"
        "print(sorted({'torch','scipy','matplotlib','statsmodels'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


RNG = np.random.default_rng(0)
WRONG = [
    (lambda: tasks.adding_problem(0, 5, RNG), "batch must be a whole number of at least 1, got 0"),
    (lambda: tasks.adding_problem(5, 1, RNG), "steps must lie between 2 and inf, got 1"),
    (lambda: tasks.adding_problem(5, 5, 7), "rng must be a numpy.random.Generator, got int"),
    (lambda: tasks.adding_problem_baseline(3), "known must lie between 0 and 2, got 3"),
    (lambda: tasks.copy_memory(5, 0, RNG), "delay must be a whole number"),
    (lambda: tasks.temporal_order(5, 9, RNG), "steps must lie between 10 and inf, got 9"),
    (lambda: tasks.flip_flop(5, 9, RNG, pulse=1.5), "pulse must lie between 0 and 1, got 1.5"),
    (lambda: tasks.parity(5, 9, RNG, many_to="two"), "many_to must be one of 'one', 'many'"),
    (lambda: tasks.parity(5, 9, RNG, least_steps=10), "least_steps must lie between 1 and 9"),
    (lambda: tasks.counting_language(5, RNG, letters=1), "letters must lie between 2 and 26"),
    (lambda: tasks.counting_language(5, RNG, least_n=4, most_n=3), "least_n must lie between"),
    (lambda: tasks.brackets(5, RNG, go_on=1.0), "go_on must lie between 0 and 0.999, got 1.0"),
    (lambda: tasks.reber_grammar(5, None), "rng must be a numpy.random.Generator, got NoneType"),
    (lambda: tasks.sine_mixture(5, 9, RNG, periods=(8, 4)), r"periods must be \(short, long\)"),
    (lambda: tasks.mackey_glass(9, RNG, delay=0.01), "delay must be a positive multiple of 1"),
    (lambda: tasks.windows(np.zeros(5), 5), r"series must have at least steps \+ horizon = 6"),
    (lambda: tasks.windows(np.zeros((5, 2)), 2), r"series must have shape \(length,\)"),
    (lambda: tasks.persistence_baseline(np.zeros(3), horizon=3), "horizon must lie between 1"),
    (lambda: tasks.real_series("rain"), "name must be one of 'sunspots', .* got 'rain'"),
]


@pytest.mark.parametrize(("call", "message"), WRONG, ids=[message for _, message in WRONG])
def test_wrong_input_is_told(call, message):
    with pytest.raises(ValueError, match=message):
        call()
