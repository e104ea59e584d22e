"""rnnbook.pytorch.SequenceModel with layers of every setting; see also test_convert.py."""

import itertools

import pytest

pytest.importorskip("torch", reason="the models are torch modules")

import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

from rnnbook import pytorch
from rnnbook.pytorch import SequenceModel

B, T, D, H, K = 3, 5, 2, 4, 6
F64 = torch.float64
KINDS = [*itertools.product([nn, pytorch], ["RNN", "LSTM", "GRU"])]
KINDS += [(pytorch, f"Fused{name}") for name in ("RNN", "LSTM", "GRU")]


def by_hand(layer, head, x, lengths, many_to):
    """Each sequence alone, with no padding near it."""
    predictions = []
    for sequence, length in zip(x, lengths, strict=True):
        output, state = layer(sequence[:length])  # (length, F)
        if many_to == "many":
            padded = torch.cat([output, output.new_zeros(len(x[0]) - length, output.shape[1])])
            predictions.append(head(padded))
        else:
            h = state[0] if isinstance(state, tuple) else state
            predictions.append(head(torch.cat([*h[-2:]] if layer.bidirectional else [h[-1]])))
    return torch.stack(predictions)


OPTIONS = [{}, {"num_layers": 2}, {"bias": False}, {"dropout": 0.5, "num_layers": 2}]


@pytest.mark.parametrize("many_to", ["one", "many"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(("family", "name"), KINDS)
def test_every_setting_of_a_layer_is_read(family, name, bidirectional, many_to):
    settings = list(OPTIONS)
    if name.endswith("LSTM"):
        settings += [{"proj_size": 3}, {"proj_size": 1, "num_layers": 2}]
    if name.endswith("RNN"):
        settings += [{"nonlinearity": "relu"}]
    for options in settings:
        layer = getattr(family, name)(
            D, H, batch_first=True, bidirectional=bidirectional, dtype=F64, **options
        )
        size = (options.get("proj_size") or H) * (1 + bidirectional)
        head = nn.Linear(size, K, dtype=F64)
        model = SequenceModel(layer, head, many_to=many_to).eval()
        x = torch.randn(B, T, D, dtype=F64)
        for lengths in (None, [2, 5, 3]):
            expected = by_hand(layer, head, x, lengths or [T] * B, many_to)
            torch.testing.assert_close(model(x, lengths), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("family", "name"), KINDS)
def test_a_layer_that_takes_time_first_is_refused(family, name):
    layer = getattr(family, name)(D, H, batch_first=False)
    message = f"layer must take the batch first, got {name} with batch_first=False"
    with pytest.raises(ValueError, match=message):
        SequenceModel(layer, nn.Linear(H, K))


@pytest.mark.parametrize("layer", [nn.LSTMCell(D, H), nn.GRUCell(D, H), nn.Linear(D, H)])
def test_what_is_no_layer_is_refused(layer):
    message = rf"layer must be a recurrent layer .*, got {type(layer).__name__}\."
    with pytest.raises(ValueError, match=message):
        SequenceModel(layer, nn.Linear(H, K))


@pytest.mark.parametrize("many_to", ["one", "many"])
def test_one_sequence_alone_is_refused_and_not_taken_for_a_batch(many_to):
    # With T = H the head would have taken one number of each step for a state
    model = SequenceModel(nn.GRU(D, H, batch_first=True), nn.Linear(H, K), many_to=many_to)
    for x, came in [(torch.zeros(H, D), r"\(4, 2\)"), (torch.zeros(1, 1, H, D), r"\(1, 1, 4, 2\)")]:
        with pytest.raises(ValueError, match=rf"x must have shape \(B, T, D\), got {came}"):
            model(x)
    with pytest.raises(ValueError, match=r"x must be .* \(B, T, D\), got PackedSequence"):
        model(pack_sequence([torch.zeros(T, D)]))
    spelled = SequenceModel(
        nn.GRU(D, H, batch_first=True), nn.Linear(H, K), embedding=nn.Embedding(7, D)
    )
    with pytest.raises(ValueError, match=r"x must have shape \(B, T\), got \(4,\)"):
        spelled(torch.zeros(H, dtype=torch.long))


@pytest.mark.parametrize("many_to", ["one", "many"])
@pytest.mark.parametrize(
    ("layer", "size"),
    [
        (nn.LSTM(D, H, batch_first=True, bidirectional=True), 2 * H),
        (pytorch.LSTM(D, H, proj_size=3), 3),
        (pytorch.LRU(D, H), D),
        (pytorch.MinGRU(D, H), H),
    ],
)
def test_a_head_of_another_size_is_named(layer, size, many_to):
    model = SequenceModel(layer, nn.Linear(9, K), many_to=many_to)
    with pytest.raises(ValueError, match=f"head must have in_features {size}, .* got 9"):
        model(torch.zeros(B, T, D))
    SequenceModel(layer, nn.LazyLinear(K))(torch.zeros(B, T, D))
    SequenceModel(layer, nn.Linear(size, K))(torch.zeros(B, T, D))
