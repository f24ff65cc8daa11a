"""What the checker computes encloses exact arithmetic; no proof whatever makes it accept what is false."""

from __future__ import annotations

import ast
import itertools
import sys
from decimal import Decimal, getcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from robustbench_local import checker
from robustbench_local.checker import Bounds, Network, Rejected, check
from robustbench_local.checker.bounds import _largest
from robustbench_local.checker.curves import Relu, Sigmoid, sigmoid

from .samples import Parts, write

FOLDER = Path(checker.__file__).parent
getcontext().prec = 60
Row = list[Fraction]


def exact_sigmoid(z: float) -> Decimal:
    return 1 / (1 + (-Decimal(z)).exp())


@given(st.floats(-800, 800) | st.floats(-1e-3, 1e-3) | st.floats(-40, 40))
@settings(max_examples=300)
def test_sigmoid_is_enclosed(z: float) -> None:
    lower, upper = sigmoid(np.array([z]))
    assert Decimal(float(lower[0])) <= exact_sigmoid(z) <= Decimal(float(upper[0]))
    assert upper[0] - lower[0] <= 1e-13 * upper[0] + 1e-300 or abs(z) > 700


@given(st.floats(-30, 30), st.floats(0, 30), st.floats(-2, 2), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=200)
def test_lines_of_any_slope_are_valid(low: float, width: float, slope: float, leak: float, at: float) -> None:
    lower, upper, s = (np.array([v]) for v in (low, low + width, slope))
    points = {
        low,
        float(upper[0]),
        min(max(0.0, low), float(upper[0])),
        min(low + at * width, float(upper[0])),
    }
    for curve in (Relu(leak), Sigmoid()):
        below, above = (Decimal(float(curve.offset(s, side, lower, upper)[0])) for side in (-1, 1))
        first, last = (Decimal(float(curve.offset(0 * s, side, lower, upper)[0])) for side in (-1, 1))
        for z in points:
            linear = max(Decimal(z), Decimal(leak) * Decimal(z))
            value = linear if isinstance(curve, Relu) else exact_sigmoid(z)
            assert below <= value - Decimal(slope) * Decimal(z) <= above
            assert first <= value <= last
        for usual in curve.slopes(lower, upper):
            assert np.isfinite(usual).all()


@given(st.floats(-12, 12), st.floats(0.01, 16))
@settings(max_examples=150)
def test_usual_slopes_of_the_sigmoid_are_those_of_tangents(low: float, width: float) -> None:
    """At the middle of a box no line is further from the curve than one with the flatter end's slope."""
    lower, upper, middle = np.array([low]), np.array([low + width]), low + width / 2
    curve, ends = Sigmoid(), [float(exact_sigmoid(z)) for z in (low, low + width)]
    flat = np.array([min(e * (1 - e) for e in ends)])
    for side, slope in zip((-1, 1), curve.slopes(lower, upper), strict=True):
        near, far = (side * (s * middle + curve.offset(s, side, lower, upper))[0] for s in (slope, flat))
        assert near <= far + 1e-7


NO_LEMMAS = {"proof/lemmas": np.zeros((0, 4), np.int32), "proof/bounds": np.zeros(0)}


