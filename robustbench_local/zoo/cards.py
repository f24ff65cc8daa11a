"""A row's card: what it is, how it was made, what was found, what it must not be used for.

The parts follow M. Mitchell et al., "Model cards for model reporting", FAT* 2019, arXiv 1810.03993, and
T. Gebru et al., "Datasheets for datasets", arXiv 1803.09010.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from robustbench_local.models import Row

from .records import ClaimRecord, RowRecord
from .status import counted_claims, released, status_of

__all__ = ["Block", "Card", "Grid", "Points", "Section", "card_of"]


@dataclass(frozen=True, slots=True)
class Points:
    """A list: what each point is about, and what is said of it."""

    lines: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """A table."""

    heads: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]


Block: TypeAlias = "str | Points | Grid"
"""A paragraph, a list or a table."""


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands below it."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Card:
    """A card as data, which `card_markdown` and `card_html` write out."""

    title: str
    blocks: tuple[Block, ...]
    sections: tuple[Section, ...]


def card_of(row: Row, record: RowRecord | None, weights: Mapping[str, str]) -> Card:
    """The card of `row` with what `record` found; weights: weight set -> sha256 of the shipped file."""
    card, model = row.card, row.entry.card
    status, reason = status_of(record, weights)
    return Card(
        title=f"{card.id} {model.name}",
        blocks=(
            f"{model.summary} Status: {status}{f' ({reason})' if reason else ''}.",
            f"{card.section}. {card.shows}",
        ),
        sections=(
            Section("What it is", (_origin(row), _network(row))),
            Section("Data sheet", (_data_sheet(row),)),
            Section("Weights and gate", (_gate(row, record), _release(row, status, weights))),
            Section("What must be true of it, and what was found", (_asked(row), *_found(record))),
            Section(
                "Use, limits and responsibility",
                (f"{model.intended_use} Limits: {model.limits}", _steps(row), _tests(row)),
            ),
        ),
    )


def _origin(row: Row) -> str:
    model = row.entry.card
    return f"Follows {model.paper}, {model.source}. Kept: {model.faithful} Changed: {model.deviates}"


def _network(row: Row) -> str:
    model = row.entry.card
    shape = " x ".join(str(size) for size in model.input_shape)
    return (
        f"{model.parameters:,} trainable numbers, input {shape}, {model.outputs} outputs; "
        f"task: {model.task}. "
        f"Verified: {'; '.join(row.card.parts)}."
    )


def _data_sheet(row: Row) -> Points:
    return Points(
        (
            ("Data set", row.entry.card.dataset),
            ("Origin, licence, making and split", row.card.data),
            ("Consent, who is represented, where labels come from", row.card.ethics),
        )
    )


def _gate(row: Row, record: RowRecord | None) -> str:
    text = f"Gate: {row.gate.text}."
    if record is None:
        return text
    reached = ", ".join(f"{name} {value:.4g}" for name, value in record.gate.items())
    return f"{text} Reached: {reached}."


def _release(row: Row, status: str, weights: Mapping[str, str]) -> str:
    """The release flag: weights go out of rows that are bracketed and whose card is complete, as this one."""
    files = ", ".join(f"{name} sha256 {digest[:12]}" for name, digest in weights.items())
    flag = "yes" if released(status) else "no"
    return (
        f"Release: {flag} (of rows that are bracketed and whose card is complete). "
        f"Licence of the weights: {row.entry.card.licence}. Files: {files}."
    )


def _asked(row: Row) -> Points:
    return Points(tuple((c.name, f"{c.says} Control: {c.control_is}.") for c in row.claims))


def _found(record: RowRecord | None) -> tuple[Grid, ...]:
    if record is None:
        return ()
    counted = counted_claims(record)
    heads = ("claim", "weights", "hold", "violated", "open", "worst violation", "control")
    lines = []
    for claim in record.claims:
        control = "violated" if claim.name in counted else "NOT violated"
        counts = (claim.holds, claim.violated, claim.cases - claim.decided)
        lines.append((claim.name, claim.weights, *map(str, counts), _bracket(claim), control))
    return (Grid(heads, tuple(lines)),)


def _bracket(claim: ClaimRecord) -> str:
    ends = ["?" if end is None else f"{end:.3g}" for end in (claim.lower, claim.upper)]
    return f"{ends[0]} to {ends[1]}"


def _steps(row: Row) -> Points:
    """The five steps of the process."""
    card = row.card
    return Points(
        (
            ("Who gains", card.benefit),
            ("Who may be harmed", card.risk),
            ("What is done about it", card.mitigation),
            ("Red line", card.red_line),
            ("Balance", card.balance),
        )
    )


def _tests(row: Row) -> Points:
    """The two final tests."""
    return Points(
        (
            ("Would those affected agree", row.card.affected),
            ("What might be regretted", row.card.regret),
        )
    )
