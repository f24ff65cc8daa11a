"""Our PGD against a plain loop of the textbook, and torchattacks and foolbox where they are installed.

    python benchmarks/pgd.py --json pgd.json --markdown

Same network, images, radius, steps and random start; timed in turns in one process. The share of samples
broken must not be lower than the peer's by more than one percentage point.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from _networks import CASES, Case, images
from _rows import Row, interleaved, machine, markdown, write_json
from rich.progress import track
from torch import Tensor, nn
from torch.nn import functional as F

from robustbench_local.attacks import pgd
from robustbench_local.specs import Query, robustness

STEPS, FRACTION = 20, 0.1

Attack = Callable[[], Tensor]  # -> adversarial points (B, *shape)


def plain_loop(network: nn.Module, x: Tensor, labels: Tensor, eps: float) -> Attack:
    """Madry et al. (2018) in a dozen lines: no bookkeeping of best points, no early stop, no checks."""
    generator = torch.Generator().manual_seed(0)

    def run() -> Tensor:
        noise = torch.rand(x.shape, generator=generator)
        point = (x + eps * (2 * noise - 1)).clamp(0, 1)
        for _ in range(STEPS):
            point.requires_grad_(True)
            (gradient,) = torch.autograd.grad(F.cross_entropy(network(point), labels), point)
            point = point.detach() + FRACTION * eps * gradient.sign()
            point = torch.minimum(torch.maximum(point, x - eps), x + eps).clamp(0, 1)
        return point

    return run


def torchattacks_loop(network: nn.Module, x: Tensor, labels: Tensor, eps: float) -> Attack:
    """torchattacks' PGD."""
    package: Any = import_module("torchattacks")
    attack = package.PGD(network, eps=eps, alpha=FRACTION * eps, steps=STEPS, random_start=True)
    return lambda: attack(x, labels)


def foolbox_loop(network: nn.Module, x: Tensor, labels: Tensor, eps: float) -> Attack:
    """foolbox's LinfPGD."""
    package: Any = import_module("foolbox")
    attack = package.attacks.LinfPGD(rel_stepsize=FRACTION, steps=STEPS)
    model = package.PyTorchModel(network, bounds=(0, 1))
    return lambda: attack(model, x, labels, epsilons=eps)[1]


def peers() -> Iterator[tuple[str, Callable[[nn.Module, Tensor, Tensor, float], Attack]]]:
    """The peers that are installed; the plain loop always is."""
    yield "plain loop", plain_loop
    for name, loop in (("torchattacks", torchattacks_loop), ("foolbox", foolbox_loop)):
        if find_spec(name) is not None:
            yield name, loop


def problem(case: Case, batch: int) -> tuple[nn.Module, Tensor, Tensor, Query]:
    """Network, images, labels as the network sees them, and the query at the case's radius."""
    network, x = case.build(), images(case, batch)
    with torch.no_grad():
        labels = network(x).argmax(1)
    query = robustness(case.shape, case.classes).query(network, x0=x, c=labels, eps=case.eps)
    return network, x, labels, query


def compare(case: Case, batch: int, *, repeats: int, seconds: float) -> Iterator[Row]:
    """Rows of one network and batch size: seconds and share broken, against each peer."""
    network, x, labels, query = problem(case, batch)
    name = f"{case.name}/linf/b{batch}"

    def ours() -> object:
        return pgd(query, steps=STEPS, step_size=FRACTION, early_stop=False)

    broken = float(pgd(query, steps=STEPS, step_size=FRACTION).violated.float().mean())
    for peer_name, loop in peers():
        attack = loop(network, x, labels, case.eps)
        points = attack()
        with torch.no_grad():
            theirs = float((network(points).argmax(1) != labels).float().mean())
        met = broken >= theirs - 0.01
        ratio = broken / theirs if theirs > 0 else None
        yield Row("pgd", name, "share broken", broken, theirs, peer_name, ratio, 0.99, met)
        pair = interleaved(ours, attack, repeats=repeats, seconds=seconds)
        yield Row("pgd", name, "seconds", pair.ours, pair.peer, peer_name, pair.ratio, 0.8, pair.ratio >= 0.8)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    parser.add_argument("--only", nargs="+", choices=sorted(CASES), default=list(CASES), help="networks")
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 32, 256], help="batch sizes")
    parser.add_argument("--repeats", type=int, default=9, help="rounds per case, at most")
    parser.add_argument("--seconds", type=float, default=10.0, help="no new round of a case after this time")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> list[Row]:
    """Runs the cases and returns their rows."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    tasks = [(CASES[name], batch) for name in options.only for batch in options.batch]
    rows: list[Row] = []
    for case, batch in track(tasks, description="pgd"):
        rows += compare(case, batch, repeats=options.repeats, seconds=options.seconds)
        write_json(rows, options.json)
    if options.markdown:
        print(machine(), markdown(rows), sep="\n\n")
    return rows


if __name__ == "__main__":
    main()
