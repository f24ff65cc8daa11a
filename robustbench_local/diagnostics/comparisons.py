"""D6, D7 and D8: weaker searches that find what a stronger one has missed."""

from __future__ import annotations

from functools import partial

import torch

from robustbench_local.attacks import Attack, spsa, square, transfer

from .examination import Examination
from .registry import Measured, NotApplicable, diagnostic, share

__all__ = ["black_box", "one_step", "random_search"]


@diagnostic(
    "D6",
    "one step beats many",
    meaning="share of the cases that one full step breaks and the iterated attack does not",
    threshold=0.01,
    remedy="other step sizes, more steps and restarts; look at the loss against the steps",
    source="A. Athalye, N. Carlini, D. Wagner, arXiv 1802.00420; N. Carlini et al., arXiv 1902.06705",
)
def one_step(examination: Examination) -> Measured:
    """FGSM against the examined attack, case by case."""
    once, many = examination.one_step, examination.examined[0]
    if once is None or many is None:
        raise NotApplicable("the network passes no gradient on, see D2")
    only = (once.violated & ~many.violated).cpu()
    return Measured(share(only), only)


@diagnostic(
    "D7",
    "black box beats white box",
    meaning="share of the cases that gradients leave robust and a search without gradients breaks",
    threshold=0.002,
    remedy="more queries of square and spsa, hopskipjump, transfer from a surrogate; bpda where a layer "
    "hides its slope",
    source="F. Croce, M. Hein, arXiv 2003.01690 (check_square_sr); J. Uesato et al., arXiv 1802.05666; "
    "N. Papernot et al., arXiv 1602.02697 (substitutes)",
)
def black_box(examination: Examination) -> Measured:
    """Square, SPSA and transfer on the cases that PGD and APGD leave robust.

    Transfer walks along the gradients of networks that learned the outputs of this one (`surrogate_of`) from
    as many of them as a search has queries, and of `surrogates` where there are some.
    """
    where = examination.left_robust.clone()
    rows = where.nonzero().flatten()
    if not len(rows):
        return Measured(0.0, where, "gradients break every case")
    queries, found = examination.effort.queries, torch.zeros(len(rows), dtype=torch.bool)
    query = examination.query.select(rows.to(examination.query.inputs.device))
    searches: dict[str, Attack] = {
        "square": partial(square, steps=queries),
        "spsa": partial(spsa, queries=queries),
    }
    surrogates = examination.surrogates
    if surrogates:
        searches["transfer"] = transfer(surrogates, steps=examination.effort.steps)
    notes = []
    for name, search in searches.items():
        result = examination.attacked(search, query, rows)
        assert result is not None  # these follow no gradient of the network's own
        found |= result.violated.cpu()
        notes.append(f"{name} {int(result.violated.sum())}")
    where[rows] = found
    return Measured(
        share(where),
        where,
        f"{len(rows)} cases that gradients leave robust, {queries} queries each: {', '.join(notes)}",
    )


@diagnostic(
    "D8",
    "random search finds what gradients miss",
    meaning="share of the cases that gradients leave robust and a random point breaks",
    threshold=0.0,
    remedy="the gradients mislead: bpda, eot or attacks without gradients, and more random points",
    source="N. Carlini et al., arXiv 1902.06705, section 5 (brute-force random search)",
)
def random_search(examination: Examination) -> Measured:
    """Random points of the set, half of them as far out as it goes, against PGD and APGD."""
    where = examination.left_robust & examination.draws.bad
    return Measured(share(where), where, f"{examination.effort.random_points} points per case")
