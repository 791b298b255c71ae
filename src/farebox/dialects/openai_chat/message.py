"""One message of a chat completion ↔ Turn, with its content parts and tool calls.

What is not understood in whole stays whole: an unknown part, call or role becomes an Opaque, which goes home as it was
written and is refused by name elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

import msgspec

from farebox.dialects.conversation import (
    CacheMark,
    Media,
    MediaKind,
    Opaque,
    Part,
    Role,
    Text,
    Thought,
    ToolCall,
    ToolResult,
    Turn,
)
from farebox.dialects.members import RAW, TEXT, Fields, written
from farebox.dialects.openai_chat.thought import (
    DETAILS,
    NAME,
    read_detail,
    read_thinking,
    write_detail,
    write_thinking,
)
from farebox.dialects.seal import unseal_id
from farebox.dialects.splice import UNREADABLE

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "user",
}
_MARKS = (
    "cache_control",
    "prompt_cache_breakpoint",
)  # OpenRouter's word, which is Anthropic's, and OpenAI's.
_EPHEMERAL = msgspec.Raw(b'{"type":"ephemeral"}')
_TTLS_S = {"5m": 300, "1h": 3600}
_DATA_URL = re.compile(r"data:([^;,]+);base64,")
_AUDIO_TYPES = {"mp3": "audio/mpeg", "wav": "audio/wav"}
_AUDIO_NAMES = {media_type: name for name, media_type in _AUDIO_TYPES.items()}


class _Google(msgspec.Struct, forbid_unknown_fields=True):
    thought_signature: str


class _ExtraContent(msgspec.Struct, forbid_unknown_fields=True):
    """Where Google's chat surface puts the signature of a tool call."""

    google: _Google


_text_or_list: msgspec.json.Decoder[str | list[msgspec.Raw]] = msgspec.json.Decoder(str | list[msgspec.Raw])
_extra_content = msgspec.json.Decoder(_ExtraContent)


def read_message(raw: msgspec.Raw, path: str) -> Turn:
    """One entry of `messages`; Fault BAD_REQUEST names a member of the wrong shape."""
    fields = Fields(raw, path)
    word = fields.need("role", TEXT)
    if word not in _ROLES:
        return Turn("user", (Opaque(NAME, f"{path}.role", "message", bytes(raw)),))
    name = fields.take("name", TEXT)
    parts, listed = _read_content(fields)
    if word == "tool":
        call_id, _ = unseal_id(fields.need("tool_call_id", TEXT))
        result = ToolResult(call_id, parts, listed=listed)
        return Turn("user", (result,), name, extra=fields.left())
    if word == "assistant":
        parts = (*_read_thoughts(fields), *parts, *_read_refusal_beside(fields, listed), *_read_calls(fields))
    role = _ROLES[word]
    return Turn(role, parts, name, None if word == role else word, listed, fields.left())


def write_messages(turn: Turn) -> Iterator[object]:
    """The messages that say one turn: each tool result is one of its own, and stands before the rest."""
    rest: list[Part] = []
    for part in turn.parts:
        match part:
            case ToolResult():
                yield _write_result(part, turn)
            case Opaque(place="message"):
                yield msgspec.Raw(part.raw)
            case Text() | Media() | ToolCall() | Thought() | Opaque():
                rest.append(part)
    if rest or not turn.parts:
        yield _write_message(turn, rest)


def read_call(raw: msgspec.Raw, path: str) -> ToolCall | Opaque:
    """One entry of `tool_calls`; a custom tool's is an Opaque."""
    fields = Fields(raw, path)
    kind, function = fields.take("type", TEXT) or "function", fields.open("function")
    if kind != "function" or function is None:
        return Opaque(NAME, f"{path}.type", "tool_calls", bytes(raw))
    name, arguments = function.need("name", TEXT), function.take("arguments", TEXT) or ""
    # What the helpers of openai-python send back inside a call they parsed: it says `arguments` once more.
    function.take("parsed_arguments", RAW)
    if not function.exhausted:
        return Opaque(NAME, f"{path}.function", "tool_calls", bytes(raw))
    call_id, signature = unseal_id(fields.need("id", TEXT))
    signed = fields.find("extra_content", _extra_content)
    if signed is not None:
        signature = signed.google.thought_signature
    return ToolCall(call_id, name, arguments, signature, read_mark(fields), fields.left())


def write_call(call: ToolCall) -> dict[str, object]:
    """One entry of `tool_calls`."""
    function = {"name": call.name, "arguments": call.arguments}
    wire: dict[str, object] = {"id": call.id, "type": "function", "function": function}
    if call.signature is not None:
        wire |= write_signature(call.signature)
    return wire | write_mark(call.mark) | written(call.extra)


