"""VNN-LIB 2 text of declarations and formulas: canonical, and accepted by strict readers.

Full indices, numbers as decimals with a point and without an exponent, one assertion a line.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..decimals import at_least, at_most, decimal, exactly
from ..formula import FLIPPED, AllOf, AnyOf, Comparison, Formula
from ..terms import Difference, Element, Number, Sum, Term
from .declarations import Declarations, Network, Tensor

__all__ = ["text_lines"]

_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}


def text_lines(version: str, declared: Declarations, whole: AllOf, *, outward: bool = False) -> Iterator[str]:
    """The lines of the file.

    Numbers are their shortest decimals; `outward`: decimals that lose nothing in exact arithmetic, where a
    comparison with a number is never tighter, and everything else is exact.
    """
    yield f"(vnnlib-version <{version}>)"
    for network in declared.networks.values():
        yield f"(declare-network {network.name}"
        if network.equal_to or network.isomorphic_to:
            head = "equal-to" if network.equal_to else "isomorphic-to"
            yield f"    ({head} {network.equal_to or network.isomorphic_to})"
        yield from _tensors(network)
        yield ")"
    printer = _Printer(declared, outward)
    for part in whole:
        yield f"(assert {printer.formula(part)})"


def _tensors(network: Network) -> Iterator[str]:
    for head, tensors in (("input", network.inputs), ("hidden", network.hidden), ("output", network.outputs)):
        for tensor in tensors:
            yield f"    (declare-{head} {tensor.name} {tensor.type} {_shape(tensor)}{_rest(tensor)})"


def _shape(tensor: Tensor) -> str:
    return f"[{','.join(map(str, tensor.shape))}]"


def _rest(tensor: Tensor) -> str:
    if tensor.node is not None:
        return f' "{"".join(_ESCAPES.get(c, c) for c in tensor.node)}"'
    return " initialized" if tensor.initialized else ""


class _Printer:
    """Prints formulas over declared tensors; numbers beside integer tensors have no point."""

    def __init__(self, declared: Declarations, outward: bool) -> None:
        self._outward = outward
        self._labels = declared.labels()
        self._integer = [t.type.integer for t in declared.tensors.values() for _ in range(t.size)]

    def formula(self, part: Formula) -> str:
        if isinstance(part, Comparison):
            whole = self._has_integers(part.left) or self._has_integers(part.right)
            left = self._side(part.left, FLIPPED[part.relation], whole)
            return f"({part.relation} {left} {self._side(part.right, part.relation, whole)})"
        head = "or" if isinstance(part, AnyOf) else "and"
        return f"({head} {' '.join(map(self.formula, part))})"

    def _side(self, term: Term, relation: str, whole: bool) -> str:
        """The term, with which something is compared by the relation."""
        if self._outward and isinstance(term, Number) and not whole and relation not in ("==", "!="):
            return at_least(term.value) if relation[0] == "<" else at_most(term.value)
        return self._term(term, whole)

    def _term(self, term: Term, whole: bool) -> str:
        if isinstance(term, Element):
            return self._labels[term.position]
        if isinstance(term, Number):
            written = (exactly if self._outward else decimal)(term.value)
            return written.removesuffix(".0") if whole else written
        sign = "+" if isinstance(term, Sum) else "-" if isinstance(term, Difference) else "*"
        return f"({sign} {' '.join(self._term(p, whole) for p in term.parts)})"

    def _has_integers(self, term: Term) -> bool:
        if isinstance(term, Element):
            return self._integer[term.position]
        return not isinstance(term, Number) and any(map(self._has_integers, term.parts))
