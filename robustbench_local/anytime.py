"""What attacks have found after how much work: anytime curves, in passes and seconds per problem.

An attack's result says what it found in the end. These curves say when, in the currency that all attacks
share (forward passes, backward passes, seconds): attacks of any kind can be compared at equal budgets.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor

from .attacks import Attack
from .diagnostics.watching import Seen, watched_by
from .errors import UnknownNameError
from .evaluation import Cases

if TYPE_CHECKING:  # a single verdict needs no table
    import pandas as pd

__all__ = ["BUDGETS", "anytime", "unbroken"]

BUDGETS = ("forwards", "backwards", "seconds")
"""What an attack spends on a problem."""


@dataclass(slots=True, eq=False)
class _Log(Seen):
    """Every improvement of every problem: (forwards, backwards, seconds, best violation, broken).

    spent: forward and backward passes of each problem so far. The log's own time is taken out of `seconds`,
    and the time of a batch is shared by the problems in it.
    """

    spent: list[list[int]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    lines: list[list[tuple[int, int, float, float, bool]]] = field(default_factory=list)
    last: float = 0.0

    def look(self, rows: list[int], points: Tensor, violation: Tensor, inside: Tensor, bad: Tensor) -> None:
        """Counts a pass, and writes a line where a point of the set is worse than all before."""
        share = (time.perf_counter() - self.last) / max(1, len(rows))
        for k, row in enumerate(rows):
            self.seconds[row] += share
            self.spent[row][0] += 1
            if not bool(inside[k]):
                continue
            value, broken = float(violation[k]), bool(bad[k])
            best, before = self.lines[row][-1][3:] if self.lines[row] else (-math.inf, False)
            if value > best or (broken and not before):
                best = max(best, value) if not math.isnan(value) else best
                forwards, backwards = self.spent[row]
                self.lines[row].append((forwards, backwards, self.seconds[row], best, broken or before))
        self.last = time.perf_counter()

    def slope(self, rows: list[int]) -> None:
        """Counts a backward pass."""
        for row in rows:
            self.spent[row][1] += 1


def anytime(cases: Cases, attacks: Mapping[str, Attack], *, seed: int = 0) -> pd.DataFrame:
    """Every improvement that each attack makes on each problem, and what the attack spent on it in all.

    Args:
        cases: the problems; attacks start where `Cases.starts` says, with the keys that `evaluate` uses.
        attacks: name in the table -> attack.
        seed: of the attacks.

    Returns:
        Columns attack, case, forwards, backwards, seconds (spent on that problem until then; a batch's time
        is shared by the problems in it), violation (the worst in the set so far, -inf before any), broken
        (whether a point of the set has broken the property, in the network's own arithmetic). The last line
        of an attack and a case has its whole budget.
    """
    import pandas as pd

    rows: list[dict[str, object]] = []
    for name, attack in attacks.items():
        n = cases.query.batch
        log = _Log([], spent=[[0, 0] for _ in range(n)], seconds=[0.0] * n, lines=[[] for _ in range(n)])
        query, log = watched_by(cases.query, log)
        log.last = time.perf_counter()
        attack(query, start=cases.starts(), seed=seed, ids=list(cases.ids))
        for row, case in enumerate(cases.ids):
            known = log.lines[row]
            best, broken = known[-1][3:] if known else (-math.inf, False)
            end = (*log.spent[row], log.seconds[row], best, broken)
            for forwards, backwards, seconds, violation, found in (*known, end):
                rows.append(
                    {
                        "attack": name,
                        "case": str(case),
                        "forwards": forwards,
                        "backwards": backwards,
                        "seconds": seconds,
                        "violation": violation,
                        "broken": found,
                    }
                )
    table: pd.DataFrame = pd.DataFrame(rows)
    return table


def unbroken(table: pd.DataFrame, budget: str = "forwards") -> pd.DataFrame:
    """The share of cases that no attack of that name has broken, by what it spent on each of them.

    Columns attack, `budget`, share; one line per budget at which the share falls, a first one at 0 and a last
    one at the largest budget spent. Raises UnknownNameError for a budget that is not in `BUDGETS`.
    """
    import pandas as pd

    if budget not in BUDGETS:
        raise UnknownNameError.of("budget", budget, BUDGETS)
    parts = []
    for name, lines in table.groupby("attack", sort=False):
        count = lines["case"].nunique()
        first = lines[lines["broken"]].groupby("case")[budget].min().sort_values()
        falls = first.value_counts().sort_index().cumsum()
        ends = [0.0, *(float(at) for at in falls.index), float(lines[budget].max())]
        left = [1.0, *(1 - float(broken) / count for broken in falls)]
        parts.append(pd.DataFrame({"attack": str(name), budget: ends, "share": [*left, left[-1]]}))
    shares: pd.DataFrame = pd.concat(parts, ignore_index=True)
    return shares
