"""The variants of the LSTM: each is the standard cell but for what its name says."""

import pytest

torch = pytest.importorskip("torch")

from rnnbook.experiments import lstm_variants as v  # noqa: E402

D, H = 3, 5


@pytest.fixture
def x():
    torch.manual_seed(0)
    return torch.randn(2, 6, D, dtype=torch.float64)


def make(cell):
    torch.manual_seed(1)
    return cell(D, H).double()


def rows(layer, gate, value):
    """Set one gate's rows: its biases to ``value``, its weights to zero."""
    block = slice("ifgo".index(gate) * H, ("ifgo".index(gate) + 1) * H)
    with torch.no_grad():
        for linear in (layer.input, layer.recurrent):
            linear.weight[block] = 0
            linear.bias[block] = value


def close(a, b):
    torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def as_torch(layer):
    return {
        "weight_ih_l0": layer.input.weight,
        "bias_ih_l0": layer.input.bias,
        "weight_hh_l0": layer.recurrent.weight,
        "bias_hh_l0": layer.recurrent.bias,
    }


def test_standard_is_torchs(x):
    layer = make(v.Standard)
    reference = torch.nn.LSTM(D, H, batch_first=True, dtype=torch.float64)
    reference.load_state_dict(as_torch(layer))
    close(layer(x), reference(x)[0])
    forget = layer.input.bias[H : 2 * H] + layer.recurrent.bias[H : 2 * H]
    assert torch.equal(forget, torch.ones(H, dtype=torch.float64))


def test_projected_is_torchs(x):
    layer = make(v.Projected)
    reference = torch.nn.LSTM(D, H, proj_size=H // 2, batch_first=True, dtype=torch.float64)
    reference.load_state_dict(as_torch(layer) | {"weight_hr_l0": layer.projection.weight})
    close(layer(x), reference(x)[0])


@pytest.mark.parametrize(
    ("cell", "gate"), [(v.NoInputGate, "i"), (v.NoForgetGate, "f"), (v.NoOutputGate, "o")]
)
def test_a_gate_taken_out_is_a_gate_held_open(x, cell, gate):
    without, standard = make(cell), make(v.Standard)
    rows(standard, gate, 50.0)  # sigmoid(100) is 1
    close(without(x), standard(x))


def test_coupled_is_standard_with_opposite_weights(x):
    coupled, standard = make(v.Coupled), make(v.Standard)
    with torch.no_grad():
        for linear in (standard.input, standard.recurrent):
            linear.weight[:H] = -linear.weight[H : 2 * H]
            linear.bias[:H] = -linear.bias[H : 2 * H]
    close(coupled(x), standard(x))


def test_output_activation_is_all_that_differs(x):
    bare, standard = make(v.NoOutputActivation), make(v.Standard)
    h, c = torch.randn(2, 2, H, dtype=torch.float64)
    a_x = bare.input(x[:, 0])
    (h_bare, c_bare), (h_standard, c_standard) = bare.step(a_x, h, c), standard.step(a_x, h, c)
    close(c_bare, c_standard)
    close(h_bare * c_standard.tanh() / c_standard, h_standard)


def test_peepholes_look_at_the_right_cell(x):
    layer = make(v.Peepholes)
    close(layer(x), make(v.Standard)(x))
    h, c = torch.randn(2, 2, H, dtype=torch.float64)
    a_x = layer.input(x[:, 0])
    with torch.no_grad():
        layer.peep_i.fill_(0.7)
        layer.peep_f.fill_(-0.4)
        layer.peep_o.fill_(1.3)
    i, f, g, o = (a_x + layer.recurrent(h)).chunk(4, 1)
    c_new = (f - 0.4 * c).sigmoid() * c + (i + 0.7 * c).sigmoid() * g.tanh()
    h_new = (o + 1.3 * c_new).sigmoid() * c_new.tanh()
    for mine, wanted in zip(layer.step(a_x, h, c), (h_new, c_new), strict=True):
        close(mine, wanted)


def test_normalized_follows_ba_kiros_hinton(x):
    layer = make(v.Normalized)
    h, c = torch.randn(2, 2, H, dtype=torch.float64)

    def norm(a):
        return (a - a.mean(1, keepdim=True)) / (a.var(1, keepdim=True, correction=0) + 1e-5).sqrt()

    a = norm(x[:, 0] @ layer.input.weight.T) + norm(h @ layer.recurrent.weight.T)
    i, f, g, o = (a + layer.input.bias + layer.recurrent.bias).chunk(4, 1)
    c_new = f.sigmoid() * c + i.sigmoid() * g.tanh()
    h_new = o.sigmoid() * norm(c_new).tanh()
    for mine, wanted in zip(layer.step(layer.input(x[:, 0]), h, c), (h_new, c_new), strict=True):
        close(mine, wanted)


@pytest.mark.parametrize("variant", v.VARIANTS)
def test_every_variant_trains(variant):
    setting = {"task": "flip-flop", "variant": variant, "updates": 2, "batch": 4, "lr": 0.02}
    first, again = (v.run(setting, 0) for _ in range(2))
    assert first == again
    assert first != v.run(setting, 1)
