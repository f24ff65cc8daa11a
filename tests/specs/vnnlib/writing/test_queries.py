"""Queries and specs as VNN-LIB files: what comes back is true where the query is; the rest is refused."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from robustbench_local.errors import EmptySetError, SpecError, SpecWarning
from robustbench_local.specs import (
    SPECS,
    Domain,
    Formula,
    Net,
    Query,
    Term,
    Var,
    Vnnlib2Property,
    VnnlibProperty,
    atoms_as_outputs,
    ball,
    box,
    concat,
    forall,
    rank,
    read_vnnlib,
    softmax,
    vmax,
    write_vnnlib,
)

from ..version2 import oracle
from ..version2.random_queries import GRID, Program, programs
from ..version2.test_lowering import assignment, bounded, networks, reached


def through(found: object, folder: Path, version: str, **options: object) -> VnnlibProperty | Vnnlib2Property:
    path = folder / "p.vnnlib"
    write_vnnlib(found, path, version, **options)  # type: ignore[arg-type]
    if version != "1.0":
        assert oracle.accepts(path.read_text())
    return read_vnnlib(path)


def robust(shape: tuple[int, ...], seed: int, **options: object) -> Query:
    generator = torch.Generator().manual_seed(seed)
    network = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), 4)).double()
    network[1].weight.data = torch.rand(4, math.prod(shape), generator=generator).double() - 0.5
    network[1].bias.data.zero_()
    x0 = torch.rand(1, *shape, generator=generator).double()
    spec = SPECS["robustness"](shape, 4, **options)
    return spec.query(network, x0=x0, c=network(x0).argmin(1), eps=0.3)


@pytest.mark.parametrize("seed", range(4))
def test_a_robustness_query_comes_back(seed: int, tmp_path: Path) -> None:
    query = robust((1, 2, 3), seed)
    flat = through(query, tmp_path, "1.0")
    typed = through(query, tmp_path, "2.0", output_shape=(1, 4))
    assert isinstance(flat, VnnlibProperty) and isinstance(typed, Vnnlib2Property)
    assert [t.shape for t in typed.declared.tensors.values()] == [(1, 1, 2, 3), (1, 4)]
    noise = torch.Generator().manual_seed(seed)
    many = query.select(torch.zeros(400, dtype=torch.long))
    x = many.inputs.centre() + 0.8 * torch.rand(400, 1, 2, 3, generator=noise).double() - 0.4
    x[:50] = many.inputs.box().lower[:50]  # faces, some of them just outside of the set
    x[50:100] = many.inputs.project(x[50:100].repeat(8, 1, 1, 1))[50:100]
    y = query.network(x).detach()
    mine = many.inputs.contains(x) & many.violated_by(y)
    theirs = flat.unsafe(x.flatten(1), y)
    assert bool((theirs | ~mine).all()) and bool(mine.any()) and not bool(theirs.all())
    values = {"X": x[:, None], "Y": y[:, None]}
    again = torch.from_numpy(typed.evaluate(values))
    assert again.tolist() == mine.tolist()  # with strict bounds where faces are no floats: the same set


def test_what_a_file_cannot_hold(tmp_path: Path) -> None:
    query = robust((4,), 0)
    with pytest.raises(SpecError, match="a file holds one problem, the query 2") as caught:
        through(query.select(torch.tensor([0, 0])), tmp_path, "2.0")
    assert caught.value.code == "E-EXPORT"
    for version, message in (("1.0", "has boxes and one network"), ("2.0", "is no set of that kind")):
        with pytest.raises(SpecError, match=message) as caught:
            through(robust((4,), 0, p=2), tmp_path, version)
        assert caught.value.code == "E-EXPORT"
    x0 = SPECS["robustness"]((4,), 4)
    with pytest.raises(SpecError, match="no value for `x0`"):
        through(x0, tmp_path, "2.0")


def spec_of(domain: Domain, body: Formula, *variables: Var) -> object:
    return forall(variables, domain, body)


x, u = Var("x", 2), Var("u", 2)
f, g = Net("f", 2, 3, taps={"0": 4}), Net("g", 2, 3)
h = Net("h", 3, 1)
unit = box(-1, 1)


def sample(query: Query, count: int = 300) -> Tensor:
    """Points in and around the query's set, on a grid."""
    noise = torch.Generator().manual_seed(0)
    return torch.randint(-6, 7, (count, *query.inputs.shape), generator=noise).double() / 4


def affine(sizes: tuple[int, int], seed: int) -> nn.Sequential:
    generator = torch.Generator().manual_seed(seed)
    layers = nn.Sequential(nn.Linear(sizes[0], 4), nn.ReLU(), nn.Linear(4, sizes[1])).double()
    for weights in layers.parameters():
        weights.data = torch.randint(-4, 5, weights.shape, generator=generator).double() / 2
    return layers


