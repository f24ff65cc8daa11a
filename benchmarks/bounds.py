"""IBP, CROWN and alpha-CROWN against auto-LiRPA: the same margins, in turns, in one process.

    python benchmarks/bounds.py --json bounds.json --markdown
    python benchmarks/bounds.py --only mnist-cnn --batch 1 64 --method crown --peer-path A_CHECKOUT
    RBL_VNNCOMP=A_FOLDER python benchmarks/bounds.py --only resnet-4b vit   # networks of VNN-COMP instances

Set-up (our `from_torch`, auto-LiRPA's `BoundedModule`) is timed apart. Ratios are peer / ours.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from _networks import CASES, Case, images
from _rows import Row, interleaved, machine, markdown, write_json
from rich.progress import track
from torch import Tensor

from robustbench_local.specs import Query, robustness
from robustbench_local.verifiers import (
    CROWN,
    IBP,
    AlphaCROWN,
    Budget,
    CrownIBP,
    Tuning,
    Verifier,
    auto_lirpa_shims,
    from_torch,
)

TOLERANCE = 1e-4  # on bounds, relative to their size where that is above 1


@dataclass(frozen=True)
class Method:
    """Ours, ours without extra intersections (the published algorithm), and auto-LiRPA's name of the same."""

    ours: Verifier
    published: Verifier | None
    peer: str
    goal: float


STEPS = 20  # of alpha-CROWN, on both sides; auto-LiRPA's default
METHODS = {
    "ibp": Method(IBP(), IBP(), "IBP", 3.0),
    "crown-ibp": Method(CrownIBP(), CrownIBP(intersect=False), "CROWN-IBP", 2.0),
    "crown": Method(CROWN(), CROWN(intersect=False), "CROWN", 2.0),
    "alpha-crown": Method(AlphaCROWN(tuning=Tuning(steps=STEPS)), None, "CROWN-Optimized", 2.0),
}
#: What auto-LiRPA is tried with, in order: 0.3 loses track of its sparse parameters on some networks.
PEER_OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"sparse_features_alpha": False, "sparse_spec_alpha": False},
    {"conv_mode": "matrix", "sparse_features_alpha": False, "sparse_spec_alpha": False},
)


@dataclass(frozen=True)
class Task:
    """One network, batch size and method."""

    case: Case
    batch: int
    method: str

    @property
    def name(self) -> str:
        """As it appears in the rows."""
        return f"{self.case.name}/{self.method}/b{self.batch}"

    def query(self, network: torch.nn.Module) -> Query:
        """The margins of the predicted class against the others, at the case's radius, unclipped."""
        x = images(self.case, self.batch)
        with torch.no_grad():
            labels = network(x).argmax(1)
        spec = robustness(self.case.shape, self.case.classes, bounds=None)
        return spec.query(network, x0=x, c=labels, eps=self.case.eps)


def ours(task: Task, published: bool = False) -> tuple[Callable[[], Tensor], Callable[[], object]]:
    """Two functions: our upper bounds (B, m), and our set-up."""
    network = task.case.build()
    query = task.query(network)
    graph = from_torch(network, images(task.case, 1))
    method = METHODS[task.method]
    engine = method.published if published and method.published is not None else method.ours
    budget = Budget(tighten=True)  # decided rows too, as the peer does
    return (lambda: engine.bound(graph, query, budget).rows), (
        lambda: from_torch(network, images(task.case, 1))
    )


def peer(task: Task, package: Any) -> tuple[Callable[[], Tensor], Callable[[], object]]:
    """Two functions: auto-LiRPA's upper bounds (B, m), and its set-up."""
    network = task.case.build()
    query = task.query(network)
    lower, upper = query.inputs.box().cast(torch.float32)
    ball = package.PerturbationLpNorm(norm=math.inf, x_L=lower, x_U=upper)
    point = package.BoundedTensor((lower + upper) / 2, ball)
    C, d = -query.C.float(), query.d.float()

    def build(options: dict[str, Any] | None = None) -> Any:
        opts = {"optimize_bound_args": {"iteration": STEPS}, **(options or {})}
        return package.BoundedModule(network, images(task.case, task.batch), bound_opts=opts)

    method = METHODS[task.method].peer

    def bound(bounded: Any) -> Tensor:
        with torch.set_grad_enabled(method == "CROWN-Optimized"):
            lower = bounded.compute_bounds(x=(point,), C=C, method=method, bound_upper=False)[0]
        return d - lower.detach()

    failure: Exception | None = None
    for options in PEER_OPTIONS:
        try:
            bounded = build(options)
            bound(bounded)  # parameters are set up anew by every call
            return partial(bound, bounded), build
        except Exception as error:  # it fails in every way: asserts, shapes, lookups
            failure = error
    raise PeerFailed(f"{type(failure).__name__}: {failure}") from failure


class PeerFailed(Exception):
    """auto-LiRPA cannot bound this network."""


class Kept:
    """A function that keeps its latest value."""

    def __init__(self, function: Callable[[], Tensor]) -> None:
        self.function, self.value = function, torch.empty(0)

    def __call__(self) -> None:
        """Runs it."""
        self.value = self.function()


