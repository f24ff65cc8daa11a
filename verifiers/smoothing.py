"""Randomised smoothing: probabilistic l2 certificates of classifiers (Cohen et al. 2019, arXiv 1902.02918).

A certificate is about the smoothed classifier g(x) = the class that the network gives most often to
x + sigma * noise, and not about the network itself; and it is wrong with a small probability. So it is no
proof in the sense of this package, and never becomes HOLDS.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robustbench_local.errors import NonFiniteError, ShapeError, SpecError
from robustbench_local.specs import Any, Atom, Query, Tree

__all__ = [
    "ABSTAIN",
    "SMOOTHERS",
    "Certificates",
    "Predictions",
    "Smoothing",
    "binomial_lower_bound",
    "labels_of",
]

ABSTAIN = -1
"""The label where the samples do not settle the class."""

Network = Callable[[Tensor], Tensor]
Ids = Tensor | Sequence[int] | Sequence[str] | Sequence[int | str]


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """The smoothed classifier's answers.

    labels (B,): the class, ABSTAIN where it is not settled; each is right but for a probability `alpha`.
    complete (B,): False where the time ran out first (an abstention then says nothing).
    """

    labels: Tensor
    alpha: float
    complete: Tensor

    @property
    def abstained(self) -> Tensor:
        """Where there is no answer, (B,) bool."""
        return self.labels == ABSTAIN


@dataclass(frozen=True, slots=True, eq=False)
class Certificates:
    """Radii within which the smoothed classifier keeps its class.

    labels (B,): the class, ABSTAIN where none is certified. radius (B,) float64: for all x' with
    |x' - x|_2 < radius, g(x') is the label; 0 where it abstained. Each statement is wrong with probability at
    most `alpha`, over the draws of the noise. probability (B,): lower bound of the share of noise under which
    the network answers the label. complete (B,): False where the time ran out before the samples were there.
    """

    labels: Tensor
    radius: Tensor
    probability: Tensor
    alpha: float
    complete: Tensor

    @property
    def abstained(self) -> Tensor:
        """Where nothing is certified, (B,) bool."""
        return self.labels == ABSTAIN


@dataclass(frozen=True, slots=True)
class Smoothing:
    """Settings of randomised smoothing.

    Attributes:
        sigma: standard deviation of the noise, in units of the input, > 0: larger radii, less accuracy.
        samples0: noisy copies that choose the class to certify.
        samples: further noisy copies that bound its probability; the paper uses 100,000. The radius cannot
            exceed `sigma * Phi^-1(alpha^(1/samples))`.
        alpha: probability that a single certificate is wrong, in (0, 1).
        batch: noisy inputs of one forward pass, of several samples where there is room.

    Raises NonFiniteError for a value outside its range.
    """

    sigma: float = 0.25
    samples0: int = 100
    samples: int = 10_000
    alpha: float = 0.001
    batch: int = 1024

    def __post_init__(self) -> None:
        fine = 0 < self.sigma < math.inf and 0 < self.alpha < 1
        if not fine or min(self.samples0, self.samples, self.batch) < 1:
            raise NonFiniteError(
                f"smoothing cannot work with {self}",
                where="Smoothing",
                cure="give sigma > 0, 0 < alpha < 1 and counts of at least 1",
            )

    @property
    def text(self) -> str:
        """The settings that results depend on, for tables."""
        return f"sigma={self.sigma:g} samples={self.samples0}+{self.samples} alpha={self.alpha:g}"

    @property
    def largest_radius(self) -> float:
        """The radius where every sample agrees: no larger one can be certified."""
        return self._radius(binomial_lower_bound(self.samples, self.samples, self.alpha))

    def certify(
        self,
        network: Network,
        x: Tensor,
        *,
        seed: int = 0,
        ids: Ids | None = None,
        deadline: float = math.inf,
    ) -> Certificates:
        """l2 certificates of the smoothed `network` at x (B, *in): the paper's CERTIFY.

        The network maps (N, *in) to class scores (N, classes); it should be in eval mode. The noise of a
        sample depends on `seed`, the sample's id (default: its place), the device and the settings only, not
        on the batch. No sample is begun after `deadline` (time.monotonic). Raises ShapeError for
        scores of another shape.
        """
        draws = _Draws(self, network, x, seed, _names(ids, len(x)), deadline)
        first, started = draws.counts("select", self.samples0)
        chosen = first.argmax(1)
        counts, complete = draws.counts("estimate", self.samples)
        if counts.shape != first.shape:  # out of time before the first of them
            counts = torch.zeros_like(first)
        complete = complete & started
        hits = counts.gather(1, chosen.unsqueeze(1)).squeeze(1)
        lower = [binomial_lower_bound(k, self.samples, self.alpha) for k in hits.tolist()]
        probability = torch.where(complete, torch.tensor(lower, dtype=torch.float64), 0.0)
        radius = [self._radius(p) for p in probability.tolist()]
        labels = torch.where(probability > 0.5, chosen, ABSTAIN)
        return Certificates(
            labels, torch.tensor(radius, dtype=torch.float64), probability, self.alpha, complete
        )

    def predict(
        self,
        network: Network,
        x: Tensor,
        *,
        seed: int = 0,
        ids: Ids | None = None,
        deadline: float = math.inf,
    ) -> Predictions:
        """The smoothed classifier's class at x (B, *in), the paper's PREDICT, from `samples` noisy copies.

        It abstains where a two-sided binomial test at level alpha cannot tell the two most frequent
        classes apart. Arguments as in `certify`.
        """
        from scipy.stats import binom

        draws = _Draws(self, network, x, seed, _names(ids, len(x)), deadline)
        counts, complete = draws.counts("predict", self.samples)
        top, order = counts.topk(2, 1)
        tail = binom.sf(top[:, 0].numpy() - 1, top.sum(1).numpy(), 0.5)  # P(as many or more of a fair coin)
        settled = torch.from_numpy(2 * tail <= self.alpha) & complete & (top[:, 0] > top[:, 1])
        return Predictions(torch.where(settled, order[:, 0], ABSTAIN), self.alpha, complete)

    def _radius(self, probability: float) -> float:
        """sigma * Phi^-1(p), 0 for p <= 1/2."""
        from scipy.special import ndtri

        return self.sigma * float(ndtri(probability)) if probability > 0.5 else 0.0


SMOOTHERS: dict[str, Smoothing] = {
    "smoothing": Smoothing(),
    "smoothing-0.12": Smoothing(sigma=0.12),
    "smoothing-0.5": Smoothing(sigma=0.5),
    "smoothing-1": Smoothing(sigma=1.0),
}
"""Ready settings by name: the paper's levels of noise, 0.25 without a number; own ones may be added."""


