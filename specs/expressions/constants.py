"""Numbers and tensors of numbers that are written into a property."""

# ruff: noqa: D102 (the members of a node are described once, in base.py)

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from numbers import Real

import numpy as np
import torch
from torch import Tensor

from robustbench_local.errors import NonFiniteError, SpecError

from .base import Expr, Term, describe, operator
from .names import checked_name, type_text
from .scope import Scope

__all__ = ["Const", "Constant", "number_text"]

INLINE = 16
"""The most elements of a constant that are written out; a larger one is named by its content."""


@dataclass(frozen=True, eq=False, repr=False)
class Constant(Term):
    """A number or tensor of numbers written into the spec, kept in float64; `name` if it is declared."""

    number: Tensor
    name: str = ""

    @classmethod
    def of(cls, value: object) -> Constant:
        """The constant of a real number, NumPy array, list of numbers or tensor; finite."""
        if isinstance(value, (bool, np.bool_, Expr)) or not isinstance(
            value, (Real, np.ndarray, np.generic, Tensor, list, tuple)
        ):
            raise SpecError(
                f"{describe(value)} is no term", cure="use numbers, tensors, Param, Data, Var or f(x)"
            )
        try:
            # a bare torch.as_tensor would round Python floats to float32
            plain = np.float64(float(value)) if isinstance(value, Real) else value
            number = plain if isinstance(plain, Tensor) else torch.as_tensor(np.asarray(plain))
        except (TypeError, ValueError, OverflowError) as error:
            raise SpecError(f"{describe(value)} is no term: {error}") from error
        if number.dtype == torch.bool or number.is_complex():
            raise SpecError(f"a constant of dtype {number.dtype} is no real number")
        number = number.detach().to(torch.float64) + 0.0  # a copy, in which -0.0 is 0.0
        if not bool(torch.isfinite(number).all()):
            raise NonFiniteError(f"constant {value!r} is not finite")
        return cls(number)

    @property
    def text(self) -> str:
        return self._text

    @cached_property
    def _text(self) -> str:
        if self.name:
            return self.name
        return _list_text(self.number) if self.small else f"array_{self.digest[:32]}"

    def text_in(self, precedence: int) -> str:
        own = (
            6 if "/" in self.text and not self.shape else 7 if self.text.startswith("-") else self.precedence
        )
        return self.text if own > precedence else f"({self.text})"

    @property
    def small(self) -> bool:
        """Whether the elements are written out."""
        return self.number.numel() <= INLINE

    @cached_property
    def digest(self) -> str:
        """sha256 of the type's text, a zero byte, and the elements as little-endian float64, row-major."""
        numbers = self.number.cpu().contiguous().numpy().astype("<f8")
        return hashlib.sha256(type_text(self.shape).encode() + b"\0" + numbers.tobytes()).hexdigest()

    @property
    def declaration(self) -> str:
        """The declaration line of the canonical text, for a constant that has a name there; else ""."""
        if self.small and not self.name:
            return ""
        value = _list_text(self.number) if self.small else f"@sha256:{self.digest}"
        return f"const {self.text}: {type_text(self.shape)} = {value}"

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.number.shape)

    def run(self, scope: Scope) -> Tensor:
        return scope.constant(self.text, self.number)


def Const(name: str, value: object) -> Term:
    """A constant that texts declare by name: `gt = Const("gt", [12, 40, 31, 77])`; else as the bare value."""
    return Constant(Constant.of(value).number, checked_name(name))


@operator("constant")
def _constant(value: object) -> Constant:
    return Constant.of(value)


def number_text(number: float) -> str:
    """The shortest decimal that is read back as the number, or a short fraction such as 8/255 that is."""
    if number.is_integer() and abs(number) < 1e15:
        return str(int(number))
    decimal = repr(number)
    if len(decimal) > 12:
        ratio = Fraction(number).limit_denominator(1000)
        if ratio.numerator / ratio.denominator == number and len(str(ratio)) < 9:
            return str(ratio)
    return decimal


def _list_text(number: Tensor) -> str:
    if number.ndim == 0:
        return number_text(float(number))
    return f"[{', '.join(_list_text(row) for row in number)}]"
