"""Tasks with exact baselines: what a model must beat, and what none can beat.

Every task draws a ``Batch`` of NumPy arrays from an explicit generator and stands beside a function
that gives the loss of a predictor that lacks one ability, derived in its docstring. Losses are in
nats and as a mean over predictions, as a masked cross-entropy or a mean squared error reports them.
"""

from rnnbook.tasks.audio import (
    FRAME,
    SAMPLE_RATE,
    VOWEL_ORDERS,
    log_mel,
    vowel,
    vowel_waveforms,
    vowel_words,
    vowel_words_baseline,
)
from rnnbook.tasks.automaton import Automaton
from rnnbook.tasks.batch import Batch, one_hot
from rnnbook.tasks.languages import (
    bracket_automaton,
    brackets,
    brackets_baseline,
    counting_language,
    counting_language_baseline,
    parity,
    parity_baseline,
)
from rnnbook.tasks.memory import (
    TEMPORAL_ORDER_SYMBOLS,
    adding_problem,
    adding_problem_baseline,
    copy_memory,
    copy_memory_baseline,
    flip_flop,
    flip_flop_baseline,
    temporal_order,
    temporal_order_baseline,
)
from rnnbook.tasks.numbers import (
    NUMBER_CHARACTERS,
    NUMBER_WORDS,
    Pairs,
    named_number,
    number_name,
    number_names,
    number_names_baseline,
    number_text,
    number_tokens,
    number_words,
    spell,
    spelled_numbers,
    spelled_numbers_baseline,
)
from rnnbook.tasks.reber import REBER_SYMBOLS, reber_automaton, reber_baseline, reber_grammar
from rnnbook.tasks.signals import (
    Series,
    mackey_glass,
    persistence_baseline,
    real_series,
    sine_mixture,
    sine_mixture_baseline,
    windows,
)

__all__ = [
    "FRAME",
    "NUMBER_CHARACTERS",
    "NUMBER_WORDS",
    "REBER_SYMBOLS",
    "SAMPLE_RATE",
    "TEMPORAL_ORDER_SYMBOLS",
    "VOWEL_ORDERS",
    "Automaton",
    "Batch",
    "Pairs",
    "Series",
    "adding_problem",
    "adding_problem_baseline",
    "bracket_automaton",
    "brackets",
    "brackets_baseline",
    "copy_memory",
    "copy_memory_baseline",
    "counting_language",
    "counting_language_baseline",
    "flip_flop",
    "flip_flop_baseline",
    "log_mel",
    "mackey_glass",
    "named_number",
    "number_name",
    "number_names",
    "number_names_baseline",
    "number_text",
    "number_tokens",
    "number_words",
    "one_hot",
    "parity",
    "parity_baseline",
    "persistence_baseline",
    "real_series",
    "reber_automaton",
    "reber_baseline",
    "reber_grammar",
    "sine_mixture",
    "sine_mixture_baseline",
    "spell",
    "spelled_numbers",
    "spelled_numbers_baseline",
    "temporal_order",
    "temporal_order_baseline",
    "vowel",
    "vowel_waveforms",
    "vowel_words",
    "vowel_words_baseline",
    "windows",
]
