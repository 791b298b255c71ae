"""An error inside a streamed chat completion."""

from __future__ import annotations

import msgspec

from farebox.core.errors import Fault
from farebox.dialects.dialect import Names
from farebox.dialects.openai_fault import error_object


def write_failure(fault: Fault, names: Names) -> bytes:
    """One chunk with the error and a finish; the body then ends without [DONE], so nobody takes it for whole."""
    text = msgspec.json.encode
    return (
        b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,"error":%b,'
        b'"choices":[{"index":0,"delta":{},"finish_reason":"error"}]}\n\n'
    ) % (
        text(names.id),
        names.created_s,
        text(names.model),
        error_object(fault, status_codes=names.status_codes),
    )
