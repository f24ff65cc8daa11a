"""Preflight: which nodes of a network have no bound rule, and which methods apply to a network and a query.

Nothing here raises for what it is asked to find out; every finding becomes a line of the report.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Protocol, runtime_checkable

from robustbench_local.errors import RobustBenchError
from robustbench_local.specs import Query

from .graph import Graph, Node
from .rule import find_rule
from .verifier import VERIFIERS, Verifier, check_fit

__all__ = ["MethodSupport", "Obstacle", "Selective", "Support", "support_of", "unsupported"]


@runtime_checkable
class Selective(Protocol):
    """A verifier that knows by itself where it applies; the others apply where every node has a rule."""

    def applies(self, graph: Graph, query: Query | None) -> str | None:
        """Why the method cannot bound this query of this network (None: any query); None where it can."""
        ...


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Something that stands in the way: of a node (`node`, `operator`), or of the whole network or spec.

    `reason` says what is wrong, `cure` what to do about it; unknown parts are empty.
    """

    reason: str
    cure: str = ""
    node: str = ""
    operator: str = ""


@dataclass(frozen=True, slots=True)
class MethodSupport:
    """Whether a verifier applies, and the reason why it does not."""

    name: str
    applies: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Support:
    """The preflight report of a network, with or without a query.

    Attributes:
        nodes: number of operations of the network; 0 where it could not be traced.
        operators: how often each operator occurs.
        obstacles: why the network as a whole cannot be traced, and each node that no rule handles.
        spec: what is wrong with the query, or does not fit the network.
        inputs: kind, batch, shape and dtype of the input set, "" without a query.
        methods: every registered verifier, in the order of the registry.
    """

    nodes: int = 0
    operators: Mapping[str, int] = field(default_factory=dict)
    obstacles: tuple[Obstacle, ...] = ()
    spec: tuple[Obstacle, ...] = ()
    inputs: str = ""
    methods: tuple[MethodSupport, ...] = ()

    @property
    def ok(self) -> bool:
        """At least one method applies."""
        return any(method.applies for method in self.methods)

    def as_dict(self) -> dict[str, object]:
        """The report as plain JSON-ready fields."""
        return {"ok": self.ok, **asdict(self), "operators": dict(self.operators)}


def support_of(graph: Graph, query: Query | None = None) -> Support:
    """The report of a traced network; without a query the methods are asked about the network alone."""
    obstacles = tuple(o for node in graph.nodes[1:] if (o := _of_node(node)) is not None)
    spec = () if query is None else _of_query(graph, query)
    return Support(
        nodes=len(graph.nodes) - 1,
        operators=dict(sorted(Counter(str(n.op) for n in graph.nodes[1:]).items())),
        obstacles=obstacles,
        spec=spec,
        inputs="" if query is None else repr(query.inputs),
        methods=tuple(
            _of_method(name, method, graph, query, (*spec, *obstacles)) for name, method in VERIFIERS.items()
        ),
    )


def unsupported(error: RobustBenchError, *, spec: bool = False) -> Support:
    """The report of a network that cannot be traced, or (`spec`) of a property that cannot be built."""
    found = _obstacle(error)
    methods = tuple(MethodSupport(name, False, found.reason) for name in VERIFIERS)
    return Support(spec=(found,), methods=methods) if spec else Support(obstacles=(found,), methods=methods)


def _of_node(node: Node) -> Obstacle | None:
    try:
        find_rule(node).check(node)
    except RobustBenchError as error:
        name = str(node.op).removeprefix("aten.").split(".")[0]
        cure = _HINTS.get(name, error.cure if "," not in (error.cure or "") else None)
        return Obstacle(error.what, cure or _DEFAULT_HINT, node.name, str(node.op))
    return None


def _of_query(graph: Graph, query: Query) -> tuple[Obstacle, ...]:
    try:
        check_fit(graph, query)
    except RobustBenchError as error:
        return (_obstacle(error),)
    return ()


def _of_method(
    name: str, method: Verifier, graph: Graph, query: Query | None, obstacles: tuple[Obstacle, ...]
) -> MethodSupport:
    reason: str | None = None
    if isinstance(method, Selective):
        try:
            reason = method.applies(graph, query)
        except RobustBenchError as error:
            reason = str(error)
    elif obstacles:
        first, more = obstacles[0], len(obstacles) - 1
        place = f" (node {first.node})" if first.node else ""
        reason = f"{first.reason}{place}" + (f", and {more} more" if more else "")
    return MethodSupport(name, reason is None, reason or "")


def _obstacle(error: RobustBenchError) -> Obstacle:
    return Obstacle(f"{error.what} ({error.where})" if error.where else error.what, error.cure or "")


_DEFAULT_HINT = "rewrite it with operators that have a rule, or add a rule in verifiers/rules/ (CONTRIBUTING)"

#: What to write instead of operators that no rule can handle well.
_HINTS: dict[str, str] = {
    "argsort": "positions are not continuous in the values: leave the selection out of the network",
    "randn_like": "take the noise as an input of the network, or leave it out in eval mode",
    "rand_like": "take the noise as an input of the network, or leave it out in eval mode",
    "bernoulli": "call network.eval(): random choices have no bounds",
    "nonzero": "the shape of the result depends on the values: use a mask and multiply",
    "masked_select": "the shape of the result depends on the values: use a mask and multiply",
    "linalg_inv": "invert constant matrices beforehand; of perturbed ones no bounds are known",
    "linalg_solve": "solve for constant matrices beforehand and multiply by the inverse",
    "linalg_svd": "a decomposition of a perturbed matrix has no bounds",
    "linalg_eigh": "a decomposition of a perturbed matrix has no bounds",
    "linalg_cholesky_ex": "a decomposition of a perturbed matrix has no bounds",
}
