"""Typed settings from a TOML table: every field is checked, and every error names the field."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, TypeVar, get_args, get_type_hints

from robustbench_local.errors import DataError, UnknownNameError

from .schedule import Schedule

__all__ = ["plain", "settings_from", "variant_from"]

T = TypeVar("T")


def settings_from(
    kind: type[T], table: Mapping[str, Any], *, where: str, ready: Mapping[str, object] | None = None
) -> T:
    """The dataclass `kind` filled from `table`; `where` names the table in errors.

    `ready` holds fields that are values already and pass unchecked.

    Fields may be int, float (a whole number is accepted), str, bool, tuple[float, ...], tuple[str, ...] or
    `Schedule` (a number, or pairs [epoch, value]). Raises `DataError` for an unknown key, a missing field,
    a value of the wrong type, or a value that the dataclass itself refuses.
    """
    hints = get_type_hints(kind)
    given = dict(ready or {})
    known = {field.name: field for field in fields(kind) if field.name not in given}  # type: ignore[arg-type]
    for key in table:
        if key not in known:
            raise DataError(str(UnknownNameError.of("field", key, known)), where=where)
    values = {
        name: _converted(table[name], hints[name], f"{where}, field {name!r}")
        for name, field in known.items()
        if name in table or _required(field, where)
    }
    try:
        return kind(**values, **given)
    except DataError as error:
        place = ", ".join(part for part in (where, error.where) if part)
        raise DataError(error.what, where=place, cure=error.cure) from error


def variant_from(kind: str, known: Mapping[str, type[T]], table: object, *, where: str) -> T:
    """One of several dataclasses: the table's own entry `kind` names which, the rest fills it.

    `kind` is the word for errors ("loss"). Raises `DataError` as `settings_from` does, and for a name that
    is not among `known`.
    """
    if not isinstance(table, Mapping) or not isinstance(table.get("kind"), str):
        raise DataError(f"the {kind} names no kind", where=where, cure=f"write kind = one of {sorted(known)}")
    if table["kind"] not in known:
        raise DataError(str(UnknownNameError.of(kind, table["kind"], known)), where=f"{where}, field 'kind'")
    rest = {key: value for key, value in table.items() if key != "kind"}
    return settings_from(known[table["kind"]], rest, where=where)


def plain(settings: object) -> Any:
    """`settings` as JSON-ready data that `settings_from` turns back into an equal value."""
    if isinstance(settings, Schedule):
        return [list(point) for point in settings.points]
    if isinstance(settings, tuple):
        return [plain(item) for item in settings]
    if is_dataclass(settings):
        return {field.name: plain(getattr(settings, field.name)) for field in fields(settings)}
    return settings


def _required(field: Field[Any], where: str) -> bool:
    if field.default is MISSING and field.default_factory is MISSING:
        raise DataError(f"the field {field.name!r} is missing", where=where)
    return False


def _converted(value: object, hint: Any, where: str) -> object:
    if hint is Schedule:
        return _schedule(value, where)
    if isinstance(hint, types.GenericAlias):
        if not isinstance(value, list):
            raise DataError(f"expected a list, got {value!r}", where=where)
        return tuple(_converted(item, get_args(hint)[0], where) for item in value)
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:  # type(), since True is an int for isinstance
        raise DataError(f"expected {hint.__name__}, got {value!r}", where=where)
    return value


def _schedule(value: object, where: str) -> Schedule:
    try:
        if type(value) in (int, float):
            return Schedule.constant(value)  # type: ignore[arg-type]
        if isinstance(value, list):
            return Schedule.through(value)
    except DataError as error:
        raise DataError(error.what, where=where, cure=error.cure) from error
    except (TypeError, ValueError) as error:
        raise DataError(f"no schedule: {value!r}", where=where, cure="write [[epoch, value], ...]") from error
    raise DataError(f"no schedule: {value!r}", where=where, cure="write a number or [[epoch, value], ...]")
