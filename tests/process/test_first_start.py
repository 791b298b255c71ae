"""The first start as a newcomer sees it: what is printed, what is made, what is refused."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import signal
import stat
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.answers import chat
from tests.support.clients import call, get
from tests.support.faulty import serve_faulty
from tests.support.process import COMMAND, clean_environment, cli, new_key, statement, up

pytestmark = pytest.mark.process

READY_S_MAX = 3.0  # One second is the promise; the machine of a test run is shared.
SAID_S_MAX = 15.0


@contextmanager
def on_a_terminal(folder: Path, *arguments: str) -> Iterator[str]:
    """`farebox up` on a terminal, in an empty folder; what it printed once it was ready."""
    ours, theirs = pty.openpty()
    command = [*COMMAND, "up", "--port", "0", *arguments]
    process = subprocess.Popen(
        command, stdout=theirs, stderr=theirs, stdin=theirs, cwd=folder, env=clean_environment()
    )
    os.close(theirs)
    try:
        yield read_until(ours, "curl ")
    finally:
        process.terminate()
        assert process.wait(10) == 0
        os.close(ours)


def read_until(terminal: int, mark: str) -> str:
    """What a terminal shows, up to the end of the line with a mark."""
    said, end = "", time.monotonic() + SAID_S_MAX
    while not re.search(rf"{mark}.*\n", said):
        readable, _, _ = select.select([terminal], [], [], max(0.0, end - time.monotonic()))
        assert readable, f"it did not say {mark!r}:\n{said}"
        said += os.read(terminal, 65_536).decode()
    return said


def test_a_start_is_ready_soon_and_makes_private_files(tmp_path: Path) -> None:
    data = tmp_path / "data"
    began_s = time.monotonic()
    with up(data) as farebox:
        took_s = time.monotonic() - began_s
        print(f"ready in {took_s:.2f} s")
        assert took_s < READY_S_MAX
        assert "sandbox" in farebox.log.read_text()
    for name in ("secret.key", "farebox.db"):
        assert stat.S_IMODE((data / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert re.fullmatch(r"[0-9a-f]{64}\n", (data / "secret.key").read_text())


def test_without_a_terminal_no_key_is_printed_or_made(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with up(data) as farebox:
        said = farebox.log.read_text()
    assert "sk-" not in said
    assert "setup?token=" in said
    assert cli("keys", "list", data=data).stdout.splitlines()[1:] == []


def test_on_a_terminal_a_key_is_printed_with_a_line_that_works_as_pasted(tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.fail("there is no curl on this machine, so the line that the start prints cannot be pasted")
    with on_a_terminal(tmp_path) as said:
        (line,) = re.findall(r"^\s*(curl .*?)\r?$", said, re.MULTILINE)
        pasted = subprocess.run(
            ["bash", "-c", f"{line} --silent --show-error"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
        answer = json.loads(pasted.stdout)
        assert answer["object"] == "chat.completion", answer
        assert answer["choices"][0]["message"]["content"]
        (key,) = set(re.findall(r"sk-[0-9a-f]{64}", said))
        assert key in line
        data = tmp_path / "farebox-data"
        grant, charge = statement(data, "first")
        assert (grant["kind"], grant["amount"]) == ("grant", "10")
        assert (charge["kind"], charge["request_id"]) == ("charge", charge["id"])
    with on_a_terminal_again(tmp_path) as said:
        assert "sk-" not in said


@contextmanager
def on_a_terminal_again(folder: Path) -> Iterator[str]:
    """The second start prints no key; a link it does, as long as there is no administrator."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "up", "--port", "0"], stdout=theirs, stderr=theirs, cwd=folder, env=clean_environment()
    )
    os.close(theirs)
    try:
        yield read_until(ours, "setup")
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        os.close(ours)


def test_the_link_makes_one_administrator_and_is_spent(tmp_path: Path) -> None:
    with up(tmp_path / "data") as farebox:
        (link,) = re.findall(r"http://\S+/setup\?token=\S+", farebox.log.read_text())
        token = urllib.parse.parse_qs(urllib.parse.urlsplit(link).query)["token"][0]
        for _ in range(2):  # A preview of the link does no harm.
            assert_form(link)
        page = post(f"{farebox.url}/setup", token=token, name="Ada")
        assert re.search(r"sk-admin-[0-9a-f]{64}", page)
        assert status_of(link) == 410
        assert status_of(f"{farebox.url}/setup", token=token, name="Eve") == 410
        assert status_of(f"{farebox.url}/setup?token=guess") == 410


