"""A provider of Anthropic's Messages, as strict as the real one."""

from __future__ import annotations

import json
import re
from typing import Any, Literal

from tests.grid.facts import (
    Call,
    Picture,
    Piece,
    RefusedError,
    Reply,
    Result,
    Scenario,
    Seen,
    Tool,
    Turn,
    Words,
)
from tests.grid.lines import pieces, write_event
from tests.grid.providers.members import KEY, check_keywords, check_schema, know, read_body, schemas_in
from tests.support.answers import EVENT_TYPE, Answer, Framing, json_answer
from tests.support.faulty import Recorded

NAME = "anthropic"
BASE = ""
SIGNATURE = "EqgridSignature/of+a/Thought0123456789=="
REDACTED = "EmwgridRedacted/Thought+0123456789=="
_BODY = (
    "system stream tools tool_choice thinking output_config stop_sequences temperature top_p top_k metadata"
)
_BLOCKS = {
    "text": "type text cache_control citations",
    "image": "type source cache_control",
    "tool_use": "type id name input cache_control",
    "tool_result": "type tool_use_id content is_error cache_control",
    "thinking": "type thinking signature",
    "redacted_thinking": "type data",
}
_OF_ASSISTANT = {"text", "tool_use", "thinking", "redacted_thinking"}
_OF_USER = {"text", "image", "tool_result"}
_SOURCES = {"base64": "type media_type data", "url": "type url"}
# Structured outputs' own subset of JSON Schema.
_KEYWORDS = (
    "type properties required additionalProperties enum const anyOf allOf items description title default format"
    " $ref $defs"
)
_ID = re.compile(r"[a-zA-Z0-9_-]+")
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_CHOICES: dict[str, Literal["auto", "required", "named", "none"]] = {
    "auto": "auto",
    "any": "required",
    "tool": "named",
    "none": "none",
}
_MESSAGE: dict[str, Any] = {
    "id": "msg_grid",
    "type": "message",
    "role": "assistant",
    "model": "grid-messages-2026",
    "content": [],
    "stop_reason": None,
    "stop_sequence": None,
}
_EFFORTS = ((4_096, "low"), (16_384, "medium"))


def call_id(at: int) -> str:
    """The id of a reply's call."""
    return f"toolu_grid{at}"


def signatures(scenario: Scenario) -> tuple[str, ...]:
    """Thoughts are signed or redacted."""
    return (SIGNATURE, REDACTED) if scenario.effort else ()


def read(request: Recorded) -> Seen:
    """What a request says; RefusedError where the real provider would refuse it."""
    wire = read_body(request, "/v1/messages", "x-api-key", KEY)
    if request.headers.get("anthropic-version") != "2023-06-01":
        raise RefusedError("anthropic-version: header is required")
    know(wire, _BODY, needed="model max_tokens messages")
    messages = [(message["role"], _blocks(message)) for message in wire["messages"]]
    turns = tuple(
        Turn(role, tuple(piece for block in blocks for piece in _pieces(block))) for role, blocks in messages
    )
    _check_turns(messages)
    _check_thinking(wire, messages)
    system = wire.get("system", "")
    if not isinstance(system, str):
        for block in system:
            know(block, _BLOCKS["text"], "system.", needed="text")
        system = "\n".join(block["text"] for block in system)
    if system.strip() == "" and "system" in wire:
        raise RefusedError("system: text content blocks must be non-empty")
    choice = wire.get("tool_choice")
    if choice is not None:
        know(choice, "name disable_parallel_tool_use", "tool_choice.", needed="type")
        if not wire.get("tools"):
            raise RefusedError("tool_choice: may only be specified while providing tools")
    return Seen(
        model=wire["model"],
        stream=wire.get("stream", False),
        turns=turns,
        system=system,
        tools=tuple(_read_tool(tool) for tool in wire.get("tools", ())),
        choice=None if choice is None else _CHOICES[choice["type"]],
        schema=_read_format(wire.get("output_config")),
        effort=_effort(wire),
        stop=tuple(wire.get("stop_sequences", ())),
        temperature=wire.get("temperature"),
        limit=wire["max_tokens"],
        signed=tuple(
            block.get("signature") or block["data"]
            for _, blocks in messages
            for block in blocks
            if block["type"] in ("thinking", "redacted_thinking")
        ),
    )


