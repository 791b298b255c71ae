"""Usage in a stream: wherever a provider puts it, whoever asked for it, and whatever nonsense it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tests.gateway.shop import MODEL, charge_of, events_of, open_shop
from tests.support.answers import Answer, json_answer, stream

WANTED: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
USAGE = {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}


def event(choices: list[Any], **members: Any) -> bytes:
    chunk = {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": choices,
        **members,
    }
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def told(
    *, on_content: Any = None, on_finish: Any = None, after: Any = None, **finish_members: Any
) -> Answer:
    """A stream of two words with usage in these places."""
    first, second = (
        event([{"index": 0, "delta": {"content": word}, "finish_reason": None}], usage=on_content)
        for word in ("Hello", " there")
    )
    finish = event([{"index": 0, "delta": {}, "finish_reason": "stop"}], usage=on_finish, **finish_members)
    rest = (event([], usage=after),) if after else ()
    return replace(stream(), body=(first, second, finish, *rest, b"data: [DONE]\n\n"))


PLACES = {
    "after the finish": told(after=USAGE),
    "on the finish": told(on_finish=USAGE),
    "on the finish and after it": told(on_finish=USAGE, after=USAGE),
    "on every chunk": told(on_content={**USAGE, "completion_tokens": 1, "total_tokens": 12}, on_finish=USAGE),
    "on chunks with content alone": told(on_content=USAGE),
    "under x_groq": told(x_groq={"id": "req_1", "usage": USAGE}),
}


@pytest.mark.parametrize("place", PLACES)
async def test_usage_is_taken_wherever_it_stands_and_told_to_those_who_asked(
    tmp_path: Path, place: str
) -> None:
    async with open_shop(tmp_path) as shop:
        shop.first.script(PLACES[place])
        caller = await shop.ask(**WANTED)
        final = [chunk["usage"] for chunk in caller.chunks if chunk.get("usage") and "cost" in chunk["usage"]]
        assert final, "whoever asked for usage is told"
        assert {(one["prompt_tokens"], one["completion_tokens"], one["cost"]) for one in final} == {
            (11, 5, 0.000021)
        }
        assert final[-1]["cost_details"] == {"currency": "USD", "total": 0.000021}
        row = await shop.row()
        assert (row["charge"], row["estimated"], row["input_tokens"], row["output_tokens"]) == (
            21_000,
            0,
            11,
            5,
        )
        shop.assert_settled(charge_of(11, 5))


@pytest.mark.parametrize("place", PLACES)
async def test_usage_is_withheld_from_those_who_did_not_ask(tmp_path: Path, place: str) -> None:
    async with open_shop(tmp_path) as shop:
        shop.first.script(PLACES[place])
        caller = await shop.ask(stream=True)
        assert all(chunk.get("usage") is None for chunk in caller.chunks)
        assert all(chunk["choices"] for chunk in caller.chunks), "no chunk is there for usage alone"
        assert json.loads(shop.first.requests[0].body)["stream_options"] == {"include_usage": True}
        assert caller.text == "Hello there"
        shop.assert_settled(charge_of(11, 5))


NONSENSE = {
    "none at all": None,
    "an empty object": {},
    "negative": {"prompt_tokens": 11, "completion_tokens": -5, "total_tokens": 6},
    "more cached than read": {**USAGE, "prompt_tokens_details": {"cached_tokens": 12}},
    "words": {"prompt_tokens": "many", "completion_tokens": "few"},
    "beyond any window": {"prompt_tokens": 10**12, "completion_tokens": 5, "total_tokens": 10**12 + 5},
    "beyond this model's window": {"prompt_tokens": 300_000, "completion_tokens": 5, "total_tokens": 300_005},
    "beyond the caller's limit": {"prompt_tokens": 11, "completion_tokens": 90_000, "total_tokens": 90_011},
    "nothing for something": {"prompt_tokens": 11, "completion_tokens": 0, "total_tokens": 11},
    "fractions": {"prompt_tokens": 1.5, "completion_tokens": 2.5},
}


@pytest.mark.parametrize("nonsense", NONSENSE)
async def test_usage_that_cannot_be_true_is_estimated_and_shown_so(tmp_path: Path, nonsense: str) -> None:
    async with open_shop(tmp_path) as shop:
        shop.first.script(told(after=NONSENSE[nonsense]))
        caller = await shop.ask(max_tokens=50, **WANTED)
        row = await shop.row()
        assert (row["estimated"], row["output_tokens"]) == (1, 2)
        size = len(json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "Hi there!"}]}))
        assert 0 < row["input_tokens"] < size, "a prompt is never more tokens than bytes"
        assert row["charge"] == charge_of(row["input_tokens"], 2)
        assert (caller.usage["prompt_tokens"], caller.usage["completion_tokens"]) == (row["input_tokens"], 2)
        assert caller.usage["cost"] * 1e9 == pytest.approx(row["charge"])
        receipt = await shop.gateway.client.get(
            f"/v1/requests/{row['id']}", headers={"authorization": f"Bearer {shop.key}"}
        )
        assert receipt.json()["estimated"] is True
        shop.assert_settled(row["charge"])


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e400", "-0.0", "99999999999999999999999999"])
async def test_numbers_that_are_none_are_not_charged(tmp_path: Path, number: str) -> None:
    async with open_shop(tmp_path) as shop:
        events = events_of(told(after={**USAGE, "completion_tokens": 777}))
        shop.first.script(
            replace(stream(), body=tuple(event.replace(b"777", number.encode()) for event in events))
        )
        caller = await shop.ask(**WANTED)
        assert caller.done
        assert number.encode() not in caller.body
        row = await shop.row()
        assert (row["estimated"], row["output_tokens"], row["charge"] > 0) == (1, 2, True)
        shop.assert_settled(row["charge"])


@pytest.mark.parametrize("nonsense", NONSENSE)
async def test_a_plain_answer_with_such_usage_is_estimated_too(tmp_path: Path, nonsense: str) -> None:
    async with open_shop(tmp_path) as shop:
        message = {"role": "assistant", "content": "Hello there"}
        body: dict[str, Any] = {
            "id": "c",
            "object": "chat.completion",
            "model": "m",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        }
        if NONSENSE[nonsense] is not None:
            body["usage"] = NONSENSE[nonsense]
        shop.first.script(json_answer(body))
        caller = await shop.ask(max_tokens=50)
        row, usage = await shop.row(), json.loads(caller.body)["usage"]
        assert (row["estimated"], row["output_tokens"]) == (1, 3), "eleven bytes are three tokens"
        assert (usage["prompt_tokens"], usage["completion_tokens"]) == (row["input_tokens"], 3)
        shop.assert_settled(row["charge"])


@pytest.mark.parametrize("wanted", [True, False])
async def test_what_the_provider_charges_us_is_nobodys_business(tmp_path: Path, *, wanted: bool) -> None:
    async with open_shop(tmp_path) as shop:
        costly = {
            **USAGE,
            "cost": 0.0123,
            "cost_details": {"upstream_inference_cost": 0.0123},
            "is_byok": True,
            "estimated_cost": 0.0123,
            "cost_in_usd_ticks": 123,
        }
        shop.first.script(told(on_content=costly, on_finish=costly, after=costly))
        caller = await shop.ask(
            stream=True, **({"stream_options": {"include_usage": True}} if wanted else {})
        )
        for told_so in (b"0123", b"byok", b"upstream_inference", b"ticks", b"estimated_cost"):
            assert told_so not in caller.body
        shop.assert_settled(charge_of(11, 5))


async def test_an_empty_answer_costs_nothing_and_says_so(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        shop.first.script(stream(words=(), usage=(11, 0)))
        caller = await shop.ask(**WANTED)
        assert caller.done
        assert (caller.usage["prompt_tokens"], caller.usage["cost"]) == (11, 0)
        row = await shop.row()
        assert (row["state"], row["charge"], row["estimated"]) == ("voided", 0, 0)
        shop.assert_settled(0)


async def test_classes_of_tokens_reach_the_books_apart(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        details = {
            "prompt_tokens_details": {"cached_tokens": 4},
            "completion_tokens_details": {"reasoning_tokens": 3},
        }
        shop.first.script(told(after={**USAGE, **details}))
        await shop.ask(**WANTED)
        assert (await shop.row())["usage"] == {
            "input_fresh": 7,
            "cache_read": 4,
            "output_visible": 2,
            "output_thought": 3,
        }


async def test_more_thought_than_was_said_is_all_thought(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        shop.first.script(told(after={**USAGE, "completion_tokens_details": {"reasoning_tokens": 6}}))
        await shop.ask(**WANTED)
        row = await shop.row()
        assert row["usage"] == {"input_fresh": 11, "output_thought": 5}
        assert (row["charge"], row["estimated"]) == (charge_of(11, 5), 0)