def binomial_lower_bound(hits: int, trials: int, alpha: float) -> float:
    """The exact one-sided lower confidence bound of a probability (Clopper and Pearson 1934).

    With `hits` of `trials` successes, the true probability is at least this but for a chance of `alpha`.
    """
    from scipy.stats import beta

    return 0.0 if hits == 0 else float(beta.ppf(alpha, hits, trials - hits + 1))


def labels_of(query: Query) -> Tensor:
    """The class (B,) that a classification query asks for: argmax f(x) = label.

    Raises SpecError where the query says something else.
    """
    C, classes = query.C, query.C.shape[2]
    wanted = C[:, :1].sum(1).argmin(1)
    one = torch.eye(classes, dtype=C.dtype, device=C.device)
    alike = C.shape[1] == classes - 1 and all(
        torch.equal(C[b], torch.cat((one[:k], one[k + 1 :])) - one[k])  # what argmax f(x) = k lowers to
        for b, k in enumerate(wanted.tolist())
    )
    if not (alike and _atoms(query.tree) == set(range(C.shape[1])) and not bool(query.d.any())):
        raise SpecError(
            "randomised smoothing certifies the class of an input; this property says something else",
            cure="use the spec `robustness`, that is argmax f(x) = label",
        )
    return wanted


def _atoms(tree: Tree) -> set[int] | None:
    """The atoms of an OR, None for another tree."""
    if isinstance(tree, Atom):
        return {tree.index}
    found = [_atoms(child) for child in tree.children] if isinstance(tree, Any) else [None]
    return None if None in found else set().union(*(part for part in found if part is not None))