def sigmoid_less_line(slope: float, above: float, slopes: tuple[float, float]) -> Parts:
    """The claim sigmoid(x) - slope x < c on [-3, 4], where c lies `above` the greatest value; with slopes."""
    nodes: list[dict[str, Any]] = [{"op": "input", "inputs": [], "size": 1}]
    nodes += [{"op": "sigmoid", "inputs": [0]}, {"op": "pick", "inputs": [0], "size": 1}]
    nodes += [{"op": "add", "inputs": [1, 2]}]
    x = np.linspace(-3, 4, 7 * 2**14 + 1)
    greatest = float(np.max(1 / (1 + np.exp(-x)) - slope * x))
    arrays = {
        "network/2.weight": np.array([-slope]),
        "network/2.bias": np.zeros(1),
        "network/2.index": np.zeros(1, np.int32),
        **{f"spec/{k}": np.array([[v]]) for k, v in (("lower", -3.0), ("upper", 4.0), ("C", 1.0))},
        "spec/d": np.array([[-(greatest + above)]]),
        "proof/nodes": np.array([-1], np.int32),
        "proof/coordinates": np.zeros(1, np.int32),
        "proof/points": np.zeros(1),
        "proof/weights": np.ones((1, 1)),
        "proof/multipliers": np.zeros(0, np.float32),
        "proof/sets": np.zeros(1, np.int32),
        "proof/about": np.zeros((1, 2), np.int32),
        **NO_LEMMAS,
        "proof/1.ids": np.zeros(1, np.int32),
        "proof/1.below": np.array([[slopes[0]]]),
        "proof/1.above": np.array([[slopes[1]]]),
    }
    arrays["spec/C"] = arrays["spec/C"].reshape(1, 1, 1)
    ways = [{"symbols": -1, "refined": [], "clipped": []}]
    header = {"network": {"nodes": nodes}, "spec": {"clauses": [[[0, 0]]]}, "proof": {"ways": ways}}
    return {**checker.FORMAT, **header}, arrays


def test_slopes_of_a_curve_prove_what_they_prove_and_nothing_else(tmp_path: Path) -> None:
    """The line above with the slope in question is exact; any other proves less."""
    for slope in (0.02, 0.1, 0.2, -0.05, 0.3):
        right = write(tmp_path / "right", sigmoid_less_line(slope, 1e-9, (0.0, slope)), rehash=True)
        assert check(right).accepted
        for other in (slope, 0.0, 0.25, -1.0, 1e6, -1e6, slope + 1e-3, slope - 1e-3):
            false = sigmoid_less_line(slope, -1e-9, (other, other))
            assert not check(write(tmp_path / "false", false, rehash=True)).accepted
    for broken in (np.nan, np.inf, -np.inf, 1e7):
        changed = sigmoid_less_line(0.1, 1.0, (0.0, broken))
        found = check(write(tmp_path / "broken", changed, rehash=True))
        assert not found.accepted and found.readable


