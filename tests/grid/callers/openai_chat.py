"""A caller of OpenAI's chat completions, written from its reference alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

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

NAME = "openai_chat"
FAULT_TYPES = {
    400: "invalid_request_error",
    502: "service_unavailable_error",
    503: "service_unavailable_error",
}
_FINISHES = {"stop", "length", "tool_calls", "content_filter"}


def ask(scenario: Scenario, model: str, *, stream: bool) -> Asking:
    """The first request of a scenario."""
    body: dict[str, Any] = {
        "model": model,
        "messages": [
            {"role": "system", "content": scenario.system},
            *(_message(turn) for turn in scenario.turns()),
        ],
        "max_completion_tokens": scenario.limit,
    }
    if scenario.tools:
        body["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": tool.parameters,
                    "strict": True,
                },
            }
            for tool in scenario.tools
        ]
        body["tool_choice"] = scenario.choice
    if scenario.parallel:
        body["parallel_tool_calls"] = True
    if scenario.schema:
        form = {"name": "fare", "schema": scenario.schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": form}
    if scenario.effort:
        body["reasoning_effort"] = scenario.effort
    if scenario.stop:
        body["stop"] = list(scenario.stop)
    if scenario.temperature is not None:
        body["temperature"] = scenario.temperature
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return _asking(body, model, stream=stream)


def go_on(asking: Asking, heard: Heard, results: Sequence[str]) -> Asking:
    """The next request: everything so far, the model's own message as it came, and what its tools answered."""
    answers = [
        {"role": "tool", "tool_call_id": call.id, "content": text}
        for call, text in zip(heard.calls, results, strict=True)
    ]
    body = {**asking.body, "messages": [*asking.body["messages"], heard.native, *answers]}
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
        return _hear_plain(json.loads(answer.body))
    assert kind.startswith("text/event-stream")
    return _hear_stream(answer.body)


def _asking(body: dict[str, Any], model: str, *, stream: bool) -> Asking:
    return Asking("/v1/chat/completions", {"authorization": "Bearer KEY"}, body, model, stream)


def _message(turn: Turn) -> dict[str, Any]:
    texts = [piece.text for piece in turn.pieces if isinstance(piece, Words)]
    if len(texts) == len(turn.pieces) == 1:
        return {"role": turn.role, "content": texts[0]}
    return {"role": turn.role, "content": [_part(piece) for piece in turn.pieces]}


def _part(piece: Words | Picture | Call | Result) -> dict[str, Any]:
    if isinstance(piece, Picture):
        url = piece.url or f"data:{piece.media_type};base64,{piece.data}"
        return {"type": "image_url", "image_url": {"url": url}}
    assert isinstance(piece, Words)
    return {"type": "text", "text": piece.text}


def _hear_plain(wire: dict[str, Any]) -> Heard:
    need(wire, "id", "created", "usage")
    assert wire["object"] == "chat.completion"
    assert wire["id"].startswith("chatcmpl-")
    assert isinstance(wire["created"], int)
    (choice,) = wire["choices"]
    assert choice["index"] == 0
    message = choice["message"]
    need(message, "role", "content")
    assert message["role"] == "assistant"
    return _heard(wire, message, choice["finish_reason"], wire["usage"])


def _hear_stream(body: bytes) -> Heard:
    *events, done = read_events(body, comments=True)
    ended = done.data == "[DONE]"
    chunks = [event.json for event in (events if ended else [*events, done])]
    assert not any(event.name for event in [*events, done]), "chat completions name no events"
    message: dict[str, Any] = {}
    finish, usage = "", None
    for at, chunk in enumerate(chunks):
        need(chunk, "id", "created", "model", "choices")
        assert (chunk["object"], chunk["id"]) == ("chat.completion.chunk", chunks[0]["id"])
        assert chunk["model"] == chunks[0]["model"]
        if "error" in chunk:
            assert (at, ended) == (len(chunks) - 1, False), "nothing follows an error"
            assert chunk["choices"][0]["finish_reason"] == "error"
            error = chunk["error"]
            need(error, "message", "type", "param", "code")
            return Heard(
                words=message.get("content") or "", fault=HeardFault(200, error["type"], error["message"])
            )
        if not chunk["choices"]:
            assert at == len(chunks) - 1, "usage is the last chunk"
            usage = chunk["usage"]
            continue
        # Null, says the reference; engines leave it out, and the relay leaves that as it is.
        assert chunk.get("usage") is None, "only the last chunk tells usage where it was asked for"
        (choice,) = chunk["choices"]
        assert not finish, "nothing is said after the finish"
        assert ("role" in choice["delta"]) == (at == 0), "the first delta alone says the role"
        _grow(message, choice["delta"])
        finish = choice["finish_reason"] or ""
    assert ended, "the stream has no [DONE]"
    assert usage is not None, "usage was asked for and not told"
    return _heard(chunks[0], message, finish, usage)


def _grow(message: dict[str, Any], delta: dict[str, Any]) -> None:
    for name, value in delta.items():
        if name == "tool_calls":
            for call in value:
                _grow_call(message.setdefault("tool_calls", []), dict(call))
        elif name == "reasoning_details":
            message.setdefault(name, []).extend(value)
        elif name != "role" and isinstance(value, str):
            message[name] = (message.get(name) or "") + value
        else:
            message.setdefault(name, value)


def _grow_call(calls: list[dict[str, Any]], delta: dict[str, Any]) -> None:
    index = delta.pop("index")
    if index == len(calls):
        need(delta, "id", "type", "function")
        need(delta["function"], "name", "arguments")
        calls.append({**delta, "function": dict(delta["function"])})
        return
    call = calls[index]
    assert delta.get("id", call["id"]) == call["id"], "a call keeps its id"
    call["function"]["arguments"] += delta.pop("function", {}).get("arguments", "")
    call |= delta


def _heard(wire: dict[str, Any], message: dict[str, Any], finish: str, usage: dict[str, Any]) -> Heard:
    assert finish in _FINISHES, finish
    calls = message.get("tool_calls") or []
    for call in calls:
        assert call["type"] == "function"
    return Heard(
        model=wire["model"],
        words=message.get("content") or "",
        calls=tuple(
            Call(call["function"]["name"], json.loads(call["function"]["arguments"]), call["id"])
            for call in calls
        ),
        thought=message.get("reasoning_content") or "",
        finish=finish,
        tokens=_tokens(usage),
        cost=usage.get("cost"),
        native=_native(message, calls),
    )


def _native(message: dict[str, Any], calls: list[dict[str, Any]]) -> dict[str, Any]:
    """The message as most clients send it back: of a call they keep what the reference knows, and nothing beside it."""
    if not calls:
        return message
    kept = [{name: call[name] for name in ("id", "type", "function")} for call in calls]
    return {**message, "tool_calls": kept}


def _tokens(usage: dict[str, Any]) -> Tokens:
    prompt, completion = usage["prompt_tokens"], usage["completion_tokens"]
    assert usage["total_tokens"] == prompt + completion
    # Both details are optional, says the reference, and engines leave them out.
    cached = usage.get("prompt_tokens_details", {}).get("cached_tokens", 0)
    thought = usage.get("completion_tokens_details", {}).get("reasoning_tokens")
    return Tokens(prompt - cached, cached, completion - (thought or 0), thought)
