"""A conversation from elsewhere on its way to an Anthropic provider: what is repaired, listed, and refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.core.errors import Fault, Kind
from farebox.dialects.anthropic.parts import START
from farebox.dialects.conversation import (
    CacheMark,
    Media,
    Output,
    Part,
    Prompt,
    Reasoning,
    Role,
    Sampling,
    Schema,
    Text,
    Thought,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
)
from tests.dialects.anthropic_fitting import (
    CALL,
    DIALECT,
    LOOK,
    OWN_THOUGHT,
    PNG,
    RESULT,
    USER,
    assistant,
    fitted,
    refusal,
    system,
    user,
    wire,
)

# --- Turns ------------------------------------------------------------------------------------------------------


def test_all_the_systems_words_go_to_the_top() -> None:
    again = wire(fitted(system("One."), USER, assistant(Text("a")), system("Two."), user(Text("b"))))
    assert again["system"] == [{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}]
    assert [message["role"] for message in again["messages"]] == ["user", "assistant", "user"]
    assert wire(fitted(system("One."), USER))["system"] == "One."


def test_turns_of_one_side_become_one_with_tool_results_first() -> None:
    found = fitted(
        USER,
        assistant(Text("a")),
        assistant(CALL),
        user(Text("wait")),
        user(RESULT),
        user(Text("b")),
        tools=(LOOK,),
    )
    assert found.turns == (USER, assistant(Text("a"), CALL), user(RESULT, Text("wait"), Text("b")))


@pytest.mark.parametrize("empty", ["", " \n\t"])
def test_empty_words_and_turns_are_left_out(empty: str) -> None:
    found = fitted(system(empty), USER, assistant(Text(empty)), user(Text(empty), Text("b")))
    assert found.turns == (user(Text("Hi"), Text("b")),)


@pytest.mark.parametrize(
    "turns", [(system("Be brief."),), (assistant(Text("Welcome!")), USER), (user(Text("")),)]
)
def test_a_conversation_that_the_user_does_not_begin_gets_a_beginning(turns: tuple[Turn, ...]) -> None:
    messages = wire(fitted(*turns))["messages"]
    assert messages[0] == {"role": "user", "content": START}


def test_an_answer_that_was_begun_loses_the_white_space_at_its_end() -> None:
    assert fitted(USER, assistant(Text("It is \n"))).turns[-1] == assistant(Text("It is"))
    schema = Output(schema=Schema("a", b'{"type":"object"}'))
    assert refusal(USER, assistant(Text("It is")), output=schema).param == "messages"


def test_names_of_turns_are_listed() -> None:
    assert fitted(Turn("user", (Text("Hi"),), name="ann")).dropped == ("name",)


# --- Tool calls -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "turns",
    [
        (USER, user(RESULT)), (USER, assistant(CALL)), (USER, assistant(CALL), user(Text("b"))),
        (USER, assistant(CALL), user(RESULT, RESULT)),
        (USER, assistant(CALL), user(RESULT), assistant(Text("a")), user(RESULT)),
        (USER, assistant(CALL, ToolCall("call_2", "look", "{}")), user(RESULT)),
    ],
    ids=range(6),
)  # fmt: skip
def test_calls_and_results_that_do_not_belong_together_are_refused_by_name(turns: tuple[Turn, ...]) -> None:
    assert refusal(*turns, tools=(LOOK,)).param in ("call_1", "call_2")


@pytest.mark.parametrize(
    ("arguments", "written"),
    [
        ('{"a": 1.50}', {"a": 1.5}), ("", {}), ("  ", {}), ('{"a": "b', {"_raw": '{"a": "b'}),
        ("[1]", {"_raw": "[1]"}),
        ("null", {"_raw": "null"}), ('{"a":' + "[" * 101 + "]" * 101 + "}",
         {"_raw": '{"a":' + "[" * 101 + "]" * 101 + "}"}),
        ("[" * 100_000, {"_raw": "[" * 100_000}),
    ],
    ids=lambda value: str(value)[:20],
)  # fmt: skip
def test_arguments_are_always_an_object(arguments: str, written: Any) -> None:
    found = fitted(USER, assistant(ToolCall("call_1", "look", arguments)), user(RESULT), tools=(LOOK,))
    assert wire(found)["messages"][1]["content"][0]["input"] == written


def test_an_id_is_in_anthropics_letters_and_used_once() -> None:
    odd = ToolCall("functions.look:0", "look", "{}")
    turns = (assistant(odd, odd), user(ToolResult(odd.id, (Text("1"),)), ToolResult(odd.id, (Text("2"),))))
    messages = wire(fitted(USER, *turns, *turns, tools=(LOOK,)))["messages"]
    ids = [
        block["id"]
        for message in messages
        for block in message["content"]
        if isinstance(block, dict) and "id" in block
    ]
    answered = [block["tool_use_id"] for message in messages[2::2] for block in message["content"]]
    assert len(set(ids)) == 4
    assert answered == ids


def test_a_failed_result_says_so_and_an_empty_one_is_empty() -> None:
    failed = ToolResult("call_1", (Text(""),), failed=True)
    found = wire(fitted(USER, assistant(CALL), user(failed), tools=(LOOK,)))
    assert found["messages"][2]["content"] == [
        {"type": "tool_result", "tool_use_id": "call_1", "is_error": True}
    ]


def test_a_results_image_goes_with_it() -> None:
    seen = ToolResult(
        "call_1", (Text("a"), Media("image", data=PNG, media_type="image/png", mark=CacheMark()))
    )
    found = fitted(USER, assistant(CALL), user(seen), tools=(LOOK,))
    assert found.dropped == ("cache_control",)
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    assert wire(found)["messages"][2]["content"][0]["content"] == [{"type": "text", "text": "a"}, image]


# --- Marks, sampling, output ------------------------------------------------------------------------------------


def test_marks_are_written_in_anthropics_words_and_only_the_last_four() -> None:
    parts = tuple(
        Text(f"{at}", mark=CacheMark(3600 if at == 4 else None, (("cache_control", b'{"x":1}'),)))
        for at in range(5)
    )
    found = fitted(Turn("system", (Text("s", mark=CacheMark()),)), user(*parts))
    assert found.dropped == ("cache_control",)
    again = wire(found)
    assert again["system"] == "s"
    marks = [block.get("cache_control") for block in again["messages"][0]["content"]]
    five, hour = {"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"}
    assert marks == [None, five, five, five, hour]


@pytest.mark.parametrize(
    ("sampling", "written", "dropped"),
    [
        (Sampling(1.5), {"temperature": 1}, ("temperature",)), (Sampling(0.5, 0.9), {"temperature": 0.5}, ("top_p",)),
        (Sampling(None, 0.9, 40), {"top_p": 0.9, "top_k": 40}, ()),
        (Sampling(stop=("END",)), {"stop_sequences": ["END"]}, ()),
        (Sampling(frequency_penalty=1, presence_penalty=0.5, seed=7), {},
         ("frequency_penalty", "presence_penalty", "seed")),
    ],
)  # fmt: skip
def test_sampling_is_said_as_far_as_anthropic_takes_it(
    sampling: Sampling, written: Any, dropped: tuple[str, ...]
) -> None:
    found = fitted(sampling=sampling)
    names = ("temperature", "top_p", "top_k", "stop_sequences")
    assert {name: value for name, value in wire(found).items() if name in names} == written
    assert found.dropped == dropped


def test_a_stop_sequence_of_white_space_is_refused() -> None:
    assert refusal(sampling=Sampling(stop=("END", "\n\n"))).param == "stop"


def test_a_schema_is_lowered_and_json_without_one_is_asked_for_in_words() -> None:
    schema = Schema(
        "p", b'{"type":"object","properties":{"a":{"type":"integer","minimum":3}}}', True, "A thing."
    )
    found = fitted(output=Output(5, schema=schema))
    form = wire(found)["output_config"]["format"]
    assert form["type"] == "json_schema"
    assert form["schema"]["additionalProperties"] is False
    assert "minimum" not in form["schema"]["properties"]["a"]
    assert found.dropped == ("response_format.description",)
    again = wire(fitted(system("Be brief."), USER, output=Output(5, schema=Schema())))
    assert "output_config" not in again
    assert [block["text"] for block in again["system"]] == [
        "Be brief.",
        "Answer with one JSON object and nothing else.",
    ]


# --- Thinking ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reasoning", "limit", "written"),
    [
        (Reasoning(effort="low"), None, {"type": "enabled", "budget_tokens": 4096}),
        (Reasoning(effort="high"), 8192, {"type": "enabled", "budget_tokens": 6144}),
        (Reasoning(effort="minimal"), None, {"type": "enabled", "budget_tokens": 1024}),
        (Reasoning(budget=500), None, {"type": "enabled", "budget_tokens": 1024}),
        (Reasoning(enabled=True), None, {"type": "enabled", "budget_tokens": 16384}),
        (Reasoning(enabled=False), None, {"type": "disabled"}),
        (Reasoning(effort="none"), None, {"type": "disabled"}),
        (Reasoning(budget=0), None, {"type": "disabled"}), (Reasoning(), None, None),
    ],
)  # fmt: skip
def test_thinking_is_said_as_a_budget(reasoning: Reasoning, limit: int | None, written: Any) -> None:
    found = fitted(reasoning=reasoning, output=Output(limit))
    assert wire(found).get("thinking") == written
    assert found.dropped == ()


@pytest.mark.parametrize(
    ("turns", "members"),
    [
        ((USER,), {"output": Output(1300)}), ((USER,), {"tools": (LOOK,), "tool_choice": ToolChoice("required")}),
        ((USER,), {"tools": (LOOK,), "tool_choice": ToolChoice("named", "look")}),
        ((USER, assistant(Text("It is"))), {}),
        ((USER, assistant(CALL), user(RESULT)), {"tools": (LOOK,)}),
        ((USER, assistant(Text("a"), OWN_THOUGHT, CALL), user(RESULT)), {"tools": (LOOK,)}),
    ],
    ids=["limit", "required", "named", "begun", "thought lost", "thought late"],
)  # fmt: skip
def test_thinking_is_left_out_and_listed_where_anthropic_would_refuse_it(
    turns: tuple[Turn, ...], members: Any
) -> None:
    found = fitted(*turns, reasoning=Reasoning(effort="low"), **members)
    assert found.dropped == ("reasoning",)
    assert "thinking" not in wire(found)


def test_thinking_wins_over_sampling() -> None:
    found = fitted(reasoning=Reasoning(effort="low"), sampling=Sampling(0.2, 0.5, 40))
    assert found.dropped == ("temperature", "top_p", "top_k")
    assert found.sampling == Sampling()
    kept = Sampling(1, None)
    assert fitted(reasoning=Reasoning(effort="low"), sampling=kept).sampling == kept
    assert fitted(reasoning=Reasoning(effort="low"), sampling=Sampling(None, 0.97)).sampling.top_p == 0.97


def test_only_thoughts_that_anthropic_signed_go_to_it() -> None:
    others = (
        Thought("a"),
        Thought("b", "s", signed_by="gemini"),
        Thought("", "s", redacted=True, signed_by="openai_responses"),
    )
    own = (OWN_THOUGHT, Thought("", "EvoR", redacted=True, signed_by="anthropic"))
    turns = (USER, assistant(*others, *own, CALL), user(RESULT))
    found = fitted(*turns, tools=(LOOK,), reasoning=Reasoning(effort="low"))
    assert found.dropped == ("thinking",)
    assert found.turns[1] == assistant(*own, CALL)
    assert wire(found)["messages"][1]["content"][:2] == [
        {"type": "thinking", "thinking": "Hm.", "signature": "EqYC"},
        {"type": "redacted_thinking", "data": "EvoR"},
    ]


# --- Anything ---------------------------------------------------------------------------------------------------

WORDS = st.sampled_from(["", " ", "a", "look", "call_1", "x.y", "{}", "{", "é"])
MARKS = st.none() | st.just(CacheMark())
TEXTS = st.builds(Text, WORDS, mark=MARKS)
MEDIA = st.builds(
    Media,
    st.sampled_from(["image", "file", "audio"]),
    st.none() | WORDS,
    st.none() | st.just(PNG),
    st.none() | WORDS,
)
PARTS: st.SearchStrategy[Part] = st.one_of(
    TEXTS,
    MEDIA,
    st.builds(
        Thought, WORDS, st.none() | WORDS, st.booleans(), st.sampled_from([None, "anthropic", "gemini"])
    ),
    st.builds(
        ToolCall,
        st.sampled_from(["call_1", "call_2", "a.b"]),
        st.just("look"),
        WORDS,
        st.none() | WORDS,
        MARKS,
    ),
    st.builds(
        ToolResult,
        st.sampled_from(["call_1", "call_2", "a.b"]),
        st.lists(TEXTS, max_size=2).map(tuple),
        st.booleans(),
    ),
)
ROLES: st.SearchStrategy[Role] = st.sampled_from(["system", "user", "assistant"])
TURNS = st.lists(st.builds(Turn, ROLES, st.lists(PARTS, max_size=3).map(tuple)), max_size=5)
CHOICES = st.builds(
    ToolChoice, st.sampled_from([None, "auto", "none", "required"]), st.none(), st.none() | st.booleans()
)


def attempted(prompt: Prompt) -> Prompt | Fault:
    try:
        return DIALECT.fit_prompt(prompt)
    except Fault as fault:
        return fault


@given(
    TURNS,
    CHOICES,
    st.booleans(),
    st.none() | st.integers(1, 9000),
    st.sampled_from([Reasoning(), Reasoning(effort="low")]),
)
def test_what_was_fitted_is_never_what_anthropic_refuses(
    turns: list[Turn], choice: ToolChoice, tooled: bool, limit: int | None, reasoning: Reasoning
) -> None:
    prompt = Prompt(
        tuple(turns),
        "openai_chat",
        (LOOK,) if tooled else (),
        choice,
        output=Output(limit),
        reasoning=reasoning,
    )
    found = attempted(prompt)
    if isinstance(found, Fault):
        assert found.kind is Kind.BAD_REQUEST
        assert found.param
        return
    assert DIALECT.fit_prompt(found) == found
    messages = wire(found)["messages"]
    assert [message["role"] for message in messages] == [
        ("user", "assistant")[at % 2] for at in range(len(messages))
    ]