@st.composite
def networks(draw: st.DrawFn) -> tuple[list[dict[str, Any]], dict[str, NDArray[Any]]]:
    """Header entries and arrays: linear, conv, pick, add, max, leaky relu on vectors of 4, all scales."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    nodes: list[dict[str, Any]] = [{"op": "input", "inputs": [], "size": 4}]
    arrays: dict[str, NDArray[Any]] = {}
    for number in range(1, draw(st.integers(2, 6))):
        op = draw(st.sampled_from(["linear", "conv", "pick", "add", "max", "relu"]))
        parent = draw(st.integers(max(0, number - 2), number - 1))
        about: dict[str, Any] = {"op": op, "inputs": [parent]}
        scale = 10.0 ** draw(st.integers(-6, 6))
        if op in ("add", "max"):
            about["inputs"] = [parent, *draw(st.lists(st.integers(0, number - 1), max_size=2))]
        elif op == "relu":
            about["slope"] = draw(st.sampled_from([0.0, 0.1, 1.0]))
        else:
            shape = {"linear": (4, 4), "conv": (1, 1, 2, 2), "pick": (4,)}[op]
            arrays[f"network/{number}.weight"] = scale * rng.standard_normal(shape)
            arrays[f"network/{number}.bias"] = scale * rng.standard_normal(shape[0])
            about["size"] = 4
            if op == "conv":
                about |= {"shape": [1, 2, 2], "stride": [1, 1], "padding": [1, 0, 0, 1]}
            if op == "pick":
                arrays[f"network/{number}.index"] = rng.integers(0, 4, 4)
        nodes.append(about)
    return nodes, arrays


def run(nodes: list[dict[str, Any]], arrays: dict[str, NDArray[Any]], x: Row) -> list[Row]:
    """The values of all nodes at x, without any rounding."""
    values = [x]
    for number, about in enumerate(nodes[1:], 1):
        first = values[about["inputs"][0]]
        if about["op"] in ("add", "max"):
            join = sum if about["op"] == "add" else max
            values.append([join(v) for v in zip(*(values[i] for i in about["inputs"]), strict=True)])
            continue
        if about["op"] == "relu":
            values.append([max(v, Fraction(about["slope"]) * v) for v in first])
            continue
        weight, bias = (arrays[f"network/{number}.{k}"] for k in ("weight", "bias"))
        if about["op"] == "pick":
            index = arrays[f"network/{number}.index"]
            made = [Fraction(w) * first[i] + Fraction(b) for w, i, b in zip(weight, index, bias, strict=True)]
        elif about["op"] == "linear":
            made = [
                sum((Fraction(w) * v for w, v in zip(row, first, strict=True)), Fraction(b))
                for row, b in zip(weight, bias, strict=True)
            ]
        else:  # padding above and to the right of a 2 x 2 image
            image = {(i + 1, j): first[2 * i + j] for i in range(2) for j in range(2)}
            made = [
                sum(
                    (
                        Fraction(weight[0, 0, p, q]) * image.get((i + p, j + q), Fraction(0))
                        for p in range(2)
                        for q in range(2)
                    ),
                    Fraction(bias[0]),
                )
                for i in range(2)
                for j in range(2)
            ]
        values.append(made)
    return values


@given(
    networks(),
    st.lists(st.floats(-2, 2), min_size=4, max_size=4),
    st.sampled_from([0.0, 1e-9, 0.5]),
    st.sampled_from([-1, 0, 1, 3]),
    st.booleans(),
)
@settings(max_examples=120, deadline=None)
def test_bounds_of_all_nodes_enclose_exact_values(
    network: tuple[list[dict[str, Any]], dict[str, NDArray[Any]]],
    centre: list[float],
    radius: float,
    symbols: int,
    refined: bool,
) -> None:
    """Boxes of radius zero leave nothing to hide rounding errors in. Ways of all kinds."""
    nodes, arrays = network
    made = Network(nodes, arrays)
    lower, upper = np.array([centre]) - radius, np.array([centre]) + radius
    bounds = Bounds(made, {}, [lower, upper], symbols >= 0, np.inf)
    for node in range(1, len(nodes)):
        bounds.add(node, max(symbols, 0))
        if refined:
            bounds.refine(node, np.array([[-1]]))
    rows = np.stack([np.eye(4), -np.eye(4)]).reshape(1, 8, 4)
    least = bounds.least({len(nodes) - 1: rows}, np.array([[-1]]))[0]
    for corner in (
        (lower[0, i] if c else upper[0, i] for i, c in enumerate(cs))
        for cs in itertools.product((0, 1), repeat=4)
    ):
        values = run(nodes, arrays, [Fraction(float(v)) for v in corner])
        for node, value in enumerate(values):
            for i, v in enumerate(value):
                assert (
                    Fraction(float(bounds.lower[node][0, i]))
                    <= v
                    <= Fraction(float(bounds.upper[node][0, i]))
                )
        for i, v in enumerate(values[-1]):
            assert Fraction(float(least[i])) <= v and Fraction(float(least[4 + i])) <= -v


@given(networks(), st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1e-9, 0.5]), st.booleans())
@settings(max_examples=80, deadline=None)
def test_bounds_behind_walls_hold_where_no_wall_is_above_zero(
    network: tuple[list[dict[str, Any]], dict[str, NDArray[Any]]], seed: int, radius: float, own: bool
) -> None:
    """Splits that a point fulfils: the clipped bounds of all nodes enclose its values, exactly."""
    nodes, arrays = network
    rng, made = np.random.default_rng(seed), Network(nodes, arrays)
    centre = rng.uniform(-2, 2, (1, 4))
    bounds = Bounds(made, {}, [centre - radius, centre + radius], False, np.inf)
    for node in range(1, len(nodes)):
        bounds.add(node)
    x = [
        Fraction(float(rng.choice(ends))) for ends in zip(bounds.lower[0][0], bounds.upper[0][0], strict=True)
    ]
    values = run(nodes, arrays, x)
    walls: dict[int, NDArray[Any]] = {}
    level = np.zeros((1, 5))
    for s in range(5):
        node, place, side = int(rng.integers(1, len(nodes))), int(rng.integers(4)), float(rng.choice([-1, 1]))
        point = float(values[node][place])  # on the wall, or within the part by a unit in the last place
        while side * (values[node][place] - Fraction(point)) < 0:
            point = float(np.nextafter(point, -side * np.inf))
        walls.setdefault(node, np.zeros((1, 5, 4)))[0, s, place] = -side
        level[0, s] = side * point
        face, tighter = (bounds.lower, max) if side > 0 else (bounds.upper, min)
        face[node][0, place] = tighter(face[node][0, place], point)
    pulled = bounds.pull(walls, np.array([[-1]]), level, 0.0)
    before = [end.copy() for end in bounds.lower]
    for node in range(1, len(nodes)):
        bounds.refine(node, np.array([[-1]]), pulled, np.arange(8) if own else None)
    assert all((new >= old).all() for new, old in zip(bounds.lower, before, strict=True))
    for node, value in enumerate(values):
        for i, v in enumerate(value):
            assert Fraction(float(bounds.lower[node][0, i])) <= v <= Fraction(float(bounds.upper[node][0, i]))


def twins(gap: float, above: float, clipped: list[int], side: int = 0) -> Parts:
    """The claim max(z + gap, 0) - max(z, 0) < above for z = x0 + x1 on [-1, 1]^2, split at z = 0.

    side: on which the proof says that the other coordinate was split instead.
    """
    nodes: list[dict[str, Any]] = [{"op": "input", "inputs": [], "size": 2}]
    nodes += [{"op": "linear", "inputs": [0], "size": 2}, {"op": "relu", "inputs": [1], "slope": 0.0}]
    arrays: dict[str, NDArray[Any]] = {
        "network/1.weight": np.ones((2, 2)),
        "network/1.bias": np.array([0.0, gap]),
        "spec/lower": -np.ones((1, 2)),
        "spec/upper": np.ones((1, 2)),
        "spec/C": np.array([[[-1.0, 1.0]]]),
        "spec/d": np.array([[-above]]),
        "proof/nodes": np.array([1, -1, -1], np.int32),
        "proof/coordinates": np.array([side, 0, 0], np.int32),
        "proof/points": np.zeros(3),
        "proof/weights": np.ones((2, 1)),
        "proof/multipliers": np.zeros(2, np.float32),
        "proof/sets": np.full(2, -1, np.int32),
        "proof/about": np.zeros((2, 2), np.int32),
        **NO_LEMMAS,
    }
    ways = [{"symbols": -1, "refined": [], "clipped": clipped}]
    header = {"network": {"nodes": nodes}, "spec": {"clauses": [[[0, 0]]]}, "proof": {"ways": ways}}
    return {**checker.FORMAT, **header}, arrays


def test_what_a_split_says_of_another_coordinate_proves_the_claim(tmp_path: Path) -> None:
    """Two equal neurons: a split of one decides the other, if and only if the way says so."""

    def verdict(*about: Any) -> checker.Check:
        return check(write(tmp_path / "proof", twins(*about), rehash=True))

    assert verdict(0.0, 0.05, [1]).accepted and verdict(0.0, 0.05, [1], 1).accepted
    assert not verdict(0.0, 0.05, []).accepted
    assert not verdict(0.0, -1e-6, [1]).accepted and not verdict(0.0, 0.0, [1]).accepted
    for gap in (0.5, 1e-3):
        for split in (0, 1):
            assert not verdict(gap, gap * 0.999, [1], split).accepted
            assert not verdict(gap, gap, [1, 1, 1], split).accepted
    for broken in ([2, 7], [-1], [0], [1.0], ["1"], 1, None, {"1": 1}, [True], [[1]]):
        found = verdict(0.5, 0.4, broken)
        assert not found.accepted and found.readable, broken


@given(st.lists(st.tuples(*[st.floats(-9, 9)] * 3), min_size=1, max_size=4), st.floats(0.01, 1e6))
@settings(max_examples=200)
def test_lines_of_a_maximum_are_valid(parts: list[tuple[float, ...]], scale: float) -> None:
    """At the ends and inside of the inputs' ranges, in exact arithmetic."""
    nodes: list[dict[str, Any]] = [{"op": "input", "inputs": [], "size": 1}]
    nodes += [{"op": "relu", "inputs": [0], "slope": 1.0} for _ in parts]
    nodes += [{"op": "max", "inputs": [*range(1, len(parts) + 1)]}]
    bounds = Bounds(Network(nodes, {}), {}, [-np.ones((1, 1)), np.ones((1, 1))], False, np.inf)
    ranges = [sorted(scale * v for v in part) for part in parts]
    bounds.lower += [np.array([[part[0]]]) for part in ranges]
    bounds.upper += [np.array([[part[2]]]) for part in ranges]
    below, above, under, over, size, own = _largest(bounds, (*range(1, len(parts) + 1),))
    assert own.shape == (1, len(parts), 1) and own.sum() == 1
    chosen, numbers = (
        int(own[0, :, 0].argmax()),
        [float(v[0, 0, 0]) for v in (below, above, under, over, size)],
    )
    first, second, third, fourth, most = (Fraction(v) for v in numbers)
    for values in itertools.product(*ranges):
        x, top = Fraction(values[chosen]), max(Fraction(v) for v in values)
        assert first * x + third <= top <= second * x + fourth
        terms = max(abs(second * x) + abs(fourth), abs(first * x) + abs(third))
        assert terms <= most + Fraction(2e-100)  # every step adds 1e-100 besides
    bounds.add(len(parts) + 1)
    low, high = (Fraction(float(end[-1][0, 0])) for end in (bounds.lower, bounds.upper))
    assert all(low <= max(map(Fraction, values)) <= high for values in itertools.product(*ranges))


