"""auto-LiRPA as a backend: equal to our engines on five networks, sound, and without side effects."""

from __future__ import annotations

import logging
import math
import subprocess
import sys
import warnings

import pytest
import torch
from torch import Tensor, nn

from robustbench_local.errors import GraphError, UnknownNameError, UnsupportedOpError
from robustbench_local.specs import Any, Atom, Ball, Box, InputSet, Query
from robustbench_local.verifiers import (
    CROWN,
    IBP,
    VERIFIERS,
    AutoLirpa,
    Budget,
    CrownIBP,
    Verifier,
    from_torch,
)

OURS: dict[str, Verifier] = {
    "ibp": IBP(),
    "crown-ibp": CrownIBP(intersect=False),
    "crown": CROWN(intersect=False),
}


class Residual(nn.Module):
    """Two convolutions with batch norm, the second one skipped by an addition."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.second = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.last = nn.Linear(4 * 64, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.first(x))
        return self.last(torch.relu(h + self.second(h)).flatten(1))


class Normalised(nn.Module):
    """Standardises its input before anything else."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.body((x - 0.5) / 0.25)


def _sequences() -> dict[str, nn.Module]:
    return {
        "mlp": nn.Sequential(
            nn.Flatten(), nn.Linear(64, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 10)
        ),
        "cnn": nn.Sequential(
            nn.Conv2d(1, 6, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(6, 8, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(128, 20),
            nn.ReLU(),
            nn.Linear(20, 10),
        ),
        "residual": Residual(),
        "smooth": nn.Sequential(
            nn.Flatten(), nn.Linear(64, 30), nn.Sigmoid(), nn.Linear(30, 30), nn.Tanh(), nn.Linear(30, 10)
        ),
        "pooling": nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Conv2d(4, 6, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(24, 10),
        ),
    }


def build(name: str) -> nn.Module:
    """A network with weights of a generator of its own, in eval mode."""
    network = Normalised() if name == "normalised" else _sequences()[name]
    generator = torch.Generator().manual_seed(3)
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            scale = 1 / math.sqrt(tensor[0].numel()) if tensor.ndim > 1 else 0.2
            centre = 1.0 if tensor.ndim == 1 and bool((tensor == 1).all()) else 0.0
            tensor.copy_(centre + scale * torch.randn(tensor.shape, generator=generator))
    return network.eval()


def points(count: int = 3) -> Tensor:
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(1))


SETS = {
    "linf": lambda x: Ball(x, 0.03, math.inf),
    "box": lambda x: Box(x - 0.05 * x, x + 0.02),
    "l2": lambda x: Ball(x, torch.tensor([0.2, 0.05, 0.2]), 2),
    "l1": lambda x: Ball(x, 0.4, 1),
    "l2 in a box": lambda x: Ball(x, 0.2, 2) & Box(torch.zeros_like(x), torch.ones_like(x)),
}


def make_query(network: nn.Module, inputs: InputSet, rows: int = 4) -> Query:
    generator = torch.Generator().manual_seed(2)
    C = torch.randn(inputs.batch, rows, 10, generator=generator, dtype=torch.float64)
    d = torch.randn(inputs.batch, rows, generator=generator, dtype=torch.float64)
    return Query(network, inputs, C, d, Any(tuple(Atom(i, True) for i in range(rows))))


@pytest.fixture(params=["mlp", "cnn", "residual", "smooth", "pooling"])
def network(request: pytest.FixtureRequest) -> nn.Module:
    return build(request.param)


@pytest.mark.parametrize(
    ("method", "dtype"), [*((m, torch.float32) for m in OURS), ("crown", torch.float64)], ids=str
)
def test_our_bounds_equal_its_bounds(network: nn.Module, method: str, dtype: torch.dtype) -> None:
    network = network.to(dtype)
    graph = from_torch(network, points().to(dtype))
    query = make_query(network, SETS["box"](points()))
    with torch.no_grad():
        ours, theirs = OURS[method].bound(graph, query).rows, AutoLirpa(method).bound(graph, query).rows
    assert theirs.dtype == dtype
    assert bool((ours <= theirs + 1e-4).all())
    if method != "ibp" and any(isinstance(m, nn.MaxPool2d) for m in network.modules()):
        return  # its planes of a maximum, and its bounds of the inputs, are looser
    if method != "ibp" and any(isinstance(m, nn.Sigmoid) for m in network.modules()):
        return  # of the tangents around zero it takes the one through the far end, ours leaves less area
    assert torch.allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize("inputs", ["l2", "l1", "l2 in a box"])
@pytest.mark.parametrize("method", ["ibp", "crown"])
def test_our_bounds_are_no_looser_and_both_are_sound(network: nn.Module, method: str, inputs: str) -> None:
    graph = from_torch(network, points())
    query = make_query(network, SETS[inputs](points()))
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        ours, theirs = VERIFIERS[method].bound(graph, query).rows, AutoLirpa(method).bound(graph, query).rows
        # the better of its two relaxations is another one than ours of the whole set
        assert inputs == "l2 in a box" or bool((ours <= theirs + 1e-4).all())
        for _ in range(20):
            noise = torch.rand(points().shape, generator=generator)
            x = query.inputs.sample(noise, torch.rand(len(noise), generator=generator)).float()
            assert bool((query.atoms(network(x)) <= torch.minimum(ours, theirs) + 1e-4).all())


def test_alpha_crown_is_at_least_as_tight_and_leaves_no_gradients() -> None:
    network = build("cnn")
    graph, query = from_torch(network, points()), make_query(network, SETS["linf"](points()))
    with torch.inference_mode():
        crown, alpha = (AutoLirpa(m).bound(graph, query).rows for m in ("crown", "alpha-crown"))
    assert bool((alpha <= crown + 1e-5).all())
    assert float((crown - alpha).max()) > 0
    assert all(p.grad is None for p in network.parameters())


def test_bounds_differentiate_into_the_weights_like_ours() -> None:
    gradients = []
    for engine in (AutoLirpa("crown"), CROWN(intersect=False)):
        network = build("residual")
        before = network(points()).sum()
        graph, query = from_torch(network, points()), make_query(network, SETS["linf"](points()))
        engine.bound(graph, query).rows.sum().backward()
        gradients.append([p.grad.clone() for p in network.parameters() if p.grad is not None])
        before.backward()  # the weights were not written to in between
    assert len(gradients[0]) == len(list(build("residual").parameters()))
    for a, b in zip(*gradients, strict=True):
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-4)


