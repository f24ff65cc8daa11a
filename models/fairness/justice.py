"""Row 12.10: a score of risk in criminal justice, and what it owes to a group that is policed more.

J. Angwin et al., "Machine bias", ProPublica, 2016; Kusner et al., "Counterfactual fairness", NeurIPS 2017,
arXiv 1703.06856.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustbench_local.specs import Data, Label, Net, Query, Term, Var, box, forall, gap, library

from ..card import ModelCard
from ..registry import model
from ..row import Claim, Gate, Groups, Row, RowCard, Tools, add_row
from .scores import Scores, area_under_curve, fit_scores, linear

__all__ = ["causes", "defendants", "justice"]

NAMES = (
    "group",
    "age",
    "priors",
    "juvenile",
    "felony",
    "work",
    "policing",
    "calm",  # time since the last arrest
    "schooling",
    "housing",
)
FEATURES = len(NAMES)
GROUP, PRIORS = NAMES.index("group"), NAMES.index("priors")
EFFECTS = (  # (cause, effect, size): what recorded features owe to others
    ("group", "policing", 0.3),
    ("group", "work", -0.15),
    ("group", "housing", -0.1),
    ("policing", "priors", 0.5),
)
CONDUCT = {
    "age": -1.5,
    "priors": 3.0,
    "juvenile": 2.0,
    "felony": 0.4,
    "work": -1.5,
    "calm": -1.5,
    "schooling": -0.5,
}
ARREST = 2.0  # log odds per unit of policing: new arrests are recorded where police are
TOLERANCE = 0.4  # log odds: at most 0.1 of probability, the logistic curve being nowhere steeper than 1/4
DRIFT = 0.03
AROUND = 0.1
LEAST, MOST = 0.1, 0.3  # more priors, in tens


def causes() -> Tensor:
    """The matrix M (FEATURES, FEATURES) of features = M circumstances: each feature is its own circumstance
    plus what other features do to it; the group is a cause of others and has none."""
    effects = torch.zeros(FEATURES, FEATURES, dtype=torch.float64)
    for cause, effect, size in EFFECTS:
        effects[NAMES.index(effect), NAMES.index(cause)] = size
    own: Tensor = torch.linalg.inv(torch.eye(FEATURES, dtype=torch.float64) - effects)
    return own.float()


def defendants(rows: int, seed: int) -> tuple[Tensor, Tensor]:
    """Features (N, FEATURES) of made-up defendants, and whether a new arrest is recorded (N,), 0 or 1.

    Circumstances are uniform in [0, 1]; group and felony are 0 or 1. Conduct depends on circumstances alone,
    the record of an arrest also on policing, and so the labels are biased as real ones are.
    """
    generator = torch.Generator().manual_seed(seed)
    own = torch.rand(rows, FEATURES, generator=generator)
    binary = [GROUP, NAMES.index("felony")]
    own[:, binary] = own[:, binary].round()
    features = own @ causes().T
    weights = torch.tensor([CONDUCT.get(name, 0.0) for name in NAMES])
    odds = 1.5 * (own - 0.5) @ weights + ARREST * (features[:, NAMES.index("policing")] - 0.65)
    return features, torch.bernoulli(torch.sigmoid(odds), generator=generator).long()


def _area(network: nn.Module) -> float:
    rows, labels = defendants(2000, 2)
    with torch.inference_mode():
        return area_under_curve(network(rows)[:, 0], labels)


def _features(own: Term) -> Term:
    return Data("causes", (FEATURES, FEATURES)) @ own


def _counterfactual() -> Claim:
    def query(network: nn.Module) -> Query:
        own, f = Var("own", FEATURES, names=NAMES), Net("f", FEATURES, 1)
        here = _features(own)
        there = here + Data("shift", FEATURES)
        low, high = torch.zeros(1, FEATURES), torch.ones(1, FEATURES)
        high[:, GROUP] = 0.0
        domain = box(Data("low", FEATURES), Data("high", FEATURES))
        spec = forall(own, domain, abs(f(there) - f(here)) <= TOLERANCE)
        return spec.query(network, low=low, high=high, causes=causes(), shift=causes()[:, GROUP])

    return Claim(
        name="counterfactual",
        says=f"For all circumstances, had the defendant been of the other group, with all that follows "
        f"from it "
        f"(policing, priors, work, housing), the log odds would differ by at most {TOLERANCE}, and so the "
        f"probability by at most 0.1.",
        query=query,
        control=lambda: linear(FEATURES, {GROUP: 1.0, PRIORS: 1.0}),
        control_is="a score that adds 1 to the log odds of one group",
        methods=("pgd", "ibp", "crown", "bab"),
        seconds=25.0,
    )


def _individual(people: int = 20, tolerance: float = 0.6) -> Claim:
    def query(network: nn.Module) -> Query:
        rows, _ = defendants(people, 2)
        spec = library.individual_fairness(FEATURES, protected={GROUP: (0.0, 1.0)})
        drift = torch.full((people, FEATURES), DRIFT)
        return spec.query(network, low=rows, high=rows, drift=drift, tolerance=tolerance)

    return Claim(
        name="individual",
        says=f"Each of {people} defendants and anybody who differs by at most {DRIFT} in each feature, of "
        f"whatever group, have log odds within {tolerance} of each other.",
        query=query,
        control=lambda: linear(FEATURES, {GROUP: 1.0, PRIORS: 1.0}),
        control_is="a score that adds 1 to the log odds of one group",
        methods=("pgd", "ibp", "crown", "bab"),
    )


def _rises(people: int = 20) -> Claim:
    def query(network: nn.Module) -> Query:
        x, more, f = Var("x", FEATURES, names=NAMES), Var("more"), Net("f", FEATURES, 1)
        domain = box(Data("low", FEATURES), Data("high", FEATURES))(x) & box(LEAST, MOST)(more)
        spec = forall([x, more], domain, f(x + more * Data("priors", FEATURES)) - f(x) >= 0)
        rows, _ = defendants(people, 2)
        one = torch.eye(FEATURES)[PRIORS].expand(people, -1)
        return spec.query(network, low=rows - AROUND, high=rows + AROUND, priors=one)

    return Claim(
        name="rises",
        says=f"Within {AROUND} of each feature of {people} defendants, one to three priors more never "
        f"lower the "
        f"score.",
        query=query,
        control=lambda: linear(FEATURES, {PRIORS: -1.0}),
        control_is="a score that falls with priors",
        methods=("pgd", "ibp", "crown", "bab"),
    )


def _released(name: str, whom: str, tolerance: float, *, spared: bool, people: int = 200) -> Claim:
    """Parity of the shares of both groups that are sure of a low score; `spared`: of those without arrest."""
    x, f, group = Var("x", FEATURES, names=NAMES), Net("f", FEATURES, 1), Label("group", 2)
    spec = forall(x, box(Data("low", FEATURES), Data("high", FEATURES)), f(x) <= 0)

    def chosen() -> Tensor:
        rows, labels = defendants(2 * people if spared else people, 2)
        return rows[labels == 0] if spared else rows

    def query(network: nn.Module) -> Query:
        rows = chosen()
        drift = torch.full((FEATURES,), DRIFT)
        drift[[GROUP, NAMES.index("felony")]] = 0.0
        return spec.query(network, low=rows - drift, high=rows + drift)

    return Claim(
        name=name,
        says=f"The shares of {whom} in both groups whose log odds are below 0 with every feature up to "
        f"{DRIFT} off, but for group and felony, differ by at most {tolerance:g}.",
        query=query,
        control=lambda: linear(FEATURES, {GROUP: 1.0}, -0.5),
        control_is="a score that goes by the group alone",
        methods=("pgd", "ibp", "crown", "bab"),
        groups=Groups(gap(spec, group) <= tolerance, lambda: chosen()[:, GROUP].long()),
    )


def _fair(network: nn.Module, tools: Tools, generator: torch.Generator) -> Callable[[], Tensor]:
    """At random circumstances: the square of what the group does to the log odds, alone and with all that
    follows from it, and what is lacking of a rise with priors."""
    matrix, alone, prior = causes(), torch.eye(FEATURES)[GROUP], torch.eye(FEATURES)[PRIORS]

    def extra() -> Tensor:
        own = torch.rand(256, FEATURES, generator=generator)
        own[:, GROUP] = 0.0
        here = own @ matrix.T
        odds = network(here)
        with_all = (network(here + matrix[:, GROUP]) - odds).square().mean()
        by_itself = (network(here + alone) - odds).square().mean()
        more = LEAST + (MOST - LEAST) * torch.rand(256, 1, generator=generator)
        rise = (network(here + more * prior) - odds) / more
        unfair: Tensor = 10 * (with_all + by_itself)
        return unfair + F.relu(1.0 - rise).mean()

    return extra


@model(
    ModelCard(
        name="justice",
        family="fairness",
        summary="Risk of a new arrest, from the record of a made-up defendant.",
        paper="Counterfactual fairness (Kusner et al., 2017)",
        source="arXiv 1703.06856; J. Angwin et al., Machine bias, ProPublica, 2016",
        input_shape=(FEATURES,),
        outputs=1,
        task="scoring",
        dataset="made-up defendants",
        parameters=465,
        weights=("nominal", "spec"),
        recipes=("justice-nominal", "justice-spec"),
        faithful="Causes are written down as equations, and fairness compares a person with the same "
        "person of "
        "the other group, with all consequences, as the paper defines it.",
        deviates="Synthetic defendants instead of the records that ProPublica collected; all equations are "
        "linear, and the group is one bit. Gaps between groups (demographic parity, equal opportunity) are "
        "counted over made-up people, each with errors in what is recorded of him or her.",
        intended_use="Fairness over all circumstances as a property of a pair of evaluations, decided "
        "exactly.",
        limits="Fair only with respect to the equations assumed; real causes are disputed, and a fair "
        "score of "
        "a biased label remains a score of that label.",
        licence="Apache-2.0",
    )
)
def justice() -> nn.Module:
    """The untrained network."""
    return Scores(FEATURES, 16)


add_row(
    Row(
        card=RowCard(
            id="12.10",
            section="Episode 12, algorithmic bias: criminal justice",
            shows="Where one group is policed more, records and labels carry it, and a score learned from "
            "them "
            "hands it on; whether it does so for anybody at all is decided over all circumstances, not "
            "counted over a sample. Gaps between the groups are counted, over verdicts for each person: a "
            "score can be fair by one measure and not by another.",
            data="6,000 made-up defendants from a seeded generator for training, 2,000 others for the gate. "
            "Ten features: group, age, priors, juvenile record, felony, work, policing of the "
            "neighbourhood, time since the last arrest, schooling, housing. Generated here, no licence "
            "needed.",
            ethics="No person's data, on purpose: real records of arrests are of people who did not agree. "
            "The "
            "equations say that policing, not conduct, differs between groups; labels are new arrests and "
            "biased by it.",
            parts=(
                "the whole score: ten features -> log odds (1)",
                "circumstances -> features -> log odds, for both groups",
            ),
            benefit="Shows how far a score can be from fair while its accuracy looks normal, and that a "
            "fair one "
            "costs little.",
            risk="It may suggest that fairness is settled once a formula of it is proved.",
            mitigation="The equations are printed in the code, and the limits say that fairness depends on "
            "them.",
            red_line="Never used on people, and never as an argument that a score in use is fair.",
            balance="It decides about nobody, and the method lets others refute claims of fairness.",
            affected="Those who were scored in reality asked for exactly this kind of scrutiny; many would "
            "ask "
            "why there should be a score at all.",
            regret="That the debate moves from whether to score people to which formula to prove.",
        ),
        model="justice",
        gate=Gate("area under the curve", _area, 0.75, least=True),
        fits={
            "nominal": fit_scores(lambda: defendants(6000, 1), steps=1500),
            "spec": fit_scores(lambda: defendants(6000, 1), steps=1500, penalty=_fair, weight_decay=1e-3),
        },
        claims=(
            _counterfactual(),
            _individual(),
            _rises(),
            _released("parity", "200 defendants", 0.1, spared=False),
            _released("opportunity", "those of 400 defendants who are not arrested again", 0.1, spared=True),
        ),
    )
)
