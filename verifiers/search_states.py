"""Searches that can stop and go on: what such a method offers, and what it leaves behind.

A call returns its bounds and a state; the next call on the same graph and query takes the state and goes on,
so that a run in slices makes the steps of one long run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor

from robustbench_local.specs import Query

from .graph import Graph
from .verifier import DEFAULT_BUDGET, Bounds, Budget

__all__ = ["Resumable", "SearchState"]


@runtime_checkable
class SearchState(Protocol):
    """Where a search over B problems stopped: a value, which later calls do not change."""

    @property
    def batch(self) -> int:
        """B."""
        ...

    @property
    def open(self) -> int:
        """How many sub-problems are neither proved nor given up."""
        ...

    def select(self, samples: Tensor) -> SearchState:
        """That of some problems (b,), none twice: it follows `query.select(samples)`."""
        ...

    def starts(self, query: Query, count: int) -> Tensor:
        """Points (B, count, *in) from which an attack may start: of the worst open sub-problems; where a
        problem has fewer, the worst point met. They lie in the sets' hulls, in the network's dtype.
        """
        ...

    def tensors(self) -> dict[str, Tensor]:
        """All of it as tensors by name, from which `Resumable.restored` makes it again."""
        ...


@runtime_checkable
class Resumable(Protocol):
    """A verifier whose search can stop and go on."""

    @property
    def name(self) -> str:
        """Short name for tables, as of every `Verifier`."""
        ...

    def bound(self, graph: Graph, query: Query, budget: Budget = DEFAULT_BUDGET) -> Bounds:
        """The bounds of one call that starts anew, as of every `Verifier`."""
        ...

    def resumed(
        self,
        graph: Graph,
        query: Query,
        state: SearchState | None = None,
        budget: Budget = DEFAULT_BUDGET,
    ) -> tuple[Bounds, SearchState | None]:
        """The bounds after the search went on, and what the next call can go on from.

        `state` must come from this graph and query; it is believed. None: starts anew. The state returned is
        None where there is nothing to go on with. Raises SearchStateError for the state of another search, or
        of another number of problems.
        """
        ...

    def restored(self, graph: Graph, query: Query, tensors: Mapping[str, Tensor]) -> SearchState:
        """The state that `tensors` describe. Raises SearchStateError where they fit no such search."""
        ...
