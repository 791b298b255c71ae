"""A provider of Google's generateContent, as strict as the real one; it gives its calls no ids."""

from __future__ import annotations

import json
from typing import Any

from tests.grid.facts import (
    Call,
    Picture,
    Piece,
    RefusedError,
    Reply,
    Result,
    Role,
    Scenario,
    Schema,
    Seen,
    Tool,
    Turn,
    Words,
)
from tests.grid.lines import pieces
from tests.grid.providers.members import KEY, check_keywords, know, read_body, schemas_in
from tests.support.answers import EVENT_TYPE, Answer, Framing, json_answer
from tests.support.faulty import Recorded

NAME = "gemini"
BASE = "/v1beta"
SIGNATURE = "Esgrid+Signature/OfACall0123456789ABCDEF=="
_OF_WORDS = "EtgridSignatureOfWords0123456789ABCDEF=="
_MODEL = "grid-gemini"  # It stands in the path.
_SETTINGS = (
    "temperature topP topK candidateCount maxOutputTokens stopSequences seed presencePenalty frequencyPenalty"
    " responseMimeType responseSchema responseJsonSchema thinkingConfig"
)
_PARTS = {
    "text": "text thought thoughtSignature",
    "inlineData": "inlineData",
    "fileData": "fileData",
    "functionCall": "functionCall thoughtSignature",
    "functionResponse": "functionResponse",
}
# Google's Schema object, and the part of JSON Schema it takes beside it.
_OPENAPI = (
    "type format title description nullable enum maxItems minItems properties required minProperties maxProperties"
    " minLength maxLength pattern example anyOf propertyOrdering default items minimum maximum"
)
_JSON_SCHEMA = (
    "$id $defs $ref $anchor type format title description enum items prefixItems minItems maxItems minimum maximum"
    " anyOf oneOf properties additionalProperties required propertyOrdering"
)
_TYPES = {"OBJECT", "STRING", "INTEGER", "NUMBER", "BOOLEAN", "ARRAY", "NULL"}
_CHOICES = {"AUTO": "auto", "ANY": "required", "NONE": "none", "VALIDATED": "auto"}
_EFFORTS = ((0, None), (4_096, "low"), (16_384, "medium"))
_STATUSES = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE"}


def call_id(at: int) -> str:
    """Calls have no ids: their results are told apart by name and order."""
    del at
    return ""


def signatures(scenario: Scenario) -> tuple[str, ...]:
    """The first call of a turn is signed, whether its model was asked to think or not."""
    return (SIGNATURE,) if scenario.tools else ()


def read(request: Recorded) -> Seen:
    """What a request says; RefusedError where the real provider would refuse it."""
    stream = request.path.endswith(":streamGenerateContent?alt=sse")
    verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
    wire = read_body(request, f"/v1beta/models/{_MODEL}:{verb}", "x-goog-api-key", KEY)
    know(wire, "systemInstruction generationConfig tools toolConfig", needed="contents")
    settings = wire.get("generationConfig", {})
    know(settings, _SETTINGS, "generation_config.")
    turns, signed = _read_contents(wire["contents"])
    system = wire.get("systemInstruction", {"parts": []})
    tools = tuple(_read_tool(one) for tool in wire.get("tools", ()) for one in _functions(tool))
    return Seen(
        model=_MODEL,
        stream=stream,
        turns=turns,
        system="\n".join(part["text"] for part in system["parts"]),
        tools=tools,
        choice=_read_choice(wire, tools),
        schema=_read_schema(settings),
        effort=_read_effort(settings.get("thinkingConfig")),
        stop=tuple(settings.get("stopSequences", ())),
        temperature=settings.get("temperature"),
        limit=settings.get("maxOutputTokens"),
        signed=signed,
    )


