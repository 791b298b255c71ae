"""Content blocks of a Messages call ↔ parts. (Anthropic, "Messages", ContentBlockParam.)

What is not understood in whole stays whole: an unknown block or source becomes an Opaque, which goes home as it was
written and is refused by name elsewhere. A plain-text document is the only one whose data is not base64 on this wire.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from farebox.dialects.conversation import (
    CacheMark,
    Media,
    Opaque,
    Part,
    Text,
    Thought,
    ToolCall,
    ToolResult,
)
from farebox.dialects.members import FLAG, RAW, TEXT, Fields, written
from farebox.dialects.seal import seal, seal_id, unseal, unseal_id

NAME: Final = "anthropic"
PDF: Final = "application/pdf"
PLAIN: Final = "text/plain"
RAW_INPUT: Final = "_raw"  # The member that holds arguments which are no JSON object: half-written ones, say.
_MARK = "cache_control"
_TTLS_S = {"5m": 300, "1h": 3600}
_TTLS = {3600: msgspec.Raw(b'{"type":"ephemeral","ttl":"1h"}')}
_EPHEMERAL = msgspec.Raw(b'{"type":"ephemeral"}')
_NO_INPUT = msgspec.Raw(b"{}")

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
text_or_list: msgspec.json.Decoder[str | list[msgspec.Raw]] = msgspec.json.Decoder(str | list[msgspec.Raw])


def read_content(fields: Fields) -> tuple[tuple[Part, ...], bool]:
    """The parts of a `content`, and whether it is a list of blocks."""
    content = fields.take("content", text_or_list)
    if content is None:
        return (), False
    if isinstance(content, str):
        return (Text(content),), False
    return tuple(read_block(raw, f"{fields.at('content')}[{at}]") for at, raw in enumerate(content)), True


def write_content(parts: Sequence[Part], *, listed: bool) -> object:
    """Parts as a `content`: the text itself where that says it all."""
    if not listed and len(parts) == 1:
        only = parts[0]
        if isinstance(only, Text) and only.mark is None and not only.extra:
            return only.text
    return [write_block(part) for part in parts]


def read_block(raw: msgspec.Raw, path: str) -> Part:
    """One block; an Opaque where it is not understood in whole."""
    fields = Fields(raw, path)
    kind = fields.need("type", TEXT)
    part = _BLOCKS[kind](fields) if kind in _BLOCKS else None
    return part or Opaque(NAME, f"{path}.type", "content", bytes(raw))


def read_mark(fields: Fields) -> CacheMark | None:
    """The cache mark on any object that may carry one, and how long it is to last."""
    raw = fields.take(_MARK, RAW)
    if raw is None:
        return None
    ttl = Fields(raw, fields.at(_MARK)).find("ttl", TEXT)
    return CacheMark(_TTLS_S.get(ttl or ""), ((_MARK, bytes(raw)),))


def write_mark(mark: CacheMark | None) -> dict[str, msgspec.Raw]:
    """The member of a cache mark: as its origin wrote it, or ours."""
    if mark is None:
        return {}
    return written(mark.native) if mark.native else {_MARK: _TTLS.get(mark.ttl_s or 0, _EPHEMERAL)}


def _read_text(fields: Fields) -> Part:
    return Text(fields.need("text", TEXT), mark=read_mark(fields), extra=fields.left())


def _read_image(fields: Fields) -> Part | None:
    source = fields.open("source")
    kind = source.take("type", TEXT) if source is not None else None
    if source is None or kind not in ("base64", "url"):
        return None
    url = source.need("url", TEXT) if kind == "url" else None
    data = source.need("data", TEXT) if kind == "base64" else None
    media_type = source.need("media_type", TEXT) if kind == "base64" else None
    if not source.exhausted:
        return None
    return Media("image", url, data, media_type, mark=read_mark(fields), extra=fields.left())


def _read_document(fields: Fields) -> Part | None:
    source = fields.open("source")
    kind = source.take("type", TEXT) if source is not None else None
    if source is None or kind not in ("base64", "url", "text"):
        return None
    url = data = media_type = None
    if kind == "url":
        url = source.need("url", TEXT)
    else:
        data, media_type = source.need("data", TEXT), source.need("media_type", TEXT)
    if not source.exhausted or media_type not in (None, PLAIN if kind == "text" else PDF):
        return None
    if kind == "text" and data is not None:
        data = base64.b64encode(data.encode()).decode()
    title = fields.take("title", TEXT)
    return Media("file", url, data, media_type, name=title, mark=read_mark(fields), extra=fields.left())


def _read_thinking(fields: Fields) -> Part:
    text, signature = fields.need("thinking", TEXT), fields.take("signature", TEXT)
    if not signature:
        return Thought(text, extra=fields.left())
    signature, signer = _opened(signature)
    return Thought(text, signature, signed_by=signer, extra=fields.left())


def _read_redacted(fields: Fields) -> Part:
    signature, signer = _opened(fields.need("data", TEXT))
    return Thought("", signature, redacted=True, signed_by=signer, extra=fields.left())


def _opened(signature: str) -> tuple[str, str]:
    """A signature and who can read it; what is no seal of ours is Anthropic's own."""
    return unseal(signature) or (signature, NAME)


