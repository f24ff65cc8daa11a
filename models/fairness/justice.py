"""Row 12.10: a score of risk in criminal justice, and what it owes to a group that is policed more.

J. Angwin et al., "Machine bias", ProPublica, 2016; Kusner et al., "Counterfactual fairness", NeurIPS 2017,
arXiv 1703.06856.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustbench_local.data import Split, load_dataset, load_people
from robustbench_local.specs import Data, Label, Net, Query, Var, box, forall, gap, library

from ..card import ModelCard
from ..registry import model
from ..row import Claim, Gate, Groups, Row, RowCard, Tools, add_row
from .scores import Scores, area_under_curve, fit_scores, linear

__all__ = ["consequences", "justice"]

PEOPLE = load_people("compas")
NAMES = PEOPLE.features
FEATURES = len(NAMES)
GROUP, PRIORS = PEOPLE.index("african_american"), PEOPLE.index("priors_count")
EFFECTS = (  # (effect, causes): what the records of one thing owe to others, in order
    ("juv_fel_count", ("african_american", "male", "age")),
    ("juv_misd_count", ("african_american", "male", "age")),
    ("juv_other_count", ("african_american", "male", "age")),
    (
        "priors_count",
        ("african_american", "male", "age", "juv_fel_count", "juv_misd_count", "juv_other_count"),
    ),
    ("felony", ("african_american", "male", "age", "priors_count")),
)
TOLERANCE = 0.4  # log odds: at most 0.1 of probability, the logistic curve being nowhere steeper than 1/4
DRIFT = {"age": 1 / 78, "priors_count": 1 / 38}  # what records may be off by: a year, a prior
AROUND = 3  # times DRIFT
LEAST, MOST = 1 / 38, 3 / 38  # more priors: one to three


def consequences() -> Tensor:
    """What follows for every feature, (FEATURES,), from being of the group: 1 for the group itself.

    The equations of `EFFECTS` are linear and fitted to the training rows by least squares, one by one; an
    effect is direct or passes through other features.
    """
    rows = load_dataset("compas", split="train").inputs.double()
    total = torch.zeros(FEATURES, dtype=torch.float64)
    total[GROUP] = 1.0
    for effect, causes in EFFECTS:
        places = [PEOPLE.index(cause) for cause in causes]
        known = torch.cat([rows[:, places], torch.ones(len(rows), 1, dtype=torch.float64)], 1)
        sizes = torch.linalg.lstsq(known, rows[:, PEOPLE.index(effect)]).solution
        total[PEOPLE.index(effect)] = sizes[:-1] @ total[places]
    return total.float()


def _records(split: Split = "test") -> tuple[Tensor, Tensor]:
    data = load_dataset("compas", split=split)
    return data.inputs, data.labels


def _some(count: int) -> tuple[Tensor, Tensor]:
    """So many test rows, spread over all."""
    rows, labels = _records()
    chosen = torch.linspace(0, len(rows) - 1, count).long()
    return rows[chosen], labels[chosen]


def _off(times: float = 1.0) -> Tensor:
    """By how much features may be off, (FEATURES,): `times` what `DRIFT` says."""
    error = torch.zeros(FEATURES)
    for name, size in DRIFT.items():
        error[PEOPLE.index(name)] = times * size
    return error


def _area(network: nn.Module) -> float:
    rows, labels = _records()
    with torch.inference_mode():
        return area_under_curve(network(rows)[:, 0], labels)


def _counterfactual() -> Claim:
    def query(network: nn.Module) -> Query:
        x, f = Var("x", FEATURES, names=NAMES), Net("f", FEATURES, 1)
        shift = consequences()
        low, high = F.relu(-shift)[None], 1 - F.relu(shift)[None]  # both records can be
        spec = forall(
            x,
            box(Data("low", FEATURES), Data("high", FEATURES)),
            abs(f(x + Data("shift", FEATURES)) - f(x)) <= TOLERANCE,
        )
        return spec.query(network, low=low, high=high, shift=shift)

    return Claim(
        name="counterfactual",
        says="For every record of a defendant of the other groups, had he or she been African-American, with "
        "all that the fitted equations say follows from it (juvenile records, priors, degree), the log odds "
        f"would differ by at most {TOLERANCE}, and so the probability by at most 0.1.",
        query=query,
        control=lambda: linear(FEATURES, {GROUP: 1.0, PRIORS: 1.0}),
        control_is="a score that adds 1 to the log odds of one group",
        methods=("pgd", "ibp", "crown", "bab"),
        seconds=25.0,
    )


def _individual(people: int = 20, tolerance: float = 0.6) -> Claim:
    def query(network: nn.Module) -> Query:
        rows, _ = _some(people)
        spec = library.individual_fairness(FEATURES, protected=PEOPLE.twins("african_american"))
        drift = _off().expand(people, -1)
        return spec.query(network, low=rows, high=rows, drift=drift, tolerance=tolerance)

    return Claim(
        name="individual",
        says=f"Each of {people} defendants and anybody at most a year older or younger with at most "
        f"a prior more or less, of whatever group, have log odds within {tolerance} of each other.",
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
        rows, _ = _some(people)
        one = torch.eye(FEATURES)[PRIORS].expand(people, -1)
        return spec.query(network, low=rows - _off(AROUND), high=rows + _off(AROUND), priors=one)

    return Claim(
        name="rises",
        says=f"Within {AROUND} years of the age and {AROUND} priors of {people} defendants, one to three "
        f"priors "
        f"more never lower the score.",
        query=query,
        control=lambda: linear(FEATURES, {PRIORS: -1.0}),
        control_is="a score that falls with priors",
        methods=("pgd", "ibp", "crown", "bab"),
    )


def _released(name: str, whom: str, tolerance: float, *, spared: bool, people: int = 300) -> Claim:
    """Parity of the shares of both groups that are sure of a low score; `spared`: of those not charged."""
    x, f, group = Var("x", FEATURES, names=NAMES), Net("f", FEATURES, 1), Label("group", 2)
    spec = forall(x, box(Data("low", FEATURES), Data("high", FEATURES)), f(x) <= 0)

    def chosen() -> Tensor:
        rows, labels = _some(2 * people if spared else people)
        return rows[labels == 0] if spared else rows

    def query(network: nn.Module) -> Query:
        rows = chosen()
        return spec.query(network, low=rows - _off(), high=rows + _off())

    return Claim(
        name=name,
        says=f"The shares of {whom}, African-American and others, whose log odds are below 0 with the age "
        f"up to "
        f"a year off and priors up to one, differ by at most {tolerance:g}.",
        query=query,
        control=lambda: linear(FEATURES, {GROUP: 1.0}, -0.5),
        control_is="a score that goes by the group alone",
        methods=("pgd", "ibp", "crown", "bab"),
        groups=Groups(gap(spec, group) <= tolerance, lambda: chosen()[:, GROUP].long()),
    )


def _fair(network: nn.Module, tools: Tools, generator: torch.Generator) -> Callable[[], Tensor]:
    """At random records, half of them corners: the square of what the group does to the log odds, alone "
    "and with all that follows
    from it, and what is lacking of a rise with priors."""
    shift, alone, prior = consequences(), torch.eye(FEATURES)[GROUP], torch.eye(FEATURES)[PRIORS]

    def extra() -> Tensor:
        here = torch.rand(256, FEATURES, generator=generator)
        here[::2] = here[::2].round()
        here[:, GROUP] = 0.0
        odds = network(here)
        with_all = (network(here + shift) - odds).square().mean()
        by_itself = (network(here + alone) - odds).square().mean()
        more = LEAST + (MOST - LEAST) * torch.rand(256, 1, generator=generator)
        rise = (network(here + more * prior) - odds) / more
        unfair: Tensor = 30 * (with_all + by_itself)
        return unfair + F.relu(1.0 - rise).mean()

    return extra


@model(
    ModelCard(
        name="justice",
        family="fairness",
        summary="Risk of a new charge within two years, from a defendant's record.",
        paper="Counterfactual fairness (Kusner et al., 2017)",
        source="arXiv 1703.06856; J. Angwin et al., Machine bias, ProPublica, 2016",
        input_shape=(FEATURES,),
        outputs=1,
        task="scoring",
        dataset="compas",
        parameters=433,
        weights=("nominal", "spec"),
        recipes=("justice-nominal", "justice-spec"),
        faithful="Learned from the records of Broward County that the article is about; causes are written "
        "down as equations fitted to the data, and fairness compares a person with the same person of the "
        "other "
        "group, with all consequences, as the paper defines it.",
        deviates="Eight columns of the record, and a small network instead of the score that was sold, whose "
        "formula is secret. All equations are linear, nothing is hidden, and the group is one bit. Records "
        "are "
        "boxes of real numbers: half a prior counts as a record, so what is refuted may be no real record.",
        intended_use="Fairness over all records as a property of a pair of evaluations, decided exactly; "
        "gaps "
        "between groups counted over verdicts for each person.",
        limits="Fair only with respect to the equations assumed; real causes are disputed, and a fair "
        "score of "
        "a biased label remains a score of that label: a new charge is not a new crime.",
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
            "hands it on; whether it does so for anybody at all is decided over all records, not counted "
            "over a "
            "sample. Gaps between the groups are counted, over verdicts for each person: a score can be "
            "fair by "
            "one measure and not by another.",
            data="The 6,172 records of 2013 and 2014 that ProPublica's analysis kept (J. Larson et al., "
            "2016), "
            "4,172 to train and 2,000 for the gate, without names, dates and case numbers. Licence: none "
            "stated; "
            "public records. Eight features: group, sex, age, juvenile felonies, misdemeanours and others, "
            "priors, degree of the charge. The score that was sold is in the file and not used.",
            ethics="Records of people who were arrested and did not agree to be studied; that they are "
            "public "
            "is the law of Florida and not their choice. Only what the claims need is kept. Labels are new "
            "charges, and so biased by who is policed.",
            parts=(
                "the whole score: eight features -> log odds (1)",
                "a record -> log odds, and the same record of the other group with what follows -> log odds",
            ),
            benefit="Shows how far a score can be from fair while its accuracy looks normal, and that a "
            "fair one "
            "costs little.",
            risk="It may suggest that fairness is settled once a formula of it is proved.",
            mitigation="The equations are in the code, and the limits say that fairness depends on them.",
            red_line="Never used on people, and never as an argument that a score in use is fair.",
            balance="It decides about nobody, and the method lets others refute claims of fairness.",
            affected="Those who were scored in reality asked for exactly this kind of scrutiny; many would "
            "ask "
            "why there should be a score at all.",
            regret="That the debate moves from whether to score people to which formula to prove.",
        ),
        model="justice",
        gate=Gate("area under the curve", _area, 0.7, least=True),
        fits={
            "nominal": fit_scores(lambda: _records("train"), steps=1500),
            "spec": fit_scores(lambda: _records("train"), steps=1500, penalty=_fair, weight_decay=1e-3),
        },
        claims=(
            _counterfactual(),
            _individual(),
            _rises(),
            _released("parity", "300 defendants", 0.1, spared=False),
            _released("opportunity", "those of 600 defendants who are not charged again", 0.1, spared=True),
        ),
    )
)
