"""The network of a query as networks of VNN-LIB 2, and its features as terms over their tensors.

Every application f(t) becomes a declared network of its own, a second one of f `equal-to` the first. Where
the argument is a coordinate of a variable itself, the network's input stands for it; elsewhere the input is
tied to the argument's value by ==.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import torch

from robustbench_local.errors import SpecError

from ...composed import Composed
from ...expressions import Term as Expression
from ...expressions import Var
from ...expressions.arithmetic import Multiply, Power
from ...expressions.base import Bindings
from ...expressions.leaves import Data, Label, Param
from ...expressions.networks import Application, Tap
from ...expressions.scope import Scope
from ...expressions.values import Affine, Emitter, Feature
from ..formula import Formula
from ..source import coded
from ..terms import Element, Product, Term
from ..version2 import REAL, Declarations, Network, Tensor
from .linear_formulas import equation, total

__all__ = ["Wiring", "free_name", "refused"]

_Call = tuple[str, str]  # name of a net, text of the argument
_Row = tuple[list[tuple[Feature, int, float]], float]  # sum of factor * element of a feature, plus a constant
_MOST_POWER = 8


class Wiring:
    """Networks for the features of a composed network.

    Attributes:
        declared: the networks.
        features: the composed network's outputs, in order, as terms.
        ties: what the inputs of networks are equal to, where they are no coordinates.
    """

    def __init__(self, composed: Composed) -> None:
        self._layout = composed.layout
        self._names: set[str] = set()
        self._calls: dict[_Call, Application | Tap] = {}
        self._taps: dict[_Call, dict[str, Tap]] = {}
        for feature in composed.features:
            self._collect(feature)
        self._networks: dict[_Call, Network] = {}
        for call in self._calls:
            self._declare(call)
        self.declared = Declarations(self._networks.values())
        self._homes: dict[tuple[str, int], Term] = {}  # element of a variable -> the input that it is
        self._known: dict[str, list[Term]] = {}
        rows = {call: self._rows(node.argument) for call, node in self._calls.items()}
        self.ties: list[Formula] = []
        for home in (True, False):  # all homes are known before the first tie needs one
            for call, found in rows.items():
                self._settle(self._networks[call], found, home)
        self.features: list[Term] = [
            term for feature in composed.features for term in self._elements(feature)
        ]

    def coordinates(self) -> list[Term]:
        """The coordinates of the query's input, flat; SpecError (E-EXPORT) for one that no network takes."""
        return [self._home(b.name, k) for b in self._layout.blocks for k in range(b.size)]

    def _collect(self, feature: Expression) -> None:
        """Takes up the applications in a feature."""
        for node in feature.walk():
            if isinstance(node, (Data, Param, Label)):
                what = f"`{feature.text}` reads `{node.name}`"
                raise refused(what, "write numbers into the property instead")
            if isinstance(node, Application | Tap):
                call = node.net.name, node.argument.text
                self._calls.setdefault(call, node)
                if isinstance(node, Tap):
                    self._taps.setdefault(call, {}).setdefault(node.node, node)

    def _declare(self, call: _Call) -> None:
        node = self._calls[call]
        net, start = node.net, sum(t.size for n in self._networks.values() for t in n.tensors)
        first = next((n for (name, _), n in self._networks.items() if name == net.name), None)
        number = len(self._networks)
        tensors: list[Tensor] = []
        kinds = [
            ("X", net.inputs, None),
            *(("H", t.shape, t.node) for t in self._taps.get(call, {}).values()),
        ]
        for letter, shape, place in [*kinds, ("Y", net.outputs, None)]:
            argument = node.argument
            own = argument.name if letter == "X" and isinstance(argument, Var) else f"{letter}{number or ''}"
            tensors.append(Tensor(self._named(own), REAL, (1, *shape), start, place))
            start += tensors[-1].size
        name = self._named(net.name)
        equal = None if first is None else first.name
        self._networks[call] = Network(name, (tensors[0],), (tensors[-1],), tuple(tensors[1:-1]), equal)

    def _settle(self, network: Network, rows: Sequence[_Row], home: bool) -> None:
        """Takes a network's inputs for the coordinates that they are, or else ties them to their values."""
        for k, (parts, constant) in enumerate(rows):
            here = Element(network.inputs[0].start + k)
            own = _coordinate(parts, constant)
            if home and own is not None:
                self._homes.setdefault(own, here)
            elif not home and (own is None or self._homes[own] != here):
                weighted = [(c, self._elements(f)[i]) for f, i, c in parts]
                self.ties.append(equation(here, weighted, constant))

    def _home(self, variable: str, index: int) -> Term:
        if (variable, index) not in self._homes:
            what = f"no network takes `{variable}` itself as its input (element {index})"
            raise refused(what, "VNN-LIB has no other variables than inputs of networks")
        return self._homes[variable, index]

    def _elements(self, feature: Feature) -> list[Term]:
        """The elements of a feature as terms."""
        if feature.text not in self._known:
            self._known[feature.text] = self._found(feature)
        return self._known[feature.text]

    def _found(self, feature: Feature) -> list[Term]:
        if isinstance(feature, Var):
            size = next(b.size for b in self._layout.blocks if b.name == feature.name)
            return [self._home(feature.name, k) for k in range(size)]
        if isinstance(feature, Application | Tap):
            network = self._networks[feature.net.name, feature.argument.text]
            tensor = network.outputs[0]
            if isinstance(feature, Tap):
                tensor = next(t for t in network.hidden if t.node == feature.node)
            return [Element(p) for p in range(tensor.start, tensor.start + tensor.size)]
        if isinstance(feature, Multiply):
            left, right = (self._scalars(part) for part in (feature.left, feature.right))
            pairs = zip(
                left * (len(right) if len(left) == 1 else 1),
                right * (len(left) if len(right) == 1 else 1),
                strict=True,
            )
            return [Product((a, b)) for a, b in pairs]
        if (
            isinstance(feature, Power)
            and feature.exponent.is_integer()
            and 1 <= feature.exponent <= _MOST_POWER
        ):
            return [Product((base,) * int(feature.exponent)) for base in self._scalars(feature.base)]
        raise refused(
            f"`{feature.text}` is no polynomial", "VNN-LIB 2 has + - and * only: append it to the network"
        )

    def _scalars(self, part: Expression) -> list[Term]:
        """The elements of any term, as terms."""
        return [
            total([(c, self._elements(f)[i]) for f, i, c in parts], constant)
            for parts, constant in self._rows(part)
        ]

    def _rows(self, part: Expression) -> list[_Row]:
        """The elements of a term, each affine in elements of features."""
        emitter, place = Emitter(1, torch.device("cpu")), torch.device("cpu")
        like = torch.zeros(0, dtype=torch.float64)
        value = part.value(Bindings({}, Scope({}, {}, {}, {}, like), emitter, 1, place, torch.float64))
        if not isinstance(value, Affine):
            raise refused(f"`{part.text}` has a maximum or minimum inside", "write the cases as formulas")
        found: list[_Row] = []
        for k, constant in enumerate(value.const[0].flatten().tolist()):
            parts: list[tuple[Feature, int, float]] = []
            for number, coef in value.coefs.items():
                row = coef[0].reshape(-1, coef.shape[-1])[k]
                parts += [
                    (emitter.features[number], i, float(row[i])) for i in row.nonzero().flatten().tolist()
                ]
            found.append((parts, constant))
        return found

    def _named(self, name: str) -> str:
        """The name, made one of VNN-LIB that is not taken."""
        free = free_name(name, self._names)
        self._names.add(free)
        return free


def free_name(name: str, taken: Collection[str]) -> str:
    """The name, made one of VNN-LIB that is not taken."""
    plain = re.sub(r"[^A-Za-z0-9_]", "_", name)
    plain = plain if plain[:1].isalpha() and plain not in ("and", "or", "initialized") else f"n{plain}"
    free, number = plain, 2
    while free in taken:
        free, number = f"{plain}_{number}", number + 1
    return free


def _coordinate(parts: list[tuple[Feature, int, float]], constant: float) -> tuple[str, int] | None:
    """Name and index where the row is an element of a variable and nothing else."""
    if len(parts) != 1 or constant:
        return None
    ((feature, index, factor),) = parts
    return (feature.name, index) if isinstance(feature, Var) and factor == 1 else None


def refused(what: str, cure: str) -> SpecError:
    """The error for a property that the format cannot hold."""
    return coded(SpecError(what, where="VNN-LIB", cure=cure), "E-EXPORT")
