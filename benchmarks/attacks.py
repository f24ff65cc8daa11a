"""Our attacks against other packages': the ensemble, PGD-40 and APGD-100 on convolutional networks.

    python benchmarks/attacks.py --peer-path FOLDER --json attacks.json --markdown

Same network, images, labels, radius and number of steps, timed in turns in one process. FOLDER holds the
installed packages (`pip install --no-deps --target FOLDER pyautoattack==0.2.0 torchattacks==3.5.1
foolbox==3.3.4 eagerpy adv-lib==0.2.8`); without it those that can be imported are used. A peer that fails is
skipped with its message. Ours take their best settings for 40 and 100 steps (docs/attacks.md), chosen on
other images than these. Robust accuracy is counted for all by one clean forward pass at their points, the
mean over the rounds, which start at other random points. Silent successes are counted over every attack of
the registry: samples of which the network was shown a bad point that the result does not report.
"""

from __future__ import annotations

import argparse
import inspect
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from _rows import Row, interleaved, machine, markdown, write_json
from _trained import Problem, problems
from rich.progress import track
from torch import Tensor

from robustbench_local.attacks import (
    ATTACKS,
    Attack,
    apgd,
    autoattack,
    pgd,
    pgd_falling,
    violation_loss,
    worst_of,
)
from robustbench_local.conformance import Recorder

STEP = 0.25  # of the radius: the peers' step size in PGD, 2/255 of 8/255
BRIEF = 20  # steps of the attacks that are watched for silent successes, where they take 100 or more

Run = Callable[[], Tensor]  # -> points (B, *shape)


def pyautoattack_points(problem: Problem) -> Run:
    """pyautoattack's `standard`."""
    package: Any = import_module("pyautoattack")
    logging.getLogger("auto-attack").setLevel(logging.ERROR)

    def run() -> Tensor:
        suite = package.AutoAttack(problem.network, norm="Linf", eps=problem.eps, seed=0, version="standard")
        suite.verbose = False
        found = suite.run_standard_evaluation(problem.images, problem.labels, batch_size=len(problem.labels))
        return found[0] if isinstance(found, tuple) else found

    return run


def torchattacks_pgd(problem: Problem) -> Run:
    """torchattacks' PGD."""
    package: Any = import_module("torchattacks")
    eps = problem.eps
    attack = package.PGD(problem.network, eps=eps, alpha=STEP * eps, steps=40, random_start=True)
    return lambda: attack(problem.images, problem.labels)


def torchattacks_apgd(problem: Problem) -> Run:
    """torchattacks' APGD."""
    package: Any = import_module("torchattacks")
    attack = package.APGD(problem.network, norm="Linf", eps=problem.eps, steps=100, n_restarts=1, loss="ce")
    return lambda: attack(problem.images, problem.labels)


def foolbox_pgd(problem: Problem) -> Run:
    """foolbox's LinfPGD."""
    package: Any = import_module("foolbox")
    attack = package.attacks.LinfPGD(rel_stepsize=STEP, steps=40)
    model = package.PyTorchModel(problem.network, bounds=(0, 1), device="cpu")
    return lambda: attack(model, problem.images, problem.labels, epsilons=problem.eps)[1]


def adv_lib_attacks() -> Any:
    """adv-lib's attacks; what only its pictures and a distance need may be missing, or not fit this torch."""
    for name, part in (("torchvision", "models"), ("visdom", "Visdom")):
        try:
            import_module(name)
        except (ImportError, RuntimeError):
            sys.modules[name] = stand_in = ModuleType(name)
            setattr(stand_in, part, None)
    return import_module("adv_lib.attacks")


def adv_lib_pgd(problem: Problem) -> Run:
    """adv-lib's pgd_linf."""
    package, case = adv_lib_attacks(), (problem.network, problem.images, problem.labels)
    return lambda: package.pgd_linf(*case, problem.eps, steps=40, relative_step_size=STEP)


def adv_lib_apgd(problem: Problem) -> Run:
    """adv-lib's apgd on the cross-entropy."""
    package, case = adv_lib_attacks(), (problem.network, problem.images, problem.labels)
    settings: dict[str, Any] = {"norm": float("inf"), "n_iter": 100, "loss_function": "ce"}
    return lambda: package.apgd(*case, problem.eps, **settings)


@dataclass(frozen=True)
class Contest:
    """An attack of ours, the peers of the same steps, and how many times as fast it ought to be."""

    ours: Attack
    peers: dict[str, Callable[[Problem], Run]]
    goal: float


CONTESTS = {
    "pgd-40": Contest(
        pgd_falling,
        {
            "torchattacks 3.5.1": torchattacks_pgd,
            "foolbox 3.3.4": foolbox_pgd,
            "adv-lib 0.2.8": adv_lib_pgd,
        },
        1.5,
    ),
    "apgd-100": Contest(
        worst_of(partial(apgd, steps=50), partial(apgd, steps=50, loss=violation_loss)),
        {"torchattacks 3.5.1": torchattacks_apgd, "adv-lib 0.2.8": adv_lib_apgd},
        1.5,
    ),
    "ensemble": Contest(autoattack, {"pyautoattack 0.2.0": pyautoattack_points}, 1.0),
}


