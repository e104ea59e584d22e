"""Writing with a trained model: symbol after symbol, each one drawn and read again (``faq``).

    p(y | all before) = softmax(z / tau)_y          z: the model's logits        tau: temperature

Below temperature 1 the likely symbols become likelier, above it less so; 0 takes the likeliest.
"""

import copy

import numpy as np

from rnnbook.checks import check_between, check_generator, check_positive, check_whole
from rnnbook.scratch.model import SequenceModel


def generate(
    model: SequenceModel,
    count: int,
    rng: np.random.Generator,
    *,
    temperature: float = 1.0,
    start: int = 0,
    stop: int = 0,
    longest: int = 100,
) -> list[list[int]]:
    """Draw ``count`` strings of symbols from a model that predicts the next one.

        z_t, state_t = model(y_{t-1}, state_{t-1})         y_0 = start, state_0 = 0
        y_t = argmax_k (z_tk + tau g_tk)                   g independent, standard Gumbel

    The largest of z_k / tau plus such noise is k with probability softmax(z / tau)_k, so this
    draws from the softmax at temperature tau, and tau = 0 needs no formula of its own. One step
    costs the same however long the string is, since the state is all that the model keeps of it.

    Args:
        model: with an embedding, ``many_to="many"``, and a layer of one direction. A copy of it
            writes, in evaluation mode (no dropout).
        temperature: tau, between 0 and 1e300.
        start: the symbol that is read first; it is not part of the string.
        stop: the symbol that ends a string, which keeps it as its last one.
        longest: the most symbols; a string of so many may lack ``stop``.
    Raises:
        ValueError: for another kind of model, and for wrong numbers.
    Source:
        Ackley, Hinton & Sejnowski, "A learning algorithm for Boltzmann machines", Cognitive
        Science 9(1), 1985 (temperature); Maddison, Tarlow & Minka, "A* sampling", NeurIPS 2014
        (the largest of logits with Gumbel noise).
    """
    _check_model(model)
    symbols = len(model.embedding.params["weight"])
    check_positive("count", count)
    check_generator("rng", rng)
    check_positive("longest", longest)
    check_between("temperature", temperature, 0, 1e300)
    check_whole("start", start, 0, symbols - 1)
    check_whole("stop", stop, 0, symbols - 1)

    model = copy.deepcopy(model).eval()  # the model keeps its own mode
    strings: list[list[int]] = [[] for _ in range(count)]
    y, state = np.full(count, start), None
    while any(unfinished := [_goes_on(string, stop, longest) for string in strings]):
        output, state = model.rnn.forward(model.embedding.forward(y[:, None]), state)
        z = model.head.forward(output)[:, 0]  # (count, V)
        y = np.argmax(z + temperature * rng.gumbel(size=z.shape), axis=1)
        for k in np.flatnonzero(unfinished):
            strings[k].append(int(y[k]))
    return strings


def _goes_on(string: list[int], stop: int, longest: int) -> bool:
    return len(string) < longest and string[-1:] != [stop]


def _check_model(model) -> None:
    if not isinstance(model, SequenceModel):
        raise ValueError(f"model must be a SequenceModel, got {type(model).__name__}.")
    if model.embedding is None:
        raise ValueError("model must have an embedding, got one without.")
    if model.many_to != "many":
        raise ValueError(f'model must have many_to="many", got {model.many_to!r}.')
    if model.rnn.bidirectional:
        raise ValueError("model must read in one direction, got a bidirectional layer.")
