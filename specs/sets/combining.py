"""Parts of several sets combined: one of each, in all ways, problem by problem."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["combined"]


def combined(owners: Sequence[Tensor], batch: int, most: int) -> tuple[list[Tensor], Tensor] | None:
    """Every way to take one part of each list for the same problem; at least one list.

    owners[i] (b_i,) int64: the problem of each part of list i. Returns for each list the places (B',) of
    the parts taken, and the problem (B',) of each way; None where there are more than `most` ways.
    """
    counts = torch.stack([owner.bincount(minlength=batch) for owner in owners]).to(torch.float64)
    if float(counts.prod(0).sum()) > most:  # in floats: products of counts may be huge
        return None
    device = owners[0].device
    ways = [torch.zeros(0, len(owners), dtype=torch.int64, device=device)]
    for b in range(batch):
        places = [(owner == b).nonzero().flatten() for owner in owners]
        ways.append(torch.cartesian_prod(*places).reshape(-1, len(owners)))
    problem = torch.repeat_interleave(
        torch.arange(batch, device=device), torch.tensor([len(way) for way in ways[1:]], device=device).long()
    )
    return list(torch.cat(ways).unbind(1)), problem
