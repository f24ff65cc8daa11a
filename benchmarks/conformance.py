"""Scoreboard: our attacks and other packages' on networks of which it is known which samples can be broken.

    python benchmarks/conformance.py --peer-path FOLDER --json conformance.json --markdown

For each case and attack: breakable samples found, of how many; "lost", samples that the attack saw a bad
point of and did not report; "false", points reported as bad that are none (outside of the ball, not finite,
or not misclassified). Points are judged by `Case.bad`, not by the package. Samples are attacked one by one,
so that every point that the network sees belongs to the sample. FOLDER as for `attacks.py`, with six,
multiprocess, dill and adversarial-robustness-toolbox 1.20.1 for ART; a package that is missing is left out,
and an attack that fails says how.
"""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from _rows import Row, machine, write_json
from rich.progress import track
from torch import Tensor, nn

from robustbench_local.attacks import ATTACKS, Attack, apgd, autoattack, bpda, pgd, worst_of
from robustbench_local.conformance import Case, Recorder, conformance_cases

STEPS, STEP, QUERIES = 40, 0.1, 1000

Points = Callable[[Case, nn.Module], tuple[Tensor, Tensor]]
"""points(case of one sample, network) -> points (1, *shape), and whether the attack calls them bad (1,)."""


def ours(attack: Attack) -> Points:
    """One of our attacks."""

    def run(case: Case, network: nn.Module) -> tuple[Tensor, Tensor]:
        found = attack(case.query(network))
        return found.points, found.violated

    return run


def _claims(case: Case, points: Tensor) -> tuple[Tensor, Tensor]:
    """The points of a package that claims nothing itself: misclassified ones are taken as its claims."""
    with torch.no_grad():
        return points, case.network(points).argmax(1) != case.labels


def torchattacks(name: str, case: Case, network: nn.Module) -> tuple[Tensor, Tensor]:
    """torchattacks' attack of that name."""
    package: Any = import_module("torchattacks")
    settings: dict[str, dict[str, Any]] = {
        "PGD": {"alpha": STEP * case.eps, "steps": STEPS},
        "APGD": {"steps": 100, "n_restarts": 1},
        "AutoAttack": {"n_classes": _classes(case)},
    }
    attack = getattr(package, name)(network, eps=case.eps, **settings[name])
    return _claims(case, attack(case.inputs, case.labels).detach())


def foolbox(case: Case, network: nn.Module) -> tuple[Tensor, Tensor]:
    """foolbox's LinfPGD."""
    package: Any = import_module("foolbox")
    attack = package.attacks.LinfPGD(rel_stepsize=STEP, steps=STEPS)
    model = package.PyTorchModel(network, bounds=case.bounds, device="cpu")
    _, points, claimed = attack(model, case.inputs, case.labels, epsilons=case.eps)
    return points, claimed


def pyautoattack(kind: str, case: Case, network: nn.Module) -> tuple[Tensor, Tensor]:
    """pyautoattack's version `kind`."""
    package: Any = import_module("pyautoattack")
    logging.getLogger("auto-attack").setLevel(logging.ERROR)
    suite = package.AutoAttack(network, norm="Linf", eps=case.eps, seed=0, version=kind)
    suite.verbose = False
    found = suite.run_standard_evaluation(case.inputs, case.labels, batch_size=1)
    return _claims(case, found[0] if isinstance(found, tuple) else found)


def art(name: str, case: Case, network: nn.Module) -> tuple[Tensor, Tensor]:
    """The Adversarial Robustness Toolbox' attack of that name."""
    attacks: Any = import_module("art.attacks.evasion")
    estimators: Any = import_module("art.estimators.classification")
    classifier = estimators.PyTorchClassifier(
        network,
        loss=nn.CrossEntropyLoss(),
        input_shape=tuple(case.inputs.shape[1:]),
        nb_classes=_classes(case),
        clip_values=case.bounds,
        device_type="cpu",
    )
    settings: dict[str, dict[str, Any]] = {
        "ProjectedGradientDescent": {"max_iter": STEPS, "num_random_init": 1, "verbose": False},
        "AutoProjectedGradientDescent": {"max_iter": 100, "nb_random_init": 1, "verbose": False},
        "AutoAttack": {},
    }
    sizes = {"eps": case.eps, "eps_step": 2 * case.eps if name.startswith("Auto") else STEP * case.eps}
    attack = getattr(attacks, name)(classifier, **sizes, **settings[name])
    found = attack.generate(case.inputs.numpy(), case.labels.numpy())
    return _claims(case, torch.from_numpy(found).to(case.inputs))


