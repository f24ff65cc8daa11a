"""Row 10.05: a classifier that was pre-trained without labels, as a stack of restricted Boltzmann machines.

G. Hinton, S. Osindero, Y.-W. Teh, "A fast learning algorithm for deep belief nets", Neural Computation 18,
2006.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustbench_local.specs import Data, Net, Param, Query, Var, ball, box, forall, robustness

from ..card import ModelCard
from ..fitting import minibatch, minimise
from ..registry import model
from ..row import Claim, Fit, Gate, Row, RowCard, Tools, add_row
from .flat import DATA, ETHICS, PIXELS, flat, some

__all__ = ["Belief", "Machine", "belief"]

DIGITS = 10
LABELS = 100  # training images whose labels are used
IMAGES = 20


class Machine(nn.Module):
    """A restricted Boltzmann machine: visible units (B, V) in [0, 1] -> their free energy (B, 1)."""

    def __init__(self, visible: int, hidden: int) -> None:
        super().__init__()
        self.up = nn.Linear(visible, hidden)
        self.field = nn.Linear(visible, 1, bias=False)  # the biases of the visible units

    def forward(self, v: Tensor) -> Tensor:
        """Minus the log of the sum, over hidden units, of the unnormalised probability."""
        hidden: Tensor = F.softplus(self.up(v)).sum(1, keepdim=True)
        field: Tensor = self.field(v)
        return -hidden - field

    @torch.no_grad()
    def contrast(self, v: Tensor, rate: float, generator: torch.Generator) -> None:
        """One step of contrastive divergence, CD-1, on v (B, V)."""
        hidden = torch.sigmoid(self.up(v))
        drawn = torch.bernoulli(hidden, generator=generator)
        again = torch.sigmoid(drawn @ self.up.weight + self.field.weight)
        hidden_again = torch.sigmoid(self.up(again))
        self.up.weight.add_(hidden.T @ v - hidden_again.T @ again, alpha=rate / len(v))
        self.up.bias.add_((hidden - hidden_again).mean(0), alpha=rate)
        self.field.weight.add_((v - again).mean(0), alpha=rate)


class Belief(nn.Module):
    """Images (B, 64) -> logits (B, 10), 64-64-32-10 with sigmoids; beside it the first machine as it was."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = Machine(PIXELS, 64)
        self.layers = nn.Sequential(
            nn.Linear(PIXELS, 64), nn.Sigmoid(), nn.Linear(64, 32), nn.Sigmoid(), nn.Linear(32, DIGITS)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 10)."""
        logits: Tensor = self.layers(x)
        return logits


def _belief(network: nn.Module) -> Belief:
    assert isinstance(network, Belief)
    return network


def _accuracy(network: nn.Module) -> float:
    images, labels = flat()
    with torch.inference_mode():
        return float((network(images).argmax(1) == labels).float().mean())


def _keeps_class(eps: float) -> Claim:
    def query(network: nn.Module) -> Query:
        images, labels = some(IMAGES)
        return robustness((PIXELS,), DIGITS).query(network, x0=images, c=labels, eps=eps)

    return Claim(
        name=f"rob-{eps:g}",
        says=f"Around each of {IMAGES} test images, within {eps:g} of every pixel, the digit's class comes "
        f"first.",
        query=query,
        control=Belief,
        control_is="a network with its first weights, which has learned nothing",
        methods=("clause-pgd", "ibp", "crown", "bab"),
        seconds=20.0,
    )


def _free_energy(eps: float) -> Claim:
    def query(network: nn.Module) -> Query:
        x0, n0, f = Data("x0", PIXELS), Data("n0", PIXELS), Net("f", PIXELS, 1)
        x = Var("x", like=x0)
        spec = forall(x, ball(x0, Param("eps")) & box(0, 1), f(x)[0] < f(n0)[0])
        noise = torch.rand(IMAGES, PIXELS, generator=torch.Generator().manual_seed(9))
        return spec.query(_belief(network).machine, x0=some(IMAGES)[0], n0=noise, eps=eps)

    return Claim(
        name=f"free-{eps:g}",
        says=f"Within {eps:g} of every pixel of {IMAGES} test images, the free energy of the first machine "
        f"is "
        "below that of an image of uniform noise, a different one for each.",
        query=query,
        control=_of_noise,
        control_is="a machine that was trained on images of noise",
        methods=("pgd", "ibp", "crown", "bab"),
    )


def _of_noise() -> Belief:
    generator = torch.Generator().manual_seed(4)
    network = Belief()
    _contrast(network.machine, torch.rand(1000, PIXELS, generator=generator), 300, generator)
    return network


def _contrast(machine: Machine, points: Tensor, steps: int, generator: torch.Generator) -> None:
    with torch.no_grad():
        machine.up.weight.copy_(0.05 * torch.randn(machine.up.weight.shape, generator=generator))
        machine.up.bias.zero_()
        machine.field.weight.zero_()
    for step in range(steps):
        rows = minibatch(len(points), 64, generator)
        machine.contrast(points[rows], 0.1 * (1 - step / steps), generator)


def _pretrain(network: Belief, generator: torch.Generator) -> None:
    """Both machines, the second on what the first makes of the images; their weights start the network."""
    images, _ = flat("train")
    _contrast(network.machine, images, 3000, generator)
    second = Machine(64, 32)
    with torch.no_grad():
        _contrast(second, torch.sigmoid(network.machine.up(images)), 3000, generator)
        network.layers[0].load_state_dict(network.machine.up.state_dict())
        network.layers[2].load_state_dict(second.up.state_dict())


def _fit(eps: float, steps: int) -> Fit:
    """Pre-training on all images without labels, then cross-entropy on LABELS of them; where eps > 0, half of
    it gives way to the interval bound of ROB at a radius that grows to eps."""

    def fit(network: nn.Module, tools: Tools, generator: torch.Generator) -> None:
        belief = _belief(network)
        tools.initialise(belief, generator)
        _pretrain(belief, generator)
        images, labels = (part[:LABELS] for part in flat("train"))
        spec = robustness((PIXELS,), DIGITS)
        bound = tools.bounder(spec.query(belief.eval(), x0=images[:1], c=labels[:1], eps=eps))

        def loss(step: int) -> Tensor:
            clean = F.cross_entropy(belief(images), labels)
            if eps == 0:
                return clean
            radius = eps * min(1.0, (step + 1) / (0.5 * steps))
            worst = bound(spec.query(belief, x0=images, c=labels, eps=radius))
            return 0.5 * clean + 0.5 * F.softplus(worst).mean()

        minimise(belief.layers, loss, steps=steps, learning_rate=3e-3, weight_decay=1e-4)

    return fit


@model(
    ModelCard(
        name="belief",
        family="classical",
        summary="A sigmoid classifier of 8x8 digits, pre-trained without labels, tuned on 100 labels.",
        paper="A fast learning algorithm for deep belief nets (Hinton et al., 2006)",
        source="Neural Computation 18(7)",
        input_shape=(PIXELS,),
        outputs=DIGITS,
        task="classification",
        dataset="digits",
        parameters=10_794,
        weights=("nominal", "spec"),
        recipes=("belief-nominal", "belief-spec"),
        faithful="Two restricted Boltzmann machines, one on the other, trained by contrastive divergence "
        "with "
        "one step; their weights start a network of sigmoids that is tuned with few labels.",
        deviates="Two machines of 64 and 32 hidden units; pixels are taken as probabilities. Tuned "
        "discriminatively, not by wake-sleep. At this size pre-training gains little: 0.78 against 0.74 "
        "test accuracy, means of three runs; the twin is not shipped. `spec` is tuned with interval bounds "
        "as well, which does not make up for so few labels: it keeps no more classes.",
        intended_use="Smooth units under verification, and a free energy as something that must rank images.",
        limits="Trained with 100 labels: one test image in five is read wrongly.",
        licence="Apache-2.0",
    )
)
def belief() -> nn.Module:
    """The untrained network."""
    return Belief()


add_row(
    Row(
        card=RowCard(
            id="10.05",
            section="Episode 10, history of representation learning: Hinton introduced unsupervised "
            "pre-training",
            shows="What images look like can be learned before anybody says what they are. The first machine "
            "must find digits more likely than noise, also near digits it has not seen.",
            data=DATA + " Labels of the first 100 training images are used.",
            ethics=ETHICS,
            parts=(
                "classifier: image (64) -> logits (10)",
                "free energy of the first machine: image (64) -> nats (1)",
            ),
            benefit="Little labelling is needed; what the unlabelled part learned is checked by itself.",
            risk="What is learned without labels is checked by nobody who labels.",
            mitigation="A claim on the free energy, apart from the claims on classes.",
            red_line="Never used to read handwriting where a wrong digit costs somebody something.",
            balance="A classifier of tiny digits harms nobody; the old method deserves a measurement.",
            affected="The writers gave their digits for research on recognition, which this is.",
            regret="That few labels are taken for a licence to label carelessly.",
        ),
        model="belief",
        gate=Gate("test accuracy", _accuracy, 0.75, least=True),
        fits={"nominal": _fit(0.0, 300), "spec": _fit(0.05, 600)},
        claims=(_keeps_class(0.03), _free_energy(0.05), _free_energy(0.1)),
    )
)
