"""Verifiers: sound upper bounds of a query's violation over its whole input set, batched.

`from_torch` and `from_onnx` turn a network into a `Graph`; a verifier's `bound(graph, query)` bounds all
problems of the query at once. Rules for operators live in `rules/`, one file per family.

A module dropped into this folder is imported with it, so that `@verifier("name")` in it registers itself.
"""

from __future__ import annotations

import importlib as _importlib
import pkgutil as _pkgutil

from .auto_lirpa import AutoLirpa
from .crown import CROWN, CrownIBP
from .graph import Graph, Node
from .graph_network import GraphNetwork
from .ibp import IBP, interval_bounds
from .interval import Interval
from .onnx_reader import from_onnx
from .output import output_bounds
from .rule import RULES, Affine, Boxes, Elementwise, Lines, Pulled, Rule, find_rule, register
from .trace import from_torch
from .verifier import DEFAULT_BUDGET, VERIFIERS, Bounds, Budget, Verifier, find_verifier, verifier

__all__ = [
    "CROWN",
    "DEFAULT_BUDGET",
    "IBP",
    "RULES",
    "VERIFIERS",
    "Affine",
    "AutoLirpa",
    "Bounds",
    "Boxes",
    "Budget",
    "CrownIBP",
    "Elementwise",
    "Graph",
    "GraphNetwork",
    "Interval",
    "Lines",
    "Node",
    "Pulled",
    "Rule",
    "Verifier",
    "find_rule",
    "find_verifier",
    "from_onnx",
    "from_torch",
    "interval_bounds",
    "output_bounds",
    "register",
    "verifier",
]

for _module in _pkgutil.iter_modules(__path__):  # operator rules and verifiers enter their registries
    _importlib.import_module(f"{__name__}.{_module.name}")
