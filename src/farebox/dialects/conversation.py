"""The conversation between dialects: prompts, replies, and the events of which a reply is the fold.

A dialect reads its wire into these values and writes them back; no dialect knows another. Three rules keep the
silence out. What every dialect can say has a field. What only its origin can say goes home as it was written: a
harmless member in `extra`, a member that changes the answer in `bound`, a block in `Opaque`. And `abroad` decides
once, for all dialects, what happens to those three when the prompt leaves: listed in `dropped`, or refused by name.

A plain reply *is* the fold of its events (`fold(unfold(reply)) == reply`), so stream and plain are one path. Events
name parts by index; parts may grow interleaved. Every sequence ends in exactly one `Finished` or `Failed`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, TypeAlias

import msgspec
from msgspec.structs import replace

from farebox.core.errors import Fault, Kind
from farebox.core.usage import Usage

Members: TypeAlias = tuple[tuple[str, bytes], ...]  # JSON members as written: name → JSON text.
Role: TypeAlias = Literal["system", "user", "assistant"]
Reason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter", "refusal"]
MediaKind: TypeAlias = Literal["image", "audio", "video", "file"]


class CacheMark(msgspec.Struct, frozen=True):
    """Up to here the prompt may be kept in the provider's cache. A hint: dropped, never refused."""

    ttl_s: int | None = None
    native: Members = ()  # As its origin wrote it, for the way home.


class Text(msgspec.Struct, frozen=True, tag=True):
    """Words of either side."""

    text: str
    refusal: bool = False  # The model's words for declining; some dialects keep them apart.
    signature: str | None = None  # Gemini signs ordinary text too.
    mark: CacheMark | None = None
    extra: Members = ()


class Media(msgspec.Struct, frozen=True, tag=True):
    """An image, a sound, a film or a document: by address, or as base64 exactly as it was written."""

    kind: MediaKind
    url: str | None = None
    data: str | None = None
    media_type: str | None = None
    detail: str | None = None  # How closely to look: "low", "high", "auto".
    name: str | None = None  # A document's file name.
    mark: CacheMark | None = None
    extra: Members = ()


class ToolCall(msgspec.Struct, frozen=True, tag=True):
    """The model asks for a tool."""

    id: str
    name: str
    arguments: str  # JSON text as the model wrote it; parsing here would lose half-written calls.
    signature: str | None = None  # Gemini's: must come back with the call.
    mark: CacheMark | None = None
    extra: Members = ()


class ToolResult(msgspec.Struct, frozen=True, tag=True):
    """What a tool answered; a part of a user turn."""

    call_id: str
    parts: tuple[Part, ...]
    failed: bool = False
    listed: bool = False  # As in Turn.
    mark: CacheMark | None = None
    extra: Members = ()


class Thought(msgspec.Struct, frozen=True, tag=True):
    """The model's reasoning, as far as the provider shows it."""

    text: str
    signature: str | None = None  # Echoed back verbatim on the next turn, or the provider refuses it.
    redacted: bool = False  # No text: the signature is the provider's sealed thought itself.
    signed_by: str | None = None  # The dialect whose provider can read the signature; worthless to any other.
    member: str | None = None  # What its origin calls it, where that language has several words.
    extra: Members = ()


class Opaque(msgspec.Struct, frozen=True, tag=True):
    """Something only one dialect can say. It goes home, or the call is refused by its name."""

    dialect: str
    kind: str  # Its name in that dialect, for the refusal.
    place: str  # Where it stood, for the way home; the dialect's own word.
    raw: bytes  # JSON text.


Part: TypeAlias = Text | Media | ToolCall | ToolResult | Thought | Opaque


class Turn(msgspec.Struct, frozen=True):
    """One side's words. System turns stay in place and tool results are parts of user turns; writers rearrange."""

    role: Role
    parts: tuple[Part, ...]
    name: str | None = None
    native_role: str | None = None  # The role's word at home where it says more: "developer".
    listed: bool = False  # A single text was written as a list of parts.
    extra: Members = ()


class Tool(msgspec.Struct, frozen=True, tag=True):
    """A function the model may call."""

    name: str
    description: str | None = None
    parameters: bytes | None = None  # JSON Schema as written.
    strict: bool | None = None
    mark: CacheMark | None = None
    extra: Members = ()
    native: Members = ()  # The schema as its origin wrote it, if in other words; goes home instead of `parameters`.


class ToolChoice(msgspec.Struct, frozen=True):
    """Whether tools are to be called; all None where the caller does not say."""

    mode: Literal["auto", "none", "required", "named"] | None = None
    name: str | None = None  # With "named".
    parallel: bool | None = None  # Several calls in one turn.


