"""Failover: a provider that fails before it has said anything is replaced; one that refuses the caller is not."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.gateway.shop import CANARY_HEADER, CANARY_KEY, charge_of, open_shop
from tests.support.answers import (
    Act,
    Answer,
    chat,
    cut,
    error,
    error_event,
    garbage,
    hang,
    html_502,
    json_answer,
    refuse_connection,
    stream,
    truncated,
)
from tests.support.faulty import FaultyUpstream

QUICK = "first_byte_timeout_s = 0.4\nidle_timeout_s = 0.4\nconnect_timeout_s = 0.5"
BOTH = pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])

OF_THE_PROVIDER = {
    "a time-out of its own": error(408),
    "a conflict": error(409),
    "a rate limit": error(429),
    "a crash": error(500),
    "a bad gateway": html_502(),
    "an overload": error(503),
    "a gateway time-out": error(504),
    "an overload in its own number": error(529),
    "a moved endpoint": error(301, headers=(("location", "http://127.0.0.1:1/elsewhere"),)),
    "our key": error(401, f"Incorrect API key provided: {CANARY_KEY}"),
    "our bill": error(402, "Your organization canary-org has no credit."),
    "our rights": error(403, "The project canary-project may not use this model."),
    "a model that is gone": error(404),
    "our key, told as the caller's fault": error(
        400, f"API key not valid: {CANARY_KEY}. Please pass a valid API key."
    ),
    "our quota, told as the caller's fault": error(
        400, "You exceeded your current quota, organization canary-org."
    ),
    "a connection that ends": refuse_connection(),
    "a reset": refuse_connection(by_reset=True),
    "silence": hang(),
    "garbage": garbage(),
    "an answer cut in its head": Answer(before=(b"HTTP/1.1 200 OK\r\ncontent-", Act.CLOSE)),
    "an error in the clothes of an answer": json_answer({"error": {"message": "canary", "code": 500}}),
    "an answer that is none": json_answer({"hello": "canary"}),
    "a page": replace(html_502(), status=200),
    "a body cut short": truncated(chat(), 5),
    "an endless nest": Answer((b'{"choices":' + b"[" * 200_000,)),
}
STREAMED = {
    "an error event before anything": error_event(stream(), 0, "canary: overloaded"),
    "an error event behind the role": error_event(stream(), 1, "canary"),
    "a cut before anything": cut(stream(), 0),
    "a cut behind the role": cut(stream(), 1),
    "an end without a word": replace(stream(), body=stream().body[:1]),
    "an end mark without a word": replace(stream(), body=(stream().body[0], stream().body[-1])),
    "silence behind the role": replace(stream(), body=(stream().body[0], Act.HANG)),
    "a finish that is a failure": stream(words=(), usage=None, finish="error"),
}
PLAIN = {
    "no choices": json_answer(
        {"id": "c", "choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 0}}
    ),
    "a blank finish": json_answer({"id": "c", "choices": [{"index": 0, "message": {"content": ""}}]}),
    "a choice that failed": json_answer(
        {"id": "c", "choices": [{"index": 0, "message": {"content": "canary"}, "finish_reason": "error"}]}
    ),
}
CASES = [
    *((name, answer, streamed) for name, answer in OF_THE_PROVIDER.items() for streamed in (False, True)),
    *((name, answer, True) for name, answer in STREAMED.items()),
    *((name, answer, False) for name, answer in PLAIN.items()),
]
IDS = [f"{name}, {'streamed' if streamed else 'plain'}" for name, _, streamed in CASES]


@pytest.mark.parametrize(("fault", "streamed"), [case[1:] for case in CASES], ids=IDS)
async def test_the_next_provider_answers_for_one_that_fails(
    tmp_path: Path, fault: Answer, *, streamed: bool
) -> None:
    async with open_shop(tmp_path, QUICK) as shop:
        shop.first.script(fault)
        caller = await shop.ask(stream=streamed)
        assert caller.status == 200, caller.body
        assert caller.text == "Hello from the provider."
        assert (len(shop.first.requests), len(shop.second.requests)) == (1, 1)
        assert json.loads(shop.second.requests[0].body)["model"] == "up-2"
        row = await shop.row()
        assert [attempt["provider"] for attempt in row["attempts"]] == ["first", "second"]
        assert row["attempts"][0]["error"]
        assert row["attempts"][0]["status"] >= 500
        assert (row["provider"], row["upstream_model"], row["error"], row["partial"]) == (
            "second",
            "up-2",
            None,
            0,
        )
        shop.assert_settled(charge_of(11, 5))


@pytest.mark.parametrize(("fault", "streamed"), [case[1:] for case in CASES], ids=IDS)
async def test_two_that_fail_are_a_typed_error_without_a_word_of_theirs(
    tmp_path: Path, fault: Answer, *, streamed: bool
) -> None:
    async with open_shop(tmp_path, QUICK) as shop:
        shop.first.script(fault)
        shop.second.script(fault)
        caller = await shop.ask(stream=streamed)
        assert caller.status in (502, 503, 504)
        assert caller.error["type"] == "service_unavailable_error"
        assert caller.error["code"] == caller.status
        assert caller.headers["x-should-retry"] == "true"
        if caller.status == 503:
            assert int(caller.headers["retry-after"]) >= 1
        _assert_silent_about_us(caller.received, shop.first, shop.second)
        assert (len(shop.first.requests), len(shop.second.requests)) == (1, 1), "two tries and no more"
        row = await shop.row()
        assert (row["state"], row["charge"], row["status"]) == ("voided", 0, caller.status)
        shop.assert_settled(0)


def _assert_silent_about_us(received: bytes, *providers: FaultyUpstream) -> None:
    for secret in (
        "canary",
        CANARY_KEY,
        CANARY_HEADER,
        "upstream_code",
        "upstream_type",
        "nginx",
        "up-1",
        "up-2",
    ):
        assert secret.encode() not in received
    for provider in providers:
        assert f":{provider.port}".encode() not in received


@BOTH
async def test_a_provider_that_cannot_be_reached_is_replaced(tmp_path: Path, *, streamed: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    async with open_shop(tmp_path, QUICK, first_port=port) as shop:
        caller = await shop.ask(stream=streamed)
        assert caller.text == "Hello from the provider."
        assert not shop.first.requests
        assert len(shop.second.requests) == 1
        shop.assert_settled(charge_of(11, 5))


@pytest.mark.parametrize("status", [400, 413, 422])
@BOTH
async def test_a_refusal_of_the_request_is_the_callers(
    tmp_path: Path, status: int, *, streamed: bool
) -> None:
    async with open_shop(tmp_path) as shop:
        shop.first.script(error(status, "messages[0].content is too colourful."))
        caller = await shop.ask(stream=streamed)
        assert caller.status == status
        assert caller.error["message"] == "messages[0].content is too colourful."
        assert (caller.error["type"], caller.error["metadata"]["error_type"]) == (
            "invalid_request_error",
            "upstream_code",
        )
        assert "x-should-retry" not in caller.headers
        assert not shop.second.requests
        shop.assert_settled(0)


@BOTH
async def test_a_refusal_that_echoes_our_secrets_loses_them(tmp_path: Path, *, streamed: bool) -> None:
    async with open_shop(tmp_path) as shop:
        told = (
            f"Bad temperature. Sent to {shop.first.base_url}/chat with {CANARY_KEY} via 127.0.0.1,"
            " see https://canary.example/help."
        )
        shop.first.script(error(400, told, (("x-organization", "canary-org"), ("set-cookie", "canary=1"))))
        caller = await shop.ask(stream=streamed)
        assert caller.status == 400
        assert caller.error["message"].startswith("Bad temperature.")
        received = caller.received.replace(b"host: ", b"")
        assert b"canary" not in received
        assert b"127.0.0.1" not in received


@BOTH
async def test_nothing_is_tried_again_once_something_was_said(tmp_path: Path, *, streamed: bool) -> None:
    async with open_shop(tmp_path, QUICK) as shop:
        shop.first.script(cut(stream(), 2) if streamed else chat("Something."))
        caller = await shop.ask(stream=streamed)
        assert caller.text == ("Hello" if streamed else "Something.")
        assert (len(shop.first.requests), len(shop.second.requests)) == (1, 0)


async def test_a_third_model_is_not_asked(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        shop.first.script(error(500))
        shop.second.script(error(500))
        caller = await shop.ask(models=["acme/one", "acme/one"])
        assert caller.status == 502
        assert len(shop.first.requests) + len(shop.second.requests) == 2


async def test_a_providers_patience_is_passed_on(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        for provider in (shop.first, shop.second):
            provider.script(error(429, headers=(("retry-after", "7"),)))
        caller = await shop.ask()
        assert (caller.status, caller.headers["retry-after"], caller.headers["retry-after-ms"]) == (
            503,
            "7",
            "7000",
        )


@BOTH
async def test_the_callers_own_headers_and_key_stay_here(tmp_path: Path, *, streamed: bool) -> None:
    async with open_shop(tmp_path) as shop:
        await shop.ask(stream=streamed)
        headers = shop.first.requests[0].headers
        assert headers["authorization"] == f"Bearer {CANARY_KEY}"
        assert headers["x-ours"] == CANARY_HEADER
        assert shop.key not in str(headers)
        assert set(headers) <= {
            "host", "authorization", "x-ours", "content-type", "content-length", "accept",
            "accept-encoding", "user-agent", "connection",
        }  # fmt: skip
