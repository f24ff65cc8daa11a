"""Row 12.07: a network trained on the worst images that an attack finds.

Madry et al., "Towards deep learning models resistant to adversarial attacks", arXiv 1706.06083; small boxes
around adversarial points: Mueller et al., arXiv 2210.04871.
"""

from __future__ import annotations

from torch import nn

from ..card import ModelCard
from ..loading import load_model
from ..registry import model
from ..row import Gate, Row, RowCard, add_row
from .digits import (
    DATA,
    ETHICS,
    PARTS,
    MultiLayer,
    accuracy_when_moved,
    adversarial,
    always,
    keeps_class,
    never_becomes,
    small_boxes,
)

__all__ = ["adversarially_trained"]

CONTROL = "the undefended network of row 12.01"


def _plain() -> nn.Module:
    return load_model("undefended", "nominal")


def _eight() -> nn.Module:
    return always(8)


@model(
    ModelCard(
        name="adversarially-trained",
        family="classifiers",
        summary="Image classifier trained on the worst images that projected gradient ascent finds.",
        paper="Towards deep learning models resistant to adversarial attacks (Madry et al., 2018)",
        source="arXiv 1706.06083",
        input_shape=(1, 8, 8),
        outputs=10,
        task="classification",
        dataset="digits",
        parameters=5_962,
        weights=("nominal", "spec"),
        recipes=("adversarially-trained-nominal", "adversarially-trained-spec"),
        faithful="The inner maximisation is seven steps of projected gradient ascent in the linf ball, the "
        "outer step is cross-entropy.",
        deviates="Digits for MNIST; a fully connected network; `spec` adds interval bounds on small boxes "
        "around the points found.",
        intended_use="What adversarial training buys and what it does not: robust against attacks, hard to "
        "prove.",
        limits="Bounds on it are looser than on specification-trained networks: unproved does not mean "
        "unsafe.",
        licence="Apache-2.0",
    )
)
def adversarially_trained() -> nn.Module:
    """The untrained network."""
    return MultiLayer()


add_row(
    Row(
        card=RowCard(
            id="12.07",
            section="Episode 12, robustness: adversarial training, similar to standard image classification",
            shows="Training on worst points found by an attack makes a network robust in fact, while "
            "bounds still fail on it: the gap between both ends of the bracket is the price of not "
            "training for proof.",
            benefit="Separates robust from provably robust on one page of numbers.",
            risk="Empirical robustness may be quoted as if it were proved.",
            mitigation="Every number of an attack stands beside a bound and a complete verdict.",
            red_line="Never presented as certified where only attacks failed.",
            balance="Harmless as a digit reader; useful as the standard baseline of the field.",
            affected="The writers of the digits agreed to recognition research.",
            regret="That a stronger attack shows the empirical numbers were too high: complete verdicts "
            "are the safeguard.",
            data=DATA,
            ethics=ETHICS,
            parts=PARTS,
        ),
        model="adversarially-trained",
        gate=Gate("accuracy after one sign step of 0.06", accuracy_when_moved(0.06), 0.75, least=True),
        fits={"nominal": adversarial(0.06, 7, 2000), "spec": small_boxes(0.06, 0.3, 4, 2000)},
        claims=(
            keeps_class(0.03, _plain, CONTROL),
            keeps_class(0.06, _plain, CONTROL),
            never_becomes(3, 8, 0.06, _eight, "a network that says 8 to everything"),
        ),
    )
)
