"""Row 12.04: a classifier of digits whose answer must not depend on tint, brightness and background.

The spurious tint follows Arjovsky, Bottou, Gulrajani and Lopez-Paz, "Invariant risk minimization",
arXiv 1907.02893.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustbench_local.data import load_dataset
from robustbench_local.specs import Data, Label, Net, Query, Spec, Var, argmax, box, forall

from ..card import ModelCard
from ..fitting import minibatch, minimise
from ..registry import model
from ..row import Claim, Fit, Gate, Row, RowCard, Tools, add_row
from .digits import DATA, ETHICS

__all__ = ["IrrelevantFeatures", "irrelevant_features"]

PIXELS, TINT, BRIGHTNESS, BACKGROUND = slice(0, 64), slice(64, 67), slice(67, 71), slice(71, 75)
AGREES = 0.8  # how often the tint of a training image is that of its class
INPUTS = 75


class IrrelevantFeatures(nn.Module):
    """75 -> 48 -> 48 -> 10: 64 pixels, tint 3, brightness of the quarters 4, background 4; in [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(INPUTS, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 10)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 10) of inputs x (B, 75)."""
        logits: Tensor = self.layers(x)
        return logits


class TintReader(nn.Module):
    """A control: answers by the tint alone, the class whose own tint is most like it."""

    own: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("own", _palette())  # (10, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 10)."""
        return 2 * x[:, 64:67] @ self.own.T - self.own.square().sum(1)


def _palette() -> Tensor:
    """The tint of each class, (10, 3) in [0, 1]."""
    return torch.rand(10, 3, generator=torch.Generator().manual_seed(4))


def _dressed(images: Tensor, labels: Tensor, agrees: float, generator: torch.Generator) -> Tensor:
    """Images (N, 1, 8, 8) with random nuisances; the tint is that of the class with probability `agrees`."""
    rows = len(images)
    nuisance = torch.rand(rows, INPUTS - 64, generator=generator)
    own = torch.rand(rows, generator=generator) < agrees
    nuisance[:, :3] = torch.where(own[:, None], _palette()[labels], nuisance[:, :3])
    return torch.cat((images.flatten(1), nuisance), 1)


def _accuracy(network: nn.Module) -> float:
    test = load_dataset("digits")
    inputs = _dressed(test.inputs, test.labels, 0.0, torch.Generator().manual_seed(5))
    with torch.inference_mode():
        return float((network(inputs).argmax(1) == test.labels).float().mean())


def _same_answer() -> Spec:
    x, f = Var("x", INPUTS), Net("f", INPUTS, 10)
    return forall(x, box(Data("low", INPUTS), Data("high", INPUTS)), argmax(f(x)) == Label("c", 10))


def _freed(inputs: Tensor, free: slice, eps: float) -> tuple[Tensor, Tensor]:
    """Corners of the sets in which the features `free` take any value and pixels move by eps."""
    low, high = inputs.clone(), inputs.clone()
    low[:, PIXELS], high[:, PIXELS] = (
        (inputs[:, PIXELS] - eps).clamp(0, 1),
        (inputs[:, PIXELS] + eps).clamp(0, 1),
    )
    low[:, free], high[:, free] = 0.0, 1.0
    return low, high


def _ignores(name: str, what: str, free: slice, eps: float, images: int = 30) -> Claim:
    def query(network: nn.Module) -> Query:
        data = load_dataset("digits")
        chosen = data.select(torch.linspace(0, len(data) - 1, images).long())
        inputs = _dressed(chosen.inputs, chosen.labels, 0.0, torch.Generator().manual_seed(6))
        low, high = _freed(inputs, free, eps)
        return _same_answer().query(network, low=low, high=high, c=chosen.labels)

    moving = f", and pixels within {eps:g}" if eps else ""
    return Claim(
        name=name,
        says=f"For {images} test images: whatever the {what}{moving}, the digit's class comes first.",
        query=query,
        control=TintReader,
        control_is="a network that answers by the tint alone",
        methods=("clause-pgd", "ibp", "crown", "bab"),
    )


