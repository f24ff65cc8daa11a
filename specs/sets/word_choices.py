"""The vectors that may stand at each position of a text: finding them, and casting them to other types."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from robustbench_local.errors import EmptySetError

from .input_set import first_index
from .rounding import round_up

__all__ = ["WordChoices", "pick"]


@dataclass(frozen=True, slots=True, eq=False)
class WordChoices:
    """vectors (B, T, S, D) float64, mask (B, T, S) bool with the originals in it, original (B, T) into S."""

    vectors: Tensor
    mask: Tensor
    original: Tensor
    _casts: dict[torch.dtype, tuple[Tensor, Tensor | None]] = field(default_factory=dict, init=False)

    @property
    def unchanged(self) -> Tensor:
        """Which candidates are the originals, (B, T, S) bool."""
        return torch.zeros_like(self.mask).scatter(2, self.original.unsqueeze(2), True)

    def select(self, index: Tensor) -> WordChoices:
        """The choices at an index of the batch."""
        return WordChoices(self.vectors[index], self.mask[index], self.original[index])

    def at(self, index: Tensor) -> Tensor:
        """The vectors (B, T, D) at candidates index (B, T)."""
        return pick(self.vectors, index)

    def find(self, x: Tensor) -> Tensor:
        """Which candidate stands at each position of x (B, T, D), (B, T) int64; -1 for none of them.

        Of equal vectors the original comes first, then the one of the lowest index.
        """
        equal = (x.to(torch.float64).unsqueeze(2) == self.vectors).all(3) & self.mask
        rank = equal.to(torch.int8) + (equal & self.unchanged).to(torch.int8)
        return torch.where(equal.any(2), rank.argmax(2), -1)

    @torch.inference_mode(False)
    def cast(self, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
        """The vectors in `dtype`, and what rounding them costs, rounded up; None for nothing."""
        if dtype not in self._casts:
            near = self.vectors.to(dtype)
            gap = (self.vectors - near.to(torch.float64)).abs()
            self._casts[dtype] = near, round_up(gap, dtype) if bool(gap.any()) else None
        return self._casts[dtype]

    def values(self, a: Tensor) -> Tensor:
        """<a_kt, vector>, and what rounding the vectors costs: a (B or 1, K, T, D) -> (B, T, K, S)."""
        vectors, slack = self.cast(a.dtype)
        rows = a.transpose(1, 2)
        values = rows @ vectors.mT
        return values if slack is None else values + rows.abs() @ slack.mT

    def usable(self, dtype: torch.dtype) -> Tensor:
        """The candidates (B, T, S) that are vectors of `dtype`; EmptySetError where an original is none."""
        exact = (self.vectors.to(dtype).to(torch.float64) == self.vectors).all(3) & self.mask
        missing = ~exact.gather(2, self.original.unsqueeze(2)).squeeze(2)
        if bool(missing.any()):
            b, t = first_index(missing)
            raise EmptySetError(
                f"the original vector at sample {b}, position {t} is none of {dtype}",
                cure="give the candidates in that type, or use float64 points",
            )
        return exact

    def draw(self, share: Tensor, dtype: torch.dtype) -> Tensor:
        """The usable candidate (B, T) at a share (B, T) in [0, 1) of them."""
        usable = self.usable(dtype)
        count = usable.sum(2)
        place = (share * count).to(torch.int64).minimum(count - 1)
        return ((usable.cumsum(2) == place.unsqueeze(2) + 1) & usable).to(torch.int8).argmax(2)


def pick(vectors: Tensor, index: Tensor) -> Tensor:
    """The vectors (B, T, D) of (B, T, S, D) at index (B, T)."""
    where = index[:, :, None, None].expand(-1, -1, 1, vectors.shape[3])
    return vectors.gather(2, where).squeeze(2)
