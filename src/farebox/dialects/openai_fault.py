"""A Fault in OpenAI's words, which both of its dialects use and which every other surface answers with."""

from __future__ import annotations

import msgspec

from farebox.core.errors import Fault


def error_object(fault: Fault, *, status_codes: bool) -> bytes:
    """The error object: message, type, param, code, then whatever the fault adds.

    `code` is a name such as "invalid_api_key"; with `status_codes` it is the HTTP status, and the name stands in
    `metadata.error_type`.
    """
    text = msgspec.json.encode
    code = str(fault.status).encode() if status_codes else text(fault.code)
    members = [
        b'"message":' + text(fault.message),
        b'"type":' + text(fault.kind.row.type),
        b'"param":' + text(fault.param),
        b'"code":' + code,
    ]
    if status_codes:
        members.append(b'"metadata":{"error_type":' + text(fault.code) + b"}")
    members += [text(name) + b":" + value.encode() for name, value in fault.fields]
    return b"{" + b",".join(members) + b"}"
