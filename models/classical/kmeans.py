"""Row 10.01: clusters of digits by k-means, and how far an image is from the next cluster.

S. Lloyd, "Least squares quantization in PCM", IEEE Transactions on Information Theory 28, 1982.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustbench_local.specs import Query, robustness

from ..card import ModelCard
from ..fitting import minimise
from ..registry import model
from ..row import Claim, Fit, Gate, Row, RowCard, Tools, add_row
from .flat import DATA, ETHICS, PIXELS, flat, some

__all__ = ["Clusters", "kmeans", "lloyd"]

CLUSTERS = 10
DIGITS = 10
IMAGES = 30  # of every claim
ABSENT = 200.0  # more than any two scores of images in [0, 1]^64 differ by


class Clusters(nn.Module):
    """Images (B, 64) -> scores (B, 10): |x|^2 minus the squared distance to each centre, affine in x."""

    offsets: Tensor  # (10,): -|centre|^2, stored so that every arithmetic sees the same numbers
    digit_of: Tensor  # (10,): the digit that most training images of a cluster show

    def __init__(self) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.rand(CLUSTERS, PIXELS))
        self.register_buffer("offsets", torch.zeros(CLUSTERS))
        self.register_buffer("digit_of", torch.zeros(CLUSTERS, dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        """Scores (B, 10); the nearest centre has the largest."""
        return F.linear(x, 2 * self.centres, self.offsets)

    @torch.no_grad()
    def settle(self, images: Tensor, labels: Tensor) -> None:
        """Sets `offsets` from the centres, and `digit_of` by the majority of images (N, 64)."""
        self.offsets.copy_(-self.centres.square().sum(1))
        nearest = self(images).argmax(1)
        counts = torch.zeros(CLUSTERS, DIGITS)
        counts.index_put_((nearest, labels), torch.ones(len(labels)), accumulate=True)
        self.digit_of.copy_(counts.argmax(1))


class Digits(nn.Module):
    """Images (B, 64) -> for each digit the largest score of its clusters, (B, 10)."""

    absent: Tensor  # (10, 10): 0 where a cluster (column) shows a digit (row), -ABSENT elsewhere

    def __init__(self, clusters: Clusters) -> None:
        super().__init__()
        self.clusters = clusters
        shows = F.one_hot(clusters.digit_of, DIGITS).T
        self.register_buffer("absent", ABSENT * (shows.float() - 1))

    def forward(self, x: Tensor) -> Tensor:
        """Scores (B, 10) of digits; a digit without a cluster never wins."""
        scores: Tensor = self.clusters(x)
        return (scores.unsqueeze(1) + self.absent).amax(2)


def lloyd(points: Tensor, centres: Tensor, rounds: int = 100) -> Tensor:
    """Centres (K, D) after `rounds` of Lloyd's two steps on points (N, D); an empty cluster stays put."""
    for _ in range(rounds):
        nearest = torch.cdist(points, centres).argmin(1)
        sums = torch.zeros_like(centres).index_add_(0, nearest, points)
        sizes = torch.bincount(nearest, minlength=len(centres)).unsqueeze(1)
        centres = torch.where(sizes > 0, sums / sizes.clamp_min(1), centres)
    return centres


def _best(points: Tensor, generator: torch.Generator, starts: int = 10) -> Tensor:
    """The centres with the smallest squared error of several starts from random points."""
    found: list[tuple[float, Tensor]] = []
    for _ in range(starts):
        rows = torch.randperm(len(points), generator=generator)[:CLUSTERS]
        centres = lloyd(points, points[rows])
        found.append((float(torch.cdist(points, centres).amin(1).square().sum()), centres))
    return min(found, key=lambda pair: pair[0])[1]


def _purity(network: nn.Module) -> float:
    assert isinstance(network, Clusters)
    images, labels = flat()
    with torch.inference_mode():
        return float((network.digit_of[network(images).argmax(1)] == labels).float().mean())


def _keeps(eps: float) -> Claim:
    def query(network: nn.Module) -> Query:
        images, _ = some(IMAGES)
        with torch.no_grad():
            nearest = network(images).argmax(1)
        return robustness((PIXELS,), CLUSTERS).query(network, x0=images, c=nearest, eps=eps)

    return Claim(
        name=f"keeps-{eps:g}",
        says=f"Within {eps:g} of every pixel of {IMAGES} test images, the image stays in its cluster.",
        query=query,
        control=_crowded,
        control_is="centres that are ten noisy copies of one mean, 0.02 apart per pixel",
        methods=("clause-pgd", "ibp", "crown"),
    )


