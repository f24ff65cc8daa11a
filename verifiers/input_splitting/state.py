"""What a search over inputs knows between two calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor

from robustbench_local.errors import SearchStateError
from robustbench_local.specs import Query

from ..graph import Graph
from .leaves import Leaves, Whole

__all__ = ["Course", "SplitState", "Tally"]


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """What is known of every sample, (B, ...), apart from its parts.

    axes (B, d): the coordinates that are cut. rows (B, m), upper (B,): bounds of the whole sets, complete
    (B,) where nothing cut these short. searched, certain (B,): whether there is a search, and whether there
    was no need to fear rounding. count, proved (B,): parts bounded so far, and when the sample was first
    proved. safe (B,), safe_rows (B, m): bounds of the parts that are done. points (B, *in), best (B,), broken
    (B,): the worst point met, the violation there, and whether it is a counterexample. gain (B, d), looked
    (B,): what cuts along the coordinates were worth, as in `Directions`.
    """

    axes: Tensor
    rows: Tensor
    upper: Tensor
    complete: Tensor
    searched: Tensor
    certain: Tensor
    count: Tensor
    proved: Tensor
    safe: Tensor
    safe_rows: Tensor
    points: Tensor
    best: Tensor
    broken: Tensor
    gain: Tensor
    looked: Tensor

    @staticmethod
    def of(graph: Graph, query: Query, most: int) -> Tally:
        """Before anything is known. most: how many coordinates are cut."""
        device = graph.like.device
        infinite = torch.full((query.batch,), torch.inf, dtype=torch.float64, device=device)
        rows = torch.full(query.d.shape, torch.inf, dtype=torch.float64, device=device)
        no = torch.zeros(query.batch, dtype=torch.bool, device=device)
        axes = Whole.of(query.inputs.box(), most, device).axes
        return Tally(
            axes=axes,
            rows=rows,
            upper=infinite,
            complete=~no,
            searched=no,
            certain=no,
            count=no.long(),
            proved=no.long(),
            safe=-infinite,
            safe_rows=-rows,
            points=query.inputs.centre().to(graph.like),
            best=-infinite,
            broken=no,
            gain=torch.zeros_like(axes, dtype=torch.float64),
            looked=no.long(),
        )

    def select(self, samples: Tensor) -> Tally:
        """That of some samples (b,)."""
        return Tally(*(getattr(self, f.name)[samples] for f in fields(self)))


@dataclass(frozen=True, slots=True)
class Course:
    """How the search proceeds: numbers of its `Bounding`, by way, and the seconds of its ascents."""

    way: int = 0
    calls: int = 0
    screened: int = 0
    passed: int = 0
    pauses: tuple[int, ...] = ()
    lost: tuple[int, ...] = ()
    spent: float = 0.0
    elapsed: float = 0.0

    def tensors(self) -> dict[str, Tensor]:
        """As tensors, exactly."""
        return {f.name: torch.tensor(getattr(self, f.name), dtype=torch.float64) for f in fields(self)}

    @staticmethod
    def restored(tensors: Mapping[str, Tensor]) -> Course:
        """From such tensors."""
        way, calls, screened, passed = (int(tensors[name]) for name in ("way", "calls", "screened", "passed"))
        pauses, lost = (tuple(int(x) for x in tensors[name].tolist()) for name in ("pauses", "lost"))
        return Course(
            way, calls, screened, passed, pauses, lost, float(tensors["spent"]), float(tensors["elapsed"])
        )


@dataclass(frozen=True, slots=True, eq=False)
class SplitState:
    """Where a search over inputs stopped.

    leaves: parts with bounds of their own that are not done; pending: halves that are to be bounded next,
    with the bounds of what they were cut from.
    """

    tally: Tally
    leaves: Leaves
    pending: Leaves
    course: Course = field(default_factory=Course)

    @property
    def batch(self) -> int:
        """The number of samples, B."""
        return self.tally.count.shape[0]

    @property
    def open(self) -> int:
        """How many parts are not done."""
        return len(self.leaves) + len(self.pending)

    def select(self, samples: Tensor) -> SplitState:
        """That of some samples (b,), none twice."""
        samples = samples.to(self.tally.count.device)
        place = torch.full_like(self.tally.count, -1)
        place[samples] = torch.arange(len(samples), device=place.device)
        leaves, pending = (_kept(part, place) for part in (self.leaves, self.pending))
        return replace(self, tally=self.tally.select(samples), leaves=leaves, pending=pending)

    def starts(self, query: Query, count: int) -> Tensor:
        """Middles (B, count, *in) of every sample's worst parts; where there are fewer, its worst point."""
        tally, leaves = self.tally, self.leaves.joined(self.pending)
        leaves = leaves.select(leaves.value.argsort(descending=True, stable=True))
        leaves = leaves.select(leaves.owner.argsort(stable=True))
        place = torch.arange(len(leaves), device=leaves.owner.device)
        rank = place - torch.searchsorted(leaves.owner, leaves.owner)
        leaves, rank = leaves.select(rank < count), rank[rank < count]
        found = tally.points.unsqueeze(1).repeat(1, count, *(1,) * (tally.points.dim() - 1))
        if len(leaves):
            whole = Whole.along(query.inputs.box(), tally.axes)
            box = whole.boxes(leaves, tuple(tally.points.shape[1:]))
            found[leaves.owner, rank] = box.centre().to(found)
        return found

    def tensors(self) -> dict[str, Tensor]:
        """All of it, by name."""
        found = {f"course.{name}": value for name, value in self.course.tensors().items()}
        for group, part in (("tally", self.tally), ("leaves", self.leaves), ("pending", self.pending)):
            found.update({f"{group}.{f.name}": getattr(part, f.name) for f in fields(part)})
        return found

    @staticmethod
    def restored(graph: Graph, query: Query, tensors: Mapping[str, Tensor], most: int) -> SplitState:
        """The state of these tensors; SearchStateError where they do not fit graph and query."""
        device = graph.like.device
        try:
            moved = {name: value.to(device) for name, value in tensors.items()}
            like = Tally.of(graph, query, most)
            axes = _axes(moved["tally.axes"], query)
            like = replace(like, axes=axes, gain=torch.zeros_like(axes, dtype=torch.float64))
            leaf = Leaves.none(like.rows, like.axes)
            tally = Tally(*(_like(moved[f"tally.{f.name}"], getattr(like, f.name), 0) for f in fields(like)))
            leaves, pending = (
                Leaves(*(_like(moved[f"{group}.{f.name}"], getattr(leaf, f.name), 1) for f in fields(leaf)))
                for group in ("leaves", "pending")
            )
            for part in (leaves, pending):
                _check_parts(part, query.batch)
            course = Course.restored({n.removeprefix("course."): v for n, v in tensors.items()})
        except (KeyError, ValueError) as error:
            raise SearchStateError(f"the state is of no search over these inputs: {error}") from error
        return SplitState(tally, leaves, pending, course)


