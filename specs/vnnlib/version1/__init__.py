"""VNN-LIB 1.0: one network, inputs X_i and outputs Y_i, into a formula tree."""

from .reader import Reader

__all__ = ["Reader"]
