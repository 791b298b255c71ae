"""Usage: what a call consumed, in disjoint classes, so that a charge is a dot product and nothing counts twice."""

from __future__ import annotations

from typing import Final

import msgspec


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Units consumed by one call. Token classes never overlap; their sum is the provider's own total.

    The providers disagree: OpenAI's prompt count includes cached tokens and its completion count reasoning;
    Anthropic's input excludes both cache classes; Gemini's candidates exclude thoughts. The dialects translate.
    """

    input_fresh: int = 0
    cache_read: int = 0
    cache_write: int = 0  # Kept five minutes.
    cache_write_1h: int = 0
    output_visible: int = 0
    output_thought: int = 0
    audio_in: int = 0
    audio_out: int = 0
    image_in: int = 0
    image_out: int = 0

    @property
    def input_total(self) -> int:
        """Every token that went in, cached or not, of any medium."""
        return (
            self.input_fresh
            + self.cache_read
            + self.cache_write
            + self.cache_write_1h
            + self.audio_in
            + self.image_in
        )

    @property
    def output_total(self) -> int:
        """Every token that came out, thoughts and media included."""
        return self.output_visible + self.output_thought + self.audio_out + self.image_out

    @property
    def total(self) -> int:
        """The provider's total."""
        return self.input_total + self.output_total


TOKEN_CLASSES: Final = Usage.__struct_fields__
