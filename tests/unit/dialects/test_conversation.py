"""What happens to a prompt that leaves its dialect."""

from __future__ import annotations

import pytest

from farebox.core.errors import Fault, Kind
from farebox.dialects.conversation import (
    CacheMark,
    Opaque,
    Part,
    Prompt,
    Text,
    Thought,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
    abroad,
)

EXTRA = (("ornament", b"1"), ("nothing", b"null"), ("empty", b"[]"))
OPAQUE = Opaque("home", "messages[0].content[0].type", "content", b'{"type":"hologram"}')


def prompt_of(*parts: Part) -> Prompt:
    return Prompt(turns=(Turn("user", parts),), origin="home")


def test_a_prompt_at_home_keeps_everything() -> None:
    prompt = Prompt(
        turns=(Turn("user", (OPAQUE,), extra=EXTRA),),
        origin="home",
        extra=EXTRA,
        bound=(("n", b"2"),),
        tools=(OPAQUE,),
    )
    assert abroad(prompt, "home") is prompt


@pytest.mark.parametrize(
    "prompt",
    [
        prompt_of(OPAQUE),
        prompt_of(ToolResult("1", (OPAQUE,))),
        Prompt(turns=(), origin="home", tools=(OPAQUE,)),
        Prompt(turns=(), origin="home", bound=((OPAQUE.kind, b"2"),)),
    ],
    ids=["a part", "a part of a tool result", "a tool", "a bound member"],
)
def test_what_cannot_be_said_elsewhere_is_refused_by_its_name(prompt: Prompt) -> None:
    with pytest.raises(Fault) as caught:
        abroad(prompt, "elsewhere")
    assert caught.value.kind is Kind.BAD_REQUEST
    assert caught.value.param == OPAQUE.kind
    assert caught.value.message.startswith(OPAQUE.kind)


@pytest.mark.parametrize(
    "prompt",
    [
        Prompt(turns=(), origin="home", extra=EXTRA),
        Prompt(turns=(Turn("user", (), extra=EXTRA),), origin="home"),
        prompt_of(Text("x", extra=EXTRA)),
        prompt_of(Thought("x", extra=EXTRA)),
        prompt_of(ToolCall("1", "f", "{}", extra=EXTRA)),
        prompt_of(ToolResult("1", (), extra=EXTRA)),
        prompt_of(ToolResult("1", (Text("x", extra=EXTRA),))),
        Prompt(turns=(), origin="home", tools=(Tool("f", extra=EXTRA),)),
    ],
    ids=["the prompt", "a turn", "a text", "a thought", "a call", "a result", "a result's text", "a tool"],
)
def test_a_harmless_member_is_dropped_and_told(prompt: Prompt) -> None:
    moved = abroad(prompt, "elsewhere")
    assert moved.dropped == ("ornament",)
    assert "ornament" not in repr(moved).replace("dropped=('ornament',)", "")


def test_what_was_dropped_before_is_still_told_and_nothing_is_told_twice() -> None:
    prompt = Prompt(
        turns=(Turn("user", (Text("x", extra=EXTRA),), extra=EXTRA),),
        origin="home",
        extra=EXTRA,
        dropped=("earlier",),
    )
    assert abroad(prompt, "elsewhere").dropped == ("earlier", "ornament")


def test_marks_and_signatures_travel_for_the_next_dialect_to_judge() -> None:
    parts = (Text("x", mark=CacheMark(300)), Thought("y", "seal", signed_by="maker"))
    assert abroad(prompt_of(*parts), "elsewhere").turns[0].parts == parts
