"""Profiles: the four public APIs as rows of data, and which row a request belongs to."""

from __future__ import annotations

from enum import Enum

import msgspec


class CodeStyle(Enum):
    """What `error.code` is on a profile's errors."""

    NAME = "name"  # A string such as "invalid_api_key".
    STATUS = "status"  # The HTTP status as an integer; the name goes into error.metadata.error_type.


class Profile(msgspec.Struct, frozen=True):
    """One public API."""

    name: str
    bases: tuple[str, ...]  # The first is the documented one.
    code_style: CodeStyle = CodeStyle.NAME
    needs_system: bool = False  # A conversation without a system or developer message is refused.
    refused_plans: frozenset[str] = frozenset()
    bare_replies: bool = False  # Replies name the model without its maker.
    bare_list: bool = False  # So does the list of models, with the fields its seed shows and no more.


STANDARD = Profile(
    "standard",
    # Bases copied from other gateways cost nothing and save a migrating customer an hour.
    ("/v1", "/v1beta", "/openai/v1", "/openai", "/anthropic/v1", "/genai/v1", "/genai/v1beta"),
    code_style=CodeStyle.STATUS,
    bare_replies=True,
)
CONSOLE = Profile("console", ("/api/v1", "/api/v1beta"), bare_list=True)
SERIKA = Profile("serika", ("/api/openai/v1",), refused_plans=frozenset({"free"}))
OPENSERV = Profile("openserv", ("/openserv/v1",), needs_system=True)

PROFILES: dict[str, Profile] = {profile.name: profile for profile in (STANDARD, CONSOLE, SERIKA, OPENSERV)}
# Where Google's clients look first: a list of models has Google's shape there, whoever asks.
GOOGLE_BASES: frozenset[str] = frozenset({"/v1beta", "/genai/v1beta", "/api/v1beta"})
BASES: dict[str, Profile] = {base: profile for profile in PROFILES.values() for base in profile.bases}


def reply_model(profile: Profile, asked: str) -> str:
    """The model as the profile's replies name it: as asked, on `standard` without the maker."""
    return asked.rpartition("/")[2] if profile.bare_replies else asked
