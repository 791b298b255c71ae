"""Accounts, keys and credit over HTTP, as a reseller's own systems provision them."""

from __future__ import annotations

import asyncio

import pytest

from tests.api.admin.operator import Operator
from tests.api.caller import call_body, error_of
from tests.support.gateway import Gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def chat_status(gateway: Gateway, key: str) -> int:
    answer = await gateway.client.post(
        "/v1/chat/completions", json=call_body(), headers={"authorization": f"Bearer {key}"}
    )
    return answer.status_code


async def test_an_account_with_a_key_and_credit_can_call_at_once(shared: Gateway) -> None:
    operator = Operator(shared)
    account = await operator.post("accounts", {"name": "reseller-1", "plan": "pro", "credit": "2.5"})
    assert (account["object"], account["plan"], account["status"]) == ("account", "pro", "active")
    assert (account["balance"], account["held"], account["spendable"], account["currency"]) == (
        "2.5",
        "0",
        "2.5",
        "USD",
    )
    key = await operator.post("accounts/reseller-1/keys", {"name": "first"})
    assert key["key"].startswith("sk-")
    assert (key["account"], key["name"], key["status"], key["expires"]) == (
        "reseller-1",
        "first",
        "active",
        None,
    )
    assert await chat_status(shared, key["key"]) == 200
    after = await operator.get("accounts/reseller-1")
    assert after["balance"] != "2.5"
    assert after["spent"] != "0"
    (row,) = (await operator.get("requests?account=reseller-1"))["data"]
    assert row["charge"] == after["spent"]


async def test_an_account_answers_to_its_name_and_its_id_and_nobody_is_a_404(shared: Gateway) -> None:
    operator = Operator(shared)
    made = await operator.post("accounts", {"name": "twofold"})
    assert await operator.get(f"accounts/{made['id']}") == await operator.get("accounts/twofold")
    for nobody in ("nobody", "999999999", "99999999999999999999999"):
        assert error_of(await operator.ask("GET", f"accounts/{nobody}"), 404)["metadata"]["error_type"] == (
            "account_not_found"
        )


async def test_accounts_are_listed_by_the_page_in_the_order_they_were_made(shared: Gateway) -> None:
    operator = Operator(shared)
    for number in range(3):
        await operator.post("accounts", {"name": f"listed-{number}"})
    names = [row["name"] for row in await operator.all("accounts")]
    assert [name for name in names if name.startswith("listed-")] == ["listed-0", "listed-1", "listed-2"]
    assert len(names) == len(set(names))


async def test_a_plan_and_a_status_are_changed_and_heeded(shared: Gateway) -> None:
    operator = Operator(shared)
    await operator.post("accounts", {"name": "changed", "credit": "1"})
    key = (await operator.post("accounts/changed/keys"))["key"]
    assert (await operator.patch("accounts/changed", {"plan": "free"}))["plan"] == "free"
    assert (await operator.patch("accounts/changed", {"status": "disabled"}))["status"] == "disabled"
    async with asyncio.timeout(2):
        while await chat_status(shared, key) != 403:
            await asyncio.sleep(0.05)
    assert (await operator.patch("accounts/changed", {"status": "active"}))["status"] == "active"
    error_of(await operator.ask("PATCH", "accounts/changed", {"plan": "none-such"}), 400)


@pytest.mark.parametrize(
    ("method", "path", "body", "named"),
    [
        ("POST", "accounts", {"name": "x", "colour": "red"}, "colour"),
        ("POST", "accounts", {"name": 7}, "name"),
        ("POST", "accounts", {}, "name"),
        ("POST", "accounts", {"name": "a/b"}, "name"),
        ("POST", "accounts", {"name": "12345"}, "digits"),
        ("POST", "accounts", {"name": "x" * 65}, "name"),
        ("POST", "accounts", {"name": "x", "credit": 5}, "credit"),
        ("POST", "accounts", {"name": "x", "credit": "-5"}, "credit"),
        ("POST", "accounts", {"name": "x", "credit": "1e400"}, "credit"),
        ("POST", "accounts", {"name": "x", "credit": "9999999999"}, "credit"),
        ("POST", "accounts", {"name": "x", "id": "a b"}, "id"),
        ("POST", "accounts", b"[", "body"),
        ("POST", "accounts", b"\xff", "body"),
        ("PATCH", "accounts/strict", {"status": "deleted"}, "status"),
        ("PATCH", "accounts/strict", {"name": "y"}, "name"),
        ("POST", "accounts/strict/transfers", {"kind": "gift", "amount": "1"}, "kind"),
        ("POST", "accounts/strict/transfers", {"kind": "grant", "amount": "0"}, "amount"),
        ("POST", "accounts/strict/transfers", {"kind": "grant", "amount": "-1"}, "amount"),
        ("POST", "accounts/strict/transfers", {"kind": "grant", "amount": 1.5}, "amount"),
        ("POST", "accounts/strict/keys", {"expires": 1}, "expires"),
        ("POST", "accounts/strict/keys", {"expires": True}, "expires"),
        ("POST", "accounts/strict/keys", {"name": "x" * 101}, "name"),
    ],
)
async def test_what_cannot_be_used_is_refused_by_name(
    shared: Gateway, method: str, path: str, body: object, named: str
) -> None:
    operator = Operator(shared)
    await operator.post("accounts", {"name": "strict"}, once="strict")
    assert named in error_of(await operator.ask(method, path, body), 400)["message"]


