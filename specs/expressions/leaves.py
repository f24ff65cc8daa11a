"""Variables, parameters, data, labels and constants: the leaves of every expression."""

# ruff: noqa: D102 (the members of a node are described once, in base.py)

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from robustbench_local.errors import DtypeError, LabelError, NonFiniteError, ShapeError, SpecError

from .base import Expr, Term, describe, spec_error
from .constants import Constant, number_text
from .names import Shape, checked_name, shape_of, type_text
from .scope import Scope

__all__ = ["Constant", "Data", "Label", "Param", "Shape", "Var"]


@dataclass(frozen=True, eq=False, repr=False)
class Var(Term):
    """A quantified input: `Var("x", (3, 32, 32))`, `Var("x", like=x0)`, or `Var("d")`, a number.

    `names` name the elements along the first axis, `x.rho` then means `x[0]`; `units` gives each a physical
    unit, which sums and comparisons check. Shapes are without batch axis.
    """

    name: str
    dims: tuple[int, ...]
    names: tuple[str, ...]
    units: tuple[str | None, ...]

    def __init__(
        self,
        name: str,
        shape: Shape = (),
        *,
        like: Term | None = None,
        names: Sequence[str] = (),
        units: Sequence[str | None] = (),
    ) -> None:
        dims = shape_of(shape) if like is None else like.shape
        if like is not None and shape != ():
            raise SpecError(f"variable {name!r} has both a shape and like=", cure="give one of them")
        for kind, labels in (("names", names), ("units", units)):
            if labels and (not dims or len(labels) != dims[0]):
                raise ShapeError(
                    f"variable {name!r} has {len(labels)} {kind} for shape {dims}",
                    cure="give one for each element of the first axis",
                )
        if len(set(names)) != len(names):
            raise spec_error("E-PARAM", f"variable {name!r} has two elements of one name: {list(names)}")
        object.__setattr__(self, "name", checked_name(name))
        object.__setattr__(self, "dims", dims)
        object.__setattr__(self, "names", tuple(_element_name(name, n) for n in names))
        object.__setattr__(self, "units", tuple(units))

    def __getattr__(self, name: str) -> Term:
        if name.startswith("_") or name not in self.names:
            known = f"; elements: {', '.join(self.names)}" if not name.startswith("_") and self.names else ""
            raise AttributeError(f"variable {self.name!r} has no element {name!r}{known}")
        return self[self.names.index(name)]

    @property
    def text(self) -> str:
        return self.name

    @property
    def shape(self) -> tuple[int, ...]:
        return self.dims

    @property
    def constant(self) -> bool:
        return False

    @property
    def unit(self) -> str | None:
        kinds = set(self.units)
        return next(iter(kinds)) if len(kinds) == 1 else None

    def run(self, scope: Scope) -> Tensor:
        return scope.named(self.name)

    @property
    def declaration(self) -> str:
        """Name and type, as a quantifier lists them, with the names and units of the elements."""
        elements = ""
        if self.names or self.units:
            names = self.names or ("_",) * len(self.units)
            units = [f": {unit!r}" if unit else "" for unit in self.units or (None,) * len(names)]
            elements = f"({', '.join(name + unit for name, unit in zip(names, units, strict=True))})"
        return f"{self.name}: {type_text(self.dims)}{elements}"


@dataclass(frozen=True, eq=False, repr=False)
class Param(Term):
    """A real number bound per query, one for all samples or one per sample: `Param("eps", 8/255)`."""

    name: str
    default: float | None

    def __init__(self, name: str, default: float | None = None) -> None:
        if default is not None and not math.isfinite(default):
            raise NonFiniteError(f"default of parameter {name!r} is {default}")
        object.__setattr__(self, "name", checked_name(name))
        object.__setattr__(self, "default", None if default is None else float(default))

    @property
    def text(self) -> str:
        return self.name

    @property
    def shape(self) -> tuple[int, ...]:
        return ()

    def run(self, scope: Scope) -> Tensor:
        return scope.named(self.name)

    @property
    def declaration(self) -> str:
        """The declaration line of the canonical text, with the default if there is one."""
        return f"param {self.name}: real" + (
            "" if self.default is None else f" = {number_text(self.default)}"
        )

    def bound(self, value: Tensor) -> str:
        """The declaration line with a bound value (1,) or (B,)."""
        return f"param {self.name}: real = {Constant(value.squeeze()).text}"

    def bind(self, value: object) -> Tensor:
        """The value as (1,) or (B,) float64; ShapeError, NonFiniteError or SpecError."""
        number = Constant.of(value).number
        if number.ndim > 1:
            raise ShapeError(
                f"parameter {self.name!r} has shape {tuple(number.shape)}", cure="give a number or (B,)"
            )
        return number.reshape(-1)


