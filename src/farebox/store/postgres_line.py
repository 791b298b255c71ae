"""A line to PostgreSQL: one connection, one statement at a time, and never a wait without an end.

It speaks through libpq itself (`psycopg.pq`) in its non-blocking form: what a call does to the books is some ten small
statements, and a cursor for each cost twice the CPU (16 inserts: 42 µs here, 165 µs by a cursor's `executemany`).
Waiting is ours, in `poll`, so a server that is stopped, or a network that swallows packets, costs a line its patience
and no more; the line is closed then, and whoever owns it opens another.

A statement that comes a second time is prepared, once a line. Values are sent as text with their types, 64 bits for
every integer; bytes as they are.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import psycopg
from psycopg import errors, pq
from psycopg.conninfo import conninfo_to_dict

from farebox.store.database import Record, StoreBusyError, StoreUnavailableError, Value
from farebox.store.postgres_sql import to_postgres

CONNECT_S = 3
LOCK_WAIT_MS = 5_000  # As long as a patient writer waits for SQLite's lock.
OLDEST = 14_00_00  # The first with `idle_session_timeout`, which must be off for a session that is a proof of life.
STATEMENTS_MAX = 256  # Prepared on one line; what comes beyond is sent as it is.
TEXTS_MAX = 1024  # Remembered in their translation; ours are far fewer.
_CONNECT = {
    "connect_timeout": CONNECT_S,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 5_000,
    "application_name": "farebox",
    "client_encoding": "UTF8",
}
_BUSY = ("40001", "40P01", "55P03")  # Serialisation, deadlock, a lock waited for too long.
# What says that the store is gone, or cannot be written now; anything else is the statement's own fault.
_GONE = ("08", "25006", "25P03", "26000", "53", "57", "58", "F0", "XX")
_LAST_WORDS = (b"FATAL", b"PANIC")  # Severities behind which the server hangs up.

_BYTEA, _BOOL, _INT8, _INT2, _INT4, _TEXT, _NUMERIC = 17, 16, 20, 21, 23, 25, 1700

Types = tuple[type, ...]


def _read_numeric(text: bytes) -> Value:
    return text.decode() if b"." in text else int(text)


_READ: dict[int, Callable[[bytes], Value]] = {
    _INT8: int,
    _INT4: int,
    _INT2: int,
    _NUMERIC: _read_numeric,  # A sum of integers.
    _BOOL: lambda text: int(text == b"t"),
    _BYTEA: lambda text: bytes.fromhex(text[2:].decode()),
}

_NUL, _NO_NUL = b"\0", "\ufffd".encode()


def _write_text(value: Any) -> bytes:
    """PostgreSQL's text holds no NUL, and libpq would end the value at one."""
    text: bytes = value.encode()
    return text.replace(_NUL, _NO_NUL) if _NUL in text else text


class _Kind(NamedTuple):
    """How the values of one Python type are sent."""

    oid: int
    write: Callable[[Any], bytes]


class _Kinds(dict[type, _Kind]):
    """Kinds by type; a type of ours that is derived from one is sent as that."""

    def __missing__(self, type_: type) -> _Kind:
        for known in (bool, int, str, bytes):
            if issubclass(type_, known):
                self[type_] = self[known]
                return self[type_]
        raise TypeError(f"the books keep no {type_.__name__}")


_KINDS = _Kinds(
    {
        int: _Kind(_INT8, lambda value: b"%d" % value),
        bool: _Kind(_INT8, lambda value: b"1" if value else b"0"),
        str: _Kind(_TEXT, _write_text),
        bytes: _Kind(_BYTEA, bytes),
        type(None): _Kind(0, lambda _: b""),  # Sent as NULL, whatever the column's type is.
    }
)


class _Statement(msgspec.Struct):
    """One text of ours: in PostgreSQL's words, and under which names it is prepared for which types."""

    text: bytes
    names: dict[Types, bytes | None] = msgspec.field(default_factory=dict)  # None: seen once.


class Answer(NamedTuple):
    """What one statement gave."""

    rows: list[Record]
    changed: int


class LineLostError(StoreUnavailableError):
    """The connection is gone; what was under way on it may have happened or not."""


