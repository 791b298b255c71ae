"""A list of models in the words of other makers' clients: Anthropic's pages and Google's.

`GET …/models` is shared by three dialects (the official clients of all three ask at the same path), so the shape goes
by who asks: `anthropic-version` means Anthropic, a key shown in Google's ways means Google, and so do Google's bases.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

from farebox.api.visit import CHAT, Visit
from farebox.core.errors import Fault, Kind
from farebox.dialects import DIALECTS
from farebox.dialects.dialect import Dialect
from farebox.gateway.profiles import GOOGLE_BASES
from farebox.providers.listing import Listing

PAGE_SIZE = 20  # Anthropic's usual page.
PAGE_MOST = 1000  # Anthropic's and Google's.
_GOOGLE_PAGE_SIZE = 50
_RELEASED = (
    "1970-01-01T00:00:00Z"  # Release dates are not in the catalogue; the clients' types ask for the member.
)
_VERBS = ("generateContent", "streamGenerateContent", "countTokens")
_Count = Annotated[int, msgspec.Meta(ge=1, le=PAGE_MOST)]
_count = msgspec.json.Decoder(_Count)


def asker(visit: Visit) -> Dialect:
    """The dialect of whoever asks for models."""
    request = visit.request
    if b"anthropic-version" in request.headers:
        return DIALECTS["anthropic"]
    base = request.path.partition("/models")[0]
    shown_as_google = b"authorization" not in request.headers and (
        b"x-goog-api-key" in request.headers or visit.query("key") is not None
    )
    return DIALECTS["gemini"] if shown_as_google or base in GOOGLE_BASES else CHAT


def anthropic_page(visit: Visit, listings: Sequence[Listing]) -> dict[str, object]:
    """A page of Anthropic's list, by `limit`, `after_id` and `before_id`."""
    size = _size(visit, "limit", PAGE_SIZE)
    after, before = visit.query("after_id"), visit.query("before_id")
    ids = [listing.id for listing in listings]
    if before is not None:
        end = _place(ids, before, "before_id")
        start, more = max(end - size, 0), end > size
    else:
        start = 0 if after is None else _place(ids, after, "after_id") + 1
        end, more = start + size, start + size < len(ids)
    page = listings[start:end]
    return {
        "data": [anthropic_row(listing) for listing in page],
        "has_more": more,
        "first_id": page[0].id if page else None,
        "last_id": page[-1].id if page else None,
    }


def anthropic_row(listing: Listing) -> dict[str, object]:
    """One model as Anthropic's clients read it."""
    return {
        "type": "model",
        "id": listing.id,
        "display_name": listing.name,
        "created_at": _RELEASED,
        "max_input_tokens": listing.context_window,
        "max_tokens": listing.max_output,
    }


def google_page(visit: Visit, listings: Sequence[Listing]) -> dict[str, object]:
    """A page of Google's list, by `pageSize` and `pageToken`, which is the id that the page before ended with."""
    size = _size(visit, "pageSize", _GOOGLE_PAGE_SIZE)
    token = visit.query("pageToken")
    start = 0 if token is None else _place([listing.id for listing in listings], token, "pageToken") + 1
    page = listings[start : start + size]
    answer: dict[str, object] = {"models": [google_row(listing) for listing in page]}
    return answer | ({"nextPageToken": page[-1].id} if start + size < len(listings) else {})


def google_row(listing: Listing) -> dict[str, object]:
    """One model as Google's clients read it."""
    row: dict[str, object] = {
        "name": f"models/{listing.id}",
        "baseModelId": listing.id,
        "version": "001",
        "displayName": listing.name,
        "supportedGenerationMethods": _VERBS if listing.kind == "chat" else (),
    }
    limits = {"inputTokenLimit": listing.context_window, "outputTokenLimit": listing.max_output}
    return row | {name: limit for name, limit in limits.items() if limit is not None}


def _size(visit: Visit, name: str, usual: int) -> int:
    asked = visit.query(name)
    if asked is None:
        return usual
    try:
        return _count.decode(asked.encode())
    except msgspec.DecodeError as error:
        raise Fault(
            Kind.BAD_REQUEST, f"{name} must be a whole number from 1 to {PAGE_MOST}.", param=name
        ) from error


def _place(ids: Sequence[str], asked: str, name: str) -> int:
    try:
        return ids.index(asked)
    except ValueError as error:
        raise Fault(Kind.BAD_REQUEST, f"{name} is not the id of a model in this list.", param=name) from error
