"""+ - * / ** @ and sums. Sums and constant multiples stay affine; everything else is a feature."""

# ruff: noqa: D102 (the members of a node are described once, in base.py)

from __future__ import annotations

import operator as python
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from torch import Tensor

from robustbench_local.errors import NonFiniteError, ShapeError

from ..vocabulary import function
from .base import Bindings, Expr, Term, broadcast, operator, spec_error, term
from .constants import Constant
from .scope import Scope, spread
from .values import Affine, TooManyCases, Value, negative

__all__ = ["Add", "Binary", "Divide", "MatMul", "Multiply", "Negate", "Power", "Subtract", "Total", "vsum"]


@dataclass(frozen=True, eq=False, repr=False)
class Binary(Term):
    """left sign right, elementwise; scalars are repeated."""

    left: Term
    right: Term
    sign: ClassVar[str]

    def __post_init__(self) -> None:
        broadcast(self.left, self.right, self.sign)

    @property
    def children(self) -> tuple[Expr, ...]:
        return self.left, self.right

    @property
    def text(self) -> str:
        own = self.precedence
        return f"{self.left.text_in(own - 1)} {self.sign} {self.right.text_in(own)}"

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    @cached_property
    def _shape(self) -> tuple[int, ...]:
        return broadcast(self.left, self.right, self.sign)

    def _run_both(self, scope: Scope) -> tuple[Tensor, Tensor]:
        return spread(scope.of(self.left), self.shape), spread(scope.of(self.right), self.shape)

    def _lower_both(self, env: Bindings) -> tuple[Value, Value]:
        return self.left.value(env).spread(self.shape), self.right.value(env).spread(self.shape)


class _Sum(Binary):
    """What sums and differences share: operands of one unit."""

    precedence = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_units(self.left, self.right, self.sign)

    @property
    def unit(self) -> str | None:
        return self.left.unit or self.right.unit


class Add(_Sum):
    """left + right."""

    sign = "+"

    def lower(self, env: Bindings) -> Value:
        left, right = self._lower_both(env)
        return left.plus(right)

    def run(self, scope: Scope) -> Tensor:
        left, right = self._run_both(scope)
        return left + right


class Subtract(_Sum):
    """left - right."""

    sign = "-"

    def lower(self, env: Bindings) -> Value:
        left, right = self._lower_both(env)
        return left.plus(negative(right))

    def run(self, scope: Scope) -> Tensor:
        left, right = self._run_both(scope)
        return left - right


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

    @property
    def unit(self) -> str | None:
        return self.of.unit

    def lower(self, env: Bindings) -> Value:
        return negative(self.of.value(env))

    def run(self, scope: Scope) -> Tensor:
        return -scope.of(self.of)


class Multiply(Binary):
    """left * right; affine where one of them is constant."""

    sign = "*"
    precedence = 6

    @property
    def unit(self) -> str | None:
        left, right = self.left.unit, self.right.unit
        return f"{left}*{right}" if left and right else left or right

    def lower(self, env: Bindings) -> Value:
        if not (self.left.constant or self.right.constant):
            raise TooManyCases("a product of two terms that depend on the input")
        factor, rest = (self.left, self.right) if self.left.constant else (self.right, self.left)
        return rest.value(env).spread(self.shape).times(env.scope.of(factor))

    def run(self, scope: Scope) -> Tensor:
        left, right = self._run_both(scope)
        return left * right


class Divide(Binary):
    """left / right; affine where the divisor is constant, which must then be nowhere 0."""

    sign = "/"
    precedence = 6

    @property
    def unit(self) -> str | None:
        left, right = self.left.unit, self.right.unit
        return left if right is None else None if left == right else f"{left or 1}/{right}"

    def value(self, env: Bindings) -> Value:
        if self.right.constant and bool((env.scope.of(self.right) == 0).any()):
            raise spec_error("E-DIV", f"division by zero in `{self.text}`")
        return super().value(env)

    def lower(self, env: Bindings) -> Value:
        if not self.right.constant:
            raise TooManyCases("a division by a term that depends on the input")
        return self.left.value(env).spread(self.shape).times(1.0 / env.scope.of(self.right))

    def run(self, scope: Scope) -> Tensor:
        left, right = self._run_both(scope)
        return left / right


