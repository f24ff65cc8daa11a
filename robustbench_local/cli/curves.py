"""`rbl attack --curves`: what attacks find after how much work, as a page or a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .output import message, progress_bar

if TYPE_CHECKING:
    from robustbench_local.evaluation import Cases

__all__ = ["write_curves"]


def write_curves(batches: Sequence[Cases], names: Sequence[str], path: Path, *, seed: int) -> None:
    """The anytime curves of the attacks on the problems: a .csv file of every improvement, else a page."""
    import pandas as pd

    from robustbench_local.anytime import anytime
    from robustbench_local.attacks import ATTACKS
    from robustbench_local.report import curves_page
    from robustbench_local.store import write_atomically

    attacks = {name: ATTACKS[name] for name in names}  # misspelled names are told before anything runs
    parts = []
    with progress_bar() as bar:
        task = bar.add_task("", total=len(attacks) * len(batches))
        for cases in batches:
            for name, attack in attacks.items():
                bar.update(task, description=name)
                parts.append(anytime(cases, {name: attack}, seed=seed))
                bar.advance(task)
    table = pd.concat(parts, ignore_index=True)
    if path.suffix == ".csv":
        write_atomically(path, lambda place: table.to_csv(place, index=False))
    else:
        first = batches[0]
        radius = f", {first.norm} eps {first.eps:g}" if first.norm else ""
        curves_page(table, path, title=f"{first.model}, {first.spec}{radius}")
    message(f"{path}: what {', '.join(attacks)} found after how much work")
