"""Stored responses across processes: any worker has what another kept, and a kill loses a copy but never a charge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support import killed_keeping
from tests.support.books import assert_balanced, requests
from tests.support.faulty import FaultyUpstream, serve_faulty
from tests.support.process import UP, new_key, up
from tests.support.responses import HOME, config_of, message, plain, streamed
from tests.support.shop import nano

pytestmark = pytest.mark.process
CHARGE_NANO = 11 * 1_000 + 5 * 2_000
CALLS = 24


def opened(folder: Path, upstream: FaultyUpstream) -> tuple[Path, Path, dict[str, str]]:
    """A data folder, its configuration, and a customer's header."""
    data, config = folder / "data", folder / "farebox.toml"
    config.write_text(config_of(upstream.base_url))
    key = new_key(data, "acme", "--plan", "enterprise", "--credit", "10", config=config)
    return data, config, {"authorization": f"Bearer {key}"}


async def ask(url: str, headers: dict[str, str], **members: Any) -> httpx2.Response:
    """One call on a connection of its own, so that any worker may take it."""
    async with httpx2.AsyncClient(base_url=url, timeout=20, headers=headers) as client:
        return await client.post("/v1/responses", json={"model": HOME, "input": "and?", **members})


async def test_any_worker_goes_on_from_what_another_kept(tmp_path: Path) -> None:
    async with serve_faulty() as upstream:
        upstream.script(plain(message("Hello.")))
        data, config, headers = opened(tmp_path, upstream)
        with up(data, "--workers", "2", config=config, verb=UP) as farebox:
            assert len(farebox.workers()) == 2
            previous: dict[str, Any] = {}
            for at in range(CALLS):
                answer = await ask(farebox.url, headers, **previous)
                assert answer.status_code == 200, answer.text
                assert len(answer.json()["output"]) == 1
                assert upstream.requests[-1].body.count(b'"and?"') == at + 1
                previous = {"previous_response_id": answer.json()["id"]}
            async with httpx2.AsyncClient(base_url=farebox.url, headers=headers) as client:
                path = f"/v1/responses/{previous['previous_response_id']}"
                assert (await client.delete(path)).status_code == 200
            answer = await ask(farebox.url, headers, **previous)
            assert answer.status_code == 400
        assert_balanced(data, config)


@pytest.mark.parametrize("streams", [False, True], ids=["plain", "streamed"])
async def test_a_kill_between_charge_and_copy_leaves_a_charged_call_that_is_not_stored(
    tmp_path: Path, *, streams: bool
) -> None:
    async with serve_faulty() as upstream:
        upstream.script(streamed("Hello.") if streams else plain(message("Hello.")))
        data, config, headers = opened(tmp_path, upstream)
        with up(data, config=config, verb=killed_keeping.VERB) as farebox:
            with pytest.raises(httpx2.TransportError):
                await ask(farebox.url, headers, stream=streams)
            assert farebox.process.wait(10) == -9
        with up(data, config=config) as farebox:
            (row,) = requests(data, config).values()
            assert (row["state"], nano(row["charge"])) == ("posted", CHARGE_NANO)
            async with httpx2.AsyncClient(base_url=farebox.url, headers=headers) as client:
                answer = await client.get(f"/v1/responses/resp_{row['id']}")
            assert answer.status_code == 404
            answer = await ask(farebox.url, headers, previous_response_id=f"resp_{row['id']}")
            assert answer.status_code == 400
        assert_balanced(data, config)