async def test_a_query_is_as_strict_as_a_body(shared: Gateway) -> None:
    operator = Operator(shared)
    for query in ("limit=0", "limit=101", "limit=x", "order=asc", "limit=1&limit=2", "cursor=a"):
        error_of(await operator.ask("GET", f"accounts?{query}"), 400)
    error_of(await operator.ask("GET", "requests?account=nobody"), 404)


async def test_a_keys_secret_is_told_once_and_never_kept(shared: Gateway) -> None:
    operator = Operator(shared)
    await operator.post("accounts", {"name": "secretive"})
    first = await operator.post("accounts/secretive/keys", {"name": "k"}, once="make-a-key")
    again = await operator.ask("POST", "accounts/secretive/keys", {"name": "k"}, once="make-a-key")
    assert (again.status_code, again.headers["idempotent-replayed"]) == (200, "true")
    assert again.json()["key"] is None
    assert "not kept" in again.json()["message"]
    assert again.json()["id"] == first["id"]
    (listed,) = await operator.all("accounts/secretive/keys")
    assert "key" not in listed
    office = shared.office
    for table in ("audit_log", "admin_idempotency", "keys", "administrators"):
        rows = repr(list(office.database.rows(f"SELECT * FROM {table}")))
        assert first["key"] not in rows
        assert operator.key not in rows


async def test_a_key_is_relabelled_given_budgets_rotated_and_revoked(shared: Gateway) -> None:
    operator = Operator(shared)
    await operator.post("accounts", {"name": "keyed", "credit": "1"})
    made = await operator.post("accounts/keyed/keys")
    path = f"accounts/keyed/keys/{made['id']}"
    changed = await operator.patch(path, {"name": "new", "budgets": {"day": "5", "total": "100"}})
    assert (changed["name"], changed["budgets"]) == ("new", {"day": "5", "total": "100"})
    changed = await operator.patch(path, {"budgets": {"day": None}, "expires": 4_000_000_000})
    assert (changed["budgets"], changed["expires"]) == ({"total": "100"}, 4_000_000_000)
    assert (await operator.patch(path, {"expires": None}))["expires"] is None
    new = await operator.post(f"{path}/rotate", {"overlap_s": 0})
    assert new["replaces"] == made["id"]
    assert new["budgets"] == {"total": "100"}
    assert await chat_status(shared, new["key"]) == 200
    async with asyncio.timeout(2):
        while await chat_status(shared, made["key"]) != 401:
            await asyncio.sleep(0.05)
    revoked = await operator.post(f"accounts/keyed/keys/{new['id']}/revoke")
    assert revoked["status"] == "revoked"
    error_of(await operator.ask("POST", f"accounts/keyed/keys/{new['id']}/rotate"), 400)
    assert [key["status"] for key in await operator.all("accounts/keyed/keys", limit=1)] == ["revoked"] * 2


async def test_a_key_of_another_account_is_not_there(shared: Gateway) -> None:
    operator = Operator(shared)
    await operator.post("accounts", {"name": "mine"})
    await operator.post("accounts", {"name": "theirs"})
    key = await operator.post("accounts/theirs/keys")
    for method, end in (("GET", ""), ("PATCH", ""), ("POST", "/revoke"), ("POST", "/rotate")):
        body: object = None if method == "GET" else {}
        answer = await operator.ask(method, f"accounts/mine/keys/{key['id']}{end}", body)
        assert error_of(answer, 404)["metadata"]["error_type"] == "key_not_found"


async def test_credit_goes_in_and_out_and_the_history_says_so(shared: Gateway) -> None:
    operator = Operator(shared)
    await operator.post("accounts", {"name": "credited", "credit": "0"})
    path = "accounts/credited/transfers"
    for kind, amount, balance in (
        ("top_up", "10", "10"),
        ("grant", "0.000000001", "10.000000001"),
        ("refund", "2", "12.000000001"),
        ("correction", "-12", "0.000000001"),
    ):
        booked = await operator.post(path, {"kind": kind, "amount": amount, "reason": f"for {kind}"})
        assert (booked["kind"], booked["amount"], booked["balance_after"]) == (kind, amount, balance)
    history = await operator.all(path, limit=3)
    assert [row["balance_after"] for row in history] == ["0.000000001", "12.000000001", "10.000000001", "10"]
    assert [row["kind"] for row in (await operator.get(f"{path}?kind=refund"))["data"]] == ["refund"]
    short = await operator.ask("POST", path, {"kind": "correction", "amount": "-1"})
    assert error_of(short, 409)["metadata"]["error_type"] == "not_enough_free"
    wallet = await operator.get("accounts/credited/wallet")
    assert wallet["balance"] == "0.000000001"
    shared.assert_balanced()
