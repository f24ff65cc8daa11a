"""What to evaluate, as data: models x radii of one property over one data set, from flags or a TOML file."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from robustbench_local.data import Dataset, load_dataset
from robustbench_local.errors import DataError, RadiusError, ShapeError, UnknownNameError
from robustbench_local.evaluation import Cases, Method, clean
from robustbench_local.models import model_hash
from robustbench_local.specs import SPECS, Query, Spec
from robustbench_local.verifiers import Smoothing, Verifier, find_arithmetic

from .cascade import find_any_method
from .named_models import NamedModel, find_model
from .ready_specs import NORMS, ready_spec

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]

__all__ = ["NORMS", "Suite", "cases_of", "ready_around"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Models x radii x methods over one data set: everything that `rbl evaluate` needs to know.

    Attributes:
        models: zoo names ("digits-cnn:certified") or "file.py:function".
        dataset: name of the data set; its test split is used.
        spec: name of the property; one that takes an image, its label and a radius.
        norm: "linf", "l2" or "l1".
        eps: radii, each >= 0.
        methods: names of attacks and verifiers; "clean" is the forward pass on the unperturbed image,
            "smoothing" and "smoothing-SIGMA" randomised smoothing.
        limit: how many images, from the first; None for all.
        timeout: seconds for one method on one batch (one model at one radius).
        seed: of the attacks and of smoothing.
        samples: noisy copies of an image that smoothing looks at; None for its own number.
        alpha: probability that a certificate of smoothing is wrong; None for its own.
        arithmetic: what HOLDS of verifiers is about: "real", "float64-outward", "fp32", "fp16" or "bf16".

    Raises UnknownNameError, RadiusError, NonFiniteError or DataError for values that cannot be used.
    """

    models: tuple[str, ...]
    dataset: str = "digits"
    spec: str = "robustness"
    norm: str = "linf"
    eps: tuple[float, ...] = (0.05,)
    methods: tuple[str, ...] = ("clean", "pgd", "ibp", "crown")
    limit: int | None = None
    timeout: float = 60.0
    seed: int = 0
    samples: int | None = None
    alpha: float | None = None
    arithmetic: str = "real"

    def __post_init__(self) -> None:
        if self.norm not in NORMS:
            raise UnknownNameError.of("norm", self.norm, NORMS)
        if self.spec not in SPECS:
            raise UnknownNameError.of("spec", self.spec, SPECS)
        for name, many in (("models", self.models), ("eps", self.eps), ("methods", self.methods)):
            if len(many) == 0:
                raise DataError(f"no {name} given", where=name, cure=f"name at least one of the {name}")
        for radius in self.eps:
            if not (math.isfinite(radius) and radius >= 0):
                raise RadiusError(f"eps {radius} is not a radius", where="eps", cure="give numbers >= 0")
        if self.limit is not None and self.limit < 1:
            raise DataError(f"limit {self.limit} leaves no image", where="limit", cure="give a number >= 1")
        self.found_methods()

    def found_methods(self) -> dict[str, Method]:
        """Name -> method. Raises UnknownNameError, SpecError for a verifier that lacks the arithmetic."""
        return {name: clean if name == "clean" else self._found(name) for name in self.methods}

    def _found(self, name: str) -> Method:
        method = find_any_method(name)
        if isinstance(method, Verifier):
            return find_arithmetic(self.arithmetic).verifier(method)
        if not isinstance(method, Smoothing):
            return method
        return replace(
            method,
            samples=method.samples if self.samples is None else self.samples,
            alpha=method.alpha if self.alpha is None else self.alpha,
        )

    def cases(self, *, device: torch.device | None = None) -> Iterator[Cases]:
        """One batch per model and radius, all images in each."""
        data = load_dataset(self.dataset, split="test")
        if self.limit is not None:
            data = data.select(torch.arange(min(self.limit, len(data))))
        for name in self.models:
            model = find_model(name, device=device)
            for radius in self.eps:
                yield cases_of(model, data, spec=self.spec, norm=self.norm, eps=radius)

    def at_radius(self, cases: Cases) -> Callable[[float], Query] | None:
        """The problems of a batch of this suite at another radius; None where they have none."""
        if not cases.norm:
            return None
        data = load_dataset(self.dataset, split="test")
        data = data.select(torch.arange(cases.query.batch))
        found = (find_model(name, device=cases.query.inputs.device) for name in self.models)
        model = next(one for one in found if one.name == cases.model)

        def at(radius: float) -> Query:
            return cases_of(model, data, spec=self.spec, norm=self.norm, eps=radius).query

        return at

    @property
    def batches(self) -> int:
        """The number of batches that `cases` yields."""
        return len(self.models) * len(self.eps)

    @classmethod
    def read(cls, path: Path, **overrides: Any) -> Suite:
        """The suite in a TOML file, with the same names as the attributes; `overrides` win over the file.

        Raises DataError for a missing file, text that is not TOML, an unknown key or a wrong type.
        """
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise DataError(f"cannot read the file: {error.strerror}", where=str(path)) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise DataError(f"not a TOML file: {error}", where=str(path)) from error
        known = [field.name for field in fields(cls)]
        for key in table:
            if key not in known:
                raise DataError(str(UnknownNameError.of("key", key, known)), where=str(path))
        return cls(**_typed({**table, **overrides}, where=str(path)))


