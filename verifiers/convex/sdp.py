"""The semidefinite relaxation of ReLU networks (Raghunathan, Steinhardt, Liang 2018, arXiv 1811.01057).

With forms Q_k >= 0 on the network's graph (see `quadratic`) and |s_j| <= 1, any multipliers lambda_k >= 0 (of
either sign for y (p - y) = 0) and kappa_j >= 0 bound the objective z' Q z, z = (1, s), from above:

    z' Q z  <=  z' (Q + sum lambda_k Q_k - diag kappa) z + sum kappa   <=   sum kappa + (n + 1) max(0,
    lambda_max)

as s_j^2 <= 1 and |z|^2 <= n + 1: the "trace bound" of Dathathri et al. 2020 (arXiv 2010.11645, section 5),
which makes a bound of every approximate dual solution. The dual itself, min sum kappa subject to the matrix
being negative semidefinite, goes to the solver through cvxpy with the objective's row as the parameter.

Rounding: the matrix is formed in float64 from forms that are sums too. The a-priori errors of both (see
`safe`) and of LAPACK's eigenvalues, 8 (n + 1) u times the Frobenius norm, are added to lambda_max. The chord
triangles make the relaxation at least as tight as `lp` under the same boxes.
"""

from __future__ import annotations

import math
import time
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from robustbench_local.errors import RobustBenchError, SpecError
from robustbench_local.specs import Query

from ..graph import Graph
from ..rule import check_rules, find_rule
from ..verifier import DEFAULT_BUDGET, Bounds, Budget, verifier
from .cvxpy_solver import CvxpySolver, limited

if TYPE_CHECKING:
    from .program import Array
    from .quadratic import Quadratic

__all__ = ["SDP", "dual_bound"]

_RELU = torch.ops.aten.relu.default

UNIT = 2.0**-53  # of `program`, which would import scipy here


def _scs() -> CvxpySolver:
    return CvxpySolver("SCS", {"eps_abs": 1e-5, "eps_rel": 1e-5, "max_iters": 1500})


@verifier("sdp")
@dataclass(frozen=True, slots=True)
class SDP:
    """Upper bounds by semidefinite programming, for small ReLU networks; every set by its box.

    `largest`: most variables (inputs and ReLUs of open sign) of a sample; beyond it UnsupportedOpError.
    `solver`: CvxpySolver("SCS"), which is stopped after 1500 steps by default, as the bound is valid at any
    step; or "CLARABEL", accurate and much slower. No gradients. Bounds are float64.
    """

    solver: CvxpySolver = field(default_factory=_scs)
    largest: int = 200
    name: str = "sdp"

    def __post_init__(self) -> None:
        if self.solver.name not in {"CLARABEL", "SCS"}:
            raise SpecError(f"{self.solver.name} solves no SDPs", where="solver", cure="use CLARABEL or SCS")
        self.solver.check(integers=False)

    @torch.no_grad()
    def bound(self, graph: Graph, query: Query, budget: Budget = DEFAULT_BUDGET) -> Bounds:
        """Never above CROWN's bounds; rows that the time did not suffice for keep those."""
        from .quadratic import quadratic
        from .rows import begin

        deadline = budget.deadline()
        begun = begin(graph, query, budget)
        upper, complete = begun.upper, begun.complete
        C, d = begun.query.rows(torch.float64)
        for b, sample in enumerate(begun.samples()):
            wanted = begun.open(b, budget)
            if not wanted or not bool(torch.isfinite(upper[b]).all()):  # nor could the solver read it
                continue
            problem = _Dual(quadratic(sample, self.largest), self.solver)
            for turn, i in enumerate(wanted):
                left = deadline - time.monotonic()
                if left <= 0:
                    complete = False
                    break
                value, finished = problem.maximum(C[b, i].numpy(), left / (len(wanted) - turn))
                complete &= finished
                bound = float(np.nextafter(value + float(d[b, i]), np.inf))
                if bound < float(upper[b, i]):  # false where either is NaN
                    upper[b, i] = bound
        return Bounds(upper, begun.query.combine(upper), complete)

    @torch.no_grad()
    def applies(self, graph: Graph, query: Query | None) -> str | None:
        """Why not: an operator, or the size of the query's first problem (operators only without a query)."""
        from .quadratic import quadratic
        from .rows import begin

        try:
            check_rules(graph)
            if query is not None:
                begun = begin(graph, query.select(torch.tensor([0])), DEFAULT_BUDGET)
                quadratic(next(iter(begun.samples())), self.largest)
        except RobustBenchError as error:
            return str(error)
        other = (n for n in graph.nodes[1:] if n.op is not _RELU and not find_rule(n).affine)
        found = next(other, None)
        return None if found is None else f"{found.op} is neither affine nor a ReLU (node {found.name})"


