"""Marks for the provider's cache: at the end of what the next call says again, behind the caller's own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from farebox.dialects.conversation import (
    CacheMark,
    Part,
    Prompt,
    Role,
    Text,
    Thought,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
)
from farebox.gateway.prompt_cache import HISTORY_BYTES_MIN, MARKS_MOST, place_marks

LONG = "word " * HISTORY_BYTES_MIN
OWN = CacheMark(3600, (("cache_control", b'{"type":"ephemeral","ttl":"1h"}'),))
TOOLS = (Tool("first"), Tool("second"))


def turn(role: Role, *parts: Part) -> Turn:
    return Turn(role, parts)


def prompt(*turns: Turn, tools: tuple[Tool, ...] = ()) -> Prompt:
    return Prompt(turns, "anthropic", tools=tools)


def marks(given_prompt: Prompt) -> list[str]:
    """What bears a mark, in the order in which a provider reads it."""
    found = [tool.name for tool in given_prompt.tools if isinstance(tool, Tool) and tool.mark]
    talk = sorted(given_prompt.turns, key=lambda one: one.role != "system")
    for one in talk:
        for part in one.parts:
            if isinstance(part, Text) and part.mark:
                found.append(part.text[:8].strip())
            elif isinstance(part, ToolResult | ToolCall) and part.mark:
                found.append(type(part).__name__)
    return found


def test_tools_system_and_a_long_history_are_marked_and_the_newest_turn_is_not() -> None:
    marked = place_marks(
        prompt(
            turn("system", Text("be brief")),
            turn("user", Text("old " + LONG)),
            turn("assistant", Text("answer")),
            turn("user", Text("newest")),
            tools=TOOLS,
        )
    )
    assert marks(marked) == ["second", "be brief", "answer"]


def test_a_short_history_is_not_worth_a_mark() -> None:
    marked = place_marks(
        prompt(turn("user", Text("a")), turn("assistant", Text("b")), turn("user", Text("c")))
    )
    assert marks(marked) == []


def test_a_mark_stands_on_the_last_part_that_can_bear_one() -> None:
    call = ToolCall("1", "f", "{}")
    history = (turn("user", Text("old " + LONG)), turn("assistant", call, Thought("hm")))
    assert marks(place_marks(prompt(*history, turn("user", ToolResult("1", (Text("x"),)))))) == ["ToolCall"]


def test_ours_come_only_behind_the_callers_own() -> None:
    talk = (
        turn("user", Text("old " + LONG)),
        turn("assistant", Text("answer")),
        turn("user", Text("newest")),
    )
    system = turn("system", Text("be brief", mark=OWN))
    assert marks(place_marks(prompt(system, *talk, tools=TOOLS))) == ["be brief", "answer"]
    late = (talk[0], talk[1], turn("user", Text("newest", mark=OWN)))
    assert marks(place_marks(prompt(turn("system", Text("be brief")), *late, tools=TOOLS))) == ["newest"]


def test_words_of_the_system_count_as_the_beginning_wherever_they_stand() -> None:
    talk = (
        turn("user", Text("old " + LONG, mark=OWN)),
        turn("system", Text("be brief")),
        turn("user", Text("new")),
    )
    assert marks(place_marks(prompt(*talk))) == ["old word"]


def test_a_mark_at_the_very_end_leaves_no_place_for_ours() -> None:
    talk = (
        turn("user", Text("old " + LONG)),
        turn("assistant", Text("answer")),
        turn("user", Text("newest")),
    )
    automatic = replace(prompt(*talk, tools=TOOLS), extra=(("cache_control", b'{"type":"ephemeral"}'),))
    assert place_marks(automatic) == automatic


def test_four_marks_of_the_caller_leave_no_room() -> None:
    own = tuple(Text(str(at), mark=OWN) for at in range(MARKS_MOST))
    full = prompt(turn("system", *own), turn("user", Text(LONG)), turn("user", Text("newest")))
    assert place_marks(full) == full


parts = st.one_of(
    st.builds(Text, st.sampled_from(["", "short", LONG]), mark=st.sampled_from([None, None, OWN])),
    st.just(ToolCall("1", "f", "{}")),
    st.just(Thought("hm")),
)
turns = st.builds(
    Turn, st.sampled_from(["system", "user", "assistant"]), st.lists(parts, max_size=3).map(tuple)
)
prompts = st.builds(
    lambda some, tools: Prompt(tuple(some), "anthropic", tools=tuple(tools)),
    st.lists(turns, max_size=6),
    st.lists(st.builds(Tool, st.just("f"), mark=st.sampled_from([None, OWN])), max_size=3),
)


def unmarked(given_prompt: Prompt) -> Prompt:
    def bare(part: Part) -> Part:
        return replace(part, mark=None) if isinstance(part, Text | ToolCall | ToolResult) else part

    some = tuple(replace(one, parts=tuple(map(bare, one.parts))) for one in given_prompt.turns)
    tools = tuple(replace(tool, mark=None) if isinstance(tool, Tool) else tool for tool in given_prompt.tools)
    return replace(given_prompt, turns=some, tools=tools)


@given(prompts)
def test_nothing_but_marks_changes_and_there_are_never_more_than_allowed(some: Prompt) -> None:
    marked = place_marks(some)
    assert unmarked(marked) == unmarked(some)
    assert len(marks(marked)) <= max(MARKS_MOST, len(marks(some)))
    assert place_marks(marked) == marked


@pytest.mark.parametrize("some", [prompt(), prompt(turn("user"))])
def test_an_empty_prompt_gets_no_mark(some: Prompt) -> None:
    assert place_marks(some) == some
