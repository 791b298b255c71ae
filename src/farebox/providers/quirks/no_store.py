"""Mistral keeps nothing and refuses to be told so."""

from __future__ import annotations

from farebox.providers.quirks.body import Body, Dropped, drop


def no_store(body: Body) -> Dropped:
    """`store` is left out: only `false` ever gets here, and it is what happens anyway.

    Source: Mistral refuses the member ("Extra inputs are not permitted", as its clients report).
    """
    drop(body, "store")
    return ()
