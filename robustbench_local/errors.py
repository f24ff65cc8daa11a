"""Every exception of the suite: what is wrong, where, and how to cure it.

All of them derive from `RobustBenchError`, so a caller can catch one type, and also from the
built-in exception they resemble, so that code written against the built-ins keeps working.
This module imports nothing of the project.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from types import MappingProxyType

__all__ = [
    "CODES",
    "CheckpointError",
    "DataError",
    "DeviceError",
    "DtypeError",
    "EmptySetError",
    "GateError",
    "GraphError",
    "LabelError",
    "LocatedError",
    "MissingPackageError",
    "NonFiniteError",
    "RadiusError",
    "ResultsError",
    "RobustBenchError",
    "SearchStateError",
    "ShapeError",
    "SoundnessAlarm",
    "SpecError",
    "SpecErrors",
    "SpecWarning",
    "SymbolicBoolError",
    "UnboundedSetError",
    "UnknownNameError",
    "UnsupportedOpError",
    "WeightsError",
]


CODES: Mapping[str, str] = MappingProxyType(
    {
        "E-ALT": "A quantifier inside another one. Alternation is decided by no engine here.",
        "E-DIV": "A division by a constant 0; as a warning: by a term whose interval holds 0.",
        "E-DNF": "Too many cases: clauses of a violation or cells of a domain.",
        "E-EQ": "A warning: the violation asks for equality of real numbers, which no attack can hit.",
        "E-EXPORT": "A property that the file format cannot hold; it is refused, never approximated.",
        "E-NONLIN": "A term where only a plainer one can stand (exponents, unions, VNN-LIB 1.0 files).",
        "E-PARAM": "A name that is missing, unknown, taken twice or no identifier.",
        "E-PARSE": "Text that does not follow its format's grammar; with file, line and column.",
        "E-PREC": "`&` or `|` beside a comparison without parentheses: it binds tighter than `<=`.",
        "E-TRIVIAL": "A property that nothing could violate: its negation contradicts itself.",
        "E-UNIT": "A sum or comparison of quantities in different units.",
    }
)
"""What the codes say that no class of its own has; such errors are `SpecError`s (or `SpecWarning`s)."""


class RobustBenchError(Exception):
    """Base of all errors: `what` went wrong, `where` (a node, file, argument) and the `cure`.

    `str(error)` is one line: "what (where). Cure." The three parts stay available as attributes
    so that a command line or a JSON report can show them apart. `code` is a stable short name.
    """

    code = "E-ERROR"

    def __init__(self, what: str, *, where: str | None = None, cure: str | None = None) -> None:
        self.what = what
        self.where = where
        self.cure = cure
        place = f" ({where})" if where else ""
        fix = f". {cure[0].upper()}{cure[1:]}" if cure else ""
        super().__init__(f"{what}{place}{fix}")

    def __str__(self) -> str:  # KeyError's own __str__ would print the repr
        return str(self.args[0])

    def as_dict(self) -> dict[str, object]:
        """The error as plain JSON-ready fields: code, what, where, cure."""
        return {"code": self.code, "what": self.what, "where": self.where, "cure": self.cure}


class SpecError(RobustBenchError, ValueError):
    """A specification that cannot be built, bound or lowered."""

    code = "E-SPEC"


class SpecWarning(UserWarning):
    """Something in a specification that is allowed and hardly meant; `code`, `what`, `cure` as in errors."""

    def __init__(self, code: str, what: str, *, cure: str) -> None:
        self.code, self.what, self.cure = code, what, cure
        super().__init__(f"{what}. {cure[0].upper()}{cure[1:]} [{code}]")


class LocatedError(SpecError):
    """An error at a place of a text; `code` says which kind: E-PARSE, E-NAME, E-SHAPE, ...

    `line` and `column` count characters from 1; `source` is the line, `length` how many characters are meant.
    """

    def __init__(
        self,
        what: str,
        *,
        code: str,
        name: str,
        place: tuple[int, int],
        source: str = "",
        length: int = 1,
        cure: str | None = None,
    ) -> None:
        self.code = code
        self.name, (self.line, self.column) = name, place
        self.source, self.length = source, length
        super().__init__(what, where=f"{name}:{self.line}:{self.column}", cure=cure)

    @property
    def excerpt(self) -> str:
        """The line, or the part of it around the place, and a caret below."""
        first = max(0, self.column - 60) if len(self.source) > 100 else 0
        shown = self.source[first : first + 100].replace("\t", " ")
        marks = max(1, min(self.length, len(shown) - (self.column - 1 - first)))
        return f"    {shown}\n    {' ' * (self.column - 1 - first)}{'^' * marks}"

    def as_dict(self) -> dict[str, object]:
        """The plain fields of every error, and file, line, column and source."""
        place = {"file": self.name, "line": self.line, "column": self.column, "source": self.source}
        return {**super().as_dict(), **place}


class SpecErrors(SpecError):
    """Everything that is wrong with a specification, at once: `errors`, at least one, in order."""

    def __init__(self, errors: Sequence[RobustBenchError]) -> None:
        self.errors = tuple(errors)
        alone = self.errors[0] if len(self.errors) == 1 else None
        self.code = alone.code if alone else SpecError.code
        listed = "; ".join(f"{n}) {error}" for n, error in enumerate(self.errors, 1))
        super().__init__(str(alone) if alone else f"{len(self.errors)} problems: {listed}")

    @property
    def report(self) -> str:
        """One paragraph per error: place, code, what is wrong, the cure; then the line with a caret."""
        return "\n".join(_paragraph(error) for error in self.errors)

    def as_dict(self) -> dict[str, object]:
        """The plain fields, and under "errors" those of every single error."""
        return {**super().as_dict(), "errors": [error.as_dict() for error in self.errors]}


def _paragraph(error: RobustBenchError) -> str:
    cure = f". {error.cure[0].upper()}{error.cure[1:]}" if error.cure else ""
    head = f"{error.where}: " if error.where else ""
    text = f"{head}{error.code}: {error.what}{cure}"
    return f"{text}\n{error.excerpt}" if isinstance(error, LocatedError) else text


class SymbolicBoolError(SpecError, TypeError):
    """Python asked a symbolic value for its truth: a chained comparison, `and`, `not`, `in`."""

    code = "E-BOOL"


class ShapeError(RobustBenchError, ValueError):
    """Two shapes that must agree do not; the message names both."""

    code = "E-SHAPE"


class DtypeError(RobustBenchError, TypeError):
    """A tensor of a type the operation cannot take (integers where reals are needed)."""

    code = "E-DTYPE"


class LabelError(RobustBenchError, IndexError):
    """A class label outside the network's range of classes."""

    code = "E-INDEX"


