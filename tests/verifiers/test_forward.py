"""Forward linear bounds: sound on every operator and random networks, ordered, exact where they should be."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from robustbench_local.verifiers.parallel import parallel_lines
from robustbench_local.verifiers.rules.curves import Smooth
from torch import Tensor, nn

from robustbench_local.specs import Box, read_vnnlib
from robustbench_local.strategies import RandomNetwork, networks, queries
from robustbench_local.verifiers import (
    CROWN,
    IBP,
    RULES,
    Budget,
    Elementwise,
    Forward,
    ForwardBackward,
    ForwardCROWN,
    Interval,
    Node,
    Rule,
    Verifier,
    find_rule,
    forward_bounds,
    from_onnx,
    from_torch,
    interval_bounds,
    output_bounds,
)

from .networks import Fn, box_points, run_points, set_points, traced, uniform, value
from .rules.cases import CASES
from .rules.test_curves import boxes as curve_boxes
from .rules.test_every_rule import boxes, graphs, tolerance
from .rules.test_lines import boxes as line_boxes
from .rules.test_lines import values_at

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
FORWARD: dict[str, Verifier] = {
    "forward": Forward(),
    "no symbols": Forward(symbols=0),
    "three symbols": Forward(symbols=3),
    "hybrid": ForwardBackward(symbols=20),
    "crown": ForwardCROWN(symbols=20),
}
FEW = settings(max_examples=8)
DEEP = networks(depth=6)


def one_of_each(kind: Callable[[Rule], object]) -> list[str]:
    """The first case of every rule that differs in `kind`; None: not wanted."""
    found: dict[object, str] = {}
    for name, case in CASES.items():
        rule = RULES.get(case.op)  # none where the operator is rewritten into others
        key = None if rule is None else kind(rule)
        if key is not None and not case.parts:
            found.setdefault(key, name)
    return list(found.values())


def slack(*rows: Tensor) -> Tensor:
    """What float32 may lose on values of this size."""
    return 2e-5 * (1 + torch.stack([r.abs().amax(1) for r in rows]).amax(0)).unsqueeze(1)


@pytest.mark.parametrize("name", one_of_each(lambda rule: None if rule.affine else rule))
def test_bounds_enclose_every_sampled_point(name: str) -> None:
    lower, upper = boxes(CASES[name].shape)
    points = box_points(lower, upper, count=20)
    graph = graphs(name)[1]
    y = run_points(graph.run, points)
    y = y.reshape(*y.shape[:2], -1)
    C = uniform(6, (3, y.shape[2]))
    C = torch.cat((C / C.abs().sum(1, keepdim=True), torch.eye(y.shape[2], dtype=C.dtype)))
    y = y @ C.to(y).T
    extra = tolerance(y)
    with torch.no_grad():
        plain = output_bounds(graph, lower, upper, IBP(), C)
        for kind in ("forward", "no symbols", "hybrid"):
            low, high = output_bounds(graph, lower, upper, FORWARD[kind], C)
            assert bool((low - extra <= y).all() and (y <= high + extra).all()), kind
            assert bool(((high - low)[6] <= 4 * extra[6]).all()), f"{kind} is exact at points"
            assert bool((plain[0] - extra <= low).all() and (high <= plain[1] + extra).all()), kind


@pytest.mark.parametrize("name", one_of_each(lambda rule: type(rule) if rule.affine else None))
def test_affine_operators_are_exact(name: str) -> None:
    graph = graphs(name)[0].to(torch.float64)
    if not all(find_rule(node).affine for node in graph.nodes[1:]):
        return
    lower, upper = boxes(CASES[name].shape, torch.float64)
    with torch.no_grad():
        want = output_bounds(graph, lower, upper, CROWN())
        got = output_bounds(graph, lower, upper, Forward(symbols=0))
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-12)


def strip_of(name: str, dtype: torch.dtype = torch.float32) -> tuple[Elementwise, Node, Interval]:
    """The rule of a case's operator, the node that uses it, and boxes on which it is finite."""
    node = next(n for n in graphs(name)[0].to(dtype).nodes[1:] if n.op == CASES[name].op)
    rule = find_rule(node)
    assert isinstance(rule, Elementwise)
    box = curve_boxes(dtype) if isinstance(rule, Smooth) else line_boxes(dtype)
    found = rule.interval(node, box)
    fine = found.lower.isfinite() & found.upper.isfinite()
    return rule, node, Interval(box.lower[fine], box.upper[fine])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", one_of_each(lambda rule: rule if isinstance(rule, Elementwise) else None))
