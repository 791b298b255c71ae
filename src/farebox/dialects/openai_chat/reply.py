"""A chat completion's reply ↔ events: the reader and the writer."""

from __future__ import annotations

from farebox.dialects.openai_chat.reader import ChatReader
from farebox.dialects.openai_chat.writer import ChatWriter

__all__ = ["ChatReader", "ChatWriter"]
