"""Upper bounds of the largest singular value of matrices and convolutions, in float64.

A power iteration approaches the largest singular value from below and proves nothing. Here it comes from
all eigenvalues of the Gram matrix, or, for large ones, from Gram iteration (Delattre et al. 2023,
arXiv 2305.16173): `sigma^2 <= |G^(2^t)|_F ^ (1 / 2^t)` for G = M M^T and every t. Both are enlarged by
what rounding can take away.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["convolution_norm_bound", "matrix_norm_bound"]

_EIGENVALUES = 1024  # up to this size all eigenvalues of a Gram matrix cost less than the iteration
_MANY_EIGENVALUES = 32  # the same in batches of matrices
_SQUARINGS = 10  # the bound exceeds the norm by at most a factor size^(1 / 2^11): 0.4 % at 4096
_ENTRIES = 2**25  # of the transformed kernel: 512 MiB


def matrix_norm_bound(matrix: Tensor) -> float:
    """At least the l2 operator norm of `matrix` (m, n), by less than 1 %; infinite unless all is finite."""
    entries = matrix.detach().to(torch.float64)
    return _largest(entries.unsqueeze(0), _EIGENVALUES)


def convolution_norm_bound(
    weight: Tensor, size: Sequence[int], stride: Sequence[int], dilation: Sequence[int], groups: int
) -> float:
    """At least the l2 operator norm of a convolution with zero padding of any width.

    weight (C_out, C_in / groups, *kernel) and `size`, the input's space, have one to three axes. The bound is
    the norm of the convolution on a larger torus, where it splits into one matrix per frequency (Sedghi et
    al. 2019, arXiv 1805.10408): 0 to a few per cent above the norm, more on images smaller than the
    kernel. Strides become channels first. Where that is too large: sqrt of the l1 and linf norms' product.
    """
    kernel = weight.detach().to(torch.float64)
    if not bool(kernel.isfinite().all()):
        return math.inf
    dense = _slack(kernel[0].numel() + kernel[:, 0].numel()) * _schur(kernel, groups)
    phases = _phases(_dilated(kernel, dilation), stride)
    axes = range(2, phases.dim())
    # the image shifted by any padding covers at most this many steps of the stride
    places = [-(-n // s) + 1 + phases.shape[i] - 1 for i, n, s in zip(axes, size, stride, strict=True)]
    if phases.shape[0] * phases.shape[1] * math.prod(places) > _ENTRIES:
        return dense
    spectrum = torch.fft.rfftn(phases, s=places, dim=list(axes)).flatten(2)
    matrices = spectrum.unflatten(0, (groups, -1)).permute(0, 3, 1, 2).flatten(0, 1)
    return min(dense, _largest(matrices, _MANY_EIGENVALUES))


def _largest(matrices: Tensor, limit: int) -> float:
    """The largest singular value of any of the matrices (N, m, n), enlarged by the rounding."""
    if matrices.numel() == 0:
        return 0.0
    largest = float(matrices.abs().amax())
    if largest == 0 or not math.isfinite(largest):
        return 0.0 if largest == 0 else math.inf
    scaled = matrices / largest
    if scaled.shape[1] > scaled.shape[2]:
        scaled = scaled.mH
    gram = scaled @ scaled.mH
    if gram.shape[1] <= limit:
        square = float(torch.linalg.eigvalsh(gram)[:, -1].max())
    else:
        square = math.exp(_iterated(gram))
    return largest * math.sqrt(max(square, 0.0)) * _slack(sum(matrices.shape[1:]))


def _iterated(gram: Tensor) -> float:
    """Upper bound of the logarithm of the largest eigenvalue of any of the matrices (N, n, n)."""
    scale = torch.zeros(gram.shape[0], dtype=torch.float64, device=gram.device)
    for _ in range(_SQUARINGS):
        size = torch.linalg.vector_norm(gram, dim=(1, 2)).clamp(min=torch.finfo(torch.float64).tiny)
        gram = gram / size[:, None, None]
        gram = gram @ gram
        scale = 2 * (scale + size.log())
    size = torch.linalg.vector_norm(gram, dim=(1, 2))
    return float(((scale + size.log()) / 2**_SQUARINGS).max())


def _schur(kernel: Tensor, groups: int) -> float:
    """sqrt(|A|_1 |A|_inf) of the convolution on an endless image, at most."""
    rows = kernel.abs().flatten(1).sum(1).max()
    columns = kernel.abs().unflatten(0, (groups, -1)).flatten(3).sum((1, 3)).max()
    return math.sqrt(float(rows) * float(columns))


def _dilated(kernel: Tensor, dilation: Sequence[int]) -> Tensor:
    """The kernel with zeros between its taps."""
    for axis, step in enumerate(dilation, start=2):
        wide = [*kernel.shape]
        wide[axis] = step * (wide[axis] - 1) + 1
        spread = kernel.new_zeros(wide)
        spread.index_copy_(axis, torch.arange(kernel.shape[axis], device=kernel.device) * step, kernel)
        kernel = spread
    return kernel


def _phases(kernel: Tensor, stride: Sequence[int]) -> Tensor:
    """The kernel of the same map on an image whose channels are the phases of the stride, at stride 1."""
    for axis, step in enumerate(stride, start=2):
        missing = -kernel.shape[axis] % step
        filler = [*kernel.shape]
        filler[axis] = missing
        padded = torch.cat((kernel, kernel.new_zeros(filler)), axis)
        kernel = padded.unflatten(axis, (-1, step)).movedim(axis + 1, 2).flatten(1, 2)
    return kernel


def _slack(size: int) -> float:
    """Factor for the rounding of sums of `size` terms and of a Fourier transform."""
    return 1 + (8 * size + 64) * torch.finfo(torch.float64).eps
