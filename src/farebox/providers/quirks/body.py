"""The body that a quirk works on, and the two things most quirks do to it."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

Body: TypeAlias = dict[str, msgspec.Raw]  # The members of a provider's body, each as it was written.
Dropped: TypeAlias = tuple[str, ...]  # The members that were lost, for the caller to be told.


def rename(body: Body, old: str, new: str) -> Dropped:
    """Say a member by another name; where both are there, the new one counts."""
    value = body.pop(old, None)
    if value is not None:
        body.setdefault(new, value)
    return ()


def drop(body: Body, *names: str) -> Dropped:
    """Leave members out."""
    return tuple(name for name in names if body.pop(name, None) is not None)
