"""Which coordinate is worth a cut: learned by cutting a few parts along each coordinate in turn.

What a linear bound changes along a coordinate says little of what a cut there does to the bound: most of a
bound's excess comes from relaxations, and which coordinate these depend on differs from network to network.
Trial cuts measure it (strong branching, Applegate et al. 1995); what they gain per width is kept for the
sample and serves its other parts (pseudo-costs, Benichou et al. 1971).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from .leaves import Leaves, Whole

__all__ = ["Directions", "halves"]

_COST = 8  # parts that are bounded anyway for each part of a trial
_TRIED = 8  # parts that are cut along every coordinate at once
_MEMORY = 0.5  # share of what was known that a new trial leaves
_LEAST = 0.01  # of the best coordinate's gain: no coordinate is given up


class Directions:
    """Gains of cuts by sample and coordinate.

    gain (B, d) is what a cut of a whole width would take off the bound, zero where nothing is known; looked
    (B,) how many parts trials have bounded.
    """

    def __init__(self, whole: Whole, gain: Tensor, looked: Tensor) -> None:
        self.whole, self.gain, self.looked = whole, gain, looked

    def due(self, leaves: Leaves, count: Tensor, most: int) -> Tensor:
        """Places of leaves worth a trial that bounds up to `most` parts; count (B,): parts bounded so far."""
        able = torch.isfinite(leaves.value) & (_COST * self.looked <= count)[leaves.owner]
        place = able.nonzero().squeeze(1)
        wanted = max(1, min(_TRIED, most // (2 * self.gain.shape[1])))
        step = max(1, len(place) // wanted)
        return place[::step][:wanted]

    def learn(self, leaves: Leaves, left: Tensor) -> None:
        """Takes what cuts of leaves leave: (n, d), the mean of both halves' bounds above what is wanted."""
        gain = (leaves.value.unsqueeze(1) - left).nan_to_num(0.0, 0.0, 0.0).clamp(min=0.0)
        width = _shares(self.whole, leaves)
        zero = torch.zeros_like(self.gain)
        gains, widths = (zero.index_add(0, leaves.owner, t) for t in (gain, width))
        found = gains / widths.clamp(min=torch.finfo(widths.dtype).tiny)
        found = torch.maximum(found, _LEAST * found.amax(1, keepdim=True))
        new = torch.bincount(leaves.owner, minlength=len(self.looked))
        kept = torch.where((self.gain > 0).any(1, keepdim=True), torch.lerp(found, self.gain, _MEMORY), found)
        self.gain = torch.where((new > 0).unsqueeze(1), kept, self.gain)
        self.looked = self.looked + 2 * self.gain.shape[1] * new

    def scored(self, leaves: Leaves) -> Leaves:
        """The leaves with what cuts promise as their score, where that is known of their samples."""
        gain = self.gain[leaves.owner]
        known = (gain > 0).any(1, keepdim=True)
        return replace(leaves, score=torch.where(known, gain * _shares(self.whole, leaves), leaves.score))


def halves(leaves: Leaves) -> Leaves:
    """Both halves of n leaves along each of the d coordinates: 2 n d, the lower ones (n, d) first."""
    count, dims = leaves.lower.shape
    index = torch.arange(count, device=leaves.owner.device).repeat_interleave(dims)
    many = leaves.select(index)
    axis = torch.arange(dims, device=index.device).repeat(count).unsqueeze(1)
    at = (0.5 * many.lower + 0.5 * many.upper).gather(1, axis)
    low = replace(many, upper=many.upper.scatter(1, axis, at))
    return low.joined(replace(many, lower=many.lower.scatter(1, axis, at)))


def _shares(whole: Whole, leaves: Leaves) -> Tensor:
    """The leaves' widths (n, d) as shares of the sample's; zero where a coordinate does not vary."""
    return ((leaves.upper - leaves.lower) / whole.widths(leaves.owner)).nan_to_num(0.0, 0.0, 0.0)
