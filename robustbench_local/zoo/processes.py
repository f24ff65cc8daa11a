"""One call per item, shared by processes; an item that ends its process costs the others nothing."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from typing import TypeVar

import torch

__all__ = ["in_processes"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_processes(
    call: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Iterator[tuple[Item, Result | None]]:
    """Each item and what `call` gives for it, as they get done; None where its process ended.

    A process that dies (killed, or out of memory) takes the whole pool with it, and all calls under way.
    Those are made again, each in a process of its own, so that only the one that dies again is lost.

    Args:
        call: made in another process: a function of a module, as its items and results are sent there.
        items: what to call it with.
        workers: processes at a time; the cores are shared between them.

    Raises what `call` raises.
    """
    lost: list[Item] = []
    packed = partial(_packed, call)
    with _pool(workers) as pool:
        jobs = {pool.submit(packed, item): item for item in items}
        try:
            for future in as_completed(jobs):
                if isinstance(future.exception(), BrokenProcessPool):
                    lost.append(jobs[future])
                else:
                    yield jobs[future], pickle.loads(future.result())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    for item in lost:
        with _pool(1) as pool:
            future = pool.submit(packed, item)
            broken = isinstance(future.exception(), BrokenProcessPool)
            yield item, None if broken else pickle.loads(future.result())


def _packed(call: Callable[[Item], object], item: Item) -> bytes:
    """The result as bytes: else torch sends every tensor through a file descriptor and a memory map of its
    own, and thousands of witnesses exceed what a process may have."""
    return pickle.dumps(call(item))


def _pool(workers: int) -> Executor:
    threads = max(1, (os.cpu_count() or 1) // workers)
    return ProcessPoolExecutor(workers, get_context("spawn"), torch.set_num_threads, (threads,))
