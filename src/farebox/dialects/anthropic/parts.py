"""Turns and parts from elsewhere, as Anthropic takes them: `fit` has the rules."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Final

import msgspec
from msgspec.structs import replace

from farebox.core.errors import Fault, Kind
from farebox.dialects.anthropic.block import NAME, PDF, PLAIN, RAW_INPUT, find_text, write_input
from farebox.dialects.conversation import (
    CacheMark,
    Media,
    Opaque,
    Part,
    Prompt,
    Text,
    Thought,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
)
from farebox.dialects.nesting import check_nesting

MARKS_MOST: Final = 4  # Anthropic, "Prompt caching": breakpoints in one request.
START: Final = "(start)"
_ID = re.compile(r"[a-zA-Z0-9_-]{1,128}")  # Anthropic's pattern for a call's id.
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")  # And for a tool's name.
_ADDRESS = re.compile(r"https?://", re.IGNORECASE)
# What the base64 of a file begins with: the file's own first bytes tell its type, whatever its sender says.
_BEGINNINGS = {
    "iVBORw0KGgo": "image/png",
    "/9j/": "image/jpeg",
    "R0lGOD": "image/gif",
    "UklGR": "image/webp",
    "JVBERi": PDF,
}
_IMAGES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
_SPELLINGS = {"image/jpg": "image/jpeg"}


class Fitting:
    """What is known while one prompt is fitted: what was lost, and how many cache marks are too many."""

    def __init__(self, prompt: Prompt) -> None:
        self.dropped = list(prompt.dropped)
        self._surplus = max(sum(mark is not None for mark in _marks(prompt)) - MARKS_MOST, 0)

    def mark(self, mark: CacheMark | None) -> CacheMark | None:
        """A mark in our words; those nearest the beginning go where there are too many."""
        if mark is None:
            return None
        if self._surplus:
            self._surplus -= 1
            self.dropped.append("cache_control")
            return None
        return CacheMark(mark.ttl_s)


def _marks(prompt: Prompt) -> Iterator[CacheMark | None]:
    for tool in prompt.tools:
        if isinstance(tool, Tool):
            yield tool.mark
    for turn in prompt.turns:
        for part in turn.parts:
            if isinstance(part, ToolCall | ToolResult | Media) or (isinstance(part, Text) and _says(part)):
                yield part.mark


def fit_turns(turns: Sequence[Turn], fitting: Fitting) -> tuple[Turn, ...]:
    """The system's turns, then user and assistant by turns."""
    system = [_fit_system(turn, fitting) for turn in turns if turn.role == "system"]
    talk = _merged([_fit_turn(turn, fitting) for turn in turns if turn.role != "system"])
    if talk and talk[-1].role == "assistant":
        talk = _trimmed(talk)
    if not talk or talk[0].role != "user":
        talk = [Turn("user", (Text(START),)), *talk]
    return (*(turn for turn in system if turn.parts), *_paired(talk))


def check_name(name: str) -> None:
    """Fault BAD_REQUEST if Anthropic knows no tool of this name."""
    if not _TOOL_NAME.fullmatch(name):
        raise _unsayable(
            name or "name", "its tools have names of letters, digits, _ and - alone, 128 at most"
        )


def thought_of_last_calls(turns: Sequence[Turn]) -> bool:
    """Whether the assistant's last turn, if it calls tools, begins with the thought that led to it."""
    last = next((turn for turn in reversed(turns) if turn.role == "assistant"), None)
    if last is None or not any(isinstance(part, ToolCall) for part in last.parts):
        return True
    return isinstance(last.parts[0], Thought)


def _fit_system(turn: Turn, fitting: Fitting) -> Turn:
    parts: list[Part] = []
    for part in turn.parts:
        if not isinstance(part, Text):
            raise _unsayable("system", "its provider takes nothing but words there")
        parts += _fit_text(part, fitting)
    return _turn(turn, parts, fitting)


def _fit_turn(turn: Turn, fitting: Fitting) -> Turn:
    parts: list[Part] = []
    for part in turn.parts:
        match part:
            case Text():
                parts += _fit_text(part, fitting)
            case Thought():
                parts += _fit_thought(part, turn, fitting)
            case ToolCall():
                parts.append(_fit_call(part, fitting))
            case ToolResult():
                parts.append(_fit_result(part, fitting))
            case Media():
                if turn.role == "assistant":
                    raise _unsayable(part.kind, "its provider takes no media in the assistant's turns")
                parts.append(replace(_fit_media(part, fitting), mark=fitting.mark(part.mark)))
            case Opaque():
                parts.append(part)
    return _turn(turn, parts, fitting)


def _turn(turn: Turn, parts: Sequence[Part], fitting: Fitting) -> Turn:
    if turn.name is not None:
        fitting.dropped.append("name")
    return Turn(turn.role, tuple(parts))


def _says(text: Text) -> bool:
    """Anthropic refuses words of white space alone."""
    return bool(text.text) and not text.text.isspace()


def _fit_text(text: Text, fitting: Fitting) -> list[Part]:
    return [Text(text.text, mark=fitting.mark(text.mark))] if _says(text) else []


def _fit_thought(thought: Thought, turn: Turn, fitting: Fitting) -> list[Part]:
    if thought.signature and thought.signed_by == NAME and turn.role == "assistant":
        return [replace(thought, member=None)]
    fitting.dropped.append("thinking")
    return []