def find_signature(extra_content: msgspec.Raw) -> str | None:
    """The signature of a tool call in Google's form; None in any other."""
    try:
        return _extra_content.decode(extra_content).google.thought_signature
    except UNREADABLE:
        return None


def write_signature(signature: str) -> dict[str, object]:
    """The member that holds the signature of a tool call."""
    return {"extra_content": {"google": {"thought_signature": signature}}}


def read_mark(fields: Fields) -> CacheMark | None:
    """The cache mark on any object that may carry one, and how long it is to last."""
    native = [(name, raw) for name in _MARKS if (raw := fields.take(name, RAW)) is not None]
    if not native:
        return None
    ttl = next((ttl for name, raw in native if (ttl := Fields(raw, fields.at(name)).find("ttl", TEXT))), "")
    return CacheMark(_TTLS_S.get(ttl), tuple((name, bytes(raw)) for name, raw in native))


def write_mark(mark: CacheMark | None) -> dict[str, msgspec.Raw]:
    """The members of a cache mark: as its origin wrote it, ours in the words that OpenRouter took from Anthropic."""
    if mark is None:
        return {}
    return written(mark.native) if mark.native else {_MARKS[0]: _EPHEMERAL}


def _read_content(fields: Fields) -> tuple[tuple[Part, ...], bool]:
    content = fields.take("content", _text_or_list)
    if content is None:
        return (), False
    if isinstance(content, str):
        return (Text(content),), False
    return tuple(read_part(raw, f"{fields.at('content')}[{at}]") for at, raw in enumerate(content)), True


def read_part(raw: msgspec.Raw, path: str) -> Part:
    """One content part; an Opaque where it is not understood in whole."""
    fields = Fields(raw, path)
    kind = fields.need("type", TEXT)
    part = _PARTS[kind](fields) if kind in _PARTS else None
    return part or Opaque(NAME, f"{path}.type", "content", bytes(raw))


def _read_text(fields: Fields) -> Part:
    return Text(fields.need("text", TEXT), mark=read_mark(fields), extra=fields.left())


def _read_refusal(fields: Fields) -> Part:
    return Text(fields.need("refusal", TEXT), refusal=True, mark=read_mark(fields), extra=fields.left())


def _read_address(fields: Fields, kind: MediaKind, member: str) -> Part | None:
    inside = fields.open(member)
    if inside is None:
        return None
    url, detail = inside.need("url", TEXT), inside.take("detail", TEXT)
    if not inside.exhausted:
        return None
    media_type, data = _split_data_url(url)
    address = None if data else url
    return Media(kind, address, data, media_type, detail, mark=read_mark(fields), extra=fields.left())


def _read_image(fields: Fields) -> Part | None:
    return _read_address(fields, "image", "image_url")


def _read_video(fields: Fields) -> Part | None:
    return _read_address(fields, "video", "video_url")


def _read_audio(fields: Fields) -> Part | None:
    inside = fields.open("input_audio")
    if inside is None:
        return None
    data, name = inside.need("data", TEXT), inside.need("format", TEXT)
    media_type = _AUDIO_TYPES.get(name, f"audio/{name}")
    if not inside.exhausted or _audio_name(media_type) != name:
        return None
    return Media("audio", data=data, media_type=media_type, mark=read_mark(fields), extra=fields.left())


def _read_file(fields: Fields) -> Part | None:
    inside = fields.open("file")
    if inside is None:
        return None
    text, name = inside.take("file_data", TEXT), inside.take("filename", TEXT)
    if text is None or not inside.exhausted:  # By its id, say: it is kept at the provider.
        return None
    media_type, data = _split_data_url(text)
    return Media(
        "file", None, data or text, media_type, name=name, mark=read_mark(fields), extra=fields.left()
    )


_PARTS: dict[str, Callable[[Fields], Part | None]] = {
    "text": _read_text,
    "refusal": _read_refusal,
    "image_url": _read_image,
    "video_url": _read_video,
    "input_audio": _read_audio,
    "file": _read_file,
    "thinking": read_thinking,
}


def _read_thoughts(fields: Fields) -> Sequence[Part]:
    details = fields.items(DETAILS)
    if details:
        # The same text also stands in `reasoning`; that copy goes home in `extra`.
        return [read_detail(raw, f"{fields.at(DETAILS)}[{at}]") for at, raw in enumerate(details)]
    for member in ("reasoning_content", "reasoning"):
        text = fields.find(member, TEXT)
        if text is not None:
            return (Thought(text, member=member),)
    return ()


def _read_refusal_beside(fields: Fields, listed: bool) -> Sequence[Part]:  # noqa: FBT001 -- a Turn's own word
    raw, path = fields.take("refusal", RAW), fields.at("refusal")
    if raw is None:
        return ()
    if listed:  # Parts say a refusal inside the content: where both are used, this one keeps its place.
        return (Opaque(NAME, path, "refusal", bytes(raw)),)
    return (Text(msgspec.json.decode(raw, type=str), refusal=True),)


