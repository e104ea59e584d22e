"""What does attention add? Digits spelled as words, with it and without, at equal parameters.

Both models of ``rnnbook.pytorch.attention`` have the same parameters; they differ in what the
decoder is given of the digits: one vector for all of them, or at each word a look at each of them.
Numbers below a million are trained on, others are tested: right is what is right word for word.
"""

import numpy as np

from rnnbook.extras import needed
from rnnbook.pytorch import AttentionSeq2Seq, Seq2Seq
from rnnbook.tasks.numbers import NUMBER_WORDS, Pairs, spell, spelled_numbers

with needed("torch"):
    import torch
    from torch.nn import functional as F

SEEDS = 5
HIDDEN, DIGITS = 64, 11  # ten digits and the padding
BEGIN, END = NUMBER_WORDS.index("<begin>"), NUMBER_WORDS.index("<end>")
MODELS = {"one vector": Seq2Seq, "attention": AttentionSeq2Seq}


def split(trained: int, tested: int, rng: np.random.Generator) -> tuple[Pairs, Pairs]:
    """Two sets of pairs that have no number in common."""
    train = spelled_numbers(trained, rng)
    others = spelled_numbers(4 * tested, rng).numbers
    return train, spell(others[~np.isin(others, train.numbers)][:tested])


def train_on(model: Seq2Seq, pairs: Pairs, updates: int, batch: int, lr: float, rng) -> float:
    """Adam, with a rate that falls to zero over the second half; the mean loss of the last tenth.

    The loss is the mean cross-entropy of the words, each after the right ones before it.
    """
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda u: min(1, 2 - 2 * u / updates))
    losses = []
    for _ in range(updates):
        chosen = rng.integers(0, len(pairs), batch)
        source, target_in, target_out, mask = (
            torch.from_numpy(array[chosen])
            for array in (pairs.source, pairs.target_in, pairs.target_out, pairs.mask)
        )
        logits, _ = model(source, pairs.source_lengths[chosen], target_in)
        loss = F.cross_entropy(logits[mask], target_out[mask])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return float(np.mean(losses[-updates // 10 :]))


def right(model: Seq2Seq, pairs: Pairs) -> np.ndarray:
    """Which numbers are spelled without an error, bool (B,)."""
    longest = pairs.target_out.shape[1]
    tokens, _ = model.translate(
        torch.from_numpy(pairs.source),
        pairs.source_lengths,
        begin=BEGIN,
        end=END,
        longest=longest,
    )
    tokens = F.pad(tokens, (0, longest - tokens.shape[1])).numpy()
    return (tokens == pairs.target_out).all(axis=1)


def settings(quick: bool) -> list[dict]:
    """Both models, with few examples and with more; one vector also with four times the updates."""
    updates = 20 if quick else 600
    return [
        {"model": model, "trained": trained}
        | {"updates": times * updates, "batch": 64, "lr": 0.005}
        for trained in (500, 1000, 2000, 4000)
        for model, times in (("one vector", 1), ("one vector", 4), ("attention", 1))
    ]


def run(setting: dict, seed: int) -> dict:
    """Train and test one model; both models see the same numbers in the same order.

    Returns:
        accuracy: the share of 1000 numbers not trained on that is spelled without an error;
        by_digits: the same for those of one digit, two, ...; null where there are none;
        train_loss: the mean of the last updates, nats a word; parameters.
    """
    rng = np.random.default_rng([seed, setting["trained"]])
    train, test = split(setting["trained"], 1000, rng)
    torch.manual_seed(seed)
    model = MODELS[setting["model"]](DIGITS, len(NUMBER_WORDS), HIDDEN)
    loss = train_on(model, train, setting["updates"], setting["batch"], setting["lr"], rng)
    good = right(model, test)
    groups = [good[test.source_lengths == digits] for digits in range(1, 7)]
    return {
        "accuracy": good.mean(),
        "by_digits": [round(float(group.mean()), 4) if len(group) else None for group in groups],
        "train_loss": loss,
        "parameters": sum(p.numel() for p in model.parameters()),
    }
