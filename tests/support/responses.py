"""A shop that sells Responses: one model of a provider that speaks it, one of a provider that speaks chat."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import msgspec

from tests.support.answers import EVENT_TYPE, Answer, Framing, json_answer
from tests.support.faulty import FaultyUpstream, serve_faulty
from tests.support.gateway import Gateway, running

HOME, ABROAD = "acme/home", "acme/abroad"
USAGE = {
    "input_tokens": 11,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 16,
}
CALL_NANO = 11 * 1_000 + 5 * 2_000
_PROVIDER = (
    '[[providers]]\nname = "{name}"\ndialect = "{dialect}"\nbase_url = "{url}"\napi_key = "sk-shared"\n'
)
_MODEL = """
[[models]]
id = "acme/{name}"
context_window = 100000000
max_output = 1000
cost = {{ currency = "USD", input = "1", output = "2" }}
routes = [ {{ provider = "{name}", model = "up-1" }} ]
"""


def message(text: str, id_: str = "msg_upstream") -> dict[str, Any]:
    """An output item that says something."""
    content = [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]
    return {"id": id_, "type": "message", "status": "completed", "role": "assistant", "content": content}


def function_call(call_id: str = "call_1") -> dict[str, Any]:
    """An output item that calls a tool."""
    return {
        "id": "fc_upstream",
        "type": "function_call",
        "status": "completed",
        "call_id": call_id,
        "name": "get_weather",
        "arguments": '{"city":"Pune"}',
    }


def response(*output: dict[str, Any], status: str = "completed") -> dict[str, Any]:
    """A provider's response object; it keeps nothing, and says so."""
    return {
        "id": "resp_upstream",
        "object": "response",
        "created_at": 1_700_000_000,
        "status": status,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "instructions": None,
        "max_output_tokens": None,
        "model": "up-1",
        "output": list(output),
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "store": False,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "metadata": {},
        "usage": USAGE if status != "in_progress" else None,
    }


def plain(*output: dict[str, Any]) -> Answer:
    """A provider's whole reply."""
    return json_answer(response(*output))


def streamed(text: str, status: str = "completed") -> Answer:
    """The same words as events."""
    item = message(text)
    about = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    part = item["content"][0]
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": response(status="in_progress")},
        {"type": "response.output_item.added", "output_index": 0, "item": item | {"content": []}},
        {"type": "response.content_part.added", **about, "part": part | {"text": ""}},
        *({"type": "response.output_text.delta", **about, "delta": word, "logprobs": []} for word in text),
        {"type": "response.output_text.done", **about, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **about, "part": part},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": f"response.{status}", "response": response(item, status=status)},
    ]
    pieces = [
        b"event: %b\ndata: %b\n\n"
        % (event["type"].encode(), msgspec.json.encode(event | {"sequence_number": at}))
        for at, event in enumerate(events)
    ]
    return Answer(tuple(pieces), headers=EVENT_TYPE, framing=Framing.CHUNKED)


def config_of(url: str, more: str = "") -> str:
    """The shop's farebox.toml; `more` comes first."""
    rows = (("home", "openai_responses"), ("abroad", "openai_chat"))
    return more + "".join(
        _PROVIDER.format(name=name, dialect=dialect, url=url) + _MODEL.format(name=name)
        for name, dialect in rows
    )


class Shop(msgspec.Struct):
    """The gateway, its provider, and a customer's key."""

    gateway: Gateway
    upstream: FaultyUpstream
    key: str

    async def post(self, input_: object, key: str = "", **members: Any) -> httpx2.Response:
        """One call, whatever comes of it."""
        body = {"model": HOME, "input": input_, **members}
        return await self.gateway.client.post("/v1/responses", json=body, headers=self._bearer(key))

    async def ask(self, input_: object, key: str = "", **members: Any) -> dict[str, Any]:
        """One call that succeeds; its response object."""
        answer = await self.post(input_, key, **members)
        assert answer.status_code == 200, answer.text
        if not members.get("stream"):
            reply: dict[str, Any] = answer.json()
            return reply
        last = answer.text.strip().rpartition("\ndata: ")[2]
        whole: dict[str, Any] = msgspec.json.decode(last)["response"]
        return whole

    async def get(self, path: str, key: str = "") -> httpx2.Response:
        """`GET /v1/responses/…`."""
        return await self.gateway.client.get(f"/v1/responses/{path}", headers=self._bearer(key))

    async def delete(self, id_: str, key: str = "") -> httpx2.Response:
        """`DELETE /v1/responses/…`."""
        return await self.gateway.client.delete(f"/v1/responses/{id_}", headers=self._bearer(key))

    async def cancel(self, id_: str, key: str = "") -> httpx2.Response:
        """`POST /v1/responses/…/cancel`."""
        path = f"/v1/responses/{id_}/cancel"
        return await self.gateway.client.post(path, headers=self._bearer(key))

    @property
    def sent(self) -> dict[str, Any]:
        """What the provider got last."""
        body: dict[str, Any] = msgspec.json.decode(self.upstream.requests[-1].body)
        return body

    def kept(self) -> int:
        """How many responses are stored."""
        ((count,),) = self.gateway.office.database.rows("SELECT COUNT(*) FROM responses")
        return int(str(count))

    def _bearer(self, key: str) -> dict[str, str]:
        return {"authorization": f"Bearer {key or self.key}"}


@asynccontextmanager
async def open_shop(folder: Path, more: str = "") -> AsyncIterator[Shop]:
    """Open it; afterwards nothing is held and the books balance."""
    async with serve_faulty() as upstream:
        upstream.script(plain(message("Hello.")))
        async with running(folder, config_of(upstream.base_url, more)) as gateway:
            yield Shop(gateway, upstream, gateway.key())
            assert gateway.holds() == 0
            gateway.assert_balanced()
