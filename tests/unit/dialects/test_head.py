"""The head of a chat completion: what is refused before any money moves, and what travels to a provider."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.core.errors import Fault, Kind
from farebox.dialects.openai_chat.head import REFUSED, read_head, write_relayed
from farebox.dialects.own import OWN

MESSAGES = [{"role": "user", "content": "Hi"}]


def body(**members: Any) -> bytes:
    return json.dumps({"model": "m", "messages": MESSAGES, **members}).encode()


def refusal(raw: bytes) -> Fault:
    with pytest.raises(Fault) as caught:
        read_head(raw)
    assert caught.value.kind is Kind.BAD_REQUEST
    assert caught.value.message
    return caught.value


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"model": None}, "model"), ({"model": ""}, "model"), ({"model": 7}, "model"), ({"model": "m" * 257}, "model"),
        ({"messages": []}, "messages"), ({"messages": None}, "messages"), ({"messages": "Hi"}, "messages"),
        ({"messages": [{"role": "wizard", "content": "Hi"}]}, "messages[0].role"),
        ({"messages": [{"content": "Hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"messages": [*MESSAGES, {"role": "tool", "content": "x"}]}, "messages[1].tool_call_id"),
        ({"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]}, "messages[0].audio"),
        ({"max_tokens": 0}, "max_tokens"), ({"max_tokens": -1}, "max_tokens"), ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": 10**30}, "max_tokens"), ({"max_tokens": "5"}, "max_tokens"),
        ({"max_completion_tokens": 0}, "max_completion_tokens"),
        ({"n": 0}, "n"), ({"n": 129}, "n"), ({"temperature": 2.1}, "temperature"), ({"temperature": -1}, "temperature"),
        ({"temperature": "hot"}, "temperature"), ({"top_p": 1.1}, "top_p"),
        ({"presence_penalty": -2.5}, "presence_penalty"),
        ({"frequency_penalty": 3}, "frequency_penalty"), ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"stop": 7}, "stop"),
        ({"stream": "yes"}, "stream"), ({"seed": "x"}, "seed"), ({"tools": [{}]}, "tools[0].type"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"), ({"service_tier": "priority"}, "service_tier"),
        ({"modalities": ["text", "audio"]}, "modalities"), ({"models": ["a", "b", "c", "d"]}, "models"),
        ({"session_id": "s" * 257}, "session_id"), ({"logprobs": 1}, "logprobs"),
        ({"top_logprobs": 21}, "top_logprobs"),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_by_name(members: dict[str, Any], param: str) -> None:
    fault = refusal(body(**members))
    assert fault.param == param
    assert param.split("[", maxsplit=1)[0] in fault.message


@pytest.mark.parametrize("name", REFUSED)
def test_what_costs_apart_or_is_kept_at_a_provider_is_refused_by_name(name: str) -> None:
    assert refusal(body(**{name: {"x": 1}})).param == name
    assert read_head(body(messages=[{"role": "user", "content": f'"{name}"'}])).model == "m", (
        "a text may say so"
    )


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{", b"null", b"[]", b'"text"', b'{"model":"m"}', b"{}x", b'{"model":"m","messages":[],}', b"\xff\xfe{}",
        b'{"model":"m","messages":[{"role":"user","content":"\xff"}]}', b'{"model":NaN}', b'{"temperature":Infinity}',
        b"[" * 200_000, b'{"model":"m","messages":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        body(metadata=json.loads("[" * 101 + "]" * 101)), b'{"n":1e400}',
    ],
    ids=lambda raw: raw[:24].decode("latin-1"),
)  # fmt: skip
def test_what_is_no_body_is_refused(raw: bytes) -> None:
    refusal(raw)


@given(st.binary(max_size=200))
def test_no_bytes_at_all_break_the_reader(raw: bytes) -> None:
    with suppress(Fault):  # Whatever else it raises is the failure.
        read_head(raw)


@given(
    st.dictionaries(
        st.sampled_from(
            ["model", "messages", "n", "stop", "stream", "tools", "max_tokens", "stream_options", "audio"]
        ),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
            ),
            max_leaves=6,
        ),
    )
)
def test_no_members_at_all_break_the_reader(members: dict[str, Any]) -> None:
    with suppress(Fault):
        read_head(json.dumps({"model": "m", "messages": MESSAGES, **members}).encode())


def test_a_head_says_what_the_gateway_must_know() -> None:
    head = read_head(
        body(
            model="acme/one", stream=True, stream_options={"include_usage": True}, max_tokens=5, n=2, session_id="s",
            models=["b", "c"], messages=[{"role": "developer", "content": "Be brief."}, *MESSAGES],
        )
    )  # fmt: skip
    assert (head.model, head.stream, head.wants_usage, head.output_limit, head.choices) == (
        "acme/one",
        True,
        True,
        5,
        2,
    )
    assert (head.session, head.fallback_models, head.has_system) == ("s", ("b", "c"), True)


def test_usage_is_wanted_of_a_plain_call_and_of_a_stream_that_asks() -> None:
    assert read_head(body()).wants_usage
    assert not read_head(body(stream=True)).wants_usage
    assert not read_head(body(stream=True, stream_options={"include_usage": False})).wants_usage
    assert read_head(body(stream=True, stream_options={"include_usage": True})).wants_usage


def relayed(raw: bytes, **options: Any) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(write_relayed(raw, "theirs", read_head(raw), **options))
    return told


def test_a_body_travels_as_it_was_but_for_the_declared_members() -> None:
    members = {
        "temperature": 0.30000000000000004,
        "x_unknown": {"a": [1, {"id": None}]},
        "user": "u\u00e9",
        "seed": 10**17,
    }
    told = relayed(body(**members))
    assert told == {"model": "theirs", "messages": MESSAGES, **members}
    assert b"0.30000000000000004" in write_relayed(body(**members), "theirs", read_head(body(**members)))


@pytest.mark.parametrize("name", sorted(OWN - {"models", "session_id", "cache", "no_cache", "character_id"}))
def test_what_is_ours_stays_here(name: str) -> None:
    assert name not in relayed(body(**{name: {"x": 1}}))


def test_usage_is_asked_of_every_stream_and_kept_providers_never_store() -> None:
    assert relayed(body(stream=True))["stream_options"] == {"include_usage": True}
    assert relayed(body(stream=True, stream_options={"include_usage": False}))["stream_options"] == {
        "include_usage": True
    }
    assert "stream_options" not in relayed(body())
    assert "stream_options" not in relayed(
        body(stream=True, stream_options={"include_usage": True}), ask_usage=False
    )
    assert relayed(body(store=True))["store"] is False
    assert "service_tier" not in relayed(body(service_tier="auto"))
