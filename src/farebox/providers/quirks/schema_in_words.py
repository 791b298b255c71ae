"""Providers that write JSON and read no schema."""

from __future__ import annotations

import msgspec

from farebox.providers.quirks.body import Body, Dropped


class _Schema(msgspec.Struct):
    schema: msgspec.Raw = msgspec.Raw(b"{}")
    description: str | None = None


class _Format(msgspec.Struct):
    type: str
    json_schema: _Schema | None = None


class _Message(msgspec.Struct):
    role: str
    content: str


def schema_in_words(body: Body) -> Dropped:
    """A `response_format` with a schema becomes plain JSON mode, and a system message at the end says the schema.

    Source: DeepSeek refuses a schema ("This response_format type is unavailable now", as its clients report) and wants
    the word JSON in the prompt; z.ai's reference knows plain JSON mode alone (known from memory).
    """
    if "response_format" not in body or "messages" not in body:
        return ()
    wire = msgspec.json.decode(body["response_format"], type=_Format)
    if wire.type != "json_schema" or wire.json_schema is None:
        return ()
    schema = bytes(wire.json_schema.schema).decode()
    about = f" {wire.json_schema.description}" if wire.json_schema.description else ""
    words = f"Answer with one JSON value and nothing else.{about} It must match this JSON Schema: {schema}"
    messages = msgspec.json.decode(body["messages"], type=list[msgspec.Raw])
    said = msgspec.Raw(msgspec.json.encode(_Message("system", words)))
    body["messages"] = msgspec.Raw(msgspec.json.encode([*messages, said]))
    body["response_format"] = msgspec.Raw(b'{"type":"json_object"}')
    return ()
