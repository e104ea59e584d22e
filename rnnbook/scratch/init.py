"""Initial weights (chapter ``gradient_descent``; the forget bias: chapter ``lstm``).

Every function changes the arrays of ``layer.params`` in place, in all layers and directions, and
treats each gate's block of rows as a matrix of its own: ``weight_hh_l0`` (4H, H) of an LSTM is four
H x H matrices. (Keras draws its kernels as one matrix over all gates, which makes Glorot's bound
smaller and the four recurrent blocks orthogonal only together.)
"""

from collections.abc import Iterator

import numpy as np

from rnnbook.checks import check_between, generator_or_new


def orthogonal_(
    layer,
    gain: float = 1.0,
    *,
    rng: np.random.Generator | None = None,
) -> None:
    """Make every recurrent block ``gain`` times a random orthogonal matrix.

        W = gain Q,      Q^T Q = I,      Q uniform over the orthogonal group

    so that before activations and gates a step keeps the length of ``h`` and of its gradient.
    Raises ``ValueError`` for a layer without recurrent weights.
    Source: Saxe, McClelland & Ganguli (2014), Exact solutions to the nonlinear dynamics of learning
    in deep linear neural networks.
    """
    rng = generator_or_new("rng", rng)
    for block in _blocks(layer, "weight_hh"):
        q, r = np.linalg.qr(rng.standard_normal(block.shape))
        # without the signs Q would not be uniform
        block[...] = gain * q * np.sign(np.diag(r))


def identity_(layer, scale: float = 1.0) -> None:
    """Make every recurrent block ``scale`` times the identity, and every bias zero.

    With a relu RNN this is the IRNN: with no input, ``h_t = scale * h_{t-1}``.
    Raises ``ValueError`` for a layer without recurrent weights.
    Source: Le, Jaitly & Hinton (2015), A Simple Way to Initialize Recurrent Networks of Rectified
    Linear Units.
    """
    for block in _blocks(layer, "weight_hh"):
        block[...] = scale * np.eye(len(block))
    for block in _blocks(layer, "bias"):
        block[...] = 0


def glorot_uniform_(layer, gain: float = 1.0, *, rng: np.random.Generator | None = None) -> None:
    """Draw every input block, or the weight of a ``Linear``, uniformly by its two sizes.

        W ~ U(-bound, bound),      bound = gain sqrt(6 / (inputs + outputs))

    so that its variance is ``gain^2 * 2 / (inputs + outputs)``.
    Raises ``ValueError`` for a layer without input weights.
    Source: Glorot & Bengio (2010), Understanding the difficulty of training deep feedforward neural
    networks, section 4.2.1, equation (16).
    """
    rng = generator_or_new("rng", rng)
    for block in _blocks(layer, "weight_ih" if hasattr(layer, "hidden_size") else "weight"):
        bound = gain * np.sqrt(6 / sum(block.shape))
        block[...] = rng.uniform(-bound, bound, block.shape)


def set_forget_bias(layer, value: float = 1.0) -> None:
    """Make the effective forget bias of an LSTM ``value``, so that it starts by remembering.

        f = sigmoid(... + b_if + b_hf):        b_if = value,   b_hf = 0

    The two biases only ever act through their sum; setting both to ``value`` would give twice as
    much. Raises ``ValueError`` for a layer that does not have the LSTM's four gates.
    Source: Gers, Schmidhuber & Cummins (2000), Learning to Forget; Jozefowicz, Zaremba & Sutskever
    (2015), An Empirical Exploration of Recurrent Network Architectures.
    """
    check_between("value", value, -np.inf, np.inf)
    for kind, bias in (("bias_ih", value), ("bias_hh", 0.0)):
        blocks = list(_blocks(layer, kind))
        count = sum(name.startswith(kind) for name in layer.params)
        if len(blocks) != 4 * count:
            raise ValueError(
                f"layer must be an LSTM, with four gates, got {type(layer).__name__} "
                f"with {len(blocks) // count}."
            )
        for forget in blocks[1::4]:  # i, f, g, o
            forget[...] = bias


def _blocks(layer, kind: str) -> Iterator[np.ndarray]:
    """Each gate's block, as a view, of every parameter whose name starts with ``kind``."""
    names = [name for name in layer.params if name.startswith(kind)]
    if not names:
        raise ValueError(f"layer must have a parameter {kind}, got {type(layer).__name__} without.")
    for name in names:
        array = layer.params[name]
        yield from np.split(array, len(array) // getattr(layer, "hidden_size", len(array)))
