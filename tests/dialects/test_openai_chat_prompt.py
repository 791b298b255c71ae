"""What a chat completion's request means, and what this language makes of another's."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.core.errors import Fault, Kind
from farebox.dialects.conversation import (
    CacheMark,
    Media,
    Opaque,
    Output,
    Part,
    Prompt,
    Reasoning,
    Sampling,
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
from farebox.dialects.openai_chat.fit import fit_prompt
from farebox.dialects.openai_chat.prompt import read_prompt, write_prompt

HELLO = {"role": "user", "content": "Hello"}


def read(*messages: Any, **members: Any) -> Prompt:
    return read_prompt(msgspec.json.encode({"model": "m", "messages": messages or [HELLO], **members}))


def written(prompt: Prompt) -> Any:
    return msgspec.json.decode(write_prompt(fit_prompt(prompt), "m"))


def parts_of(*content: Any) -> tuple[Part, ...]:
    return read({"role": "user", "content": list(content)}).turns[0].parts


# --- Reading ----------------------------------------------------------------------------------------------------


def test_roles_names_and_the_form_of_content_are_kept() -> None:
    prompt = read(
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}], "name": "Ann"},
        {"role": "assistant", "content": None, "refusal": "No."},
        {"role": "tool", "tool_call_id": "c1", "content": "3 °C"},
    )
    assert prompt.turns == (
        Turn("system", (Text("Be kind."),), native_role="developer"),
        Turn("user", (Text("Hi"),), "Ann", listed=True),
        Turn("assistant", (Text("No.", refusal=True),), extra=(("content", b"null"),)),
        Turn("user", (ToolResult("c1", (Text("3 °C"),)),)),
    )


@pytest.mark.parametrize(
    ("wire", "part"),
    [
        (
            {"type": "image_url", "image_url": {"url": "https://a.example/b.png", "detail": "low"}},
            Media("image", "https://a.example/b.png", detail="low"),
        ),
        (
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
            Media("image", data="QUJD", media_type="image/png"),
        ),
        (
            {"type": "image_url", "image_url": {"url": "data:image/svg+xml,%3Csvg/%3E"}},
            Media("image", "data:image/svg+xml,%3Csvg/%3E"),
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "QUJD", "format": "mp3"}},
            Media("audio", data="QUJD", media_type="audio/mpeg"),
        ),
        (
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,QUJD", "filename": "a.pdf"}},
            Media("file", data="QUJD", media_type="application/pdf", name="a.pdf"),
        ),
        (
            {"type": "video_url", "video_url": {"url": "https://a.example/b.mp4"}},
            Media("video", "https://a.example/b.mp4"),
        ),
        (
            {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]},
            Thought("Hm", member="thinking"),
        ),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else "",
)
def test_a_part_has_one_meaning_for_all_dialects(wire: Any, part: Part) -> None:
    assert parts_of(wire) == (part,)


@pytest.mark.parametrize(
    "wire",
    [
        {"type": "hologram", "hologram": {}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "image_url", "image_url": "https://a.example/b.png"},
        {"type": "image_url", "image_url": {"url": "x", "format": "new"}},
        {"type": "input_audio", "input_audio": {"data": "QUJD", "format": "mpeg"}},
        {
            "type": "thinking",
            "thinking": [{"type": "text", "text": "a"}, {"type": "reference", "reference_ids": [1]}],
        },
    ],
    ids=str,
)
def test_a_part_that_is_not_understood_in_whole_goes_home_and_nowhere_else(wire: Any) -> None:
    prompt = read({"role": "user", "content": [wire]})
    assert written(prompt)["messages"][0]["content"] == [wire]
    with pytest.raises(Fault, match=r"^messages\[0\]\.content\[0\]\.type"):
        abroad(prompt, "elsewhere")


def test_cache_marks_have_a_time_to_live_and_stay_where_they_were() -> None:
    marked = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    (part,) = parts_of(marked)
    assert part == Text("x", mark=CacheMark(3600, (("cache_control", b'{"type":"ephemeral","ttl":"1h"}'),)))


@pytest.mark.parametrize(
    ("members", "reasoning"),
    [
        ({"reasoning_effort": "low"}, (None, "low", None)),
        ({"reasoning": {"max_tokens": 2000}}, (None, None, 2000)),
        ({"reasoning": {"effort": "high", "enabled": True}}, (True, "high", None)),
        ({"thinking": {"type": "disabled"}}, (False, None, None)),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 9}, "reasoning_effort": "high"},
            (True, "high", 9),
        ),
        ({}, (None, None, None)),
        ({"thinking": "odd", "reasoning": 3}, (None, None, None)),
    ],
    ids=str,
)
def test_every_way_to_ask_for_thought_is_understood_and_goes_home_as_it_came(
    members: Any, reasoning: Any
) -> None:
    prompt = read(**members)
    found = prompt.reasoning
    assert (found.enabled, found.effort, found.budget) == reasoning
    assert written(prompt) == {"model": "m", "messages": [HELLO], **members}


def test_the_members_that_every_dialect_knows_have_fields() -> None:
    prompt = read(
        temperature=1,
        top_p=0.5,
        stop="END",
        seed=3,
        max_tokens=9,
        tool_choice={"type": "function", "function": {"name": "f"}},
        parallel_tool_calls=False,
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "a", "schema": {"b": 1.50}, "strict": None},
        },
    )
    assert prompt.sampling == Sampling(temperature=1, top_p=0.5, seed=3, stop=("END",))
    assert prompt.output == Output(9, "max_tokens", Schema("a", b'{"b":1.5}'))
    assert prompt.tool_choice == ToolChoice("named", "f", parallel=False)
    assert prompt.extra == prompt.bound == ()


@pytest.mark.parametrize(
    ("name", "value", "neutral"),
    [
        ("n", 2, 1),
        ("logprobs", True, False),
        ("top_logprobs", 3, 0),
        ("logit_bias", {"50256": -100}, {}),
        ("modalities", ["text", "audio"], ["text"]),
        ("functions", [{"name": "f"}], []),
        ("tool_choice", "any", None),
        ("response_format", {"type": "grammar"}, {"type": "text"}),
        ("guided_json", {"type": "object"}, None),
        ("max_tokens", 5, None),
    ],
)
def test_a_member_that_changes_the_answer_is_refused_abroad_by_name(
    name: str, value: Any, neutral: Any
) -> None:
    bound = read(**{"max_completion_tokens": 9, name: value})
    assert written(bound)[name] == value
    with pytest.raises(Fault) as caught:
        abroad(bound, "elsewhere")
    assert caught.value.param == name
    assert abroad(read(**{name: neutral}), "elsewhere").bound == ()


def test_the_gateways_own_members_go_nowhere() -> None:
    prompt = read(cache=True, character_id=7, models=["a"], session_id="s", service_tier="auto", store=True)
    assert written(prompt) == {"model": "m", "messages": [HELLO], "store": False}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)
unknown = st.dictionaries(st.from_regex(r"x_[a-z]{1,8}", fullmatch=True), json_values, max_size=4)


@given(top=unknown, message=unknown, part=unknown, call=unknown, tool=unknown)
def test_unknown_members_of_any_object_go_home_as_they_were(
    top: Any, message: Any, part: Any, call: Any, tool: Any
) -> None:
    request = {
        "model": "m",
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "x", **part}], **message},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [
                    {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{"}, **call}
                ],
            },
        ],
        "tools": [{"type": "function", "function": {"name": "f"}, **tool}],
        **top,
    }
    assert msgspec.json.decode(write_prompt(read_prompt(msgspec.json.encode(request)), "m")) == request


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"[]", "The request body"),
        (b"{", "The request body"),
        (b'{"messages":' + b"[" * 5000 + b"]" * 5000 + b"}", "The request body"),
        (b'{"model":"m"}', "messages"),
        (b'{"messages":{}}', "messages"),
        (b'{"messages":[1]}', "messages[0]"),
        (b'{"messages":[{"content":"x"}]}', "messages[0].role"),
        (b'{"messages":[{"role":"user","content":1}]}', "messages[0].content"),
        (b'{"messages":[{"role":"user","content":[{"type":"text"}]}]}', "messages[0].content[0].text"),
        (b'{"messages":[{"role":"tool","content":"x"}]}', "messages[0].tool_call_id"),
        (b'{"messages":[{"role":"user","content":"\xff"}]}', "messages[0].content"),
        (
            b'{"messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":{}}}]}]}',
            "messages[0].tool_calls[0].function.arguments",
        ),
        (b'{"messages":[],"temperature":"hot"}', "temperature"),
        (b'{"messages":[],"tools":[{"type":"function","function":{}}]}', "tools[0].function.name"),
        (b'{"messages":[],"stop":[1]}', "stop"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_shape_is_refused_by_its_path(body: bytes, param: str) -> None:
    with pytest.raises(Fault) as caught:
        read_prompt(body)
    assert caught.value.kind is Kind.BAD_REQUEST
    assert caught.value.param == param
    assert caught.value.message.startswith(param)


# --- Writing for a prompt from another dialect ------------------------------------------------------------------


def foreign(*turns: Turn, **members: Any) -> Prompt:
    return Prompt(turns=turns, origin="elsewhere", **members)


def test_a_foreign_conversation_is_written_in_the_documented_form() -> None:
    prompt = foreign(
        Turn("system", (Text("Be brief.", mark=CacheMark(300)),), listed=True),
        Turn("user", (Text("What is it?"), Media("image", data="QUJD", media_type="image/png"))),
        Turn("assistant", (Thought("Hm", "seal"), ToolCall("t1", "look", '{"at":1}', "seal"))),
        Turn(
            "user",
            (ToolResult("t1", (Text("a cat"), Media("image", "https://a.example/c.png"))), Text("Well?")),
        ),
        tools=(Tool("look", "Looks", b'{"type":"object"}', mark=CacheMark()),),
        tool_choice=ToolChoice("required", parallel=False),
        sampling=Sampling(temperature=0.5, top_k=40, stop=("END",)),
        output=Output(100, "max_output"),
        reasoning=Reasoning(enabled=True, budget=8000, native=(("thinking", b"{}"),)),
        stream=True,
    )
    assert written(prompt) == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is it?"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
                ],
            },
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "t1", "type": "function", "function": {"name": "look", "arguments": '{"at":1}'}}
                ],
            },
            {"role": "tool", "tool_call_id": "t1", "content": "a cat"},
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": "https://a.example/c.png"}},
                    {"type": "text", "text": "Well?"},
                ],
            },
        ],
        "tools": [
            {
                "type": "function",
                "function": {"name": "look", "description": "Looks", "parameters": {"type": "object"}},
            }
        ],
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "temperature": 0.5,
        "stop": ["END"],
        "max_tokens": 100,
        "reasoning_effort": "medium",
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert fit_prompt(prompt).dropped == ("top_k", "cache_control", "thinking")


def test_a_turn_of_nothing_but_a_foreign_thought_is_no_message() -> None:
    prompt = foreign(Turn("assistant", (Thought("Hm"),)), Turn("user", (Text("Well?"),)))
    assert written(prompt)["messages"] == [{"role": "user", "content": "Well?"}]
    assert fit_prompt(prompt).dropped == ("thinking",)


def test_an_empty_text_from_elsewhere_is_left_out() -> None:
    call = ToolCall("c1", "look", "{}")
    turns = (
        Turn("user", (Text(""), Text("Hi"))),
        Turn("assistant", (Text("See."), Text(""), call)),
        Turn("user", (ToolResult("c1", (Text(""),)),)),
        Turn("assistant", (Text(""),)),
    )
    assert [message["content"] for message in written(fit_prompt(foreign(*turns)))["messages"]] == [
        "Hi",
        "See.",
        "",
    ]


def test_a_conversation_of_which_nothing_is_left_is_refused() -> None:
    with pytest.raises(Fault) as caught:
        fit_prompt(foreign(Turn("user", (Text(""),))))
    assert (caught.value.kind, caught.value.param) == (Kind.BAD_REQUEST, "messages")


def test_fitting_twice_changes_nothing_more() -> None:
    called = Turn("assistant", (ToolCall("1", "f", "{}"),))
    answered = Turn("user", (ToolResult("1", (), failed=True),))
    prompt = fit_prompt(foreign(called, answered, extra=(("odd", b"1"),)))
    assert prompt.dropped == ("odd", "is_error")
    assert fit_prompt(prompt) == prompt
    assert written(prompt)["messages"][1:] == [{"role": "tool", "tool_call_id": "1", "content": ""}]


CALLED = Turn("assistant", (ToolCall("1", "f", "{}"), ToolCall("2", "g", "{}")))
FIRST, SECOND = ToolResult("1", (Text("a"),)), ToolResult("2", (Text("b"),))


@pytest.mark.parametrize(
    ("turns", "call_id"),
    [
        ((Turn("user", (FIRST,)),), "1"),
        ((CALLED,), "1"),
        ((CALLED, Turn("user", (FIRST,))), "2"),
        ((CALLED, Turn("user", (FIRST, Text("and?"))), Turn("user", (SECOND,))), "2"),
        ((CALLED, Turn("user", (Text("never mind"),))), "1"),
        ((CALLED, Turn("user", (FIRST, SECOND, FIRST))), "1"),
        ((CALLED, Turn("user", (FIRST, ToolResult("3", ())))), "3"),
    ],
)
def test_calls_and_answers_that_do_not_match_are_refused_by_name(
    turns: tuple[Turn, ...], call_id: str
) -> None:
    with pytest.raises(Fault) as caught:
        fit_prompt(foreign(*turns))
    assert (caught.value.kind, caught.value.param) == (Kind.BAD_REQUEST, call_id)


@pytest.mark.parametrize(
    "turns",
    [
        (CALLED, Turn("user", (FIRST, SECOND, Text("and?")))),
        (CALLED, Turn("user", (SECOND,)), Turn("user", (FIRST,)), Turn("assistant", (Text("so"),))),
        (
            CALLED,
            Turn("system", (Text("hurry"),)),
            Turn("user", (FIRST, SECOND)),
            CALLED,
            Turn("user", (FIRST, SECOND)),
        ),
    ],
)
def test_calls_that_are_answered_at_once_pass(turns: tuple[Turn, ...]) -> None:
    assert len(fit_prompt(foreign(*turns)).turns) == len(turns)


@pytest.mark.parametrize(
    "part",
    [
        Media("audio", "https://a.example/a.wav"),
        Media("file", "https://a.example/a.pdf"),
        Opaque("x", "url", "y", b"1"),
    ],
    ids=["audio by address", "file by address", "opaque"],
)
def test_what_chat_completions_cannot_say_is_refused_by_name(part: Part) -> None:
    with pytest.raises(Fault) as caught:
        fit_prompt(foreign(Turn("user", (part,))))
    assert caught.value.param == "url"


@pytest.mark.parametrize(
    ("budget", "effort"), [(1024, "low"), (4096, "low"), (4097, "medium"), (16384, "medium"), (20000, "high")]
)
def test_a_budget_for_thought_becomes_an_effort(budget: int, effort: str) -> None:
    assert written(foreign(reasoning=Reasoning(budget=budget)))["reasoning_effort"] == effort


def test_thought_that_is_switched_off_is_not_asked_for() -> None:
    assert "reasoning_effort" not in written(foreign(reasoning=Reasoning(enabled=False, budget=9000)))


def test_a_foreign_schema_without_a_name_gets_one_and_json_mode_stays_that() -> None:
    named = written(foreign(output=Output(schema=Schema(schema=b'{"type":"object"}'))))
    assert named["response_format"]["json_schema"] == {"name": "answer", "schema": {"type": "object"}}
    assert written(foreign(output=Output(schema=Schema())))["response_format"] == {"type": "json_object"}


def test_a_choice_of_tools_without_tools_is_not_said() -> None:
    assert written(foreign(tool_choice=ToolChoice("auto", parallel=True))) == {"model": "m", "messages": []}
