"""Optimizers and clipping against ``torch.optim`` and ``torch.nn.utils``, step by step."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optional import optional

from rnnbook.scratch import optim

torch = optional("torch")

SETTINGS = [
    ("SGD", "SGD", {"lr": 0.1}),
    ("SGD", "SGD", {"lr": 0.1, "weight_decay": 0.2}),
    ("SGD", "SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.2}),
    ("SGD", "SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.2}),
    ("RMSProp", "RMSprop", {}),
    ("RMSProp", "RMSprop", {"lr": 0.05, "alpha": 0.8, "eps": 1e-3, "weight_decay": 0.2}),
    ("Adam", "Adam", {}),
    ("Adam", "Adam", {"lr": 0.05, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.2}),
    ("AdamW", "AdamW", {}),
    ("AdamW", "AdamW", {"lr": 0.05, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.2}),
]


def initial(dtype=np.float64):
    rng = np.random.default_rng(0)
    return {"weight": rng.standard_normal((3, 2)).astype(dtype), "bias": np.ones(3, dtype)}


def gradients(steps, seed=1):
    """Noisy gradients of different sizes, zero now and then."""
    rng = np.random.default_rng(seed)
    for step in range(steps):
        scale = 0.0 if step % 7 == 3 else 10.0 ** rng.integers(-3, 2)
        yield {n: scale * rng.standard_normal(p.shape) for n, p in initial().items()}


@pytest.mark.parametrize(("ours", "theirs", "settings"), SETTINGS)
def test_fifty_steps_are_torchs(ours, theirs, settings):
    params = initial()
    arrays = dict(params)
    tensors = {name: torch.tensor(p, requires_grad=True) for name, p in params.items()}
    ours = getattr(optim, ours)(params, **settings)
    theirs = getattr(torch.optim, theirs)(tensors.values(), **settings)
    for step, grads in enumerate(gradients(50)):
        if step == 25:  # a schedule has spoken
            ours.lr *= 0.3
            theirs.param_groups[0]["lr"] *= 0.3
        before = {name: g.copy() for name, g in grads.items()}
        ours.step(grads)
        for name, tensor in tensors.items():
            tensor.grad = torch.tensor(grads[name])
            np.testing.assert_array_equal(grads[name], before[name])
        theirs.step()
        for name, tensor in tensors.items():
            np.testing.assert_allclose(params[name], tensor.detach(), rtol=0, atol=1e-12)
    assert all(params[name] is arrays[name] for name in arrays)  # changed in place


@pytest.mark.parametrize(("name", "_", "settings"), SETTINGS)
def test_a_loaded_optimizer_continues_bit_for_bit(name, _, settings):
    params = initial()
    whole = getattr(optim, name)(params, **settings)
    steps = list(gradients(10))
    for grads in steps[:5]:
        whole.step(grads)
    saved = whole.state_dict()
    copied = {key: p.copy() for key, p in params.items()}
    resumed = getattr(optim, name)(copied, **settings | {"lr": 99.0})
    for grads in steps[5:]:
        whole.step(grads)
    resumed.load_state_dict(saved)  # `whole` went on, but what was saved did not
    for grads in steps[5:]:
        resumed.step(grads)
    for key in params:
        np.testing.assert_array_equal(params[key], copied[key])


def test_float32_stays_float32():
    for name in ("SGD", "RMSProp", "Adam", "AdamW"):
        params = initial(np.float32)
        optimizer = getattr(optim, name)(params)
        optimizer.step(next(gradients(1)))
        assert {p.dtype for p in params.values()} == {np.dtype(np.float32)}
        assert all(
            array.dtype == np.float32
            for arrays in optimizer.state.values()
            for array in arrays.values()
        )


def test_nothing_has_changed_when_a_step_or_a_load_fails():
    params = initial()
    optimizer = optim.Adam(params)
    good = next(gradients(1))
    with pytest.raises(ValueError, match="grads is missing bias and has the unknown baes"):
        optimizer.step({"weight": good["weight"], "baes": good["bias"]})
    with pytest.raises(ValueError, match=r"grads\['bias'\] must have shape \(3,\), got \(1,\)"):
        optimizer.step({"weight": good["weight"], "bias": np.ones(1)})
    state = optimizer.state_dict()
    with pytest.raises(ValueError, match=r"state is missing exp_avg\.bias"):
        optimizer.load_state_dict({k: v for k, v in state.items() if k != "exp_avg.bias"})
    with pytest.raises(ValueError, match=r"state\['exp_avg_sq\.bias'\] must have shape \(3,\)"):
        optimizer.load_state_dict(
            state | {"steps": 7, "exp_avg.bias": np.ones(3), "exp_avg_sq.bias": np.ones(1)}
        )
    assert optimizer.steps == 0
    assert not optimizer.state["exp_avg"]["bias"].any()
    np.testing.assert_array_equal(params["weight"], initial()["weight"])


@pytest.mark.parametrize(
    ("entry", "value", "message"),
    [
        ("steps", -3, r"state\['steps'\] must be a whole number between 0 and inf, got -3"),
        ("steps", np.array("7"), r"state\['steps'\] must be a whole number .*, got '7'"),
        ("lr", np.array(-1.0), r"state\['lr'\] must lie between 0 and inf, got -1.0"),
        ("lr", np.nan, r"state\['lr'\] must lie between 0 and inf, got nan"),
        ("lr", np.inf, r"state\['lr'\] must be finite, got inf"),
        ("exp_avg_sq.bias", np.array(list("abc")), r"must fit the dtype float64, got <U1"),
        ("exp_avg_sq.bias", np.array([0, 0, np.nan]), r"must be finite, got nan at index \(2,\)"),
    ],
)
def test_a_wrong_entry_of_a_state_is_told_and_changes_nothing(entry, value, message):
    optimizer = optim.Adam(initial())
    optimizer.step(next(gradients(1)))
    before = optimizer.state_dict()
    other = {name: array + 1 for name, array in before.items()}
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(other | {entry: value})
    for name, array in optimizer.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("name", ["SGD", "RMSProp", "Adam", "AdamW"])
def test_a_step_along_no_real_numbers_or_by_no_finite_rate_changes_nothing(name):
    params = initial()
    optimizer = getattr(optim, name)(params)
    good = next(gradients(1))
    for bad in (np.array(list("abc")), np.ones(3, complex), np.array([None] * 3)):
        with pytest.raises(ValueError, match=r"grads\['bias'\] must fit the dtype float64, got "):
            optimizer.step(good | {"bias": bad})
    for lr in (np.nan, np.inf, -1.0):
        optimizer.lr = lr
        with pytest.raises(ValueError, match=f"lr must .*, got {lr}"):
            optimizer.step(good)
    assert optimizer.steps == 0
    for key, array in initial().items():
        np.testing.assert_array_equal(params[key], array)
        assert not any(averages[key].any() for averages in optimizer.state.values())


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("SGD", {"lr": -0.1}, "lr must lie between 0 and inf, got -0.1"),
        ("SGD", {"lr": np.inf}, "lr must be finite, got inf"),
        ("SGD", {"momentum": 1.5}, "momentum must lie between 0 and 1, got 1.5"),
        ("SGD", {"nesterov": True}, "nesterov must come with a momentum above 0"),
        ("SGD", {"weight_decay": -1}, "weight_decay must lie between 0 and inf, got -1"),
        ("RMSProp", {"alpha": 2.0}, "alpha must lie between 0 and 1, got 2.0"),
        ("Adam", {"betas": (0.9, 1.0)}, "betas\\[1\\] must be at least 0 and below 1, got 1.0"),
        ("Adam", {"betas": (0.9,)}, r"betas must be two numbers, got \(0.9,\)"),
        ("AdamW", {"betas": 0.9}, "betas must be two numbers, got 0.9"),
        ("Adam", {"eps": -1.0}, "eps must lie between 0 and inf, got -1.0"),
    ],
)
def test_wrong_settings_are_named(name, settings, message):
    with pytest.raises(ValueError, match=message):
        getattr(optim, name)(initial(), **settings)


def test_no_parameters_are_refused():
    with pytest.raises(ValueError, match="params must hold one parameter at least, got none"):
        optim.SGD({})


def with_torch(grads):
    parameters = [torch.zeros(g.shape, dtype=torch.float64) for g in grads.values()]
    for parameter, g in zip(parameters, grads.values(), strict=True):
        parameter.grad = torch.tensor(g)
    return parameters


@given(seed=st.integers(0, 20), limit=st.sampled_from([0.0, 0.1, 1.0, 100.0]))
def test_clipping_is_torchs(seed, limit):
    (by_norm,), (by_value,) = list(gradients(1, seed)), list(gradients(1, seed))
    theirs = with_torch(by_norm)
    norm = optim.clip_grad_norm(by_norm, limit)
    assert norm == pytest.approx(torch.nn.utils.clip_grad_norm_(theirs, limit).item(), rel=1e-13)
    for g, parameter in zip(by_norm.values(), theirs, strict=True):
        np.testing.assert_allclose(g, parameter.grad, rtol=1e-13)

    theirs = with_torch(by_value)
    assert optim.clip_grad_value(by_value, limit) is None
    torch.nn.utils.clip_grad_value_(theirs, limit)
    for g, parameter in zip(by_value.values(), theirs, strict=True):
        np.testing.assert_array_equal(g, parameter.grad)


def test_a_norm_that_is_not_finite_is_returned_and_nothing_is_changed():
    grads = {"a": np.array([1.0, np.inf]), "b": np.array([2.0])}
    assert optim.clip_grad_norm(grads, 1.0) == np.inf
    assert grads["a"][0] == 1
    assert grads["b"][0] == 2


def test_wrong_limits_are_named():
    with pytest.raises(ValueError, match="max_norm must lie between 0 and inf, got -1"):
        optim.clip_grad_norm({}, -1)
    with pytest.raises(ValueError, match="clip_value must lie between 0 and inf, got nan"):
        optim.clip_grad_value({}, np.nan)
