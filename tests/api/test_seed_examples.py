"""The chat examples of the four public documents, word for word but for host and key, each on its own profile."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from openai import AsyncOpenAI

from tests.api.caller import Caller
from tests.support.gateway import Gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")

# The curl example of each document: base path, body, and the model its reply must name.
EXAMPLES = {
    "aicredits": (
        "/v1",
        {"model": "openai/gpt-4o-mini", "messages": [{"role": "user", "content": "Hello!"}]},
        "gpt-4o-mini",
    ),
    "console-quick-start": (
        "/api/v1",
        {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello!"}]},
        "gpt-4o",
    ),
    "console": (
        "/api/v1",
        {
            "model": "gpt-4o",
            "messages": [
                {"role": "system", "content": "You are a helpful assistant."},
                {"role": "user", "content": "What is the capital of France?"},
            ],
            "temperature": 0.7,
            "max_tokens": 512,
            "stream": False,
        },
        "gpt-4o",
    ),
    "serika": (
        "/api/openai/v1",
        {
            "model": "openai/gpt-4o-mini",
            "messages": [{"role": "user", "content": "What is the capital of France?"}],
        },
        "openai/gpt-4o-mini",
    ),
    "openserv": (
        "/openserv/v1",
        {
            "model": "gpt-5.4-mini",
            "messages": [
                {"role": "system", "content": "You are a concise assistant."},
                {"role": "user", "content": "Hello!"},
            ],
        },
        "gpt-5.4-mini",
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
async def test_the_curl_example_is_answered_as_its_document_shows(shared: Gateway, name: str) -> None:
    base, body, model = EXAMPLES[name]
    caller = Caller(shared, name)
    answer = await caller.post(f"{base}/chat/completions", body)
    assert answer.status_code == 200, answer.text
    check_completion(answer, model)
    assert caller.spent_nano() > 0


def check_completion(answer: httpx2.Response, model: str) -> None:
    """The members that the documents' responses show, in their types."""
    reply = answer.json()
    assert reply["id"] == f"chatcmpl-{answer.headers['x-request-id']}"
    assert reply["object"] == "chat.completion"
    assert reply["created"] > 1_600_000_000
    assert reply["model"] == model
    (choice,) = reply["choices"]
    assert choice["index"] == 0
    assert choice["finish_reason"] == "stop"
    assert choice["message"]["role"] == "assistant"
    assert choice["message"]["content"]
    usage = reply["usage"]
    assert usage["prompt_tokens"] + usage["completion_tokens"] == usage["total_tokens"]
    assert usage["cost"] > 0


# The Python examples: base path, and the arguments of `create`.
PYTHON: dict[str, tuple[str, dict[str, Any]]] = {
    "aicredits": (
        "/v1",
        {
            "model": "openai/gpt-4o-mini",
            "messages": [
                {"role": "system", "content": "You are a helpful assistant."},
                {"role": "user", "content": "Hello!"},
            ],
        },
    ),
    "console": (
        "/api/v1",
        {
            "model": "gpt-4o",
            "messages": [
                {"role": "system", "content": "You are a helpful assistant."},
                {"role": "user", "content": "What is the capital of France?"},
            ],
            "temperature": 0.7,
            "max_tokens": 512,
        },
    ),
    "serika": (
        "/api/openai/v1",
        {
            "model": "openai/gpt-4o-mini",
            "messages": [
                {"role": "system", "content": "You are a helpful assistant."},
                {"role": "user", "content": "What is the capital of France?"},
            ],
        },
    ),
    "serika-character": (
        "/api/openai/v1",
        {
            "model": "sao10k/l3.3-euryale-70b",
            "messages": [{"role": "user", "content": "Hello!"}],
            "extra_body": {"character_id": "12345"},
        },
    ),
}


