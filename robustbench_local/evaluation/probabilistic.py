"""Randomised smoothing on one batch of problems: certified radii of another classifier, never a verdict."""

from __future__ import annotations

import time
from dataclasses import replace

import torch

from robustbench_local.verifiers import Budget, Smoothing, labels_of

from .cases import Cases
from .chunks import activation_bytes
from .methods import Limits, Outcome
from .subject import Subject

__all__ = ["run_smoothing"]


def run_smoothing(method: Smoothing, subject: Subject, cases: Cases, *, seed: int, limits: Limits) -> Outcome:
    """Certificates at the unperturbed inputs of all B problems, in `Outcome.probabilistic`; all stay UNKNOWN.

    A radius counts where the smoothed classifier answers the label that the property asks for, else it
    is 0. Reasons: `probabilistic` (a radius is certified), `abstained`, `misclassified` (another class is
    certified), `timeout`. Raises SpecError for a property that is no classification.
    """
    deadline = time.monotonic() + limits.seconds
    labels = labels_of(cases.query).cpu()
    starts = cases.starts().to(subject.dtype)
    memory = Budget(memory_bytes=limits.memory_bytes).memory(subject.device)
    fit = max(1, memory // (2 * activation_bytes(subject.network, subject.example)))
    found = replace(method, batch=min(method.batch, fit)).certify(
        subject.network, starts, seed=seed, ids=cases.ids, deadline=deadline
    )
    right = found.labels == labels
    words = zip(right.tolist(), found.abstained.tolist(), found.complete.tolist(), strict=True)
    nothing = torch.full_like(found.radius, torch.nan)
    no = torch.zeros_like(right)
    drawn = method.samples0 + method.samples
    return Outcome(
        kind="verifier",
        lower=nothing,
        upper=nothing,
        holds=no,
        violated=no.clone(),
        reason=[_reason(*word) for word in words],
        forwards=torch.where(found.complete, drawn, 0),
        probabilistic=torch.where(right, found.radius, 0.0),
        stage=method.text,
    )


def _reason(right: bool, abstained: bool, complete: bool) -> str:
    if not complete:
        return "timeout"
    return "abstained" if abstained else "probabilistic" if right else "misclassified"
