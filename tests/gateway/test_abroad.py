"""A provider that speaks another language: what is lost is named, what cannot be said is refused before a hold."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import msgspec
import pytest
import pytest_asyncio

from tests.support.answers import Answer, json_answer
from tests.support.faulty import FaultyUpstream, Recorded, serve_faulty
from tests.support.gateway import Gateway, running

pytestmark = pytest.mark.asyncio(loop_scope="module")
_CONFIG = """
[[providers]]
name = "claude"
dialect = "anthropic"
base_url = "{root}"

[[providers]]
name = "chatty"
dialect = "openai_chat"
base_url = "{root}/v1"

[[providers]]
name = "versioned"
dialect = "anthropic"
base_url = "{root}/v1"

[[models]]
id = "acme/versioned"
context_window = 100000
max_output = 777
cost = {{ currency = "USD", input = "1", output = "5" }}
routes = [ {{ provider = "versioned", model = "m" }} ]

[[models]]
id = "acme/claude"
context_window = 100000
max_output = 777
cost = {{ currency = "USD", input = "1", output = "5" }}
routes = [ {{ provider = "claude", model = "m" }} ]

[[models]]
id = "acme/either"
context_window = 100000
max_output = 1000
cost = {{ currency = "USD", input = "1", output = "5" }}
routes = [ {{ provider = "claude", model = "m", order = 1 }}, {{ provider = "chatty", model = "m", order = 2 }} ]
"""
HELLO = [{"role": "user", "content": "hi"}]


def reply(request: Recorded) -> Answer:
    if request.path.endswith("/messages"):
        usage = {"input_tokens": 3, "output_tokens": 2}
        content = [{"type": "text", "text": "hello"}]
        ending = {"stop_reason": "end_turn", "stop_sequence": None, "usage": usage}
        return json_answer(
            {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": content} | ending
        )
    choice = {"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
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
    """A gateway before one provider of each of two dialects."""

    gateway: Gateway
    upstream: FaultyUpstream

    async def chat(self, **members: Any) -> httpx2.Response:
        body = {"model": "acme/claude", "messages": HELLO, **members}
        headers = {"authorization": f"Bearer {self.gateway.key()}"}
        return await self.gateway.client.post("/api/v1/chat/completions", json=body, headers=headers)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    async with serve_faulty() as upstream:
        upstream.choose(reply)
        config = _CONFIG.format(root=upstream.base_url.removesuffix("/v1"))
        async with running(tmp_path_factory.mktemp("abroad"), config) as gateway:
            yield Shop(gateway, upstream)


async def test_a_member_that_does_not_arrive_is_named(shop: Shop) -> None:
    answer = await shop.chat(seed=7, frequency_penalty=0.5, user="me")
    assert answer.status_code == 200
    assert set(answer.headers["x-farebox-dropped"].split(", ")) == {"seed", "frequency_penalty", "user"}


async def test_a_callers_own_names_cannot_break_out_of_the_header(shop: Shop) -> None:
    odd = {"a\r\nx-evil: 1": 1, "b, c": 2, "ü\x00": 3, "n" * 5000: 4}
    answer = await shop.chat(**odd)
    assert answer.status_code == 200
    assert "x-evil" not in answer.headers
    assert answer.headers["x-farebox-dropped"] == f"a??x-evil: 1, b? c, ??, {'n' * 80}"
    many = await shop.chat(**{f"member_{at}": at for at in range(3000)})
    assert many.status_code == 200
    assert len(many.headers["x-farebox-dropped"]) < 1000
    assert many.headers["x-farebox-dropped"].endswith(", ...")


@pytest.mark.parametrize(
    ("members", "name"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"logit_bias": {"1": 2}}, "logit_bias"),
        ({"response_format": {"type": "grammar"}}, "response_format"),
        ({"tools": [{"type": "custom", "custom": {"name": "f"}}]}, "tools[0].type"),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}
                        ],
                    }
                ]
            },
            "audio",
        ),
        ({"messages": [*HELLO, {"role": "tool", "tool_call_id": "c1", "content": "x"}]}, "c1"),
    ],
)
async def test_what_changes_the_answer_is_refused_by_name_before_any_hold(
    shop: Shop, members: dict[str, Any], name: str
) -> None:
    asked, balance = len(shop.upstream.requests), shop.gateway.balance_nano()
    for stream in (False, True):
        answer = await shop.chat(**members, stream=stream)
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["type"] == "invalid_request_error"
        assert name in answer.text
    assert len(shop.upstream.requests) == asked
    assert shop.gateway.balance_nano() == balance
    assert shop.gateway.holds() == 0


async def test_a_route_that_can_say_it_is_taken_instead(shop: Shop) -> None:
    answer = await shop.chat(model="acme/either", logprobs=True)
    assert answer.status_code == 200
    assert shop.upstream.requests[-1].path == "/v1/chat/completions"
    assert json.loads(shop.upstream.requests[-1].body)["logprobs"] is True


async def test_a_provider_that_must_know_a_limit_is_told_the_models(shop: Shop) -> None:
    await shop.chat()
    assert json.loads(shop.upstream.requests[-1].body)["max_tokens"] == 777
    await shop.chat(max_tokens=12)
    assert json.loads(shop.upstream.requests[-1].body)["max_tokens"] == 12


async def test_a_base_with_the_version_that_the_path_says_as_well_is_meant_without_it(shop: Shop) -> None:
    assert (await shop.chat(model="acme/versioned")).status_code == 200
    assert shop.upstream.requests[-1].path == "/v1/messages"


async def test_nothing_of_the_gateways_own_reaches_a_provider(shop: Shop) -> None:
    own = {
        "cache": False,
        "session_id": "s",
        "models": [],
        "usage": {"include": True},
        "provider": {},
        "no_cache": True,
    }
    answer = await shop.chat(**own)
    assert answer.status_code == 200
    assert json.loads(shop.upstream.requests[-1].body).keys() == {"model", "messages", "max_tokens"}
    assert "x-farebox-dropped" not in answer.headers
