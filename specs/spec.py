"""A property: for all (or some) values of its variables, a formula. Binding its values gives a `Query`."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from torch import Tensor

from robustbench_local.errors import SpecError, SpecWarning

from .bindings import Bound, Slot, bind, bind_networks
from .checks import check_not_trivial
from .expressions.base import Expr, Formula, describe, spec_error
from .expressions.constants import Constant
from .expressions.domains import Domain
from .expressions.leaves import Data, Label, Param, Var
from .expressions.naming import Named
from .expressions.networks import Application, Derivative, Net, Tap
from .lowering import Lowered, lower
from .printing import canonical_text
from .query import Quantifier, Query
from .vocabulary import FUNCTIONS

__all__ = ["Networks", "Spec", "exists", "forall"]

Networks = Callable[[Tensor], Tensor] | Mapping[str, Callable[[Tensor], Tensor]]
"""A network, or name of slot -> network."""


@dataclass(frozen=True, eq=False, repr=False)
class Spec:
    """quantifier variables in domain: body. Made by `forall` or `exists`; equal specs have equal `id`."""

    quantifier: Quantifier
    variables: tuple[Var, ...]
    domain: Domain | Formula
    body: Formula
    nets: Mapping[str, Net]
    slots: Mapping[str, Slot]
    constants: Mapping[str, Constant]
    names: Mapping[str, Named]
    checked: bool = True

    def unchecked(self) -> Spec:
        """The same property, whose queries may be trivially true without an error (E-TRIVIAL)."""
        return replace(self, checked=False)

    @property
    def text(self) -> str:
        """Canonical text, which `parse_spec` reads: one declaration a line, then the property."""
        return canonical_text({"": self})

    @property
    def id(self) -> str:
        """sha256 of the text, in hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def __repr__(self) -> str:
        return f"Spec({self.claims[0]})"

    @property
    def declarations(self) -> Mapping[str, str]:
        """Name -> declaration line, of networks, values, constants and terms, in the order of the text."""
        declared = (*self.nets.values(), *self.slots.values())
        lines = {part.name: part.declaration for part in declared}
        lines |= {name: part.declaration for name, part in self.constants.items()}
        return lines | {name: part.declaration for name, part in self.names.items()}

    def query(self, network: Networks, /, **values: object) -> Query:
        """The B problems that bind the nets to networks and every Data, Label and Param by name.

        `network` is a module or function for a property of one net, or {"f": .., "g": ..} for several.
        Values with a leading batch axis must agree on B; values without one hold for all samples.
        Raises SpecError (E-PARAM, E-DATA; E-TRIVIAL where no outputs at all could violate it), LabelError,
        ShapeError, DtypeError, NonFiniteError,
        RadiusError or EmptySetError; several problems of the values come in one SpecError.
        """
        networks = bind_networks(self.nets, network)
        bound = bind(self.slots, values)
        found: Lowered = lower(self.variables, self.domain, self.body, self.quantifier, networks, bound)
        for text in found.equalities:
            warnings.warn(
                SpecWarning(
                    "E-EQ",
                    f"the violation asks for equality (`{text}` negated): no attack can hit it",
                    cure="write abs(a - b) >= tolerance instead",
                ),
                stacklevel=2,
            )
        text = canonical_text({"": self}, instead=self._bound_params(bound))
        query = Query(
            found.network,
            found.inputs,
            found.C,
            found.d,
            found.tree,
            text,
            quantifier=self.quantifier,
            layout=found.layout,
        )
        if self.checked:
            check_not_trivial(query, self.body)
        return query

    @property
    def claims(self) -> tuple[str, ...]:
        """The property without its declarations, alone in a tuple."""
        variables = ", ".join(variable.declaration for variable in self.variables)
        return (f"{self.quantifier.value} {variables} in {self.domain.text}: {self.body.text}",)

    @property
    def family(self) -> bool:
        """False: a spec is one property."""
        return False

    def _bound_params(self, bound: Bound) -> dict[str, str]:
        return {
            name: slot.bound(bound.values[name])
            for name, slot in self.slots.items()
            if isinstance(slot, Param)
        }


def forall(variables: Var | Sequence[Var], domain: Domain | Formula, body: Formula) -> Spec:
    """The property that all values of the variables in the domain satisfy the body.

    The domain of one variable is a `Domain`, `box(0, 1) & ball(x0, eps)`, and may carry conditions,
    `box(0, 1) & (x[0] <= x[1])`. With several variables each is placed: `box(0, 1)(x) & ball(x, 0.1)(y)`.
    Raises SpecError where the parts do not fit: no network, a free variable, one name for two things.
    """
    return _quantified(Quantifier.FORALL, variables, domain, body)