def _plain(network: nn.Module, tools: Tools, generator: torch.Generator) -> None:
    """Cross-entropy on training images whose tint mostly agrees with the class."""
    tools.initialise(network, generator)
    data = load_dataset("digits", split="train")

    def loss(step: int) -> Tensor:
        rows = minibatch(len(data), 64, generator)
        inputs = _dressed(data.inputs[rows], data.labels[rows], AGREES, generator)
        return F.cross_entropy(network(inputs), data.labels[rows])

    minimise(network, loss, steps=2500, weight_decay=1e-4)


def _ignoring(eps: float) -> Fit:
    """The same, plus softplus of the interval bound on the claim: all nuisances free, pixels within eps."""

    def fit(network: nn.Module, tools: Tools, generator: torch.Generator) -> None:
        tools.initialise(network, generator)
        data, spec = load_dataset("digits", split="train"), _same_answer()

        def posed(rows: Tensor, part: float) -> tuple[Query, Tensor]:
            labels = data.labels[rows]
            inputs = _dressed(data.inputs[rows], labels, AGREES, generator)
            low, high = _freed(inputs, slice(64, INPUTS), eps * part)
            low[:, 64:] = (1 - part) * inputs[:, 64:]
            high[:, 64:] = inputs[:, 64:] + part * (1 - inputs[:, 64:])
            return spec.query(network, low=low, high=high, c=labels), inputs

        bound = tools.bounder(posed(torch.arange(2), 1.0)[0])

        def loss(step: int) -> Tensor:
            rows = minibatch(len(data), 64, generator)
            query, inputs = posed(rows, min(1.0, 2 * step / 2500))
            clean = F.cross_entropy(network(inputs), data.labels[rows])
            return 0.4 * clean + 0.6 * F.softplus(bound(query)).mean()

        minimise(network, loss, steps=2500)

    return fit


@model(
    ModelCard(
        name="irrelevant-features",
        family="classifiers",
        summary="Digits with a tint, a brightness and a background that have nothing to do with the answer.",
        paper="Invariant risk minimization (Arjovsky et al., 2019)",
        source="arXiv 1907.02893",
        input_shape=(75,),
        outputs=10,
        task="classification of dressed digits",
        dataset="digits with nuisances",
        parameters=6_490,
        weights=("nominal", "spec"),
        recipes=("irrelevant-features-nominal", "irrelevant-features-spec"),
        faithful="The tint of a training image agrees with its class four times in five, and with nothing "
        "at test time.",
        deviates="Nuisances are features of their own instead of colours mixed into pixels, so that a "
        "claim can free them "
        "exactly; the cure is a specification, where the paper learns an invariant representation.",
        intended_use="Proofs that a feature is ignored, over its whole range.",
        limits="Ignoring a feature is proved for images of the test set, not for every image.",
        licence="Apache-2.0",
    )
)
def irrelevant_features() -> nn.Module:
    """The untrained network."""
    return IrrelevantFeatures()


add_row(
    Row(
        card=RowCard(
            id="12.04",
            section="Episode 12, robustness: robust to feature changes that are irrelevant",
            shows="A feature that helps on training data only will be used by training for accuracy; a "
            "specification that "
            "frees it over its whole range finds that out, and training for the specification cures it.",
            data=DATA + " Tint, brightness and background are drawn here from a seeded generator.",
            ethics=ETHICS,
            parts=("the whole network: pixels and nuisances (75) -> logits (10)",),
            benefit="A proof of irrelevance, for every value of a nuisance instead of a few trials.",
            risk="Freeing the wrong features: a nuisance in one task is the signal in another.",
            mitigation="The card names what is free in each claim and why it must not matter.",
            red_line="Never the only evidence that a system ignores a protected attribute: proxies are not "
            "freed here.",
            balance="A digit reader harms nobody; the technique is what fairness claims are made of.",
            affected="The writers of the digits agreed to recognition research; the nuisances are invented.",
            regret="That invented nuisances are kinder than real ones: real backgrounds are not three "
            "numbers.",
        ),
        model="irrelevant-features",
        gate=Gate("test accuracy with a random tint", _accuracy, 0.85, least=True),
        fits={"nominal": _plain, "spec": _ignoring(0.02)},
        claims=(
            _ignores("tint", "tint", TINT, 0.0),
            _ignores("brightness", "brightness of the quarters", BRIGHTNESS, 0.0),
            _ignores("everything", "tint, brightness and background", slice(64, INPUTS), 0.02),
        ),
    )
)
