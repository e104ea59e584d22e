"""In which order were three vowels spoken? A recurrent network against two linear models.

Words of three synthesized vowels (``tasks.vowel_words``), frame by frame. Who sees the average of
the frames cannot do better than chance, 1/6; a linear model on all frames and a GRU can.
"""

import numpy as np

from rnnbook import tasks
from rnnbook.extras import needed
from rnnbook.scratch import FusedGRU, Linear, SequenceModel, losses, optim
from rnnbook.scratch.schedules import cosine
from rnnbook.train import fit

with needed("estimator"):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

SEEDS = 5


def settings(quick: bool) -> list[dict]:
    """One setting: 1000 words to learn from, 500 to be tested on."""
    return [
        {"words": 60, "tested": 60, "epochs": 1}
        if quick
        else {"words": 1000, "tested": 500, "epochs": 12}
    ]


def linear(train: np.ndarray, target: np.ndarray):
    """Logistic regression on standardized features."""
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(train, target)


def recurrent(words: tasks.Batch, epochs: int, rng: np.random.Generator) -> SequenceModel:
    """A GRU of 32 units that names the order after the last frame."""
    bands, orders = words.x.shape[2], len(tasks.VOWEL_ORDERS)
    layer = FusedGRU(bands, 32, dtype=np.float32, rng=rng)
    model = SequenceModel(layer, Linear(32, orders, dtype=np.float32, rng=rng))
    fit(
        model,
        words,
        loss=losses.softmax_cross_entropy,
        optimizer=optim.Adam(model.params, lr=0.01),
        epochs=epochs,
        rng=rng,
        max_norm=1.0,
        schedule=cosine(epochs * -(-len(words) // 32)),
        progress=False,
    )
    return model


def run(setting: dict, seed: int) -> dict:
    """Train all three on the same words.

    Returns:
        averaged, all_frames, recurrent: the share of new words whose order is named rightly.
    """
    drawing, weights = np.random.default_rng(seed).spawn(2)
    n = setting["words"]
    words = tasks.vowel_words(n + setting["tested"], drawing)
    train, test = words.take(slice(n)), words.take(slice(n, None))
    assert words.lengths is not None  # vowels differ in length
    features = {
        "averaged": words.x.sum(axis=1) / words.lengths[:, None],
        "all_frames": words.x.reshape(len(words), -1),
    }
    right = {
        name: linear(x[:n], train.target).score(x[n:], test.target) for name, x in features.items()
    }
    model = recurrent(train, setting["epochs"], weights)
    named = model.forward(test.x, test.lengths).argmax(axis=1)
    return right | {"recurrent": np.mean(named == test.target)}
