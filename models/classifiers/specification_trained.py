"""Row 12.06: a network trained so that interval bounds prove its specification.

Gowal et al., "On the effectiveness of interval bound propagation for training verifiably robust models",
arXiv 1810.12715.
"""

from __future__ import annotations

from torch import nn

from ..card import ModelCard
from ..loading import load_model
from ..registry import model
from ..row import Gate, Row, RowCard, add_row
from .digits import DATA, ETHICS, PARTS, MultiLayer, interval_accuracy, keeps_class, specified

__all__ = ["specification_trained"]

CONTROL = "the undefended network of row 12.01"


def _plain() -> nn.Module:
    return load_model("undefended", "nominal")


@model(
    ModelCard(
        name="specification-trained",
        family="classifiers",
        summary="Image classifier whose training loss contains the bound that proves its specification.",
        paper="On the effectiveness of interval bound propagation for training verifiably robust models "
        "(Gowal et al., 2018)",
        source="arXiv 1810.12715",
        input_shape=(1, 8, 8),
        outputs=10,
        task="classification",
        dataset="digits",
        parameters=5_962,
        weights=("nominal", "spec"),
        recipes=("specification-trained-nominal", "specification-trained-spec"),
        faithful="The loss mixes clean cross-entropy with a loss of the worst logits that interval bounds "
        "allow; the radius ramps up.",
        deviates="Softplus of the bound on the margin for cross-entropy of the worst logits; digits for "
        "MNIST and CIFAR-10; two radii instead of a sweep.",
        intended_use="What training for a specification buys: bounds that close, at the price of some "
        "clean accuracy.",
        limits="Proofs hold for the radii of its claims; more training for bounds costs accuracy on clean "
        "images.",
        licence="Apache-2.0",
    )
)
def specification_trained() -> nn.Module:
    """The untrained network."""
    return MultiLayer()


add_row(
    Row(
        card=RowCard(
            id="12.06",
            section="Episode 12, robustness: how to enforce specifications",
            shows="A network can be trained to be provable: when the bound itself is part of the loss, the "
            "cheapest verifier already closes most brackets that no method closes on an undefended network "
            "of the same size.",
            benefit="Shows that certified robustness is a property one can train for, and what it costs.",
            risk="The certified share may be read as safety against every change, not only of pixels by a "
            "fixed amount.",
            mitigation="The clean accuracy, the empirical and the certified share stand side by side for "
            "both weight sets.",
            red_line="Never used where digits decide about people, whatever the certified share.",
            balance="A measuring object whose only power is to name digits; the lesson outweighs it.",
            affected="The writers of the digits agreed to recognition research.",
            regret="That interval bounds become the target instead of the specification: networks may grow "
            "stiff for no use.",
            data=DATA,
            ethics=ETHICS,
            parts=PARTS,
        ),
        model="specification-trained",
        gate=Gate("accuracy proved by intervals at 0.06", interval_accuracy(0.06), 0.7, least=True),
        fits={"nominal": specified(0.06, 0.5, 2500), "spec": specified(0.11, 0.2, 3000)},
        claims=(
            keeps_class(0.03, _plain, CONTROL),
            keeps_class(0.06, _plain, CONTROL),
            keeps_class(0.1, _plain, CONTROL),
        ),
    )
)
