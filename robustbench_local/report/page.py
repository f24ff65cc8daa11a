"""The report itself: gathers what the templates show and writes the page and its Markdown twin."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from plotly.offline import get_plotlyjs

from robustbench_local.errors import ResultsError
from robustbench_local.store import WitnessStore, validate, write_atomically
from robustbench_local.version import __version__

from .claims import claim_rows, claims_facts, claims_table, size_plots, with_headings
from .counterexamples import worst_counterexamples
from .figures import STATISTICS, curves_data
from .summary import CLEAN, brackets, case_bounds, certificates, deciders, reasons, timing
from .tables import accuracy, believed, curve_labels, decided, durations, norm_symbol, smoothed

__all__ = ["report"]

_TEMPLATES = Path(__file__).parent / "templates"
_HEADLINES = 6
_REASONS = {
    "bound": "the bound lies above zero",
    "search": "the search found no counterexample",
    "gradient": "all gradients were zero",
    "timeout": "out of time",
    "op": "an operation without a bound rule",
    "resources": "out of memory",
    "boundary": "decided by rounding alone",
    "non-finite": "NaN or infinity",
}


def report(
    table: pd.DataFrame,
    out: str | os.PathLike[str],
    *,
    witnesses: WitnessStore | str | os.PathLike[str] | None = None,
    title: str = "Robustness brackets",
    written: datetime | None = None,
    headings: Mapping[str, str] | None = None,
) -> Path:
    """Write the report of a results table and return the path of its page.

    Args:
        table: rows with `store.COLUMNS`; only aggregated here, nothing is computed anew.
        out: a folder, which gets `index.html` and `report.md`, or a path that ends in `.html`, which
            gets its Markdown twin beside it; folders are made, each file appears whole or not at all.
        witnesses: the points behind the VIOLATED rows: a store, its file or its folder; None: the folder
            of the page. No pictures where there is no such file.
        title: the heading.
        written: the date on the page; now if None.
        headings: of the zoo's rows, by model: their claims get a table, and plots, of their own.

    The page holds all it shows, plotly's script included, and fetches nothing. Raises `ResultsError`
    for a table without rows, one that `store.validate` refuses, a broken witness file or a place that
    cannot be written to.
    """
    rows = validate(table)
    if rows.empty:
        raise ResultsError("the results table has no rows", cure="evaluate at least one case")
    place = Path(out)
    page = place if place.suffix == ".html" else place / "index.html"
    text = page.with_suffix(".md") if place.suffix == ".html" else place / "report.md"
    moment = written if written is not None else datetime.now(timezone.utc)
    beside = page.parent / WitnessStore.FILE
    points = witnesses if witnesses is not None else beside if beside.is_file() else WitnessStore()
    facts = _context(rows, points, title, moment, headings or {})
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=lambda name: name is not None and ".html" in name,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    markdown = environment.get_template("report.md.j2").render(facts)
    html = environment.get_template("report.html.j2").render(
        facts,
        style=(_TEMPLATES / "report.css").read_text(encoding="utf-8"),
        script=(_TEMPLATES / "report.js").read_text(encoding="utf-8"),
        plotly=get_plotlyjs(),
    )
    write_atomically(text, lambda path: path.write_text(markdown, encoding="utf-8"))
    return write_atomically(page, lambda path: path.write_text(html, encoding="utf-8"))


def _context(
    rows: pd.DataFrame,
    witnesses: WitnessStore | str | os.PathLike[str],
    title: str,
    moment: datetime,
    headings: Mapping[str, str],
) -> dict[str, Any]:
    claimed = claim_rows(rows, headings)
    plain, claims = rows[~claimed], rows[claimed]
    facts = _plain(plain, witnesses)
    curves, figures = size_plots(claims, headings, len(facts["curves"]["curves"]))
    facts["curves"]["curves"].extend(curves)
    summary = brackets(rows)
    conflicts = summary.assign(label=curve_labels(summary))[summary["conflicts"] > 0]
    named = with_headings(rows, headings)
    tables = facts["tables"] | {"timing": durations(timing(named)), "smoothed": smoothed(certificates(rows))}
    tables["believed"] = believed(rows)
    if len(claims):
        tables["claims"] = claims_table(claims, headings)
    return facts | {
        "title": title,
        "subtitle": _subtitle(plain, claims),
        "written": moment,
        "conflicts": conflicts[["label", "eps", "conflicts"]].to_dict("records"),
        "claim_facts": claims_facts(claims) if len(claims) else [],
        "figures": figures,
        "tables": tables,
        "has_believed": bool((rows["believable"].fillna("") != "").any()),
        "has_smoothed": bool(rows["probabilistic"].notna().any()),
        "reasons": [
            row | {"text": _REASONS.get(row["reason"], row["reason"])} for row in _records(reasons(rows))
        ],
        "errors": _records(_errors(rows)),
        "run": _run(rows, moment),
    }


def _plain(rows: pd.DataFrame, witnesses: WitnessStore | str | os.PathLike[str]) -> dict[str, Any]:
    """What is shown of models that belong to no row of the zoo."""
    if rows.empty:
        return {
            "plain": False,
            "facts": [],
            "curves": {"statistics": STATISTICS, "curves": []},
            "tables": {},
            "counterexamples": [],
        }
    cases = case_bounds(rows)
    summary = brackets(rows, cases=cases)
    summary = summary.assign(label=curve_labels(summary))
    return {
        "plain": True,
        "facts": _facts(rows, summary),
        "reference": _reference(summary),
        "headlines": _headlines(summary),
        "has_clean": bool((rows["method"] == CLEAN).any()),
        "curves": curves_data(rows, cases=cases),
        "tables": {"accuracy": accuracy(summary), "decided": decided(deciders(rows, cases=cases))},
        "counterexamples": worst_counterexamples(rows, witnesses, cases=cases),
    }


def _subtitle(rows: pd.DataFrame, claims: pd.DataFrame) -> str:
    zoo = "every row, its claims, its weight sets" if len(claims) else ""
    parts = [zoo, ", ".join(_words(rows["dataset"])), ", ".join(_words(rows["spec"]))]
    norms = [norm_symbol(norm) for norm in _words(rows["norm"])]
    parts.append(f"{', '.join(norms)} perturbations" if norms else "")
    return " · ".join(part for part in parts if part)


def _facts(rows: pd.DataFrame, summary: pd.DataFrame) -> list[tuple[str, str]]:
    """Short (number, what it counts) pairs."""
    questions = int(summary["n"].sum())
    open_questions = float((summary["undecided"] * summary["n"]).sum())
    seconds = float(rows["seconds"].sum())
    return [
        (_thousands(rows["model"].nunique()), "models"),
        (_thousands(rows.groupby("dataset", dropna=False)["case"].nunique().sum()), "samples"),
        (_thousands(rows.loc[rows["method"] != CLEAN, "eps"].nunique()), "radii"),
        (_thousands(questions), "questions asked"),
        (f"{100 * (1 - open_questions / questions):.1f} %", "of them decided"),
        (_thousands(summary["conflicts"].sum()), "contradictions"),
        (f"{seconds:.1f} s" if seconds < 600 else f"{seconds / 60:.0f} min", "of computation"),
    ]


def _reference(summary: pd.DataFrame) -> float:
    """The radius of the headlines: the middle one of those in the table."""
    radii = sorted(summary["eps"].dropna().unique())
    return float(radii[len(radii) // 2]) if radii else math.nan


def _headlines(summary: pd.DataFrame) -> list[dict[str, Any]]:
    """The bracket of every curve at the reference radius; of the best ones where there are many."""
    reference = _reference(summary)
    rows = summary if math.isnan(reference) else summary[summary["eps"] == reference]
    if len(rows) > _HEADLINES:
        rows = rows.nlargest(_HEADLINES, ["verified", "empirical"])
    return _records(rows[["label", "eps", "clean", "verified", "empirical", "gap"]])


def _errors(rows: pd.DataFrame) -> pd.DataFrame:
    """Distinct error texts with the method and the number of rows they struck."""
    failed = rows[rows["error"].fillna("") != ""]
    counts = failed.groupby(["method", "error"], sort=False).size().rename("n").reset_index()
    result: pd.DataFrame = counts.sort_values("n", ascending=False, ignore_index=True).head(20)
    return result


def _run(rows: pd.DataFrame, moment: datetime) -> list[tuple[str, list[str]]]:
    """What was run, where and with which versions, as (name, values) pairs."""
    models = rows[["model", "model_hash"]].drop_duplicates().itertuples(index=False)
    return [
        ("run", _words(rows["run_id"])),
        ("package", [f"robustbench_local {version}" for version in _words(rows["version"])]),
        ("device", _words(rows["device"])),
        ("number type", _words(rows["dtype"])),
        ("bounds hold for", _words(rows["arithmetic"])),
        ("seed", [str(seed) for seed in sorted(rows["seed"].unique())]),
        ("data set", _words(rows["dataset"])),
        ("specification", _words(rows["spec"])),
        ("norm", [norm_symbol(norm) for norm in _words(rows["norm"])]),
        ("methods", _words(rows["method"])),
        ("weights (sha256)", [f"{model.model}  {str(model.model_hash)[:16]}" for model in models]),
        ("rows", [_thousands(len(rows))]),
        ("page written", [f"{moment:%Y-%m-%d %H:%M} {moment.tzname() or ''}".strip()]),
        ("written with", [f"robustbench_local {__version__}, Python {platform.python_version()}"]),
    ]


def _words(column: pd.Series[Any]) -> list[str]:
    """The distinct non-empty values in the order in which they come."""
    return [str(word) for word in column.dropna().unique() if str(word)]


def _records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]


def _thousands(number: Any) -> str:
    return f"{int(number):,}".replace(",", "\u2009")
