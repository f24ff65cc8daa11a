"""Rows of coefficients that are zero outside a small window of an image: bounds of convolutional neurons.

A neuron of a convolution reads a window of the layer below, and the window grows slowly on the way to
the input. Keeping the window only saves most of the work of dense rows. (auto-LiRPA's "patches" mode
rests on the same observation, Xu et al. 2020, arXiv 2002.12920; here all windows of a batch of rows have
one size, so that pulling them through a convolution is a single matrix product.)

A row that starts at position p (per axis) has its window at `p * stride - pad` in the present map, where
stride and pad accumulate on the way; below an enlargement every row has a place of its own (see
`moved_windows`). Windows may reach over the map's border; what lies outside is meaningless until `clean`, and
is zero afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from .adjoint import Geometry, pull_conv2d

__all__ = ["WindowRows"]


@dataclass(frozen=True, slots=True, eq=False)
class WindowRows:
    """Coefficients a (B or 1, K, C, h, w) on windows of a map of `shape` (C, H, W).

    position (B or 1, K, 2): where each row started; steps: number of start positions per axis.
    """

    a: Tensor
    position: Tensor
    steps: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]
    shape: tuple[int, int, int]
    clean: bool

    @staticmethod
    def of_neurons(neurons: Tensor, shape: tuple[int, int, int], dtype: torch.dtype) -> WindowRows:
        """Identity rows of chosen neurons (U,) (flat index into `shape`): windows of one position."""
        channels, height, width = shape
        channel, place = neurons // (height * width), neurons % (height * width)
        a = torch.zeros(1, neurons.shape[0], channels, 1, 1, dtype=dtype, device=neurons.device)
        a[0, torch.arange(neurons.shape[0], device=neurons.device), channel] = 1
        position = torch.stack((place // width, place % width), 1).unsqueeze(0)
        return WindowRows(a, position, (height, width), (1, 1), (0, 0), shape, True)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the windows."""
        return self.a.shape[3], self.a.shape[4]

    @property
    def wide(self) -> bool:
        """The windows are so large that dense rows cost no more."""
        return 2 * self.size[0] * self.size[1] >= self.shape[1] * self.shape[2]

    def view(self, v: Tensor) -> Tensor:
        """The windows of v (B or 1, C, H, W), zero outside: (B, K, C, h, w)."""
        (h, w), (sh, sw), (ph, pw) = self.size, self.stride, self.pad
        after_h = (self.steps[0] - 1) * sh - ph + h - self.shape[1]
        after_w = (self.steps[1] - 1) * sw - pw + w - self.shape[2]
        # rows and columns that no window reaches stay: cropping more than there is would be an error
        padded = functional.pad(v, (pw, max(after_w, 0), ph, max(after_h, 0)))
        windows = (
            padded.unfold(2, h, sh).unfold(3, w, sw).permute(0, 2, 3, 1, 4, 5)
        )  # (B, rows, cols, C, h, w)
        places = self.position[..., 0] * windows.shape[2] + self.position[..., 1]  # (B or 1, K)
        if v.shape[0] > 1:
            places = places + torch.arange(v.shape[0], device=v.device).unsqueeze(1) * (
                windows.shape[1] * windows.shape[2]
            )
        # one contiguous copy of every window, then whole windows by number: much faster than strided indexing
        table = windows.reshape(-1, windows[0, 0, 0].numel())
        picked = table.index_select(0, places.flatten())
        return picked.reshape(*places.shape, *windows.shape[3:])

    def contract(self, v: Tensor) -> Tensor:
        """<a_k, v> per sample and row: v (B or 1, C, H, W) -> (B, K)."""
        return (self.a * self.view(v)).flatten(2).sum(2)

    def cleaned(self) -> WindowRows:
        """The same rows with zeros outside the map."""
        if self.clean:
            return self
        inside = self.view(self.a.new_ones(1, 1, *self.shape[1:]))
        return replace(self, a=self.a * inside, clean=True)

    def with_coefficients(self, a: Tensor, *, clean: bool) -> WindowRows:
        """Rows with the same windows and other coefficients."""
        return replace(self, a=a, clean=clean)

    def pulled(
        self,
        weight: Tensor,
        stride: tuple[int, int],
        padding: tuple[int, int],
        dilation: tuple[int, int],
        groups: int,
        shape: tuple[int, int, int],
    ) -> WindowRows:
        """The rows pulled through a convolution with these numbers, from a map of `shape`."""
        reach = [dilation[i] * (weight.shape[2 + i] - 1) + 1 for i in range(2)]
        size = (self.size[0] - 1) * stride[0] + reach[0], (self.size[1] - 1) * stride[1] + reach[1]
        geometry = Geometry(size, stride, (0, 0), dilation, groups)
        result = pull_conv2d(self.a.flatten(0, 1), weight, geometry)
        return WindowRows(
            result.unflatten(0, self.a.shape[:2]),
            self.position,
            self.steps,
            (self.stride[0] * stride[0], self.stride[1] * stride[1]),
            (self.pad[0] * stride[0] + padding[0], self.pad[1] * stride[1] + padding[1]),
            shape,
            False,
        )

    def plus(self, other: WindowRows) -> WindowRows | None:
        """The sum, on windows that hold both; None where the windows do not move alike."""
        if self.stride != other.stride or self.shape != other.shape or not self._starts_like(other):
            return None
        pad = (max(self.pad[0], other.pad[0]), max(self.pad[1], other.pad[1]))
        end = tuple(
            max(r.size[i] - r.pad[i] for r in (self, other)) for i in range(2)
        )  # last row and column of either, counted from the start position
        size = (end[0] + pad[0], end[1] + pad[1])
        a, b = (r._framed(pad, size) for r in (self, other))
        return replace(self, a=a + b, pad=pad, clean=self.clean and other.clean)

    def _starts_like(self, other: WindowRows) -> bool:
        """Whether the rows' places are the same: both may have passed an enlargement (`moved_windows`)."""
        if self.steps != other.steps:
            return False
        return self.position is other.position or torch.equal(self.position, other.position)

    def _framed(self, pad: tuple[int, int], size: tuple[int, int]) -> Tensor:
        top, left = pad[0] - self.pad[0], pad[1] - self.pad[1]
        if (top, left) == (0, 0) and size == self.size:
            return self.a
        frame = (left, size[1] - self.size[1] - left, top, size[0] - self.size[0] - top)
        return functional.pad(self.a, frame)

    def dense(self) -> Tensor:
        """Ordinary rows (B or 1, K, C, H, W)."""
        (h, w), (channels, height, width) = self.size, self.shape
        device = self.a.device
        rows = (
            self.position[..., 0:1] * self.stride[0] - self.pad[0] + torch.arange(h, device=device)
        )  # (B, K, h)
        columns = self.position[..., 1:2] * self.stride[1] - self.pad[1] + torch.arange(w, device=device)
        inside = ((rows >= 0) & (rows < height)).unsqueeze(-1) & (
            (columns >= 0) & (columns < width)
        ).unsqueeze(-2)
        flat = rows.unsqueeze(-1) * width + columns.unsqueeze(-2)
        flat = torch.where(inside, flat, height * width).flatten(2)  # outside goes to a spare place
        batch, count = self.a.shape[:2]
        target = self.a.new_zeros(batch, count, channels, height * width + 1)
        index = flat.unsqueeze(2).expand(batch, count, channels, h * w)
        full: Tensor = target.scatter(3, index, self.a.flatten(3))[..., :-1].unflatten(3, (height, width))
        return full
