"""From the one formula of a file to clauses with boxes: the disjunctive normal form."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from robustbench_local.errors import EmptySetError, SpecError, UnboundedSetError

from .conjunctions import Conjunction, Renumber, resolve
from .faces import Columns, Faces, box_of
from .formula import SIGNS, AllOf, Literals, Table
from .linear import rows_of
from .property import VnnlibProperty
from .rows import Clause, Row
from .source import Source, coded

__all__ = ["unsafe_set"]

_MOST_CLAUSES = 100_000
_MOST_NAMED = 5
_BLOCK = 1 << 18  # numbers in the faces of one block of clauses
_Parts = tuple[Conjunction, ...]


def unsafe_set(
    whole: AllOf, inputs: int, outputs: int, source: Source, renumber: Renumber | None = None
) -> VnnlibProperty:
    """The clauses of the formula, each with its box. `renumber`: positions -> 2 i for X_i, 2 i + 1 for Y_i.

    Raises EmptySetError (E-VACUOUS) where no clause has an input, UnboundedSetError (E-UNBOUND) where an
    input of a clause has no bound, SpecError where there are more than 100,000 clauses (E-DNF) or a
    comparison is not linear (E-NONLIN).
    """
    resolved = resolve(whole, source.fail_at, renumber)
    count = _count(resolved)
    if count > _MOST_CLAUSES:
        what = f"the unsafe set has {count:.2g} clauses, the limit is {_MOST_CLAUSES}"
        cure = "split the property into several files"
        raise coded(SpecError(what, where=source.name, cure=cure), "E-DNF")
    collector = _Collector(resolved, inputs, source)
    parts = _expand(resolved)
    while block := list(islice(parts, max(1, min(4096, _BLOCK // inputs)))):
        collector.add(block)
    notes = tuple(_notes(collector.dropped, inputs, source))
    if not collector.clauses:
        raise EmptySetError(
            f"the unsafe set is empty: {notes[0]}",
            where=source.name,
            cure="the property holds whatever the network is; check its signs",
        )
    return VnnlibProperty(
        source.name, inputs, outputs, box_of(collector.boxes), tuple(collector.clauses), notes
    )


class _Collector:
    """The clauses so far and their distinct boxes; `dropped` are those without an input."""

    def __init__(self, whole: Conjunction, inputs: int, source: Source) -> None:
        self.clauses: list[Clause] = []
        self.boxes: list[Faces] = []
        self.dropped: list[_Parts] = []
        columns, owner = _columns([whole.literals])
        self._common = Faces.everything(inputs).within(columns, owner, 1)
        self._common_rows = [*_literal_rows(columns, owner, 1)[0], *whole.rows]
        self._positions: dict[bytes, int] = {}
        self._source = source

    def add(self, block: Sequence[_Parts]) -> None:
        """Takes up clauses, each as the conjunctions that it joins; the first is that of the file."""
        columns, owner = _columns([[own for part in parts[1:] for own in part.literals] for parts in block])
        bounded = np.unique(owner[columns[1] % 2 == 0])  # the clauses with bounds of their own
        place = np.full(len(block), -1)
        place[bounded] = np.arange(len(bounded))
        used = place[owner] >= 0
        some = columns[0][used], columns[1][used], columns[2][used]
        cut = self._common.within(some, place[owner][used], len(bounded))
        empty = np.append(cut.empty.any(axis=1), self._common.empty.any()).tolist()  # the last for place -1
        keys = [*cut.keys(), b""]
        rows = _literal_rows(columns, owner, len(block))
        new: list[int] = []
        for parts, own_rows, k in zip(block, rows, place.tolist(), strict=True):
            if empty[k] or any(part.false_at is not None for part in parts):
                self.dropped.append(parts)
                continue
            known = len(self._positions)
            position = self._positions.setdefault(keys[k], known)
            if position == known:
                new.append(k)
            distinct = dict.fromkeys([*self._common_rows, *own_rows, *(r for p in parts[1:] for r in p.rows)])
            self.clauses.append(Clause(position, tuple(distinct)))
        self._keep(cut, new, [block[k] for k in bounded.tolist()])

    def _keep(self, cut: Faces, new: list[int], owners: list[_Parts]) -> None:
        """Adds the boxes of `cut` that are new, in their order; -1 is the box of the file."""
        ends = [new.index(-1), new.index(-1) + 1] if -1 in new else []
        for begin, end in zip([0, *ends], [*ends, len(new)], strict=True):
            chosen = new[begin:end]
            if chosen:
                faces = self._common if chosen == [-1] else cut.at(chosen)
                self._check(faces, [() if k < 0 else owners[k] for k in chosen])
                self.boxes.append(faces)

    def _check(self, faces: Faces, clauses: list[_Parts]) -> None:
        """An error where a box of one of the clauses has an infinite face, or no float64 number inside."""
        for name, face in (("lower", faces.lower), ("upper", faces.upper)):
            free = np.isinf(face)
            if free.any():
                k = int(free.any(axis=1).argmax())
                inputs = np.flatnonzero(free[k])
                named = ", ".join(f"X_{i}" for i in inputs[:_MOST_NAMED])
                more = ", ..." if len(inputs) > _MOST_NAMED else ""
                what = f"no {name} bound of {named}{more} ({len(inputs)} of {face.shape[1]} inputs)"
                cure = f"assert a {name} bound of every input"
                raise UnboundedSetError(what, where=self._place(clauses[k]), cure=cure)
        if faces.closed:
            return
        bare = faces.inner_lower > faces.inner_upper
        if bare.any():
            k, i = (int(axis[0]) for axis in np.nonzero(bare))
            low, high = float(faces.lower[k, i]), float(faces.upper[k, i])
            what = f"no float64 number lies in the interval of X_{i}, between {low!r} and {high!r}"
            raise EmptySetError(what, where=self._place(clauses[k]), cure="widen the interval")

    def _place(self, parts: _Parts) -> str:
        name = self._source.name
        return f"{name}, clause at line {self._source.lines([parts[-1].offset])[0]}" if parts else name


def _columns(groups: Sequence[Sequence[Literals]]) -> tuple[Columns, NDArray[np.int64]]:
    """All literals of the groups in columns, and the group of each."""
    blocks = [Table().columns, *(block.columns for group in groups for block in group)]
    sizes = [sum(map(len, group)) for group in groups]
    codes, positions, values, _ = (np.concatenate(column) for column in zip(*blocks, strict=True))
    return (codes, positions, values), np.repeat(np.arange(len(groups)), sizes)


def _literal_rows(columns: Columns, owner: NDArray[np.int64], count: int) -> list[list[Row]]:
    """The rows of each group's literals of outputs."""
    rows: list[list[Row]] = [[] for _ in range(count)]
    odd = columns[1] % 2 == 1
    for code, position, value, k in zip(*(c[odd].tolist() for c in (*columns, owner)), strict=True):
        rows[k].extend(rows_of(SIGNS[code], [(position // 2, 1.0)], -value))
    return rows


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


def _notes(dropped: list[_Parts], inputs: int, source: Source) -> Iterator[str]:
    """One line for each of the first clauses without an input, with the lines that contradict each other."""
    for parts in dropped[:_MOST_NAMED]:
        false = next((part.false_at for part in parts if part.false_at is not None), None)
        if false is not None:
            yield f"a comparison of numbers is false (line {source.lines([false])[0]})"
            continue
        literals = [block for part in parts for block in part.literals]
        faces = Faces.everything(inputs).within(*_columns([literals]), 1)
        i = int(np.flatnonzero(faces.empty[0])[0])
        low, low_at = _written(literals, i, faces.lower[0, i], ">")
        high, high_at = _written(literals, i, faces.upper[0, i], "<")
        low_line, high_line = source.lines([low_at, high_at])
        yield f"{low} (line {low_line}) contradicts {high} (line {high_line})"
    if len(dropped) > _MOST_NAMED:
        yield f"{len(dropped) - _MOST_NAMED} more clauses have no input"


def _written(blocks: Sequence[Literals], index: int, value: float, sign: str) -> tuple[str, int]:
    """The bound that gave the face its value, as text, and its offset; a strict one if there is one."""
    for signs in ((sign,), (f"{sign}=", "==")):
        codes = [SIGNS.index(s) for s in signs]
        for block in blocks:
            found = np.isin(block.relation, codes) & (block.position == 2 * index) & (block.value == value)
            if found.any():
                return f"X_{index} {signs[0]} {float(value)!r}", int(block.offset[found][0])
    return f"X_{index}", 0
