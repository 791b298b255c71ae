"""All customers share the operator's key at a provider: nothing that is kept there can be named by any of them.

Each case is a body that reaches for state of another account's (or of nobody's) at the provider: refused by name with
400, in the caller's own words, before anything is held and before any provider is asked.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from tests.support.faulty import FaultyUpstream, serve_faulty
from tests.support.gateway import Gateway, running

pytestmark = pytest.mark.asyncio(loop_scope="module")
DIALECTS = ("openai_chat", "openai_responses", "anthropic", "gemini")
_PROVIDER = '[[providers]]\nname = "{name}"\ndialect = "{name}"\nbase_url = "{url}"\napi_key = "sk-shared"\n'
_MODEL = """
[[models]]
id = "acme/{name}"
context_window = 100000
max_output = 1000
cost = {{ currency = "USD", input = "1", output = "2" }}
routes = [ {{ provider = "{name}", model = "m" }} ]
"""
PATHS = {
    "openai_chat": "/v1/chat/completions",
    "openai_responses": "/v1/responses",
    "anthropic": "/v1/messages",
    "gemini": "/v1beta/models/acme/{model}:generateContent",
}
HELLO: dict[str, dict[str, Any]] = {
    "openai_chat": {"messages": [{"role": "user", "content": "hi"}]},
    "openai_responses": {"input": "hi"},
    "anthropic": {"max_tokens": 10, "messages": [{"role": "user", "content": "hi"}]},
    "gemini": {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]},
}


def said(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(parts)}]}


def put(*items: dict[str, Any]) -> dict[str, Any]:
    return {"input": list(items)}


def user(*parts: dict[str, Any]) -> dict[str, Any]:
    return put({"role": "user", "content": list(parts)})


def gave(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": list(parts)}]}


# Dialect → what reaches for state, by what a refusal must name.
REACHING: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "openai_chat": [
        ("previous_response_id", {"previous_response_id": "resp_theirs"}),
        ("conversation", {"conversation": "conv_theirs"}),
        ("container", {"container": "cntr_theirs"}),
        ("cached_content", {"cached_content": "cachedContents/theirs"}),
        ("file_ids", {"file_ids": ["file-theirs"]}),
        ("vector_store_ids", {"vector_store_ids": ["vs_theirs"]}),
        ("file_id", said({"type": "file", "file": {"file_id": "file-theirs"}})),
        ("audio", {"messages": [{"role": "assistant", "audio": {"id": "audio_theirs"}}]}),
        ("cached_content", {"extra_body": {"google": {"cached_content": "cachedContents/theirs"}}}),
        ("tools", {"tools": [{"type": "file_search", "vector_store_ids": ["vs_theirs"]}]}),
    ],
    "openai_responses": [
        ("previous_response_id", {"previous_response_id": "resp_theirs"}),
        ("conversation", {"conversation": "conv_theirs"}),
        ("conversation", {"conversation": {"id": "conv_theirs"}}),
        ("prompt", {"prompt": {"id": "pmpt_theirs"}}),
        ("item_reference", put({"type": "item_reference", "id": "msg_theirs"})),
        ("file_id", user({"type": "input_file", "file_id": "file-theirs"})),
        ("file_id", user({"type": "input_image", "file_id": "file-theirs"})),
        ("vector_store_ids", {"tools": [{"type": "file_search", "vector_store_ids": ["vs_theirs"]}]}),
        ("tools", {"tools": [{"type": "code_interpreter", "container": "cntr_theirs"}]}),
        ("tools", {"tools": [{"type": "mcp", "server_label": "x", "connector_id": "connector_x"}]}),
        (
            "file_search_call",
            put({"type": "file_search_call", "id": "fs_theirs", "queries": [], "status": "completed"}),
        ),
        (
            "file_id",
            put(
                {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
                {
                    "type": "function_call_output",
                    "call_id": "c",
                    "output": [{"type": "input_file", "file_id": "file-theirs"}],
                },
            ),
        ),
    ],
    "anthropic": [
        ("container", {"container": "container_theirs"}),
        ("mcp_servers", {"mcp_servers": [{"type": "url", "url": "https://example.com", "name": "x"}]}),
        ("file_id", said({"type": "document", "source": {"type": "file", "file_id": "file_theirs"}})),
        ("file_id", said({"type": "image", "source": {"type": "file", "file_id": "file_theirs"}})),
        ("container_upload", said({"type": "container_upload", "file_id": "file_theirs"})),
        ("tools", {"tools": [{"type": "code_execution_20250825", "name": "code_execution"}]}),
        ("tools", {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
    ],
    "gemini": [
        ("cachedContent", {"cachedContent": "cachedContents/theirs"}),
        ("cached_content", {"cached_content": "cachedContents/theirs"}),
        (
            "fileData",
            gave({"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/theirs"}}),
        ),
        ("file_data", gave({"file_data": {"file_uri": "files/theirs"}})),
        ("fileData", gave({"fileData": {"fileUri": "gs://bucket/theirs", "mimeType": "image/png"}})),
        ("tools", {"tools": [{"fileSearch": {"fileSearchStoreNames": ["fileSearchStores/theirs"]}}]}),
        ("tools", {"tools": [{"codeExecution": {}}]}),
        ("tools", {"tools": [{"google_search": {}}]}),
    ],
}
CASES = [
    pytest.param(caller, provider, name, reach, id=f"{caller}-{provider}-{at}-{name}")
    for caller in DIALECTS
    for provider in DIALECTS
    for at, (name, reach) in enumerate(REACHING[caller])
]


class Shop(msgspec.Struct):
    """One gateway with a provider of each dialect, all behind one key of the operator's."""

    gateway: Gateway
    upstream: FaultyUpstream
    keys: tuple[str, str]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    async with serve_faulty() as upstream:
        config = "".join(
            _PROVIDER.format(name=name, url=upstream.base_url) + _MODEL.format(name=name) for name in DIALECTS
        )
        async with running(tmp_path_factory.mktemp("tenants"), config) as gateway:
            yield Shop(gateway, upstream, (gateway.key("one"), gateway.key("two")))


def bare(text: str) -> str:
    """Google spells each member in two ways."""
    return text.lower().replace("_", "")


@pytest.mark.parametrize(("caller", "provider", "name", "reach"), CASES)
async def test_state_at_a_provider_is_refused_by_name_before_any_hold(
    shop: Shop, caller: str, provider: str, name: str, reach: dict[str, Any]
) -> None:
    body = {"model": f"acme/{provider}", **HELLO[caller], **reach}
    if caller == "gemini":
        del body["model"]
    path = PATHS[caller].format(model=provider)
    balances = [shop.gateway.balance_nano(account) for account in ("one", "two")]
    asked = len(shop.upstream.requests)
    for key in shop.keys:
        answer = await shop.gateway.client.post(path, json=body, headers={"authorization": f"Bearer {key}"})
        assert answer.status_code == 400, answer.text
        assert bare(name) in bare(answer.text), answer.text
    assert len(shop.upstream.requests) == asked
    assert [shop.gateway.balance_nano(account) for account in ("one", "two")] == balances
    assert shop.gateway.holds() == 0