def test_a_new_link_replaces_the_one_before(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with up(data) as farebox:
        (old,) = re.findall(r"http://\S+/setup\?token=\S+", farebox.log.read_text())
        made = cli("admin", "link", "--quiet", data=data)
        assert made.returncode == 0, made.stderr
        query = urllib.parse.urlsplit(made.stdout.strip()).query
        assert status_of(old) == 410
        assert_form(f"{farebox.url}/setup?{query}")


def test_a_public_address_is_refused_until_there_is_an_administrator(tmp_path: Path) -> None:
    """The servers that may listen everywhere are ended as soon as they have spoken."""
    data, public = tmp_path / "data", ("--host", "0.0.0.0")
    refused = subprocess.run(
        [*COMMAND, "up", "--data", str(data), "--port", "0", *public],
        capture_output=True,
        text=True,
        timeout=20,
        env=clean_environment(),
        check=False,
    )
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.count("\n") == 1
    assert "FAREBOX_ADMIN_LINK=1" in refused.stderr
    with up(data, *public, environment={"FAREBOX_ADMIN_LINK": "1"}) as farebox:
        said = farebox.log.read_text()
        assert farebox.stop() == 0
    assert "setup?token=" in said
    assert "sandbox" not in said  # It answers nobody on a public address.
    with up(data) as farebox:
        token = re.findall(r"setup\?token=(\S+)", farebox.log.read_text())[-1]
        post(f"{farebox.url}/setup", token=token, name="Ada")
    before = len(farebox.log.read_text())
    with up(data, *public) as farebox:
        assert farebox.stop() == 0
    assert "setup?token=" not in farebox.log.read_text()[before:]


async def test_a_key_in_the_environment_ends_the_sandbox(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with up(
        data, environment={"OPENAI_API_KEY": "sk-not-a-real-one", "HTTPS_PROXY": "http://127.0.0.1:9"}
    ) as farebox:
        said = farebox.log.read_text()
        assert "Providers: openai" in said
        assert "sk-not-a-real-one" not in said
        key = new_key(data, "acme")
        models = (await get(farebox.url, "/v1/models", key)).json["data"]
        assert {model["id"].partition("/")[0] for model in models} == {"openai"}
        # The proxy is not there, so nothing leaves this machine; what matters is who was asked.
        answer = await call(farebox.url, key, model="openai/gpt-4o-mini")
        assert answer.status in (502, 503)
        assert answer.head is not None
        assert "x-sandbox" not in answer.head.headers
        assert b"sk-not-a-real-one" not in answer.body
    assert len(statement(data, "acme")) == 1  # The starter credit; a failed call is free.


async def test_a_configuration_file_ends_discovery(tmp_path: Path) -> None:
    async with serve_faulty() as upstream:
        upstream.script(chat())
        config = tmp_path / "farebox.toml"
        config.write_text(
            f'[[providers]]\nname = "openai"\nbase_url = "{upstream.base_url}"\napi_key = "$MY_KEY"\n'
        )
        data = tmp_path / "data"
        environment = {"MY_KEY": "sk-mine", "GROQ_API_KEY": "sk-other"}
        with up(data, config=config, environment=environment) as farebox:
            assert "Providers: openai\n" in farebox.log.read_text()
            made = cli("keys", "create", "--account", "acme", "--credit", "1", "--quiet", data=data)
            answer = await call(farebox.url, made.stdout.strip(), model="openai/gpt-4o-mini")
            assert answer.status == 200, answer.body
            assert upstream.requests[0].headers["authorization"] == "Bearer sk-mine"


def assert_form(link: str) -> None:
    with urllib.request.urlopen(link, timeout=5) as answer:
        page = answer.read().decode()
    assert (answer.status, "<form" in page, "sk-admin" in page) == (200, True, False)


def post(url: str, **fields: str) -> str:
    with urllib.request.urlopen(url, urllib.parse.urlencode(fields).encode(), timeout=5) as answer:
        text: str = answer.read().decode()
    return text


def status_of(url: str, **fields: str) -> int:
    try:
        if fields:
            post(url, **fields)
        else:
            urllib.request.urlopen(url, timeout=5).close()
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    return 200
