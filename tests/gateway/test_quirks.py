"""A provider's quirks on the way out: what changes, for whom, and what the caller is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from farebox.dialects.openai_chat import OpenAIChat
from tests.gateway.shop import Shop, open_shop
from tests.support.answers import error

QUIRKS = 'quirks = ["max_completion_tokens", "no_sampling"]'
ASKED = {"max_tokens": 9, "temperature": 0.5}


class Abroad(OpenAIChat):
    """A dialect that only looks like OpenAI's, so that nothing may be relayed."""

    name = "chat_abroad"


def received(shop: Shop) -> Any:
    """The last body that the first provider got."""
    return json.loads(shop.first.requests[-1].body)


async def test_a_caller_at_home_keeps_what_a_model_may_refuse(tmp_path: Path) -> None:
    async with open_shop(tmp_path, QUIRKS) as shop:
        caller = await shop.ask(**ASKED)
        assert caller.status == 200
        body = received(shop)
        assert (body["max_completion_tokens"], body["temperature"]) == (9, 0.5)
        assert "max_tokens" not in body
        assert "x-farebox-dropped" not in caller.headers


async def test_a_stranger_loses_what_the_model_would_refuse_and_is_told(tmp_path: Path) -> None:
    async with open_shop(tmp_path, QUIRKS) as shop:
        shop.speak(Abroad())
        for stream in (False, True):
            caller = await shop.ask(stream=stream, **ASKED)
            assert caller.status == 200
            assert received(shop)["max_completion_tokens"] == 9
            assert "temperature" not in received(shop)
            assert caller.headers["x-farebox-dropped"] == "temperature"


async def test_what_one_provider_would_not_take_the_next_one_gets(tmp_path: Path) -> None:
    async with open_shop(tmp_path, QUIRKS) as shop:
        shop.speak(Abroad())
        providers = shop.gateway.worker.stock.providers
        assert isinstance(providers, dict)
        providers["second"] = replace(providers["second"], quirks=())
        shop.first.script(error(503))
        caller = await shop.ask(**ASKED)
        assert caller.status == 200
        assert "temperature" not in received(shop)
        body = json.loads(shop.second.requests[-1].body)
        assert (body["max_tokens"], body["temperature"]) == (9, 0.5)
        assert "x-farebox-dropped" not in caller.headers
