"""The zoo: its table, how its rows are trained and evaluated, and how far each is."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .auditing import AUDITED as AUDITED
    from .auditing import Finding as Finding
    from .auditing import audited_rows as audited_rows
    from .auditing import findings as findings
    from .auditing import findings_markdown as findings_markdown
    from .card_pages import card_html as card_html
    from .card_pages import card_markdown as card_markdown
    from .cards import Card as Card
    from .cards import card_of as card_of
    from .evaluating import evaluate_rows as evaluate_rows
    from .fits import fit_row as fit_row
    from .listing import ZooRow as ZooRow
    from .listing import zoo_rows as zoo_rows
    from .process import PROCESSES as PROCESSES
    from .process import evaluate_process as evaluate_process
    from .records import EVALUATION as EVALUATION
    from .records import SHIPPED_EVALUATION as SHIPPED_EVALUATION
    from .records import ClaimRecord as ClaimRecord
    from .records import RowRecord as RowRecord
    from .records import headings as headings
    from .records import read_records as read_records
    from .records import write_records as write_records
    from .status import STATUSES as STATUSES
    from .status import released as released
    from .status import status_of as status_of
    from .suites import zoo_suites as zoo_suites

__all__ = [
    "AUDITED",
    "EVALUATION",
    "PROCESSES",
    "SHIPPED_EVALUATION",
    "STATUSES",
    "Card",
    "ClaimRecord",
    "Finding",
    "RowRecord",
    "ZooRow",
    "audited_rows",
    "card_html",
    "card_markdown",
    "card_of",
    "evaluate_process",
    "evaluate_rows",
    "findings",
    "findings_markdown",
    "fit_row",
    "headings",
    "read_records",
    "released",
    "status_of",
    "write_records",
    "zoo_rows",
    "zoo_suites",
]

#: Where each name is: the table of the zoo is read without torch.
_PLACES = {
    **dict.fromkeys(("EVALUATION", "SHIPPED_EVALUATION", "ClaimRecord", "RowRecord"), ".records"),
    **dict.fromkeys(("headings", "read_records", "write_records"), ".records"),
    **dict.fromkeys(("STATUSES", "released", "status_of"), ".status"),
    **dict.fromkeys(("ZooRow", "zoo_rows"), ".listing"),
    **dict.fromkeys(("AUDITED", "Finding", "audited_rows", "findings", "findings_markdown"), ".auditing"),
    **dict.fromkeys(("card_html", "card_markdown"), ".card_pages"),
    **dict.fromkeys(("Card", "card_of"), ".cards"),
    "evaluate_rows": ".evaluating",
    "fit_row": ".fits",
    **dict.fromkeys(("PROCESSES", "evaluate_process"), ".process"),
    "zoo_suites": ".suites",
}


def __getattr__(name: str) -> object:
    if name in _PLACES:
        return getattr(import_module(_PLACES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
