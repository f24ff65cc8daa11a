"""The classifiers of the zoo as suites: one per shipped weight set, at the radii of its recipe."""

from __future__ import annotations

from collections.abc import Sequence

from robustbench_local.errors import DataError, UnknownNameError
from robustbench_local.models import MODELS, read_index, split_name
from robustbench_local.suite import Suite

__all__ = ["zoo_suites"]


def zoo_suites(names: Sequence[str], *, limit: int | None = None, seed: int = 0) -> list[Suite]:
    """One suite per shipped weight set that `names` asks for (models or "model:weights"; none: all that have
    radii), at the radii of its recipe.

    Raises UnknownNameError for a name that the zoo does not have, DataError for weights whose recipe names no
    radii: the masked models are there to be diagnosed, not to be ranked.
    """
    index = read_index()
    wanted = list(names) or [key for key, record in index.items() if record.recipe.get("radii")]
    suites = []
    for name in wanted:
        architecture, weights = split_name(name)
        if architecture not in MODELS:
            raise UnknownNameError.of("model", architecture, MODELS)
        found = [k for k, r in index.items() if r.model == architecture and weights in (None, r.weights)]
        if not found:
            raise UnknownNameError.of("weight set", name, index)
        for key in found:
            radii = tuple(float(r) for r in index[key].recipe.get("radii", ()))
            if not radii:
                cure = f"use `rbl diagnose {key} FILE`, or `rbl evaluate` with radii of your own"
                raise DataError("no radii in the recipe of these weights", where=key, cure=cure)
            dataset = str(index[key].recipe["dataset"])
            suites.append(Suite(models=(key,), dataset=dataset, eps=radii, limit=limit, seed=seed))
    return suites
