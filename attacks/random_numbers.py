"""Random numbers that depend on what they are for, and on nothing else.

An attack asks for "the numbers of sample `id` at restart r, step t": they are a hash of
(seed, attack name, sample id, restart, step, draw, coordinate), so they do not change with the batch size,
the order of the samples, the device, or what was drawn before, and no generator state exists that
could be shared, saved or disturbed. The hash is the output function of SplitMix64
(Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014), in 64-bit integers
that wrap around.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from hashlib import blake2b

import torch
from torch import Tensor

from robustbench_local.errors import DtypeError, ShapeError

__all__ = ["Ids", "derive_seed", "sample_ids", "sample_keys", "uniform"]

Ids = Tensor | Sequence[int] | Sequence[str] | Sequence[int | str]
"""Names of the B samples: integers (an int64 tensor or a sequence) or strings."""

_MASK = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15  # 2**64 over the golden ratio: SplitMix64's increment
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB


def derive_seed(seed: int, *parts: int | str) -> int:
    """A 64-bit seed for the part of a run that `parts` name: unrelated to that of any other part."""
    text = "\x1f".join([str(seed), *(f"{type(part).__name__}:{part}" for part in parts)])
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def sample_ids(ids: Ids | None, batch: int, device: torch.device) -> Tensor:
    """The samples' names as int64 (B,): integers as they are, strings hashed, None as 0, 1, ..., B - 1.

    Raises `ShapeError` if there are not exactly `batch` of them, `DtypeError` for a tensor of non-integers.
    """
    if ids is None:
        return torch.arange(batch, device=device)
    if isinstance(ids, Tensor):
        if ids.is_floating_point() or ids.is_complex():
            raise DtypeError(f"sample ids of type {ids.dtype}", where="ids", cure="give integers or strings")
        numbers = ids.detach().to(device=device, dtype=torch.int64)
    else:
        words = [_word(name) for name in ids]
        numbers = torch.tensor(words, dtype=torch.int64, device=device)
    if tuple(numbers.shape) != (batch,):
        raise ShapeError(
            f"{tuple(numbers.shape)} sample ids for {batch} samples",
            where="ids",
            cure="give one id per sample",
        )
    return numbers


def sample_keys(seed: int, name: str, ids: Tensor) -> Tensor:
    """One int64 key per sample (B,), from the seed, the attack's `name` and the ids (B,) int64."""
    return _mix(_mix(ids * _signed(_GOLDEN) + _signed(_FIRST)) ^ _signed(derive_seed(seed, name)))


def uniform(
    keys: Tensor, shape: Sequence[int], dtype: torch.dtype, *, restart: int = 0, step: int = 0, draw: int = 0
) -> Tensor:
    """Numbers in [0, 1), (B, *shape): independent between keys (B,), restarts, steps, draws and coordinates.

    All multiples of 2**-p that the float `dtype` (p bits of precision) has there are equally likely.
    `restart`, `step` and `draw` are any integers: give every use of random numbers in an attack its own.
    """
    stream = _mix(keys ^ _signed(derive_seed(restart, step, draw)))
    size = math.prod(shape)
    counter = torch.arange(1, size + 1, dtype=torch.int64, device=keys.device) * _signed(_GOLDEN)
    bits = _mix(stream.unsqueeze(1) + counter)
    precision = 1 - round(math.log2(torch.finfo(dtype).eps))
    top = _shift_right(bits, 64 - precision)
    return (top.to(dtype) * 2.0**-precision).reshape(keys.shape[0], *shape)


def _mix(z: Tensor) -> Tensor:
    """SplitMix64's output function: a bijection of 64 bits in which every bit depends on every other."""
    z = (z ^ _shift_right(z, 30)) * _signed(_FIRST)
    z = (z ^ _shift_right(z, 27)) * _signed(_SECOND)
    return z ^ _shift_right(z, 31)


def _shift_right(z: Tensor, bits: int) -> Tensor:
    """Logical shift: torch's own shift of int64 repeats the sign bit."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def _signed(word: int) -> int:
    """The int64 with the same 64 bits as `word`."""
    word &= _MASK
    return word - 2**64 if word >= 2**63 else word


def _word(name: int | str) -> int:
    if isinstance(name, str):
        return _signed(derive_seed(0, name))
    return _signed(int(name))
