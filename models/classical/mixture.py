"""Row 11.02: a mixture of Gaussians, whose posterior over components is exact.

A. Dempster, N. Laird, D. Rubin, "Maximum likelihood from incomplete data via the EM algorithm", Journal of
the Royal Statistical Society B 39, 1977.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from robustbench_local.specs import (
    Data,
    Label,
    Net,
    Query,
    Var,
    argmax,
    ball,
    box,
    conf,
    exp,
    forall,
    log,
    softmax,
    vsum,
)

from ..card import ModelCard
from ..registry import model
from ..row import Claim, Fit, Gate, Row, RowCard, Tools, add_row

__all__ = ["Mixture", "em_step", "mixture", "true_mixture"]

COMPONENTS = 3
MEANS = ((-2.0, 0.0), (2.0, 0.5), (0.0, 3.0))
COVARIANCES = (((0.5, 0.2), (0.2, 0.4)), ((0.3, -0.1), (-0.1, 0.6)), ((0.8, 0.0), (0.0, 0.2)))
SHARES = (0.3, 0.4, 0.3)

Parameters = tuple[Tensor, Tensor, Tensor]  # shares (K,), means (K, 2), covariances (K, 2, 2)


class Mixture(nn.Module):
    """Points (B, 2) -> log of share times density of each component, (B, 3); their softmax is the posterior.

    Each component is offset - |A x + b|^2 / 2 with A the inverse of a root of its covariance.
    """

    def __init__(self) -> None:
        super().__init__()
        self.whiten = nn.Linear(2, 2 * COMPONENTS)
        self.offsets = nn.Parameter(torch.zeros(COMPONENTS))

    def forward(self, x: Tensor) -> Tensor:
        """Log joint densities (B, 3) at x (B, 2)."""
        white: Tensor = self.whiten(x)
        return self.offsets - 0.5 * white.reshape(-1, COMPONENTS, 2).square().sum(2)

    def set_to(self, parameters: Parameters) -> Mixture:
        """Takes over shares, means and covariances (float64)."""
        shares, means, covariances = parameters
        inverse = torch.linalg.inv(torch.linalg.cholesky(covariances))
        scale = torch.log(torch.diagonal(inverse, dim1=1, dim2=2)).sum(1)
        with torch.no_grad():
            self.whiten.weight.copy_(inverse.reshape(-1, 2))
            self.whiten.bias.copy_(-(inverse @ means.unsqueeze(2)).reshape(-1))
            self.offsets.copy_(shares.log() + scale - math.log(2 * math.pi))
        return self


def true_mixture() -> Parameters:
    """What the data are drawn from."""
    shares, means = torch.tensor(SHARES).double(), torch.tensor(MEANS).double()
    return shares / shares.sum(), means, torch.tensor(COVARIANCES).double()


def sample(rows: int, seed: int) -> Tensor:
    """`rows` points (rows, 2) of the true mixture, float64."""
    generator = torch.Generator().manual_seed(seed)
    shares, means, covariances = true_mixture()
    which = torch.multinomial(shares, rows, replacement=True, generator=generator)
    noise = torch.randn(rows, 2, generator=generator, dtype=torch.float64)
    roots = torch.linalg.cholesky(covariances)
    points: Tensor = means[which] + (roots[which] @ noise.unsqueeze(2)).squeeze(2)
    return points


def log_joint(points: Tensor, parameters: Parameters) -> Tensor:
    """log(share_k N(x; mean_k, covariance_k)), (N, K), in float64."""
    shares, means, covariances = parameters
    normal = torch.distributions.MultivariateNormal(means, covariances)
    joint: Tensor = normal.log_prob(points.unsqueeze(1)) + shares.log()
    return joint


def em_step(points: Tensor, parameters: Parameters, prior: float = 0.0) -> Parameters:
    """One step of EM on points (N, 2). `prior`: each component also counts so many points that lie around its
    mean with the covariance of all points (an inverse Wishart prior)."""
    posterior = log_joint(points, parameters).softmax(1)
    sizes = posterior.sum(0)
    means = posterior.T @ points / sizes.unsqueeze(1)
    away = points.unsqueeze(1) - means
    scatter = torch.einsum("nk,nki,nkj->kij", posterior, away, away)
    added = prior * torch.cov(points.T)
    return sizes / len(points), means, (scatter + added) / (sizes + prior).reshape(-1, 1, 1)


def _loss_to_truth(network: nn.Module) -> float:
    points = sample(4096, 2)
    truth = log_joint(points, true_mixture()).logsumexp(1).mean()
    with torch.inference_mode():
        found = network(points.float()).double().logsumexp(1).mean()
    return float((truth - found) / truth.abs())


def _means() -> Tensor:
    return torch.tensor(MEANS)


def _sure(eps: float, share: float) -> Claim:
    def query(network: nn.Module) -> Query:
        x0, c = Data("x0", 2), Label("c", COMPONENTS)
        x, f = Var("x", like=x0), Net("f", 2, COMPONENTS)
        spec = forall(x, ball(x0, eps), (conf(f(x)) >= share) & (argmax(f(x)) == c))
        return spec.query(network, x0=_means(), c=torch.arange(COMPONENTS))

    return Claim(
        name=f"sure-{eps:g}",
        says=f"Within {eps:g} of each true mean (in both coordinates), the posterior gives its component at "
        f"least {share:g}.",
        query=query,
        control=lambda: _spread(1.5),
        control_is="three round components of standard deviation 1.5, which overlap",
        methods=("pgd", "ibp", "crown", "split"),
    )


def _torn(nats: float) -> Claim:
    def query(network: nn.Module) -> Query:
        x0, f = Data("x0", 2), Net("f", 2, COMPONENTS)
        x = Var("x", like=x0)
        p = softmax(f(x))
        return forall(x, ball(x0, 0.1), -vsum(p * log(p)) >= nats).query(network, x0=_borders())

    return Claim(
        name=f"torn-{nats:g}",
        says=f"Where two true components are equally likely on the line between their means, and within 0.1 "
        f"of there, the entropy of the posterior is at least {nats:g} nats.",
        query=query,
        control=lambda: _spread(0.3),
        control_is="three round components of standard deviation 0.3, which are sure almost everywhere",
        methods=("pgd", "ibp", "crown", "split"),
    )


def _far(nats: float) -> Claim:
    def query(network: nn.Module) -> Query:
        low, high = Data("low", 2), Data("high", 2)
        x, f = Var("x", like=low), Net("f", 2, COMPONENTS)
        corners = torch.tensor([(-7.0, -7.0), (-7.0, 6.0), (6.0, -7.0), (6.0, 6.0)])
        spec = forall(x, box(low, high), log(vsum(exp(f(x)))) <= -nats)
        return spec.query(network, low=corners, high=corners + 1)

    return Claim(
        name=f"far-{nats:g}",
        says=f"In four unit squares 6 or more away from 0 in both coordinates, the log-density is at most "
        f"-{nats:g}.",
        query=query,
        control=lambda: _spread(4.0),
        control_is="three round components of standard deviation 4, which reach there",
        methods=("pgd", "ibp", "crown", "split"),
    )


def _borders() -> Tensor:
    """On each line between two true means, where both are equally likely, (3, 2)."""
    parameters, t = true_mixture(), torch.linspace(0, 1, 2001).double().unsqueeze(1)
    found = []
    for first, second in ((0, 1), (1, 2), (0, 2)):
        line = parameters[1][first] + t * (parameters[1][second] - parameters[1][first])
        joint = log_joint(line, parameters)
        found.append(line[(joint[:, first] - joint[:, second]).abs().argmin()])
    return torch.stack(found).float()


def _spread(deviation: float) -> Mixture:
    round_ = deviation**2 * torch.eye(2, dtype=torch.float64).expand(COMPONENTS, 2, 2)
    shares, means, _ = true_mixture()
    return Mixture().set_to((shares, means, round_))


def _fit(prior: float) -> Fit:
    """200 steps of EM on 2,000 points from the best of five random starts."""

    def fit(network: nn.Module, tools: Tools, generator: torch.Generator) -> None:
        assert isinstance(network, Mixture)
        points = sample(2000, 1)
        found: list[tuple[float, Parameters]] = []
        for _ in range(5):
            means = points[torch.randperm(len(points), generator=generator)[:COMPONENTS]]
            even = torch.full((COMPONENTS,), 1 / COMPONENTS, dtype=torch.float64)
            parameters = (even, means, torch.cov(points.T).expand(COMPONENTS, 2, 2))
            for _ in range(200):
                parameters = em_step(points, parameters, prior)
            likelihood = float(log_joint(points, parameters).logsumexp(1).mean())
            found.append((likelihood, parameters))
        _, (shares, means, covariances) = max(found, key=lambda pair: pair[0])
        order = torch.cdist(true_mixture()[1], means).argmin(1)  # components named as in the truth
        network.set_to((shares[order], means[order], covariances[order]))

    return fit


@model(
    ModelCard(
        name="mixture",
        family="classical",
        summary="A mixture of three Gaussians in the plane: joint densities, posterior, density.",
        paper="Maximum likelihood from incomplete data via the EM algorithm (Dempster et al., 1977)",
        source="Journal of the Royal Statistical Society B 39(1)",
        input_shape=(2,),
        outputs=COMPONENTS,
        task="density",
        dataset="mixture of Gaussians",
        parameters=21,
        weights=("nominal", "spec"),
        recipes=("mixture-nominal", "mixture-spec"),
        faithful="Full covariances, fitted by EM; the posterior is the softmax of what the network gives.",
        deviates="Stored as roots of precisions, 21 numbers for 17 that are free. `spec` has an inverse "
        "Wishart prior worth 25 points in each component, which widens covariances: a posterior less sure of "
        "itself. After the fit, components are put in the order of the true ones.",
        intended_use="Exact inference as something to verify: posterior, entropy and density on boxes.",
        limits="Three components, as many as the data have; a wrong number is not studied.",
        licence="Apache-2.0",
    )
)
def mixture() -> nn.Module:
    """The untrained model."""
    return Mixture()


add_row(
    Row(
        card=RowCard(
            id="11.02",
            section="Episode 11, latent variable models: inference for a mixture of Gaussians",
            shows="The simplest model with a latent variable has an exact posterior, in time linear in the "
            "number of components. It should be sure near a mean, torn on a border, and see little far away.",
            data="2,000 points drawn from three Gaussians for the fit and 4,096 others for the gate, from "
            "fixed seeds. Generated here, no licence needed.",
            ethics="No person's data; the points are random numbers and all three groups are well covered.",
            parts=(
                "log-joint: point (2) -> log of share times density of each component (3)",
                "posterior: its softmax",
                "log-density: its log-sum-exp",
            ),
            benefit="Uncertainty of a latent variable is decided by splitting the plane: nothing is left "
            "open.",
            risk="A component may be taken for a kind of thing, and its posterior for a fact about one "
            "thing.",
            mitigation="The claims say where the model must not be sure; the gate compares with the truth.",
            red_line="No posterior over groups of people is to decide about one of them.",
            balance="Random points are harmed by nothing; the lesson on calibrated doubt is worth having.",
            affected="Nobody: the data are made of random numbers.",
            regret="That density far away is trusted: it is an extrapolation of a shape that was assumed.",
        ),
        model="mixture",
        gate=Gate("test log-likelihood lost to the truth, relative", _loss_to_truth, 0.01, least=False),
        fits={"nominal": _fit(0.0), "spec": _fit(25.0)},
        claims=(_sure(0.4, 0.9), _torn(0.2), _far(40.0)),
    )
)
