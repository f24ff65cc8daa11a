"""Row 11.04: a normalising flow of affine couplings, whose inverse and determinant are known exactly.

L. Dinh, D. Krueger, Y. Bengio, "NICE", arXiv 1410.8516; L. Dinh, J. Sohl-Dickstein, S. Bengio, "Density
estimation using Real NVP", arXiv 1605.08803.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustbench_local.specs import Data, Net, Query, Var, ball, box, forall, library

from ..card import ModelCard
from ..fitting import minibatch, minimise
from ..registry import model
from ..row import Claim, Fit, Gate, Row, RowCard, Tools, add_row

__all__ = ["Flow", "Inverse", "LogDensity", "Scales", "crescents", "flow"]

COUPLINGS = 4
CAP = 1.5  # |s| of a coupling is below
REACH = 2.5
LOG_TWO_PI = math.log(2 * math.pi)


class Coupling(nn.Module):
    """The half that is kept, (B, 1) -> the log-scale s and the shift t of the other half."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(1, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2)
        )

    def forward(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        """s and t, (B, 1) each."""
        both: Tensor = self.layers(kept)
        return CAP * torch.tanh(both[:, :1]), both[:, 1:]


class Flow(nn.Module):
    """Points (B, 2) -> latent (B, 2) and log-determinant, (B, 3); couplings move the halves in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.couplings = nn.ModuleList(Coupling() for _ in range(COUPLINGS))
        self.undo = tuple(reversed(range(COUPLINGS)))  # the order in which the inverse goes

    def forward(self, x: Tensor) -> Tensor:
        """Latent and log-determinant (B, 3)."""
        z, scales = self.both(x)
        return torch.cat((z, sum(scales[1:], scales[0])), 1)

    def both(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The latent (B, 2), and s of every coupling, (B, 1) each."""
        halves, scales = [x[:, :1], x[:, 1:]], []
        for number, coupling in enumerate(self.couplings):
            kept, moved = number % 2, 1 - number % 2
            s, t = coupling(halves[kept])
            halves[moved] = halves[moved] * torch.exp(s) + t
            scales.append(s)
        return torch.cat(halves, 1), scales

    def inverse(self, z: Tensor) -> Tensor:
        """The point (B, 2) of a latent z (B, 2)."""
        halves = [z[:, :1], z[:, 1:]]
        for number in self.undo:
            kept, moved = number % 2, 1 - number % 2
            s, t = self.couplings[number](halves[kept])
            halves[moved] = (halves[moved] - t) * torch.exp(-s)
        return torch.cat(halves, 1)


class Latent(nn.Module):
    """x (B, 2) -> the latent (B, 2) alone."""

    def __init__(self, flow: Flow) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, x: Tensor) -> Tensor:
        """The latent."""
        return self.flow.both(x)[0]


class Inverse(Latent):
    """Latent (B, 2) -> x (B, 2)."""

    def forward(self, x: Tensor) -> Tensor:
        """The point whose latent is x."""
        return self.flow.inverse(x)


class Scales(Latent):
    """x (B, 2) -> the log-scales of all couplings, (B, 4)."""

    def forward(self, x: Tensor) -> Tensor:
        """s of each coupling."""
        return torch.cat(self.flow.both(x)[1], 1)


class LogDensity(Latent):
    """x (B, 2) -> log p(x), (B, 1), in nats."""

    def forward(self, x: Tensor) -> Tensor:
        """The log-density by the change of variables."""
        found: Tensor = self.flow(x)
        return found[:, 2:] - 0.5 * found[:, :2].square().sum(1, keepdim=True) - LOG_TWO_PI


class Muddled(Flow):
    """A control: the inverse undoes the couplings in the order in which they were done."""

    def __init__(self) -> None:
        super().__init__()
        self.undo = tuple(range(COUPLINGS))


def crescents(rows: int, seed: int) -> Tensor:
    """Points (rows, 2) of two interleaved half circles with normal noise of 0.1, centred."""
    generator = torch.Generator().manual_seed(seed)
    angle = math.pi * torch.rand(rows, generator=generator)
    upper = torch.rand(rows, generator=generator) < 0.5
    across = torch.where(upper, angle.cos() - 0.5, 0.5 - angle.cos())
    along = torch.where(upper, angle.sin() - 0.25, 0.25 - angle.sin())
    noise = 0.1 * torch.randn(rows, 2, generator=generator)
    return torch.stack((across, along), 1) * 1.2 + noise


def _gain(network: nn.Module) -> float:
    """Test log-density per point above that of the normal fitted to the same training points."""
    assert isinstance(network, Flow)
    train, test = crescents(4000, 1).double(), crescents(4096, 2)
    normal = torch.distributions.MultivariateNormal(train.mean(0), torch.cov(train.T))
    with torch.inference_mode():
        found = LogDensity(network)(test).double().mean()
    return float(found - normal.log_prob(test.double()).mean())


def _flow(network: nn.Module) -> Flow:
    assert isinstance(network, Flow)
    return network


def _inverts(eps: float, delta: float) -> Claim:
    def query(network: nn.Module) -> Query:
        parts = {"f": Latent(_flow(network)).eval(), "g": Inverse(_flow(network)).eval()}
        return library.inverse((2,), (2,)).query(parts, x0=crescents(6, 3), eps=eps, delta=delta)

    return Claim(
        name=f"inverts-{eps:g}",
        says=f"Within {eps:g} of 6 test points, in both coordinates, the inverse of the latent is the point "
        f"itself to within {delta:g}.",
        query=query,
        control=Muddled,
        control_is="a flow that undoes its couplings in the order of doing them",
        methods=("pgd", "ibp", "crown", "split"),
        seconds=8.0,
    )


