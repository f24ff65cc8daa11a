"""Lipschitz bounds: Jacobians over sets, local and global constants, and the verifier that uses them."""

from __future__ import annotations

from .constants import dual_norm, global_lipschitz, local_lipschitz
from .jacobian import jacobian_bounds
from .mean_value import Lipschitz

__all__ = ["Lipschitz", "dual_norm", "global_lipschitz", "jacobian_bounds", "local_lipschitz"]
