"""Administration: one request of an operator, from the entrance through one transaction to the answer.

A write is asked once: with an `idempotency-key`, or an `id` in its body, the answer is kept in the transaction of the
change, and whoever asks the same again gets it again. A secret is in the first answer alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl

import msgspec

from farebox.accounts.audit import Deed, write_deed
from farebox.api.admin.action import Action, Ask, Prepared, Reading, Words, Writing
from farebox.api.admin.entrance import Entrance
from farebox.api.http import GATED_BYTES
from farebox.api.inference import check_body
from farebox.api.visit import JSON, Visit
from farebox.core.clock import Clock, Ids
from farebox.core.errors import Fault, Kind
from farebox.store.database import Database, Transaction

BASE = "/admin/v1/"
METHODS = ("GET", "POST", "PATCH", "DELETE")
AT_ONCE = 4  # Of one worker: threads are few, and its duties want some.
KEPT_US = 30 * 86_400 * 1_000_000
_KEY_HEADER = b"idempotency-key"
_KEY_FORM = re.compile(rb"[!-~]{1,255}")
_NO_STORE = b"cache-control: no-store\r\n"
_REPLAYED = b"idempotent-replayed: true\r\n"
_TOLD_BEFORE = "The key was told by the first answer, and is not kept."


class Administration:
    """Answers `/admin/v1/*`."""

    def __init__(self, database: Database, clock: Clock, ids: Ids, actions: Iterable[Action]) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._actions = [(action, action.path.split("/")) for action in actions]
        self._entrance = Entrance(database, clock)
        self._room = asyncio.Semaphore(AT_ONCE)

    async def handle(self, visit: Visit) -> None:
        """Any method and path below the base."""
        visit.headers += _NO_STORE
        action, names = self._find(visit)
        async with self._room:
            administrator = await asyncio.to_thread(self._entrance.admit, _secret(visit), visit.exchange.peer)
            ask = Ask(administrator, visit.exchange.peer, names, self._clock.now_us(), self._ids)
            if isinstance(action, Reading):
                visit.answer(await asyncio.to_thread(self._read, action, ask, _query(visit)))
                return
            key, body = _key(visit), _body(visit)
            status, words, replayed = await asyncio.to_thread(self._write, action, ask, body, key)
        headers = visit.headers + (_REPLAYED if replayed else b"") + JSON
        visit.exchange.answer(status, headers, words)

    def forget_old(self) -> int:
        """Forget what was asked long ago; how many."""
        with self._database.transaction() as work:
            return work.run("DELETE FROM admin_idempotency WHERE created < ?", self._clock.now_us() - KEPT_US)

    def _find(self, visit: Visit) -> tuple[Action, Mapping[str, str]]:
        method = "GET" if visit.request.method == "HEAD" else visit.request.method
        parts = visit.rest.split("/")
        here = [
            (action, names) for action, path in self._actions if (names := _names(path, parts)) is not None
        ]
        for action, names in here:
            if action.method == method:
                return action, names
        if not here:
            raise Fault(Kind.NOT_FOUND, f"There is nothing at {visit.request.path[:200]!r}.")
        allowed = ", ".join(sorted({action.method for action, _ in here}))
        visit.headers += b"allow: %b\r\n" % allowed.encode()
        raise Fault(Kind.WRONG_METHOD, f"{method} is not possible here; use {allowed}.")

    def _read(self, action: Reading, ask: Ask, query: Mapping[str, str]) -> Words:
        with self._database.read() as view:
            return action.run(ask, query, view)

    def _write(self, action: Writing, ask: Ask, body: bytes, key: str | None) -> tuple[int, bytes, bool]:
        """Status and body of the answer, and whether it was given before."""
        prepared = action.prepare(ask, body)
        path = "/".join((action.path, *ask.names.values()))
        name = _name(path, prepared, key)
        said = hashlib.sha256(f"{action.method} {path}\n".encode() + prepared.said).digest()
        if action.ahead is not None:
            with self._database.read() as view:
                known = _find_kept(view, name, said)
            if known is not None:
                return known
            action.ahead()
        with self._database.transaction() as work:
            known = _find_kept(work, name, said)
            if known is not None:
                return known
            done = prepared.run(work)
            told, kept = done.words, done.words
            if done.secret is not None:
                told = kept | {"key": done.secret}
                kept = kept | {"key": None, "message": _TOLD_BEFORE}
            write_deed(
                work,
                Deed(
                    ask.administrator.actor,
                    action.name,
                    done.changed,
                    ask.now_us,
                    before=done.before,
                    after=done.words if done.after is None else done.after,
                    ip=ask.ip,
                ),
            )
            if name is not None:
                work.run(
                    "INSERT INTO admin_idempotency (key, hash, status, body, created) VALUES (?, ?, 200, ?, ?)",
                    *(name, said, msgspec.json.encode(kept).decode(), ask.now_us),
                )
        return 200, msgspec.json.encode(told), False


def _names(path: list[str], parts: list[str]) -> dict[str, str] | None:
    """What the parts of a path are called, if they are this action's."""
    if path[-1].endswith("...}") and len(parts) >= len(path):
        parts = [*parts[: len(path) - 1], "/".join(parts[len(path) - 1 :])]
    if len(path) != len(parts) or not all(parts):
        return None
    names = {}
    for known, part in zip(path, parts, strict=True):
        if known.startswith("{"):
            names[known.strip("{.}")] = part
        elif known != part:
            return None
    return names


