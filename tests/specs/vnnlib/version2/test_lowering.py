"""VNN-LIB 2 properties as specs and queries: the same truth at every point, shared inputs, exact sets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from robustbench_local.errors import EmptySetError, ShapeError, SpecError, UnboundedSetError
from robustbench_local.specs import Box, Query, Vnnlib2Property, parse_vnnlib

from .random_queries import GRID, Program, programs


def read(text: str) -> Vnnlib2Property:
    found = parse_vnnlib(text)
    assert isinstance(found, Vnnlib2Property)
    return found


def bounded(program: Program) -> Vnnlib2Property:
    """The program, with bounds for all of its inputs."""
    declared = read(program.text).declared
    lines = [
        f"(assert (and (>= {t.label(p)} -1.0) (<= {t.label(p)} 2.0)))"
        for network in declared.networks.values()
        for t in network.inputs
        for p in range(t.start, t.start + t.size)
    ]
    return read("\n".join([program.text, *lines]))


def networks(found: Vnnlib2Property, seed: int) -> dict[str, nn.Module]:
    """Affine networks with weights on the grid, so that everything is exact; equal ones once."""
    generator = torch.Generator().manual_seed(seed)
    result: dict[str, nn.Module] = {}
    for network in found.networks:
        if network.equal_to is None:
            sizes = [sum(t.size for t in part) for part in (network.inputs, network.outputs)]
            layer = nn.Linear(*sizes).double()
            for weights in layer.parameters():
                weights.data = torch.randint(-2, 3, weights.shape, generator=generator).double() / 4
            result[network.name] = nn.Sequential(nn.Flatten(), layer, nn.Flatten())
    return result


def assignment(
    found: Vnnlib2Property, bound: dict[str, nn.Module], inputs: dict[str, Tensor]
) -> dict[str, Tensor]:
    """The values of all tensors: the inputs, and what the networks give."""
    values = dict(inputs)
    for network in found.networks:
        x = torch.cat(
            [inputs[t.name].flatten(1) if t.shape else inputs[t.name][:, None] for t in network.inputs], 1
        )
        y = bound[network.equal_to or network.name](x).detach()
        for tensor, part in zip(network.outputs, y.split([t.size for t in network.outputs], 1), strict=True):
            values[tensor.name] = part.reshape(-1, *tensor.shape)
    return values


def reached(queries: list[Query], points: Tensor) -> list[bool]:
    """Whether some query takes the points for counterexamples."""
    result = torch.zeros(len(points), dtype=torch.bool)
    for query in queries:
        for b in range(query.batch):
            many = query.select(torch.full((len(points),), b))
            result |= many.inputs.contains(points) & many.violated(points)
    return result.tolist()


def check(found: Vnnlib2Property, bound: dict[str, nn.Module], seed: int) -> None:
    """Queries and text agree on points of the grid."""
    try:
        queries = found.queries(bound)
    except EmptySetError:
        points = {t.name: torch.zeros(50, *t.shape).double() for n in found.networks for t in n.inputs}
        noise = torch.Generator().manual_seed(seed)
        values = {k: torch.randint(-4, 9, v.shape, generator=noise).double() / 4 for k, v in points.items()}
        assert not found.evaluate(assignment(found, bound, values)).any()
        return
    noise_of = np.random.default_rng(seed)
    z = torch.from_numpy(noise_of.choice(np.asarray(GRID), (60, *queries[0].inputs.shape)))
    values = assignment(found, bound, found.inputs(z))
    assert reached(queries, z) == found.evaluate(values).tolist()


@settings(max_examples=60)
@given(programs(), st.integers(0, 2**16))
def test_queries_have_the_truth_of_the_text(program: Program, seed: int) -> None:
    found = bounded(program)
    check(found, networks(found, seed), seed)


PAIR = """(vnnlib-version <2.0>)
(declare-network f (declare-input X float32 [1,3]) (declare-output Y float32 [1,2]))
(declare-network g (RELATION f) (declare-input U float32 [1,3]) (declare-output V float32 [1,2]))
"""
BOX = "".join(f"(assert (and (>= X[0,{i}] -1.0) (<= X[0,{i}] 1.0)))\n" for i in range(3))


def test_equal_inputs_are_one_variable() -> None:
    ties = "".join(f"(assert (== X[0,{i}] U[0,{i}]))" for i in range(3))
    found = read(
        PAIR.replace("RELATION", "isomorphic-to") + BOX + ties + "(assert (> (- Y[0,0] V[0,0]) 0.1))"
    )
    assert found.spec().text.splitlines()[1:] == [
        "net f: real[3] -> real[2]",
        "net g: real[3] -> real[2]",
        "forall X: real[3] in box([-1, -1, -1], [1, 1, 1]): ~(f(X)[0] > g(X)[0] + 0.1)",
    ]
    bound = networks(found, 0)
    (query,) = found.queries(bound)
    assert query.inputs.shape == (3,) and isinstance(query.inputs, Box)
    x = torch.rand(5, 3, dtype=torch.float64)
    assert {k: v.tolist() for k, v in found.inputs(x).items()} == dict.fromkeys("XU", x.unsqueeze(1).tolist())


def test_monotonicity_shares_all_coordinates_but_one() -> None:
    ties = "".join(f"(assert (== U[0,{i}] X[0,{i}]))" for i in (0, 2))
    order = "(assert (<= X[0,1] U[0,1]))(assert (<= U[0,1] 1.0))(assert (< V[0,0] Y[0,0]))"
    found = read(PAIR.replace("RELATION", "equal-to") + BOX + ties + order)
    assert found.spec().text.splitlines()[1:] == [
        "net f: real[3] -> real[2]",
        "forall X: real[3], U: real[1] in box([-1, -1, -1], [1, 1, 1])(X) & box([-1], [1])(U) & "
        "(X[1] <= U[0]): ~(f(concat(X[0:1], U, X[2:3]))[0] < f(X)[0])",
    ]
    layer = nn.Linear(3, 2).double()
    (query,) = found.queries(layer)  # one network stands for both
    z = torch.tensor([[0.0, 0.5, 0.25, 0.75]], dtype=torch.float64)
    values = found.inputs(z)
    assert values["X"].tolist() == [[[0.0, 0.5, 0.25]]] and values["U"].tolist() == [[[0.0, 0.75, 0.25]]]
    rising = float(layer.weight[0, 1].detach()) > 0
    assert reached([query], z) == [not rising]
    check(found, {"f": layer}, 3)


def test_hidden_tensors_are_inner_nodes() -> None:
    found = read(
        "(vnnlib-version <2.0>)(declare-network f (declare-input X real [1,2])"
        ' (declare-hidden H real [1,3] "0") (declare-hidden R real [3] "1") (declare-output Y real [1,1]))'
        "(assert (and (>= X[0,0] -1.0) (<= X[0,0] 1.0) (== X[0,1] 0.5)))"
        "(assert (or (and (> H[0,2] 0.25) (<= R[0] 0.0)) (>= (* Y[0,0] H[0,1]) 1.0)))"
    )
    generator = torch.Generator().manual_seed(1)
    network = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)).double()
    for weights in network.parameters():
        weights.data = 4 * torch.rand(weights.shape, generator=generator, dtype=torch.float64) - 2
    (query,) = found.queries({"f": network})
    x = torch.rand(200, 2, generator=generator, dtype=torch.float64) * 2 - 1
    x[:, 1] = 0.5
    hidden = network[0](x).detach()
    values = {"X": x[:, None], "H": hidden[:, None], "R": hidden.relu(), "Y": network(x).detach()[:, None]}
    expected = found.evaluate(values)
    assert reached([query], x) == expected.tolist() and expected.any() and not expected.all()


def test_several_inputs_and_outputs_lie_side_by_side() -> None:
    found = read(
        "(vnnlib-version <2.0>)(declare-network f (declare-input A real [1,2]) (declare-input lambda real [])"
        " (declare-output Y real [2]) (declare-output Z real []))"
        "(assert (and (>= A[0,0] 0.0) (<= A[0,0] 1.0) (>= A[0,1] 0.0) (<= A[0,1] 1.0)))"
        "(assert (and (>= lambda -1.0) (< lambda 0.0)))(assert (>= (* lambda Z) Y[1]))"
    )
    assert found.spec().text.splitlines()[1:] == [
        "net f: real[3] -> real[3]",
        "forall A: real[2], lambda_: real[1] in box([0, 0], [1, 1])(A) & box([-1], [0])(lambda_) & "
        "(lambda_[0] < 0): ~(lambda_[0] * f(concat(A, lambda_))[2:3][0] >= f(concat(A, lambda_))[0:2][1])",
    ]
    check(found, networks(found, 5), 5)


def test_bounds_reach_inputs_through_conditions() -> None:
    close = "".join(
        f"(assert (and (<= (- U[0,{i}] X[0,{i}]) 0.125) (>= (- U[0,{i}] X[0,{i}]) -0.125)))" for i in range(3)
    )
    found = read(PAIR.replace("RELATION", "equal-to") + BOX + close + "(assert (> Y[0,0] (+ V[0,0] 1.0)))")
    (query,) = found.queries(nn.Linear(3, 2).double())
    hull = query.inputs.box()
    assert hull.lower[0, 3:].tolist() == [-1.125] * 3 and hull.upper[0, 3:].tolist() == [1.125] * 3
    with pytest.raises(UnboundedSetError, match=r"no lower bound of U\[0,0\], U\[0,1\], U\[0,2\] \(3 of 6"):
        read(PAIR.replace("RELATION", "equal-to") + BOX + "(assert (> Y[0,0] V[0,0]))").spec()


def test_a_condition_within_one_of_three_inputs() -> None:
    lines = ["(vnnlib-version <2.0>)"]
    for k in range(3):
        relation = "(equal-to f0) " if k else ""
        lines.append(
            f"(declare-network f{k} {relation}(declare-input X{k} real [2]) (declare-output Y{k} real [2]))"
        )
    lines += [f"(assert (and (>= X{k}[{i}] 0.0) (<= X{k}[{i}] 1.0)))" for k in range(3) for i in range(2)]
    found = read("\n".join([*lines, "(assert (<= X2[0] X2[1]))", "(assert (<= (+ Y0[0] Y1[0] Y2[0]) 1.0))"]))
    check(found, networks(found, 1), 1)


def test_what_cannot_be_lowered() -> None:
    with pytest.raises(EmptySetError, match=r"X\[0,1\] >= 2.0 contradicts X\[0,1\] <= 1.0"):
        read(
            PAIR.replace("RELATION", "equal-to")
            + BOX
            + "(assert (>= X[0,1] 2.0))"
            + "".join(f"(assert (== X[0,{i}] U[0,{i}]))" for i in range(3))
        ).spec()
    whole = PAIR.replace("RELATION", "isomorphic-to").replace("float32", "int8")
    with pytest.raises(SpecError, match="input `X` is of type int8") as caught:
        read(whole + BOX.replace(".0", "")).spec()
    assert caught.value.code == "E-OP"
    default = (
        (PAIR + BOX)
        .replace("<2.0>", "<2.1>")
        .replace("RELATION", "equal-to")
        .replace("3])", "3] initialized)")
    )
    with pytest.raises(SpecError, match="input `X` takes a default value"):
        read(default).spec()
    found = read(
        PAIR.replace("RELATION", "equal-to") + BOX + BOX.replace("X", "U") + "(assert (> Y[0,0] V[0,0]))"
    )
    with pytest.raises(SpecError, match="no network h"):
        found.queries({"h": nn.Linear(3, 2)})
    with pytest.raises(ShapeError, match=r"network `f` is declared with 3 inputs, the shape is \(4,\)"):
        found.spec({"f": (4,)})
    (query,) = found.queries(nn.Linear(3, 2), shapes={"f": (3,)})
    assert query.batch == 1


def test_without_further_conditions_every_input_is_unsafe() -> None:
    found = read(PAIR.replace("RELATION", "equal-to") + BOX + BOX.replace("X", "U"))
    (query,) = found.queries(nn.Linear(3, 2).double())
    assert reached([query], torch.zeros(1, 6, dtype=torch.float64)) == [True]
