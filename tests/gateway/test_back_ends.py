"""What real back ends do to the documented form, each seen in recorded traffic: it all arrives."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.gateway.shop import charge_of, events_of, open_shop
from tests.support.answers import (
    Answer,
    Framing,
    chat,
    error,
    gzipped,
    interim,
    odd_chunks,
    stream,
    trailed,
    until_close,
)

WORDS = "Hello from the provider."


def each_event(change: Callable[[bytes], bytes]) -> Answer:
    return replace(stream(), body=tuple(change(event) for event in events_of(stream())))


def with_members(**members: object) -> Answer:
    """A stream whose chunks have further members in front."""
    front = json.dumps(members)[1:-1].encode()
    return each_event(lambda event: event.replace(b"data: {", b"data: {%b," % front))


AZURE_FIRST = (
    b'data: {"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":[{}]}\n\n'
)
STREAMS: dict[str, Answer] = {
    "lines that end in CRLF": each_event(lambda event: event.replace(b"\n", b"\r\n")),
    "comments before and between": each_event(lambda event: b": OPENROUTER PROCESSING\n\n" + event),
    "comments within an event": each_event(lambda event: b": note\n" + event),
    "no space behind the colon": each_event(lambda event: event.replace(b"data: ", b"data:")),
    "event names and ids": each_event(lambda event: b"event: message\nid: 7\n" + event),
    "a retry hint": each_event(lambda event: b"retry: 3000\n\n" + event),
    "blank lines between": each_event(lambda event: b"\n\n" + event),
    "a mark at the beginning": replace(stream(), body=(b"\xef\xbb\xbf", *stream().body)),
    "no end mark": stream(done=False),
    "an end mark in capitals and spaces": replace(
        stream(), body=(*stream().body[:-1], b"data:   [DONE]  \n\n")
    ),
    "a first chunk without choices": replace(stream(), body=(AZURE_FIRST, *stream().body)),
    "usage null everywhere": with_members(usage=None),
    "errors null everywhere": with_members(error=None),
    "members nobody knows": with_members(provider="Minimax", x_groq={"id": "req_1"}, obfuscation="abc"),
    "a role in every chunk": each_event(
        lambda event: event.replace(b'"delta":{"content', b'"delta":{"role":"assistant","content')
    ),
    "empty choices between": replace(
        stream(),
        body=(*stream().body[:3], b'data: {"id":"x","model":"y","choices":[]}\n\n', *stream().body[3:]),
    ),
    "pings": replace(stream(), body=(b'event: ping\ndata: {"type":"ping"}\n\n', *stream().body)),
    "a type of its own": replace(stream(), headers=(("content-type", "application/octet-stream"),)),
    "gzip": gzipped(stream()),
    "no length": until_close(stream()),
    "odd chunks": odd_chunks(stream(), 7),
    "trailers": trailed(stream()),
    "early hints": interim(stream(), 2),
}


@pytest.mark.parametrize("quirk", STREAMS)
async def test_a_stream_with_a_quirk_arrives_whole(tmp_path: Path, quirk: str) -> None:
    async with open_shop(tmp_path) as shop:
        shop.first.script(STREAMS[quirk])
        caller = await shop.ask(stream=True, stream_options={"include_usage": True})
        assert caller.text == WORDS
        assert caller.done
        assert caller.usage["cost"] == 0.000021
        assert {(chunk["id"], chunk["model"]) for chunk in caller.chunks if "choices" in chunk} == {
            (f"chatcmpl-{caller.headers['x-request-id']}", "one")
        }
        assert b"upstream" not in caller.body
        row = await shop.row()
        assert (row["charge"], row["estimated"], row["partial"]) == (charge_of(11, 5), 0, 0)
        assert not shop.second.requests
        shop.assert_settled(charge_of(11, 5))


REPLIES: dict[str, Answer] = {
    "spaces before the body": replace(chat(), body=(b"\n         \n\n", 0.05, b"   \n", *chat().body)),
    "spaces behind the body": replace(chat(), body=(*chat().body, b"\n\n")),
    "a type of its own": replace(chat(), headers=(("content-type", "application/octet-stream"),)),
    "no type": replace(chat(), headers=()),
    "gzip": gzipped(chat()),
    "no length": until_close(chat()),
    "odd chunks": odd_chunks(chat(), 7),
    "chunks": replace(chat(), framing=Framing.CHUNKED),
    "early hints": interim(chat()),
    "an error that is null": replace(
        chat(), body=(events_of(chat())[0].replace(b"{", b'{"error":null,', 1),)
    ),
}


@pytest.mark.parametrize("quirk", REPLIES)
async def test_a_reply_with_a_quirk_arrives_whole(tmp_path: Path, quirk: str) -> None:
    async with open_shop(tmp_path) as shop:
        shop.first.script(REPLIES[quirk])
        caller = await shop.ask()
        assert caller.text == WORDS
        told = json.loads(caller.body)
        assert (told["id"], told["model"]) == (f"chatcmpl-{caller.headers['x-request-id']}", "one")
        assert told["usage"]["cost"] == 0.000021
        assert b"upstream" not in caller.body
        assert not shop.second.requests
        shop.assert_settled(charge_of(11, 5))


async def test_a_refusal_in_an_odd_type_is_read_all_the_same(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        shop.first.script(
            replace(
                error(400, "The context is too long."),
                headers=(("content-type", "application/octet-stream"),),
            )
        )
        caller = await shop.ask()
        assert (caller.status, caller.error["message"]) == (400, "The context is too long.")


async def test_a_filtered_answer_without_a_message_is_an_answer(tmp_path: Path) -> None:
    """Azure's."""
    async with open_shop(tmp_path) as shop:
        body = {
            "id": "c",
            "model": "m",
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "content_filter",
                    "content_filter_results": {"hate": {"filtered": True}},
                }
            ],
            "usage": {"prompt_tokens": 11, "completion_tokens": 0, "total_tokens": 11},
        }
        shop.first.script(Answer((json.dumps(body).encode(),)))
        caller = await shop.ask()
        assert caller.status == 200
        assert json.loads(caller.body)["choices"] == body["choices"]
        shop.assert_settled(0)


@pytest.mark.parametrize("path", ["/v1", "/api/v1", "/api/openai/v1"])
async def test_each_surface_names_the_model_its_own_way(tmp_path: Path, path: str) -> None:
    async with open_shop(tmp_path) as shop:
        caller = await shop.open(
            b'{"model":"acme/one","stream":true,"messages":[{"role":"user","content":"Hi"}]}',
            f"{path}/chat/completions",
        )
        await caller.ended()
        assert {chunk["model"] for chunk in caller.chunks} == {"one" if path == "/v1" else "acme/one"}
