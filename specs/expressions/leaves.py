"""Variables, networks, parameters, data, labels and constants: the leaves of every expression."""

# ruff: noqa: D102 (the members of a node are described once, in base.py)

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np
import torch
from torch import Tensor

from robustbench_local.errors import DtypeError, LabelError, NonFiniteError, ShapeError, SpecError

from .base import Bindings, Expr, Term, describe, operator, size, spec_error
from .values import Affine, Value

__all__ = ["Application", "Constant", "Data", "Label", "Net", "Param", "Var"]

Shape = int | Sequence[int]


@dataclass(frozen=True, eq=False, repr=False)
class Var(Term):
    """The quantified input: `Var("x", (3, 32, 32))` or `Var("x", like=x0)`; shape without batch axis."""

    name: str
    dims: tuple[int, ...]

    def __init__(self, name: str, shape: Shape = (), *, like: Term | None = None) -> None:
        dims = _shape(shape) if like is None else like.shape
        if like is not None and shape != ():
            raise SpecError(f"variable {name!r} has both a shape and like=", cure="give one of them")
        if not dims:
            raise ShapeError(
                f"variable {name!r} has no axis", cure="give a shape such as (1, 8, 8), or like="
            )
        object.__setattr__(self, "name", _name(name))
        object.__setattr__(self, "dims", dims)

    @property
    def text(self) -> str:
        return self.name

    @property
    def shape(self) -> tuple[int, ...]:
        return self.dims

    @property
    def constant(self) -> bool:
        return False

    def value(self, env: Bindings) -> Value:
        raise SpecError(
            f"`{self.text}` is used outside the network",
            cure=f"conditions on the input belong into the domain; supported: terms over f({self.text})",
        )


@dataclass(frozen=True, eq=False)
class Net:
    """A slot for a network, bound by `spec.query(network)`: f = Net("f", (3, 32, 32), 10), then f(x)."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def __init__(self, name: str, inputs: Shape, outputs: Shape) -> None:
        object.__setattr__(self, "name", _name(name))
        object.__setattr__(self, "inputs", _shape(inputs))
        object.__setattr__(self, "outputs", _shape(outputs))

    def __call__(self, argument: Term) -> Term:
        """The network's output at the variable; raises SpecError or ShapeError for another argument."""
        if not isinstance(argument, Var):
            raise SpecError(
                f"network {self.name!r} is applied to {describe(argument)}",
                cure="the argument must be the variable itself; put a transformation into the module",
            )
        if argument.shape != self.inputs:
            raise ShapeError(
                f"network {self.name!r} expects {self.inputs}, `{argument.text}` has {argument.shape}",
                cure="specs have no batch axis: give the shape of one sample",
            )
        return Application(self, argument)

    @property
    def declaration(self) -> str:
        """The declaration line of the canonical text."""
        return f"net {self.name}: real{_dims(self.inputs)} -> real{_dims(self.outputs)}"


@dataclass(frozen=True, eq=False, repr=False)
class Application(Term):
    """f(x): the outputs of one network at the variable."""

    net: Net
    argument: Var

    @property
    def children(self) -> tuple[Expr, ...]:
        return (self.argument,)

    @property
    def text(self) -> str:
        return f"{self.net.name}({self.argument.text})"

    @property
    def shape(self) -> tuple[int, ...]:
        return self.net.outputs

    def value(self, env: Bindings) -> Value:
        n = size(self.shape)
        eye = torch.eye(n, dtype=torch.float64, device=env.device).reshape(1, *self.shape, n)
        return Affine(eye, torch.zeros(1, *self.shape, dtype=torch.float64, device=env.device))


