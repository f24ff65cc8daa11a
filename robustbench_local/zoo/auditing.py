"""The audit of the zoo: all claims of its fairness and safety rows, the worst violation first.

What is filed like a bounty: M. Brundage et al., "Toward trustworthy AI development", arXiv 2004.07213.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from robustbench_local.models import Row

from .records import ClaimRecord, RowRecord

__all__ = ["AUDITED", "Finding", "audited_rows", "findings", "findings_markdown"]

AUDITED = ("fairness", "physics")
"""The families whose claims are about people, or about what must never happen."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One claim of one weight set: its violation is at least `found` and at most `possible`, in its unit.

    found > 0: an input violates the claim. possible < 0: nothing does. None where no finite number is known.
    """

    row: str
    model: str
    weights: str
    claim: str
    found: float | None
    possible: float | None
    violated: int
    cases: int

    @property
    def word(self) -> str:
        """violated, open or holds."""
        if self.violated:
            return "violated"
        return "holds" if self.possible is not None and self.possible < 0 else "open"

    def as_dict(self) -> dict[str, object]:
        """Plain fields."""
        return {**asdict(self), "word": self.word}


def audited_rows(rows: Mapping[str, Row], families: Sequence[str] = AUDITED) -> list[Row]:
    """The rows of the families, in the registry's order."""
    return [row for row in rows.values() if row.entry.card.family in families]


def findings(records: Mapping[str, RowRecord]) -> list[Finding]:
    """Every claim and weight set of the records: violated ones first, then open ones, each by
    size, what nothing bounds before the rest."""
    found = [_finding(record, claim) for record in records.values() for claim in record.claims]
    return sorted(found, key=_severity)


def _finding(record: RowRecord, claim: ClaimRecord) -> Finding:
    return Finding(
        row=record.row,
        model=record.model,
        weights=claim.weights,
        claim=claim.name,
        found=claim.lower,
        possible=claim.upper,
        violated=claim.violated,
        cases=claim.cases,
    )


def _severity(finding: Finding) -> tuple[int, float, str]:
    order = {"violated": 0, "open": 1, "holds": 2}[finding.word]
    size = finding.found if finding.word == "violated" else finding.possible
    return order, -math.inf if size is None else -size, f"{finding.row} {finding.claim} {finding.weights}"


def findings_markdown(ranking: Sequence[Finding]) -> str:
    """The ranking as a Markdown table."""
    lines = ["| rank | row | claim | weights | verdict | violation found | at most | cases violated |"]
    lines.append("|---" * 8 + "|")
    for rank, one in enumerate(ranking, 1):
        ends = ["?" if end is None else f"{end:.4g}" for end in (one.found, one.possible)]
        cells = (
            f"{one.row} {one.model}",
            one.claim,
            one.weights,
            one.word,
            *ends,
            f"{one.violated} of {one.cases}",
        )
        lines.append(f"| {rank} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
