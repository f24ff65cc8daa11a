"""Ready properties by name, and where each stands in the catalogue of property kinds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

from robustbench_local.errors import SpecError

from ..spec import Spec

__all__ = ["FORMS", "KINDS", "SPECS", "Kind", "spec"]

_Factory = TypeVar("_Factory", bound=Callable[..., Spec])
_SPECS: dict[str, Callable[..., Spec]] = {}
_KINDS: dict[str, Kind] = {}

FORMS: Mapping[str, str] = MappingProxyType(
    {
        "L": "linear: affine in the network's outputs, under AND and OR",
        "N": "nonlinear terms around the network",
        "R": "relational: several evaluations or several networks",
        "E": "existential: some point of the domain",
        "F": "a finite or non-convex domain",
    }
)
"""What the letters of a kind's form mean."""

SPECS: Mapping[str, Callable[..., Spec]] = MappingProxyType(_SPECS)
"""Ready specs by name: functions from shapes to a Spec."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Where a ready property belongs: `numbers` in the catalogue, `form` as letters of `FORMS`, and `suits`,
    the models it is about.
    """

    numbers: tuple[int, ...] = ()
    form: str = ""
    suits: str = "any network"


KINDS: Mapping[str, Kind] = MappingProxyType(_KINDS)
"""Name of a ready spec -> its kind."""


def spec(
    name: str, *, numbers: tuple[int, ...] = (), form: str = "", suits: str = "any network"
) -> Callable[[_Factory], _Factory]:
    """Enter a function that returns a Spec into `SPECS` under `name`, and what it is into `KINDS`.

    numbers, form, suits: as in `Kind`. Raises SpecError for a name that is taken or a letter that is none.
    """
    if name in _SPECS:
        raise SpecError(f"the spec name {name!r} is taken")
    if not set(form) <= set(FORMS):
        raise SpecError(f"the spec {name!r} has the form {form!r}", cure=f"letters: {', '.join(FORMS)}")

    def register(factory: _Factory) -> _Factory:
        _SPECS[name] = factory
        _KINDS[name] = Kind(numbers, form, suits)
        return factory

    return register
