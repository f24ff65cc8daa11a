"""D3, D4 and D5: what a network does in a forward pass that an attack does not expect."""

from __future__ import annotations

import torch
from torch import Tensor

from robustbench_local.specs import Query

from .examination import Examination
from .registry import Measured, NotApplicable, diagnostic

__all__ = ["gives_probabilities", "optimising", "probabilities", "stochastic"]

_REPEATS = 5
_SLACK = 1e-5


@diagnostic(
    "D3",
    "stochastic network",
    meaning="largest l2 distance between the outputs, at l2 norm 1, of five forward passes",
    threshold=1e-4,
    remedy="eot: average gradients over many passes, and replay witnesses many times",
    source="F. Croce, M. Hein, arXiv 2003.01690 (code's checks); A. Athalye et al., arXiv 1707.07397",
)
def stochastic(examination: Examination) -> Measured:
    """Five forward passes of the same batch; also an alarm where a verdict changes between them."""
    query = examination.query
    with torch.no_grad():
        passes = [query.network(examination.start.clone()) for _ in range(_REPEATS)]
        verdicts = torch.stack([query.violated_by(y) for y in passes]).cpu()
    units = torch.stack([_unit(y) for y in passes])
    apart = (units.unsqueeze(0) - units.unsqueeze(1)).norm(dim=-1).amax((0, 1)).cpu()
    changed = (verdicts != verdicts[0]).any(0)
    apart = torch.where(changed, apart.clamp(min=1.0), apart)
    value = float(apart.nan_to_num(nan=0.0).max())
    return Measured(
        value, apart > 1e-4, f"{int(changed.sum())} verdicts change" if bool(changed.any()) else ""
    )


def _unit(y: Tensor) -> Tensor:
    flat = y.flatten(1).double()
    unit: Tensor = flat / flat.norm(dim=1, keepdim=True).clamp(min=1e-12)
    return unit


@diagnostic(
    "D4",
    "probabilities instead of logits",
    meaning="1 where all outputs are non-negative and add up to one",
    threshold=0.0,
    remedy="attack the logits: leave the softmax out, or aim at the logarithm of its outputs",
    source="F. Croce, M. Hein, arXiv 2003.01690 (code's checks)",
)
def probabilities(examination: Examination) -> Measured:
    """Whether the outputs at the starts are the probabilities of a distribution, up to 1e-5."""
    if examination.query.network(examination.start[:1].clone()).flatten(1).shape[1] < 2:
        raise NotApplicable("the network has a single output")
    are = gives_probabilities(examination.query, examination.start)
    return Measured(float(are), torch.full((examination.query.batch,), are))


@torch.no_grad()
def gives_probabilities(query: Query, start: Tensor) -> bool:
    """Whether the outputs at the points `start` (B, *in) are probabilities of two classes or more."""
    y = query.network(start.clone()).flatten(1).double()
    inside = bool((y < 1 + _SLACK).all()) and bool((y > -_SLACK).all())
    return y.shape[1] > 1 and inside and bool(((y.sum(1) - 1).abs() <= _SLACK).all())


@diagnostic(
    "D5",
    "optimisation inside the forward pass",
    meaning="tensors that a forward pass without gradients keeps for a backward pass of its own",
    threshold=0.0,
    remedy="attack through the inner optimisation, or bpda past it; its gradients are not those of the "
    "outputs",
    source="F. Croce, M. Hein, arXiv 2003.01690 (code's checks; there by tracing calls)",
)
def optimising(examination: Examination) -> Measured:
    """Under `no_grad` nothing is kept for a backward pass, unless the network turns gradients on itself."""
    kept = 0

    def pack(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += 1
        return tensor

    try:
        with torch.no_grad(), torch.autograd.graph.saved_tensors_hooks(pack, _as_it_is):
            examination.query.network(examination.start.clone())
    except RuntimeError as error:
        if "saved tensor hooks" not in str(error):
            raise
        kept += 1  # torch.func differentiates: it forbids such hooks while it does
    return Measured(float(kept), torch.full((examination.query.batch,), kept > 0))


def _as_it_is(tensor: Tensor) -> Tensor:
    return tensor