class RadiusError(RobustBenchError, ValueError):
    """A radius (eps) that is negative, infinite or not a number."""

    code = "E-RADIUS"


class EmptySetError(RobustBenchError, ValueError):
    """An input set without a point (lower above upper, ball outside its box)."""

    code = "E-VACUOUS"


class UnboundedSetError(RobustBenchError, ValueError):
    """An input set that reaches infinity in some coordinate."""

    code = "E-UNBOUND"


class NonFiniteError(RobustBenchError, ValueError):
    """NaN or infinity in weights, inputs or settings."""

    code = "E-FINITE"


class GraphError(RobustBenchError, RuntimeError):
    """A network that cannot be turned into a graph."""

    code = "E-GRAPH"


class UnsupportedOpError(RobustBenchError, NotImplementedError):
    """An operation without a bound rule; the message names the node and lists what is supported."""

    code = "E-OP"


class MissingPackageError(RobustBenchError, ImportError):
    """An optional package that is not installed; the cure is the command that installs it."""

    code = "E-PACKAGE"


class UnknownNameError(RobustBenchError, KeyError):
    """A name (model, spec, attack, verifier, recipe, data set) that no registry holds."""

    code = "E-NAME"

    @classmethod
    def of(cls, kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
        """The error for an unknown `name` of a `kind`, with the nearest known names as the cure."""
        names = sorted(known)
        near = get_close_matches(name, names, n=3)
        hint = f"did you mean {' or '.join(repr(n) for n in near)}? " if near else ""
        return cls(f"unknown {kind} {name!r}", cure=f"{hint}Known: {', '.join(names) or 'none'}")


class DataError(RobustBenchError, FileNotFoundError):
    """A data or configuration file that is missing or does not hold what it should."""

    code = "E-DATA"


class WeightsError(RobustBenchError, ValueError):
    """A weights file that is missing, broken, or does not fit its model or its recorded hash."""

    code = "E-WEIGHTS"


class GateError(RobustBenchError, ValueError):
    """Trained weights that do not reach the quality gate of their row of the zoo."""

    code = "E-GATE"


class CheckpointError(RobustBenchError, ValueError):
    """A training checkpoint that cannot be resumed from."""

    code = "E-CHECKPOINT"


class SearchStateError(RobustBenchError, ValueError):
    """A saved search that is broken, or of another model, property or setting."""

    code = "E-STATE"


class ResultsError(RobustBenchError, ValueError):
    """A results file that is broken or was written by an incompatible version."""

    code = "E-RESULTS"


class DeviceError(RobustBenchError, RuntimeError):
    """A compute device that does not exist or cannot be used."""

    code = "E-DEVICE"


class SoundnessAlarm(RobustBenchError, RuntimeError):
    """A verifier and an attack contradict each other: some engine is wrong, the run must stop."""

    code = "E-ALARM"