def _find_kept(view: Transaction, name: str | None, said: bytes) -> tuple[int, bytes, bool] | None:
    """What was answered under a name; Fault CONFLICT if something else was asked."""
    row = None
    if name is not None:
        row = view.one("SELECT hash, status, body FROM admin_idempotency WHERE key = ?", name)
    if row is None:
        return None
    if row[0] != said:
        raise Fault(
            Kind.CONFLICT, "Something else was asked under this idempotency-key or id before. Use a new one."
        )
    return int(row[1] or 0), str(row[2]).encode(), True


def _name(path: str, prepared: Prepared, key: str | None) -> str | None:
    """Under what a write is known again. An id counts for its path alone, a key for everything."""
    if key is not None:
        return f"key {key}"
    return None if prepared.given_id is None else f"id {path} {prepared.given_id}"


def _secret(visit: Visit) -> str | None:
    """The key an operator shows; never in the address, which others write down."""
    headers = visit.request.headers
    scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
    shown = token.strip() if scheme.lower() == b"bearer" else headers.get(b"x-api-key", b"")
    return shown.decode("latin-1") or None


def _key(visit: Visit) -> str | None:
    key = visit.request.headers.get(_KEY_HEADER)
    if key is None:
        return None
    if _KEY_FORM.fullmatch(key) is None:
        raise Fault(
            Kind.BAD_REQUEST,
            "The header idempotency-key must be 1 to 255 visible ASCII characters, such as a UUID.",
            param="idempotency-key",
        )
    return key.decode()


def _body(visit: Visit) -> bytes:
    """The body; without one, nothing is said. What is larger, or of unknown size, has not been read."""
    request = visit.request
    length = request.headers.get(b"content-length", b"0")
    if request.too_large or int(length) > GATED_BYTES or b"transfer-encoding" in request.headers:
        raise Fault(
            Kind.TOO_LARGE, f"A body may have {GATED_BYTES >> 10} KiB, and must say its content-length."
        )
    if request.body:
        check_body(request)
    return request.body


def _query(visit: Visit) -> dict[str, str]:
    pairs = parse_qsl(visit.request.query.decode("latin-1"), keep_blank_values=True)
    query = dict(pairs)
    if len(query) < len(pairs):
        raise Fault(Kind.BAD_REQUEST, "A parameter stands twice in the query.")
    return query
