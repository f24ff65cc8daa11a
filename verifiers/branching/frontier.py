"""Open domains of many problems, and which of them are to be split next.

What a user counts are decided problems, so that those come first whose trees seem nearest to their end:
by the fewest open domains. Such a tree either closes soon or grows and lets others pass, so that no tree
keeps the search for itself; the room that small trees leave in a batch goes to larger ones. Within one
problem the worst bound comes first: a counterexample is likeliest there, and the bound of the problem rises.
"""

from __future__ import annotations

import heapq
import itertools

import torch
from torch import Tensor

from .domains import Domains, joined
from .state import Opened

__all__ = ["Frontier"]

Entry = tuple[float, int, Domains, int]
"""Lower bound, a number that breaks ties, a batch of domains and the place in it."""


class Frontier:
    """The open domains of a search, by problem."""

    def __init__(self) -> None:
        self._heaps: dict[int, list[Entry]] = {}
        self._ties = itertools.count()

    def __len__(self) -> int:
        return sum(map(len, self._heaps.values()))

    def put(self, domains: Domains, problem: Tensor) -> None:
        """Takes in open domains (D,) of problems (D,)."""
        for k, b in enumerate(problem.tolist()):
            self.put_one((domains, k), b)

    @property
    def entries(self) -> tuple[Opened, ...]:
        """The open domains in an order in which `put_one` makes an equal frontier of them."""
        heaps = (sorted(heap, key=_first) for heap in self._heaps.values())
        return tuple((domains, k) for heap in heaps for _, _, domains, k in heap)

    def put_one(self, opened: Opened, problem: int) -> None:
        """Takes in one open domain of a problem."""
        domains, k = opened
        lower = float(domains.lower[k])
        worst_first = lower if lower == lower else -torch.inf
        heapq.heappush(self._heaps.setdefault(problem, []), (worst_first, next(self._ties), domains, k))

    def drop(self, problem: int) -> list[tuple[int, float]]:
        """Removes the domains of a problem; root and lower bound of each."""
        return [(int(domains.root[k]), lower) for lower, _, domains, k in self._heaps.pop(problem, [])]

    @property
    def problems(self) -> tuple[int, ...]:
        """Those with open domains."""
        return tuple(self._heaps)

    @property
    def roots(self) -> Tensor:
        """Roots (r,) with open domains, in order; there must be one."""
        found = {int(domains.root[k]) for heap in self._heaps.values() for _, _, domains, k in heap}
        _, _, any_, _ = next(iter(self._heaps.values()))[0]
        return torch.tensor(sorted(found), device=any_.root.device)

    def emptied(self) -> Tensor:
        """Removes all domains; their roots, as above."""
        found = self.roots
        self._heaps.clear()
        return found

    def take(self, count: int, *, easiest: bool = False) -> Domains:
        """Up to `count` domains (at least one), removed from here; something must be open.

        easiest: of each problem those with the best bounds.
        """
        chosen: dict[int, tuple[Domains, list[int]]] = {}
        left = max(1, count)
        for b, heap in sorted(self._heaps.items(), key=_nearest_end):
            some = min(left, len(heap))
            if easiest and some < len(heap):
                heap.sort(key=_easiest)
                taken = heap[:some]
                del heap[:some]
                heapq.heapify(heap)
            else:
                taken = [heapq.heappop(heap) for _ in range(some)]
            for _, _, domains, k in taken:
                chosen.setdefault(id(domains), (domains, []))[1].append(k)
            if not heap:
                del self._heaps[b]
            left -= some
            if left == 0:
                break
        device = next(iter(chosen.values()))[0].root.device
        return joined([d.select(torch.tensor(index, device=device)) for d, index in chosen.values()])


def _easiest(entry: Entry) -> tuple[float, int]:
    return -entry[0], entry[1]


def _first(entry: Entry) -> tuple[float, int]:
    return entry[0], entry[1]


def _nearest_end(item: tuple[int, list[Entry]]) -> tuple[int, float]:
    """Few open domains first; of equally many, the problem whose bound is best."""
    _, heap = item
    return len(heap), -heap[0][0]
