"""A provider of OpenAI's Responses API, as strict as the real one, and without any state."""

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
    Scenario,
    Seen,
    Tool,
    Turn,
    Words,
)
from tests.grid.lines import pieces, write_event
from tests.grid.providers.members import KEY, check_schema, check_strict, know, read_body
from tests.support.answers import EVENT_TYPE, Answer, Framing, json_answer
from tests.support.faulty import Recorded

NAME = "openai_responses"
BASE = "/v1"
ENCRYPTED = "gAAAAABgrid-4_x/+Zq0fThoughtsOfTheGrid=="
_BODY = (
    "instructions stream max_output_tokens tools tool_choice parallel_tool_calls text reasoning include store"
    " temperature top_p truncation metadata"
)
_ITEMS = {
    "message": "type role content id status phase",
    "function_call": "type id status name arguments call_id",
    "function_call_output": "type id status call_id output",
    "reasoning": "type id status summary content encrypted_content",
}
_PREFIXES = {"message": "msg_", "function_call": "fc_", "function_call_output": "fc", "reasoning": "rs_"}


def call_id(at: int) -> str:
    """The id of a reply's call."""
    return f"call_grid{at}"


def signatures(scenario: Scenario) -> tuple[str, ...]:
    """Reasoning comes encrypted where the model reasoned."""
    return (ENCRYPTED,) if scenario.effort else ()


def read(request: Recorded) -> Seen:
    """What a request says; RefusedError where the real provider would refuse it."""
    wire = read_body(request, "/v1/responses", "authorization", f"Bearer {KEY}")
    know(wire, _BODY, needed="model input")
    if wire.get("store") is not False:
        raise RefusedError("Nothing of a customer's may be stored at the operator's account.")
    if wire.get("max_output_tokens", 16) < 16:
        raise RefusedError("Invalid 'max_output_tokens': integer below minimum value.")
    items = wire["input"]
    if isinstance(items, str):
        items = [{"role": "user", "content": items}]
    system, turns, signed = _read_items(items)
    if wire.get("instructions"):
        system = "\n".join(filter(None, [wire["instructions"], system]))
    reasoning = wire.get("reasoning") or {}
    know(reasoning, "effort summary", "reasoning.")
    if reasoning and "reasoning.encrypted_content" not in wire.get("include", ()):
        raise RefusedError("Without the reasoning's encrypted content nobody can go on from this answer.")
    return Seen(
        model=wire["model"],
        stream=wire.get("stream", False),
        turns=turns,
        system=system,
        tools=tuple(_read_tool(tool) for tool in wire.get("tools", ())),
        choice=_read_choice(wire),
        schema=_read_format((wire.get("text") or {}).get("format")),
        effort=reasoning.get("effort"),
        temperature=wire.get("temperature"),
        limit=wire.get("max_output_tokens"),
        signed=signed,
    )


def answer(reply: Reply, seen: Seen, scenario: Scenario) -> Answer:
    """A reply, streamed if it was asked for so."""
    items = _items(reply, scenario)
    done = _response(seen, "completed", items, reply)
    if not seen.stream:
        return json_answer(done)
    started = _response(seen, "in_progress", [], None)
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": started},
        {"type": "response.in_progress", "response": started},
    ]
    *first, last = [_life(item, at) for at, item in enumerate(items)]
    if first and all(item["type"] == "function_call" for item in items[-2:]):
        last = _side_by_side(first.pop(), last)
    events += [event for life in first for event in life] + last
    return _stream([*events, {"type": "response.completed", "response": done}])


def refuse(status: int, message: str) -> Answer:
    """An error with a status."""
    error = {"message": message, "type": "server_error", "param": None, "code": None}
    return json_answer({"error": error}, status)


def break_off(message: str) -> Answer:
    """A stream that begins well and ends in an error."""
    seen = Seen("m", True, ())
    started = _response(seen, "in_progress", [], None)
    failed = {**_response(seen, "failed", [], None), "error": {"code": "server_error", "message": message}}
    begun = _life(_message("So far"), 0)[:3]
    return _stream(
        [
            {"type": "response.created", "response": started},
            {"type": "response.in_progress", "response": started},
            *begun,
            {"type": "error", "code": "server_error", "message": message, "param": None},
            {"type": "response.failed", "response": failed},
        ]
    )


