"""The report's tables as data: built once from the summaries, written as HTML and as Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from .summary import CERTIFIED_RADII, CLEAN

__all__ = [
    "Cell",
    "Column",
    "Table",
    "accuracy",
    "believed",
    "curve_labels",
    "decided",
    "durations",
    "norm_symbol",
    "smoothed",
]

_NORMS = {"linf": "ℓ∞", "inf": "ℓ∞", "l2": "ℓ₂", "2": "ℓ₂", "l1": "ℓ₁", "1": "ℓ₁"}
_DASH = "–"


@dataclass(frozen=True, slots=True)
class Column:
    """A heading, its explanation (shown on hover and to screen readers), and whether it holds numbers."""

    title: str
    note: str = ""
    numeric: bool = True


@dataclass(frozen=True, slots=True)
class Cell:
    """What stands in a cell: its text, the exact number behind it, and a share in [0, 1] to shade it by."""

    text: str
    value: float | None = None
    share: float | None = None
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table with a caption. `parts` cuts its rows into labelled groups; the first column names the row.

    `bars`, where given, are (verified, empirical, clean) shares of each row, drawn as a bracket.
    """

    name: str
    caption: str
    columns: Sequence[Column]
    parts: Sequence[tuple[str, Sequence[Sequence[Cell]]]]
    bars: Sequence[Sequence[tuple[float, float, float]]] = field(default=())

    def markdown(self) -> str:
        """The table as GitHub-flavoured Markdown, the group as a first column where there are groups."""
        grouped = any(label for label, _ in self.parts)
        titles = (["model"] if grouped else []) + [column.title for column in self.columns]
        marks = ([":--"] if grouped else []) + ["--:" if column.numeric else ":--" for column in self.columns]
        lines = [_markdown_row(titles), _markdown_row(marks)]
        for label, rows in self.parts:
            for row in rows:
                lines.append(_markdown_row(([label] if grouped else []) + [cell.text for cell in row]))
        return "\n".join(lines)


def curve_labels(rows: pd.DataFrame) -> pd.Series[str]:
    """A short name of the curve of every row: the model, and whatever else differs between the curves."""
    labels = rows["model"].astype("object").fillna("unnamed")
    for name in ("dataset", "spec", "norm"):
        if rows[name].nunique(dropna=False) > 1:
            text = rows[name].fillna(_DASH).map(norm_symbol)
            labels = labels + " · " + text.astype("object")
    hashes = rows.groupby("model", dropna=False)["model_hash"].transform("nunique")
    short = " · weights " + rows["model_hash"].fillna(_DASH).str.slice(0, 8).astype("object")
    result: pd.Series[str] = labels.where(hashes <= 1, labels + short)
    return result


def norm_symbol(norm: str) -> str:
    """The usual symbol of a norm's name ("linf" -> ℓ∞); other texts stay as they are."""
    return _NORMS.get(norm, norm)


def accuracy(summary: pd.DataFrame) -> Table:
    """Clean, verified and empirical accuracy and the gap, per curve and eps, from `brackets`."""
    rows = summary.assign(label=curve_labels(summary))
    parts: list[tuple[str, list[list[Cell]]]] = []
    bars: list[list[tuple[float, float, float]]] = []
    for label, group in rows.groupby("label", sort=False):
        lines = []
        for row in group.to_dict("records"):
            shares = [_percent(row[name], name) for name in ("clean", "verified", "empirical")]
            lines.append([_number(row["eps"]), *shares, _points(row["gap"]), _count(row["n"])])
        parts.append((str(label), lines))
        bars.append([_bar(row) for row in group.to_dict("records")])
    columns = [
        Column("ε", "radius of the input set"),
        Column("clean %", "correct on the unperturbed input"),
        Column("verified %", "correct, and proved for the whole set: a lower bound of the robust accuracy"),
        Column("empirical %", "correct, and no attack found a counterexample: an upper bound"),
        Column("gap pp", "empirical minus verified, in percentage points: what is not known"),
        Column("samples"),
    ]
    return Table("accuracy", "Accuracy brackets per model and radius", columns, parts, bars)


def decided(summary: pd.DataFrame) -> Table:
    """Which method settled how many samples first: a row per decider, a column per eps, from `deciders`."""
    rows = summary.assign(label=curve_labels(summary))
    radii = [_radius(eps) for eps in sorted(rows["eps"].unique(), key=lambda eps: (math.isnan(eps), eps))]
    parts: list[tuple[str, list[list[Cell]]]] = []
    for label, group in rows.groupby("label", sort=False):
        lines = []
        for (decider, verdict), part in _deciders_in_order(group):
            found = {_radius(row["eps"]): row for row in part.to_dict("records")}
            cells = [_share_cell(found.get(eps), verdict) for eps in radii]
            lines.append([Cell(_DECIDED.get(decider, decider)), Cell(_OUTCOMES[verdict]), *cells])
        parts.append((str(label), lines))
    heads = [
        Column("settled by", "misclassified: wrong without any perturbation", numeric=False),
        Column("as", numeric=False),
    ]
    columns = heads + [Column("samples" if eps is None else f"ε = {eps:g}") for eps in radii]
    return Table("decided", "Samples settled by each method", columns, parts)


