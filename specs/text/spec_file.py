"""What a text says: properties by name, and the text that says the same in canonical form."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from robustbench_local.errors import LocatedError, SpecError, UnknownNameError

from ..aggregates import ChanceClaim, Every, RateClaim
from ..expressions.constants import Constant
from ..group_shares import GroupClaim
from ..printing import canonical_text
from ..spec import Spec

__all__ = ["Prop", "SpecFile"]

Prop = Spec | Every | RateClaim | GroupClaim | ChanceClaim
"""What a text can call a property."""


@dataclass(frozen=True, eq=False, repr=False)
class SpecFile(Mapping[str, Prop]):
    """Properties by name, in the order of the text; read by `parse_spec` and `read_spec`.

    `name` is that of the text's first line, "" if there is none. `warnings` are of things that are
    declared and not used.
    """

    name: str
    props: Mapping[str, Prop]
    warnings: tuple[LocatedError, ...] = ()

    def __getitem__(self, name: str) -> Prop:
        if name not in self.props:
            raise UnknownNameError.of("property", name, self.props)
        return self.props[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.props)

    def __len__(self) -> int:
        return len(self.props)

    def __repr__(self) -> str:
        return f"SpecFile({self.name!r}, {', '.join(self.props)})"

    @property
    def only(self) -> Spec:
        """The property of a text that has one, made by forall or exists; SpecError for other texts."""
        first = next(iter(self.props.values()))
        if len(self.props) > 1 or not isinstance(first, Spec):
            raise SpecError(
                f"the text has {len(self.props)} properties or families: {', '.join(self.props)}",
                cure="choose one by name: file[NAME]",
            )
        return first

    @property
    def text(self) -> str:
        """Canonical text: comments, `let`s and unused declarations are gone, the meaning is the same."""
        return canonical_text(self.props, self.name)

    @property
    def id(self) -> str:
        """sha256 of the text, in hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def arrays(self) -> Mapping[str, Constant]:
        """sha256 -> the constants whose numbers are too many to stand in the text."""
        found = (c for claim in self.props.values() for c in claim.constants.values())
        return {constant.digest: constant for constant in found if not constant.small}
