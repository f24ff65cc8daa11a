"""Networks as symbols: slots that a query binds to modules, their applications and their inner nodes."""

# ruff: noqa: D102 (the members of a node are described once, in base.py)

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from robustbench_local.errors import LabelError, ShapeError

from .base import Expr, Term, size, spec_error, term
from .names import Shape, checked_name, shape_of, type_text
from .scope import Scope

__all__ = ["Application", "Derivative", "Net", "Tap"]


@dataclass(frozen=True, eq=False)
class Net:
    """A slot for a network, bound by `spec.query(...)`: f = Net("f", (3, 32, 32), 10), then f(x).

    `taps` declares inner nodes and their shapes, for `f.tap(name, x)`: names of submodules of a torch
    module, of values of an ONNX network.
    """

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    taps: Mapping[str, tuple[int, ...]]

    def __init__(
        self, name: str, inputs: Shape, outputs: Shape, *, taps: Mapping[str, Shape] | None = None
    ) -> None:
        object.__setattr__(self, "name", checked_name(name))
        object.__setattr__(self, "inputs", shape_of(inputs))
        object.__setattr__(self, "outputs", shape_of(outputs))
        shapes = {key: shape_of(shape) for key, shape in (taps or {}).items()}
        object.__setattr__(self, "taps", shapes)

    def __call__(self, argument: object) -> Term:
        """The network's output at a term; ShapeError where it has another shape than the network takes."""
        return Application(self, self._checked(argument))

    def tap(self, name: str, argument: object) -> Term:
        """The value of the inner node `name` when the network runs at the argument."""
        if name not in self.taps:
            known = ", ".join(map(repr, self.taps)) or "none"
            raise spec_error(
                "E-PARAM",
                f"network {self.name!r} declares no inner node {name!r}",
                f"declare its shape: Net({self.name!r}, ..., taps={{{name!r}: shape}}). Declared: {known}",
            )
        return Tap(self, name, self._checked(argument))

    def derivative(self, argument: object, place: int | Sequence[int]) -> Term:
        """The derivatives of the outputs by one coordinate of the input, at the argument.

        place: where the coordinate is, one number for each axis of the input. Where the network has a kink
        there is no derivative; a property says, then, that its claim holds for all of Clarke's generalised
        derivatives, and no such point is a counterexample. Raises LabelError for a place that is none.
        """
        places = (place,) if isinstance(place, int) else tuple(place)
        inside = len(places) == len(self.inputs) and all(
            0 <= i < n for i, n in zip(places, self.inputs, strict=True)
        )
        if not inside:
            raise LabelError(
                f"network {self.name!r} takes {self.inputs}, which has no coordinate {list(places)}",
                cure="give one number from 0 for each axis",
            )
        return Derivative(self, self._checked(argument), places)

    def _checked(self, argument: object) -> Term:
        given = term(argument)
        if given.shape != self.inputs:
            raise ShapeError(
                f"network {self.name!r} expects {self.inputs}, `{given.text}` has {given.shape}",
                cure="specs have no batch axis: give the shape of one sample",
            )
        return given

    @property
    def declaration(self) -> str:
        """The declaration line of the canonical text."""
        taps = "".join(f" tap {name!r}: {type_text(shape)}" for name, shape in self.taps.items())
        return f"net {self.name}: {type_text(self.inputs)} -> {type_text(self.outputs)}{taps}"


@dataclass(frozen=True, eq=False, repr=False)
class Application(Term):
    """f(x): the outputs of a network at a term. Equal applications of one network run once."""

    net: Net
    argument: Term

    @property
    def children(self) -> tuple[Expr, ...]:
        return (self.argument,)

    @property
    def text(self) -> str:
        return f"{self.net.name}({self.argument.text})"

    @property
    def shape(self) -> tuple[int, ...]:
        return self.net.outputs

    @property
    def constant(self) -> bool:
        return False  # at data, too: networks run where the query runs, not when it is made

    def run(self, scope: Scope) -> Tensor:
        y, _ = scope.call(self.net, self.argument)
        return _shaped(y, self.shape, self.text)


@dataclass(frozen=True, eq=False, repr=False)
class Tap(Term):
    """The value of an inner node of a network at a term."""

    net: Net
    node: str
    argument: Term

    @property
    def children(self) -> tuple[Expr, ...]:
        return (self.argument,)

    @property
    def text(self) -> str:
        return f"{self.net.name}.tap({self.node!r}, {self.argument.text})"

    @property
    def shape(self) -> tuple[int, ...]:
        return self.net.taps[self.node]

    @property
    def constant(self) -> bool:
        return False

    def run(self, scope: Scope) -> Tensor:
        _, inner = scope.call(self.net, self.argument)
        return _shaped(inner[self.node], self.shape, self.text)


@dataclass(frozen=True, eq=False, repr=False)
class Derivative(Term):
    """The derivatives of a network's outputs by one coordinate of its input, at a term."""

    net: Net
    argument: Term
    place: tuple[int, ...]

    @property
    def children(self) -> tuple[Expr, ...]:
        return (self.argument,)

    @property
    def text(self) -> str:
        place = str(self.place[0]) if len(self.place) == 1 else str(list(self.place))
        return f"{self.net.name}.derivative({self.argument.text}, {place})"

    @property
    def shape(self) -> tuple[int, ...]:
        return self.net.outputs

    @property
    def constant(self) -> bool:
        return False

    def run(self, scope: Scope) -> Tensor:
        return _shaped(scope.slope(self.net, self.argument, self.place), self.shape, self.text)


def _shaped(y: Tensor, shape: tuple[int, ...], text: str) -> Tensor:
    if tuple(y.shape[1:]) == shape:
        return y
    if math.prod(y.shape[1:]) == size(shape):
        return y.reshape(-1, *shape)  # networks may give (B, 1) for a number, or a matrix flat
    raise ShapeError(
        f"`{text}` gives samples of shape {tuple(y.shape[1:])}, the property expects {shape}",
        cure="declare the network with the shapes that it has",
    )
