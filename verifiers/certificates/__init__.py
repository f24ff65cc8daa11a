"""Certificates: proofs that the checker of `robustbench_local.checker` replays without this engine."""

from .certify import Certified, certify, network_hash
from .record import TreeRecord

__all__ = ["Certified", "TreeRecord", "certify", "network_hash"]
