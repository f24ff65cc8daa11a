"""+ - * / and sums: affine arithmetic over the outputs of one network."""

# ruff: noqa: D102 (the members of a node are described once, in base.py)

from __future__ import annotations

from dataclasses import dataclass

from robustbench_local.errors import SpecError

from .base import Bindings, Expr, Term, broadcast, operator, spec_error, term
from .values import Value, constant_of, negative

__all__ = ["Add", "Divide", "Multiply", "Negate", "Subtract", "Total", "vsum"]


@operator("+")
@dataclass(frozen=True, eq=False, repr=False)
class Add(Term):
    """left + right, elementwise; scalars are repeated."""

    left: Term
    right: Term
    precedence = 5

    def __post_init__(self) -> None:
        broadcast(self.left, self.right, "+")

    @property
    def children(self) -> tuple[Expr, ...]:
        return self.left, self.right

    @property
    def text(self) -> str:
        return f"{self.left.text_in(4)} + {self.right.text_in(5)}"

    @property
    def shape(self) -> tuple[int, ...]:
        return broadcast(self.left, self.right, "+")

    def value(self, env: Bindings) -> Value:
        left, right = self.left.value(env).spread(self.shape), self.right.value(env).spread(self.shape)
        return left.plus(right)


@operator("-")
@dataclass(frozen=True, eq=False, repr=False)
class Subtract(Term):
    """left - right, elementwise; scalars are repeated."""

    left: Term
    right: Term
    precedence = 5

    def __post_init__(self) -> None:
        broadcast(self.left, self.right, "-")

    @property
    def children(self) -> tuple[Expr, ...]:
        return self.left, self.right

    @property
    def text(self) -> str:
        return f"{self.left.text_in(4)} - {self.right.text_in(5)}"

    @property
    def shape(self) -> tuple[int, ...]:
        return broadcast(self.left, self.right, "-")

    def value(self, env: Bindings) -> Value:
        left, right = self.left.value(env).spread(self.shape), self.right.value(env).spread(self.shape)
        return left.plus(negative(right))


@operator("-x")
@dataclass(frozen=True, eq=False, repr=False)
class Negate(Term):
    """-of."""

    of: Term
    precedence = 7

    @property
    def children(self) -> tuple[Expr, ...]:
        return (self.of,)

    @property
    def text(self) -> str:
        return f"-{self.of.text_in(6)}"

    @property
    def shape(self) -> tuple[int, ...]:
        return self.of.shape

    def value(self, env: Bindings) -> Value:
        return negative(self.of.value(env))


@operator("*")
@dataclass(frozen=True, eq=False, repr=False)
class Multiply(Term):
    """left * right, elementwise; one of them must be constant."""

    left: Term
    right: Term
    precedence = 6

    def __post_init__(self) -> None:
        broadcast(self.left, self.right, "*")
        if not (self.left.constant or self.right.constant):
            raise _not_affine(self.text, "a product of two terms that depend on the input")

    @property
    def children(self) -> tuple[Expr, ...]:
        return self.left, self.right

    @property
    def text(self) -> str:
        return f"{self.left.text_in(5)} * {self.right.text_in(6)}"

    @property
    def shape(self) -> tuple[int, ...]:
        return broadcast(self.left, self.right, "*")

    def value(self, env: Bindings) -> Value:
        factor, rest = (self.left, self.right) if self.left.constant else (self.right, self.left)
        return rest.value(env).spread(self.shape).times(constant_of(factor.value(env)))


@operator("/")
@dataclass(frozen=True, eq=False, repr=False)
class Divide(Term):
    """left / right, elementwise; the divisor must be constant and nowhere 0."""

    left: Term
    right: Term
    precedence = 6

    def __post_init__(self) -> None:
        broadcast(self.left, self.right, "/")
        if not self.right.constant:
            raise _not_affine(self.text, "a division by a term that depends on the input")

    @property
    def children(self) -> tuple[Expr, ...]:
        return self.left, self.right

    @property
    def text(self) -> str:
        return f"{self.left.text_in(5)} / {self.right.text_in(6)}"

    @property
    def shape(self) -> tuple[int, ...]:
        return broadcast(self.left, self.right, "/")

    def value(self, env: Bindings) -> Value:
        divisor = constant_of(self.right.value(env))
        if bool((divisor == 0).any()):
            raise spec_error("E-DIV", f"division by zero in `{self.text}`")
        return self.left.value(env).spread(self.shape).times(1.0 / divisor)


@dataclass(frozen=True, eq=False, repr=False)
class Total(Term):
    """The sum of all elements of a term."""

    of: Term

    @property
    def children(self) -> tuple[Expr, ...]:
        return (self.of,)

    @property
    def text(self) -> str:
        return f"vsum({self.of.text})"

    @property
    def shape(self) -> tuple[int, ...]:
        return ()

    def value(self, env: Bindings) -> Value:
        return self.of.value(env).total()


def vsum(of: object) -> Term:
    """The sum of all elements of a term; a scalar."""
    return Total(term(of))


def _not_affine(text: str, what: str) -> SpecError:
    error = SpecError(
        f"`{text}` is {what}",
        cure="supported: sums, constant multiples, max, min and abs of one network's outputs",
    )
    error.code = "E-NONLIN"
    return error
