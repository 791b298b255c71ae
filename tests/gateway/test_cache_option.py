"""`cache: true`, on every profile and through every dialect: marks where a provider wants them, and tokens of the cache
counted, priced and told in classes of their own.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from tests.support.answers import Answer, json_answer
from tests.support.faulty import FaultyUpstream, Recorded, serve_faulty
from tests.support.gateway import Gateway, running

pytestmark = pytest.mark.asyncio(loop_scope="module")
# A token costs 1,000 nano-units fresh, 100 from the cache, 1,250 into it, 2,000 into it for an hour, 5,000 as output.
_CONFIG = """
[[providers]]
name = "claude"
dialect = "anthropic"
base_url = "{root}"
api_key = "sk-theirs"

[[providers]]
name = "router"
dialect = "openai_chat"
base_url = "{root}/v1"
cache_marks = true

[[providers]]
name = "plain"
dialect = "openai_chat"
base_url = "{root}/v1"
"""
_MODEL = """
[[models]]
id = "acme/{name}"
context_window = 100000
max_output = 1000
cost = {{ currency = "USD", input = "1", output = "5", cache_read = "0.1", cache_write = "1.25", cache_write_1h = "2" }}
routes = [ {{ provider = "{name}", model = "m" }} ]
"""
LONG = "a long story. " * 400
MARK = {"type": "ephemeral"}
TOOL = {"type": "object", "properties": {}}
BASES = {
    "/v1": "/v1beta",
    "/api/v1": "/api/v1beta",
    "/api/openai/v1": "/api/openai/v1",
    "/openserv/v1": "/openserv/v1",
}
DIALECTS = ("openai_chat", "openai_responses", "anthropic", "gemini")
USAGE = {
    "input_tokens": 10,
    "cache_read_input_tokens": 2000,
    "cache_creation_input_tokens": 300,
    "cache_creation": {"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 100},
    "output_tokens": 7,
}
CHARGE = 10 * 1000 + 2000 * 100 + 200 * 1250 + 100 * 2000 + 7 * 5000


def reply(request: Recorded) -> Answer:
    """A provider of either language."""
    if request.path.endswith("/messages"):
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "usage": USAGE}
        ending = {
            "content": [{"type": "text", "text": "ok"}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
        }
        return json_answer(message | ending)
    choice = {"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}
    return json_answer(
        {
            "id": "1",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [choice],
            "usage": usage,
        }
    )


class Shop(msgspec.Struct):
    """A gateway before providers that want marks, and one that does not."""

    gateway: Gateway
    upstream: FaultyUpstream

    async def ask(self, dialect: str, base: str, model: str, **members: Any) -> Any:
        """A call of three turns with a tool; the caller's answer, which must have been given."""
        body = conversation(dialect) | members
        path = {
            "openai_chat": f"{base}/chat/completions",
            "openai_responses": f"{base}/responses",
            "anthropic": f"{base}/messages",
            "gemini": f"{BASES[base]}/models/acme/{model}:generateContent",
        }[dialect]
        if dialect != "gemini":
            body["model"] = f"acme/{model}"
        headers = {"authorization": f"Bearer {self.gateway.key()}"}
        answer = await self.gateway.client.post(path, json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    @property
    def sent(self) -> Any:
        """The body that the provider got last."""
        return json.loads(self.upstream.requests[-1].body)


def conversation(dialect: str) -> dict[str, Any]:
    """The same conversation in each language."""
    talk = [("user", LONG), ("assistant", "I see."), ("user", "And then?")]
    match dialect:
        case "openai_chat":
            tool = {"type": "function", "function": {"name": "f", "parameters": TOOL}}
            messages = [{"role": role, "content": text} for role, text in (("system", "Be brief."), *talk)]
            return {"messages": messages, "tools": [tool]}
        case "openai_responses":
            tools = [{"type": "function", "name": "f", "parameters": TOOL}]
            items = [{"role": role, "content": text} for role, text in talk]
            return {"instructions": "Be brief.", "input": items, "tools": tools}
        case "anthropic":
            tools = [{"name": "f", "input_schema": TOOL}]
            messages = [{"role": role, "content": text} for role, text in talk]
            return {"system": "Be brief.", "messages": messages, "tools": tools, "max_tokens": 100}
        case _:
            roles = {"user": "user", "assistant": "model"}
            contents = [{"role": roles[role], "parts": [{"text": text}]} for role, text in talk]
            declared = [{"functionDeclarations": [{"name": "f", "parameters": TOOL}]}]
            system = {"parts": [{"text": "Be brief."}]}
            return {"systemInstruction": system, "contents": contents, "tools": declared}


def marked(body: Any) -> list[str]:
    """Which places of a body to Anthropic bear a mark."""
    found = ["tools" for tool in body.get("tools", ()) if "cache_control" in tool]
    system = body.get("system")
    found += ["system" for block in (system if isinstance(system, list) else ()) if "cache_control" in block]
    for at, message in enumerate(body["messages"]):
        content = message["content"]
        found += [
            f"messages[{at}]"
            for block in (content if isinstance(content, list) else ())
            if "cache_control" in block
        ]
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    async with serve_faulty() as upstream:
        upstream.choose(reply)
        config = _CONFIG.format(root=upstream.base_url.removesuffix("/v1"))
        config += "".join(_MODEL.format(name=name) for name in ("claude", "router", "plain"))
        async with running(tmp_path_factory.mktemp("cache"), config) as gateway:
            yield Shop(gateway, upstream)


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_the_stable_beginning_is_marked_on_every_profile_in_every_dialect(
    shop: Shop, dialect: str, base: str
) -> None:
    await shop.ask(dialect, base, "claude", cache=True)
    assert marked(shop.sent) == ["tools", "system", "messages[1]"]
    assert "cache" not in shop.sent


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_nothing_is_marked_unasked(shop: Shop, dialect: str) -> None:
    await shop.ask(dialect, "/v1", "claude")
    assert marked(shop.sent) == []
    await shop.ask(dialect, "/v1", "claude", cache=False)
    assert marked(shop.sent) == []


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_router_gets_marks_in_its_own_place_and_others_none(shop: Shop, dialect: str) -> None:
    await shop.ask(dialect, "/v1", "router", cache=True)
    assert "cache_control" in shop.sent["tools"][0]
    texts = [m["content"] for m in shop.sent["messages"] if isinstance(m["content"], list)]
    assert [block["cache_control"] for content in texts for block in content] == [MARK, MARK]
    await shop.ask(dialect, "/v1", "plain", cache=True)
    assert b"cache" not in shop.upstream.requests[-1].body


async def test_a_callers_own_marks_stay_as_they_are_and_ours_come_behind_them(shop: Shop) -> None:
    hour = {"type": "ephemeral", "ttl": "1h"}
    system = [{"type": "text", "text": "Be brief.", "cache_control": hour}]
    await shop.ask("anthropic", "/v1", "claude", cache=True, system=system)
    assert shop.sent["system"] == system
    assert marked(shop.sent) == ["system", "messages[1]"]
    await shop.ask("anthropic", "/v1", "claude", system=system)
    assert marked(shop.sent) == ["system"]


async def test_what_was_marked_in_a_chat_is_marked_at_anthropics(shop: Shop) -> None:
    content = [{"type": "text", "text": LONG, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    messages = [{"role": "user", "content": content}]
    await shop.ask("openai_chat", "/v1", "claude", messages=messages)
    block = shop.sent["messages"][0]["content"][0]
    assert block == {"type": "text", "text": LONG, "cache_control": {"type": "ephemeral", "ttl": "1h"}}


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_tokens_of_the_cache_are_priced_in_their_classes_and_told(shop: Shop, dialect: str) -> None:
    before = shop.gateway.balance_nano()
    answer = await shop.ask(dialect, "/v1", "claude", cache=True)
    assert before - shop.gateway.balance_nano() == CHARGE
    usage = answer["usageMetadata" if dialect == "gemini" else "usage"]
    assert usage["cost"] == CHARGE / 1e9
    told: dict[str, dict[str, Any]] = {
        "openai_chat": {
            "prompt_tokens": 2310,
            "completion_tokens": 7,
            "total_tokens": 2317,
            "prompt_tokens_details": {"cached_tokens": 2000, "cache_write_tokens": 300, "audio_tokens": 0},
        },
        "openai_responses": {"input_tokens": 2310, "output_tokens": 7, "total_tokens": 2317},
        "anthropic": USAGE,
        "gemini": {
            "promptTokenCount": 2310,
            "cachedContentTokenCount": 2000,
            "candidatesTokenCount": 7,
            "totalTokenCount": 2317,
        },
    }
    assert {name: usage.get(name) for name in told[dialect]} == told[dialect]
