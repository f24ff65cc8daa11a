"""Certificates: proofs that the checker of `robustbench_local.checker` replays without this engine."""

from .certify import Certified, certify, network_hash

__all__ = ["Certified", "certify", "network_hash"]
