"""Schedules against ``torch.optim.lr_scheduler``."""

import pytest
from optional import optional

from rnnbook.scratch import schedules

torch = optional("torch")
lr_scheduler = optional("torch.optim.lr_scheduler")


def learning_rates(make, steps):
    """What torch's scheduler does to a learning rate of 1."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = make(optimizer)
    for _ in range(steps):
        yield optimizer.param_groups[0]["lr"]
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize(
    ("ours", "theirs", "steps"),
    [
        (schedules.constant(), lambda o: lr_scheduler.ConstantLR(o, factor=1.0), 5),
        (schedules.step_decay(3, 0.5), lambda o: lr_scheduler.StepLR(o, 3, 0.5), 20),
        (schedules.cosine(10), lambda o: lr_scheduler.CosineAnnealingLR(o, 10), 11),
        (schedules.cosine(10, 0.2), lambda o: lr_scheduler.CosineAnnealingLR(o, 10, 0.2), 11),
        (schedules.warm_up(4), lambda o: lr_scheduler.LinearLR(o, total_iters=4), 12),
        (
            schedules.warm_up(4, 0.1, then=schedules.cosine(6, 0.2)),
            lambda o: lr_scheduler.SequentialLR(
                o,
                [lr_scheduler.LinearLR(o, 0.1, 1, 4), lr_scheduler.CosineAnnealingLR(o, 6, 0.2)],
                milestones=[4],
            ),
            11,
        ),
    ],
    ids=["constant", "step", "cosine", "cosine with a floor", "warm-up", "warm-up then cosine"],
)
@pytest.mark.filterwarnings("ignore:The epoch parameter:UserWarning")  # torch's own SequentialLR
def test_factors_are_torchs(ours, theirs, steps):
    expected = list(learning_rates(theirs, steps))
    assert len(set(expected)) > 1 or ours(3) == 1
    assert [ours(step) for step in range(steps)] == pytest.approx(expected, abs=1e-12)


def test_cosine_stays_at_its_floor():
    assert schedules.cosine(10, 0.25)(1000) == 0.25


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schedules.step_decay(0), "step_size must be a whole number of at least 1, got 0"),
        (lambda: schedules.step_decay(3, -0.5), "gamma must lie between 0 and 1, got -0.5"),
        (lambda: schedules.cosine(2.5), "steps must be a whole number of at least 1, got 2.5"),
        (lambda: schedules.cosine(3, 2), "floor must lie between 0 and 1, got 2"),
        (lambda: schedules.warm_up(0), "steps must be a whole number of at least 1, got 0"),
        (lambda: schedules.warm_up(3, -1), "start must lie between 0 and 1, got -1"),
    ],
)
def test_wrong_settings_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
