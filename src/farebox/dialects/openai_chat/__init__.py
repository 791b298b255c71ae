"""OpenAI Chat Completions, as a caller's dialect and as a provider's."""

from __future__ import annotations

from farebox.core.errors import Fault
from farebox.dialects.conversation import Prompt
from farebox.dialects.dialect import ASKED, Asked, Head, Names, Reader, Tap, Writer
from farebox.dialects.openai_chat.fit import fit_prompt
from farebox.dialects.openai_chat.head import RULES, read_head, write_relayed
from farebox.dialects.openai_chat.prompt import read_prompt, write_prompt
from farebox.dialects.openai_chat.relay import ChatTap
from farebox.dialects.openai_chat.reply import ChatReader, ChatWriter
from farebox.dialects.openai_fault import error_object


class OpenAIChat:
    """The dialect's table entry; each method is a door to the module that does it."""

    name = "openai_chat"
    keep_alive = b": keep-alive\n\n"
    auth_header = "authorization"
    headers: tuple[tuple[str, str], ...] = ()
    takes_marks = False
    needs_limit = False
    rules = RULES

    def path(self, model: str, *, stream: bool) -> str:
        """Where a provider answers, whatever the model."""
        del model, stream
        return "/chat/completions"

    def done(self, head: Head) -> bytes:
        """What hand-written clients wait for."""
        del head
        return b"data: [DONE]\n\n"

    def reply_id(self, call_id: str) -> str:
        """The id a reply carries, derived from the call's."""
        return f"chatcmpl-{call_id}"

    def answer_headers(self, call_id: str, limit: int, remaining: int, reset_s: int) -> bytes:
        """Nothing: the headers on every answer are OpenAI's."""
        del call_id, limit, remaining, reset_s
        return b""

    def error_body(self, fault: Fault, call_id: str, *, status_codes: bool) -> bytes:
        """The whole body of an answer that failed."""
        del call_id
        return b'{"error":%b}' % error_object(fault, status_codes=status_codes)

    def read_head(self, body: bytes, asked: Asked = ASKED) -> Head:
        """Check a caller's body before any money moves."""
        return read_head(body, asked)

    def write_relayed(self, body: bytes, model: str, head: Head, *, ask_usage: bool = True) -> bytes:
        """The caller's body for a provider of this dialect."""
        return write_relayed(body, model, head, ask_usage=ask_usage)

    def tap(self, head: Head, names: Names) -> Tap:
        """A tap for one relayed reply."""
        return ChatTap(head, names)

    def read_prompt(self, body: bytes) -> Prompt:
        """A caller's body → the conversation."""
        return read_prompt(body)

    def fit_prompt(self, prompt: Prompt) -> Prompt:
        """The conversation as chat completions can say it."""
        return fit_prompt(prompt)

    def write_prompt(self, prompt: Prompt, model: str, *, ask_usage: bool = True) -> bytes:
        """The conversation → a provider's body."""
        return write_prompt(prompt, model, ask_usage=ask_usage)

    def reader(self, *, stream: bool) -> Reader:
        """A reader of one provider's reply."""
        return ChatReader(stream=stream)

    def writer(self, head: Head, names: Names) -> Writer:
        """A writer of one reply to a caller."""
        return ChatWriter(head, names)
