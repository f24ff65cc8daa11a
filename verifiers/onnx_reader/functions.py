"""Operators that ONNX itself defines by others (Attention, Swish, CenterCropPad, ...): their definitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .order import needed_operators

__all__ = ["Call", "defined_by"]


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """The operators in place of one, in order; the names of its results; the opset that they belong to."""

    operators: Sequence[Any]
    results: Sequence[str]
    opset: int


def defined_by(proto: Any, opset: int, kinds: Sequence[Any]) -> Call | None:
    """What the ONNX operator `proto` stands for; None where the standard defines it by words only.

    kinds: the TypeProto of each input, in order; the definition may depend on it. The names of inner values
    begin with the operator's, so that they are no others of the file.
    """
    from onnx import FunctionProto, defs

    if not defs.has(proto.op_type, domain="", max_inclusive_version=opset):
        return None
    schema: Any = defs.get_schema(proto.op_type, opset, "")
    given = proto.SerializeToString()
    if schema.has_function:
        version = _version(schema.function_opset_versions, opset)
        data = schema.get_function_with_opset_version(version)
    elif schema.has_context_dependent_function:
        version = _version(schema.context_dependent_function_opset_versions, opset)
        types = [kind.SerializeToString() for kind in kinds]
        data = schema.get_context_dependent_function_with_opset_version(version, given, types)
    else:
        return None
    body = FunctionProto()
    body.ParseFromString(data)
    names = {name: "" for name in body.input}
    names.update(zip(body.input, proto.input, strict=False))
    attributes = {name: a.default_value for name, a in schema.attributes.items() if a.default_value.name}
    attributes.update({a.name: a for a in body.attribute_proto})
    attributes.update({a.name: a for a in proto.attribute})
    scope = _Scope(f"{proto.name or proto.output[0]}/", names, attributes)
    operators = [scope.copied(node) for node in body.node]
    results = [scope.name(name) for name in body.output]
    wanted = [result for result, name in zip(results, proto.output, strict=False) if name]
    versions = [o.version for o in body.opset_import if o.domain == ""]
    return Call(needed_operators(operators, wanted), results, versions[0] if versions else version)


def _version(versions: Sequence[int], opset: int) -> int:
    """The newest definition that the opset knows; else the oldest."""
    return max((v for v in versions if v <= opset), default=min(versions))


class _Scope:
    """The definition's names and attributes as the caller has them."""

    def __init__(self, prefix: str, names: Mapping[str, str], attributes: Mapping[str, Any]) -> None:
        self.prefix = prefix
        self.names = names
        self.attributes = attributes

    def name(self, name: str) -> str:
        """An input of the definition by the caller's name, an inner value by a name of its own."""
        return self.names.get(name, f"{self.prefix}{name}") if name else ""

    def copied(self, node: Any) -> Any:
        """An operator of the definition, for the caller."""
        from onnx import NodeProto

        copy = NodeProto()
        copy.CopyFrom(node)
        copy.name = f"{self.prefix}{node.name or node.op_type}"
        copy.input[:] = [self.name(name) for name in node.input]
        copy.output[:] = [self.name(name) for name in node.output]
        del copy.attribute[:]
        for attribute in node.attribute:
            self._add(copy, attribute)
        return copy

    def _add(self, copy: Any, attribute: Any) -> None:
        if not attribute.ref_attr_name:
            added = copy.attribute.add()
            added.CopyFrom(attribute)
            if attribute.HasField("g"):
                self._rename(added.g)
        elif attribute.ref_attr_name in self.attributes:
            added = copy.attribute.add()
            added.CopyFrom(self.attributes[attribute.ref_attr_name])
            added.name = attribute.name

    def _rename(self, graph: Any) -> None:
        nodes = [self.copied(node) for node in graph.node]
        del graph.node[:]
        graph.node.extend(nodes)
        for named in (*graph.initializer, *graph.output):
            named.name = self.name(named.name)
