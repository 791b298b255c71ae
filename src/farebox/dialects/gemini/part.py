"""One part of a content ↔ Part. (Google's reference, Part.)

What is not understood in whole stays whole: an Opaque goes home as it was written and is refused by name elsewhere. A
signature that another provider's words carry here was sealed by our writer; Google's clients decode signatures, and
encode them again in the alphabet for addresses, so a seal is looked for in both.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final

import msgspec

from farebox.dialects.conversation import (
    Media,
    MediaKind,
    Members,
    Opaque,
    Part,
    Text,
    Thought,
    ToolCall,
    ToolResult,
)
from farebox.dialects.gemini.calls import Calls
from farebox.dialects.gemini.rules import is_public
from farebox.dialects.members import FLAG, RAW, TEXT, Fields, written
from farebox.dialects.seal import seal, unseal
from farebox.dialects.splice import UNREADABLE

NAME: Final = "gemini"
SIGNATURE: Final = "thoughtSignature"
# What a part may hold; it holds one of them.
DATA: Final = (
    "text",
    "functionCall",
    "functionResponse",
    "inlineData",
    "fileData",
    "executableCode",
    "codeExecutionResult",
    "toolCall",
    "toolResponse",
)
_KINDS: Final[dict[str, MediaKind]] = {"image": "image", "audio": "audio", "video": "video"}
_STANDARD = str.maketrans("-_", "+/")
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Words(msgspec.Struct, forbid_unknown_fields=True):
    """What most parts are."""

    text: str


_words = msgspec.json.Decoder(Words)


def read_signature(text: str) -> tuple[str, str | None]:
    """A signature, and who can read it; None: nobody said."""
    found = unseal(text.translate(_STANDARD))
    return (text, NAME) if found is None else (found[0], found[1] or None)


def write_signature(thought: Thought) -> str | None:
    """A thought's signature, sealed where it is another provider's."""
    if thought.signature is None or thought.signed_by == NAME:
        return thought.signature
    return seal(thought.signature, thought.signed_by or "")


def as_object(text: str) -> str:
    """JSON text of an object, which is all that Google calls arguments: any other text is its member `_raw`."""
    if not text or text.isspace():
        return "{}"
    return text if is_object(text) else msgspec.json.encode({"_raw": text}).decode()


def is_object(text: str) -> bool:
    """Whether a text is a JSON object, whole."""
    try:
        _object.decode(text)
    except UNREADABLE:
        return False
    return True


def compact(raw: msgspec.Raw) -> str:
    """JSON text without white space: Google's plain replies are full of it, and elsewhere it costs tokens."""
    return msgspec.json.format(bytes(raw), indent=-1).decode()


def kind_of(media_type: str | None) -> MediaKind:
    """What a media type is to us."""
    return _KINDS.get((media_type or "").partition("/")[0], "file")


def read_part(raw: msgspec.Raw, path: str, calls: Calls) -> Part:
    """One part of a request; an Opaque where it is not understood in whole."""
    with suppress(*UNREADABLE):
        return Text(_words.decode(raw).text)
    fields = Fields(raw, path)
    held = [name for name, value in fields.left() if name in DATA and value != b"null"]
    thought = fields.take("thought", FLAG) is True
    part: Part | None = None
    if thought and held in ([], ["text"]):
        part = _read_thought(fields)
    elif not thought and len(held) == 1 and held[0] in _READERS:
        part = _READERS[held[0]](fields, calls)
    kind = held[0] if held else "thought"
    return part or Opaque(NAME, f"{path}.{kind}", "parts", bytes(raw))


def _read_thought(fields: Fields) -> Part:
    text, signature = fields.take("text", TEXT), fields.take(SIGNATURE, TEXT)
    signature, signed_by = (None, None) if signature is None else read_signature(signature)
    redacted = text is None and signature is not None
    return Thought(text or "", signature, redacted, signed_by, extra=fields.left())


def _native(fields: Fields) -> str | None:
    """A signature of Google's; a seal has no meaning on anything but a thought."""
    signature = fields.take(SIGNATURE, TEXT)
    return None if signature is None or read_signature(signature)[1] != NAME else signature


def _read_text(fields: Fields, calls: Calls) -> Part:
    del calls
    return Text(fields.need("text", TEXT), signature=_native(fields), extra=fields.left())