def _pure(eps: float) -> Claim:
    def query(network: nn.Module) -> Query:
        assert isinstance(network, Clusters)
        images, labels = some(IMAGES)
        spec = robustness((PIXELS,), DIGITS)
        return spec.query(Digits(network).eval(), x0=images, c=labels, eps=eps)

    return Claim(
        name=f"pure-{eps:g}",
        says=f"Within {eps:g} of every pixel of {IMAGES} test images, the cluster is one whose training "
        "images mostly show the digit of the image.",
        query=query,
        control=_crowded,
        control_is="centres that are ten noisy copies of one mean, so that clusters mix all digits",
        methods=("clause-pgd", "ibp", "crown"),
    )


def _crowded() -> Clusters:
    images, labels = flat("train")
    noise = torch.randn(CLUSTERS, PIXELS, generator=torch.Generator().manual_seed(0))
    clusters = Clusters()
    with torch.no_grad():
        clusters.centres.copy_(images.mean(0) + 0.02 * noise)
    clusters.settle(images, labels)
    return clusters


def _fit(eps: float) -> Fit:
    """Lloyd's centres; then, where eps > 0, moved so that images keep their cluster within eps of a pixel.

    The second part minimises the mean squared distance plus, over the training images, how far the worst
    point of the ball goes beyond the border to another cluster, which is |c_j - c_k|_1 eps in closed form.
    """

    def fit(network: nn.Module, tools: Tools, generator: torch.Generator) -> None:
        assert isinstance(network, Clusters)
        images, labels = flat("train")
        with torch.no_grad():
            network.centres.copy_(_best(images, generator))

        def loss(step: int) -> Tensor:
            scores = F.linear(images, 2 * network.centres, -network.centres.square().sum(1))
            own = scores.argmax(1)
            apart = (network.centres[own].unsqueeze(1) - network.centres).abs().sum(2)
            lead = scores.gather(1, own.unsqueeze(1)) - scores - 2 * eps * apart
            lead = lead.scatter(1, own.unsqueeze(1), 1e3)
            error = (images - network.centres[own]).square().sum(1)
            return error.mean() + F.relu(-lead.amin(1)).mean()

        if eps > 0:
            minimise(network, loss, steps=300, learning_rate=5e-3)
        network.settle(images, labels)

    return fit


@model(
    ModelCard(
        name="kmeans",
        family="classical",
        summary="Ten clusters of 8x8 digits by k-means; the cluster of an image is the nearest centre.",
        paper="Least squares quantization in PCM (Lloyd, 1982)",
        source="IEEE Transactions on Information Theory 28(2)",
        input_shape=(PIXELS,),
        outputs=CLUSTERS,
        task="clustering",
        dataset="digits",
        parameters=640,
        weights=("nominal", "spec"),
        recipes=("kmeans-nominal", "kmeans-spec"),
        faithful="Lloyd's two steps from ten random starts; the start with the least squared error is kept.",
        deviates="Scores are |x|^2 minus squared distances, which is affine and has the same maximum. "
        "`spec` trades some squared error for wider margins between centres, by gradients; labels are used "
        "only to name the clusters afterwards.",
        intended_use="Margins between clusters as a measure of which clusters are good, decided exactly.",
        limits="Ten clusters are not the ten digits: some digits share one, others have two.",
        licence="Apache-2.0",
    )
)
def kmeans() -> nn.Module:
    """The untrained model."""
    return Clusters()


add_row(
    Row(
        card=RowCard(
            id="10.01",
            section="Episode 10, unsupervised learning: clustering groups similar data; how do we know which "
            "clusters are good?",
            shows="Without labels there is no ground truth for clusters, but one can ask whether membership "
            "survives noise that nobody sees. For nearest centres the answer is exact: half-planes.",
            data=DATA,
            ethics=ETHICS,
            parts=(
                "scores: image (64) -> cluster (10)",
                "digits: image (64) -> best score of the clusters of each digit (10)",
            ),
            benefit="Gives the question of good clusters one answer that can be checked.",
            risk="Groups found by an algorithm may be taken for kinds that exist.",
            mitigation="Purity against labels is the gate, and stability is claimed apart from purity.",
            red_line="Never to sort people into groups that they are then treated by.",
            balance="Clusters of digits treat nobody; the check of stability is useful elsewhere.",
            affected="The writers gave their digits for research; a centre is a mean of about 120 of them.",
            regret="That stable clusters are read as true ones: a single cluster is perfectly stable.",
        ),
        model="kmeans",
        gate=Gate("purity of the clusters of test images", _purity, 0.7, least=True),
        fits={"nominal": _fit(0.0), "spec": _fit(0.03)},
        claims=(_keeps(0.02), _keeps(0.05), _pure(0.02)),
    )
)
