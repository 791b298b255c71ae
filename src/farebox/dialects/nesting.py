"""How deep a JSON text is nested, without building it: a bound on what anything behind us must recurse into."""

from __future__ import annotations

import re

from farebox.core.errors import Fault, Kind

DEPTH_MAX = 100
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def check_utf8(body: bytes) -> None:
    """Fault BAD_REQUEST if the text is not UTF-8."""
    try:
        str(body, "utf-8")
    except UnicodeDecodeError as error:
        raise Fault(Kind.BAD_REQUEST, "The request body is not valid UTF-8.", code="invalid_json") from error


def check_nesting(body: bytes) -> None:
    """Fault BAD_REQUEST if a JSON text, known to be valid, is nested deeper than DEPTH_MAX.

    Known to be valid: on a text with an unclosed string the search below would take quadratic time.
    """
    # Fewer brackets than the bound cannot be nested deeper than it: the common case costs two counts.
    if body.count(b"[") + body.count(b"{") <= DEPTH_MAX:
        return
    left = _STRING.sub(b"", body).translate(None, _NOT_BRACKETS)
    for _ in range(DEPTH_MAX):
        left = left.replace(b"[]", b"").replace(b"{}", b"")
        if not left:
            return
    if b"[" in left or b"{" in left:
        raise Fault(
            Kind.BAD_REQUEST,
            f"The request body is nested deeper than {DEPTH_MAX} levels.",
            code="invalid_json",
        )
