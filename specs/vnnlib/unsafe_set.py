"""From the one conjunction of a file to clauses with boxes: the disjunctive normal form."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from robustbench_local.errors import EmptySetError, SpecError, UnboundedSetError

from ..sets import Box, box_within
from .formula import Bounds, Conjunction
from .property import Clause, VnnlibProperty
from .source import Source

__all__ = ["unsafe_set"]

_MOST_CLAUSES = 100_000
_MOST_NAMED = 5
_Parts = tuple[Conjunction, ...]
_Face = NDArray[np.float64]


class _Faces:
    """Faces (n,) of one clause's box: as written, and without the values that strict bounds exclude."""

    __slots__ = ("inner_lower", "inner_upper", "lower", "upper")

    def __init__(self, lower: _Face, upper: _Face, inner_lower: _Face, inner_upper: _Face) -> None:
        self.lower, self.upper = lower, upper
        self.inner_lower, self.inner_upper = inner_lower, inner_upper

    @classmethod
    def everything(cls, size: int) -> _Faces:
        low, high = np.full(size, -np.inf), np.full(size, np.inf)
        return cls(low, high, low, high)

    def within(self, part: Conjunction) -> _Faces:
        """The intersection with the bounds of one conjunction."""
        lower = _tighten(np.maximum, self.lower, part.lower)
        upper = _tighten(np.minimum, self.upper, part.upper)
        if self.inner_lower is self.lower and self.inner_upper is self.upper and not _is_open(part):
            return _Faces(lower, upper, lower, upper)
        inner_lower = _tighten(np.maximum, self.inner_lower, part.lower)
        inner_upper = _tighten(np.minimum, self.inner_upper, part.upper)
        for i, value in part.open_lower:
            inner_lower[i] = max(inner_lower[i], math.nextafter(value, math.inf))
        for i, value in part.open_upper:
            inner_upper[i] = min(inner_upper[i], math.nextafter(value, -math.inf))
        return _Faces(lower, upper, inner_lower, inner_upper)

    @property
    def empty(self) -> NDArray[np.bool_]:
        """Where no real number lies between the faces, (n,)."""
        closed = (self.lower == self.upper) & (self.inner_lower > self.inner_upper)
        return np.asarray((self.lower > self.upper) | closed, dtype=np.bool_)

    @property
    def key(self) -> bytes:
        """Equal for equal boxes."""
        digest = hashlib.blake2b(digest_size=16)
        same = self.inner_lower is self.lower and self.inner_upper is self.upper
        inner = () if same else (self.inner_lower, self.inner_upper)
        for face in (self.lower, self.upper, *inner):
            digest.update(face.tobytes())
        return digest.digest()


def unsafe_set(whole: Conjunction, inputs: int, outputs: int, source: Source) -> VnnlibProperty:
    """The clauses of the conjunction, each with its box.

    Raises EmptySetError (E-VACUOUS) where no clause has an input, UnboundedSetError (E-UNBOUND) where an
    input of a clause has no bound, SpecError (E-DNF) where there are more than 100,000 clauses.
    """
    count = _count(whole)
    if count > _MOST_CLAUSES:
        raise _coded(f"the unsafe set has {count:.2g} clauses, the limit is {_MOST_CLAUSES}", source)
    common = _Faces.everything(inputs).within(whole)
    known: dict[bytes, int] = {}
    boxes: list[_Faces] = []
    clauses: list[Clause] = []
    dropped: list[_Parts] = []
    for parts in _expand(whole):
        faces = common
        for part in parts[1:]:
            faces = faces.within(part) if part.bounds_inputs else faces
        if any(part.false_at is not None for part in parts) or bool(faces.empty.any()):
            dropped.append(parts)
            continue
        position = known.setdefault(faces.key if faces is not common else b"", len(boxes))
        if position == len(boxes):
            _check_faces(faces, source, parts[-1].offset)
            boxes.append(faces)
        clauses.append(Clause(position, tuple(dict.fromkeys(row for part in parts for row in part.rows))))
    notes = tuple(_notes(dropped, inputs, source))
    if not clauses:
        raise EmptySetError(
            f"the unsafe set is empty: {notes[0]}",
            where=source.name,
            cure="the property holds whatever the network is; check its signs",
        )
    return VnnlibProperty(source.name, inputs, outputs, _box(boxes), tuple(clauses), notes)