CONTESTANTS: dict[str, tuple[str, Points]] = {
    "pgd": ("", ours(partial(pgd, steps=STEPS, step_size=STEP))),
    "apgd": ("", ours(apgd)),
    "autoattack": ("", ours(partial(autoattack, queries=QUERIES))),
    "bpda, autoattack": ("", ours(worst_of(bpda, partial(autoattack, queries=QUERIES)))),
    "autoattack-rand": ("", ours(ATTACKS["autoattack-rand"])),
    "torchattacks PGD": ("torchattacks", partial(torchattacks, "PGD")),
    "torchattacks APGD": ("torchattacks", partial(torchattacks, "APGD")),
    "torchattacks AutoAttack": ("torchattacks", partial(torchattacks, "AutoAttack")),
    "foolbox PGD": ("foolbox", foolbox),
    "ART PGD": ("art", partial(art, "ProjectedGradientDescent")),
    "ART AutoPGD": ("art", partial(art, "AutoProjectedGradientDescent")),
    "ART AutoAttack": ("art", partial(art, "AutoAttack")),
    "pyautoattack standard": ("pyautoattack", partial(pyautoattack, "standard")),
    "pyautoattack rand": ("pyautoattack", partial(pyautoattack, "rand")),
}


@dataclass(frozen=True)
class Score:
    """One attack on one case: counts of samples, or how it failed."""

    found: int
    breakable: int
    silent: int
    false: int
    failed: str = ""

    @property
    def text(self) -> str:
        """A cell of the scoreboard."""
        marks = [
            f"{self.silent} lost" * bool(self.silent),
            f"{self.false} false" * bool(self.false),
            self.failed,
        ]
        return ", ".join([f"{self.found}/{self.breakable}", *filter(None, marks)])


def score(case: Case, points: Points) -> Score:
    """Attacks every sample of the case by itself. A failure counts as nothing found."""
    found = silent = false = 0
    failed = ""
    for row in range(len(case.labels)):
        one = case.select(torch.tensor([row]))
        recorder = Recorder(one.query()).eval()
        try:
            torch.manual_seed(row)
            at, claimed = points(one, one.network if one.random else recorder)
        except Exception as error:  # a peer may fail in any way; the cell says so
            failed = type(error).__name__
            continue
        good = bool(one.bad(at.detach()))
        found += bool(claimed) and good
        false += bool(claimed) and not good
        silent += recorder.seen and not (bool(claimed) and good)
    return Score(found, int(case.breakable.sum()), silent, false, failed)


def _classes(case: Case) -> int:
    with torch.no_grad():
        return case.network(case.inputs[:1]).shape[1]


def scoreboard(scores: dict[tuple[str, str], Score], names: list[str], cases: list[str]) -> str:
    """The Markdown table: cases down, attacks across."""
    lines = ["| case | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    lines += [f"| {c} | " + " | ".join(scores[c, n].text for n in names) + " |" for c in cases]
    return "\n".join(lines)


def versions() -> str:
    """The packages that took part, with versions."""
    found = []
    for name in ("torchattacks", "foolbox", "pyautoattack", "adversarial-robustness-toolbox"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} not installed, left out")
    return ", ".join(found)


def main(arguments: list[str] | None = None) -> list[Row]:
    """Runs all attacks on all cases and returns a row for each pair."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--markdown", action="store_true", help="print the scoreboard")
    parser.add_argument("--samples", type=int, default=8, help="samples of each case, at most")
    parser.add_argument("--only", nargs="+", choices=sorted(CONTESTANTS), help="attacks; all by default")
    parser.add_argument("--peer-path", type=Path, help="folder with the peers' packages")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")  # the peers'
    if options.peer_path is not None:
        sys.path.append(str(options.peer_path))
    names = [n for n in options.only or CONTESTANTS if _installed(CONTESTANTS[n][0])]
    cases = list(conformance_cases(options.samples))
    scores = {}
    for case, name in track([(c, n) for c in cases for n in names], description="conformance"):
        scores[case.name, name] = score(case, CONTESTANTS[name][1])
    rows = [
        Row("conformance", f"{case}/{name}", "found", one.found, one.breakable, one.text, None, one.breakable,
            one.found == one.breakable and not one.silent and not one.false)
        for (case, name), one in scores.items()
    ]  # fmt: skip
    write_json(rows, options.json)
    if options.markdown:
        print(machine(), versions(), scoreboard(scores, names, [case.name for case in cases]), sep="\n\n")
    return rows


def _installed(package: str) -> bool:
    try:
        return not package or bool(import_module(package))
    except ImportError:
        return False


if __name__ == "__main__":
    main()
