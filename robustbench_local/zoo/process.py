"""The process around the models as claims about every row: what is missing, counted, must be nothing.

The five steps and the two tests are those of the lectures (episode 12); cards follow M. Mitchell et al.,
arXiv 1810.03993, data sheets T. Gebru et al., arXiv 1803.09010, audits M. Brundage et al., arXiv 2004.07213;
the attack on privacy is in `privacy.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

from robustbench_local.errors import UnknownNameError
from robustbench_local.models import ROWS, Row, RowCard, WeightsRecord, read_index
from robustbench_local.version import __version__

from .auditing import Finding, findings
from .card_pages import card_html, card_markdown
from .cards import Card, card_of
from .privacy import advantages_of, overfitted_advantage
from .records import ClaimRecord, RowRecord, code_hash, weights_of_rows
from .sources import sources_of
from .status import released, status_of

__all__ = ["PROCESSES", "Facts", "Process", "evaluate_process", "facts_of"]


@dataclass(frozen=True, slots=True)
class Facts:
    """What there is to look at of one row.

    answers: the texts of its card by field. card: as written out. status, release: how far it is, and whether
    its weights may go out. asked: (claim, weight set) of all its claims; found: what the audit lists.
    """

    answers: Mapping[str, str]
    card: Card
    family: str
    status: str
    release: bool
    asked: tuple[tuple[str, str], ...]
    found: tuple[Finding, ...]
    advantages: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Process:
    """A rule for every row: `missing` counts what does not fulfil it; `broken` makes facts that do not."""

    id: str
    name: str
    says: str
    missing: Callable[[Facts], int]
    broken: Callable[[Facts], Facts]


def _answered(row: str, name: str, says: str, *names: str) -> Process:
    """The fields `names` of the card say something."""

    def missing(facts: Facts) -> int:
        return sum(not facts.answers.get(field, "").strip() for field in names)

    def broken(facts: Facts) -> Facts:
        return replace(facts, answers={**facts.answers, names[-1]: " "})

    return Process(row, name, says, missing, broken)


_PARTS = ("What it is", "Data sheet", "Weights and gate", "What must be true", "Use, limits")


def _parts_missing(facts: Facts) -> int:
    """Headings that the card lacks, in Markdown or in HTML."""
    texts = (card_markdown(facts.card), card_html(facts.card))
    return sum(part not in text for part in _PARTS for text in texts)


def _without_part(facts: Facts) -> Facts:
    return replace(facts, card=replace(facts.card, sections=facts.card.sections[:-1]))


def _not_audited(facts: Facts) -> int:
    """Claims of a weight set that the audit does not list exactly once."""
    listed = [(one.claim, one.weights) for one in facts.found]
    return sum(listed.count(key) != 1 for key in facts.asked)


def _released_early(facts: Facts) -> int:
    return int(facts.release and facts.status != "bracketed")


MOST_ADVANTAGE = 0.1
"""What an attack on privacy may gain; by chance alone it gains about half of that on a few hundred people."""


def _values_missing(facts: Facts) -> int:
    """Fairness not bracketed, a card with parts missing, weights that give away who was trained on."""
    unfair = facts.family == "fairness" and facts.status != "bracketed"
    leaks = [name for name, gain in facts.advantages.items() if not gain <= MOST_ADVANTAGE]  # NaN leaks, too
    return int(unfair) + int(_parts_missing(facts) > 0) + len(leaks)


def _overfitted(facts: Facts) -> Facts:
    """As if the weights were of a network that knows the people of its training data by heart."""
    row = next(row for row in ROWS.values() if row.members is not None)
    return replace(facts, advantages={"overfitted": overfitted_advantage(row)})


PROCESSES: Mapping[str, Process] = {
    process.id: process
    for process in (
        _answered(
            *("P.01", "five-steps", "Every card answers the five questions of the process."),
            *("benefit", "risk", "mitigation", "red_line", "balance"),
        ),
        _answered(
            *(
                "P.02",
                "two-tests",
                "Every card says whether those affected would agree, and what one may regret.",
            ),
            *("affected", "regret"),
        ),
        Process(
            *("P.03", "model-cards", "Every row's card is written in Markdown and HTML with all its parts."),
            *(_parts_missing, _without_part),
        ),
        Process(
            *("P.04", "audited", "The audit's ranking lists every claim of every weight set once."),
            *(_not_audited, lambda facts: replace(facts, found=facts.found[1:])),
        ),
        _answered(
            *("P.05", "data-sheets", "Every card says where data and labels come from, and who agreed."),
            *("data", "ethics"),
        ),
        Process(
            *("P.06", "release", "No weights are released of a row that is not bracketed."),
            *(_released_early, lambda facts: replace(facts, release=True, status="gated")),
        ),
        Process(
            *("P.07", "key-values"),
            "Fairness is bracketed, cards are whole, losses hardly tell who was trained on.",
            *(_values_missing, _overfitted),
        ),
    )
}
"""Row of the plan -> its rule."""


def facts_of(row: Row, record: RowRecord | None, index: Iterable[WeightsRecord]) -> Facts:
    """What there is to look at of `row`."""
    weights = {one.weights: one.sha256 for one in index if one.model == row.model}
    status = status_of(record, weights)[0]
    texts = {field.name: getattr(row.card, field.name) for field in fields(RowCard)}
    return Facts(
        answers={name: text if isinstance(text, str) else "; ".join(text) for name, text in texts.items()},
        card=card_of(row, record, weights),
        family=row.entry.card.family,
        status=status,
        release=released(status),
        asked=tuple((claim.name, name) for claim in row.claims for name in row.fits),
        found=tuple(findings({row.card.id: record})) if record is not None else (),
        advantages=advantages_of(row),
    )


def evaluate_process(id: str, rows: Sequence[Row], records: Mapping[str, RowRecord]) -> RowRecord:
    """The rule `id` applied to all rows, a case each; what is missing is counted, so the bracket is exact.

    The control is the rule on broken facts of the first row. Raises UnknownNameError.
    """
    if id not in PROCESSES:
        raise UnknownNameError.of("process", id, PROCESSES)
    start, process, index = time.perf_counter(), PROCESSES[id], read_index()
    people = [file for row in rows if row.members is not None for file in sources_of(row)]
    facts = [facts_of(row, records.get(row.card.id), index.values()) for row in rows]
    missing = [process.missing(one) for one in facts]
    worst = float(max(missing, default=0))
    claim = ClaimRecord(
        name=process.name,
        weights="all rows",
        cases=len(missing),
        holds=missing.count(0),
        violated=len(missing) - missing.count(0),
        lower=worst,
        upper=worst,
        crossed=0,
    )
    return RowRecord(
        row=id,
        model="process",
        title=process.says,
        family="process",
        version=__version__,
        code=code_hash(("card.py", "row.py", *people)),
        weights=weights_of_rows(index),
        gate={},
        gate_text="",
        gate_met={},
        claims=(claim,),
        controls={process.name: bool(facts) and process.missing(process.broken(facts[0])) > 0},
        seconds=round(time.perf_counter() - start, 1),
    )