class Kept:
    """A run that keeps its points, so that what is timed is also what is judged."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._points: list[Tensor] = []

    def __call__(self) -> None:
        """Runs once."""
        self._points.append(self._run())

    def robust(self, problem: Problem) -> float:
        """Percent of the samples that a clean pass classifies right, or whose points lie outside the ball.

        The mean over all runs, which differ in their random starts.
        """
        return sum(robust(problem, points) for points in self._points) / len(self._points)


def robust(problem: Problem, points: Tensor) -> float:
    """Percent of the samples that a clean pass classifies right, or whose points lie outside the ball."""
    with torch.no_grad():
        right = problem.network(points).argmax(1) == problem.labels
    outside = (points - problem.images).flatten(1).abs().amax(1) > problem.eps * (1 + 1e-4)
    return 100 * float((right | outside).double().mean())


def compare(problem: Problem, name: str, *, repeats: int, seconds: float) -> Iterator[Row]:
    """Rows of one network and attack: robust accuracy and time, against each peer."""
    contest = CONTESTS[name]
    case = f"{problem.name}/{name}/{len(problem.labels)}"
    query = problem.query()
    for peer_name, make in contest.peers.items():
        seeds = count()
        ours = Kept(lambda seeds=seeds: contest.ours(query, seed=next(seeds)).points)  # type: ignore[misc]
        try:
            peer = Kept(make(problem))
            pair = interleaved(ours, peer, repeats=repeats, seconds=seconds)
        except Exception as problem_of_peer:  # a peer may fail in any way; the row says so
            ours()
            message, mine = f"{peer_name}: {problem_of_peer!r:.80}", ours.robust(problem)
            yield Row("attacks", case, "robust accuracy", mine, None, message, None, 0.1, True)
            continue
        mine, theirs = ours.robust(problem), peer.robust(problem)
        low = mine <= theirs + 0.1
        yield Row("attacks", case, "robust accuracy", mine, theirs, peer_name, None, 0.1, low)
        met = pair.ratio >= contest.goal
        yield Row("attacks", case, "seconds", pair.ours, pair.peer, peer_name, pair.ratio, contest.goal, met)


def silent_successes(problem: Problem, samples: int) -> Row:
    """How many samples some attack of the registry showed a bad point to the network of without a report.

    Sample by sample, so that every point a network sees is known to belong to that sample: half of those
    that PGD breaks and half of those that it does not.
    """
    query = problem.query()
    broken = pgd(query).violated
    with torch.no_grad():
        right = problem.network(problem.images).argmax(1) == problem.labels
    kinds = [(right & kind).nonzero().flatten()[: samples // 2] for kind in (broken, ~broken)]
    rows, lost = torch.cat(kinds), 0
    for attack in map(shortened, ATTACKS):
        for row in rows.unsqueeze(1):
            one = query.select(row)
            recorder = Recorder(one)
            result = attack(one.with_network(recorder))
            lost += int(recorder.seen and not bool(result.violated))
    case = f"{problem.name}/{len(ATTACKS)} attacks/{len(rows)}"
    return Row("attacks", case, "silent successes", lost, None, "", None, 0.0, lost == 0)


def shortened(name: str) -> Attack:
    """The attack of that name with few steps."""
    attack = ATTACKS[name]
    parameters = inspect.signature(attack).parameters
    long = [key for key in ("steps", "queries") if key in parameters and parameters[key].default >= 100]
    return partial(attack, **dict.fromkeys(long, BRIEF))


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    parser.add_argument("--only", nargs="+", choices=sorted(CONTESTS), default=list(CONTESTS), help="attacks")
    parser.add_argument("--network", nargs="+", help="networks; all by default")
    parser.add_argument("--batch", type=int, default=256, help="images, at most")
    parser.add_argument("--few", type=int, default=128, help="images for the ensemble, at most")
    parser.add_argument("--watched", type=int, default=4, help="images watched for silent successes")
    parser.add_argument("--repeats", type=int, default=5, help="rounds per pair, at most")
    parser.add_argument("--seconds", type=float, default=10.0, help="no new round of a pair after this time")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peer-path", type=Path, help="folder with the peers' packages")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> list[Row]:
    """Runs the contests and returns their rows."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)  # the peers' random starts
    warnings.simplefilter("ignore")  # the peers'
    if options.peer_path is not None:
        sys.path.append(str(options.peer_path))
    rows: list[Row] = []
    for problem in track(list(problems(options.network, options.batch)), description="attacks"):
        for contest in options.only:
            few = options.few if contest == "ensemble" else options.batch
            rows += compare(problem.first(few), contest, repeats=options.repeats, seconds=options.seconds)
            write_json(rows, options.json)
        rows.append(silent_successes(problem, options.watched))
        write_json(rows, options.json)
    if options.markdown:
        print(machine(), markdown(rows), sep="\n\n")
    return rows


if __name__ == "__main__":
    main()
