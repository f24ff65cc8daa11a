"""What an operator must answer so that bounds can pass through it, and the table of all rules.

One object per operator holds everything the engines ask: interval propagation, backward (CROWN)
propagation of linear bounds, and which inputs need tight bounds first. A new operator is one file in
`verifiers/rules/` that ends in `register(torch.ops.aten.NAME.default)(SomeRule())`.

Sign convention: a backward step keeps `<a_k, y> + offset_k` a LOWER bound of the quantity k;
an upper bound is minus the lower bound of its negative.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from types import FunctionType
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from robustbench_local.errors import UnsupportedOpError

from .bending import bent
from .derivatives import affine_cotangent, affine_tangent, monotone_cotangent, no_derivative
from .graph import Graph, Node
from .interval import Interval, contract, contract_rows
from .parallel import Parallel, parallel_lines
from .windows import WindowRows

if TYPE_CHECKING:
    from .forms import Form

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
    "contract_rows",
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
    #: Each output coordinate is an input coordinate.
    selects: bool = False
    #: Interval bounds are exact where the inputs, several, depend on different coordinates of the network's.
    independent: bool = False
    #: Backward bounds of its output gain too little on intervals to be worth a row for each coordinate.
    settled: bool = False
    #: `backward_windows` takes free parameters, if there are any: (B, 1, *axes of `start`) for one choice on
    #: the map, else (B, K, *axes of `start`) with each row's window in place of the map.
    tunes_windows: bool = False

    def at(self, node: Node) -> Rule:
        """The rule for this node: another one where its kind depends on which operands are perturbed."""
        return self

    def check(self, node: Node) -> None:  # noqa: B027  (most rules take every argument)
        """Raise UnsupportedOpError if the rule cannot handle this node's arguments."""

    @abstractmethod
    def interval(self, node: Node, *inputs: Interval) -> Interval:
        """Elementwise bounds of the output from elementwise bounds of the inputs; exact at points."""

    @abstractmethod
    def backward(self, node: Node, a: Tensor, boxes: Boxes, free: Tensor | None = None) -> Pulled:
        """`<a_k, y>` bounded from below by `sum <a'_k, x> + offset_k` for all inputs within `boxes`.

        a is (B, K, *node.shape), or (1, K, *node.shape) where it is the same for all samples.
        free: values of the free parameters that `start` announces, (B, R, *its own axes), one choice for
        all rows (R = 1) or one per row (R = K); the result is valid for ANY values within [0, 1], and
        differentiable in them. None: the rule's own choice. Affine rules read neither `boxes` nor `free`.
        """

    def backward_windows(
        self, node: Node, rows: WindowRows, boxes: Boxes, free: Tensor | None = None
    ) -> PulledWindows | None:
        """The backward step on rows that live on windows of an image; None: only dense rows are known."""
        return None

    def start(self, node: Node, boxes: Boxes) -> Tensor | None:
        """First values, within [0, 1], of the relaxation's free parameters: (B, *any axes).

        None: the relaxation leaves nothing free. alpha-CROWN tunes them (Xu et al. 2021, arXiv 2011.13824).
        """
        return None

    def undecided(self, node: Node, position: int, box: Interval) -> Tensor | None:
        """Mask (B, *shape) of coordinates of input `position` whose bounds would tighten the backward step.

        None: no bounds are needed.
        """
        return None

    def image(self, node: Node, forms: Sequence[Form], boxes: Boxes) -> Form | None:
        """The node's affine form from those of its inputs (`forward_bounds`); None: from two backward steps.

        For operators whose planes are too large to be written out, one row per coordinate.
        """
        return None

    def tangent(self, node: Node, boxes: Boxes, tangents: tuple[Interval, ...]) -> Interval:
        """Bounds of the output's derivatives along K directions, from those of the inputs: forward mode.

        tangents: one per input, (B or 1, K, *shape), where the input's derivatives lie for every point of
        `boxes`; result (B or 1, K, *node.shape). Where the operator has kinks the bounds enclose the
        generalised derivatives (Clarke 1983), so that the mean value theorem holds.
        """
        raise no_derivative(node)

    def cotangent(self, node: Node, boxes: Boxes, rows: Interval) -> tuple[Interval, ...]:
        """Bounds of the derivatives of K quantities by the inputs, from those by the output: backward mode.

        rows: (B or 1, K, *node.shape); result, one per input, (B or 1, K, *its shape).
        """
        raise no_derivative(node)


