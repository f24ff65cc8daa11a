"""Ready properties, one file per family: functions that return a Spec, in `SPECS` by name.

A module dropped into this folder is imported with it, so that `@spec("name")` in it registers itself.
`CATALOGUE` lists all kinds of properties, those without a function too; docs/properties.md is its table.
"""

from __future__ import annotations

import importlib as _importlib
import pkgutil as _pkgutil

from .acas import acas_xu
from .catalogue import CATALOGUE, Entry
from .confidence import digit_sum, doubt, label_distance
from .control import (
    conditional_safety,
    lyapunov,
    policy_safety,
    reach_avoid,
    reaches,
    stays_safe,
    stopping_distance,
)
from .detection import detected_box, segmentation
from .equivalence import equivalence, same_decision
from .fairness import counterfactual_fairness, individual_fairness, keeps_places
from .generative import (
    critic_bounds,
    disentangled,
    inverse,
    latent_box,
    latent_line,
    log_density,
    mode_coverage,
    typical_inputs,
    vae_reconstruction,
)
from .language import prompt_bias, prompt_line
from .neuro_symbolic import if_seen_then
from .physics import circle, feasibility, pendulum_energy, pendulum_loses_energy
from .ranges import index_error, linear_band, output_bounds, regression
from .registry import FORMS, KINDS, SPECS, Kind, spec
from .relational import equivariance, global_robustness, lipschitz, local_lipschitz, monotone
from .robustness import robustness, targeted, topk
from .semantic import bias_field, blur, geometry, light
from .sequences import attention_mass, frame_robustness, synonym_substitution
from .slopes import monotone_slope, sensitivity
from .sparse import few_pixels, irrelevant_features, patch_robustness

__all__ = [
    "CATALOGUE",
    "FORMS",
    "KINDS",
    "SPECS",
    "Entry",
    "Kind",
    "acas_xu",
    "attention_mass",
    "bias_field",
    "blur",
    "circle",
    "conditional_safety",
    "counterfactual_fairness",
    "critic_bounds",
    "detected_box",
    "digit_sum",
    "disentangled",
    "doubt",
    "equivalence",
    "equivariance",
    "feasibility",
    "few_pixels",
    "frame_robustness",
    "geometry",
    "global_robustness",
    "if_seen_then",
    "index_error",
    "individual_fairness",
    "inverse",
    "irrelevant_features",
    "keeps_places",
    "label_distance",
    "latent_box",
    "latent_line",
    "light",
    "linear_band",
    "lipschitz",
    "local_lipschitz",
    "log_density",
    "lyapunov",
    "mode_coverage",
    "monotone",
    "monotone_slope",
    "output_bounds",
    "patch_robustness",
    "pendulum_energy",
    "pendulum_loses_energy",
    "policy_safety",
    "prompt_bias",
    "prompt_line",
    "reach_avoid",
    "reaches",
    "regression",
    "robustness",
    "same_decision",
    "segmentation",
    "sensitivity",
    "spec",
    "stays_safe",
    "stopping_distance",
    "synonym_substitution",
    "targeted",
    "topk",
    "typical_inputs",
    "vae_reconstruction",
]

for _module in _pkgutil.iter_modules(__path__):
    _importlib.import_module(f"{__name__}.{_module.name}")
