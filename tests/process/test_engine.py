"""The real engine does what tests ask of it, seen by raw HTTP: plain chat, streams with usage, forced tool calls.

And through the gateway, where the same engine is a provider in each of the dialects that it speaks, by nothing but a
row in farebox.toml.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.client import HTTPConnection
from pathlib import Path

import msgspec
import pytest

from farebox.dialects import DIALECTS
from tests.support import engine as engine_module
from tests.support.engine import Engine, started_engine
from tests.support.gateway import Gateway, running
from tests.support.tiny_model import write_tiny_model

pytestmark = pytest.mark.process

QUESTION = [{"role": "user", "content": "what does one fare cost"}]
WEATHER = {
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


class Function(msgspec.Struct):
    name: str | None = None
    arguments: str = ""


class Call(msgspec.Struct):
    function: Function
    id: str | None = None
    index: int = 0  # Of a stream: which call a piece belongs to.


class Said(msgspec.Struct):
    content: str | None = None
    tool_calls: list[Call] = []


class Choice(msgspec.Struct):
    message: Said = msgspec.field(default_factory=Said)
    delta: Said = msgspec.field(default_factory=Said)
    finish_reason: str | None = None


class Tokens(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Answer(msgspec.Struct):
    choices: list[Choice]
    usage: Tokens | None = None


class Weather(msgspec.Struct, forbid_unknown_fields=True):
    city: str
    days: int


def ask(engine: Engine, **members: object) -> bytes:
    connection = HTTPConnection(engine.host, engine.port, timeout=30)
    body = msgspec.json.encode(
        {"model": engine.model, "messages": QUESTION, "max_tokens": 60, "seed": 1} | members
    )
    connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
    response = connection.getresponse()
    answer = response.read()
    connection.close()
    assert response.status == 200, answer
    return answer


def events(answer: bytes) -> list[Answer]:
    *chunks, done, rest = answer.split(b"\n\n")
    assert (done, rest) == (b"data: [DONE]", b"")
    return [msgspec.json.decode(chunk.removeprefix(b"data: "), type=Answer) for chunk in chunks]


def test_the_engine_answers_a_plain_chat_and_counts_its_tokens(engine: Engine) -> None:
    answer = msgspec.json.decode(ask(engine), type=Answer)
    assert len((answer.choices[0].message.content or "").split()) >= 3
    assert answer.choices[0].finish_reason in {"stop", "length"}
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 5
    assert 0 < answer.usage.completion_tokens <= 60
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_the_engine_streams_word_by_word_with_usage_at_the_end(engine: Engine) -> None:
    chunks = events(ask(engine, stream=True, stream_options={"include_usage": True}))
    words = [
        chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content
    ]
    assert len(words) >= 3
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices][-1] in {"stop", "length"}
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens >= len(words)


def test_the_engine_stops_at_the_limit_it_is_given(engine: Engine) -> None:
    answer = msgspec.json.decode(ask(engine, max_tokens=2, ignore_eos=True), type=Answer)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 2


@pytest.mark.parametrize("choice", ["auto", "required"])
@pytest.mark.parametrize("seed", range(3))
def test_the_engine_calls_a_tool_whenever_one_is_offered(engine: Engine, choice: str, seed: int) -> None:
    answer = msgspec.json.decode(
        ask(engine, tools=[WEATHER], tool_choice=choice, seed=seed, max_tokens=400), type=Answer
    )
    (call,) = answer.choices[0].message.tool_calls
    assert answer.choices[0].finish_reason == "tool_calls"
    assert call.function.name == "get_weather"
    assert msgspec.json.decode(call.function.arguments, type=Weather).city in {"Paris", "Oslo"}


def test_the_engine_streams_a_tool_call_in_pieces(engine: Engine) -> None:
    chunks = events(ask(engine, tools=[WEATHER], stream=True, max_tokens=400))
    pieces = [
        call.function for chunk in chunks for choice in chunk.choices for call in choice.delta.tool_calls
    ]
    assert len(pieces) > 1
    assert pieces[0].name == "get_weather"
    assert msgspec.json.decode("".join(piece.arguments for piece in pieces), type=Weather).days >= 1


def test_after_a_tool_result_the_engine_speaks_again(engine: Engine) -> None:
    function = {"name": "get_weather", "arguments": '{"city": "Oslo", "days": 1}'}
    called = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c1", "type": "function", "function": function}],
    }
    result = {"role": "tool", "tool_call_id": "c1", "content": "rain"}
    answer = msgspec.json.decode(
        ask(engine, messages=[*QUESTION, called, result], tools=[WEATHER]), type=Answer
    )
    assert answer.choices[0].message.tool_calls == []
    assert answer.choices[0].message.content


def test_the_same_seed_writes_the_same_model(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_tiny_model(tmp_path / name, seed=seed)
    first, again, other = ((tmp_path / name).read_bytes() for name in "abc")
    assert first == again != other


def test_an_engine_ends_with_its_block(tmp_path: Path) -> None:
    with started_engine(tmp_path) as engine:
        os.kill(engine.pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(engine.pid, 0)


def test_an_engine_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("raise SystemExit('no room for a model')")
    monkeypatch.setattr(engine_module, "__file__", str(broken))
    with pytest.raises(RuntimeError, match="no room for a model"), started_engine(tmp_path):
        raise AssertionError("it started")


# How the engine's address continues for each dialect that it speaks.
BASES = {"openai_chat": "/v1", "openai_responses": "/v1", "anthropic": ""}
SPOKEN = [name for name in DIALECTS if name in BASES]
KEEPS_TO_ONE_CALL = {"openai_chat"}  # Where the engine does as `parallel_tool_calls: false` says.
CITY = {"type": "object", "properties": {"city": {"enum": ["Paris", "Oslo"]}}, "required": ["city"]}
TOOL = {
    "type": "function",
    "function": {"name": "get_weather", "description": "The weather", "parameters": CITY},
}


@asynccontextmanager
async def selling(engine: Engine, folder: Path, dialect: str) -> AsyncIterator[Gateway]:
    """A gateway that sells the engine's model, and knows it as a provider of this dialect."""
    config = f"""
[[providers]]
name = "engine"
dialect = "{dialect}"
base_url = "http://{engine.host}:{engine.port}{BASES[dialect]}"

[[models]]
id = "acme/tiny"
context_window = 4096
max_output = 400
cost = {{ currency = "USD", input = "1", output = "2" }}
routes = [ {{ provider = "engine", model = "{engine.model}" }} ]
"""
    async with running(folder, config) as gateway:
        gateway.client.headers["authorization"] = f"Bearer {gateway.key()}"
        yield gateway


