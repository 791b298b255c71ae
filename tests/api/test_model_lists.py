"""One path, three makers' clients: a list of models has the shape of whoever asks."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from tests.api.caller import MODEL, Caller
from tests.support.gateway import Gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")
ANTHROPIC = {"anthropic-version": "2023-06-01"}


async def listed(gateway: Gateway, path: str, **headers: str) -> Any:
    answer = await gateway.client.get(path, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def asked(gateway: Gateway, path: str, headers: dict[str, str]) -> httpx2.Response:
    return await gateway.client.get(path, headers=headers)


@pytest.mark.parametrize("base", ["/v1", "/api/v1", "/anthropic/v1"])
async def test_anthropics_client_gets_anthropics_page(shared: Gateway, base: str) -> None:
    key = Caller(shared, "claude-lister").key
    page = await listed(shared, f"{base}/models?limit=3", **ANTHROPIC, **{"x-api-key": key})
    assert [row["type"] for row in page["data"]] == ["model"] * 3
    assert page["has_more"] is True
    assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], page["data"][-1]["id"])
    assert {"id", "display_name", "created_at"} <= page["data"][0].keys()


async def test_anthropics_pages_join_without_a_gap_in_both_directions(shared: Gateway) -> None:
    key = Caller(shared, "pager").key
    headers = {**ANTHROPIC, "x-api-key": key}
    whole = [listing.id for listing in shared.worker.house.catalogue.listings]
    forth: list[str] = []
    path = "/v1/models?limit=400"
    while True:
        page = await listed(shared, path, **headers)
        forth += [row["id"] for row in page["data"]]
        if not page["has_more"]:
            break
        path = f"/v1/models?limit=400&after_id={page['last_id']}"
    assert forth == whole
    back = await listed(shared, f"/v1/models?limit=5&before_id={whole[9]}", **headers)
    assert [row["id"] for row in back["data"]] == whole[4:9]
    assert back["has_more"] is True
    first = await listed(shared, f"/v1/models?limit=50&before_id={whole[9]}", **headers)
    assert [row["id"] for row in first["data"]] == whole[:9]
    assert first["has_more"] is False


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "after_id=nothing/there"])
async def test_a_page_that_cannot_be_is_refused_in_anthropics_words(shared: Gateway, query: str) -> None:
    key = Caller(shared, "wrong-pager").key
    answer = await asked(shared, f"/v1/models?{query}", {**ANTHROPIC, "x-api-key": key})
    assert answer.status_code == 400
    body = answer.json()
    assert (body["type"], body["error"]["type"]) == ("error", "invalid_request_error")
    assert body["request_id"] == answer.headers["x-request-id"]


async def test_googles_client_gets_googles_pages(shared: Gateway) -> None:
    key = Caller(shared, "gemini-lister").key
    whole = [f"models/{listing.id}" for listing in shared.worker.house.catalogue.listings]
    found: list[str] = []
    path, more = "/v1beta/models?pageSize=500", ""
    while True:
        page = await listed(shared, path + more, **{"x-goog-api-key": key})
        found += [row["name"] for row in page["models"]]
        if "nextPageToken" not in page:
            break
        more = f"&pageToken={page['nextPageToken']}"
    assert found == whole


async def test_the_way_a_key_is_shown_tells_googles_client_at_the_shared_path(shared: Gateway) -> None:
    key = Caller(shared, "shower").key
    assert "models" in await listed(shared, "/v1/models", **{"x-goog-api-key": key})
    assert "models" in await listed(shared, f"/v1/models?key={key}")
    assert "data" in await listed(shared, "/v1/models", authorization=f"Bearer {key}")
    assert "models" in await listed(shared, "/api/v1beta/models", authorization=f"Bearer {key}")


@pytest.mark.parametrize(("headers", "name"), [(ANTHROPIC, "id"), ({}, "name")], ids=["anthropic", "gemini"])
async def test_one_model_has_the_askers_shape_as_well(
    shared: Gateway, headers: dict[str, str], name: str
) -> None:
    key = Caller(shared, "one-asker").key
    row = await listed(shared, f"/v1/models/{MODEL}", **headers, **{"x-goog-api-key": key})
    assert row[name].endswith(MODEL)


async def test_a_key_that_is_wrong_is_refused_in_the_askers_words(shared: Gateway) -> None:
    answer = await asked(shared, "/v1/models", {**ANTHROPIC, "x-api-key": "sk-wrong"})
    assert (answer.status_code, answer.json()["error"]["type"]) == (401, "authentication_error")
    answer = await asked(shared, "/v1beta/models", {"x-goog-api-key": "sk-wrong"})
    assert (answer.status_code, answer.json()["error"]["status"]) == (401, "UNAUTHENTICATED")
