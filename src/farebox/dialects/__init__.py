"""The wire languages: one package each, and the table that names them."""

from __future__ import annotations

from farebox.dialects.anthropic import Anthropic
from farebox.dialects.dialect import Dialect
from farebox.dialects.gemini import Gemini
from farebox.dialects.openai_chat import OpenAIChat
from farebox.dialects.openai_responses import OpenAIResponses

DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect for dialect in (OpenAIChat(), OpenAIResponses(), Anthropic(), Gemini())
}
