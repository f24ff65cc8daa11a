"""The ledger of a search: what it knows of the samples at work, at rest, and finished with."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from .passes import along

__all__ = ["Ledger", "Samples"]


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """What a search knows of b samples; every field has one row for each."""

    rows: Tensor  # (b,) their places in the whole batch
    keys: Tensor  # (b,) of their random numbers
    points: Tensor  # (b, *shape) best so far
    violation: Tensor  # (b,) float64, there
    broken: Tensor  # (b,) bool: violated beyond doubt
    finite: Tensor  # (b,) bool: nothing but finite numbers so far
    steered: Tensor  # (b,) bool: some gradient was not zero
    passes: Tensor  # (b, 2) int64, forwards and backwards counted to their account so far

    @classmethod
    def begin(cls, points: Tensor, keys: Tensor) -> Samples:
        """Samples that start at points (b, *shape)."""
        batch, device = points.shape[0], points.device
        return cls(
            rows=torch.arange(batch, device=device),
            keys=keys,
            points=points,
            violation=torch.full((batch,), -torch.inf, dtype=torch.float64, device=device),
            broken=torch.zeros(batch, dtype=torch.bool, device=device),
            finite=torch.ones(batch, dtype=torch.bool, device=device),
            steered=torch.zeros(batch, dtype=torch.bool, device=device),
            passes=torch.zeros((batch, 2), dtype=torch.int64, device=device),
        )

    def select(self, index: Tensor) -> Samples:
        """The samples at a long or bool index."""
        index = index.nonzero().flatten() if index.dtype == torch.bool else index
        return Samples(
            self.rows[index],
            self.keys[index],
            self.points.index_select(0, index),  # several times as fast as by []
            self.violation[index],
            self.broken[index],
            self.finite[index],
            self.steered[index],
            self.passes[index],
        )

    def charged(self, forwards: int, backwards: int) -> Samples:
        """The samples with passes added that all of them took part in."""
        return replace(self, passes=self.passes + self.passes.new_tensor([forwards, backwards]))

    def merged(self, others: Samples) -> Samples:
        """These and others, in the order of their places."""
        order = torch.cat([self.rows, others.rows]).argsort()
        both = ((getattr(self, part.name), getattr(others, part.name)) for part in fields(self))
        return Samples(*(torch.cat(pair)[order] for pair in both))


class Ledger:
    """The books of one search over B samples: those at work (`live`), those at rest, and what is settled.

    points (B, *shape), passes (B, 2), finite, steered and complete (B,) hold for all once `close` is called.
    """

    def __init__(self, points: Tensor, keys: Tensor) -> None:
        """All samples are at work, and start at points (B, *shape)."""
        batch, device = points.shape[0], points.device
        self.live = Samples.begin(points, keys)
        self.points = points.clone()
        self.passes = torch.zeros((batch, 2), dtype=torch.int64, device=device)
        self.finite, self.complete = torch.ones((2, batch), dtype=torch.bool, device=device)
        self.steered = torch.zeros(batch, dtype=torch.bool, device=device)
        self._parked: Samples | None = None
        self._spent = (0, 0)  # passes not charged yet: the same for all samples at work

    def spend(self, forwards: int, backwards: int) -> None:
        """All samples at work have taken part in so many passes."""
        self._spent = (self._spent[0] + forwards, self._spent[1] + backwards)

    def record(self, x: Tensor, violation: Tensor, broken: Tensor, finite: Tensor) -> None:
        """Keep the points x (b, *shape) that are the best so far, by violation (b,); see `Samples`."""
        live = self.live
        better = violation > live.violation
        self.live = replace(
            live,
            points=torch.where(along(better, x), x.detach(), live.points),
            violation=torch.maximum(violation, live.violation),
            broken=live.broken | broken,
            finite=live.finite & finite,
        )

    def not_finite(self, where: Tensor) -> None:
        """The samples at a mask (b,) have met numbers that are not finite."""
        self.live = replace(self.live, finite=self.live.finite & ~where)

    def steer(self, where: Tensor) -> None:
        """The samples at a mask (b,) have met a gradient that is not zero."""
        self.live = replace(self.live, steered=self.live.steered | where)

    def late(self) -> None:
        """The samples at work are cut short."""
        self.complete[self.live.rows] = False

    def leave(self, gone: Tensor, rest: Tensor | None, keep: Tensor) -> None:
        """Finish with the samples at a mask `gone` (b,); those at a mask `rest` rest; places `keep` stay."""
        self._charge()
        if bool(gone.any()):
            self._settle(self.live.select(gone))
        if rest is not None and bool(rest.any()):
            parked = self.live.select(rest)
            self._parked = parked if self._parked is None else self._parked.merged(parked)
        self.live = self.live.select(keep)

    def resume(self) -> bool:
        """Bring back the samples that rest; whether there were any."""
        if self._parked is None:
            return False
        self._charge()
        self.live, self._parked = self.live.merged(self._parked), None
        return True

    def close(self) -> None:
        """Finish with all samples."""
        self.resume()
        self._charge()
        self._settle(self.live)

    def _charge(self) -> None:
        """Write the passes since the last charge down to the samples that took part in them."""
        self.live, self._spent = self.live.charged(*self._spent), (0, 0)

    def _settle(self, samples: Samples) -> None:
        self.points[samples.rows] = samples.points
        self.finite[samples.rows] = samples.finite
        self.steered[samples.rows] = samples.steered
        self.passes[samples.rows] = samples.passes