class Line:
    """One connection. Not for two threads at once."""

    def __init__(self, url: str, *, wait_s: float) -> None:
        """Connect. `wait_s` is the longest a statement may take."""
        self._wait_ms = round(wait_s * 1000)
        self._statements: dict[str, _Statement] = {}
        self._prepared = 0
        self._connection = _connected(url)
        self._pg = self._connection.pgconn
        self._poll = select.poll()
        self._poll.register(self._pg.socket, select.POLLIN)
        self._pg.nonblocking = 1
        # The server gives up before we do, so that its reason arrives; a line that was cut is found dead by either.
        self.say(
            f"SET statement_timeout = {self._wait_ms}; SET lock_timeout = {LOCK_WAIT_MS};"
            " SET idle_in_transaction_session_timeout = 0; SET idle_session_timeout = 0;"
            " SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3;"
            # What is answered as kept must outlive the server's end; whatever is stricter stays as it is.
            " SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
        )
        self._wait_ms += 500

    @property
    def whole(self) -> bool:
        """Whether the connection still serves, as far as is known."""
        return self._pg.status == pq.ConnStatus.OK

    @property
    def idle(self) -> bool:
        """Whether no transaction is open on it."""
        return self._pg.transaction_status == pq.TransactionStatus.IDLE

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def say(self, text: str) -> bytes:
        """Statements of our own without values, in one go; the last one's word of what it did."""
        self._send(lambda: self._pg.send_query(text.encode()))
        word, failure = b"", None
        while (result := self._result()) is not None:
            if result.status == pq.ExecStatus.FATAL_ERROR:
                failure = result
            word = result.command_status or b""
        if failure is not None:
            raise self._error(failure)
        return word

    def ask(self, sql: str, values: Sequence[Value]) -> Answer:
        """One statement."""
        statement = self._statement(sql)
        types = tuple(map(type, values))
        name = statement.names.get(types)
        if name is None and types in statement.names:
            name = self._prepare(statement, types)
        statement.names.setdefault(types, None)
        given, formats = _written(values, types)
        if name is None:
            self._send(lambda: self._pg.send_query_params(statement.text, given, _oids(types), formats))
        else:
            prepared = name
            self._send(lambda: self._pg.send_query_prepared(prepared, given, formats))
        result, rest = self._result(), self._result()
        assert result is not None
        assert rest is None
        if result.status == pq.ExecStatus.FATAL_ERROR:
            raise self._error(result)
        return Answer(_rows(result), result.command_tuples or 0)

    def ask_many(self, sql: str, rows: Sequence[Sequence[Value]]) -> int:
        """One statement for each row, all sent before the first answer is read; the rows changed in all.

        What such statements answer is a few bytes each, so the server never waits for us to read.
        """
        if not rows:
            return 0
        statement = self._statement(sql)
        kinds = [tuple(map(type, row)) for row in rows]
        new = [types for types in dict.fromkeys(kinds) if statement.names.get(types) is None]
        for types in new:
            self._prepare(statement, types)
        given = [(types, *_written(row, types)) for types, row in zip(kinds, rows, strict=True)]
        self._send(lambda: self._send_all(statement, given))
        changed, failure = 0, None
        for _ in rows:
            result, rest = self._result(), self._result()
            assert result is not None
            assert rest is None
            if result.status == pq.ExecStatus.FATAL_ERROR:
                failure = result
            changed += result.command_tuples or 0
        self._result()  # The end of the pipeline.
        self._pg.exit_pipeline_mode()
        if failure is not None:
            raise self._error(failure)
        return changed

    def _send_all(
        self, statement: _Statement, given: list[tuple[Types, list[bytes | None], list[int] | None]]
    ) -> None:
        self._pg.enter_pipeline_mode()
        for types, values, formats in given:
            name = statement.names[types]
            if name is None:
                self._pg.send_query_params(statement.text, values, _oids(types), formats)
            else:
                self._pg.send_query_prepared(name, values, formats)
        self._pg.pipeline_sync()

    def _statement(self, sql: str) -> _Statement:
        statement = self._statements.get(sql)
        if statement is None:
            if len(self._statements) >= TEXTS_MAX:
                self._statements.clear()
            statement = self._statements[sql] = _Statement(to_postgres(sql).encode())
        return statement

    def _prepare(self, statement: _Statement, types: Types) -> bytes | None:
        """Prepare a statement for values of these types; its name, or None if there are too many already."""
        if self._prepared >= STATEMENTS_MAX:
            statement.names[types] = None
            return None
        self._prepared += 1
        name = b"s%d" % self._prepared
        self._send(lambda: self._pg.send_prepare(name, statement.text, _oids(types)))
        result, rest = self._result(), self._result()
        assert result is not None
        assert rest is None
        if result.status == pq.ExecStatus.FATAL_ERROR:
            raise self._error(result)
        statement.names[types] = name
        return name

    def _send(self, send: Callable[[], object]) -> None:
        try:
            send()
            while self._pg.flush():
                self._wait(select.POLLIN | select.POLLOUT)
                self._pg.consume_input()
        except psycopg.OperationalError as error:
            raise self._lost(str(error)) from error

    def _result(self) -> pq.abc.PGresult | None:
        """The next result, None behind a statement's last."""
        try:
            while self._pg.is_busy():
                self._wait(select.POLLIN)
                self._pg.consume_input()
            return self._pg.get_result()
        except psycopg.OperationalError as error:
            raise self._lost(str(error)) from error

    def _wait(self, what: int) -> None:
        self._poll.modify(self._pg.socket, what)
        if not self._poll.poll(self._wait_ms):
            raise self._lost(f"the database did not answer for {self._wait_ms / 1000:.1f} s")

    def _lost(self, why: str) -> LineLostError:
        self.close()
        return LineLostError(_one_line(why))

    def _error(self, result: pq.abc.PGresult) -> Exception:
        """The port's word for an error of the server's; what is the statement's own fault keeps psycopg's class."""
        code = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
        message = (result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"").decode(errors="replace")
        severity = result.error_field(pq.DiagnosticField.SEVERITY_NONLOCALIZED)
        if severity in _LAST_WORDS or not self.whole:
            return self._lost(message)
        if code in _BUSY:
            return StoreBusyError(message)
        if code.startswith(_GONE):
            return StoreUnavailableError(message)
        return _class_of(code)(message)


