"""A property of VNN-LIB 2 in the specification language: forall inputs in their set, not unsafe."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from functools import reduce
from typing import TypeVar

import numpy as np
import torch

from robustbench_local.errors import SpecError

from ...bindings import Bound, bind_networks
from ...composed import Composed
from ...expressions import Domain, Term
from ...expressions.base import Formula, term
from ...expressions.scope import Scope
from ...layout import Block, Layout
from ...lowering import lower
from ...query import Query
from ...spec import Networks, Spec, forall
from .. import formula as tree
from .. import terms
from ..linear import Fail, Linear, linear
from ..source import coded
from .binding import sample_shapes, unknown_network
from .declarations import Declarations
from .input_space import InputSpace
from .symbols import Symbols

__all__ = ["Lowering"]

_Node = TypeVar("_Node", Term, Formula)
_Group = tuple[Term, dict[int, float]]
_FEW = 4  # elements of one tensor that are written one by one; more are a product with a constant vector
_COMPARE: Mapping[str, Callable[[Term, Term], Formula]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
}


class Lowering:
    """The parts of a property as expressions.

    Attributes:
        spec: forall variables in the set: not unsafe.
    """

    def __init__(
        self,
        declared: Declarations,
        unsafe: tree.AllOf,
        fail: Fail,
        name: str,
        shapes: Mapping[str, Sequence[int]],
    ) -> None:
        self._fail, self._name = fail, name
        sizes = sample_shapes(shapes, declared, name)
        self._space = InputSpace(declared, unsafe, fail, name)
        self._symbols = Symbols(declared, self._space, sizes)
        self.spec = self._spec()

    def query(self, networks: Networks, device: torch.device) -> Query:
        """The one problem of the property; networks by their declared names.

        Raises what the network raises for inner nodes that it does not have.
        """
        if isinstance(networks, Mapping):
            unknown = [name for name in networks if name not in self._symbols.slots]
            if unknown:
                raise unknown_network(unknown, self._symbols.slots, self._name)
            used = {self._symbols.slots[name]: network for name, network in networks.items()}
            networks = {slot: network for slot, network in used.items() if slot in self.spec.nets}
        bound = bind_networks(self.spec.nets, networks)
        nothing = Bound({}, 1, device, torch.float64)
        spec = self.spec
        found = lower(spec.variables, spec.domain, spec.body, spec.quantifier, bound, nothing)
        if isinstance(found.network, Composed) and any(net.taps for net in spec.nets.values()):
            with torch.no_grad():  # engines take an error for a network that they cannot handle
                found.network(found.inputs.centre().to(found.network.like))
        return Query(
            found.network, found.inputs, found.C, found.d, found.tree, spec.text, layout=found.layout
        )

    def values(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """The declared inputs, flat, at points (B, *shape) of the query."""
        layout = Layout(tuple(Block(v.name, v.shape) for v in self.spec.variables))
        scope = Scope(layout.split(x), {}, {}, {}, x)
        return {name: scope.of(value).reshape(x.shape[0], -1) for name, value in self._symbols.inputs.items()}

    def _spec(self) -> Spec:
        variables, boxes = self._symbols.variables, self._symbols.bounds()
        placed = [box(variable) for box, variable in zip(boxes, variables, strict=True)]
        parts: list[Domain | Formula] = [*boxes] if len(boxes) == 1 else [*placed]
        parts += [self._compared(c.left, c.relation) for c in self._space.conditions]
        unsafe = [self._formula(part) for part in self._space.rest]
        if not self._symbols.speaks_of_outputs:  # every property of the language runs a network
            first = next(iter(self._symbols.outputs.values()))
            unsafe.append(first[0] <= first[0])
        body = ~_balanced(lambda a, b: a & b, unsafe)
        return forall(variables, reduce(lambda a, b: a & b, parts), body)

    def _formula(self, part: tree.Formula) -> Formula:
        if isinstance(part, tree.Comparison):
            return self._comparison(part)
        pieces = [self._formula(piece) for piece in part]
        if isinstance(part, tree.AnyOf):
            return _balanced(lambda a, b: a | b, pieces)
        return _balanced(lambda a, b: a & b, pieces)

    def _comparison(self, part: tree.Comparison) -> Formula:
        try:
            left = linear(part.left, self._fail).plus(linear(part.right, self._fail), -1)
        except SpecError as error:
            if error.code != "E-NONLIN":
                raise
            return _COMPARE[part.relation](self._term(part.left), self._term(part.right))
        return self._compared(left, part.relation)

    def _compared(self, left: Linear, relation: str) -> Formula:
        """left relation 0, with positive factors only: what has a negative one goes to the other side."""
        sides: tuple[dict[str, _Group], dict[str, _Group]] = ({}, {})
        for position, c in left.terms.items():
            source, index = self._symbols.source(position)
            group = sides[c < 0].setdefault(source.text, (source, {}))
            group[1][index] = self._number(abs(c))
        first, second = ([part for group in side.values() for part in _weighted(*group)] for side in sides)
        if not first:
            first.append(term(self._number(left.constant)))
        elif left.constant or not second:
            second.append(term(self._number(-left.constant)))
        second = second or [term(0.0)]
        return _COMPARE[relation](*(_balanced(lambda a, b: a + b, side) for side in (first, second)))

    def _number(self, value: Fraction) -> float:
        try:
            return float(value)
        except OverflowError:
            cure = "scale the condition"
            error = SpecError("a number is too large for float64", where=self._name, cure=cure)
            raise coded(error, "E-PARSE") from None

    def _term(self, part: terms.Term) -> Term:
        if isinstance(part, terms.Number):
            return term(part.value)
        if isinstance(part, terms.Element):
            source, index = self._symbols.source(part.position)
            return source[index]
        first, *rest = (self._term(piece) for piece in part.parts)
        if isinstance(part, terms.Product):
            return _balanced(lambda a, b: a * b, [first, *rest])
        if isinstance(part, terms.Sum):
            return _balanced(lambda a, b: a + b, [first, *rest])
        return first - _balanced(lambda a, b: a + b, rest) if rest else -first


def _weighted(source: Term, factors: Mapping[int, float]) -> Iterable[Term]:
    """What adds up to the sum of factor * element over elements of a flat term."""
    if len(factors) <= _FEW:
        return [source[index] if c == 1 else c * source[index] for index, c in factors.items()]
    row = np.zeros(source.shape[0])
    row[list(factors)] = list(factors.values())
    return [term(torch.from_numpy(row)) @ source]


def _balanced(join: Callable[[_Node, _Node], _Node], parts: Sequence[_Node]) -> _Node:
    """All parts joined, in a tree of little depth."""
    row = list(parts)
    while len(row) > 1:
        last = row[len(row) // 2 * 2 :]
        row = [join(a, b) for a, b in zip(row[::2], row[1::2], strict=False)] + last
    return row[0]
