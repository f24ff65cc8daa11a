"""Row 8.01: a network's Jacobian as implicit attention: where the answer is sensitive and must not be.

Simonyan, Vedaldi and Zisserman, "Deep inside convolutional networks", arXiv 1312.6034.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustbench_local.data import load_dataset
from robustbench_local.specs import Data, Label, Net, Query, Spec, Var, argmax, box, forall, library

from ..card import ModelCard
from ..fitting import minibatch, minimise
from ..registry import model
from ..row import Claim, Fit, Gate, Row, RowCard, Tools, add_row
from .digits import DATA, ETHICS, PARTS, keeps_class

__all__ = ["ImplicitAttention", "implicit_attention"]

UNTRAINED = "a network with its first weights, which has learned nothing"
BORDER = torch.ones(8, 8, dtype=torch.bool)
BORDER[1:7, 1:7] = False
CORNERS = torch.zeros(8, 8, dtype=torch.bool)
CORNERS[[0, 0, 0, 1, 1, 6, 6, 7, 7, 7], [0, 1, 7, 0, 7, 0, 7, 0, 6, 7]] = True


class ImplicitAttention(nn.Module):
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


class CornerReader(nn.Module):
    """A control: every logit is five times the first corner's pixel."""

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 10) of images x (B, 1, 8, 8)."""
        return 5 * x[:, 0, 0, :1].expand(-1, 10)


def _accuracy(network: nn.Module) -> float:
    test = load_dataset("digits")
    with torch.inference_mode():
        return float((network(test.inputs).argmax(1) == test.labels).float().mean())


def _spec() -> Spec:
    x, f = Var("x", (1, 8, 8)), Net("f", (1, 8, 8), 10)
    within = box(Data("low", (1, 8, 8)), Data("high", (1, 8, 8)))
    return forall(x, within, argmax(f(x)) == Label("c", 10))


def _posed(network: nn.Module, images: Tensor, labels: Tensor, mask: Tensor, part: float = 1.0) -> Query:
    """Sets in which the pixels of `mask` may take the share `part` of their way to both ends of [0, 1]."""
    low = torch.where(mask, (1 - part) * images, images)
    high = torch.where(mask, images + part * (1 - images), images)
    return _spec().query(network, low=low, high=high, c=labels)


def _ignores(name: str, what: str, mask: Tensor, images: int = 20) -> Claim:
    def query(network: nn.Module) -> Query:
        data = load_dataset("digits")
        chosen = data.select(torch.linspace(0, len(data) - 1, images).long())
        return _posed(network, chosen.inputs, chosen.labels, mask)

    return Claim(
        name=name,
        says=f"For {images} test images: {what} may take any values, the digit's class comes first.",
        query=query,
        control=ImplicitAttention,
        control_is=UNTRAINED,
        methods=("clause-pgd", "ibp", "crown", "bab"),
        seconds=15.0,
    )


def _looks_away(eps: float, limit: float, images: int = 20) -> Claim:
    def query(network: nn.Module) -> Query:
        data = load_dataset("digits")
        chosen = data.select(torch.linspace(0, len(data) - 1, images).long())
        corners = CORNERS.flatten().nonzero().flatten().tolist()
        spec = library.sensitivity((1, 8, 8), 10, watched=corners)
        return spec.query(network, x0=chosen.inputs, c=chosen.labels, eps=eps, limit=limit)

    return Claim(
        name=f"slopes-{eps:g}",
        says=f"Within {eps:g} of every pixel of {images} test images, no derivative of the right logit by "
        f"any of the ten pixels in the corners exceeds {limit:g}.",
        query=query,
        control=CornerReader,
        control_is="five times the first corner's pixel as every logit",
        methods=("pgd", "ibp", "crown"),
        seconds=15.0,
    )


def _fit(price: float, part: float, steps: int) -> Fit:
    """Cross-entropy; with `price` > 0 also the interval bound with the corners partly free, and the l1
    norm of the Jacobian of the right logit on the border, the attention that should not be there."""

    def fit(network: nn.Module, tools: Tools, generator: torch.Generator) -> None:
        tools.initialise(network, generator)
        data = load_dataset("digits", split="train")
        bound = tools.bounder(_posed(network, data.inputs[:1], data.labels[:1], CORNERS)) if price else None

        def loss(step: int) -> Tensor:
            rows = minibatch(len(data), 64, generator)
            images, labels = data.inputs[rows].clone().requires_grad_(), data.labels[rows]
            logits = network(images)
            clean = F.cross_entropy(logits, labels)
            if bound is None:
                return clean
            right = logits.gather(1, labels[:, None]).sum()
            (slope,) = torch.autograd.grad(right, images, create_graph=True)
            attention = (slope.abs() * BORDER).sum((1, 2, 3)).mean()
            share = part * min(1.0, (2 * step + 1) / steps)
            worst = bound(_posed(network, images.detach(), labels, CORNERS, share))
            return clean + price * (F.softplus(worst).mean() + 0.02 * attention)

        minimise(network, loss, steps=steps)

    return fit


@model(
    ModelCard(
        name="implicit-attention",
        family="classifiers",
        summary="A convolutional classifier and its Jacobian, the attention that every network has without "
        "a mechanism.",
        paper="Deep inside convolutional networks: visualising image classification models (Simonyan et "
        "al., 2013)",
        source="arXiv 1312.6034 (likely: the lecture names no paper)",
        input_shape=(1, 8, 8),
        outputs=10,
        task="classification",
        dataset="digits",
        parameters=9_802,
        weights=("nominal", "spec"),
        recipes=("implicit-attention-nominal", "implicit-attention-spec"),
        faithful="Sensitivity of the class score to each pixel is read off the gradient of a trained "
        "network.",
        deviates="Where attention must not be is stated twice: as pixels that are free over their whole "
        "range, and as derivatives that stay small around an image, instead of a picture of the gradient at "
        "one; networks of 10,000 weights on 64 pixels.",
        intended_use="Which pixels a network may be said to ignore, proved.",
        limits="Corners and border are chosen by eye; of the Jacobian only the corners' entries are bounded.",
        licence="Apache-2.0",
    )
)
def implicit_attention() -> nn.Module:
    """The untrained network."""
    return ImplicitAttention()


add_row(
    Row(
        card=RowCard(
            id="8.01",
            section="Episode 8, attention and memory: implicit attention in neural networks",
            shows="Even without an attention mechanism a network responds more to some inputs than to "
            "others; its Jacobian "
            "shows where it looks, and a specification says where it must not look.",
            data=DATA,
            ethics=ETHICS,
            parts=PARTS,
            benefit="Turns a saliency picture into a statement that holds for all values of the ignored "
            "pixels.",
            risk="A saliency map may be read as an explanation of why.",
            mitigation="Only what is proved is claimed: these pixels cannot change the answer on these "
            "images.",
            red_line="Never offered as an explanation to a person about whom a network decides.",
            balance="It reads digits; the lesson about attention is the use.",
            affected="The writers of the digits agreed to recognition research.",
            regret="That the ignored pixels matter for other writers' digits: corners are used by large "
            "handwriting.",
        ),
        model="implicit-attention",
        gate=Gate("test accuracy", _accuracy, 0.93, least=True),
        fits={"nominal": _fit(0.0, 0.0, 1500), "spec": _fit(0.5, 1.0, 1500)},
        claims=(
            _ignores("corners", "the ten pixels in the corners", CORNERS),
            _looks_away(0.03, 0.4),
            keeps_class(0.03, ImplicitAttention, UNTRAINED, images=20),
        ),
    )
)
