"""`rbl verify`, `rbl attack` and `rbl doctor` of a .rbspec file: a line for every property of the text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .output import bracket, coloured, decided, message, printer, table, write_json

if TYPE_CHECKING:
    import torch
    from torch import nn

    from robustbench_local.data import Dataset
    from robustbench_local.evaluation import Cases
    from robustbench_local.results import Result
    from robustbench_local.specs import Query, SpecFile
    from robustbench_local.text_claims import BoundClaim

__all__ = ["Answers", "TextCall", "loaded", "models_of", "values_of"]


def models_of(text: str) -> str | dict[str, str]:
    """ "f=a.onnx,g=b.onnx" as name -> model; a model without a name as it is."""
    if "=" not in text:
        return text
    pairs = (part.partition("=") for part in text.split(","))
    return {slot.strip(): source.strip() for slot, _, source in pairs}


def loaded(text: str, device: torch.device) -> nn.Module | dict[str, nn.Module | str | Path]:
    """The models of MODEL; one that is named twice is loaded once."""
    from robustbench_local.named_models import find_model

    named = models_of(text)
    if isinstance(named, str):
        return find_model(named, device=device).network
    single = {source: find_model(source, device=device).network for source in named.values()}
    return {slot: single[source] for slot, source in named.items()}


def values_of(file: SpecFile, settings: Sequence[str], device: str | None) -> dict[str, object]:
    """What --set gives to the properties of a text."""
    from robustbench_local.device import find_device
    from robustbench_local.text_claims import parse_values, slots_of

    return parse_values(settings, slots_of(file), find_device(device))


@dataclass(frozen=True, slots=True)
class Answers:
    """The result of every property of a text, and of all of them together."""

    model: str
    spec: str
    single: Mapping[str, Result]
    whole: Result

    def show(self, json: Path | None) -> None:
        """Prints a line for each, and writes them as JSON."""
        console = printer(json)
        console.print(f"[bold]{coloured(self.whole)}[/bold]  {self.model}, {self.spec}")
        rows = []
        for name, result in self.single.items():
            held = sum(case.verdict.value == "HOLDS" for case in result.cases)
            many = f"{held} of {len(result.cases)} hold" if len(result.cases) > 1 else ""
            rows.append([name, coloured(result), bracket(result), decided(result), many])
        header = [
            ("property", "left"),
            ("verdict", "left"),
            ("violation", "left"),
            ("", "left"),
            ("", "left"),
        ]
        console.print(table("", header, rows))
        console.print(f"{self.whole.seconds:.2f} s")
        write_json(self.as_dict(), json)

    def as_dict(self) -> dict[str, object]:
        """The fields of a result over everything; "props": of each property; "cases": of each problem."""
        props = [{"prop": name, **result.as_dict()} for name, result in self.single.items()]
        cases = [
            {"case": name if len(result.cases) < 2 else f"{name} {k}", **case.as_dict()}
            for name, result in self.single.items()
            for k, case in enumerate(result.cases or (result,))
        ]
        head = {"model": self.model, "spec": self.spec}
        return {**self.whole.as_dict(), **head, "props": props, "cases": cases}


@dataclass(frozen=True, slots=True)
class TextCall:
    """One call about a .rbspec file: MODEL (f=..,g=.. for several), the property, and its values.

    images: what x0 and c are bound to, where the text has such values; else None. eps: likewise.
    """

    model: str
    path: str
    prop: str | None
    images: Dataset | None
    eps: float | None
    settings: Sequence[str]
    device: str | None

    def cases(self) -> Cases:
        """The problems of the first property."""
        from robustbench_local.problems import problems_of

        first = self._bound()[0]
        return problems_of(first.model, first.spec, first.own, device=self.device)[0]

    def family(self) -> tuple[Cases, Callable[[float], Query] | None]:
        """The problems of the first property, and the same at other radii where its `eps` is a radius.

        That is so where a larger one changes nothing but the sets, and they grow.
        """
        from dataclasses import replace

        from robustbench_local.problems import problems_of
        from robustbench_local.specs import Param

        first = self._bound()[0]
        slot = first.spec.slots.get("eps")
        cases = problems_of(first.model, first.spec, first.own, device=self.device)[0]
        radius = first.own.get("eps", slot.default if isinstance(slot, Param) else None)
        if not isinstance(slot, Param) or not isinstance(radius, int | float) or radius <= 0:
            return cases, None

        def at(eps: float) -> Query:
            bound = {**first.own, "eps": eps}
            return problems_of(first.model, first.spec, bound, device=self.device)[0].query

        if not _wider(cases.query, at(2 * float(radius))):
            return cases, None
        return replace(cases, eps=float(radius)), at

    def verify(self, *, timeout: float, method: str | None, seed: int, arithmetic: str = "real") -> Answers:
        """The verdicts."""
        from robustbench_local.api import verify

        def decide(one: BoundClaim, seconds: float) -> Result:
            return verify(
                one.model,
                one.claim,
                values=one.values,
                timeout=seconds,
                method=method,
                device=self.device,
                seed=seed,
                arithmetic=arithmetic,
            )

        return self._answers(decide, timeout)

    def attack(self, *, timeout: float, attack: str, seed: int) -> Answers:
        """What an attack finds."""
        from robustbench_local.attacks import ATTACKS
        from robustbench_local.cascade import cascade_all
        from robustbench_local.text_claims import attackable

        def search(one: BoundClaim, seconds: float) -> Result:
            batches = attackable(one, device=self.device)
            return cascade_all(batches, {attack: ATTACKS[attack]}, timeout=seconds, seed=seed)

        return self._answers(search, timeout)

    def _answers(self, decide: Callable[[BoundClaim, float], Result], timeout: float) -> Answers:
        import time

        from robustbench_local.aggregates import every_result

        end = time.monotonic() + timeout
        found = {one.name: decide(one, max(1e-3, end - time.monotonic())) for one in self._bound()}
        return Answers(self.model, Path(self.path).name, found, every_result(list(found.values())))

    def _bound(self) -> list[BoundClaim]:
        from robustbench_local.device import find_device
        from robustbench_local.specs import read_spec
        from robustbench_local.text_claims import bound_claims, slots_of

        place = find_device(self.device)
        file = read_spec(self.path)
        for warning in file.warnings:
            message(f"rbl: warning: {warning.where}: {warning.what}")
        values = values_of(file, self.settings, self.device)
        known = slots_of(file)
        given: dict[str, object] = {} if self.eps is None else {"eps": self.eps}
        if self.images is not None:
            given |= {"x0": self.images.inputs.to(place), "c": self.images.labels.to(place)}
        taken = {name: value for name, value in given.items() if name in known}
        return bound_claims(file, loaded(self.model, place), {**taken, **values}, self.prop)


def _wider(query: Query, other: Query) -> bool:
    """Whether `other` is the same question, to the last bit at the centres, about larger sets."""
    import torch

    small, large = query.inputs.box(), other.inputs.box()
    if query.tree != other.tree or small.lower.shape != large.lower.shape:
        return False
    grown = bool(((large.lower <= small.lower) & (small.upper <= large.upper)).all())
    x = query.inputs.project(query.inputs.centre().to(query.inputs.dtype))
    with torch.no_grad():
        same = torch.equal(query.atoms(query.network(x)), other.atoms(other.network(x)))
    moved = not (torch.equal(small.lower, large.lower) and torch.equal(small.upper, large.upper))
    return grown and moved and same
