"""The report of a results table: one self-contained HTML page and the same numbers as Markdown.

    from robustbench_local.report import report
    report(read_results("out"), "out", witnesses="out")

`brackets` and its neighbours are the summaries that the page and the command line both print.
The folder works on pandas and numpy alone: it imports no torch.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from .counterexamples import Counterexample, Picture, worst_counterexamples
from .curves import curves_page
from .diagnosis import diagnosis_page
from .figures import curves_data
from .page import report
from .summary import (
    CERTIFIED_RADII,
    CLEAN,
    CURVE,
    brackets,
    case_bounds,
    certificates,
    deciders,
    reasons,
    timing,
)
from .tables import Cell, Column, Table, curve_labels

__all__ = [
    "CERTIFIED_RADII",
    "CLEAN",
    "CURVE",
    "Cell",
    "Column",
    "Counterexample",
    "Picture",
    "Table",
    "brackets",
    "case_bounds",
    "certificates",
    "curve_labels",
    "curves_data",
    "curves_page",
    "deciders",
    "diagnosis_page",
    "reasons",
    "report",
    "timing",
    "worst_counterexamples",
]


class _CallableModule(ModuleType):
    """Importing this folder sets `robustbench_local.report` to the module: calling that must still work."""

    def __call__(self, *args: Any, **settings: Any) -> Path:
        return report(*args, **settings)


sys.modules[__name__].__class__ = _CallableModule