async def chat(gateway: Gateway, **members: object) -> bytes:
    """The body of a chat call's answer."""
    request = {"model": "acme/tiny", "messages": QUESTION, "max_tokens": 60} | members
    answer = await gateway.client.post("/v1/chat/completions", json=request)
    assert answer.status_code == 200, answer.text
    return bytes(answer.content)


def assert_paid(gateway: Gateway, tokens: list[Tokens]) -> None:
    """The wallet paid for just these tokens."""
    charged = sum(one.prompt_tokens * 1_000 + one.completion_tokens * 2_000 for one in tokens)
    assert gateway.balance_nano() == 10_000_000_000 - charged
    assert gateway.holds() == 0
    gateway.assert_balanced()


@pytest.mark.parametrize("dialect", SPOKEN)
async def test_the_engine_answers_through_the_gateway_in_any_dialect(
    engine: Engine, tmp_path: Path, dialect: str
) -> None:
    async with selling(engine, tmp_path, dialect) as gateway:
        plain = msgspec.json.decode(await chat(gateway), type=Answer)
        chunks = events(await chat(gateway, stream=True, stream_options={"include_usage": True}))
        assert len((plain.choices[0].message.content or "").split()) >= 3
        assert plain.choices[0].finish_reason in {"stop", "length"}
        words = [choice.delta.content for chunk in chunks for choice in chunk.choices if choice.delta.content]
        assert len(words) >= 3
        finishes = [
            choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason
        ]
        assert finishes in (["stop"], ["length"])
        counts = [one.usage for one in (plain, chunks[-1])]
        assert all(one is not None and one.prompt_tokens > 5 and one.completion_tokens >= 3 for one in counts)
        assert_paid(gateway, [one for one in counts if one is not None])


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("dialect", SPOKEN)
async def test_a_tool_loop_with_the_engine_runs_through_the_gateway_in_any_dialect(
    engine: Engine, tmp_path: Path, dialect: str, *, stream: bool
) -> None:
    asked: dict[str, object] = {"tools": [TOOL], "max_tokens": 400, "parallel_tool_calls": False}
    if stream:
        asked |= {"stream": True, "stream_options": {"include_usage": True}}

    async def step(messages: list[object]) -> tuple[Said, str | None, Tokens | None]:
        body = await chat(gateway, messages=messages, **asked)
        if not stream:
            answer = msgspec.json.decode(body, type=Answer)
            return answer.choices[0].message, answer.choices[0].finish_reason, answer.usage
        return joined(events(body))

    async with selling(engine, tmp_path, dialect) as gateway:
        said, finish, first = await step([*QUESTION])
        calls = said.tool_calls
        assert finish == "tool_calls"
        assert calls
        # llama.cpp's messages take no notice of `disable_parallel_tool_use`: all that come are answered.
        assert len(calls) == 1 or dialect not in KEEPS_TO_ONE_CALL
        assert len({call.id for call in calls}) == len(calls)
        for call in calls:
            assert call.function.name == "get_weather"
            assert msgspec.json.decode(call.function.arguments)["city"] in {"Paris", "Oslo"}
        made = [{"id": call.id, "type": "function", "function": call.function} for call in calls]
        called = {"role": "assistant", "content": None, "tool_calls": msgspec.to_builtins(made)}
        results = [{"role": "tool", "tool_call_id": call.id, "content": "rain"} for call in calls]
        said, finish, second = await step([*QUESTION, called, *results])
        assert said.tool_calls == []
        assert said.content
        assert finish in {"stop", "length"}
        assert_paid(gateway, [one for one in (first, second) if one is not None])


def joined(chunks: list[Answer]) -> tuple[Said, str | None, Tokens | None]:
    """The message that a stream adds up to, with its tool calls, its finish and its usage."""
    deltas = [choice.delta for chunk in chunks for choice in chunk.choices]
    calls: dict[int, Call] = {}
    for piece in (call for delta in deltas for call in delta.tool_calls):
        begun = calls.setdefault(piece.index, Call(Function(piece.function.name), piece.id, piece.index))
        begun.function.arguments += piece.function.arguments
    finishes = [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason]
    words = "".join(delta.content or "" for delta in deltas)
    return Said(words or None, list(calls.values())), finishes[-1], chunks[-1].usage
