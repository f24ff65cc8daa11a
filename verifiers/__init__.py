"""Verifiers: sound upper bounds of a query's violation over its whole input set, batched.

`from_torch` and `from_onnx` turn a network into a `Graph`; a verifier's `bound(graph, query)` bounds all
problems of the query at once. Rules for operators live in `rules/`, one file per family.

A module dropped into this folder is imported with it, so that `@verifier("name")` in it registers itself.
"""

from __future__ import annotations

import importlib as _importlib
import pkgutil as _pkgutil

from .alpha_crown import AlphaCROWN
from .auto_lirpa import AutoLirpa
from .branching import BranchAndBound
from .certificates import Certified, TreeRecord, certify, network_hash
from .crown import CROWN, CrownIBP
from .forward import Forward, ForwardBackward, ForwardCROWN, forward_bounds
from .graph import Graph, Node
from .graph_network import GraphNetwork
from .ibp import IBP, interval_bounds
from .input_splitting import InputSplitting
from .interface import Interface, Port
from .interval import Interval
from .invprop import InvProp
from .lipschitz import Lipschitz, global_lipschitz, jacobian_bounds, local_lipschitz
from .magnitude import largest_value, rounding_of
from .memory import is_out_of_memory
from .onnx_reader import from_onnx
from .onnx_writer import write_onnx
from .output import output_bounds
from .rounding import ARITHMETICS, Arithmetic, Deployed, Outward, arithmetic_of, find_arithmetic, outward
from .rule import RULES, Affine, Boxes, Elementwise, Lines, Pulled, Rule, find_rule, register
from .search_states import Resumable, SearchState
from .smoothing import SMOOTHERS, Certificates, Predictions, Smoothing, binomial_lower_bound, labels_of
from .structure import Structure, problem_bytes, structure_of
from .supports import MethodSupport, Obstacle, Selective, Support, support_of, unsupported
from .trace import from_torch
from .tuning import Tuning
from .verifier import DEFAULT_BUDGET, VERIFIERS, Bounds, Budget, Verifier, find_verifier, verifier
from .warm_start import Warm, resumed

__all__ = [
    "ARITHMETICS",
    "CROWN",
    "DEFAULT_BUDGET",
    "IBP",
    "RULES",
    "SMOOTHERS",
    "VERIFIERS",
    "Affine",
    "AlphaCROWN",
    "Arithmetic",
    "AutoLirpa",
    "Bounds",
    "Boxes",
    "BranchAndBound",
    "Budget",
    "Certificates",
    "Certified",
    "CrownIBP",
    "Deployed",
    "Elementwise",
    "Forward",
    "ForwardBackward",
    "ForwardCROWN",
    "Graph",
    "GraphNetwork",
    "InputSplitting",
    "Interface",
    "Interval",
    "InvProp",
    "Lines",
    "Lipschitz",
    "MethodSupport",
    "Node",
    "Obstacle",
    "Outward",
    "Port",
    "Predictions",
    "Pulled",
    "Resumable",
    "Rule",
    "SearchState",
    "Selective",
    "Smoothing",
    "Structure",
    "Support",
    "TreeRecord",
    "Tuning",
    "Verifier",
    "Warm",
    "arithmetic_of",
    "binomial_lower_bound",
    "certify",
    "find_arithmetic",
    "find_rule",
    "find_verifier",
    "forward_bounds",
    "from_onnx",
    "from_torch",
    "global_lipschitz",
    "interval_bounds",
    "is_out_of_memory",
    "jacobian_bounds",
    "labels_of",
    "largest_value",
    "local_lipschitz",
    "network_hash",
    "output_bounds",
    "outward",
    "problem_bytes",
    "register",
    "resumed",
    "rounding_of",
    "structure_of",
    "support_of",
    "unsupported",
    "verifier",
    "write_onnx",
]

for _module in _pkgutil.iter_modules(__path__):  # operator rules and verifiers enter their registries
    _importlib.import_module(f"{__name__}.{_module.name}")
