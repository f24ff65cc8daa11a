"""Row 11.03: a linear-Gaussian model of digits, where every distribution is Gaussian.

M. Tipping, C. Bishop, "Probabilistic principal component analysis", Journal of the Royal Statistical Society
B 61, 1999.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor, nn

from robustbench_local.specs import Data, Net, Param, Query, Var, ball, box, forall

from ..card import ModelCard
from ..registry import model
from ..row import Claim, Fit, Gate, Row, RowCard, Tools, add_row
from .flat import DATA, ETHICS, PIXELS, flat, principal_axes, some

__all__ = ["LinearGaussian", "em_reconstruction", "ppca"]

LATENTS = 8
IMAGES = 20


class LinearGaussian(nn.Module):
    """Images (B, 64) -> log p(x), (B, 1), in nats, of x = W z + mean + noise.

    With u the codes along the axes of W, each divided by the deviation of x there, and r what the axes leave
    over, divided by the deviation of the noise, log p(x) is a constant minus (|u|^2 + |r|^2) / 2.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(PIXELS, LATENTS)
        self.decoder = nn.Linear(LATENTS, PIXELS)
        self.posterior = nn.Linear(PIXELS, LATENTS)  # the mean of z given x
        self.mean_image = nn.Linear(LATENTS, PIXELS)  # the mean of x given z
        self.precision = nn.Parameter(torch.ones(()))  # one over the deviation of the noise
        self.constant = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """The log-density (B, 1)."""
        code: Tensor = self.encoder(x)
        rest = self.precision * (x - self.decoder(code))
        squares: Tensor = code.square().sum(1, keepdim=True) + rest.square().sum(1, keepdim=True)
        return self.constant - 0.5 * squares

    def set_to(self, mean: Tensor, axes: Tensor, variances: Tensor, noise: float) -> LinearGaussian:
        """Axes (64, 8) as columns with the variances (8,) of x along them, and the variance of the noise."""
        spread, weight = variances.sqrt(), (variances - noise).clamp_min(0).sqrt()
        to_latent = axes * (weight / variances)
        logs = variances.log().sum() + (PIXELS - LATENTS) * math.log(noise)
        with torch.no_grad():
            self.encoder.weight.copy_((axes / spread).T)
            self.encoder.bias.copy_(-(mean @ axes) / spread)
            self.decoder.weight.copy_(axes * spread)
            self.decoder.bias.copy_(mean)
            self.posterior.weight.copy_(to_latent.T)
            self.posterior.bias.copy_(-(mean @ to_latent))
            self.mean_image.weight.copy_(axes * weight)
            self.mean_image.bias.copy_(mean)
            self.precision.fill_(noise**-0.5)
            self.constant.copy_(-0.5 * (logs + PIXELS * math.log(2 * math.pi)))
        return self


@functools.cache
def _axes() -> tuple[Tensor, Tensor, Tensor]:
    return principal_axes(flat("train")[0])


def em_reconstruction(rounds: int = 500) -> nn.Linear:
    """x -> the mean of x given the mean of z given x, (B, 64), of the same model fitted by EM.

    The two steps of Tipping and Bishop, from random weights of a fixed seed, in float64.
    """
    images = flat("train")[0].double()
    mean = images.mean(0)
    covariance = (images - mean).T @ (images - mean) / len(images)
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(PIXELS, LATENTS, generator=generator, dtype=torch.float64)
    noise, unit = torch.ones((), dtype=torch.float64), torch.eye(LATENTS, dtype=torch.float64)
    for _ in range(rounds):
        inverse = torch.linalg.inv(weight.T @ weight + noise * unit)
        found = covariance @ weight
        new = found @ torch.linalg.inv(noise * unit + inverse @ weight.T @ found)
        noise = torch.trace(covariance - found @ inverse @ new.T) / PIXELS
        weight = new
    inverse = torch.linalg.inv(weight.T @ weight + noise * unit)
    project = weight @ inverse @ weight.T
    layer = nn.Linear(PIXELS, PIXELS)
    with torch.no_grad():
        layer.weight.copy_(project)
        layer.bias.copy_(mean - project @ mean)
    return layer.eval()


_em = functools.cache(em_reconstruction)


def _log_density(network: nn.Module) -> float:
    with torch.inference_mode():
        return float(network(flat()[0]).mean())


def _smooth(eps: float, nats: float) -> Claim:
    def query(network: nn.Module) -> Query:
        x0, f = Data("x0", PIXELS), Net("f", PIXELS, 1)
        x = Var("x", like=x0)
        spec = forall(x, ball(x0, Param("eps"), p=2) & box(0, 1), f(x)[0] >= f(x0)[0] - nats)
        return spec.query(network, x0=some(IMAGES)[0], eps=eps)

    return Claim(
        name=f"smooth-{eps:g}",
        says=f"Within {eps:g} in the l2 norm of {IMAGES} test images, the log-density falls by at most "
        f"{nats:g} nats.",
        query=query,
        control=lambda: _noisy(0.1),
        control_is="the same axes with a tenth of the noise variance, whose density has steep sides",
        methods=("pgd", "ibp", "crown", "alpha-crown"),
    )


