"""Parts of a reply → items of its output.

Words are a message of one part; a thought is a reasoning item whose summary is its text and whose encrypted content is
its signature: as it came where a provider of this language gave it, under seal where another did.
"""

from __future__ import annotations

import msgspec

from farebox.dialects.conversation import Media, Members, Opaque, Part, Text, Thought, ToolCall, ToolResult
from farebox.dialects.openai_responses.content import CONTENT, NAME
from farebox.dialects.seal import seal, seal_id

IN_PROGRESS, DONE = "in_progress", "completed"
_encode = msgspec.json.encode
_raws = msgspec.json.Decoder(list[msgspec.Raw])
_EMPTY_LIST = msgspec.Raw(b"[]")
# Further members of a call that this language knows.
_CALLS_OWN = frozenset({"namespace", "caller"})


class _UrlCitation(msgspec.Struct, tag_field="type", tag="url_citation"):
    url: str
    title: str
    start_index: int
    end_index: int


class _FileCitation(msgspec.Struct, tag_field="type", tag="file_citation"):
    file_id: str
    filename: str
    index: int


class _ContainerCitation(msgspec.Struct, tag_field="type", tag="container_file_citation"):
    container_id: str
    file_id: str
    filename: str
    start_index: int
    end_index: int


class _FilePath(msgspec.Struct, tag_field="type", tag="file_path"):
    file_id: str
    index: int


_annotations: msgspec.json.Decoder[list[_UrlCitation | _FileCitation | _ContainerCitation | _FilePath]] = (
    msgspec.json.Decoder(list[_UrlCitation | _FileCitation | _ContainerCitation | _FilePath])
)


def item_id(part: Part, suffix: str) -> str | None:
    """What the item of a part is called; None where a part has no item in this language."""
    match part:
        case Text():
            return f"msg_{suffix}"
        case Thought():
            return f"rs_{suffix}"
        case ToolCall():
            return f"fc_{suffix}"
        case Media(kind="image", data=str()):
            return f"ig_{suffix}"
        case Opaque(dialect="openai_responses"):
            return suffix
        case Media() | Opaque():
            return None  # Another language's ornament of an answer: there is no word for it here.
        case ToolResult():
            raise AssertionError("a reply holds no tool results")


def write_item(part: Part, name: str, status: str) -> bytes:
    """One item; in progress it holds no words yet."""
    match part:
        case Text():
            content = [] if status == IN_PROGRESS else [msgspec.Raw(write_text(part))]
            wire = _headed(name, "message", status) | {"content": content, "role": "assistant"}
            return _line(wire | _chosen(part.extra, frozenset({"phase"})))
        case Thought():
            return _line(_write_thought(part, name, status))
        case ToolCall():
            call_id = part.id if part.signature is None else seal_id(part.id, part.signature)
            wire = _headed(name, "function_call", status)
            wire |= {"arguments": part.arguments, "call_id": call_id, "name": part.name}
            return _line(wire | _chosen(part.extra, _CALLS_OWN))
        case Media():
            result = None if status == IN_PROGRESS else part.data
            return _line(_headed(name, "image_generation_call", status) | {"result": result})
        case Opaque():
            return _line(msgspec.Raw(part.raw))
        case ToolResult():
            raise AssertionError("a reply holds no tool results")


def write_text(text: Text) -> bytes:
    """The one part of a message."""
    if text.refusal:
        return _encode({"type": "refusal", "refusal": text.text})
    wire: dict[str, object] = {"type": "output_text", "annotations": _EMPTY_LIST, "logprobs": _EMPTY_LIST}
    return _line(wire | _chosen(text.extra, frozenset({"annotations", "logprobs"})) | {"text": text.text})


def annotations_of(text: Text) -> list[bytes]:
    """The sources of a text, as they will stand in it."""
    raw = _chosen(text.extra, frozenset({"annotations"})).get("annotations")
    return [] if raw is None or text.refusal else [_line(one) for one in _raws.decode(raw)]


def _write_thought(thought: Thought, name: str, status: str) -> dict[str, object]:
    wire: dict[str, object] = {"id": name, "type": "reasoning", "summary": []}
    if thought.text and thought.member == CONTENT:
        wire["content"] = [{"type": "reasoning_text", "text": thought.text}]
    elif thought.text:
        wire["summary"] = [{"type": "summary_text", "text": thought.text}]
    signature, by = thought.signature, thought.signed_by
    if signature is not None and status == DONE:
        wire["encrypted_content"] = signature if by == NAME or by is None else seal(signature, by)
    return wire


def _headed(name: str, kind: str, status: str) -> dict[str, object]:
    return {"id": name, "type": kind, "status": status}


def _chosen(extra: Members, names: frozenset[str]) -> dict[str, msgspec.Raw]:
    """Those further members that this language has, too. Other languages have other sources under the same name."""
    return {name: msgspec.Raw(raw) for name, raw in extra if name in names and _is_right(name, raw)}


def _is_right(name: str, raw: bytes) -> bool:
    if name != "annotations":
        return True
    try:
        _annotations.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _line(value: object) -> bytes:
    """JSON on one line: what goes home as written may hold line ends, and one would end the event's data."""
    text = _encode(value)
    return msgspec.json.format(text, indent=-1) if b"\n" in text or b"\r" in text else text
