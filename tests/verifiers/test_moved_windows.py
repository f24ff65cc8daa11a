"""Rows on windows below enlargements, where every row has a place of its own, against dense rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from robustbench_local.verifiers.moved_windows import Enlargement, pulled_enlargement, resampled
from robustbench_local.verifiers.windows import WindowRows
from torch import Tensor
from torch.nn import functional as F

from .networks import uniform

SOME = settings(max_examples=40)
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Step:
    """A map from maps of `shape` to maps of `out`: on images, and on rows of windows."""

    shape: Shape
    run: Callable[[Tensor], Tensor]
    pull: Callable[[WindowRows], WindowRows]

    @property
    def out(self) -> Shape:
        channels, height, width = self.run(torch.zeros(1, *self.shape, dtype=torch.float64)).shape[1:]
        return channels, height, width

    def adjoint(self, rows: Tensor) -> Tensor:
        """Dense rows (B, K, *out) by autograd."""
        x = torch.zeros(rows.shape[0] * rows.shape[1], *self.shape, dtype=rows.dtype, requires_grad=True)
        (found,) = torch.autograd.grad(self.run(x), x, rows.flatten(0, 1))
        return found.unflatten(0, rows.shape[:2])


@st.composite
def transposed(draw: Any, shape: Shape) -> Step:
    pair = {n: st.tuples(st.integers(a, b), st.integers(a, b)) for n, a, b in
            (("kernel", 1, 4), ("stride", 1, 3), ("dilation", 1, 2), ("extra", 0, 2))}  # fmt: skip
    kernel, stride, dilation, extra = (draw(p) for p in pair.values())
    padding = tuple(draw(st.integers(0, min(2, dilation[i] * (kernel[i] - 1)))) for i in range(2))
    extra = tuple(min(extra[i], max(stride[i], dilation[i]) - 1) for i in range(2))
    reach = [dilation[i] * (kernel[i] - 1) - 2 * padding[i] + extra[i] + 1 for i in range(2)]
    assume(all((shape[1 + i] - 1) * stride[i] + reach[i] > 0 for i in range(2)))
    groups = draw(st.sampled_from([g for g in (1, 2) if shape[0] % g == 0]))
    weight = uniform(5, (shape[0], draw(st.integers(1, 2)), *kernel))
    numbers = Enlargement(stride, (padding[0], padding[1]), dilation, groups)
    return Step(
        shape,
        lambda x: F.conv_transpose2d(x, weight, None, stride, padding, extra, groups, dilation),
        lambda rows: pulled_enlargement(rows, weight, numbers, shape),
    )


@st.composite
def resampling(draw: Any, shape: Shape) -> Step:
    """Any matrices with few entries per row serve."""
    matrices = []
    for seed, size in enumerate(shape[1:]):
        out, band = draw(st.integers(size, 3 * size)), draw(st.integers(1, 3))
        place = torch.arange(out).unsqueeze(1) * size // out
        near = (torch.arange(size) >= place) & (torch.arange(size) < place + band)
        matrices.append(uniform(seed, (out, size)) * near)
    one, other = matrices
    return Step(shape, lambda x: one @ x @ other.T, lambda rows: resampled(rows, (one, other), shape))


@st.composite
def convolution(draw: Any, shape: Shape) -> Step:
    stride = (draw(st.integers(1, 2)),) * 2
    weight = uniform(7, (draw(st.integers(1, 2)), shape[0], 2, 3))
    return Step(
        shape,
        lambda x: F.conv2d(x, weight, None, stride, 1),
        lambda rows: rows.cleaned().pulled(weight, stride, (1, 1), (1, 1), 1, shape),
    )


@st.composite
def steps(draw: Any) -> list[Step]:
    """From the input on: convolutions and enlargements in any order."""
    shape: Shape = (draw(st.integers(1, 2)), draw(st.integers(2, 5)), draw(st.integers(2, 5)))
    found: list[Step] = []
    for _ in range(draw(st.integers(1, 3))):
        found.append(draw(st.one_of(transposed(shape), resampling(shape), convolution(shape))))
        shape = found[-1].out
        if max(shape[1:]) > 24:
            break
    return found


def start_rows(shape: Shape, batch: int) -> WindowRows:
    """Rows of their own for every sample, with coefficients that differ."""
    count = shape[0] * shape[1] * shape[2]
    neurons = (uniform(1, (batch, 7), 0, 1) * count).long()
    rows = WindowRows.of_neurons(neurons.flatten(), shape, torch.float64)
    a = rows.a[0].unflatten(0, (batch, 7)) * uniform(2, (batch, 7, 1, 1, 1))
    return replace(rows, a=a, position=rows.position[0].unflatten(0, (batch, 7)))


@SOME
@given(chain=steps(), batch=st.integers(1, 3))
def test_rows_pulled_through_enlargements_equal_dense_rows(chain: list[Step], batch: int) -> None:
    rows = start_rows(chain[-1].out, batch)
    dense = rows.dense()
    for step in reversed(chain):
        rows, dense = step.pull(rows), step.adjoint(dense)
        torch.testing.assert_close(rows.dense(), dense)
        torch.testing.assert_close(rows.cleaned().dense(), dense)
        v = uniform(9, (batch, *step.shape))
        torch.testing.assert_close(rows.cleaned().contract(v), torch.einsum("bkchw,bchw->bk", dense, v))
        seen = replace(rows, a=rows.view(v)).dense()
        covered = replace(rows, a=torch.ones_like(rows.a)).dense()
        torch.testing.assert_close(seen, covered * v.unsqueeze(1))


@SOME
@given(chain=steps())
def test_gradients_pass(chain: list[Step]) -> None:
    """The map is linear: its gradient at some rows is its value at any others."""
    rows, weights = start_rows(chain[-1].out, 2), uniform(4, (2, 7, *chain[0].shape))

    def total(a: Tensor) -> Tensor:
        moved = replace(rows, a=a)
        for step in reversed(chain):
            moved = step.pull(moved)
        return (moved.dense() * weights).sum()

    a = rows.a.clone().requires_grad_()
    (found,) = torch.autograd.grad(total(a), a)
    other = uniform(5, tuple(a.shape))
    torch.testing.assert_close((found * other).sum(), total(other))


def test_windows_at_other_places_are_not_added() -> None:
    rows = WindowRows.of_neurons(torch.tensor([0, 3, 9]), (1, 4, 4), torch.float64)
    assert rows.plus(replace(rows, position=rows.position.clone())) is not None
    assert rows.plus(replace(rows, position=rows.position.flip(1))) is None
    assert rows.plus(replace(rows, steps=(5, 4))) is None
