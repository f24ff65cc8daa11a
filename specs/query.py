"""The normal form of a property: B problems of one network, as affine atoms under an AND/OR tree.

Violation > 0 is bad. Over the input set S of a problem, V* = max of `violation` lies between what an
attack finds and what a verifier bounds; `holds` and `violated` turn the two ends into verdicts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum

import torch
from torch import Tensor

from robustbench_local.errors import ShapeError, SpecError

from .layout import Layout
from .sets import InputSet
from .sets.input_set import Divisible
from .tree import Tree, atoms_of, count_clauses, disjuncts, dual, fold_truth, fold_values

__all__ = ["Quantifier", "Query", "Verdict"]

_MOST_CLAUSES = 100_000


class Verdict(str, Enum):
    """What is known of one problem: HOLDS (proved), VIOLATED (a witness replays), UNKNOWN."""

    HOLDS = "HOLDS"
    VIOLATED = "VIOLATED"
    UNKNOWN = "UNKNOWN"

    def __str__(self) -> str:
        return self.value


class Quantifier(str, Enum):
    """Whether a property speaks of all points of its domain, or of some."""

    FORALL = "forall"
    EXISTS = "exists"


@dataclass(frozen=True, eq=False, repr=False)
class Query:
    """B problems: is there an x in inputs[b] with the tree true of e = C[b] @ y + d[b], y = network(x)?

    Such an x violates a property of all points, and proves one of `exists` (`quantifier`). All words here
    (violation, violated, holds) speak of the first: for `exists`, `holds` says that no such x exists.

    `layout` says where the variables lie in x, if x is not a single one.
    network: maps x (B, *in) to y (B, *out), usually a module in eval mode. C (B, m, n_out) and d (B, m)
    in float64, y flattened; rows of C differ between samples where labels do. text: the property with
    its parameters; id: sha256 of the text (computed if left empty). Raises ShapeError or SpecError.
    """

    network: Callable[[Tensor], Tensor]
    inputs: InputSet
    C: Tensor
    d: Tensor
    tree: Tree
    text: str = ""
    id: str = ""
    quantifier: Quantifier = Quantifier.FORALL
    layout: Layout | None = None
    _casts: dict[tuple[torch.dtype, torch.device], tuple[Tensor, Tensor]] = field(
        default_factory=dict, init=False, repr=False
    )

    def __post_init__(self) -> None:
        if self.C.ndim != 3 or self.C.shape[:2] != self.d.shape or self.C.shape[0] != self.inputs.batch:
            raise ShapeError(
                f"C has shape {tuple(self.C.shape)}, d {tuple(self.d.shape)}, the inputs a batch of "
                f"{self.inputs.batch}",
                cure="give C as (B, m, n_out) and d as (B, m)",
            )
        if not all(0 <= atom.index < self.C.shape[1] for atom in atoms_of(self.tree)):
            raise SpecError(f"the tree names atoms outside 0..{self.C.shape[1] - 1}")
        if not self.id:
            object.__setattr__(self, "id", hashlib.sha256(self.text.encode()).hexdigest())

    @property
    def batch(self) -> int:
        """B, the number of problems."""
        return self.C.shape[0]

    def __len__(self) -> int:
        return self.batch

    def __repr__(self) -> str:
        claim = self.text.rsplit("\n", 1)[-1]
        return f"Query(batch={self.batch}, atoms={self.C.shape[1]}, inputs={self.inputs!r}, {claim!r})"

    def rows(self, dtype: torch.dtype, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
        """C (B, m, n_out) and d (B, m) in `dtype` (rounded to nearest) on `device`; kept for reuse."""
        key = (dtype, device or self.C.device)
        if key not in self._casts:
            with torch.inference_mode(False):  # what is kept must stay usable under autograd later
                self._casts[key] = (self.C.to(key[1], dtype), self.d.to(key[1], dtype))
        return self._casts[key]

    def atoms(self, y: Tensor) -> Tensor:
        """Atom values e = C @ y + d, (B, m), from network outputs y (B, *out), in y's dtype."""
        flat = y.flatten(1)
        if flat.shape != (self.batch, self.C.shape[2]):
            raise ShapeError(
                f"the network returned shape {tuple(y.shape)}, the property expects {self.batch} samples "
                f"of {self.C.shape[2]} outputs"
            )
        C, d = self.rows(y.dtype, y.device)
        return torch.baddbmm(d.unsqueeze(-1), C, flat.unsqueeze(-1)).squeeze(-1)

    def combine(self, e: Tensor) -> Tensor:
        """Any = max and All = min over the tree: atom values or upper bounds (B, m) -> (B,).

        Monotone, so upper bounds of atoms give an upper bound of the violation. NaN is passed on.
        """
        if e.ndim != 2 or e.shape[1] != self.d.shape[1]:
            raise ShapeError(f"atom values have shape {tuple(e.shape)}, expected (B, {self.d.shape[1]})")
        return fold_values(self.tree, e)

    def violation(self, x: Tensor) -> Tensor:
        """The violation at x (B, *in): (B,), > 0 where the property is false; differentiable."""
        return self.combine(self.atoms(self.network(x)))

    def violated(self, x: Tensor) -> Tensor:
        """Whether the property is false at x (B, *in) on this forward pass, (B,) bool.

        Atoms are evaluated in float64 and respect strictness. A sample with a NaN or infinite output
        is never violated: it proves nothing. Membership of x in the input set is not tested here.
        """
        with torch.no_grad():
            y = self.network(x)
            return self.violated_by(y)

    def violated_by(self, y: Tensor) -> Tensor:
        """`violated`, from network outputs y (B, *out)."""
        with torch.no_grad():
            finite = torch.isfinite(y.flatten(1)).all(1)
            return fold_truth(self.tree, self.atoms(y.to(torch.float64))) & finite

    def holds(self, upper: Tensor) -> Tensor:
        """Whether upper bounds (B,) of the violation prove the property, (B,) bool.

        Finite and < 0, or <= 0 where every atom is strict (then the property is closed).
        """
        below = upper <= 0 if all(atom.strict for atom in atoms_of(self.tree)) else upper < 0
        return below & torch.isfinite(upper)

    def point(self, **variables: Tensor) -> Tensor:
        """The input (B, *in) at values (B, *shape) of variables by name; data are filled in, and variables
        that are left out are at the centre of the set.
        """
        if self.layout is None:
            raise SpecError("the query names no variables", cure="give the input (B, *shape) itself")
        parts = self.layout.split(self.inputs.centre())
        for name, value in variables.items():
            if name not in parts:
                raise SpecError(f"no variable {name!r}", cure=f"known: {', '.join(parts)}")
            parts[name] = value
        dtype = next(iter(variables.values())).dtype if variables else self.inputs.dtype
        return self.layout.merge({name: value.to(dtype) for name, value in parts.items()})

    def clauses(self) -> list[tuple[Tensor, Tensor]]:
        """The violation as an OR of clauses (C (B, k, n_out), d (B, k)): all k rows must be > or >= 0.

        Raises SpecError where the disjunctive normal form has more than 100,000 clauses.
        """
        count = count_clauses(self.tree)
        if count > _MOST_CLAUSES:
            raise _with_code(
                SpecError(
                    f"the violation has {count:.2g} clauses, the limit is {_MOST_CLAUSES}",
                    cure="work on query.tree; `f(x) <= t` says the same as `vmax(f(x)) <= t` with fewer",
                ),
                "E-DNF",
            )
        indices = [[atom.index for atom in clause] for clause in disjuncts(self.tree)]
        return [(self.C[:, i], self.d[:, i]) for i in indices]

    def parts(self) -> tuple[Query, Tensor] | None:
        """The problems over the members of their sets, and the problem (B',) that each belongs to.

        A problem holds where all its members do. None where the sets have no members that are worth it.
        """
        found = self.inputs.parts() if isinstance(self.inputs, Divisible) else None
        if found is None:
            return None
        members, owner = found
        return replace(self, inputs=members, C=self.C[owner], d=self.d[owner]), owner

    def negated(self) -> Query:
        """The problems of the opposite: is there an x with the tree false? Its violation is minus this."""
        return replace(self, C=-self.C, d=-self.d, tree=dual(self.tree), text=f"not ({self.text})", id="")

    def verdict(self, holds: bool, violated: bool) -> Verdict:
        """What `holds` and `violated` say of the property: for `exists` they change places."""
        if not (holds or violated):
            return Verdict.UNKNOWN
        return Verdict.HOLDS if holds == (self.quantifier is Quantifier.FORALL) else Verdict.VIOLATED

    @torch.inference_mode(False)
    def select(self, index: Tensor) -> Query:
        """The sub-batch at a long or bool index (b,)."""
        part = replace(self, inputs=self.inputs.select(index), C=self.C[index], d=self.d[index])
        part._casts.update(
            {k: (C[index], d[index]) for k, (C, d) in self._casts.items() if k[1] == index.device}
        )
        return part

    def with_network(self, network: Callable[[Tensor], Tensor]) -> Query:
        """The same problems of another network."""
        return replace(self, network=network)


def _with_code(error: SpecError, code: str) -> SpecError:
    error.code = code
    return error
