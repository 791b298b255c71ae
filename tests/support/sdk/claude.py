"""A scripted provider that speaks Anthropic's Messages alone: it calls the first tool, then tells the result.

It answers streams only in streams and in good form, so that whatever a client sees wrong was made wrong on the way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from anyio.from_thread import start_blocking_portal

from tests.support.answers import EVENT_TYPE, Answer, Framing, json_answer
from tests.support.faulty import FaultyUpstream, Recorded, serve_faulty

WORDS = "The capital of France is Paris."
CITY = "Paris"
COUNTRY = {"capital": "Paris", "population": 68, "languages": ["French", "Breton"]}
TOKENS = (23, 7)  # Of every prompt, of every answer.
_PIECE = 5  # Characters of a delta.


@contextmanager
def serve_claude() -> Iterator[FaultyUpstream]:
    """Run it on a loop of its own, in a thread."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(serve_faulty()) as upstream:
        upstream.choose(answer_to)
        yield upstream


def answer_to(request: Recorded) -> Answer:
    """What a request is answered, as an answer on the wire."""
    if request.path.partition("?")[0] != "/v1/messages":
        return refusal(404, "not_found_error", f"there is no {request.path} here")
    if not {"x-api-key", "authorization"} & request.headers.keys():
        return refusal(401, "authentication_error", "there is no key")
    if "anthropic-version" not in request.headers:
        return refusal(400, "invalid_request_error", "anthropic-version: header is required")
    body = msgspec.json.decode(request.body)
    block, stop = said_to(body)
    return stream(block, stop) if body.get("stream") else plain(block, stop)


def said_to(body: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The one block of the answer, and why it ends there."""
    results = results_in(body["messages"][-1]["content"])
    if results:
        return {"type": "text", "text": f"The tool says: {' '.join(results)}."}, "end_turn"
    tools = body.get("tools")
    if tools and body.get("tool_choice", {}).get("type") != "none":
        name = body.get("tool_choice", {}).get("name", tools[0]["name"])
        asked = {"city": CITY} if name == "get_weather" else COUNTRY
        return {"type": "tool_use", "id": "toolu_01scripted", "name": name, "input": asked}, "tool_use"
    if "format" in body.get("output_config", {}):
        return {"type": "text", "text": msgspec.json.encode(COUNTRY).decode()}, "end_turn"
    return {"type": "text", "text": WORDS}, "end_turn"


def results_in(content: str | Sequence[dict[str, Any]]) -> list[str]:
    """The texts of the tool results in a message."""
    blocks = [] if isinstance(content, str) else content
    told = [block.get("content", "") for block in blocks if block["type"] == "tool_result"]
    return [one if isinstance(one, str) else "".join(part["text"] for part in one) for one in told]


def plain(block: dict[str, Any], stop: str) -> Answer:
    """The answer as one message."""
    return json_answer(message([block], stop, TOKENS[1]))


def stream(block: dict[str, Any], stop: str) -> Answer:
    """The answer as server-sent events, text and arguments in small pieces, with a ping among them."""
    if block["type"] == "text":
        begun, whole, delta = {**block, "text": ""}, block["text"], ("text_delta", "text")
    else:
        whole = msgspec.json.encode(block["input"]).decode()
        begun, delta = {**block, "input": {}}, ("input_json_delta", "partial_json")
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": message([], None, 1)},
        {"type": "content_block_start", "index": 0, "content_block": begun},
        {"type": "ping"},
    ]
    for at in range(0, len(whole), _PIECE):
        piece = {"type": delta[0], delta[1]: whole[at : at + _PIECE]}
        events.append({"type": "content_block_delta", "index": 0, "delta": piece})
    events += [
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": stop, "stop_sequence": None},
            "usage": {"output_tokens": TOKENS[1]},
        },
        {"type": "message_stop"},
    ]
    written = (
        b"event: %b\ndata: %b\n\n" % (one["type"].encode(), msgspec.json.encode(one)) for one in events
    )
    return Answer(tuple(written), headers=EVENT_TYPE, framing=Framing.CHUNKED)


def message(content: list[dict[str, Any]], stop: str | None, output: int) -> dict[str, Any]:
    """A message object."""
    return {
        "id": "msg_01scripted",
        "type": "message",
        "role": "assistant",
        "model": "claude-scripted",
        "content": content,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {"input_tokens": TOKENS[0], "output_tokens": output},
    }


def refusal(status: int, kind: str, sentence: str) -> Answer:
    """An error in Anthropic's form."""
    return json_answer({"type": "error", "error": {"type": kind, "message": sentence}}, status)
