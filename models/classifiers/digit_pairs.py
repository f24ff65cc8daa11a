"""Row 12.09: specifications beyond a ball and a class: the sum of two digits, and groups of like digits.

Qin et al., "Verification of non-linear specifications for neural networks", arXiv 1902.09592.
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
    Param,
    Query,
    Spec,
    Var,
    ball,
    box,
    dot,
    forall,
    softmax,
    vmax,
)

from ..card import ModelCard
from ..fitting import minibatch, minimise
from ..registry import model
from ..row import Claim, Fit, Gate, Row, RowCard, Tools, add_row
from .digits import DATA, ETHICS, MultiLayer

__all__ = ["DigitPairs", "digit_pairs"]

GROUPS = ((0, 6, 8), (1, 7), (2,), (3, 5, 9), (4,))  # digits of like shape
DIGITS = [float(k) for k in range(10)]


class DigitPairs(nn.Module):
    """Two images (B, 128), one behind the other, through one 64-48-48-10 network: logits (B, 20)."""

    def __init__(self) -> None:
        super().__init__()
        self.one = MultiLayer()

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the first image, then of the second, (B, 20)."""
        return torch.cat((self.one(x[:, :64]), self.one(x[:, 64:])), 1)


def _pairs(number: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs of test images, (N, 128), and the labels of both, (N,) each."""
    data = load_dataset("digits")
    rows = torch.randperm(len(data), generator=torch.Generator().manual_seed(12))[: 2 * number]
    images, labels = data.inputs[rows].flatten(1), data.labels[rows]
    return torch.cat((images[:number], images[number:]), 1), labels[:number], labels[number:]


def _accuracy(network: nn.Module) -> float:
    images, first, second = _pairs(300)
    with torch.inference_mode():
        logits = network(images)
    right = (logits[:, :10].argmax(1) == first) & (logits[:, 10:].argmax(1) == second)
    return float(right.float().mean())


def _sum_spec(delta: float) -> Spec:
    x0 = Data("x0", 128)
    x, f = Var("x", 128), Net("f", 128, 20)
    total = dot(softmax(f(x)[:10]), DIGITS) + dot(softmax(f(x)[10:]), DIGITS)
    near = ball(x0, Param("eps")) & box(0.0, 1.0)
    return forall(x, near, abs(total - Data("total", ())) <= delta)


def _sum_claim(eps: float, delta: float) -> Claim:
    def query(network: nn.Module) -> Query:
        images, first, second = _pairs(12)
        total = (first + second).double()
        return _sum_spec(delta).query(network, x0=images, eps=eps, total=total)

    return Claim(
        name=f"sum-{eps:g}",
        says=f"For 12 pairs of test images, each pixel within {eps:g}: the expected sum of the two digits "
        f"is within "
        f"{delta:g} of the true one.",
        query=query,
        control=DigitPairs,
        control_is="a network with its first weights, which has learned nothing",
        methods=("pgd", "ibp", "crown", "bab"),
        seconds=15.0,
    )


def _group_claim(eps: float) -> Claim:
    def query(network: nn.Module) -> Query:
        images, first, _ = _pairs(12)
        x0, c, member = Data("x0", 128), Label("c", 10), Data("member", (10, 10))
        x, f = Var("x", 128), Net("f", 128, 20)
        logits, inside = f(x)[:10], member[c]
        # the best of the group against the best of the others: what is not meant is pushed far down
        best, other = vmax(logits - 100.0 * (1.0 - inside)), vmax(logits - 100.0 * inside)
        spec = forall(x, ball(x0, Param("eps")) & box(0.0, 1.0), other <= best)
        return spec.query(network, x0=images, c=first, eps=eps, member=_members())

    return Claim(
        name=f"group-{eps:g}",
        says=f"For 12 pairs of test images, each pixel within {eps:g}: the first answer stays in the group "
        f"of digits "
        "that look alike ({0,6,8}, {1,7}, {2}, {3,5,9}, {4}).",
        query=query,
        control=DigitPairs,
        control_is="a network with its first weights, which has learned nothing",
        methods=("pgd", "ibp", "crown", "bab"),
        seconds=15.0,
    )


def _members() -> Tensor:
    """(10, 10): 1 where two digits are of one group."""
    same = torch.zeros(10, 10, dtype=torch.float64)
    for group in GROUPS:
        for a in group:
            same[a, list(group)] = 1.0
    return same


def _fit(eps: float, steps: int) -> Fit:
    """Cross-entropy of both digits; with `eps` > 0 also the interval bound of how far off the sum may be."""

    def fit(network: nn.Module, tools: Tools, generator: torch.Generator) -> None:
        tools.initialise(network, generator)
        data, spec = load_dataset("digits", split="train"), _sum_spec(0.0)
        inputs = data.inputs.flatten(1)

        def posed(images: Tensor, total: Tensor, radius: float) -> Query:
            return spec.query(network, x0=images, eps=radius, total=total.double())

        bound = tools.bounder(posed(torch.zeros(1, 128), torch.zeros(1), 0.01)) if eps else None

        def loss(step: int) -> Tensor:
            rows = minibatch(len(data), 128, generator).view(2, -1)
            images, labels = torch.cat((inputs[rows[0]], inputs[rows[1]]), 1), data.labels[rows]
            logits = network(images)
            clean = F.cross_entropy(logits[:, :10], labels[0]) + F.cross_entropy(logits[:, 10:], labels[1])
            if bound is None:
                return clean / 2
            radius = eps * min(1.0, (2 * step + 1) / steps)
            return clean / 2 + 0.2 * bound(posed(images, labels.sum(0), radius)).mean()

        minimise(network, loss, steps=steps, weight_decay=1e-4)

    return fit


@model(
    ModelCard(
        name="digit-pairs",
        family="classifiers",
        summary="Two digits read by one network, and what must be true of both answers together.",
        paper="Verification of non-linear specifications for neural networks (Qin et al., 2019)",
        source="arXiv 1902.09592",
        input_shape=(128,),
        outputs=20,
        task="classification of two digits",
        dataset="pairs of digits",
        parameters=5_962,
        weights=("nominal", "spec"),
        recipes=("digit-pairs-nominal", "digit-pairs-spec"),
        faithful="Expected sums of two digits and semantic groups of labels are stated of the softmax, not "
        "of the arg max.",
        deviates="Digits of 64 pixels for MNIST, groups of like shapes for CIFAR's animals and vehicles; "
        "softmax is bounded "
        "by linear planes and split, where the paper relaxes a quadratic.",
        intended_use="Specifications about probabilities and about several inputs of one network.",
        limits="12 pairs of test images; a sum that is right on average may hide two wrong digits.",
        licence="Apache-2.0",
    )
)
def digit_pairs() -> nn.Module:
    """The untrained network."""
    return DigitPairs()


add_row(
    Row(
        card=RowCard(
            id="12.09",
            section="Episode 12, robustness: other specifications",
            shows="What a user wants is rarely that the arg max stays: a bill must add up, and a wrong "
            "answer of a like kind "
            "is better than any other. Both are sentences over probabilities, and can be decided.",
            data=DATA + " Pairs are drawn with a fixed seed.",
            ethics=ETHICS,
            parts=("both images (128) -> both rows of logits (20)", "their softmax and its expected digits"),
            benefit="Brings specifications nearer to what a task needs.",
            risk="A softer specification may be chosen because it holds, not because it is enough.",
            mitigation="Each claim says in one sentence what it allows; the strict claims are those of "
            "rows 12.01 to 12.07.",
            red_line="Never used to add up amounts that somebody has to pay.",
            balance="It reads digits of 64 pixels and nothing else.",
            affected="The writers of the digits agreed to recognition research.",
            regret="That groups of like shapes were chosen by eye: another grouping gives other verdicts.",
        ),
        model="digit-pairs",
        gate=Gate("accuracy on pairs, both digits right", _accuracy, 0.85, least=True),
        fits={"nominal": _fit(0.0, 2500), "spec": _fit(0.03, 2500)},
        claims=(_sum_claim(0.01, 1.0), _sum_claim(0.03, 1.0), _group_claim(0.03)),
    )
)
