"""A provider of OpenAI's chat completions, as strict as the real one."""

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
    Seen,
    Tool,
    Turn,
    Words,
)
from tests.grid.lines import pieces, write_event
from tests.grid.providers.members import KEY, check_schema, check_strict, know, read_body
from tests.support.answers import EVENT_TYPE, Answer, Framing, json_answer
from tests.support.faulty import Recorded

NAME = "openai_chat"
BASE = "/v1"
_BODY = (
    "messages model stream stream_options max_tokens max_completion_tokens tools tool_choice parallel_tool_calls"
    " response_format reasoning_effort stop temperature top_p store"
)
_MESSAGES = {
    "system": "role content name",
    "developer": "role content name",
    "user": "role content name",
    # The last three are what a client sends back that echoes a whole message.
    "assistant": "role content name tool_calls refusal annotations reasoning_content",
    "tool": "role content tool_call_id",
}
_ENVELOPE = {"id": "chatcmpl-grid", "created": 1_790_000_000, "model": "grid-chat-2026"}


def call_id(at: int) -> str:
    """The id of a reply's call."""
    return f"call_grid{at}"


def signatures(scenario: Scenario) -> tuple[str, ...]:
    """Nothing is signed here."""
    del scenario
    return ()


def read(request: Recorded) -> Seen:
    """What a request says; RefusedError where the real provider would refuse it."""
    wire = read_body(request, "/v1/chat/completions", "authorization", f"Bearer {KEY}")
    know(wire, _BODY, needed="model messages")
    stream = wire.get("stream", False)
    if "stream_options" in wire and not stream:
        raise RefusedError("The 'stream_options' parameter is only allowed when 'stream' is enabled.")
    if wire.get("store"):
        raise RefusedError("Nothing of a customer's may be stored at the operator's account.")
    if "max_tokens" in wire and "max_completion_tokens" in wire:
        raise RefusedError("Setting 'max_tokens' and 'max_completion_tokens' at once is not supported.")
    system, turns = _read_messages(wire["messages"])
    tools = tuple(_read_tool(tool) for tool in wire.get("tools", ()))
    if not tools and ("tool_choice" in wire or "parallel_tool_calls" in wire):
        raise RefusedError("'tool_choice' is only allowed when 'tools' are specified.")
    stop = wire.get("stop") or []
    if len(stop) > 4:
        raise RefusedError("Invalid 'stop': array too long.")
    if wire.get("reasoning_effort") not in (None, "minimal", "low", "medium", "high"):
        raise RefusedError("Invalid value: 'reasoning_effort'.")
    return Seen(
        model=wire["model"],
        stream=stream,
        turns=turns,
        system=system,
        tools=tools,
        choice=_read_choice(wire.get("tool_choice")),
        schema=_read_format(wire.get("response_format")),
        effort=wire.get("reasoning_effort"),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        temperature=wire.get("temperature"),
        limit=wire.get("max_completion_tokens", wire.get("max_tokens")),
    )


def answer(reply: Reply, seen: Seen, scenario: Scenario) -> Answer:
    """A reply, streamed if it was asked for so."""
    del scenario
    if not seen.stream:
        message: dict[str, Any] = {
            "role": "assistant",
            "content": reply.words or None,
            "refusal": None,
            "annotations": [],
        }
        if reply.thought:
            message["reasoning_content"] = reply.thought
        if reply.calls:
            message["tool_calls"] = [_call(call, at) for at, call in enumerate(reply.calls)]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reply.finish}
        return json_answer(
            {**_ENVELOPE, "object": "chat.completion", "choices": [choice], "usage": _usage(reply)}
        )
    events = [b": OPENROUTER PROCESSING\n\n", _chunk({"role": "assistant", "content": ""})]
    events += [_chunk({"reasoning_content": piece}) for piece in pieces(reply.thought)]
    events += [_chunk({"content": piece}) for piece in pieces(reply.words)]
    events += _call_chunks(reply.calls)
    events.append(_chunk({}, reply.finish))
    events.append(_event({"choices": [], "usage": _usage(reply)}))
    return _stream([*events, b"data: [DONE]\n\n"])


def refuse(status: int, message: str) -> Answer:
    """An error with a status."""
    return json_answer({"error": _error(message)}, status)


def break_off(message: str) -> Answer:
    """A stream that begins well and ends in an error."""
    started = [_chunk({"role": "assistant", "content": ""}), _chunk({"content": "So far"})]
    return _stream([*started, write_event({"error": _error(message)})])


def _error(message: str) -> dict[str, Any]:
    return {"message": message, "type": "server_error", "param": None, "code": None}


def _stream(events: list[bytes]) -> Answer:
    return Answer(tuple(events), headers=EVENT_TYPE, framing=Framing.CHUNKED)


def _event(members: dict[str, Any]) -> bytes:
    return write_event({**_ENVELOPE, "object": "chat.completion.chunk", **members})


def _chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return _event({"choices": [choice], "usage": None})


def _call(call: Call, at: int) -> dict[str, Any]:
    function = {"name": call.name, "arguments": json.dumps(call.arguments)}
    return {"id": call_id(at), "type": "function", "function": function}


