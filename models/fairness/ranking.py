"""Row 12.11: a tool that ranks applications, learned from past choices that preferred men.

J. Dastin, Reuters, 10 October 2018, on a company's abandoned tool; Raghavan et al., "Mitigating bias in
algorithmic hiring", FAT* 2020, arXiv 1906.09208.
"""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustbench_local.specs import Data, Net, Query, Var, box, forall, library

from ..card import ModelCard
from ..fitting import minibatch, minimise
from ..registry import model
from ..row import Claim, Fit, Gate, Row, RowCard, Tools, add_row
from .scores import linear

__all__ = ["applications", "ranking", "swapped"]

MERITS = ("years", "degree", "skill", "second skill", "references", "steadiness")  # each in [0, 1]
WORDS = ("women's", "men's", "collaborated", "captured", "dance", "football")  # 0 or 1: in the text or not
FEATURES = len(MERITS) + len(WORDS)
FIRST = len(MERITS)
PAIRS = ((0, 1), (2, 3), (4, 5))  # words that are exchanged: the women's one, the men's one
OFTEN, SELDOM = 0.6, 0.1  # how often one's own words and those of the others are written
WEIGHTS = (3.0, 1.5, 2.0, 1.0, 1.5, 1.0)  # what merit owes to each of MERITS
PREFERRED = 0.6  # what past choices added for men
TOLERANCE = 0.3


class Ranker(nn.Module):
    """An application, merits and words (B, 12), -> its score (B, 1); the higher ranks first."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(FEATURES, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Scores (B, 1) of applications x (B, 12)."""
        score: Tensor = self.layers(x)
        return score


def applications(rows: int, seed: int) -> tuple[Tensor, Tensor]:
    """Applications (N, FEATURES), and what past choices saw in each (N,): merit, and PREFERRED for men.

    Merits are uniform and alike for women and men; words depend on who wrote them.
    """
    generator = torch.Generator().manual_seed(seed)
    merits = torch.rand(rows, len(MERITS), generator=generator)
    woman = torch.randint(2, (rows, 1), generator=generator).float()
    own = torch.tensor([1.0, 0.0] * len(PAIRS)) == woman
    words = torch.bernoulli(torch.where(own, OFTEN, SELDOM), generator=generator)
    return torch.cat((merits, words), 1), merits @ torch.tensor(WEIGHTS) + PREFERRED * (1 - woman[:, 0])


def swapped(x: Tensor, pairs: tuple[tuple[int, int], ...] = PAIRS) -> Tensor:
    """Applications with the two words of each pair exchanged."""
    order = list(range(FEATURES))
    for a, b in pairs:
        order[FIRST + a], order[FIRST + b] = FIRST + b, FIRST + a
    return x[:, order]


def _agreement(network: nn.Module) -> float:
    """The share of 2,000 pairs of new applications that the network orders as past choices did."""
    x, seen = applications(4000, 2)
    with torch.inference_mode():
        score = network(x)[:, 0]
    return float(((score[::2] > score[1::2]) == (seen[::2] > seen[1::2])).float().mean())


def _variants(x: Tensor) -> Tensor:
    """Each application with every subset of PAIRS exchanged, (B, 2 ** 3, FEATURES)."""
    subsets = product((False, True), repeat=len(PAIRS))
    chosen = [tuple(p for p, take in zip(PAIRS, takes, strict=True) if take) for takes in subsets]
    return torch.stack([swapped(x, pairs) for pairs in chosen], 1)


def _keeps_places(pools: int = 12, rivals: int = 7) -> Claim:
    def query(network: nn.Module) -> Query:
        spec = library.keeps_places(FEATURES, rivals=rivals, variants=2 ** len(PAIRS))
        people = applications(pools * (rivals + 1), 3)[0].reshape(pools, rivals + 1, FEATURES)
        own, others = people[:, 0], people[:, 1:]
        return spec.query(network, x0=own, pool=others, variants=_variants(own))

    return Claim(
        name="keeps-places",
        says=f"In each of {pools} pools of {rivals + 1}, one application keeps its lead over all that it "
        f"leads, "
        f"whichever pairs of gendered words are exchanged in it.",
        query=query,
        control=lambda: linear(FEATURES, {0: 1.0, FIRST: -5.0, FIRST + 1: 5.0}),
        control_is="a score in which two gendered words outweigh all merit",
        methods=("pgd", "ibp", "crown", "bab"),
    )


