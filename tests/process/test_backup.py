"""A backup taken under load, put back into an empty folder: the same books, balanced, with nothing held."""

from __future__ import annotations

import asyncio
import json
import tarfile
from pathlib import Path

import pytest

from tests.support.answers import chat, slow, stream
from tests.support.books import ACCOUNT, assert_balanced, balance_nano, requests
from tests.support.clients import Receipt, call
from tests.support.faulty import serve_faulty
from tests.support.process import cli, new_key, up
from tests.support.shop import CALL_NANO, nano, open_shop

pytestmark = pytest.mark.process

CALLERS = 8


async def keep_calling(url: str, key: str, receipts: list[Receipt], stop: asyncio.Event) -> None:
    while not stop.is_set():
        receipts.append(await call(url, key, stream=bool(len(receipts) % 2)))


async def test_a_backup_taken_under_load_restores_with_balanced_books(tmp_path: Path) -> None:
    data, new, file = tmp_path / "data", tmp_path / "restored" / "data", tmp_path / "backup.tar"
    async with serve_faulty() as upstream:
        upstream.choose(lambda request: slow(stream(), 0.005) if b'"stream"' in request.body else chat())
        config = open_shop(tmp_path, upstream.base_url)
        with up(data, "--workers", "2", config=config) as farebox:
            key = new_key(data, ACCOUNT, "--plan", "enterprise", "--credit", "10", config=config)
            receipts: list[Receipt] = []
            stop = asyncio.Event()
            callers = [
                asyncio.create_task(keep_calling(farebox.url, key, receipts, stop)) for _ in range(CALLERS)
            ]
            await asyncio.sleep(0.5)
            before = len(receipts)
            done = await asyncio.to_thread(cli, "backup", file, "--with-secret", data=data, config=config)
            assert done.returncode == 0, done.stderr
            during = len(receipts) - before
            stop.set()
            await asyncio.gather(*callers)
        assert during > 0, "no call was answered while the backup was taken"
        assert {receipt.status for receipt in receipts} == {200}
        put_back = cli("restore", file, data=new, config=config)
        assert put_back.returncode == 0, put_back.stdout + put_back.stderr
        assert "The books are balanced" in put_back.stdout
        assert_balanced(new, config, holds=0)
        rows = requests(new, config)
        charged = sum(nano(row["charge"]) for row in rows.values())
        assert charged >= before * CALL_NANO - CALLERS * CALL_NANO
        assert balance_nano(new, config) == 10 * 10**9 - charged
        # The restored one sells on, to the same key.
        with up(new, config=config) as farebox:
            assert (await call(farebox.url, key)).status == 200
        assert balance_nano(new, config) == 10 * 10**9 - charged - CALL_NANO


def made(tmp_path: Path, *arguments: str) -> tuple[Path, Path]:
    """A data folder with an account, and its backup."""
    data, file = tmp_path / "data", tmp_path / "backup.tar"
    new_key(data, ACCOUNT, "--credit", "5")
    done = cli("backup", file, *arguments, data=data)
    assert done.returncode == 0, done.stderr
    return data, file


def test_the_secret_stays_out_of_a_backup_unless_it_is_asked_for(tmp_path: Path) -> None:
    data, file = made(tmp_path)
    secret = (data / "secret.key").read_bytes()
    assert secret.strip() not in file.read_bytes()
    assert file.stat().st_mode & 0o777 == 0o600
    refused = cli("backup", file, "--with-secret", data=data)
    assert (refused.returncode, "--force" in refused.stderr) == (1, True)
    assert cli("backup", file, "--with-secret", "--force", data=data).returncode == 0
    assert secret.strip() in file.read_bytes()
    new = tmp_path / "new"
    assert cli("restore", file, data=new).returncode == 0
    assert (new / "secret.key").read_bytes() == secret
    assert (new / "secret.key").stat().st_mode & 0o777 == 0o600
    assert (new / "farebox.db").stat().st_mode & 0o777 == 0o600


def test_a_restore_never_writes_over_what_is_there(tmp_path: Path) -> None:
    data, file = made(tmp_path)
    before = balance_nano(data)
    refused = cli("restore", file, data=data)
    assert (refused.returncode, "not empty" in refused.stderr) == (1, True)
    assert balance_nano(data) == before


@pytest.mark.parametrize("harm", ["cut", "changed", "foreign", "newer"])
def test_a_backup_that_is_not_whole_is_refused(tmp_path: Path, harm: str) -> None:
    _, file = made(tmp_path)
    content = file.read_bytes()
    match harm:
        case "cut":
            file.write_bytes(content[: len(content) // 2])
        case "changed":
            at = content.index(b"CREATE TABLE")
            file.write_bytes(content[:at] + b"CREATE TABLF" + content[at + 12 :])
        case "foreign":
            with tarfile.open(file, "w") as tar:
                tar.add(__file__, "../escaped.py")
        case "newer":
            file.write_bytes(content.replace(b'"schema":', b'"schema":9', 1))
    refused = cli("restore", file, data=tmp_path / "new")
    assert refused.returncode in {1, 2}
    assert len(refused.stderr.splitlines()) == 1, refused.stderr
    assert not (tmp_path / "escaped.py").exists()
    assert not (tmp_path / "new" / "farebox.db").exists()


def test_a_manifest_says_what_is_in_a_backup(tmp_path: Path) -> None:
    _, file = made(tmp_path)
    with tarfile.open(file) as tar:
        first = tar.next()
        assert first is not None
        content = tar.extractfile(first)
        assert content is not None
        manifest = json.loads(content.read())
        assert tar.getnames() == ["manifest.json", "farebox.db"]
    assert (manifest["format"], manifest["currency"]) == (1, "USD")
    assert set(manifest["files"]) == {"farebox.db"}
