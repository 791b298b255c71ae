"""`farebox alerts`, as an operator types it: who is told, whether it arrives, and what was told."""

from __future__ import annotations

import asyncio
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.post_office import serve_mail, serve_receiver
from tests.support.process import cli, new_key

pytestmark = pytest.mark.process

CONFIG = """
[alerts]
email = "ops@shop.example"
webhook = "http://127.0.0.1:{hook}/ops?token=t0ken"
allow_private = true

[email]
host = "127.0.0.1"
port = {mail}
security = "none"
sender = "billing@shop.example"
"""


async def run(*arguments: str, folder: Path, config: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a verb beside the stand-ins, which live in this loop."""
    return await asyncio.to_thread(cli, "alerts", *arguments, data=folder / "data", config=config)


async def test_a_test_goes_every_way_there_is_and_says_what_came_of_it(tmp_path: Path) -> None:
    new_key(tmp_path / "data", "acme")
    async with serve_mail() as mail, serve_receiver() as hook:
        config = tmp_path / "farebox.toml"
        config.write_text(CONFIG.format(hook=hook.port, mail=mail.port))
        told = await run("test", folder=tmp_path, config=config)
        assert (told.returncode, told.stderr) == (0, "")
        assert told.stdout == "webhook: delivered: answered 204\nemail: delivered: the mail server took it\n"
        assert hook.posted[0].json["type"] == "test"
        assert mail.mails[0]["To"] == "ops@shop.example"
        hook.answers = [b"HTTP/1.1 500 Oh\r\n\r\n"]
        failed = await run("test", folder=tmp_path, config=config)
        assert failed.returncode == 1
        assert "webhook: NOT delivered: answered 500" in failed.stdout
        assert "t0ken" not in failed.stdout + failed.stderr

        nowhere = await run("test", "--account", "acme", folder=tmp_path, config=config)
        assert (nowhere.returncode, nowhere.stdout) == (1, "")
        assert "farebox alerts contact acme --email ADDRESS" in nowhere.stderr
        await run("contact", "acme", "--email", "ann@acme.example", folder=tmp_path, config=config)
        assert (await run("test", "--account", "acme", folder=tmp_path, config=config)).returncode == 0
        assert mail.mails[-1]["To"] == "ann@acme.example"


async def test_without_any_address_a_test_says_what_is_missing(tmp_path: Path) -> None:
    new_key(tmp_path / "data", "acme")
    told = await run("test", folder=tmp_path)
    assert (told.returncode, told.stdout) == (1, "")
    assert "[alerts] email or webhook" in told.stderr
    await run("contact", "acme", "--email", "ann@acme.example", folder=tmp_path)
    told = await run("test", "--account", "acme", folder=tmp_path)
    assert "[email] has no host" in told.stderr
    assert (await run("test", "--account", "nobody", folder=tmp_path)).returncode == 1


async def test_a_contact_is_shown_and_changed_member_by_member(tmp_path: Path) -> None:
    new_key(tmp_path / "data", "acme")
    assert (await run("contact", "acme", folder=tmp_path)).stdout.splitlines() == [
        "e-mail: none", "webhook: none", "warn below: no amount",
    ]  # fmt: skip
    hook = "https://acme.example/hook"
    first = await run("contact", "acme", "--webhook", hook, "--low-balance", "2.50", folder=tmp_path)
    (secret,) = re.findall(r"webhook secret: (whsec_\S+)", first.stdout)
    assert f"webhook: {hook}\n" in first.stdout
    assert "warn below: 2.5 " in first.stdout
    same = await run("contact", "acme", "--email", "ann@acme.example", folder=tmp_path)
    assert secret in same.stdout
    assert hook in same.stdout
    renewed = await run("contact", "acme", "--new-secret", folder=tmp_path)
    assert secret not in renewed.stdout
    ended = await run("contact", "acme", "--webhook", "", "--low-balance", "", folder=tmp_path)
    assert ended.stdout.splitlines() == ["e-mail: ann@acme.example", "webhook: none", "warn below: no amount"]
    refused = await run("contact", "acme", "--webhook", "http://acme.example/s3cret", folder=tmp_path)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "s3cret" not in refused.stderr


async def test_an_empty_list_is_a_list(tmp_path: Path) -> None:
    new_key(tmp_path / "data", "acme")
    for account in ([], ["--account", "acme"]):
        told = await run("list", *account, folder=tmp_path)
        assert (told.returncode, told.stdout.split()) == (0, ["at", "kind", "subject", "told"])
