"""The canonical text of properties: declarations, one a line, then one property a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from .expressions.base import spec_error
from .expressions.constants import Constant

__all__ = ["VERSION", "Claim", "canonical_text"]

VERSION = 1
"""Of the language's text; texts begin with it."""

_RANK = {"net": 0, "const": 2, "let": 3}  # order of declarations, by their first word; the rest is in between


@runtime_checkable
class Claim(Protocol):
    """What can stand in a text under one name: a property, a family of them, a claim about a share."""

    @property
    def declarations(self) -> Mapping[str, str]:
        """Name -> declaration line, of networks, values and constants."""
        ...

    @property
    def claims(self) -> Sequence[str]:
        """The claim without its declarations; of a family, one per member."""
        ...

    @property
    def family(self) -> bool:
        """Whether the claims are numbered members of one property."""
        ...

    @property
    def constants(self) -> Mapping[str, Constant]:
        """The constants that have declarations, by name."""
        ...


def canonical_text(
    props: Mapping[str, Claim], name: str = "", *, instead: Mapping[str, str] | None = None
) -> str:
    """The text that `parse_spec` reads back as these properties; a single one may have the name "".

    `instead`: declaration lines by name that take the place of the properties' own. Raises SpecError
    (E-PARAM) where one name is declared in two ways.
    """
    declared: dict[str, str] = {}
    changed = instead or {}
    lines: list[str] = []
    for prop, claim in props.items():
        for key, line in claim.declarations.items():
            if declared.setdefault(key, line) != line:
                cure = "rename it in one of the properties"
                raise spec_error("E-PARAM", f"{key!r} is declared twice: {declared[key]}, {line}", cure)
        if claim.family:
            lines += [f"prop {prop or 'main'}[{k}]: {text}" for k, text in enumerate(claim.claims)]
        else:
            lines += [f"prop {prop}: {text}" if prop else text for text in claim.claims]
    head = f"spec {name} v{VERSION}" if name else f"spec v{VERSION}"
    order = sorted(declared, key=lambda key: _RANK.get(declared[key].split(" ", 1)[0], 1))
    return "\n".join([head, *(changed.get(key, declared[key]) for key in order), *lines])
