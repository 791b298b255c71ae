"""What a model's name tells: how clients spell it, what people call it, what kind of model it is."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final

from farebox.core.rates import CHAT, EMBEDDING, IMAGE, SPEECH, TRANSCRIPTION

# The first that matches says the kind; order matters where a name says two things (gpt-4o-mini-tts).
_KINDS: Final = (
    (re.compile(r"embed|voyage-|(?:^|/)bge-|gte-"), EMBEDDING),
    (re.compile(r"whisper|transcribe|saarika|voxtral-mini-\d{4}"), TRANSCRIPTION),
    (re.compile(r"tts|orpheus|bulbul"), SPEECH),
    (re.compile(r"image|dall-e|nano-banana|imagen|flux|stable-diffusion"), IMAGE),
)
_DATED: Final = re.compile(r"-(20\d\d)-?(\d\d)-?(\d\d)$")
_DIGIT_DASH_DIGIT: Final = re.compile(r"(?<=\d)-(?=\d(?!\d))")
_P_FOR_POINT: Final = re.compile(r"(?<=\d)p(?=\d)")
_WORDS: Final = {
    "ai": "AI", "api": "API", "awq": "AWQ", "dall": "DALL", "fp8": "FP8", "glm": "GLM", "gpt": "GPT", "hd": "HD",
    "it": "IT", "ocr": "OCR", "oss": "OSS", "qwq": "QwQ", "tts": "TTS", "vl": "VL", "xl": "XL",
    "deepseek": "DeepSeek", "chatgpt": "ChatGPT", "codellama": "CodeLlama", "minimax": "MiniMax",
}  # fmt: skip
# Words that stay joined by the dash to what follows: GPT-4o, DALL-E, TTS-1.
_JOINED: Final = frozenset({"gpt", "chatgpt", "dall", "tts", "glm"})
_SIZE: Final = re.compile(r"a?\d+(?:\.\d+)?[bkm]|\d+x\d+b|\d+e")


def kind_of(model: str) -> str:
    """The kind a name says; a model that says nothing is for chat."""
    name = model.lower()
    return next((kind for pattern, kind in _KINDS if pattern.search(name)), CHAT)


def loose(model: str) -> str:
    """How names are compared across price lists: makers, hosts and aggregators disagree on dots and capitals."""
    return model.lower().replace(".", "-")


def dotted(model: str) -> str:
    """A version as clients spell it: claude-sonnet-4-6 → claude-sonnet-4.6; dated names stay as they are."""
    if _DATED.search(model):
        return model
    return _DIGIT_DASH_DIGIT.sub(".", model.removesuffix("-latest")).removesuffix(".0")


def pointed(model: str) -> str:
    """Fireworks writes p for the point: deepseek-v3p2 → deepseek-v3.2."""
    return _P_FOR_POINT.sub(".", model)


def human_name(model: str, head: str | None = None) -> str:
    """A name for people made from a bare id: gpt-4o-mini → GPT-4o Mini, dall-e-3 → DALL-E 3.

    A date goes to the end in brackets, after `head` if that is given: what the undated model is called.
    """
    dated = _DATED.search(model)
    if dated is not None:
        return f"{head or human_name(model[: dated.start()])} ({'-'.join(dated.groups())})"
    words = model.replace("_", "-").split("-")
    written = _word(words[0])
    for before, word in pairwise(words):
        joint = "-" if before.lower() in _JOINED and (word[:1].isdigit() or len(word) == 1) else " "
        written += joint + _word(word)
    return written


def _word(word: str) -> str:
    known = _WORDS.get(word.lower())
    if known is not None:
        return known
    if _SIZE.fullmatch(word):
        return word.upper() if word[-1] in "bkm" else word
    if word[:1].isdigit() or re.fullmatch(r"o\d", word):  # 4o, o3
        return word
    return word[:1].upper() + word[1:]