def exists(variables: Var | Sequence[Var], domain: Domain | Formula, body: Formula) -> Spec:
    """The property that some values of the variables in the domain satisfy the body; else as `forall`.

    A witness proves it, and a bound of the body's truth over the whole domain refutes it.
    """
    return _quantified(Quantifier.EXISTS, variables, domain, body)


def _quantified(
    quantifier: Quantifier, variables: Var | Sequence[Var], domain: Domain | Formula, body: Formula
) -> Spec:
    word = quantifier.value
    bound = (variables,) if isinstance(variables, Expr) else tuple(variables)
    for variable in bound:
        if not isinstance(variable, Var):
            raise SpecError(f"{word} quantifies a Var, got {describe(variable)}")
    if not bound:
        raise SpecError(f"{word} quantifies at least one Var")
    if not isinstance(domain, (Domain, Formula)):
        raise SpecError(
            f"{word} needs a domain, got {describe(domain)}", cure="use box(..), ball(..) or their `&`"
        )
    if isinstance(body, Spec):
        raise spec_error(
            "E-ALT",
            f"{word} {', '.join(v.name for v in bound)} contains `{body}`: quantifiers cannot be nested",
            "quantify all variables at once, or make the inner domain finite and join its cases with & or |",
        )
    if not isinstance(body, Formula):
        raise SpecError(f"{word} needs a formula, got {describe(body)}", cure="compare terms: f(x)[0] <= 1")
    _check_variables(bound, domain, body)
    nets, slots, constants = _nets(domain, body), _slots(domain, body), _constants(domain, body)
    terms = _named(domain, body)
    names = [*(v.name for v in bound), *nets, *slots, *constants, *terms]
    if len(set(names)) < len(names):
        raise spec_error(
            "E-PARAM", "variables, networks, data, labels, parameters and terms need different names"
        )
    for name in nets:
        if name in FUNCTIONS:
            raise spec_error("E-PARAM", f"network {name!r} has the name of a function", "rename it")
    parts = (MappingProxyType(nets), MappingProxyType(slots), MappingProxyType(constants))
    return Spec(quantifier, bound, domain, body, *parts, MappingProxyType(terms))


def _check_variables(bound: Sequence[Var], domain: Expr, body: Formula) -> None:
    known = {variable.name: variable for variable in bound}
    for node in _walk(domain, body):
        if isinstance(node, Var) and (
            node.name not in known or known[node.name].declaration != node.declaration
        ):
            names = ", ".join(f"`{name}`" for name in known)
            raise SpecError(f"variable `{node.name}` is free", cure=f"quantified: {names}")


def _slots(domain: Expr, body: Formula) -> dict[str, Slot]:
    slots: dict[str, Slot] = {}
    for node in _walk(domain, body):
        if isinstance(node, (Param, Data, Label)):
            known = slots.setdefault(node.name, node)
            if known.declaration != node.declaration:
                raise spec_error(
                    "E-PARAM", f"{node.name!r} is declared twice: {known.declaration}, {node.declaration}"
                )
    return slots


def _nets(domain: Expr, body: Formula) -> dict[str, Net]:
    nets: dict[str, Net] = {}
    for node in _walk(body, domain):
        if isinstance(node, (Application, Derivative, Tap)):
            known = nets.setdefault(node.net.name, node.net)
            if known.declaration != node.net.declaration:
                raise spec_error(
                    "E-PARAM",
                    f"{known.name!r} is declared twice: {known.declaration}, {node.net.declaration}",
                )
    if not nets:
        raise SpecError(f"`{body.text}` uses no network", cure="compare terms over f(x)")
    return nets


def _constants(domain: Expr, body: Formula) -> dict[str, Constant]:
    constants: dict[str, Constant] = {}
    for node in _walk(domain, body):
        if isinstance(node, Constant) and node.declaration:
            known = constants.setdefault(node.text, node)
            if known is not node and known.digest != node.digest:
                raise spec_error("E-PARAM", f"the constant {node.text!r} has two values")
    return constants


def _named(*parts: Expr) -> dict[str, Named]:
    """Terms under a name, each after those that it is made of."""
    found = [node for node in _walk(*parts) if isinstance(node, Named)]
    inner = {id(node): sum(isinstance(part, Named) for part in node.walk()) for node in found}
    names: dict[str, Named] = {}
    for node in sorted(found, key=lambda node: inner[id(node)]):
        known = names.setdefault(node.name, node)
        if known.declaration != node.declaration:
            raise spec_error("E-PARAM", f"{node.name!r} is defined twice: {known.of.text}, {node.of.text}")
    return names


def _walk(*parts: Expr) -> Iterator[Expr]:
    for part in parts:
        yield from part.walk()
