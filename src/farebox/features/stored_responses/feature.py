"""What a caller of Responses leaves with us: each answer with the whole input it was made of, for a while.

`prepare` puts the conversation behind a `previous_response_id` in front of a body's own input, so that no provider is
ever told of the id; `follow` has the finished answer kept, after its charge is durable and before its end leaves, so
that the caller's next call finds it. Each response stands by itself: deleting one takes nothing from those after it.

What is small is read and written on the loop, as everything on the path of a call; what is large would keep the loop
from the other calls, and goes through a thread.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from farebox.core.clock import Clock
from farebox.core.errors import Fault, Kind
from farebox.dialects.splice import UNREADABLE
from farebox.features.stored_responses import rows
from farebox.features.stored_responses.items import (
    Entry,
    entries_of,
    find_reply,
    named_items,
    read_input,
    read_output,
    write_items,
)
from farebox.features.stored_responses.rows import Named, Row
from farebox.gateway.call import Call
from farebox.store.database import Database, StoreUnavailableError
from farebox.store.writer import GroupCommit

T = TypeVar("T")

log = logging.getLogger("farebox")

PREVIOUS = "previous_response_id"
ITEMS_MAX = 1_000  # Of one conversation: nobody reads on, and every call pays for all of them again.
KEPT_BYTES_MAX = 32 << 20  # Input and reply of one response.
KEEP_WAIT_S = 2.0  # How long a paid answer waits to be kept, as long as it waits for its charge.
INLINE_BYTES = 32 << 10  # Packing so much takes a quarter of a millisecond.
INLINE_PACKED_BYTES = 128 << 10  # So does writing so much that is packed.
OLD_AT_ONCE = 100  # Rows deleted in one transaction, which other writers wait for.
OLD_BATCHES = 20  # At one turn: what is left then waits for the next.
OLD_PAUSE_S = 0.02  # Between two batches, in which the others may write.
_DAY_US = 86_400_000_000
_ID_SHOWN = 100  # Characters of a stranger's id in a message.
_NULL, _FALSE = b"null", b"false"
_STORING = (b"", b"true", _NULL)


class _Asked(msgspec.Struct):
    """The members of a body that this feature is about."""

    previous_response_id: msgspec.Raw = msgspec.Raw()
    store: msgspec.Raw = msgspec.Raw()
    input: msgspec.Raw = msgspec.Raw()


class Prepared(msgspec.Struct, frozen=True):
    """A body as the gateway is to serve it, and what the caller asked of us with it."""

    body: bytes
    store: bool = False
    previous_id: str | None = None


_asked = msgspec.json.Decoder(_Asked)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ids = msgspec.json.Decoder(str)


class StoredResponses:
    """Keeps responses for `days`, 0 for never; input and reply of one have at most `bytes_max`.

    An answer leaves after `wait_s` whether it has been kept by then or not.
    """

    def __init__(
        self, database: Database, clock: Clock, *, days: int, bytes_max: int, wait_s: float = KEEP_WAIT_S
    ) -> None:
        self._database = database
        self._clock = clock
        self._days = days
        self._wait_s = wait_s
        self._bytes_max = min(bytes_max, KEPT_BYTES_MAX)
        self._commit: GroupCommit[Row, None] = GroupCommit(database, rows.insert_rows)
        self._keeping: set[asyncio.Task[None]] = set()

    async def prepare(self, account_id: int, body: bytes) -> Prepared:
        """The body with the conversation it goes on from; Fault BAD_REQUEST if there is no such response here.

        A body that cannot be read is left as it is: the reader of the call says what is wrong with it.
        """
        try:
            asked = _asked.decode(body)
        except UNREADABLE:
            return Prepared(body)
        previous_id = _previous_of(asked)
        if not self._days:
            return Prepared(_kept_nowhere(body, asked, previous_id))
        store = bytes(asked.store) in _STORING
        if previous_id is None:
            return Prepared(body, store)
        previous = await self._find(account_id, previous_id, lambda row: row)
        if previous is None:
            # OpenAI's status and code; whether another account has such a response is nobody's business.
            raise Fault(
                Kind.BAD_REQUEST,
                f"Previous response with id {previous_id[:_ID_SHOWN]!r} not found: {PREVIOUS} names a response of"
                " this account that was stored and is neither deleted nor expired.",
                param=PREVIOUS,
                code="previous_response_not_found",
            )
        size = previous.size + len(body)
        self._check_size(size)
        extended = await _where_it_fits(size, lambda: _extended(body, asked, previous))
        return Prepared(extended, store, previous_id)

    def follow(self, call: Call, prepared: Prepared) -> Call:
        """The call, whose reply names what it goes on from, and is kept if the caller lets us."""
        if prepared.previous_id is not None:
            named = b'"%b":%b' % (PREVIOUS.encode(), msgspec.json.encode(prepared.previous_id))
            echo = b",".join(filter(None, (call.head.echo, named)))
            call = replace(call, head=replace(call.head, echo=echo))
        return replace(call, keep=partial(self.keep, call, prepared.previous_id)) if prepared.store else call

    async def keep(self, call: Call, previous_id: str | None, end: bytes) -> None:
        """Keep the response in the end of an answer. It is paid for, so it leaves even if it could not be kept.

        Hence a task of its own: whatever it fails of is a line in the log, and one that is late goes on by itself.
        """
        task = asyncio.create_task(self._keep(call, previous_id, end))
        self._keeping.add(task)
        task.add_done_callback(partial(self._kept, call.id))
        done, _ = await asyncio.wait({task}, timeout=self._wait_s)
        if not done:
            log.warning("the response of call %s left before it was kept: the database is busy", call.id)

    def _kept(self, call_id: str, task: asyncio.Task[None]) -> None:
        self._keeping.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            known = isinstance(error, StoreUnavailableError)
            log.error("the response of call %s is not kept", call_id, exc_info=None if known else error)

    async def _keep(self, call: Call, previous_id: str | None, end: bytes) -> None:
        size = len(call.body) + len(end)
        row = await _where_it_fits(size, lambda: self._row(call, previous_id, end))
        if row is None:
            return
        if len(row.input) + len(row.reply) <= INLINE_PACKED_BYTES:
            await self._commit.submit(row)
        else:
            await asyncio.to_thread(self._write, row)

    async def find_reply(self, account_id: int, id_: str) -> bytes | None:
        """A response object as it was delivered."""
        return await self._find(account_id, id_, lambda row: rows.unpack(row.reply))

    async def find_input(self, account_id: int, id_: str) -> list[Entry] | None:
        """The items a response was made of, oldest first."""
        return await self._find(
            account_id, id_, lambda row: entries_of(read_input(rows.unpack(row.input)) or [])
        )

    async def delete(self, account_id: int, id_: str) -> bool:
        """Forget a response; False if there is none."""
        named = self._named(account_id, id_)

        def delete() -> bool:
            with self._database.transaction() as work:
                return rows.delete_row(work, named)

        return await asyncio.to_thread(delete)

    def forget_old(self) -> int:
        """Forget responses that are past their days, the oldest first; how many. Not for the loop's thread."""
        forgotten = 0
        for _ in range(OLD_BATCHES):
            with self._database.transaction() as work:
                deleted = rows.delete_old(work, self._until_us(), OLD_AT_ONCE)
            forgotten += deleted
            if deleted < OLD_AT_ONCE:
                break
            time.sleep(OLD_PAUSE_S)
        return forgotten

    async def drain(self) -> None:
        """Wait until nothing is on its way into the database."""
        await asyncio.gather(*self._keeping, return_exceptions=True)
        await self._commit.drain()

    def close(self) -> None:
        """Let go of what writes. Call `drain` first."""
        self._commit.close()

    async def _find(self, account_id: int, id_: str, take: Callable[[Row], T | None]) -> T | None:
        named = self._named(account_id, id_)

        def read() -> T | None:
            with self._database.read() as view:
                row = rows.find_row(view, named)
            return None if row is None else take(row)

        with self._database.read() as view:
            size = rows.find_size(view, named)
        return None if size is None else await _where_it_fits(size, read)

    def _named(self, account_id: int, id_: str) -> Named:
        return Named(id_, account_id, self._until_us())

    def _until_us(self) -> int:
        """Whatever was made until then is past its days."""
        return self._clock.now_us() - self._days * _DAY_US

    def _check_size(self, size: int) -> None:
        if size > self._bytes_max:
            raise _too_long(f"would be more than {self._bytes_max:,} bytes")

    def _row(self, call: Call, previous_id: str | None, end: bytes) -> Row | None:
        reply = find_reply(end, stream=call.head.stream)
        items = read_input(bytes(_asked.decode(call.body).input))
        if reply is None or items is None:
            log.warning("the response of call %s is not kept: its answer holds no response", call.id)
            return None
        whole = write_items(named_items(items, call.id))
        size = len(whole) + len(reply)
        if size > self._bytes_max:
            log.warning("the response of call %s is not kept: it has %d bytes", call.id, size)
            return None
        return Row(
            id=call.dialect.reply_id(call.id),
            account_id=call.grant.account.id,
            previous_id=previous_id,
            created=self._clock.now_us(),
            model=call.head.model,
            size=size,
            input=rows.pack(whole),
            reply=rows.pack(reply),
        )

    def _write(self, row: Row) -> None:
        with self._database.transaction() as work:
            rows.insert_rows(work, [row])


