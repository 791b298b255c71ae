"""The margin guard in a running gateway: routes that cost more than they bring, and what becomes of the model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.answers import chat
from tests.support.faulty import serve_faulty
from tests.support.gateway import Gateway, running

CONFIG = """
[wallet]
{wallet}
[[providers]]
name = "cheap"
base_url = "{cheap}"
api_key = "sk-a"
[[providers]]
name = "dear"
base_url = "{dear}"
api_key = "sk-b"
[[models]]
id = "acme/one"
max_output = 1000
context_window = 100000
cost = {{ currency = "USD", input = "1", output = "2" }}
{price}
routes = [
  {{ provider = "cheap", model = "m", order = 2 }},
  {{ provider = "dear", model = "m", order = 1, cost = {{ currency = "USD", input = "3", output = "2" }} }},
]
"""
BY_HAND = 'price = { currency = "USD", input = "2", output = "2" }'
GUARD = 'margin_factor = "1"\nmargin_action = "{}"'


async def ask(gateway: Gateway, key: str, model: str = "acme/one", **more: object) -> Any:
    body = {"model": model, "max_tokens": 20, "messages": [{"role": "user", "content": "Hi!"}], **more}
    return await gateway.client.post(
        "/v1/chat/completions", headers={"authorization": f"Bearer {key}"}, content=json.dumps(body)
    )


async def sold(gateway: Gateway) -> dict[str, Any]:
    listed = (await gateway.client.get("/api/models")).json()["data"]
    return {row["id"]: row for row in listed if row["id"] == "acme/one"}


@pytest.mark.parametrize(
    ("wallet", "price", "served_by"),
    [
        pytest.param("", BY_HAND, "dear", id="without a guard everything is sold as it says"),
        pytest.param(GUARD.format("reroute"), BY_HAND, "cheap", id="the dear route is left out"),
        pytest.param(GUARD.format("refuse"), BY_HAND, None, id="the model is not sold"),
        pytest.param(GUARD.format("reprice"), BY_HAND, "dear", id="the price is raised"),
        pytest.param('margin_factor = "0.5"', BY_HAND, "dear", id="it is above half its cost"),
        pytest.param('margin_factor = "3"', BY_HAND, None, id="no route is cheap enough"),
        pytest.param(GUARD.format("refuse"), "", "dear", id="a price made of the first route's cost"),
        pytest.param('markup = "1.5"\nmargin_factor = "1.5"', "", "dear", id="at the factor exactly"),
    ],
)
async def test_what_sells_below_cost_is_dealt_with_as_settings_say(
    tmp_path: Path, wallet: str, price: str, served_by: str | None
) -> None:
    async with serve_faulty() as cheap, serve_faulty() as dear:
        for provider in (cheap, dear):
            provider.script(chat(usage=(1_000, 10)))
        config = CONFIG.format(wallet=wallet, price=price, cheap=cheap.base_url, dear=dear.base_url)
        async with running(tmp_path, config) as gateway:
            key = gateway.key()
            answer = await ask(gateway, key)
            assert ("acme/one" in await sold(gateway)) == (served_by is not None)
            mine = await gateway.client.get("/v1/models", headers={"authorization": f"Bearer {key}"})
            assert bool(mine.json()["data"]) == (served_by is not None)
            if served_by is None:
                assert answer.status_code == 503
                error = answer.json()["error"]
                assert error["metadata"]["error_type"] == "model_not_for_sale"
                assert not any(word in answer.text for word in ("cost", "margin", "dear", "cheap"))
                assert gateway.holds() == 0
                return
            assert answer.status_code == 200, answer.text
            row = gateway.request(answer.headers["x-request-id"])
            assert row["provider"] == served_by
            if wallet:
                assert int(str(row["charge"])) >= int(str(row["cost"])) * ("0.5" not in wallet)
            gateway.assert_balanced()


async def test_a_raised_price_is_the_one_customers_are_shown(tmp_path: Path) -> None:
    async with serve_faulty() as cheap, serve_faulty() as dear:
        config = CONFIG.format(
            wallet=GUARD.format("reprice"), price=BY_HAND, cheap=cheap.base_url, dear=dear.base_url
        )
        async with running(tmp_path, config) as gateway:
            row = (await sold(gateway))["acme/one"]
            assert (row["input_cost_per_1m"], row["output_cost_per_1m"]) == (3, 2)


async def test_a_fallback_model_serves_where_the_asked_one_is_not_for_sale(tmp_path: Path) -> None:
    more = """
[[models]]
id = "acme/two"
max_output = 1000
cost = { currency = "USD", input = "1", output = "2" }
price = { currency = "USD", input = "1", output = "2" }
routes = [ { provider = "cheap", model = "two" } ]
"""
    async with serve_faulty() as cheap, serve_faulty() as dear:
        cheap.script(chat())
        config = CONFIG.format(
            wallet=GUARD.format("refuse"), price=BY_HAND, cheap=cheap.base_url, dear=dear.base_url
        )
        async with running(tmp_path, config + more) as gateway:
            answer = await ask(gateway, gateway.key(), models=["acme/two"])
            assert answer.status_code == 200, answer.text
            assert gateway.request(answer.headers["x-request-id"])["model"] == "acme/two"


async def test_what_sells_too_low_is_said_at_the_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve_faulty() as cheap, serve_faulty() as dear:
        urls = {"cheap": cheap.base_url, "dear": dear.base_url}
        async with running(tmp_path, CONFIG.format(wallet=GUARD.format("refuse"), price=BY_HAND, **urls)):
            assert "1 models sell too low for margin_factor: acme/one; they are not sold" in caplog.text
        caplog.clear()
        async with running(tmp_path, CONFIG.format(wallet="", price=BY_HAND, **urls)):
            assert "1 models sell below what a route of theirs costs: acme/one" in caplog.text
