"""Deterministic automata that draw strings, and their entropy, exactly.

In state s the automaton writes a symbol with a given probability and moves on; the symbol tells
the next state. Dimensions: S states, the final one not counted.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from rnnbook.checks import check_generator


@dataclass(frozen=True)
class Automaton:
    """Starts in state 0 and ends in state S = len(arcs).

    Attributes:
        arcs: for each state its arcs (symbol, next state, probability).
    Raises:
        ValueError: where a state's probabilities do not sum to 1, or two of its arcs write the
            same symbol (then strings would not tell states, and the entropy below would not be
            that of the strings).
    """

    arcs: tuple[tuple[tuple[int, int, float], ...], ...]

    def __post_init__(self) -> None:
        for state, arcs in enumerate(self.arcs):
            symbols, _, probabilities = zip(*arcs, strict=True)
            if not np.isclose(sum(probabilities), 1):
                raise ValueError(
                    f"arcs of state {state} must have probabilities that sum to 1, "
                    f"got {sum(probabilities)}."
                )
            if len(set(symbols)) < len(symbols):
                raise ValueError(
                    f"arcs of state {state} must write different symbols, got {symbols}."
                )

    def sample(self, rng: np.random.Generator) -> tuple[list[int], list[int]]:
        """One string and, for each of its symbols, the state reached by writing it.

        Raises:
            ValueError: for what is no generator.
        """
        check_generator("rng", rng)
        symbols, states, state = [], [], 0
        while state < len(self.arcs):
            probabilities = [probability for _, _, probability in self.arcs[state]]
            symbol, state, _ = self.arcs[state][rng.choice(len(probabilities), p=probabilities)]
            symbols.append(symbol)
            states.append(state)
        return symbols, states

    def strings(self, longest: int) -> Iterator[tuple[tuple[int, ...], float]]:
        """All strings of at most ``longest`` symbols, each with its probability."""
        open_paths: list[tuple[tuple[int, ...], int, float]] = [((), 0, 1.0)]
        while open_paths:
            string, state, probability = open_paths.pop()
            if state == len(self.arcs):
                yield string, probability
            elif len(string) < longest:
                open_paths += [
                    ((*string, symbol), after, probability * p)
                    for symbol, after, p in self.arcs[state]
                ]

    def expected_visits(self) -> np.ndarray:
        """How often each state is visited in a string, on average: v (S,).

        State 0 is visited at the start; any visit comes from a visit before it. So, with
        P[s, r] the probability to move from s to r, v = e_0 + P^T v.
        """
        size = len(self.arcs)
        move = np.zeros((size, size + 1))
        for state, arcs in enumerate(self.arcs):
            for _, after, probability in arcs:
                move[state, after] += probability
        return np.linalg.solve(np.eye(size) - move[:, :size].T, np.eye(size)[0])

    def expected_length(self) -> float:
        """Mean number of symbols in a string: each visit writes one, so the sum of v."""
        return float(self.expected_visits().sum())

    def expected_count(self, symbol: int) -> float:
        """Mean number of times that ``symbol`` is in a string."""
        rate = [sum(p for written, _, p in arcs if written == symbol) for arcs in self.arcs]
        return float(self.expected_visits() @ rate)

    def entropy(self) -> float:
        """Entropy of a string in nats: the least expected log-loss of any predictor.

        By the chain rule ln p(string) is the sum of the ln p of its choices, and the string so
        far tells the state. So the entropy is sum_s v_s H_s, with H_s the entropy of the choice
        in state s. Divided by ``expected_length()`` it is the entropy rate per symbol.

        Source:
            Cover & Thomas, "Elements of Information Theory", 2nd edition, 2006, section 4.2
            (entropy rate of a Markov chain), here for chains that end.
        """
        choice = [-sum(p * np.log(p) for _, _, p in arcs if p > 0) for arcs in self.arcs]
        return float(self.expected_visits() @ choice)