@pytest.mark.parametrize("name", PYTHON)
async def test_the_python_example_prints_what_the_model_said(shared: Gateway, name: str) -> None:
    base, arguments = PYTHON[name]
    async with AsyncOpenAI(base_url=shared.url + base, api_key=shared.key(f"{name}-python")) as client:
        response = await client.chat.completions.create(**arguments)
    assert response.choices[0].message.content


async def test_serikas_streaming_example_prints_the_story_token_by_token(shared: Gateway) -> None:
    key, said = shared.key("serika-stream"), []
    async with AsyncOpenAI(base_url=f"{shared.url}/api/openai/v1", api_key=key) as client:
        stream = await client.chat.completions.create(
            model="openai/gpt-4o-mini",
            messages=[{"role": "user", "content": "Write a long story."}],
            stream=True,
        )
        async for chunk in stream:
            said.append(chunk.choices[0].delta.content or "")
    assert len(list(filter(None, said))) > 1


# What the documents' tables of request parameters allow, each with a value from its range.
PARAMETERS: dict[str, list[dict[str, Any]]] = {
    "/v1": [
        {"stream": False},
        {"temperature": 0},
        {"temperature": 2},
        {"max_tokens": 1},
        {"response_format": {"type": "json_object"}},
        {"tools": [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]},
        {"cache": True},
        {"cache": False},
        {"no_cache": True},
    ],
    "/api/v1": [
        {"temperature": 1},
        {"top_p": 0},
        {"top_p": 1},
        {"stop": "."},
        {"stop": ["a", "b", "c", "d"]},
        {"stream": False},
    ],
    "/api/openai/v1": [{"character_id": "12345"}, {"temperature": 0.8}, {"max_tokens": 64}],
    "/openserv/v1": [
        {"max_completion_tokens": 64},
        {"reasoning_effort": "low"},
        {"tool_choice": "none"},
        {"stream": False},
        {"seed": 7, "user": "u", "metadata": {"a": "b"}, "logit_bias": {"50256": -100}},
    ],
}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
CHOICES = ("auto", "none", "required", {"type": "function", "function": {"name": "look"}})


@pytest.mark.parametrize("base", PARAMETERS)
async def test_every_documented_parameter_is_taken(shared: Gateway, base: str) -> None:
    caller = Caller(shared, f"parameters{base.replace('/', '-')}")
    asked = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi."}]
    for members in PARAMETERS[base]:
        answer = await caller.chat(base, messages=asked, **members)
        assert answer.status_code == 200, (members, answer.text)
    for choice in CHOICES:
        answer = await caller.chat(base, messages=asked, tools=[TOOL], tool_choice=choice)
        assert answer.status_code == 200, (choice, answer.text)


@pytest.mark.parametrize("base", PARAMETERS)
async def test_max_tokens_bounds_the_answer_under_both_its_names(shared: Gateway, base: str) -> None:
    caller = Caller(shared, f"limits{base.replace('/', '-')}")
    asked = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "sandbox:long 50"}]
    for member in ("max_tokens", "max_completion_tokens"):
        answer = await caller.chat(base, messages=asked, **{member: 3})
        assert answer.json()["usage"]["completion_tokens"] == 3
        assert answer.json()["choices"][0]["finish_reason"] == "length"


async def test_n_gives_so_many_choices_and_all_are_charged(shared: Gateway) -> None:
    caller = Caller(shared, "several")
    one = (await caller.chat(n=1)).json()
    three = (await caller.chat(n=3)).json()
    assert [choice["index"] for choice in three["choices"]] == [0, 1, 2]
    assert three["usage"]["completion_tokens"] > one["usage"]["completion_tokens"]
    assert three["usage"]["cost"] > one["usage"]["cost"]


@pytest.mark.parametrize("role", ["system", "developer"])
async def test_a_developer_speaks_like_a_system(shared: Gateway, role: str) -> None:
    caller = Caller(shared, f"as-{role}")
    asked = [{"role": role, "content": "Be brief."}, {"role": "user", "content": "Hello!"}]
    assert (await caller.chat("/openserv/v1", messages=asked)).status_code == 200
