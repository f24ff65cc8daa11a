"""What an operator must answer so that bounds can pass through it, and the table of all rules.

One object per operator holds everything the engines ask: interval propagation, backward (CROWN)
propagation of linear bounds, and which inputs need tight bounds first. A new operator is one file in
`verifiers/rules/` that ends in `register(torch.ops.aten.NAME.default)(SomeRule())`.

Sign convention: a backward step keeps `<a_k, y> + offset_k` a LOWER bound of the quantity k;
an upper bound is minus the lower bound of its negative.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from robustbench_local.errors import UnsupportedOpError

from .graph import Graph, Node
from .interval import Interval, contract
from .windows import WindowRows

__all__ = [
    "RULES",
    "Affine",
    "Boxes",
    "Elementwise",
    "Lines",
    "Pulled",
    "PulledWindows",
    "Rule",
    "check_rules",
    "contract",
    "find_rule",
    "register",
]

Boxes = Mapping[Node, Interval]


@dataclass(frozen=True, slots=True, eq=False)
class Pulled:
    """Linear bounds after a backward step.

    coefficients (B or 1, K, *shape) per input; offset (B or 1, K), None for zero.
    """

    coefficients: tuple[Tensor, ...]
    offset: Tensor | None = None


@dataclass(frozen=True, slots=True, eq=False)
class PulledWindows:
    """As `Pulled`, for rows on windows."""

    rows: tuple[WindowRows, ...]
    offset: Tensor | None = None


class Rule(ABC):
    """All that the engines ask of one operator. B samples, K rows, one sample's `shape` per node."""

    #: The operator is affine in its inputs: its backward step is exact and needs no bounds.
    affine: bool = False
    #: Each output coordinate depends on one input coordinate only.
    coordinatewise: bool = False

    def check(self, node: Node) -> None:  # noqa: B027  (most rules take every argument)
        """Raise UnsupportedOpError if the rule cannot handle this node's arguments."""

    @abstractmethod
    def interval(self, node: Node, *inputs: Interval) -> Interval:
        """Elementwise bounds of the output from elementwise bounds of the inputs; exact at points."""

    @abstractmethod
    def backward(self, node: Node, a: Tensor, boxes: Boxes) -> Pulled:
        """`<a_k, y>` bounded from below by `sum <a'_k, x> + offset_k` for all inputs within `boxes`.

        a is (B, K, *node.shape), or (1, K, *node.shape) where it is the same for all samples.
        Affine rules do not read `boxes`.
        """

    def backward_windows(self, node: Node, rows: WindowRows, boxes: Boxes) -> PulledWindows | None:
        """The backward step on rows that live on windows of an image; None: only dense rows are known."""
        return None

    def undecided(self, node: Node, position: int, box: Interval) -> Tensor | None:
        """Mask (B, *shape) of coordinates of input `position` whose bounds would tighten the backward step.

        None: no bounds are needed.
        """
        return None


class Affine(Rule):
    """An operator that is affine in its inputs, coordinate by coordinate or mixing."""

    affine = True

    def interval(self, node: Node, *inputs: Interval) -> Interval:
        """By default for coordinate maps (reshape, slice, pad): the operator on both ends."""
        return Interval(node.run(*(i.lower for i in inputs)), node.run(*(i.upper for i in inputs)))


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """Two lines that enclose a function on [l, u]: each (B, *shape); an offset of None is zero."""

    lower_slope: Tensor
    upper_slope: Tensor
    lower_offset: Tensor | None
    upper_offset: Tensor | None


class Elementwise(Rule):
    """A nonlinear function of one input, coordinate by coordinate, enclosed by two lines."""

    coordinatewise = True

    @abstractmethod
    def lines(self, node: Node, box: Interval) -> Lines:
        """Two lines that enclose the function on the box; exact where l = u.

        Where the box is NaN or infinite they may be anything: the engines then return NaN for the sample.
        """

    def backward(self, node: Node, a: Tensor, boxes: Boxes) -> Pulled:
        """Positive coefficients take the lower line, negative ones the upper line."""
        lines = self.lines(node, boxes[node.inputs[0]])
        negative = a.clamp(max=0)
        gap = lines.upper_slope - lines.lower_slope
        pulled = torch.addcmul(a * lines.lower_slope.unsqueeze(1), negative, gap.unsqueeze(1))
        offset = None
        if lines.upper_offset is not None:
            offset = contract(negative, lines.upper_offset)
        if lines.lower_offset is not None:
            low = contract(a - negative, lines.lower_offset)
            offset = low if offset is None else offset + low
        return Pulled((pulled,), offset)

    def backward_windows(self, node: Node, rows: WindowRows, boxes: Boxes) -> PulledWindows | None:
        """As `backward`; the lines are zero outside the map, which cleans the rows."""
        lines = self.lines(node, boxes[node.inputs[0]])
        negative = rows.with_coefficients(rows.a.clamp(max=0), clean=rows.clean)
        gap = rows.view(lines.upper_slope - lines.lower_slope)
        pulled = torch.addcmul(rows.a * rows.view(lines.lower_slope), negative.a, gap)
        offset = None
        if lines.upper_offset is not None:
            offset = negative.contract(lines.upper_offset)
        if lines.lower_offset is not None:
            positive = rows.with_coefficients(rows.a - negative.a, clean=rows.clean)
            low = positive.contract(lines.lower_offset)
            offset = low if offset is None else offset + low
        return PulledWindows((rows.with_coefficients(pulled, clean=True),), offset)


RULES: dict[Callable[..., Any], Rule] = {}

R = TypeVar("R", bound=Rule)


def register(*operators: Callable[..., Any]) -> Callable[[R], R]:
    """Enters a rule for these operators: `register(aten.relu.default)(Relu())`; the last one counts."""

    def enter(rule: R) -> R:
        for op in operators:
            RULES[op] = rule
        return rule

    return enter


def find_rule(node: Node) -> Rule:
    """The rule of the node's operator; UnsupportedOpError names node and operator and what is supported."""
    rule = RULES.get(node.op) if node.op is not None else None
    if rule is None:
        known = sorted({str(op).removeprefix("aten.").split(".")[0] for op in RULES})
        raise UnsupportedOpError(
            f"no bound rule for {node.op}",
            where=f"node {node.name}",
            cure=f"add one in verifiers/rules/ (see CONTRIBUTING) or use only: {', '.join(known)}",
        )
    return rule


def check_rules(graph: Graph) -> None:
    """Raise UnsupportedOpError for the first node whose operator, or its arguments, no rule handles."""
    for node in graph.nodes[1:]:
        find_rule(node).check(node)
