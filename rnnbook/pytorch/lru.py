"""The linear recurrent unit (chapter ``efficient_training``): Orvieto et al. (2023).

    lambda = exp(-exp(nu) + i exp(theta))                |lambda| < 1, whatever nu is
    h_t = lambda * h_{t-1} + exp(gamma) * (B x_t)        h complex
    y_t = Re(C h_t) + D * x_t                            y real

T steps, B batch, D input and output, N complex states;  x, y (B, T, D)   h (B, T, N)
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from rnnbook.checks import check_between, check_choice, check_positive
from rnnbook.pytorch.layer import last, open_sequences
from rnnbook.pytorch.scan import recurrence_loop, recurrence_scan


class LRU(nn.Module):
    """A linear recurrence with a diagonal, complex matrix, learned in polar form.

    Args:
        input_size: D, also the size of the output.
        hidden_size: N, the number of complex states.
        mode: "scan" or "loop", with the same results.
        r_min, r_max: the ring from which the eigenvalues lambda are drawn, uniform in its area.
        max_phase: their largest angle at the start, in radians.
        device: where the parameters live.
        dtype: of the (real) parameters.

    Parameters: ``nu_log``, ``theta_log``, ``gamma_log`` (N), real and imaginary parts ``B_re``,
    ``B_im`` (N, D) and ``C_re``, ``C_im`` (D, N), and ``D`` (D). At the start
    ``exp(gamma) = sqrt(1 - |lambda|^2)``, which gives each state the variance of its input however
    long its memory is.

    Raises ``ValueError`` for sizes below one, another mode, a ring not within 0 ... 1.
    Source: Orvieto et al. (2023), Resurrecting Recurrent Neural Networks for Long Sequences,
    section 3 and appendix A.
    """

    bidirectional = False
    nu_log: nn.Parameter
    theta_log: nn.Parameter
    gamma_log: nn.Parameter
    B_re: nn.Parameter
    B_im: nn.Parameter
    C_re: nn.Parameter
    C_im: nn.Parameter
    D: nn.Parameter

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        mode: str = "scan",
        r_min: float = 0.0,
        r_max: float = 1.0,
        max_phase: float = 2 * math.pi,
        device=None,
        dtype: torch.dtype | None = None,
    ):
        check_positive("input_size", input_size)
        check_positive("hidden_size", hidden_size)
        check_choice("mode", mode, ("loop", "scan"))
        check_between("r_max", r_max, 0, 1)
        check_between("r_min", r_min, 0, r_max)
        check_between("max_phase", max_phase, 0, 2 * math.pi)
        super().__init__()
        self.input_size, self.hidden_size, self.mode = input_size, hidden_size, mode
        self.r_min, self.r_max, self.max_phase = r_min, r_max, max_phase
        D, N = input_size, hidden_size
        shapes: dict[str, tuple[int, ...]]
        shapes = {"nu_log": (N,), "theta_log": (N,), "gamma_log": (N,)}
        shapes |= {"B_re": (N, D), "B_im": (N, D), "C_re": (D, N), "C_im": (D, N), "D": (D,)}
        for name, shape in shapes.items():
            empty = torch.empty(shape, device=device, dtype=dtype)
            self.register_parameter(name, nn.Parameter(empty))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """The paper's initialization."""
        D, N = self.input_size, self.hidden_size
        # Uniform in the ring's area: r^2 is uniform. The ends themselves have no finite logarithm.
        u = torch.empty_like(self.nu_log).uniform_(1e-6, 1 - 1e-6, generator=generator)
        r2 = self.r_min**2 + u * (self.r_max**2 - self.r_min**2)
        phase = torch.empty_like(u).uniform_(1e-6, 1, generator=generator) * self.max_phase
        self.nu_log.copy_((-r2.log() / 2).log())  # |lambda| = exp(-exp(nu)) = r
        self.theta_log.copy_(phase.log())
        self.gamma_log.copy_((1 - r2).log() / 2)
        for part in (self.B_re, self.B_im):
            part.normal_(0, (2 * D) ** -0.5, generator=generator)
        for part in (self.C_re, self.C_im):
            part.normal_(0, N**-0.5, generator=generator)
        self.D.normal_(generator=generator)

    def eigenvalues(self) -> Tensor:
        """lambda (N), complex."""
        return torch.exp(torch.complex(-self.nu_log.exp(), self.theta_log.exp()))

    def forward(self, x: Tensor | PackedSequence, state: Tensor | None = None):
        """Run over ``x`` from ``state``.

        Args:
            x: (B, T, D), (T, D) for a single sequence, or a ``PackedSequence``.
            state: (1, B, N), (1, N) for a single sequence, complex; zeros if None.

        Returns:
            ``y`` (B, T, D), packed if ``x`` was, and each sequence's final ``state``, complex.

        Raises:
            ValueError: a wrong rank, feature size or dtype of the input, a wrong shape or dtype of
                the state.
        """
        sequences = open_sequences(x, self.input_size, self.D.dtype)
        x = sequences.x.transpose(0, 1)  # (B, T, D): time is what the scan runs over
        lambda_ = self.eigenvalues()
        if state is None:
            h0 = lambda_.new_zeros(len(x), self.hidden_size)
        else:
            sequences.check_state("state", state, 1, self.hidden_size, lambda_.dtype)
            h0 = sequences.open_state(state)[0].to(lambda_.dtype)

        # exp(gamma) * (B x_t)
        b_re = self.gamma_log.exp() * (x @ self.B_re.T)  # (B, T, N)
        b_im = self.gamma_log.exp() * (x @ self.B_im.T)
        b = torch.complex(b_re, b_im)
        # h_t = lambda * h_{t-1} + exp(gamma) * (B x_t)
        recurrence = {"loop": recurrence_loop, "scan": recurrence_scan}[self.mode]
        h = recurrence(lambda_.expand_as(b), b, h0)  # (B, T, N)
        # y_t = Re(C h_t) + D * x_t
        y = h.real @ self.C_re.T - h.imag @ self.C_im.T + self.D * x  # (B, T, D)

        final = last(h.transpose(0, 1), sequences.lengths)[None]  # (1, B, N)
        return sequences.close(y.transpose(0, 1)), sequences.close_state(final)

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}, mode={self.mode!r}"
