"""Stored responses as their callers see them: a conversation goes on by an id, and nobody else has that id."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from farebox.app import worker
from farebox.features.stored_responses.feature import ITEMS_MAX
from tests.support.answers import chat, stream
from tests.support.openapi import read_document
from tests.support.responses import (
    ABROAD,
    CALL_NANO,
    Shop,
    function_call,
    message,
    open_shop,
    plain,
    streamed,
)

NOBODYS = "resp_01M7XWM8211GFVBR317H8F0EEQ"


def texts(items: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Who said what, item by item."""
    return [
        (item["role"], item["content"] if isinstance(item["content"], str) else item["content"][0]["text"])
        for item in items
    ]


def error_of(answer: Any, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    return error


def code_of(answer: Any, status: int) -> str:
    return str(error_of(answer, status)["metadata"]["error_type"])


async def chained(shop: Shop, **members: Any) -> list[dict[str, Any]]:
    """Three calls, each going on from the one before."""
    replies: list[dict[str, Any]] = []
    for at in range(3):
        text = f"answer {at}"
        shop.upstream.script(streamed(text) if members.get("stream") else plain(message(text)))
        previous = {"previous_response_id": replies[-1]["id"]} if replies else {}
        replies.append(await shop.ask(f"question {at}", **members, **previous))
    return replies


WHOLE_CHAIN = [
    ("user", "question 0"),
    ("assistant", "answer 0"),
    ("user", "question 1"),
    ("assistant", "answer 1"),
    ("user", "question 2"),
]


@pytest.mark.parametrize("options", [{}, {"stream": True}], ids=["plain", "streamed"])
async def test_the_provider_sees_the_whole_chain_and_no_id_of_it(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    async with open_shop(tmp_path) as shop:
        replies = await chained(shop, **options)
        assert texts(shop.sent["input"]) == WHOLE_CHAIN
        assert "previous_response_id" not in shop.sent
        assert shop.sent["store"] is False
        assert b"resp_" not in shop.upstream.requests[-1].body
        assert [reply["previous_response_id"] for reply in replies] == [
            None,
            replies[0]["id"],
            replies[1]["id"],
        ]
        assert [reply["store"] for reply in replies] == [True] * 3
        for reply in replies:
            stored = await shop.get(reply["id"])
            assert stored.json() == reply
        assert shop.gateway.balance_nano() == 10_000_000_000 - 3 * CALL_NANO


@pytest.mark.parametrize("streams", [False, True], ids=["plain", "streamed"])
async def test_a_provider_of_another_dialect_sees_it_as_well(tmp_path: Path, *, streams: bool) -> None:
    async with open_shop(tmp_path) as shop:
        shop.upstream.script(stream() if streams else chat())
        first = await shop.ask("question 0", model=ABROAD, stream=streams)
        second = await shop.ask("question 1", model=ABROAD, stream=streams, previous_response_id=first["id"])
        assert texts(shop.sent["messages"]) == [
            ("user", "question 0"),
            ("assistant", "Hello from the provider."),
            ("user", "question 1"),
        ]
        assert second["previous_response_id"] == first["id"]
        assert (await shop.get(second["id"])).json() == second


async def test_a_chain_goes_on_with_a_model_of_another_dialect(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        first = await shop.ask("question 0")
        shop.upstream.script(chat())
        await shop.ask("question 1", model=ABROAD, previous_response_id=first["id"])
        assert texts(shop.sent["messages"])[:2] == [("user", "question 0"), ("assistant", "Hello.")]


async def test_a_tool_loop_needs_only_the_result(tmp_path: Path) -> None:
    tool = {"type": "function", "name": "get_weather", "parameters": {"type": "object"}, "strict": False}
    async with open_shop(tmp_path) as shop:
        shop.upstream.script(plain(function_call()), plain(message("Sunny.")))
        first = await shop.ask("Weather in Pune?", tools=[tool])
        result = {"type": "function_call_output", "call_id": "call_1", "output": "sunny"}
        second = await shop.ask([result], tools=[tool], previous_response_id=first["id"])
        assert [item["type"] for item in shop.sent["input"]] == [
            "message",
            "function_call",
            "function_call_output",
        ]
        listed = (await shop.get(f"{second['id']}/input_items?order=asc")).json()
        assert [item["type"] for item in listed["data"]] == [item["type"] for item in shop.sent["input"]]
        document = read_document()
        if document is not None:
            document.check("ResponseItemList", listed)


async def test_a_call_without_its_result_is_refused_before_any_hold(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        shop.upstream.script(plain(function_call()))
        first = await shop.ask("Weather in Pune?")
        answer = await shop.post("And?", previous_response_id=first["id"])
        assert error_of(answer, 400)["param"] == "input[1].call_id"
        assert len(shop.upstream.requests) == 1


async def test_instructions_are_not_inherited(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        first = await shop.ask("one", instructions="Be brief.")
        await shop.ask("two", previous_response_id=first["id"])
        assert shop.sent.get("instructions") is None
        assert b"Be brief." not in shop.upstream.requests[-1].body


async def test_what_the_caller_does_not_leave_with_us_is_not_kept(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        reply = await shop.ask("one", store=False)
        assert reply["store"] is False
        assert shop.kept() == 0
        assert code_of(await shop.get(reply["id"]), 404) == "response_not_found"
        answer = await shop.post("two", previous_response_id=reply["id"])
        assert code_of(answer, 400) == "previous_response_not_found"


async def test_a_chain_may_be_followed_without_being_kept_on(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        first = await shop.ask("one")
        second = await shop.ask("two", store=False, previous_response_id=first["id"])
        assert (second["store"], second["previous_response_id"]) == (False, first["id"])
        assert shop.kept() == 1


async def test_an_answer_cut_at_its_limit_is_kept_as_it_is(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        shop.upstream.script(streamed("Once upon", status="incomplete"))
        reply = await shop.ask("Tell.", stream=True)
        assert reply["status"] == "incomplete"
        assert (await shop.get(reply["id"])).json() == reply


async def test_an_answer_that_failed_is_not_kept(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        whole = streamed("Once upon")
        shop.upstream.script(type(whole)(whole.body[:-1], headers=whole.headers, framing=whole.framing))
        answer = await shop.post("Tell.", stream=True)
        assert "response.failed" in answer.text
        assert shop.kept() == 0


async def test_a_response_in_the_middle_may_go_and_the_chain_still_holds(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        replies = await chained(shop)
        gone = await shop.delete(replies[1]["id"])
        assert gone.json() == {"id": replies[1]["id"], "object": "response", "deleted": True}
        assert code_of(await shop.get(replies[1]["id"]), 404) == "response_not_found"
        assert code_of(await shop.delete(replies[1]["id"]), 404) == "response_not_found"
        answer = await shop.post("and?", previous_response_id=replies[1]["id"])
        assert code_of(answer, 400) == "previous_response_not_found"
        await shop.ask("question 3", previous_response_id=replies[2]["id"])
        assert texts(shop.sent["input"])[:5] == WHOLE_CHAIN
        assert (await shop.get(replies[2]["id"])).json() == replies[2]


async def test_no_way_leads_to_another_accounts_response(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        reply = await shop.ask("a secret")
        other = shop.gateway.key("other")
        asked = len(shop.upstream.requests)
        for id_ in (reply["id"], reply["output"][0]["id"], NOBODYS):
            answers = [
                error_of(await shop.get(id_, other), 404),
                error_of(await shop.get(f"{id_}/input_items", other), 404),
                error_of(await shop.delete(id_, other), 404),
                error_of(await shop.cancel(id_, other), 404),
                error_of(await shop.post("and?", other, previous_response_id=id_), 400),
            ]
            told = [{**answer, "message": answer["message"].replace(id_, "…")} for answer in answers]
            if id_ == reply["id"]:
                foreign = told
            assert told == foreign, "what is another's is told like what is not there"
            assert "secret" not in str(answers)
        assert len(shop.upstream.requests) == asked
        assert shop.gateway.balance_nano("other") == 10_000_000_000
        assert (await shop.get(reply["id"])).status_code == 200


async def test_a_second_key_of_the_account_has_its_responses(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        reply = await shop.ask("one")
        second = shop.gateway.key()
        assert (await shop.get(reply["id"], second)).json() == reply
        assert (await shop.post("two", second, previous_response_id=reply["id"])).status_code == 200


async def test_input_items_are_listed_page_by_page(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        replies = await chained(shop)
        path = f"{replies[2]['id']}/input_items"
        newest = (await shop.get(path)).json()
        assert (newest["object"], newest["has_more"]) == ("list", False)
        assert texts(newest["data"]) == WHOLE_CHAIN[::-1]
        ids = [item["id"] for item in newest["data"]]
        assert len(set(ids)) == 5
        assert (newest["first_id"], newest["last_id"]) == (ids[0], ids[-1])
        first = (await shop.get(f"{path}?order=asc&limit=2")).json()
        assert (texts(first["data"]), first["has_more"]) == (WHOLE_CHAIN[:2], True)
        rest = (await shop.get(f"{path}?order=asc&after={first['last_id']}")).json()
        assert (texts(rest["data"]), rest["has_more"]) == (WHOLE_CHAIN[2:], False)
        over = (await shop.get(f"{path}?after={ids[-1]}")).json()
        assert (over["data"], over["first_id"], over["has_more"]) == ([], None, False)


async def test_an_item_keeps_its_id_along_the_chain(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        replies = await chained(shop)
        ids = [
            [item["id"] for item in (await shop.get(f"{reply['id']}/input_items?order=asc")).json()["data"]]
            for reply in replies
        ]
        assert ids[2][:3] == ids[1]
        assert ids[1][:1] == ids[0]
        assert ids[2][1] == replies[0]["output"][0]["id"]


@pytest.mark.parametrize(
    ("query", "param"),
    [("limit=0", "limit"), ("limit=x", "limit"), ("order=up", "order"), ("after=msg_none", "after")],
)
async def test_a_page_that_cannot_be_is_refused_by_name(tmp_path: Path, query: str, param: str) -> None:
    async with open_shop(tmp_path) as shop:
        reply = await shop.ask("one")
        assert error_of(await shop.get(f"{reply['id']}/input_items?{query}"), 400)["param"] == param


async def test_what_a_stored_response_cannot_do_is_refused_by_name(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        reply = await shop.ask("one")
        assert error_of(await shop.get(f"{reply['id']}?stream=true"), 400)["param"] == "stream"
        assert "background" in error_of(await shop.cancel(reply["id"]), 400)["message"]
        assert code_of(await shop.get(f"{reply['id']}/output_items"), 404) == "not_found"
        assert (await shop.get(f"{reply['id']}?include=message.output_text.logprobs")).json() == reply


async def test_reading_and_deleting_are_free_and_count_in_no_window(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        reply = await shop.ask("one")
        left = (await shop.get(reply["id"])).headers["x-ratelimit-remaining-requests"]
        await shop.get(f"{reply['id']}/input_items")
        await shop.cancel(reply["id"])
        assert (await shop.delete(reply["id"])).headers["x-ratelimit-remaining-requests"] == left
        assert shop.gateway.balance_nano() == 10_000_000_000 - CALL_NANO


@pytest.mark.parametrize("base", ["/v1", "/openai/v1", "/api/v1", "/api/openai/v1", "/openserv/v1"])
async def test_every_profile_has_them(tmp_path: Path, base: str) -> None:
    async with open_shop(tmp_path) as shop:
        client, headers = shop.gateway.client, {"authorization": f"Bearer {shop.key}"}
        body = {"model": "acme/home", "instructions": "Be brief.", "input": "one"}
        reply = (await client.post(f"{base}/responses", json=body, headers=headers)).json()
        path = f"{base}/responses/{reply['id']}"
        assert (await client.get(path, headers=headers)).json() == reply
        assert (await client.get(f"{path}/input_items", headers=headers)).status_code == 200
        assert (await client.post(f"{path}/cancel", headers=headers)).status_code == 400
        assert (await client.delete(path, headers=headers)).json()["deleted"] is True
        assert (await client.get(path)).status_code == 401


async def test_a_server_that_keeps_nothing_says_so(tmp_path: Path) -> None:
    async with open_shop(tmp_path, "[store]\nresponses_days = 0\n") as shop:
        choices: list[dict[str, Any]] = [{}, {"store": True}, {"stream": True}]
        for options in choices:
            shop.upstream.script(streamed("Hello.") if "stream" in options else plain(message("Hello.")))
            reply = await shop.ask("one", **options)
            assert reply["store"] is False
            assert code_of(await shop.get(reply["id"]), 404) == "response_not_found"
        error = error_of(await shop.post("two", previous_response_id=reply["id"]), 400)
        assert (error["param"], "stores no responses" in error["message"]) == ("previous_response_id", True)
        assert shop.kept() == 0


async def test_a_conversation_that_grows_too_long_is_refused_and_told_why(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        items = [{"role": "user", "content": "x"}] * (ITEMS_MAX - 1)
        first = await shop.ask(items)
        answer = await shop.post("one too many", previous_response_id=first["id"])
        assert code_of(answer, 400) == "conversation_too_long"
        assert "1,001 items" in error_of(answer, 400)["message"]


async def test_a_conversation_that_grows_too_large_is_refused_and_told_why(tmp_path: Path) -> None:
    async with open_shop(tmp_path, "[server]\nbody_limit_mb = 1\n") as shop:
        first = await shop.ask("x" * 700_000)
        answer = await shop.post("y" * 700_000, previous_response_id=first["id"])
        assert code_of(answer, 400) == "conversation_too_long"
        assert "1,048,576 bytes" in error_of(answer, 400)["message"]


async def test_an_answer_too_large_to_be_kept_is_delivered_and_paid_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_shop(tmp_path, "[server]\nbody_limit_mb = 1\n") as shop:
        shop.upstream.script(plain(message("secret " * 100_000)))
        with caplog.at_level(logging.WARNING, "farebox"):
            reply = await shop.ask("x" * 700_000)
        assert reply["output"][0]["content"][0]["text"].startswith("secret")
        assert shop.kept() == 0
        assert f"the response of call {reply['id'].removeprefix('resp_')} is not kept" in caplog.text
        assert "secret" not in caplog.text
        assert shop.gateway.balance_nano() == 10_000_000_000 - CALL_NANO


async def test_a_long_conversation_is_kept_and_read_all_the_same(tmp_path: Path) -> None:
    long = "".join(chr(0x100 + at * 7919 % 0x2000) for at in range(300_000))  # Too varied to pack small.
    async with open_shop(tmp_path) as shop:
        shop.upstream.script(plain(message(long)))
        first = await shop.ask(long)
        assert (await shop.get(first["id"])).json() == first
        await shop.ask("and?", previous_response_id=first["id"])
        assert texts(shop.sent["input"]) == [("user", long), ("assistant", long), ("user", "and?")]
        assert texts((await shop.get(f"{first['id']}/input_items")).json()["data"]) == [("user", long)]
        assert (await shop.delete(first["id"])).json()["deleted"] is True


@pytest.mark.parametrize("value", [7, ["resp_1"], {"id": "resp_1"}, True])
async def test_an_id_that_is_no_text_is_refused_by_name(tmp_path: Path, value: object) -> None:
    async with open_shop(tmp_path) as shop:
        error = error_of(await shop.post("one", previous_response_id=value), 400)
        assert error["param"] == "previous_response_id"


async def test_null_is_no_id(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        reply = await shop.ask("one", previous_response_id=None, store=None)
        assert (reply["store"], reply["previous_response_id"]) == (True, None)
        assert shop.kept() == 1


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"model": "acme/home"}', b'{"input": 7}', b'"x"'])
async def test_a_body_that_cannot_be_read_is_told_as_ever(tmp_path: Path, body: bytes) -> None:
    async with open_shop(tmp_path) as shop:
        headers = {"authorization": f"Bearer {shop.key}", "content-type": "application/json"}
        answer = await shop.gateway.client.post("/v1/responses", content=body, headers=headers)
        assert answer.status_code == 400
        first = await shop.ask("one")
        body = b'{"previous_response_id": "%b", "model": "acme/home"}' % first["id"].encode()
        answer = await shop.gateway.client.post("/v1/responses", content=body, headers=headers)
        assert error_of(answer, 400)["param"] == "input"


async def test_the_receipt_of_a_call_is_found_by_its_responses_id(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        reply = await shop.ask("one")
        headers = {"authorization": f"Bearer {shop.key}"}
        for prefix in ("resp_", "msg_"):
            id_ = reply["id"].replace("resp_", prefix)
            told = await shop.gateway.client.get(f"/v1/generation?id={id_}", headers=headers)
            assert told.json()["data"]["model"] == "acme/home"


async def test_a_running_server_forgets_what_is_past_its_days(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "FORGET_S", 0.05)
    async with open_shop(tmp_path, "[store]\nresponses_days = 1\n") as shop:
        old, young = await shop.ask("old"), await shop.ask("young")
        with shop.gateway.office.database.transaction() as work:
            work.run("UPDATE responses SET created = created - ? WHERE id = ?", 86_400_000_000, old["id"])
        assert (await shop.get(old["id"])).status_code == 404
        async with asyncio.timeout(5):
            while shop.kept() > 1:
                await asyncio.sleep(0.01)
        assert (await shop.get(young["id"])).status_code == 200
