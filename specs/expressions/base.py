"""The roots of the expression tree: terms (numbers), formulas (truths), and the operators between them.

A node kind is one small class in one file: it names its children, prints itself, and lowers itself.
Building a tree runs no network; shapes are checked on the way. Nodes are immutable.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NoReturn, TypeVar

import torch
from torch import Tensor
from typing_extensions import Self

from robustbench_local.errors import RobustBenchError, ShapeError, SpecError, SymbolicBoolError

from ..tree import Tree
from .scope import Scope
from .values import Affine, Emitter, TooManyCases, Value

__all__ = ["Bindings", "Expr", "Formula", "Term", "operator", "spec_error"]

_Build = TypeVar("_Build", bound=Callable[..., "Expr"])
_OPERATORS: dict[str, Callable[..., Expr]] = {}

TermLike = object
"""A Term, or a number, NumPy array or tensor that becomes a constant."""


@dataclass(frozen=True, eq=False)
class Bindings:
    """What lowering needs: values by name with a leading axis of 1 or B, and the emitter of rows.

    `scope` evaluates terms that are free of variables, in float64.
    """

    values: Mapping[str, Tensor]
    scope: Scope
    emitter: Emitter
    batch: int
    device: torch.device
    dtype: torch.dtype  # the type in which the data were given
    equalities: list[str] = field(default_factory=list)  # texts of atoms that no float point can hit


class Expr(ABC):
    """Anything symbolic. Subclasses answer `children` and `text`; `precedence` ranks as in Python."""

    __slots__ = ()
    __array_ufunc__ = None  # NumPy then leaves `array <= term` to the term
    precedence: int = 9
    is_domain: bool = False  # whether it says where a variable ranges

    @property
    def children(self) -> tuple[Expr, ...]:
        """The direct parts."""
        return ()

    @property
    @abstractmethod
    def text(self) -> str:
        """Canonical text."""

    def text_in(self, precedence: int) -> str:
        """The text as an operand of an operator of the given precedence."""
        return self.text if self.precedence > precedence else f"({self.text})"

    def walk(self) -> Iterator[Expr]:
        """This node and all parts, depth first, each once."""
        known: dict[int, Expr] = {}  # the nodes are kept, so that an id stays its node's own
        stack: list[Expr] = [self]
        while stack:
            node = stack.pop()
            if id(node) not in known:
                known[id(node)] = node
                yield node
                stack.extend(reversed(node.children))

    def __repr__(self) -> str:
        return self.text

    def __deepcopy__(self, memo: object) -> Self:
        return self  # immutable

    def __bool__(self) -> NoReturn:
        raise SymbolicBoolError(
            f"`{self.text}` has no truth value: it is symbolic",
            cure="write between(a, x, b) or (a <= x) & (x <= b) for a <= x <= b, `&` for and, `|` for or, "
            "`~` for not, vmax and vmin for max and min",
        )

    def __hash__(self) -> int:
        return id(self)

    def __and__(self, other: object) -> Formula:
        return _precedence(self, "&", other)

    def __rand__(self, other: object) -> Formula:
        return _precedence(other, "&", self)

    def __or__(self, other: object) -> Formula:
        return _precedence(self, "|", other)

    def __ror__(self, other: object) -> Formula:
        return _precedence(other, "|", self)


class Term(Expr):
    """A number or tensor of numbers of static `shape` (no batch axis): constant, or made from f(x)."""

    __slots__ = ()

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample's value."""

    @property
    def constant(self) -> bool:
        """Whether the term is free of variables and networks."""
        return all(child.constant for child in self.children if isinstance(child, Term))

    @property
    def unit(self) -> str | None:
        """The physical unit where one is known and all elements share it."""
        return None

    def value(self, env: Bindings) -> Value:
        """The term as affine rows over features, or max/min of such; a feature of its own where it has no
        such form, or one that is too large.
        """
        if self.constant:
            return Affine({}, env.scope.of(self))
        try:
            return self.lower(env)
        except TooManyCases:
            return env.emitter.feature(self)

    def lower(self, env: Bindings) -> Value:
        """The value of a term that is not constant; by default a feature, TooManyCases asks for one."""
        return env.emitter.feature(self)

    @abstractmethod
    def run(self, scope: Scope) -> Tensor:
        """The term's elements (b, *shape), b in {1, B}, by differentiable operations of torch."""

    def __add__(self, other: TermLike) -> Term:
        return _term("+", self, term(other))

    def __radd__(self, other: TermLike) -> Term:
        return _term("+", term(other), self)

    def __sub__(self, other: TermLike) -> Term:
        return _term("-", self, term(other))

    def __rsub__(self, other: TermLike) -> Term:
        return _term("-", term(other), self)

    def __mul__(self, other: TermLike) -> Term:
        return _term("*", self, term(other))

    def __rmul__(self, other: TermLike) -> Term:
        return _term("*", term(other), self)

    def __truediv__(self, other: TermLike) -> Term:
        return _term("/", self, term(other))

    def __rtruediv__(self, other: TermLike) -> Term:
        return _term("/", term(other), self)

    def __pow__(self, other: TermLike) -> Term:
        return _term("**", self, term(other))

    def __rpow__(self, other: TermLike) -> Term:
        return _term("**", term(other), self)

    def __matmul__(self, other: TermLike) -> Term:
        return _term("@", self, term(other))

    def __rmatmul__(self, other: TermLike) -> Term:
        return _term("@", term(other), self)

    def __neg__(self) -> Term:
        return _term("-x", self)

    def __pos__(self) -> Term:
        return self

    def __abs__(self) -> Term:
        return _term("abs", self)

    def __getitem__(self, index: object) -> Term:
        return _term("[]", self, index)

    def __len__(self) -> int:
        if not self.shape:
            raise ShapeError(f"`{self.text}` is a scalar and has no length")
        return self.shape[0]

    def __iter__(self) -> Iterator[Term]:
        return (self[i] for i in range(len(self)))

    def __le__(self, other: TermLike) -> Formula:
        return _formula("compare", self, "<=", term(other))

    def __lt__(self, other: TermLike) -> Formula:
        return _formula("compare", self, "<", term(other))

    def __ge__(self, other: TermLike) -> Formula:
        return _formula("compare", self, ">=", term(other))

    def __gt__(self, other: TermLike) -> Formula:
        return _formula("compare", self, ">", term(other))

    def __eq__(self, other: TermLike) -> Formula:  # type: ignore[override]
        return _formula("compare", self, "==", term(other))

    def __ne__(self, other: TermLike) -> Formula:  # type: ignore[override]
        return _formula("compare", self, "!=", term(other))

    __hash__ = Expr.__hash__


