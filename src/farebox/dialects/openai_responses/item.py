"""The items of `input` ↔ turns.

One turn holds what one side said at a stretch: the model's thoughts, words and calls in their order, or the results of
several calls. A new turn begins where two messages of the model touch, for a turn has room for one message's members.
Items that only this language has are Opaques on the side they belong to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from farebox.dialects.conversation import (
    Media,
    Members,
    Opaque,
    Part,
    Role,
    Text,
    Thought,
    ToolCall,
    ToolResult,
    Turn,
)
from farebox.dialects.members import TEXT, Fields, written
from farebox.dialects.openai_responses.content import (
    CONTENT,
    NAME,
    read_content,
    read_thought,
    write_content,
    write_thought,
)
from farebox.dialects.openai_responses.input import MESSAGE, REASONING
from farebox.dialects.openai_responses.rules import ANSWERS, WITHOUT_ID
from farebox.dialects.seal import unseal_id

INSTRUCTIONS = "instructions"  # The native role of what the body says by that member.
ITEM = "item"  # Where an opaque item stood.
_CALL, _RESULT = "function_call", "function_call_output"
_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}
# Given by the provider when the item was made; the item says the same without them.
_GIVEN = frozenset({"id", "status"})


class _Turns:
    """Turns as they grow from items."""

    def __init__(self) -> None:
        self.done: list[Turn] = []
        self._role: Role | None = None
        self._parts: list[Part] = []
        self._message: tuple[bool, Members] | None = None  # Whether it was a list, and its further members.
        self._touches = False  # The last item was that message.

    def add(self, role: Role, part: Part) -> None:
        """An item that is one part."""
        self._go_on_as(role)
        self._parts.append(part)
        self._touches = False

    def add_message(self, turn: Turn) -> None:
        """A message: of the model it joins its turn, of others it is a turn by itself."""
        if turn.role != "assistant" or not turn.parts:
            self.flush()
            self.done.append(turn)
            return
        self._go_on_as("assistant")
        message = turn.listed, turn.extra
        if self._message is not None and (self._touches or turn.extra or self._message != message):
            self.flush()
            self._go_on_as("assistant")
        self._message, self._touches = message, True
        self._parts += turn.parts

    def flush(self) -> None:
        """End the turn that grows."""
        if self._role is not None:
            listed, extra = self._message or (False, ())
            self.done.append(Turn(self._role, tuple(self._parts), listed=listed, extra=extra))
        self._role, self._parts, self._message, self._touches = None, [], None, False

    def _go_on_as(self, role: Role) -> None:
        if self._role != role:
            self.flush()
            self._role = role


def read_items(raws: Sequence[msgspec.Raw]) -> tuple[Turn, ...]:
    """All items; Fault BAD_REQUEST names a member of the wrong shape."""
    turns = _Turns()
    for at, raw in enumerate(raws):
        _read_item(raw, f"input[{at}]", turns)
    turns.flush()
    return tuple(turns.done)


def write_items(turn: Turn) -> Iterator[object]:
    """The items that say one turn, in the order of its parts; a run of words and media is a message."""
    run: list[Part] = []
    for part in turn.parts:
        match part:
            case Text() | Media() | Opaque(place="content"):
                run.append(part)
                continue
            case ToolCall() | ToolResult() | Thought() | Opaque():
                pass
        if run:
            yield _write_message(turn, run)
            run = []
        yield from _write_item(part)
    if run or not turn.parts:
        yield _write_message(turn, run)


def _read_item(raw: msgspec.Raw, path: str, turns: _Turns) -> None:
    fields = Fields(raw, path)
    kind = fields.take("type", TEXT) or MESSAGE
    if kind == MESSAGE:
        _read_message(fields, raw, turns)
    elif kind == REASONING:
        turns.add("assistant", _without_given(read_thought(fields)))
    elif kind == _CALL:
        call_id, signature = unseal_id(fields.need("call_id", TEXT))
        name, arguments = fields.need("name", TEXT), fields.need("arguments", TEXT)
        turns.add("assistant", ToolCall(call_id, name, arguments, signature, extra=_left(fields)))
    elif kind == _RESULT:
        call_id, _ = unseal_id(fields.need("call_id", TEXT))
        parts, listed = read_content(fields, "output", by_model=False)
        turns.add("user", ToolResult(call_id, parts, listed=listed, extra=_left(fields)))
    else:
        opaque = Opaque(NAME, f"{path}.type", ITEM, _without_id(fields, kind))
        turns.add("user" if kind in ANSWERS or kind.endswith("_output") else "assistant", opaque)


def _read_message(fields: Fields, raw: msgspec.Raw, turns: _Turns) -> None:
    word = fields.need("role", TEXT)
    if word not in _ROLES:
        turns.add("user", Opaque(NAME, fields.at("role"), ITEM, bytes(raw)))
        return
    role = _ROLES[word]
    parts, listed = read_content(fields, CONTENT, by_model=role == "assistant")
    native = None if word == role else word
    turns.add_message(Turn(role, parts, None, native, listed, _left(fields)))


def _left(fields: Fields) -> Members:
    return tuple(member for member in fields.left() if member[0] not in _GIVEN)


def _without_given(thought: Thought) -> Thought:
    extra = tuple(member for member in thought.extra if member[0] not in _GIVEN)
    return msgspec.structs.replace(thought, extra=extra)


def _without_id(fields: Fields, kind: str) -> bytes:
    """An item as the relay would pass it."""
    keeps = kind not in WITHOUT_ID
    members = {"type": kind, **written(fields.left())}
    return msgspec.json.encode({name: raw for name, raw in members.items() if keeps or name != "id"})


def _write_message(turn: Turn, run: Sequence[Part]) -> dict[str, object]:
    by_model = turn.role == "assistant"
    content = write_content(run, by_model=by_model, listed=turn.listed)
    wire: dict[str, object] = {"type": MESSAGE, "role": turn.native_role or turn.role, "content": content}
    return wire | written(turn.extra)


def _write_item(part: ToolCall | ToolResult | Thought | Opaque) -> Iterator[object]:
    match part:
        case ToolCall():
            call = {"type": _CALL, "call_id": part.id, "name": part.name, "arguments": part.arguments}
            yield call | written(part.extra)
        case ToolResult():
            output = write_content(part.parts, by_model=False, listed=part.listed)
            yield {"type": _RESULT, "call_id": part.call_id, "output": output} | written(part.extra)
        case Thought():
            # Nothing is kept at the provider, so a thought without its encrypted content is known to nobody.
            if part.signature is not None:
                yield write_thought(part)
        case Opaque():
            yield msgspec.Raw(part.raw)