@dataclass(frozen=True, eq=False, repr=False)
class Param(Term):
    """A real number bound per query, one for all samples or one per sample: `Param("eps", 8/255)`."""

    name: str
    default: float | None

    def __init__(self, name: str, default: float | None = None) -> None:
        if default is not None and not math.isfinite(default):
            raise NonFiniteError(f"default of parameter {name!r} is {default}")
        object.__setattr__(self, "name", _name(name))
        object.__setattr__(self, "default", None if default is None else float(default))

    @property
    def text(self) -> str:
        return self.name

    @property
    def shape(self) -> tuple[int, ...]:
        return ()

    def value(self, env: Bindings) -> Value:
        return Affine(None, env.values[self.name])

    @property
    def declaration(self) -> str:
        """The declaration line of the canonical text, with the default if there is one."""
        return f"param {self.name}" + ("" if self.default is None else f" = {_number_text(self.default)}")

    def bound(self, value: Tensor) -> str:
        """The declaration line with a bound value (1,) or (B,)."""
        return f"param {self.name} = {Constant(value.squeeze()).text}"

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
        object.__setattr__(self, "name", _name(name))
        object.__setattr__(self, "dims", _shape(shape))

    @property
    def text(self) -> str:
        return self.name

    @property
    def shape(self) -> tuple[int, ...]:
        return self.dims

    def value(self, env: Bindings) -> Value:
        return Affine(None, env.values[self.name].to(torch.float64))

    @property
    def declaration(self) -> str:
        """The declaration line of the canonical text."""
        return f"data {self.name}: real{_dims(self.dims)}"

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
        object.__setattr__(self, "name", _name(name))
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


@dataclass(frozen=True, eq=False, repr=False)
class Constant(Term):
    """A number or tensor of numbers written into the spec, kept in float64."""

    number: Tensor

    @classmethod
    def of(cls, value: object) -> Constant:
        """The constant of a real number, NumPy array, list of numbers or tensor; finite."""
        if isinstance(value, (bool, np.bool_, Expr)) or not isinstance(
            value, (Real, np.ndarray, np.generic, Tensor, list, tuple)
        ):
            raise SpecError(f"{describe(value)} is no term", cure="use numbers, tensors, Param, Data or f(x)")
        try:
            # a bare torch.as_tensor would round Python floats to float32
            plain = np.float64(value) if isinstance(value, Real) else value
            number = plain if isinstance(plain, Tensor) else torch.as_tensor(np.asarray(plain))
        except (TypeError, ValueError) as error:
            raise SpecError(f"{describe(value)} is no term: {error}") from error
        if number.dtype == torch.bool or number.is_complex():
            raise SpecError(f"a constant of dtype {number.dtype} is no real number")
        number = number.detach().to(torch.float64).clone()
        if not bool(torch.isfinite(number).all()):
            raise NonFiniteError(f"constant {value!r} is not finite")
        return cls(number)

    @property
    def text(self) -> str:
        if self.number.ndim == 0:
            return _number_text(float(self.number))
        if self.number.numel() <= 16:
            return _list_text(self.number)
        digest = hashlib.sha256(self.number.cpu().contiguous().numpy().tobytes()).hexdigest()
        return f"real{_dims(self.shape)}@sha256:{digest}"

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.number.shape)

    def value(self, env: Bindings) -> Value:
        return Affine(None, self.number.to(env.device).unsqueeze(0))


@operator("constant")
def _constant(value: object) -> Constant:
    return Constant.of(value)


def _name(name: str) -> str:
    if not name.isidentifier():
        raise spec_error("E-PARAM", f"{name!r} is no name", "use letters, digits and _")
    return name


def _tensor(value: object) -> Tensor:
    try:
        return torch.as_tensor(np.asarray(value))
    except (TypeError, ValueError) as error:
        raise SpecError(f"{describe(value)} holds no numbers: {error}") from error


def _shape(shape: Shape) -> tuple[int, ...]:
    dims = (shape,) if isinstance(shape, int) else tuple(int(n) for n in shape)
    if any(n < 1 for n in dims):
        raise ShapeError(f"shape {dims} has an axis shorter than 1")
    return dims


def _dims(shape: tuple[int, ...]) -> str:
    return f"[{','.join(map(str, shape))}]"


def _number_text(number: float) -> str:
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)


def _list_text(number: Tensor) -> str:
    if number.ndim == 0:
        return _number_text(float(number))
    return f"[{', '.join(_list_text(row) for row in number)}]"
