"""Texts with some words exchanged: at each position one of finitely many vectors, few unlike the original.

The sets of word substitution attacks and proofs: M. Alzantot et al., EMNLP 2018; R. Jia et al., Certified
robustness to adversarial word substitutions, EMNLP 2019. With rows of the identity as vectors the points are
one-hot matrices (T, V), and a network's first matrix product is the embedding.
"""

from __future__ import annotations

import torch
from torch import Tensor

from robustbench_local.errors import ShapeError

from .box import Box
from .input_set import InputSet, as_numbers, check_points, check_rows, kept
from .substitutions import checked_counts, checked_indices, checked_mask, substitutions
from .union import Union
from .word_choices import WordChoices, pick

__all__ = ["TokenSet"]

_STRIDE = 32.0  # steepest displacements in units of a swap, so that a small share of one crosses the middle


class TokenSet:
    """The points x (T, D) with x[t] one of candidates[b, t] for all t, at most swaps[b] not original[b].

    candidates (B, T, S, D); original (B, T) int64, the index into S of what stands there unchanged; swaps
    one number or (B,), whole; mask (B, T, S) bool, which candidates there are, None for all; the originals
    always are. Two equal vectors are one. `dtype` is what the property of that name reports, by default that
    of the candidates. Raises ShapeError, DtypeError, NonFiniteError, LabelError or RadiusError.
    """

    __slots__ = ("_dtype", "_hull", "_swaps", "_words")

    @torch.inference_mode(False)  # what is kept must stay usable under autograd later
    def __init__(
        self,
        candidates: Tensor,
        original: Tensor,
        swaps: Tensor | int,
        *,
        mask: Tensor | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if candidates.ndim != 4 or min(candidates.shape[1:]) < 1:
            raise ShapeError(
                f"candidates have shape {tuple(candidates.shape)}", cure="give them as (B, T, S, D)"
            )
        vectors, index = as_numbers("candidates", candidates), checked_indices(original, candidates)
        there = checked_mask(mask, candidates).scatter(2, index.unsqueeze(2), True)
        self._words, self._dtype = WordChoices(vectors, there, index), dtype or candidates.dtype
        self._swaps = checked_counts(swaps, candidates)
        self._hull: Box | None = None

    @property
    def candidates(self) -> Tensor:
        """The vectors, (B, T, S, D) float64; those outside of the mask are no members."""
        return self._words.vectors

    @property
    def mask(self) -> Tensor:
        """Which candidates there are, (B, T, S) bool; the originals among them."""
        return self._words.mask

    @property
    def original(self) -> Tensor:
        """The index of the unchanged candidate, (B, T) int64."""
        return self._words.original

    @property
    def swaps(self) -> Tensor:
        """How many positions may change, (B,) int64."""
        return self._swaps

    @property
    def batch(self) -> int:
        """B, the number of sets."""
        return self._words.vectors.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """(T, D)."""
        return self._words.vectors.shape[1], self._words.vectors.shape[3]

    @property
    def dtype(self) -> torch.dtype:
        """The floating type in which the candidates were given."""
        return self._dtype

    @property
    def device(self) -> torch.device:
        """Where the numbers live."""
        return self._words.vectors.device

    def __repr__(self) -> str:
        most, count = int(self._swaps.max()) if self.batch else 0, self._words.vectors.shape[2]
        return (
            f"TokenSet(batch={self.batch}, shape={self.shape}, candidates={count}, swaps<={most}, "
            f"dtype={self._dtype})"
        )

    def box(self) -> Box:
        """The smallest box around all points."""
        if self._hull is None:
            free = self._words.mask & ((self._swaps > 0).reshape(-1, 1, 1) | self._words.unchanged)
            lower = torch.where(free.unsqueeze(3), self._words.vectors, torch.inf).amin(2)
            upper = torch.where(free.unsqueeze(3), self._words.vectors, -torch.inf).amax(2)
            self._hull = Box(lower, upper, dtype=self._dtype)
        return self._hull

    def centre(self) -> Tensor:
        """The originals, (B, T, D) float64."""
        return self._words.at(self._words.original)

    def choices(self, x: Tensor) -> Tensor:
        """Which candidate stands at each position of x (B, T, D), (B, T) int64; -1 for none of them.

        Of equal vectors the original comes first, then the one of the lowest index.
        """
        check_points(x, self.batch, self.shape)
        return self._words.find(x)

    def support(self, a: Tensor) -> Tensor:
        """max <a_k, x>, exact: a (B or 1, K, T, D) -> (B, K); differentiable.

        Each position offers the gain of its best candidate over the original; the largest gains are taken.
        """
        check_rows(a, self.batch, self.shape)
        values = self._words.values(a)  # (B, T, K, S)
        start = pick(values.transpose(2, 3), self.original)
        best = values.masked_fill(~self._words.mask.unsqueeze(2), -torch.inf).amax(3)
        gains = (best - start).sort(1, descending=True).values  # never negative
        used = torch.arange(gains.shape[1], device=self.device) < self._swaps.unsqueeze(1)
        return start.sum(1) + (gains * used.unsqueeze(2)).sum(1)

    def steepest(self, g: Tensor) -> Tensor:
        """From the originals far towards the best candidates where these gain most, (B, T, D).

        Steps between vectors are all or nothing: a small share of this displacement, projected, is a swap.
        """
        check_points(g, self.batch, self.shape)
        steps = (self._words.vectors - self.centre().unsqueeze(2)).to(g.dtype)
        gains = (steps * g.unsqueeze(2)).sum(3).masked_fill(~self._words.mask, -torch.inf)
        most, best = gains.max(2)
        chosen = self._first(most.to(torch.float64)) & (most > 0)
        return torch.where(chosen.unsqueeze(2), _STRIDE * pick(steps, best), 0.0)

    @torch.no_grad()
    def project(self, x: Tensor) -> Tensor:
        """The nearest point that x's dtype can hold, (B, T, D): the swaps that save most distance; exact.

        EmptySetError where an original is no vector of that type.
        """
        check_points(x, self.batch, self.shape)
        gaps = (x.to(torch.float64).unsqueeze(2) - self._words.vectors).square().sum(3)
        gaps = gaps.nan_to_num(nan=0.0).masked_fill(~self._words.usable(x.dtype), torch.inf)
        saved = gaps.gather(2, self._words.original.unsqueeze(2)).squeeze(2) - gaps.amin(2)
        index = torch.where(self._first(saved) & (saved > 0), gaps.argmin(2), self._words.original)
        return kept(self.contains(x), x, self._words.at(index).to(x.dtype))

    @torch.no_grad()
    def sample(self, uniform: Tensor, radial: Tensor) -> Tensor:
        """Swaps at random positions from uniform (B, T, D), as many as radial (B,) says, all in [0, 1)."""
        check_points(uniform, self.batch, self.shape)
        wide = uniform.to(torch.float64)
        index = self._words.draw(torch.remainder(64 * wide[:, :, -1], 1.0), uniform.dtype)
        most = (radial.to(torch.float64) * (self._swaps + 1)).floor().to(torch.int64)
        chosen = self._first(wide[:, :, 0], most)
        return self._words.at(torch.where(chosen, index, self._words.original)).to(uniform.dtype)

    def contains(self, x: Tensor) -> Tensor:
        """Whether each x of (B, T, D) lies inside, (B,) bool: equal bit for bit up to the sign of 0."""
        found = self.choices(x)
        changed = (found != self._words.original).sum(1)
        return (found >= 0).all(1) & (changed <= self._swaps)

    @torch.inference_mode(False)
    def select(self, index: Tensor) -> TokenSet:
        """The sets at a long or bool index (b,)."""
        part = TokenSet.__new__(TokenSet)
        part._words, part._swaps = self._words.select(index), self._swaps[index]
        part._dtype, part._hull = self._dtype, None
        return part

    def parts(self, *, most: int = 4096) -> tuple[Box, Tensor] | None:
        """All substitutions as boxes without width, and the problem (B',) of each; None beyond `most`."""
        found = substitutions(self._words.mask, self._words.original, self._swaps, most)
        if found is None:
            return None
        index, owner = found
        points = self._words.select(owner).at(index)
        return Box(points, points, dtype=self._dtype), owner

    def __or__(self: InputSet, other: InputSet) -> Union:
        """The union with a set of equal batch and shape."""
        return Union.of(self, other)

    def within(self, box: Box) -> TokenSet | None:
        """The points inside a box of equal batch and shape; None where that cuts an original off."""
        low, high = (face.unsqueeze(2) for face in box.inner(torch.float64))
        inside = ((self._words.vectors >= low) & (self._words.vectors <= high)).all(3)
        if not bool(inside.gather(2, self._words.original.unsqueeze(2)).all()):
            return None
        mask = self._words.mask & inside
        return TokenSet(self._words.vectors, self._words.original, self._swaps, mask=mask, dtype=self._dtype)

    def _first(self, score: Tensor, count: Tensor | None = None) -> Tensor:
        """The positions (B, T) bool of the largest scores, `count` (B,) or `swaps` of them."""
        most = self._swaps if count is None else count.minimum(self._swaps)
        rank = score.argsort(stable=True, dim=1, descending=True).argsort(1)
        return torch.lt(rank, most.unsqueeze(1))
