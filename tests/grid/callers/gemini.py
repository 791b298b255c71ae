"""A caller of Google's generateContent, written from its reference alone."""

from __future__ import annotations

import base64
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
    Tool,
    Turn,
    Words,
)
from tests.grid.lines import need, read_events

NAME = "gemini"
FAULT_TYPES = {400: "INVALID_ARGUMENT", 502: "UNAVAILABLE", 503: "UNAVAILABLE"}
_BUDGET = 10_000  # Tokens; between what the other languages call low and high.
_CHOICES = {"auto": "AUTO", "required": "ANY"}
_FINISHES = {"STOP": "stop", "MAX_TOKENS": "length"}
_ROLES = {"user": "user", "assistant": "model"}


def ask(scenario: Scenario, model: str, *, stream: bool) -> Asking:
    """The first request of a scenario."""
    settings: dict[str, Any] = {"maxOutputTokens": scenario.limit}
    if scenario.schema:
        settings |= {"responseMimeType": "application/json", "responseJsonSchema": scenario.schema}
    if scenario.effort:
        settings["thinkingConfig"] = {"thinkingBudget": _BUDGET, "includeThoughts": True}
    if scenario.stop:
        settings["stopSequences"] = list(scenario.stop)
    if scenario.temperature is not None:
        settings["temperature"] = scenario.temperature
    body: dict[str, Any] = {
        "systemInstruction": {"parts": [{"text": scenario.system}]},
        "contents": [_content(turn) for turn in scenario.turns()],
        "generationConfig": settings,
    }
    if scenario.tools:
        declared = [_declared(tool, json_schema=scenario.parallel) for tool in scenario.tools]
        body["tools"] = [{"functionDeclarations": declared}]
        assert scenario.choice is not None
        body["toolConfig"] = {"functionCallingConfig": {"mode": _CHOICES[scenario.choice]}}
    return _asking(body, model, stream=stream)


def go_on(asking: Asking, heard: Heard, results: Sequence[str]) -> Asking:
    """The next request: everything so far, the model's parts as they came, and what its functions answered."""
    answers = [
        {"functionResponse": _response(call, text)} for call, text in zip(heard.calls, results, strict=True)
    ]
    said = [{"role": "model", "parts": heard.native}, {"role": "user", "parts": answers}]
    body = {**asking.body, "contents": [*asking.body["contents"], *said]}
    if "toolConfig" in body:
        body["toolConfig"] = {"functionCallingConfig": {"mode": "AUTO"}}
    return _asking(body, asking.model, stream=asking.stream)


def hear(answer: Answered, asking: Asking) -> Heard:
    """Read an answer; AssertionError says what in it is not as the reference has it."""
    if answer.status != 200:
        return Heard(fault=_fault(json.loads(answer.body), answer.status))
    kind = answer.headers["content-type"]
    if not asking.stream:
        assert kind == "application/json"
        return _heard([json.loads(answer.body)])
    assert kind.startswith("text/event-stream")
    events = read_events(answer.body, crlf=True)
    assert not any(event.name for event in events), "Gemini names no events"
    chunks = [event.json for event in events]
    if "error" in chunks[-1]:
        # Google's Python client looks at the first letters of the chunk for it.
        assert events[-1].data.startswith('{"error"')
        words = "".join(part.get("text", "") for chunk in chunks[:-1] for part in _parts(chunk))
        return Heard(words=words, fault=_fault(chunks[-1], 200))
    return _heard(chunks)


def _asking(body: dict[str, Any], model: str, *, stream: bool) -> Asking:
    verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
    return Asking(f"/v1beta/models/{model}:{verb}", {"x-goog-api-key": "KEY"}, body, model, stream)


def _content(turn: Turn) -> dict[str, Any]:
    return {"role": _ROLES[turn.role], "parts": [_part(piece) for piece in turn.pieces]}


def _part(piece: Words | Picture | Call | Result) -> dict[str, Any]:
    if isinstance(piece, Picture):
        if piece.url:
            return {"fileData": {"mimeType": piece.media_type, "fileUri": piece.url}}
        return {"inlineData": {"mimeType": piece.media_type, "data": piece.data}}
    assert isinstance(piece, Words)
    return {"text": piece.text}


def _declared(tool: Tool, *, json_schema: bool) -> dict[str, Any]:
    """A function in one of the two ways its parameters can be said."""
    parameters = (
        {"parametersJsonSchema": tool.parameters} if json_schema else {"parameters": _typed(tool.parameters)}
    )
    return {"name": tool.name, "description": tool.description, **parameters}


def _typed(schema: Schema) -> Schema:
    """A schema in Google's own form, as its clients write it: types in capitals, and no additionalProperties."""
    typed = {name: value for name, value in schema.items() if name != "additionalProperties"}
    if "type" in typed:
        typed["type"] = typed["type"].upper()
    if "properties" in typed:
        typed["properties"] = {name: _typed(inner) for name, inner in typed["properties"].items()}
    return typed


def _response(call: Call, text: str) -> dict[str, Any]:
    """A function's answer is an object; the id goes back where there was one."""
    response = json.loads(text) if text.startswith("{") else {"result": text}
    return {"name": call.name, "response": response, **({"id": call.id} if call.id else {})}


def _fault(wire: dict[str, Any], status: int) -> HeardFault:
    error = wire["error"]
    need(error, "code", "message", "status")
    assert isinstance(error["code"], int)
    assert status in (200, error["code"])
    return HeardFault(status, error["status"], error["message"])


def _parts(chunk: dict[str, Any]) -> list[dict[str, Any]]:
    candidates = chunk.get("candidates") or []
    return [part for one in candidates for part in one.get("content", {}).get("parts", [])]


def _heard(chunks: list[dict[str, Any]]) -> Heard:
    words, thought, calls, native = "", "", [], []
    finish = ""
    for chunk in chunks:
        need(chunk, "modelVersion", "responseId")
        assert chunk["responseId"] == chunks[0]["responseId"]
        for candidate in chunk.get("candidates", []):
            assert not finish, "nothing is said after the finish"
            assert candidate.get("index", 0) == 0
            assert candidate.get("content", {}).get("role", "model") == "model"
            finish = candidate.get("finishReason", "")
        for part in _parts(chunk):
            native.append(part)
            if "thoughtSignature" in part:
                base64.b64decode(part["thoughtSignature"], validate=True)
            if "functionCall" in part:
                call = part["functionCall"]
                calls.append(Call(call["name"], call.get("args", {}), call.get("id", "")))
            elif part.get("thought"):
                thought += part.get("text", "")
            else:
                words += part["text"]
    usage = chunks[-1]["usageMetadata"]
    return Heard(
        model=chunks[-1]["modelVersion"],
        words=words,
        calls=tuple(calls),
        thought=thought,
        finish="tool_calls" if calls and finish == "STOP" else _FINISHES[finish],
        tokens=_tokens(usage),
        cost=usage.get("cost"),
        native=native,
    )


def _tokens(usage: dict[str, Any]) -> Tokens:
    prompt, visible = usage["promptTokenCount"], usage.get("candidatesTokenCount", 0)
    thought, cached = usage.get("thoughtsTokenCount", 0), usage.get("cachedContentTokenCount", 0)
    assert usage["totalTokenCount"] == prompt + visible + thought
    return Tokens(prompt - cached, cached, visible, thought)