def test_a_maximum_is_read_as_what_it_is() -> None:
    """Its inputs are of one size and come before it; other functions have one input."""
    start: list[dict[str, Any]] = [
        {"op": "input", "inputs": [], "size": 2},
        {"op": "relu", "inputs": [0], "slope": 0},
    ]
    narrow = {"op": "pick", "inputs": [0], "size": 2}
    arrays = {
        f"network/2.{k}": np.zeros(1, np.int64 if k == "index" else None) for k in ("weight", "bias", "index")
    }
    assert Network([*start, {"op": "max", "inputs": [0, 1, 1]}], {}).sizes == [2, 2, 2]
    for inputs in ([], [2], [0, 2], [-1, 0], [0.0, 1], [True, 1]):
        with pytest.raises((Rejected, ValueError, IndexError)):
            Network([*start, {"op": "max", "inputs": inputs}], {})
    with pytest.raises((Rejected, ValueError)):
        Network([*start, narrow, {"op": "max", "inputs": [1, 2]}], arrays)
    with pytest.raises(Rejected):
        Network([*start, {"op": "relu", "inputs": [0, 1], "slope": 0}], {})


def test_symbols_of_two_branches_are_not_mixed_up() -> None:
    """Errors of different functions are different unknowns, also where the branches meet in a sum."""
    ops = [("linear", [0]), ("relu", [1]), ("linear", [0]), ("relu", [3]), ("linear", [4]), ("add", [2, 5])]
    nodes: list[dict[str, Any]] = [{"op": "input", "inputs": [], "size": 4}]
    nodes += [{"op": op, "inputs": inputs, "size": 4, "slope": 0.0} for op, inputs in ops]
    for seed in range(20):
        rng = np.random.default_rng(seed)
        arrays = {f"network/{k}.weight": rng.normal(size=(4, 4)) for k in (1, 3, 5)}
        arrays |= {f"network/{k}.bias": 0.3 * rng.normal(size=4) for k in (1, 3, 5)}
        made, end = Network(nodes, arrays), np.ones((1, 4))
        bounds = Bounds(made, {}, [-end, end], True, np.inf)
        for node in range(1, len(nodes)):
            bounds.add(node, 4)
        values = [rng.uniform(-1, 1, (4000, 4))]
        for k, (op, inputs) in enumerate(ops, 1):
            x = np.sum([values[i] for i in inputs], 0)
            linear = op == "linear"
            values.append(x @ arrays[f"network/{k}.weight"].T + arrays[f"network/{k}.bias"] if linear else x)
            if op == "relu":
                values[-1] = np.maximum(values[-1], 0)
        assert (values[-1] >= bounds.lower[-1] - 1e-9).all()
        assert (values[-1] <= bounds.upper[-1] + 1e-9).all()


