"""Parts of a vector chosen by a class: all elements but one, and the confidence of a classifier."""

# ruff: noqa: D102 (the members of a node are described once, in base.py)

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustbench_local.errors import LabelError, ShapeError, SpecError

from ..vocabulary import function
from .base import Bindings, Expr, Term, describe, term
from .extrema import vmax
from .functions import softmax
from .leaves import Label
from .scope import Scope
from .values import Value

__all__ = ["Dropped", "conf", "drop"]


@dataclass(frozen=True, eq=False, repr=False)
class Dropped(Term):
    """A vector without the element of a class."""

    of: Term
    label: Label | int

    def __post_init__(self) -> None:
        if len(self.of.shape) != 1 or self.of.shape[0] < 2:
            raise ShapeError(
                f"drop needs a vector of at least 2 elements, `{self.of.text}` has {self.of.shape}"
            )
        length = self.of.shape[0]
        classes = self.label.classes if isinstance(self.label, Label) else length
        if classes != length or (isinstance(self.label, int) and not 0 <= self.label < length):
            name = self.label.declaration if isinstance(self.label, Label) else self.label
            raise LabelError(f"`{self.of.text}` has {length} elements, none of {name}")

    @property
    def children(self) -> tuple[Expr, ...]:
        return (self.of, self.label) if isinstance(self.label, Label) else (self.of,)

    @property
    def text(self) -> str:
        label = self.label.text if isinstance(self.label, Label) else str(self.label)
        return f"drop({self.of.text}, {label})"

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.of.shape[0] - 1,)

    @property
    def unit(self) -> str | None:
        return self.of.unit

    def lower(self, env: Bindings) -> Value:
        label = self.label
        index = (
            env.values[label.name] if isinstance(label, Label) else torch.tensor([label], device=env.device)
        )
        others = torch.arange(self.shape[0], device=env.device)
        return self.of.value(env).take(0, others + (others >= index.unsqueeze(1)))

    def run(self, scope: Scope) -> Tensor:
        y, label = scope.of(self.of), self.label
        if not isinstance(label, Label):
            return torch.cat([y[:, :label], y[:, label + 1 :]], 1)
        # one-hot rows, which may be an input of the composed network: element j or, from the class on, j + 1
        later = scope.named(label.name).to(y.dtype)[:, :-1].cumsum(1)
        return y[:, :-1] * (1 - later) + y[:, 1:] * later


@function("drop")
def drop(of: object, label: object) -> Term:
    """The elements of a vector other than that of a class: f(x)[c] - vmax(drop(f(x), c)) is the margin."""
    if isinstance(label, bool) or not isinstance(label, (int, Label)):
        raise SpecError(f"drop takes a class, got {describe(label)}", cure="use a Label or a class number")
    return Dropped(term(of), label)


@function("conf")
def conf(logits: object) -> Term:
    """The confidence of a classifier, its largest probability: vmax(softmax(logits))."""
    return vmax(softmax(logits))