def _names(ids: Ids | None, batch: int) -> list[str]:
    """One name per sample."""
    if isinstance(ids, Tensor):
        ids = [int(name) for name in ids]
    names = [str(name) for name in (range(batch) if ids is None else ids)]
    if len(names) != batch:
        raise ShapeError(f"{len(names)} ids for {batch} samples", where="ids", cure="give one id per sample")
    return names


@dataclass(frozen=True, slots=True, eq=False)
class _Draws:
    """The classes of noisy copies of x (B, *in)."""

    settings: Smoothing
    network: Network
    x: Tensor
    seed: int
    names: list[str]
    deadline: float

    def counts(self, purpose: str, number: int) -> tuple[Tensor, Tensor]:
        """How often each class came first in `number` copies, (B, classes) int64; which samples are done."""
        counts: Tensor | None = None
        done = torch.zeros(len(self.x), dtype=torch.bool)
        with torch.inference_mode():
            for points, owners, finished in self._groups(purpose, number):
                classes, width = _classes(self.network, points)
                if counts is None:
                    counts = torch.zeros(len(self.x), width, dtype=torch.int64)
                # a copy with a NaN or infinite score counts for no class
                seen = classes >= 0
                place = owners[seen] * width + classes[seen]
                counts.view(-1).index_add_(0, place, torch.ones_like(place))
                done[finished] = True
        return (torch.zeros(len(self.x), 2, dtype=torch.int64) if counts is None else counts), done

    def _groups(self, purpose: str, number: int) -> Iterator[tuple[Tensor, Tensor, list[int]]]:
        """Batches of noisy inputs, whose they are, and the samples that are complete with them."""
        waiting: list[Tensor] = []
        owners: list[int] = []
        finished: list[int] = []
        for sample in range(len(self.x)):
            if time.monotonic() > self.deadline:
                break
            for noise in self._noise(self.names[sample], purpose, number):
                for part in noise.split(self.settings.batch):
                    if len(owners) + len(part) > self.settings.batch:
                        yield torch.cat(waiting), torch.tensor(owners), finished
                        waiting, owners, finished = [], [], []
                    waiting.append(self.x[sample] + self.settings.sigma * part)
                    owners += [sample] * len(part)
            finished.append(sample)
        if owners:
            yield torch.cat(waiting), torch.tensor(owners), finished

    def _noise(self, name: str, purpose: str, number: int) -> Iterator[Tensor]:
        """Standard normal noise (n, *in), in blocks whose size and numbers do not depend on the batch."""
        shape, device = self.x.shape[1:], self.x.device
        block = min(256, max(16, 2**20 // max(1, shape.numel())))
        generator = torch.Generator(device)
        for start in range(0, number, block):
            key = f"{self.seed}\x1f{name}\x1f{purpose}\x1f{start}"
            digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
            generator.manual_seed(int.from_bytes(digest, "little") >> 1)
            noise = torch.randn(
                (block, *shape), generator=generator, dtype=self.x.dtype, device=device
            )  # always a whole block: the numbers may depend on how many are drawn at once
            yield noise[: number - start]


def _classes(network: Network, points: Tensor) -> tuple[Tensor, int]:
    """The class of each point (N,) on the CPU, -1 where a score is not finite; and the number of classes."""
    given = network(points)
    scores = given.flatten(1) if given.dim() > 1 else given.unsqueeze(1)
    if scores.shape[0] != len(points) or scores.shape[1] < 2:
        raise ShapeError(
            f"the network returned shape {tuple(given.shape)} for {len(points)} inputs",
            cure="smoothing needs a classifier: scores of shape (N, classes), two classes or more",
        )
    classes = torch.where(scores.isfinite().all(1), scores.argmax(1), -1)
    return classes.cpu(), scores.shape[1]
