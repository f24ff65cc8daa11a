"""How a search goes about its work."""

from __future__ import annotations

from dataclasses import dataclass

from ..tuning import Tuning

__all__ = ["Settings"]

_TUNING = Tuning(steps=16, step_size=0.06, decay=1.0, graded=True)


@dataclass(frozen=True, slots=True)
class Settings:
    """tuning: of each domain's slopes and multipliers. tries: candidates for a split that are tried for real.

    parts: domains in all, where the budget sets no time. batch: domains bounded at once; None: what memory
    holds, up to 128 on a CPU and 1,024 elsewhere. refresh: propagate intervals again from every split, which
    pays in narrow layers.
    refine: domains of every problem that is still open after which its hidden neurons are bounded by trees of
    their own, of `rounds` splits each, in networks of vectors; 0: never.
    tighten: domains after which hidden neurons are bounded anew in single domains, where that is possible; 0:
    never.
    clip: numbers of the planes whose bounds are clipped in every domain (coordinates times inputs); 0: none.
    keep: whether the state holds the domains that are done, too: all leaves of the trees.
    """

    tuning: Tuning = _TUNING
    tries: int = 3
    parts: int = 4096
    batch: int | None = None
    refresh: bool = False
    refine: int = 256
    rounds: int = 16
    tighten: int = 512
    clip: int = 2**15
    keep: bool = False
