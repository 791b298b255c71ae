"""A customer with a key, who asks the surfaces through httpx, and what every answer must be like."""

from __future__ import annotations

from typing import Any

import httpx2
import msgspec

from tests.support.gateway import Gateway

MODEL = "openai/gpt-4o-mini"


def call_body(say: object = "Hello!", **members: object) -> dict[str, object]:
    """A chat request; `members` are laid over it, and None takes one out."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": say}], **members}
    return {name: value for name, value in body.items() if value is not None}


class Caller:
    """One key of one account."""

    def __init__(
        self, gateway: Gateway, account: str = "acme", *, plan: str = "enterprise", credit: str = "10"
    ) -> None:
        self.gateway = gateway
        self.account = account
        self.key = gateway.key(account, plan=plan, credit=credit)
        self._headers = {"authorization": f"Bearer {self.key}"}

    async def get(self, path: str, **headers: str) -> httpx2.Response:
        return checked(await self.gateway.client.get(path, headers=self._headers | _named(headers)))

    async def post(self, path: str, body: object, **headers: str) -> httpx2.Response:
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        all_headers = {"content-type": "application/json"} | self._headers | _named(headers)
        return checked(await self.gateway.client.post(path, content=data, headers=all_headers))

    async def chat(self, base: str = "/v1", /, **members: object) -> httpx2.Response:
        return await self.post(f"{base}/chat/completions", call_body(**members))

    def spent_nano(self) -> int:
        """What the books have charged this account."""
        rows = self.gateway.office.database.rows(
            "SELECT spent FROM wallets w JOIN accounts a ON a.id = w.account_id WHERE a.name = ?",
            self.account,
        )
        return int(str(next(iter(rows))[0]))


def checked(answer: httpx2.Response) -> httpx2.Response:
    """Whatever is asked, the answer has its own id; an error has a message and a type, and tells no secret."""
    assert len(answer.headers["x-request-id"]) == 26
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/json"
        error = answer.json()["error"]
        assert error["message"]
        assert error["type"]
        assert "Traceback" not in answer.text
        assert "farebox." not in answer.text
    return answer


def error_of(answer: httpx2.Response, status: int) -> Any:
    """The error object of an answer that must have failed so."""
    assert answer.status_code == status, answer.text
    return answer.json()["error"]


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