def _read_call(fields: Fields) -> Part:
    call_id, signature = unseal_id(fields.need("id", TEXT))
    name, raw = fields.need("name", TEXT), fields.need("input", RAW)
    Fields(raw, fields.at("input"))  # It must be an object.
    return ToolCall(call_id, name, bytes(raw).decode(), signature, read_mark(fields), fields.left())


def _read_result(fields: Fields) -> Part:
    call_id, _ = unseal_id(fields.need("tool_use_id", TEXT))
    parts, listed = read_content(fields)
    failed = fields.take("is_error", FLAG) is True
    return ToolResult(call_id, parts, failed, listed, read_mark(fields), fields.left())


_BLOCKS: dict[str, Callable[[Fields], Part | None]] = {
    "text": _read_text,
    "image": _read_image,
    "document": _read_document,
    "thinking": _read_thinking,
    "redacted_thinking": _read_redacted,
    "tool_use": _read_call,
    "tool_result": _read_result,
}


def write_block(part: Part) -> object:
    """One block."""
    match part:
        case Text():
            return {"type": "text", "text": part.text} | write_mark(part.mark) | written(part.extra)
        case ToolCall():
            return write_call(part) | write_mark(part.mark) | written(part.extra)
        case ToolResult():
            return _write_result(part)
        case Thought():
            return write_thought(part)
        case Media():
            return _write_media(part) | write_mark(part.mark) | written(part.extra)
        case Opaque():
            return msgspec.Raw(part.raw)


def write_call(call: ToolCall) -> dict[str, object]:
    """A `tool_use` block; its id carries a signature, for which there is no other place."""
    call_id = call.id if call.signature is None else seal_id(call.id, call.signature)
    return {"type": "tool_use", "id": call_id, "name": call.name, "input": write_input(call.arguments)}


def write_input(arguments: str) -> msgspec.Raw:
    """Arguments as the object they must be here: none is an empty one, and what is no object goes into a member."""
    if not arguments or arguments.isspace():
        return _NO_INPUT
    raw = arguments.encode()
    return msgspec.Raw(raw if is_object(raw) else msgspec.json.encode({RAW_INPUT: arguments}))


def is_object(raw: bytes) -> bool:
    """Whether a text is a JSON object."""
    try:
        raw.decode()  # What the decoder passes over, it does not look at.
        _object.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def write_thought(thought: Thought) -> dict[str, object]:
    """A `thinking` or `redacted_thinking` block; another's signature goes out sealed."""
    signature = signed(thought.signature, thought.signed_by)
    wire: dict[str, object] = {"type": "redacted_thinking", "data": signature}
    if not thought.redacted:
        wire = {"type": "thinking", "thinking": thought.text, "signature": signature}
    return wire | written(thought.extra)


def signed(signature: str | None, signed_by: str | None) -> str:
    """A signature as it is written here; empty where there is none."""
    if signature is None:
        return ""
    return signature if signed_by == NAME else seal(signature, signed_by or "")


def _write_result(result: ToolResult) -> dict[str, object]:
    wire: dict[str, object] = {"type": "tool_result", "tool_use_id": result.call_id}
    if result.parts or result.listed:
        wire["content"] = write_content(result.parts, listed=result.listed)
    if result.failed:
        wire["is_error"] = True
    return wire | write_mark(result.mark) | written(result.extra)


def _write_media(media: Media) -> dict[str, object]:
    if media.url is not None:
        source = {"type": "url", "url": media.url}
    elif media.media_type == PLAIN:
        source = {"type": "text", "media_type": PLAIN, "data": find_text(media.data or "") or ""}
    else:
        source = {"type": "base64", "media_type": media.media_type or PDF, "data": media.data or ""}
    wire: dict[str, object] = {"type": "image" if media.kind == "image" else "document", "source": source}
    if media.name is not None:
        wire["title"] = media.name
    return wire


def find_text(data: str) -> str | None:
    """The text that base64 holds; None if it is none."""
    try:
        return base64.b64decode(data).decode()
    except (binascii.Error, ValueError):
        return None