def answer(reply: Reply, seen: Seen, scenario: Scenario) -> Answer:
    """A reply, streamed if it was asked for so."""
    blocks = _reply_blocks(reply, scenario)
    end = {
        "stop_reason": "tool_use" if reply.calls else "stop_sequence" if reply.stop_sequence else "end_turn",
        "stop_sequence": reply.stop_sequence or None,
    }
    message = {**_MESSAGE, "usage": {**_usage(reply), "output_tokens": 1}}
    if not seen.stream:
        return json_answer({**message, **end, "content": blocks, "usage": _usage(reply)})
    events: list[dict[str, Any]] = [{"type": "message_start", "message": message}, {"type": "ping"}]
    for at, block in enumerate(blocks):
        events += _life(block, at)
    events.append({"type": "message_delta", "delta": end, "usage": _usage(reply)})
    return _stream([*events, {"type": "message_stop"}])


def refuse(status: int, message: str) -> Answer:
    """An error with a status."""
    kinds = {400: "invalid_request_error", 401: "authentication_error", 429: "rate_limit_error"}
    error = {"type": kinds.get(status, "api_error"), "message": message}
    return json_answer({"type": "error", "error": error, "request_id": "req_grid"}, status)


def break_off(message: str) -> Answer:
    """A stream that begins well and ends in an error."""
    start = {**_MESSAGE, "usage": {"input_tokens": 9, "output_tokens": 1}}
    begun = _life({"type": "text", "text": "So far"}, 0)[:-1]
    error = {"type": "overloaded_error", "message": message}
    return _stream([{"type": "message_start", "message": start}, *begun, {"type": "error", "error": error}])


def _stream(events: list[dict[str, Any]]) -> Answer:
    lines = tuple(write_event(event, event["type"]) for event in events)
    return Answer(lines, headers=EVENT_TYPE, framing=Framing.CHUNKED)


def _reply_blocks(reply: Reply, scenario: Scenario) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if scenario.effort and reply.thought:
        blocks.append({"type": "thinking", "thinking": reply.thought, "signature": SIGNATURE})
        blocks.append({"type": "redacted_thinking", "data": REDACTED})
    if reply.words:
        blocks.append({"type": "text", "text": reply.words})
    for at, call in enumerate(reply.calls):
        blocks.append({"type": "tool_use", "id": call_id(at), "name": call.name, "input": call.arguments})
    return blocks


