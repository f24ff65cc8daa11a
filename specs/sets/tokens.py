"""Token sets from token numbers: rows of an embedding table, or of the identity."""

from __future__ import annotations

import torch
from torch import Tensor

from robustbench_local.errors import LabelError, ShapeError

from .input_set import first_index
from .token_set import TokenSet

__all__ = ["embedded_tokens", "one_hot_tokens"]


def embedded_tokens(
    table: Tensor,
    tokens: Tensor,
    choices: Tensor,
    swaps: Tensor | int,
    *,
    dtype: torch.dtype | None = None,
) -> TokenSet:
    """Points (T, D): the rows of a table (V, D) at tokens (B, T), up to `swaps` of them at choices (B, T, S).

    Tokens and choices are integers in [0, V); negative choices stand for none. Candidate 0 of the set is the
    original, candidate s the choice s - 1. Raises ShapeError or LabelError.
    """
    shapes = tuple(table.shape), tuple(tokens.shape), tuple(choices.shape)
    if [len(shape) for shape in shapes] != [2, 2, 3] or shapes[2][:2] != shapes[1]:
        raise ShapeError(
            f"a table of shape {shapes[0]}, tokens {shapes[1]}, choices {shapes[2]}",
            cure="give them as (V, D), (B, T) and (B, T, S)",
        )
    every = torch.cat([tokens.unsqueeze(2), choices], 2).to(torch.int64)
    wrong = (every >= shapes[0][0]) | (every[:, :, :1] < 0)
    if bool(wrong.any()):
        where = first_index(wrong)
        raise LabelError(
            f"token {int(every[where])} at sample {where[0]}, position {where[1]} is none of {shapes[0][0]}"
        )
    original = torch.zeros_like(tokens, dtype=torch.int64)
    return TokenSet(table[every.clamp(min=0)], original, swaps, mask=every >= 0, dtype=dtype)


def one_hot_tokens(
    vocabulary: int,
    tokens: Tensor,
    choices: Tensor,
    swaps: Tensor | int,
    *,
    dtype: torch.dtype = torch.float32,
) -> TokenSet:
    """One-hot points (T, vocabulary): `embedded_tokens` of the identity; times a table (V, D) they embed."""
    return embedded_tokens(torch.eye(vocabulary, dtype=dtype, device=tokens.device), tokens, choices, swaps)
