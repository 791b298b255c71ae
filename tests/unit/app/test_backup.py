"""Backups and restores without a server: one moment of the books, whole or not at all."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from farebox.accounts.accounts import create_account
from farebox.accounts.keys import mint_key
from farebox.app.backup import (
    KEPT_BEFORE,
    SECRET,
    Source,
    backup_before_migration,
    make_backup,
)
from farebox.app.office import Office, load_settings, open_office
from farebox.app.restore import read_manifest, restore_backup
from farebox.cli.backup import backup, restore
from farebox.cli.options import UsageError
from farebox.core.clock import ManualClock
from farebox.ledger.books import HoldOp, apply_batch
from farebox.ledger.moves import Move, move
from farebox.ledger.owners import register
from farebox.ledger.rules import TransferKind
from farebox.store.copying import copy_database
from farebox.store.database import StoreUnavailableError
from farebox.store.migrate import SchemaError, load_migrations, migrate
from farebox.store.sqlite import SqliteDatabase

CLOCK = ManualClock()


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """A data folder with an account of 100, a key, a hold of 40 and some files."""
    office = open_office(tmp_path / "data", load_settings(None, {}), {})
    now_us = CLOCK.now_us()
    with office.database.transaction() as work:
        account = create_account(work, "acme", plan="standard", currency="USD", now_us=now_us)
        mint_key(work, office.ids, account_id=account.id, name="", now_us=now_us)
        move(work, Move("m1", account.id, TransferKind.GRANT, 100, "USD", None, now_us))
    register(office.database, "owner", now_us)
    with office.database.transaction() as work:
        apply_batch(work, [HoldOp("c1", account.id, 1, "owner", "acme/model", 40, now_us)])
    (office.data / "files" / "deep").mkdir(parents=True)
    (office.data / "files" / "deep" / "image.png").write_bytes(b"picture")
    yield office
    office.close()


def source_of(office: Office, *, with_secret: bool = False) -> Source:
    assert office.database_path is not None
    return Source(office.data, office.database_path, with_secret)


def wallet(path: Path) -> tuple[object, ...]:
    database = SqliteDatabase(path)
    with database.read() as view:
        row = view.one("SELECT balance, held FROM wallets")
    database.close()
    assert row is not None
    return row


@pytest.mark.parametrize("name", ["backup.tar", "backup.tar.gz", "backup.tgz"])
def test_what_is_restored_is_what_was_there_less_what_nobody_holds_any_more(
    office: Office, tmp_path: Path, name: str
) -> None:
    manifest = make_backup(source_of(office, with_secret=True), tmp_path / name, CLOCK)
    assert read_manifest(tmp_path / name) == manifest
    assert (manifest.counts["accounts"], manifest.counts["keys"], manifest.counts["holds"]) == (1, 1, 1)
    assert (tmp_path / name).read_bytes().startswith(b"\x1f\x8b") == (name != "backup.tar")
    new = tmp_path / "new"
    restored = restore_backup(tmp_path / name, new, new / "farebox.db", CLOCK)
    assert (restored.voided, restored.report.balanced, restored.report.holds) == (1, True, 0)
    assert wallet(new / "farebox.db") == (100, 0)
    assert (new / "files" / "deep" / "image.png").read_bytes() == b"picture"
    assert (new / SECRET).read_bytes() == (office.data / SECRET).read_bytes()
    assert new.stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["data", "new", name])


def test_a_copy_is_one_moment_of_a_database_that_never_rests(office: Office, tmp_path: Path) -> None:
    """Two tables that are written together are the same in every copy, and no copy waits for the writer to rest."""
    path, stop = source_of(office).database, threading.Event()
    with office.database.transaction() as work:
        work.run("CREATE TABLE one (n INTEGER, filler TEXT)")
        work.run("CREATE TABLE two (n INTEGER, filler TEXT)")

    def write() -> None:
        database, n = SqliteDatabase(path), 0
        while not stop.is_set():
            n += 1
            with database.transaction() as work:
                for table in ("one", "two"):
                    work.run(f"INSERT INTO {table} VALUES (?, ?)", n, "x" * 5_000)
        database.close()

    writer = threading.Thread(target=write)
    writer.start()
    counts = []
    try:
        for number in range(4):
            copy_database(path, tmp_path / f"copy-{number}")
            database = SqliteDatabase(tmp_path / f"copy-{number}")
            with database.read() as view:
                counts.append(
                    view.one(
                        "SELECT (SELECT COUNT(*) FROM one), (SELECT COUNT(*) FROM two), (SELECT MAX(n) FROM one)"
                    )
                )
            database.close()
    finally:
        stop.set()
        writer.join()
    assert all(row is not None and row[0] == row[1] for row in counts)
    assert len(set(counts)) > 1, "nothing was written meanwhile"


def test_a_backup_is_there_whole_or_not_at_all(office: Office, tmp_path: Path) -> None:
    target = tmp_path / "backups" / "b.tar"
    with pytest.raises(FileNotFoundError):
        make_backup(source_of(office), target, CLOCK)
    target.parent.mkdir()
    source = source_of(office)
    source.database.with_name("broken.db").write_bytes(b"no database" * 100)
    with pytest.raises(StoreUnavailableError):
        make_backup(
            Source(source.data, source.database.with_name("broken.db"), with_secret=False), target, CLOCK
        )
    assert list(target.parent.iterdir()) == []
    make_backup(source, target, CLOCK)
    before = target.read_bytes()
    with pytest.raises(ValueError, match="--force"):
        make_backup(source, target, CLOCK)
    assert target.read_bytes() == before
    make_backup(source, target, CLOCK, force=True)
    assert [path.name for path in target.parent.iterdir()] == ["b.tar"]


def test_a_secret_of_the_environment_cannot_be_put_into_a_backup(office: Office, tmp_path: Path) -> None:
    (office.data / SECRET).unlink()
    with pytest.raises(ValueError, match="environment"):
        make_backup(source_of(office, with_secret=True), tmp_path / "b.tar", CLOCK)


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    at = len(content) // 2
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def in_manifest(before: bytes, after: bytes) -> Callable[[bytes], bytes]:
    assert len(before) == len(after)
    return lambda content: content.replace(before, after)


@pytest.mark.parametrize(
    ("harm", "packed"),
    [
        (cut, False),
        (cut, True),
        (flipped, False),
        (flipped, True),
        (lambda _: b"", False),
        (lambda _: b"nothing" * 1000, False),
        (lambda _: gzip.compress(b"nothing" * 1000), False),
        (in_manifest(b'"files/deep/image.png"', b'"files/deep/other.png"'), False),
        (in_manifest(b"files/deep/image.png", b"files/../../imag.png"), False),
        (in_manifest(b"files/deep/image.png", b"/iles/deep/image.png"), False),
        (in_manifest(b"files/deep/image.png", b"other/deep/image.png"), False),
    ],
)
def test_a_backup_that_was_harmed_is_refused_and_nothing_is_left(
    office: Office, tmp_path: Path, harm: Callable[[bytes], bytes], packed: bool
) -> None:
    file, new = tmp_path / ("b.tar.gz" if packed else "b.tar"), tmp_path / "new"
    make_backup(source_of(office), file, CLOCK)
    file.write_bytes(harm(file.read_bytes()))
    with pytest.raises(ValueError, match=r"damaged|no backup|manifest"):
        restore_backup(file, new, new / "farebox.db", CLOCK)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["data", file.name])


def test_a_backup_of_a_newer_release_is_refused(office: Office, tmp_path: Path) -> None:
    file, new = tmp_path / "b.tar", tmp_path / "new"
    with office.database.transaction() as work:
        work.run("INSERT INTO migrations (n, checksum) VALUES (9999, 'x')")
    make_backup(source_of(office), file, CLOCK)
    with pytest.raises(SchemaError, match="newer"):
        restore_backup(file, new, new / "farebox.db", CLOCK)
    assert not new.exists()


def test_a_restore_takes_an_empty_folder_and_a_database_elsewhere_but_nothing_that_is_there(
    office: Office, tmp_path: Path
) -> None:
    file, new, elsewhere = tmp_path / "b.tar", tmp_path / "new", tmp_path / "db" / "books.db"
    make_backup(source_of(office), file, CLOCK)
    new.mkdir()
    restore_backup(file, new, elsewhere, CLOCK)
    assert wallet(elsewhere) == (100, 0)
    assert [path.name for path in new.iterdir()] == ["files"]
    with pytest.raises(ValueError, match="not empty"):
        restore_backup(file, new, tmp_path / "other.db", CLOCK)
    with pytest.raises(ValueError, match="already"):
        restore_backup(file, tmp_path / "newer", elsewhere, CLOCK)
    assert not (tmp_path / "newer").exists()


def test_a_database_is_copied_before_it_is_migrated_and_only_then(tmp_path: Path) -> None:
    path, steps = tmp_path / "farebox.db", load_migrations()
    assert backup_before_migration(path, tmp_path) is None
    for count in range(3, 3 + KEPT_BEFORE + 2):
        database = SqliteDatabase(path)
        migrate(database, steps[:count])
        database.close()
        made = backup_before_migration(path, tmp_path)
        assert made is not None
        assert made.stat().st_mode & 0o777 == 0o600
        copy = SqliteDatabase(made)
        with copy.read() as view:
            assert view.one("SELECT COUNT(*) FROM migrations") == (count,)
        copy.close()
    assert len(list((tmp_path / "backups").glob("*.db"))) == KEPT_BEFORE
    database = SqliteDatabase(path)
    migrate(database, steps)
    database.close()
    assert backup_before_migration(path, tmp_path) is None


def test_on_postgresql_its_own_tool_is_named_without_the_password(tmp_path: Path) -> None:
    config = tmp_path / "farebox.toml"
    config.write_text('[store]\ndatabase = "postgresql://shop:canary@db.example/books"\n')
    with pytest.raises(UsageError) as told:
        backup(tmp_path / "b.dump", data=tmp_path, config=config)
    assert (
        f"pg_dump --format=custom --file={tmp_path}/b.dump --dbname=postgresql://shop@db.example/books"
        in str(told.value)
    )
    assert "canary" not in str(told.value)
    with pytest.raises(UsageError, match="pg_restore"):
        restore(tmp_path / "b.dump", data=tmp_path, config=config)
