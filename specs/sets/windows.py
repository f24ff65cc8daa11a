"""Windows of one size at several places of an image: sums over them, what they cover, where they reach."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from robustbench_local.errors import EmptySetError, ShapeError

__all__ = ["Place", "Windows"]

Place = tuple[int, int]
"""The row and column of a window's upper left pixel."""


class Windows:
    """The windows of `size` in images of `shape` (*channels, H, W), at some places.

    places: upper left pixels; None: all whose row and column are multiples of `stride`. A mask of places
    is (b, R, C) with R = H - height + 1, C = W - width + 1. Raises ShapeError, or EmptySetError for none.
    """

    __slots__ = ("allowed", "shape", "size")

    def __init__(
        self,
        shape: tuple[int, ...],
        size: tuple[int, int],
        places: Sequence[Place] | None,
        stride: int,
        device: torch.device,
    ) -> None:
        image = shape[-2:]
        if len(size) != 2 or not all(1 <= part <= whole for part, whole in zip(size, image, strict=True)):
            raise ShapeError(
                f"a window of size {size} in an image of {image}",
                cure="give height and width within the image",
            )
        if stride < 1:
            raise ShapeError(f"stride is {stride}", cure="give 1 or more")
        self.shape, self.size = shape, size
        self.allowed = torch.zeros(image[0] - size[0] + 1, image[1] - size[1] + 1, dtype=torch.bool)
        if places is None:
            self.allowed[::stride, ::stride] = True
        else:
            self._allow(places)
        self.allowed = self.allowed.to(device)  # (R, C)

    def sums(self, values: Tensor) -> Tensor:
        """Sums over windows and channels of values (b, K, n): (b, K, R, C)."""
        flat = values.reshape(*values.shape[:2], math.prod(self.shape[:-2]), *self.shape[-2:]).sum(2)
        # one axis after the other: their sizes add up instead of multiplying
        tall = F.avg_pool2d(flat, (self.size[0], 1), stride=1, divisor_override=1)
        return F.avg_pool2d(tall, (1, self.size[1]), stride=1, divisor_override=1)

    def covering(self, mask: Tensor) -> Tensor:
        """The allowed places (b, R, C) whose window covers all coordinates of a mask (b, *shape)."""
        pixels = mask.reshape(mask.shape[0], math.prod(self.shape[:-2]), *self.shape[-2:]).any(1)
        down = _reaching(pixels.any(2), self.size[0])
        across = _reaching(pixels.any(1), self.size[1])
        return down.unsqueeze(2) & across.unsqueeze(1) & self.allowed

    def at(self, place: Tensor) -> Tensor:
        """The coordinates (b, *shape) of the windows at places (b,), counted row-major."""
        (height, width), columns = self.shape[-2:], self.allowed.shape[1]
        row, column = place.unsqueeze(1) // columns, place.unsqueeze(1) % columns
        y, x = torch.arange(height, device=place.device), torch.arange(width, device=place.device)
        tall = (y >= row) & (y < row + self.size[0])
        wide = (x >= column) & (x < column + self.size[1])
        return self._all_channels(tall.unsqueeze(2) & wide.unsqueeze(1))

    def reached(self, places: Tensor) -> Tensor:
        """The coordinates (b, *shape) in a window at any of the places (b, R, C)."""
        rows, columns = self.size
        padded = F.pad(places.to(torch.float32), (columns - 1, columns - 1, rows - 1, rows - 1))
        return self._all_channels(F.max_pool2d(padded.unsqueeze(1), self.size, stride=1)[:, 0] > 0)

    def _allow(self, places: Sequence[Place]) -> None:
        rows, columns = self.allowed.shape
        if not places:
            raise EmptySetError("a patch without a place", cure="give at least one upper left pixel")
        for row, column in places:
            if not (0 <= row < rows and 0 <= column < columns):
                raise ShapeError(
                    f"a window of size {self.size} at {(row, column)} leaves the image of {self.shape[-2:]}",
                    cure=f"give rows below {rows} and columns below {columns}",
                )
            self.allowed[row, column] = True

    def _all_channels(self, pixels: Tensor) -> Tensor:
        """A mask of pixels (b, H, W) for all channels, (b, *shape)."""
        ones = [1] * (len(self.shape) - 2)
        return pixels.reshape(-1, *ones, *self.shape[-2:]).expand(-1, *self.shape)


def _reaching(line: Tensor, size: int) -> Tensor:
    """The starts (b, n - size + 1) of runs of `size` that hold all marks of a line (b, n)."""
    n = line.shape[1]
    index = torch.arange(n, device=line.device)
    first = torch.where(line, index, n).amin(1, keepdim=True)
    last = torch.where(line, index, -1).amax(1, keepdim=True)
    start = index[: n - size + 1]
    return (start <= first) & (start > last - size)
