"""Two spellings of one member: Google takes `systemInstruction` and `system_instruction` alike (ProtoJSON).

Everything behind this file knows the first alone. What is free for a caller to name (the arguments of a call, a schema)
stays as it is, and so does a member that nobody here knows.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from farebox.core.errors import Fault, Kind

_NAMES: Final = (
    # A request and its settings.
    "systemInstruction", "generationConfig", "safetySettings", "toolConfig", "cachedContent", "serviceTier",
    "continuationToken", "generateContentRequest",
    # What a part holds.
    "inlineData", "fileData", "functionCall", "functionResponse", "executableCode", "codeExecutionResult", "toolCall",
    "toolResponse", "thoughtSignature", "videoMetadata", "mediaResolution", "partMetadata", "mimeType", "fileUri",
    "displayName", "willContinue", "partialArgs",
    # Tools.
    "functionDeclarations", "parametersJsonSchema", "responseJsonSchema", "functionCallingConfig",
    "allowedFunctionNames", "streamFunctionCallArguments", "retrievalConfig", "googleSearch", "googleSearchRetrieval",
    "urlContext", "codeExecution", "googleMaps", "fileSearch", "computerUse", "enterpriseWebSearch", "mcpServers",
    "parallelAiSearch", "exaAiSearch", "includeServerSideToolInvocations",
    # The settings of an answer.
    "topP", "topK", "candidateCount", "maxOutputTokens", "stopSequences", "presencePenalty", "frequencyPenalty",
    "responseMimeType", "responseSchema", "responseModalities", "responseLogprobs", "speechConfig", "imageConfig",
    "thinkingConfig", "thinkingBudget", "thinkingLevel", "includeThoughts", "enableEnhancedCivicAnswers",
    "audioTimestamp", "routingConfig", "modelSelectionConfig", "responseFormat", "audioTranscriptionConfig",
    "translationConfig", "enableAffectiveDialog",
)  # fmt: skip
# Where the names inside are the caller's own.
FREE_NAMES: Final = frozenset(
    {
        "args",
        "response",
        "parameters",
        "parametersJsonSchema",
        "responseSchema",
        "responseJsonSchema",
        "_responseJsonSchema",
        "labels",
        "partMetadata",
    }
)


def snake(name: str) -> str:
    """`systemInstruction` → `system_instruction`."""
    return re.sub("[A-Z]", lambda found: f"_{found[0].lower()}", name)


SNAKES: Final[dict[str, str]] = {snake(name): name for name in _NAMES}
# Most bodies have none of these words: one search of the bytes says so. A letter may also be written as an escape.
_WORD = re.compile(rb'"([a-z]+_[a-z_]+)"')
_WORDS = frozenset(name.encode() for name in SNAKES)
_ESCAPED_LETTER = re.compile(rb"\\u00[4-7]")


def respelled(body: bytes) -> bytes:
    """A JSON text, known to be valid and not too deep, with the names we know in their first spelling.

    Fault BAD_REQUEST if a member is there in both. Raises msgspec.ValidationError for a number that nothing can hold.
    """
    found = b"_" in body and not _WORDS.isdisjoint(_WORD.findall(body))
    if not found and (b"\\u00" not in body or _ESCAPED_LETTER.search(body) is None):
        return body
    return msgspec.json.encode(_respelled(msgspec.json.decode(body)))


def _respelled(value: object) -> object:
    if isinstance(value, list):
        return [_respelled(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    out: dict[str, object] = {}
    for key, inner in value.items():
        name = SNAKES.get(str(key), str(key))
        if name != key and name in value:
            raise Fault(
                Kind.BAD_REQUEST, f"{name} is there twice, as {key} as well. Say it once.", param=name
            )
        out[name] = inner if name in FREE_NAMES else _respelled(inner)
    return out