@dataclass(frozen=True, eq=False, repr=False)
class Power(Term):
    """base ** exponent for a number: a positive integer, or any real where the base stays positive."""

    base: Term
    exponent: float
    precedence = 8

    def __init__(self, base: Term, exponent: Term) -> None:
        if not isinstance(exponent, Constant) or exponent.shape:
            raise spec_error(
                "E-NONLIN",
                f"`{base.text}` has the exponent `{exponent.text}`",
                "exponents are plain numbers; write exp(b * log(a)) for a ** b",
            )
        object.__setattr__(self, "base", base)
        object.__setattr__(self, "exponent", float(exponent.number))

    @property
    def children(self) -> tuple[Expr, ...]:
        return (self.base,)

    @property
    def text(self) -> str:
        return f"{self.base.text_in(8)} ** {Constant.of(self.exponent).text_in(8)}"

    @property
    def shape(self) -> tuple[int, ...]:
        return self.base.shape

    def run(self, scope: Scope) -> Tensor:
        base = scope.of(self.base)
        if self.exponent == 1:
            return base
        return base.pow(int(self.exponent) if self.exponent.is_integer() else self.exponent)


@operator("@")
@dataclass(frozen=True, eq=False, repr=False)
class MatMul(Term):
    """The matrix product of vectors and matrices as in NumPy; affine for a constant matrix times a vector."""

    left: Term
    right: Term
    precedence = 6

    def __post_init__(self) -> None:
        left, right = self.left.shape, self.right.shape
        inner = right[0] if len(right) in (1, 2) else None
        if len(left) not in (1, 2) or inner != left[-1]:
            raise ShapeError(
                f"`{self.left.text}` has shape {left}, `{self.right.text}` {right}",
                where="operands of @",
                cure="give vectors or matrices whose inner axes agree",
            )

    @property
    def children(self) -> tuple[Expr, ...]:
        return self.left, self.right

    @property
    def text(self) -> str:
        return f"{self.left.text_in(5)} @ {self.right.text_in(6)}"

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    @cached_property
    def _shape(self) -> tuple[int, ...]:
        return (*self.left.shape[:-1], *self.right.shape[1:])

    def lower(self, env: Bindings) -> Value:
        if not self.left.constant or len(self.right.shape) != 1:
            raise TooManyCases("a product of matrices that depend on the input")
        matrix, vector = env.scope.of(self.left), self.right.value(env)
        if not isinstance(vector, Affine):
            raise TooManyCases("a product of max or min with a matrix")
        rows = matrix if matrix.ndim == 3 else matrix.unsqueeze(1)
        coefs = {k: rows @ coef for k, coef in vector.coefs.items()}
        const = (rows @ vector.const.unsqueeze(-1)).squeeze(-1)
        result = Affine(coefs, const)
        return result if len(self.left.shape) == 2 else result.at((0,))

    def run(self, scope: Scope) -> Tensor:
        left, right = scope.of(self.left), scope.of(self.right)
        left = left if len(self.left.shape) == 2 else left.unsqueeze(1)
        right = right if len(self.right.shape) == 2 else right.unsqueeze(2)
        product = left @ right
        product = product if len(self.right.shape) == 2 else product.squeeze(2)
        return product if len(self.left.shape) == 2 else product.squeeze(1)


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

    @property
    def unit(self) -> str | None:
        return self.of.unit

    def lower(self, env: Bindings) -> Value:
        return self.of.value(env).total()

    def run(self, scope: Scope) -> Tensor:
        return scope.of(self.of).flatten(1).sum(1) if self.of.shape else scope.of(self.of)


@function("vsum", "sum")
def vsum(of: object) -> Term:
    """The sum of all elements of a term; a scalar."""
    return Total(term(of))


def check_units(left: Term, right: Term, sign: str) -> None:
    """Raise E-UNIT where both operands have a known unit, and not the same."""
    if left.unit and right.unit and left.unit != right.unit:
        raise spec_error(
            "E-UNIT",
            f"`{left.text}` is in {left.unit}, `{right.text}` in {right.unit} (operands of {sign})",
            "convert one of them first",
        )


def _register(sign: str, node: Callable[..., Term], compute: Callable[..., float]) -> None:
    """Let the sign build the node, but compute with plain numbers at once: texts read `1 + 2` as 3."""

    def build(*parts: Term) -> Term:
        numbers = [float(p.number) for p in parts if isinstance(p, Constant) and not (p.shape or p.name)]
        if len(numbers) < len(parts):
            return node(*parts)
        claim = f" {sign} ".join(part.text for part in parts)
        try:
            return Constant.of(float(compute(*numbers)))
        except ZeroDivisionError:
            raise spec_error("E-DIV", f"division by zero in `{claim}`") from None
        except (OverflowError, TypeError) as error:  # too large, or complex: a root of a negative number
            raise NonFiniteError(f"`{claim}` is no real number") from error

    operator(sign)(build)


_register("+", Add, python.add)
_register("-", Subtract, python.sub)
_register("-x", Negate, lambda number: -number)
_register("*", Multiply, python.mul)
_register("/", Divide, python.truediv)
_register("**", Power, python.pow)