def answer(reply: Reply, seen: Seen, scenario: Scenario) -> Answer:
    """A reply, streamed if it was asked for so."""
    parts: list[dict[str, Any]] = []
    if scenario.effort and reply.thought:
        parts += [{"text": piece, "thought": True} for piece in _said(reply.thought, seen)]
    parts += [{"text": piece} for piece in _said(reply.words, seen)]
    if reply.words and not reply.calls:
        parts[-1]["thoughtSignature"] = _OF_WORDS
    for at, call in enumerate(reply.calls):
        signed = {} if at else {"thoughtSignature": SIGNATURE}
        parts.append({"functionCall": {"name": call.name, "args": call.arguments}, **signed})
    if not seen.stream:
        return json_answer(_chunk(parts, _usage(reply), "STOP"))
    *first, last = parts
    early = {"promptTokenCount": reply.tokens.fresh, "totalTokenCount": reply.tokens.fresh}
    return _stream([*(_chunk([part], early) for part in first), _chunk([last], _usage(reply), "STOP")])


def refuse(status: int, message: str) -> Answer:
    """An error with a status."""
    error = {"code": status, "message": message, "status": _STATUSES.get(status, "INTERNAL")}
    return json_answer({"error": error}, status)


def break_off(message: str) -> Answer:
    """A stream that begins well and ends in an error."""
    error = {"code": 503, "message": message, "status": "UNAVAILABLE"}
    return _stream([_chunk([{"text": "So far"}], {"promptTokenCount": 9}), {"error": error}])


def _said(text: str, seen: Seen) -> list[str]:
    return pieces(text) if seen.stream else [text] if text else []


def _stream(chunks: list[dict[str, Any]]) -> Answer:
    """Google ends its lines with CR and LF."""
    lines = tuple(f"data: {json.dumps(chunk, ensure_ascii=False)}\r\n\r\n".encode() for chunk in chunks)
    return Answer(lines, headers=EVENT_TYPE, framing=Framing.CHUNKED)


def _chunk(parts: list[dict[str, Any]], usage: dict[str, Any], finish: str = "") -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return {
        "candidates": [candidate],
        "usageMetadata": usage,
        "modelVersion": "grid-gemini-2026",
        "responseId": "gridResponse",
    }


def _usage(reply: Reply) -> dict[str, Any]:
    tokens = reply.tokens
    into = tokens.fresh + tokens.cached
    wire = {
        "promptTokenCount": into,
        "candidatesTokenCount": tokens.visible,
        "totalTokenCount": into + tokens.out,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": into}],
    }
    if tokens.cached:
        wire["cachedContentTokenCount"] = tokens.cached
    if tokens.thought:
        wire["thoughtsTokenCount"] = tokens.thought
    return wire


def _read_contents(contents: list[dict[str, Any]]) -> tuple[tuple[Turn, ...], tuple[str, ...]]:
    """The turns, and the signatures of calls that came back."""
    turns: list[Turn] = []
    signed: list[str] = []
    waiting: list[str] = []  # Functions that were called and not answered.
    for at, content in enumerate(contents):
        know(content, "role", f"contents[{at}].", needed="parts")
        role = content.get("role", "user")
        if role not in ("user", "model"):
            raise RefusedError("Please use a valid role: user, model.")
        if not content["parts"]:
            raise RefusedError("Unable to submit request because it must have at least one part.")
        found = [piece for part in content["parts"] for piece in _read_part(part)]
        answered = [piece.name for piece in found if isinstance(piece, Result)]
        if answered != waiting:
            raise RefusedError(
                "Please ensure that function response parts are equal to the function call parts of the turn."
            )
        called = [part for part in content["parts"] if "functionCall" in part]
        waiting = [part["functionCall"]["name"] for part in called]
        if called and "thoughtSignature" not in called[0]:
            raise RefusedError("Function call is missing a thought_signature in functionCall parts.")
        signed += [part["thoughtSignature"] for part in called if "thoughtSignature" in part]
        spoken: Role = "assistant" if role == "model" else "user"
        if turns and turns[-1].role == spoken:
            found = [*turns.pop().pieces, *found]
        turns.append(Turn(spoken, tuple(found)))
    if waiting:
        raise RefusedError("Please ensure that function call turns are followed by their responses.")
    if turns[0].role != "user":
        raise RefusedError("Please ensure that multiturn requests begin with a user turn.")
    if set(signed) - {SIGNATURE}:
        raise RefusedError("Thought signature is not valid.")
    return tuple(turns), tuple(signed)


