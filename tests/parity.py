"""Compare a scratch layer with its torch.nn twin: values and every gradient."""

import numpy as np
import pytest
from hypothesis import strategies as st
from optional import optional

torch = optional("torch")
packing = optional("torch.nn.utils.rnn")


def parts(state):
    return state if isinstance(state, tuple) else (state,)


def random_state(layer, batch, rng):
    """Initial state of the right kind: h alone, or (h, c)."""
    rows = layer.num_layers * layer.directions
    sizes = [output_size(layer), *[layer.hidden_size] * (len(layer.state_names) - 1)]
    state = tuple(rng.standard_normal((rows, batch, size)) for size in sizes)
    return state if len(state) > 1 else state[0]


def output_size(layer):
    """The numbers in h: fewer than H where torch's layer has a projection."""
    return getattr(layer, "proj_size", 0) or layer.hidden_size


def run_scratch(layer, x, state, lengths, doutput, dstate):
    """All that a layer returns and computes, under names."""
    output, final = layer.forward(x, state, lengths)
    dx, dinitial = layer.backward(doutput, dstate)
    return named(output, final, dx, dinitial, layer.grads)


def named(output, final, dx, dinitial, grads):
    results = {"output": output, "dx": dx}
    results |= {f"final {k}": part for k, part in enumerate(parts(final))}
    results |= {f"dinitial {k}": part for k, part in enumerate(parts(dinitial))}
    return results | grads


def run_torch(module, x, state, lengths, doutput, dstate):
    """The same from a torch module with the interface of torch.nn.LSTM; ``x`` (B, T, D)."""
    batch_first = getattr(module, "batch_first", True)
    x = torch.tensor(x, requires_grad=True)
    initial = tuple(torch.tensor(part, requires_grad=True) for part in parts(state))
    given = initial if len(initial) > 1 else initial[0]
    if lengths is None:
        output, final = module(x if batch_first else x.transpose(0, 1), given)
        output = output if batch_first else output.transpose(0, 1)
    else:
        packed = packing.pack_padded_sequence(x, torch.tensor(lengths), True, enforce_sorted=False)
        packed, final = module(packed, given)
        output, _ = packing.pad_packed_sequence(packed, True, total_length=x.shape[1])
    loss = 0
    if doutput is not None:
        loss = loss + (output * torch.tensor(doutput)).sum()
    if dstate is not None:
        for part, dpart in zip(parts(final), parts(dstate), strict=True):
            loss = loss + (part * torch.tensor(dpart)).sum()
    module.zero_grad()
    loss.backward()
    result = named(
        output.detach(),
        tuple(part.detach() for part in parts(final)),
        x.grad,
        tuple(torch.zeros_like(part) if part.grad is None else part.grad for part in initial),
        {name: parameter.grad for name, parameter in module.named_parameters()},
    )
    return {name: array.numpy() for name, array in result.items()}


def copy_weights(layer, module):
    """Give a torch module the weights of a scratch layer."""
    module.load_state_dict({name: torch.tensor(array) for name, array in layer.params.items()})


def assert_agree(result, expected, tolerance=1e-10):
    assert result.keys() == expected.keys()
    for name, array in expected.items():
        assert result[name].shape == array.shape, name
        assert np.abs(result[name] - array).max() <= tolerance, name


def assert_same_as_torch(layer, module, rng, *, batch, steps, lengths, with_state):
    """Values and all gradients of a scratch layer, in float64, against those of its torch twin."""
    copy_weights(layer, module)
    x = rng.standard_normal((batch, steps, layer.input_size))
    zeros = tuple(np.zeros_like(part) for part in parts(random_state(layer, batch, rng)))
    state = random_state(layer, batch, rng) if with_state else None
    doutput = rng.standard_normal((batch, steps, layer.hidden_size * layer.directions))
    dstate = random_state(layer, batch, rng)
    ours = run_scratch(layer, x, state, lengths, doutput, dstate)
    given = zeros if state is None else state
    assert_agree(ours, run_torch(module, x, given, lengths, doutput, dstate))


# Every combination that a layer must get right; sizes are unequal so that no axis hides another.
STACKS = pytest.mark.parametrize("num_layers", [1, 2, 3])
DIRECTIONS = pytest.mark.parametrize("bidirectional", [False, True])
LENGTHS = pytest.mark.parametrize("lengths", [None, [2, 5, 1]])
STATES = pytest.mark.parametrize("with_state", [False, True])


def combinations(test):
    return STACKS(DIRECTIONS(LENGTHS(STATES(test))))


@st.composite
def shapes(draw):
    """Sizes of a layer and of its input, with lengths or without."""
    size = st.integers(1, 5)
    batch, steps = draw(size), draw(size)
    lengths = draw(st.none() | st.lists(st.integers(1, steps), min_size=batch, max_size=batch))
    return {
        "sizes": (draw(size), draw(size), draw(st.integers(1, 2)), draw(st.booleans())),
        "batch": batch,
        "steps": steps,
        "lengths": lengths,
    }