def test_strips_enclose_the_function(name: str, dtype: torch.dtype) -> None:
    rule, node, box = strip_of(name, dtype)
    strip, lines = rule.parallel(node, box), rule.lines(node, box)
    share = torch.linspace(0, 1, 81, dtype=dtype).unsqueeze(1)
    x = torch.minimum(torch.maximum(box.lower + share * (box.upper - box.lower), box.lower), box.upper)
    (y, most), far = values_at(node, x), torch.maximum(box.lower.abs(), box.upper.abs())
    slopes = 1 + lines.lower_slope.abs() + lines.upper_slope.abs()
    ulp = 20 * torch.finfo(dtype).eps * (1 + far * slopes + y.abs().amax(0))
    low, high = strip.slope * x + strip.low, strip.slope * x + strip.high
    fine = low.isfinite().all(0) & high.isfinite().all(0)
    assert float(fine.double().mean()) > 0.9, "only overflow"
    assert bool(((low <= y + ulp) & (most <= high + ulp))[:, fine].all())
    point = (box.lower == box.upper) & fine & (y == most).all(0)
    assert bool((strip.high - strip.low <= 2 * ulp)[point].all()), "exact at points"


def test_the_strip_of_relu_by_hand() -> None:
    rule, node, _ = strip_of("relu")
    box = Interval(torch.tensor([-1.0, -1.0, 1.0, -2.0]), torch.tensor([1.0, 3.0, 2.0, -1.0]))
    generic = Elementwise.parallel(rule, node, box)
    for strip in (rule.parallel(node, box), generic):
        torch.testing.assert_close(strip.slope, torch.tensor([0.5, 0.75, 1.0, 0.0]))
        torch.testing.assert_close(strip.low, torch.zeros(4), atol=1e-6, rtol=0)
        torch.testing.assert_close(strip.high, torch.tensor([0.5, 0.75, 0.0, 0.0]))


def test_a_pair_of_lines_counts_where_they_cross() -> None:
    one, none = torch.ones(1), torch.zeros(1)
    box = Interval(-2 * one, one)
    strip = parallel_lines([(none, None), (one, None)], [(one / 3, 2 * one / 3)], box)
    # max(0, x) - x / 3 is least at the kink, though each line by itself goes down to -1/3 or -4/3
    torch.testing.assert_close(strip.slope, one / 3)
    torch.testing.assert_close(strip.low, none, atol=1e-6, rtol=0)


def test_errors_cancel_where_they_have_symbols() -> None:
    """One relu on [-1, 1] is r = x/2 + 1/4 + e/4, so r - r/2 = x/4 + 1/8 + e/8; two have two errors."""
    inputs = Box(-torch.ones(1, 1), torch.ones(1, 1))
    half = traced(Fn(lambda x: (r := torch.relu(x)) - 0.5 * r), 1)
    same = traced(Fn(lambda x: torch.relu(x) - torch.relu(x)), 1)
    for graph, symbols, want in (
        (half, 9, (-0.25, 0.5)),
        (half, 0, (-0.5, 0.75)),  # intervals see r in [0, 1] and r/2 in [0, 1/2] as independent
        (same, 9, (-0.5, 0.5)),
    ):
        box = forward_bounds(graph, inputs, symbols=symbols)[0][graph.output]
        assert (box.lower.item(), box.upper.item()) == pytest.approx(want)


@FEW
@given(data=st.data(), network=DEEP)
def test_points_stay_below_every_bound(data: st.DataObject, network: RandomNetwork) -> None:
    graph = from_torch(network, torch.zeros(1, *network.input_shape))
    query = data.draw(queries(network))
    with torch.no_grad():
        points = set_points(query.inputs, 30, 7, torch.float32)
        rows = torch.stack([query.atoms(network(x)) for x in points]).amax(0)
        found = {name: engine.bound(graph, query).rows for name, engine in FORWARD.items()}
        ibp = value(IBP().bound(graph, query))
    for name, bound in found.items():
        assert bool((rows <= bound + slack(rows, bound)).all()), name
        assert bool((bound <= ibp + slack(ibp)).all()), f"{name} is looser than intervals"
    assert bool((found["forward"] <= found["no symbols"] + slack(ibp)).all())
    double = graph.to(torch.float64)
    with torch.no_grad():
        rows = torch.stack([query.atoms(double.run(x.double())) for x in points]).amax(0)
        for name, engine in FORWARD.items():
            bound = value(engine.bound(double, query))
            assert bool((rows <= bound + 1e-9 * (1 + rows.abs())).all()), name