class Sampling(msgspec.Struct, frozen=True):
    """How the next token is chosen, and where the text ends."""

    temperature: int | float | None = None
    top_p: int | float | None = None
    top_k: int | None = None
    frequency_penalty: int | float | None = None
    presence_penalty: int | float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()


class Schema(msgspec.Struct, frozen=True):
    """The answer is to be JSON: of this schema, or any object (`name` and `schema` None: "JSON mode")."""

    name: str | None = None
    schema: bytes | None = None  # JSON Schema as written.
    strict: bool | None = None
    description: str | None = None
    native: Members = ()  # As its origin wrote it, if in other words; goes home instead of the above.


class Output(msgspec.Struct, frozen=True):
    """What the answer is to be."""

    limit: int | None = None  # Tokens.
    limit_member: str | None = None  # What its origin calls it, where that language has several words.
    schema: Schema | None = None


class Reasoning(msgspec.Struct, frozen=True):
    """How hard the model is to think."""

    enabled: bool | None = None
    effort: str | None = (
        None  # "none", "minimal", "low", "medium", "high", "xhigh": the field's common scale.
    )
    budget: int | None = None  # Tokens.
    shown: bool | None = None  # Whether the caller wants to read the thoughts; None where it does not say.
    native: Members = ()  # As its origin wrote it; goes home instead of the above, so a rewrite must empty it.


class Prompt(msgspec.Struct, frozen=True):
    """One call's input. Cache marks are on the parts they belong to, so that a rewrite cannot misplace them."""

    turns: tuple[Turn, ...]
    origin: str  # The dialect it was read from.
    tools: tuple[Tool | Opaque, ...] = ()
    tool_choice: ToolChoice = ToolChoice()
    sampling: Sampling = Sampling()
    output: Output = Output()
    reasoning: Reasoning = Reasoning()
    stream: bool | None = None
    extra: Members = ()  # Unknown or harmless: home as written, elsewhere dropped and listed.
    bound: Members = ()  # Changes the answer and has no field here: home as written, elsewhere refused by name.
    dropped: tuple[str, ...] = ()  # Members that will not arrive; told to the caller.


class Began(msgspec.Struct, frozen=True):
    """The reply has a name: the provider's own."""

    id: str
    model: str


class PartBegan(msgspec.Struct, frozen=True):
    """A part starts; texts grow from what it holds, media and opaque parts are whole already."""

    index: int
    part: Part


class PartGrew(msgspec.Struct, frozen=True, gc=False):
    """More text of a part: words, thoughts, or JSON text of arguments."""

    index: int
    text: str


class PartEnded(msgspec.Struct, frozen=True, gc=False):
    """A part is whole; thoughts may be signed only now, and words may have gained their sources."""

    index: int
    signature: str | None = None
    signed_by: str | None = None
    extra: Members = ()  # Joins the part's own.


class Finished(msgspec.Struct, frozen=True):
    """The reply is whole."""

    reason: Reason
    usage: Usage | None = None  # None: the provider reported none that can be true.
    native_reason: str | None = None  # The provider's own word.
    stop_sequence: str | None = None


class Failed(msgspec.Struct, frozen=True):
    """The reply ended badly; `usage` is what the provider counted so far."""

    fault: Fault
    usage: Usage | None = None


Event: TypeAlias = Began | PartBegan | PartGrew | PartEnded | Finished | Failed


class Reply(msgspec.Struct, frozen=True):
    """A whole reply: the fold of its events."""

    id: str
    model: str
    parts: tuple[Part, ...]
    reason: Reason
    usage: Usage | None = None
    native_reason: str | None = None
    stop_sequence: str | None = None


def fold(events: Iterable[Event]) -> Reply:
    """Put a reply together from its events, in time linear in their text; raises the Fault of a Failed event."""
    reply_id = model = ""
    parts: dict[int, Part] = {}
    grown: dict[int, list[str]] = {}
    for event in events:
        match event:
            case PartGrew():
                grown[event.index].append(event.text)
            case PartBegan():
                parts[event.index] = event.part
                grown[event.index] = []
            case PartEnded():
                if event.signature is not None:
                    parts[event.index] = _signed(parts[event.index], event)
                if event.extra:
                    parts[event.index] = _enriched(parts[event.index], event.extra)
            case Began():
                reply_id, model = event.id, event.model
            case Finished():
                return Reply(
                    id=reply_id,
                    model=model,
                    parts=tuple(_grown(parts[index], "".join(grown[index])) for index in sorted(parts)),
                    reason=event.reason,
                    usage=event.usage,
                    native_reason=event.native_reason,
                    stop_sequence=event.stop_sequence,
                )
            case Failed():
                raise event.fault
    raise AssertionError("a reply's events end in Finished or Failed")


