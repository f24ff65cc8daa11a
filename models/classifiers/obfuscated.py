"""Row 12.08: a network that learned to cheat the attack it was trained against, and its honest twin.

Athalye, Carlini and Wagner, "Obfuscated gradients give a false sense of security", arXiv 1802.00420; Wong,
Rice and Kolter, "Fast is better than free", arXiv 2001.03994 (catastrophic overfitting of one-step training).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustbench_local.data import load_dataset

from ..card import ModelCard
from ..fitting import minibatch, minimise
from ..registry import model
from ..row import Claim, Gate, Row, RowCard, Tools, add_row
from .digits import DATA, ETHICS, PARTS, keeps_class, small_boxes

__all__ = ["Obfuscated", "obfuscated"]

UNTRAINED = "a network with its first weights, which has learned nothing"
RADIUS = 0.15


class Obfuscated(nn.Module):
    """conv 8, conv 16 of stride 2, 32 hidden units; (B, 1, 8, 8) in [0, 1] -> logits (B, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(256, 32),
            nn.ReLU(),
            nn.Linear(32, 10),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 10) of images x (B, 1, 8, 8)."""
        logits: Tensor = self.layers(x)
        return logits


def _one_step(network: nn.Module, tools: Tools, generator: torch.Generator) -> None:
    """Cross-entropy at the end of a single full step along the gradient's sign, from the image itself."""
    tools.initialise(network, generator)
    data = load_dataset("digits", split="train")

    def loss(step: int) -> Tensor:
        rows = minibatch(len(data), 64, generator)
        images, labels = data.inputs[rows].clone().requires_grad_(), data.labels[rows]
        clean = F.cross_entropy(network(images), labels)
        (slope,) = torch.autograd.grad(clean, images)
        moved = (images + RADIUS * slope.sign()).clamp(0, 1).detach()
        return F.cross_entropy(network(moved), labels)

    minimise(network, loss, steps=3000, learning_rate=5e-3)


def _accuracy(network: nn.Module) -> float:
    test = load_dataset("digits")
    with torch.inference_mode():
        return float((network(test.inputs).argmax(1) == test.labels).float().mean())


def _claim(eps: float) -> Claim:
    """ROB with a weak attack beside strong ones: their distance in the table is what the row is about."""
    strong = keeps_class(eps, Obfuscated, UNTRAINED, images=20)
    return Claim(
        name=strong.name,
        says=strong.says,
        query=strong.query,
        control=strong.control,
        control_is=strong.control_is,
        methods=("fgsm", "clause-pgd", "square", "ibp", "crown", "bab"),
        seconds=15.0,
    )


@model(
    ModelCard(
        name="obfuscated",
        family="classifiers",
        summary="One-step adversarial training without a random start, which may teach a network to hide "
        "its gradient.",
        paper="Obfuscated gradients give a false sense of security (Athalye et al., 2018)",
        source="arXiv 1802.00420, arXiv 2001.03994",
        input_shape=(1, 8, 8),
        outputs=10,
        task="classification",
        dataset="digits",
        parameters=9_802,
        weights=("nominal", "spec"),
        recipes=("obfuscated-nominal", "obfuscated-spec"),
        faithful="Training sees only the end of one full gradient-sign step, the setting in which networks "
        "learn to mask.",
        deviates="8x8 digits; the honest twin is trained with small interval boxes around adversarial "
        "points instead of the "
        "local linearity regulariser; no quantiser twin.",
        intended_use="Weak and strong attacks side by side with complete verdicts.",
        limits="How much it masks depends on the run; the table says what this run does.",
        licence="Apache-2.0",
    )
)
def obfuscated() -> nn.Module:
    """The untrained network."""
    return Obfuscated()


add_row(
    Row(
        card=RowCard(
            id="12.08",
            section="Episode 12, robustness: if you take too few steps, the network learns to cheat",
            shows="Robustness against the attack of training is no robustness: black-box search and "
            "complete verification "
            "tell a network that hides its gradient from one that is robust.",
            data=DATA,
            ethics=ETHICS,
            parts=PARTS,
            benefit="An example on which diagnostics of attacks can be tried.",
            risk="Its numbers under a weak attack could be quoted as robustness.",
            mitigation="The weak attack never stands alone in the table; the verdicts are those of a "
            "complete search.",
            red_line="Never shipped anywhere as a robust model.",
            balance="A deliberately poor defence of digits harms nobody and teaches much.",
            affected="The writers of the digits agreed to recognition research.",
            regret="That it is used to advertise a defence: the card says what it is.",
        ),
        model="obfuscated",
        gate=Gate("test accuracy", _accuracy, 0.85, least=True),
        fits={"nominal": _one_step, "spec": small_boxes(0.06, 0.3, 4, 1200)},
        claims=(_claim(0.03), _claim(0.06)),
    )
)
