"""Complete verification by splitting hidden coordinates, trees of all problems and clauses in one batch."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustbench_local.errors import SearchStateError
from robustbench_local.specs import Query, count_clauses, disjuncts

from ..alpha_crown import AlphaCROWN, tuned_query_rows
from ..crown import open_neurons
from ..graph import Graph, Node
from ..ibp import interval_bounds
from ..interval import Interval
from ..search_states import SearchState
from ..verifier import DEFAULT_BUDGET, Bounds, Budget, prepared, verifier
from ..warm_start import Warm, resumed
from .ledger import Ledger
from .settings import Settings
from .share import proved_share
from .state import BranchState, TreesState
from .state_files import state_of
from .trees import Trees

__all__ = ["BranchAndBound"]

_MOST_CLAUSES = 4096
_BRIEF, _SHARE = 6, 0.15  # steps of the first tuning; the part of the time left that a longer one may take
_FIRST_SHARE = 0.3  # the part that the first one may take
_COUNTING = 0.02  # the part of the time in which the proved share is estimated
_STEP = 3  # passes that a step of tuning costs
_ROOT = AlphaCROWN()
_SETTINGS = Settings()


@verifier("bab")
@dataclass(frozen=True, slots=True)
class BranchAndBound:
    """Splits of hidden coordinates with beta-CROWN bounds (Wang et al. 2021, arXiv 2103.06624).

    root: the method whose bounds the trees start from. Complete for piecewise linear networks, given time;
    other functions are split at the middle of their boxes. The bounds it returns need no second look:
    what refutes a domain by less than rounding has been computed in float64.
    """

    name: str = "bab"
    root: AlphaCROWN = _ROOT
    settings: Settings = _SETTINGS

    def bound(self, graph: Graph, query: Query, budget: Budget = DEFAULT_BUDGET) -> Bounds:
        """Upper bounds by splitting whatever the root method leaves open.

        Never looser than the bounds of the root method without tuning of hidden neurons.
        """
        return self.resumed(graph, query, None, budget)[0]

    def resumed(
        self,
        graph: Graph,
        query: Query,
        state: SearchState | None = None,
        budget: Budget = DEFAULT_BUDGET,
    ) -> tuple[Bounds, BranchState | None]:
        """As `bound`, from where an earlier call on this graph and query stopped; the state is None where
        there is nothing to search.

        A run in slices splits the domains that one long run does. Raises SearchStateError for a state that is
        not of such a search.
        """
        deadline, end = budget.deadline(), budget.end()
        with torch.inference_mode(False), torch.no_grad():
            graph, query = prepared(graph, query)
            graph = graph.replaced(Tensor.detach, (graph.dtype, graph.device))
            query = query.select(torch.arange(query.batch))
            if state is None:
                quick, known = self._begun(graph, query, budget, deadline)
                if known is None:
                    return quick, None
            else:
                known = self._known(query, state)
            left = replace(budget, seconds=_left(deadline), whole=_left(end))
            ledger = Ledger(graph, query.select(known.wanted), known.roots, left, self.settings)
            ledger.go_on(known)
            after = self._search(ledger, known)
            seconds = torch.inf if budget.seconds is None else _COUNTING * budget.seconds
            share = proved_share(graph, query, after, seconds, budget.memory(graph.device))
            return _bounds(query, after, share), after

    def restored(self, graph: Graph, query: Query, tensors: Mapping[str, Tensor]) -> BranchState:
        """The state that these tensors describe. Raises SearchStateError where they fit no such search."""
        with torch.inference_mode(False), torch.no_grad():
            return state_of(graph, query, tensors)

    def _known(self, query: Query, state: SearchState) -> BranchState:
        if isinstance(state, BranchState) and state.batch == query.batch:
            return state
        raise SearchStateError(
            f"the state is not of `bab` on {query.batch} problem(s)",
            cure="keep it with its method, graph and query; `state.select(samples)` follows `query.select`",
        )

    def _begun(
        self, graph: Graph, query: Query, budget: Budget, deadline: float
    ) -> tuple[Bounds, BranchState | None]:
        """The bounds of the root method, and the search that starts from them, where there is one."""
        quick, begun, cost = self._quick(graph, query, replace(budget, seconds=_left(deadline)))
        # splits do not make numbers out of what is none
        open_ = query.holds(quick.upper).logical_not() & quick.upper.isfinite()
        wanted = open_.nonzero().squeeze(1)
        late = time.monotonic() >= deadline
        if wanted.shape[0] == 0 or late or count_clauses(query.tree) > _MOST_CLAUSES:
            return replace(quick, complete=quick.complete and not (late and wanted.shape[0])), None
        some = query.select(wanted)
        rows, warm = quick.rows[wanted], begun.select(wanted)
        if cost <= _FIRST_SHARE * (deadline - time.monotonic()):
            left = replace(budget, seconds=_left(deadline))
            rows, warm = self._roots(graph, some, (rows, warm), left)
        ledger = Ledger(graph, some, rows, budget, self.settings)
        clauses = [[atom.index for atom in clause] for clause in disjuncts(query.tree)]
        closed, groups = _sorted(clauses, rows, -ledger.narrow)
        sure = quick.upper < -ledger.narrow  # what holds at the root has not been looked at again
        return quick, BranchState(
            rows=quick.rows,
            upper=quick.upper,
            sure=open_ | sure | quick.upper.isfinite().logical_not(),
            wanted=wanted,
            roots=rows,
            boxes=warm.boxes,
            closed=closed,
            points=ledger.points,
            found=ledger.found,
            broken=ledger.broken,
            domains=0,
            trees=tuple(_planted(graph, warm, rows, problem, atoms) for problem, atoms in groups),
        )

    def _quick(self, graph: Graph, query: Query, budget: Budget) -> tuple[Bounds, Warm, float]:
        """The root method's bounds without tuning of hidden neurons; what they leave; and in about how many
        seconds the hidden neurons of the problems that they leave open could be tuned briefly.
        """
        deadline, tuning, begun = budget.deadline(), self.root.tuning, time.monotonic()
        plain = replace(self.root, hidden=False, tuning=replace(tuning, steps=0))
        found, warm = resumed(plain, graph, query, budget=budget)
        seconds = time.monotonic() - begun
        wanted = query.holds(found.upper).logical_not().nonzero().squeeze(1)
        if wanted.shape[0] == 0:
            return found, warm, 0.0
        boxes = dict(zip(graph.nodes, warm.select(wanted).boxes, strict=True))
        share = open_neurons(graph, boxes) / max(1, open_neurons(graph, interval_bounds(graph, query.inputs)))
        left = replace(budget, seconds=_left(deadline))
        better, in_time = tuned_query_rows(
            graph, query.select(wanted), boxes, found.rows[wanted], tuning, left
        )
        rows = found.rows.index_copy(0, wanted, better)
        cost = seconds * share * (1 + _STEP * min(tuning.steps, _BRIEF))
        return Bounds(rows, query.combine(rows), found.complete and in_time), warm, cost

    def _roots(
        self, graph: Graph, query: Query, start: tuple[Tensor, Warm], budget: Budget
    ) -> tuple[Tensor, Warm]:
        """The best bounds (B, m) of the rows by the root method, and what trees start from.

        start: bounds without tuning of hidden neurons, and what they leave.
        Hidden neurons are tuned briefly first; the whole tuning is for problems that this leaves open, where
        it takes a small part of the time.
        """
        deadline, begun = budget.deadline(), time.monotonic()
        tuning = self.root.tuning
        brief = replace(self.root, tuning=replace(tuning, steps=min(tuning.steps, _BRIEF), decay=0.9))
        found, warm = resumed(brief, graph, query, start[1], budget)
        rows = torch.minimum(found.rows, start[0])
        now = time.monotonic()
        whole = (now - begun) * tuning.steps / max(1, brief.tuning.steps)
        open_ = query.holds(query.combine(rows)).logical_not().nonzero().squeeze(1)
        whole = whole * open_.shape[0] / query.batch
        if open_.shape[0] == 0 or whole > _SHARE * (deadline - now):
            return rows, warm
        left = replace(budget, seconds=_left(deadline))
        more, better = resumed(self.root, graph, query.select(open_), warm.select(open_), left)
        return rows.index_copy(0, open_, torch.minimum(rows[open_], more.rows)), warm.put(open_, better)

    def _search(self, ledger: Ledger, state: BranchState) -> BranchState:
        """Where the search stands when time is over, or nothing is left to be done."""
        boxes: Mapping[Node, Interval] = dict(zip(ledger.graph.nodes, state.boxes, strict=True))
        after: list[TreesState] = []
        for one in state.trees:
            if one.done:
                after.append(one)
                continue
            trees = Trees(ledger, one, boxes, self.settings)
            trees.run()
            boxes = trees.boxes
            after.append(trees.state())
        return replace(
            state,
            boxes=tuple(boxes[node] for node in ledger.graph.nodes),
            points=ledger.points,
            found=ledger.found,
            broken=ledger.broken,
            domains=ledger.domains,
            trees=tuple(after),
        )


def _bounds(query: Query, state: BranchState, share: Tensor | None) -> Bounds:
    """What the search has found so far."""
    points = query.inputs.project(query.inputs.centre().to(state.roots))
    return Bounds(
        state.rows.index_copy(0, state.wanted, state.roots),
        state.upper.index_copy(0, state.wanted, state.searched()),
        all(one.done for one in state.trees),
        points.index_copy(0, state.wanted, state.points),
        confirmed=bool(state.sure.all()),
        share=share,
    )


def _left(deadline: float) -> float | None:
    return None if deadline == float("inf") else max(0.0, deadline - time.monotonic())


def _sorted(
    clauses: list[list[int]], rows: Tensor, below: float
) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """The largest bound (B,) of the clauses that rows refute, and the open ones: problems (R,), atoms (R, k).

    A clause is refuted by an atom bounded below `below`. The open ones are grouped by their number of atoms.
    """
    worst = torch.full_like(rows[:, 0], -torch.inf)
    by_size: dict[int, list[tuple[Tensor, Tensor]]] = {}
    for atoms in clauses:
        index = torch.tensor(atoms, device=rows.device)
        least = rows[:, index].amin(1)
        refuted = least < below
        worst = torch.where(refuted, torch.maximum(worst, least), worst)
        problem = refuted.logical_not().nonzero().squeeze(1)
        if problem.shape[0]:
            by_size.setdefault(len(atoms), []).append((problem, index.expand(problem.shape[0], -1)))
    groups = [parts for _, parts in sorted(by_size.items())]
    return worst, [(torch.cat([p for p, _ in g]), torch.cat([a for _, a in g])) for g in groups]


def _planted(graph: Graph, warm: Warm, rows: Tensor, problem: Tensor, atoms: Tensor) -> TreesState:
    """The trees of clauses (R,) before their first split, with the tuned slopes of clauses of one atom: none
    for others, or where rows shared them.
    """
    slopes: dict[int, Tensor] = {}
    if atoms.shape[1] == 1:
        own = {i: values for i, values in warm.slopes.items() if values.shape[1] == rows.shape[1]}
        slopes = {i: values[problem, atoms[:, 0]].unsqueeze(1) for i, values in own.items()}
    worst = torch.full_like(rows[problem, 0], torch.inf)
    return TreesState(problem, atoms, slopes, worst, torch.arange(len(problem), device=problem.device))
