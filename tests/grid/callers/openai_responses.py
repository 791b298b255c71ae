"""A caller of OpenAI's Responses API, written from its reference alone; it keeps its conversation itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tests.grid.callers.life_cycle import LifeCycle
from tests.grid.facts import (
    Answered,
    Asking,
    Call,
    Heard,
    HeardFault,
    Picture,
    Result,
    Scenario,
    Tokens,
    Turn,
    Words,
)
from tests.grid.lines import need, read_events

NAME = "openai_responses"
FAULT_TYPES = {
    400: "invalid_request_error",
    502: "service_unavailable_error",
    503: "service_unavailable_error",
}
# OpenAPI, Response: what an official client takes for granted.
_REQUIRED = (
    "id object created_at error incomplete_details instructions model tools output parallel_tool_calls metadata"
    " tool_choice temperature top_p status usage text"
)

_CUT_SHORT = {"reason": "max_output_tokens"}
_ENDS = [("completed", None), ("incomplete", _CUT_SHORT)]


def ask(scenario: Scenario, model: str, *, stream: bool) -> Asking:
    """The first request of a scenario."""
    body: dict[str, Any] = {
        "model": model,
        "instructions": scenario.system,
        "input": [_message(turn) for turn in scenario.turns()],
        "max_output_tokens": scenario.limit,
        "store": False,
    }
    if scenario.tools:
        body["tools"] = [
            {
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.parameters,
                "strict": True,
            }
            for tool in scenario.tools
        ]
        body["tool_choice"] = scenario.choice
    if scenario.parallel:
        body["parallel_tool_calls"] = True
    if scenario.schema:
        form = {"type": "json_schema", "name": "fare", "schema": scenario.schema, "strict": True}
        body["text"] = {"format": form}
    if scenario.effort:
        body["reasoning"] = {"effort": scenario.effort, "summary": "auto"}
        body["include"] = ["reasoning.encrypted_content"]
    if scenario.stop:
        body["stop"] = list(scenario.stop)  # Not OpenAI's: the gateway's own extension.
    if scenario.temperature is not None:
        body["temperature"] = scenario.temperature
    if stream:
        body["stream"] = True
    return _asking(body, model, stream=stream)


def go_on(asking: Asking, heard: Heard, results: Sequence[str]) -> Asking:
    """The next request: everything so far, the output items as they came, and what the tools answered."""
    answers = [
        {"type": "function_call_output", "call_id": call.id, "output": text}
        for call, text in zip(heard.calls, results, strict=True)
    ]
    body = {**asking.body, "input": [*asking.body["input"], *heard.native, *answers]}
    if "tool_choice" in body:
        body["tool_choice"] = "auto"
    return _asking(body, asking.model, stream=asking.stream)


def hear(answer: Answered, asking: Asking) -> Heard:
    """Read an answer; AssertionError says what in it is not as the reference has it."""
    if answer.status != 200:
        error = json.loads(answer.body)["error"]
        need(error, "message", "type", "param", "code")
        return Heard(fault=HeardFault(answer.status, error["type"], error["message"], error["param"]))
    kind = answer.headers["content-type"]
    if not asking.stream:
        assert kind == "application/json"
        return _heard(json.loads(answer.body), asking)
    assert kind.startswith("text/event-stream")
    life = LifeCycle()
    for event in read_events(answer.body, comments=True):
        wire = event.json
        assert wire["type"] == event.name, "an event is named by its type"
        life.take(wire)
    assert life.response is not None, "the stream has no end"
    if life.error is not None:
        failed = life.response["error"]
        assert failed["message"] == life.error["message"]
        return Heard(words=life.words, fault=HeardFault(200, failed["code"], failed["message"]))
    return _heard(life.response, asking)


def _asking(body: dict[str, Any], model: str, *, stream: bool) -> Asking:
    return Asking("/v1/responses", {"authorization": "Bearer KEY"}, body, model, stream)


def _message(turn: Turn) -> dict[str, Any]:
    texts = [piece.text for piece in turn.pieces if isinstance(piece, Words)]
    if len(texts) == len(turn.pieces) == 1:
        return {"role": turn.role, "content": texts[0]}
    return {"role": turn.role, "content": [_part(piece) for piece in turn.pieces]}


def _part(piece: Words | Picture | Call | Result) -> dict[str, Any]:
    if isinstance(piece, Picture):
        url = piece.url or f"data:{piece.media_type};base64,{piece.data}"
        return {"type": "input_image", "image_url": url, "detail": "auto"}
    assert isinstance(piece, Words)
    return {"type": "input_text", "text": piece.text}


def _heard(response: dict[str, Any], asking: Asking) -> Heard:
    need(response, *_REQUIRED.split())
    assert (response["object"], response["error"]) == ("response", None)
    details = response["incomplete_details"]
    assert (response["status"], details) in _ENDS, (response["status"], details)
    assert response["id"].startswith("resp_")
    assert response["instructions"] == asking.body["instructions"]
    words, thought, calls = "", "", []
    for item in response["output"]:
        match item["type"]:
            case "message":
                need(item, "id", "status")
                assert item["role"] == "assistant"
                for part in item["content"]:
                    need(part, "annotations")
                    assert part["type"] == "output_text"
                    words += part["text"]
            case "reasoning":
                need(item, "id")
                thought += "".join(part["text"] for part in item["summary"])
            case "function_call":
                need(item, "id", "status")
                calls.append(Call(item["name"], json.loads(item["arguments"]), item["call_id"]))
            case other:
                raise AssertionError(f"an item of type {other}")
    usage = response["usage"]
    return Heard(
        model=response["model"],
        words=words,
        calls=tuple(calls),
        thought=thought,
        finish="length" if details else "tool_calls" if calls else "stop",
        tokens=_tokens(usage),
        cost=usage.get("cost"),
        native=response["output"],
    )


def _tokens(usage: dict[str, Any]) -> Tokens:
    into, out = usage["input_tokens"], usage["output_tokens"]
    assert usage["total_tokens"] == into + out
    cached = usage["input_tokens_details"]["cached_tokens"]
    thought = usage["output_tokens_details"]["reasoning_tokens"]
    return Tokens(into - cached, cached, out - thought, thought)
