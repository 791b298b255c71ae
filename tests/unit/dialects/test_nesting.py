"""The depth of a JSON text, against a reference that builds it."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farebox.core.errors import Fault
from farebox.dialects.nesting import DEPTH_MAX, PARTS_MAX, check_nesting

STRINGS = st.text(alphabet='[]{}"\\,:a', max_size=6)
LAYERS = st.lists(st.tuples(st.booleans(), STRINGS, STRINGS), min_size=DEPTH_MAX - 2, max_size=DEPTH_MAX + 3)


def is_refused(body: bytes) -> bool:
    try:
        check_nesting(body)
    except Fault as fault:
        return fault.code == "invalid_json"
    return False


@settings(deadline=None)
@given(LAYERS)
def test_a_text_is_refused_if_and_only_if_it_is_too_deep(layers: list[tuple[bool, str, str]]) -> None:
    value: object = "innermost"
    for as_list, name, beside in layers:
        value = [beside, value, [beside]] if as_list else {name: value, f"{name}'": {beside: []}}
    assert is_refused(msgspec.json.encode(value)) == (_depth(value) > DEPTH_MAX)


def _depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(_depth, value), default=0)
    return 0


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"[]," * (PARTS_MAX // 2) + b"[]]",
        b"[" + b'["["],' * (PARTS_MAX // 2) + b"[]]",
    ],
)
def test_more_parts_than_any_conversation_has_are_refused(body: bytes) -> None:
    assert is_refused(body)


def test_a_long_text_of_short_strings_is_no_structure() -> None:
    assert not is_refused(b"[" + b'"[","\\\\","\\"",' * PARTS_MAX + b"[]" + b",[]" * DEPTH_MAX + b"]")
