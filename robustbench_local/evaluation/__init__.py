"""Attacks and verifiers run side by side on whole test sets, into one table of brackets.

`evaluate` takes batches of problems (`Cases`) and named methods and returns a pandas table with one
row per case and method. The counterexamples themselves go to a `WitnessStore`, by their hash.
"""

from __future__ import annotations

from .audit import confirm, cross_check
from .cases import Cases
from .chunks import activation_bytes, in_chunks, is_out_of_memory
from .clean import clean
from .methods import Limits, Outcome, failed, fits_one_batch, run_attack, run_search, run_verifier, walk_from
from .probabilistic import run_smoothing
from .run import Finished, Method, Progress, evaluate
from .subject import Subject

__all__ = [
    "Cases",
    "Finished",
    "Limits",
    "Method",
    "Outcome",
    "Progress",
    "Subject",
    "activation_bytes",
    "clean",
    "confirm",
    "cross_check",
    "evaluate",
    "failed",
    "fits_one_batch",
    "in_chunks",
    "is_out_of_memory",
    "run_attack",
    "run_search",
    "run_smoothing",
    "run_verifier",
    "walk_from",
]