def unfold(reply: Reply) -> Iterator[Event]:
    """The events of a whole reply: each part in one piece."""
    yield Began(reply.id, reply.model)
    for index, part in enumerate(reply.parts):
        empty, text, ended = _emptied(part, index)
        yield PartBegan(index, empty)
        if text:
            yield PartGrew(index, text)
        yield ended
    yield Finished(reply.reason, reply.usage, reply.native_reason, reply.stop_sequence)


def abroad(prompt: Prompt, dialect: str) -> Prompt:
    """The prompt as a dialect may carry it: at home as it is, elsewhere without what only its origin can say.

    What is harmless moves to `dropped`; what is not is a Fault BAD_REQUEST that names it. Applied twice, it does
    nothing more.
    """
    if prompt.origin == dialect:
        return prompt
    for name, _ in prompt.bound:
        raise _unsayable(name)
    dropped = list(prompt.dropped) + _named(prompt.extra)
    turns = tuple(_turn_abroad(turn, dropped) for turn in prompt.turns)
    tools = tuple(_tool_abroad(tool, dropped) for tool in prompt.tools)
    return replace(prompt, turns=turns, tools=tools, extra=(), dropped=tuple(dict.fromkeys(dropped)))


def _turn_abroad(turn: Turn, dropped: list[str]) -> Turn:
    parts = tuple([_part_abroad(part, dropped) for part in turn.parts])
    if not turn.extra and parts == turn.parts:
        return turn
    dropped += _named(turn.extra)
    return replace(turn, parts=parts, extra=())


def _part_abroad(part: Part, dropped: list[str]) -> Part:
    match part:
        case Text() | Media() | ToolCall() | Thought():
            if not part.extra:
                return part
            dropped += _named(part.extra)
            return replace(part, extra=())
        case ToolResult():
            dropped += _named(part.extra)
            return replace(part, parts=tuple(_part_abroad(inner, dropped) for inner in part.parts), extra=())
        case Opaque():
            raise _unsayable(part.kind)


def _tool_abroad(tool: Tool | Opaque, dropped: list[str]) -> Tool:
    match tool:
        case Opaque():
            raise _unsayable(tool.kind)
        case Tool():
            dropped += _named(tool.extra)
            return replace(tool, extra=()) if tool.extra else tool


def _named(members: Members) -> list[str]:
    """The members that say something: a null or an empty list is not missed by anyone."""
    return [name for name, raw in members if raw not in (b"null", b"[]", b"{}")]


def _unsayable(name: str) -> Fault:
    return Fault(
        Kind.BAD_REQUEST,
        f"{name} cannot be passed on to this model: its provider speaks another language, which has no word for it. "
        "Leave it out, or choose a model whose provider knows it.",
        param=name,
    )


def _grown(part: Part, text: str) -> Part:
    if not text:
        return part
    match part:
        case Text() | Thought():
            return replace(part, text=part.text + text)
        case ToolCall():
            return replace(part, arguments=part.arguments + text)
        case Media() | ToolResult() | Opaque():
            raise AssertionError("a whole part does not grow")


def _signed(part: Part, ended: PartEnded) -> Part:
    match part:
        case Thought():
            return replace(part, signature=ended.signature, signed_by=ended.signed_by)
        case Text() | ToolCall():
            return replace(part, signature=ended.signature)
        case Media() | ToolResult() | Opaque():
            raise AssertionError("this part has no signature")


def _enriched(part: Part, extra: Members) -> Part:
    match part:
        case Text() | Thought() | ToolCall() | Media() | ToolResult():
            return replace(part, extra=part.extra + extra)
        case Opaque():
            raise AssertionError("an opaque part is whole as it came")


def _emptied(part: Part, index: int) -> tuple[Part, str, PartEnded]:
    """A part as it begins, the text it grows by, and how it ends."""
    match part:
        case Media() | ToolResult() | Opaque() | Thought(redacted=True):
            return part, "", PartEnded(index)
        case Thought(signature=None):
            return replace(part, text=""), part.text, PartEnded(index)
        case Thought():
            empty = replace(part, text="", signature=None, signed_by=None)
            return empty, part.text, PartEnded(index, part.signature, part.signed_by)
        case Text():
            return replace(part, text="", signature=None), part.text, PartEnded(index, part.signature)
        case ToolCall():
            return (
                replace(part, arguments="", signature=None),
                part.arguments,
                PartEnded(index, part.signature),
            )
