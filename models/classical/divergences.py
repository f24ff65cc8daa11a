"""Row 9.02: what is fitted by KL(target, model) covers all modes, by KL(model, target) it avoids the gaps.

C. Bishop, "Pattern recognition and machine learning", 2006, section 10.1.2; I. Goodfellow, "NIPS 2016
tutorial: generative adversarial networks", arXiv 1701.00160, section 3.2.5.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustbench_local.specs import Data, Net, Query, Var, between, box, forall

from ..card import ModelCard
from ..fitting import minimise
from ..registry import model
from ..row import Claim, Fit, Gate, Row, RowCard, Tools, add_row

__all__ = ["Densities", "divergences", "target"]

MODES = (-2.0, 2.0)
DEVIATION = 0.5  # of both modes of the target
REACH = 6.0  # densities are studied on [-REACH, REACH]
CELLS = 192  # of the quadrature
HALF_LOG = 0.5 * math.log(2 * math.pi)


class Densities(nn.Module):
    """x (B, 1) -> log-densities (B, 3): a normal fitted by KL, one by reverse KL, and a ReLU net by KL.

    A normal is offset - (a x + b)^2 / 2; the net is a density on [-REACH, REACH] alone.
    """

    def __init__(self) -> None:
        super().__init__()
        self.whiten = nn.Linear(1, 2)
        self.offsets = nn.Parameter(torch.zeros(2))
        self.net = nn.Sequential(nn.Linear(1, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Log-densities (B, 3) at x (B, 1)."""
        white: Tensor = self.whiten(x)
        return torch.cat((self.offsets - 0.5 * white.square(), self.net(x)), 1)

    @torch.no_grad()
    def set_normals(self, means: Tensor, logs: Tensor) -> Densities:
        """Means (2,) and logarithms of deviations (2,) of both normals."""
        self.whiten.weight.copy_((-logs).exp().unsqueeze(1))
        self.whiten.bias.copy_(-means * (-logs).exp())
        self.offsets.copy_(-logs - HALF_LOG)
        return self


class Mass(nn.Module):
    """t (B, 1) in [0, 1] -> the Riemann sum of a density with its points at the share t of each cell, (B, 1).

    The integral over [-REACH, REACH] is the mean of these sums over t, so it lies between their extremes.
    """

    starts: Tensor

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.width = net, 2 * REACH / CELLS
        self.register_buffer("starts", -REACH + self.width * torch.arange(CELLS))

    def forward(self, t: Tensor) -> Tensor:
        """The sums (B, 1)."""
        points = (self.starts + self.width * t).unsqueeze(2)
        logs: Tensor = self.net(points)
        return self.width * torch.exp(logs.squeeze(2)).sum(1, keepdim=True)


class Normals(nn.Module):
    """Means and logarithms of deviations of the two normals, while they are fitted."""

    def __init__(self) -> None:
        super().__init__()
        self.means = nn.Parameter(torch.tensor([0.5, 1.0]))
        self.logs = nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        """Log-densities (N, 2) at x (N, 1)."""
        return -0.5 * ((x - self.means) / self.logs.exp()).square() - self.logs - HALF_LOG


def target(x: Tensor) -> Tensor:
    """Log-density of the target at x, any shape: half of it normal around each mode."""
    parts = [-0.5 * ((x - m) / DEVIATION) ** 2 - math.log(2 * DEVIATION) - HALF_LOG for m in MODES]
    return torch.logsumexp(torch.stack(parts), 0)


def _grid() -> tuple[Tensor, float]:
    points = torch.linspace(-REACH, REACH, 601).unsqueeze(1)
    return points, 2 * REACH / 600


def _width_ratio(network: nn.Module) -> float:
    """Deviation of the KL fit over that of the reverse fit."""
    slopes = network.get_submodule("whiten").get_parameter("weight").detach().abs().flatten()
    return float(slopes[1] / slopes[0])


