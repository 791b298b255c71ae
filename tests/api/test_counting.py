"""Counting tokens: free, for any model, in the caller's words; and Google's verbs at every place clients look."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import msgspec
import pytest
import pytest_asyncio

from tests.support.answers import Answer, error, json_answer
from tests.support.faulty import FaultyUpstream, Recorded, serve_faulty
from tests.support.gateway import Gateway, running

pytestmark = pytest.mark.asyncio(loop_scope="module")
_CONFIG = """
[[providers]]
name = "claude"
dialect = "anthropic"
base_url = "{root}"

[[providers]]
name = "google"
dialect = "gemini"
base_url = "{root}/v1beta"
"""
_MODEL = """
[[models]]
id = "acme/{name}"
context_window = 100000
max_output = 1000
cost = {{ currency = "USD", input = "1", output = "5" }}
routes = [ {{ provider = "{name}", model = "their-{name}" }} ]
"""
MESSAGES = {"messages": [{"role": "user", "content": "How many tokens are in this?"}], "system": "Be brief."}
CONTENTS = {"contents": [{"role": "user", "parts": [{"text": "How many tokens are in this?"}]}]}


class Shop(msgspec.Struct):
    """A gateway before one provider of each dialect that counts."""

    gateway: Gateway
    upstream: FaultyUpstream

    async def post(self, path: str, body: dict[str, Any], **headers: str) -> httpx2.Response:
        key = {"x-api-key": self.gateway.key()}
        return await self.gateway.client.post(path, json=body, headers=key | headers)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    async with serve_faulty() as upstream:
        config = _CONFIG.format(root=upstream.base_url.removesuffix("/v1"))
        config += "".join(_MODEL.format(name=name) for name in ("claude", "google"))
        async with running(tmp_path_factory.mktemp("counting"), config) as gateway:
            yield Shop(gateway, upstream)


def counts(request: Recorded) -> Answer:
    """A provider that counts."""
    google = request.path.endswith(":countTokens")
    return json_answer({"totalTokens": 31} if google else {"input_tokens": 42})


async def test_a_provider_of_the_callers_language_counts(shop: Shop) -> None:
    shop.upstream.choose(counts)
    answer = await shop.post("/v1/messages/count_tokens", {"model": "acme/claude", **MESSAGES, "cache": True})
    assert (answer.status_code, answer.json()) == (200, {"input_tokens": 42})
    asked = shop.upstream.requests[-1]
    assert asked.path == "/v1/messages/count_tokens"
    assert msgspec.json.decode(asked.body) == {"model": "their-claude", **MESSAGES}
    answer = await shop.post("/v1beta/models/acme/google:countTokens", CONTENTS)
    assert (answer.status_code, answer.json()) == (200, {"totalTokens": 31})
    assert shop.upstream.requests[-1].path == "/v1beta/models/their-google:countTokens"


@pytest.mark.parametrize("base", ["/v1", "/v1beta", "/api/v1beta", "/api/v1", "/openserv/v1"])
async def test_a_whole_request_is_counted_as_well_on_every_base(shop: Shop, base: str) -> None:
    shop.upstream.choose(counts)
    whole = {
        **CONTENTS,
        "model": "models/acme/google",
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
    }
    answer = await shop.post(f"{base}/models/acme/google:countTokens", {"generateContentRequest": whole})
    assert (answer.status_code, answer.json()) == (200, {"totalTokens": 31})


@pytest.mark.parametrize(
    "broken", [error(500), error(401), json_answer({"what": "?"})], ids=["500", "401", "odd"]
)
async def test_what_no_provider_counts_is_estimated(shop: Shop, broken: Answer) -> None:
    shop.upstream.choose(lambda _: broken)
    for path, body, member in (
        ("/v1/messages/count_tokens", {"model": "acme/claude", **MESSAGES}, "input_tokens"),
        ("/v1/messages/count_tokens", {"model": "acme/google", **MESSAGES}, "input_tokens"),
        ("/v1beta/models/acme/claude:countTokens", CONTENTS, "totalTokens"),
    ):
        answer = await shop.post(path, body)
        assert answer.status_code == 200, answer.text
        assert 5 <= answer.json()[member] <= 30


async def test_an_image_and_tools_count(shop: Shop) -> None:
    shop.upstream.choose(lambda _: error(500))
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
    tool = {"name": "f", "description": "word " * 100, "input_schema": {"type": "object"}}
    body = {"model": "acme/claude", "messages": [{"role": "user", "content": [image]}], "tools": [tool]}
    assert 1100 < (await shop.post("/v1/messages/count_tokens", body)).json()["input_tokens"] < 1300


async def test_a_prompt_that_a_call_may_not_say_is_not_counted_either(shop: Shop) -> None:
    shop.upstream.choose(counts)
    before = len(shop.upstream.requests)
    source = {"type": "file", "file_id": "file_theirs"}
    body = {
        "model": "acme/claude",
        "messages": [{"role": "user", "content": [{"type": "image", "source": source}]}],
    }
    assert (await shop.post("/v1/messages/count_tokens", body)).status_code == 400
    body = {"contents": [{"parts": [{"fileData": {"fileUri": "files/theirs"}}]}]}
    assert (await shop.post("/v1beta/models/acme/google:countTokens", body)).status_code == 400
    assert len(shop.upstream.requests) == before


async def test_a_provider_that_finds_the_prompt_wrong_is_believed(shop: Shop) -> None:
    shop.upstream.choose(lambda _: error(400, "messages: roles must alternate"))
    answer = await shop.post("/v1/messages/count_tokens", {"model": "acme/claude", **MESSAGES})
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


async def test_counting_is_free_and_no_call_of_the_window(shop: Shop) -> None:
    shop.upstream.choose(counts)
    first = await shop.post("/v1/messages/count_tokens", {"model": "acme/claude", **MESSAGES})
    again = await shop.post("/v1/messages/count_tokens", {"model": "acme/claude", **MESSAGES})
    name = "x-ratelimit-remaining-requests"
    assert first.headers[name] == again.headers[name]
    assert shop.gateway.balance_nano() == 10_000_000_000
    assert shop.gateway.holds() == 0


async def test_a_count_needs_a_key_and_a_model_that_there_is(shop: Shop) -> None:
    path = "/v1/messages/count_tokens"
    assert (
        await shop.post(path, {"model": "acme/claude", **MESSAGES}, **{"x-api-key": "sk-no"})
    ).status_code == 401
    assert (await shop.post(path, {"model": "acme/nothing", **MESSAGES})).status_code == 404
    assert (await shop.post("/v1beta/models/acme/nothing:countTokens", CONTENTS)).status_code == 404


@pytest.mark.parametrize("verb", ["", ":", ":generate", ":embedContent"])
async def test_a_verb_nobody_knows_is_not_found_in_googles_words(shop: Shop, verb: str) -> None:
    answer = await shop.post(f"/v1beta/models/acme/google{verb}", CONTENTS)
    assert (answer.status_code, answer.json()["error"]["status"]) == (404, "NOT_FOUND")


async def test_a_version_and_known_features_go_along_to_anthropic_alone(shop: Shop) -> None:
    shop.upstream.choose(counts)
    betas = "interleaved-thinking-2025-05-14, made-up-2026-01-01"
    headers = {"anthropic-version": "2026-10-21", "anthropic-beta": betas}
    await shop.post("/v1/messages/count_tokens", {"model": "acme/claude", **MESSAGES}, **headers)
    sent = shop.upstream.requests[-1].headers
    assert (sent["anthropic-version"], sent["anthropic-beta"]) == (
        "2026-10-21",
        "interleaved-thinking-2025-05-14",
    )
    await shop.post(
        "/v1/messages/count_tokens", {"model": "acme/claude", **MESSAGES}, **{"anthropic-version": "x"}
    )
    assert shop.upstream.requests[-1].headers["anthropic-version"] == "2023-06-01"
