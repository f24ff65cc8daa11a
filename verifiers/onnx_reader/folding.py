"""Operators whose inputs are all constant, evaluated once by onnx's reference implementation."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from robustbench_local.errors import GraphError, UnsupportedOpError

__all__ = ["FOLDABLE", "Array", "fold"]

Array = np.ndarray[Any, np.dtype[Any]]

#: Operators that may be evaluated: deterministic, without control flow.
FOLDABLE = frozenset(
    """
    Abs Add And ArgMax ArgMin AveragePool BatchNormalization BitShift Cast CastLike Ceil Clip Concat
    Constant ConstantOfShape Conv ConvTranspose Cos CumSum DequantizeLinear Div Dropout Elu Equal Erf Exp
    Expand EyeLike Flatten Floor Gather GatherElements GatherND Gelu Gemm Greater GreaterOrEqual HardSigmoid
    Identity IsNaN LayerNormalization LeakyRelu Less LessOrEqual Log MatMul Max Mean Min Mod Mul Neg NonZero
    Not OneHot Or Pad Pow QuantizeLinear Range Reciprocal ReduceL1 ReduceL2 ReduceMax ReduceMean ReduceMin
    ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize Round ScatterElements ScatterND Shape Sigmoid
    Sign Sin Size Slice Softmax Softplus Split Sqrt Squeeze Sub Sum Tan Tanh Tile TopK Transpose Trilu
    Unsqueeze Upsample Where Xor
    """.split()
)
_LARGEST = 2**27  # coordinates of a folded constant


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
            return _evaluate(proto, opset, inputs)
    except GraphError:
        raise
    except Exception as error:  # a malformed operator can fail anywhere in the reference implementation
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".")
        raise GraphError(
            f"{proto.op_type} of constants cannot be evaluated: {reason}", where=where, cure="export it again"
        ) from error


def _evaluate(proto: Any, opset: int, inputs: Sequence[Array | None]) -> list[Array]:
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

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


def _size(kind: str, inputs: Sequence[Array | None]) -> float:
    """How many numbers the operators that grow their input would make."""
    arrays = [a for a in inputs if a is not None]
    if kind == "ConstantOfShape":
        return float(math.prod(arrays[0].tolist()))
    if kind in ("Expand", "Tile"):
        return float(math.prod(arrays[1].tolist())) * arrays[0].size
    if kind == "Range":
        start, limit, delta = (float(a) for a in arrays[:3])
        return abs(limit - start) / abs(delta)
    if kind in ("Resize", "Upsample") and len(arrays) > 1:
        return float(np.prod(np.maximum(arrays[-1], 1))) * arrays[0].size
    if kind == "OneHot":
        return float(arrays[1].reshape(-1)[0]) * arrays[0].size
    if kind == "Pad" and len(arrays) > 1:
        pairs = zip(arrays[0].shape, *np.split(arrays[1], 2), strict=True)
        return float(math.prod(s + abs(int(p)) + abs(int(q)) for s, p, q in pairs))
    return float(sum(a.size for a in arrays))
