"""Rows of the zoo: what a system of the lectures shows, how weights are made, and what must be true."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Protocol

import torch
from torch import Tensor, nn

from robustbench_local.errors import DataError, UnknownNameError
from robustbench_local.specs import GroupClaim, Query

from .registry import MODELS, ModelEntry

__all__ = [
    "ROWS",
    "Claim",
    "Fit",
    "Gate",
    "Groups",
    "Members",
    "Row",
    "RowCard",
    "Tools",
    "add_row",
    "find_row",
]


@dataclass(frozen=True, slots=True)
class RowCard:
    """What a reader must know about one system beyond its model's card; no field may be left empty.

    Attributes:
        id: its line of the plan, as 12.03.
        section: where the lectures name it.
        shows: what it is meant to show, in own words.
        data: where the data come from, their licence, how they are made and split.
        ethics: whose data they are, consent, who is represented and who is not, where labels come from.
        parts: the sub-networks that are verified, each with what goes in and comes out.
        benefit, risk, mitigation, red_line, balance: the five steps of the process: who gains, who may be
            harmed, what is done about it, what must never be done with it, and why the good outweighs.
        affected, regret: the two final tests: would those affected agree, and what might be regretted.
    """

    id: str
    section: str
    shows: str
    data: str
    ethics: str
    parts: tuple[str, ...]
    benefit: str
    risk: str
    mitigation: str
    red_line: str
    balance: str
    affected: str
    regret: str

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value or not all(value):
                raise DataError(
                    f"the field {field.name!r} is empty",
                    where=f"card of row {self.id!r}",
                    cure="every field of a row's card is required",
                )


@dataclass(frozen=True, slots=True)
class Gate:
    """What weights must reach to count as trained: `measure` of a network on data it has not seen, against
    `limit`, from above (`least`) or from below."""

    metric: str
    measure: Callable[[nn.Module], float]
    limit: float
    least: bool

    def met(self, value: float) -> bool:
        """Whether `value` passes; NaN does not."""
        return value >= self.limit if self.least else value <= self.limit

    @property
    def text(self) -> str:
        """As people read it: "test accuracy >= 0.9"."""
        return f"{self.metric} {'>=' if self.least else '<='} {self.limit:g}"


@dataclass(frozen=True, slots=True)
class Groups:
    """A claim about the shares of groups of problems, and the group of every problem, (B,) int64."""

    claim: GroupClaim
    members: Callable[[], Tensor]


@dataclass(frozen=True, slots=True)
class Claim:
    """One specification of a row.

    Attributes:
        name: in tables, as "energy".
        says: the property in one sentence, with its numbers.
        query: the problems for a network of the row (the sub-network is composed here).
        control: makes a network that must violate the claim; a claim that nothing breaks says nothing.
        control_is: what the control is, in words.
        methods: attacks and verifiers that bracket it, by name.
        seconds: for one method on the whole query.
        groups: None, or what is claimed of the shares of problems that hold: then the claim is not that
            every problem of the query holds, and counts as one case.
    """

    name: str
    says: str
    query: Callable[[nn.Module], Query]
    control: Callable[[], nn.Module]
    control_is: str
    methods: tuple[str, ...] = ("pgd", "ibp", "crown", "bab")
    seconds: float = 10.0
    groups: Groups | None = None


@dataclass(frozen=True, slots=True)
class Members:
    """People whose rows a network was trained on, and people like them whose rows it was not.

    Attributes:
        trained, others: inputs (N, *shape) and labels (N,) of both.
        loss: of outputs and labels, per person, (N,): what the network was trained to make small.
    """

    trained: Callable[[], tuple[Tensor, Tensor]]
    others: Callable[[], tuple[Tensor, Tensor]]
    loss: Callable[[Tensor, Tensor], Tensor]


class Tools(Protocol):
    """What training borrows from the engines, which the zoo does not import."""

    def bounder(self, query: Query) -> Callable[[Query], Tensor]:
        """A function from queries like `query` (of the same network) to upper bounds of their violations,
        (B,), differentiable in the weights: interval bounds of a graph that reads the live weights."""
        ...

    def initialise(self, network: nn.Module, generator: torch.Generator) -> None:
        """Fills the network's affine layers with first weights, torch's own default, from `generator`."""
        ...

    def worst(self, query: Query, steps: int, seed: int) -> Tensor:
        """Points (B, *in) of the sets where an attack of so many steps makes the violation large."""
        ...


class Fit(Protocol):
    """Makes one weight set."""

    def __call__(self, network: nn.Module, tools: Tools, generator: torch.Generator) -> None:
        """Trains `network` in place; all its randomness comes from `generator`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A system of the lectures that exists here: its card, model, gate, weight sets and claims.

    `members`: for systems about people, who must not be found out to be in the training data.
    """

    card: RowCard
    model: str
    gate: Gate
    fits: Mapping[str, Fit]
    claims: tuple[Claim, ...]
    members: Members | None = None

    @property
    def entry(self) -> ModelEntry:
        """The card and builder of its model."""
        return MODELS[self.model]

    def claim(self, name: str) -> Claim:
        """The claim of that name; UnknownNameError."""
        for one in self.claims:
            if one.name == name:
                return one
        raise UnknownNameError.of(f"claim of {self.card.id}", name, [c.name for c in self.claims])


_ROWS: dict[str, Row] = {}
ROWS: Mapping[str, Row] = MappingProxyType(_ROWS)
"""Registry: id in the plan -> row, filled when the files of `models/<family>/` are imported."""


def add_row(row: Row) -> Row:
    """Registers `row`. Raises DataError for a row that cannot be: no claims, other weight sets than its
    model's card names, an id that is taken."""
    where = f"row {row.card.id!r}"
    if row.card.id in _ROWS:
        raise DataError("the id is taken", where=where, cure="see models/plan.csv")
    if row.model not in MODELS:
        raise UnknownNameError.of("model", row.model, MODELS)
    if not row.claims:
        raise DataError("no claims", where=where, cure="say what must be true of it")
    if set(row.fits) != set(row.entry.card.weights):
        raise DataError(
            f"fits for {', '.join(row.fits)}, weight sets {', '.join(row.entry.card.weights)}",
            where=where,
            cure="give one fit per weight set of the model's card",
        )
    _ROWS[row.card.id] = row
    return row


def find_row(name: str) -> Row:
    """The row of that id (12.03) or of that model (pendulum). Raises UnknownNameError."""
    for row in _ROWS.values():
        if name in (row.card.id, row.model):
            return row
    raise UnknownNameError.of("row", name, [*_ROWS, *(row.model for row in _ROWS.values())])