def _read_call(fields: Fields, calls: Calls) -> Part | None:
    inner = fields.open("functionCall")
    if inner is None:
        return None
    call_id, name = inner.take("id", TEXT), inner.need("name", TEXT)
    arguments = inner.take("args", RAW)
    if not inner.exhausted:
        return None
    text = "{}" if arguments is None else compact(arguments)
    return ToolCall(calls.asked(call_id, name), name, text, _native(fields), extra=fields.left())


def _read_result(fields: Fields, calls: Calls) -> Part | None:
    inner = fields.open("functionResponse")
    if inner is None or not fields.exhausted:
        return None
    given, name, response = inner.take("id", TEXT), inner.need("name", TEXT), inner.take("response", RAW)
    shown = [
        read_part(raw, f"{inner.path}.parts[{at}]", calls) for at, raw in enumerate(listed(inner, "parts"))
    ]
    if not all(isinstance(part, Media) for part in shown):
        return None
    call_id, known = calls.answered(given, name)
    own: Members = () if known else (("name", msgspec.json.encode(name)),)
    said = () if response is None else (Text(compact(response)),)
    failed = response is not None and list(_members_of(response)) == ["error"]
    return ToolResult(call_id, (*said, *shown), failed, extra=(*own, *inner.left()))


def _read_inline(fields: Fields, calls: Calls) -> Part | None:
    del calls
    inner = fields.open("inlineData")
    if inner is None:
        return None
    media_type, data, name = (
        inner.take("mimeType", TEXT),
        inner.need("data", TEXT),
        inner.take("displayName", TEXT),
    )
    if not inner.exhausted:
        return None
    return Media(kind_of(media_type), data=data, media_type=media_type, name=name, extra=fields.left())


def _read_file(fields: Fields, calls: Calls) -> Part | None:
    del calls
    inner = fields.open("fileData")
    if inner is None:
        return None
    media_type, uri, name = (
        inner.take("mimeType", TEXT),
        inner.need("fileUri", TEXT),
        inner.take("displayName", TEXT),
    )
    if not inner.exhausted or not is_public(uri):
        return None
    return Media(kind_of(media_type), url=uri, media_type=media_type, name=name, extra=fields.left())


_READERS: dict[str, Callable[[Fields, Calls], Part | None]] = {
    "text": _read_text,
    "functionCall": _read_call,
    "functionResponse": _read_result,
    "inlineData": _read_inline,
    "fileData": _read_file,
}


def listed(fields: Fields, name: str) -> list[msgspec.Raw]:
    """A member that is a list, or the one thing that it would hold, as Google's parser takes it."""
    raw = fields.take(name, RAW)
    if raw is None:
        return []
    return msgspec.json.decode(raw, type=list[msgspec.Raw]) if bytes(raw).startswith(b"[") else [raw]


def _members_of(raw: msgspec.Raw) -> dict[str, msgspec.Raw]:
    try:
        return _object.decode(raw)
    except UNREADABLE:
        return {}


def write_part(part: Part, names: dict[str, str]) -> object:
    """One part; `names` has the function of every call by its id."""
    match part:
        case Text():
            return {"text": part.text} | _signed(part.signature) | written(part.extra)
        case Thought():
            said: dict[str, object] = {} if part.redacted else {"text": part.text}
            return said | {"thought": True} | _signed(write_signature(part)) | written(part.extra)
        case ToolCall():
            call = {"name": part.name, "args": msgspec.Raw(part.arguments.encode())}
            return (
                {"functionCall": Calls.named(part.id) | call} | _signed(part.signature) | written(part.extra)
            )
        case Media():
            return write_media(part) | written(part.extra)
        case ToolResult():
            return {"functionResponse": _write_result(part, names)}
        case Opaque():
            return msgspec.Raw(part.raw)


def write_media(media: Media) -> dict[str, object]:
    """Media by their address, or as they are."""
    inside: dict[str, object] = {} if media.media_type is None else {"mimeType": media.media_type}
    if media.name is not None:
        inside["displayName"] = media.name
    if media.data is None:
        return {"fileData": inside | {"fileUri": media.url}}
    return {"inlineData": inside | {"data": media.data}}


def _write_result(result: ToolResult, names: dict[str, str]) -> dict[str, object]:
    wire = Calls.named(result.call_id) | {"name": names.get(result.call_id, "")}
    shown = []
    for part in result.parts:
        if isinstance(part, Text):
            wire["response"] = msgspec.Raw(part.text.encode())
        else:
            shown.append(write_part(part, names))
    return wire | ({"parts": shown} if shown else {}) | written(result.extra)


def _signed(signature: str | None) -> dict[str, object]:
    return {} if signature is None else {SIGNATURE: signature}
