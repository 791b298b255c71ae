"""A call with an idempotency key is made once, charged once, and answered the same however often it is sent."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import openai
import pytest

from farebox.features.idempotency.reply import REPLY_BYTES_MAX
from tests.api.caller import Caller, call_body, error_of
from tests.api.upstream import ECHO, Bench, bench
from tests.support.answers import chat, cut, error, late, slow, stream

CALL_NANO = 11 * 1_000 + 5 * 2_000
KEY = "order-1017"
CANARY = "the-canary-of-the-prompt"


def name_of(answer: httpx2.Response) -> str:
    """An error's own name."""
    failed: dict[str, Any] = answer.json()["error"]
    return str(failed["metadata"]["error_type"])


async def send(it: Bench, key: str = KEY, caller: Caller | None = None, **members: object) -> httpx2.Response:
    """One call with a key."""
    body = call_body(**{"model": ECHO} | members)
    return await (caller or it.caller).post("/v1/chat/completions", body, idempotency_key=key)


async def hung_up(it: Bench, body: bytes, *, events: int) -> None:
    """Send a call with the key, read so many events of its stream, and close the connection."""
    headers = {"authorization": f"Bearer {it.caller.key}", "idempotency-key": KEY}
    async with httpx2.AsyncClient(base_url=it.gateway.url, timeout=20) as client:
        sent = client.stream("POST", "/v1/chat/completions", content=body, headers=headers)
        async with sent as answer:
            seen = 0
            async for line in answer.aiter_lines():
                seen += line.startswith("data:")
                if seen >= events:
                    return


@pytest.mark.parametrize("streams", [False, True], ids=["plain", "streamed"])
async def test_the_same_key_twice_is_one_call_one_charge_and_the_same_bytes(
    tmp_path: Path, *, streams: bool
) -> None:
    async with bench(tmp_path) as it:
        first = await send(it, stream=streams)
        again = await send(it, stream=streams)
        assert (first.status_code, again.status_code) == (200, 200)
        assert again.content == first.content
        assert again.headers["content-type"] == first.headers["content-type"]
        assert again.headers["x-generation-id"] == first.headers["x-generation-id"]
        assert again.headers["x-request-id"] != first.headers["x-request-id"]
        assert again.headers["idempotent-replayed"] == "true"
        assert "idempotent-replayed" not in first.headers
        assert len(again.headers.get_list("x-ratelimit-remaining-requests")) == 1
        assert len(it.upstream.requests) == 1
        assert it.caller.spent_nano() == CALL_NANO
        await it.gateway.settled(1)


async def test_a_replay_counts_in_the_window_and_makes_no_row(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        first = await send(it)
        again = await send(it)
        left = "x-ratelimit-remaining-requests"
        assert int(again.headers[left]) == int(first.headers[left]) - 1
        listed = await it.caller.get("/v1/requests")
        assert [row["id"] for row in listed.json()["data"]] == [first.headers["x-request-id"]]


@pytest.mark.parametrize("streams", [False, True], ids=["plain", "streamed"])
async def test_twenty_at_once_are_one_call_and_twenty_equal_replies(tmp_path: Path, *, streams: bool) -> None:
    async with bench(tmp_path) as it:
        it.upstream.script(slow(stream(), 0.05) if streams else late(chat(), 0.3))
        answers = await asyncio.gather(*(send(it, stream=streams) for _ in range(20)))
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.content for answer in answers}) == 1
        assert sum("idempotent-replayed" in answer.headers for answer in answers) == 19
        assert len(it.upstream.requests) == 1
        assert it.caller.spent_nano() == CALL_NANO