def _read_part(part: dict[str, Any]) -> list[Piece]:
    kind = next((name for name in _PARTS if name in part), None)
    if kind is None:
        raise RefusedError(f"required oneof field 'data' must have one initialized field: {list(part)}")
    know(part, _PARTS[kind], "parts[].")
    value = part[kind]
    match kind:
        case "text":
            return [] if part.get("thought") else [Words(value)]
        case "inlineData":
            know(value, "", "inline_data.", needed="mimeType data")
            return [Picture(data=value["data"], media_type=value["mimeType"])]
        case "fileData":
            know(value, "mimeType", "file_data.", needed="fileUri")
            return [Picture(url=value["fileUri"])]
        case "functionCall":
            know(value, "args id", "function_call.", needed="name")
            if not isinstance(value.get("args", {}), dict):
                raise RefusedError("Invalid value at 'function_call.args': not an object.")
            return [Call(value["name"], value.get("args", {}))]
    know(value, "id", "function_response.", needed="name response")
    if not isinstance(value["response"], dict):
        raise RefusedError("Invalid value at 'function_response.response': not an object.")
    return [Result(json.dumps(value["response"]), name=value["name"])]


def _functions(tool: dict[str, Any]) -> list[dict[str, Any]]:
    know(tool, "", "tools[].", needed="functionDeclarations")
    functions: list[dict[str, Any]] = tool["functionDeclarations"]
    return functions


def _read_tool(function: dict[str, Any]) -> Tool:
    know(function, "description parameters parametersJsonSchema", "function_declarations[].", needed="name")
    if "parameters" in function and "parametersJsonSchema" in function:
        raise RefusedError("parameters and parameters_json_schema are mutually exclusive")
    schema = function.get("parametersJsonSchema")
    if schema is not None:
        check_keywords(schema, _JSON_SCHEMA, function["name"])
    else:
        schema = _read_openapi(function["parameters"], function["name"])
    return Tool(function["name"], function.get("description", ""), schema)


def _read_openapi(schema: Schema, where: str) -> Schema:
    """Google's own schema, its types in capitals or not."""
    check_keywords(schema, _OPENAPI, where)
    for inner in schemas_in(schema):
        if "type" in inner and str(inner["type"]).upper() not in _TYPES:
            raise RefusedError(f"Invalid value at {where} 'type': {inner['type']!r}.")
        if "enum" in inner and str(inner.get("type")).upper() != "STRING":
            raise RefusedError(f"Invalid value at {where} 'enum': only allowed for STRING type.")
        if inner.get("type", "").upper() == "ARRAY" and "items" not in inner:
            raise RefusedError(f"{where}.items: missing field.")
    return schema


def _read_choice(wire: dict[str, Any], tools: tuple[Tool, ...]) -> Any:
    config = wire.get("toolConfig")
    if config is None:
        return None
    know(config, "", "tool_config.", needed="functionCallingConfig")
    calling = config["functionCallingConfig"]
    know(calling, "allowedFunctionNames", "function_calling_config.", needed="mode")
    if not tools:
        raise RefusedError("Function calling config is set without function_declarations.")
    if "allowedFunctionNames" in calling:
        if calling["mode"] not in ("ANY", "VALIDATED"):
            raise RefusedError("Please only set allowed_function_names when function calling mode is ANY.")
        return "named"
    return _CHOICES[calling["mode"]]


def _read_schema(settings: dict[str, Any]) -> Schema | None:
    own, plain = settings.get("responseSchema"), settings.get("responseJsonSchema")
    if own is None and plain is None:
        return None
    if own is not None and plain is not None:
        raise RefusedError("response_schema and response_json_schema are mutually exclusive")
    if settings.get("responseMimeType") != "application/json":
        raise RefusedError("A response schema needs the response mime type application/json.")
    if plain is None:
        return _read_openapi(settings["responseSchema"], "response_schema")
    schema: Schema = plain
    check_keywords(schema, _JSON_SCHEMA, "response_json_schema")
    return schema


def _read_effort(config: dict[str, Any] | None) -> str | None:
    if config is None:
        return None
    know(config, "thinkingBudget thinkingLevel includeThoughts", "thinking_config.")
    if "thinkingLevel" in config:
        return str(config["thinkingLevel"]).lower()
    if not config.get("includeThoughts"):
        return None
    return next((name for budget, name in _EFFORTS if config["thinkingBudget"] <= budget), "high")
