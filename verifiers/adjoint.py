"""Fast adjoints of two-dimensional convolutions: the inner loop of backward propagation on images.

The rows are pulled by whichever form is fastest on a CPU for the given shape (all are the same linear
map, up to the order of summation):
- few coordinates and many rows: one matrix product with the dense matrix of the convolution;
- few input channels: an ordinary convolution at low resolution whose channels are then interleaved
  (the "sub-pixel" form of a strided transposed convolution, Shi et al. 2016, arXiv 1609.05158);
- else: the transposed convolution in channels-last layout, about twice as fast as channels-first.
On a GPU the transposed convolution as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Geometry", "pull_conv2d"]

_DENSE_ENTRIES = 2**18  # 1 MiB of float32: the dense matrix stays in the second-level cache
_GAIN = 8  # a matrix product does about this many times more multiplications per second
_FEW_CHANNELS = 4


@dataclass(frozen=True, slots=True)
class Geometry:
    """A convolution's numbers per axis: input size, stride, symmetric padding, dilation; and its groups."""

    size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int

    def rest(self, rows: Tensor, weight: Tensor) -> list[int]:
        """Rows and columns of the input that the last window leaves out ("output padding")."""
        return [
            self.size[i] + 2 * self.padding[i] - (rows.shape[2 + i] - 1) * self.stride[i]
            - self.dilation[i] * (weight.shape[2 + i] - 1) - 1
            for i in range(2)
        ]  # fmt: skip


def pull_conv2d(rows: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """The adjoint of a convolution on rows (N, C_out, h, w) -> (N, C_in, *geometry.size)."""
    if rows.device.type != "cpu":
        return _transposed(rows, weight, geometry)
    channels_in = weight.shape[1] * geometry.groups
    entries, results = rows[0].numel(), channels_in * geometry.size[0] * geometry.size[1]
    taps = weight[0].numel()  # multiplications per coefficient in the transposed convolution
    cheap = results <= _GAIN * taps and entries * results <= _DENSE_ENTRIES
    if cheap and rows.shape[0] >= 2 * entries:
        return _dense(rows, weight, geometry)
    if channels_in <= _FEW_CHANNELS and geometry.groups == 1 and geometry.dilation == (1, 1):
        return _sub_pixel(rows, weight, geometry)
    return _transposed(rows.contiguous(memory_format=torch.channels_last), weight, geometry)


def _transposed(rows: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    g = geometry
    return functional.conv_transpose2d(
        rows, weight, None, g.stride, g.padding, g.rest(rows, weight), g.groups, g.dilation
    )


def _dense(rows: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """One matrix product; the matrix is the adjoint of the identity's rows."""
    n = rows[0].numel()
    identity = torch.eye(n, dtype=rows.dtype, device=rows.device).reshape(n, *rows.shape[1:])
    matrix = _transposed(identity, weight, geometry)
    pulled: Tensor = (rows.flatten(1) @ matrix.flatten(1)).unflatten(1, matrix.shape[1:])
    return pulled


def _sub_pixel(rows: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """Strided transposed convolution as a convolution by s*s times the channels, interleaved afterwards."""
    (sh, sw), (ph, pw) = geometry.stride, geometry.padding
    out, channels, kh, kw = weight.shape
    th, tw = -(-kh // sh), -(-kw // sw)  # taps per phase
    padded = functional.pad(weight, (0, tw * sw - kw, 0, th * sh - kh))
    phases = padded.reshape(out, channels, th, sh, tw, sw).flip(2, 4).permute(1, 3, 5, 0, 2, 4)
    low = functional.conv2d(rows, phases.reshape(channels * sh * sw, out, th, tw), padding=(th - 1, tw - 1))
    full = _interleave(low, (sh, sw))
    height, width = geometry.size
    missing = (max(0, pw + width - full.shape[-1]), max(0, ph + height - full.shape[-2]))
    if any(missing):
        full = functional.pad(full, (0, missing[0], 0, missing[1]))
    return full[..., ph : ph + height, pw : pw + width]


def _interleave(low: Tensor, stride: Sequence[int]) -> Tensor:
    """(N, C*sh*sw, h, w) -> (N, C, h*sh, w*sw); pixel_shuffle for unequal strides too."""
    sh, sw = stride
    if sh == sw:
        return functional.pixel_shuffle(low, sh) if sh > 1 else low
    n, _, h, w = low.shape
    phases = low.reshape(n, -1, sh, sw, h, w)
    return phases.permute(0, 1, 4, 2, 5, 3).reshape(n, -1, h * sh, w * sw)
