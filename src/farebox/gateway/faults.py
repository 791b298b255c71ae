"""Writing a Fault: its JSON body and its headers, in the form of the profile it happens on."""

from __future__ import annotations

import math

import msgspec

from farebox.core.errors import Fault, Kind
from farebox.gateway.profiles import CodeStyle, Profile


def error_object(fault: Fault, profile: Profile) -> bytes:
    """The error object: message, type, param, code, then whatever the fault adds."""
    text = msgspec.json.encode
    row = fault.kind.row
    code = str(fault.status).encode() if profile.code_style is CodeStyle.STATUS else text(fault.code)
    members = [
        b'"message":' + text(fault.message),
        b'"type":' + text(row.type),
        b'"param":' + text(fault.param),
        b'"code":' + code,
    ]
    if profile.code_style is CodeStyle.STATUS:
        members.append(b'"metadata":{"error_type":' + text(fault.code) + b"}")
    members += [text(name) + b":" + value.encode() for name, value in fault.fields]
    return b"{" + b",".join(members) + b"}"


def error_body(fault: Fault, profile: Profile) -> bytes:
    """The whole body of an answer that failed."""
    return b'{"error":' + error_object(fault, profile) + b"}"


def error_headers(fault: Fault) -> bytes:
    """Header lines that tell a client whether and when to try again; SDKs read exactly these names."""
    lines = []
    if fault.kind is Kind.BAD_KEY:
        lines.append(b"www-authenticate: Bearer\r\n")
    if fault.retry_after_s is not None:
        lines.append(b"retry-after: %d\r\n" % math.ceil(fault.retry_after_s))
        lines.append(b"retry-after-ms: %d\r\n" % math.ceil(fault.retry_after_s * 1000))
    if fault.status in (402, 429) or fault.status >= 500:  # noqa: PLR2004 -- HTTP statuses
        lines.append(b"x-should-retry: %b\r\n" % (b"true" if fault.retry else b"false"))
    return b"".join(lines)
