"""A whole folder of VNN-COMP instances in one warm process: rows, resumable, with a table per benchmark."""

from __future__ import annotations

from .deciding import Decider, Decision, Networks, decide, everything, without_attacks
from .instances import Instance, read_instances, selected
from .journal import Journal
from .rows import Row
from .run import Settings, compete
from .table import Tally, tallies, total
from .words import result_text

__all__ = [
    "Decider",
    "Decision",
    "Instance",
    "Journal",
    "Networks",
    "Row",
    "Settings",
    "Tally",
    "compete",
    "decide",
    "everything",
    "read_instances",
    "result_text",
    "selected",
    "tallies",
    "total",
    "without_attacks",
]
