"""Prompt caching on request (`cache: true`): where a provider wants to be told what to keep, we tell it.

Anthropic keeps a prompt up to a mark, and reads back the longest beginning it knows. Marks go to the end of what the
next call will say again: the tools, the system's words, and the conversation up to the caller's newest turn. Everything
before a mark stays byte for byte what the caller wrote. The caller's own marks stand, ours come only behind them, and
there are never more than MARKS_MOST in all. (Anthropic, "Prompt caching": at most four breakpoints; a beginning that is
too short to keep is not kept, and costs nothing.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from msgspec.structs import replace

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

MARKS_MOST = 4
HISTORY_BYTES_MIN = 4_096  # About the 1,024 tokens below which Anthropic keeps nothing.
_MARK = CacheMark()
_AUTOMATIC = "cache_control"  # Anthropic's word for a mark that moves with the end of the conversation.
# Where a mark can stand: the index of a turn and of its part; a turn of -1 is the list of tools.
_Place: TypeAlias = tuple[int, int]
_TOOLS = -1


def place_marks(prompt: Prompt) -> Prompt:
    """The prompt with marks on its stable beginning, as far as the caller's own leave room."""
    if any(name == _AUTOMATIC for name, _ in prompt.extra):
        return prompt  # The caller's own mark goes to the very end, and ours would stand in front of it.
    own = _marked(prompt)
    last = max((_rank(prompt, place) for place in own), default=(-1, 0, 0))
    room = MARKS_MOST - len(own)
    wanted = [
        place for place in (_end_of_tools(prompt), _end_of_system(prompt), _end_of_history(prompt)) if place
    ]
    # The nearest to the end goes first: what is in front of it is read back with it.
    chosen = [place for place in reversed(wanted) if _rank(prompt, place) > last][: max(room, 0)]
    for place in chosen:
        prompt = _with_mark(prompt, place)
    return prompt


def _rank(prompt: Prompt, place: _Place) -> tuple[int, int, int]:
    """Where a place comes in what the provider reads: tools, then the system's words wherever they stand, then talk."""
    at, inside = place
    if at == _TOOLS:
        return 0, 0, inside
    return (1 if prompt.turns[at].role == "system" else 2), at, inside


def _marked(prompt: Prompt) -> list[_Place]:
    """Where the caller's own marks are."""
    tools = [(_TOOLS, at) for at, tool in enumerate(prompt.tools) if isinstance(tool, Tool) and tool.mark]
    parts = [
        (at, inside)
        for at, turn in enumerate(prompt.turns)
        for inside, part in enumerate(turn.parts)
        if _is_marked(part)
    ]
    return tools + parts


def _is_marked(part: Part) -> bool:
    match part:
        case ToolResult():
            return part.mark is not None or any(_is_marked(inner) for inner in part.parts)
        case Text() | Media() | ToolCall():
            return part.mark is not None
        case Thought() | Opaque():
            return False


def _end_of_tools(prompt: Prompt) -> _Place | None:
    at = len(prompt.tools) - 1
    return (_TOOLS, at) if prompt.tools and isinstance(prompt.tools[at], Tool) else None


def _end_of_system(prompt: Prompt) -> _Place | None:
    system = [at for at, turn in enumerate(prompt.turns) if turn.role == "system"]
    return _end_of_turn(prompt.turns, system[-1]) if system else None


def _end_of_history(prompt: Prompt) -> _Place | None:
    """The end of what comes before the newest turn, where it is long enough to be kept."""
    talk = [at for at, turn in enumerate(prompt.turns) if turn.role != "system"]
    earlier = talk[:-1]
    if sum(_size(part) for at in earlier for part in prompt.turns[at].parts) < HISTORY_BYTES_MIN:
        return None
    places = (_end_of_turn(prompt.turns, at) for at in reversed(earlier))
    return next((place for place in places if place), None)


def _end_of_turn(turns: Sequence[Turn], at: int) -> _Place | None:
    """The last part of a turn that can bear a mark: thoughts cannot, nor can empty words."""
    parts = turns[at].parts
    for inside in range(len(parts) - 1, -1, -1):
        part = parts[inside]
        if isinstance(part, Media | ToolCall | ToolResult) or (isinstance(part, Text) and part.text):
            return at, inside
    return None


def _size(part: Part) -> int:
    match part:
        case Text() | Thought():
            return len(part.text)
        case ToolCall():
            return len(part.arguments)
        case ToolResult():
            return sum(_size(inner) for inner in part.parts)
        case Media():
            return HISTORY_BYTES_MIN  # An image alone is worth keeping.
        case Opaque():
            return len(part.raw)


def _with_mark(prompt: Prompt, place: _Place) -> Prompt:
    at, inside = place
    if at == _TOOLS:
        tools = list(prompt.tools)
        tool = tools[inside]
        assert isinstance(tool, Tool)
        tools[inside] = replace(tool, mark=_MARK)
        return replace(prompt, tools=tuple(tools))
    turns = list(prompt.turns)
    parts = list(turns[at].parts)
    part = parts[inside]
    assert isinstance(part, Text | Media | ToolCall | ToolResult)
    parts[inside] = replace(part, mark=_MARK)
    turns[at] = replace(turns[at], parts=tuple(parts))
    return replace(prompt, turns=tuple(turns))
