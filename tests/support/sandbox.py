"""Asking the sandbox in a test, and folding its stream back into the reply it came from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from farebox.providers.sandbox.upstream import PATH, Reply, Sandbox
from farebox.providers.upstream import Endpoint, Outgoing, TimeLimits

LIMIT = 64_000_000
PATIENT = TimeLimits()


def body_of(say: object = "Hello!", **members: object) -> bytes:
    """A chat request; `say` is the content of its only message unless `messages` is given."""
    request = {"model": "test/model", "messages": [{"role": "user", "content": say}], **members}
    return json.dumps(request, ensure_ascii=False).encode()


async def send(body: bytes, *, limits: TimeLimits = PATIENT, path: str = PATH, method: str = "POST") -> Reply:
    """Send a body to a fresh sandbox."""
    endpoint = Endpoint("sandbox", "http://sandbox.invalid", limits=limits)
    return await Sandbox().send(endpoint, Outgoing(path, body, method=method))


async def ask(say: object = "Hello!", **members: object) -> Any:
    """The plain reply to a request that must succeed."""
    reply = await send(body_of(say, **members))
    body = await reply.read_whole(LIMIT)
    assert reply.status == 200, body
    return json.loads(body)


async def stream(say: object = "Hello!", **members: object) -> list[Any]:
    """The chunks of a stream that must be whole, its end mark checked and taken off."""
    members.setdefault("stream_options", {"include_usage": True})
    reply = await send(body_of(say, stream=True, **members))
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("text/event-stream")
    events = (await reply.read_whole(LIMIT)).split(b"\n\n")
    assert events[-2:] == [b"data: [DONE]", b""]
    return [json.loads(event.removeprefix(b"data: ")) for event in events[:-2]]


def fold(chunks: Sequence[Any]) -> dict[str, Any]:
    """The plain reply that a stream amounts to, put together by a reader that knows only OpenAI's reference."""
    choices: dict[int, dict[str, Any]] = {}
    usage = None
    for chunk in chunks:
        assert chunk["object"] == "chat.completion.chunk"
        usage = chunk.get("usage") or usage
        for part in chunk["choices"]:
            choice = choices.setdefault(
                part["index"], {"index": part["index"], "message": {}, "logprobs": None}
            )
            _grow(choice["message"], part["delta"])
            _learn(choice, part["logprobs"])
            choice["finish_reason"] = part["finish_reason"]
    first = chunks[0]
    return {
        "id": first["id"],
        "object": "chat.completion",
        "created": first["created"],
        "model": first["model"],
        "choices": [choices[index] for index in sorted(choices)],
        "usage": usage,
        "system_fingerprint": first["system_fingerprint"],
    }


def _grow(message: dict[str, Any], delta: dict[str, Any]) -> None:
    for name, value in delta.items():
        if name == "tool_calls":
            for call in value:
                _grow_call(message.setdefault("tool_calls", []), call)
        elif isinstance(value, str) and name != "role":
            message[name] = (message.get(name) or "") + value
        else:
            message[name] = value


def _grow_call(calls: list[Any], delta: dict[str, Any]) -> None:
    if delta["index"] == len(calls):
        calls.append({"id": delta["id"], "type": delta["type"], "function": dict(delta["function"])})
    else:
        calls[delta["index"]]["function"]["arguments"] += delta["function"]["arguments"]


def _learn(choice: dict[str, Any], logprobs: dict[str, Any] | None) -> None:
    if logprobs is None:
        return
    known = choice["logprobs"] or {"content": None, "refusal": None}
    choice["logprobs"] = {
        name: (known[name] or []) + logprobs[name] if logprobs[name] else known[name] for name in known
    }
