"""What the top-level conditions on inputs say: which elements are equal, their bounds, and linear conditions.

Elements that `==` ties together are one coordinate: two runs of a network on the same input then share it
exactly, where an equation would leave engines with two coordinates and a set without volume.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from robustbench_local.errors import EmptySetError, SpecError, UnboundedSetError

from ..formula import FLIPPED, RELATIONS, SIGNS, AllOf, Comparison, Formula, Literals
from ..linear import Fail, Linear, linear
from .declarations import Declarations, Tensor

__all__ = ["Condition", "InputSpace"]

_MOST_NAMED = 5
_ROUNDS = 4  # of carrying bounds from coordinates to others
_LOWER = [SIGNS.index(sign) for sign in (">", ">=", "==")]
_UPPER = [SIGNS.index(sign) for sign in ("<", "<=", "==")]
_STRICT = [SIGNS.index(sign) for sign in "<>"]


@dataclass(frozen=True, slots=True)
class Condition:
    """left relation 0, where left is linear in coordinates."""

    left: Linear
    relation: str


class InputSpace:
    """Coordinates of the inputs, their bounds and conditions.

    Attributes:
        inputs: the input tensors, in order.
        leader: for every element, the coordinate that it is, by the position that stands for it; -1 for
            elements that are no inputs.
        lower, upper: closed bounds of coordinates by position, float64, rounded outward.
        conditions: what bounds do not say: strict bounds, bounds that are no float64 numbers, and linear
            conditions on several coordinates.
        rest: the other parts of the conjunction.
    """

    def __init__(self, declared: Declarations, unsafe: AllOf, fail: Fail, name: str) -> None:
        self._declared, self._fail, self._name = declared, fail, name
        networks = declared.networks.values()
        self.inputs: tuple[Tensor, ...] = tuple(t for network in networks for t in network.inputs)
        self.leader: NDArray[np.int64] = np.full(declared.size, -1)
        for tensor in self.inputs:
            places = np.arange(tensor.start, tensor.start + tensor.size)
            self.leader[places] = places
        self.lower, self.upper = np.full(declared.size, -np.inf), np.full(declared.size, np.inf)
        self.conditions: list[Condition] = []
        self.rest: list[Formula] = []
        found = self._take_parts(unsafe.parts)
        self._take_literals(unsafe.literals)
        for condition in found:
            self._take(condition)
        self._carry()
        self._check()

    def coordinates(self, tensor: Tensor) -> NDArray[np.int64]:
        """The coordinates that the elements of an input are, in order."""
        return self.leader[tensor.start : tensor.start + tensor.size]

    def own(self, tensor: Tensor) -> NDArray[np.int64]:
        """The coordinates that stand in this input: its elements that no earlier one is equal to."""
        places = np.arange(tensor.start, tensor.start + tensor.size)
        own: NDArray[np.int64] = places[self.coordinates(tensor) == places]
        return own

    def _take_parts(self, parts: Iterable[Formula]) -> list[Condition]:
        """Takes up ties, and returns the linear conditions on inputs; the others go to `rest`."""
        found: list[Condition] = []
        for part in parts:
            left = self._linear(part) if isinstance(part, Comparison) and part.relation != "!=" else None
            if left is None or not isinstance(part, Comparison):
                self.rest.append(part)
            elif (
                part.relation == "=="
                and not left.constant
                and sum(left.terms.values()) == 0
                and len(left.terms) == 2
            ):
                first, second = sorted(map(self._find, left.terms))
                self.leader[second] = first
            else:
                found.append(Condition(left, part.relation))
        inputs = np.flatnonzero(self.leader >= 0)
        while (self.leader[self.leader[inputs]] != self.leader[inputs]).any():
            self.leader[inputs] = self.leader[self.leader[inputs]]
        return found

    def _take_literals(self, literals: Literals) -> None:
        """Takes up bounds of inputs; literals of other elements, and with !=, go to `rest`."""
        codes, positions, values, _ = literals.columns
        mine = (self.leader[positions] >= 0) & (codes != SIGNS.index("!="))
        self.rest[:0] = literals.chosen(~mine)
        codes, places, values = codes[mine], self.leader[positions[mine]], values[mine]
        above, below = np.isin(codes, _LOWER), np.isin(codes, _UPPER)
        np.maximum.at(self.lower, places[above], values[above])
        np.minimum.at(self.upper, places[below], values[below])
        strict = np.isin(codes, _STRICT)
        for code, place, value in zip(codes[strict], places[strict], values[strict], strict=True):
            left = Linear({int(place): Fraction(1)}, -Fraction(float(value)))
            self.conditions.append(Condition(left, SIGNS[code]))

    def _take(self, condition: Condition) -> None:
        """Takes up a linear condition on inputs."""
        terms: dict[int, Fraction] = {}
        for position, c in condition.left.terms.items():
            place = int(self.leader[position])
            terms[place] = terms.get(place, Fraction(0)) + c
        left, relation = Linear(terms, condition.left.constant), condition.relation
        if not left.terms:
            if not RELATIONS[relation](left.constant, 0):
                what = "a condition on the inputs is false for all of them"
                raise EmptySetError(what, where=self._name, cure="check its signs")
            return
        exact = False
        if len(left.terms) == 1:
            ((place, c),) = left.terms.items()
            exact = self._bound(place, relation if c > 0 else FLIPPED[relation], -left.constant / c)
        if not exact or len(relation) == 1:
            self.conditions.append(Condition(left, relation))

    def _bound(self, place: int, relation: str, value: Fraction) -> bool:
        """Takes up x relation value, rounded outward; whether nothing was rounded."""
        if relation[0] != ">":
            self.upper[place] = min(self.upper[place], _rounded(value, math.inf))
        if relation[0] != "<":
            self.lower[place] = max(self.lower[place], _rounded(value, -math.inf))
        return _rounded(value, math.inf) == _rounded(value, -math.inf)

    def _carry(self) -> None:
        """Bounds of coordinates that have none, from conditions that tie them to bounded ones."""
        halves = [half for condition in self.conditions for half in _halves(condition)]
        for _ in range(_ROUNDS):
            for half in halves:
                for place, c in half.terms.items():
                    face = self.upper if c > 0 else self.lower
                    if math.isinf(face[place]):
                        others = [self._least(p, a) for p, a in half.terms.items() if p != place]
                        if None not in others:
                            value = -(half.constant + sum(v for v in others if v is not None)) / c
                            face[place] = _rounded(value, math.inf if c > 0 else -math.inf)

    def _least(self, place: int, c: Fraction) -> Fraction | None:
        """The least value of c x; None where it has none."""
        bound = float(self.lower[place] if c > 0 else self.upper[place])
        return None if math.isinf(bound) else c * Fraction(bound)

    def _check(self) -> None:
        """An error for a coordinate without bounds, or without a value."""
        places = np.unique(self.leader[self.leader >= 0])
        for kind, face in (("lower", self.lower), ("upper", self.upper)):
            free = places[np.isinf(face[places])]
            if len(free):
                named = ", ".join(self._label(p) for p in free[:_MOST_NAMED])
                more = ", ..." if len(free) > _MOST_NAMED else ""
                what = f"no {kind} bound of {named}{more} ({len(free)} of {len(places)} inputs)"
                cure = f"assert a {kind} bound of every input, outside every `or`"
                raise UnboundedSetError(what, where=self._name, cure=cure)
        empty = places[self.lower[places] > self.upper[places]]
        if len(empty):
            label, low, high = self._label(empty[0]), self.lower[empty[0]], self.upper[empty[0]]
            what = (
                f"the unsafe set is empty: {label} >= {float(low)!r} contradicts {label} <= {float(high)!r}"
            )
            cure = "the property holds whatever the networks are; check its signs"
            raise EmptySetError(what, where=self._name, cure=cure)

    def _label(self, position: int) -> str:
        return self._declared.at(position).label(int(position))

    def _find(self, position: int) -> int:
        while self.leader[position] != position:
            position = int(self.leader[position])
        return position

    def _linear(self, part: Comparison) -> Linear | None:
        """left - right of a linear comparison of inputs; None for another one."""
        try:
            left = linear(part.left, self._fail).plus(linear(part.right, self._fail), -1)
        except SpecError:
            return None
        return left if all(self.leader[p] >= 0 for p in left.terms) else None


def _halves(condition: Condition) -> list[Linear]:
    """Linear terms that are <= 0 where the condition holds."""
    left, relation = condition.left, condition.relation
    return [left] * (relation[0] != ">") + [left.times(Fraction(-1))] * (relation[0] != "<")


def _rounded(value: Fraction, towards: float) -> float:
    """The float64 nearest to the value on the side of `towards`; infinite beyond the largest."""
    try:
        near = float(value)
    except OverflowError:
        return math.copysign(math.inf, value)
    wrong = Fraction(near) < value if towards > 0 else Fraction(near) > value
    return math.nextafter(near, towards) if wrong else near
