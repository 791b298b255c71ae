"""Members that cost money outside tokens, or reach what a provider keeps: refused by name, however they are written."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from farebox.dialects.openai_chat.head import REFUSED
from tests.api.caller import call_body, error_of
from tests.api.upstream import ECHO, Bench, bench
from tests.support.answers import chat

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    """One bench whose upstream must not be asked."""
    async with bench(tmp_path_factory.mktemp("refusals")) as made:
        made.upstream.script(chat())
        yield made


async def refused(made: Bench, body: object, param: str) -> Any:
    """Post what must be refused: by name, before any provider hears of it, and free."""
    asked, spent_nano = len(made.upstream.requests), made.caller.spent_nano()
    error = error_of(await made.caller.post("/v1/chat/completions", body), 400)
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert param in error["message"]
    assert "Leave it out" in error["message"]
    assert len(made.upstream.requests) == asked
    assert made.caller.spent_nano() == spent_nano
    return error


def escaped(text: str) -> bytes:
    """A JSON string in which every letter is written as an escape."""
    return b'"' + b"".join(b"\\u%04X" % ord(letter) for letter in text) + b'"'


@pytest.mark.parametrize("name", REFUSED)
async def test_a_member_of_the_table_is_refused(made: Bench, name: str) -> None:
    await refused(made, call_body(model=ECHO, **{name: {}}), name)


@pytest.mark.parametrize("name", REFUSED)
async def test_a_member_of_the_table_in_escapes_is_refused(made: Bench, name: str) -> None:
    body = msgspec.json.encode(call_body(model=ECHO))[:-1]
    await refused(made, body + b", %b: {}}" % escaped(name), name)
    await refused(made, body + b', "%b\\u00%x": {}}' % (name[:-1].encode(), ord(name[-1])), name)


STATE = {
    "file_id": [{"type": "file", "file": {"file_id": "file-abc"}}],
    "container_id": [{"type": "text", "text": "x", "container_id": "c"}],
    "vector_store_id": [{"type": "text", "text": "x", "more": [{"deep": {"vector_store_id": 1}}]}],
    "cached_content": [{"type": "text", "text": "x", "google": {"cached_content": "c"}}],
}


@pytest.mark.parametrize("name", STATE)
@pytest.mark.parametrize("in_escapes", [False, True])
async def test_a_providers_state_is_refused_at_any_depth(made: Bench, name: str, in_escapes: bool) -> None:
    body = msgspec.json.encode(call_body(model=ECHO, messages=[{"role": "user", "content": STATE[name]}]))
    if in_escapes:
        body = body.replace(f'"{name}"'.encode(), escaped(name))
    await refused(made, body, name)


async def test_state_outside_of_messages_is_refused_too(made: Bench) -> None:
    body = call_body(model=ECHO)
    await refused(made, {**body, "extra_body": {"google": {"cached_content": "c"}}}, "cached_content")
    message = {"role": "assistant", "audio": {"id": "audio_abc"}}
    await refused(made, {**body, "messages": [message]}, "messages[0].audio")


@pytest.mark.parametrize(
    "type_", ["web_search", "web_search_preview", "code_interpreter", "file_search", "mcp"]
)
async def test_a_hosted_tool_is_refused(made: Bench, type_: str) -> None:
    await refused(made, call_body(model=ECHO, tools=[{"type": type_}]), "tools[0].type")


@pytest.mark.parametrize("tier", ["flex", "priority", "scale", "whatever-comes-next"])
async def test_a_tier_without_a_price_is_refused(made: Bench, tier: str) -> None:
    await refused(made, call_body(model=ECHO, service_tier=tier), "service_tier")


@pytest.mark.parametrize("modality", ["audio", "image", "video"])
async def test_output_without_a_price_is_refused(made: Bench, modality: str) -> None:
    await refused(made, call_body(model=ECHO, modalities=["text", modality]), "modalities")


HARMLESS: dict[str, dict[str, Any]] = {
    "nothing in it": dict.fromkeys(REFUSED),
    "a word in a text": {"say": 'Set "file_id" and "web_search_options" to "cached_content".'},
    "an escape in a text": {"say": "\\u0041 \\\\u0066ile_id \x7f"},
    "a tool's own parameter": {
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "read",
                    "parameters": {
                        "type": "object",
                        "properties": {"file_id": {"type": "string"}, "container": {"type": "string"}},
                    },
                },
            }
        ]
    },
    "an answer's own member": {
        "response_format": {
            "type": "json_schema",
            "json_schema": {
                "name": "found",
                "schema": {"type": "object", "properties": {"container_id": {"type": "string"}}},
            },
        }
    },
    "the caller's own notes": {"metadata": {"file_id": "mine", "conversation": "7"}},
    "text alone": {"modalities": ["text"]},
}


@pytest.mark.parametrize("name", HARMLESS)
async def test_a_word_that_only_looks_like_one_is_taken(made: Bench, name: str) -> None:
    answer = await made.chat(**HARMLESS[name])
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("number", [b"1e400", b"1" + b"0" * 5000])
async def test_a_word_beside_a_number_that_nobody_can_hold_is_refused(made: Bench, number: bytes) -> None:
    body = (
        b'{"model": "acme/echo", "messages": [{"role": "user", "content": "\\u0041"}], "extra": [%b]}'
        % number
    )
    error = error_of(await made.caller.post("/v1/chat/completions", body), 400)
    assert "out of range" in error["message"]
