"""Writing with a model: the drawn symbols have the model's probabilities, at every temperature."""

import numpy as np
import pytest

from rnnbook.generate import generate
from rnnbook.scratch import (
    GRU,
    LSTM,
    RNN,
    Dropout,
    Embedding,
    Linear,
    SequenceModel,
    Stacked,
)

CHAIN = np.array([[0.1, 0.6, 0.3], [0.25, 0.25, 0.5], [0.3, 0.65, 0.05]])  # from row to column


def markov_model(chain):
    """A network that knows the last symbol only: logits are the log of the chain's row."""
    symbols = len(chain)
    rnn = RNN(symbols, symbols)
    for name, value in rnn.params.items():
        value[...] = np.eye(symbols) if name == "weight_ih_l0" else 0
    embedding, head = Embedding(symbols, symbols), Linear(symbols, symbols)
    embedding.load_params({"weight": np.eye(symbols)})
    head.load_params({"weight": np.log(chain).T / np.tanh(1), "bias": np.zeros(symbols)})
    return SequenceModel(rnn, head, embedding=embedding, many_to="many")


def random_model(layer=LSTM, *, symbols=7, rng=None):
    rng = np.random.default_rng(5) if rng is None else rng
    rnn = layer(4, 9, rng=rng)
    for value in rnn.params.values():
        value *= 4  # so that the past matters
    head = Linear(9, symbols, rng=rng)
    head.params["weight"] *= 8
    embedding = Embedding(symbols, 4, rng=rng)
    return SequenceModel(rnn, head, embedding=embedding, many_to="many")


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_frequencies_are_the_softmax(temperature):
    """Each transition's share against p^(1 / tau), normalized: within four standard errors."""
    rng = np.random.default_rng(int(10 * temperature))
    model = markov_model(CHAIN)
    strings = generate(model, 4000, rng, temperature=temperature, start=1, longest=12)
    counts = np.zeros((3, 3))
    for string in strings:
        np.add.at(counts, ([1, *string[:-1]], string), 1)
    expected = CHAIN ** (1 / temperature)
    expected /= expected.sum(axis=1, keepdims=True)
    seen = counts.sum(axis=1, keepdims=True)
    assert not counts[0].any()  # 0 ends a string
    error = (counts / np.maximum(seen, 1) - expected)[1:]
    tolerance = 4 * np.sqrt(expected * (1 - expected) / np.maximum(seen, 1))[1:]
    assert (np.abs(error) < tolerance).all()
    assert tolerance.max() < 0.04


@pytest.mark.parametrize("layer", [RNN, GRU, LSTM])
@pytest.mark.parametrize("temperature", [0.7, 1.0])
def test_the_carried_state_is_that_of_the_whole_string(layer, temperature):
    """The same noise on the logits of one forward pass over the finished strings draws them."""
    model = random_model(layer)
    strings = generate(
        model, 5, np.random.default_rng(3), temperature=temperature, start=2, stop=6, longest=30
    )
    steps = max(map(len, strings))
    assert steps > 5
    noise = np.random.default_rng(3).gumbel(size=(steps, 5, 7))
    for b, string in enumerate(strings):
        logits = model.forward(np.array([[2, *string[:-1]]]))[0]
        drawn = np.argmax(logits / temperature + noise[: len(string), b], axis=1)
        np.testing.assert_array_equal(drawn, string)


def test_temperature_zero_takes_the_likeliest():
    model = random_model(GRU)
    rng = np.random.default_rng(0)
    first, second = generate(model, 2, rng, temperature=0, start=1, longest=20)
    assert first == second
    logits = model.forward(np.array([[1, *first[:-1]]]))[0]
    np.testing.assert_array_equal(logits.argmax(axis=1), first)


def test_strings_end_at_the_stop_symbol_or_at_the_longest():
    strings = generate(markov_model(CHAIN), 500, np.random.default_rng(1), stop=2, longest=4)
    assert any(len(string) == 4 and string[-1] != 2 for string in strings)
    for string in strings:
        assert 2 not in string[:-1]
        assert len(string) == 4 or string[-1] == 2
    assert {len(string) for string in strings} == {1, 2, 3, 4}


