"""Binding values, the query's contract, the ready properties, and what importing costs."""

from __future__ import annotations

import hashlib
import math
import subprocess
import sys
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import robustbench_local.specs as specs
from robustbench_local.errors import (
    DtypeError,
    EmptySetError,
    LabelError,
    NonFiniteError,
    RadiusError,
    RobustBenchError,
    ShapeError,
    SpecError,
)
from robustbench_local.specs import (
    SPECS,
    All,
    Any,
    Atom,
    Ball,
    Box,
    Data,
    Intersection,
    Net,
    Query,
    Spec,
    Var,
    Verdict,
    box,
    forall,
    output_bounds,
    robustness,
    spec,
    targeted,
)

SHAPE, CLASSES, B = (1, 3, 3), 4, 5


def _images(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(B, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=dtype)


def _labels() -> Tensor:
    return torch.tensor([0, 1, 2, 3, 0])


def _network(dtype: torch.dtype = torch.float32) -> nn.Module:
    source = torch.Generator().manual_seed(1)
    weight = torch.randn(CLASSES, 9, generator=source, dtype=torch.float64).to(dtype)

    class Linear(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1) @ weight.T

    return Linear()


@pytest.mark.parametrize("p", [1, 2, math.inf])
@pytest.mark.parametrize("bounds", [(0.0, 1.0), None])
def test_robustness_is_the_worst_margin_over_the_other_classes(
    p: float, bounds: tuple[float, float] | None
) -> None:
    x, c, network = _images(), _labels(), _network()
    query = robustness(SHAPE, CLASSES, p=p, bounds=bounds).query(network, x0=x, c=c, eps=0.1)
    y = network(x)
    others = y.masked_fill(nn.functional.one_hot(c, CLASSES).bool(), -math.inf).amax(1)
    assert torch.equal(query.violation(x), others - y[torch.arange(B), c])
    assert torch.equal(query.violated(x), y.argmax(1) != c)
    kind = Ball if bounds is None else Box if math.isinf(p) else Intersection
    assert isinstance(query.inputs, kind) and query.inputs.contains(x).all()
    assert query.batch == len(query) == B and query.C.shape == (B, CLASSES - 1, CLASSES)
    assert isinstance(query.tree, Any) and not any(atom.strict for atom in query.tree.children)  # type: ignore[union-attr]
    assert len(query.clauses()) == CLASSES - 1


def test_targeted_is_one_closed_clause() -> None:
    x, t, network = _images(), _labels(), _network()
    query = targeted(SHAPE, CLASSES).query(network, x0=x, t=t, eps=0.1)
    y = network(x)
    lead = (y[torch.arange(B), t].unsqueeze(1) - y).masked_fill(
        nn.functional.one_hot(t, CLASSES).bool(), math.inf
    )
    assert torch.equal(query.violation(x), lead.amin(1))
    assert isinstance(query.tree, All) and len(query.clauses()) == 1
    tie = query.with_network(lambda x: torch.ones(B, CLASSES))
    assert tie.violated(x).all() and not query.holds(torch.zeros(B)).any()


def test_output_bounds_measures_how_far_an_output_leaves() -> None:
    x, network = _images(), _network()
    y = network(x)
    query = output_bounds(SHAPE, CLASSES).query(network, x0=x, eps=0.1, low=-1.0, high=y + 0.5)
    expected = torch.maximum((-1.0 - y).amax(1), torch.full((B,), -0.5))
    assert torch.allclose(query.violation(x), expected, atol=1e-6)
    assert query.holds(torch.zeros(B)).all()  # strict atoms: closed property


def test_a_spec_is_added_in_one_place() -> None:
    @spec("test-only")
    def below_one(shape: tuple[int, ...], outputs: int) -> Spec:
        x = Var("x", shape)
        return forall(x, box(0, 1), Net("f", shape, outputs)(x) <= 1)

    assert SPECS["test-only"] is below_one
    with pytest.raises(SpecError, match="'test-only' is taken"):
        spec("test-only")
    with pytest.raises(SpecError, match="the form 'X'"):
        spec("test-too", form="X")
    specs.library.registry._SPECS.pop("test-only")
    specs.library.registry._KINDS.pop("test-only")


def test_text_and_id_carry_the_parameters_but_not_the_data() -> None:
    ready = robustness(SHAPE, CLASSES)
    assert ready.text == (
        "spec v1\nnet f: real[1,3,3] -> real[4]\ndata x0: real[1,3,3]\nparam eps: real\nlabel c: class[4]\n"
        "forall x: real[1,3,3] in ball(x0, eps, p=inf) & box(0, 1): argmax(f(x)) == c"
    )
    one = ready.query(_network(), x0=_images(), c=_labels(), eps=8 / 255)
    two = ready.query(_network(), x0=_images() / 2, c=0, eps=8 / 255)
    other = ready.query(_network(), x0=_images(), c=_labels(), eps=0.1)
    assert "param eps: real = 8/255\n" in one.text
    assert one.id == two.id == hashlib.sha256(one.text.encode()).hexdigest() != other.id
    each = ready.query(_network(), x0=_images(), c=_labels(), eps=torch.linspace(0.1, 0.2, B))
    assert "param eps: real = [0.1" in each.text


def test_values_without_a_batch_axis_hold_for_all() -> None:
    x, c, network = _images(), _labels(), _network()
    ready = robustness(SHAPE, CLASSES)
    one = ready.query(network, x0=x[0], c=2, eps=0.1)
    assert one.batch == 1 and one.inputs.shape == SHAPE
    targets = ready.query(network, x0=x[0], c=c, eps=0.1)
    assert targets.batch == B and torch.equal(targets.inputs.box().lower[3], targets.inputs.box().lower[0])
    radii = ready.query(network, x0=x, c=c, eps=np.linspace(0, 0.2, B))
    assert radii.inputs.box().upper[0].equal(x[0].double())
    assert ready.query(network, x0=x.numpy(), c=c.tolist(), eps=0.1).inputs.dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_set_reports_the_dtype_of_the_data_and_keeps_double_radii(dtype: torch.dtype) -> None:
    query = robustness(SHAPE, CLASSES, bounds=None).query(_network(dtype), x0=_images(dtype), c=0, eps=0.1)
    assert query.inputs.dtype == dtype
    ball = Ball(_images(dtype), 0.1)
    assert torch.equal(query.inputs.box().lower, ball.box().lower)
    assert query.violation(_images(dtype)).dtype == dtype


GOOD = {"x0": _images(), "c": _labels(), "eps": 0.1}
BAD_VALUES: list[tuple[Mapping[str, object], type[RobustBenchError], str, str]] = [
    ({"eps": None}, SpecError, "E-PARAM", "no value for `eps` (param eps: real). Pass eps=... to query()"),
    ({"x0": None}, SpecError, "E-PARAM", "no value for `x0` (data x0: real[1,3,3])"),
    ({"epsilon": 1}, SpecError, "E-PARAM", "no value named 'epsilon'. Did you mean 'eps'? known: x0, eps, c"),
    (
        {"c": torch.tensor([0, 4, 0, 0, 0])},
        LabelError,
        "E-INDEX",
        "label 'c' is 4 at sample 1, outside class[4]",
    ),
    ({"c": -1}, LabelError, "E-INDEX", "label 'c' is -1 at sample 0"),
    ({"c": 1.0}, DtypeError, "E-DTYPE", "label 'c' has dtype torch.float64"),
    ({"c": True}, DtypeError, "E-DTYPE", "label 'c' has dtype torch.bool"),
    ({"c": torch.zeros(5, 1).long()}, ShapeError, "E-SHAPE", "label 'c' has shape (5, 1)"),
    ({"c": torch.zeros(4).long()}, SpecError, "E-DATA", "batch sizes differ: x0 has 5, c has 4 samples"),
    ({"x0": torch.zeros(5, 3, 3)}, ShapeError, "E-SHAPE", "data 'x0' has shape (5, 3, 3)"),
    ({"x0": torch.zeros(5, *SHAPE).long()}, DtypeError, "E-DTYPE", "data 'x0' has dtype torch.int64"),
    ({"x0": torch.full((5, *SHAPE), math.nan)}, NonFiniteError, "E-FINITE", "data 'x0' is nan at sample 0"),
    ({"x0": "cat"}, RobustBenchError, "E-SPEC", "'cat'"),
    ({"eps": -0.1}, RadiusError, "E-RADIUS", "radius is -0.1"),
    ({"eps": math.nan}, NonFiniteError, "E-FINITE", "not finite"),
    ({"eps": torch.zeros(5, 2)}, ShapeError, "E-SHAPE", "parameter 'eps' has shape (5, 2)"),
    ({"x0": _images() + 2}, EmptySetError, "E-VACUOUS", "empty box at sample 0, coordinate (0, 0, 0)"),
]


@pytest.mark.parametrize(
    ("change", "kind", "code", "message"), BAD_VALUES, ids=[b[3][:40] for b in BAD_VALUES]
)
def test_bad_values_are_named(
    change: Mapping[str, object], kind: type[RobustBenchError], code: str, message: str
) -> None:
    values = {k: v for k, v in {**GOOD, **change}.items() if v is not None}
    with pytest.raises(kind) as caught:
        robustness(SHAPE, CLASSES).query(_network(), **values)
    assert message in str(caught.value) and caught.value.code == code


def test_all_problems_of_a_call_come_in_one_error() -> None:
    with pytest.raises(SpecError) as caught:
        robustness(SHAPE, CLASSES).query(_network(), x0=torch.zeros(5, 2), c=7, esp=0.1)
    text = str(caught.value)
    assert text.startswith("4 problems: 1) ") and "'esp'" in text and "no value for `eps`" in text
    assert "label 'c' is 7" in text and "data 'x0' has shape (5, 2)" in text
    with pytest.raises(SpecError, match="the network is 3"):
        robustness(SHAPE, CLASSES).query(3, **GOOD)  # type: ignore[arg-type]


def test_a_network_of_other_outputs_is_refused_when_it_runs() -> None:
    query = robustness(SHAPE, CLASSES).query(lambda x: x.flatten(1), **GOOD)
    with pytest.raises(
        ShapeError, match=r"returned shape \(5, 9\), the property expects 5 samples of 4 outputs"
    ):
        query.violation(_images())


def _query(tree: Any | All | Atom, network: object = None) -> Query:
    unit = Box(torch.zeros(B, 2), torch.ones(B, 2))
    C, d = torch.eye(2).double().expand(B, 2, 2), torch.zeros(B, 2).double()
    return Query(network or (lambda x: x), unit, C, d, tree, "test")  # type: ignore[arg-type]


def test_not_a_number_is_never_safe_and_never_a_witness() -> None:
    for tree in (Any((Atom(0, False), Atom(1, False))), All((Atom(0, True), Atom(1, False)))):
        query = _query(tree)
        e = torch.tensor(
            [[math.nan, 1.0], [1.0, math.nan], [math.inf, 1.0], [-1.0, -1.0], [-math.inf, -math.inf]]
        )
        v = query.combine(e)
        assert v[:2].isnan().all() and v[3] == -1
        assert query.holds(v).tolist() == [False, False, False, True, False]
        assert query.violated(e).tolist() == [False] * 5


def test_holds_at_zero_only_where_every_atom_is_strict() -> None:
    zero = torch.zeros(B)
    assert _query(Any((Atom(0, True), Atom(1, True)))).holds(zero).all()
    assert not _query(Any((Atom(0, True), Atom(1, False)))).holds(zero).any()
    assert not _query(Atom(0, True)).holds(zero + 1e-9).any()


def test_strictness_decides_truth_at_zero() -> None:
    x = torch.zeros(B, 2)
    assert not _query(Atom(0, True)).violated(x).any() and _query(Atom(0, False)).violated(x).all()
    assert _query(Any((Atom(0, True), Atom(1, False)))).violated(x).all()
    assert not _query(All((Atom(0, True), Atom(1, False)))).violated(x).any()


def test_truth_is_decided_in_double_precision() -> None:
    # 16777217 is no float32: the difference below is lost in float32, not in float64
    y = torch.tensor([[16777216.0, 16777216.0]])
    unit = Box(torch.zeros(1, 1), torch.ones(1, 1))
    C, d = torch.tensor([[[1.0, -1.0]]]).double(), torch.tensor([[-1e-9]]).double()
    assert not Query(lambda x: y, unit, C, d, Atom(0, False), "t").violated(torch.zeros(1, 1)).any()


def test_selection_and_gradient() -> None:
    query = robustness(SHAPE, CLASSES, p=2).query(_network(), **GOOD)
    x = _images().requires_grad_()
    with torch.inference_mode():
        query.violation(x)  # fills the casts
    query.violation(x).sum().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0
    index = torch.tensor([4, 1])
    part = query.select(index)
    assert part.batch == 2 and part.id == query.id
    assert torch.equal(part.violation(x[index]), query.violation(x)[index])
    mask = torch.tensor([True, False, True, False, False])
    assert torch.equal(query.select(mask).violated(x[mask]), query.violated(x)[mask])


@pytest.mark.parametrize("p", [2, math.inf])
def test_an_empty_batch_is_a_batch(p: float) -> None:
    x = torch.zeros(0, *SHAPE)
    query = robustness(SHAPE, CLASSES, p=p).query(
        _network(), x0=x, c=torch.zeros(0, dtype=torch.int64), eps=0.1
    )
    assert query.batch == 0 and query.violation(x).shape == query.violated(x).shape == (0,)
    part = robustness(SHAPE, CLASSES, p=p).query(_network(), **GOOD).select(torch.zeros(B, dtype=torch.bool))
    assert part.batch == 0 and part.violation(x).shape == (0,)


def test_bad_queries_are_refused() -> None:
    unit = Box(torch.zeros(2, 1), torch.ones(2, 1))
    with pytest.raises(ShapeError, match=r"C has shape \(2, 3\), d \(2, 3\)"):
        Query(lambda x: x, unit, torch.zeros(2, 3), torch.zeros(2, 3), Atom(0, True))
    with pytest.raises(ShapeError, match="inputs a batch of 2"):
        Query(lambda x: x, unit, torch.zeros(3, 1, 1), torch.zeros(3, 1), Atom(0, True))
    with pytest.raises(SpecError, match=r"atoms outside 0\.\.0"):
        Query(lambda x: x, unit, torch.zeros(2, 1, 1), torch.zeros(2, 1), Atom(1, True))
    with pytest.raises(ShapeError, match="atom values"):
        _query(Atom(0, True)).combine(torch.zeros(B, 3))


def test_too_many_clauses_are_counted_not_built() -> None:
    pair = Any((Atom(0, True), Atom(1, True)))
    with pytest.raises(SpecError, match=r"violation has 1.1e\+12 clauses") as caught:
        _query(All((pair,) * 40)).clauses()
    assert caught.value.code == "E-DNF"


def test_verdict_words() -> None:
    assert [str(v) for v in Verdict] == ["HOLDS", "VIOLATED", "UNKNOWN"] and Verdict("HOLDS") is Verdict.HOLDS


def test_wide_outputs_lower_quickly_and_share_their_rows() -> None:
    x0 = Data("x0", 2)
    x = Var("x", like=x0)
    query = forall(x, box(0, 1), Net("f", 2, 500)(x) <= x0[0]).query(lambda x: x, x0=torch.zeros(100, 2))
    assert query.C.shape == (100, 500, 500) and query.C.stride(0) == 0


def test_all_names_exist_and_are_documented() -> None:
    for name in set(specs.__all__) - {"SPECS", "Tree"}:  # a mapping and a union
        assert getattr(specs, name).__doc__, name


def test_importing_is_light() -> None:
    code = (
        "import sys, torch, numpy; before = set(sys.modules)\n"
        "import robustbench_local.specs\n"
        "new = {m.split('.')[0] for m in set(sys.modules) - before}\n"
        "print(sorted(new & {'plotly', 'cvxpy', 'pandas', 'scipy', 'sklearn', 'onnx', 'hypothesis'}))\n"
        "print(sorted(m for m in set(sys.modules) - before if m.startswith('torch.export')))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", "[]"]
