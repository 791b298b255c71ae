"""A chunk of a streamed reply, which is also the form of a whole plain one: what is read of it."""

from __future__ import annotations

from typing import Final

import msgspec

from farebox.dialects.conversation import Reason
from farebox.dialects.splice import UNREADABLE
from farebox.dialects.sse import data_of

ABSENT: Final = msgspec.Raw()  # msgspec decodes no `Raw | None`: a null stays the text "null".
_SPACES: Final = b" \t\r\n"

# Google's words for an end (GenerateContentResponse, FinishReason). An unknown one is an end like any other.
REASONS: Final[dict[str, Reason]] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "ESCALATION": "content_filter",
    "JAILBREAK": "content_filter",
}
# Not ends but failures: what the model said was no answer, and the same call may well succeed.
FAILURES: Final = frozenset(
    {
        "MALFORMED_FUNCTION_CALL",
        "MALFORMED_RESPONSE",
        "UNEXPECTED_TOOL_CALL",
        "TOO_MANY_TOOL_CALLS",
        "MISSING_THOUGHT_SIGNATURE",
    }
)


class Call(msgspec.Struct):
    """A function call; Google sends it whole."""

    name: str | None = None
    id: str | None = None
    args: msgspec.Raw = ABSENT


class Blob(msgspec.Struct, rename="camel"):
    """Media as they are, or by their address."""

    mime_type: str | None = None
    data: str | None = None
    file_uri: str | None = None


class Piece(msgspec.Struct, rename="camel"):
    """A part, whole or in part."""

    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: Call | None = None
    inline_data: Blob | None = None
    file_data: Blob | None = None


class Content(msgspec.Struct):
    """What a candidate says; without parts where it says nothing."""

    parts: list[Piece] | None = None


class Candidate(msgspec.Struct, rename="camel"):
    """One answer."""

    content: Content | None = None
    finish_reason: str | None = None
    index: int | None = None
    grounding_metadata: msgspec.Raw = ABSENT
    citation_metadata: msgspec.Raw = ABSENT
    url_context_metadata: msgspec.Raw = ABSENT
    logprobs_result: msgspec.Raw = ABSENT


class Feedback(msgspec.Struct, rename="camel"):
    """Why a prompt got no answer."""

    block_reason: str | None = None


class Chunk(msgspec.Struct, rename="camel"):
    """The envelope."""

    candidates: list[Candidate] | None = None
    prompt_feedback: Feedback | None = None
    usage_metadata: msgspec.Raw = ABSENT
    model_version: str | None = None
    response_id: str | None = None
    error: msgspec.Raw = ABSENT


class _RawContent(msgspec.Struct):
    parts: list[msgspec.Raw] | None = None


class _RawCandidate(msgspec.Struct):
    content: _RawContent | None = None


class _RawChunk(msgspec.Struct):
    candidates: list[_RawCandidate] | None = None


_decoder = msgspec.json.Decoder(Chunk)
_raw_decoder = msgspec.json.Decoder(_RawChunk)


def given(raw: msgspec.Raw) -> bool:
    """Whether a member is there, and no null."""
    return bytes(raw) not in (b"", b"null")


def find_chunk(data: bytes) -> Chunk | None:
    """Read one; None if it is none."""
    try:
        return _decoder.decode(data)
    except UNREADABLE:
        return None


def raw_parts(data: bytes) -> list[msgspec.Raw]:
    """The parts of the only candidate of a chunk that was read, as written."""
    candidate = (_raw_decoder.decode(data).candidates or [_RawCandidate()])[0]
    return (candidate.content and candidate.content.parts) or []


def data_in(event: bytes) -> bytes:
    """The data of one server-sent event. Google ends its lines with CRLF; that usual form costs two searches."""
    if event.startswith(b"data: ") and event.find(b"\n") == len(event) - 3 and event.endswith(b"\r\n\r\n"):
        return event[6:-4]
    return data_of(event).strip(_SPACES)
