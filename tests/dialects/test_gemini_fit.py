"""Conversations from elsewhere in Gemini's words: what is repaired, what is listed, what is refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from farebox.core.errors import Fault, Kind
from farebox.dialects import DIALECTS
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
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
)
from farebox.dialects.gemini.fit import BUDGET_MAX, UNSIGNED, fit_prompt
from farebox.dialects.gemini.prompt import write_prompt
from farebox.dialects.seal import seal_id

CONTENTS = [{"role": "user", "parts": [{"text": "Hi"}]}]
HI = Turn("user", (Text("Hi"),))


def written(prompt: Prompt) -> Any:
    return json.loads(write_prompt(fit_prompt(prompt), "theirs"))


def refusal(prompt: Prompt) -> Fault:
    with pytest.raises(Fault) as caught:
        fit_prompt(prompt)
    assert caught.value.kind is Kind.BAD_REQUEST
    return caught.value


def elsewhere(*turns: Turn, **members: Any) -> Prompt:
    return Prompt(turns=turns or (HI,), origin="another", **members)


def said(role: Role, *parts: Part) -> Turn:
    return Turn(role, parts)


CALL, RESULT = ToolCall("c1", "f", '{"a":1}'), ToolResult("c1", (Text("sunny"),))


def test_system_words_of_any_place_go_to_the_instruction() -> None:
    told = written(elsewhere(said("system", Text("A")), HI, said("system", Text("B"), Text(""))))
    assert told == {"systemInstruction": {"parts": [{"text": "A"}, {"text": "B"}]}, "contents": CONTENTS}


def test_where_only_system_words_are_said_they_are_the_users() -> None:
    assert written(elsewhere(said("system", Text("Hi"))))["contents"] == CONTENTS
    assert refusal(elsewhere(said("user", Text("")))).param == "messages"
    assert refusal(elsewhere(said("system", Media("image", data="x")), HI)).param == "system"


def test_turns_of_one_side_are_one_and_the_user_begins() -> None:
    turns = (said("assistant", Text("A")), said("assistant", Text("B"), Text("")), said("user", Text("")), HI)
    contents = written(elsewhere(*turns))["contents"]
    assert [content["role"] for content in contents] == ["user", "model", "user"]
    assert contents[1]["parts"] == [{"text": "A"}, {"text": "B"}]


def test_results_stand_together_in_the_order_of_their_calls_and_pictures_follow() -> None:
    calls = (Text("Let me see."), CALL, ToolCall("c2", "g", ""))
    second = ToolResult("c2", (Text('{"a": 2}'), Media("image", data="iVBORw")), failed=True)
    turns = (HI, said("assistant", *calls), said("user", second), said("user", Text("And?"), RESULT))
    contents = written(elsewhere(*turns))["contents"]
    assert contents[1]["parts"] == [
        {"text": "Let me see."},
        {"functionCall": {"id": "c1", "name": "f", "args": {"a": 1}}, "thoughtSignature": UNSIGNED},
        {"functionCall": {"id": "c2", "name": "g", "args": {}}},
    ]
    assert contents[2]["parts"] == [
        {"functionResponse": {"id": "c1", "name": "f", "response": {"result": "sunny"}}},
        {"functionResponse": {"id": "c2", "name": "g", "response": {"error": {"a": 2}}}},
        {"inlineData": {"mimeType": "image/png", "data": "iVBORw"}},
        {"text": "And?"},
    ]


@pytest.mark.parametrize(
    ("text", "failed", "response"),
    [
        ("", False, {"result": ""}), ("sunny", False, {"result": "sunny"}), ("[1]", False, {"result": "[1]"}),
        ('{"a": 1}', False, {"a": 1}), ("no", True, {"error": "no"}), ('{"error":"x"}', True, {"error": "x"}),
        ('{"a', False, {"result": '{"a'}), ("NaN", False, {"result": "NaN"}),
    ],
    ids=str,
)  # fmt: skip
def test_a_result_is_an_object(text: str, failed: bool, response: Any) -> None:
    turns = (HI, said("assistant", CALL), said("user", ToolResult("c1", (Text(text),), failed)))
    assert written(elsewhere(*turns))["contents"][2]["parts"][0]["functionResponse"]["response"] == response


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("", {}), (" ", {}), ('{"a":{"b":[]}}', {"a": {"b": []}}), ('{"a":', {"_raw": '{"a":'}),
        ("[1]", {"_raw": "[1]"}),
        ("null", {"_raw": "null"}), ("{}{}", {"_raw": "{}{}"}),
    ],
    ids=str,
)  # fmt: skip
def test_arguments_are_an_object_even_where_they_were_half_written(text: str, arguments: Any) -> None:
    turns = (HI, said("assistant", ToolCall("c1", "f", text)), said("user", RESULT))
    assert written(elsewhere(*turns))["contents"][1]["parts"][0]["functionCall"]["args"] == arguments


def test_signatures_of_gemini_come_back_and_all_others_stay_away() -> None:
    model = said(
        "assistant", Thought("a", "c2ln", signed_by="gemini"), Thought("b", "x", signed_by="anthropic"), Thought("c"),
        Text("d", signature="dGV4dA=="), replace(CALL, signature="Y2FsbA=="),
    )  # fmt: skip
    prompt = fit_prompt(elsewhere(HI, model, said("user", RESULT)))
    assert prompt.dropped == ("thinking",)
    assert written(prompt)["contents"][1]["parts"] == [
        {"text": "a", "thought": True, "thoughtSignature": "c2ln"}, {"text": "d", "thoughtSignature": "dGV4dA=="},
        {"functionCall": {"id": "c1", "name": "f", "args": {"a": 1}}, "thoughtSignature": "Y2FsbA=="},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("turns", "param"),
    [
        ((HI, said("user", RESULT)), "c1"), ((said("user", RESULT),), "c1"),
        ((HI, said("assistant", CALL)), "c1"), ((HI, said("assistant", CALL), HI), "c1"),
        ((HI, said("assistant", CALL), said("user", RESULT, RESULT)), "c1"),
        ((HI, said("assistant", CALL, replace(CALL, id="c2")), said("user", RESULT)), "c2"),
        ((HI, said("assistant", CALL), said("user", RESULT), said("assistant", Text("x")), said("user", RESULT)),
         "c1"),
        ((HI, said("assistant", ToolCall("c1", "7days", "{}")), said("user", RESULT)), "7days"),
    ],
    ids=str,
)  # fmt: skip
def test_a_conversation_that_google_refuses_is_refused_by_name(turns: tuple[Turn, ...], param: str) -> None:
    fault = refusal(elsewhere(*turns))
    assert fault.param == param
    assert param in fault.message


@pytest.mark.parametrize(
    ("reasoning", "config"),
    [
        (Reasoning(), None), (Reasoning(effort="none"), {"thinkingBudget": 0}),
        (Reasoning(enabled=False, effort="high"), {"thinkingBudget": 0}),
        (Reasoning(budget=0), {"thinkingBudget": 0}),
        (Reasoning(effort="low"), {"thinkingBudget": 4096, "includeThoughts": True}),
        (Reasoning(effort="high", shown=False), {"thinkingBudget": BUDGET_MAX, "includeThoughts": False}),
        (Reasoning(budget=100), {"thinkingBudget": 512, "includeThoughts": True}),
        (Reasoning(enabled=True), {"thinkingBudget": -1, "includeThoughts": True}),
        (Reasoning(shown=True), {"thinkingBudget": -1, "includeThoughts": True}), (Reasoning(shown=False), None),
    ],
    ids=str,
)  # fmt: skip
def test_effort_and_budget_become_a_budget(reasoning: Reasoning, config: Any) -> None:
    told = written(elsewhere(reasoning=reasoning))
    assert told.get("generationConfig", {}).get("thinkingConfig") == config


def test_media_are_said_with_a_type_where_one_is_needed() -> None:
    media = [
        Media("image", data="/9j/4AAQ", detail="high", mark=CacheMark()), Media("file", data="x", name="a.pdf"),
        Media("audio", data="x", media_type="audio/wav", detail="auto"),
        Media("image", url="https://a.example/x.PNG?y=1"),
        Media("image", url="https://a.example/x"),
    ]  # fmt: skip
    prompt = fit_prompt(elsewhere(said("user", *media)))
    assert prompt.dropped == ("cache_control", "detail", "filename")
    assert written(prompt)["contents"][0]["parts"] == [
        {"inlineData": {"mimeType": "image/jpeg", "data": "/9j/4AAQ"}},
        {"inlineData": {"mimeType": "application/pdf", "data": "x"}},
        {"inlineData": {"mimeType": "audio/wav", "data": "x"}},
        {"fileData": {"mimeType": "image/png", "fileUri": "https://a.example/x.PNG?y=1"}},
        {"fileData": {"fileUri": "https://a.example/x"}},
    ]


def test_tools_and_forms_come_in_googles_words_and_the_rest_is_listed() -> None:
    schema = b'{"type":"object","properties":{"a":{"type":["string","null"]}},"additionalProperties":false}'
    prompt = fit_prompt(
        elsewhere(
            replace(HI, name="Ann"), tools=(Tool("f", "Does.", schema, strict=True, mark=CacheMark()), Tool("g")),
            tool_choice=ToolChoice("named", "f", parallel=False),
            sampling=Sampling(seed=2**40, stop=("", "x"), top_k=3),
            output=Output(7, "max_tokens", Schema("n", schema, strict=True)),
        )
    )  # fmt: skip
    assert set(prompt.dropped) == {"strict", "cache_control", "name", "parallel_tool_calls", "seed"}
    lowered = {"type": "object", "properties": {"a": {"type": "string", "nullable": True}}}
    assert written(prompt) == {
        "contents": CONTENTS,
        "tools": [{"functionDeclarations": [{"name": "f", "description": "Does.", "parameters": lowered},
         {"name": "g"}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
        "generationConfig": {
            "topK": 3, "stopSequences": ["x"], "maxOutputTokens": 7,
            "responseMimeType": "application/json", "responseSchema": lowered,
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"sampling": Sampling(stop=tuple("abcdef"))}, "stop"), ({"tools": (Tool("bad name"),)}, "bad name"),
        ({"tool_choice": ToolChoice("required")}, "tool_choice"),
        ({"tool_choice": ToolChoice("named", "f"), "tools": (Tool("g"),)}, "tool_choice"),
    ],
    ids=str,
)  # fmt: skip
def test_what_changes_the_answer_and_has_no_word_is_refused_by_name(members: Any, param: str) -> None:
    fault = refusal(elsewhere(**members))
    assert fault.param == param
    assert param in fault.message


def test_a_choice_without_tools_says_nothing() -> None:
    assert "toolConfig" not in written(elsewhere(tool_choice=ToolChoice("auto")))
    assert written(elsewhere(tool_choice=ToolChoice("none"), tools=(Tool("f"),)))["toolConfig"] == {
        "functionCallingConfig": {"mode": "NONE"}
    }


def test_fitting_twice_does_nothing_more() -> None:
    calls = (CALL, ToolCall("c2", "g", "[half"), Thought("t", "s", signed_by="gemini"))
    results = (RESULT, ToolResult("c2", (Text("x"), Media("image", data="iVBORw")), failed=True))
    prompt = fit_prompt(
        elsewhere(
            said("system", Text("S")), said("assistant", *calls), said("user", *results),
            tools=(Tool("f", parameters=b"{}"),),
            reasoning=Reasoning(effort="medium", shown=False), output=Output(schema=Schema("n", b'{"const":1}')),
        )
    )  # fmt: skip
    assert fit_prompt(prompt) == prompt


def test_a_conversation_moves_from_chat_to_gemini_and_its_ids_come_back() -> None:
    sealed = seal_id("call_1", "c2lnbmVk")
    chat = {
        "model": "m",
        "messages": [
            {"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Weather?"},
            {"role": "assistant", "tool_calls": [
                {"id": sealed, "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}]},
            {"role": "tool", "tool_call_id": sealed, "content": "sunny"},
        ],
        "max_completion_tokens": 9, "reasoning_effort": "none",
    }  # fmt: skip
    assert written(DIALECTS["openai_chat"].read_prompt(json.dumps(chat).encode())) == {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "Weather?"}]},
            {"role": "model", "parts": [
                {"functionCall": {"id": "call_1", "name": "f", "args": {"a": 1}}, "thoughtSignature": "c2lnbmVk"}]},
            {"role": "user", "parts": [
                {"functionResponse": {"id": "call_1", "name": "f", "response": {"result": "sunny"}}}]},
        ],
        "generationConfig": {"maxOutputTokens": 9, "thinkingConfig": {"thinkingBudget": 0}},
    }  # fmt: skip
