"""Parity of groups: the bracket of what compares their shares holds whatever the open cases are."""

from __future__ import annotations

from fractions import Fraction
from itertools import permutations, product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import robustbench_local as rbl
from robustbench_local.errors import LabelError, ShapeError, SpecError
from robustbench_local.specs import GroupClaim, Label, Verdict, gap, parse_spec, rate, ratio, robustness

SPEC = robustness(2, 2)
CLAIMS = {
    "gap": lambda groups, limit: gap(SPEC, Label("g", groups)) <= limit,
    "ratio": lambda groups, limit: ratio(SPEC, Label("g", groups)) >= limit,
}
COUNTS = st.tuples(*[st.integers(0, 3)] * 3).filter(lambda counts: sum(counts) > 0)


def worst(word: str, shares: list[Fraction], limit: Fraction) -> Fraction:
    """How far the shares miss the limit, by the definition."""
    if word == "gap":
        return max(one - other for one, other in permutations(shares, 2)) - limit
    return limit - (min(shares) / max(shares) if max(shares) else 1)


def counted(groups: list[tuple[int, int, int]]) -> tuple[Tensor, Tensor, Tensor]:
    """holds, open and group of every problem, for (proved, refuted, open) per group."""
    words = [
        (k, word)
        for k, counts in enumerate(groups)
        for word, n in zip("hvo", counts, strict=True)
        for _ in range(n)
    ]
    holds = torch.tensor([word == "h" for _, word in words])
    undecided = torch.tensor([word == "o" for _, word in words])
    return holds, undecided, torch.tensor([k for k, _ in words])


@pytest.mark.parametrize("word", CLAIMS)
@given(groups=st.lists(COUNTS, min_size=2, max_size=3), percent=st.integers(0, 100))
def test_the_bracket_is_that_of_all_completions(
    word: str, groups: list[tuple[int, int, int]], percent: int
) -> None:
    claim = CLAIMS[word](len(groups), percent / 100)
    lower, upper = claim.violation(*counted(groups))
    found = [
        worst(
            word,
            [Fraction(c[0] + m, sum(c)) for c, m in zip(groups, more, strict=True)],
            Fraction(percent, 100),
        )
        for more in product(*(range(c[2] + 1) for c in groups))
    ]
    assert lower <= float(min(found)) and upper == float(max(found))
    if all(c[2] == 0 for c in groups):
        assert lower == upper


def test_fifteen_hundredths_are_three_twentieths() -> None:
    """0.15 is not the float below it: a distance of exactly 3/20 is allowed."""
    claim = gap(SPEC, Label("g", 2)) <= 0.15
    assert Fraction(0.15) < Fraction(3, 20)
    assert claim.violation(*counted([(3, 17, 0), (6, 14, 0)])) == (0.0, 0.0)


def linear() -> nn.Module:
    network = nn.Linear(2, 2, bias=False).eval()
    network.weight.data = torch.eye(2)
    return network


VALUES = {
    "x0": torch.tensor([[0.8, 0.2], [0.6, 0.5], [0.9, 0.1], [0.9, 0.2]]),
    "c": torch.zeros(4, dtype=torch.int64),
    "eps": 0.1,
    "g": torch.tensor([0, 0, 1, 1]),
}  # robust, not robust; robust, robust: shares 1/2 and 1


def test_groups_are_verified_and_attacked() -> None:
    """The shares are 1/2 and 1: gap 1/2, ratio 1/2."""
    one = Label("g", 2)
    good = rbl.verify(linear(), gap(SPEC, one) <= 0.5, values=VALUES)
    assert good.verdict is Verdict.HOLDS and good.lower == good.upper == 0.0 and len(good.cases) == 4
    bad = rbl.verify(linear(), gap(SPEC, one) <= 0.4, values=VALUES)
    assert bad.verdict is Verdict.VIOLATED and bad.lower == pytest.approx(0.1) and bad.witness is None
    assert rbl.verify(linear(), ratio(SPEC, one) >= 0.5, values=VALUES).verdict is Verdict.HOLDS
    assert rbl.verify(linear(), ratio(SPEC, one) >= 0.8, values=VALUES).verdict is Verdict.VIOLATED
    unproved = rbl.verify(linear(), gap(SPEC, one) <= 0.4, values=VALUES, method="pgd")
    assert unproved.verdict is Verdict.UNKNOWN and unproved.reason == "bound"


