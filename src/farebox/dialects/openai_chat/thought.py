"""Reasoning as chat completions write it, under four names.

`reasoning_content` is DeepSeek's, vLLM's and z.ai's; `reasoning` is Groq's and Ollama's; `thinking` parts inside the
content are Mistral's; `reasoning_details` is OpenRouter's list, the only one with room for a provider's signature.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from farebox.dialects.conversation import Opaque, Thought
from farebox.dialects.members import LIST, SOME_TEXT, TEXT, Fields, written

NAME = "openai_chat"
DETAILS = "reasoning_details"
SUMMARY = "reasoning_details.summary"
# Whose signature it is, in OpenRouter's words and in ours.
_SIGNERS = {
    "anthropic-claude-v1": "anthropic",
    "google-gemini-v1": "gemini",
    "openai-responses-v1": "openai_responses",
}
_FORMATS = {dialect: name for name, dialect in _SIGNERS.items()}
_signer: msgspec.json.Decoder[str] = msgspec.json.Decoder(
    Annotated[str, msgspec.Meta(pattern=f"^({'|'.join(_SIGNERS)})$")]
)


def read_detail(raw: msgspec.Raw, path: str) -> Thought | Opaque:
    """One entry of `reasoning_details`; of a type we do not know, an Opaque."""
    fields = Fields(raw, path)
    kind = fields.take("type", TEXT)
    text, signature, redacted, member = "", None, False, DETAILS
    if kind == "reasoning.text":
        # An empty text is left where it is: some entries have none at all, and each goes home as it came.
        text, signature = fields.find("text", SOME_TEXT) or "", fields.take("signature", TEXT)
    elif kind == "reasoning.encrypted":
        signature, redacted = fields.need("data", TEXT), True
    elif kind == "reasoning.summary":
        text, member = fields.need("summary", TEXT), SUMMARY
    else:
        return Opaque(NAME, f"{DETAILS}.{kind}", DETAILS, bytes(raw))
    signed_by = _SIGNERS.get(fields.find("format", _signer) or "")
    return Thought(text, signature, redacted, signed_by, member, fields.left())


def write_detail(thought: Thought) -> dict[str, object]:
    """One entry of `reasoning_details`."""
    if thought.redacted:
        entry: dict[str, object] = {"type": "reasoning.encrypted", "data": thought.signature}
    elif thought.member == SUMMARY:
        entry = {"type": "reasoning.summary", "summary": thought.text}
    else:
        entry = {"type": "reasoning.text"}
        if thought.text:
            entry["text"] = thought.text
        if thought.signature is not None:
            entry["signature"] = thought.signature
    if thought.signed_by in _FORMATS:
        entry["format"] = _FORMATS[thought.signed_by]
    return entry | written(thought.extra)


def read_thinking(fields: Fields) -> Thought | None:
    """Mistral's `thinking` part; None unless it is one piece of text."""
    pieces = fields.take("thinking", LIST) or []
    if len(pieces) != 1:
        return None
    piece = Fields(pieces[0], fields.at("thinking"))
    kind, text = piece.take("type", TEXT), piece.take("text", TEXT)
    if kind != "text" or text is None or piece.left():
        return None
    return Thought(text, member="thinking", extra=fields.left())


def write_thinking(thought: Thought) -> dict[str, object]:
    """Mistral's `thinking` part."""
    wire: dict[str, object] = {"type": "thinking", "thinking": [{"type": "text", "text": thought.text}]}
    return wire | written(thought.extra)
