"""Row 12.05: a classifier that must doubt what is no digit.

Hein, Andriushchenko and Bitterwolf, "Why ReLU networks yield high-confidence predictions far away from the
training data", arXiv 1812.05720; Bitterwolf, Meinke and Hein (GOOD), arXiv 2007.08473.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustbench_local.data import load_dataset
from robustbench_local.specs import SPECS, Query

from ..card import ModelCard
from ..fitting import minibatch, minimise
from ..loading import load_model
from ..registry import model
from ..row import Claim, Fit, Row, RowCard, Tools, add_row
from .digits import ACCURACY, DATA, ETHICS, PARTS, MultiLayer, keeps_class

__all__ = ["out_of_distribution"]


def _noise(rows: int, generator: torch.Generator) -> Tensor:
    """Uniform noise (rows, 1, 8, 8)."""
    return torch.rand(rows, 1, 8, 8, generator=generator)


def _inverted(rows: int, generator: torch.Generator) -> Tensor:
    """Digits in negative, shuffled pixel by pixel: the brightness of negatives without their shapes."""
    data = load_dataset("digits", split="train")
    chosen = data.inputs[minibatch(len(data), rows, generator)].flatten(1)
    order = torch.rand(rows, 64, generator=generator).argsort(1)
    return (1 - chosen).gather(1, order).view(rows, 1, 8, 8)


def _doubts(
    name: str, what: str, draw: Callable[[int, torch.Generator], Tensor], eps: float, tau: float
) -> Claim:
    def query(network: nn.Module) -> Query:
        points = draw(20, torch.Generator().manual_seed(9))
        return SPECS["doubt"]((1, 8, 8), 10).query(network, x0=points, eps=eps, tau=tau)

    return Claim(
        name=name,
        says=f"Within {eps:g} of each of 20 images of {what}, no class is given a probability above {tau:g}.",
        query=query,
        control=_plain,
        control_is="the undefended network of row 12.01, sure of itself on noise",
        methods=("pgd", "ibp", "crown", "bab"),
    )


def _plain() -> nn.Module:
    return load_model("undefended", "nominal")


def _doubting(eps: float, steps: int) -> Fit:
    """Cross-entropy on digits, its counterpart towards the uniform distribution on noise, and on balls around
    noise the interval bound of the largest probability.

    `eps` 0: without the bound.
    """

    def fit(network: nn.Module, tools: Tools, generator: torch.Generator) -> None:
        tools.initialise(network, generator)
        data, spec = load_dataset("digits", split="train"), SPECS["doubt"]((1, 8, 8), 10)
        bound = tools.bounder(spec.query(network, x0=_noise(2, generator), eps=0.1, tau=0.0))

        def loss(step: int) -> Tensor:
            rows = minibatch(len(data), 64, generator)
            strange = torch.cat((_noise(32, generator), _inverted(32, generator)))
            clean = F.cross_entropy(network(data.inputs[rows]), data.labels[rows])
            uniform = -F.log_softmax(network(strange), 1).mean()
            if eps == 0:
                return clean + 0.3 * uniform
            radius = eps * min(1.0, (2 * step + 1) / steps)
            worst = bound(spec.query(network, x0=strange, eps=radius, tau=0.0))
            return clean + 0.3 * uniform + worst.mean()

        minimise(network, loss, steps=steps)

    return fit


@model(
    ModelCard(
        name="out-of-distribution",
        family="classifiers",
        summary="Digits classifier trained to spread its probabilities evenly over everything that is no "
        "digit.",
        paper="Certifiably adversarially robust detection of out-of-distribution data (Bitterwolf et al., "
        "2020)",
        source="arXiv 2007.08473, arXiv 1812.05720",
        input_shape=(1, 8, 8),
        outputs=10,
        task="classification",
        dataset="digits",
        parameters=5_962,
        weights=("nominal", "spec"),
        recipes=("out-of-distribution-nominal", "out-of-distribution-spec"),
        faithful="Training adds to cross-entropy an interval bound of the confidence on balls around "
        "strange images.",
        deviates="Strange images are noise and shuffled negatives instead of a large collection of "
        "photographs; no quantile "
        "of the hardest is left out of the bound.",
        intended_use="Guaranteed doubt: an upper bound of the confidence on whole balls around strange "
        "inputs.",
        limits="Doubt is proved near the strange images of the claims; along rays to infinity a ReLU "
        "network is sure again.",
        licence="Apache-2.0",
    )
)
def out_of_distribution() -> nn.Module:
    """The untrained network."""
    return MultiLayer()


add_row(
    Row(
        card=RowCard(
            id="12.05",
            section="Episode 12, robustness: uncertain if it has images out of distribution",
            shows="A classifier trained on digits alone is almost certain about noise; doubt can be "
            "trained for and, unlike "
            "a temperature, proved on whole neighbourhoods.",
            data=DATA + " Noise and shuffled negatives are drawn from a seeded generator.",
            ethics=ETHICS,
            parts=PARTS,
            benefit="A system that says it does not know can hand over to somebody who does.",
            risk="Doubt proved for noise may be taken for doubt about everything unknown.",
            mitigation="The claims name the kinds of strange images and the radius; robustness on digits "
            "stands beside them.",
            red_line="Never the only guard against inputs of another kind than those named.",
            balance="It can only become less sure of itself.",
            affected="The writers of the digits agreed to recognition research.",
            regret="That unusual handwriting meets more doubt than usual handwriting: rare writers would "
            "be sent away more.",
        ),
        model="out-of-distribution",
        gate=ACCURACY,
        fits={"nominal": _doubting(0.0, 2000), "spec": _doubting(0.1, 2500)},
        claims=(
            _doubts("noise", "uniform noise", _noise, 0.1, 0.5),
            _doubts("negatives", "shuffled negatives", _inverted, 0.1, 0.5),
            keeps_class(0.03, MultiLayer, "a network with its first weights, which has learned nothing"),
        ),
    )
)
