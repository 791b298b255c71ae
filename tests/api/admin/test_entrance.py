"""Who gets in: administrators alone, and whoever guesses is stopped. What is at which path, and how it is said."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from farebox.accounts.administrators import mint_administrator
from farebox.api.admin.entrance import ADDRESSES_MAX, WITHIN_S, WRONG_MOST, Entrance
from farebox.core.clock import ManualClock
from farebox.core.errors import Fault, Kind
from farebox.store.migrate import load_migrations, migrate
from farebox.store.sqlite import SqliteDatabase
from tests.api.admin.operator import Operator
from tests.api.caller import Caller, error_of
from tests.support.gateway import Gateway, running

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_nothing_but_an_administrators_key_gets_in_and_each_is_told_the_same(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        operator, customer = Operator(gateway), Caller(gateway)
        told: set[tuple[str, ...]] = set()
        shown = [customer.key, "sk-admin-" + "0" * 64, operator.key[:-1], operator.key.upper(), "\xe9"]
        asked = [("", {b"authorization": f"Bearer {wrong}".encode("latin-1")}) for wrong in shown]
        for query, headers in (*asked, ("", {}), (f"?key={operator.key}", {})):
            answer = await gateway.client.get(f"/admin/v1/accounts{query}", headers=headers)
            error = error_of(answer, 401)
            told.add((error["message"], error["type"], str(error["code"])))
            assert answer.headers["www-authenticate"] == "Bearer"
        assert len(told) == 1
        assert (await operator.ask("GET", "accounts")).status_code == 200


async def test_an_administrators_key_opens_nothing_of_a_customers(shared: Gateway) -> None:
    operator = Operator(shared)
    for path in ("/v1/models", "/v1/credits", "/v1/key", "/v1/wallet", "/v1/requests"):
        answer = await shared.client.get(path, headers={"authorization": f"Bearer {operator.key}"})
        error_of(answer, 401)


async def test_too_many_wrong_keys_close_the_door_to_their_address(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        operator = Operator(gateway)
        for _ in range(WRONG_MOST):
            error_of(await operator.ask("GET", "accounts", key="sk-admin-wrong"), 401)
        for key in ("sk-admin-wrong", operator.key):
            answer = await operator.ask("GET", "accounts", key=key)
            error_of(answer, 429)
            assert 0 < int(answer.headers["retry-after"]) <= WITHIN_S
            assert answer.headers["x-should-retry"] == "false"


async def test_a_revoked_administrator_is_out_at_once_and_the_last_one_cannot_be(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        operator = Operator(gateway)
        refused = await operator.ask("POST", f"administrators/{operator.id}/revoke")
        assert error_of(refused, 409)["metadata"]["error_type"] == "last_administrator"
        made = await operator.post("administrators", {"name": "bob"})
        assert made["key"].startswith("sk-admin-")
        assert (await operator.ask("GET", "accounts", key=made["key"])).status_code == 200
        assert (await operator.post(f"administrators/{made['id']}/revoke"))["status"] == "revoked"
        error_of(await operator.ask("GET", "accounts", key=made["key"]), 401)
        assert [row["status"] for row in (await operator.get("administrators"))["data"]] == [
            "active",
            "revoked",
        ]
        again = await operator.ask("POST", f"administrators/{operator.id}/revoke")
        error_of(again, 409)
        error_of(await operator.ask("POST", "administrators/77/revoke"), 404)


async def test_a_path_that_is_not_there_and_a_method_that_is_not_possible(shared: Gateway) -> None:
    operator = Operator(shared)
    for path in (
        "",
        "nothing",
        "accounts/",
        "accounts//keys",
        "accounts/a/keys/b/c",
        "models/",
    ):
        error_of(await operator.ask("GET", path), 404)
    for method, path, allow in (
        ("DELETE", "accounts", "GET, POST"),
        ("POST", "books", "GET"),
        ("GET", "books/check", "POST"),
    ):
        answer = await operator.ask(method, path)
        error_of(answer, 405)
        assert answer.headers["allow"] == allow
    head = await shared.client.head("/admin/v1/accounts", headers={"authorization": f"Bearer {operator.key}"})
    assert (head.status_code, head.content) == (200, b"")


async def test_a_body_is_json_small_and_says_its_length(shared: Gateway) -> None:
    operator = Operator(shared)
    headers = {"authorization": f"Bearer {operator.key}", "content-type": "application/json"}
    large = await shared.client.post("/admin/v1/accounts", content=b" " * 70_000, headers=headers)
    error_of(large, 413)

    async def pieces() -> AsyncIterator[bytes]:
        yield b'{"name": "chunked"}'

    chunked = await shared.client.post("/admin/v1/accounts", content=pieces(), headers=headers)
    error_of(chunked, 413)
    form = await shared.client.post(
        "/admin/v1/accounts", content=b"name=x", headers=headers | {"content-type": "text/plain"}
    )
    error_of(form, 415)
    packed = await shared.client.post(
        "/admin/v1/accounts", content=b"{}", headers=headers | {"content-encoding": "gzip"}
    )
    error_of(packed, 415)


async def test_answers_are_kept_by_nobody_and_shared_with_no_page(shared: Gateway) -> None:
    operator = Operator(shared)
    answer = await operator.ask("GET", "accounts")
    assert answer.headers["cache-control"] == "no-store"
    assert not [name for name in answer.headers if name.startswith("access-control-")]


class _Door:
    """An entrance with one administrator, and a clock."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.database = SqliteDatabase(folder / "farebox.db")
        migrate(self.database, load_migrations())
        with self.database.transaction() as work:
            _, self.key = mint_administrator(work, "ada", self.clock.now_us())
        self.entrance = Entrance(self.database, self.clock)

    def knock(self, peer: str, key: str | None = "sk-admin-wrong") -> Kind | None:
        try:
            self.entrance.admit(key, peer)
        except Fault as fault:
            return fault.kind
        return None


@pytest.fixture
def door(tmp_path: Path) -> _Door:
    return _Door(tmp_path)


async def test_the_door_opens_again_in_time_and_others_never_found_it_shut(door: _Door) -> None:
    assert [door.knock("192.0.2.1") for _ in range(WRONG_MOST + 1)] == [Kind.BAD_KEY] * WRONG_MOST + [
        Kind.TOO_FAST
    ]
    assert door.knock("192.0.2.1", door.key) is Kind.TOO_FAST
    assert door.knock("192.0.2.2", door.key) is None
    door.clock.forward(WITHIN_S + 1)
    assert door.knock("192.0.2.1", door.key) is None


async def test_showing_no_key_is_no_guess_and_right_ones_do_not_count(door: _Door) -> None:
    assert {door.knock("192.0.2.1", None) for _ in range(50)} == {Kind.BAD_KEY}
    assert {door.knock("192.0.2.1", door.key) for _ in range(50)} == {None}


async def test_a_subscribers_many_addresses_of_ipv6_are_one(door: _Door) -> None:
    for number in range(WRONG_MOST):
        door.knock(f"2001:db8:0:1::{number:x}")
    assert door.knock("2001:db8:0:1:ffff::1") is Kind.TOO_FAST
    assert door.knock("2001:db8:0:2::1") is Kind.BAD_KEY
    for _ in range(WRONG_MOST):
        door.knock("::ffff:192.0.2.9")
    assert door.knock("192.0.2.9") is Kind.TOO_FAST


async def test_no_number_of_addresses_fills_the_memory(door: _Door) -> None:
    for number in range(ADDRESSES_MAX + 50):
        door.entrance._note(f"address-{number}")
    assert len(door.entrance._wrong_s) == ADDRESSES_MAX
