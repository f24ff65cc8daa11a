"""`net` and `tap` lines: the slots for networks, and the inner nodes that a text speaks of."""

from __future__ import annotations

import ast

from ..expressions.networks import Net
from ..vocabulary import FUNCTIONS
from .cursor import Cursor
from .declared import BROKEN, Broken, Declared, attempt
from .tokens import NAME, Token

__all__ = ["Networks"]


class Networks:
    """Reads networks and their inner nodes into the declared names."""

    def __init__(self, declared: Declared) -> None:
        self._declared, self._report = declared, declared.report
        self._net: Net | None = None

    def net(self, cursor: Cursor) -> None:
        """Take what follows `net`."""
        name = cursor.name("the name of a network")
        cursor.expect(":")
        tied = cursor.found("same", "iso")
        if tied is not None:
            self._tied(cursor, name, tied)
            return
        inputs = cursor.type()
        cursor.expect("->")
        outputs = cursor.type()
        net = attempt(self._report, name, lambda: Net(name.text, inputs, outputs))
        if name.text in FUNCTIONS:
            self._report.error(f"`{name.text}` is a function", name, "choose another name", code="E-PARAM")
        self._add_net(name, net)
        while cursor.found("tap"):
            self._tap_of(cursor)
        cursor.finish()

    def _tied(self, cursor: Cursor, name: Token, tied: Token) -> None:
        other = cursor.name("the name of another network")
        known = self._declared.use(other.text)
        cursor.finish()
        if known is None:
            self._declared.unknown(other, [], "network")
        elif not isinstance(known, Net | Broken):
            self._report.error(f"`{other.text}` is no network", other, code="E-NAME")
        if not isinstance(known, Net):
            self._declared.add(name, BROKEN)
        elif tied.text == "same":
            self._declared.add(name, known)
        else:
            net = Net(name.text, known.inputs, known.outputs, taps=known.taps)
            self._declared.taps[name.text] = dict(self._declared.taps.get(known.name, {}))
            self._add_net(name, net)

    def _add_net(self, name: Token, net: object) -> None:
        self._declared.add(name, net)
        self._net = net if isinstance(net, Net) else None

    def tap(self, cursor: Cursor) -> None:
        """Take what follows `tap`."""
        if self._net is None:
            raise cursor.fail("a `net` before", cure="`tap` lines follow the network that they belong to")
        self._tap_of(cursor)
        cursor.finish()

    def _tap_of(self, cursor: Cursor) -> None:
        alias = cursor.name("a name or a string") if cursor.token.kind == NAME else None
        if alias is not None:
            cursor.expect("=")
        token = cursor.string()
        cursor.expect(":")
        shape = cursor.type()
        node = ast.literal_eval(token.text)
        net = self._net
        if net is None:
            return
        if node in net.taps:
            self._report.error(f"{token.text} is declared twice", token, code="E-PARAM")
            return
        # the name is replaced by a network with one tap more; nothing has used it yet
        whole = Net(net.name, net.inputs, net.outputs, taps={**net.taps, node: shape})
        self._declared.replace(net.name, whole)
        self._net = whole
        if alias is not None:
            self._declared.taps.setdefault(net.name, {})[alias.text] = node
