"""A Fault in Google's words. (Google, "Errors", and google.rpc.Status with its details.)"""

from __future__ import annotations

from typing import Final

import msgspec

from farebox.core.errors import Fault

_STATUSES: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "FAILED_PRECONDITION",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_SERVER_FAULT: Final = 500
_INFO: Final = "type.googleapis.com/google.rpc.ErrorInfo"
_RETRY: Final = "type.googleapis.com/google.rpc.RetryInfo"


def error_object(fault: Fault) -> bytes:
    """The error object: code, message and status, and the fault's own code and members in `details`."""
    other = "INTERNAL" if fault.status >= _SERVER_FAULT else "INVALID_ARGUMENT"
    metadata = {} if fault.param is None else {"param": fault.param}
    metadata |= {name: _text(value) for name, value in fault.fields}
    details: list[dict[str, object]] = [{"@type": _INFO, "reason": fault.code.upper(), "metadata": metadata}]
    if fault.retry_after_s is not None:
        details.append(
            {"@type": _RETRY, "retryDelay": f"{fault.retry_after_s:.3f}".rstrip("0").rstrip(".") + "s"}
        )
    return msgspec.json.encode(
        {
            "code": fault.status,
            "message": fault.message,
            "status": _STATUSES.get(fault.status, other),
            "details": details,
        }
    )


def _text(value: str) -> str:
    """A member's JSON text as the text that `metadata` takes."""
    return msgspec.json.decode(value, type=str) if value.startswith('"') else value
