"""The tensors of a property as terms of the specification language, each flat."""

from __future__ import annotations

import keyword
import math
from collections.abc import Mapping

import numpy as np
import torch

from ...expressions import Domain, Net, Term, Var, box, concat, reshape
from ...expressions.shaping import Reshaped
from ...vocabulary import FUNCTIONS
from .declarations import Declarations, Network, Tensor
from .input_space import InputSpace

__all__ = ["Symbols"]


class Symbols:
    """Variables, nets, and what they give.

    Attributes:
        variables: one per input that has coordinates of its own, in order.
        inputs: name of a declared input -> its elements, flat.
        outputs: name of an output or a hidden tensor -> its elements, flat.
        slots: name of a declared network -> name of its net.
        speaks_of_outputs: whether `source` has been asked for an element that is no input.
    """

    def __init__(
        self, declared: Declarations, space: InputSpace, shapes: Mapping[str, tuple[int, ...]]
    ) -> None:
        self._declared, self._space, self._shapes = declared, space, shapes
        self._names: set[str] = set()
        self.slots: dict[str, str] = {}
        self.variables: list[Var] = []
        # of the coordinate at each position: the variable that holds it, and where it lies in it
        self._variable, self._index = (np.full(declared.size, -1) for _ in range(2))
        for network in declared.networks.values():
            for tensor in network.inputs:
                self._declare(network, tensor)
        self.speaks_of_outputs = False
        self.inputs: dict[str, Term] = {t.name: self._input(t) for t in space.inputs}
        self.outputs: dict[str, Term] = {}
        nets: dict[str, Net] = {}
        for network in declared.networks.values():
            first = network.equal_to or network.name
            if first not in nets:
                nets[first] = self._net(network)
            self._apply(network, nets[first])

    def source(self, position: int) -> tuple[Term, int]:
        """A flat term that holds the element at the position, and where."""
        leader = int(self._space.leader[position])
        if leader >= 0:
            return _flat(self.variables[self._variable[leader]]), int(self._index[leader])
        tensor, self.speaks_of_outputs = self._declared.at(position), True
        return self.outputs[tensor.name], position - tensor.start

    def bounds(self) -> list[Domain]:
        """The box of each variable."""
        boxes = []
        for number, variable in enumerate(self.variables):
            own = np.flatnonzero(self._variable == number)
            faces = (torch.from_numpy(face[own]) for face in (self._space.lower, self._space.upper))
            boxes.append(box(*(face.reshape(variable.shape) for face in faces)))
        return boxes

    def _declare(self, network: Network, tensor: Tensor) -> None:
        """A variable for the coordinates that stand in the tensor, of its shape if these are all."""
        own = self._space.own(tensor)
        if not len(own):
            return
        whole = len(own) == tensor.size and len(network.inputs) == 1
        shape = self._shapes[network.name] if whole else (len(own),)
        variable = Var(self._named(tensor.name), shape)
        self._variable[own], self._index[own] = len(self.variables), np.arange(len(own))
        self.variables.append(variable)

    def _input(self, tensor: Tensor) -> Term:
        """The tensor's elements, flat, as pieces of variables side by side."""
        coordinates = self._space.coordinates(tensor)
        variable, index = self._variable[coordinates], self._index[coordinates]
        breaks = np.flatnonzero((np.diff(variable) != 0) | (np.diff(index) != 1)) + 1
        pieces: list[Term] = []
        for start, stop in zip([0, *breaks.tolist()], [*breaks.tolist(), len(coordinates)], strict=True):
            flat = _flat(self.variables[variable[start]])
            first, end = int(index[start]), int(index[start]) + stop - start
            pieces.append(flat if end - first == flat.shape[0] else flat[first:end])
        return pieces[0] if len(pieces) == 1 else concat(*pieces)

    def _net(self, network: Network) -> Net:
        """The net of a network, and of those that are equal to it."""
        taps = {
            t.node: (t.size,)
            for other in self._declared.networks.values()
            if network.name in (other.name, other.equal_to)
            for t in other.hidden
            if t.node is not None
        }
        name = self.slots[network.name] = self._named(network.name)
        return Net(name, self._shapes[network.name], sum(t.size for t in network.outputs), taps=taps)

    def _apply(self, network: Network, net: Net) -> None:
        """Outputs and hidden tensors of a network."""
        given = [self.inputs[t.name] for t in network.inputs]
        argument = _shaped(given[0] if len(given) == 1 else concat(*given), net.inputs)
        whole, start = net(argument), 0
        for tensor in network.outputs:
            alone = len(network.outputs) == 1
            self.outputs[tensor.name] = whole if alone else whole[start : start + tensor.size]
            start += tensor.size
        self.outputs |= {t.name: net.tap(t.node or "", argument) for t in network.hidden}

    def _named(self, name: str) -> str:
        """The name, changed where the language means something else by it."""
        while name in FUNCTIONS or keyword.iskeyword(name) or name in self._names:
            name += "_"
        self._names.add(name)
        return name


def _flat(variable: Var) -> Term:
    return variable if len(variable.shape) == 1 else reshape(variable, (math.prod(variable.shape),))


def _shaped(flat: Term, shape: tuple[int, ...]) -> Term:
    """A flat term in the shape; a variable that has it already as it is."""
    if isinstance(flat, Reshaped) and flat.of.shape == shape:
        return flat.of
    return flat if flat.shape == shape else reshape(flat, shape)
