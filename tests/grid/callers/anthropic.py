"""A caller of Anthropic's Messages, written from its reference alone."""

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
    Schema,
    Tokens,
    Turn,
    Words,
)
from tests.grid.lines import Line, need, read_events

NAME = "anthropic"
FAULT_TYPES = {400: "invalid_request_error", 502: "api_error", 503: "overloaded_error"}
_BUDGET = 10_000  # Tokens; between what the other languages call low and high.
_CHOICES = {"auto": "auto", "required": "any"}
_FINISHES = {"end_turn": "stop", "stop_sequence": "stop", "tool_use": "tool_calls", "max_tokens": "length"}
_UNKNOWN_KEYWORDS = {"minimum", "maximum"}  # Of a schema of the answer: refused, says its page.
_GROWING = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}


def ask(scenario: Scenario, model: str, *, stream: bool) -> Asking:
    """The first request of a scenario."""
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": scenario.limit,
        "system": scenario.system,
        "messages": [_message(turn) for turn in scenario.turns()],
    }
    if scenario.tools:
        body["tools"] = [
            {"name": tool.name, "description": tool.description, "input_schema": tool.parameters}
            for tool in scenario.tools
        ]
        assert scenario.choice is not None
        body["tool_choice"] = {"type": _CHOICES[scenario.choice]}
    if scenario.parallel:
        body["tool_choice"]["disable_parallel_tool_use"] = False
    if scenario.schema:
        form = {"type": "json_schema", "schema": lowered(scenario.schema)}
        body["output_config"] = {"format": form}
    if scenario.effort:
        body["thinking"] = {"type": "enabled", "budget_tokens": _BUDGET}
    if scenario.stop:
        body["stop_sequences"] = list(scenario.stop)
    if scenario.temperature is not None:
        body["temperature"] = scenario.temperature
    if stream:
        body["stream"] = True
    return _asking(body, model, stream=stream)


def go_on(asking: Asking, heard: Heard, results: Sequence[str]) -> Asking:
    """The next request: everything so far, the model's blocks as they came, and what its tools answered."""
    answers = [
        {"type": "tool_result", "tool_use_id": call.id, "content": text}
        for call, text in zip(heard.calls, results, strict=True)
    ]
    said = [{"role": "assistant", "content": heard.native}, {"role": "user", "content": answers}]
    body = {**asking.body, "messages": [*asking.body["messages"], *said]}
    if "tool_choice" in body:
        body["tool_choice"] = {"type": "auto"}
    return _asking(body, asking.model, stream=asking.stream)


def hear(answer: Answered, asking: Asking) -> Heard:
    """Read an answer; AssertionError says what in it is not as the reference has it."""
    if answer.status != 200:
        wire = json.loads(answer.body)
        assert wire["type"] == "error"
        error = wire["error"]
        need(error, "type", "message")
        return Heard(fault=HeardFault(answer.status, error["type"], error["message"]))
    kind = answer.headers["content-type"]
    if not asking.stream:
        assert kind == "application/json"
        return _heard(json.loads(answer.body))
    assert kind.startswith("text/event-stream")
    return _hear_stream(read_events(answer.body))


def _asking(body: dict[str, Any], model: str, *, stream: bool) -> Asking:
    headers = {"x-api-key": "KEY", "anthropic-version": "2023-06-01"}
    return Asking("/v1/messages", headers, body, model, stream)


def _message(turn: Turn) -> dict[str, Any]:
    texts = [piece.text for piece in turn.pieces if isinstance(piece, Words)]
    if len(texts) == len(turn.pieces) == 1:
        return {"role": turn.role, "content": texts[0]}
    return {"role": turn.role, "content": [_block(piece) for piece in turn.pieces]}


def _block(piece: Words | Picture | Call | Result) -> dict[str, Any]:
    if isinstance(piece, Picture):
        source = {"type": "base64", "media_type": piece.media_type, "data": piece.data}
        return {"type": "image", "source": {"type": "url", "url": piece.url} if piece.url else source}
    assert isinstance(piece, Words)
    return {"type": "text", "text": piece.text}


