"""Which arithmetic a verdict is about, and the verifiers that can give such verdicts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from robustbench_local.errors import SpecError, UnknownNameError

from ..verifier import Verifier
from .deployed import Deployed
from .formats import BFLOAT16, HALF, SINGLE, Format
from .outward import OUTWARD, Outward, outward

__all__ = ["ARITHMETICS", "Arithmetic", "arithmetic_of", "find_arithmetic"]


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """What HOLDS promises: `promise` in words, `column` in results tables.

    counterpart: the verifier that keeps the promise by another's method; None where there is none.
    """

    name: str
    column: str
    promise: str
    counterpart: Callable[[Verifier], Verifier | None]

    def verifier(self, verifier: Verifier) -> Verifier:
        """The counterpart of a verifier. SpecError where it has none, with the methods that have."""
        found = self.counterpart(verifier)
        if found is None:
            known = ", ".join(sorted(kind().name for kind in OUTWARD))
            raise SpecError(
                f"{verifier.name!r} gives no bounds for arithmetic={self.name!r}",
                where="method",
                cure=f"use one of {known}",
            )
        return found


def _itself(verifier: Verifier) -> Verifier | None:
    return verifier


def _deployed(kind: Format) -> Callable[[Verifier], Verifier | None]:
    def counterpart(verifier: Verifier) -> Verifier | None:
        found = outward(verifier)
        return None if found is None else Deployed(found, kind)

    return counterpart


_COLUMNS = {kind.name: name for name, kind in (("fp32", SINGLE), ("fp16", HALF), ("bf16", BFLOAT16))}

ARITHMETICS: dict[str, Arithmetic] = {
    entry.name: entry
    for entry in (
        Arithmetic("real", "real", "the network over the real numbers, as computed in its dtype", _itself),
        Arithmetic(
            "float64-outward", "outward", "the network over the real numbers, rounding accounted for", outward
        ),
        *(
            Arithmetic(
                name,
                name,
                f"every {kind.name} forward pass, in any order of summation, rounding accounted for",
                _deployed(kind),
            )
            for name, kind in (("fp32", SINGLE), ("fp16", HALF), ("bf16", BFLOAT16))
        ),
    )
}


def arithmetic_of(verifier: Verifier) -> Arithmetic:
    """What the verifier's HOLDS is about."""
    if isinstance(verifier, Deployed):
        return next(one for one in ARITHMETICS.values() if one.column == _COLUMNS[verifier.kind.name])
    return ARITHMETICS["float64-outward" if isinstance(verifier, Outward) else "real"]


def find_arithmetic(name: str) -> Arithmetic:
    """The arithmetic of this name; UnknownNameError lists the known ones."""
    if name not in ARITHMETICS:
        raise UnknownNameError.of("arithmetic", name, ARITHMETICS)
    return ARITHMETICS[name]
