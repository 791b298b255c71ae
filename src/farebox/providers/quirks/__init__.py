"""Quirks: named deviations of one provider from its dialect, each a small function over the body that goes to it.

A provider's row names them, for all of its models or for those of a pattern; the table says what each does. Two kinds:

* One that loses nothing, such as another name for a member, holds for every body.
* One that loses something holds for prompts from another dialect alone, and the caller is told what was lost: that
  caller cannot know what this provider's models refuse. A caller of the provider's own dialect is taken at their word,
  and hears the provider's own refusal, as without a gateway.

A body comes from a dialect's writer or passed its checks; a quirk that cannot make sense of a member leaves it alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import TypeAlias

import msgspec

from farebox.providers.quirks.adaptive_thinking import adaptive_thinking
from farebox.providers.quirks.always_thinks import always_thinks
from farebox.providers.quirks.body import Body, Dropped
from farebox.providers.quirks.max_completion_tokens import max_completion_tokens
from farebox.providers.quirks.max_tokens import max_tokens
from farebox.providers.quirks.no_effort import no_effort
from farebox.providers.quirks.no_penalties import no_penalties
from farebox.providers.quirks.no_sampling import no_sampling
from farebox.providers.quirks.no_sampling_while_reasoning import no_sampling_while_reasoning
from farebox.providers.quirks.no_store import no_store
from farebox.providers.quirks.no_thinking_config import no_thinking_config
from farebox.providers.quirks.random_seed import random_seed
from farebox.providers.quirks.schema_in_words import schema_in_words

Change: TypeAlias = Callable[[Body], Dropped]


class Quirk(msgspec.Struct, frozen=True):
    """What one provider wants otherwise."""

    change: Change  # Its docstring is the documentation's row.
    abroad: bool = False  # Only for prompts that were written in another dialect, since it loses something.


_FOR_ALL: tuple[Change, ...] = (max_completion_tokens, max_tokens, random_seed, no_store, schema_in_words)
_FOR_STRANGERS: tuple[Change, ...] = (
    adaptive_thinking,
    always_thinks,
    no_effort,
    no_penalties,
    no_sampling,
    no_sampling_while_reasoning,
    no_thinking_config,
)
QUIRKS: dict[str, Quirk] = {
    **{change.__name__: Quirk(change) for change in _FOR_ALL},
    **{change.__name__: Quirk(change, abroad=True) for change in _FOR_STRANGERS},
}
_members = msgspec.json.Decoder(Body)


class QuirkRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """A quirk of a provider."""

    name: str
    models: tuple[str, ...] = ("*",)  # The shell's patterns over the provider's own names.


class Adapted(msgspec.Struct, frozen=True):
    """A body as its provider wants it, and the names of what was lost."""

    body: bytes
    dropped: Dropped = ()


def quirks_for(rows: Iterable[QuirkRow], model: str) -> tuple[Quirk, ...]:
    """The quirks that a provider has with one of its models, in the order of its row."""
    return tuple(
        QUIRKS[row.name] for row in rows if any(fnmatchcase(model, pattern) for pattern in row.models)
    )


def apply_quirks(body: bytes, quirks: Iterable[Quirk], *, abroad: bool) -> Adapted:
    """The body as the provider wants it; every member that no quirk touches stays as it was written.

    `abroad`: the prompt came in another dialect than this provider's.
    """
    changes = [quirk.change for quirk in quirks if abroad or not quirk.abroad]
    if not changes:
        return Adapted(body)
    members = _members.decode(body)
    dropped: list[str] = []
    for change in changes:
        try:
            dropped += change(members)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue  # A member in a form of its own: the provider knows it, or says so.
    return Adapted(msgspec.json.encode(members), tuple(dropped))
