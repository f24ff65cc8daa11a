"""The zoo: one file per paper or family, a card per model, weights as safetensors beside an index.

Adding a model is one file here with a builder under `@model(ModelCard(...))`; it is found by itself.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from .card import ModelCard
from .loading import SHIPPED, WeightsRecord, load_model, model_hash, read_index, save_weights
from .plan import Completeness, PlannedRow, read_plan
from .registry import MODELS, ModelEntry, build_model, model, parameter_count, split_name

__all__ = [
    "MODELS",
    "SHIPPED",
    "Completeness",
    "ModelCard",
    "ModelEntry",
    "PlannedRow",
    "WeightsRecord",
    "build_model",
    "load_model",
    "model",
    "model_hash",
    "parameter_count",
    "read_index",
    "read_plan",
    "save_weights",
    "split_name",
]

for _module in iter_modules(__path__):
    import_module(f".{_module.name}", __name__)
