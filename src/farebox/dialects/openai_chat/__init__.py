"""OpenAI Chat Completions, as a caller's dialect and as a provider's."""

from __future__ import annotations

import msgspec

from farebox.dialects.conversation import Prompt
from farebox.dialects.dialect import Head, Names, Reader, Tap, Writer
from farebox.dialects.openai_chat.head import read_head, write_relayed
from farebox.dialects.openai_chat.prompt import read_prompt, write_prompt
from farebox.dialects.openai_chat.relay import ChatTap
from farebox.dialects.openai_chat.reply import ChatReader, ChatWriter


class OpenAIChat:
    """The dialect's table entry; each method is a door to the module that does it."""

    name = "openai_chat"
    path = "/chat/completions"
    keep_alive = b": keep-alive\n\n"
    done = b"data: [DONE]\n\n"

    def reply_id(self, call_id: str) -> str:
        """The id a reply carries, derived from the call's."""
        return f"chatcmpl-{call_id}"

    def read_head(self, body: bytes) -> Head:
        """Check a caller's body before any money moves."""
        return read_head(body)

    def write_relayed(self, body: bytes, model: str, head: Head, *, ask_usage: bool = True) -> bytes:
        """The caller's body for a provider of this dialect."""
        return write_relayed(body, model, head, ask_usage=ask_usage)

    def tap(self, head: Head, names: Names) -> Tap:
        """A tap for one relayed reply."""
        return ChatTap(head, names)

    def read_prompt(self, body: bytes) -> Prompt:
        """A caller's body → the conversation."""
        return read_prompt(body)

    def write_prompt(self, prompt: Prompt, model: str) -> bytes:
        """The conversation → a provider's body."""
        return write_prompt(prompt, model)

    def reader(self, *, stream: bool) -> Reader:
        """A reader of one provider's reply."""
        return ChatReader(stream=stream)

    def writer(self, head: Head, names: Names) -> Writer:
        """A writer of one reply to a caller."""
        return ChatWriter(head, names)

    def stream_error(self, names: Names, error: bytes) -> bytes:
        """One chunk with the error and a finish; the body then ends without [DONE], so nobody takes it for whole."""
        return (
            b'data: {"id":"%b","object":"chat.completion.chunk","created":%d,"model":%b,"error":%b,'
            b'"choices":[{"index":0,"delta":{},"finish_reason":"error"}]}\n\n'
        ) % (names.id.encode(), names.created_s, _quoted(names.model), error)


def _quoted(text: str) -> bytes:
    return msgspec.json.encode(text)