def _conditioned(limit: float) -> Claim:
    def query(network: nn.Module) -> Query:
        x, f = Var("x", 2), Net("f", 2, COUPLINGS)
        spec = forall(x, box(-REACH, REACH), abs(f(x)) <= limit)
        return spec.query(Scales(_flow(network)).eval())

    return Claim(
        name="conditioned",
        says=f"On [-{REACH:g}, {REACH:g}]^2 no log-scale exceeds {limit:g}: each coupling stretches and "
        f"shrinks by "
        f"at most e^{limit:g}.",
        query=query,
        control=_steep,
        control_is="a flow whose couplings all stretch by e^1.5, wherever the point is",
        methods=("pgd", "ibp", "crown", "split"),
        seconds=15.0,
    )


def _likely(eps: float, nats: float) -> Claim:
    def query(network: nn.Module) -> Query:
        density = LogDensity(_flow(network)).eval()
        return library.log_density((2,)).query(density, x0=crescents(10, 3), eps=eps, limit=-nats)

    return Claim(
        name=f"likely-{eps:g}",
        says=f"Within {eps:g} of 10 test points, in both coordinates, the log-density is at least -{nats:g}.",
        query=query,
        control=_steep,
        control_is="a flow whose couplings all stretch by e^1.5, wherever the point is",
        methods=("pgd", "ibp", "crown", "split"),
        seconds=15.0,
    )


def _steep() -> Flow:
    flow = Flow()
    for coupling in flow.couplings:
        last = coupling.get_submodule("layers.4")
        assert isinstance(last, nn.Linear)
        nn.init.constant_(last.bias, 10.0)
    return flow


def _fit(limit: float | None, steps: int) -> Fit:
    """Maximum likelihood. With `limit`, also the interval bound of how far |s| exceeds it in small boxes that
    are drawn from the set of the claim."""

    def fit(network: nn.Module, tools: Tools, generator: torch.Generator) -> None:
        flow = _flow(network)
        tools.initialise(flow, generator)
        density, points = LogDensity(flow), crescents(4000, 1)
        x0, f = Data("x0", 2), Net("f", 2, COUPLINGS)
        x = Var("x", like=x0)
        spec = forall(x, ball(x0, 0.1), abs(f(x)) <= (0.0 if limit is None else limit))
        scales = Scales(flow)
        bound = tools.bounder(spec.query(scales.eval(), x0=points[:1]))

        def loss(step: int) -> Tensor:
            found: Tensor = -density(points[minibatch(len(points), 256, generator)]).mean()
            if limit is None:
                return found
            centres = (2 * torch.rand(64, 2, generator=generator) - 1) * (REACH - 0.1)
            return found + 2 * F.relu(0.1 + bound(spec.query(scales, x0=centres))).mean()

        minimise(flow, loss, steps=steps, learning_rate=5e-3)

    return fit


@model(
    ModelCard(
        name="flow",
        family="classical",
        summary="A flow of four affine couplings in the plane: latent, inverse, scales and log-density.",
        paper="Density estimation using Real NVP (Dinh et al., 2017)",
        source="arXiv 1605.08803, arXiv 1410.8516",
        input_shape=(2,),
        outputs=3,
        task="density",
        dataset="two crescents",
        parameters=1_352,
        weights=("nominal", "spec"),
        recipes=("flow-nominal", "flow-spec"),
        faithful="Affine couplings on alternating halves, log-scales through tanh, trained by exact maximum "
        "likelihood.",
        deviates="Two dimensions and four couplings instead of images; no batch normalisation. That the "
        "inverse "
        "is exact holds by construction; what is claimed is bounded on the composed network, so the "
        "tolerance "
        "is that of the bound. `spec` is trained with interval bounds on the log-scales.",
        intended_use="Invertibility, conditioning and density as claims over all points of a set.",
        limits="Outside [-2.5, 2.5]^2 nothing is known of the scales. Density is not a sign of being "
        "typical.",
        licence="Apache-2.0",
    )
)
def flow() -> nn.Module:
    """The untrained network."""
    return Flow()


add_row(
    Row(
        card=RowCard(
            id="11.04",
            section="Episode 11, invertible models and normalising flows",
            shows="Expressive and tractable at once: exact density and exact inverse. Both rest on scales "
            "that "
            "must stay moderate, which is a property of a whole region and not of the test points.",
            data="4,000 points of two interleaved half circles with noise for the fit, 4,096 others for the "
            "gate, from fixed seeds. Generated here, no licence needed.",
            ethics="No person's data; both arcs are drawn equally often.",
            parts=(
                "latent: point (2) -> latent (2)",
                "inverse: latent (2) -> point (2)",
                "scales: point (2) -> log-scale of each coupling (4)",
                "log-density: point (2) -> nats (1)",
            ),
            benefit="Proves where a flow can be inverted without losing digits.",
            risk="A high density may be taken for a proof that an input is ordinary.",
            mitigation="The claims speak of bounds of the density near data only, and the limits say so.",
            red_line="No alarm system for people's behaviour built on such densities.",
            balance="Two crescents of random points; what is learned is how to check a bigger flow.",
            affected="Nobody: the data are random numbers.",
            regret="That certificates in two dimensions raise hopes for images that nobody can keep.",
        ),
        model="flow",
        gate=Gate("test nats per point gained over a normal", _gain, 0.3, least=True),
        fits={"nominal": _fit(None, 2000), "spec": _fit(1.2, 2000)},
        claims=(_inverts(0.01, 0.05), _conditioned(1.3), _likely(0.05, 4.0)),
    )
)
