"""
JSON objects for tests, as their authors never write them.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from hypothesis import strategies as st

_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.sampled_from(["a", '"a":1', '\\"', ":", "],{", '\\"a\\":']),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from("abc") | st.text(), inner, max_size=3)
    ),
    max_leaves=8,
)
_spaces = st.text(" \t\r\n", max_size=2)


class Pair(NamedTuple):
    """
    A member, as it stands in a text.
    """

    name: str
    key: str
    value: str


@st.composite
def pairs(draw: st.DrawFn) -> Pair:
    """
    Members with few names, which are spelt in many ways.
    """
    name = draw(st.sampled_from(["a", "b", "é", "😀", "model", "x"]))
    key = json.dumps(name, ensure_ascii=draw(st.booleans()))
    if draw(st.booleans()) and name.isascii():
        key = '"' + "".join(f"\\u{ord(c):04x}" for c in name) + '"'
    value = json.dumps(draw(_values), ensure_ascii=draw(st.booleans()))
    return Pair(name, key, value)


@st.composite
def objects(draw: st.DrawFn) -> tuple[bytes, list[Pair]]:
    """
    Texts, with space wherever it may be, and their members.
    """
    members = draw(st.lists(pairs(), max_size=6))
    parts = [
        f"{draw(_spaces)}{one.key}{draw(_spaces)}:{draw(_spaces)}{one.value}"
        f"{draw(_spaces)}"
        for one in members
    ]
    inner = ",".join(parts) if parts else draw(_spaces)
    text = f"{draw(_spaces)}{{{inner}}}{draw(_spaces)}"
    return text.encode("utf-8", "surrogatepass"), members
