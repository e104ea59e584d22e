"""Attention and the two sequence-to-sequence models of rnnbook.pytorch."""

import pytest

pytest.importorskip("torch", reason="the models are torch modules")

import numpy as np
import torch
from torch.nn import functional as F

from rnnbook.pytorch import AttentionSeq2Seq, Seq2Seq, attend

B, S, T, H, SOURCE, TARGET = 3, 5, 4, 6, 7, 8
BEGIN, END = 1, 2
LENGTHS = torch.tensor([3, 5, 1])
MODELS = pytest.mark.parametrize("model_class", [Seq2Seq, AttentionSeq2Seq])


def make(model_class, seed=0):
    torch.manual_seed(seed)
    return model_class(SOURCE, TARGET, H).double()


@pytest.fixture
def source():
    symbols = torch.randint(1, SOURCE, (B, S), generator=torch.Generator().manual_seed(1))
    return symbols * (torch.arange(S) < LENGTHS[:, None])


@pytest.fixture
def target_in():
    return torch.randint(1, TARGET, (B, T), generator=torch.Generator().manual_seed(2))


def close(ours, theirs, atol=1e-12):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=atol)


# attend


def queries_and_keys():
    generator = torch.Generator().manual_seed(3)
    query, keys = (torch.randn(B, n, H, dtype=torch.float64, generator=generator) for n in (T, S))
    return query, keys, torch.arange(S) < LENGTHS[:, None]


def test_attend_is_torchs_attention():
    query, keys, mask = queries_and_keys()
    context, _ = attend(query, keys, mask)
    close(
        context,
        F.scaled_dot_product_attention(query, keys, keys, attn_mask=mask[:, None], scale=1.0),
    )


def test_attend_by_hand():
    """Scores ln 3 and 0 give the weights 3/4 and 1/4; the third key is masked."""
    query = torch.tensor([[[np.log(3.0), 0.0]]])
    keys = torch.tensor([[[1.0, 0.0], [0.0, 4.0], [9.0, 9.0]]], dtype=torch.float64)
    context, weights = attend(query, keys, torch.tensor([[True, True, False]]))
    close(weights, torch.tensor([[[0.75, 0.25, 0.0]]], dtype=torch.float64))
    close(context, torch.tensor([[[0.75, 1.0]]], dtype=torch.float64))


def test_weights_sum_to_one_and_are_zero_on_padding():
    _, weights = attend(*queries_and_keys())
    close(weights.sum(2), torch.ones(B, T, dtype=torch.float64))
    for row, length in zip(weights, LENGTHS, strict=True):
        assert (row[:, :length] > 0).all()
        assert (row[:, length:] == 0).all()


def test_gradients_of_attend():
    query, keys, mask = queries_and_keys()
    assert torch.autograd.gradcheck(
        attend, (query.requires_grad_(), keys.requires_grad_(), mask), raise_exception=True
    )


