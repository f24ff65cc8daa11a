"""Ready properties by name around the images of a data set, with their settings given as text."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch

from robustbench_local.errors import SpecError, UnknownNameError
from robustbench_local.specs import SPECS, Data, Param, Spec

__all__ = ["NORMS", "parse_settings", "ready_spec"]

NORMS: Mapping[str, float] = {"linf": float("inf"), "l2": 2.0, "l1": 1.0}
"""Name of a norm -> its p."""


def ready_spec(
    name: str,
    shape: tuple[int, ...],
    outputs: int,
    *,
    norm: str,
    known: Mapping[str, object],
    settings: Mapping[str, object],
) -> tuple[Spec, dict[str, object]]:
    """The property `name` of one network, and what its query binds.

    shape and outputs: of one sample. norm: "linf", "l2" or "l1". known: values that a data set gives (x0,
    c) and the radius eps, used where the property has such a value. settings: arguments of the property's
    function and values that it leaves open, by name. Raises UnknownNameError for a name that there is not,
    SpecError for a property that is about something else or lacks a value.
    """
    if norm not in NORMS:
        raise UnknownNameError.of("norm", norm, NORMS)
    spec, left = _built(name, shape, outputs, norm, settings)
    if len(spec.nets) > 1:
        raise SpecError(
            f"property {name!r} speaks of {len(spec.nets)} networks: {', '.join(spec.nets)}",
            cure=f'use Python: rbl.verify({{"{next(iter(spec.nets))}": .., ..}}, spec, values={{..}})',
        )
    if "x0" not in spec.slots:
        raise SpecError(
            f"property {name!r} is not about a point of a data set",
            cure="use Python: rbl.verify(model, spec, values={..})",
        )
    wrong = [key for key in left if key not in spec.slots]
    if wrong:
        raise UnknownNameError.of("setting", wrong[0], [*_arguments(SPECS[name])[2:], *spec.slots])
    values = {key: value for key, value in known.items() if key in spec.slots}
    for key, value in left.items():  # data are real, however they are written
        values[key] = _real(value) if isinstance(spec.slots[key], Data) else value
    missing = [key for key, slot in spec.slots.items() if key not in values and not _has_default(slot)]
    if missing:
        raise SpecError(f"property {name!r} lacks {', '.join(missing)}", cure=_set(missing))
    return spec, values


def parse_settings(texts: Iterable[str]) -> dict[str, object]:
    """{"k": 3, "size": (2, 2)} of ["k=3", "size=2,2"]: whole numbers, numbers, words, tuples of these.

    Raises SpecError for text that is no NAME=VALUE.
    """
    found: dict[str, object] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (equals and name.strip().isidentifier() and value.strip()):
            raise SpecError(f"{text!r} is no setting", where="--set", cure="write NAME=VALUE, e.g. k=3")
        parts = [_parsed(part.strip()) for part in value.split(",") if part.strip()]
        found[name.strip()] = parts[0] if "," not in value else tuple(parts)
    return found


def _built(
    name: str, shape: tuple[int, ...], outputs: int, norm: str, settings: Mapping[str, object]
) -> tuple[Spec, dict[str, object]]:
    """The property, and the settings that are no arguments of its function."""
    if name not in SPECS:
        raise UnknownNameError.of("spec", name, SPECS)
    build = SPECS[name]
    parameters = inspect.signature(build).parameters
    names = list(parameters)
    if names[:1] != ["shape"] or names[1:2] not in (["classes"], ["outputs"]):
        raise SpecError(
            f"property {name!r} is built from {', '.join(names) or 'nothing'}, not from images and classes",
            cure="use Python: rbl.verify(model, spec, values={..})",
        )
    options: dict[str, Any] = {key: value for key, value in settings.items() if key in names[2:]}
    if "p" in parameters:
        options["p"] = NORMS[norm]
    elif norm != "linf":
        raise SpecError(f"property {name!r} has no norm to choose", cure="leave --norm out")
    missing = [
        key for key in names[2:] if parameters[key].default is inspect.Parameter.empty and key not in options
    ]
    if missing:
        raise SpecError(f"property {name!r} lacks {', '.join(missing)}", cure=_set(missing))
    try:
        spec = build(shape, outputs, **options)
    except (TypeError, AttributeError) as error:  # a setting of a type that the function does not take
        raise SpecError(f"property {name!r} cannot be built: {error}", where="--set") from error
    return spec, {key: value for key, value in settings.items() if key not in options}


def _arguments(build: Callable[..., Spec]) -> Sequence[str]:
    return list(inspect.signature(build).parameters)


def _has_default(slot: object) -> bool:
    return isinstance(slot, Param) and slot.default is not None


def _real(value: object) -> object:
    if isinstance(value, tuple):
        return torch.tensor([float(part) for part in value], dtype=torch.float64)
    return float(value) if isinstance(value, int) else value


def _set(names: Sequence[str]) -> str:
    return "give " + " ".join(f"--set {name}=.." for name in names)


def _parsed(text: str) -> object:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text.lower(), text)
