"""Sets that are unions of boxes, against the list of their boxes: support, projection, hull, parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from robustbench_local.specs import (
    Box,
    Choice,
    Divisible,
    InputSet,
    Levels,
    Patch,
    Product,
    SparseBall,
    Union,
    axis_groups,
)

from .brute_force import Faces, boxes_of
from .random_sets import DTYPES, KINDS, Draw, samples, uniform

BOXES = ("sparse", "patch", "choice", "levels")


@st.composite
def alternatives(draw: Any, kinds: Sequence[str] = (*BOXES, "boxes")) -> tuple[InputSet, int]:
    """A set that is a union of boxes, small enough to list them; and a seed for points."""
    seed = draw(st.integers(0, 2**16))
    batch, shape = draw(st.integers(1, 3)), draw(st.sampled_from([(1,), (2,), (5,), (2, 3), (7,)]))
    scale = draw(st.sampled_from([1e-6, 0.03, 1.0, 30.0]))
    made = Draw(seed, batch, shape, draw(st.sampled_from(DTYPES)), scale, 2)
    kind = draw(st.sampled_from(kinds))
    if kind != "boxes":
        return KINDS[kind](made), seed
    members = [KINDS[name](made) for name in ("sparse", "box", "choice", "levels")]
    if seed % 2:
        return Product([KINDS["choice"](made), KINDS["box"](made), KINDS["patch"](made)]), seed
    return Union(members[seed % 3 :][:2]), seed


@given(alternatives())
@settings(max_examples=150)
def test_support_is_the_largest_over_the_boxes(case: tuple[InputSet, int]) -> None:
    inputs, seed = case
    a = uniform(seed + 1, (inputs.batch, 4, *inputs.shape))
    a[:, 1] = a[:, 1].abs()
    a[:, 2] = torch.where(a[:, 2] > 0, 0.0, a[:, 2])
    upper = inputs.support(a)
    for b in range(inputs.batch):
        rows = a[b].flatten(1)
        best = torch.stack([_support(rows, faces) for faces in boxes_of(inputs, b)]).amax(0)
        assert torch.allclose(upper[b], best, rtol=1e-12, atol=1e-12)
    single = inputs.support(a.float())
    covered = upper.float() - 1e-5 * (1 + a.abs().flatten(2).sum(2)).float() * (1 + _size(inputs))
    assert (single >= covered).all()


@given(alternatives(), st.sampled_from(DTYPES), st.sampled_from([1e-7, 0.1, 1.0, 100.0]))
@settings(max_examples=150)
def test_projections_are_as_near_as_the_nearest_box(
    case: tuple[InputSet, int], dtype: torch.dtype, distance: float
) -> None:
    inputs, seed = case
    dtype = torch.promote_types(dtype, inputs.dtype)  # float32 may hold no point of a float64 set
    x = (inputs.centre() + distance * uniform(seed + 2, (inputs.batch, *inputs.shape))).to(dtype)
    y = inputs.project(x)
    assert inputs.contains(y).all() and torch.equal(inputs.project(y), y)
    for b in range(inputs.batch):
        point = x[b].double().flatten()
        gaps = [(point - point.clamp(*faces)).norm() for faces in boxes_of(inputs, b)]
        mine = (point - y[b].double().flatten()).norm()
        assert float(mine) <= float(min(gaps)) * (1 + 1e-9) + 8 * torch.finfo(dtype).eps * _size(inputs)


@given(alternatives())
def test_the_hull_is_that_of_the_boxes(case: tuple[InputSet, int]) -> None:
    inputs, _ = case
    hull = inputs.box()
    for b in range(inputs.batch):
        lower, upper = (torch.stack(faces) for faces in zip(*boxes_of(inputs, b), strict=True))
        assert torch.equal(hull.lower[b].flatten(), lower.amin(0))
        assert torch.equal(hull.upper[b].flatten(), upper.amax(0))


@given(alternatives())
def test_members_of_the_boxes_are_members(case: tuple[InputSet, int]) -> None:
    inputs, seed = case
    for b in range(inputs.batch):
        for k, (lower, upper) in enumerate(boxes_of(inputs, b)[:40]):
            corner = torch.where(uniform(seed + k, lower.shape) > 0, lower, upper).reshape(inputs.shape)
            part = inputs.select(torch.tensor([b]))
            assert part.contains(corner.unsqueeze(0)).all()


@given(alternatives(), st.booleans())
def test_parts_are_the_set_in_pieces(case: tuple[InputSet, int], near: bool) -> None:
    inputs, seed = case
    assert isinstance(inputs, Divisible)
    found = inputs.parts()
    assert found is not None
    parts, owner = found
    assert isinstance(parts, Box) and owner.dtype == torch.int64 and parts.batch == len(owner)
    assert set(owner.tolist()) == set(range(inputs.batch))
    a = uniform(seed + 3, (inputs.batch, 3, *inputs.shape))
    best = torch.full((inputs.batch, 3), -torch.inf, dtype=torch.float64)
    best = best.scatter_reduce(0, owner.unsqueeze(1).expand(-1, 3), parts.support(a[owner]), "amax")
    assert torch.allclose(best, inputs.support(a), rtol=1e-12, atol=1e-12)
    for k in range(4):
        x = samples(inputs, seed + k, torch.float64)
        if not near:  # mostly outside
            x = x + 0.1 * (uniform(seed + 20 + k, x.shape) > 0.6) * uniform(seed + 40 + k, x.shape)
        inside = torch.zeros(inputs.batch, dtype=torch.bool)
        inside = inside.index_put((owner[parts.contains(x[owner])],), torch.tensor(True))
        assert torch.equal(inside, inputs.contains(x))
    fewer = inputs.parts(most=parts.batch - 1)  # unions and products can keep members whole
    assert fewer is None or (isinstance(inputs, Union | Product) and fewer[0].batch < parts.batch)
    assert inputs.parts(most=parts.batch) is not None


def test_samples_reach_every_box() -> None:
    center = torch.full((1, 2, 3), 0.5)
    box = Box(torch.zeros_like(center), torch.ones_like(center))
    sets: list[InputSet] = [
        SparseBall(center, 2, box),
        SparseBall(center, 1, box, groups=axis_groups((2, 3), [0])),
        Patch(center, (1, 2), box),
        Choice(uniform(0, (1, 6, 2, 3))),
        Levels(box, [(torch.tensor([4]), Choice(torch.tensor([[[0.1], [0.6], [0.2]]])))]),
        Union([Patch(center, (2, 1), box), Choice(uniform(1, (1, 3, 2, 3)))]),
    ]
    for inputs in sets:
        assert isinstance(inputs, Divisible)
        found = inputs.parts()
        assert found is not None
        parts, met = found[0], torch.zeros(found[0].batch, dtype=torch.bool)
        for k in range(200):
            x = samples(inputs, 1000 + 7 * k, torch.float64)
            met |= parts.contains(x.expand(parts.batch, -1, -1))
        assert met.all(), inputs


def test_sparse_samples_change_exactly_k_groups_and_values_are_spread() -> None:
    center = torch.full((400, 3, 5), 0.5)
    box = Box(torch.zeros_like(center), torch.ones_like(center))
    pixels = SparseBall(center, 2, box, groups=axis_groups((3, 5), [0]))
    x = samples(pixels, 3, torch.float32)
    changed = (x != 0.5).any(1)
    assert (changed.sum(1) == 2).all() and (x != 0.5).sum() == 400 * 2 * 3
    assert changed.sum(0).float().std() < 40  # each of the five columns is met about 160 times
    values = x[x != 0.5]
    assert float(values.mean()) == pytest.approx(0.5, abs=0.03)
    assert float(values.std()) == pytest.approx(12**-0.5, abs=0.03)


def _support(rows: Tensor, faces: Faces) -> Tensor:
    return torch.where(rows > 0, rows * faces[1], rows * faces[0]).sum(1)


def _size(inputs: InputSet) -> float:
    hull = inputs.box()
    return float(torch.maximum(hull.lower.abs(), hull.upper.abs()).max())
