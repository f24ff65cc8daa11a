"""Rows of a pair of tensors that are picked when they are first looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import torch
from torch import Tensor

__all__ = ["Pair", "Picked", "pair_shape"]

Pair = Sequence[Tensor]
"""Two tensors of one shape, such as the lower and upper faces of boxes."""


class Picked(Sequence[Tensor]):
    """The rows `index` (b,), long or bool, of a pair of tensors (B, *shape), made when they are asked for.

    A search whose samples leave one by one picks rows of rows again and again, and looks at few of them: then
    indices are picked, not rows.
    """

    __slots__ = ("_index", "_pair")

    def __init__(self, pair: Pair, index: Tensor) -> None:
        if index.dtype == torch.bool:
            index = index.nonzero().flatten()
        self._pair: Pair = pair
        self._index: Tensor | None = index
        if isinstance(pair, Picked):
            self._pair = pair._pair
            self._index = index if pair._index is None else pair._index[index]

    @property
    def shape(self) -> torch.Size:
        """The shape (b, *shape) of each of the two."""
        shape = pair_shape(self._pair)
        return shape if self._index is None else torch.Size([*self._index.shape, *shape[1:]])

    @property
    def device(self) -> torch.device:
        """Where the two live."""
        return self._pair[0].device

    def __len__(self) -> int:
        return 2

    @overload
    def __getitem__(self, place: int) -> Tensor: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Tensor]: ...

    @torch.inference_mode(False)  # what is kept must stay usable under autograd later
    def __getitem__(self, place: int | slice) -> Tensor | Sequence[Tensor]:
        if self._index is not None:
            first, second = self._pair
            rows = first.index_select(0, self._index), second.index_select(0, self._index)
            self._pair, self._index = rows, None
        return self._pair[place]


def pair_shape(pair: Pair) -> torch.Size:
    """The shape of each of the two, without making them."""
    return pair.shape if isinstance(pair, Picked) else pair[0].shape
