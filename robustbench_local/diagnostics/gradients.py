"""D1 and D2: whether there is a gradient that an attack could follow."""

from __future__ import annotations

import torch

from robustbench_local.attacks import cross_entropy_loss, margin_loss

from .derivatives import slope_at
from .examination import Examination
from .random_points import points_of
from .registry import Measured, NotApplicable, diagnostic, share

__all__ = ["broken_graph", "lost_gradient"]


@diagnostic(
    "D1",
    "zero or non-finite gradient",
    meaning="share of the cases with a gradient of zero, NaN or infinity",
    threshold=0.0,
    remedy="attack a margin or logit-ratio loss instead of the cross-entropy (pgd, apgd-dlr), in float64"
    " or with scaled logits; where a layer has no slope, bpda or an attack without gradients "
    "(square)",
    source="F. Croce, M. Hein, arXiv 2003.01690 (code's checks); M. Pintor et al., arXiv 2106.09947",
)
def lost_gradient(examination: Examination) -> Measured:
    """Cross-entropy and margin, at the start and at one random point: l1 norms of their gradients."""
    query, lost = examination.query, torch.zeros(examination.query.batch, dtype=torch.bool)
    notes = []
    elsewhere = points_of(query, examination.keys("gradient"), out=False).to(examination.start)
    for loss, name in ((cross_entropy_loss, "cross-entropy"), (margin_loss, "margin")):
        for x, place in ((examination.start, "the start"), (elsewhere, "a random point")):
            gradient = slope_at(query, x, loss).gradient
            if gradient is None:
                raise NotApplicable("the network passes no gradient on, see D2")
            length = gradient.flatten(1).abs().sum(1).cpu()
            bad = ~length.isfinite() | (length == 0)
            lost |= bad
            if bool(bad.any()):
                notes.append(f"{name} at {place}: {int(bad.sum())}")
    return Measured(share(lost), lost, "; ".join(notes))


@diagnostic(
    "D2",
    "broken graph",
    meaning="1 where autograd gives no gradient of the outputs in the input",
    threshold=0.0,
    remedy="bpda: replace the step (argmax, rounding to integers, detach) by a smooth one in the "
    "backward pass; or attacks without gradients (square, hopskipjump)",
    source="M. Pintor et al., arXiv 2106.09947; A. Athalye, N. Carlini, D. Wagner, arXiv 1802.00420",
)
def broken_graph(examination: Examination) -> Measured:
    """Whether differentiating the margin at the starts raises an error or yields nothing."""
    slope = slope_at(examination.query, examination.start, margin_loss)
    broken = slope.gradient is None
    where = torch.full((examination.query.batch,), broken)
    return Measured(float(broken), where, slope.fault)
