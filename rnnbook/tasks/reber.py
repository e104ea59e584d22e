"""The Reber grammar and the embedded Reber grammar, with the least loss that any model can have."""

import math

import numpy as np

from rnnbook.checks import check_generator, check_positive
from rnnbook.tasks.automaton import Automaton
from rnnbook.tasks.batch import Batch, next_symbol_batch

REBER_SYMBOLS = "BTPSXVE"

# One row a state: symbol and next state, all arcs of a state equally likely.
_INNER = (("B1",), ("T2", "P3"), ("S2", "X4"), ("T3", "V5"), ("X3", "S6"), ("P4", "V6"), ("E7",))


def reber_automaton(*, embedded: bool = True) -> Automaton:
    """The Reber grammar, or two copies of it between B T ... T E and B P ... P E.

    In the embedded grammar state 0 writes the first B and state 1 chooses T or P; states 2 .. 8
    are the inner grammar after T and 9 .. 15 after P; 16 and 17 write the T or P that must
    repeat the second symbol, however long ago it was; 18 writes the last E.

    Source:
        Reber, "Implicit learning of artificial grammars", Journal of Verbal Learning and Verbal
        Behavior 6(6), 1967; Cleeremans, Servan-Schreiber & McClelland, "Finite state automata
        and simple recurrent networks", Neural Computation 1(3), 1989; Hochreiter & Schmidhuber,
        "Long short-term memory", Neural Computation 9(8), 1997, section 5.1.
    """

    def inner(offset: int, end: int) -> list[list[tuple[str, int]]]:
        return [
            [(arc[0], end if arc[1] == "7" else int(arc[1]) + offset) for arc in arcs]
            for arcs in _INNER
        ]

    if embedded:
        frame = [[("B", 1)], [("T", 2), ("P", 9)]]
        close = [[("T", 18)], [("P", 18)], [("E", 19)]]
        rows = frame + inner(2, end=16) + inner(9, end=17) + close
    else:
        rows = inner(0, end=7)
    return Automaton(
        tuple(
            tuple((REBER_SYMBOLS.index(symbol), after, 1 / len(arcs)) for symbol, after in arcs)
            for arcs in rows
        )
    )


def reber_grammar(batch: int, rng: np.random.Generator, *, embedded: bool = True) -> Batch:
    """Strings of the (embedded) Reber grammar, to be predicted symbol by symbol.

    Returns:
        x and target, integer tokens (B, T) that index ``REBER_SYMBOLS``, target one step ahead
        of x; lengths (a string's length - 1) and mask; latent (B, T), the state of the
        automaton after each input symbol.
    Raises:
        ValueError: for a batch below one, or what is no generator.
    Source:
        as for ``reber_automaton``.
    """
    check_positive("batch", batch)
    check_generator("rng", rng)
    automaton = reber_automaton(embedded=embedded)
    strings, states = zip(*(automaton.sample(rng) for _ in range(batch)), strict=True)
    return next_symbol_batch(list(strings), [np.array(path[:-1]) for path in states])


def reber_baseline(*, embedded: bool = True, forgets: bool = False) -> float:
    """Least cross-entropy per predicted symbol, in nats, of any model of the strings.

    The mean over all predicted symbols of many strings tends to the expected loss of a string
    divided by the expected number of its predictions, which is its length - 1, for the first B
    is given. The best expected loss is the entropy of the string, of which B is no part.

    ``forgets``: of a model that knows everything but which symbol came second. The inner string
    does not depend on it, so T and P are equally likely at the last step but one: ln 2 more per
    string (embedded grammar only).

    Raises:
        ValueError: where ``forgets`` is asked of the grammar that is not embedded.
    """
    if forgets and not embedded:
        raise ValueError("forgets must be False where embedded is False, got True.")
    automaton = reber_automaton(embedded=embedded)
    loss = automaton.entropy() + (math.log(2) if forgets else 0)
    return loss / (automaton.expected_length() - 1)
