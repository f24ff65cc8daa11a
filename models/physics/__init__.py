"""Symmetry, physics and logic."""

__all__: list[str] = []
