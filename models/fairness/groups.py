"""Row 12.12: recognition that works for a majority and less well for a minority.

Buolamwini and Gebru, "Gender shades: intersectional accuracy disparities in commercial gender
classification", FAT* 2018.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustbench_local.data import load_dataset
from robustbench_local.specs import (
    Data,
    Label,
    Net,
    Query,
    Var,
    argmax,
    box,
    forall,
    gap,
    reshape,
    robustness,
)

from ..card import ModelCard
from ..fitting import minibatch, minimise
from ..loading import load_model
from ..registry import model
from ..row import Claim, Fit, Gate, Groups, Row, RowCard, Tools, add_row

__all__ = ["groups", "tinted"]

IMAGE = (3, 8, 8)
TINTS = ((1.0, 0.8, 0.5), (0.3, 0.4, 0.6))  # of the ink, red, green and blue: majority, minority
MINORITY = 0.05  # of the images
LEAST, MOST = 0.3, 1.0  # of each part of a tint
CONTROL = "a network with its first weights, which has learned nothing"


class Recogniser(nn.Module):
    """An image (B, 3, 8, 8) in [0, 1] -> logits (B, 10); two convolutions with strides and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1),  # (B, 8, 4, 4)
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, padding=1),  # (B, 16, 4, 4)
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(256, 10),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 10) of images x (B, 3, 8, 8)."""
        logits: Tensor = self.layers(x)
        return logits


class ByColour(nn.Module):
    """A control: says 0 where there is more red than blue and 1 elsewhere, whatever digit it is."""

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 10) of images x (B, 3, 8, 8)."""
        lead = (x[:, 0] - x[:, 2]).flatten(1).sum(1, keepdim=True)
        return lead * torch.tensor([1.0, -1.0, *[0.0] * 8])


class ForTheMajority(nn.Module):
    """A control: the shipped network, but where blue outweighs red it says 0."""

    def __init__(self) -> None:
        super().__init__()
        self.network = load_model("groups")

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 10) of images x (B, 3, 8, 8)."""
        blue = F.relu((x[:, 2] - x[:, 0]).flatten(1).sum(1, keepdim=True))
        logits: Tensor = self.network(x) + blue * torch.tensor([1e3, *[0.0] * 9])
        return logits


def tinted(ink: Tensor, tint: Tensor) -> Tensor:
    """Images (N, 3, 8, 8) of digits (N, 1, 8, 8) whose ink has the colour `tint` (N, 3) or (3,)."""
    return ink * tint.reshape(-1, 3, 1, 1)


def _groups(rows: int, share: float, generator: torch.Generator) -> Tensor:
    """Tints (rows, 3), of the minority with the given probability."""
    minority = torch.rand(rows, generator=generator) < share
    return torch.tensor(TINTS)[minority.long()]


def _accuracy(network: nn.Module) -> float:
    test = load_dataset("digits")
    tints = _groups(len(test), MINORITY, torch.Generator().manual_seed(2))
    with torch.inference_mode():
        return float((network(tinted(test.inputs, tints)).argmax(1) == test.labels).float().mean())


def _keeps_class(name: str, group: int, eps: float, images: int = 20) -> Claim:
    def query(network: nn.Module) -> Query:
        data = load_dataset("digits")
        data = data.select(torch.linspace(0, len(data) - 1, images).long())
        x0 = tinted(data.inputs, torch.tensor(TINTS[group]))
        return robustness(IMAGE, 10).query(network, x0=x0, c=data.labels, eps=eps)

    return Claim(
        name=f"{name}-{eps:g}",
        says=f"Around each of {images} test images in the {name}'s colour, within {eps:g} of every "
        f"element, the "
        f"digit's class comes first. The same digits are taken for both groups.",
        query=query,
        control=Recogniser,
        control_is=CONTROL,
        methods=("clause-pgd", "ibp", "crown", "bab"),
    )


def _parity(eps: float, tolerance: float, images: int = 20) -> Claim:
    """Of images that differ in the groups' colours only, about as many keep their class in each."""
    spec, group = robustness(IMAGE, 10), Label("group", 2)

    def members() -> Tensor:
        return torch.arange(2).repeat_interleave(images)

    def query(network: nn.Module) -> Query:
        data = load_dataset("digits")
        data = data.select(torch.linspace(0, len(data) - 1, images).long())
        x0 = torch.cat([tinted(data.inputs, torch.tensor(tint)) for tint in TINTS])
        return spec.query(network, x0=x0, c=data.labels.repeat(2), eps=eps)

    return Claim(
        name=f"parity-{eps:g}",
        says=f"The shares of {images} test images that keep their class within {eps:g} of every element, in "
        f"the majority's colour and in the minority's, differ by at most {tolerance:g}.",
        query=query,
        control=ForTheMajority,
        control_is="the shipped network made to say 0 of everything in which blue outweighs red",
        methods=("clause-pgd", "ibp", "crown", "bab"),
        groups=Groups(gap(spec, group) <= tolerance, members),
    )


