"""Branch and bound over the input box: for queries with few inputs that vary, such as a rotation's angle.

A part of the box is bounded by intervals, then by affine forms of few symbols for the hidden neurons and a
backward pass for the property, and halved until no part can violate it. The worst parts go first. A part is
cut along the coordinate where cuts of other parts took most off the bound (see `directions`); before any is
known, where the slopes of the backward pass change the open atoms most, as in alpha-beta-CROWN (Wang et al.
2021, arXiv 2103.06624) and before in ReluVal (Wang et al. 2018, arXiv 1804.10829). First, what the backward
pass shows to be safe is trimmed off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from robustbench_local.errors import RobustBenchError, SearchStateError
from robustbench_local.specs import Query

from ..crown import CROWN
from ..graph import Graph
from ..rule import check_rules
from ..search_states import SearchState
from ..verifier import DEFAULT_BUDGET, Bounds, Budget, Verifier, check_fit, prepared, verifier
from .evaluating import Settings
from .leaves import Leaves
from .search import Search
from .state import SplitState, Tally

__all__ = ["InputSplitting"]

_SHARE = 0.25  # of the time, for the bounds of the whole sets


@verifier("split")
@dataclass(frozen=True, slots=True)
class InputSplitting:
    """Bounds that get tighter as long as time allows, for queries with few inputs that vary.

    base: bounds the whole sets first, in a quarter of the time; the result is never looser. most: how many
    coordinates of a sample are cut at all, the widest ones. symbols: how many errors of relaxations the
    bounds of hidden neurons follow at most; fewer in wide networks, where more parts are cheaper. parts: how
    many parts of a sample are bounded where the budget sets no time. A sample's search ends where it is
    proved, or where a point that violates the property is met; with `budget.tighten` where the bound is
    within `tolerance`, relatively, of the violation at the best point.
    """

    base: Verifier = field(default_factory=CROWN)
    most: int = 20
    symbols: int = 50
    parts: int = 4096
    tolerance: float = 1e-3
    name: str = "split"

    def applies(self, graph: Graph, query: Query | None) -> str | None:
        """Why not: an operator, or a sample with more varying inputs than are cut."""
        try:
            check_rules(graph)
            if query is not None:
                check_fit(graph, query)
        except RobustBenchError as error:
            return str(error)
        return None if query is None else self._too_many(query)

    def _too_many(self, query: Query) -> str | None:
        box = query.inputs.box()
        varying = int((box.lower < box.upper).flatten(1).sum(1).max())
        if varying <= self.most:
            return None
        return f"{varying} inputs vary, input splitting serves up to {self.most}"

    def bound(self, graph: Graph, query: Query, budget: Budget = DEFAULT_BUDGET) -> Bounds:
        """Upper bounds; `upper` may be better than what `rows` combine to. Without gradients.

        Where the method does not apply, those of the base.
        """
        return self.resumed(graph, query, None, budget)[0]

    def resumed(
        self,
        graph: Graph,
        query: Query,
        state: SearchState | None = None,
        budget: Budget = DEFAULT_BUDGET,
    ) -> tuple[Bounds, SplitState | None]:
        """As `bound`, from where an earlier call stopped; the state is None where the method does not apply.

        A run in slices bounds the parts that one long run does, as far as time does not choose between ways
        to bound them. Raises SearchStateError for a state that is not of such a search.
        """
        deadline = budget.deadline()
        with torch.inference_mode(False), torch.no_grad():
            first = None
            if state is None:
                seconds = None if budget.seconds is None else _SHARE * budget.seconds
                first = self.base.bound(graph, query, replace(budget, seconds=seconds))
                if self._too_many(query) is not None:
                    return first, None
            graph, query = prepared(graph, query)
            graph = graph.replaced(Tensor.detach, (graph.dtype, graph.device))
            query = query.select(torch.arange(query.batch))  # inference tensors cannot take part in autograd
            settings = Settings(self.most, self.symbols, self.parts, self.tolerance)
            search = Search(settings, graph, query, budget, self._state(graph, query, state))
            if first is not None:
                search.begin(first)
            search.run(deadline)
            return search.bounds(graph.dtype if first is None else first.upper.dtype), search.state()

    def restored(self, graph: Graph, query: Query, tensors: Mapping[str, Tensor]) -> SplitState:
        """The state that these tensors describe. Raises SearchStateError where they fit no such search."""
        with torch.inference_mode(False), torch.no_grad():
            return SplitState.restored(graph, query, tensors, self.most)

    def _state(self, graph: Graph, query: Query, state: SearchState | None) -> SplitState:
        if state is None:
            tally = Tally.of(graph, query, self.most)
            none = Leaves.none(tally.rows, tally.axes)
            return SplitState(tally, none, none)
        if isinstance(state, SplitState) and state.batch == query.batch:
            return state
        raise SearchStateError(
            f"the state is not of `split` on {query.batch} problem(s)",
            cure="keep it with its method, graph and query; `state.select(samples)` follows `query.select`",
        )