async def test_another_body_under_the_same_key_is_refused_while_the_first_runs_and_after(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as it:
        it.upstream.script(late(chat(), 0.3))
        running = asyncio.create_task(send(it))
        await asyncio.sleep(0.1)
        for _ in range(2):
            other = await send(it, say="Something else.")
            assert error_of(other, 409)["param"] == "idempotency-key"
            assert name_of(other) == "idempotency_key_reused"
            assert other.headers["x-should-retry"] == "false"
            await running
        assert len(it.upstream.requests) == 1


async def test_the_same_key_at_another_path_is_another_request(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        await send(it)
        body = call_body(model=ECHO)
        other = await it.caller.post("/api/v1/chat/completions", body, idempotency_key=KEY)
        assert error_of(other, 409)["code"] == "idempotency_key_reused"


async def test_another_query_is_another_request_but_for_the_api_key_in_it(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        body = msgspec.json.encode({"contents": [{"role": "user", "parts": [{"text": "Hello!"}]}]})
        path = f"/v1beta/models/{ECHO}:streamGenerateContent"
        first = await it.caller.post(f"{path}?alt=sse", body, idempotency_key=KEY)
        again = await it.gateway.client.post(
            f"{path}?alt=sse&key={it.caller.key}", content=body, headers={"idempotency-key": KEY}
        )
        assert first.status_code == 200
        assert again.content == first.content
        other = await it.gateway.client.post(
            f"{path}?key={it.caller.key}", content=body, headers={"idempotency-key": KEY}
        )
        assert other.status_code == 409
        assert len(it.upstream.requests) == 1


async def test_another_account_has_keys_of_its_own(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        other = Caller(it.gateway, "globex")
        first, second = await send(it), await send(it, caller=other)
        assert first.headers["x-generation-id"] != second.headers["x-generation-id"]
        assert len(it.upstream.requests) == 2
        assert (it.caller.spent_nano(), other.spent_nano()) == (CALL_NANO, CALL_NANO)
        refused = await send(it, caller=other, say="Something else.")
        assert refused.status_code == 409


async def test_two_keys_of_one_account_share_its_idempotency_keys(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        first = await send(it)
        again = await send(it, caller=Caller(it.gateway))
        assert again.content == first.content
        assert len(it.upstream.requests) == 1


@pytest.mark.parametrize("key", ["", "a b", "k" * 256, "kéy"])
async def test_a_key_that_is_none_is_refused_by_the_headers_name(tmp_path: Path, key: str) -> None:
    async with bench(tmp_path) as it:
        headers = {
            b"authorization": f"Bearer {it.caller.key}".encode(),
            b"idempotency-key": key.encode("latin-1"),
        }
        body = msgspec.json.encode(call_body(model=ECHO))
        answer = await it.gateway.client.post("/v1/chat/completions", content=body, headers=headers)
        assert "idempotency-key" in error_of(answer, 400)["message"]
        assert it.upstream.requests == []


async def test_a_call_that_failed_frees_its_key_for_a_real_retry(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        it.upstream.script(error(500), chat())
        failed = await send(it)
        assert failed.status_code == 502
        tried = len(it.upstream.requests)
        again = await send(it, say="Corrected.")
        assert again.status_code == 200
        assert len(it.upstream.requests) == tried + 1
        assert it.caller.spent_nano() == CALL_NANO


async def test_a_refused_call_frees_its_key(tmp_path: Path) -> None:
    async with bench(tmp_path, credit="0.000001") as it:
        assert (await send(it)).status_code == 402
        assert (await send(it, messages=[])).status_code == 400
        assert (await send(it, model="acme/unknown")).status_code == 404
        assert rows_of(it) == []


async def test_who_waits_for_a_call_that_fails_is_told_the_same(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        it.upstream.script(late(error(400), 0.3))
        answers = await asyncio.gather(*(send(it) for _ in range(5)))
        assert {answer.status_code for answer in answers} == {400}
        assert len(it.upstream.requests) == 1
        assert len({answer.headers["x-request-id"] for answer in answers}) == 5


@pytest.mark.parametrize("streams", [False, True], ids=["plain", "streamed"])
async def test_a_caller_who_hangs_up_comes_back_for_the_whole_answer(
    tmp_path: Path, *, streams: bool
) -> None:
    async with bench(tmp_path) as it:
        it.upstream.script(slow(stream(), 0.05) if streams else late(chat(), 0.3))
        body = msgspec.json.encode(call_body(model=ECHO, stream=streams))
        if streams:
            await hung_up(it, body, events=2)
        else:
            caller = asyncio.create_task(hung_up(it, body, events=1))
            while not it.upstream.requests:
                await asyncio.sleep(0.01)
            caller.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await caller
        answer = await it.caller.post("/v1/chat/completions", body, idempotency_key=KEY)
        assert answer.status_code == 200
        assert answer.headers["idempotent-replayed"] == "true"
        assert (b"[DONE]" in answer.content) is streams
        assert len(it.upstream.requests) == 1
        assert not it.upstream.requests[0].closed_early
        assert it.caller.spent_nano() == CALL_NANO


async def test_a_stream_that_its_provider_cut_is_charged_once_and_its_repeat_is_told_where_the_receipt_is(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as it:
        it.upstream.script(cut(stream(), 3))
        first = await send(it, stream=True)
        assert b"error" in first.content
        await it.gateway.settled(1)
        spent = it.caller.spent_nano()
        assert spent > 0
        again = await send(it, stream=True)
        failed = error_of(again, 409)
        assert name_of(again) == "idempotency_reply_lost"
        assert failed["request_id"] == first.headers["x-request-id"]
        assert f"/v1/requests/{first.headers['x-request-id']}" in failed["message"]
        assert again.headers["x-should-retry"] == "false"
        assert it.caller.spent_nano() == spent
        assert len(it.upstream.requests) == 1


async def test_a_repeat_of_what_still_runs_is_told_to_come_again_when_its_patience_ends(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as it:
        it.gateway.worker.once.patience_s = 0.2
        it.upstream.script(late(chat(), 1.0))
        running = asyncio.create_task(send(it))
        await asyncio.sleep(0.1)
        answer = await send(it)
        assert answer.status_code == 409
        assert name_of(answer) == "idempotency_in_progress"
        assert answer.headers["x-should-retry"] == "true"
        assert answer.headers["retry-after"] == "1"
        assert (await running).status_code == 200
        assert (await send(it)).status_code == 200


async def test_a_waiting_caller_who_hangs_up_is_forgotten(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        it.upstream.script(late(chat(), 0.5))
        running = asyncio.create_task(send(it))
        await asyncio.sleep(0.1)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.1):
                await hung_up(it, msgspec.json.encode(call_body(model=ECHO)), events=1)
        await asyncio.sleep(0.05)
        assert it.gateway.worker.once.waiting == 0
        assert it.gateway.worker.server.in_flight == 1
        await running


async def test_a_reply_that_is_too_large_is_told_so_and_not_charged_twice(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        text = "x" * REPLY_BYTES_MAX
        for streams, key in ((False, "plain"), (True, "streamed")):
            it.upstream.script(stream(words=(text,)) if streams else chat(text=text))
            first = await send(it, key, stream=streams)
            again = await send(it, key, stream=streams)
            assert first.status_code == 200
            assert text in first.text
            assert name_of(again) == "idempotency_reply_too_large"
            assert error_of(again, 409)["request_id"] == first.headers["x-request-id"]
        assert len(it.upstream.requests) == 2
        assert it.caller.spent_nano() == 2 * CALL_NANO


async def test_the_database_tells_nothing_of_prompt_reply_or_key(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        it.upstream.script(chat(text="the-canary-of-the-reply"))
        for key in ("the-canary-of-the-key", "other"):
            assert (await send(it, key, say=CANARY)).status_code == 200
        assert (await send(it, "the-canary-of-the-key", say=CANARY)).headers["idempotent-replayed"]
        assert len(rows_of(it)) == 2
        for file in (tmp_path / "data").rglob("*"):
            if file.is_file():
                assert b"canary" not in file.read_bytes(), file


async def test_a_large_reply_is_replayed_whole(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        it.upstream.script(chat(text="long " * 60_000))
        first = await send(it)
        again = await send(it)
        assert len(first.content) > 300_000
        assert again.content == first.content
        assert len(it.upstream.requests) == 1


async def test_the_openai_sdk_takes_the_header_and_gets_the_same_completion(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        client = openai.AsyncOpenAI(api_key=it.caller.key, base_url=f"{it.gateway.url}/v1", max_retries=2)
        async with client:
            told: list[str] = []
            for _ in range(2):
                completion = await client.chat.completions.create(
                    model=ECHO,
                    messages=[{"role": "user", "content": "Hello!"}],
                    extra_headers={"idempotency-key": KEY},
                )
                told.append(completion.id)
        assert told[0] == told[1]
        assert len(it.upstream.requests) == 1


async def test_the_openai_sdk_retries_a_broken_connection_into_the_same_completion(tmp_path: Path) -> None:
    async with bench(tmp_path) as it, breaking(it.gateway.url) as url:
        it.upstream.script(late(chat(), 0.3))
        client = openai.AsyncOpenAI(api_key=it.caller.key, base_url=f"{url}/v1", max_retries=2)
        async with client:
            completion = await client.chat.completions.create(
                model=ECHO,
                messages=[{"role": "user", "content": "Hello!"}],
                extra_headers={"idempotency-key": KEY},
            )
        assert completion.choices[0].message.content
        assert len(it.upstream.requests) == 1
        assert it.caller.spent_nano() == CALL_NANO
        await it.gateway.settled(1)


@contextlib.asynccontextmanager
async def breaking(url: str) -> AsyncIterator[str]:
    """A proxy that breaks its first connection a moment after the request has gone through."""
    host, _, port = url.removeprefix("http://").partition(":")
    count = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        first = count == 1
        there, back = await asyncio.open_connection(host, int(port))
        one = asyncio.create_task(pump(reader, back))
        other = asyncio.create_task(pump(there, writer))
        await asyncio.wait({one, other}, timeout=0.15 if first else None, return_when="FIRST_COMPLETED")
        for task in (one, other):
            task.cancel()
        await asyncio.gather(one, other, return_exceptions=True)
        writer.transport.abort()
        back.transport.abort()

    async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            target.write(data)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def test_without_a_key_nothing_is_kept(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        await it.chat()
        await it.chat()
        assert len(it.upstream.requests) == 2
        assert rows_of(it) == []


async def test_a_database_that_takes_no_claim_refuses_the_call_before_it_costs_anything(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as it:
        other = sqlite3.connect(tmp_path / "data" / "farebox.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert (await send(it)).status_code == 503
        assert it.upstream.requests == []
        other.execute("ROLLBACK")
        other.close()
        await asyncio.sleep(0.1)  # The claim that was given up may be written after all, and is released.
        assert (await send(it)).status_code == 200
        assert len(it.upstream.requests) == 1


def rows_of(it: Bench) -> list[Any]:
    return list(it.gateway.office.database.rows("SELECT * FROM idempotency"))
