"""A property: for all x of a domain, a formula over f(x). Binding its values gives a `Query`."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from torch import Tensor

from robustbench_local.errors import SpecError

from .bindings import Bound, Slot, bind
from .expressions.base import Bindings, Formula, describe, spec_error
from .expressions.domains import Domain
from .expressions.leaves import Application, Data, Label, Net, Param, Var
from .expressions.values import Emitter
from .query import Query

__all__ = ["Spec", "forall"]


@dataclass(frozen=True, eq=False, repr=False)
class Spec:
    """forall variable in domain: body. Made by `forall`; immutable; equal specs have equal `id`."""

    variable: Var
    domain: Domain
    body: Formula
    net: Net
    slots: Mapping[str, Slot]

    @property
    def text(self) -> str:
        """Canonical text: one declaration a line, then the property."""
        return self._text({})

    @property
    def id(self) -> str:
        """sha256 of the text, in hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def __repr__(self) -> str:
        return f"Spec({self._claim})"

    def query(self, network: Callable[[Tensor], Tensor], /, **values: object) -> Query:
        """The B problems that bind the net to `network` and every Data, Label and Param by name.

        Values with a leading batch axis must agree on B; values without one hold for all samples.
        Raises SpecError (E-PARAM, E-DATA), LabelError, ShapeError, DtypeError, NonFiniteError,
        RadiusError or EmptySetError; several problems of the values come in one SpecError.
        """
        if not callable(network):
            raise SpecError(
                f"the network is {network!r}", cure="give a module or a function of x (B, *shape)"
            )
        bound = bind(self.slots, values)
        outputs = math.prod(self.net.outputs)
        emitter = Emitter(bound.batch, outputs, bound.device)
        env = Bindings(bound.values, emitter, bound.batch, bound.device, bound.dtype)
        inputs = self.domain.build(env, self.variable.shape)
        tree = self.body.tree(env, negated=True)
        for text in env.equalities:
            warnings.warn(
                f"the violation asks for equality (`{text}` negated): no attack can hit it; "
                "write abs(a - b) >= tolerance instead",
                stacklevel=2,
            )
        C, d = emitter.rows()
        return Query(network, inputs, C, d, tree, self._text(self._bound_params(bound)))

    @property
    def _claim(self) -> str:
        shape = ",".join(map(str, self.variable.shape))
        return f"forall {self.variable.name}: real[{shape}] in {self.domain.text}: {self.body.text}"

    def _text(self, params: Mapping[str, str]) -> str:
        lines = [params.get(name, slot.declaration) for name, slot in self.slots.items()]
        return "\n".join([self.net.declaration, *lines, self._claim])

    def _bound_params(self, bound: Bound) -> dict[str, str]:
        return {
            name: slot.bound(bound.values[name])
            for name, slot in self.slots.items()
            if isinstance(slot, Param)
        }


def forall(variable: Var, domain: Domain, body: Formula) -> Spec:
    """The property that every `variable` of `domain` satisfies `body`.

    Raises SpecError where the parts do not fit: no network or more than one, a free variable, one name
    for two things.
    """
    if not isinstance(variable, Var):
        raise SpecError(f"forall quantifies a Var, got {describe(variable)}")
    if not isinstance(domain, Domain):
        raise SpecError(
            f"forall needs a domain, got {describe(domain)}", cure="use box(..), ball(..) or their `&`"
        )
    if not isinstance(body, Formula):
        raise SpecError(f"forall needs a formula, got {describe(body)}", cure="compare terms: f(x)[0] <= 1")
    _check_variables(variable, body)
    net, slots = _the_net(body), _slots(domain, body)
    if {variable.name, net.name} & set(slots) or variable.name == net.name:
        raise spec_error("E-PARAM", "variable, network, data, labels and parameters need different names")
    return Spec(variable, domain, body, net, MappingProxyType(slots))


def _check_variables(variable: Var, body: Formula) -> None:
    nodes = list(body.walk())
    used = [node for node in nodes if isinstance(node, Var)]
    for node in used:
        if (node.name, node.dims) != (variable.name, variable.dims):
            raise SpecError(f"variable `{node.name}` is free", cure=f"only `{variable.name}` is quantified")
    if len(used) > sum(isinstance(node, Application) for node in nodes):
        raise SpecError(
            f"`{variable.name}` is used outside the network in `{body.text}`",
            cure=f"conditions on the input belong into the domain; supported: terms over f({variable.name})",
        )


def _slots(domain: Domain, body: Formula) -> dict[str, Slot]:
    slots: dict[str, Slot] = {}
    for node in (*domain.walk(), *body.walk()):
        if isinstance(node, (Param, Data, Label)):
            known = slots.setdefault(node.name, node)
            if known.declaration != node.declaration:
                raise spec_error(
                    "E-PARAM", f"{node.name!r} is declared twice: {known.declaration}, {node.declaration}"
                )
    return slots


def _the_net(body: Formula) -> Net:
    nets = {n.net.declaration: n.net for n in body.walk() if isinstance(n, Application)}
    if not nets:
        raise SpecError(f"`{body.text}` uses no network", cure="compare terms over f(x)")
    if len(nets) > 1:
        raise SpecError(
            f"`{body.text}` uses several networks: {'; '.join(nets)}",
            cure="supported: one network at one variable",
        )
    return next(iter(nets.values()))