@FEW
@given(data=st.data(), network=DEEP, memory=st.sampled_from([1, 30_000]))
def test_bounds_depend_neither_on_the_batch_nor_on_memory(
    data: st.DataObject, network: RandomNetwork, memory: int
) -> None:
    graph = from_torch(network, torch.zeros(1, *network.input_shape))
    query = data.draw(queries(network, batch=5))
    order = torch.tensor([3, 0, 4])
    for name, engine in FORWARD.items():
        with torch.no_grad():
            whole = value(engine.bound(graph, query))
            part = value(engine.bound(graph, query.select(order)))
            tight = value(engine.bound(graph, query, Budget(memory_bytes=memory)))
        assert bool(((part - whole[order]).abs() <= slack(whole)[order]).all()), name
        assert bool(((tight - whole).abs() <= slack(whole)).all()), name


@pytest.mark.parametrize("name", FORWARD)
def test_out_of_time_the_bounds_are_those_of_intervals(name: str) -> None:
    network = Fn(lambda x, a, b: b(torch.relu(a(x))), nn.Linear(3, 8), nn.Linear(8, 2))
    graph = traced(network, 3)
    lower, upper = -torch.ones(2, 3), torch.ones(2, 3)
    with torch.no_grad():
        hurried = output_bounds(graph, lower, upper, FORWARD[name], budget=Budget(seconds=-1.0))
        plain = output_bounds(graph, lower, upper, IBP())
        full = output_bounds(graph, lower, upper, FORWARD[name])
    assert bool((plain[0] - 1e-5 <= hurried[0]).all() and (hurried[1] <= plain[1] + 1e-5).all())
    assert float((full[1] - full[0]).sum()) <= float((hurried[1] - hurried[0]).sum())
    boxes, complete = forward_bounds(graph, Box(lower, upper), Budget(seconds=-1.0))
    assert not complete
    assert boxes.keys() == interval_bounds(graph, Box(lower, upper)).keys()


def test_forward_bounds_differentiate_into_the_weights() -> None:
    network = Fn(lambda x, a, b: b(torch.relu(a(x))), nn.Linear(3, 4), nn.Linear(4, 2)).double()
    graph = traced(network, 3, dtype=torch.float64)
    lower, upper = -torch.ones(2, 3).double(), torch.ones(2, 3).double()
    weight = network.part0.weight
    width = lambda: torch.sub(*reversed(output_bounds(graph, lower, upper, Forward()))).sum()  # noqa: E731
    (gradient,) = torch.autograd.grad(width(), weight)
    direction = uniform(5, tuple(weight.shape))
    with torch.no_grad():
        step, start = 1e-6, weight.clone()
        weight.copy_(start + step * direction)
        up = width()
        weight.copy_(start - step * direction)
        down = width()
    assert float((gradient * direction).sum()) == pytest.approx(float(up - down) / (2 * step), rel=1e-3)


ACAS = Path(os.environ.get("RBL_VNNCOMP", "")) / "acasxu"


@pytest.mark.skipif(not ACAS.is_dir(), reason="RBL_VNNCOMP names no folder with acasxu")
def test_on_acasxu_the_methods_are_ordered() -> None:
    graph = from_onnx(str(next((ACAS / "onnx").glob("*1_1*.onnx"), next((ACAS / "onnx").glob("*.onnx")))))
    found = read_vnnlib(str(next((ACAS / "vnnlib").glob("*prop_3*")))).boxes
    lower, upper = (t[:1].float().reshape(1, *graph.input_shape) for t in (found.lower, found.upper))
    width = {}
    with torch.no_grad():
        engines = {**FORWARD, "all symbols": ForwardCROWN(), "ibp": IBP(), "plain crown": CROWN()}
        for name, engine in engines.items():
            low, high = output_bounds(graph, lower, upper, engine)
            width[name] = float((high - low).sum())
    assert width["forward"] < 0.2 * width["no symbols"] < 0.2 * width["ibp"]
    assert width["all symbols"] < 1.02 * width["plain crown"] and math.isfinite(width["ibp"])
