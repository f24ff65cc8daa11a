"""The network of a certificate: nodes in topological order, each a vector; node 0 is the input.

A coefficient of an affine operator may be off by a few roundings (1 / sqrt(v), say): the slack covers that.
"""

import math
from collections import namedtuple
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .curves import MAX, Array, Rejected, Relu, Sigmoid, U, finite

# y = W x + bias as maps of rows: apply: x -> W x, absolute: x -> |W| x, pull: a -> a W; bias; the number of
# inputs; terms of the longest sum.
Affine = namedtuple("Affine", "apply absolute pull bias inputs terms")


class Network:
    """`parents` of every node by number, its operator (None: the input, or a sum; MAX) and its size.

    smooth: what sigmoids read. slack: eight times the most that rounding changes in a sum of products,
    relative to the terms' sizes.
    """

    def __init__(self, nodes: Any, arrays: Mapping[str, Array]) -> None:
        self.sizes, self.parents = [*integers([nodes[0]["size"]], 1, 1)], [integers([], 0, 0)]
        self.operators, self.smooth, terms = list[Any]([None]), set[int](), len(nodes)
        for number, about in enumerate(nodes[1:], 1):
            parents, operator = integers(about["inputs"], None, 0), _operator(about, number, arrays)
            if not parents or max(parents) >= number or (len(parents) > 1 and operator not in (None, MAX)):
                raise Rejected(f"node {number} reads what it cannot")
            own = {operator.inputs} if isinstance(operator, Affine) else set[int]()
            (size,) = own | {self.sizes[p] for p in parents}  # all of one size, or malformed
            self.sizes.append(len(operator.bias) if isinstance(operator, Affine) else size)
            terms = max(terms, self.sizes[-1], operator.terms if isinstance(operator, Affine) else 0)
            self.parents.append(parents)
            self.operators.append(operator)
            self.smooth |= {*parents} if isinstance(operator, Sigmoid) else set()
        self.slack = 8 * 2 * (max(terms, self.sizes[0]) + 16) * U


def integers(values: Any, count: int | None, least: int) -> tuple[int, ...]:
    """A list of integers, `count` of them, none below `least`."""
    if (count is not None and len(values) != count) or any(type(v) is not int or v < least for v in values):
        raise Rejected(f"{values!r} are not the integers that were expected")
    return tuple(values)


def _operator(about: Any, number: int, arrays: Mapping[str, Array]) -> Affine | Relu | Sigmoid | str | None:
    kind = about["op"]
    if kind == "relu" and 0.0 <= about["slope"] <= 1.0:
        return Relu(float(about["slope"]))
    if kind in ("add", "max", "sigmoid"):
        return {"add": None, "max": MAX, "sigmoid": Sigmoid()}[kind]
    weight, bias = (finite(arrays[f"network/{number}.{k}"], f"node {number}") for k in ("weight", "bias"))
    if bias.shape == (len(weight),) and kind == "conv" and weight.ndim == 4:
        return _conv(weight, bias, about)
    size, index = integers([about["size"]], 1, 1)[0], arrays.get(f"network/{number}.index", np.arange(0))
    terms, full = max(weight.shape), np.abs(weight)
    if bias.shape == (len(weight),) and kind == "linear" and weight.ndim == 2:
        return Affine(lambda x: x @ weight.T, lambda x: x @ full.T, lambda a: a @ weight, bias, size, terms)
    if kind != "pick" or weight.shape != index.shape or not bool(np.all((index >= 0) & (index < size))):
        raise Rejected(f"node {number} has an operator that there is not, or one of another form")

    def pull(a: Array) -> Array:  # y_i = weight_i * x at index_i + bias_i
        found = np.zeros((size, len(a)))
        np.add.at(found, index, (a * weight).T)
        return np.asarray(found.T)

    return Affine(lambda x: weight * x[:, index], lambda x: full * x[:, index], pull, bias, size, terms)


def _conv(weight: Array, bias: Array, about: Any) -> Affine:
    """A convolution of an image (C, H, W) by a kernel (out, C, kh, kw), with zeros around the image."""
    (c, h, w), (top, left, bottom, right) = integers(about["shape"], 3, 1), integers(about["padding"], 4, 0)
    (out, channels, *kernel), stride = weight.shape, integers(about["stride"], 2, 1)
    padded, inner = (h + top + bottom, w + left + right), np.s_[:, top : top + h, left : left + w]
    size = [(p - k) // s + 1 for p, k, s in zip(padded, kernel, stride, strict=True)]
    if min(size) < 1 or channels != c:
        raise Rejected("a convolution does not fit its image")

    def taps(matrices: Array) -> Iterator[tuple[Array, Any]]:
        """The matrix (out, C) at each place of the kernel, and the pixels of the padded image it meets."""
        for i, j in np.ndindex(*kernel):
            last = [k + s * (n - 1) + 1 for k, s, n in zip((i, j), stride, size, strict=True)]
            pixels = np.s_[:, i : last[0] : stride[0], j : last[1] : stride[1]]
            yield np.ascontiguousarray(matrices[:, :, i, j]), pixels

    def apply(x: Array, matrices: Array = weight) -> Array:
        image, found = np.zeros((len(x), *padded, c)), np.zeros((len(x) * math.prod(size), out))
        image[inner] = x.reshape(-1, c, h, w).transpose(0, 2, 3, 1)
        for tap, pixels in taps(matrices):
            found += image[pixels].reshape(-1, c) @ tap.T
        return np.asarray(found.reshape(len(x), -1, out).transpose(0, 2, 1).reshape(len(x), -1))

    def pull(a: Array) -> Array:
        image = np.zeros((len(a), *padded, c))
        flat = a.reshape(len(a), out, -1).transpose(0, 2, 1).reshape(-1, out)
        for tap, pixels in taps(weight):
            image[pixels] += (flat @ tap).reshape(len(a), *size, c)
        return np.asarray(image[inner].transpose(0, 3, 1, 2).reshape(len(a), -1))

    bias, terms = np.repeat(bias, math.prod(size)), max(weight[0].size, weight[:, 0].size)
    return Affine(apply, lambda x: apply(x, np.abs(weight)), pull, bias, c * h * w, terms)
