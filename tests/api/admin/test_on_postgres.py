"""What operators do, on PostgreSQL as well: one walk through every action that asks the database something."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.api.admin.operator import Operator
from tests.api.caller import Caller
from tests.support.gateway import running
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.asyncio


async def test_every_action_works_on_postgresql(tmp_path: Path, postgres: PostgresServer) -> None:
    url = postgres.new_database()
    async with running(tmp_path, None, {"FAREBOX_STORE__DATABASE": url}) as gateway:
        operator, caller = Operator(gateway), Caller(gateway, "walker")
        id_ = (await caller.chat()).headers["x-request-id"]
        await gateway.settled(1)
        assert len(await operator.all("accounts", limit=1)) == 1
        made = await operator.post("accounts/walker/keys", {"name": "k"}, once="pg-1")
        assert (await operator.post("accounts/walker/keys", {"name": "k"}, once="pg-1"))["id"] == made["id"]
        await operator.patch(f"accounts/walker/keys/{made['id']}", {"budgets": {"day": "1"}})
        paid = {"id": "pg-2", "kind": "top_up", "amount": "1"}
        assert await operator.post("accounts/walker/transfers", paid) == await operator.post(
            "accounts/walker/transfers", paid
        )
        assert len(await operator.all("accounts/walker/transfers")) == 3
        assert [row["id"] for row in await operator.all("requests?model=openai/gpt-4o-mini")] == [id_]
        assert (await operator.get(f"requests/{id_}"))["account"] == "walker"
        assert (await operator.post("books/check"))["balanced"]
        assert (await operator.get("overview"))["today"]["calls"] == 1
        assert {plan["accounts"] for plan in (await operator.get("plans"))["data"]} == {0, 1}
        other = await operator.post("administrators", {"name": "bob"})
        await operator.post(f"administrators/{other['id']}/revoke")
        assert len(await operator.all("audit")) == 6
        assert (await operator.get("books/seals"))["data"] == []
