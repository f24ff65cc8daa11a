"""A text of properties with models and values by name: what each of its claims is about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from robustbench_local.errors import DataError, SpecError, UnknownNameError
from robustbench_local.evaluation import Cases
from robustbench_local.specs import (
    ChanceClaim,
    Data,
    Every,
    GroupClaim,
    Label,
    Param,
    Prop,
    RateClaim,
    Spec,
    SpecFile,
    parse_value,
    read_spec,
)

from .problems import Model, problems_of

__all__ = [
    "BoundClaim",
    "attackable",
    "bound_claims",
    "is_text",
    "parse_values",
    "slots_of",
    "text_of",
]

Claim = Spec | RateClaim | GroupClaim | ChanceClaim
Slot = Data | Label | Param


@dataclass(frozen=True, slots=True, eq=False)
class BoundClaim:
    """A claim of a text, or one member of a family, with the models and values that it speaks of."""

    name: str
    claim: Claim
    model: Model
    values: Mapping[str, object]

    @property
    def spec(self) -> Spec:
        """The property itself, or that which a share or a probability is about."""
        return _specs(self.claim)[0]

    @property
    def own(self) -> Mapping[str, object]:
        """The values of the property itself, without what only the claim about it needs."""
        return {name: value for name, value in self.values.items() if name in self.spec.slots}


def is_text(spec: object) -> bool:
    """Whether this is a text of properties, or the path of one (.rbspec)."""
    return isinstance(spec, SpecFile) or (isinstance(spec, str | Path) and str(spec).endswith(".rbspec"))


def text_of(spec: SpecFile | str | Path) -> SpecFile:
    """The text itself, read if it is a path."""
    return spec if isinstance(spec, SpecFile) else read_spec(spec)


def bound_claims(
    file: SpecFile, model: Model, values: Mapping[str, object] | None, prop: str | None
) -> list[BoundClaim]:
    """The claims of the text (those called `prop`), in order, each with its own networks and values.

    A single model is given to every claim, if all of them speak of one network. Raises UnknownNameError for
    a property, value or network that the text does not have, SpecError where a network is missing.
    """
    props, given = {prop: file[prop]} if prop is not None else dict(file), values or {}
    for name in given:
        if name not in (known := slots_of(file)):
            raise UnknownNameError.of("value", name, known)
    for name in model if isinstance(model, Mapping) else ():
        if name not in (networks := _nets(file)):
            raise UnknownNameError.of("network", name, networks)
    nets = _nets(props)
    if not (model is None or isinstance(model, Mapping)) and len(nets) > 1:
        names = ",".join(f"{name}=.." for name in sorted(nets))
        raise SpecError(
            f"the properties speak of {len(nets)} networks, one model is given",
            where="model",
            cure=f"give a model for each ({names}), or choose a property (prop, --prop)",
        )
    found: list[BoundClaim] = []
    for name, claim in props.items():
        members: Sequence[Claim] = claim.specs if isinstance(claim, Every) else (claim,)
        for k, member in enumerate(members):
            title = f"{name}[{k}]" if isinstance(claim, Every) else name
            spec = _specs(member)[0]
            own = {key: value for key, value in given.items() if key in _slots(member)}
            found.append(BoundClaim(title, member, _models(model, spec), own))
    return found


def attackable(bound: BoundClaim, *, device: str | torch.device | None) -> list[Cases]:
    """The problems of a claim that an attack can decide. Raises SpecError for shares and probabilities."""
    if not isinstance(bound.claim, Spec):
        raise SpecError(
            f"`{bound.name}` is about a share or a probability, which no single point decides",
            cure="choose another property (prop, --prop), or use verify",
        )
    return problems_of(bound.model, bound.claim, bound.own, device=device)


def slots_of(props: Mapping[str, Prop]) -> dict[str, Slot]:
    """Every value that some of the properties leave open, by name."""
    members = (
        one for claim in props.values() for one in (_specs(claim) if isinstance(claim, Every) else (claim,))
    )
    return {name: slot for one in members for name, slot in _slots(one).items()}


def parse_values(texts: Iterable[str], slots: Mapping[str, Slot], device: torch.device) -> dict[str, object]:
    """{"eps": 0.03.., "c": 3} of ["eps=8/255", "c=3"]; NAME=FILE.npy is an array, [1, 2] a list.

    Raises SpecError for text that is no NAME=VALUE, UnknownNameError for a name that is not among the slots,
    DataError for a file that is no array of numbers.
    """
    found: dict[str, object] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (equals and name.isidentifier() and value):
            raise SpecError(f"{text!r} sets nothing", where="--set", cure="write NAME=VALUE, e.g. eps=8/255")
        if name not in slots:
            raise UnknownNameError.of("value", name, slots)
        if value.endswith(".npy"):
            found[name] = _array(Path(value), slots[name], device)
        else:
            found[name] = _plain(parse_value(value, name=f"--set {name}"), isinstance(slots[name], Label))
    return found


def _array(path: Path, slot: Slot, device: torch.device) -> torch.Tensor:
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        what = f"no array can be read: {' '.join(str(error).split())}"
        raise DataError(what, where=str(path), cure="write it by np.save") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        raise DataError("the file does not hold numbers", where=str(path), cure="write it by np.save")
    if not isinstance(slot, Label) and array.dtype.kind != "f":
        array = array.astype(np.float64)
    if array.dtype.kind == "u":
        array = array.astype(np.int64)
    return torch.as_tensor(array.astype(array.dtype.newbyteorder("=")), device=device)


def _plain(value: object, whole: bool) -> object:
    """Numbers as floats; of labels, whole numbers as ints."""
    if isinstance(value, list | tuple):
        return [_plain(item, whole) for item in value]
    assert isinstance(value, Fraction)  # parse_value gives nothing else
    return int(value) if whole and value.denominator == 1 else float(value)


def _nets(props: Mapping[str, Prop]) -> set[str]:
    return {name for claim in props.values() for spec in _specs(claim) for name in spec.nets}


def _models(model: Model, spec: Spec) -> Model:
    """Of several models, those that a property speaks of."""
    if not isinstance(model, Mapping):
        return model
    return {name: model[name] for name in spec.nets if name in model}


def _specs(claim: Prop) -> tuple[Spec, ...]:
    if isinstance(claim, Spec):
        return (claim,)
    if isinstance(claim, Every):
        return claim.specs
    return (claim.spec,)


def _slots(claim: Claim) -> Mapping[str, Slot]:
    return claim.slots if isinstance(claim, Spec | GroupClaim) else claim.spec.slots
