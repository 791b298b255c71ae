"""The content of messages, of tools' outputs and of thoughts ↔ parts.

What is not understood in whole stays whole: an Opaque, which goes home as it was written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import msgspec

from farebox.dialects.conversation import (
    CacheMark,
    Media,
    Members,
    Opaque,
    Part,
    Text,
    Thought,
    ToolCall,
    ToolResult,
)
from farebox.dialects.members import RAW, TEXT, Fields, written
from farebox.dialects.seal import unseal

NAME = "openai_responses"
CONTENT = "content"  # Where an opaque part stood, and what a thought was called that is no summary.
_MARK = "prompt_cache_breakpoint"
_EXPLICIT = msgspec.Raw(b'{"mode":"explicit"}')
_DATA_URL = re.compile(r"data:([^;,]+);base64,")
_AUDIO_TYPES = {"mp3": "audio/mpeg", "wav": "audio/wav"}
_AUDIO_NAMES = {media_type: name for name, media_type in _AUDIO_TYPES.items()}
_text_or_list: msgspec.json.Decoder[str | list[msgspec.Raw]] = msgspec.json.Decoder(str | list[msgspec.Raw])


class _Piece(msgspec.Struct, forbid_unknown_fields=True):
    """A piece of a thought."""

    type: str
    text: str


_pieces = msgspec.json.Decoder(list[_Piece])
_loose_pieces = msgspec.json.Decoder(list[dict[str, object]])


def read_content(fields: Fields, member: str, *, by_model: bool) -> tuple[tuple[Part, ...], bool]:
    """A text or a list of parts, and whether it was a list."""
    content = fields.take(member, _text_or_list)
    if content is None:
        return (), False
    if isinstance(content, str):
        return (Text(content),), False
    kinds = _MODELS if by_model else _CALLERS
    return tuple(_read_part(raw, f"{fields.at(member)}[{at}]", kinds) for at, raw in enumerate(content)), True


def write_content(parts: Sequence[Part], *, by_model: bool, listed: bool) -> object:
    """The content of a message or an output: a single text as text, unless it was a list."""
    if not listed and not parts:
        return ""
    if not listed and len(parts) == 1 and isinstance(parts[0], Text) and not parts[0].refusal:
        return parts[0].text
    return [_write_part(part, by_model=by_model) for part in parts]


def read_thought(fields: Fields) -> Thought:
    """A reasoning item: its summary, or where there is none its text, and its encrypted content."""
    summary, content = fields.take("summary", RAW), fields.take(CONTENT, RAW)
    encrypted = fields.take("encrypted_content", TEXT) or None
    signature, signed_by = (encrypted, NAME) if encrypted else (None, None)
    sealed = unseal(encrypted) if encrypted else None
    if sealed is not None:
        signature, signed_by = sealed
    extra: Members = fields.left()
    said, thought = _pieces_of(summary, "summary_text"), _pieces_of(content, "reasoning_text")
    member, text = None, _joined(summary)
    if not text and _joined(content):
        member, text = CONTENT, _joined(content)
        if thought is None:
            extra += _kept(CONTENT, content)
        extra += _kept("summary", summary)
    else:
        if said is None:
            extra += _kept("summary", summary)
        extra += _kept(CONTENT, content)
    return Thought(text, signature, bool(signature) and not text, signed_by, member, extra)


def write_thought(thought: Thought) -> dict[str, object]:
    """A reasoning item for a provider, which takes it for its encrypted content alone."""
    wire: dict[str, object] = {"type": "reasoning", "summary": []}
    if thought.text and thought.member == CONTENT:
        wire[CONTENT] = [{"type": "reasoning_text", "text": thought.text}]
    elif thought.text:
        wire["summary"] = [{"type": "summary_text", "text": thought.text}]
    wire["encrypted_content"] = thought.signature
    return wire | written(thought.extra)


def split_data_url(url: str) -> tuple[str | None, str | None]:
    """The media type and the base64 of a data URL in its plain form; of any other, nothing."""
    found = _DATA_URL.match(url)
    return (found[1], url[found.end() :]) if found else (None, None)


def _pieces_of(raw: msgspec.Raw | None, kind: str) -> list[str] | None:
    """The texts of a list that its joined text says in whole: none, or one piece of the usual form."""
    try:
        found = _pieces.decode(raw) if raw is not None else []
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    usual = len(found) <= 1 and all(piece.type == kind for piece in found)
    return [piece.text for piece in found] if usual else None


def _joined(raw: msgspec.Raw | None) -> str:
    try:
        found = _loose_pieces.decode(raw) if raw is not None else []
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    return "\n\n".join(text for piece in found if isinstance(text := piece.get("text"), str))


def _kept(name: str, raw: msgspec.Raw | None) -> Members:
    """A list as it was written, where it says something."""
    return () if raw is None or bytes(raw).translate(None, b" \t\r\n") == b"[]" else ((name, bytes(raw)),)


def _read_part(raw: msgspec.Raw, path: str, kinds: dict[str, Callable[[Fields], Part | None]]) -> Part:
    fields = Fields(raw, path)
    kind = fields.need("type", TEXT)
    part = kinds[kind](fields) if kind in kinds else None
    return part or Opaque(NAME, f"{path}.type", CONTENT, bytes(raw))


def _read_text(fields: Fields) -> Part:
    return Text(fields.need("text", TEXT), mark=_read_mark(fields), extra=fields.left())


def _read_refusal(fields: Fields) -> Part:
    return Text(fields.need("refusal", TEXT), refusal=True, extra=fields.left())


def _read_image(fields: Fields) -> Part | None:
    url, detail = fields.take("image_url", TEXT), fields.take("detail", TEXT)
    if url is None:
        return None
    media_type, data = split_data_url(url)
    address = None if data else url
    return Media(
        "image", address, data or None, media_type, detail, mark=_read_mark(fields), extra=fields.left()
    )


def _read_file(fields: Fields) -> Part | None:
    text, url = fields.take("file_data", TEXT), fields.take("file_url", TEXT)
    name, detail = fields.take("filename", TEXT), fields.take("detail", TEXT)
    if (text is None) == (url is None):
        return None
    media_type, data = split_data_url(text or "")
    return Media(
        "file", url, data or text, media_type, detail, name, mark=_read_mark(fields), extra=fields.left()
    )


def _read_audio(fields: Fields) -> Part | None:
    inside = fields.open("input_audio")
    if inside is None:
        return None
    data, name = inside.need("data", TEXT), inside.need("format", TEXT)
    media_type = _AUDIO_TYPES.get(name, f"audio/{name}")
    if not inside.exhausted or _audio_name(media_type) != name:
        return None
    return Media("audio", data=data, media_type=media_type, mark=_read_mark(fields), extra=fields.left())


_MODELS: dict[str, Callable[[Fields], Part | None]] = {"output_text": _read_text, "refusal": _read_refusal}
_CALLERS: dict[str, Callable[[Fields], Part | None]] = {
    "input_text": _read_text,
    "input_image": _read_image,
    "input_file": _read_file,
    "input_audio": _read_audio,
}


def _read_mark(fields: Fields) -> CacheMark | None:
    raw = fields.take(_MARK, RAW)
    return None if raw is None else CacheMark(None, ((_MARK, bytes(raw)),))


def _write_mark(mark: CacheMark | None) -> dict[str, msgspec.Raw]:
    if mark is None:
        return {}
    return written(mark.native) if mark.native else {_MARK: _EXPLICIT}


def _write_part(part: Part, *, by_model: bool) -> object:
    match part:
        case Text(refusal=True):
            return {"type": "refusal", "refusal": part.text} | written(part.extra)
        case Text():
            wire = {"type": "output_text" if by_model else "input_text", "text": part.text}
            return wire | _write_mark(part.mark) | written(part.extra)
        case Media():
            return _write_media(part) | _write_mark(part.mark) | written(part.extra)
        case Opaque():
            return msgspec.Raw(part.raw)
        case ToolCall() | ToolResult() | Thought():
            raise AssertionError("calls, results and thoughts are items of their own")


def _write_media(media: Media) -> dict[str, object]:
    address = media.url
    if address is None:
        address = f"data:{media.media_type};base64,{media.data}" if media.media_type else f"{media.data}"
    detail: dict[str, object] = {} if media.detail is None else {"detail": media.detail}
    match media.kind:
        case "image":
            return {"type": "input_image", "image_url": address} | detail
        case "file":
            named: dict[str, object] = {} if media.name is None else {"filename": media.name}
            where = "file_data" if media.url is None else "file_url"
            return {"type": "input_file", where: address} | named | detail
        case "audio":
            sound = {"data": media.data, "format": _audio_name(media.media_type or "")}
            return {"type": "input_audio", "input_audio": sound}
        case "video":
            raise AssertionError("a film was refused")


def _audio_name(media_type: str) -> str:
    return _AUDIO_NAMES.get(media_type) or media_type.removeprefix("audio/")
