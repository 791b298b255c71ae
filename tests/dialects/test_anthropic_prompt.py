"""What a caller of Anthropic Messages may say, and what becomes of it at home."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from farebox.core.errors import Fault, Kind
from farebox.dialects.anthropic import Anthropic
from farebox.dialects.anthropic.prompt import fitting_budget
from farebox.dialects.conversation import (
    CacheMark,
    Media,
    Opaque,
    Output,
    Part,
    Prompt,
    Reasoning,
    Schema,
    Text,
    Thought,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
    abroad,
)
from farebox.dialects.seal import seal, seal_id

DIALECT = Anthropic()
TOOL = {"name": "look", "input_schema": {"type": "object"}}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"a": 1.50}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "seen"}


def read(**members: Any) -> Prompt:
    members.setdefault("messages", [{"role": "user", "content": "Hi"}])
    return DIALECT.read_prompt(msgspec.json.encode({"model": "m", "max_tokens": 9, **members}))


def written(prompt: Prompt) -> Any:
    return msgspec.json.decode(DIALECT.write_prompt(prompt, "theirs"))


def part_of(block: Any, role: str = "user") -> Part:
    (turn,) = read(messages=[{"role": role, "content": [block]}]).turns
    (part,) = turn.parts
    return part


def marked(ttl_s: int | None, text: bytes) -> CacheMark:
    return CacheMark(ttl_s, (("cache_control", text),))


@pytest.mark.parametrize(
    ("block", "part"),
    [
        ({"type": "text", "text": "a"}, Text("a")),
        ({"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}},
         Text("a", mark=marked(None, b'{"type":"ephemeral"}'))),
        ({"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
         Text("a", mark=marked(3600, b'{"type":"ephemeral","ttl":"1h"}'))),
        ({"type": "image", "source": {"type": "url", "url": "https://a.example"}},
         Media("image", "https://a.example")),
        ({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iV"}},
         Media("image", data="iV", media_type="image/png")),
        ({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JV"},
         "title": "t"},
         Media("file", data="JV", media_type="application/pdf", name="t")),
        ({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "é"}},
         Media("file", data="w6k=", media_type="text/plain")),
        ({"type": "document", "source": {"type": "url", "url": "https://a.example"}},
         Media("file", "https://a.example")),
        ({"type": "thinking", "thinking": "Hm.", "signature": "EqYC"}, Thought("Hm.", "EqYC", signed_by="anthropic")),
        ({"type": "thinking", "thinking": "Hm.", "signature": ""}, Thought("Hm.")),
        ({"type": "thinking", "thinking": "Hm.", "signature": seal("s", "gemini")},
         Thought("Hm.", "s", signed_by="gemini")),
        ({"type": "redacted_thinking", "data": "EqYC"}, Thought("", "EqYC", redacted=True, signed_by="anthropic")),
        ({"type": "redacted_thinking", "data": seal("s", "openai_responses")},
         Thought("", "s", redacted=True, signed_by="openai_responses")),
        (CALL, ToolCall("toolu_1", "look", '{"a":1.5}')),
        ({**CALL, "id": seal_id("call_1", "sig"), "caller": {"type": "direct"}},
         ToolCall("call_1", "look", '{"a":1.5}', "sig", extra=(("caller", b'{"type":"direct"}'),))),
        (RESULT, ToolResult("toolu_1", (Text("seen"),))),
        ({**RESULT, "tool_use_id": seal_id("call_1", "sig"), "is_error": True,
         "content": [{"type": "text", "text": "no"}]},
         ToolResult("call_1", (Text("no"),), failed=True, listed=True)),
        ({"type": "tool_result", "tool_use_id": "t"}, ToolResult("t", ())),
    ],
    ids=str,
)  # fmt: skip
def test_a_block_is_read_as_what_it_says(block: Any, part: Part) -> None:
    assert part_of(block) == part


@pytest.mark.parametrize(
    "block",
    [
        {"type": "search_result", "source": "s", "title": "t", "content": []},
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        {"type": "document", "source": {"type": "content", "content": "a"}},
        {"type": "document", "source": {"type": "base64", "media_type": "text/plain", "data": "YQ=="}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iV", "new": 1}},
        {"type": "image", "source": {"type": "file", "file_id": "f"}},
        {"type": "image"},
        {"type": "new", "x": 1},
    ],
    ids=str,
)
def test_a_block_that_is_not_understood_goes_home_and_is_refused_by_name_elsewhere(block: Any) -> None:
    prompt = read(messages=[{"role": "user", "content": [block]}])
    assert part_of(block) == Opaque(
        "anthropic", "messages[0].content[0].type", "content", msgspec.json.encode(block)
    )
    assert written(prompt)["messages"] == [{"role": "user", "content": [block]}]
    with pytest.raises(Fault, match=r"messages\[0\]\.content\[0\]\.type cannot be passed on"):
        abroad(prompt, "another")


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": [{**CALL, "input": []}]}]}, "messages[0].content[0].input"),
        ({"messages": [{"role": "user", "content": [{**RESULT, "is_error": 1}]}]}, "messages[0].content[0].is_error"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url"}}]}]},
         "messages[0].content[0].source.url"),
        ({"tools": [{"input_schema": {}}]}, "tools[0].name"), ({"temperature": "x"}, "temperature"),
        ({"thinking": "on"}, "thinking"), ({"system": 5}, "system"), ({"stop_sequences": [5]}, "stop_sequences"),
    ],
    ids=str,
)  # fmt: skip
def test_a_member_of_the_wrong_shape_is_named(members: Any, param: str) -> None:
    with pytest.raises(Fault) as caught:
        read(**members)
    assert (caught.value.kind, caught.value.param) == (Kind.BAD_REQUEST, param)


def test_the_systems_words_stand_first_and_those_among_the_messages_stay_there() -> None:
    middle = {"role": "system", "content": "Now in French."}
    prompt = read(system="Be brief.", messages=[{"role": "user", "content": "a"}, middle])
    assert prompt.turns == (
        Turn("system", (Text("Be brief."),)),
        Turn("user", (Text("a"),)),
        Turn("system", (Text("Now in French."),), native_role="system"),
    )
    again = written(prompt)
    assert (again["system"], again["messages"][1]) == ("Be brief.", middle)


def test_system_turns_that_were_added_join_the_callers() -> None:
    prompt = read(system="Be brief.")
    more = replace(prompt, turns=(Turn("system", (Text("You are Ada."),)), *prompt.turns))
    assert written(more)["system"] == [
        {"type": "text", "text": "You are Ada."},
        {"type": "text", "text": "Be brief."},
    ]


def test_a_mark_that_was_added_stands_on_its_block() -> None:
    prompt = read(system="Be brief.")
    turns = tuple(replace(turn, parts=(Text("a", mark=CacheMark()),)) for turn in prompt.turns)
    again = written(replace(prompt, turns=turns))
    block = {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}
    assert (again["system"], again["messages"]) == ([block], [{"role": "user", "content": [block]}])


@pytest.mark.parametrize(
    ("choice", "read_as"),
    [
        ({"type": "auto"}, ToolChoice("auto")), ({"type": "none"}, ToolChoice("none")),
        ({"type": "any", "disable_parallel_tool_use": True}, ToolChoice("required", None, False)),
        ({"type": "tool", "name": "look", "disable_parallel_tool_use": False}, ToolChoice("named", "look", True)),
    ],
)  # fmt: skip
def test_a_choice_of_tools_is_read_and_written(choice: Any, read_as: ToolChoice) -> None:
    prompt = read(tools=[TOOL], tool_choice=choice)
    assert prompt.tool_choice == read_as
    assert written(prompt)["tool_choice"] == choice


def test_a_choice_that_is_not_understood_stays_at_home() -> None:
    choice = {"type": "auto", "new": 1}
    prompt = read(tools=[TOOL], tool_choice=choice)
    assert prompt.bound == (("tool_choice", msgspec.json.encode(choice)),)
    assert written(prompt)["tool_choice"] == choice


@pytest.mark.parametrize(
    ("members", "reasoning"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 2048}}, Reasoning(True, None, 2048)),
        ({"thinking": {"type": "disabled"}}, Reasoning(False)),
        ({"thinking": {"type": "adaptive", "display": "omitted"}}, Reasoning(True, shown=False)),
        ({"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "low"}},
         Reasoning(True, "low", shown=True)),
        ({"output_config": {"effort": "max"}}, Reasoning(effort="xhigh")),
        ({}, Reasoning()),
    ],
)  # fmt: skip
def test_thinking_is_read_in_the_common_words_and_goes_home_in_its_own(
    members: Any, reasoning: Reasoning
) -> None:
    prompt = read(**members)
    assert replace(prompt.reasoning, native=()) == reasoning
    assert {name: value for name, value in written(prompt).items() if name in members} == members


def test_a_schema_is_read_from_either_word() -> None:
    form = {"type": "json_schema", "schema": {"type": "object"}}
    schema = Output(9, schema=Schema(schema=b'{"type":"object"}'))
    newer, older = read(output_config={"format": form, "x_new": 1}), read(output_format=form)
    assert (newer.output, older.output) == (schema, schema)
    assert written(newer)["output_config"] == {"format": form, "x_new": 1}
    assert written(older)["output_config"] == {"format": form}
    assert newer.extra == (("output_config.x_new", b"1"),)


def test_what_only_anthropic_knows_is_listed_or_refused_elsewhere() -> None:
    prompt = read(
        metadata={"user_id": "u"}, cache_control={"type": "ephemeral"},
        tools=[{**TOOL, "eager_input_streaming": True}],
        messages=[{"role": "user", "content": [{"type": "text", "text": "a", "citations": [{"type": "x"}]}]}],
    )  # fmt: skip
    moved = abroad(prompt, "another")
    assert set(moved.dropped) == {"metadata", "cache_control", "eager_input_streaming", "citations"}
    with pytest.raises(Fault, match="output_format cannot be passed on"):
        abroad(read(output_format={"type": "new"}), "another")


def test_tools_of_the_callers_own_kind_go_home_as_they_are() -> None:
    bash = {"type": "bash_20250124", "name": "bash"}
    prompt = read(tools=[bash, {**TOOL, "strict": True}])
    assert prompt.tools == (
        Opaque("anthropic", "tools[0].type", "tools", msgspec.json.encode(bash)),
        Tool("look", parameters=b'{"type":"object"}', strict=True),
    )
    assert written(prompt)["tools"] == [bash, {**TOOL, "strict": True}]


# --- At home ----------------------------------------------------------------------------------------------------


def test_at_home_nothing_changes_but_seals() -> None:
    signed = {"type": "thinking", "thinking": "Hm.", "signature": "EqYC"}
    prompt = read(messages=[{"role": "user", "content": "a"}, {"role": "assistant", "content": [signed, CALL]},
                            {"role": "user", "content": [RESULT]}], thinking={"type": "adaptive"})  # fmt: skip
    assert DIALECT.fit_prompt(prompt) == prompt


@pytest.mark.parametrize("signature", ["", seal("s", "gemini")])
def test_at_home_thoughts_of_others_go_and_thinking_with_them_where_it_cannot_do_without(
    signature: str,
) -> None:
    foreign = {"type": "thinking", "thinking": "Hm.", "signature": signature}
    call = {**CALL, "id": seal_id("call_1", "sig")}
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": [foreign]},
        {"role": "assistant", "content": [foreign, call]},
        {"role": "user", "content": [{**RESULT, "tool_use_id": call["id"]}]},
    ]
    thinking = {"type": "enabled", "budget_tokens": 1024}
    fitted = DIALECT.fit_prompt(read(messages=messages, thinking=thinking, output_config={"effort": "low"}))
    assert fitted.dropped == ("thinking", "reasoning")
    assert DIALECT.fit_prompt(fitted) == fitted
    again = written(fitted)
    assert again["messages"][1:] == [
        {"role": "assistant", "content": [{**CALL, "id": "call_1"}]},
        {"role": "user", "content": [{**RESULT, "tool_use_id": "call_1"}]},
    ]
    assert "thinking" not in again
    assert again["output_config"] == {"effort": "low"}


def test_at_home_thinking_stays_where_the_newest_turn_calls_nothing() -> None:
    foreign = {"type": "thinking", "thinking": "Hm.", "signature": ""}
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": [foreign, {"type": "text", "text": "b"}]},
        {"role": "user", "content": "c"},
    ]
    fitted = DIALECT.fit_prompt(read(messages=messages, thinking={"type": "adaptive"}))
    assert fitted.dropped == ("thinking",)
    assert written(fitted)["thinking"] == {"type": "adaptive"}


@pytest.mark.parametrize(
    ("budget", "limit", "fitting"),
    [(1024, None, 1024), (1000, None, None), (4096, 8192, 4096), (4096, 4096, 3072), (4096, 1365, 1024),
     (4096, 1364, None)],
)  # fmt: skip
def test_a_budget_leaves_a_quarter_of_the_limit(budget: int, limit: int | None, fitting: int | None) -> None:
    assert fitting_budget(budget, limit) == fitting


def test_the_gateways_limit_bounds_the_budget_as_well() -> None:
    prompt = replace(read(), reasoning=Reasoning(enabled=True, budget=16_384))
    for limit, thinking in ((64_000, 16_384), (8_192, 6_144)):
        again = written(replace(prompt, output=Output(limit)))
        assert again["thinking"] == {"type": "enabled", "budget_tokens": thinking}
    assert "thinking" not in written(replace(prompt, output=Output(1_000)))
    assert written(replace(prompt, reasoning=Reasoning(enabled=False)))["thinking"] == {"type": "disabled"}