def believed(rows: pd.DataFrame) -> Table:
    """Per curve, radius and attack, what the diagnostics say of its answers; no rows where none were run."""
    told = rows[rows["believable"].fillna("") != ""]
    told = told.assign(label=curve_labels(told)) if len(told) else told.assign(label="")
    parts: list[tuple[str, list[list[Cell]]]] = []
    for label, group in told.groupby("label", sort=False):
        lines = []
        for (eps, method, said), part in group.groupby(["eps", "method", "believable"], dropna=False):
            alarms = str(said).removeprefix("no:").strip()
            word = Cell("yes" if said == "yes" else f"not before {alarms} is answered")
            lines.append([_number(eps), Cell(str(method)), word, _count(len(part))])
        parts.append((str(label), lines))
    columns = [
        Column("ε"),
        Column("attack", numeric=False),
        Column(
            "believable", "the alarms of `rbl diagnose` on this attack; docs/diagnostics.md", numeric=False
        ),
        Column("samples"),
    ]
    return Table("believed", "Whether what attacks did not find can be believed", columns, parts)


def durations(summary: pd.DataFrame) -> Table:
    """Time and work per model and method, from `timing`."""
    parts: list[tuple[str, list[list[Cell]]]] = []
    for model, group in summary.groupby("model", sort=False, dropna=False):
        lines = []
        for row in group.to_dict("records"):
            work = [_count(row[name]) for name in ("forwards", "backwards", "domains")]
            times = [_seconds(row["seconds"]), _seconds(row["mean"]), _seconds(row["longest"])]
            lines.append([Cell(str(row["method"])), _count(row["n"]), *times, *work, _number(row["peak_mb"])])
        parts.append((str(model), lines))
    columns = [
        Column("method", numeric=False),
        Column("questions", "rows: one sample at one radius"),
        Column("total"),
        Column("mean", "per question; a batch's time is shared evenly among its questions"),
        Column("longest"),
        Column("forward passes"),
        Column("backward passes"),
        Column("domains", "sub-problems bounded"),
        Column("peak MB", "largest memory use; – where it was not measured"),
    ]
    return Table("timing", "Time and work per model and method", columns, parts)


def smoothed(summary: pd.DataFrame) -> Table:
    """Certified accuracy of smoothed classifiers per model and method, from `certificates`."""
    parts: list[tuple[str, list[list[Cell]]]] = []
    for model, group in summary.groupby("model", sort=False, dropna=False):
        lines = []
        for row in group.to_dict("records"):
            shares = [_percent(row[f"above {r:g}"], "") for r in CERTIFIED_RADII]
            ends = [_percent(row["abstained"], ""), _number(row["median"]), _count(row["n"])]
            lines.append([Cell(str(row["method"])), Cell(str(row["stage"])), *shares, *ends])
        parts.append((str(model), lines))
    columns = [
        Column("method", numeric=False),
        Column(
            "settings", "noise, number of samples, probability of error of each certificate", numeric=False
        ),
        *(Column(f"> {r:g} %", f"right class certified beyond l2 radius {r:g}") for r in CERTIFIED_RADII),
        Column("abstained %", "the samples did not settle the class"),
        Column("median radius", "l2; 0 where nothing is certified"),
        Column("samples"),
    ]
    return Table(
        "smoothed", "Probabilistic certificates of the smoothed classifiers (not proofs)", columns, parts
    )


_OUTCOMES = {"HOLDS": "holds", "VIOLATED": "violated", "UNKNOWN": "undecided"}
_DECIDED = {CLEAN: "misclassified", "undecided": "nothing"}
_RANKS = {"HOLDS": 0, "UNKNOWN": 1, "VIOLATED": 2}


def _deciders_in_order(group: pd.DataFrame) -> Iterable[tuple[tuple[str, str], pd.DataFrame]]:
    """From what is proved over what is open to what is broken, as the bars of the accuracy table run."""
    parts = [((str(d), str(v)), part) for (d, v), part in group.groupby(["decider", "verdict"], sort=False)]
    return sorted(parts, key=lambda item: (_RANKS[item[0][1]], item[0][0] == CLEAN))


def _radius(eps: float) -> float | None:
    """None instead of NaN, which no dictionary finds again."""
    return None if math.isnan(eps) else float(eps)


def _share_cell(row: Mapping[Any, Any] | None, verdict: str) -> Cell:
    if row is None:
        return Cell("0", 0.0, 0.0, verdict.lower())
    return Cell(f"{row['n']:,}".replace(",", "\u2009"), float(row["n"]), float(row["share"]), verdict.lower())


def _bar(row: Mapping[Any, Any]) -> tuple[float, float, float]:
    """(verified, empirical, clean) as ascending shares; an unknown one proves and breaks nothing."""
    verified = 0.0 if math.isnan(row["verified"]) else row["verified"]
    clean = 1.0 if math.isnan(row["clean"]) else row["clean"]
    empirical = clean if math.isnan(row["empirical"]) else row["empirical"]
    return verified, max(verified, empirical), max(verified, empirical, clean)


def _percent(share: float, tone: str) -> Cell:
    return Cell(_DASH) if math.isnan(share) else Cell(f"{100 * share:.1f}", share, tone=tone)


def _points(gap: float) -> Cell:
    return Cell(_DASH) if math.isnan(gap) else Cell(f"{100 * gap:.1f}", gap)


def _number(value: float) -> Cell:
    return Cell(_DASH) if math.isnan(value) else Cell(f"{value:.4g}", value)


def _count(value: float) -> Cell:
    return Cell(f"{int(value):,}".replace(",", "\u2009"), float(value))


def _seconds(value: float) -> Cell:
    """A duration with three digits, in the unit that fits."""
    if math.isnan(value):
        return Cell(_DASH)
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if value >= size:
            return Cell(
                f"{value / size:.3g} {unit}" if value < 1000 * size else f"{value / size:.0f} {unit}", value
            )
    return Cell(f"{value / 1e-6:.3g} µs", value)


def _markdown_row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
