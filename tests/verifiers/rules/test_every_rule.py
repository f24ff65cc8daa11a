"""Properties of every operator's rule: the trace, enclosure, exactness of affine operators, monotony."""

from __future__ import annotations

import copy
from functools import cache

import pytest
import torch
from robustbench_local.verifiers.backward import Selection, lower_bounds, neuron_rows
from robustbench_local.verifiers.rule import Boxes
from robustbench_local.verifiers.slopes import Slopes
from robustbench_local.verifiers.windows import WindowRows
from torch import Tensor, nn

from robustbench_local.specs import Box
from robustbench_local.verifiers import RULES, Graph, Node, Rule, find_rule, interval_bounds, output_bounds

from ..networks import ENGINES, Fn, box_points, run_points, traced, uniform, up_to
from .cases import CASES

# torch announces, once per process, that it copies
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
NAMES = pytest.mark.parametrize("name", CASES)


class Followed(nn.Module):
    """A network, then ReLU: so that hidden neurons are bounded through the operator."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x))


@cache
def plain(name: str) -> Fn:
    case = CASES[name]
    return Fn(case.function, *(make() for make in case.parts), seed=len(name)).requires_grad_(False)


@cache
def graphs(name: str) -> tuple[Graph, Graph]:
    """The case by itself and followed by ReLU, from one trace."""
    whole = traced(Followed(plain(name)).eval(), *CASES[name].shape)
    return up_to(whole, whole.output.inputs[0]), whole


def boxes(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """One box of each kind: tiny, middling, wide, positive, negative, half degenerate, a point."""
    centre = uniform(3, (7, *shape))
    radius = torch.tensor([1e-5, 0.2, 10.0, 0.5, 0.5, 0.3, 0.0], dtype=torch.float64)
    radius = radius.reshape(7, *(1 for _ in shape)) * uniform(4, (7, *shape), 0.5, 1.0)
    centre[3], centre[4] = 0.5 + centre[3].abs(), -0.5 - centre[4].abs()
    centre[1, ..., 0], radius[1, ..., 0] = 0, 0.25  # symmetric about the kink
    radius[5] *= uniform(5, shape) > 0
    lower, upper = (centre - radius).to(dtype), (centre + radius).to(dtype)
    lower[2, ..., :1] = 0  # touches the kink from above
    return torch.minimum(lower, upper), upper


def tolerance(y: Tensor) -> Tensor:
    """What float32 may lose, per sample of points y (N, B, *out)."""
    return 1e-5 * (1 + y.abs().flatten(2).amax((0, 2))).unsqueeze(1)


def test_every_operator_has_a_case() -> None:
    missing = [str(op) for op in RULES if op not in {case.op for case in CASES.values()}]
    assert not missing, f"add cases to tests/verifiers/rules/cases.py for {', '.join(missing)}"


@NAMES
def test_the_trace_uses_the_operator_and_computes_the_same(name: str) -> None:
    case, graph = CASES[name], graphs(name)[0]
    assert case.op in {node.op for node in graph.nodes}
    assert (graph.input_shape, graph.output_shape) == (case.shape, tuple(graph.output.shape))
    double = copy.deepcopy(plain(name)).double()
    for batch in (1, 2, 5):
        x = uniform(batch, (batch, *case.shape))
        for dtype, network in ((torch.float32, plain(name)), (torch.float64, double)):
            x = x.to(dtype)
            got, want = graph.to(dtype).run(x), network(x.clone())
            assert got.dtype == dtype and got.shape == (batch, *graph.output_shape)
            torch.testing.assert_close(got, want.reshape(got.shape))  # squeeze() drops a batch of one


@NAMES
def test_bounds_enclose_every_sampled_point(name: str) -> None:
    lower, upper = boxes(CASES[name].shape)
    points = box_points(lower, upper)
    for graph in graphs(name):
        y = run_points(graph.run, points)
        y = y.reshape(*y.shape[:2], -1)
        C = uniform(6, (3, y.shape[2]))
        C = torch.cat((C / C.abs().sum(1, keepdim=True), torch.eye(y.shape[2], dtype=C.dtype)))
        y = y @ C.to(y).T
        slack = tolerance(y)
        for engine in ENGINES:
            low, high = output_bounds(graph, lower, upper, ENGINES[engine], C)
            assert bool((low - slack <= y).all() and (y <= high + slack).all()), engine
            assert bool(((high - low)[6] <= 4 * slack[6]).all()), f"{engine} is exact at points"


@NAMES
def test_affine_operators_are_exact(name: str) -> None:
    graph = graphs(name)[0].to(torch.float64)
    if not all(find_rule(node).affine for node in graph.nodes[1:]):
        return
    lower, upper = boxes(CASES[name].shape, torch.float64)
    zero = torch.zeros(1, *CASES[name].shape, dtype=torch.float64)
    J = torch.autograd.functional.jacobian(graph.run, zero).reshape(graph.output.numel, -1)
    C = torch.cat((uniform(6, (3, len(J))), torch.eye(len(J), dtype=torch.float64)))
    middle, spread = graph.run((lower + upper) / 2).reshape(7, -1), ((upper - lower) / 2).flatten(1)
    want = middle @ C.T, spread @ (C @ J).abs().T
    for engine in ENGINES.values():
        low, high = output_bounds(graph, lower, upper, engine, C)
        torch.testing.assert_close(low, want[0] - want[1], rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(high, want[0] + want[1], rtol=1e-9, atol=1e-12)


@NAMES
def test_intervals_shrink_with_their_box(name: str) -> None:
    graph = graphs(name)[1].to(torch.float64)
    lower, upper = boxes(CASES[name].shape, torch.float64)
    share = uniform(8, lower.shape, 0, 0.5)
    inner = Box(lower + share * (upper - lower), upper - (0.5 - share) * (upper - lower))
    outside, inside = (interval_bounds(graph, b) for b in (Box(lower, upper), inner))
    for node in graph.nodes:
        assert bool((outside[node].lower <= inside[node].lower + 1e-12).all())
        assert bool((inside[node].upper <= outside[node].upper + 1e-12).all())
        assert bool((inside[node].lower <= inside[node].upper + 1e-12).all())


@NAMES
def test_free_parameters_keep_bounds_valid_whatever_their_values(name: str) -> None:
    graph = graphs(name)[0].to(torch.float64)
    lower, upper = boxes(CASES[name].shape, torch.float64)
    y = run_points(graph.run, box_points(lower, upper))
    y = y.reshape(*y.shape[:2], -1)
    C = torch.cat((uniform(6, (3, y.shape[2])), torch.eye(y.shape[2], dtype=torch.float64)))
    C = torch.cat((C, -C)).expand(7, -1, -1)
    least = torch.einsum("nbo,bko->bkn", y, C).amin(2)
    slack = 1e-9 * (1 + y.abs().amax((0, 2))).unsqueeze(1)
    start = {graph.output: C.reshape(7, C.shape[1], *graph.output.shape)}
    inputs = Box(lower, upper)
    hidden = interval_bounds(graph, inputs)
    for per_row in (True, False):
        slopes = Slopes(per_row)
        first = lower_bounds(graph, start, inputs, hidden, slopes=slopes)
        if not slopes.values:
            return
        for seed, spread in enumerate((0.0, 1.0, None, None)):
            for node, values in list(slopes.values.items()):
                assert bool(((values >= 0) & (values <= 1)).all()), "first values"
                noise = uniform(seed, tuple(values.shape), 0, 1) if spread is None else values * 0 + spread
                slopes.values[node] = noise.detach().requires_grad_()
            bounds = lower_bounds(graph, start, inputs, hidden, slopes=slopes)
            assert bool((bounds <= least + slack).all())
            assert bool(((least - bounds).abs() <= 4 * slack)[6].all()), "exact at points"
            if not bounds.requires_grad:  # a curve that is a line here leaves nothing to tune
                continue
            found = torch.autograd.grad(bounds.sum(), list(slopes.values.values()), allow_unused=True)
            assert all(g is None or bool(g.isfinite().all()) for g in found)
        assert bool((first <= least + slack).all())


@NAMES
def test_rows_on_windows_equal_dense_rows(name: str) -> None:
    graph = graphs(name)[0].to(torch.float64)
    node, shape = graph.output, CASES[name].shape
    rows = neuron_rows(torch.arange(node.numel), node, torch.float64)
    if not isinstance(rows, WindowRows):
        return
    inputs = Box(*boxes(shape, torch.float64))
    hidden = interval_bounds(graph, inputs)
    small, dense = (lower_bounds(graph, {node: r}, inputs, hidden) for r in (rows, rows.dense()))
    torch.testing.assert_close(small, dense)


class Drawn(Slopes):
    """Parameters that are drawn anew for every node, the same for all rows, in the form that rows have."""

    def _first(self, node: Node, rule: Rule, rows: Tensor | WindowRows, boxes: Boxes) -> Tensor | None:
        return super()._first(node, _Random(rule), rows, boxes)  # type: ignore[arg-type]


class _Random:
    def __init__(self, rule: Rule) -> None:
        self.rule = rule

    def start(self, node: Node, boxes: Boxes) -> Tensor | None:
        found = self.rule.start(node, boxes)
        return None if found is None else uniform(node.index, tuple(found.shape), 0, 1)


@NAMES
def test_rows_on_windows_take_the_same_parameters(name: str) -> None:
    graph = graphs(name)[0].to(torch.float64)
    node, shape = graph.output, CASES[name].shape
    rows = neuron_rows(torch.arange(node.numel), node, torch.float64)
    if not isinstance(rows, WindowRows):
        return
    lower, upper = boxes(shape, torch.float64)
    pick = torch.arange(node.numel).expand(len(lower), -1)
    y = run_points(graph.run, box_points(lower, upper)).flatten(2)
    least = torch.cat((y, -y), 2).amin(0)
    hidden = interval_bounds(graph, Box(lower, upper))
    found = {}
    for form in (rows, rows.dense()):
        for per_row in (True, False):
            slopes = Drawn(per_row)
            bounds = lower_bounds(
                graph, {node: form}, Box(lower, upper), hidden, selection=Selection(pick), slopes=slopes
            )
            found[isinstance(form, WindowRows), per_row] = bounds
            assert bool((bounds <= least + 1e-9 * (1 + least.abs())).all())
            if bounds.requires_grad:
                values = list(slopes.values.values())
                gradients = torch.autograd.grad(bounds.sum(), values, allow_unused=True)
                assert all(g is None or bool(g.isfinite().all()) for g in gradients)
    tuned = all(find_rule(n).affine or find_rule(n).tunes_windows for n in graph.nodes[1:])
    torch.testing.assert_close(found[False, True], found[False, False])
    for per_row in (True, False) if tuned else ():
        torch.testing.assert_close(found[True, per_row], found[False, per_row])
