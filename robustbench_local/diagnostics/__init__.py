"""Whether an attack's failure can be believed: fourteen diagnostics of masked gradients and weak attacks.

    diagnosis = diagnose(cases)
    print(diagnosis.fired)

Every file of this folder is imported here, so a file with a function under `@diagnostic(...)` adds one.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from .believing import with_belief
from .diagnosing import AtRadius, Progress, diagnose, nothing_to_examine, ordered
from .examination import Effort, Examination
from .finding import Curves, Diagnosis, Finding
from .forward_pass import gives_probabilities
from .registry import DIAGNOSTICS, Diagnostic, Measured, NotApplicable, diagnostic

__all__ = [
    "DIAGNOSTICS",
    "AtRadius",
    "Curves",
    "Diagnosis",
    "Diagnostic",
    "Effort",
    "Examination",
    "Finding",
    "Measured",
    "NotApplicable",
    "Progress",
    "diagnose",
    "diagnostic",
    "gives_probabilities",
    "nothing_to_examine",
    "ordered",
    "with_belief",
]

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
