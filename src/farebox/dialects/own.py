"""The gateway's own members of a request, which every surface takes and no provider gets to see."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

SESSION_MAX: Final = 256  # Characters.

# Told as dropped until there is something behind them.
UNSERVED: Final = ("character_id",)


class OwnMembers(msgspec.Struct):
    """The ones that are looked at; a dialect's body is a struct that begins with these."""

    session_id: Annotated[str, msgspec.Meta(max_length=SESSION_MAX)] | None = None
    models: Annotated[list[str], msgspec.Meta(max_length=3)] | None = None
    cache: bool | None = None
    no_cache: bool | None = None
    character_id: str | int | None = None


# Some are OpenRouter's or the seeds' words with nothing behind them yet: `route`, `usage`, `debug`, `preset`.
OWN: Final[frozenset[str]] = frozenset(
    {*OwnMembers.__struct_fields__, "route", "provider", "usage", "debug", "preset"}
)
