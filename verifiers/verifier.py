"""What a verifier is, what it returns, and the registry of ready verifiers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from robustbench_local.errors import ShapeError, UnknownNameError
from robustbench_local.specs import Ball, Box, InputSet, Product, Query

from .graph import Graph
from .rule import check_rules

__all__ = ["DEFAULT_BUDGET", "VERIFIERS", "Bounds", "Budget", "Verifier", "find_verifier", "verifier"]


@dataclass(frozen=True, slots=True)
class Budget:
    """What a verifier may use.

    `seconds` of wall time (None: no limit) and `memory_bytes` for one batch of rows and its working copies
    (None: 128 MiB on a CPU, where larger batches gain nothing; a quarter of the free memory on a GPU). A
    verifier that runs out of time returns the valid bounds it has, never an error. `tighten` asks for the
    best numbers also where the verdict is already certain. `domains`: how many sub-problems a search bounds
    in this call before it stops as if time were over, up to a batch more (None: no limit); the same on every
    machine, unlike seconds. `whole`: seconds until all calls that go on from this one have ended: work that
    must not be cut may take a part of these (None: there are no further calls).
    """

    seconds: float | None = None
    memory_bytes: int | None = None
    tighten: bool = False
    domains: int | None = None
    whole: float | None = None

    def memory(self, device: torch.device) -> int:
        """The bytes that one batch of rows may take on `device`."""
        if self.memory_bytes is not None:
            return self.memory_bytes
        return torch.cuda.mem_get_info(device)[0] // 4 if device.type == "cuda" else 128 * 2**20

    def deadline(self) -> float:
        """The moment (time.monotonic) at which the time is over."""
        return float("inf") if self.seconds is None else time.monotonic() + self.seconds

    def end(self) -> float:
        """The moment at which the time of all calls is over."""
        return self.deadline() if self.whole is None else time.monotonic() + self.whole


DEFAULT_BUDGET = Budget()


@dataclass(frozen=True, slots=True, eq=False)
class Bounds:
    """Upper bounds of the violation atoms, rows (B, m), and of the violation itself, upper (B,).

    `complete` is False where the time budget cut the method short: the bounds are valid but looser. `points`
    (B, *in) are inputs, each in its set, that a search for bounds came across; the worst it met.
    `confirmed`: bounds closer to zero than rounding could explain have been computed in float64 already.
    `share` (B,): the part of every set's volume on which the property is proved, in 0..1; exact up to
    rounding, or where a method draws points, at least this but for a chance of 0.001 each.
    `rounding` (B,): how much of `upper` pays for rounding errors; None where they are not accounted for.
    """

    rows: Tensor
    upper: Tensor
    complete: bool = True
    points: Tensor | None = None
    confirmed: bool = False
    share: Tensor | None = None
    rounding: Tensor | None = None


@runtime_checkable
class Verifier(Protocol):
    """A method that bounds every problem of a query from above in one call."""

    @property
    def name(self) -> str:
        """Short name for tables: ibp, crown, ..."""
        ...

    def bound(self, graph: Graph, query: Query, budget: Budget = DEFAULT_BUDGET) -> Bounds:
        """Upper bounds of the query's violation over its input sets.

        `graph` is the graph of the query's network. Differentiable in the network's weights unless
        called under torch.no_grad. Raises UnsupportedOpError where an operator has no rule.
        """
        ...


VERIFIERS: dict[str, Verifier] = {}

V = TypeVar("V")


def verifier(name: str) -> Callable[[V], V]:
    """Enters a ready verifier under `name`; on a class, an instance with its default settings."""

    def enter(entry: V) -> V:
        VERIFIERS[name] = entry() if isinstance(entry, type) else entry  # type: ignore[assignment]
        return entry

    return enter


def find_verifier(name: str) -> Verifier:
    """The verifier registered under `name`; UnknownNameError lists the known ones."""
    if name not in VERIFIERS:
        raise UnknownNameError.of("verifier", name, VERIFIERS)
    return VERIFIERS[name]


def check_fit(graph: Graph, query: Query) -> None:
    """Raise ShapeError where the query's sets or rows do not fit the graph."""
    if query.inputs.shape != graph.input_shape:
        raise ShapeError(
            f"the input set has shape {query.inputs.shape}, the network takes {graph.input_shape}",
            cure="declare the variable of the specification with the network's input shape",
        )
    if query.C.shape[2] != graph.output.numel:
        raise ShapeError(
            f"the specification speaks of {query.C.shape[2]} outputs, the network has {graph.output.numel}",
            cure="declare the network of the specification with the right number of outputs",
        )


def prepared(graph: Graph, query: Query) -> tuple[Graph, Query]:
    """Graph and query as our own engines use them: checked, constants evaluated, boxes as `Box`.

    Raises ShapeError where the two do not fit, UnsupportedOpError where an operator has no rule.
    """
    check_fit(graph, query)
    graph = graph.resolved()  # rules look at constants, not at expressions of them
    check_rules(graph)
    if not isinstance(query.inputs, Box) and _is_box(query.inputs):
        query = replace(query, inputs=query.inputs.box())
    return graph, query


def _is_box(inputs: InputSet) -> bool:
    """Whether the set is its hull: boxes, linf balls, and products of them."""
    if isinstance(inputs, Product):
        return all(_is_box(block) for block in inputs.blocks)
    return isinstance(inputs, Box) or (isinstance(inputs, Ball) and math.isinf(inputs.p))
