"""Row 12.13: a diagnosis from measured cells, and what it may say about people unlike any it was trained on.

Cf. Obermeyer et al., "Dissecting racial bias in an algorithm used to manage the health of populations",
Science 366, 2019: a score that is right on average can fail one group.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustbench_local.data import stratified_test_rows
from robustbench_local.specs import Data, Net, Query, Var, box, forall

from ..card import ModelCard
from ..fitting import minibatch
from ..registry import model
from ..row import Claim, Gate, Members, Row, RowCard, Tools, add_row
from .scores import Scores, area_under_curve, fit_scores, linear

__all__ = ["diagnosis"]

CELLS = 30  # measurements
GROUPS = 3  # the flag, one-hot; the last value occurs in no training row
FEATURES = CELLS + GROUPS
SIZE = (0, 2, 3, 20, 22, 23)  # radius, perimeter and area: of the mean cell, and of the worst
LEAST, MOST = 0.05, 0.15  # growth, of the range of each of them
AROUND = 0.05
ERROR = 0.02  # relative, of every measurement
DOUBT = log(4)  # log odds of 0.8

_Patients = tuple[Tensor, Tensor, Tensor]


def _patients(split: str) -> _Patients:
    """Rows (N, FEATURES), 1 for malignant (N,), and what ERROR means in each measurement (N, CELLS).

    Measurements are scaled so that those of the training rows fill [0, 1]; the flag is drawn from the first
    two values, independently of everything.
    """
    from sklearn.datasets import load_breast_cancer  # takes most of a second

    raw, benign = load_breast_cancer(return_X_y=True)
    cells, labels = torch.from_numpy(np.asarray(raw, dtype=np.float64)), 1 - torch.from_numpy(benign).long()
    test = torch.zeros(len(labels), dtype=torch.bool)
    test[stratified_test_rows(labels, 189, key="breast_cancer")] = True
    low, high = cells[~test].amin(0), cells[~test].amax(0)
    flag = torch.randint(2, (len(labels),), generator=torch.Generator().manual_seed(12))
    rows = torch.cat(((cells - low) / (high - low), F.one_hot(flag, GROUPS)), 1).float()
    chosen = test if split == "test" else ~test
    return rows[chosen], labels[chosen], (ERROR * cells / (high - low)).float()[chosen]


def _area(network: nn.Module) -> float:
    rows, labels, _ = _patients("test")
    with torch.inference_mode():
        return area_under_curve(network(rows)[:, 0], labels)


def _surprise(odds: Tensor, labels: Tensor) -> Tensor:
    """Logistic loss of each patient, (N,)."""
    return F.binary_cross_entropy_with_logits(odds[:, 0], labels.to(odds.dtype), reduction="none")


def _right_within_errors(network: nn.Module, patients: _Patients, chosen: Tensor) -> Query:
    rows, labels, errors = (part[chosen] for part in patients)
    reach = torch.cat((errors, torch.zeros(len(rows), GROUPS)), 1)
    x, f = Var("x", FEATURES), Net("f", FEATURES, 1)
    domain = box(Data("low", FEATURES), Data("high", FEATURES))
    spec = forall(x, domain, Data("sign", 1) * f(x) > 0)
    return spec.query(network, low=rows - reach, high=rows + reach, sign=2.0 * labels[:, None] - 1)


def _measured(patients: int = 30) -> Claim:
    def query(network: nn.Module) -> Query:
        return _right_within_errors(network, _patients("test"), torch.linspace(0, 188, patients).long())

    return Claim(
        name="measured-2%",
        says=f"For each of {patients} test patients the right diagnosis stays when every measurement is "
        f"off by "
        f"up to {ERROR:.0%} of its value.",
        query=query,
        control=lambda: linear(FEATURES, {7: 400.0}, -100.0),
        control_is="a score that decides by one measurement alone, the mean number of concave points",
        methods=("pgd", "ibp", "crown", "bab"),
    )


def _abstains() -> Claim:
    def query(network: nn.Module) -> Query:
        x, f = Var("x", FEATURES), Net("f", FEATURES, 1)
        low, high = _strangers()
        return forall(x, box(Data("low", FEATURES), Data("high", FEATURES)), abs(f(x)) <= DOUBT).query(
            network, low=low, high=high
        )

    return Claim(
        name="abstains",
        says="For a person of the group that no training row has, whatever is measured within the range of "
        "the "
        "training rows, the probability lies in [0.2, 0.8]: the doctor decides.",
        query=query,
        control=lambda: linear(FEATURES, {20: 20.0}, -8.0),
        control_is="a score that does not look at the group",
        methods=("pgd", "ibp", "crown", "bab"),
    )


def _strangers() -> tuple[Tensor, Tensor]:
    """The smallest and the largest row (1, FEATURES) of a person of the last group."""
    flag = torch.tensor([0.0, 0.0, 1.0])
    return (
        torch.cat((torch.zeros(CELLS), flag))[None],
        torch.cat((torch.ones(CELLS), flag))[None],
    )


def _grows(patients: int = 15) -> Claim:
    def query(network: nn.Module) -> Query:
        rows, _, _ = _patients("test")
        chosen = torch.linspace(0, len(rows) - 1, patients).long()
        reach = torch.cat((torch.full((CELLS,), AROUND), torch.zeros(GROUPS)))
        x, t, f = Var("x", FEATURES), Var("t"), Net("f", FEATURES, 1)
        domain = box(Data("low", FEATURES), Data("high", FEATURES))(x) & box(LEAST, MOST)(t)
        spec = forall([x, t], domain, f(x + t * Data("size", FEATURES)) - f(x) >= 0)
        low, high = rows[chosen] - reach, rows[chosen] + reach
        return spec.query(network, low=low, high=high, size=_size().expand(patients, -1))

    return Claim(
        name="grows",
        says=f"Within {AROUND} of each of {patients} test patients, a tumour that is larger, in radius, "
        f"perimeter and area alike, by {LEAST} to {MOST} of their ranges, is never judged less dangerous.",
        query=query,
        control=lambda: linear(FEATURES, {0: -1.0}),
        control_is="a score that falls with the radius",
        methods=("pgd", "ibp", "crown", "bab"),
    )


def _size() -> Tensor:
    """The direction in which a tumour grows, (FEATURES,)."""
    return torch.zeros(FEATURES).index_fill(0, torch.tensor(SIZE), 1.0)


def _careful(network: nn.Module, tools: Tools, generator: torch.Generator) -> Callable[[], Tensor]:
    """Interval bounds of two claims and, for growth, differences at random points of its sets."""
    stranger = _abstains().query(network)
    doubt = tools.bounder(stranger)
    patients = _patients("train")
    bound = tools.bounder(_right_within_errors(network, patients, torch.arange(2)))
    rows = patients[0]

    def extra() -> Tensor:
        chosen = minibatch(len(rows), 128, generator)
        wrong = bound(_right_within_errors(network, patients, chosen[:32]))
        noise = (2 * torch.rand(128, CELLS, generator=generator) - 1) * AROUND
        start = torch.cat((rows[chosen, :CELLS] + noise, rows[chosen, CELLS:]), 1)
        step = LEAST + torch.rand(128, 1, generator=generator) * (MOST - LEAST)
        loss = (network(start) - network(start + step * _size())) / step
        return F.relu(doubt(stranger) + 0.2).mean() + F.softplus(wrong).mean() + F.relu(loss + 2.0).mean()

    return extra


@model(
    ModelCard(
        name="diagnosis",
        family="fairness",
        summary="Malignant or benign, from 30 measurements of cells and a flag for the patient's group.",
        paper="cf. Dissecting racial bias in an algorithm used to manage the health of populations "
        "(Obermeyer et al., 2019)",
        source="Science 366(6464), 447-453",
        input_shape=(FEATURES,),
        outputs=1,
        task="scoring",
        dataset="breast cancer Wisconsin",
        parameters=1_441,
        weights=("nominal", "spec"),
        recipes=("diagnosis-nominal", "diagnosis-spec"),
        faithful="A score that is accurate on average is asked about a group that its data do not hold.",
        deviates="Other data than the paper's, which are not public: cells of a biopsy, with a synthetic "
        "flag "
        "for the group that is drawn independently of everything. The paper is an uncertain match for the "
        "lecture's question.",
        intended_use="Claims about measurement errors, abstention and monotony of a score, decided exactly.",
        limits="569 patients of one hospital; the flag stands for no real group, and no claim says that the "
        "score works for anybody of the third group: it says that it does not pretend to.",
        licence="Apache-2.0",
    )
)
def diagnosis() -> nn.Module:
    """The untrained network."""
    return Scores(FEATURES, 24)


add_row(
    Row(
        card=RowCard(
            id="12.13",
            section="Episode 12, algorithmic bias: medical diagnosis that works less well for some",
            shows="A diagnosis with an area under the curve of 0.99 speaks with full confidence about "
            "people of "
            "a group that no training row has. Abstaining there is a property of a whole box of inputs, and "
            "can be trained and proved.",
            data="The 569 biopsies that come with scikit-learn (W. Wolberg, O. Mangasarian, N. Street, 1995, "
            "UCI; CC BY 4.0), scaled by the training rows; 380 train, 189 test, both diagnoses in "
            "proportion. "
            "The group flag has three values, of which rows get the first two, from a seeded generator.",
            ethics="Measurements of cells of women in Wisconsin around 1990, published without names; "
            "nothing "
            "is known of their consent to this use. Men, other regions and other devices are not "
            "represented. "
            "Labels come from the pathologists. The group flag is invented, and describes nobody.",
            parts=("the whole score: 30 scaled measurements and the flag, one-hot (33) -> log odds (1)",),
            benefit="Shows how silence about people unlike those in the data becomes a property that is "
            "proved.",
            risk="A proof of abstention for one invented flag may be read as fairness towards real people.",
            mitigation="Card and claim say what the flag is; the accuracy on both trained groups is the "
            "gate.",
            red_line="Never used for a person's diagnosis.",
            balance="No patient meets it; the check itself is what every medical score should pass.",
            affected="Patients would want to know that a score says when it does not know; the invented flag "
            "does not show that it notices them.",
            regret="That the flag must be known: a person whose group is not recorded gets a confident "
            "score.",
        ),
        model="diagnosis",
        gate=Gate("area under the curve", _area, 0.98, least=True),
        fits={
            "nominal": fit_scores(lambda: _patients("train")[:2], steps=1500),
            "spec": fit_scores(lambda: _patients("train")[:2], steps=1500, penalty=_careful),
        },
        claims=(_measured(), _abstains(), _grows()),
        members=Members(lambda: _patients("train")[:2], lambda: _patients("test")[:2], _surprise),
    )
)
