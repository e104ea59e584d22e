"""PyTorch's own inputs for the tests of nn.RNN, nn.LSTM and nn.GRU, given to our layers."""

import pytest

pytest.importorskip("torch", reason="the inputs are PyTorch's own")
# Before another test loads the standard library's distutils: from then on it refuses.
pytest.importorskip("setuptools", reason="PyTorch's inputs import it")

import torch
from torch.nn.utils.rnn import PackedSequence

from rnnbook import pytorch

pytest.importorskip("expecttest", reason="torch.testing._internal needs expecttest")

F64 = torch.float64
KINDS = pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
FUSED = pytest.mark.parametrize("prefix", ["", "Fused"])


@pytest.fixture(scope="module")
def infos():
    from torch.testing._internal.common_modules import module_db

    return {info.module_cls.__name__: info for info in module_db}


def tensors(nested):
    """All tensors in tuples, lists and packed sequences, in order."""
    if isinstance(nested, torch.Tensor):
        return [nested]
    if isinstance(nested, PackedSequence):
        return [nested.data]
    return [tensor for part in nested for tensor in tensors(part)]


def outcome(module, given):
    """What ``module`` returns, and the gradients of a weighted sum of it."""
    results = tensors(module(*given.args, **given.kwargs))
    loss = sum(
        (result * torch.arange(result.numel()).view_as(result).cos()).sum() for result in results
    )
    leaves = [*tensors(given.args), *module.parameters()]
    return results, torch.autograd.grad(loss, leaves, allow_unused=True)


@KINDS
@FUSED
@pytest.mark.parametrize("training", [True, False])
def test_all_inputs_give_what_torch_gives(infos, kind, prefix, training):
    info = infos[kind]
    packed = {} if kind == "LSTM" else {"with_packed_sequence": True}
    inputs = info.module_inputs_func(
        info, device="cpu", dtype=F64, requires_grad=True, training=training, **packed
    )
    assert len(inputs) == {"RNN": 64, "LSTM": 32, "GRU": 32}[kind]
    for given in inputs:
        arguments = given.constructor_input
        ours, theirs = (
            cls(*arguments.args, **arguments.kwargs, dtype=F64).train(training)
            for cls in (getattr(pytorch, prefix + kind), info.module_cls)
        )
        ours.load_state_dict(theirs.state_dict(), strict=True)
        pair = [outcome(layer, given.forward_input) for layer in (ours, theirs)]
        torch.testing.assert_close(*pair, rtol=1e-12, atol=1e-12, msg=f"{ours}")


@KINDS
@FUSED
def test_all_that_torch_refuses_is_refused_in_our_words(infos, kind, prefix):
    info, cls = infos[kind], getattr(pytorch, prefix + kind)
    wrong = info.module_error_inputs_func(
        info, device="cpu", dtype=torch.float32, requires_grad=False, training=True
    )
    assert len(wrong) >= 14
    for given in wrong:
        arguments = given.module_error_input.constructor_input
        forward = given.module_error_input.forward_input
        with pytest.raises(ValueError, match=r"^\w+ must .*, got .*\.$"):
            cls(*arguments.args, **arguments.kwargs)(*forward.args, **forward.kwargs)