def _count(conjunction: Conjunction) -> int:
    return math.prod(sum(map(_count, choices)) for choices in conjunction.choices)


def _expand(conjunction: Conjunction) -> Iterator[_Parts]:
    """The clauses, each as the conjunctions that it joins."""
    if not conjunction.choices:
        yield (conjunction,)
        return
    *others, last = conjunction.choices
    heads: list[_Parts] = [(conjunction,)]
    for choices in others:
        tails = [parts for choice in choices for parts in _expand(choice)]
        heads = [head + tail for head in heads for tail in tails]
    for head in heads:
        for choice in last:
            for tail in _expand(choice):
                yield head + tail


def _tighten(pick: np.ufunc, face: _Face, bounds: Bounds) -> _Face:
    result: _Face = face.copy()
    index = np.frombuffer(bounds.index, dtype=np.int64)
    pick.at(result, index, np.frombuffer(bounds.value, dtype=np.float64))
    return result


def _is_open(part: Conjunction) -> bool:
    return bool(part.open_lower or part.open_upper)


def _box(boxes: list[_Faces]) -> Box:
    outer = (_stack(f.lower for f in boxes), _stack(f.upper for f in boxes))
    if all(f.inner_lower is f.lower and f.inner_upper is f.upper for f in boxes):
        return box_within(outer, outer)
    return box_within(outer, (_stack(f.inner_lower for f in boxes), _stack(f.inner_upper for f in boxes)))


def _stack(faces: Iterable[_Face]) -> torch.Tensor:
    return torch.from_numpy(np.stack(list(faces)))


def _check_faces(faces: _Faces, source: Source, offset: int) -> None:
    for name, face in (("lower", faces.lower), ("upper", faces.upper)):
        free = np.flatnonzero(np.isinf(face))
        if len(free):
            named = ", ".join(f"X_{i}" for i in free[:_MOST_NAMED])
            more = ", ..." if len(free) > _MOST_NAMED else ""
            what = f"no {name} bound of {named}{more} ({len(free)} of {len(face)} inputs)"
            cure = f"assert a {name} bound of every input"
            raise UnboundedSetError(what, where=_place(source, offset), cure=cure)
    bare = np.flatnonzero(faces.inner_lower > faces.inner_upper)
    if len(bare):
        low, high = float(faces.lower[bare[0]]), float(faces.upper[bare[0]])
        what = f"no float64 number lies in the interval of X_{bare[0]}, between {low!r} and {high!r}"
        raise EmptySetError(what, where=_place(source, offset), cure="widen the interval")


def _place(source: Source, offset: int) -> str:
    return f"{source.name}, clause at line {source.lines([offset])[0]}" if offset else source.name


def _notes(dropped: list[_Parts], inputs: int, source: Source) -> Iterator[str]:
    """One line for each of the first clauses without an input, with the lines that contradict each other."""
    for parts in dropped[:_MOST_NAMED]:
        false = next((part.false_at for part in parts if part.false_at is not None), None)
        if false is not None:
            yield f"a comparison of numbers is false (line {source.lines([false])[0]})"
            continue
        faces = _Faces.everything(inputs)
        for part in parts:
            faces = faces.within(part)
        i = int(np.flatnonzero(faces.empty)[0])
        low, low_at = _written([(p.lower, p.open_lower) for p in parts], i, faces.lower[i], ">")
        high, high_at = _written([(p.upper, p.open_upper) for p in parts], i, faces.upper[i], "<")
        low_line, high_line = source.lines([low_at, high_at])
        yield f"{low} (line {low_line}) contradicts {high} (line {high_line})"
    if len(dropped) > _MOST_NAMED:
        yield f"{len(dropped) - _MOST_NAMED} more clauses have no input"


def _written(
    found: list[tuple[Bounds, list[tuple[int, float]]]], index: int, value: float, sign: str
) -> tuple[str, int]:
    """The bound that gave the face its value, as text, and its offset."""
    strict = any((index, value) in excluded for _, excluded in found)
    for bounds, _ in found:
        for k, i in enumerate(bounds.index):
            if i == index and bounds.value[k] == value:
                return f"X_{index} {sign if strict else sign + '='} {float(value)!r}", bounds.offset[k]
    return f"X_{index}", 0


def _coded(what: str, source: Source) -> SpecError:
    error = SpecError(what, where=source.name, cure="split the property into several files")
    error.code = "E-DNF"
    return error