class _Dual:
    """The dual of one sample: compiled once, the objective's row is its parameter."""

    def __init__(self, data: Quadratic, solver: CvxpySolver) -> None:
        import cvxpy as package

        cvxpy: Any = package
        self.cvxpy = cvxpy
        self.data, self.solver = data, solver
        n, k = data.width, len(data.y)
        linear = np.concatenate([data.y, data.y - data.p, data.chord - data.y])  # each >= 0
        self.linear = linear
        self.row = cvxpy.Parameter(n)
        self.kappa = cvxpy.Variable(n)
        self.lam = cvxpy.Variable(len(linear), nonneg=True)
        self.mu = cvxpy.Variable(k)
        border = (
            self.row + linear.T @ self.lam
        )  # the affine part, of which half goes to each side of the matrix
        corner = np.zeros((n, 1))
        corner[0, 0] = 0.5
        one_side = corner @ cvxpy.reshape(border, (1, n), order="C")
        products = data.y.T @ cvxpy.diag(self.mu) @ (data.p - data.y) / 2 if k else np.zeros((n, n))
        matrix = one_side + one_side.T + products + products.T - cvxpy.diag(self.kappa)
        constraints = [matrix << 0, self.kappa[1:] >= 0]
        self.problem = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum(self.kappa)), constraints)

    def maximum(self, row: Array, seconds: float) -> tuple[float, bool]:
        """An upper bound of <row, output>, inf where the solver gave nothing; and whether time did not stop
        it.
        """
        begun = time.monotonic()
        if not (np.isfinite(row).all() and np.isfinite(self.data.output).all()):
            return math.inf, True
        objective = row @ self.data.output
        scale = float(np.max(np.abs(objective))) or 1.0
        self.row.value = objective / scale
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # "may be inaccurate": the bound is evaluated anew
                self.problem.solve(solver=self.solver.name, warm_start=True, **limited(self.solver, seconds))
        except (self.cvxpy.SolverError, ValueError):
            return math.inf, False
        if any(v.value is None for v in (self.kappa, self.lam)):
            return math.inf, False
        mu = np.zeros(0) if self.mu.value is None else self.mu.value
        kappa, lam = (scale * np.asarray(v) for v in (self.kappa.value, self.lam.value))
        found = dual_bound(self.data, row, (kappa, lam, scale * mu))
        return found, time.monotonic() - begun < seconds


def dual_bound(data: Quadratic, row: Array, multipliers: tuple[Array, Array, Array]) -> float:
    """An upper bound of <row, output> on the set, valid for ANY multipliers (kappa, lambda, mu); see the
    module.
    """
    kappa, lam, mu = (np.nan_to_num(v, posinf=0.0, neginf=0.0) for v in multipliers)
    kappa = np.concatenate([kappa[:1], np.maximum(kappa[1:], 0.0)])
    lam = np.maximum(lam, 0.0)
    n = data.width
    linear = np.concatenate([data.y, data.y - data.p, data.chord - data.y])
    matrix = (data.y * mu[:, None]).T @ (data.p - data.y)
    matrix[0] += row @ data.output + lam @ linear
    matrix = (matrix + matrix.T) / 2
    matrix[np.diag_indices(n)] -= kappa
    if not bool(np.isfinite(matrix).all()):
        return math.inf
    largest = float(np.linalg.eigvalsh(matrix)[-1]) + _doubt(data, row, (kappa, lam, mu), matrix)
    total = math.fsum(kappa.tolist())
    return total + n * max(0.0, largest) + 4 * UNIT * (abs(total) + n * abs(largest))


def _doubt(data: Quadratic, row: Array, multipliers: tuple[Array, Array, Array], matrix: Array) -> float:
    """By how much rounding may have lowered the largest eigenvalue."""
    kappa, lam, mu = multipliers
    n = data.width
    # entries of the forms are sums of at most `data.terms` products that sum to `data.size` in magnitude
    entry = 4 * (data.terms + n) * UNIT * data.size
    sides = np.linalg.norm(data.y, axis=1) + np.linalg.norm(data.p - data.y, axis=1)
    forms = (
        entry
        * math.sqrt(n)
        * (float(np.abs(row).sum()) + 3 * float(lam.sum()) + 3 * float(np.abs(mu) @ sides))
    )
    magnitude = (np.abs(data.y) * np.abs(mu)[:, None]).T @ (np.abs(data.p) + np.abs(data.y))
    linear = np.abs(data.y) * 3 + np.abs(data.p) + np.abs(data.chord)
    weights = lam.reshape(3, -1).max(0, initial=0.0)
    magnitude[0] += np.abs(row) @ np.abs(data.output) + weights @ linear
    magnitude[np.diag_indices(n)] += np.abs(kappa)
    sums = 4 * (3 * len(data.y) + len(row) + 8) * UNIT * float(np.linalg.norm(magnitude))
    return forms + sums + 8 * n * UNIT * float(np.linalg.norm(matrix))
