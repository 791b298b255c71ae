"""The documents' own examples run, with only host and key changed; and the official Node client does what ours does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.books import requests
from tests.support.examples import EXAMPLES, Example
from tests.support.process import new_key, up

pytestmark = pytest.mark.process

NODE = Path(__file__).parents[1] / "node"
# The host name that has OpenServ's API at its root; every other name of this machine has the standard one.
OPENSERV = "localhost"


class Shop(NamedTuple):
    """A running server, and a key of an account that may use every profile."""

    data: Path
    port: str
    key: str
    slow_key: str  # Good for one call a minute.

    def host(self, profile: str) -> str:
        return f"http://{OPENSERV if profile == 'openserv' else '127.0.0.1'}:{self.port}"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("examples")
    config, data = folder / "farebox.toml", folder / "data"
    config.write_text(
        f'[server]\nhosts = {{ {OPENSERV} = "openserv" }}\n[[plans]]\nname = "slow"\nchat_rpm = 1\nimage_rpm = 1\n'
    )
    with up(data, config=config) as farebox:
        key = new_key(data, "reader", "--plan", "enterprise", "--credit", "10", config=config)
        slow_key = new_key(data, "walker", "--plan", "slow", "--credit", "10", config=config)
        yield Shop(data, farebox.url.rpartition(":")[2], key, slow_key)


@pytest.fixture(scope="module")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the official Node client in it, installed from the lock."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip(
            "there is no node (with npm) on this machine, so the Node client and examples were not run"
        )
    folder = tmp_path_factory.mktemp("node")
    for name in ("package.json", "package-lock.json", "client.mjs"):
        shutil.copy(NODE / name, folder)
    quiet = ("--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
    run("npm", "ci", *quiet, folder=folder)
    return folder


def run(*command: str, folder: Path) -> str:
    """What a command prints that does its work."""
    environment = {**os.environ, "NO_PROXY": "*", "no_proxy": "*"}
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=90, env=environment, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def examples(*languages: str) -> list[Example]:
    return [example for example in EXAMPLES if example.language in languages]


@pytest.mark.parametrize("example", examples("curl"), ids=lambda example: example.id)
def test_a_curl_example_is_answered_in_the_documented_form(
    shop: Shop, example: Example, tmp_path: Path
) -> None:
    if shutil.which("curl") is None:
        pytest.fail("there is no curl on this machine, so the documents' curl examples cannot be run")
    said = run("bash", "-c", example.on(shop.host(example.profile), shop.key), folder=tmp_path)
    answer = json.loads(said)
    assert answer["object"] == "chat.completion"
    assert answer["id"].startswith("chatcmpl-")
    asked = json.loads(example.text.partition("-d '")[2].rpartition("'")[0])["model"]
    assert answer["model"] == (asked.rpartition("/")[2] if example.profile == "standard" else asked)
    assert answer["choices"][0]["message"]["role"] == "assistant"
    assert answer["choices"][0]["message"]["content"]
    assert answer["choices"][0]["finish_reason"] == "stop"
    usage = answer["usage"]
    assert usage["prompt_tokens"] + usage["completion_tokens"] == usage["total_tokens"] > 0
    row = requests(shop.data)[answer["id"].removeprefix("chatcmpl-")]
    assert (row["state"], row["status"]) == ("posted", 200)


@pytest.mark.parametrize("example", examples("python"), ids=lambda example: example.id)
def test_a_python_example_prints_the_answer(shop: Shop, example: Example, tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    script.write_text(example.on(shop.host(example.profile), shop.key))
    assert run(sys.executable, str(script), folder=tmp_path).strip()


@pytest.mark.parametrize("example", examples("node"), ids=lambda example: example.id)
def test_a_node_example_prints_the_answer(shop: Shop, example: Example, node_modules: Path) -> None:
    script = node_modules / f"{example.profile}.mjs"
    script.write_text(example.on(shop.host(example.profile), shop.key))
    assert run("node", script.name, folder=node_modules).strip() not in ("", "undefined", "null")


def test_the_openserv_example_needs_its_system_message_only_on_its_own_host(
    shop: Shop, tmp_path: Path
) -> None:
    (example,) = (example for example in EXAMPLES if example.profile == "openserv")
    text = example.text.replace('      {"role": "system", "content": "You are a concise assistant."},\n', "")
    bare = example._replace(text=text)
    said = json.loads(run("bash", "-c", bare.on(shop.host("openserv"), shop.key), folder=tmp_path))
    assert said["error"]["code"] == "missing_system_message"
    said = json.loads(run("bash", "-c", bare.on(shop.host("standard"), shop.key), folder=tmp_path))
    assert said["object"] == "chat.completion"


@pytest.mark.parametrize("base", ["/v1", "/api/v1", "/api/openai/v1", "/openserv/v1"])
def test_the_node_client_chats_streams_calls_tools_and_sees_typed_errors(
    shop: Shop, node_modules: Path, base: str
) -> None:
    address = shop.host("standard") + base
    said = json.loads(run("node", "client.mjs", address, shop.key, shop.slow_key, folder=node_modules))
    assert said["plain"] == said["streamed"] != ""
    assert (
        said["usage"]["total_tokens"] == said["usage"]["prompt_tokens"] + said["usage"]["completion_tokens"]
    )
    assert said["tool"]["name"] == "get_weather"
    assert set(json.loads(said["tool"]["arguments"])) >= {"city"}
    assert said["told"]
    assert set(said["parsed"]) == {"capital", "population"}
    assert said["errors"] == {
        "key": "AuthenticationError 401",
        "model": "NotFoundError 404",
        "body": "BadRequestError 400",
        "rate": "RateLimitError 429",
        "provider": "InternalServerError 503",  # Its limit is ours to manage, not the caller's.
        "stream": "APIError",
    }
    assert said["models"] > 1000
