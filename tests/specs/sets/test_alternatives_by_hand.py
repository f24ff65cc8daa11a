"""Sets that are unions of boxes, by hand: numbers, edges, intersections, refusals."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch

from robustbench_local.errors import EmptySetError, RadiusError, RobustBenchError, ShapeError, SpecError
from robustbench_local.specs import (
    Ball,
    Box,
    Choice,
    Concatenation,
    Divisible,
    InputSet,
    Levels,
    Patch,
    Polytope,
    Product,
    Segment,
    SparseBall,
    Union,
    axis_groups,
)

from .random_sets import KINDS, Draw, samples, uniform


def test_axis_groups_by_hand() -> None:
    assert axis_groups((2, 3), [0]).tolist() == [[0, 1, 2], [0, 1, 2]]
    assert axis_groups((2, 3), [-1]).tolist() == [[0, 0, 0], [1, 1, 1]]
    assert axis_groups((2, 2), []).tolist() == [[0, 1], [2, 3]]
    with pytest.raises(ShapeError, match=r"axes \(2,\) of points of shape \(2, 3\)"):
        axis_groups((2, 3), [2])


def test_supports_by_hand() -> None:
    center = torch.tensor([[0.2, 0.9, 0.5, 0.5]])
    box = Box(torch.zeros(1, 4), torch.ones(1, 4))
    a = torch.tensor([[[1.0, 1.0, -2.0, 3.0]]], dtype=torch.float64)
    exact = center.double()
    base = float((a[0, 0] * exact[0]).sum())
    # gains: 0.8, 0.1, 1.0, 1.5
    assert float(SparseBall(exact, 1, box).support(a)) == pytest.approx(base + 1.5)
    assert float(SparseBall(exact, 2, box).support(a)) == pytest.approx(base + 2.5)
    assert float(SparseBall(exact, 9, box).support(a)) == pytest.approx(base + 3.4)
    assert float(SparseBall(exact, 0, box).support(a)) == pytest.approx(base)
    pairs = SparseBall(exact, 1, box, groups=torch.tensor([5, 7, 5, 7]))
    assert float(pairs.support(a)) == pytest.approx(base + 1.8)
    square = exact.reshape(1, 2, 2)
    limits = Box(torch.zeros(1, 2, 2), torch.ones(1, 2, 2))
    rows = Patch(square, (1, 2), limits)  # gains of the two rows: 0.9 and 2.5
    assert float(rows.support(a.reshape(1, 1, 2, 2))) == pytest.approx(base + 2.5)
    assert float((rows | Box(square, square)).support(-a.reshape(1, 1, 2, 2))) == pytest.approx(-base + 2.5)


def test_pgd_would_start_where_the_centre_returns_to_the_limits() -> None:
    center = torch.tensor([[0.5, 1.5, -0.25]])
    sparse = SparseBall(center, 2, Box(torch.zeros(1, 3), torch.ones(1, 3)))
    assert sparse.centre().tolist() == [[0.5, 1.0, 0.0]] and sparse.contains(sparse.centre()).all()
    assert sparse.project(torch.tensor([[0.9, 0.5, 0.5]])).tolist() == [[0.5, 0.5, 0.5]]  # k is used up
    assert sparse.box().lower.tolist() == [[0.5, 0.0, 0.0]]
    image = torch.full((1, 3, 3), 0.5)
    image[0, 1, 2] = 7.0  # only windows over this pixel bring it back
    box = Box(torch.zeros_like(image), torch.ones_like(image))
    patch = Patch(image, (2, 2), box)
    found = patch.parts()
    assert found is not None and found[0].batch == 2 and patch.contains(patch.centre()).all()
    assert float(patch.box().upper[0, 0, 0]) == 0.5  # out of reach of both


def test_points_between_the_floats_have_to_change() -> None:
    third = torch.tensor([[1 / 3, 0.5, 0.25]], dtype=torch.float64)
    box = Box(torch.zeros(1, 3), torch.ones(1, 3))
    x = torch.tensor([[0.9, 0.9, 0.9]])
    sparse = SparseBall(third, 2, box)
    y = sparse.project(x)
    assert y[0, 0] == torch.tensor(0.9) and (y != third.float()).sum() == 2 and sparse.contains(y).all()
    assert sparse.contains(samples(sparse, 0, torch.float32)).all()
    with pytest.raises(EmptySetError, match="1 coordinates of the centre of sample 0 lie outside"):
        SparseBall(third, 0, box).project(x)
    corner = Patch(third.reshape(1, 1, 3), (1, 1), Box(torch.zeros(1, 1, 3), torch.ones(1, 1, 3)))
    assert (corner.project(x.reshape(1, 1, 3)) != third.float()).flatten().tolist() == [True, False, False]
    with pytest.raises(EmptySetError, match="no window of size"):
        Patch(third.reshape(1, 1, 3), (1, 1), corner.limits, places=[(0, 2)]).project(x.reshape(1, 1, 3))
    points = Choice(torch.stack([third, third.round()], 1))
    assert points.project(x).tolist() == [[0.0, 0.0, 0.0]]
    with pytest.raises(EmptySetError, match="no point of the choice of sample 0 is one of"):
        Choice(third.unsqueeze(1)).project(x)
    both = Union([Choice(third.unsqueeze(1)), sparse])  # one member holds no such point, the other does
    assert torch.equal(both.project(x), y)
    with pytest.raises(EmptySetError, match="no point of the choice"):
        Union([Choice(third.unsqueeze(1))]).project(x)


def test_a_union_projects_row_by_row_where_a_member_has_no_float() -> None:
    third = torch.tensor([[[1 / 3]], [[0.5]], [[1 / 3]]], dtype=torch.float64)
    box = Box(torch.full((3, 1), 2.0), torch.full((3, 1), 3.0))
    both = Union([Choice(third), box])
    assert both.project(torch.zeros(3, 1)).tolist() == [[2.0], [0.5], [2.0]]
    assert both.project(torch.zeros(3, 1).double()).tolist() == [[1 / 3], [0.5], [1 / 3]]


def test_huge_infinite_and_missing_numbers() -> None:
    center = torch.full((4, 2, 3), 0.5)
    box = Box(torch.zeros_like(center), torch.ones_like(center))
    x = uniform(0, center.shape).float()
    x[0, 0, 0], x[1, 1, 1], x[2, 0, 2] = torch.inf, -torch.inf, 3e38
    x[3, 1, 2] = torch.nan
    sets: list[InputSet] = [
        SparseBall(center, 2, box),
        SparseBall(center, 0, box),
        SparseBall(center, 1, box, groups=axis_groups((2, 3), [0])),
        Patch(center, (2, 2), box),
        Choice(uniform(1, (4, 3, 2, 3)).float()),
        Levels(box, [(torch.tensor([1]), Choice(torch.tensor([0.0, 1.0]).reshape(1, 2, 1).expand(4, 2, 1)))]),
        Segment(center, 0.25 * center),
        Union([box, Choice(uniform(1, (4, 3, 2, 3)).float())]),
    ]
    for inputs in sets:
        y = inputs.project(x)
        assert inputs.contains(y).tolist() == [True, True, True, False], inputs
        assert not inputs.contains(x)[3]


@pytest.mark.parametrize("kind", ["sparse", "patch", "choice", "levels", "segment", "weighted", "union"])
def test_an_empty_batch_is_a_batch(kind: str) -> None:
    inputs = KINDS[kind](Draw(5, 2, (2, 3), torch.float32, 1.0, 2)).select(torch.zeros(0, dtype=torch.int64))
    none = torch.zeros(0, *inputs.shape)
    assert inputs.project(none).shape == inputs.steepest(none).shape == none.shape
    assert inputs.contains(none).shape == (0,) and inputs.sample(none, torch.zeros(0)).shape == none.shape
    assert inputs.support(torch.ones(1, 4, *inputs.shape)).shape == (0, 4)
    assert inputs.box().batch == 0
    if isinstance(inputs, Divisible):
        found = inputs.parts()
        assert found is not None and found[0].batch == 0


def test_many_problems_are_cut_into_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    from robustbench_local.specs.sets import canvas

    center = uniform(0, (7, 1, 4, 4), 0, 1)
    box = Box(torch.zeros_like(center), torch.ones_like(center))
    sets = SparseBall(center, torch.arange(7), box), Patch(center, (2, 3), box)
    each, shared = uniform(1, (7, 3, 1, 4, 4)), uniform(2, (1, 3, 1, 4, 4))
    whole = [inputs.support(a) for inputs in sets for a in (each, shared)]
    monkeypatch.setattr(canvas, "_MOST_NUMBERS", 100)  # two problems at a time
    assert all(
        torch.equal(upper, inputs.support(a))
        for upper, (inputs, a) in zip(whole, ((i, a) for i in sets for a in (each, shared)), strict=True)
    )


def test_parts_of_a_product_are_products_of_parts() -> None:
    center = torch.full((2, 1, 3), 0.5)
    box = Box(torch.zeros_like(center), torch.ones_like(center))
    ball = Ball(torch.zeros(2, 2), 1.0, 2)
    assert Product([box, ball]).parts() is None  # nothing to divide
    patch, points = Patch(center, (1, 1), box), Choice(torch.zeros(2, 2, 4))
    found = Product([patch, ball, points]).parts()
    assert found is not None and isinstance(found[0], Product) and found[1].tolist() == [0] * 6 + [1] * 6
    assert [type(block) for block in found[0].blocks] == [Box, Ball, Box]
    found = Product([patch, points]).parts()
    assert found is not None and isinstance(found[0], Box) and found[0].shape == (7,)
    assert Product([patch] * 9).parts() is None  # 3 ** 9 ways


def test_intersections_keep_the_kind() -> None:
    center = torch.full((1, 2, 2), 0.5)
    box = Box(torch.zeros_like(center), torch.ones_like(center))
    small = Ball(center, 0.25)
    for inputs in (SparseBall(center, 1, box), Patch(center, (1, 1), box)):
        for cut in (inputs & small, small & inputs, inputs & small.box(), small.box() & inputs):
            assert type(cut) is type(inputs) and float(cut.box().upper.max()) == 0.75
        with pytest.raises(TypeError):
            inputs & Ball(center, 1.0, 2)
    points = Choice(torch.stack([center, center + 0.5, center + 0.125], 1))
    low = Polytope(torch.ones(1, 1, 4).double(), torch.full((1, 1), 3.0).double(), box)
    for cut in (points & small, Ball(center, 0.25, 2) & points, points & low):
        assert isinstance(cut, Choice) and cut.mask.tolist() == [[True, False, True]]
    with pytest.raises(EmptySetError, match="the choice of sample 0 has no point"):
        points & Box(center + 9, center + 10)
    with pytest.raises(ShapeError, match="cannot intersect"):
        points & Box(torch.zeros(1, 3), torch.ones(1, 3))
    both = (SparseBall(center, 1, box) | points) & small
    assert isinstance(both, Union) and both.members[1].box().upper.max() == 0.625
    with pytest.raises(EmptySetError, match="member 1 of a union has no point in common with"):
        (box | Choice((center + 3).unsqueeze(1))) & small
    line = (Segment(center, center + 1) | box) & small
    assert isinstance(line, Union) and type(line.members[0]).__name__ == "Meet"
    assert line.contains(center).all() and not line.contains(center + 0.5).any()


def test_levels_by_hand() -> None:
    box = Box(torch.zeros(1, 2, 2), torch.ones(1, 2, 2))
    flag = torch.tensor([3]), Choice(torch.tensor([[[0.0], [1.0], [9.0]]]))  # 9 is outside of the box
    pair = torch.tensor([0, 2]), Choice(torch.tensor([[[0.0, 1.0], [1.0, 0.0]]]))
    inputs = Levels(box, [flag, pair])
    assert inputs.blocks[0][1].mask.tolist() == [[True, True, False]]
    x = torch.tensor([[[0.2, 0.3], [0.1, 0.4]]])
    assert inputs.project(x).flatten().tolist() == pytest.approx([1.0, 0.3, 0.0, 0.0])
    a = torch.tensor([[[[2.0, -1.0], [5.0, -3.0]]]])
    assert float(inputs.support(a)) == 5.0 and float(inputs.support(-a)) == -2.0 + 1.0 + 3.0
    found = inputs.parts()
    assert found is not None and found[0].batch == 4
    again = inputs & Levels(box, [(flag[0], Choice(torch.tensor([[[1.0], [0.5]]])))])
    assert isinstance(again, Levels) and again.blocks[0][1].mask.tolist() == [[False, True, False]]
    beside = Levels(box, [flag]) & Levels(box, [pair])
    assert isinstance(beside, Levels) and len(beside.blocks) == 2
    with pytest.raises(SpecError, match=r"coordinates \[0\] are chosen twice"):
        Levels(box, [pair]) & Levels(box, [(torch.tensor([0]), flag[1])])
    with pytest.raises(TypeError):
        inputs & Ball(torch.zeros(1, 2, 2), 1.0, 2)


def test_a_concatenation_is_its_members_in_another_order() -> None:
    first, second = Box(torch.zeros(2, 3), torch.ones(2, 3)), Ball(torch.zeros(1, 3), 2.0, 2)
    inputs = Concatenation([first, second], [torch.tensor([2, 0]), torch.tensor([1])])
    x = torch.full((3, 3), 1.1)
    assert inputs.batch == 3 and inputs.contains(x).tolist() == [False, True, False]
    assert torch.equal(inputs.support(torch.ones(1, 1, 3))[[0, 2]], torch.full((2, 1), 3.0))
    part = inputs.select(torch.tensor([1, 1, 0]))
    assert part.contains(x).tolist() == [True, True, False]
    assert inputs.select(torch.tensor([False, True, False])).batch == 1
    mixed = (first | second.select(torch.tensor([0, 0]))).parts()
    assert mixed is not None and isinstance(mixed[0], Concatenation) and mixed[1].tolist() == [0, 1, 0, 1]


def test_a_union_of_too_many_parts_is_its_members_or_nothing() -> None:
    center = torch.full((2, 1, 3), 0.5)
    box = Box(torch.zeros_like(center), torch.ones_like(center))
    inputs = Patch(center, (1, 1), box) | box
    for most, count in ((8, 8), (7, 4), (4, 4)):
        found = inputs.parts(most=most)
        assert (
            found is not None and found[0].batch == count and found[1].bincount().tolist() == [count // 2] * 2
        )
    assert inputs.parts(most=3) is None
    nested = inputs | Choice(center.unsqueeze(1))
    assert isinstance(nested, Union) and len(nested.members) == 3


ZERO, ONE = torch.zeros(2, 3), torch.ones(2, 3)
BOX = Box(ZERO, ONE)
REFUSALS = [
    (partial(SparseBall, ZERO, 1.5, BOX), RadiusError, "k is 1.5"),
    (partial(SparseBall, ZERO, -1, BOX), RadiusError, "k is -1.0"),
    (partial(SparseBall, ZERO, torch.nan, BOX), RadiusError, "k is nan"),
    (partial(SparseBall, ZERO, torch.ones(3), BOX), ShapeError, "k has shape (3,), center (2, 3)"),
    (partial(SparseBall, ZERO[:, :2], 1, BOX), ShapeError, "center has shape (2, 2), the limits (2, 3)"),
    (partial(SparseBall, ZERO, 1, BOX, groups=ONE[0]), ShapeError, "groups have shape (3,) and dtype"),
    (partial(SparseBall, ZERO + 2, 2, BOX), EmptySetError, "3 coordinates of the centre of sample 0 lie"),
    (
        partial(Patch, ZERO, (1, 1), BOX),
        ShapeError,
        "center has shape (2, 3). Give it as",
    ),
    (partial(Choice, ZERO), ShapeError, "points have shape (2, 3). Give them as (B, N, *shape)"),
    (partial(Choice, torch.zeros(2, 0, 3)), EmptySetError, "the choice of sample 0 has no point"),
    (
        partial(Choice, torch.zeros(2, 1, 3), ONE > 0),
        ShapeError,
        "mask has shape (2, 3) and dtype",
    ),
    (partial(Segment, ZERO, ONE[:1]), ShapeError, "the ends have shapes (2, 3) and (1, 3)"),
    (partial(Union, []), ShapeError, "a union of no sets"),
    (
        partial(Union, [BOX, BOX.select(torch.tensor([0]))]),
        ShapeError,
        "member 1 of a union has shape",
    ),
    (partial(Concatenation, [], []), ShapeError, "a concatenation of no sets"),
    (
        partial(Levels, BOX, [(torch.tensor([3]), Choice(torch.zeros(2, 1, 1)))]),
        ShapeError,
        "coordinates [3] of points of 3 coordinates",
    ),
    (
        partial(Levels, BOX, [(torch.tensor([0, 1]), Choice(torch.zeros(2, 1, 1)))]),
        ShapeError,
        "coordinates of shape (2,) for 2 sets of (1,), the box has (2, 3)",
    ),
]


@pytest.mark.parametrize(("build", "kind", "message"), REFUSALS, ids=[r[2][:40] for r in REFUSALS])
def test_bad_sets_are_refused(build: Any, kind: type[RobustBenchError], message: str) -> None:
    with pytest.raises(kind) as caught:
        build()
    assert message in str(caught.value)


@pytest.mark.parametrize("kind", [*KINDS])
def test_every_set_unites_with_a_box(kind: str) -> None:
    inputs: Any = KINDS[kind](Draw(5, 2, (2, 3), torch.float32, 1.0, 2))
    far = inputs.box().upper + 5
    for both in (inputs | Box(far, far), Box(far, far) | inputs):
        assert isinstance(both, Union)
        assert both.contains(far).all() and both.contains(inputs.centre()).all()
        assert not both.contains(far + 1).any()
