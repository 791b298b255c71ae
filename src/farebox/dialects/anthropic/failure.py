"""Errors in Anthropic's words."""

from __future__ import annotations

import msgspec

from farebox.core.errors import Fault

# Anthropic, "Errors": the type for a status. Any other of the caller's is an invalid request, any other of ours broken.
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_SERVER_ERROR = 500


def write_error(fault: Fault, call_id: str) -> bytes:
    """The whole object: type and message, then the name and the member, then whatever the fault adds."""
    text = msgspec.json.encode
    ours = "api_error" if fault.status >= _SERVER_ERROR else "invalid_request_error"
    members = [
        b'"type":' + text(_TYPES.get(fault.status, ours)),
        b'"message":' + text(fault.message),
        b'"code":' + text(fault.code),
    ]
    if fault.param is not None:
        members.append(b'"param":' + text(fault.param))
    members += [text(name) + b":" + value.encode() for name, value in fault.fields]
    return b'{"type":"error","error":{%b},"request_id":%b}' % (b",".join(members), text(call_id))


def write_failure(fault: Fault, reply_id: str) -> bytes:
    """An error inside a stream."""
    return b"event: error\ndata: %b\n\n" % write_error(fault, reply_id.removeprefix("msg_"))
