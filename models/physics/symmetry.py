"""Row 10.12: feature maps over places and quarter turns, so that turning the image turns the features.

Gens and Domingos, "Deep symmetry networks", NIPS 2014.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustbench_local.data import load_dataset
from robustbench_local.specs import SPECS, Query, Term, pick, reshape, robustness

from ..card import ModelCard
from ..fitting import minibatch, minimise
from ..loading import load_model
from ..registry import model
from ..row import Claim, Fit, Gate, Row, RowCard, Tools, add_row

__all__ = ["Pair", "Symmetric", "deep_symmetry", "rotated", "turned"]

IMAGE, CLASSES, TURNS = (1, 8, 8), 10, 4
CHANNELS = 8
SAMPLES = 200

Bounder = Callable[[Query], Tensor]


class Symmetric(nn.Module):
    """Images (B, 1, 8, 8) -> logits (B, 10) that are the same for an image and its quarter turns.

    Three convolutions over places and turns: a filter is applied in all four orientations, and where its
    input already has a map per orientation, those are shifted round as well. The largest of the four final
    logits is kept.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, CHANNELS, 3)
        self.second = nn.Conv2d(CHANNELS * TURNS, CHANNELS, 3)
        self.third = nn.Conv2d(CHANNELS * TURNS, CLASSES, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 10) of images x (B, 1, 8, 8)."""
        x = F.relu(F.conv2d(x, *_every_turn(self.first), padding=1))
        x = F.avg_pool2d(x, 2)
        x = F.relu(F.conv2d(x, *_every_turn(self.second), padding=1))
        x = F.avg_pool2d(x, 2)  # (B, 4 turns * 8, 2, 2)
        x = F.conv2d(x, *_every_turn(self.third))  # (B, 4 turns * 10, 1, 1)
        logits: Tensor = x.reshape(-1, TURNS, CLASSES).amax(1)
        return logits


def _every_turn(layer: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Filters (4 out, in, k, k) and biases (4 out,) of a layer's filters in the four orientations.

    Input channels are 1, or 4 orientations times features; the orientation that a filter sees as its own is
    the one that has turned as far as itself.
    """
    weight, bias = layer.weight, layer.bias
    assert bias is not None
    by_turn = weight.unflatten(1, (-1, weight.shape[1] if weight.shape[1] == 1 else CHANNELS))
    filters = [
        torch.rot90(by_turn.roll(turn, 1) if by_turn.shape[1] > 1 else by_turn, turn, (3, 4)).flatten(1, 2)
        for turn in range(TURNS)
    ]
    return torch.cat(filters), bias.repeat(TURNS)


