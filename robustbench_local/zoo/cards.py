"""A row's card as Markdown: what it is, how it was made, what was found, what it must not be used for.

The parts follow M. Mitchell et al., "Model cards for model reporting", FAT* 2019, arXiv 1810.03993, and
T. Gebru et al., "Datasheets for datasets", arXiv 1803.09010.
"""

from __future__ import annotations

from collections.abc import Mapping

from robustbench_local.models import Row

from .records import ClaimRecord, RowRecord
from .status import counted_claims, status_of

__all__ = ["card_markdown"]


def card_markdown(row: Row, record: RowRecord | None, weights: Mapping[str, str], *, level: int = 1) -> str:
    """The card of `row` with what `record` found; weights: weight set -> sha256 of the shipped file.

    level: of the first heading. It ends with a line break.
    """
    card, model, mark = row.card, row.entry.card, "#" * level
    status, reason = status_of(record, weights)
    parts = [
        f"{mark} {card.id} {model.name}",
        f"{model.summary} *Status: {status}{f' ({reason})' if reason else ''}.*",
        f"{card.section}. {card.shows}",
        f"{mark}# What it is",
        f"Follows {model.paper}, {model.source}. Kept: {model.faithful} Changed: {model.deviates}",
        f"{model.parameters:,} trainable numbers, input {_shape(model.input_shape)}, "
        f"{model.outputs} outputs; task: {model.task}. "
        f"Verified: {'; '.join(card.parts)}.",
        f"{mark}# Data",
        f"{card.data} {card.ethics}",
        f"{mark}# Weights and gate",
        _gate(row, record),
        f"{mark}# What must be true of it, and what was found",
        "\n".join(f"- **{c.name}**: {c.says} Control: {c.control_is}." for c in row.claims),
        _claims(record),
        f"{mark}# Use, limits and responsibility",
        f"{model.intended_use} Limits: {model.limits}",
        _process(row),
        f"Release: {'yes' if status == 'bracketed' else 'no'} (of rows that are bracketed and whose card is "
        "complete). "
        f"Licence of the weights: {model.licence}.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in shape)


def _gate(row: Row, record: RowRecord | None) -> str:
    text = f"Gate: {row.gate.text}."
    if record is None:
        return text
    reached = ", ".join(f"`{name}` {value:.4g}" for name, value in record.gate.items())
    return f"{text} Reached: {reached}."


def _claims(record: RowRecord | None) -> str:
    if record is None:
        return ""
    counted = counted_claims(record)
    lines = ["| claim | weights | hold | violated | open | worst violation | control |", "|---" * 7 + "|"]
    for claim in record.claims:
        control = "violated" if claim.name in counted else "**not violated**"
        counts = (claim.holds, claim.violated, claim.cases - claim.decided)
        cells = (claim.name, claim.weights, *map(str, counts), _bracket(claim), control)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _bracket(claim: ClaimRecord) -> str:
    ends = ["?" if end is None else f"{end:.3g}" for end in (claim.lower, claim.upper)]
    return f"{ends[0]} to {ends[1]}"


def _process(row: Row) -> str:
    card = row.card
    steps = (
        ("Who gains", card.benefit),
        ("Who may be harmed", card.risk),
        ("What is done about it", card.mitigation),
        ("Red line", card.red_line),
        ("Balance", card.balance),
        ("Would those affected agree", card.affected),
        ("What might be regretted", card.regret),
    )
    return "\n".join(f"- {name}: {text}" for name, text in steps)