def _differs(name: str, pairs: tuple[tuple[int, int], ...], says: str) -> Claim:
    def query(network: nn.Module) -> Query:
        x, f = Var("x", FEATURES), Net("f", FEATURES, 1)
        order = swapped(torch.arange(FEATURES)[None], pairs)[0].tolist()
        twin = Data("exchange", (FEATURES, FEATURES)) @ x
        spec = forall(x, box(0, 1), abs(f(x) - f(twin)) <= TOLERANCE)
        return spec.query(network, exchange=torch.eye(FEATURES)[order])

    return Claim(
        name=name,
        says=f"{says} changes no score by more than {TOLERANCE}, a tenth of what the years are worth, "
        f"whatever the merits and the other words.",
        query=query,
        control=lambda: linear(FEATURES, {0: 1.0, FIRST: -1.0, FIRST + 4: -1.0}),
        control_is="a score that takes 1 off for the women's club and for dancing",
        methods=("pgd", "ibp", "crown", "bab"),
    )


def _fit(steps: int, price: float) -> Fit:
    """RankNet (Burges et al., ICML 2005): logistic loss on the difference of two scores, for choices that are
    the surer the more the two differ; and `price` times the square of what exchanges of words change at
    random applications."""

    def fit(network: nn.Module, tools: Tools, generator: torch.Generator) -> None:
        tools.initialise(network, generator)
        x, seen = applications(6000, 1)

        def loss(step: int) -> Tensor:
            a, b = minibatch(len(x), 128, generator), minibatch(len(x), 128, generator)
            better = torch.bernoulli(torch.sigmoid(seen[a] - seen[b]), generator=generator)
            exact = F.binary_cross_entropy_with_logits((network(x[a]) - network(x[b]))[:, 0], better)
            return exact + price * _changes(network, generator) if price else exact

        minimise(network, loss, steps=steps, learning_rate=5e-3, weight_decay=1e-4)

    return fit


def _changes(network: nn.Module, generator: torch.Generator) -> Tensor:
    points = torch.rand(128, FEATURES, generator=generator)
    points[:64, FIRST:] = points[:64, FIRST:].round()
    twins = _variants(points)
    changes: Tensor = network(twins.flatten(0, 1)).reshape(128, -1) - network(points)
    return changes.square().mean()


@model(
    ModelCard(
        name="ranking",
        family="fairness",
        summary="Ranks applications by merits and words, as past choices did, which preferred men.",
        paper="Mitigating bias in algorithmic hiring (Raghavan et al., 2020)",
        source="arXiv 1906.09208; J. Dastin, Reuters, 10 October 2018",
        input_shape=(FEATURES,),
        outputs=1,
        task="ranking",
        dataset="made-up applications",
        parameters=225,
        weights=("nominal", "spec"),
        recipes=("ranking-nominal", "ranking-spec"),
        faithful="The tool never sees who is a woman; it learns to mark down words that women write, as was "
        "reported.",
        deviates="Made-up applications: six merits and six words, present or absent, instead of texts; the "
        "real tool and its data were never published.",
        intended_use="Proxies in words as a property of pools and of all applications, decided exactly.",
        limits="Six words that are known; a text has many, and those nobody lists stay unchecked.",
        licence="Apache-2.0",
    )
)
def ranking() -> nn.Module:
    """The untrained network."""
    return Ranker()


add_row(
    Row(
        card=RowCard(
            id="12.11",
            section="Episode 12, algorithmic bias: job search tools that prefer men",
            shows="Leaving gender out of the data does not make a ranking fair: words carry it. Which places "
            "are lost for a word is decided for given pools, and how much a word can weigh for all "
            "applications.",
            data="6,000 made-up applications from a seeded generator for training, 4,000 others for the "
            "gate, 96 for pools. Merits are alike for both groups, words are not, and past choices added "
            "0.6 of "
            "10 points for men. Generated here, no licence needed.",
            ethics="No person's data. Two groups are told apart by six words, a caricature that leaves out "
            "everybody whom it does not fit. Labels are past choices, biased on purpose.",
            parts=(
                "the whole ranker: merits and words (12) -> score (1)",
                "scores of an application, its exchanged twins and seven rivals",
            ),
            benefit="Shows how a proxy is found and priced, which any buyer of such a tool could ask for.",
            risk="A tool that passes for six words may be sold as free of bias.",
            mitigation="The words are listed, the limits say that others are unchecked, both weight sets "
            "are shown.",
            red_line="Never ranks people who apply for anything.",
            balance="It hires nobody; the audit that it demonstrates protects applicants.",
            affected="Applicants would agree to the audit, and might prefer to be read by a person.",
            regret="That exchanging words is taken for the whole of fairness, while careers differ in much "
            "else.",
        ),
        model="ranking",
        gate=Gate("pairs in order", _agreement, 0.8, least=True),
        fits={"nominal": _fit(1500, 0.0), "spec": _fit(1500, 3.0)},
        claims=(
            _keeps_places(),
            _differs("words-all", PAIRS, "Exchanging all gendered words"),
            _differs("hobby", PAIRS[2:], "Exchanging dance and football"),
        ),
    )
)