def _read_calls(fields: Fields) -> Iterator[Part]:
    path = fields.at("tool_calls")
    for at, raw in enumerate(fields.items("tool_calls")):
        yield read_call(raw, f"{path}[{at}]")
    # The deprecated form of a call, and an answer in sound that the provider keeps.
    for member in ("function_call", "audio"):
        inside = fields.take(member, RAW)
        if inside is not None:
            yield Opaque(NAME, fields.at(member), member, bytes(inside))


def _write_result(result: ToolResult, turn: Turn) -> dict[str, object]:
    wire: dict[str, object] = {"role": "tool", "tool_call_id": result.call_id}
    if turn.name is not None:
        wire["name"] = turn.name
    wire["content"] = (
        _write_content(result.parts, listed=result.listed) if result.parts or result.listed else ""
    )
    return wire | write_mark(result.mark) | written(result.extra) | written(turn.extra)


class _Pieces:
    """A message's parts by the member that says them."""

    def __init__(self, parts: Sequence[Part], *, listed: bool) -> None:
        self.content: list[Part] = []
        self.calls: list[object] = []
        self.details: list[object] = []
        self.members: dict[str, object] = {}
        for part in parts:
            match part:
                case Text(refusal=True) if not listed:
                    self._grow("refusal", part.text)
                case Text() | Media() | Thought(member="thinking") | Opaque(place="content"):
                    self.content.append(part)
                case ToolCall():
                    self.calls.append(write_call(part))
                case Thought():
                    self._add_thought(part)
                case Opaque():
                    self._add_opaque(part)
                case ToolResult():
                    raise AssertionError("a tool result is a message of its own")

    def _grow(self, member: str, text: str) -> None:
        self.members[member] = f"{self.members.get(member, '')}{text}"

    def _add_thought(self, thought: Thought) -> None:
        if thought.signature is None and not (thought.member or "").startswith(DETAILS):
            self._grow(thought.member or "reasoning_content", thought.text)
        else:
            self.details.append(write_detail(thought))

    def _add_opaque(self, opaque: Opaque) -> None:
        lists = {"tool_calls": self.calls, DETAILS: self.details}
        if opaque.place in lists:
            lists[opaque.place].append(msgspec.Raw(opaque.raw))
        else:
            self.members[opaque.place] = msgspec.Raw(opaque.raw)


def _write_message(turn: Turn, parts: Sequence[Part]) -> dict[str, object]:
    pieces = _Pieces(parts, listed=turn.listed)
    wire: dict[str, object] = {"role": turn.native_role or turn.role}
    if turn.name is not None:
        wire["name"] = turn.name
    if pieces.content or turn.listed:
        wire["content"] = _write_content(pieces.content, listed=turn.listed)
    wire |= pieces.members
    if pieces.details:
        wire[DETAILS] = pieces.details
    if pieces.calls:
        wire["tool_calls"] = pieces.calls
    return wire | written(turn.extra)


def _write_content(parts: Sequence[Part], *, listed: bool) -> object:
    if not listed and len(parts) == 1 and isinstance(parts[0], Text) and parts[0].mark is None:
        return parts[0].text
    return [write_part(part) for part in parts]


def write_part(part: Part) -> object:
    """One content part."""
    match part:
        case Text():
            kind = "refusal" if part.refusal else "text"
            return {"type": kind, kind: part.text} | write_mark(part.mark) | written(part.extra)
        case Media():
            return _write_media(part) | write_mark(part.mark) | written(part.extra)
        case Thought():
            return write_thinking(part)
        case Opaque():
            return msgspec.Raw(part.raw)
        case ToolCall() | ToolResult():
            raise AssertionError("tool calls and results are no content parts")


def _write_media(media: Media) -> dict[str, object]:
    address = media.url
    if address is None:
        address = f"data:{media.media_type};base64,{media.data}" if media.media_type else f"{media.data}"
    match media.kind:
        case "image" | "video":
            inside = {"url": address} | ({} if media.detail is None else {"detail": media.detail})
            return {"type": f"{media.kind}_url", f"{media.kind}_url": inside}
        case "audio":
            sound = {"data": media.data, "format": _audio_name(media.media_type or "")}
            return {"type": "input_audio", "input_audio": sound}
        case "file":
            inside = {"file_data": address} | ({} if media.name is None else {"filename": media.name})
            return {"type": "file", "file": inside}


def _audio_name(media_type: str) -> str:
    return _AUDIO_NAMES.get(media_type) or media_type.removeprefix("audio/")


def _split_data_url(url: str) -> tuple[str | None, str | None]:
    """The media type and the base64 of a data URL in its plain form; a URL of any other form stays as it is."""
    found = _DATA_URL.match(url)
    return (found[1], url[found.end() :]) if found else (None, None)
