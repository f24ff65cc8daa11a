"""The zoo: one file per paper or family, a card per model, weights as safetensors beside an index.

Adding a model is one file with a builder under `@model(ModelCard(...))`, here or in the folder of a family;
adding a system of the lectures is such a file that ends with `add_row(Row(...))`. It is found by itself.

The names below are resolved on first use: the plan and the index of weights are read without torch.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import walk_packages
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .card import ModelCard as ModelCard
    from .index import SHIPPED as SHIPPED
    from .index import WeightsRecord as WeightsRecord
    from .index import read_index as read_index
    from .loading import load_model as load_model
    from .loading import model_hash as model_hash
    from .loading import save_weights as save_weights
    from .plan import Completeness as Completeness
    from .plan import PlannedRow as PlannedRow
    from .plan import read_plan as read_plan
    from .registry import MODELS as MODELS
    from .registry import ModelEntry as ModelEntry
    from .registry import build_model as build_model
    from .registry import model as model
    from .registry import parameter_count as parameter_count
    from .registry import split_name as split_name
    from .row import ROWS as ROWS
    from .row import Claim as Claim
    from .row import Fit as Fit
    from .row import Gate as Gate
    from .row import Groups as Groups
    from .row import Members as Members
    from .row import Row as Row
    from .row import RowCard as RowCard
    from .row import Tools as Tools
    from .row import add_row as add_row
    from .row import find_row as find_row

__all__ = [
    "MODELS",
    "ROWS",
    "SHIPPED",
    "Claim",
    "Completeness",
    "Fit",
    "Gate",
    "Groups",
    "Members",
    "ModelCard",
    "ModelEntry",
    "PlannedRow",
    "Row",
    "RowCard",
    "Tools",
    "WeightsRecord",
    "add_row",
    "build_model",
    "find_row",
    "load_model",
    "model",
    "model_hash",
    "parameter_count",
    "read_index",
    "read_plan",
    "save_weights",
    "split_name",
]

#: Where each name is; what is not here is a name of the registries, which all files of models fill.
_WITHOUT_TORCH = {
    "SHIPPED": ".index",
    "WeightsRecord": ".index",
    "read_index": ".index",
    "Completeness": ".plan",
    "PlannedRow": ".plan",
    "read_plan": ".plan",
}
_WITH_TORCH = {
    **dict.fromkeys(("load_model", "model_hash", "save_weights"), ".loading"),
    **dict.fromkeys(
        ("MODELS", "ModelEntry", "build_model", "model", "parameter_count", "split_name"), ".registry"
    ),
    **dict.fromkeys(
        (
            "ROWS",
            "Claim",
            "Fit",
            "Gate",
            "Groups",
            "Members",
            "Row",
            "RowCard",
            "Tools",
            "add_row",
            "find_row",
        ),
        ".row",
    ),
    "ModelCard": ".card",
}


def __getattr__(name: str) -> object:
    module = _WITHOUT_TORCH.get(name) or _WITH_TORCH.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _WITH_TORCH:
        for found in walk_packages(__path__, f"{__name__}."):  # every file registers what it has
            import_module(found.name)
    value: object = getattr(import_module(module, __name__), name)
    globals()[name] = value  # the next look-up finds it without coming here
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