def compare(task: Task, package: Any, peer_name: str, *, repeats: int, seconds: float) -> Iterator[Row]:
    """Rows of one task: difference of the bounds, seconds, set-up seconds."""
    our_bounds, our_setup = ours(task)
    try:
        if package is None:
            raise PeerFailed("not run, it takes minutes")
        peer_bounds, peer_setup = peer(task, package)
    except PeerFailed as failed:
        mine = Kept(our_bounds)
        pair = interleaved(mine, lambda: None, repeats=repeats, seconds=seconds)
        yield Row(
            "bounds", task.name, "seconds", pair.ours, None, f"{peer_name}: {failed}"[:90], None, 0, True
        )
        return
    mine, theirs = Kept(our_bounds), Kept(peer_bounds)
    for metric, a, b in (("seconds", mine, theirs), ("set-up seconds", our_setup, peer_setup)):
        pair = interleaved(a, b, repeats=repeats, seconds=seconds)
        goal = METHODS[task.method].goal if metric == "seconds" else 1.0
        yield Row(
            "bounds", task.name, metric, pair.ours, pair.peer, peer_name, pair.ratio, goal, pair.ratio >= goal
        )
    scale = theirs.value.abs().clamp(min=1)
    if METHODS[task.method].published is not None and task.case.same_relaxations:
        published = ours(task, published=True)[0]()
        difference = float(((published - theirs.value) / scale).abs().max())
        yield _row(task, "max relative difference", difference, peer_name, TOLERANCE, difference <= TOLERANCE)
        excess = float(((mine.value - theirs.value) / scale).max())
        yield _row(task, "max relative excess", excess, peer_name, TOLERANCE, excess <= TOLERANCE)
    means = float(mine.value.mean()), float(theirs.value.mean())
    met = means[0] <= means[1] + TOLERANCE * float(scale.mean())
    yield Row("bounds", task.name, "mean upper bound", *means, peer_name, None, means[1], met)


def _row(task: Task, metric: str, value: float, peer_name: str, goal: float, met: bool) -> Row:
    return Row("bounds", task.name, metric, value, None, peer_name, None, goal, met)


def memory(task: Task, peer_name: str, arguments: list[str]) -> Row:
    """Peak resident memory of each side in a process of its own, above what it held after its set-up."""
    peaks = []
    for side in ("ours", "peer"):
        command = [sys.executable, __file__, "--side", side, "--task", task.name, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(float(json.loads(done.stdout.splitlines()[-1])))
    ratio = (1 + peaks[1]) / (1 + peaks[0])  # a megabyte on both: small cases fit in memory already held
    return Row("bounds", task.name, "peak MB", peaks[0], peaks[1], peer_name, ratio, 1.0, ratio >= 1.0)


def one_side(side: str, name: str) -> None:
    """Prints by how many MB one bound call raised this process's peak; the body of `memory`'s processes."""
    network, method, batch = name.split("/")
    task = Task(CASES[network], int(batch.removeprefix("b")), method)
    with auto_lirpa_shims.running_auto_lirpa(torch.float32) as package, torch.no_grad():
        bound = (ours(task) if side == "ours" else peer(task, package))[0]
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts anew from here
        before = _status("VmRSS")
        bound()
        print(json.dumps((_status("VmHWM") - before) / 1024))


def _status(field: str) -> int:
    """A number of kilobytes from Linux's account of this process."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(field)))


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    parser.add_argument("--only", nargs="+", choices=sorted(CASES), default=list(CASES), help="networks")
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 64], help="batch sizes")
    parser.add_argument("--method", nargs="+", choices=list(METHODS), default=["ibp", "crown", "alpha-crown"])
    parser.add_argument("--repeats", type=int, default=9, help="rounds per case, at most")
    parser.add_argument("--seconds", type=float, default=20.0, help="no new round of a case after this time")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", action="store_true", help="peak memory too, one process each (Linux)")
    parser.add_argument("--alone", action="store_true", help="without the peer: where it takes minutes")
    parser.add_argument("--peer-path", type=Path, help="folder of another auto-LiRPA (a git checkout)")
    parser.add_argument("--side", choices=["ours", "peer"], help=argparse.SUPPRESS)
    parser.add_argument("--task", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> list[Row]:
    """Runs the cases and returns their rows."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    if options.peer_path is not None:
        sys.path.insert(0, str(options.peer_path))
    if options.side is not None:
        one_side(options.side, options.task)
        return []
    again = ["--threads", str(options.threads)]
    again += ["--peer-path", str(options.peer_path)] if options.peer_path else []
    tasks = [Task(CASES[n], b, m) for n in options.only for m in options.method for b in options.batch]
    peer_name = f"auto-LiRPA {auto_lirpa_shims.auto_lirpa_version()}"
    rows: list[Row] = []
    for task in track(tasks, description="bounds"):
        with auto_lirpa_shims.running_auto_lirpa(torch.float32) as package, torch.no_grad():
            chosen = None if options.alone else package
            rows += compare(task, chosen, peer_name, repeats=options.repeats, seconds=options.seconds)
        if options.memory:
            rows.append(memory(task, peer_name, again))
        write_json(rows, options.json)
    if options.markdown:
        print(machine(), markdown(rows), sep="\n\n")
    return rows


if __name__ == "__main__":
    main()