def _stream(events: list[dict[str, Any]]) -> Answer:
    lines = [
        write_event({**event, "sequence_number": number}, event["type"])
        for number, event in enumerate(events)
    ]
    return Answer(tuple(lines), headers=EVENT_TYPE, framing=Framing.CHUNKED)


def _response(seen: Seen, status: str, output: list[Any], reply: Reply | None) -> dict[str, Any]:
    return {
        "id": "resp_grid",
        "object": "response",
        "created_at": 1_790_000_000,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": seen.system or None,
        "max_output_tokens": seen.limit,
        "model": "grid-responses-2026",
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": seen.effort, "summary": None},
        "service_tier": "default",
        "store": False,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None if reply is None else _usage(reply),
        "user": None,
        "metadata": {},
    }


def _message(words: str) -> dict[str, Any]:
    part = {"type": "output_text", "annotations": [], "logprobs": [], "text": words}
    content = [part]
    return {
        "id": "msg_grid",
        "type": "message",
        "status": "completed",
        "content": content,
        "role": "assistant",
    }


def _items(reply: Reply, scenario: Scenario) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    if scenario.effort and reply.thought:
        summary = [{"type": "summary_text", "text": reply.thought}]
        items.append(
            {"id": "rs_grid", "type": "reasoning", "encrypted_content": ENCRYPTED, "summary": summary}
        )
    if reply.words:
        items.append(_message(reply.words))
    for at, call in enumerate(reply.calls):
        items.append(
            {
                "id": f"fc_grid{at}",
                "type": "function_call",
                "status": "completed",
                "arguments": json.dumps(call.arguments),
                "call_id": call_id(at),
                "name": call.name,
            }
        )
    return items


def _life(item: dict[str, Any], at: int) -> list[dict[str, Any]]:
    """The events of one item."""
    where = {"item_id": item["id"], "output_index": at}
    match item["type"]:
        case "message":
            part = item["content"][0]
            begun = {**item, "status": "in_progress", "content": []}
            inner = _part_life("content_part", "output_text", part, {**where, "content_index": 0})
        case "reasoning":
            part = item["summary"][0]
            begun = {**item, "summary": []}
            inner = _part_life(
                "reasoning_summary_part", "reasoning_summary_text", part, {**where, "summary_index": 0}
            )
        case _:
            begun = {**item, "status": "in_progress", "arguments": ""}
            name = "response.function_call_arguments"
            inner = [
                {"type": f"{name}.delta", **where, "delta": piece, "obfuscation": "x" * (len(piece) % 3)}
                for piece in pieces(item["arguments"])
            ]
            inner.append({"type": f"{name}.done", **where, "arguments": item["arguments"]})
    return [
        {"type": "response.output_item.added", "item": begun, "output_index": at},
        *inner,
        {"type": "response.output_item.done", "item": item, "output_index": at},
    ]


def _part_life(part_name: str, text_name: str, part: dict[str, Any], where: dict[str, Any]) -> list[Any]:
    text = part["text"]
    return [
        {"type": f"response.{part_name}.added", **where, "part": {**part, "text": ""}},
        *({"type": f"response.{text_name}.delta", **where, "delta": piece} for piece in pieces(text)),
        {"type": f"response.{text_name}.done", **where, "text": text},
        {"type": f"response.{part_name}.done", **where, "part": part},
    ]