def _covers(nats: float) -> Claim:
    def query(network: nn.Module) -> Query:
        low, high = Data("low", 1), Data("high", 1)
        x, f = Var("x", like=low), Net("f", 1, 3)
        modes = torch.tensor(MODES).unsqueeze(1)
        spec = forall(x, box(low, high), f(x)[0] >= -nats)
        return spec.query(network, low=modes - DEVIATION, high=modes + DEVIATION)

    return Claim(
        name="covers",
        says=f"Within one deviation of both modes, the log-density of the KL fit is at least -{nats:g}.",
        query=query,
        control=_exchanged,
        control_is="the reverse fit in place of the KL fit: it leaves out one mode",
        methods=("pgd", "ibp", "crown", "split"),
    )


def _avoids(nats: float) -> Claim:
    def query(network: nn.Module) -> Query:
        x, f = Var("x", 1), Net("f", 1, 3)
        return forall(x, box(-0.5, 0.5), f(x)[1] <= -nats).query(network)

    return Claim(
        name="avoids",
        says=f"Between the modes, on [-0.5, 0.5], the log-density of the reverse fit is at most -{nats:g}.",
        query=query,
        control=_exchanged,
        control_is="the KL fit in place of the reverse fit: it has its peak in the gap",
        methods=("pgd", "ibp", "crown", "split"),
    )


def _both() -> Claim:
    def query(network: nn.Module) -> Query:
        low, high = Data("low", 1), Data("high", 1)
        x, f = Var("x", like=low), Net("f", 1, 3)
        least, most = Data("least", 1), Data("most", 1)
        ends = torch.tensor([[-2.5, -1.5], [-0.3, 0.3], [1.5, 2.5]])
        spec = forall(x, box(low, high), between(least, f(x)[2:], most))
        limits = torch.tensor([[-2.3, 0.0], [-20.0, -4.0], [-2.3, 0.0]])
        return spec.query(network, low=ends[:, :1], high=ends[:, 1:], least=limits[:, :1], most=limits[:, 1:])

    return Claim(
        name="flexible",
        says="A family that can do both does: the net's log-density is within [-2.3, 0] on both modes and "
        "within [-20, -4] on [-0.3, 0.3].",
        query=query,
        control=Densities,
        control_is="the net with its first weights, flat everywhere",
        methods=("pgd", "ibp", "crown", "split"),
    )


def _mass(tolerance: float) -> Claim:
    def query(network: nn.Module) -> Query:
        t, f = Var("t", 1), Net("f", 1, 1)
        spec = forall(t, box(0, 1), between(1 - tolerance, f(t), 1 + tolerance))
        return spec.query(Mass(network.get_submodule("net")).eval())

    return Claim(
        name="mass",
        says=f"The net's density has the integral 1 over [-{REACH:g}, {REACH:g}] to within {tolerance:g}: "
        f"every "
        f"Riemann sum of {CELLS} equal cells has.",
        query=query,
        control=Densities,
        control_is="the net with its first weights, which nobody normalised",
        methods=("pgd", "ibp", "crown", "split"),
        seconds=20.0,
    )


def _exchanged() -> Densities:
    """The fits that are right in theory, each in the other's place."""
    wide = math.log(math.hypot(MODES[1], DEVIATION))
    return Densities().set_normals(torch.tensor([MODES[1], 0.0]), torch.tensor([math.log(DEVIATION), wide]))


