"""Anthropic Messages, as a caller's dialect and as a provider's."""

from __future__ import annotations

import time

from farebox.core.errors import Fault
from farebox.dialects.anthropic.failure import write_error
from farebox.dialects.anthropic.fit import fit_prompt
from farebox.dialects.anthropic.head import read_head
from farebox.dialects.anthropic.prompt import read_prompt, write_prompt
from farebox.dialects.anthropic.reader import MessageReader
from farebox.dialects.anthropic.relay import MessageTap
from farebox.dialects.anthropic.relayed import write_relayed
from farebox.dialects.anthropic.rules import RULES
from farebox.dialects.anthropic.writer import MessageWriter
from farebox.dialects.conversation import Prompt
from farebox.dialects.dialect import ASKED, Asked, Head, Names, Reader, Tap, Writer


class Anthropic:
    """The dialect's table entry; each method is a door to the module that does it."""

    name = "anthropic"
    keep_alive = b'event: ping\ndata: {"type": "ping"}\n\n'
    auth_header = "x-api-key"
    headers: tuple[tuple[str, str], ...] = (("anthropic-version", "2023-06-01"),)
    takes_marks = True
    needs_limit = True
    rules = RULES

    def path(self, model: str, *, stream: bool) -> str:
        """Where a provider answers, below the root of its host, whatever the model."""
        del model, stream
        return "/v1/messages"

    def done(self, head: Head) -> bytes:
        """What clients wait for."""
        del head
        return b'event: message_stop\ndata: {"type":"message_stop"}\n\n'

    def reply_id(self, call_id: str) -> str:
        """The id a reply carries, derived from the call's."""
        return f"msg_{call_id}"

    def answer_headers(self, call_id: str, limit: int, remaining: int, reset_s: int) -> bytes:
        """The call's id and its window in Anthropic's names; times are RFC 3339."""
        reset = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(reset_s))
        return (
            f"request-id: {call_id}\r\n"
            f"anthropic-ratelimit-requests-limit: {limit}\r\n"
            f"anthropic-ratelimit-requests-remaining: {remaining}\r\n"
            f"anthropic-ratelimit-requests-reset: {reset}\r\n"
        ).encode()

    def error_body(self, fault: Fault, call_id: str, *, status_codes: bool) -> bytes:
        """The whole body of an answer that failed."""
        del status_codes  # That is for OpenAI's errors.
        return write_error(fault, call_id)

    def read_head(self, body: bytes, asked: Asked = ASKED) -> Head:
        """Check a caller's body before any money moves."""
        return read_head(body, asked)

    def write_relayed(self, body: bytes, model: str, head: Head, *, ask_usage: bool = True) -> bytes:
        """The caller's body for a provider of this dialect."""
        return write_relayed(body, model, head, ask_usage=ask_usage)

    def tap(self, head: Head, names: Names) -> Tap:
        """A tap for one relayed reply."""
        del head
        return MessageTap(names)

    def read_prompt(self, body: bytes) -> Prompt:
        """A caller's body → the conversation."""
        return read_prompt(body)

    def fit_prompt(self, prompt: Prompt) -> Prompt:
        """The conversation as Messages can say it."""
        return fit_prompt(prompt)

    def write_prompt(self, prompt: Prompt, model: str, *, ask_usage: bool = True) -> bytes:
        """The conversation → a provider's body."""
        return write_prompt(prompt, model, ask_usage=ask_usage)

    def reader(self, *, stream: bool) -> Reader:
        """A reader of one provider's reply."""
        return MessageReader(stream=stream)

    def writer(self, head: Head, names: Names) -> Writer:
        """A writer of one reply to a caller."""
        return MessageWriter(head, names)
