"""Row 11.17: a detector of outliers by density, which must keep what is usual and flag what is not.

C. Bishop, "Novelty detection and neural network validation", IEE Proceedings 141, 1994; E. Nalisnick et al.,
"Do deep generative models know what they don't know?", arXiv 1810.09136.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

from robustbench_local.specs import Data, Net, Param, Query, Var, ball, box, forall

from ..card import ModelCard
from ..registry import model
from ..row import Claim, Fit, Gate, Row, RowCard, Tools, add_row
from .flat import DATA, ETHICS, PIXELS, flat, principal_axes, some
from .ppca import LATENTS, LinearGaussian

__all__ = ["Detector", "auroc", "outliers", "strangers"]

IMAGES = 20
ALARMS = 0.05  # share of training images that are flagged


class Detector(nn.Module):
    """Images (B, 64) -> nats by which -log p(x) exceeds the threshold, (B, 1); positive is flagged."""

    def __init__(self) -> None:
        super().__init__()
        self.density = LinearGaussian()
        self.threshold = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """The score (B, 1)."""
        log_density: Tensor = self.density(x)
        return -log_density - self.threshold

    def fit_to(self, images: Tensor, widen: float = 1.0) -> Detector:
        """Takes the linear-Gaussian model of images (N, 64), with its noise variance times `widen`, and the
        threshold that flags a share ALARMS of them."""
        mean, axes, variances = principal_axes(images)
        noise = widen * float(variances[LATENTS:].mean())
        self.density.set_to(mean, axes[:, :LATENTS], variances[:LATENTS].clamp_min(noise), noise)
        with torch.no_grad():
            self.threshold.copy_(torch.quantile(-self.density(images), 1 - ALARMS))
        return self


@functools.cache
def strangers(number: int) -> Tensor:
    """Three kinds of images that are no digits, `number` each, (3 number, 64): uniform noise, digits in
    negative, and digits whose pixels are shuffled, each by a permutation of its own."""
    generator = torch.Generator().manual_seed(11)
    digits, _ = some(number)
    shuffled = [image[torch.randperm(PIXELS, generator=generator)] for image in digits]
    return torch.cat((torch.rand(number, PIXELS, generator=generator), 1 - digits, torch.stack(shuffled)))


def auroc(usual: Tensor, strange: Tensor) -> float:
    """Share of pairs in which the strange one has the higher score; scores (N,) and (M,), ties count half."""
    difference = strange.unsqueeze(1) - usual
    return float(((difference > 0).double() + 0.5 * (difference == 0).double()).mean())


def _ranking(network: nn.Module) -> float:
    with torch.inference_mode():
        return auroc(network(flat()[0])[:, 0], network(strangers(200))[:, 0])


def _keeps(eps: float) -> Claim:
    def query(network: nn.Module) -> Query:
        x0, f = Data("x0", PIXELS), Net("f", PIXELS, 1)
        x = Var("x", like=x0)
        spec = forall(x, ball(x0, Param("eps")) & box(0, 1), f(x)[0] <= 0)
        return spec.query(network, x0=some(IMAGES)[0], eps=eps)

    return Claim(
        name=f"keeps-{eps:g}",
        says=f"Within {eps:g} of every pixel of {IMAGES} test digits, nothing is flagged.",
        query=query,
        control=_of_zeros,
        control_is="a detector that was fitted to zeros only and finds the other digits strange",
        methods=("pgd", "ibp", "crown", "bab"),
        seconds=15.0,
    )


def _flags(eps: float) -> Claim:
    def query(network: nn.Module) -> Query:
        x0, f = Data("x0", PIXELS), Net("f", PIXELS, 1)
        x = Var("x", like=x0)
        spec = forall(x, ball(x0, Param("eps")) & box(0, 1), f(x)[0] > 0)
        return spec.query(network, x0=strangers(IMAGES // 2), eps=eps)

    return Claim(
        name=f"flags-{eps:g}",
        says=f"Within {eps:g} of every pixel of {3 * (IMAGES // 2)} images that are no digits (noise, "
        f"negatives, "
        "shuffled pixels), everything is flagged.",
        query=query,
        control=_of_noise,
        control_is="a detector that was fitted to images of uniform noise and is used to all of them",
        methods=("pgd", "ibp", "crown", "bab"),
        seconds=15.0,
    )


def _of_zeros() -> Detector:
    images, labels = flat("train")
    return Detector().fit_to(images[labels == 0])


def _of_noise() -> Detector:
    return Detector().fit_to(torch.rand(2000, PIXELS, generator=torch.Generator().manual_seed(3)))


def _fit(widen: float) -> Fit:
    """Closed form, see `Detector.fit_to`."""

    def fit(network: nn.Module, tools: Tools, generator: torch.Generator) -> None:
        assert isinstance(network, Detector)
        network.fit_to(flat("train")[0], widen)

    return fit


@model(
    ModelCard(
        name="outliers",
        family="classical",
        summary="A detector of images that are no digits: density of a linear-Gaussian model, and a "
        "threshold.",
        paper="Novelty detection and neural network validation (Bishop, 1994)",
        source="IEE Proceedings Vision, Image and Signal Processing 141(4); arXiv 1810.09136",
        input_shape=(PIXELS,),
        outputs=1,
        task="outlier detection",
        dataset="digits",
        parameters=2_195,
        weights=("nominal", "spec"),
        recipes=("outliers-nominal", "outliers-spec"),
        faithful="What has a low density under a model of the usual is flagged; the threshold flags one "
        "training image in twenty.",
        deviates="The density is that of a linear-Gaussian model, not of a deep one; no fraud data are at "
        "hand, "
        "so strangers are noise, negatives and shuffled digits. `spec` has three times the noise variance: a "
        "flatter density, with its own threshold.",
        intended_use="False alarms and misses as claims over neighbourhoods, of two kinds that pull apart.",
        limits="Strangers near the plane of eight axes, a blurred letter for one, pass as digits.",
        licence="Apache-2.0",
    )
)
def outliers() -> nn.Module:
    """The untrained model."""
    return Detector()


add_row(
    Row(
        card=RowCard(
            id="11.17",
            section="Episode 11, what generative models are for: density estimation and outlier detection",
            shows="A threshold on the density makes two promises: what is usual passes and what is strange "
            "is "
            "flagged. Noise that nobody sees must turn neither into the other.",
            data=DATA + " Strangers are made here from a fixed seed.",
            ethics=ETHICS,
            parts=("score: image (64) -> nats above the threshold (1)",),
            benefit="Measures how far an outlier has to move to hide, and how close a digit is to an alarm.",
            risk="Detectors of the unusual flag people who are unusual.",
            mitigation="Strangers are images of nothing; the claims count false alarms as well as misses.",
            red_line="Never used to flag people, payments or texts without somebody who looks and can be "
            "asked.",
            balance="On digits it harms nobody, and it shows how easily such alarms are moved.",
            affected="Whoever writes digits in another style is flagged more often and would object.",
            regret="That one alarm in twenty is taken for the rate of an attacker's tries.",
        ),
        model="outliers",
        gate=Gate("area under the ROC curve", _ranking, 0.9, least=True),
        fits={"nominal": _fit(1.0), "spec": _fit(3.0)},
        claims=(_keeps(0.03), _flags(0.1), _flags(0.2)),
    )
)
