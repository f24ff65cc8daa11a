"""Boxes of many clauses at once, from the bounds that their literals give."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ..sets import Box, box_within
from .formula import SIGNS

__all__ = ["Columns", "Faces", "box_of"]

_Face = NDArray[np.float64]
Columns = tuple[NDArray[np.int8], NDArray[np.int64], NDArray[np.float64]]
"""Literals: codes of relations, positions, numbers."""

_BELOW = tuple(SIGNS.index(sign) for sign in ("<", "<=", "=="))
_ABOVE = tuple(SIGNS.index(sign) for sign in (">", ">=", "=="))


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """Faces (K, n) of K boxes: as written, and (inner) without the values that strict bounds exclude."""

    lower: _Face
    upper: _Face
    inner_lower: _Face
    inner_upper: _Face

    @classmethod
    def everything(cls, size: int) -> Faces:
        """One box without bounds."""
        low, high = np.full((1, size), -np.inf), np.full((1, size), np.inf)
        return cls(low, high, low, high)

    def within(self, columns: Columns, owner: NDArray[np.int64], count: int) -> Faces:
        """`count` boxes: the one box of self, each cut by its own literals.

        Literals come in columns (codes, positions, numbers), `owner` being the box of each. Even positions
        2 i bound input i; others are left out.
        """
        relation, position, value = columns
        size, bounds = self.lower.shape[1], position % 2 == 0
        relation, value = relation[bounds], value[bounds]
        place = owner[bounds] * size + position[bounds] // 2
        below, above = np.isin(relation, _BELOW), np.isin(relation, _ABOVE)
        lower = _tightened(np.maximum, self.lower, count, place[above], value[above])
        upper = _tightened(np.minimum, self.upper, count, place[below], value[below])
        open_above, open_below = relation == SIGNS.index(">"), relation == SIGNS.index("<")
        if self.closed and not open_above.any() and not open_below.any():
            return Faces(lower, upper, lower, upper)
        least = np.where(open_above, np.nextafter(value, np.inf), value)[above]
        most = np.where(open_below, np.nextafter(value, -np.inf), value)[below]
        inner_lower = _tightened(np.maximum, self.inner_lower, count, place[above], least)
        inner_upper = _tightened(np.minimum, self.inner_upper, count, place[below], most)
        return Faces(lower, upper, inner_lower, inner_upper)

    def at(self, index: list[int]) -> Faces:
        """The boxes at the index."""
        lower, upper = self.lower[index], self.upper[index]
        if self.closed:
            return Faces(lower, upper, lower, upper)
        return Faces(lower, upper, self.inner_lower[index], self.inner_upper[index])

    @property
    def empty(self) -> NDArray[np.bool_]:
        """Where no real number lies between the faces, (K, n)."""
        missed = self.lower > self.upper
        if not self.closed:
            missed |= (self.lower == self.upper) & (self.inner_lower > self.inner_upper)
        return missed

    def keys(self) -> Iterator[bytes]:
        """Per box, what is equal for equal boxes."""
        pairs = ((self.lower, self.inner_lower), (self.upper, self.inner_upper))
        for k in range(len(self.lower)):
            digest = hashlib.blake2b(digest_size=16)
            for outer, inner in pairs:
                digest.update(outer[k].tobytes())
                if inner is not outer and not np.array_equal(inner[k], outer[k]):
                    digest.update(inner[k].tobytes())
            yield digest.digest()

    @property
    def closed(self) -> bool:
        """Whether no bound is strict."""
        return self.inner_lower is self.lower and self.inner_upper is self.upper


def box_of(faces: list[Faces]) -> Box:
    """One batch of all boxes."""
    outer = _stack([f.lower for f in faces]), _stack([f.upper for f in faces])
    if all(f.closed for f in faces):
        return box_within(outer, outer)
    return box_within(outer, (_stack([f.inner_lower for f in faces]), _stack([f.inner_upper for f in faces])))


def _stack(faces: list[_Face]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate(faces))


def _tightened(pick: np.ufunc, face: _Face, count: int, place: NDArray[np.int64], value: _Face) -> _Face:
    result = np.repeat(face, count, axis=0)
    pick.at(result.reshape(-1), place, value)
    return result