def random_tree(
    rng: np.random.Generator, last: int, box: tuple[NDArray[Any], NDArray[Any]]
) -> tuple[list[tuple[int, int, float]], list[int], int]:
    """Splits of nodes up to `last` in preorder, how far up each leaf's outer box is, and how many multipliers
    there are.
    """
    kinds: list[tuple[int, int, float]] = []
    hidden, ups = 0, []
    open_ = [(0, 0, *box)]  # splits of hidden nodes and of the input so far, what is left of the box
    while open_:
        deep, cut, lower, upper = open_.pop()
        if len(open_) < 12 and rng.random() < 0.5 and len(kinds) < 20:
            place = int(rng.integers(0, 4))
            if rng.random() < 0.5:
                point = float(np.clip(rng.uniform(lower[place], upper[place]), lower[place], upper[place]))
                kinds.append((0, place, point))
                low, high = lower.copy(), upper.copy()
                low[place] = high[place] = point
                open_ += [(deep, cut + 1, low, upper), (deep, cut + 1, lower, high)]
            else:
                kinds.append((int(rng.integers(1, last + 1)), place, float(rng.normal())))
                open_ += [(deep + 1, cut, lower, upper)] * 2
        else:
            kinds.append((-1, 0, 0.0))
            hidden += deep
            ups.append(int(rng.integers(0, cut + 1)))
    return kinds, ups, hidden


