"""Exact, density and classical models."""

__all__: list[str] = []
