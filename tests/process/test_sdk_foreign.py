"""The official Python clients, each on a model whose provider speaks another dialect: plain, streamed, tools, forms."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.sdk.shops import Shop, check, open_claude, open_sandbox, python, run

pytestmark = pytest.mark.process

CHAT = ("tool_calls", "stop")
RESPONSES = ("completed", "completed")
MESSAGES = ("tool_use", "end_turn")
GOOGLE = ("STOP", "STOP")
UNTOLD = (None, None)
PYDANTIC = ("tool_call", "stop")
PYDANTIC_STOPPED = ("stop", "stop")  # Where the dialect does not say that an answer ended in a call.
OPENAI_ERRORS = {
    "key": "AuthenticationError 401",
    "model": "NotFoundError 404",
    "body": "BadRequestError 400",
}
GOOGLE_ERRORS = {"key": "ClientError 401", "model": "ClientError 404", "body": "ClientError 400"}


class Client(NamedTuple):
    """A client, whom it is tried on, and its words for the two ends of a loop."""

    module: str
    shop: str
    finishes: tuple[str | None, str | None]
    form: str = ""
    errors: dict[str, str] | None = None
    alone_with: str | None = None

    @property
    def name(self) -> str:
        words = (self.module, self.form, self.alone_with, "on", self.shop)
        return "-".join(word for word in words if word)


CLIENTS = (
    Client("openai_chat", "claude", CHAT, errors=OPENAI_ERRORS),
    Client("openai_responses", "sandbox", RESPONSES, errors=OPENAI_ERRORS),
    Client("openai_responses", "claude", RESPONSES, errors=OPENAI_ERRORS),
    Client(
        "openai_responses_stored", "sandbox", RESPONSES, errors={**OPENAI_ERRORS, "gone": "NotFoundError 404"}
    ),
    Client("anthropic_messages", "sandbox", MESSAGES, errors=OPENAI_ERRORS),
    Client("google_genai", "sandbox", GOOGLE, errors=GOOGLE_ERRORS),
    Client("google_genai", "sandbox", GOOGLE, errors=GOOGLE_ERRORS, alone_with="genai-1"),
    Client("google_genai", "sandbox", GOOGLE, errors=GOOGLE_ERRORS, alone_with="genai-3"),
    Client("google_genai", "claude", GOOGLE, errors=GOOGLE_ERRORS),
    Client("pydantic_agent", "claude", PYDANTIC, "chat"),
    Client("pydantic_agent", "sandbox", PYDANTIC_STOPPED, "responses"),
    Client("pydantic_agent", "sandbox", PYDANTIC, "anthropic"),
    Client("pydantic_agent", "sandbox", PYDANTIC_STOPPED, "google"),
    Client("langchain_chat", "claude", CHAT, "chat"),
    Client("langchain_chat", "sandbox", RESPONSES, "responses"),
    Client("openai_agents", "claude", UNTOLD, "chat"),
    Client("openai_agents", "sandbox", UNTOLD, "responses"),
)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with open_sandbox(tmp_path_factory.mktemp("sandbox")) as shop:
        yield shop


@pytest.fixture(scope="module")
def claude(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with open_claude(tmp_path_factory.mktemp("claude")) as shop:
        yield shop


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_a_python_client_ends_its_loop_on_a_model_of_a_foreign_dialect(
    request: pytest.FixtureRequest, client: Client, tmp_path: Path
) -> None:
    shop = request.getfixturevalue(client.shop)
    saw = run(python(client.module, alone_with=client.alone_with), shop, client.form, tmp_path)
    check(saw, shop, client.finishes)
    assert saw["errors"] == client.errors
