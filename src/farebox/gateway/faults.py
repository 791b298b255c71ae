"""The header lines of a Fault; its body is the dialect's to write."""

from __future__ import annotations

import math

from farebox.core.errors import Fault, Kind


def error_headers(fault: Fault) -> bytes:
    """Header lines that tell a client whether and when to try again; SDKs read exactly these names."""
    lines = []
    if fault.kind is Kind.BAD_KEY:
        lines.append(b"www-authenticate: Bearer\r\n")
    if fault.retry_after_s is not None:
        lines.append(b"retry-after: %d\r\n" % math.ceil(fault.retry_after_s))
        lines.append(b"retry-after-ms: %d\r\n" % math.ceil(fault.retry_after_s * 1000))
    if fault.status in (402, 409, 429) or fault.status >= 500:  # noqa: PLR2004 -- HTTP statuses
        lines.append(b"x-should-retry: %b\r\n" % (b"true" if fault.retry else b"false"))
    return b"".join(lines)
