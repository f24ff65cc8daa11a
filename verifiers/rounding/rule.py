"""What an operator does to rounding errors, and the table of all that are known.

A new operator is one line `register_rounding(op)(SomeRounding())` in a file of `operators/`.
An operator without an entry has no bound: nothing is ever taken to be exact by default.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from robustbench_local.errors import UnsupportedOpError

from ..graph import Graph, Node
from ..interval import Interval
from ..rule import find_rule
from .formats import DOUBLE, Format

__all__ = ["ROUNDINGS", "Rounding", "Step", "check_roundings", "find_rounding", "register_rounding", "upward"]

_UPWARD = 1 + 2.0**-20  # covers the rounding of sums of up to 2^31 non-negative float64 terms
_ENDS = 4  # operations on ends of intervals for one of the operator's


def upward(value: Tensor) -> Tensor:
    """At least the exact value of a non-negative float64 expression that was computed as `value`."""
    return value * _UPWARD


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One operator's inputs: `boxes` of their exact values, `errors` of the computed ones, (B, *shape) each.

    The operator is computed in `format`. Boxes are float64 and outward.
    """

    format: Format
    boxes: tuple[Interval, ...]
    errors: tuple[Tensor, ...]

    @staticmethod
    def exact(format: Format, boxes: Sequence[Interval]) -> Step:
        """Inputs without errors."""
        return Step(format, tuple(boxes), tuple(torch.zeros_like(box.lower) for box in boxes))

    def arriving(self) -> tuple[Tensor, ...]:
        """The errors of what the operator reads, whose subnormal numbers may count as zero."""
        return tuple(error + self.format.tiny for error in self.errors)

    def wide(self) -> tuple[Interval, ...]:
        """Boxes of the computed inputs, and of everything between them and the exact ones."""
        return tuple(
            Interval(box.lower - upward(e), box.upper + upward(e))
            for box, e in zip(self.boxes, self.arriving(), strict=True)
        )

    def sizes(self) -> tuple[Tensor, ...]:
        """Largest absolute values of `wide`."""
        return tuple(upward(torch.maximum(box.lower.abs(), box.upper.abs())) for box in self.wide())


class Rounding(ABC):
    """How far a computed result of one operator can be from the exact operator on exact inputs."""

    #: The operator rounds nothing: its error comes from its inputs alone.
    exact: bool = False

    def check(self, node: Node) -> None:  # noqa: B027  (most entries hold for all arguments)
        """Raise UnsupportedOpError if nothing is known for this node's arguments."""

    @abstractmethod
    def error(self, node: Node, step: Step) -> Tensor:
        """Bound (B, *node.shape) of |computed - exact| for all exact inputs in the boxes and all computed
        ones within their errors; computed in float64 up to the factor of `upward`. Infinite where unknown.
        """

    def enclose(self, node: Node, boxes: Sequence[Interval]) -> Interval:
        """Bounds of the exact result that are valid despite being computed in float64.

        By default the interval rule's, which does a few operations like the operator's own on the ends of
        the boxes, moved out by a multiple of their rounding, and cut to the operator's `range`.
        """
        found = find_rule(node).interval(node, *boxes)
        if self.exact:
            return found
        spread = upward(_ENDS * self.error(node, Step.exact(DOUBLE, boxes)))
        return self.within(node, Interval(found.lower - spread, found.upper + spread))

    def range(self, node: Node) -> tuple[float, float]:
        """Least and largest value that the exact operator can have, whatever its inputs."""
        return -math.inf, math.inf

    def within(self, node: Node, box: Interval) -> Interval:
        """The box, cut to the range; NaN stays."""
        low, high = self.range(node)
        return Interval(box.lower.clamp(low, high), box.upper.clamp(low, high))


ROUNDINGS: dict[Callable[..., Any], Rounding] = {}

R = TypeVar("R", bound=Rounding)


def register_rounding(*operators: Callable[..., Any]) -> Callable[[R], R]:
    """Enters what is known of these operators' rounding."""

    def enter(entry: R) -> R:
        for op in operators:
            ROUNDINGS[op] = entry
        return entry

    return enter


def find_rounding(node: Node) -> Rounding:
    """The entry of the node's operator. UnsupportedOpError names node and operator."""
    found = ROUNDINGS.get(node.op) if node.op is not None else None
    if found is None:
        raise UnsupportedOpError(
            f"no bound of the rounding errors of {node.op}",
            where=f"node {node.name}",
            cure="use arithmetic='real', or operators listed in docs/arithmetic.md",
        )
    found.check(node)
    return found


def check_roundings(graph: Graph) -> None:
    """Raise UnsupportedOpError for the first node of unknown rounding.

    A composite operator (attention, a recurrent layer) that the graph spells as several rounding steps is
    refused, since a fused kernel may round otherwise.
    """
    names = {node.name for node in graph.nodes}
    steps: dict[str, Node] = {}
    for node in graph.nodes[1:]:
        rounds = not find_rounding(node).exact
        stem, _, count = node.name.rpartition(".")
        stem = stem if count.isdigit() and stem in names else node.name
        if rounds and stem in steps:
            raise UnsupportedOpError(
                "no bound of the rounding errors of a composite operator, whose kernel may round otherwise "
                f"than its parts {steps[stem].op} and {node.op}",
                where=f"node {stem}",
                cure="use arithmetic='real', or write the operator out in the module",
            )
        if rounds:
            steps[stem] = node