def test_classes_can_be_the_groups() -> None:
    """Whether a class is served worse: the group is the property's own label."""
    values = {**VALUES, "c": torch.tensor([0, 0, 0, 1])}
    del values["g"]
    found = rbl.verify(linear(), gap(SPEC, Label("c", 2)) <= 0.5, values=values)
    assert found.verdict is Verdict.VIOLATED and found.lower == pytest.approx(2 / 3 - 0.5)


def test_texts_say_the_same() -> None:
    text = SPEC.text.replace("forall", "prop rob: forall", 1).split("\n")
    head = "\n".join([*text[:-1], "label g: class[2]", text[-1]])
    file = parse_spec(f"{head}\nprop fair: gap(rob, g) <= 0.5\nprop rule: ratio(rob, g) >= 4/5\n")
    fair, rule = file["fair"], file["rule"]
    assert isinstance(fair, GroupClaim) and isinstance(rule, GroupClaim)
    assert fair.text == (gap(SPEC, Label("g", 2)) <= 0.5).text
    assert rule.text == (ratio(SPEC, Label("g", 2)) >= 0.8).text
    for claim in (fair, rule):
        (again,) = parse_spec(claim.text).values()
        assert again.text == claim.text and again.id == claim.id
    assert rbl.verify(linear(), file, values=VALUES, prop="fair").verdict is Verdict.HOLDS
    assert rbl.verify(linear(), file, values=VALUES, prop="rule").verdict is Verdict.VIOLATED
    assert parse_spec(file.text).text == file.text


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("gap(rob, h) <= 0.5", "E-NAME unknown name `h`"),
        ("gap(rob, eps) <= 0.5", "E-SPEC `eps` is no label"),
        ("gap(bob, c) <= 0.5", "E-NAME unknown property `bob`"),
        ("gap(rob, c) >= 0.5", "E-PARSE expected `<=`, found `>=`"),
        ("ratio(rob, c) >= 2", "E-SPEC a share of 2.0"),
        ("gap(rob, one) <= 0.5", "E-SPEC gap() compares one group"),
        ("gap(most, c) <= 0.5", "E-SPEC a gap is that of a single property"),
        (
            "gap(c) <= 0.5: each k in [1]: forall x: real[2] in box(0, 1): f(x)[k] <= 1",
            "E-SPEC a gap is that of one",
        ),
    ],
)
def test_errors_of_texts_have_places(line: str, message: str) -> None:
    text = (
        "spec t v1\nnet f: real[2] -> real[2]\nlabel c: class[2]\nlabel one: class[1]\nparam eps: real = 0\n"
        "prop rob: forall x: real[2] in box(0, 1): argmax(f(x)) == c\nprop most: rate(rob) >= 0.5\n"
    )
    with pytest.raises(SpecError) as caught:
        parse_spec(f"{text}prop p: {line}")
    code, what = message.split(" ", 1)
    (error,) = caught.value.errors  # type: ignore[attr-defined]
    assert error.code == code and what in str(error) and ":8:" in str(error)


def test_groups_that_are_none_are_refused() -> None:
    claim = gap(SPEC, Label("g", 2)) <= 0.5

    def said(**changed: object) -> str:
        values = {**VALUES, **changed}
        with pytest.raises((SpecError, ShapeError, LabelError)) as caught:
            rbl.verify(linear(), claim, values=values, timeout=5.0)
        return str(caught.value)

    assert "no value for `g` (label g: class[2])" in said(g=None)
    assert "group 1 of label g: class[2] has no problems" in said(g=torch.zeros(4, dtype=torch.int64))
    assert "3 groups of 4 problems" in said(g=[0, 1, 0])
    assert "outside class[2]" in said(g=[0, 1, 2, 0])
    with pytest.raises(SpecError, match="is declared twice"):
        gap(SPEC, Label("c", 3))
    with pytest.raises(SpecError, match=r"gap\(\) of"):
        gap(rate(SPEC), Label("g", 2))  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="number from 0 to 1"):
        _ = gap(SPEC, Label("g", 2)) <= 5
