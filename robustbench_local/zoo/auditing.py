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

EPISODE = "12."  # the lecture about responsibility: all its rows are about safety or fairness


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
    """The rows of the families and those of the episode about responsibility, in the registry's order."""
    return [r for r in rows.values() if r.entry.card.family in families or r.card.id.startswith(EPISODE)]


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


def findings_markdown(ranking: Sequence[Finding], rows: Mapping[str, Row]) -> str:
    """The audit as Markdown: the ranking, and an entry for every claim that is violated.

    An entry says what is claimed of what, how badly it fails, what is done about it and what must never be
    done, as the card of its row in `rows` has it.
    """
    lines = [
        "# Audit",
        "",
        "| rank | row | claim | weights | verdict | violation found | at most | violated |",
    ]
    lines.append("|---" * 8 + "|")
    for rank, one in enumerate(ranking, 1):
        ends = ["?" if end is None else f"{end:.4g}" for end in (one.found, one.possible)]
        count = f"{one.violated} of {one.cases}"
        cells = (f"{one.row} {one.model}", one.claim, one.weights, one.word, *ends, count)
        lines.append(f"| {rank} | {' | '.join(cells)} |")
    for rank, one in enumerate(ranking, 1):
        if one.word == "violated":
            lines += ["", *_entry(rank, one, rows[one.row])]
    return "\n".join(lines) + "\n"


def _entry(rank: int, finding: Finding, row: Row) -> list[str]:
    claim = row.claim(finding.claim)
    found = "?" if finding.found is None else f"{finding.found:.4g}"
    return [
        f"## {rank}. {finding.row} {finding.model}, {finding.claim}, weights {finding.weights}",
        "",
        f"- **Claimed**: {claim.says}",
        f"- **Found**: violated in {finding.violated} of {finding.cases} cases, by up to {found}; the inputs "
        f"are the witnesses of `{finding.model}:{finding.weights}` in the results beside this file.",
        f"- **Who may be harmed**: {row.card.risk}",
        f"- **What is done about it**: {row.card.mitigation}",
        f"- **Red line**: {row.card.red_line}",
    ]