class Affine(Rule):
    """An operator that is affine in its inputs, coordinate by coordinate or mixing."""

    affine = True

    def interval(self, node: Node, *inputs: Interval) -> Interval:
        """By default for coordinate maps (reshape, slice, pad): the operator on both ends."""
        return Interval(node.run(*(i.lower for i in inputs)), node.run(*(i.upper for i in inputs)))

    def tangent(self, node: Node, boxes: Boxes, tangents: tuple[Interval, ...]) -> Interval:
        """By default the operator's interval minus its value at zero."""
        return affine_tangent(self, node, tangents)

    def cotangent(self, node: Node, boxes: Boxes, rows: Interval) -> tuple[Interval, ...]:
        """By default the adjoint on both ends where the map is monotone (see `interval`), else its matrix."""
        if type(self).interval is Affine.interval:
            return monotone_cotangent(self, node, boxes, rows)
        return affine_cotangent(self, node, boxes, rows)

    def spectral_norms(self, node: Node) -> tuple[float, ...] | None:
        """Upper bounds of the l2 operator norms by each input; None: no better one than sqrt(l1 linf)."""
        return None


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """Two lines that enclose a function on [l, u]: each of the box's shape; an offset of None is zero."""

    lower_slope: Tensor
    upper_slope: Tensor
    lower_offset: Tensor | None
    upper_offset: Tensor | None

    def unsqueeze(self, axis: int) -> Lines:
        """The same lines with a new axis of length one."""
        low, high = self.lower_offset, self.upper_offset
        return Lines(
            self.lower_slope.unsqueeze(axis),
            self.upper_slope.unsqueeze(axis),
            None if low is None else low.unsqueeze(axis),
            None if high is None else high.unsqueeze(axis),
        )


