"""Every input set keeps its contract: exact membership, projection, support, sampling, hulls."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from robustbench_local.errors import ShapeError
from robustbench_local.specs import Ball, Box, InputSet, Intersection, Meet, Product

from .membership import member
from .random_sets import CONVEX, DTYPES, KINDS, NORMS, samples, sets, uniform

dtypes = st.sampled_from(DTYPES)


@given(sets(), dtypes)
def test_samples_and_the_centre_lie_inside(case: tuple[InputSet, int], dtype: torch.dtype) -> None:
    inputs, seed = case
    dtype = torch.promote_types(dtype, inputs.dtype)  # float32 may hold no point of a float64 set
    assert isinstance(inputs, InputSet)
    x = samples(inputs, seed, dtype)
    assert x.dtype == dtype and inputs.contains(x).all() and inputs.contains(inputs.centre()).all()
    assert torch.equal(x, samples(inputs, seed, dtype))
    assert all(member(inputs, x, b) for b in range(inputs.batch))


@given(sets(), dtypes, st.sampled_from([1e-7, 0.1, 1.0, 100.0]))
def test_projections_are_inside_exactly_idempotent_and_nearest(
    case: tuple[InputSet, int], dtype: torch.dtype, distance: float
) -> None:
    inputs, seed = case
    dtype = torch.promote_types(dtype, inputs.dtype)  # float32 may hold no point of a float64 set
    x = (inputs.centre() + distance * uniform(seed + 9, (inputs.batch, *inputs.shape))).to(dtype)
    y = inputs.project(x)
    assert y.dtype == dtype and inputs.contains(y).all()
    assert all(member(inputs, y, b) for b in range(inputs.batch))
    assert torch.equal(inputs.project(y), y)
    inside = inputs.contains(x)
    assert torch.equal(y[inside], x[inside])
    if isinstance(inputs, Box) or (isinstance(inputs, Ball) and math.isinf(inputs.p)):
        slack = 0.0
    else:
        slack = 200 * torch.finfo(dtype).eps * (1 + float(inputs.box().upper.abs().max()) * 6)
    if isinstance(inputs, Meet):  # found by steps, which do not get to the end from far away
        size = float((inputs.box().upper - inputs.box().lower).max())
        slack += 1e-6 * distance + size * (1e-4 if distance < 30 * size else 0.1)
    gap = _distance(x, y)
    for k in range(8):
        other = samples(inputs, seed + 20 + k, dtype)
        assert (gap <= _distance(x, other) + slack).all()
    if slack == 0.0:  # no float between the projection and the point is inside
        closer = torch.nextafter(y, x)
        moved = (closer != y).flatten(1)
        for b, i in moved.nonzero().tolist():
            probe = y.clone()
            probe.view(inputs.batch, -1)[b, i] = closer.view(inputs.batch, -1)[b, i]
            assert not inputs.contains(probe)[b]


@given(sets(), dtypes, st.sampled_from([0.0, 1e-7, 0.3]), st.booleans())
@settings(max_examples=200)
def test_membership_is_that_of_rational_arithmetic(
    case: tuple[InputSet, int], dtype: torch.dtype, distance: float, step: bool
) -> None:
    inputs, seed = case
    dtype = torch.promote_types(dtype, inputs.dtype)  # float32 may hold no point of a float64 set
    far = (inputs.box().upper - inputs.box().lower) * uniform(seed + 3, (inputs.batch, *inputs.shape), -2, 2)
    x = inputs.project((inputs.centre() + far).to(dtype))  # on the boundary, mostly
    moved = uniform(seed + 4, x.shape) > 0.7
    if step:  # one float towards or away from the centre
        ahead = torch.where(uniform(seed + 5, x.shape) > 0, torch.inf, -torch.inf).to(dtype)
        x = torch.where(moved, torch.nextafter(x, ahead), x)
    else:
        x = torch.where(moved, x + distance * uniform(seed + 6, x.shape).to(dtype), x)
    assert inputs.contains(x).tolist() == [member(inputs, x, b) for b in range(inputs.batch)]


@given(sets(CONVEX), dtypes)
def test_projection_satisfies_the_optimality_condition(
    case: tuple[InputSet, int], dtype: torch.dtype
) -> None:
    inputs, seed = case
    dtype = torch.promote_types(dtype, inputs.dtype)  # float32 may hold no point of a float64 set
    size = float((inputs.box().upper - inputs.box().lower).max())
    x = (inputs.centre() + 2 * size * uniform(seed + 7, (inputs.batch, *inputs.shape))).to(dtype)
    y = inputs.project(x)
    # <x - y, z - y> <= 0 for all z of the set: the support of x - y is attained at y
    a = (x - y).double().unsqueeze(1)
    best = inputs.support(a)[:, 0]
    attained = (a[:, 0] * y.double()).flatten(1).sum(1)
    # rounding y to the float grid costs up to eps (|c| + size) in each coordinate
    eps = torch.finfo(dtype).eps
    slack = 60 * eps * a.abs().sum() * (2 + size)
    assert (best <= attained + slack).all()


@given(sets(), dtypes)
def test_support_is_never_below_a_point_and_is_attained(
    case: tuple[InputSet, int], dtype: torch.dtype
) -> None:
    inputs, seed = case
    dtype = torch.promote_types(dtype, inputs.dtype)  # float32 may hold no point of a float64 set
    a = uniform(seed + 11, (inputs.batch, 3, *inputs.shape)).to(dtype)
    upper = inputs.support(a)
    assert upper.shape == (inputs.batch, 3) and upper.dtype == dtype
    slack = 1e-5 * (1 + upper.abs()) if dtype == torch.float32 else 1e-12 * (1 + upper.abs())
    for k in range(5):
        x = samples(inputs, seed + 30 + k, torch.float64).unsqueeze(1)
        assert ((a.double() * x).flatten(2).sum(2) <= upper + slack).all()
    if isinstance(inputs, Ball):
        ends = _ball_maximiser(inputs, a.double())
        values = (a.double() * ends).flatten(2).sum(2)
        assert torch.allclose(values, upper.double(), rtol=0, atol=float(slack.max()))
    if isinstance(inputs, Box):
        ends = torch.where(a > 0, inputs.upper.unsqueeze(1), inputs.lower.unsqueeze(1))
        values = (a.double() * ends).flatten(2).sum(2)
        assert torch.allclose(values, upper.double(), rtol=0, atol=float(slack.max()))


@given(sets(), dtypes)
def test_rows_shared_by_the_batch_give_the_same_support(
    case: tuple[InputSet, int], dtype: torch.dtype
) -> None:
    inputs, seed = case
    dtype = torch.promote_types(dtype, inputs.dtype)  # float32 may hold no point of a float64 set
    a = uniform(seed, (1, 4, *inputs.shape)).to(dtype)
    each = inputs.support(a.expand(inputs.batch, -1, *[-1] * len(inputs.shape)).clone())
    assert torch.allclose(inputs.support(a), each, atol=1e-5 if dtype == torch.float32 else 1e-12, rtol=1e-6)
    zero = inputs.support(torch.zeros_like(a))
    assert torch.equal(zero, torch.zeros_like(zero))


@given(sets([kind for kind in KINDS if kind != "meet"]))  # whose bounds are not attained
@settings(max_examples=40)
def test_support_has_the_maximiser_as_gradient(case: tuple[InputSet, int]) -> None:
    inputs, seed = case
    a = uniform(seed + 3, (inputs.batch, 2, *inputs.shape)).requires_grad_()
    total = inputs.support(a)
    (slope,) = torch.autograd.grad(total.sum(), a)
    # support functions are positively homogeneous: <a, gradient> = value
    value = (a * slope).flatten(2).sum(2)
    size = float((inputs.box().upper - inputs.box().lower).max())
    assert torch.allclose(value, total, atol=1e-6 * (1 + size), rtol=1e-6)


@given(sets(), dtypes)
def test_the_hull_holds_the_set_and_casts_never_shrink(
    case: tuple[InputSet, int], dtype: torch.dtype
) -> None:
    inputs, seed = case
    dtype = torch.promote_types(dtype, inputs.dtype)  # float32 may hold no point of a float64 set
    hull = inputs.box()
    lower, upper = hull.cast(dtype)
    assert (lower.double() <= hull.lower).all() and (upper.double() >= hull.upper).all()
    for k in range(4):
        x = samples(inputs, seed + k, torch.float64)
        assert hull.contains(x).all()
    mid, half = hull.middle(dtype)
    assert (mid.double() - half.double() <= hull.lower).all() and (
        mid.double() + half.double() >= hull.upper
    ).all()


@given(sets(), dtypes)
def test_steepest_displacements_have_the_size_of_the_set(
    case: tuple[InputSet, int], dtype: torch.dtype
) -> None:
    inputs, seed = case
    dtype = torch.promote_types(dtype, inputs.dtype)  # float32 may hold no point of a float64 set
    g = uniform(seed + 5, (inputs.batch, *inputs.shape)).to(dtype)
    d = inputs.steepest(g)
    assert d.shape == g.shape and d.dtype == dtype
    assert torch.equal(inputs.steepest(torch.zeros_like(g)), torch.zeros_like(g))
    assert torch.isfinite(d).all()
    if isinstance(inputs, Intersection):
        inputs = inputs.ball
    if not isinstance(inputs, Box | Ball):
        return
    gain = (g * d).flatten(1).sum(1)
    centred = inputs.support(g.unsqueeze(1))[:, 0] - (g * inputs.centre().to(dtype)).flatten(1).sum(1)
    assert torch.allclose(gain, centred, rtol=1e-3, atol=1e-5)


@given(sets(), st.booleans())
def test_a_selection_behaves_like_its_rows(case: tuple[InputSet, int], warm: bool) -> None:
    inputs, seed = case
    x = (inputs.centre() + uniform(seed, (inputs.batch, *inputs.shape))).float()
    a = uniform(seed, (inputs.batch, 2, *inputs.shape)).float()
    x, a = x.to(inputs.dtype), a.to(inputs.dtype)
    if warm:  # with the casts already kept
        inputs.project(x), inputs.support(a)
    index = torch.tensor([inputs.batch - 1, 0])
    part = inputs.select(index)
    assert part.batch == 2 and part.shape == inputs.shape and part.dtype == inputs.dtype
    # steps on a batch round otherwise than steps on a sample; closed forms do not
    same = torch.allclose if isinstance(inputs, Meet) else torch.equal
    assert same(part.project(x[index]), inputs.project(x)[index])
    assert torch.allclose(part.support(a[index]), inputs.support(a)[index], rtol=1e-5, atol=1e-6)
    assert torch.equal(part.contains(x[index]), inputs.contains(x)[index])
    mask = torch.arange(inputs.batch) == 0
    assert same(inputs.select(mask).project(x[mask]), inputs.project(x)[mask])


@pytest.mark.parametrize("p", NORMS)
@pytest.mark.parametrize("cut", [False, True])
def test_one_row_does_not_depend_on_the_rest_of_the_batch(p: float, cut: bool) -> None:
    center = uniform(0, (40, 3, 5), 0, 1).float()
    inputs: InputSet = Ball(center, uniform(1, (40,), 0.01, 2.0), p)
    if cut:
        assert isinstance(inputs, Ball)
        inputs = inputs & Box(torch.zeros_like(center), torch.ones_like(center))
    x = center + uniform(2, center.shape, -1, 1).float()
    whole = inputs.project(x)
    for b in range(40):
        row = torch.tensor([b])
        assert torch.equal(inputs.select(row).project(x[row])[0], whole[b])


def test_a_product_is_its_blocks_side_by_side() -> None:
    first, second = Box(torch.zeros(2, 2, 3), torch.ones(2, 2, 3)), Ball(torch.zeros(2, 4), 5.0, 2)
    both = Product([first, second])
    assert both.shape == (10,) and both.shapes == ((2, 3), (4,)) and both.batch == 2
    x = uniform(0, (2, 10), -9, 9)
    parts = both.split(x)
    assert torch.equal(parts[0], x[:, :6].reshape(2, 2, 3)) and torch.equal(both.merge(parts), x)
    assert torch.equal(both.project(x), both.merge([first.project(parts[0]), second.project(parts[1])]))
    a = torch.tensor([[[1.0, 0, 0, 0, 0, -2.0, 3.0, 4.0, 0, 0]]])
    assert both.support(a).tolist() == [[1.0 + 25.0], [1.0 + 25.0]]
    x = both.centre()
    x[1, 0] = -0.1  # outside in one block of one sample
    assert both.contains(x).tolist() == [True, False]
    with pytest.raises(ShapeError, match=r"points of shapes \[\(2, 6\), \(2, 4\)\] for blocks"):
        both.merge([parts[0].flatten(1), parts[1]])
    with pytest.raises(ShapeError, match="block 1 holds 1 sets, block 0 2"):
        Product([first, Ball(torch.zeros(1, 4), 5.0)])
    with pytest.raises(ShapeError, match="product of no sets"):
        Product([])


def test_blocks_of_a_product_are_sampled_with_different_radii() -> None:
    ball = Ball(torch.zeros(1, 2, dtype=torch.float64), 1.0, 2)
    where, radial = uniform(0, (1, 4), 0, 1), torch.tensor([0.25], dtype=torch.float64)
    first, second = Product([ball, ball]).split(Product([ball, ball]).sample(where, radial))
    assert float(first.norm()) == pytest.approx(0.5) and float(second.norm()) == pytest.approx(0.868034**0.5)


def test_linf_balls_and_boxes_meet_in_boxes() -> None:
    center = torch.tensor([[0.1, 0.9]])
    box = Box(torch.zeros(1, 2), torch.ones(1, 2))
    ball = Ball(center, 0.2)
    for inputs in (ball & box, box & ball, ball & Ball(center, 0.3)):
        assert isinstance(inputs, Box)
    both = ball & box
    assert isinstance(both, Box) and both.lower[0, 0] == 0 and both.upper[0, 1] == 1
    cut = Ball(center, 0.2, 2) & ball & box
    assert isinstance(cut, Intersection)
    assert isinstance(box & Ball(center, 0.2, 2), Intersection)


def _distance(x: Tensor, y: Tensor) -> Tensor:
    return (x.double() - y.double()).flatten(1).norm(dim=1)


def _ball_maximiser(ball: Ball, a: Tensor) -> Tensor:
    center, radius = ball.center.unsqueeze(1), ball.radius.reshape(-1, 1, *[1] * len(ball.shape))
    flat = a.flatten(2)
    if math.isinf(ball.p):
        step = flat.sign()
    elif ball.p == 2:
        step = flat / flat.norm(dim=2, keepdim=True)
    else:
        step = torch.zeros_like(flat).scatter(2, flat.abs().argmax(2, keepdim=True), 1.0) * flat.sign()
    return center + radius * step.reshape(a.shape)