def random_proof(
    data: st.DataObject,
    nodes: list[dict[str, Any]],
    box: tuple[NDArray[Any], NDArray[Any]],
    lemmas: list[tuple[int, int, int, float]],
) -> dict[str, NDArray[Any]]:
    """Any trees, multipliers, slopes, weights and outer boxes of the right form; lemmas: node, coordinate,
    side and bound.
    """
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    trees = [random_tree(rng, node, box) for node in (*(lemma[0] for lemma in lemmas), len(nodes) - 1)]
    kinds = [kind for tree in trees for kind in tree[0]]
    ups, hidden = [up for tree in trees for up in tree[1]], sum(tree[2] for tree in trees)
    leaves = len(ups)
    arrays: dict[str, NDArray[Any]] = {
        "lemmas": np.array([(0, *lemma[:3]) for lemma in lemmas], np.int32).reshape(-1, 4),
        "bounds": np.array([lemma[3] for lemma in lemmas]),
        "nodes": np.array([k[0] for k in kinds], np.int32),
        "coordinates": np.array([k[1] for k in kinds], np.int32),
        "points": np.array([k[2] for k in kinds]),
        "weights": rng.random((leaves, 1)) + 0.1,
        "multipliers": rng.exponential(10.0 ** rng.integers(-3, 4), hidden),
        "sets": rng.integers(-1, 2, leaves).astype(np.int32),
        "about": np.stack((ups, rng.integers(0, 3, leaves)), 1).astype(np.int32),
    }
    for number, about in enumerate(nodes):
        arrays[f"{number}.rows"] = rng.integers(0, 8, 3).astype(np.int32)
        if about["op"] == "relu":
            arrays[f"{number}.ids"] = np.arange(4, dtype=np.int32)
            arrays[f"{number}.below"], arrays[f"{number}.above"] = (
                rng.normal(size=(2, 4)) * 2 for _ in range(2)
            )
    return {f"proof/{name}": array for name, array in arrays.items()}