class Elementwise(Rule):
    """A nonlinear function of one input, coordinate by coordinate, enclosed by two lines.

    `parameters` counts the free parameters of a coordinate's two lines (a slope, a point of tangency).
    """

    coordinatewise = True
    tunes_windows = True
    parameters: int = 0

    @abstractmethod
    def lines(self, node: Node, box: Interval, free: Sequence[Tensor] = ()) -> Lines:
        """Two lines that enclose the function on the box; exact where l = u.

        free: the rule's own choice where empty, else one tensor within [0, 1] per parameter, which
        broadcasts against the box: the lines enclose the function for ANY such values and differentiate in
        them. Where the box is NaN or infinite the lines may be anything: the engines then return NaN.
        """

    def derivative(self, node: Node, box: Interval) -> Interval:
        """Bounds of f' over the box, of the box's shape; at kinks of all generalised derivatives.

        Where the box is NaN or infinite the values may be anything: the engine then makes them NaN.
        """
        raise no_derivative(node)

    def tangent(self, node: Node, boxes: Boxes, tangents: tuple[Interval, ...]) -> Interval:
        """The product of two intervals: derivative and tangent."""
        return tangents[0].times(self._slopes(node, boxes))

    def cotangent(self, node: Node, boxes: Boxes, rows: Interval) -> tuple[Interval, ...]:
        """The product of two intervals, as in `tangent`."""
        return (rows.times(self._slopes(node, boxes)),)

    def _slopes(self, node: Node, boxes: Boxes) -> Interval:
        box = boxes[node.inputs[0]]
        slopes = self.derivative(node, box)
        bad = 0 * (box.upper - box.lower)  # NaN where a bound is NaN or infinite
        return Interval(slopes.lower + bad, slopes.upper + bad).unsqueeze(1)

    def parallel(self, node: Node, box: Interval) -> Parallel:
        """Two parallel lines that enclose the function on the box, for forward bounds; exact where l = u.

        By default the narrowest strip that follows from `lines`, with the parameters' own choice and with
        all of them at 0 and at 1.
        """
        ends = (torch.zeros_like(box.lower), torch.ones_like(box.lower)) if self.parameters else ()
        found = [self.lines(node, box), *(self.lines(node, box, (end,) * self.parameters) for end in ends)]
        lower = [(lines.lower_slope, lines.lower_offset) for lines in found]
        return parallel_lines(lower, [(lines.upper_slope, lines.upper_offset) for lines in found], box)

    def first(self, node: Node, box: Interval) -> tuple[Tensor, ...]:
        """First values of the free parameters, each of the box's shape; by default one half."""
        return (torch.full_like(box.lower, 0.5),) * self.parameters

    def start(self, node: Node, boxes: Boxes) -> Tensor | None:
        """The parameters on an axis in front of the coordinates': (B, parameters, *shape)."""
        if not self.parameters:
            return None
        return torch.stack(self.first(node, boxes[node.inputs[0]]), 1)

    def backward(self, node: Node, a: Tensor, boxes: Boxes, free: Tensor | None = None) -> Pulled:
        """Positive coefficients take the lower line, negative ones the upper line."""
        box = boxes[node.inputs[0]]
        if free is None:
            lines = box.once(node, lambda: self.lines(node, box)).unsqueeze(1)
        else:
            lines = self.lines(node, box.unsqueeze(1), free.unbind(2))
        gap = lines.upper_slope - lines.lower_slope
        pulled, offset = bent(a, lines.lower_slope, gap, lines.lower_offset, lines.upper_offset)
        return Pulled((pulled,), offset)

    def backward_windows(
        self, node: Node, rows: WindowRows, boxes: Boxes, free: Tensor | None = None
    ) -> PulledWindows | None:
        """As `backward`; the lines are made zero outside the map, which cleans the rows.

        free: (B, 1, parameters, *shape) on the map, or (B, K, parameters, C, h, w) on the rows' windows.
        """
        box = boxes[node.inputs[0]]
        if free is None or free.shape[3:] == box.lower.shape[1:]:
            if free is None:
                found = box.once(node, lambda: self.lines(node, box))
            else:
                found = self.lines(node, box, free.squeeze(1).unbind(1))
            parts = [None if part is None else rows.view(part) for part in _parts(found)]
        else:
            inside = rows.view(box.lower.new_ones(1, 1, *box.lower.shape[2:]))
            box = Interval(rows.view(box.lower), rows.view(box.upper))
            found = self.lines(node, box, free.unbind(2))
            parts = [None if part is None else part * inside for part in _parts(found)]
        slope, gap, low, high = parts
        assert slope is not None and gap is not None  # offsets only may be missing
        pulled, offset = bent(rows.a, slope, gap, low, high)
        return PulledWindows((rows.with_coefficients(pulled, clean=True),), offset)


def _parts(lines: Lines) -> tuple[Tensor | None, ...]:
    """Lower slope, gap to the upper one, and both offsets."""
    gap = lines.upper_slope - lines.lower_slope
    return lines.lower_slope, gap, lines.lower_offset, lines.upper_offset


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
        known = {_short(op) for op in RULES}
        near = get_close_matches(_short(node.op), known, n=5)
        instead = f" (near by: {', '.join(near)})" if near else ""
        raise UnsupportedOpError(
            f"no bound rule for {node.op}",
            where=f"node {node.name}",
            cure=f"use other operators{instead}, listed in docs/operators.md, "
            "or add a rule in verifiers/rules/ (see CONTRIBUTING)",
        )
    return rule.at(node)


def _short(op: Callable[..., Any] | None) -> str:
    """The operator's bare name: relu for aten.relu.default."""
    text = op.__name__ if isinstance(op, FunctionType) else str(op)
    return text.removeprefix("aten.").split(".")[0]


def check_rules(graph: Graph) -> None:
    """Raise UnsupportedOpError for the first node whose operator, or its arguments, no rule handles."""
    for node in graph.nodes[1:]:
        find_rule(node).check(node)
