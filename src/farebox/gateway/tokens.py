"""Tokens: about how many a prompt has, by the kinds of letters in its bytes; pure, and a microsecond for a kilobyte.

Nobody's tokenizer is asked: there are many, and a hold is taken before anything else is known. Letters and spaces make
long tokens, digits, marks and escapes short ones, and the scripts of the world differ by a factor of five. The weights
are thousandths of a token, fitted to o200k and never far below it (docs/charge-policy.md has the table).

Media are not text: a picture of two megabytes is a thousand tokens. Long runs of base64 are cut out of a large body,
and what is left is read as a conversation. Where a run turns out to be somebody's words after all, it is counted as
such: otherwise long words could be sent for a picture's price.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from farebox.dialects.conversation import Media, Part, ToolResult

# Of the smallest body, so many are braces and names of members that no provider counts; most bodies have more.
ENVELOPE_TOKENS: Final = 12
MEDIA_FROM_BYTES: Final = 16_384  # Smaller bodies are counted as text, whatever they hold.
# What one of them comes to at most: a base, and so many bytes of base64 for each token where its length tells.
MEDIA_BOUNDS: Final = {"image": (1_500, 0), "audio": (100, 400), "video": (1_500, 400), "file": (1_500, 40)}

_WINDOW: Final = 4_096  # How far apart a large body is looked at for base64.
_SEEN: Final = 64
_BASE64: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=_-"
_MARK: Final = b"FareboxRun%06d"  # Base64 as well, should a dialect look at it.
_MARKS: Final = re.compile(rb"FareboxRun([0-9]{6})")

_WORDS: Final = bytes(byte for byte in range(128) if chr(byte).isalpha() or byte == ord(" "))
_WORD_MILLI, _MARK_MILLI = 200, 526  # 5 letters a token; 1.9 digits or marks.
_ESCAPES_PART: Final = 5  # With escapes, more than a fifth of a body is digits and marks.
_PLAIN: Final = bytes(range(128))
_NOT_FIRST: Final = bytes(range(0xC0))
# First bytes of UTF-8 by script, and what a letter of it comes to.
_SCRIPTS: Final = (
    (bytes(range(0xE0, 0xE2)), 390),  # Devanagari and its sisters, Thai: three bytes, 7.7 bytes a token.
    (bytes(range(0xE3, 0xEA)), 970),  # Chinese, Japanese: 3.1 bytes a token.
    (bytes(range(0xC0, 0xE0)), 450),  # Latin with accents, Greek, Cyrillic, Hebrew, Arabic.
    (bytes(range(0xEA, 0xEE)), 600),  # Korean.
    (bytes(range(0xE2, 0xE3)), 700),  # Dashes, quotes, arrows, frames.
    (bytes(range(0xEE, 0x100)), 1_500),  # Emoji, rare signs.
)


def text_tokens(data: bytes) -> int:
    """About how many tokens these bytes are, as JSON or as plain words."""
    if data.isascii():
        size = len(data)
        marks = len(data.translate(None, _WORDS))
        if marks * _ESCAPES_PART < size or b"\\u" not in data:
            return ((size - marks) * _WORD_MILLI + marks * _MARK_MILLI + 999) // 1000
        # Each \uXXXX is one letter, and of valid JSON nothing else is changed by this.
        data = data.decode("raw_unicode_escape", "replace").encode("utf-8", "surrogatepass")
    firsts = data.translate(None, _NOT_FIRST)
    plain = len(data) - len(data.translate(None, _PLAIN))
    marks = plain - (len(data) - len(data.translate(None, _WORDS)))
    milli = (plain - marks) * _WORD_MILLI + marks * _MARK_MILLI
    for script, weight in _SCRIPTS:
        if not firsts:
            break
        rest = firsts.translate(None, script)
        milli += (len(firsts) - len(rest)) * weight
        firsts = rest
    return (milli + 999) // 1000


def cut_media(body: bytes) -> tuple[bytes, list[int]]:
    """A body with each long run of base64 replaced by a mark, and the lengths of the runs in order.

    Looks at every few kilobytes only, so a run shorter than that may stay.
    """
    runs: list[int] = []
    if len(body) < MEDIA_FROM_BYTES:
        return body, runs
    pieces, behind, at = [], 0, _WINDOW
    while at < len(body):
        if not body[at : at + _SEEN].translate(None, _BASE64):
            start = max(body.rfind(b'"', behind, at), body.rfind(b",", behind, at)) + 1
            end = body.find(b'"', at)
            if start and end > 0 and body.find(b" ", start, end) < 0 and body.find(b"\\", start, end) < 0:
                pieces += [body[behind:start], _MARK % len(runs)]
                runs.append(end - start)
                behind = at = end
        at += _WINDOW
    return b"".join((*pieces, body[behind:])), runs


def thinned_tokens(body: bytes, runs: list[int], parts: Iterable[Part]) -> int:
    """About how many tokens a body has out of which `cut_media` cut these runs, read as these parts."""
    text, media = dict(enumerate(runs)), 0
    for part in _media_in(parts):
        found = _MARKS.fullmatch((part.data or "").encode())
        size = text.pop(int(found[1]), None) if found is not None else None
        if size is not None:
            base, bytes_a_token = MEDIA_BOUNDS[part.kind]
            media += base + (size // bytes_a_token if bytes_a_token else 0)
    return text_tokens(body) + sum(text.values()) * _MARK_MILLI // 1000 + media


def _media_in(parts: Iterable[Part]) -> Iterator[Media]:
    for part in parts:
        if isinstance(part, Media):
            yield part
        elif isinstance(part, ToolResult):
            yield from _media_in(part.parts)
