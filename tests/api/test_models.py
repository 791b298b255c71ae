"""Lists of models: each profile's own shape, and the public catalogue with the customer's price."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from tests.api.caller import MODEL, Caller, error_of
from tests.support.gateway import Gateway, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

# USD at 88 rupees and a fifth on top: 0.15 and 0.60 dollars a million become 15.84 and 63.36 rupees.
CONFIG = """
[wallet]
currency = "INR"
markup = "1.20"
fx = { USD = "88.00" }

[[plans]]
name = "reseller"
chat_rpm = 60
image_rpm = 20
markup = "1"

[[plans]]
name = "small"
chat_rpm = 60
image_rpm = 20
models = ["openai/gpt-4o*"]
"""
FACTOR = Decimal("88.00") * Decimal("1.20")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rupees(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    """A gateway that sells in rupees."""
    async with running(tmp_path_factory.mktemp("rupees"), CONFIG) as gateway:
        yield gateway


class Exact(msgspec.Struct):
    """A row of the public catalogue, its numbers read digit by digit."""

    id: str
    name: str
    provider: str
    context_window: int | None
    input_cost_per_1m: Decimal | None
    output_cost_per_1m: Decimal | None
    currency: str


class Catalogue(msgspec.Struct):
    object: str
    data: list[Exact]


async def test_the_public_catalogue_needs_no_key_and_tells_the_customers_price(rupees: Gateway) -> None:
    answer = await rupees.client.get("/api/models")
    assert answer.status_code == 200
    listed = msgspec.json.decode(answer.content, type=Catalogue)
    assert listed.object == "list"
    rows = {row.id: row for row in listed.data}
    assert len(rows) == len(listed.data) > 1000
    assert rows[MODEL] == Exact(
        MODEL,
        "GPT-4o Mini",
        "openai",
        128_000,
        Decimal("0.15") * FACTOR,
        Decimal("0.60") * FACTOR,
        "INR",
    )
    assert {row.currency for row in listed.data} == {"INR"}


async def test_the_catalogue_writes_what_the_seeds_example_shows_without_markup(shared: Gateway) -> None:
    rows = (await shared.client.get("/api/models")).json()["data"]
    row = next(row for row in rows if row["id"] == MODEL)
    example = {
        "id": "openai/gpt-4o-mini",
        "name": "GPT-4o Mini",
        "provider": "openai",
        "context_window": 128000,
        "input_cost_per_1m": 0.15,
        "output_cost_per_1m": 0.60,
    }
    assert {name: row[name] for name in example} == example
    assert list(row)[: len(example)] == list(example)


async def test_a_price_that_is_listed_is_the_price_that_is_charged(rupees: Gateway) -> None:
    caller = Caller(rupees, credit="100")
    listed = msgspec.json.decode((await rupees.client.get("/api/models")).content, type=Catalogue)
    row = next(row for row in listed.data if row.id == MODEL)
    usage = (await caller.chat()).json()["usage"]
    assert row.input_cost_per_1m is not None
    assert row.output_cost_per_1m is not None
    exact = (
        usage["prompt_tokens"] * row.input_cost_per_1m + usage["completion_tokens"] * row.output_cost_per_1m
    )
    assert 0 <= caller.spent_nano() - exact * 1000 < 1  # Per million tokens, in nano-units: a thousandfold.


@pytest.mark.parametrize("base", ["/v1", "/openserv/v1", "/api/openai/v1"])
async def test_the_list_is_openais_with_openrouters_members(shared: Gateway, base: str) -> None:
    caller = Caller(shared, "lister")
    listed = (await caller.get(f"{base}/models")).json()
    assert listed["object"] == "list"
    rows = {row["id"]: row for row in listed["data"]}
    row = rows[MODEL]
    assert (row["object"], row["owned_by"], row["context_length"]) == ("model", "openai", 128_000)
    assert isinstance(row["created"], int)
    assert row["pricing"]["prompt"] == "0.00000015"
    assert row["pricing"]["completion"] == "0.0000006"
    assert row["pricing"]["currency"] == "USD"
    assert (await caller.get(f"{base}/models/{MODEL}")).json() == row


async def test_the_consoles_list_has_bare_ids_and_its_documents_members_alone(shared: Gateway) -> None:
    caller = Caller(shared, "console-lister")
    listed = (await caller.get("/api/v1/models")).json()
    assert list(listed) == ["object", "data"]
    rows = {row["id"]: row for row in listed["data"]}
    assert len(rows) == len(listed["data"])
    assert rows["gpt-4o-mini"] == {"id": "gpt-4o-mini", "object": "model", "owned_by": "openai"}
    assert {tuple(row) for row in listed["data"]} == {("id", "object", "owned_by")}
    for asked in ("gpt-4o-mini", MODEL, "openai%2Fgpt-4o-mini"):
        assert (await caller.get(f"/api/v1/models/{asked}")).json() == rows["gpt-4o-mini"]


async def test_every_listed_name_finds_its_own_model(shared: Gateway) -> None:
    catalogue = shared.worker.house.catalogue
    for base in ("/v1", "/api/v1"):
        listed = (await Caller(shared, "finder").get(f"{base}/models")).json()["data"]
        found = [catalogue.find(row["id"]) for row in listed]
        assert found == list(catalogue.listings)


async def test_a_plan_lists_what_it_includes_at_its_own_price(rupees: Gateway) -> None:
    small, reseller = Caller(rupees, "small", plan="small"), Caller(rupees, "reseller", plan="reseller")
    rows = (await small.get("/v1/models")).json()["data"]
    assert rows
    assert all(row["id"].startswith("openai/gpt-4o") for row in rows)
    error = error_of(await small.get("/v1/models/anthropic/claude-sonnet-4.6"), 404)
    assert error["metadata"]["error_type"] == "model_not_found"
    cheap = (await reseller.get(f"/v1/models/{MODEL}")).json()["pricing"]
    assert Decimal(cheap["prompt"]) * 1_000_000 == Decimal("0.15") * 88
    usage = (await reseller.chat()).json()["usage"]
    due = Decimal(cheap["prompt"]) * usage["prompt_tokens"]
    due += Decimal(cheap["completion"]) * usage["completion_tokens"]
    assert 0 <= reseller.spent_nano() - due * 10**9 < 1


@pytest.mark.parametrize("name", ["nothing/like-this", "gpt-4o-mini/extra", "%00", "..%2f..%2fkey", "%ff%fe"])
async def test_an_unknown_model_is_not_found_by_name(shared: Gateway, name: str) -> None:
    answer = await Caller(shared, "seeker").get(f"/v1/models/{name}")
    error: Any = error_of(answer, 404)
    assert (error["type"], error["param"]) == ("not_found_error", "model")


async def test_a_list_needs_a_key(shared: Gateway) -> None:
    for base in ("/v1", "/api/v1", "/openserv/v1"):
        assert (await shared.client.get(f"{base}/models")).status_code == 401


async def test_head_says_what_get_would_without_saying_it(shared: Gateway) -> None:
    whole = await shared.client.get("/api/models")
    head = await shared.client.head("/api/models")
    assert head.status_code == 200
    assert head.headers["content-length"] == str(len(whole.content))
    assert head.content == b""
