"""What reaches an OpenAI-compatible provider, what does not, and what of its answer reaches the caller."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from tests.api.caller import call_body
from tests.api.upstream import ECHO, SECRET, Bench, bench
from tests.api.wire import CALL, impatient, post
from tests.support.answers import chat, error, json_answer, stream

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    """One bench for the module; each test scripts its upstream anew."""
    async with bench(tmp_path_factory.mktemp("bench"), credit="1000") as made:
        yield made


async def test_unknown_members_go_on_byte_for_byte(made: Bench) -> None:
    made.upstream.script(chat())
    exotic = {
        b"unknown": rb'{"b": 1.50, "a": [1e400, -0.0, 12345678901234567890123, "\u00e9\/"]}',
        b"top_k": b"40",
        b"min_p": b"5E-2",
        b"repetition_penalty": b"1.10",
        b"chat_template_kwargs": b'{"enable_thinking":false}',
        b"logit_bias": b'{"50256": -100}',
        b"user": b'"u\\u0031"',
        b"metadata": b'{ "x" : "y" }',
        b"seed": b"42",
        b"response_format": b'{"type": "json_schema", "json_schema": {"name": "n", "schema": {"b": 1, "a": 2.0}}}',
    }
    members = b", ".join(b'"%b": %b' % member for member in exotic.items())
    messages = rb'[{"role": "user",  "content": "\u00e9 \/ \ud83d\ude00", "weight": 1.0}]'
    body = b'{"model": "acme/echo", "messages": %b, %b}' % (messages, members)
    answer = await made.caller.post("/v1/chat/completions", body)
    assert answer.status_code == 200, answer.text
    sent = msgspec.json.decode(made.upstream.requests[-1].body, type=dict[str, msgspec.Raw])
    assert bytes(sent.pop("model")) == b'"upstream-model"'
    assert bytes(sent.pop("messages")) == messages
    assert {name.encode(): bytes(value) for name, value in sent.items()} == exotic


async def test_a_member_written_in_escapes_goes_on_under_its_name(made: Bench) -> None:
    made.upstream.script(chat())
    messages = rb'[{"role": "user",  "content": "\u0048\u0069"}]'
    body = rb'{"mod\u0065l": "acme/\u0065cho", "messages": %b, "top\u005fk": 4.0}' % messages
    assert (await made.caller.post("/v1/chat/completions", body)).status_code == 200
    sent = msgspec.json.decode(made.upstream.requests[-1].body, type=dict[str, msgspec.Raw])
    assert {name: bytes(value) for name, value in sent.items()} == {
        "model": b'"upstream-model"',
        "messages": messages,
        "top_k": b"4.0",
    }


async def test_our_own_members_stay_with_us(made: Bench) -> None:
    made.upstream.script(chat())
    own = {
        "character_id": "12345",
        "cache": True,
        "no_cache": False,
        "models": [ECHO],
        "route": "fallback",
        "provider": {"order": ["x"]},
        "session_id": "s",
        "usage": {"include": True},
        "debug": {"echo_upstream_body": True},
        "preset": "p",
    }
    assert (await made.chat(**own)).status_code == 200
    assert set(made.sent) == {"model", "messages"}


async def test_nothing_of_the_callers_head_reaches_the_provider(made: Bench) -> None:
    made.upstream.script(chat())
    headers = {
        "cookie": "a=b",
        "x_forwarded_for": "10.0.0.1",
        "openai_organization": "org-mine",
        "x_api_key": "other",
        "x_request_id": "mine",
        "referer": "https://example.com",
    }
    answer = await made.caller.post("/v1/chat/completions?x=y", call_body(model=ECHO), **headers)
    assert answer.status_code == 200
    request = made.upstream.requests[-1]
    assert request.path == "/v1/chat/completions"
    assert request.headers["authorization"] == f"Bearer {SECRET}"
    allowed = {
        "host",
        "authorization",
        "content-type",
        "content-length",
        "accept",
        "accept-encoding",
        "user-agent",
    }
    assert set(request.headers) <= allowed
    told = f"{request.headers}{request.body!r}"
    assert made.caller.key not in told
    assert answer.headers["x-request-id"] != "mine"


@pytest.mark.parametrize("store", [True, False, None])
async def test_nothing_is_stored_at_the_provider(made: Bench, store: object) -> None:
    made.upstream.script(chat())
    body = b'{"model": "acme/echo", "messages": [{"role": "user", "content": "Hi"}], "st\\u006fre": %b}'
    answer = await made.caller.post("/v1/chat/completions", body % msgspec.json.encode(store))
    assert answer.status_code == 200
    assert made.sent["store"] is False


@pytest.mark.parametrize("tier", ["auto", "default"])
async def test_the_ordinary_tier_is_taken_and_left_to_the_provider(made: Bench, tier: str) -> None:
    made.upstream.script(chat())
    assert (await made.chat(service_tier=tier)).status_code == 200
    assert "service_tier" not in made.sent


async def test_a_plain_answer_shows_our_names_and_our_charge(made: Bench) -> None:
    provider = {
        "id": "chatcmpl-upstream1",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "upstream-model-0613",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "Hi."}, "finish_reason": "stop"}
        ],
        "usage": {
            "prompt_tokens": 11,
            "completion_tokens": 5,
            "total_tokens": 16,
            "cost": 0.5,
            "cost_details": {"upstream_inference_cost": 0.4},
            "is_byok": False,
            "queue_time": 0.25,
        },
        "system_fingerprint": "fp_1",
        "x_groq": {"id": "req_1"},
    }
    made.upstream.script(json_answer(provider))
    answer = await made.chat()
    reply = answer.json()
    assert reply["id"] == f"chatcmpl-{answer.headers['x-request-id']}"
    assert reply["model"] == "echo"
    # 11 tokens at a dollar a million and 5 at two.
    assert reply["usage"].pop("cost") == 0.000021
    assert reply["usage"].pop("cost_details") == {"currency": "USD", "total": 0.000021}
    assert reply["usage"] == {
        "prompt_tokens": 11,
        "completion_tokens": 5,
        "total_tokens": 16,
        "queue_time": 0.25,
    }
    untouched = ("object", "created", "choices", "system_fingerprint")
    assert {name: reply[name] for name in untouched} == {name: provider[name] for name in untouched}
    assert "x-sandbox" not in answer.headers


def events_of(text: str) -> list[Any]:
    """The chunks of a stream that is whole."""
    events = text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    return [msgspec.json.decode(event.removeprefix("data: ")) for event in events[:-2]]


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({}, False),
        ({"stream_options": None}, False),
        ({"stream_options": {"include_usage": False}}, False),
        ({"stream_options": {"include_usage": True}}, True),
        ({"stream_options": {"include_usage": True, "include_obfuscation": False}}, True),
    ],
)
async def test_usage_is_always_asked_for_and_shown_to_those_who_asked(
    made: Bench, options: dict[str, object], shown: bool
) -> None:
    made.upstream.script(stream())
    answer = await made.chat(stream=True, **options)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert made.sent["stream_options"] == {"include_usage": True}
    chunks = events_of(answer.text)
    usages = [chunk["usage"] for chunk in chunks if chunk.get("usage")]
    assert len(usages) == int(shown)
    if shown:
        assert chunks[-1]["choices"] == []
        assert (usages[0]["total_tokens"], usages[0]["cost"]) == (16, 0.000021)
    else:
        assert all(chunk["choices"] for chunk in chunks)
    assert {chunk["id"] for chunk in chunks} == {f"chatcmpl-{answer.headers['x-request-id']}"}
    assert {chunk["model"] for chunk in chunks} == {"echo"}
    said = "".join(choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"])
    assert said == "Hello from the provider."
    assert made.gateway.request(answer.headers["x-request-id"])["charge"] == 21_000


async def test_a_plain_call_gets_no_stream_options_of_ours(made: Bench) -> None:
    made.upstream.script(chat())
    await made.chat(stream=False)
    assert "stream_options" not in made.sent


async def test_a_provider_that_counts_nothing_is_charged_by_what_it_delivered(made: Bench) -> None:
    made.upstream.script(stream(usage=None))
    answer = await made.chat(stream=True, stream_options={"include_usage": True})
    last = events_of(answer.text)[-1]
    row = made.gateway.request(answer.headers["x-request-id"])
    assert row["estimated"] == 1
    assert last["usage"]["completion_tokens"] == row["output_tokens"] == 4
    assert Decimal(str(last["usage"]["cost"])) * 10**9 == int(str(row["charge"]))


LEAKS = [
    f"Incorrect API key provided: {SECRET}. See https://platform.example.com/account.",
    "You exceeded your current quota for organization org-AbCdEf123, check your billing details.",
    "The project proj_secret1234567 has no permission.",
]


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 408, 409, 429, 500, 502, 503, 504, 529])
@pytest.mark.parametrize("message", LEAKS)
async def test_a_providers_account_is_never_told(made: Bench, status: int, message: str) -> None:
    made.upstream.script(error(status, message))
    answer = await made.chat()
    assert answer.status_code in (502, 503, 504)
    assert answer.json()["error"]["type"] == "service_unavailable_error"
    for secret in (SECRET, "org-", "proj_", "example.com", "quota", made.upstream.base_url, "faulty"):
        assert secret not in answer.text


async def test_what_a_provider_says_of_the_request_is_passed_on_without_addresses(made: Bench) -> None:
    message = "Invalid 'messages[0]': too long. See https://docs.example.com/errors for more."
    made.upstream.script(error(400, message))
    answer = await made.chat()
    assert answer.status_code == 400
    assert "Invalid 'messages[0]': too long." in answer.json()["error"]["message"]
    assert "example.com" not in answer.text


async def test_a_caller_who_does_not_read_is_taken_for_gone(made: Bench) -> None:
    made.upstream.script(stream(["w" * 20_000] * 1000))
    body = CALL.replace(b"openai/gpt-4o-mini", b"acme/echo").replace(b"{", b'{"stream": true, ', 1)
    before = len((await made.caller.get("/v1/requests?limit=100")).json()["data"])
    async with impatient(made.gateway) as port:
        deaf = socket.create_connection(("127.0.0.1", port))
        deaf.sendall(post(made.caller.key, body))
        async with asyncio.timeout(8):
            while len(rows := (await made.caller.get("/v1/requests?limit=100")).json()["data"]) == before:
                await asyncio.sleep(0.02)
            await made.upstream.requests[-1].closed.wait()
        deaf.close()
    assert made.upstream.requests[-1].closed_early
    assert rows[0]["partial"] is True
    assert rows[0]["charge"] > 0


async def test_a_fallback_model_answers_where_the_asked_one_cannot(tmp_path: Path) -> None:
    async with bench(tmp_path) as made:
        made.upstream.script(error(500), error(500), chat())
        answer = await made.chat(models=[ECHO])
        assert (answer.status_code, len(made.upstream.requests)) == (502, 2)
        assert made.caller.spent_nano() == 0