NETWORKS = {"f": affine((2, 3), 1), "g": affine((2, 3), 2), "h": affine((3, 1), 3)}

SINGLE: dict[str, tuple[object, int]] = {
    "polytope": (forall(x, unit & (x[0] <= x[1]) & (2 * x[0] + x[1] <= 0.5), f(x)[0] <= -1.5), 1),
    "mixed": (forall(x, unit, f(x)[1] - 0.5 * x[0] <= -1.25), 1),
    "nested formula": (forall(x, unit, (f(x)[0] <= -1.5) & ((f(x)[1] < 0.5) | (f(x)[2] > x[1]))), 1),
    "maximum": (forall(x, unit, vmax(f(x)) - abs(f(x)[0]) <= 0.75), 1),
    "rank": (forall(x, unit, rank(f(x), 1) <= 2), 1),
    "union": (forall(x, (box(-1, 0) | box([0, 0.5], 1)) & (x[0] >= -0.5), f(x)[0] <= -1.4), 1),
    "product": (forall(x, unit, f(x)[0] * f(x)[1] + x[0] * x[1] * x[1] <= 0.25), 1),
    "square": (forall(x, unit, (f(x)[0] - 1) ** 2 <= 0.25 + x[0]), 1),
    "inner node": (forall(x, unit, f.tap("0", x)[2] + f(x)[0] <= 0.5), 1),
    "two nets": (forall(x, unit, f(x)[0] - g(x)[0] <= 0.5), 2),
    "nets in a row": (forall(x, unit, h(f(x))[0] <= f(x)[1] + 1), 2),
    "shifted": (forall(x, unit, f(2 * x - 0.5)[0] <= f(x)[0] + 1), 2),
}


@pytest.mark.parametrize("name", SINGLE)
def test_specs_of_one_variable(name: str, tmp_path: Path) -> None:
    spec, count = SINGLE[name]
    found = through(spec, tmp_path, "2.0")
    assert isinstance(found, Vnnlib2Property) and len(found.networks) == count
    query = spec.query({k: NETWORKS[k] for k in spec.nets})  # type: ignore[attr-defined]
    z = sample(query)
    expected = reached([query], z)
    assert any(expected) and not all(expected)
    values: dict[str, Tensor] = {}  # of the file: x is an input as it is, the other inputs follow
    for network in found.networks:
        own = network.name[0]
        given = NETWORKS["f"](z).detach() if own == "h" else z
        if name == "shifted" and network.inputs[0].name != "x":
            given = 2 * z - 0.5
        values[network.inputs[0].name] = given[:, None]
        values[network.outputs[0].name] = NETWORKS[own](given).detach()[:, None]
        for tensor in network.hidden:
            values[tensor.name] = NETWORKS[own][0](given).detach()[:, None]
    assert found.evaluate(values).tolist() == expected


