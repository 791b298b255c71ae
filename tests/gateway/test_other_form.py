"""A provider that answers in another form than it was asked for: a stream in one piece, a plain call with events."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from farebox.dialects import DIALECTS
from tests.dialects.forms import TOLD, Told
from tests.dialects.recordings import FIXTURES
from tests.support.answers import Answer
from tests.support.faulty import serve_faulty
from tests.support.gateway import running

_CONFIG = """
[[providers]]
name = "odd"
dialect = "{dialect}"
base_url = "{url}"

[[models]]
id = "acme/odd"
context_window = 100000
max_output = 1000
cost = {{ currency = "USD", input = "1", output = "2" }}
routes = [ {{ provider = "odd", model = "m" }} ]
"""


def as_told(dialect: str, *, stream: bool) -> tuple[Told, Answer]:
    """What a fixture says, and a provider that says it."""
    case = FIXTURES / dialect / "text"
    body = (case / ("stream.sse" if stream else "reply.json")).read_bytes()
    kind = "text/event-stream" if stream else "application/json"
    told = TOLD[dialect](None if stream else body, body if stream else None)
    return told, Answer(headers=(("content-type", kind),), body=(body,))


@pytest.mark.parametrize("caller", ["openai_chat", "anthropic"])
@pytest.mark.parametrize("asked", [True, False], ids=["a stream in one piece", "events for a plain call"])
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_it_is_read_as_what_it_is_and_written_as_what_was_asked(
    tmp_path: Path, dialect: str, asked: bool, caller: str
) -> None:
    said, answer = as_told(dialect, stream=not asked)
    async with serve_faulty() as upstream:
        upstream.script(answer)
        async with running(tmp_path, _CONFIG.format(dialect=dialect, url=upstream.base_url)) as gateway:
            messages: list[dict[str, Any]] = [{"role": "user", "content": "hi"}]
            body = {"model": "acme/odd", "messages": messages, "max_tokens": 500, "stream": asked}
            body |= {"stream_options": {"include_usage": True}} if caller == "openai_chat" and asked else {}
            path = "/v1/chat/completions" if caller == "openai_chat" else "/v1/messages"
            headers = {"authorization": f"Bearer {gateway.key()}"}
            reply = await gateway.client.post(path, json=body, headers=headers)
            assert reply.status_code == 200, reply.text
            told = TOLD[caller](None if asked else reply.content, reply.content if asked else None)
            assert (told.text, told.whole) == (said.text, True)
            assert told.total == said.total
            assert gateway.balance_nano() < 10_000_000_000
            assert gateway.holds() == 0