def test_samples_in_parts_give_the_same_bounds() -> None:
    network = build("cnn")
    graph, query = from_torch(network, points()), make_query(network, SETS["l2"](points()))
    with torch.no_grad():
        whole, parts = (AutoLirpa("crown", samples=n).bound(graph, query).rows for n in (128, 2))
    assert torch.allclose(whole, parts, atol=1e-5)


def test_out_of_time_the_bounds_are_infinite() -> None:
    network = build("mlp")
    graph, query = from_torch(network, points()), make_query(network, SETS["linf"](points()))
    bounds = AutoLirpa().bound(graph, query, Budget(seconds=0))
    assert bool((bounds.upper == math.inf).all())
    assert not bounds.complete


@pytest.mark.parametrize("inputs", ["l1", "l2", "l2 in a box"])
def test_a_ball_that_auto_lirpa_would_lose_is_refused(inputs: str) -> None:
    network = build("normalised")
    graph, query = from_torch(network, points()), make_query(network, SETS[inputs](points()))
    with pytest.raises(UnsupportedOpError, match="loses the radius"):
        AutoLirpa("ibp").bound(graph, query)


def test_the_second_convolution_mode_rescues_a_normalised_input() -> None:
    network = build("normalised")
    graph, query = from_torch(network, points()), make_query(network, SETS["linf"](points()))
    with torch.no_grad():
        theirs = AutoLirpa("crown").bound(graph, query).rows
        assert torch.allclose(theirs, OURS["crown"].bound(graph, query).rows, atol=1e-4)


def test_misuse_is_named() -> None:
    network = build("mlp")
    graph, query = from_torch(network, points()), make_query(network, SETS["linf"](points()))
    with pytest.raises(UnknownNameError, match="alpha-crown"):
        AutoLirpa("alpha")
    with pytest.raises(GraphError, match=r"nn\.Module"):
        AutoLirpa().bound(graph, query.with_network(lambda x: network(x)))
    with pytest.raises(GraphError, match="eval"):
        AutoLirpa().bound(graph, query.with_network(build("mlp").train()))


def test_a_network_that_auto_lirpa_cannot_take_is_named() -> None:
    network = nn.Sequential(
        nn.Flatten(2), nn.Conv1d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(124, 10)
    ).eval()
    graph, query = from_torch(network, points()), make_query(network, SETS["linf"](points()))
    with pytest.raises(UnsupportedOpError, match="auto-LiRPA failed"):
        AutoLirpa("crown").bound(graph, query)


def test_the_process_is_as_before() -> None:
    settings = torch.onnx._internal.torchscript_exporter._globals.GLOBALS

    def state() -> tuple[object, ...]:
        return (
            list(warnings.filters),
            torch.get_default_dtype(),
            settings.export_onnx_opset_version,
            list(logging.root.handlers),
            "numpy.lib.arraysetops" in sys.modules,
            "__getitem__" in vars(torch._C.Node),
            torch.get_rng_state().tolist(),
        )

    network = build("cnn").double()
    graph, query = from_torch(network, points().double()), make_query(network, SETS["linf"](points()))
    before = state()
    AutoLirpa("crown").bound(graph, query)
    assert state() == before


def test_it_is_imported_late_and_may_be_missing() -> None:
    code = (
        "import sys, torch\n"
        "from robustbench_local.errors import MissingPackageError\n"
        "from robustbench_local.specs import Atom, Ball, Query\n"
        "from robustbench_local.verifiers import VERIFIERS, from_torch\n"
        "assert 'auto_LiRPA' not in sys.modules\n"
        "sys.modules['auto_LiRPA'] = None\n"
        "net = torch.nn.Linear(2, 2).eval()\n"
        "ball, C, d = Ball(torch.zeros(1, 2), 0.1), torch.ones(1, 1, 2), torch.zeros(1, 1)\n"
        "query = Query(net, ball, C, d, Atom(0, True))\n"
        "graph = from_torch(net, torch.zeros(1, 2))\n"
        "VERIFIERS['crown'].bound(graph, query)\n"
        "try:\n    VERIFIERS['auto-lirpa'].bound(graph, query)\n"
        "except MissingPackageError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Run: pip install --no-deps auto-LiRPA==0.3" in done.stdout
