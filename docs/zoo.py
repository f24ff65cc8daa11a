"""Writes docs/zoo.md and docs/zoo-cards.md: the table of the zoo, and the card of every row that exists.

python docs/zoo.py
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from robustbench_local.models import ROWS, read_index, read_plan
from robustbench_local.zoo import SHIPPED_EVALUATION, STATUSES, card_markdown, card_of, read_records, zoo_rows
from robustbench_local.zoo.listing import WITHOUT_CLAIM

PAGE = Path(__file__).with_name("zoo.md")
CARDS = Path(__file__).with_name("zoo-cards.md")
HEAD = """# The zoo

Written by `python docs/zoo.py` from the registry and the shipped evaluation; a test compares. Every
system that the lectures name has its own row: 133 systems of episodes 7 to 12, 8 parts of the engine (E)
and 7 of the process around it (P).

How far a row is, is computed from its stored evaluation and never declared: `built` (weights are
shipped), `gated` (they reach the row's quality gate on data they have not seen), `attacked` (every claim
has a finite lower bound), `bounded` (and a finite upper bound), `bracketed` (no bound contradicts what
was found, and a claim that its control violates is decided). An evaluation of other code or other weights
counts for nothing.

```console
$ rbl zoo show 12.03
$ rbl zoo evaluate 12.03
$ rbl zoo train 12.03
```

`rbl zoo evaluate` without names takes all rows, a process per core (`--workers`). Its folder gets one
results table of all rows, the witnesses, and `index.html`: per row the verdicts, the bracket of the worst
violation and its gap, all weight sets side by side, and how the violation grows with the input sets where
these are balls or boxes (norm `scale` in the table; `eps` is the factor, 1 the claim itself). A row that
fails is named with its error and stops no other. After the rows come the rules of the process and the
classifiers that have radii, these on the first 100 test images; named, they take all (`--limit`).

`rbl zoo card 12.03 --out card.html` writes a row's card, data sheet and release flag included. The rows of
the process (P) are rules about every row: the five steps and the two tests are answered, cards are written,
the audit lists every claim, no weights go out of a row that is not bracketed, and the three key values are
kept: fairness (its rows are bracketed), transparency (every card is whole) and privacy: where a row names the
people that it was trained on, an attack that calls whoever has a small loss one of them (Yeom et al., CSF
2018) gains at most 0.1 over guessing, and more than that where a network learned random labels by heart.
`rbl audit` searches the rows of fairness, physics and episode 12 again and files what is violated, the worst
first.

"""


def page() -> str:
    """The table of all rows."""
    rows = zoo_rows()
    counts = Counter(row.status for row in rows if row.episode)
    total = ", ".join(f"{counts[name]} {name}" for name in reversed(STATUSES) if counts[name])
    lines = [
        f"{total}.",
        "",
        "| id | system | family | status | what is there, or missing |",
        "|---" * 5 + "|",
    ]
    plan = {row.id: row for row in read_plan()}
    for row in rows:
        if not row.episode:
            continue
        name = f"[{row.name}](zoo-cards.md#{_anchor(row.id)})" if row.id in ROWS else row.name
        note = "; ".join(row.specs) if row.id in ROWS else WITHOUT_CLAIM.get(row.id, plan[row.id].plan)
        lines.append(f"| {row.id} | {name} | {row.family} | {row.status} | {_cell(note)} |")
    return HEAD + "\n".join(lines) + "\n"


def cards() -> str:
    """The cards of the rows that exist, in the order of the plan."""
    records = read_records(SHIPPED_EVALUATION)
    parts = [
        "# Cards of the zoo's rows\n\nWritten by `python docs/zoo.py`. The table is in [zoo.md](zoo.md);\n"
        "`rbl zoo card 12.03 --out FILE` writes one as Markdown or HTML.\n"
    ]
    for planned in read_plan():
        row = ROWS.get(planned.id)
        if row is None:
            continue
        weights = {r.weights: r.sha256 for r in read_index().values() if r.model == row.model}
        parts.append(card_markdown(card_of(row, records.get(planned.id), weights), level=2))
    return "\n".join(parts)


def _anchor(row: str) -> str:
    """The anchor of the card's heading "12.03 pendulum", as GitHub makes it."""
    return f"{row.replace('.', '')}-{ROWS[row].model}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    CARDS.write_text(cards(), encoding="utf-8")
