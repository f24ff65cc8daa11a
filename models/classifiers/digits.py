"""What the classifiers of 8x8 digits share: network, data, gate, claims and the ways of training."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustbench_local.data import Dataset, load_dataset
from robustbench_local.specs import Query, robustness, targeted

from ..fitting import minibatch, minimise
from ..row import Claim, Fit, Gate, Tools

__all__ = [
    "ACCURACY",
    "DATA",
    "ETHICS",
    "PARTS",
    "MultiLayer",
    "accuracy_when_moved",
    "adversarial",
    "always",
    "interval_accuracy",
    "keeps_class",
    "never_becomes",
    "plain",
    "small_boxes",
    "specified",
]

DATA = (
    "The 1,797 digits that come with scikit-learn (E. Alpaydin and C. Kaynak, 1998, UCI; CC BY 4.0), 8x8 "
    "pixels in [0, 1]; "
    "1,197 train, 600 test, every class in proportion."
)
ETHICS = (
    "Digits written by 43 people on forms for this purpose; no names are known and nobody can be told from "
    "a digit of 64 "
    "pixels. Writers of other scripts and of other habits (a barred 7, an open 4) are hardly represented. "
    "Labels come from "
    "what the forms asked for."
)
PARTS = ("the whole network: image (1, 8, 8) -> logits (10)",)


class MultiLayer(nn.Module):
    """64 -> 48 -> 48 -> 10 with ReLU; input (B, 1, 8, 8) in [0, 1], output (B, 10) logits."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 10)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 10) of images x (B, 1, 8, 8)."""
        logits: Tensor = self.layers(x)
        return logits


def _accuracy(network: nn.Module) -> float:
    test = load_dataset("digits")
    with torch.inference_mode():
        return float((network(test.inputs).argmax(1) == test.labels).float().mean())


def accuracy_when_moved(eps: float) -> Callable[[nn.Module], float]:
    """Accuracy on test images that one step of length eps along the gradient's sign has moved (FGSM)."""

    def measure(network: nn.Module) -> float:
        test = load_dataset("digits")
        images = test.inputs.clone().requires_grad_()
        F.cross_entropy(network(images), test.labels).backward()
        assert images.grad is not None
        moved = (images + eps * images.grad.sign()).clamp(0, 1).detach()
        with torch.inference_mode():
            return float((network(moved).argmax(1) == test.labels).float().mean())

    return measure


def interval_accuracy(eps: float) -> Callable[[nn.Module], float]:
    """Accuracy on test images that plain interval arithmetic proves within eps, for `MultiLayer`."""

    def measure(network: nn.Module) -> float:
        assert isinstance(network, MultiLayer)
        test = load_dataset("digits")
        low, high = (test.inputs - eps).clamp(0, 1).flatten(1), (test.inputs + eps).clamp(0, 1).flatten(1)
        *inner, last = [layer for layer in network.layers if isinstance(layer, nn.Linear)]
        with torch.inference_mode():
            for layer in inner:
                low, high = (end.clamp(min=0) for end in _interval(low, high, layer.weight, layer.bias))
            # rows of differences: class j minus the right one
            weight = last.weight.unsqueeze(0) - last.weight[test.labels].unsqueeze(1)  # (N, 10, 48)
            bias = last.bias.unsqueeze(0) - last.bias[test.labels].unsqueeze(1)
            middle, half = ((low + high) / 2).unsqueeze(2), ((high - low) / 2).unsqueeze(2)
            worst = (weight @ middle + weight.abs() @ half).squeeze(2) + bias
            worst.scatter_(1, test.labels.unsqueeze(1), -1.0)
            return float((worst.max(1).values < 0).float().mean())

    return measure


