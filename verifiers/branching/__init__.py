"""Branch and bound: the input set is split until every part is decided, or the time is over."""

from .branch_and_bound import BranchAndBound
from .settings import Settings

__all__ = ["BranchAndBound", "Settings"]
