"""Parts, counts, overlap, names and time: each computes what plain torch says, lowered and as a feature."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from robustbench_local.errors import LabelError, RobustBenchError, ShapeError, SpecError
from robustbench_local.specs import (
    Data,
    Formula,
    Label,
    Net,
    Spec,
    Term,
    Var,
    add,
    always,
    at_least,
    box,
    close,
    concat,
    conf,
    drop,
    eventually,
    flip,
    forall,
    iou,
    let,
    pick,
    put,
    reshape,
    rollout,
    until,
    vmax,
)

K, B = 4, 5
X, F, C = Var("x", K), Net("f", K, K), Label("c", K)
Y = F(X)
IMAGE = reshape(X, (1, 2, 2))


def inputs(seed: int = 0) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(seed)
    x = torch.rand(B, K, generator=source, dtype=torch.float64)
    return x, torch.randint(0, K, (B,), generator=source)


def value(term: Term, **values: object) -> Tensor:
    """The values of a number at the points of `inputs`, of a spec `term <= 0`."""
    spec = forall(X, box(0, 1), term <= 0)
    given = {name: bound for name, bound in values.items() if name in spec.slots}
    query = spec.unchecked().query(lambda x: x.square(), **given)
    if query.batch == 1:
        query = query.select(torch.zeros(B, dtype=torch.int64))
    return query.violation(query.point(x=inputs()[0]))


def dropped(y: Tensor, c: Tensor) -> Tensor:
    return torch.stack([torch.cat([row[:k], row[k + 1 :]]) for row, k in zip(y, c.tolist(), strict=True)])


X0, C0 = inputs()
Y0 = X0.square()
TERMS: list[tuple[Term, Tensor]] = [
    (drop(Y, 1)[1], Y0[:, 2]),
    (vmax(drop(Y, C)), dropped(Y0, C0).amax(1)),
    (drop(Y, C)[0], dropped(Y0, C0)[:, 0]),
    (vmax(drop(Y * X, C)), dropped(Y0 * X0, C0).amax(1)),  # a product: computed by plain operations
    (conf(Y), Y0.softmax(1).amax(1)),
    (pick(Y, [2, 0, 2])[0], Y0[:, 2]),
    (pick(Y, [2, 0, -1])[2], Y0[:, 3]),
    (flip(IMAGE)[0, 1, 0] + 0 * Y[0], X0[:, 3]),
    (flip(IMAGE, axis=1)[0, 0, 0] + 0 * Y[0], X0[:, 2]),
    (pick(Y * X, [3, 1])[0], Y0[:, 3] * X0[:, 3]),
    (put(Y, 2, X[0])[2], X0[:, 0]),
    (put(Y, -1, 7)[2], Y0[:, 2]),
    (F(put(X, 0, 0.5))[0], torch.full((B,), 0.25, dtype=torch.float64)),
    (add(X, 1, Y[3])[1], X0[:, 1] + Y0[:, 3]),
    (let("u", Y - X)[0] + let("u", Y - X)[1], (Y0 - X0)[:, :2].sum(1)),
    (vmax(let("w", Y * X)), (Y0 * X0).amax(1)),
]


@pytest.mark.parametrize(("term", "expected"), TERMS, ids=[term.text for term, _ in TERMS])
def test_terms_compute_what_plain_torch_computes(term: Term, expected: Tensor) -> None:
    assert torch.allclose(value(term, c=C0), expected, atol=1e-12)


def truth(formula: Formula) -> Tensor:
    spec = forall(X, box(0, 1), formula).unchecked()
    query = spec.query(lambda x: x.square()).select(torch.zeros(B, dtype=torch.int64))
    z = query.point(x=X0)
    holds, violation = ~query.violated(z), query.violation(z)
    assert torch.equal(violation > 0, ~holds) or bool((violation == 0).any())
    return holds


def test_at_least_counts_claims_and_elements() -> None:
    for count in range(1, K + 1):
        assert torch.equal(truth(at_least(count, Y > 0.25)), (Y0 > 0.25).sum(1) >= count)
        claims = [Y[k] > 0.1 * k for k in range(K)]
        expected = (Y0 > 0.1 * torch.arange(K)).sum(1) >= count
        assert torch.equal(truth(at_least(count, *claims)), expected)
        assert torch.equal(truth(~at_least(count, *claims)), ~expected)
    assert torch.equal(truth(at_least(1, (Y[0] > 0.5) | (Y[1] > 0.5))), (Y0[:, :2] > 0.5).any(1))


def test_time_is_expanded() -> None:
    early = [Y[k] <= 0.5 for k in range(3)]
    assert always(3, lambda k: Y[k] <= 0.5).text == (early[0] & early[1] & early[2]).text
    assert eventually([2, 0], lambda k: Y[k] <= 0.5).text == (early[2] | early[0]).text
    claims, goals = Y0 <= 0.75, X0 >= 0.75
    reached = torch.zeros(B, dtype=torch.bool)
    for k in range(K):
        reached |= goals[:, k] & claims[:, :k].all(1)
    assert torch.equal(truth(until(K, lambda k: Y[k] <= 0.75, lambda k: X[k] >= 0.75)), reached)


def test_a_long_closed_loop_is_short_text_and_quick() -> None:
    step = Net("step", 2 * K, K)
    path = rollout(lambda s: step(concat(s, F(s))) + s * 0.5 - 0.25 * s, X, 30)
    spec = forall(X, box(0, 1), always(31, lambda k: path[k] <= 2))
    lines = spec.text.splitlines()
    assert [line for line in lines if line.startswith("let")][:2] == [
        "let s1 = step(concat(x, f(x))) + x * 0.5 - 0.25 * x",
        "let s2 = step(concat(s1, f(s1))) + s1 * 0.5 - 0.25 * s1",
    ]
    assert len(spec.text) < 6000
    query = spec.query({"f": lambda x: x * 0, "step": lambda x: x[:, :K] * 0.5})
    x = torch.ones(1, K, dtype=torch.float64) * 0.5
    assert float(query.violation(x)) == pytest.approx(0.5 * 0.75**0 - 2)


def test_a_loop_with_inputs_takes_a_row_a_step() -> None:
    states = rollout(lambda s, u: s + u, X[0], 3, inputs=X[1:], name="total")
    assert torch.allclose(value(states[3] + Y[0] * 0), X0.sum(1))


BOXES = st.tuples(*[st.floats(0, 0.5, width=32)] * 2, *[st.floats(0.5, 1, width=32)] * 2)


@given(BOXES, BOXES)
@settings(max_examples=50)
def test_overlap_of_boxes(a: tuple[float, ...], b: tuple[float, ...]) -> None:
    left, right = torch.tensor([a], dtype=torch.float64), torch.tensor([b], dtype=torch.float64)
    sides = (torch.minimum(left, right)[:, 2:] - torch.maximum(left, right)[:, :2]).clamp(min=0)
    areas = [float((t[:, 2:] - t[:, :2]).prod()) for t in (left, right)]
    if min(areas) < 1e-3:
        return
    common = float(sides.prod())
    spec = forall(X, box(0, 1), iou(Y, Data("truth", K)) <= 0).unchecked()
    query = spec.query(lambda x: x, truth=right)
    assert float(query.violation(query.point(x=left))) == pytest.approx(common / (sum(areas) - common))


def test_close_couples_all_elements_but_some() -> None:
    other = Var("z", K)
    assert close(X, other, 0.1).text == "abs(z - x) <= 0.1"
    assert close(X, other, 0.1, except_=[1, 3]).text == (
        "abs(pick(z, [0, 2], axis=0) - pick(x, [0, 2], axis=0)) <= 0.1"
    )


REFUSED: list[tuple[Callable[[], object], type[RobustBenchError], str]] = [
    (lambda: drop(Y[0], 0), ShapeError, "at least 2 elements"),
    (lambda: drop(Y, 4), LabelError, "none of 4"),
    (lambda: drop(Y, Label("d", 3)), LabelError, r"none of label d: class\[3\]"),
    (lambda: drop(Y, True), SpecError, "drop takes a class, got True"),
    (lambda: pick(Y, [4]), LabelError, "index 4 is out of range"),
    (lambda: pick(Y, []), ShapeError, "leaves no element"),
    (lambda: pick(Y, [0], axis=1), ShapeError, "has no axis 1"),
    (lambda: put(Y, 4, 0), LabelError, "has no element 4"),
    (lambda: add(IMAGE, 0, 1), LabelError, "has no element 0"),
    (lambda: at_least(5, Y > 0), SpecError, "a whole number from 1 to 4"),
    (lambda: at_least(0, Y[0] > 0), SpecError, "a whole number from 1 to 1"),
    (lambda: iou(Y, Y[:3]), ShapeError, "left, top, right, bottom"),
    (lambda: close(X, Y[:3], 1), ShapeError, r"shape \(4,\)"),
    (lambda: close(X, Y, 1, except_=[9]), LabelError, "names element 9"),
    (lambda: close(X, Y, 1, except_=range(4)), SpecError, "leaves no element"),
    (lambda: always(0, lambda k: Y[k] <= 0), SpecError, "`always` speaks of no step"),
    (lambda: rollout(lambda s: s, X, 0), SpecError, "takes 0 of type int steps"),
    (lambda: rollout(lambda s, u: s, X, 3, inputs=X), ShapeError, "3 steps has inputs of shape"),
    (lambda: rollout(lambda s: s[:2], X, 3), ShapeError, r"shape \(4,\) to \(2,\)"),
    (lambda: let("1st", Y), SpecError, "is no name"),
    (lambda: named(let("u", Y), let("u", X)), SpecError, "'u' is defined twice: f\\(x\\), x"),
    (lambda: named(let("x", Y)), SpecError, "need different names"),
]


def named(*terms: Term) -> Spec:
    return forall(X, box(0, 1), always(len(terms), lambda k: terms[k] <= 1))


@pytest.mark.parametrize(("build", "kind", "message"), REFUSED, ids=[message for _, _, message in REFUSED])
def test_misuse_is_refused_with_a_cure(
    build: Callable[[], object], kind: type[RobustBenchError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        build()