def test_two_variables_come_back(tmp_path: Path) -> None:
    """Monotonicity and closeness: written, read, and lowered again it is the same property."""
    rising = forall([x, u], unit(x) & unit(u) & (x[0] <= u[0]), f(x)[0] <= f(u)[0])
    close = forall([x, u], unit(x) & ball(x, 0.25)(u), f(x)[0] - g(u)[0] <= 0.5)
    moved = forall([x, u], unit(x) & unit(u), f(concat(x[0:1], u[1:2]))[0] + g(x)[1] + g(u)[0] <= 0.5)
    for spec in (rising, close, moved):
        found = through(spec, tmp_path, "2.0")
        assert isinstance(found, Vnnlib2Property)
        bound = {k: NETWORKS[k] for k in spec.nets}
        (query,), again = [spec.query(bound)], found.queries(bound)
        if spec is moved:  # x and u are told in another order
            assert len(found.networks) == 3 and found.networks[0].inputs[0].shape == (1, 2)
            continue
        z = sample(query)
        assert again[0].inputs.shape == query.inputs.shape
        assert reached(again, z) == reached([query], z)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (forall(x, unit, softmax(f(x))[0] <= 0.5), r"`softmax\(f\(x\)\)` is no polynomial"),
        (forall(x, unit, f(0.5 * x)[0] <= 0.5), "no network takes `x` itself as its input"),
        (forall(x, unit & ball([0.0, 0.0], 0.5, p=2), f(x)[0] <= 0.5), "is no set of that kind"),
    ],
)
def test_specs_beyond_the_format(spec: Term, message: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        through(spec, tmp_path, "2.0")
    assert caught.value.code == "E-EXPORT"


@pytest.mark.parametrize("name", ["mixed", "maximum", "rank", "product", "two nets", "nets in a row"])
def test_atoms_as_outputs_fit_into_version_1(name: str, tmp_path: Path) -> None:
    spec, _ = SINGLE[name]
    query = spec.query({k: NETWORKS[k] for k in spec.nets})  # type: ignore[attr-defined]
    single = atoms_as_outputs(query)
    found = through(single, tmp_path, "1.0")
    assert isinstance(found, VnnlibProperty)
    z = sample(query)
    expected = reached([query], z)
    assert reached([single], z) == expected
    text = (tmp_path / "p.vnnlib").read_text()
    assert all(
        line.count("Y_") == line.count(" 0.0)")
        for line in text.splitlines()
        if "X_" not in line and "(>=" in line
    )
    assert found.outputs == single.C.shape[1]
    again = found.unsafe(z, single.network(z).detach())
    assert all(
        theirs or not mine for mine, theirs in zip(expected, again.tolist(), strict=True)
    )  # closed atoms


def test_atoms_as_outputs_never_shrink_the_violation() -> None:
    network = nn.Linear(2, 3)
    query = forall(x, unit, (f(x)[0] <= 0.1) & (f(x)[1] - 2 * f(x)[2] <= -0.7)).query(network)
    single = atoms_as_outputs(query)
    points = torch.rand(50, 2)
    limits = [a - b for a, b in zip(single.network.d.double().tolist(), query.d[0].tolist(), strict=True)]
    assert all(0 <= gap < 1e-7 for gap in limits) and any(limits)
    many = [q.select(torch.zeros(50, dtype=torch.long)) for q in (single, query)]
    assert torch.allclose(many[0].violation(points), many[1].violation(points), atol=1e-6)
    third = forall(x, unit, f(x)[0] / 3 <= 1).query(network)
    with pytest.raises(SpecError, match=r"the coefficient -?0\.333.* is no torch.float32") as caught:
        atoms_as_outputs(third)
    assert caught.value.code == "E-EXPORT"
    assert atoms_as_outputs(forall(x, unit, f(x)[0] / 3 <= 1).query(NETWORKS["f"])).batch == 1


def test_specs_that_version_1_cannot_hold(tmp_path: Path) -> None:
    for spec in (SINGLE["polytope"][0], SINGLE["mixed"][0], SINGLE["two nets"][0]):
        with pytest.raises(SpecError) as caught:
            through(spec, tmp_path, "1.0")
        assert caught.value.code == "E-EXPORT"
    found = through(forall(x, unit, (f(x)[0] <= 1) & (f(x)[1] < f(x)[2])), tmp_path, "1.0")
    assert isinstance(found, VnnlibProperty) and len(found.clauses) == 2


def survives(program: Program, seed: int, folder: Path) -> bool:
    """VNN-LIB -> spec -> VNN-LIB has the same truth; False where there is nothing to compare."""
    found = bounded(program)
    bound = networks(found, seed)
    try:
        spec = found.spec()
        again = through(spec, folder, "2.0")
    except EmptySetError:
        return False
    except SpecError as error:  # a variable that no network of the formula takes
        assert error.code == "E-EXPORT"
        return False
    assert isinstance(again, Vnnlib2Property)
    shapes = {v.name: v.shape for v in spec.variables}
    own = {t.name: t.shape for n in again.networks for t in n.inputs}
    if any(own.get(name) != (1, *shape) for name, shape in shapes.items()):
        return False  # an input made of several variables has other coordinates
    used = {name: bound[name] for name in bound if name in {n.equal_to or n.name for n in again.networks}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpecWarning)  # equations, which no attack can hit
        query = spec.unchecked().query(used)
    noise = np.random.default_rng(seed)
    parts = {k: torch.from_numpy(noise.choice(np.asarray(GRID), (40, *shape))) for k, shape in shapes.items()}
    x = query.layout.merge(parts) if query.layout is not None else next(iter(parts.values()))
    inputs = {k: v.reshape(40, *own[k]) for k, v in parts.items()}
    if set(inputs) != set(own):
        return False  # an input is tied to others
    expected = again.evaluate(assignment(again, used, inputs))
    assert reached([query], x) == expected.tolist()
    return True


def test_random_properties_survive_the_language(tmp_path: Path) -> None:
    compared: list[bool] = []

    @settings(max_examples=120)
    @given(programs(), st.integers(0, 2**16))
    def check(program: Program, seed: int) -> None:
        compared.append(survives(program, seed, tmp_path))

    check()
    assert sum(compared) > 8
