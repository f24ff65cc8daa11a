"""Classifiers and robust training."""

__all__: list[str] = []
