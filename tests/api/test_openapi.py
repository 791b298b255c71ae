"""Answers and events are what OpenAI's own document says they are, and what the official SDK's types are."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from openai.types import Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from tests.api.caller import MODEL, Caller
from tests.gateway.shop import data_lines
from tests.support.gateway import Gateway, running
from tests.support.openapi import read_document

pytestmark = pytest.mark.asyncio(loop_scope="module")
EVENTS: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
CHAT_TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": WEATHER}}
RESPONSES_TOOL = {"type": "function", "name": "get_weather", "parameters": WEATHER, "strict": True}
CHAT_SCHEMA = {"type": "json_schema", "json_schema": {"name": "place", "schema": WEATHER, "strict": True}}
RESPONSES_SCHEMA = {"format": {"type": "json_schema", "name": "place", "schema": WEATHER, "strict": True}}
CHAT: dict[str, dict[str, Any]] = {
    "words": {},
    "a limit": {"max_tokens": 3},
    "several choices": {"n": 2},
    "log probabilities": {"logprobs": True, "top_logprobs": 2},
    "a tool": {"tools": [CHAT_TOOL], "tool_choice": "required"},
    "a schema": {"response_format": CHAT_SCHEMA},
    "thinking": {"reasoning_effort": "high"},
    "a refusal": {"messages": [{"role": "user", "content": "sandbox:refuse"}]},
    "nothing": {"messages": [{"role": "user", "content": "sandbox:empty"}]},
}
RESPONSES: dict[str, dict[str, Any]] = {
    "words": {},
    "a limit": {"max_output_tokens": 16, "input": "sandbox:long 40"},
    "a tool": {"tools": [RESPONSES_TOOL], "tool_choice": "required"},
    "a schema": {"text": RESPONSES_SCHEMA},
    "thinking": {"reasoning": {"effort": "high", "summary": "auto"}},
    "its own settings": {
        "instructions": "Be brief.",
        "temperature": 0.5,
        "top_p": 0.9,
        "metadata": {"a": "b"},
    },
    "a refusal": {"input": "sandbox:refuse"},
    "nothing": {"input": "sandbox:empty"},
    "a conversation": {
        "tools": [RESPONSES_TOOL],
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "Weather in Pune?"}]},
            {"type": "function_call", "call_id": "c1", "name": "get_weather", "arguments": '{"city":"Pune"}'},
            {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
        ],
    },
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    async with running(tmp_path_factory.mktemp("openapi")) as gateway:
        yield gateway


def check(name: str, value: Any) -> None:
    document = read_document()
    if document is not None:
        document.check(name, value)


def chat_body(case: str, **members: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": "Hello!"}], **CHAT[case], **members}


def responses_body(case: str, **members: Any) -> dict[str, Any]:
    return {"model": MODEL, "input": "Hello!", **RESPONSES[case], **members}


@pytest.mark.parametrize("case", CHAT)
async def test_a_plain_chat_completion_is_of_the_documents_form(sandbox: Gateway, case: str) -> None:
    answer = await Caller(sandbox).post("/v1/chat/completions", chat_body(case))
    assert answer.status_code == 200, answer.text
    ChatCompletion.model_validate(answer.json(), strict=True)
    check("CreateChatCompletionResponse", answer.json())


@pytest.mark.parametrize("case", CHAT)
@pytest.mark.parametrize("usage", [True, False])
async def test_every_chunk_is_of_the_documents_form(sandbox: Gateway, case: str, usage: bool) -> None:
    body = chat_body(case, stream=True, stream_options={"include_usage": usage})
    answer = await Caller(sandbox).post("/v1/chat/completions", body)
    chunks = data_lines(answer.content)
    assert chunks[-1] == b"[DONE]"
    for chunk in map(json.loads, chunks[:-1]):
        ChatCompletionChunk.model_validate(chunk, strict=True)
        check("CreateChatCompletionStreamResponse", chunk)


@pytest.mark.parametrize("case", RESPONSES)
async def test_a_plain_response_is_of_the_documents_form(sandbox: Gateway, case: str) -> None:
    answer = await Caller(sandbox).post("/v1/responses", responses_body(case))
    assert answer.status_code == 200, answer.text
    Response.model_validate_json(answer.content, strict=True)
    check("Response", answer.json())


@pytest.mark.parametrize("case", RESPONSES)
async def test_every_event_of_a_response_is_of_the_documents_form(sandbox: Gateway, case: str) -> None:
    answer = await Caller(sandbox).post("/v1/responses", responses_body(case, stream=True))
    assert answer.status_code == 200, answer.text
    events = [json.loads(data) for data in data_lines(answer.content)]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    document = read_document()
    for event in events:
        EVENTS.validate_json(json.dumps(event), strict=True)
        if document is not None:
            document.check_event(event)
    names = [line[7:].decode() for line in answer.content.split(b"\n") if line.startswith(b"event: ")]
    assert names == [event["type"] for event in events]


@pytest.mark.parametrize("base", ["/v1", "/openserv/v1", "/api/openai/v1"])
async def test_a_list_of_models_is_of_the_documents_form(sandbox: Gateway, base: str) -> None:
    listed = (await Caller(sandbox).get(f"{base}/models")).json()
    check("ListModelsResponse", listed)
    for row in listed["data"]:
        Model.model_validate(row, strict=True)
    one = (await Caller(sandbox).get(f"{base}/models/{MODEL}")).json()
    check("Model", one)


@pytest.mark.parametrize("path", ["chat/completions", "responses"])
@pytest.mark.parametrize("base", ["/v1", "/api/v1"])
async def test_an_error_is_of_the_documents_form_but_for_an_integer_code(
    sandbox: Gateway, base: str, path: str
) -> None:
    error = (await Caller(sandbox).post(f"{base}/{path}", {"model": 1})).json()
    code = error["error"]["code"]
    assert isinstance(code, int) == (base == "/v1")
    error["error"]["code"] = str(code)
    check("ErrorResponse", error)