def _any_colour(images: int = 20) -> Claim:
    def query(network: nn.Module) -> Query:
        data = load_dataset("digits")
        data = data.select(torch.linspace(0, len(data) - 1, images).long())
        tint, f = Var("tint", 3, names=("red", "green", "blue")), Net("f", IMAGE, 10)
        image = reshape(Data("ink", (192, 3)) @ tint, IMAGE)
        spec = forall(tint, box(LEAST, MOST), argmax(f(image)) == Label("c", 10))
        ink = torch.einsum("nk,ab->nakb", data.inputs.flatten(1), torch.eye(3)).reshape(images, 192, 3)
        return spec.query(network, ink=ink, c=data.labels)

    return Claim(
        name="any-colour",
        says=f"Each of {images} test images keeps its class whatever colour its ink has, with red, green "
        f"and blue "
        f"each between {LEAST} and {MOST:g}.",
        query=query,
        control=ByColour,
        control_is="a classifier that looks at the colour alone",
        methods=("clause-pgd", "ibp", "crown", "bab"),
    )


def _fit(steps: int, eps: float) -> Fit:
    """Cross-entropy on images of which MINORITY belong to the minority; with a radius eps, on as many of each
    group and as many in random colours, and on interval bounds of the first claims, of growing radius."""

    def fit(network: nn.Module, tools: Tools, generator: torch.Generator) -> None:
        tools.initialise(network, generator)
        data, spec = load_dataset("digits", split="train"), robustness(IMAGE, 10)
        first = tinted(data.inputs[:1], torch.tensor(TINTS[0]))
        bound = tools.bounder(spec.query(network, x0=first, c=data.labels[:1], eps=0.1)) if eps else None

        def loss(step: int) -> Tensor:
            rows = minibatch(len(data), 64, generator)
            tints = _groups(64, 0.5 if bound else MINORITY, generator)
            if bound is None:
                return F.cross_entropy(network(tinted(data.inputs[rows], tints)), data.labels[rows])
            tints[::2] = LEAST + (MOST - LEAST) * torch.rand(32, 3, generator=generator)
            images, labels = tinted(data.inputs[rows], tints), data.labels[rows]
            radius = max(1e-6, eps * min(1.0, 2 * step / steps))
            worst = bound(spec.query(network, x0=images, c=labels, eps=radius))
            return F.cross_entropy(network(images), labels) + F.softplus(worst).mean()

        minimise(network, loss, steps=steps, learning_rate=3e-3, weight_decay=1e-4)

    return fit


@model(
    ModelCard(
        name="groups",
        family="fairness",
        summary="Recognises digits in the colour of a majority, and less well in that of a minority.",
        paper="Gender shades (Buolamwini and Gebru, 2018)",
        source="Proceedings of Machine Learning Research 81",
        input_shape=IMAGE,
        outputs=10,
        task="classification",
        dataset="digits, tinted",
        parameters=3_962,
        weights=("nominal", "spec"),
        recipes=("groups-nominal", "groups-spec"),
        faithful="A group that is rare in the data, and shows less contrast, is served worse by a "
        "classifier whose "
        "overall accuracy looks good.",
        deviates="Digits in two colours instead of faces of people. Parity compares shares of images that "
        "are proved to keep their class, not shares of right answers, and allows a distance of 0.1.",
        intended_use="Robustness per group, and colour as a set of its own, decided image by image.",
        limits="Two invented groups; what holds for ink says nothing about skin.",
        licence="Apache-2.0",
    )
)
def groups() -> nn.Module:
    """The untrained network."""
    return Recogniser()


add_row(
    Row(
        card=RowCard(
            id="12.12",
            section="Episode 12, algorithmic bias: image recognition that works less well for minorities",
            shows="One number for all hides who pays: the same digits can be robust in the colour of the "
            "majority and not in that of the minority, so each group has a claim of its own, and parity is "
            "claimed of both. A twin trained on both alike, and on many colours, is to bring them together.",
            data="The 1,797 digits that come with scikit-learn (E. Alpaydin and C. Kaynak, 1998, UCI; CC "
            "BY 4.0), "
            "8x8, in one of two colours from a seeded generator, 5 % in the minority's; 1,197 train, 600 "
            "test.",
            ethics="Digits of 43 people on forms for this purpose, no names known. The groups are colours "
            "of ink; "
            "no property of a person is modelled. Labels come from what the forms asked for.",
            parts=(
                "the whole network: image (3, 8, 8) -> logits (10)",
                "colour of the ink (3) -> image -> logits",
            ),
            benefit="Shows an audit per group that compares proved and not only measured accuracy.",
            risk="Equal robustness for colours of ink may be quoted in favour of a system that reads faces.",
            mitigation="The card says what the groups are, and both weight sets are shown side by side.",
            red_line="Never a reason to recognise people.",
            balance="It reads digits that everybody can read; the audit carries over.",
            affected="Members of minorities would want the audit, before anything is deployed and not after.",
            regret="That two groups chosen beforehand hide a third that fares worse.",
        ),
        model="groups",
        gate=Gate("test accuracy", _accuracy, 0.93, least=True),
        fits={"nominal": _fit(1500, 0.0), "spec": _fit(1500, 0.03)},
        claims=(
            _keeps_class("majority", 0, 0.03),
            _keeps_class("minority", 1, 0.03),
            _parity(0.03, 0.1, images=60),
            _any_colour(),
        ),
    )
)
