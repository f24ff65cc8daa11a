"""Operators whose inputs are all constant, evaluated once by onnx's reference implementation."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from robustbench_local.errors import GraphError, UnsupportedOpError

__all__ = ["FOLDABLE", "Array", "fold", "reference_values", "value_place"]

Array = np.ndarray[Any, np.dtype[Any]]

#: Operators that may be evaluated by it: deterministic, without control flow. Those on floating-point numbers
#: that have a converter are evaluated by that.
FOLDABLE = frozenset(
    """
    Abs Add And ArgMax ArgMin BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor BlackmanWindow Cast
    CastLike Ceil Compress Concat Constant ConstantOfShape CumSum DequantizeLinear Div Equal Expand EyeLike
    Flatten Floor Gather GatherElements GatherND Greater GreaterOrEqual HammingWindow HannWindow Identity
    Less LessOrEqual Max Min Mod Mul Neg NonZero Not OneHot Or Pad Pow Range ReduceL1 ReduceMax ReduceMin
    ReduceProd ReduceSum ReduceSumSquare Reshape ReverseSequence Scatter ScatterElements ScatterND Shape Sign
    Size Slice Split Squeeze Sub Sum Tile TopK Transpose Trilu Unsqueeze Where Xor
    """.split()
)
#: Evaluated by it on all numbers: to integers, or from them.
_ALWAYS = frozenset({"Cast", "CastLike", "DequantizeLinear"})
_LARGEST = 2**27  # coordinates of a folded constant


def value_place(kind: str, arrays: Sequence[Array | None]) -> int | None:
    """Which input a converter takes as the value; None where that is not one of floating-point numbers."""
    place = 1 if kind == "Where" else 0
    given = arrays[place] if place < len(arrays) else None
    if given is None or kind in _ALWAYS or given.dtype not in (np.float32, np.float64) or not given.size:
        return None
    return place


def fold(proto: Any, opset: int, inputs: Sequence[Array | None]) -> list[Array]:
    """The outputs of the operator `proto` on constant inputs.

    UnsupportedOpError: not in `FOLDABLE`. GraphError: it fails, or its output would be huge.
    """
    where = f"node {proto.name or proto.op_type!r}"
    if proto.op_type not in FOLDABLE:
        raise UnsupportedOpError(
            f"{proto.op_type} of constants is not evaluated",
            where=where,
            cure="simplify the file (onnxsim), or export it with constants folded",
        )
    try:
        if _size(proto.op_type, inputs) > _LARGEST:
            raise GraphError(
                f"{proto.op_type} makes a constant of more than {_LARGEST} numbers",
                where=where,
                cure="export the network again",
            )
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return reference_values(proto, opset, inputs)
    except GraphError:
        raise
    except Exception as error:  # a malformed operator can fail anywhere in the reference implementation
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".")
        raise GraphError(
            f"{proto.op_type} of constants cannot be evaluated: {reason}", where=where, cure="export it again"
        ) from error


#: Old versions that the reference implementation lacks, and the operator and opset that do the same.
_SUCCESSORS = {"DequantizeLinear": ("DequantizeLinear", 19), "Scatter": ("ScatterElements", 11)}


def reference_values(proto: Any, opset: int, inputs: Sequence[Array | None]) -> list[Array]:
    """The outputs of the operator by onnx's reference implementation, whatever that raises."""
    from onnx import NodeProto, helper
    from onnx.reference import ReferenceEvaluator

    own = _own(proto, [a for a in inputs if a is not None])
    if own is not None:
        return [own]
    if proto.op_type in _SUCCESSORS:
        kind, oldest = _SUCCESSORS[proto.op_type]
        copy = NodeProto()
        copy.CopyFrom(proto)
        copy.op_type = kind
        proto, opset = copy, max(opset, oldest)
    feeds = {name: array for name, array in zip(proto.input, inputs, strict=True) if array is not None}
    entries = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for n, a in feeds.items()
    ]
    ends = [helper.make_empty_tensor_value_info(name) for name in proto.output if name]
    graph = helper.make_graph([proto], "constant", entries, ends)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    results: Any = ReferenceEvaluator(model).run(None, feeds)
    found = iter(results)
    return [np.asarray(next(found)) if name else np.empty(0) for name in proto.output]


def _own(proto: Any, arrays: Sequence[Array]) -> Array | None:
    """The result of operators in which the reference implementation is wrong, or lacks something."""
    if proto.op_type == "Div" and all(a.dtype.kind in "iu" for a in arrays):  # towards zero, it rounds down
        first, second = arrays
        quotient = np.sign(first) * np.sign(second) * (np.abs(first) // np.abs(second))
        return np.asarray(quotient.astype(first.dtype))
    if proto.op_type == "GatherElements":  # it wants indices of the data's shape
        data, indices = arrays
        axis = next((int(a.i) for a in proto.attribute if a.name == "axis"), 0) % data.ndim
        part = tuple(slice(None) if k == axis else slice(n) for k, n in enumerate(indices.shape))
        return np.take_along_axis(data[part], indices, axis)
    return None


def _size(kind: str, inputs: Sequence[Array | None]) -> float:
    """How many numbers the operators that grow their input would make, at most."""
    arrays = [a for a in inputs if a is not None]
    if kind in ("ConstantOfShape", "BlackmanWindow", "HammingWindow", "HannWindow"):
        return float(math.prod(arrays[0].reshape(-1).tolist()))
    if kind in ("Expand", "Tile"):
        return float(math.prod(arrays[1].tolist())) * arrays[0].size
    if kind in ("CenterCropPad", "Col2Im"):
        return float(math.prod(np.maximum(arrays[1], 1).tolist())) * arrays[0].size
    if kind == "Range":
        start, limit, delta = (float(a) for a in arrays[:3])
        return abs(limit - start) / abs(delta)
    if kind in ("Resize", "Upsample") and len(arrays) > 1:
        return float(np.prod(np.maximum(arrays[-1], 1), dtype=np.float64)) * arrays[0].size
    if kind == "OneHot":
        return float(arrays[1].reshape(-1)[0]) * arrays[0].size
    if kind == "Pad" and len(arrays) > 1:  # at worst every amount is along every axis
        return float(math.prod(s + np.abs(arrays[1]).sum(dtype=np.float64) for s in arrays[0].shape))
    if kind in ("Gather", "GatherElements", "GatherND") and arrays[0].size:
        return float(arrays[0].size / max(1, min(arrays[0].shape, default=1))) * arrays[1].size
    if kind in ("Einsum", "Gemm", "MatMul"):
        return float(math.prod(a.size / max(1, max(a.shape, default=1)) for a in arrays[:2]))
    return max(float(sum(a.size for a in arrays)), _broadcast(arrays))


def _broadcast(arrays: Sequence[Array]) -> float:
    """How many numbers all arrays together broadcast to; 0 where they do not."""
    rank = max((a.ndim for a in arrays), default=0)
    shapes = [(1,) * (rank - a.ndim) + a.shape for a in arrays]
    sizes = [max(lengths) for lengths in zip(*shapes, strict=True)]
    fits = all(n in (1, size) for shape in shapes for n, size in zip(shape, sizes, strict=True))
    return float(math.prod(sizes)) if fits else 0.0