@dataclass(frozen=True, eq=False, repr=False)
class Data(Term):
    """A tensor bound per query, one per sample or one for all: `Data("x0", (3, 32, 32))`."""

    name: str
    dims: tuple[int, ...]

    def __init__(self, name: str, shape: Shape) -> None:
        object.__setattr__(self, "name", checked_name(name))
        object.__setattr__(self, "dims", shape_of(shape))

    @property
    def text(self) -> str:
        return self.name

    @property
    def shape(self) -> tuple[int, ...]:
        return self.dims

    def run(self, scope: Scope) -> Tensor:
        return scope.named(self.name)

    @property
    def declaration(self) -> str:
        """The declaration line of the canonical text."""
        return f"data {self.name}: {type_text(self.dims)}"

    def bind(self, value: object) -> Tensor:
        """The value as (1, *shape) or (B, *shape), finite, in its own floating type."""
        data = value.detach() if isinstance(value, Tensor) else _tensor(value)
        if not data.is_floating_point():
            raise DtypeError(f"data {self.name!r} has dtype {data.dtype}", cure="give floating point numbers")
        if data.ndim == 0:
            data = data.expand(self.dims)
        if tuple(data.shape) == self.dims:
            data = data.unsqueeze(0)
        if tuple(data.shape[1:]) != self.dims or data.ndim == 0:
            raise ShapeError(
                f"data {self.name!r} has shape {tuple(data.shape)}",
                cure=f"give {self.dims} for one sample or (B, {', '.join(map(str, self.dims))}) for a batch",
            )
        finite = torch.isfinite(data)
        if not bool(finite.all()):
            where = tuple(int(i) for i in (~finite).nonzero()[0])
            raise NonFiniteError(
                f"data {self.name!r} is {float(data[where])} at sample {where[0]}, coordinate {where[1:]}"
            )
        return data


@dataclass(frozen=True, eq=False, repr=False)
class Label(Expr):
    """A class bound per query, 0 <= label < classes: `Label("c", 10)`; an index, or compared with argmax."""

    name: str
    classes: int

    def __init__(self, name: str, classes: int) -> None:
        if classes < 1:
            raise SpecError(f"label {name!r} has {classes} classes")
        object.__setattr__(self, "name", checked_name(name))
        object.__setattr__(self, "classes", int(classes))

    @property
    def text(self) -> str:
        return self.name

    @property
    def declaration(self) -> str:
        """The declaration line of the canonical text."""
        return f"label {self.name}: class[{self.classes}]"

    def bind(self, value: object) -> Tensor:
        """The value as (1,) or (B,) int64, all in range; ShapeError, DtypeError or LabelError."""
        labels = value.detach() if isinstance(value, Tensor) else _tensor(value)
        if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
            raise DtypeError(f"label {self.name!r} has dtype {labels.dtype}", cure="give integers")
        if labels.ndim > 1:
            raise ShapeError(
                f"label {self.name!r} has shape {tuple(labels.shape)}", cure="give an int or (B,)"
            )
        labels = labels.reshape(-1).to(torch.int64)
        bad = (labels < 0) | (labels >= self.classes)
        if bool(bad.any()):
            b = int(bad.nonzero()[0])
            raise LabelError(
                f"label {self.name!r} is {int(labels[b])} at sample {b}, outside class[{self.classes}]"
            )
        return labels


def _element_name(variable: str, name: str) -> str:
    plain = checked_name(name)
    if plain.startswith("_"):
        raise spec_error("E-PARAM", f"element {name!r} of variable {variable!r} starts with an underscore")
    if hasattr(Var, plain):
        raise spec_error(
            "E-PARAM", f"element {name!r} of variable {variable!r} hides an attribute of every term"
        )
    return plain


def _tensor(value: object) -> Tensor:
    try:
        return torch.as_tensor(np.asarray(value))
    except (TypeError, ValueError) as error:
        raise SpecError(f"{describe(value)} holds no numbers: {error}") from error
