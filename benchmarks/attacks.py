"""Our attacks against other packages': the ensemble, PGD-40 and APGD-100 on convolutional networks.

    python benchmarks/attacks.py --peer-path FOLDER --json attacks.json --markdown

Same network, images, labels, radius, steps and step size, timed in turns in one process. FOLDER holds
installed packages (`pip install --no-deps --target FOLDER pyautoattack==0.2.0 torchattacks==3.5.1
foolbox==3.3.4 eagerpy adv-lib==0.2.8`); without it those that can be imported are used. A peer that fails is
skipped with its message. Robust accuracy is counted for all by one clean forward pass at their points.
"""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from _rows import Row, interleaved, machine, markdown, write_json
from _trained import Problem, problems
from rich.progress import track
from torch import Tensor

from robustbench_local.attacks import Attack, apgd, autoattack, pgd, smooth_violation_loss

STEP = 0.25  # of the radius: PGD's step size for all, 2/255 of 8/255

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


def adv_lib_pgd(problem: Problem) -> Run:
    """adv-lib's pgd_linf."""
    package: Any = import_module("adv_lib.attacks")
    settings: dict[str, Any] = {"steps": 40, "relative_step_size": STEP}
    return lambda: package.pgd_linf(
        problem.network, problem.images, problem.labels, ε=problem.eps, **settings
    )


def adv_lib_apgd(problem: Problem) -> Run:
    """adv-lib's apgd on the cross-entropy."""
    package: Any = import_module("adv_lib.attacks")
    settings: dict[str, Any] = {"norm": float("inf"), "n_iter": 100, "loss_function": "ce"}
    return lambda: package.apgd(problem.network, problem.images, problem.labels, problem.eps, **settings)


@dataclass(frozen=True)
class Contest:
    """An attack of ours, the peers of the same steps, and how many times as fast it ought to be."""

    ours: Attack
    peers: dict[str, Callable[[Problem], Run]]
    goal: float


CONTESTS = {
    "pgd-40": Contest(
        partial(pgd, steps=40, step_size=STEP, loss=smooth_violation_loss),
        {
            "torchattacks 3.5.1": torchattacks_pgd,
            "foolbox 3.3.4": foolbox_pgd,
            "adv-lib 0.2.8": adv_lib_pgd,
        },
        1.5,
    ),
    "apgd-100": Contest(apgd, {"torchattacks 3.5.1": torchattacks_apgd, "adv-lib 0.2.8": adv_lib_apgd}, 1.5),
    "ensemble": Contest(autoattack, {"pyautoattack 0.2.0": pyautoattack_points}, 1.0),
}


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
    ours = partial(contest.ours, query)
    mine = robust(problem, ours().points)
    for peer_name, make in contest.peers.items():
        try:
            theirs_run = make(problem)
            theirs = robust(problem, theirs_run())
        except Exception as problem_of_peer:  # a peer may fail in any way; the row says so
            message = f"{peer_name}: {problem_of_peer!r:.80}"
            yield Row("attacks", case, "robust accuracy", mine, None, message, None, 0.1, True)
            continue
        yield Row(
            "attacks", case, "robust accuracy", mine, theirs, peer_name, None, 0.1, mine <= theirs + 0.1
        )
        pair = interleaved(ours, theirs_run, repeats=repeats, seconds=seconds)
        met = pair.ratio >= contest.goal
        yield Row("attacks", case, "seconds", pair.ours, pair.peer, peer_name, pair.ratio, contest.goal, met)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    parser.add_argument("--only", nargs="+", choices=sorted(CONTESTS), default=list(CONTESTS), help="attacks")
    parser.add_argument("--network", nargs="+", help="networks; all by default")
    parser.add_argument("--batch", type=int, default=256, help="images, at most")
    parser.add_argument("--repeats", type=int, default=5, help="rounds per pair, at most")
    parser.add_argument("--seconds", type=float, default=10.0, help="no new round of a pair after this time")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peer-path", type=Path, help="folder with the peers' packages")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> list[Row]:
    """Runs the contests and returns their rows."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore")  # the peers'
    if options.peer_path is not None:
        sys.path.append(str(options.peer_path))
    tasks = [(p, c) for p in problems(options.network, options.batch) for c in options.only]
    rows: list[Row] = []
    for problem, contest in track(tasks, description="attacks"):
        rows += compare(problem, contest, repeats=options.repeats, seconds=options.seconds)
        write_json(rows, options.json)
    if options.markdown:
        print(machine(), markdown(rows), sep="\n\n")
    return rows


if __name__ == "__main__":
    main()