class Pair(nn.Module):
    """The symmetric network, which answers, and the usual network that it is compared with."""

    def __init__(self) -> None:
        super().__init__()
        self.symmetric = Symmetric()
        self.usual = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Conv2d(16, 20, 3, padding=1),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(80, CLASSES),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 10) of images x (B, 1, 8, 8), by the symmetric network."""
        logits: Tensor = self.symmetric(x)
        return logits


def turned(x: Tensor, turns: int) -> Tensor:
    """Images (B, 1, 8, 8) turned counter-clockwise by that many quarters."""
    return torch.rot90(x, turns, (2, 3))


@functools.cache
def rotated(split: str) -> tuple[Tensor, Tensor]:
    """Digits (N, 1, 8, 8), each rotated about its centre by an angle of its own, and their labels; of "train"
    only every sixth, 200 in all."""
    train = split == "train"
    data = load_dataset("digits", split="train" if train else "test")
    if train:
        data = data.select(torch.linspace(0, len(data) - 1, SAMPLES).long())
    angle = 2 * torch.pi * torch.rand(len(data), generator=torch.Generator().manual_seed(1 if train else 2))
    cosine, sine, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    from_where = torch.stack((cosine, -sine, zero, sine, cosine, zero), 1).reshape(-1, 2, 3)
    places = F.affine_grid(from_where, list(data.inputs.shape), align_corners=False)
    return F.grid_sample(data.inputs, places, align_corners=False), data.labels


def _accuracy(network: nn.Module) -> float:
    images, labels = rotated("test")
    with torch.inference_mode():
        return float((network(images).argmax(1) == labels).float().mean())


def _lead(network: nn.Module) -> float:
    assert isinstance(network, Pair)
    return _accuracy(network.symmetric) - _accuracy(network.usual)


def _some(number: int) -> tuple[Tensor, Tensor]:
    """Test images as they were written (number, 1, 8, 8), evenly over the test split, and their labels."""
    data = load_dataset("digits")
    data = data.select(torch.linspace(0, len(data) - 1, number).long())
    return data.inputs, data.labels


def _quarter(image: Term) -> Term:
    order = turned(torch.arange(64).reshape(1, 1, 8, 8), 1).flatten().tolist()
    return reshape(pick(reshape(image, (64,)), order), IMAGE)


def _invariant(eps: float, tolerance: float, images: int = 10) -> Claim:
    def query(network: nn.Module) -> Query:
        spec = SPECS["equivariance"](IMAGE, CLASSES, of_input=_quarter, of_output=lambda y: y)
        return spec.query(network, x0=_some(images)[0], eps=eps, delta=tolerance)

    return Claim(
        name=f"invariant-{eps:g}",
        says=f"Around each of {images} test images, within {eps:g} of every pixel, a quarter turn changes no "
        f"logit by more than {tolerance:g}.",
        query=query,
        control=_usual,
        control_is="the usual network, trained on the same images",
        methods=("pgd", "crown", "bab"),
        seconds=20.0,
    )


def _any_turn(eps: float, images: int = 10) -> Claim:
    def query(network: nn.Module) -> Query:
        x, c = _some(images)
        every = torch.cat([turned(x, turns) for turns in range(TURNS)])
        return robustness(IMAGE, CLASSES).query(network, x0=every, c=c.repeat(TURNS), eps=eps)

    return Claim(
        name=f"any-turn-{eps:g}",
        says=f"For {images} test images in all four orientations, within {eps:g} of every pixel, the digit's "
        f"class comes first.",
        query=query,
        control=_usual,
        control_is="the usual network, trained on the same images",
        methods=("clause-pgd", "crown", "bab"),
        seconds=15.0,
    )


def _rotates(degrees: float, images: int = 10) -> Claim:
    def query(network: nn.Module) -> Query:
        x, c = _some(images)
        end = torch.full((images, 1), float(degrees))
        return SPECS["geometry"](IMAGE, CLASSES).query(network, x0=x, c=c, low=-end, high=end)

    return Claim(
        name=f"rotate-{degrees:g}",
        says=f"Each of {images} test images keeps its class when rotated by any angle up to {degrees:g} "
        f"degrees either way, by bilinear interpolation.",
        query=query,
        control=_usual,
        control_is="the usual network, trained on the same images",
        methods=("pgd", "crown", "split"),
        seconds=15.0,
    )


def _usual() -> nn.Module:
    network = load_model("symmetry", "nominal")
    assert isinstance(network, Pair)
    return network.usual


def _fit(steps: int, eps: float) -> Fit:
    """Cross-entropy on the 200 images, of both networks alike; with a radius eps also interval bounds of the
    robustness of the class, of growing radius."""

    def fit(network: nn.Module, tools: Tools, generator: torch.Generator) -> None:
        assert isinstance(network, Pair)
        tools.initialise(network, generator)
        images, labels = rotated("train")
        spec = robustness(IMAGE, CLASSES)
        for one in (network.symmetric, network.usual):
            first = spec.query(one, x0=images[:1], c=labels[:1], eps=eps)
            bound = tools.bounder(first) if eps else None

            def loss(step: int, one: nn.Module = one, bound: Bounder | None = bound) -> Tensor:
                rows = minibatch(len(images), 50, generator)
                x, c = images[rows], labels[rows]
                clean = F.cross_entropy(one(x), c)
                if bound is None:
                    return clean
                radius = eps * min(1.0, (2 * step + 1) / steps)
                worst = bound(spec.query(one, x0=x, c=c, eps=radius))
                return 0.5 * clean + 0.5 * F.softplus(worst).mean()

            minimise(one, loss, steps=steps, learning_rate=5e-3, weight_decay=1e-4)

    return fit


@model(
    ModelCard(
        name="symmetry",
        family="physics",
        summary="Feature maps over places and quarter turns, whose answer no quarter turn changes.",
        paper="Deep symmetry networks (Gens and Domingos, 2014)",
        source="NIPS 2014; filters in all orientations as in arXiv 1602.07576",
        input_shape=IMAGE,
        outputs=CLASSES,
        task="classification",
        dataset="digits, rotated",
        parameters=7_552,
        weights=("nominal", "spec"),
        recipes=("symmetry-nominal", "symmetry-spec"),
        faithful="Feature maps over a group of symmetries instead of over places alone, shared weights along "
        "the group, pooling over it at the end, and fewer examples needed for it: both networks see 200 "
        "digits.",
        deviates="The group is places times four quarter turns, where pixels fall on pixels, instead of all "
        "affine maps; so the paper's interpolation between control points by kernels, and its search for the "
        "best-matching place, are left out. One number of examples, no curve. `spec` adds interval bounds of "
        "the class within 0.01 of every pixel, to both networks.",
        intended_use="Symmetry by construction as a claim about noisy images, and what it does for angles "
        "between the quarter turns.",
        limits="8x8 digits; a turned 6 is a 9, so that no invariant network can be right about all.",
        licence="Apache-2.0",
    )
)
def deep_symmetry() -> nn.Module:
    """The untrained networks."""
    return Pair()


add_row(
    Row(
        card=RowCard(
            id="10.12",
            section="Episode 10, evaluating the merit of a representation: data efficiency by symmetry",
            shows="From 200 digits at all angles the symmetric network reads .76 of rotated test digits, the "
            "usual one of the same size .53 (.52 when trained three times as long, without an error on its "
            "200). A symmetry that is built in need not be learned, holds under noise as far as "
            "bounds can see, and does not extend by itself to angles in between.",
            data="The 1,797 digits that come with scikit-learn (E. Alpaydin and C. Kaynak, 1998, UCI; CC BY "
            "4.0), 8x8 pixels in [0, 1], rotated about the centre by drawn angles: 200 of the 1,197 training "
            "images, and all 600 test images for the gate. Claims take test images as they were written.",
            ethics="Digits written by 43 people on forms for this purpose; no names are known and nobody can "
            "be told from a digit of 64 pixels. Writers of other scripts and habits are hardly represented. "
            "Labels come from what the forms asked for.",
            parts=(
                "the symmetric network: image (1, 8, 8) -> logits (10)",
                "logits of an image beside those of the turned image",
                "an angle (1) -> rotated image -> logits",
            ),
            benefit="Fewer labelled examples for the same accuracy, where a symmetry is known.",
            risk="A symmetry that does not hold, as of 6 and 9, is built in and cannot be unlearned.",
            mitigation="The limits say which digits suffer; the usual network is measured beside it.",
            red_line="No use where orientation carries meaning, as in signs or scans, without a check.",
            balance="It reads digits that are public; its errors are shown per claim.",
            affected="The writers gave their digits for research; their digits identify nobody.",
            regret="That invariance to four turns is quoted as invariance to rotation.",
        ),
        model="symmetry",
        gate=Gate("test accuracy beyond the usual network", _lead, 0.03, least=True),
        fits={"nominal": _fit(800, 0.0), "spec": _fit(600, 0.01)},
        claims=(_invariant(0.002, 0.1), _any_turn(0.01), _rotates(15)),
    )
)
