"""Google's generateContent, as a caller's dialect and as a provider's."""

from __future__ import annotations

from urllib.parse import quote

from farebox.core.errors import Fault
from farebox.dialects.conversation import Prompt
from farebox.dialects.dialect import ASKED, Asked, Head, Names, Reader, Tap, Writer
from farebox.dialects.gemini.count import resource
from farebox.dialects.gemini.failure import error_object
from farebox.dialects.gemini.fit import fit_prompt
from farebox.dialects.gemini.frame import LAST
from farebox.dialects.gemini.head import read_head, write_relayed
from farebox.dialects.gemini.prompt import read_prompt, write_prompt
from farebox.dialects.gemini.reader import GeminiReader
from farebox.dialects.gemini.rules import RULES
from farebox.dialects.gemini.tap import GeminiTap
from farebox.dialects.gemini.writer import GeminiWriter


class Gemini:
    """The dialect's table entry; each method is a door to the module that does it."""

    name = "gemini"
    keep_alive = b"\n"  # Google's Python client takes a comment for a chunk, and fails.
    auth_header = "x-goog-api-key"
    headers: tuple[tuple[str, str], ...] = ()
    takes_marks = False
    needs_limit = False
    rules = RULES

    def path(self, model: str, *, stream: bool) -> str:
        """Where a provider answers; without `alt=sse` a stream would come as one JSON array."""
        name = quote(resource(model), safe="/")
        return f"/{name}:streamGenerateContent?alt=sse" if stream else f"/{name}:generateContent"

    def done(self, head: Head) -> bytes:
        """The array's end; a stream of events simply ends, and Google's clients fail on anything more."""
        return LAST if head.array else b""

    def reply_id(self, call_id: str) -> str:
        """The call's own: Google's ids have no form."""
        return call_id

    def answer_headers(self, call_id: str, limit: int, remaining: int, reset_s: int) -> bytes:
        """Nothing: Google sends none."""
        del call_id, limit, remaining, reset_s
        return b""

    def error_body(self, fault: Fault, call_id: str, *, status_codes: bool) -> bytes:
        """The whole body of an answer that failed."""
        del call_id, status_codes
        return b'{"error":%b}' % error_object(fault)

    def read_head(self, body: bytes, asked: Asked = ASKED) -> Head:
        """Check a caller's body before any money moves."""
        return read_head(body, asked)

    def write_relayed(self, body: bytes, model: str, head: Head, *, ask_usage: bool = True) -> bytes:
        """The caller's body for a provider of this dialect."""
        return write_relayed(body, model, head, ask_usage=ask_usage)

    def tap(self, head: Head, names: Names) -> Tap:
        """A tap for one relayed reply."""
        return GeminiTap(head, names)

    def read_prompt(self, body: bytes) -> Prompt:
        """A caller's body → the conversation."""
        return read_prompt(body)

    def fit_prompt(self, prompt: Prompt) -> Prompt:
        """The conversation as Gemini can say it."""
        return fit_prompt(prompt)

    def write_prompt(self, prompt: Prompt, model: str, *, ask_usage: bool = True) -> bytes:
        """The conversation → a provider's body."""
        return write_prompt(prompt, model, ask_usage=ask_usage)

    def reader(self, *, stream: bool) -> Reader:
        """A reader of one provider's reply."""
        return GeminiReader(stream=stream)

    def writer(self, head: Head, names: Names) -> Writer:
        """A writer of one reply to a caller."""
        return GeminiWriter(head, names)
