"""Row 10.04: a support vector machine with a Gaussian kernel, evaluated as a network of two layers.

C. Cortes and V. Vapnik, "Support-vector networks", Machine Learning 20, 1995.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robustbench_local.specs import Data, Net, Query, Var, ball, box, forall, robustness

from ..card import ModelCard
from ..registry import model
from ..row import Claim, Fit, Gate, Row, RowCard, Tools, add_row
from .flat import DATA, ETHICS, PIXELS, flat, some

__all__ = ["KernelMachine", "kernel"]

VECTORS = 200
CLASSES = 10
REACH = 0.2  # gamma of exp(-gamma |x - v|^2), pixels in [0, 1]
IMAGES = 20
DISTANCES = (5.0, 6.0, 8.0)


class KernelMachine(nn.Module):
    """Images (B, 64) -> ten scores sum_k a_ck exp(-REACH |x - v_k|^2) + b_c, (B, 10), from 200 vectors v_k.

    The squared distance is written |x|^2 - 2 v x + |v|^2: one square per pixel, and the rest is affine.
    """

    def __init__(self) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.zeros(VECTORS, PIXELS))
        self.vote = nn.Linear(VECTORS, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Scores (B, 10) of images x (B, 64); in each, positive says "this digit"."""
        twice = x @ (2 * self.vectors).T - self.vectors.square().sum(1)
        scores: Tensor = self.vote(torch.exp(REACH * (twice - x.square().sum(1, keepdim=True))))
        return scores

    def fit_to(self, images: Tensor, labels: Tensor, penalty: float) -> KernelMachine:
        """Ten machines, each digit against the rest, on the 200 images that weigh most in a machine trained
        on all (N, 64); `penalty` is the price of a training image on the wrong side."""
        from sklearn.svm import SVC  # takes half a second

        x, y = images.double().numpy(), labels.numpy()
        every = SVC(C=10.0).set_params(gamma=REACH).fit(x, y)
        weight = torch.from_numpy(every.dual_coef_).abs().sum(0)
        chosen = torch.from_numpy(every.support_).long()[weight.argsort(descending=True, stable=True)]
        few, names = x[chosen[:VECTORS]], y[chosen[:VECTORS]]
        with torch.no_grad():
            self.vectors.copy_(torch.from_numpy(few))
            self.vote.weight.zero_()
            for digit in range(CLASSES):
                one = SVC(C=penalty).set_params(gamma=REACH).fit(few, names == digit)
                self.vote.weight[digit, one.support_.tolist()] = torch.from_numpy(one.dual_coef_[0]).float()
                self.vote.bias[digit] = float(one.intercept_[0])
        return self


class Templates(nn.Module):
    """A control: the inner product with the mean of each digit, minus the mean product; it has no distance
    and grows without limit."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        images, labels = flat("train")
        means = torch.stack([images[labels == digit].mean(0) for digit in range(CLASSES)])
        self.vote = nn.Linear(PIXELS, CLASSES)
        with torch.no_grad():
            self.vote.weight.copy_(scale * means)
            self.vote.bias.copy_(-scale * (images @ means.T).mean(0))

    def forward(self, x: Tensor) -> Tensor:
        """Scores (B, 10) of images x (B, 64)."""
        scores: Tensor = self.vote(x)
        return scores


def _accuracy(network: nn.Module) -> float:
    images, labels = flat()
    with torch.inference_mode():
        return float((network(images).argmax(1) == labels).float().mean())


def _keeps_class(eps: float) -> Claim:
    def query(network: nn.Module) -> Query:
        images, labels = some(IMAGES)
        return robustness((PIXELS,), CLASSES).query(network, x0=images, c=labels, eps=eps)

    return Claim(
        name=f"rob-{eps:g}",
        says=f"Around each of {IMAGES} test images, within {eps:g} of every pixel, the digit's class comes "
        f"first.",
        query=query,
        control=Templates,
        control_is="a linear machine: inner products with the mean of each digit",
        methods=("clause-pgd", "ibp", "crown", "bab"),
    )


def _moves_little(eps: float, most: float) -> Claim:
    def query(network: nn.Module) -> Query:
        x0, y0, f = Data("x0", PIXELS), Data("y0", CLASSES), Net("f", PIXELS, CLASSES)
        x = Var("x", like=x0)
        images = some(IMAGES)[0]
        with torch.no_grad():
            scores = network(images)
        spec = forall(x, ball(x0, eps) & box(0, 1), abs(f(x) - y0) <= most)
        return spec.query(network, x0=images, y0=scores)

    return Claim(
        name=f"slope-{eps:g}",
        says=f"Around each of {IMAGES} test images, within {eps:g} of every pixel, no score moves by more "
        f"than {most:g}; the margin of training is 1.",
        query=query,
        control=lambda: Templates(10.0),
        control_is="a linear machine whose scores are ten times too large",
        methods=("pgd", "ibp", "crown", "bab"),
    )


def _far_away(most: float) -> Claim:
    def query(network: nn.Module) -> Query:
        x0, b, f = Data("x0", PIXELS), Data("b", CLASSES), Net("f", PIXELS, CLASSES)
        x = Var("x", like=x0)
        vote = network.vote
        assert isinstance(vote, nn.Linear)
        spec = forall(x, ball(x0, 0.05), abs(f(x) - b) <= most)
        return spec.query(network, x0=_far(IMAGES // 2), b=vote.bias.detach())

    return Claim(
        name=f"far-{most:g}",
        says=f"At l2 distances of {', '.join(f'{d:g}' for d in DISTANCES)} from {IMAGES // 2} test images, "
        f"in a direction away from all digits, and within 0.05 of there in every pixel, all ten scores are "
        f"within {most:g} of their biases: the machine has no opinion.",
        query=query,
        control=Templates,
        control_is="a linear machine, whose opinion grows with the distance",
        methods=("pgd", "ibp", "crown", "bab"),
    )


def _far(number: int) -> Tensor:
    """`number` test images moved by each distance in directions drawn at random and turned so that they lead
    away from the mean of all digits, (3 number, 64)."""
    generator = torch.Generator().manual_seed(4)
    images = some(number)[0]
    way = torch.randn(number, PIXELS, generator=generator)
    outward = ((images - flat("train")[0].mean(0)) * way).sum(1, keepdim=True).sign()
    unit = outward * way / way.norm(dim=1, keepdim=True)
    return torch.cat([images + distance * unit for distance in DISTANCES])


def _fit(penalty: float) -> Fit:
    """Two rounds of scikit-learn's solver of the dual, see `KernelMachine.fit_to`."""

    def fit(network: nn.Module, tools: Tools, generator: torch.Generator) -> None:
        assert isinstance(network, KernelMachine)
        network.fit_to(*flat("train"), penalty)

    return fit