def _interval(low: Tensor, high: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    middle, half = F.linear((low + high) / 2, weight, bias), F.linear((high - low) / 2, weight.abs())
    return middle - half, middle + half


ACCURACY = Gate("test accuracy", _accuracy, 0.9, least=True)


def _spread(data: Dataset, number: int) -> Dataset:
    """`number` images, evenly over the test split."""
    return data.select(torch.linspace(0, len(data) - 1, number).long())


def keeps_class(eps: float, control: Callable[[], nn.Module], control_is: str, images: int = 30) -> Claim:
    """ROB: no pixel moves by more than eps, no answer changes; a wrong answer on the image violates it."""

    def query(network: nn.Module) -> Query:
        data = _spread(load_dataset("digits"), images)
        return robustness((1, 8, 8), 10).query(network, x0=data.inputs, c=data.labels, eps=eps)

    return Claim(
        name=f"rob-{eps:g}",
        says=f"Around each of {images} test images, within {eps:g} of every pixel, the digit's class comes "
        f"first.",
        query=query,
        control=control,
        control_is=control_is,
        methods=("clause-pgd", "ibp", "crown", "bab"),
    )


def never_becomes(
    first: int, second: int, eps: float, control: Callable[[], nn.Module], control_is: str, images: int = 10
) -> Claim:
    """TARGET: images of one digit are never taken for one other."""

    def query(network: nn.Module) -> Query:
        data = load_dataset("digits")
        chosen = data.select(torch.nonzero(data.labels == first).flatten()[:images])
        targets = torch.full((images,), second)
        return targeted((1, 8, 8), 10).query(network, x0=chosen.inputs, t=targets, eps=eps)

    return Claim(
        name=f"target-{first}-{second}-{eps:g}",
        says=f"None of {images} images of a {first} becomes a {second} within {eps:g} of every pixel.",
        query=query,
        control=control,
        control_is=control_is,
        methods=("clause-pgd", "ibp", "crown", "bab"),
    )


def always(digit: int) -> nn.Module:
    """A control: a network that gives one answer to everything."""
    network = MultiLayer()
    for parameter in network.parameters():
        nn.init.zeros_(parameter)
    last = network.layers[-1]
    assert isinstance(last, nn.Linear)
    last.bias.data[digit] = 1.0
    return network


def plain(steps: int) -> Fit:
    """Cross-entropy on clean images."""

    def fit(network: nn.Module, tools: Tools, generator: torch.Generator) -> None:
        tools.initialise(network, generator)
        data = load_dataset("digits", split="train")

        def loss(step: int) -> Tensor:
            rows = minibatch(len(data), 64, generator)
            return F.cross_entropy(network(data.inputs[rows]), data.labels[rows])

        minimise(network, loss, steps=steps, weight_decay=1e-4)

    return fit


def adversarial(eps: float, inner: int, steps: int) -> Fit:
    """Cross-entropy at the worst point that `inner` steps of PGD find; the radius grows over half of all."""

    def fit(network: nn.Module, tools: Tools, generator: torch.Generator) -> None:
        tools.initialise(network, generator)
        data, spec = load_dataset("digits", split="train"), robustness((1, 8, 8), 10)

        def loss(step: int) -> Tensor:
            rows = minibatch(len(data), 64, generator)
            images, labels = data.inputs[rows], data.labels[rows]
            radius = eps * min(1.0, 2 * step / steps)
            network.eval()  # gradients of the attack leave nothing in the network
            points = tools.worst(spec.query(network, x0=images, c=labels, eps=radius), inner, step)
            network.train()
            return F.cross_entropy(network(points.detach()), labels)

        minimise(network, loss, steps=steps, weight_decay=1e-4)

    return fit


def small_boxes(eps: float, share: float, inner: int, steps: int) -> Fit:
    """Softplus of the interval bound on a box of radius share * eps around the worst point that PGD finds
    within eps, plus clean cross-entropy (M. Mueller et al., arXiv 2210.04871). The radius grows over half of
    all steps."""

    def fit(network: nn.Module, tools: Tools, generator: torch.Generator) -> None:
        tools.initialise(network, generator)
        data, spec = load_dataset("digits", split="train"), robustness((1, 8, 8), 10)
        bound = tools.bounder(spec.query(network, x0=data.inputs[:1], c=data.labels[:1], eps=eps))

        def loss(step: int) -> Tensor:
            rows = minibatch(len(data), 64, generator)
            images, labels = data.inputs[rows], data.labels[rows]
            radius = eps * min(1.0, (2 * step + 1) / steps)
            network.eval()
            around = spec.query(network, x0=images, c=labels, eps=radius * (1 - share))
            points = tools.worst(around, inner, step).to(images).clamp(0, 1)
            network.train()
            worst = bound(spec.query(network, x0=points, c=labels, eps=radius * share))
            return 0.2 * F.cross_entropy(network(images), labels) + F.softplus(worst).mean()

        minimise(network, loss, steps=steps)

    return fit


def specified(eps: float, kappa: float, steps: int) -> Fit:
    """kappa * clean cross-entropy + (1 - kappa) * softplus of the interval bound on the violation of ROB.

    The radius grows from 0 over half of the steps.
    """

    def fit(network: nn.Module, tools: Tools, generator: torch.Generator) -> None:
        tools.initialise(network, generator)
        data, spec = load_dataset("digits", split="train"), robustness((1, 8, 8), 10)
        example = spec.query(network, x0=data.inputs[:1], c=data.labels[:1], eps=eps)
        bound = tools.bounder(example)

        def loss(step: int) -> Tensor:
            rows = minibatch(len(data), 64, generator)
            images, labels = data.inputs[rows], data.labels[rows]
            clean = F.cross_entropy(network(images), labels)
            radius = eps * min(1.0, 2 * step / steps)
            if radius == 0:
                return clean
            worst = bound(spec.query(network, x0=images, c=labels, eps=radius))
            return kappa * clean + (1 - kappa) * F.softplus(worst).mean()

        minimise(network, loss, steps=steps)

    return fit