async def _where_it_fits(size: int, work: Callable[[], T]) -> T:
    """Do work on so many bytes here, or in a thread where it would take the loop's time."""
    return work() if size <= INLINE_BYTES else await asyncio.to_thread(work)


def _previous_of(asked: _Asked) -> str | None:
    raw = bytes(asked.previous_response_id)
    if raw in (b"", _NULL):
        return None
    if not raw.startswith(b'"'):
        raise Fault(
            Kind.BAD_REQUEST, f"{PREVIOUS} is not right: it is the id of a response, a text.", param=PREVIOUS
        )
    try:
        return _ids.decode(raw)
    except UNREADABLE as error:
        raise Fault(Kind.BAD_REQUEST, f"{PREVIOUS} is not right: it is no text.", param=PREVIOUS) from error


def _kept_nowhere(body: bytes, asked: _Asked, previous_id: str | None) -> bytes:
    """The body on a server that keeps nothing: its reply says so."""
    if previous_id is not None:
        raise Fault(
            Kind.BAD_REQUEST,
            f"{PREVIOUS} is not available: this server stores no responses. Send the whole conversation in input.",
            param=PREVIOUS,
        )
    if bytes(asked.store) not in _STORING:
        return body
    return msgspec.json.encode(_members.decode(body) | {"store": msgspec.Raw(_FALSE)})


def _extended(body: bytes, asked: _Asked, previous: Row) -> bytes:
    """The body, its input preceded by what the previous response was made of and what it said."""
    items = read_input(bytes(asked.input))
    members = _members.decode(body)
    del members[PREVIOUS]
    if items is not None:
        before = read_input(rows.unpack(previous.input)) or []
        items = [*before, *read_output(rows.unpack(previous.reply)), *items]
        if len(items) > ITEMS_MAX:
            raise _too_long(f"has {len(items):,} items, and {ITEMS_MAX:,} are the most")
        members["input"] = msgspec.Raw(write_items(items))
    return msgspec.json.encode(members)


def _too_long(reason: str) -> Fault:
    return Fault(
        Kind.BAD_REQUEST,
        f"The conversation behind {PREVIOUS} is too long: with this call's input it {reason}. Begin a new one.",
        param=PREVIOUS,
        code="conversation_too_long",
    )