@st.composite
def some_lemmas(draw: st.DrawFn, nodes: int) -> list[tuple[int, int, int, float]]:
    """Up to three lemmas, true or false, about hidden nodes: node, coordinate, side and bound."""
    about = st.tuples(
        st.integers(1, nodes - 2), st.integers(0, 3), st.sampled_from([-1, 1]), st.floats(-100, 100)
    )
    return draw(st.lists(about, max_size=3)) if nodes > 2 else []


@given(networks(), st.data(), st.sampled_from([0.0, 0.3]), st.booleans())
@settings(max_examples=120, deadline=None)
def test_no_proof_of_a_false_claim_is_accepted(
    tmp_path_factory: Any,
    network: tuple[list[dict[str, Any]], dict[str, NDArray[Any]]],
    data: st.DataObject,
    radius: float,
    strict: bool,
) -> None:
    """The claim y_0 + d < 0 is false at the centre by a unit in the last place, in exact arithmetic."""
    nodes, arrays = network
    centre = np.array([data.draw(st.lists(st.floats(-2, 2), min_size=4, max_size=4))])
    value = run(nodes, arrays, [Fraction(float(v)) for v in centre[0]])[-1][0]
    threshold = float(value)
    while Fraction(threshold) > value or (strict and Fraction(threshold) == value):
        threshold = float(np.nextafter(threshold, -np.inf))
    C = np.zeros((1, 1, 4))
    C[0, 0, 0] = 1.0
    spec = {"lower": centre - radius, "upper": centre + radius, "C": C, "d": np.array([[-threshold]])}
    sets, count = data.draw(st.integers(-1, 1)), data.draw(st.integers(0, 2))
    refined = [[k, 0, sets, 0] for k in range(1, len(nodes))]
    refined += [[k, 1, 0, count] for k in range(1, len(nodes))]  # two rows with slopes of their own
    clipped = data.draw(st.lists(st.integers(1, len(nodes) - 1), max_size=4))
    header = {
        **checker.FORMAT,
        "network": {"nodes": nodes},
        "spec": {"clauses": [[[0, int(strict)]]]},
        "proof": {"ways": [{"symbols": k, "refined": refined, "clipped": clipped} for k in (-1, 0, 2)]},
    }
    whole = {
        **arrays,
        **{f"spec/{k}": v for k, v in spec.items()},
        **random_proof(data, nodes, (spec["lower"][0], spec["upper"][0]), data.draw(some_lemmas(len(nodes)))),
    }
    found: Parts = (header, whole)
    path = write(tmp_path_factory.mktemp("false") / "proof", found, rehash=True)
    checked = check(path)
    assert not checked.accepted and "malformed" not in checked.reason


def test_the_checker_is_small_and_stands_alone() -> None:
    """Fewer than 500 lines of code (docstrings, comments and blank lines apart), only NumPy and Python."""
    lines, imported = 0, set()
    for path in FOLDER.glob("*.py"):
        source = path.read_text(encoding="utf-8")
        tree = ast.parse(source)
        apart: set[int] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
                apart |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            if isinstance(node, ast.ImportFrom):
                assert node.level <= 1
                imported |= {node.module.split(".")[0]} if node.module and node.level == 0 else set()
        for number, line in enumerate(source.splitlines(), 1):
            lines += bool(line.strip()) and not line.strip().startswith("#") and number not in apart
    assert lines < 500
    assert imported - {"numpy"} <= sys.stdlib_module_names