def _fit(nats: float | None, decay: float) -> Fit:
    """Both divergences by quadrature. With `nats`, also how far the KL fit's log-density, lowest at the outer
    end of a mode's interval, lies below -nats; the net is trained with that weight decay."""

    def fit(network: nn.Module, tools: Tools, generator: torch.Generator) -> None:
        assert isinstance(network, Densities)
        tools.initialise(network.net, generator)
        (x, h), normals = _grid(), Normals()
        log_p = target(x)

        def divergence(step: int) -> Tensor:
            logs: Tensor = normals(x)
            forward: Tensor = -(log_p[:, 0].exp() * logs[:, 0]).sum() * h
            reverse: Tensor = (logs[:, 1].exp() * (logs[:, 1] - log_p[:, 0])).sum() * h
            if nats is None:
                return forward + reverse
            ends = torch.tensor([[-1.0], [1.0]]) * (MODES[1] + DEVIATION)
            short: Tensor = -nats + 0.005 - normals(ends)[:, 0]
            return forward + reverse + 10 * F.relu(short).sum()

        def of_net(step: int) -> Tensor:
            logs: Tensor = network.net(x)[:, 0]
            entropy: Tensor = -(log_p[:, 0].exp() * logs).sum() * h
            return entropy + torch.logsumexp(logs, 0) + math.log(h)

        minimise(normals, divergence, steps=600, learning_rate=2e-2)
        minimise(network.net, of_net, steps=1200, learning_rate=1e-2, weight_decay=decay)
        network.set_normals(normals.means, normals.logs)
        with torch.no_grad():
            last = network.net[-1]
            assert isinstance(last, nn.Linear)
            last.bias.sub_(torch.logsumexp(network.net(x)[:, 0].double(), 0).float() + math.log(h))

    return fit


@model(
    ModelCard(
        name="divergences",
        family="classical",
        summary="Densities on a line with two modes: a normal by KL, one by reverse KL, and a small net.",
        paper="NIPS 2016 tutorial: generative adversarial networks (Goodfellow, 2016)",
        source="arXiv 1701.00160; C. Bishop, Pattern recognition and machine learning, 2006",
        input_shape=(1,),
        outputs=3,
        task="density",
        dataset="two normals on a line",
        parameters=1_159,
        weights=("nominal", "spec"),
        recipes=("divergences-nominal", "divergences-spec"),
        faithful="The textbook's picture: a single normal fitted to two modes by both divergences.",
        deviates="Divergences are computed by quadrature, not estimated from samples. The third density, a "
        "ReLU net, is added: a family that can fit both modes does. `spec` widens the KL fit until its claim "
        "holds and decays the net's weights.",
        intended_use="What each divergence forgives, as claims on intervals of a line, all decided.",
        limits="One dimension; the reverse fit takes the mode that it starts next to.",
        licence="Apache-2.0",
    )
)
def divergences() -> nn.Module:
    """The untrained model."""
    return Densities()


add_row(
    Row(
        card=RowCard(
            id="9.02",
            section="Episode 9, what is minimised: KL(pstar, p) and KL(p, pstar)",
            shows="Maximum likelihood puts mass wherever data are, gaps included; the reverse divergence "
            "drops modes rather than fill gaps. Both are statements about all points of an interval.",
            data="No sample: the target is half a normal around -2 and half around 2, deviation 0.5, and "
            "integrals over it are sums on 601 points. The gate reads the fitted deviations.",
            ethics="No person's data. Two equal modes stand for any two groups: the reverse fit serves one "
            "and "
            "ignores the other, which is the point that the row makes.",
            parts=(
                "log-densities: x (1) -> KL fit, reverse fit, net (3)",
                "mass: share of a cell t (1) -> Riemann sum of the net's density (1)",
            ),
            benefit="Shows in one picture which error a training objective prefers, and proves it.",
            risk="Mode dropping may be read as harmless because likelihood elsewhere is high.",
            mitigation="The claim on covering is violated by the reverse fit, as its control shows.",
            red_line="No objective that may drop a mode where the modes are groups of people.",
            balance="The row can harm nobody and warns of a harm that is easily overlooked.",
            affected="Nobody is in the data.",
            regret="That one dimension suggests that gaps and modes are as easily seen in many.",
        ),
        model="divergences",
        gate=Gate("deviation of the KL fit over that of the reverse fit", _width_ratio, 3.0, least=True),
        fits={"nominal": _fit(None, 0.0), "spec": _fit(2.35, 1e-3)},
        claims=(_covers(2.35), _avoids(4.5), _both(), _mass(0.01)),
    )
)