def _life(block: dict[str, Any], at: int) -> list[dict[str, Any]]:
    """The events of one block."""
    deltas: list[dict[str, Any]] = []
    begun = block
    match block["type"]:
        case "text":
            begun = {**block, "text": ""}
            deltas = [{"type": "text_delta", "text": piece} for piece in pieces(block["text"])]
        case "thinking":
            begun = {**block, "thinking": "", "signature": ""}
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"])]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        case "tool_use":
            begun = {**block, "input": {}}
            texts = ["", *pieces(json.dumps(block["input"]))]
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in texts]
    return [
        {"type": "content_block_start", "index": at, "content_block": begun},
        *({"type": "content_block_delta", "index": at, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": at},
    ]


def _usage(reply: Reply) -> dict[str, Any]:
    tokens = reply.tokens
    return {
        "input_tokens": tokens.fresh,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": tokens.cached,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": tokens.out,
        "output_tokens_details": {"thinking_tokens": tokens.thought},
        "service_tier": "standard",
    }


def _blocks(message: dict[str, Any]) -> list[dict[str, Any]]:
    know(message, "", "messages.", needed="role content")
    content, role = message["content"], message["role"]
    if role not in ("user", "assistant"):
        raise RefusedError(f'messages: Unexpected role "{role}". Use the top-level `system` parameter.')
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    for block in blocks:
        kind = block["type"]
        if kind not in (_OF_ASSISTANT if role == "assistant" else _OF_USER):
            raise RefusedError(f"messages: `{kind}` blocks are not permitted in a message of role {role}")
        know(block, _BLOCKS[kind], f"messages.content.{kind}.")
        if kind == "text" and not block["text"].strip():
            raise RefusedError("messages: text content blocks must contain non-whitespace text")
        named = {"tool_use": "id", "tool_result": "tool_use_id"}.get(kind)
        if named is not None and not _ID.fullmatch(block[named]):
            raise RefusedError("messages: tool ids should match pattern '^[a-zA-Z0-9_-]+$'")
    if not blocks:
        raise RefusedError("messages: all messages must have non-empty content")
    return blocks


def _check_turns(messages: list[tuple[str, list[dict[str, Any]]]]) -> None:
    """Sides take turns, the user begins, and each use of a tool is answered at once and first of all."""
    waiting: list[str] = []
    last = "assistant"
    for role, blocks in messages:
        if role == last:
            raise RefusedError("messages: roles must alternate, beginning with user")
        last = role
        results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        if sorted(results) != sorted(waiting):
            raise RefusedError(f"messages: `tool_use` {waiting} and `tool_result` {results} do not match")
        if any(block["type"] != "tool_result" for block in blocks[: len(results)]):
            raise RefusedError("messages: `tool_result` blocks come first")
        waiting = [block["id"] for block in blocks if block["type"] == "tool_use"]
    if waiting:
        raise RefusedError(f"messages: `tool_use` ids were found without `tool_result` blocks: {waiting}")


def _check_thinking(wire: dict[str, Any], messages: list[tuple[str, list[dict[str, Any]]]]) -> None:
    """Signatures are this provider's own, and a model that thinks finds its thoughts before its uses of tools."""
    for _, blocks in messages:
        for block in blocks:
            if block["type"] == "thinking" and block.get("signature") != SIGNATURE:
                raise RefusedError("messages: Invalid `signature` in `thinking` block")
            if block["type"] == "redacted_thinking" and block["data"] != REDACTED:
                raise RefusedError("messages: Invalid `data` in `redacted_thinking` block")
    thinking = wire.get("thinking")
    if thinking is None or thinking["type"] == "disabled":
        return
    know(thinking, "budget_tokens", "thinking.", needed="type")
    if not 1_024 <= thinking["budget_tokens"] < wire["max_tokens"]:
        raise RefusedError(
            "`max_tokens` must be greater than `thinking.budget_tokens`, which is at least 1024"
        )
    if wire.get("temperature", 1) != 1 or "top_k" in wire:
        raise RefusedError("`temperature` may only be set to 1 when thinking is enabled")
    if wire.get("tool_choice", {"type": "auto"})["type"] not in ("auto", "none"):
        raise RefusedError("Thinking may not be enabled when tool_choice forces tool use.")
    uses = [
        blocks
        for role, blocks in messages
        if role == "assistant" and any(block["type"] == "tool_use" for block in blocks)
    ]
    if uses and uses[-1][0]["type"] not in ("thinking", "redacted_thinking"):
        raise RefusedError("Expected `thinking` or `redacted_thinking`, but found `tool_use`.")


def _pieces(block: dict[str, Any]) -> list[Piece]:
    match block["type"]:
        case "text":
            return [Words(block["text"])]
        case "image":
            source = block["source"]
            know(source, _SOURCES[source["type"]], "source.")
            if source["type"] == "url":
                return [Picture(url=source["url"])]
            return [Picture(data=source["data"], media_type=source["media_type"])]
        case "tool_use":
            return [Call(block["name"], block["input"], block["id"])]
        case "tool_result":
            content = block.get("content", "")
            text = content if isinstance(content, str) else "".join(part["text"] for part in content)
            return [Result(text, block["tool_use_id"])]
    return []


def _read_tool(tool: dict[str, Any]) -> Tool:
    know(tool, "description strict cache_control", "tools.", needed="name input_schema")
    if not _NAME.fullmatch(tool["name"]):
        raise RefusedError("tools.name: should match pattern '^[a-zA-Z0-9_-]{1,128}$'")
    check_schema(tool["input_schema"], tool["name"])
    if tool.get("strict"):
        check_keywords(tool["input_schema"], _KEYWORDS, tool["name"])
    return Tool(tool["name"], tool.get("description", ""), tool["input_schema"])


def _read_format(config: dict[str, Any] | None) -> Any:
    form = (config or {}).get("format")
    if form is None:
        return None
    know(form, "", "output_config.format.", needed="type schema")
    check_schema(form["schema"], "output_config.format")
    check_keywords(form["schema"], _KEYWORDS, "output_config.format")
    for inner in schemas_in(form["schema"]):
        if inner.get("type") == "object" and inner.get("additionalProperties") is not False:
            raise RefusedError("output_config.format.schema: 'additionalProperties' must be set to false")
    return form["schema"]


def _effort(wire: dict[str, Any]) -> str | None:
    thinking = wire.get("thinking")
    if thinking is None or thinking["type"] == "disabled":
        return None
    return next((name for budget, name in _EFFORTS if thinking["budget_tokens"] <= budget), "high")
