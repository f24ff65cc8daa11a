"""Row 12.01: an undefended classifier, whose answers change under perturbations nobody sees.

Szegedy et al., "Intriguing properties of neural networks", arXiv 1312.6199; Goodfellow, Shlens and Szegedy,
"Explaining and harnessing adversarial examples", arXiv 1412.6572.
"""

from __future__ import annotations

from torch import nn

from ..card import ModelCard
from ..registry import model
from ..row import Row, RowCard, add_row
from .digits import (
    ACCURACY,
    DATA,
    ETHICS,
    PARTS,
    MultiLayer,
    always,
    keeps_class,
    never_becomes,
    plain,
    specified,
)

__all__ = ["undefended"]


def _seven() -> nn.Module:
    return always(7)


CONTROL = "a network with its first weights, which has learned nothing"


@model(
    ModelCard(
        name="undefended",
        family="classifiers",
        summary="Image classifier trained for accuracy alone: the panda that becomes a gibbon, in 8x8 "
        "pixels.",
        paper="Intriguing properties of neural networks (Szegedy et al., 2014)",
        source="arXiv 1312.6199, arXiv 1412.6572",
        input_shape=(1, 8, 8),
        outputs=10,
        task="classification",
        dataset="digits",
        parameters=5_962,
        weights=("nominal", "spec"),
        recipes=("undefended-nominal", "undefended-spec"),
        faithful="A fully connected ReLU classifier trained by cross-entropy on clean images, as the first "
        "papers had.",
        deviates="Digits of 64 pixels for ImageNet, about 6,000 weights; `spec` is a twin trained by "
        "interval bounds.",
        intended_use="The first bracket: how far attack, bound and truth lie apart on a network nobody "
        "defended.",
        limits="Says nothing of large networks or photographs.",
        licence="Apache-2.0",
    )
)
def undefended() -> nn.Module:
    """The untrained network."""
    return MultiLayer()


add_row(
    Row(
        card=RowCard(
            id="12.01",
            section="Episode 12, robustness: pandas that are translated to gibbons",
            shows="High accuracy on test images says nothing about the images next to them: a change far "
            "below what a "
            "person notices moves a confident answer to another class. Its violation is to be found by "
            "attacks and "
            "measured by complete verification.",
            data=DATA,
            ethics=ETHICS,
            parts=PARTS,
            benefit="Makes the gap between accuracy and robustness visible and exactly measurable on any "
            "laptop.",
            risk="A reader may take a certificate at a small radius for a statement about every distortion.",
            mitigation="Every claim names its set; both weight sets are shown side by side with what "
            "violates them.",
            red_line="Never used to read handwriting where a wrong digit costs somebody something.",
            balance="It can do nothing that a pocket calculator's keypad could not; as a measuring object "
            "it serves well.",
            affected="The writers gave their digits for research on recognition, which this is.",
            regret="That somebody quotes its robustness as typical of deployed systems: the limits above "
            "forbid it.",
        ),
        model="undefended",
        gate=ACCURACY,
        fits={"nominal": plain(2500), "spec": specified(0.1, 0.3, 2500)},
        claims=(
            keeps_class(0.03, MultiLayer, CONTROL),
            keeps_class(0.06, MultiLayer, CONTROL),
            keeps_class(0.1, MultiLayer, CONTROL),
            never_becomes(1, 7, 0.06, _seven, "a network that says 7 to everything"),
        ),
    )
)
