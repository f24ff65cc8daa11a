"""Reads `(declare-network ...)`, and checks declarations as the standard types them.

    (declare-network NAME [(equal-to NAME) | (isomorphic-to NAME)] input+ hidden* output+)

Source: the VNN-LIB standard 2.1, chapter 3 and syntax/grammar.cf
(https://github.com/VNNLIB/VNNLIB-Standard).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import NoReturn

from ..stream import OPEN, Stream, Token, brief, offset_of
from .declarations import Network
from .tensor_reader import TensorReader

__all__ = ["NetworkReader"]

_WRITTEN = "(declare-network f (declare-input X real [1,2]) (declare-output Y real [1,2]))"


class NetworkReader:
    """Reads declarations from a stream; `networks` are those so far, by name."""

    def __init__(self, stream: Stream, version: str) -> None:
        self.stream = stream
        self.networks: dict[str, Network] = {}
        self._tensors = TensorReader(stream, version)
        self._parts: Mapping[str, Callable[[Network, int], Network]] = {
            "equal-to": self._equal_to,
            "isomorphic-to": self._isomorphic_to,
            "declare-input": self._input,
            "declare-hidden": self._hidden,
            "declare-output": self._output,
        }

    def read(self, offset: int) -> None:
        """The rest of a declaration that was opened at the offset. Raises SpecError with the place."""
        network = Network(self._tensors.new_name("a name for the network", offset), (), ())
        places: list[int] = []
        for token in self.stream.operands("declare-network", offset):
            if token[0].lastindex != OPEN:
                self._fail(token, "`(declare-input`, `(declare-hidden` or `(declare-output`")
            opened = offset_of(token)
            head, at = self.stream.word("`declare-input`, `declare-hidden` or `declare-output`", opened)
            if head not in self._parts:
                known = get_close_matches(head, self._parts, n=1)
                cure = f"did you mean `{known[0]}`?" if known else f"write e.g. `{_WRITTEN}`"
                raise self.stream.source.error(f"`{brief(head)}` declares no part of a network", at, cure)
            network = self._parts[head](network, opened)
            places.append(opened)
        for kind, found in (("input", network.inputs), ("output", network.outputs)):
            if not found:
                cure = f"declare every {kind} of the ONNX file, in its order"
                raise self.stream.source.error(f"network `{network.name}` has no {kind}", offset, cure)
        if network.equal_to or network.isomorphic_to:
            self._check_equivalence(network, places[0])
        self.networks[network.name] = network

    def _equal_to(self, network: Network, offset: int) -> Network:
        return replace(network, equal_to=self._target(network, "equal-to", offset))

    def _isomorphic_to(self, network: Network, offset: int) -> Network:
        return replace(network, isomorphic_to=self._target(network, "isomorphic-to", offset))

    def _input(self, network: Network, offset: int) -> Network:
        if network.hidden or network.outputs:
            self._out_of_order("inputs come before hidden tensors and outputs", offset)
        return replace(network, inputs=(*network.inputs, self._tensors.read("declare-input", offset)))

    def _hidden(self, network: Network, offset: int) -> Network:
        if network.outputs or not network.inputs:
            self._out_of_order("hidden tensors come after inputs and before outputs", offset)
        return replace(network, hidden=(*network.hidden, self._tensors.read("declare-hidden", offset)))

    def _output(self, network: Network, offset: int) -> Network:
        if not network.inputs:
            self._out_of_order("inputs come before outputs", offset)
        return replace(network, outputs=(*network.outputs, self._tensors.read("declare-output", offset)))

    def _out_of_order(self, rule: str, offset: int) -> NoReturn:
        cure = "the order is: equal-to or isomorphic-to, inputs, hidden tensors, outputs"
        raise self.stream.source.error(f"in a network, {rule}", offset, cure)

    def _target(self, network: Network, head: str, offset: int) -> str:
        """The network that an equivalence names."""
        if network.inputs or network.outputs:
            self._out_of_order(f"`{head}` comes first", offset)
        if network.equal_to or network.isomorphic_to:
            cure = "keep one of them; equality and isomorphism are transitive"
            raise self.stream.source.error(f"network `{network.name}` has two equivalences", offset, cure)
        name, at = self.stream.word("the name of a network", offset)
        self.stream.close(head, offset)
        target = self.networks.get(name)
        if target is None:
            known = ", ".join(self.networks) or "none"
            what = f"`{brief(name)}` is no network declared before"
            raise self.stream.source.error(what, at, f"declared so far: {known}")
        first = target.equal_to or target.isomorphic_to
        if first:
            relation = "equal-to" if target.equal_to else "isomorphic-to"
            what = f"network `{name}` is itself declared by `{relation}`"
            raise self.stream.source.error(what, at, f"name `{first}` here")
        return name

    def _check_equivalence(self, network: Network, at: int) -> None:
        """Inputs and outputs fit those of the target: shapes, and types where the networks are equal."""
        equal = network.equal_to is not None
        target = self.networks[network.equal_to or network.isomorphic_to or ""]
        relation = f"{'equal' if equal else 'isomorphic'} to `{target.name}`"

        def fail(what: str) -> NoReturn:
            cure = f"declare the {'types and ' if equal else ''}shapes of `{target.name}`"
            whole = f"network `{network.name}` is not {relation}: {what}"
            raise self.stream.source.error(whole, at, cure, code="E-SHAPE")

        for kind, own, theirs in (
            ("inputs", network.inputs, target.inputs),
            ("outputs", network.outputs, target.outputs),
        ):
            if len(own) != len(theirs):
                fail(f"it has {len(own)} {kind}, not {len(theirs)}")
        known = {t.node: t for t in target.hidden} if equal else {}
        pairs = [
            *zip(network.inputs, target.inputs, strict=True),
            *zip(network.outputs, target.outputs, strict=True),
        ]
        pairs += [(t, known[t.node]) for t in network.hidden if t.node in known]
        for mine, other in pairs:
            if mine.shape != other.shape:
                fail(f"`{mine.name}` has shape {list(mine.shape)}, `{other.name}` {list(other.shape)}")
            if equal and mine.type is not other.type:
                fail(f"`{mine.name}` has type {mine.type}, `{other.name}` {other.type}")

    def _fail(self, token: Token, expected: str) -> NoReturn:
        raise self.stream.unexpected(token, expected)
