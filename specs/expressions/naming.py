"""Names for parts of a property, so that what is used often is written, computed and lowered once."""

# ruff: noqa: D102 (the members of a node are described once, in base.py)

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from .base import Bindings, Expr, Term, term
from .names import checked_name
from .scope import Scope
from .values import Value

__all__ = ["Named", "let"]


@dataclass(frozen=True, eq=False, repr=False)
class Named(Term):
    """A term under a name; the property's text defines it in a line of its own."""

    name: str
    of: Term
    _shape: tuple[int, ...] = field(init=False)  # kept: asking the parts again doubles with every level
    _constant: bool = field(init=False)
    _unit: str | None = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", checked_name(self.name))
        object.__setattr__(self, "_shape", self.of.shape)
        object.__setattr__(self, "_constant", self.of.constant)
        object.__setattr__(self, "_unit", self.of.unit)

    @property
    def children(self) -> tuple[Expr, ...]:
        return (self.of,)

    @property
    def text(self) -> str:
        return self.name

    @property
    def declaration(self) -> str:
        """The definition, as a line of the canonical text."""
        return f"let {self.name} = {self.of.text}"

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    @property
    def constant(self) -> bool:
        return self._constant

    @property
    def unit(self) -> str | None:
        return self._unit

    def lower(self, env: Bindings) -> Value:
        known = env.emitter.named
        if self.name not in known:
            known[self.name] = self.of.value(env)
        return known[self.name]

    def run(self, scope: Scope) -> Tensor:
        return scope.of(self.of)


def let(name: str, of: object) -> Term:
    """The term under a name, which stands for it in the property's text; one name for one term."""
    return Named(name, term(of))
