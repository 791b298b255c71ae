"""The sandbox calls a tool once, with arguments that fit, and then puts the result into words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.sandbox import ask, fold, stream


def tool(name: str, parameters: object = None) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


PLACE = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Pune", "Goa"]}},
    "required": ["city"],
}
TOOLS = [tool("weather", PLACE), tool("time"), tool("news", {})]


def calls_of(reply: Any) -> list[Any]:
    calls = reply["choices"][0]["message"].get("tool_calls", [])
    assert (reply["choices"][0]["finish_reason"] == "tool_calls") == bool(calls)
    return [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in calls]


@pytest.mark.parametrize("choice", [None, "auto", "required"])
async def test_the_first_tool_is_called_once_with_arguments_that_fit(choice: str | None) -> None:
    reply = await ask("What is it like?", tools=TOOLS, tool_choice=choice)
    assert calls_of(reply) == [("weather", {"city": "Pune"})]
    message = reply["choices"][0]["message"]
    assert message["content"] is None
    assert message["tool_calls"][0]["type"] == "function"
    assert message["tool_calls"][0]["id"].startswith("call_")


async def test_a_named_tool_is_the_one_that_is_called() -> None:
    named = {"type": "function", "function": {"name": "time"}}
    assert calls_of(await ask("Both, please", tools=TOOLS, tool_choice=named)) == [("time", {})]


@pytest.mark.parametrize("members", [{"tools": TOOLS, "tool_choice": "none"}, {"tools": []}, {"tools": None}])
async def test_without_tools_or_leave_to_call_them_there_are_words(members: dict[str, Any]) -> None:
    reply = await ask("What is it like?", **members)
    assert calls_of(reply) == []
    assert "What is it like?" in reply["choices"][0]["message"]["content"]


async def test_a_user_who_says_both_gets_two_calls_unless_calls_must_be_single() -> None:
    two = await ask("Tell me both.", tools=TOOLS)
    assert calls_of(two) == [("weather", {"city": "Pune"}), ("time", {})]
    ids = [call["id"] for call in two["choices"][0]["message"]["tool_calls"]]
    assert len(set(ids)) == 2
    assert len(calls_of(await ask("Tell me both.", tools=TOOLS, parallel_tool_calls=False))) == 1
    assert len(calls_of(await ask("Tell me both.", tools=TOOLS[:1]))) == 1


@pytest.mark.parametrize("choice", ["auto", "required"])
async def test_an_agents_loop_ends_in_words_about_the_results(choice: str) -> None:
    messages: list[Any] = [{"role": "user", "content": "Tell me both."}]
    members: dict[str, Any] = {"tools": TOOLS, "tool_choice": choice}
    message = (await ask(messages=messages, **members))["choices"][0]["message"]
    messages.append(message)
    for call, result in zip(message["tool_calls"], ("31 degrees", "noon"), strict=True):
        messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})
    reply = await ask(messages=messages, **members)
    assert calls_of(reply) == []
    text = reply["choices"][0]["message"]["content"]
    assert "weather answered: “31 degrees”" in text
    assert "time answered: “noon”" in text
    messages += [reply["choices"][0]["message"], {"role": "user", "content": "And tomorrow?"}]
    again = await ask(messages=messages, **members)
    assert len(calls_of(again)) == 1
    assert again["choices"][0]["message"]["tool_calls"][0]["id"] not in {
        call["id"] for call in message["tool_calls"]
    }


async def test_a_result_is_put_into_the_form_that_was_asked_for() -> None:
    called = (await ask("Go", tools=TOOLS))["choices"][0]["message"]
    result = {"role": "tool", "tool_call_id": called["tool_calls"][0]["id"], "content": "31 degrees"}
    messages = [{"role": "user", "content": "Go"}, called, result]
    form = {"type": "json_schema", "json_schema": {"name": "place", "schema": PLACE}}
    reply = await ask(messages=messages, tools=TOOLS, response_format=form)
    assert json.loads(reply["choices"][0]["message"]["content"]) == {"city": "Pune"}


async def test_a_limit_cuts_arguments_and_leaves_out_a_call_that_has_no_room() -> None:
    half = await ask("Go", tools=TOOLS, max_tokens=4)
    call = half["choices"][0]["message"]["tool_calls"][0]["function"]
    assert call["arguments"] == '{"city":'
    assert half["choices"][0]["finish_reason"] == "length"
    assert half["usage"]["completion_tokens"] == 4
    none = await ask("Go", tools=TOOLS, max_tokens=2)
    assert "tool_calls" not in none["choices"][0]["message"]
    assert none["choices"][0]["finish_reason"] == "length"


async def test_arguments_are_streamed_in_pieces_and_every_choice_has_its_own_ids() -> None:
    chunks = await stream("Tell me both.", tools=TOOLS, n=2)
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    pieces = [call["function"]["arguments"] for delta in deltas for call in delta.get("tool_calls", [])]
    assert max(map(len, pieces)) <= 8
    choices = fold(chunks)["choices"]
    ids = [call["id"] for choice in choices for call in choice["message"]["tool_calls"]]
    assert len(set(ids)) == 4


async def test_tools_and_earlier_calls_are_part_of_the_prompt() -> None:
    bare = (await ask("Go"))["usage"]["prompt_tokens"]
    assert (await ask("Go", tools=TOOLS))["usage"]["prompt_tokens"] > bare