def _call_chunks(calls: tuple[Call, ...]) -> list[bytes]:
    """The calls of one reply, growing side by side."""
    begun = [
        {"index": at, "id": call_id(at), "type": "function", "function": {"name": call.name, "arguments": ""}}
        for at, call in enumerate(calls)
    ]
    chunks = [_chunk({"tool_calls": [one]}) for one in begun]
    texts = [pieces(json.dumps(call.arguments)) for call in calls]
    for turn in range(max(map(len, texts), default=0)):
        for at, text in enumerate(texts):
            if turn < len(text):
                chunks.append(_chunk({"tool_calls": [{"index": at, "function": {"arguments": text[turn]}}]}))
    return chunks


def _usage(reply: Reply) -> dict[str, Any]:
    tokens = reply.tokens
    into = tokens.fresh + tokens.cached
    return {
        "prompt_tokens": into,
        "completion_tokens": tokens.out,
        "total_tokens": into + tokens.out,
        "prompt_tokens_details": {"cached_tokens": tokens.cached, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": tokens.thought, "audio_tokens": 0},
    }


def _read_messages(messages: list[dict[str, Any]]) -> tuple[str, tuple[Turn, ...]]:
    """The system's words, and everybody else's turns with the tools' results in the user's."""
    system: list[str] = []
    turns: list[Turn] = []
    waiting: set[str] = set()  # Calls that nothing has answered yet.
    for at, message in enumerate(messages):
        role = message["role"]
        know(message, _MESSAGES[role], f"messages[{at}].", needed="role")
        if waiting and role != "tool":
            raise RefusedError(f"Tool calls without a result: {sorted(waiting)}.")
        if role in ("system", "developer"):
            system += [piece.text for piece in _read_content(message["content"], role)]
            continue
        if role == "tool":
            if message["tool_call_id"] not in waiting:
                raise RefusedError("Messages with role 'tool' must answer a preceding 'tool_calls'.")
            waiting.remove(message["tool_call_id"])
            texts = [piece.text for piece in _read_content(message["content"], role)]
            found: list[Piece] = [Result("".join(texts), message["tool_call_id"])]
        else:
            found = [*_read_content(message.get("content"), role)]
            calls = [_read_call(call) for call in message.get("tool_calls") or ()]
            waiting |= {call.id for call in calls}
            found += calls
            if not found:
                raise RefusedError(f"Invalid value for 'messages[{at}].content': got null.")
        spoken: Role = "assistant" if role == "assistant" else "user"
        if turns and turns[-1].role == spoken:
            found = [*turns.pop().pieces, *found]
        turns.append(Turn(spoken, tuple(found)))
    if waiting:
        raise RefusedError(f"Tool calls without a result: {sorted(waiting)}.")
    return "\n".join(system), tuple(turns)


def _read_content(content: Any, role: str) -> list[Any]:
    if content is None:
        return []
    if isinstance(content, str):
        return [Words(content)] if content else []
    return [_read_part(part, role) for part in content]


def _read_part(part: dict[str, Any], role: str) -> Words | Picture:
    if part["type"] == "text":
        know(part, "type", "content[].", needed="text")
        if not part["text"]:
            raise RefusedError("Invalid value: content parts must not be empty.")
        return Words(part["text"])
    if part["type"] != "image_url" or role != "user":
        raise RefusedError(f"Invalid content type {part['type']!r} in a message of role {role!r}.")
    know(part["image_url"], "detail", "image_url.", needed="url")
    url = part["image_url"]["url"]
    if not url.startswith("data:"):
        return Picture(url=url)
    media_type, _, data = url.removeprefix("data:").partition(";base64,")
    return Picture(data=data, media_type=media_type)


def _read_call(call: dict[str, Any]) -> Call:
    know(call, "", "tool_calls[].", needed="id type function")
    know(call["function"], "", "tool_calls[].function.", needed="name arguments")
    return Call(call["function"]["name"], json.loads(call["function"]["arguments"]), call["id"])


def _read_tool(tool: dict[str, Any]) -> Tool:
    know(tool, "", "tools[].", needed="type function")
    function = tool["function"]
    know(function, "description parameters strict", "tools[].function.", needed="name")
    check_schema(function["parameters"], function["name"])
    if function.get("strict"):
        check_strict(function["parameters"], function["name"])
    return Tool(function["name"], function.get("description", ""), function["parameters"])


def _read_choice(choice: Any) -> Any:
    if choice is None or choice in ("auto", "none", "required"):
        return choice
    know(choice, "", "tool_choice.", needed="type function")
    return "named"


def _read_format(form: dict[str, Any] | None) -> Any:
    if form is None:
        return None
    if form["type"] != "json_schema":
        raise RefusedError(f"Invalid value: 'response_format.type' {form['type']!r}.")
    inner = form["json_schema"]
    know(inner, "description strict", "response_format.json_schema.", needed="name schema")
    check_schema(inner["schema"], inner["name"])
    if inner.get("strict"):
        check_strict(inner["schema"], inner["name"])
    return inner["schema"]