def cases_of(
    model: NamedModel,
    data: Dataset,
    *,
    spec: str,
    norm: str,
    eps: float,
    settings: Mapping[str, object] | None = None,
) -> Cases:
    """One problem per image of `data`: the property `spec` for the ball of radius eps around the image.

    settings: what else the property takes, by name: {"k": 3}. Raises UnknownNameError for an unknown spec,
    norm or setting, ShapeError if model and data do not fit, SpecError where the property lacks a value.
    """
    ready, values = ready_around(model, data, spec=spec, norm=norm, eps=eps, settings=settings)
    query, round_ = ready.query(model.network, **values), "eps" in values
    return Cases(
        model=model.name,
        network=query.network if isinstance(query.network, nn.Module) else model.network,
        model_hash=model_hash(model.network),
        family=model.family,
        dataset=data.name,
        ids=data.ids.tolist(),
        query=query,
        spec=spec,
        norm=norm if round_ else "",
        eps=eps if round_ else math.nan,
        origins=data.inputs.to(model.device) if query.inputs.shape == data.shape else None,
    )


def ready_around(
    model: NamedModel,
    data: Dataset,
    *,
    spec: str,
    norm: str,
    eps: float,
    settings: Mapping[str, object] | None = None,
) -> tuple[Spec, dict[str, object]]:
    """The property `spec` around the images of `data`, and the values for its query; as `cases_of`."""
    inputs, labels = data.inputs.to(model.device), data.labels.to(model.device)
    classes = _outputs(model.network, data, model.name)
    known = {"x0": inputs, "c": labels, "eps": eps}
    return ready_spec(spec, data.shape, classes, norm=norm, known=known, settings=settings or {})


def _outputs(network: nn.Module, data: Dataset, name: str) -> int:
    """The number of the network's outputs, by running it on one image."""
    weights = next(network.parameters(), data.inputs)
    try:
        with torch.inference_mode():
            found = network(data.inputs[:1].to(weights))
    except RuntimeError as error:
        text = " ".join(str(error).split())[:200]
        raise ShapeError(
            f"{name} cannot take images of {data.name!r}, shape {data.shape}: {text}", where="model"
        ) from error
    if found.ndim < 2:
        raise ShapeError(
            f"the network returned one {found.dtype} per image, not a score for each class",
            where=name,
            cure="give the network whose scores (logits) decide, not the labels",
        )
    return int(found.flatten(1).shape[1])


_KINDS: Mapping[str, tuple[type, ...]] = {
    "models": (str,),
    "eps": (int, float),
    "methods": (str,),
    "limit": (int,),
    "timeout": (int, float),
    "seed": (int,),
    "samples": (int,),
    "alpha": (float,),
    "arithmetic": (str,),
}
_LISTS = ("models", "eps", "methods")


def _typed(table: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """The table with lists as tuples, each value checked against the type of its field."""
    result: dict[str, Any] = {}
    for key, value in table.items():
        kinds = _KINDS.get(key, (str,))
        items = list(value) if key in _LISTS and isinstance(value, list | tuple) else [value]
        if value is not None and not all(isinstance(v, kinds) and not isinstance(v, bool) for v in items):
            wanted = " or ".join(kind.__name__ for kind in kinds)
            raise DataError(f"{key} = {value!r} is not a {wanted}", where=where)
        result[key] = tuple(items) if key in _LISTS else value
    return result
