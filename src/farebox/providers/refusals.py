"""Reading a provider's refusal: whose fault it was, from its status and its error body.

    400 413 422 about the request         the caller's   its message is passed on
    400 about our key, our quota          the provider's the next route (xAI and Gemini say 400 to a bad key)
    401 402 403 404                       the provider's the next route: they speak of the operator's account
    408 409 429 5xx, anything else        the provider's the next route

Messages about keys, quota and billing name organisations and keys, so they are never passed on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from farebox.core.errors import Fault, Kind

_OF_THE_CALLER = frozenset({400, 413, 422})
_TIME_OUTS = frozenset({408, 504})
_OVERLOADS = frozenset({429, 503, 529})
_MESSAGE_MAX = 1000
_RETRY_AFTER_MAX_S = 3600.0
# A 400 with one of these is about the operator's account, not about the request.
_ABOUT_US = re.compile(
    r"api[ _-]?key|credential|unauthori[sz]ed|permission|billing|quota|credit balance|organi[sz]ation",
    re.IGNORECASE,
)
# What no customer may read in a message that is passed on.
_SECRETS = re.compile(
    r"https?://\S+|\b(?:sk|key|gsk|xai|AIza|org|proj|acct)[-_][\w-]{6,}|\bAIza[\w-]{10,}|\breq_\w+",
    re.IGNORECASE,
)
_CODE = re.compile(r"[a-z_]{1,64}")
_PARAM = re.compile(r"[\w.\[\]-]{1,128}", re.ASCII)
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _Error(msgspec.Struct):
    message: str | None = None
    code: object = None
    param: object = None


class _Body(msgspec.Struct):
    error: _Error | str | None = None
    message: object = None
    detail: object = None


def read_refusal(
    status: int, headers: Mapping[str, str], body: bytes, *, secrets: Sequence[str] = ()
) -> Fault:
    """The Fault that a provider's bad status means for this call; `secrets` are never passed on in its message."""
    error = _read_error(body)
    message = error.message or ""
    if status in _OF_THE_CALLER and not _ABOUT_US.search(message):
        for secret in secrets:
            message = message.replace(secret, "…")
        return Fault(
            Kind.PROVIDER_REFUSED,
            _SECRETS.sub("…", message)[:_MESSAGE_MAX]
            or "The model's provider refused the request as invalid.",
            code=_matching(_CODE, error.code),
            param=_matching(_PARAM, error.param),
            status=status,
        )
    if status in _TIME_OUTS:
        return Fault(Kind.PROVIDER_TIMEOUT, "The model's provider did not answer in time. Try again.")
    if status in _OVERLOADS:
        return Fault(
            Kind.PROVIDER_OVERLOADED,
            "The model's provider is overloaded. Try again shortly.",
            retry_after_s=read_retry_after(headers),
        )
    return Fault(Kind.PROVIDER_ERROR, "The model's provider failed to answer. Try again.", retry_after_s=1.0)


def read_retry_after(headers: Mapping[str, str]) -> float:
    """Seconds to wait, as the provider says; 1 where it says nothing usable."""
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            wait_s = float(headers.get(name, "")) * unit_s
        except ValueError:
            continue
        if 0 < wait_s <= _RETRY_AFTER_MAX_S:
            return wait_s
    return 1.0


def _read_error(body: bytes) -> _Error:
    try:
        wire = msgspec.json.decode(body, type=_Body)
    except _UNREADABLE:
        return _Error()
    if isinstance(wire.error, _Error):
        return wire.error
    told = wire.error or wire.message or wire.detail
    return _Error(message=told if isinstance(told, str) else None)


def _matching(form: re.Pattern[str], value: object) -> str | None:
    return value if isinstance(value, str) and form.fullmatch(value) else None