class Formula(Expr):
    """A truth about the variable and the network's outputs; combine with & | ~ and implies."""

    __slots__ = ()

    @abstractmethod
    def tree(self, env: Bindings, negated: bool) -> Tree:
        """The formula, or its negation, as an AND/OR tree over emitted rows."""

    def __and__(self, other: object) -> Formula:
        if isinstance(other, Expr) and other.is_domain:
            return NotImplemented  # the domain's own operator takes the condition in
        return _formula("&", self, other) if isinstance(other, Formula) else _precedence(self, "&", other)

    def __or__(self, other: object) -> Formula:
        return _formula("|", self, other) if isinstance(other, Formula) else _precedence(self, "|", other)

    def __invert__(self) -> Formula:
        return _formula("~", self)


def operator(sign: str) -> Callable[[_Build], _Build]:
    """Register what builds the node of an operator: `@operator("+")` on a class or function.

    The operators of `Term` and `Formula` look their node up here, so this module imports no node.
    """

    def register(build: _Build) -> _Build:
        _OPERATORS[sign] = build
        return build

    return register


def term(value: object) -> Term:
    """A Term as it is; numbers, NumPy arrays and tensors as constants; anything else raises SpecError."""
    return value if isinstance(value, Term) else _term("constant", value)


def formula(value: object) -> Formula:
    """The value, which must be a Formula."""
    if not isinstance(value, Formula):
        raise SpecError(f"expected a formula such as `f(x)[0] <= 1`, got {describe(value)}")
    return value


def describe(value: object) -> str:
    """A short name of any Python value for messages."""
    return f"`{value.text}`" if isinstance(value, Expr) else f"{value!r} of type {type(value).__name__}"


def broadcast(left: Term, right: Term, sign: str) -> tuple[int, ...]:
    """The common shape of two operands: equal shapes, or one scalar; else ShapeError."""
    first, second = left.shape, right.shape
    if first == second or not second:
        return first
    if not first:
        return second
    raise ShapeError(
        f"`{left.text}` has shape {first}, `{right.text}` {second}",
        where=f"operands of {sign}",
        cure="only scalars are repeated; specs have no batch axis",
    )


def size(shape: tuple[int, ...]) -> int:
    """The number of elements of a shape."""
    return math.prod(shape)


def spec_error(
    code: str, what: str, cure: str | None = None, kind: type[RobustBenchError] = SpecError
) -> RobustBenchError:
    """An error of `kind` that carries a stable code of the language's error table."""
    error = kind(what, cure=cure)
    error.code = code
    return error


def _term(sign: str, *parts: object) -> Term:
    node = _OPERATORS[sign](*parts)
    assert isinstance(node, Term)
    return node


def _formula(sign: str, *parts: object) -> Formula:
    node = _OPERATORS[sign](*parts)
    assert isinstance(node, Formula)
    return node


def _precedence(left: object, sign: str, right: object) -> NoReturn:
    raise spec_error(
        "E-PREC",
        f"`{sign}` joins two formulas, not {describe(left)} and {describe(right)}: it binds tighter than <=",
        f"parenthesise each comparison: (x <= 1) {sign} (y >= 0)",
    )