def _side_by_side(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Two items that grow in turns."""
    mixed = []
    for at in range(max(len(one), len(other))):
        mixed += one[at : at + 1] + other[at : at + 1]
    return mixed


def _usage(reply: Reply) -> dict[str, Any]:
    tokens = reply.tokens
    into = tokens.fresh + tokens.cached
    return {
        "input_tokens": into,
        "input_tokens_details": {"cached_tokens": tokens.cached},
        "output_tokens": tokens.out,
        "output_tokens_details": {"reasoning_tokens": tokens.thought},
        "total_tokens": into + tokens.out,
    }


def _read_items(items: list[dict[str, Any]]) -> tuple[str, tuple[Turn, ...], tuple[str, ...]]:
    """The system's words, everybody else's turns, and the encrypted thoughts that came back."""
    system: list[str] = []
    signed: list[str] = []
    turns: list[Turn] = []
    called: set[str] = set()
    answered: set[str] = set()
    for at, item in enumerate(items):
        kind = item.get("type", "message")
        if kind not in _ITEMS:
            raise RefusedError(f"Invalid value: 'input[{at}].type' {kind!r}.")
        know(item, _ITEMS[kind], f"input[{at}].")
        if "id" in item and not item["id"].startswith(_PREFIXES[kind]):
            raise RefusedError(
                f"Invalid 'input[{at}].id': expected an ID that begins with {_PREFIXES[kind]!r}."
            )
        if kind == "reasoning":
            signed.append(_read_reasoning(item, at))
            continue
        if kind == "message" and item["role"] in ("system", "developer"):
            system += [piece.text for piece in _read_content(item, at) if isinstance(piece, Words)]
            continue
        found: list[Piece]
        if kind == "message":
            found, role = _read_content(item, at), item["role"]
        elif kind == "function_call":
            called.add(item["call_id"])
            found, role = [Call(item["name"], json.loads(item["arguments"]), item["call_id"])], "assistant"
        else:
            if item["call_id"] not in called:
                raise RefusedError(f"No tool call found for function call output {item['call_id']}.")
            answered.add(item["call_id"])
            found, role = [Result(_read_output(item["output"]), item["call_id"])], "user"
        if turns and turns[-1].role == role:
            found = [*turns.pop().pieces, *found]
        turns.append(Turn(role, tuple(found)))
    if called != answered:
        raise RefusedError(f"No tool output found for function call {sorted(called - answered)}.")
    return "\n".join(system), tuple(turns), tuple(signed)


def _read_reasoning(item: dict[str, Any], at: int) -> str:
    encrypted = item.get("encrypted_content")
    if encrypted is None:
        raise RefusedError(f"Item '{item.get('id')}' not found: items are not kept when 'store' is false.")
    if encrypted != ENCRYPTED:
        raise RefusedError("The encrypted content could not be verified.")
    if "summary" not in item:
        raise RefusedError(f"Missing required parameter: 'input[{at}].summary'.")
    return ENCRYPTED


def _read_content(item: dict[str, Any], at: int) -> list[Piece]:
    if isinstance(item["content"], str):
        return [Words(item["content"])]
    return [_read_part(part, item["role"], at) for part in item["content"]]


def _read_part(part: dict[str, Any], role: str, at: int) -> Piece:
    kind = part["type"]
    if kind not in (("output_text", "refusal") if role == "assistant" else ("input_text", "input_image")):
        raise RefusedError(f"Invalid value: 'input[{at}].content[].type' {kind!r} in a message of {role!r}.")
    if kind == "input_image":
        know(part, "type detail", f"input[{at}].content[].", needed="image_url")
        media_type, _, data = part["image_url"].removeprefix("data:").partition(";base64,")
        return Picture(data=data, media_type=media_type) if data else Picture(url=part["image_url"])
    know(part, "type annotations logprobs", f"input[{at}].content[].", needed="text")
    return Words(part["text"])


def _read_output(output: Any) -> str:
    if isinstance(output, str):
        return output
    for part in output:
        know(part, "", "output[].", needed="type text")
    return "".join(part["text"] for part in output)


def _read_tool(tool: dict[str, Any]) -> Tool:
    know(tool, "description", "tools[].", needed="type name parameters strict")
    check_schema(tool["parameters"], tool["name"])
    if tool["strict"]:
        check_strict(tool["parameters"], tool["name"])
    return Tool(tool["name"], tool.get("description", ""), tool["parameters"])


def _read_choice(wire: dict[str, Any]) -> Any:
    choice = wire.get("tool_choice")
    if choice == "required" and not wire.get("tools"):
        raise RefusedError("Tool choice 'required' must be specified with 'tools' parameter.")
    return "named" if isinstance(choice, dict) else choice


def _read_format(form: dict[str, Any] | None) -> Any:
    if form is None or form["type"] == "text":
        return None
    know(form, "strict description", "text.format.", needed="type name schema")
    check_schema(form["schema"], form["name"])
    if form.get("strict"):
        check_strict(form["schema"], form["name"])
    return form["schema"]