@model(
    ModelCard(
        name="kernel",
        family="classical",
        summary="A support vector machine with a Gaussian kernel on at most 200 digits, as a network.",
        paper="Support-vector networks (Cortes and Vapnik, 1995)",
        source="Machine Learning 20(3), doi 10.1007/BF00994018",
        input_shape=(PIXELS,),
        outputs=CLASSES,
        task="classification",
        dataset="digits",
        parameters=14_810,
        weights=("nominal", "spec"),
        recipes=("kernel-nominal", "kernel-spec"),
        faithful="The soft margin and its dual, solved by libsvm in scikit-learn; the network computes that "
        "machine's decision function, sum over support vectors of a kernel times a weight, plus a bias.",
        deviates="The kernel is Gaussian (the paper's digits used polynomials). Ten machines, one digit "
        "against the rest, share 200 vectors: those that weigh most in a machine on all 1,197 images, which "
        "has about 590 (test accuracy .993 before the cut). `spec` is the same with a price of 1 instead of "
        "10 for images on the wrong side, which limits every weight to 1 and so the steepest slope.",
        intended_use="Robustness, slope and silence far from the data of a model that is smooth and not "
        "piecewise linear.",
        limits="The claim of silence begins at a distance of 5, chosen after seeing bounds: at 4 not all was "
        "decided. One kernel width (gamma 0.2); its scores are no probabilities; 8x8 digits only.",
        licence="Apache-2.0",
    )
)
def kernel() -> nn.Module:
    """The untrained machine."""
    return KernelMachine()


add_row(
    Row(
        card=RowCard(
            id="10.04",
            section="Episode 10, history of representation learning: kernel methods until 2006",
            shows="A representation that is fixed by a kernel and the training images themselves: nothing is "
            "learned but weights of examples. Its slope is limited by the sum of those weights, and far from "
            "all examples nothing but the bias is left, which a linear machine cannot offer.",
            data=DATA,
            ethics=ETHICS
            + " Support vectors are training images, so the weights contain digits that people wrote.",
            parts=("the whole machine: image (64) -> scores (10)",),
            benefit="A strong classical opponent: small data, no random start, slopes that can be bounded.",
            risk="Support vectors are copies of training data; a machine trained on persons publishes them.",
            mitigation="The images are public and show digits; the card says that they are inside.",
            red_line="No machine whose support vectors are records of people is published.",
            balance="It reads digits that are public already, and shows what kernels gave before networks.",
            affected="The writers gave their digits for research; their digits identify nobody.",
            regret="That silence at a distance of 5 is taken for a warning: nearer strangers get an opinion.",
        ),
        model="kernel",
        gate=Gate("test accuracy", _accuracy, 0.97, least=True),
        fits={"nominal": _fit(10.0), "spec": _fit(1.0)},
        claims=(_keeps_class(0.03), _keeps_class(0.06), _moves_little(0.03, 0.5), _far_away(0.01)),
    )
)
