"""Row 10.06: convolution, pooling, dropout: the network that made unsupervised pre-training unnecessary.

Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional networks", NIPS 2012.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustbench_local.data import load_dataset
from robustbench_local.specs import SPECS, Query, robustness

from ..card import ModelCard
from ..fitting import minibatch, minimise
from ..registry import model
from ..row import Claim, Fit, Gate, Row, RowCard, Tools, add_row
from .digits import DATA, ETHICS, PARTS, keeps_class

__all__ = ["SmallAlexNet", "alexnet"]

UNTRAINED = "a network with its first weights, which has learned nothing"


class SmallAlexNet(nn.Module):
    """conv 16, pool, conv 32, pool, 64 hidden units with dropout; (B, 1, 8, 8) -> logits (B, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),  # (B, 16, 8, 8)
            nn.ReLU(),
            nn.MaxPool2d(2),  # (B, 16, 4, 4)
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (B, 32, 2, 2)
        )
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(128, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 10)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 10) of images x (B, 1, 8, 8)."""
        logits: Tensor = self.head(self.features(x))
        return logits


def _accuracy(network: nn.Module) -> float:
    test = load_dataset("digits")
    with torch.inference_mode():
        return float((network(test.inputs).argmax(1) == test.labels).float().mean())


def _shifted(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image moved by -1, 0 or 1 pixels along both axes, zeros shifted in."""
    padded = F.pad(images, (1, 1, 1, 1))
    down, right = (torch.randint(3, (len(images),), generator=generator) for _ in range(2))
    rows = down[:, None] + torch.arange(8)
    columns = right[:, None] + torch.arange(8)
    every = torch.arange(len(images))[:, None, None]
    return padded[every, 0, rows[:, :, None], columns[:, None, :]].unsqueeze(1)


def _occlusion(images: int) -> Claim:
    def query(network: nn.Module) -> Query:
        data = load_dataset("digits")
        chosen = data.select(torch.linspace(0, len(data) - 1, images).long())
        spec = SPECS["patch_robustness"]((1, 8, 8), 10, size=(1, 1))
        return spec.query(network, x0=chosen.inputs, c=chosen.labels)

    return Claim(
        name="pixel",
        says=f"For {images} test images: one pixel may take any value, the class stays first.",
        query=query,
        control=SmallAlexNet,
        control_is=UNTRAINED,
        methods=("pgd", "ibp", "crown", "bab"),
        seconds=15.0,
    )


def _fit(eps: float, steps: int) -> Fit:
    """Cross-entropy on shifted images; with `eps` > 0 also the interval bound of the claims' violation."""

    def fit(network: nn.Module, tools: Tools, generator: torch.Generator) -> None:
        tools.initialise(network, generator)
        data, spec = load_dataset("digits", split="train"), robustness((1, 8, 8), 10)
        first = spec.query(network, x0=data.inputs[:1], c=data.labels[:1], eps=eps)
        bound = tools.bounder(first) if eps else None

        def loss(step: int) -> Tensor:
            rows = minibatch(len(data), 64, generator)
            images, labels = _shifted(data.inputs[rows], generator), data.labels[rows]
            clean = F.cross_entropy(network(images), labels)
            if bound is None:
                return clean
            radius = eps * min(1.0, (2 * step + 1) / steps)
            worst = bound(spec.query(network, x0=images, c=labels, eps=radius))
            return 0.7 * clean + 0.3 * F.softplus(worst).mean()

        with torch.random.fork_rng(devices=[]):  # dropout draws from the global generator
            torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
            minimise(network, loss, steps=steps)

    return fit


@model(
    ModelCard(
        name="alexnet",
        family="classifiers",
        summary="Convolution, max pooling and dropout at the size of 8x8 digits.",
        paper="ImageNet classification with deep convolutional neural networks (Krizhevsky et al., 2012)",
        source="NIPS 2012",
        input_shape=(1, 8, 8),
        outputs=10,
        task="classification",
        dataset="digits",
        parameters=13_706,
        weights=("nominal", "spec"),
        recipes=("alexnet-nominal", "alexnet-spec"),
        faithful="ReLU, overlapping use of convolution and max pooling, dropout before the last layer, "
        "training on shifted "
        "copies, no pre-training.",
        deviates="Two convolutions instead of five, no local response normalisation, no two-GPU split, 64 "
        "pixels.",
        intended_use="Bounds through max pooling; occlusion and shift as specifications.",
        limits="Digits of one resolution; claims are about 20 to 30 test images.",
        licence="Apache-2.0",
    )
)
def alexnet() -> nn.Module:
    """The untrained network."""
    return SmallAlexNet()


add_row(
    Row(
        card=RowCard(
            id="10.06",
            section="Episode 10, unsupervised representation learning: AlexNet makes pre-training "
            "unnecessary",
            shows="With enough labels, ReLU, dropout and augmented copies, a convolutional network trained "
            "from scratch needs "
            "no unsupervised start; what its features are worth shows under occlusion and small "
            "perturbations.",
            data=DATA + " Training images are shifted by up to one pixel.",
            ethics=ETHICS,
            parts=PARTS,
            benefit="The ancestor of most image classifiers, small enough for complete verdicts.",
            risk="Its name may suggest results on photographs, which it has none of.",
            mitigation="The card says what was shrunk; numbers are of digits only.",
            red_line="Never used as evidence about the original network.",
            balance="It reads digits; as a test of pooling rules it has its place.",
            affected="The writers of the digits agreed to recognition research.",
            regret="That max pooling in bounds is taken for solved: larger windows are looser.",
        ),
        model="alexnet",
        gate=Gate("test accuracy", _accuracy, 0.93, least=True),
        fits={"nominal": _fit(0.0, 1500), "spec": _fit(0.02, 2000)},
        claims=(keeps_class(0.02, SmallAlexNet, UNTRAINED, images=20), _occlusion(10)),
    )
)
