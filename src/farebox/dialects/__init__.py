"""The wire languages: one package each, and the table that names them."""

from __future__ import annotations

from farebox.dialects.dialect import Dialect
from farebox.dialects.openai_chat import OpenAIChat

DIALECTS: dict[str, Dialect] = {dialect.name: dialect for dialect in (OpenAIChat(),)}
