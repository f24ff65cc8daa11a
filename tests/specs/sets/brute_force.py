"""Sets that are not convex, as lists of boxes from their definitions: one function per kind of set."""

from __future__ import annotations

from functools import singledispatch
from itertools import combinations, product

import torch
from torch import Tensor

from robustbench_local.specs import Box, Choice, InputSet, Levels, Patch, Product, SparseBall, Union

Faces = tuple[Tensor, Tensor]
"""Lower and upper faces (n,) of one box."""


@singledispatch
def boxes_of(inputs: InputSet, b: int) -> list[Faces]:
    """Boxes whose union is set b."""
    raise TypeError(f"no enumeration of {type(inputs).__name__}: register one here")


@boxes_of.register
def _box(inputs: Box, b: int) -> list[Faces]:
    return [(inputs.lower[b].flatten(), inputs.upper[b].flatten())]


@boxes_of.register
def _sparse(inputs: SparseBall, b: int) -> list[Faces]:
    center = inputs.center[b].flatten()
    groups = torch.arange(len(center)) if inputs.groups is None else inputs.groups.flatten()
    names = groups.unique().tolist()
    found = []
    for size in range(min(int(inputs.k[b]), len(names)) + 1):
        for chosen in combinations(names, size):
            free = torch.isin(groups, torch.tensor(chosen, dtype=groups.dtype))
            found += _freed(center, inputs.limits, free, b)
    return found


@boxes_of.register
def _patch(inputs: Patch, b: int) -> list[Faces]:
    found = []
    for row, column in inputs.places.tolist():
        free = torch.zeros(inputs.shape, dtype=torch.bool)
        free[..., row : row + inputs.size[0], column : column + inputs.size[1]] = True
        found += _freed(inputs.center[b].flatten(), inputs.limits, free.flatten(), b)
    return found


@boxes_of.register
def _choice(inputs: Choice, b: int) -> list[Faces]:
    points = inputs.points[b][inputs.mask[b]].flatten(1)
    return [(point, point) for point in points]


@boxes_of.register
def _levels(inputs: Levels, b: int) -> list[Faces]:
    found = []
    for values in product(*(choice.points[b][choice.mask[b]] for _, choice in inputs.blocks)):
        lower, upper = inputs.limits.lower[b].flatten().clone(), inputs.limits.upper[b].flatten().clone()
        for (index, _), value in zip(inputs.blocks, values, strict=True):
            lower[index] = upper[index] = value
        found.append((lower, upper))
    return found


@boxes_of.register
def _union(inputs: Union, b: int) -> list[Faces]:
    return [faces for member in inputs.members for faces in boxes_of(member, b)]


@boxes_of.register
def _product(inputs: Product, b: int) -> list[Faces]:
    ways = product(*(boxes_of(block, b) for block in inputs.blocks))
    return [(torch.cat([low for low, _ in way]), torch.cat([high for _, high in way])) for way in ways]


def _freed(center: Tensor, limits: Box, free: Tensor, b: int) -> list[Faces]:
    """The limits where free, the centre elsewhere; no box where the centre leaves the limits there."""
    lower, upper = limits.lower[b].flatten(), limits.upper[b].flatten()
    if bool((~free & ((center < lower) | (center > upper))).any()):
        return []
    return [(torch.where(free, lower, center), torch.where(free, upper, center))]
