"""How deep a JSON text is nested, without building it: a bound on what anything behind us must recurse into.

How it works. Strings are taken out, then everything but brackets; then layer after layer of innermost pairs. Each step
is one pass in C over what the step before left, because a hostile body of 32 MB must not keep the loop for seconds.
"""

from __future__ import annotations

import re
from itertools import accumulate

from farebox.core.errors import Fault, Kind

DEPTH_MAX = 100
PARTS_MAX = 1_000_000  # Brackets, and strings between them. No conversation has as many; telling its depth takes time.
_USUAL_DEPTH = 16  # Real bodies are no deeper, and a pass a layer is the fastest way for them.
_STRING = re.compile(rb'"[^"]*"')
_DULL = bytes(set(range(256)) - set(b'[]{}"'))
_AS_SQUARE = bytes.maketrans(
    b"{}", b"[]"
)  # Which bracket it is does not matter to the depth of a valid text.
_STEPS = [{ord("["): 1, ord("]"): -1}.get(byte, 0) for byte in range(256)]


def check_utf8(body: bytes) -> None:
    """Fault BAD_REQUEST if the text is not UTF-8."""
    try:
        str(body, "utf-8")
    except UnicodeDecodeError as error:
        raise Fault(Kind.BAD_REQUEST, "The request body is not valid UTF-8.", code="invalid_json") from error


def check_nesting(body: bytes) -> None:
    """Fault BAD_REQUEST if a JSON text, known to be valid, is nested deeper than DEPTH_MAX."""
    # Fewer brackets than the bound cannot be nested deeper than it: the common case costs two counts.
    if body.count(b"[") + body.count(b"{") <= DEPTH_MAX:
        return
    left = _brackets(body)
    for _ in range(_USUAL_DEPTH):
        left = left.replace(b"[]", b"")
        if not left:
            return
    if max(accumulate(map(_STEPS.__getitem__, left))) + _USUAL_DEPTH > DEPTH_MAX:
        raise _refused(f"is nested deeper than {DEPTH_MAX} levels")


def _brackets(body: bytes) -> bytes:
    """The brackets of a text that stand outside its strings, all of them square."""
    if b"\\" in body:
        body = body.replace(rb"\\", b"").replace(rb"\"", b"")
    left = body.translate(_AS_SQUARE, _DULL)
    # What remains of a string without brackets is two quotes; taking a pair out joins its neighbours, and each bracket
    # stays inside or outside of a string as it was.
    left = left.replace(b'""', b"")
    if left.count(b'"') > PARTS_MAX:
        raise _refused("has too many parts")
    left = _STRING.sub(b"", left)
    if len(left) > PARTS_MAX:
        raise _refused("has too many parts")
    return left


def _refused(what: str) -> Fault:
    return Fault(Kind.BAD_REQUEST, f"The request body {what}.", code="invalid_json")