def _kept(leaves: Leaves, place: Tensor) -> Leaves:
    """The leaves of the samples that have a new place (B,), under their new numbers."""
    owner = place[leaves.owner]
    return replace(leaves, owner=owner).select(owner >= 0)


def _like(value: Tensor, like: Tensor, first: int) -> Tensor:
    """The value, if dtype and axes from `first` on are those of `like`; ValueError otherwise."""
    if value.dtype != like.dtype or value.shape[first:] != like.shape[first:] or value.dim() != like.dim():
        raise ValueError(f"a tensor of shape {tuple(value.shape)} where {tuple(like.shape)} is expected")
    return value


def _axes(axes: Tensor, query: Query) -> Tensor:
    """The coordinates (B, d) that are cut; ValueError where they are none of the query's."""
    size = query.inputs.box().lower[0].numel()
    if axes.dtype != torch.int64 or axes.dim() != 2 or axes.shape[0] != query.batch or axes.shape[1] == 0:
        raise ValueError(f"axes of shape {tuple(axes.shape)} for {query.batch} problems")
    if not 0 <= int(axes.min()) <= int(axes.max()) < size:
        raise ValueError(f"axes outside the {size} inputs")
    return axes


def _check_parts(part: Leaves, batch: int) -> None:
    """ValueError where the parts have no bounds, or belong to problems that are not there."""
    if any(len(getattr(part, f.name)) != len(part) for f in fields(part)):
        raise ValueError("parts without bounds")
    if len(part) and not 0 <= int(part.owner.min()) <= int(part.owner.max()) < batch:
        raise ValueError("parts of problems that are not there")
