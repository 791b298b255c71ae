"""An operator who asks `/admin/v1/*` through httpx."""

from __future__ import annotations

from typing import Any

import httpx2
import msgspec

from farebox.accounts.administrators import mint_administrator
from tests.api.caller import checked
from tests.support.gateway import Gateway


class Operator:
    """One administrator of a gateway."""

    def __init__(self, gateway: Gateway, name: str = "ada") -> None:
        self.gateway = gateway
        office = gateway.office
        with office.database.transaction() as work:
            made, self.key = mint_administrator(work, name, office.clock.now_us())
        self.id = made.id

    async def ask(
        self, method: str, path: str, body: object = None, *, key: str | None = None, once: str | None = None
    ) -> httpx2.Response:
        headers = {"authorization": f"Bearer {self.key if key is None else key}"}
        if once is not None:
            headers["idempotency-key"] = once
        content = b""
        if body is not None:
            headers["content-type"] = "application/json"
            content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        return checked(
            await self.gateway.client.request(method, f"/admin/v1/{path}", content=content, headers=headers)
        )

    async def get(self, path: str) -> Any:
        answer = await self.ask("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, path: str, body: object = None, *, once: str | None = None) -> Any:
        answer = await self.ask("POST", path, body, once=once)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def patch(self, path: str, body: object) -> Any:
        answer = await self.ask("PATCH", path, body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def all(self, path: str, limit: int = 2) -> list[Any]:
        """Every row of a list, page by page."""
        rows: list[Any] = []
        cursor = ""
        while True:
            sign = "&" if "?" in path else "?"
            page = await self.get(f"{path}{sign}limit={limit}{cursor}")
            assert page["object"] == "list"
            assert len(page["data"]) <= limit
            assert page["has_more"] == (page["next"] is not None)
            rows += page["data"]
            if page["next"] is None:
                return rows
            cursor = f"&cursor={page['next']}"
