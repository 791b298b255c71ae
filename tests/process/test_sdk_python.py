"""The official OpenAI client for Python, on every profile of the sandbox and on llama.cpp behind the gateway."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import openai
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from pydantic import BaseModel

from tests.support.books import assert_balanced, holds, requests
from tests.support.engine import Engine
from tests.support.process import new_key, up
from tests.support.shop import nano

pytestmark = pytest.mark.process

BASES = ("/v1", "/api/v1", "/api/openai/v1", "/openserv/v1")
MODEL = "openai/gpt-4o-mini"
SEED = 7  # Of the tiny model's luck: it may also write blanks until its limit.
QUESTION: list[ChatCompletionMessageParam] = [
    {"role": "system", "content": "You are a concise assistant."},
    {"role": "user", "content": "what does one fare cost"},
]
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"enum": ["Paris", "Oslo"]},
                "days": {"type": "integer", "minimum": 1, "maximum": 9},
            },
            "required": ["city", "days"],
        },
    },
}


class Shop(NamedTuple):
    """A running server and keys of two plans."""

    url: str
    data: Path
    config: Path
    key: str
    slow_key: str

    def client(self, base: str = "/v1", key: str | None = None) -> OpenAI:
        return OpenAI(base_url=self.url + base, api_key=key or self.key, max_retries=0, timeout=30)


_PLANS = '[[plans]]\nname = "slow"\nchat_rpm = 1\nimage_rpm = 1\n'
_ENGINE = """
[[providers]]
name = "llama"
base_url = "{base_url}"
[[models]]
id = "llama/tiny"
context_window = 4096
max_output = 512
cost = {{ currency = "USD", input = "0", output = "0" }}
price = {{ currency = "USD", input = "1", output = "2" }}
routes = [{{ provider = "llama", model = "{model}" }}]
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The sandbox behind the gateway."""
    yield from opened(tmp_path_factory.mktemp("sandbox"), _PLANS)


@pytest.fixture(scope="module")
def llama_shop(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Iterator[Shop]:
    """llama.cpp behind the gateway."""
    text = _ENGINE.format(base_url=engine.base_url, model=engine.model) + _PLANS
    yield from opened(tmp_path_factory.mktemp("llama"), text)


def opened(folder: Path, text: str) -> Iterator[Shop]:
    data, config = folder / "data", folder / "farebox.toml"
    config.write_text(text)
    with up(data, config=config) as farebox:
        key = new_key(data, "acme", "--plan", "enterprise", "--credit", "10", config=config)
        slow_key = new_key(data, "walker", "--plan", "slow", "--credit", "10", config=config)
        yield Shop(farebox.url, data, config, key, slow_key)


@pytest.mark.parametrize("base", BASES)
def test_a_chat_is_the_same_plain_and_streamed_and_says_what_it_cost(shop: Shop, base: str) -> None:
    with shop.client(base) as client:
        plain = client.chat.completions.create(model=MODEL, messages=QUESTION)
        chunks = list(
            client.chat.completions.create(
                model=MODEL, messages=QUESTION, stream=True, stream_options={"include_usage": True}
            )
        )
    text = plain.choices[0].message.content
    assert text
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == text
    assert chunks[0].id.startswith("chatcmpl-")
    assert len({chunk.id for chunk in chunks}) == 1
    usage = chunks[-1].usage
    assert plain.usage is not None
    assert usage is not None
    assert usage.total_tokens == plain.usage.total_tokens
    rows = requests(shop.data, shop.config)
    for reply, charged in ((plain, plain.usage), (chunks[-1], usage)):
        row = rows[reply.id.removeprefix("chatcmpl-")]
        assert (row["state"], row["estimated"]) == ("posted", False)
        assert nano(row["charge"]) == 150 * charged.prompt_tokens + 600 * charged.completion_tokens


@pytest.mark.parametrize("base", BASES)
def test_a_loop_of_two_steps_calls_its_tool_and_ends(shop: Shop, base: str) -> None:
    with shop.client(base) as client:
        assert run_tool_loop(client, MODEL) == ["tool_calls", "stop"]


def test_a_parsed_answer_is_of_the_type_asked_for(shop: Shop) -> None:
    class Country(BaseModel):
        capital: str
        population: int
        languages: list[str]

    with shop.client() as client:
        parsed = client.chat.completions.parse(model=MODEL, messages=QUESTION, response_format=Country)
        assert isinstance(parsed.choices[0].message.parsed, Country)
        with client.chat.completions.stream(
            model=MODEL, messages=QUESTION, response_format=Country
        ) as stream:
            assert isinstance(stream.get_final_completion().choices[0].message.parsed, Country)


@pytest.mark.parametrize("base", BASES)
def test_each_failure_is_the_exception_that_the_client_has_for_it(shop: Shop, base: str) -> None:
    def ask(client: OpenAI, **members: Any) -> object:
        return client.chat.completions.create(**{"model": MODEL, "messages": QUESTION, **members})

    by_status = base == "/v1"  # AICredits' form of `code`, and only there.
    with (
        shop.client(base) as client,
        shop.client(base, "sk-wrong") as stranger,
        shop.client(base, shop.slow_key) as slow,
    ):
        with pytest.raises(openai.AuthenticationError) as wrong_key:
            ask(stranger)
        assert wrong_key.value.code == ("401" if by_status else "invalid_api_key")
        with pytest.raises(openai.NotFoundError) as no_model:
            ask(client, model="nobody/knows-it")
        assert no_model.value.code == ("404" if by_status else "model_not_found")
        with pytest.raises(openai.BadRequestError) as no_messages:
            ask(client, messages=[])
        assert no_messages.value.param == "messages"
        with contextlib.suppress(openai.RateLimitError):
            ask(slow)
        with pytest.raises(openai.RateLimitError) as too_fast:
            ask(slow)
        assert too_fast.value.type == "rate_limit_error"
        assert 1 <= int(too_fast.value.response.headers["retry-after"]) <= 60
        with pytest.raises(openai.InternalServerError):
            ask(client, messages=[*QUESTION, {"role": "user", "content": "sandbox:error 500"}])
        for error in (wrong_key, no_model, no_messages, too_fast):
            assert len(error.value.request_id or "") == 26


def test_a_stream_that_was_cut_raises_in_the_middle(shop: Shop) -> None:
    cut: list[ChatCompletionMessageParam] = [
        *QUESTION,
        {"role": "user", "content": "sandbox:cut 3\nTell me more."},
    ]
    got: list[str] = []

    def read(client: OpenAI) -> None:
        for chunk in client.chat.completions.create(model=MODEL, messages=cut, stream=True):
            got.extend(choice.delta.content for choice in chunk.choices if choice.delta.content)

    with shop.client() as client, pytest.raises(openai.APIError):
        read(client)
    assert len(got) == 3


def test_the_client_waits_and_tries_again_where_we_say_so_and_not_where_we_do_not(shop: Shop) -> None:
    poor = new_key(shop.data, "poor", "--credit", "0", config=shop.config)
    with OpenAI(base_url=f"{shop.url}/v1", api_key=poor, max_retries=3) as client:
        began_s = time.monotonic()
        with pytest.raises(openai.APIStatusError) as spent:
            client.chat.completions.create(model=MODEL, messages=QUESTION)
        assert spent.value.status_code == 402
        assert time.monotonic() - began_s < 0.4  # Its first wait would be longer.


def test_models_are_listed_and_found(shop: Shop) -> None:
    for base in BASES:
        with shop.client(base) as client:
            ids = [model.id for model in client.models.list()]
            assert len(ids) > 500
            assert client.models.retrieve(MODEL).id in (MODEL, "gpt-4o-mini")


def test_llama_cpp_behind_the_gateway_chats_and_streams_at_its_own_token_counts(llama_shop: Shop) -> None:
    with llama_shop.client() as client:
        plain = client.chat.completions.create(model="llama/tiny", messages=QUESTION, max_tokens=40, seed=1)
        assert plain.choices[0].message.content
        chunks = list(
            client.chat.completions.create(
                model="llama/tiny", messages=QUESTION, max_tokens=40, seed=1, stream=True
            )
        )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert len(text.split()) >= 3
    assert all(
        chunk.usage is None for chunk in chunks
    )  # Asked of the engine for the books, not by the caller.
    rows = requests(llama_shop.data, llama_shop.config)
    for reply in (plain, chunks[0]):
        row = rows[reply.id.removeprefix("chatcmpl-")]
        spoken = row["usage"]
        prompt = spoken.get("input_fresh", 0) + spoken.get("cache_read", 0)
        assert prompt > 5
        assert 0 < spoken["output_visible"] <= 40
        assert (row["provider"], row["estimated"]) == ("llama", False)
        assert nano(row["charge"]) == 1_000 * prompt + 2_000 * spoken["output_visible"]
    assert plain.usage is not None
    assert (
        rows[plain.id.removeprefix("chatcmpl-")]["usage"]["output_visible"] == plain.usage.completion_tokens
    )


@pytest.mark.parametrize("base", ["/v1", "/openserv/v1"])
def test_llama_cpp_behind_the_gateway_calls_tools(llama_shop: Shop, base: str) -> None:
    with llama_shop.client(base) as client:
        assert run_tool_loop(client, "llama/tiny")[0] == "tool_calls"
        pieces = [
            call
            for chunk in client.chat.completions.create(
                model="llama/tiny", messages=QUESTION, tools=[WEATHER], max_tokens=400, stream=True
            )
            for choice in chunk.choices
            for call in choice.delta.tool_calls or []
        ]
    first = [piece.function for piece in pieces if piece.index == 0 and piece.function]
    assert [function.name for function in first if function.name] == ["get_weather"]
    assert set(json.loads("".join(function.arguments or "" for function in first))) == {"city", "days"}
    assert holds(llama_shop.data) == {}
    assert_balanced(llama_shop.data, llama_shop.config)


def run_tool_loop(client: OpenAI, model: str) -> list[str]:
    """Ask, call what is asked for, tell the result; the finish reasons."""
    messages: list[ChatCompletionMessageParam] = [
        QUESTION[0],
        {"role": "user", "content": "What is the weather in Paris?"},
    ]
    first = client.chat.completions.create(
        model=model, messages=messages, tools=[WEATHER], max_tokens=400, seed=SEED
    )
    answered: list[ChatCompletionMessageParam] = []
    for call in first.choices[0].message.tool_calls or []:
        assert call.type == "function"
        assert call.function.name == "get_weather"
        assert '"city"' in call.function.arguments
        answered.append({"role": "tool", "tool_call_id": call.id, "content": "rain, 12 degrees"})
    assert answered
    called: Any = first.choices[0].message.to_dict()
    second = client.chat.completions.create(
        model=model, messages=[*messages, called, *answered], tools=[WEATHER], max_tokens=400, seed=SEED
    )
    assert second.choices[0].message.content
    assert not second.choices[0].message.tool_calls
    return [str(reply.choices[0].finish_reason) for reply in (first, second)]
