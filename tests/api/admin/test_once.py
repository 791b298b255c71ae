"""Asked twice, done once: by an idempotency key, or by an id that the caller gives."""

from __future__ import annotations

import asyncio

import pytest

from tests.api.admin.operator import Operator
from tests.api.caller import error_of
from tests.support.gateway import Gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_the_same_again_under_a_key_gets_the_same_answer_and_does_nothing(shared: Gateway) -> None:
    operator = Operator(shared)
    made = await operator.ask("POST", "accounts", {"name": "once", "credit": "1"}, once="k-1")
    again = await operator.ask("POST", "accounts", {"credit": "1", "name": "once"}, once="k-1")
    assert (again.status_code, again.json()) == (200, made.json())
    assert "idempotent-replayed" not in made.headers
    assert again.headers["idempotent-replayed"] == "true"
    paid = {"kind": "top_up", "amount": "5"}
    for _ in range(3):
        assert (await operator.post("accounts/once/transfers", paid, once="k-2"))["balance_after"] == "6"
    assert shared.balance_nano("once") == 6_000_000_000


async def test_something_else_under_the_same_key_is_a_conflict(shared: Gateway) -> None:
    operator = Operator(shared)
    await operator.post("accounts", {"name": "other"}, once="k-3")
    for path, body in (
        ("accounts", {"name": "another"}),
        ("accounts", {"name": "other", "plan": "pro"}),
        ("accounts/other/keys", {"name": "other"}),
    ):
        error_of(await operator.ask("POST", path, body, once="k-3"), 409)
    error_of(await operator.ask("POST", "accounts", {"name": "third"}, once="bad key"), 400)
    error_of(await operator.ask("POST", "accounts", {"name": "third"}, once="k" * 256), 400)


async def test_what_failed_may_be_asked_again_under_its_key(shared: Gateway) -> None:
    operator = Operator(shared)
    await operator.post("accounts", {"name": "poor", "credit": "0"})
    taking = {"kind": "correction", "amount": "-1"}
    error_of(await operator.ask("POST", "accounts/poor/transfers", taking, once="k-4"), 409)
    await operator.post("accounts/poor/transfers", {"kind": "grant", "amount": "1"})
    assert (await operator.post("accounts/poor/transfers", taking, once="k-4"))["balance_after"] == "0"


async def test_a_transfers_own_id_makes_it_once(shared: Gateway) -> None:
    operator = Operator(shared)
    await operator.post("accounts", {"name": "billed", "credit": "0"})
    paid = {"id": "invoice-2026-17", "kind": "top_up", "amount": "5", "reason": "bank"}
    first = await operator.post("accounts/billed/transfers", paid)
    assert first["id"] == "invoice-2026-17"
    assert await operator.post("accounts/billed/transfers", paid) == first
    for change in ({"amount": "6"}, {"reason": "cash"}, {"kind": "grant"}):
        error_of(await operator.ask("POST", "accounts/billed/transfers", paid | change), 409)
    await operator.post("accounts", {"name": "billed-2", "credit": "0"})
    error_of(await operator.ask("POST", "accounts/billed-2/transfers", paid), 409)
    assert (shared.balance_nano("billed"), shared.balance_nano("billed-2")) == (5_000_000_000, 0)


async def test_an_id_makes_anything_once_in_its_own_place(shared: Gateway) -> None:
    operator = Operator(shared)
    for name in ("place-1", "place-2"):
        await operator.post("accounts", {"name": name})
        first = await operator.post(f"accounts/{name}/keys", {"id": "order-1"})
        assert (await operator.post(f"accounts/{name}/keys", {"id": "order-1"}))["id"] == first["id"]
        assert len(await operator.all(f"accounts/{name}/keys")) == 1


async def test_twenty_who_ask_the_same_together_move_money_once(shared: Gateway) -> None:
    operator = Operator(shared)
    await operator.post("accounts", {"name": "crowd", "credit": "0"})
    paid = {"kind": "top_up", "amount": "1"}
    answers = await asyncio.gather(
        *(operator.post("accounts/crowd/transfers", paid, once="crowd") for _ in range(20))
    )
    assert len({answer["id"] for answer in answers}) == 1
    assert shared.balance_nano("crowd") == 1_000_000_000


async def test_a_payments_id_cannot_be_taken(shared: Gateway) -> None:
    operator = Operator(shared)
    made = await operator.post("accounts", {"name": "payer"})
    with shared.office.database.transaction() as work:
        work.run(
            "INSERT INTO topups (id, account_id, processor, status, credit, tax, total, currency, tax_name,"
            " return_url, created, updated) VALUES ('pay-1', ?, 'dev', 'pending', 5, 0, 5, 'USD', '', '', 1, 1)",
            made["id"],
        )
    taken = {"id": "pay-1", "kind": "top_up", "amount": "5"}
    error_of(await operator.ask("POST", "accounts/payer/transfers", taken), 409)


async def test_every_change_and_nothing_else_is_in_the_audit_log(shared: Gateway) -> None:
    operator = Operator(shared, "grace")
    await operator.post("accounts", {"name": "audited", "credit": "0"}, once="a-1")
    await operator.post("accounts", {"name": "audited", "credit": "0"}, once="a-1")
    await operator.patch("accounts/audited", {"plan": "free"})
    await operator.post("accounts/audited/transfers", {"id": "a-2", "kind": "grant", "amount": "1"})
    error_of(await operator.ask("PATCH", "accounts/audited", {"plan": "none-such"}), 400)
    await operator.get("accounts/audited")
    mine = [row for row in await operator.all("audit", limit=50) if row["actor"] == f"grace ({operator.id})"]
    assert [(row["action"], row["changed"]) for row in mine] == [
        ("transfer.create", "transfer:a-2"),
        ("account.change", "account:audited"),
        ("account.create", "account:audited"),
    ]
    assert (mine[1]["before"]["plan"], mine[1]["after"]["plan"]) == ("standard", "free")
    assert {row["ip"] for row in mine} == {"127.0.0.1"}


async def test_old_answers_are_forgotten_and_the_money_still_moves_once(shared: Gateway) -> None:
    operator = Operator(shared)
    await operator.post("accounts", {"name": "aged", "credit": "0"})
    paid = {"id": "aged-1", "kind": "top_up", "amount": "5"}
    await operator.post("accounts/aged/transfers", paid)
    with shared.office.database.transaction() as work:
        work.run("UPDATE admin_idempotency SET created = 0")
    assert shared.worker.administration.forget_old() > 0
    await operator.post("accounts/aged/transfers", paid)
    assert shared.balance_nano("aged") == 5_000_000_000
