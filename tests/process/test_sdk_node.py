"""The official Node clients, each on a model whose provider speaks another dialect: plain, streamed, tools, forms."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.sdk.shops import ROOT, Shop, check, open_claude, open_sandbox, run

pytestmark = pytest.mark.process

FOLDER = ROOT / "tests" / "node"
CHAT = ("tool_calls", "stop")
RESPONSES = ("completed", "completed")
MESSAGES = ("tool_use", "end_turn")
GOOGLE = ("STOP", "STOP")
VERCEL = ("tool-calls", "stop")  # One vocabulary for all its providers.
OPENAI_ERRORS = {
    "key": "AuthenticationError 401",
    "model": "NotFoundError 404",
    "body": "BadRequestError 400",
}
GOOGLE_ERRORS = {"key": "ApiError 401", "model": "ApiError 404", "body": "ApiError 400"}
VERCEL_ERRORS = {"key": "AI_APICallError 401", "model": "AI_APICallError 404"}


class Client(NamedTuple):
    """A client, whom it is tried on, and its words for the two ends of a loop."""

    file: str
    shop: str
    finishes: tuple[str, str]
    errors: dict[str, str]
    form: str = ""

    @property
    def name(self) -> str:
        return "-".join(word for word in (self.file, self.form, "on", self.shop) if word)


CLIENTS = (
    Client("openai_chat", "claude", CHAT, OPENAI_ERRORS),
    Client("openai_responses", "sandbox", RESPONSES, OPENAI_ERRORS),
    Client("anthropic_messages", "sandbox", MESSAGES, OPENAI_ERRORS),
    Client("google_genai", "sandbox", GOOGLE, GOOGLE_ERRORS),
    Client("ai_sdk", "claude", VERCEL, VERCEL_ERRORS, "compatible"),
    Client("ai_sdk", "claude", VERCEL, VERCEL_ERRORS, "chat"),
    Client("ai_sdk", "sandbox", VERCEL, VERCEL_ERRORS, "responses"),
    Client("ai_sdk", "sandbox", VERCEL, VERCEL_ERRORS, "anthropic"),
    Client("ai_sdk", "sandbox", VERCEL, VERCEL_ERRORS, "google"),
)


@pytest.fixture(scope="module")
def node() -> str:
    """The interpreter, beside the installed clients."""
    found = shutil.which("node")
    if found is None:
        pytest.skip("there is no node on this machine, so the Node clients were not run")
    assert (FOLDER / "node_modules").is_dir(), "the Node clients are not there: `make test` installs them"
    return found


@pytest.fixture(scope="module")
def sandbox(node: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with open_sandbox(tmp_path_factory.mktemp("sandbox")) as shop:
        yield shop


@pytest.fixture(scope="module")
def claude(node: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with open_claude(tmp_path_factory.mktemp("claude")) as shop:
        yield shop


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_a_node_client_ends_its_loop_on_a_model_of_a_foreign_dialect(
    request: pytest.FixtureRequest, node: str, client: Client, tmp_path: Path
) -> None:
    shop = request.getfixturevalue(client.shop)
    saw = run((node, str(FOLDER / f"{client.file}.mjs")), shop, client.form, tmp_path)
    check(saw, shop, client.finishes)
    assert saw["errors"] == client.errors