def test_a_generator_decides_everything():
    model = random_model()
    first, again, other = (generate(model, 3, np.random.default_rng(s)) for s in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("training", [True, False])
def test_dropout_is_off_while_writing_and_the_mode_stays(training):
    rng = np.random.default_rng(0)
    layers = [GRU(4, 9, rng=rng), GRU(9, 9, rng=rng)]
    dropout = Dropout(0.9, rng=rng)
    model = SequenceModel(
        Stacked(layers, [dropout]),
        Linear(9, 7, rng=rng),
        embedding=Embedding(7, 4, rng=rng),
        many_to="many",
    ).train(training)
    first, second = generate(model, 2, rng, temperature=0, longest=30)
    assert first == second
    assert model.training is dropout.training is training


def test_the_mode_stays_after_an_error():
    model = random_model().train()
    model.head.params["weight"][...] = np.nan
    model.rnn.params["weight_hh_l0"][...] = np.nan
    model.embedding.params["weight"][...] = np.nan
    with pytest.raises(ValueError, match="finite"):
        generate(model, 1, np.random.default_rng(0))
    assert model.training


def test_it_starts_and_stops_at_the_border_and_reads_the_logits_as_they_are():
    model = random_model()
    model.head.params["bias"][0] = -1e9  # never stops
    strings, told = (
        generate(model, 2, np.random.default_rng(0), **options)
        for options in ({}, {"temperature": 1.0, "start": 0, "stop": 0, "longest": 100})
    )
    assert strings == told
    assert [len(string) for string in strings] == [100, 100]


RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": 3}, "model must be a SequenceModel, got int"),
        ({"count": 0}, "count must be a whole number of at least 1, got 0"),
        ({"rng": 7}, "rng must be a numpy.random.Generator, got int"),
        ({"temperature": -1.0}, "temperature must lie between 0 and 1e.300, got -1.0"),
        ({"temperature": np.inf}, "temperature must lie between 0 and 1e.300, got inf"),
        ({"temperature": np.nan}, "temperature must lie between 0 and 1e.300, got nan"),
        ({"temperature": "hot"}, "temperature must lie between 0 and 1e.300, got 'hot'"),
        ({"start": 7}, "start must be a whole number between 0 and 6, got 7"),
        ({"start": 1.0}, "start must be a whole number between 0 and 6, got 1.0"),
        ({"stop": -1}, "stop must be a whole number between 0 and 6, got -1"),
        ({"stop": 0.5}, "stop must be a whole number between 0 and 6, got 0.5"),
        ({"longest": 0}, "longest must be a whole number of at least 1, got 0"),
    ],
)
def test_wrong_input_is_told(change, message):
    arguments = {"model": random_model(), "count": 2, "rng": RNG} | change
    with pytest.raises(ValueError, match=message):
        generate(**arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"embedding": None}, "model must have an embedding, got one without"),
        ({"many_to": "one"}, "model must have many_to=\"many\", got 'one'"),
        ({"layer": GRU(4, 9, bidirectional=True)}, "model must read in one direction"),
    ],
)
def test_a_model_that_cannot_write_is_told(change, message):
    parts = {"layer": GRU(4, 9), "head": Linear(9, 7), "embedding": Embedding(7, 4)}
    model = SequenceModel(**(parts | {"many_to": "many"} | change))
    with pytest.raises(ValueError, match=message):
        generate(model, 2, RNG)


@pytest.mark.slow
def test_the_experiment_repeats_and_counts_what_it_says(monkeypatch):
    from rnnbook.experiments.studies import number_text

    monkeypatch.setattr(number_text, "TEMPERATURES", (0.5,))
    setting = number_text.settings(True)[0]
    first, again = (number_text.run(setting, 0) for _ in range(2))
    assert {name: value for name, value in first.items() if name != "curve"} == {
        name: value for name, value in again.items() if name != "curve"
    }
    np.testing.assert_array_equal(first["curve"], again["curve"])
    assert 0 <= first["new 0.5"] <= first["correct 0.5"] <= 1
    assert first["test_loss"] > first["least_loss"] == pytest.approx(0.2612, rel=0.01)
    opened, default = (
        number_text.build(layer, 3, np.random.default_rng(0)).params
        for layer in ("LSTM, forget bias 3", "LSTM")
    )
    forget = opened["rnn.bias_ih_l0"][3:6] + opened["rnn.bias_hh_l0"][3:6]
    np.testing.assert_array_equal(forget, 3)
    for name, value in default.items():
        if "bias" not in name:
            np.testing.assert_array_equal(opened[name], value)
