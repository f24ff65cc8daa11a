"""What is installed and what works on this machine, by trying it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata

import torch

from robustbench_local.errors import RobustBenchError

from .device import find_device

__all__ = ["Check", "checks"]

REQUIRED = (
    *("torch", "numpy", "pandas", "pyarrow", "scikit-learn", "cvxpy", "onnx", "safetensors"),
    *("typer", "rich", "jinja2", "plotly"),
)
OPTIONAL = {
    "auto-LiRPA": "second verifier and cross-check: pip install --no-deps auto-LiRPA==0.3",
    "onnxruntime": "replays in the deployment runtime: pip install 'robustbench-local[onnxruntime]'",
    "gurobipy": "commercial solver: pip install 'robustbench-local[gurobi]'",
    "ray": "several machines: pip install 'robustbench-local[distributed]'",
    "hypothesis": "tests: pip install 'robustbench-local[testing]'",
}


@dataclass(frozen=True, slots=True)
class Check:
    """One finding about a package, device, solver or engine (`kind`).

    `state` is ok, missing (optional and not there) or broken; `detail` says the version or what is wrong.
    """

    kind: str
    name: str
    state: str
    detail: str

    def as_dict(self) -> dict[str, str]:
        """The finding as plain fields."""
        return asdict(self)


def checks(*, device: str | None = None, quick: bool = False) -> list[Check]:
    """All findings. With `quick` nothing is computed or solved; `device` adds one device to those tried.

    Raises DeviceError for a device that does not exist.
    """
    if device is not None:
        find_device(device)
    found = [Check("python", sys.version.split()[0], "ok", sys.executable), *_packages(), *_devices(quick)]
    if not quick:
        found += [*_solvers(), _tried("engine", "attack and bounds", _engine)]
    return found


def _packages() -> Iterator[Check]:
    for name in REQUIRED:
        version = _version(name)
        yield Check("package", name, "ok" if version else "broken", version or "required, but not installed")
    for name, use in OPTIONAL.items():
        version = _version(name)
        yield Check("optional", name, "ok" if version else "missing", version or use)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _devices(quick: bool) -> Iterator[Check]:
    yield Check("device", "cpu", "ok", f"{torch.get_num_threads()} threads")
    for k in range(torch.cuda.device_count()):
        name = f"cuda:{k}"
        if quick:
            yield Check("device", name, "ok", torch.cuda.get_device_name(k))
        else:
            yield _tried("device", name, partial(_multiply, name, torch.cuda.get_device_name(k)))


def _multiply(device: str, model: str) -> str:
    ones = torch.ones(64, 64, device=device)
    return model if float((ones @ ones).sum()) == 64.0**3 else "wrong product"


def _solvers() -> Iterator[Check]:
    import cvxpy

    for solver in sorted(cvxpy.installed_solvers()):
        yield _tried("solver", solver, partial(_solve, solver))


def _solve(solver: str) -> str:
    """Minimises x + y over x + 2y >= 1, x, y >= 0 (value 1/2), which every kind of solver takes."""
    import cvxpy

    x = cvxpy.Variable(2, nonneg=True)
    problem = cvxpy.Problem(cvxpy.Minimize(x[0] + x[1]), [x[0] + 2 * x[1] >= 1])
    problem.solve(solver=solver)
    if x.value is None or abs(float(x.value.sum()) - 0.5) > 1e-3:
        raise RobustBenchError(f"solution {x.value}, should be (0, 0.5)")
    return "linear program"


def _engine() -> str:
    """Bounds of |x| on [-1, 2] through a two-neuron network, by IBP and CROWN."""
    from robustbench_local.verifiers import VERIFIERS, from_torch, output_bounds

    hidden, last = torch.nn.Linear(1, 2), torch.nn.Linear(2, 1)
    with torch.no_grad():
        hidden.weight.copy_(torch.tensor([[1.0], [-1.0]]))
        last.weight.fill_(1.0)
        hidden.bias.zero_()
        last.bias.zero_()
    network = torch.nn.Sequential(hidden, torch.nn.ReLU(), last)
    low, high = torch.tensor([[-1.0]]), torch.tensor([[2.0]])
    graph = from_torch(network, low)
    with torch.inference_mode():
        bounds = [output_bounds(graph, low, high, VERIFIERS[name]) for name in ("ibp", "crown")]
    if not all(float(lower) <= 0.0 and 2.0 <= float(upper) <= 3.01 for lower, upper in bounds):
        raise RobustBenchError("wrong bounds of |x| on [-1, 2]")
    return "IBP and CROWN enclose |x|"


def _tried(kind: str, name: str, attempt: Callable[[], str]) -> Check:
    try:
        return Check(kind, name, "ok", attempt())
    except Exception as error:  # a solver may fail in any way; that is the finding
        text = " ".join(str(error).split())[:120]
        return Check(kind, name, "broken", f"{type(error).__name__}: {text}")
