"""Robustness brackets for neural networks: a spec, an attack below, a verifier above.

    import robustbench_local as rbl
    model = rbl.load_model("digits-cnn", "certified")
    lower, upper = rbl.bounds(model, images - 0.05, images + 0.05)

The names below are resolved on first use, so that `import robustbench_local` and the command
line's `--help` stay light: nothing here imports torch.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from .version import __version__

if TYPE_CHECKING:
    from .anytime import anytime as anytime
    from .api import Result as Result
    from .api import attack as attack
    from .api import bounds as bounds
    from .api import chance as chance
    from .api import evaluate as evaluate
    from .api import load_model as load_model
    from .api import measure as measure
    from .api import radius as radius
    from .api import supports as supports
    from .api import train as train
    from .api import verify as verify
    from .certifying import check as check
    from .explanation import explain as explain
    from .exporting import export_onnx as export_onnx
    from .report import report as report

__all__ = [
    "Result",
    "__version__",
    "anytime",
    "attack",
    "bounds",
    "chance",
    "check",
    "evaluate",
    "explain",
    "export_onnx",
    "load_model",
    "measure",
    "radius",
    "report",
    "supports",
    "train",
    "verify",
]

# In a checkout the four top-level folders (specs, verifiers, attacks, models) lie beside this one:
# this line makes them importable as robustbench_local.specs and so on without any installation.
_CHECKOUT = Path(__file__).resolve().parent.parent
if (_CHECKOUT / "pyproject.toml").is_file() and (_CHECKOUT / "specs").is_dir():
    __path__.append(str(_CHECKOUT))


#: Names that are not of `api`, and where they are from.
_ELSEWHERE = {
    "anytime": ".anytime",
    "check": ".certifying",
    "explain": ".explanation",
    "export_onnx": ".exporting",
    "report": ".report",
}


def __getattr__(name: str) -> object:
    if name in __all__:
        return getattr(import_module(_ELSEWHERE.get(name, ".api"), __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