def _fit_call(call: ToolCall, fitting: Fitting) -> ToolCall:
    check_name(call.name)
    try:
        check_nesting(call.arguments.encode())
        arguments = bytes(write_input(call.arguments)).decode()
    except Fault:
        arguments = msgspec.json.encode({RAW_INPUT: call.arguments}).decode()
    return ToolCall(call.id, call.name, arguments, mark=fitting.mark(call.mark))


def _fit_result(result: ToolResult, fitting: Fitting) -> ToolResult:
    parts: list[Part] = []
    for part in result.parts:
        if isinstance(part, Text | Media) and part.mark is not None:
            fitting.dropped.append("cache_control")
        if isinstance(part, Text):
            parts += [Text(part.text)] if _says(part) else []
        elif isinstance(part, Media):
            parts.append(replace(_fit_media(part, fitting), mark=None))
    return ToolResult(result.call_id, tuple(parts), result.failed, mark=fitting.mark(result.mark))


def _fit_media(media: Media, fitting: Fitting) -> Media:
    if media.kind in ("audio", "video"):
        raise _unsayable(media.kind, f"{media.kind} has no word in its provider's language")
    if media.detail not in (None, "auto"):
        fitting.dropped.append("detail")
    if media.data is None:
        if not _ADDRESS.match(media.url or ""):
            raise _unsayable("url", "an address must begin with https://, and data be base64 of a named type")
        return Media(media.kind, media.url, name=media.name if media.kind == "file" else None)
    media_type = media.media_type and media.media_type.partition(";")[0].strip().lower()
    media_type = _SPELLINGS.get(media_type or "", media_type)
    told = next((kind for begin, kind in _BEGINNINGS.items() if media.data.startswith(begin)), media_type)
    if told in _IMAGES:
        return Media("image", data=media.data, media_type=told)
    if media.kind == "image":
        raise _unsayable(
            "image", f"its provider takes PNG, JPEG, GIF and WebP, and no {told or 'unknown type'}"
        )
    if told == PDF:
        return Media("file", data=media.data, media_type=PDF, name=media.name)
    text = find_text(media.data) if told is not None and told.startswith("text/") else None
    if not text:
        raise _unsayable(
            "file", f"its provider takes documents of PDF and text, and no {told or 'unknown type'}"
        )
    return Media("file", data=base64.b64encode(text.encode()).decode(), media_type=PLAIN, name=media.name)


def _merged(turns: Iterable[Turn]) -> list[Turn]:
    """The turns that say something, those of one side that follow each other as one; tool results first."""
    merged: list[tuple[Turn, list[Part]]] = []
    for turn in turns:
        if not turn.parts:
            continue
        if merged and merged[-1][0].role == turn.role:
            merged[-1][1].extend(turn.parts)
        else:
            merged.append((turn, list(turn.parts)))
    return [
        Turn(turn.role, tuple(sorted(parts, key=lambda part: not isinstance(part, ToolResult))))
        for turn, parts in merged
    ]


def _trimmed(talk: list[Turn]) -> list[Turn]:
    """Without white space at the end of an answer that was begun, which Anthropic refuses."""
    *earlier, last = talk
    text = last.parts[-1]
    if isinstance(text, Text):
        last = replace(last, parts=(*last.parts[:-1], replace(text, text=text.text.rstrip())))
    return [*earlier, last]


def _paired(talk: Sequence[Turn]) -> Iterator[Turn]:
    """The turns with ids that Anthropic takes; each call is answered in the turn behind it, and no call twice."""
    used: set[str] = set()
    pending: dict[str, list[str]] = {}
    for turn in talk:
        if turn.role == "assistant":
            pending = {}
        parts: list[Part] = []
        for part in turn.parts:
            match part:
                case ToolCall():
                    call_id = _free(part.id, used)
                    pending.setdefault(part.id, []).append(call_id)
                    parts.append(replace(part, id=call_id))
                case ToolResult():
                    found = pending.get(part.call_id)
                    if not found:
                        raise _unpaired(part.call_id, "is answered, but the turn before holds no such call")
                    parts.append(replace(part, call_id=found.pop(0)))
                case Text() | Media() | Thought() | Opaque():
                    parts.append(part)
        if turn.role == "user":
            _check_answered(pending)
            pending = {}
        yield replace(turn, parts=tuple(parts))
    _check_answered(pending)


def _check_answered(pending: dict[str, list[str]]) -> None:
    for call_id, left in pending.items():
        if left:
            raise _unpaired(call_id, "is the id of a tool call that nothing answers")


def _free(call_id: str, used: set[str]) -> str:
    """An id for a call, in Anthropic's letters and unlike those before it."""
    known = call_id if _ID.fullmatch(call_id) else f"call_{sha256(call_id.encode()).hexdigest()[:48]}"
    free, number = known, 1
    while free in used:
        number += 1
        free = f"{known[:100]}_{number}"
    used.add(free)
    return free


def _unsayable(name: str, reason: str) -> Fault:
    return Fault(
        Kind.BAD_REQUEST,
        f"{name} cannot be passed on to this model: {reason}. Leave it out, or choose another model.",
        param=name,
    )


def _unpaired(call_id: str, reason: str) -> Fault:
    return Fault(Kind.BAD_REQUEST, f"{call_id!r} {reason}.", param=call_id or "tool_call_id")
