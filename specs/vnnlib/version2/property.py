"""The value of a file of VNN-LIB 2: declared networks, and the formula of what must not happen."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from robustbench_local.errors import ShapeError, SpecError, UnboundedSetError

from ...query import Query
from ...spec import Networks, Spec
from ..formula import AllOf
from ..property import VnnlibProperty
from ..source import Source, coded
from ..terms import Values
from ..unsafe_set import unsafe_set
from .binding import one_network
from .declarations import Declarations, Network, Tensor
from .lowering import Lowering
from .printer import text_lines

__all__ = ["Vnnlib2Property"]


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class Vnnlib2Property:
    """A property as VNN-LIB 2 states it, by what must not happen.

    It holds where no inputs, with the outputs that the networks give for them, satisfy `unsafe`. Decimals of
    the file are the nearest float64 numbers; arithmetic is that of real numbers, whatever the types.

    Attributes:
        name: the file it was read from.
        version: of the standard, "2.0" or "2.1".
        declared: the networks and their tensors.
        unsafe: the conjunction of all assertions, a tree of `AllOf`, `AnyOf` and `Comparison`.
        source: the text it was read from, for places in messages; None where there is none.
    """

    name: str
    version: str
    declared: Declarations
    unsafe: AllOf
    source: Source | None = None

    def __repr__(self) -> str:
        networks = ", ".join(f"{n.name}: {_signature(n)}" for n in self.networks)
        return f"Vnnlib2Property({self.name!r}, {networks})"

    @property
    def networks(self) -> tuple[Network, ...]:
        """The declared networks, in order."""
        return tuple(self.declared.networks.values())

    @property
    def text(self) -> str:
        """The property as text of VNN-LIB 2, one assertion a line; reading it gives the same property."""
        return "".join(f"{line}\n" for line in text_lines(self.version, self.declared, self.unsafe))

    @property
    def id(self) -> str:
        """sha256, in hex, of the text: equal for the same declarations and assertions in another layout."""
        digest = hashlib.sha256()
        for line in text_lines(self.version, self.declared, self.unsafe):
            digest.update(line.encode() + b"\n")
        return digest.hexdigest()

    def spec(self, shapes: Mapping[str, Sequence[int]] | None = None) -> Spec:
        """The property in the specification language: forall inputs in their set, not unsafe.

        One variable per input and one net per network; networks that are `equal-to` another are that net
        again, hidden tensors its inner nodes. Several inputs or outputs of a network are one vector, side by
        side. Elements that the assertions make equal to earlier ones are no variables of their own. Bounds
        and linear conditions on inputs outside of every `or` are the domain.

        Args:
            shapes: name of a network -> shape of one of its samples; default: the declared shape, without a
                batch axis of 1.

        Raises SpecError (E-OP) for inputs that are no real numbers, UnboundedSetError, EmptySetError.
        """
        return self._lowering(shapes).spec

    def queries(
        self,
        networks: Networks,
        *,
        shapes: Mapping[str, Sequence[int]] | None = None,
        device: torch.device | None = None,
    ) -> list[Query]:
        """The property as queries: it holds if and only if every problem of every query holds.

        `networks` is one network, or name -> network, without those that are `equal-to` another. Where the
        property has a flat form these are its queries, else the one query of `spec`. Raises as `flat`, `spec`
        and `Spec.query` do.
        """
        flat = self.flat_or_none()
        if flat is None:
            return [self._lowering(shapes).query(networks, device or torch.device("cpu"))]
        network, shape = one_network(self.declared, networks, shapes or {}, self.name)
        return flat.queries(network, shape, flat.outputs, device=device)

    def inputs(
        self, x: torch.Tensor, *, shapes: Mapping[str, Sequence[int]] | None = None
    ) -> dict[str, torch.Tensor]:
        """The declared inputs (B, *declared shape) by name, at points x (B, *shape) of the queries."""
        if self.flat_or_none() is None:
            found = self._lowering(shapes).values(x)
        else:
            found = {self.networks[0].inputs[0].name: x}
        tensors = self.declared.tensors
        return {name: value.reshape(-1, *tensors[name].shape) for name, value in found.items()}

    def flat(self) -> VnnlibProperty:
        """The unsafe set as clauses over flattened inputs X_i and outputs Y_i: the form that 1.0 has.

        For a property of one network with one input and one output whose conditions are linear. Raises
        SpecError (E-OP) for another one, E-NONLIN, E-DNF, UnboundedSetError or EmptySetError as reading
        version 1.0 does.
        """
        reason = self._not_flat()
        if reason:
            cure = "use `spec()`, which takes all of VNN-LIB 2"
            raise coded(SpecError(f"the property {reason}", where=self.name, cure=cure), "E-OP")
        inputs, outputs = self.networks[0].inputs[0].size, self.networks[0].outputs[0].size
        source = self.source or Source.of_text(self.text, self.name)

        def renumber(positions: NDArray[np.int64]) -> NDArray[np.int64]:
            return np.where(positions < inputs, 2 * positions, 2 * (positions - inputs) + 1)

        return unsafe_set(self.unsafe, inputs, outputs, source, renumber)

    def flat_or_none(self) -> VnnlibProperty | None:
        """The flat form, where there is one; EmptySetError as in `flat`."""
        if self._not_flat():
            return None
        try:
            return self.flat()
        except UnboundedSetError:  # conditions on several inputs may still bound it
            return None
        except SpecError as error:
            if error.code in ("E-NONLIN", "E-DNF"):
                return None
            raise

    def _lowering(self, shapes: Mapping[str, Sequence[int]] | None) -> Lowering:
        source = self.source or Source.of_text(self.text, self.name)
        return Lowering(self.declared, self.unsafe, source.fail_at, self.name, shapes or {})

    def _not_flat(self) -> str:
        """Why there is no flat form, as a predicate; empty where nothing speaks against it."""
        network, *others = self.networks
        if others:
            return f"has {len(others) + 1} networks"
        for kind, count in (("inputs", len(network.inputs)), ("outputs", len(network.outputs))):
            if count > 1:
                return f"has {count} {kind}"
        if network.inputs[0].type.integer:
            return f"has an input of integers, `{network.inputs[0].name}`"
        if network.inputs[0].initialized:
            return f"has an input with a default value, `{network.inputs[0].name}`"
        return f"has the hidden tensor `{network.hidden[0].name}`" if network.hidden else ""

    def evaluate(
        self, assignment: Mapping[str, ArrayLike | torch.Tensor], *, exact: bool = False
    ) -> NDArray[np.bool_]:
        """Whether assignments satisfy all assertions, that is, lie in the unsafe set: (N,) bool.

        Nothing but the formula is evaluated: no network runs. An assignment with NaN or infinity satisfies
        nothing.

        Args:
            assignment: for the name of every declared tensor (inputs, hidden ones, outputs) its values,
                (N, *shape).
            exact: in rational arithmetic, without rounding; slow. Otherwise in float64.

        Raises SpecError for a missing or unknown name, ShapeError for a wrong shape.
        """
        values = self._values(assignment)
        finite = np.isfinite(values).all(axis=1)
        found = np.zeros(len(values), dtype=bool)
        chosen: Values = values[finite]
        if exact:
            rows = [[Fraction(v) for v in row] for row in chosen.tolist()]
            chosen = np.empty(chosen.shape, dtype=object)
            for i, row in enumerate(rows):
                chosen[i, :] = row
        with np.errstate(over="ignore", invalid="ignore"):
            found[finite] = self.unsafe.truth(chosen)
        return found

    def _values(self, assignment: Mapping[str, ArrayLike | torch.Tensor]) -> NDArray[np.float64]:
        tensors = self.declared.tensors
        for kind, names in (
            ("no values of", [n for n in tensors if n not in assignment]),
            ("unknown tensors", [n for n in assignment if n not in tensors]),
        ):
            if names:
                raise SpecError(f"{kind} {', '.join(names)}", cure=f"declared are {', '.join(tensors)}")
        columns = [_column(t, assignment[t.name]) for t in tensors.values()]
        if len({len(c) for c in columns}) > 1:
            sizes = ", ".join(f"{n}: {len(c)}" for n, c in zip(tensors, columns, strict=True))
            raise ShapeError(f"tensors differ in their number of assignments ({sizes})")
        return np.concatenate(columns, axis=1)


def _column(tensor: Tensor, value: ArrayLike | torch.Tensor) -> NDArray[np.float64]:
    array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
    if array.shape[1:] != tensor.shape or array.ndim == 0:
        raise ShapeError(
            f"`{tensor.name}` has shape {array.shape}, expected (N, {', '.join(map(str, tensor.shape))})",
            cure="give one value per assignment, with the shape that is declared",
        )
    wide: NDArray[np.float64] = array.astype(np.float64).reshape(len(array), math.prod(tensor.shape))
    return wide


def _signature(network: Network) -> str:
    inputs, outputs = (
        ", ".join(f"{t.type}{list(t.shape)}" for t in part) for part in (network.inputs, network.outputs)
    )
    return f"{inputs} -> {outputs}"