def _latent(eps: float, delta: float) -> Claim:
    def query(network: nn.Module) -> Query:
        x0, f = Data("x0", PIXELS), Net("f", PIXELS, LATENTS)
        x = Var("x", like=x0)
        spec = forall(x, ball(x0, eps), abs(f(x) - f(x0)) <= delta)
        return spec.query({"f": network.get_submodule("posterior")}, x0=some(1)[0])

    return Claim(
        name=f"posterior-{eps:g}",
        says=f"Pixel noise of {eps:g} moves no entry of the posterior mean by more than {delta:g} prior "
        "deviations, from whatever image.",
        query=query,
        control=lambda: LinearGaussian().set_to(*_last_axes(), 1e-5),
        control_is="the same model on the eight axes of least variance, which takes noise for signal",
        methods=("clause-pgd", "ibp", "crown"),
    )


def _agrees(delta: float) -> Claim:
    def query(network: nn.Module) -> Query:
        x = Var("x", PIXELS)
        f, g, em = Net("f", PIXELS, LATENTS), Net("g", LATENTS, PIXELS), Net("em", PIXELS, PIXELS)
        spec = forall(x, box(0, 1), abs(g(f(x)) - em(x)) <= delta)
        parts = {"f": network.get_submodule("posterior"), "g": network.get_submodule("mean_image")}
        return spec.query({**parts, "em": _em()})

    return Claim(
        name="agrees",
        says=f"For every image in [0, 1]^64, the reconstruction differs in no pixel by more than {delta:g} "
        "from that of the same model fitted by EM.",
        query=query,
        control=lambda: LinearGaussian().set_to(*_last_axes(), 1e-5),
        control_is="the same model on the eight axes of least variance",
        methods=("clause-pgd", "ibp", "crown"),
    )


def _parameters() -> tuple[Tensor, Tensor, Tensor, float]:
    """Mean, axes, variances and noise of the maximum of the likelihood, in closed form."""
    mean, axes, variances = _axes()
    noise = float(variances[LATENTS:].mean())
    return mean, axes[:, :LATENTS], variances[:LATENTS], noise


def _last_axes() -> tuple[Tensor, Tensor, Tensor]:
    mean, axes, variances = _axes()
    return mean, axes[:, -LATENTS:], variances[-LATENTS:].clamp_min(1e-3)


def _noisy(factor: float) -> LinearGaussian:
    """The noise variance times `factor`; the variances along the axes stay."""
    mean, axes, variances, noise = _parameters()
    return LinearGaussian().set_to(mean, axes, variances, factor * noise)


def _fit(factor: float) -> Fit:
    """The maximum of the likelihood in closed form, its noise variance multiplied by `factor`."""

    def fit(network: nn.Module, tools: Tools, generator: torch.Generator) -> None:
        assert isinstance(network, LinearGaussian)
        mean, axes, variances, noise = _parameters()
        network.set_to(mean, axes, variances, factor * noise)

    return fit


@model(
    ModelCard(
        name="ppca",
        family="classical",
        summary="A linear-Gaussian model of 8x8 digits: log-density, posterior mean, reconstruction.",
        paper="Probabilistic principal component analysis (Tipping and Bishop, 1999)",
        source="Journal of the Royal Statistical Society B 61(3)",
        input_shape=(PIXELS,),
        outputs=1,
        task="density",
        dataset="digits",
        parameters=2_194,
        weights=("nominal", "spec"),
        recipes=("ppca-nominal", "ppca-spec"),
        faithful="Maximum likelihood in closed form; EM of the same paper is the referee of one claim.",
        deviates="585 free numbers are stored as 2,194, one affine map for each use. `spec` has 1.5 times "
        "the "
        "noise variance, which flattens the density, shrinks the posterior mean, and is no longer the "
        "maximum. The density on a ball is bounded by relaxing squares, not solved as a trust region.",
        intended_use="Exact inference at 64 dimensions: affine posterior, quadratic log-density.",
        limits="Digits are not Gaussian: samples of the model look like blurred overlays.",
        licence="Apache-2.0",
    )
)
def ppca() -> nn.Module:
    """The untrained model."""
    return LinearGaussian()


add_row(
    Row(
        card=RowCard(
            id="11.03",
            section="Episode 11, exact inference: linear-Gaussian models, all induced distributions are "
            "Gaussian",
            shows="One of the few models where posterior and likelihood are exact. Closed form and EM must "
            "agree on every image, noise must move the posterior little, and the density must be smooth.",
            data=DATA,
            ethics=ETHICS,
            parts=(
                "log-density: image (64) -> nats (1)",
                "posterior mean: image (64) -> latent (8)",
                "reconstruction: image (64) -> latent (8) -> image (64)",
            ),
            benefit="Two ways of fitting are proved to agree on all inputs, not compared on some.",
            risk="A density may be taken for a measure of how normal a thing, or a person, is.",
            mitigation="The card says that digits are not Gaussian; the claims speak of smoothness only.",
            red_line="Never to call what a person wrote, said or did abnormal.",
            balance="It is a yardstick for inference, of no use for anything else.",
            affected="The writers gave their digits for research; nothing about one of them can be read off.",
            regret="That exactness of inference is taken for truth of the model.",
        ),
        model="ppca",
        gate=Gate("test log-density in nats", _log_density, 10.0, least=True),
        fits={"nominal": _fit(1.0), "spec": _fit(1.5)},
        claims=(_smooth(0.1, 12.0), _latent(0.02, 0.235), _agrees(1e-3)),
    )
)