def _class_of(code: str) -> type[psycopg.Error]:
    try:
        return errors.lookup(code)
    except KeyError:
        return psycopg.DatabaseError


def _connected(url: str) -> psycopg.Connection[tuple[object, ...]]:
    """Connect; what is raised never holds a password."""
    try:
        given = conninfo_to_dict(url)
    except psycopg.Error:  # Its words quote parts of the address.
        raise StoreUnavailableError(
            "the address of the database cannot be read: write postgresql://USER:PASSWORD@HOST:PORT/NAME,"
            " signs such as @ and / in a password as %40 and %2F"
        ) from None
    try:
        ours = {name: value for name, value in _CONNECT.items() if name not in given}
        connection = psycopg.connect(url, autocommit=True, **ours)  # type: ignore[arg-type]  # libpq's
    except psycopg.Error as error:
        reason = _one_line(str(error))
        secret = str(given.get("password") or "")
        if secret:
            reason = reason.replace(secret, "***")
        raise StoreUnavailableError(f"the database cannot be reached: {reason}") from None
    if connection.info.server_version < OLDEST:
        connection.close()
        raise StoreUnavailableError(f"the database is a PostgreSQL older than {OLDEST // 10_000}")
    return connection


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _written(values: Sequence[Value], types: Types) -> tuple[list[bytes | None], list[int] | None]:
    """Values as they are sent, and their formats where not all are text."""
    given = [
        None if value is None else _KINDS[kind].write(value)
        for kind, value in zip(types, values, strict=True)
    ]
    return given, [int(kind is bytes) for kind in types] if bytes in types else None


def _oids(types: Types) -> list[int]:
    return [_KINDS[kind].oid for kind in types]


def _rows(result: pq.abc.PGresult) -> list[Record]:
    columns = range(result.nfields)
    readers = [_READ.get(result.ftype(column), bytes.decode) for column in columns]
    get = result.get_value
    return [
        tuple(
            None if (text := get(row, column)) is None else reader(text)
            for column, reader in zip(columns, readers, strict=True)
        )
        for row in range(result.ntuples)
    ]
