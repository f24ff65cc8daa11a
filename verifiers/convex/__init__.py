"""Convex relaxations and exact programs through open solvers: LP, MILP, SDP.

cvxpy, scipy and the solvers are imported when a bound is asked for, not before.
"""

from __future__ import annotations

from .cvxpy_solver import CvxpySolver
from .highs import Highs
from .lp import LP
from .milp import MILP
from .sdp import SDP
from .solution import Solution
from .solver import Answer, Session, Solver, Tolerances

__all__ = [
    "LP",
    "MILP",
    "SDP",
    "Answer",
    "CvxpySolver",
    "Highs",
    "Session",
    "Solution",
    "Solver",
    "Tolerances",
]
