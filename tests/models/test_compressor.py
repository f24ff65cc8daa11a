"""The arithmetic coder against the entropy and against its inverse, on shares that it was not made for."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from robustbench_local.models.classical.compressor import Decoder, encode

SHARE = st.integers(1, 2**16 - 1) | st.sampled_from([1, 2, 2**15, 2**16 - 2, 2**16 - 1])


@given(st.lists(st.tuples(st.integers(0, 1), SHARE), max_size=300))
def test_codes_are_short_and_lose_nothing(pairs: list[tuple[int, int]]) -> None:
    symbols, shares = [s for s, _ in pairs], [share for _, share in pairs]
    code = encode(symbols, shares)
    decoder = Decoder(code)
    assert [decoder.symbol(share) for share in shares] == symbols
    bits = -sum(math.log2((share if s else 2**16 - share) / 2**16) for s, share in pairs)
    assert len(code) <= bits + 2 + 2**-13 * len(pairs)