def test_wrong_arguments_of_attend_are_named():
    query, keys, mask = queries_and_keys()
    for arguments, message in [
        ((query[0], keys, mask), r"query must have shape \(B, T, H\), got \(4, 6\)"),
        ((query, keys[:2], mask), r"keys must have shape \(3, S, 6\), got \(2, 5, 6\)"),
        ((query, keys[:, :, :2], mask), r"keys must have shape \(3, S, 6\), got \(3, 5, 2\)"),
        ((query, keys, mask[:, :4]), r"mask must have shape \(3, 5\), got \(3, 4\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            attend(*arguments)


# The models


@MODELS
def test_shapes_and_weights(model_class, source, target_in):
    logits, weights = make(model_class)(source, LENGTHS, target_in)
    assert logits.shape == (B, T, TARGET)
    if model_class is Seq2Seq:
        assert weights is None
    else:
        close(weights.sum(2), torch.ones(B, T, dtype=torch.float64))
        assert (weights.transpose(1, 2)[torch.arange(S) >= LENGTHS[:, None]] == 0).all()


def test_both_have_the_same_parameters():
    plain, attentive = make(Seq2Seq), make(AttentionSeq2Seq)
    attentive.load_state_dict(plain.state_dict(), strict=True)


def test_where_all_is_one_symbol_attention_sees_the_summary():
    """With S = 1 there is one place to look at, and both models are the same function."""
    plain, attentive = make(Seq2Seq), make(AttentionSeq2Seq)
    attentive.load_state_dict(plain.state_dict())
    source, target_in = torch.tensor([[3], [4]]), torch.tensor([[1, 5, 6], [1, 3, 2]])
    close(attentive(source, [1, 1], target_in)[0], plain(source, [1, 1], target_in)[0])


def test_the_model_step_by_step(source, target_in):
    """The docstring's equations, one sequence at a time, with torch's own layers."""
    model = make(AttentionSeq2Seq)
    encoder = torch.nn.GRU(H, H // 2, bidirectional=True, batch_first=True).double()
    encoder.load_state_dict(model.encoder.state_dict())
    decoder = torch.nn.GRUCell(H, H).double()
    decoder.load_state_dict(
        {name.removesuffix("_l0"): value for name, value in model.decoder.state_dict().items()}
    )
    logits, weights = model(source, LENGTHS, target_in)
    for b, length in enumerate(LENGTHS):
        keys, ends = encoder(model.source_embedding(source[b, :length]))
        state = torch.tanh(model.start.weight @ ends.flatten())
        for t in range(T):
            state = decoder(model.target_embedding(target_in[b, t]), state)
            w = torch.softmax(torch.stack([state @ key for key in keys]), 0)
            context = sum(w_s * key for w_s, key in zip(w, keys, strict=True))
            expected = model.head(torch.tanh(model.combine(torch.cat([state, context]))))
            close(logits[b, t], expected)
            close(weights[b, t, :length], w)


@MODELS
def test_what_stands_beyond_the_end_does_not_matter(model_class, source, target_in):
    model = make(model_class)
    other = torch.where(torch.arange(S) < LENGTHS[:, None], source, 5)
    assert not torch.equal(source, other)
    for ours, theirs in zip(
        model(source, LENGTHS, target_in), model(other, LENGTHS, target_in), strict=True
    ):
        close(ours, theirs, 0)
    alone, _ = model(source[:1, :3], LENGTHS[:1], target_in[:1])
    close(alone, model(source, LENGTHS, target_in)[0][:1])


@MODELS
def test_the_decoder_does_not_see_the_future(model_class, source, target_in):
    model = make(model_class)
    other = target_in.clone()
    other[:, 2] = (other[:, 2] + 1) % TARGET
    ours, theirs = (model(source, LENGTHS, y)[0] for y in (target_in, other))
    close(ours[:, :2], theirs[:, :2], 0)
    assert (ours[:, 2:] != theirs[:, 2:]).any(2).all()


@MODELS
def test_gradients_of_every_parameter(model_class, source, target_in):
    torch.manual_seed(0)
    model = model_class(SOURCE, TARGET, 4).double()
    names = [name for name, _ in model.named_parameters()]

    def logits(*values):
        parameters = dict(zip(names, values, strict=True))
        return torch.func.functional_call(model, parameters, (source, LENGTHS, target_in))[0]

    values = tuple(value.detach().requires_grad_() for value in model.parameters())
    assert torch.autograd.gradcheck(logits, values, fast_mode=True)


@MODELS
def test_translate_takes_the_best_symbol_of_forward_step_by_step(model_class, source):
    model = make(model_class, seed=32)
    with torch.no_grad():
        model.head.weight *= 8  # so that the greedy path is not one symbol over and over
        tokens, weights = model.translate(source, LENGTHS, begin=BEGIN, end=END, longest=9)
        read = torch.full((B, 1), BEGIN)
        for _ in range(tokens.shape[1]):
            logits, expected_weights = model(source, LENGTHS, read)
            read = torch.cat([read, logits[:, -1:].argmax(2)], 1)
    ended = (tokens == END).any(1)
    assert ended.any()  # some earlier than others, or the zeros after the end are not tested
    assert not ended.all()
    for b in range(B):
        said = tokens[b].tolist()
        steps = said.index(END) + 1 if END in said else len(said)
        assert said[:steps] == read[b, 1 : steps + 1].tolist()
        assert said[steps:] == [0] * (len(said) - steps)
        if model_class is AttentionSeq2Seq:
            close(weights[b, :steps], expected_weights[b, :steps])


@MODELS
def test_translate_reads_the_symbol_that_it_is_told_to_begin_with(model_class, source):
    model = make(model_class)
    with torch.no_grad():
        model.head.weight *= 8
        firsts = []
        for begin in range(TARGET):
            tokens, _ = model.translate(source, LENGTHS, begin=begin, end=END, longest=1)
            expected = model(source, LENGTHS, torch.full((B, 1), begin))[0].argmax(2)
            assert tokens.tolist() == expected.tolist()
            firsts.append(tokens.tolist())
    assert firsts != firsts[:1] * TARGET


@MODELS
def test_translate_ends_with_end_or_at_the_longest(model_class, source):
    model = make(model_class)
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.zero_()
        model.head.bias[5] = 1
        tokens, _ = model.translate(source, LENGTHS, begin=BEGIN, end=END, longest=7)
        assert tokens.tolist() == [[5] * 7] * B
        model.head.bias[END] = 2
        tokens, _ = model.translate(source, LENGTHS, begin=BEGIN, end=END, longest=7)
        assert tokens.tolist() == [[END]] * B


@pytest.mark.slow
def test_reversing_is_learned():
    """Strings of up to five symbols, backwards: nearly all right after a few hundred updates."""
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    model = AttentionSeq2Seq(8, 9, 32)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

    def draw(size):
        lengths = rng.integers(1, 6, size)
        source, target = np.zeros((size, 5), int), np.zeros((size, 6), int)
        for b, length in enumerate(lengths):
            string = rng.integers(1, 7, length)
            source[b, :length], target[b, :length] = string, string[::-1] + 2
            target[b, length] = END
        target_in = np.concatenate([np.full((size, 1), BEGIN), target[:, :-1]], 1)
        return [torch.from_numpy(array) for array in (source, lengths, target_in, target)]

    for _ in range(250):
        source, lengths, target_in, target = draw(64)
        logits, _ = model(source, lengths, target_in)
        loss = F.cross_entropy(logits[target > 0], target[target > 0])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    source, lengths, _, target = draw(200)
    tokens, _ = model.translate(source, lengths, begin=BEGIN, end=END, longest=6)
    assert (tokens == target).all(1).float().mean() > 0.9


@MODELS
def test_wrong_input_is_named(model_class, source, target_in):
    model = make(model_class)
    for arguments, message in [
        ((source[0], LENGTHS, target_in), r"source must have shape \(B, S\), got \(5,\)"),
        ((source, [3, 6, 1], target_in), "lengths must lie between 1 and T = 5, got 6 at index 1"),
        ((source, [3, 0, 1], target_in), "lengths must lie between 1 and T = 5, got 0 at index 1"),
        ((source, [3, 5], target_in), r"lengths must have shape \(3,\), got \(2,\)"),
        ((source + 3, LENGTHS, target_in), "source must lie between 0 and 6, got"),
        ((source.double(), LENGTHS, target_in), "source must hold whole numbers, got float64"),
        ((source, LENGTHS, target_in[:2]), r"target_in must have shape \(3, T\), got \(2, 4\)"),
        ((source, LENGTHS, target_in - 9), "target_in must lie between 0 and 7, got -"),
    ]:
        with pytest.raises(ValueError, match=message):
            model(*arguments)
    for options, message in [
        ({"longest": 0}, "longest must be a whole number of at least 1, got 0"),
        ({"begin": 8}, "begin must be a whole number between 0 and 7, got 8"),
        ({"end": 2.5}, "end must be a whole number between 0 and 7, got 2.5"),
        ({"end": -1}, "end must be a whole number between 0 and 7, got -1"),
    ]:
        with pytest.raises(ValueError, match=message):
            model.translate(source, LENGTHS, **{"begin": 1, "end": 2, "longest": 5} | options)


@MODELS
def test_wrong_sizes_are_named(model_class):
    for sizes, message in [
        ((0, 8, 6), "source_symbols must be a whole number of at least 1, got 0"),
        ((7, 0, 6), "target_symbols must be a whole number of at least 1, got 0"),
        ((7, 8, 0), "hidden_size must be a whole number of at least 1, got 0"),
        ((7, 8, 5), "hidden_size must be even, one half for each direction, got 5"),
    ]:
        with pytest.raises(ValueError, match=message):
            model_class(*sizes)
