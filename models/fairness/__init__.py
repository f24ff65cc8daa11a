"""Fairness and responsible use."""

__all__: list[str] = []
