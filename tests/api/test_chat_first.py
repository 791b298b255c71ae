"""The thinnest path: a key, a call, a charge."""

from __future__ import annotations

from pathlib import Path

from tests.support.gateway import running


async def test_a_call_is_answered_charged_and_balanced(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        key = gateway.key(credit="1")
        answer = await gateway.client.post(
            "/v1/chat/completions",
            headers={"authorization": f"Bearer {key}"},
            json={"model": "openai/gpt-4o-mini", "messages": [{"role": "user", "content": "Hello!"}]},
        )
        assert answer.status_code == 200, answer.text
        body = answer.json()
        row = gateway.request(answer.headers["x-request-id"])
        assert body["usage"]["cost"] == float(str(row["charge"])) / 1e9
        assert gateway.balance_nano() == 1_000_000_000 - int(str(row["charge"]))
        assert gateway.holds() == 0
        gateway.assert_balanced()