def lowered(schema: Schema) -> Schema:
    """The schema in the keywords that structured outputs take."""
    kept = {name: value for name, value in schema.items() if name not in _UNKNOWN_KEYWORDS}
    if "properties" in schema:
        kept["properties"] = {name: lowered(inner) for name, inner in schema["properties"].items()}
    return kept


def _hear_stream(events: list[Line]) -> Heard:
    wires = []
    for event in events:
        wire = event.json
        assert wire["type"] == event.name, "an event is named by its type"
        if event.name != "ping":
            wires.append(wire)
    if wires[-1]["type"] == "error":
        error = wires[-1]["error"]
        words = "".join(wire["delta"].get("text", "") for wire in wires if "delta" in wire)
        return Heard(words=words, fault=HeardFault(200, error["type"], error["message"]))
    first, *inner, last_delta, stop = wires
    kinds = [first["type"], last_delta["type"], stop["type"]]
    assert kinds == ["message_start", "message_delta", "message_stop"], kinds
    message = first["message"]
    assert message["content"] == []
    assert message["stop_reason"] is None
    need(message["usage"], "input_tokens", "output_tokens")
    blocks: list[dict[str, Any]] = []
    grown: list[str] | None = None  # Of the open block, the JSON of its input; None while no block is open.
    for wire in inner:
        if wire["type"] == "content_block_start":
            assert grown is None, "a block begins before the last one stopped"
            assert wire["index"] == len(blocks), "blocks are counted from 0"
            blocks.append(dict(wire["content_block"]))
            grown = []
            continue
        assert grown is not None, f"{wire['type']} comes outside of a block"
        assert wire["index"] == len(blocks) - 1
        if wire["type"] == "content_block_stop":
            if grown:
                assert blocks[-1]["input"] == {}
                blocks[-1]["input"] = json.loads("".join(grown))
            grown = None
            continue
        assert wire["type"] == "content_block_delta"
        _grow(blocks[-1], wire["delta"], grown)
    assert grown is None, "the last block never stopped"
    usage = {**message["usage"], **last_delta["usage"]}
    return _heard({**message, **last_delta["delta"], "content": blocks, "usage": usage})


def _grow(block: dict[str, Any], delta: dict[str, Any], grown: list[str]) -> None:
    if delta["type"] == "input_json_delta":
        assert block["type"] == "tool_use"
        grown.append(delta["partial_json"])
        return
    member = _GROWING[delta["type"]]
    assert (block["type"] == "text") == (member == "text")
    block[member] = block.get(member, "") + delta[member]


def _heard(message: dict[str, Any]) -> Heard:
    need(message, "id", "stop_reason", "stop_sequence")
    assert (message["type"], message["role"]) == ("message", "assistant")
    assert message["id"].startswith("msg_")
    words, thought, calls = "", "", []
    for block in message["content"]:
        match block["type"]:
            case "text":
                words += block["text"]
            case "thinking":
                need(block, "signature")
                thought += block["thinking"]
            case "redacted_thinking":
                need(block, "data")
            case "tool_use":
                assert isinstance(block["input"], dict)
                calls.append(Call(block["name"], block["input"], block["id"]))
            case other:
                raise AssertionError(f"a block of type {other}")
    assert (message["stop_reason"] == "stop_sequence") == (message["stop_sequence"] is not None)
    usage = message["usage"]
    return Heard(
        model=message["model"],
        words=words,
        calls=tuple(calls),
        thought=thought,
        finish=_FINISHES[message["stop_reason"]],
        stop_sequence=message["stop_sequence"] or "",
        tokens=_tokens(usage),
        cost=usage.get("cost"),
        native=message["content"],
    )


def _tokens(usage: dict[str, Any]) -> Tokens:
    need(usage, "cache_creation_input_tokens")
    thought = (usage.get("output_tokens_details") or {}).get("thinking_tokens")
    visible = usage["output_tokens"] - (thought or 0)
    return Tokens(usage["input_tokens"], usage["cache_read_input_tokens"], visible, thought)
