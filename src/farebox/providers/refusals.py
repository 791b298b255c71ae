"""Reading a provider's refusal: whose fault it was, from its status and its error body.

    400 413 422 about the request         the caller's   its message is passed on
    400 413 422 429 of too long a prompt  the caller's   as 400 `context_length_exceeded`, however it is worded
    400 about our key, our quota          the provider's the next route (xAI and Gemini say 400 to a bad key)
    401 402 403 404                       the provider's the next route: they speak of the operator's account
    408 409 429 5xx, anything else        the provider's the next route

Error bodies come in OpenAI's form, Anthropic's, Google's (also as an array of one), and as bare texts; their content
type is not looked at, for DeepSeek sends JSON as octets. Messages about keys, quota and billing name organisations and
keys, so they are never passed on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from farebox.core.errors import Fault, Kind

_OF_THE_CALLER = frozenset({400, 413, 422})
_TIME_OUTS = frozenset({408, 504})
_OVERLOADS = frozenset({429, 503, 529})
_TOO_FAST = 429
CONTEXT_CODE = "context_length_exceeded"  # OpenAI's word, which clients look for.
_MESSAGE_MAX = 1000
_RETRY_AFTER_MAX_S = 3600.0
# A 400 with one of these is about the operator's account, not about the request.
_ABOUT_US = re.compile(
    r"api[ _-]?key|credential|unauthori[sz]ed|permission|billing|quota|credit balance|organi[sz]ation"
    r"|location is not supported",  # Google, of the country our server stands in.
    re.IGNORECASE,
)
_CODES_ABOUT_US = frozenset(
    {"authentication_error", "permission_error", "billing_error", "invalid_api_key", "insufficient_quota"}
    | {"UNAUTHENTICATED", "PERMISSION_DENIED", "API_KEY_INVALID"}
)
# How providers say that the operator's account there has nothing left to spend. Gemini's and OpenAI's sentence about
# a "current quota" is not among them: they say it of too many calls a minute as well, and OpenAI has a code for this.
_CODES_SPENT = frozenset(
    # OpenAI's, Moonshot's and Anthropic's, in turn.
    {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
    | {"exceeded_current_quota_error", "billing_error"}
)
_SPENT = re.compile(
    r"^your credit balance is too low"  # Anthropic, by 400
    # xAI
    r"|^your newly created team doesn't have any credits|^your team .{0,80}\bhas either used all available credits"
    r"|^insufficient (?:balance|credits?)\b",  # DeepSeek, OpenRouter, Zhipu
    re.IGNORECASE,
)
_STATUS_SPENT = 402
_MAY_SAY_SPENT = frozenset({400, 403, 429})
# How providers say that a prompt does not fit, each from a recording or from what they are known to say.
_TOO_LONG = re.compile(
    r"maximum (?:context|prompt) length"  # OpenAI, DeepSeek, Mistral, xAI, vLLM, OpenRouter, Fireworks
    r"|context (?:window|limit|size)|context_length"  # OpenAI's Responses, Anthropic, llama.cpp
    r"|prompt is too long|input is too long"  # Anthropic, Bedrock
    r"|input token count\b.*\bexceeds"  # Gemini
    r"|greater than the context length"  # LM Studio
    r"|too many tokens",  # Cohere
    re.IGNORECASE | re.DOTALL,
)
_CODES_TOO_LONG = frozenset({CONTEXT_CODE, "exceed_context_size_error"})
# A 429 that counts tokens by time is about the operator's account, whatever else it says.
_BY_TIME = re.compile(r"rate[ -]?limit|per[ -](?:min|minute|hour|day)\b|quota|\bTP[MD]\b", re.IGNORECASE)
# What no customer may read in a message that is passed on.
_SECRETS = re.compile(
    r"https?://\S+|\b(?:sk|key|gsk|xai|AIza|org|proj|acct)[-_][\w-]{6,}|\bAIza[\w-]{10,}|\breq_\w+",
    re.IGNORECASE,
)
_CODE = re.compile(r"[a-z_]{1,64}")
_PARAM = re.compile(r"[\w.\[\]-]{1,128}", re.ASCII)
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _Error(msgspec.Struct):
    """Any provider's error object: OpenAI's, Anthropic's (its `type` is a code), Google's (its `status` is one)."""

    message: str | None = None
    code: object = None
    type: object = None
    status: object = None
    param: object = None
    details: object = None  # Google's: a list of typed objects.


class _Body(msgspec.Struct):
    error: _Error | str | None = None
    message: object = None
    detail: object = None


_body: msgspec.json.Decoder[_Body | list[_Body]] = msgspec.json.Decoder(_Body | list[_Body])


def read_refusal(
    status: int, headers: Mapping[str, str], body: bytes, *, secrets: Sequence[str] = ()
) -> Fault:
    """The Fault that a provider's bad status means for this call; `secrets` are never passed on in its message."""
    error = _read_error(body)
    if _is_too_long(status, error):
        return _refused(error, 400, CONTEXT_CODE, secrets)
    if status in _OF_THE_CALLER and not _is_the_providers(error):
        return _refused(error, status, _matching(_CODE, error.code), secrets)
    if status in _TIME_OUTS:
        return Fault(Kind.PROVIDER_TIMEOUT, "The model's provider did not answer in time. Try again.")
    if status in _OVERLOADS:
        return Fault(
            Kind.PROVIDER_OVERLOADED,
            "The model's provider is overloaded. Try again shortly.",
            retry_after_s=_read_wait(headers, error),
        )
    return Fault(Kind.PROVIDER_ERROR, "The model's provider failed to answer. Try again.", retry_after_s=1.0)


def is_account_spent(status: int, body: bytes) -> bool:
    """Whether a bad status says that our own account at the provider is out of credit: a matter for the operator."""
    if status == _STATUS_SPENT:
        return True
    if status not in _MAY_SAY_SPENT:
        return False
    error = _read_error(body)
    return bool(_codes(error) & _CODES_SPENT or _SPENT.match(error.message or ""))


def _read_headers(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, as the headers say; None where they say nothing usable."""
    waits = (
        _wait_of(headers.get(name, ""), unit_s)
        for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0))
    )
    return next((wait_s for wait_s in waits if wait_s is not None), None)


def _read_wait(headers: Mapping[str, str], error: _Error) -> float:
    """Seconds to wait, from the headers, else from Google's RetryInfo ("32s"); 1 where nobody says."""
    delays = (one.get("retryDelay") for one in _details(error))
    told = [wait_s for delay in delays if (wait_s := _wait_of(str(delay).removesuffix("s"), 1.0)) is not None]
    return _read_headers(headers) or next(iter(told), 1.0)


def _wait_of(text: str, unit_s: float) -> float | None:
    try:
        wait_s = float(text) * unit_s
    except ValueError:
        return None
    return wait_s if 0 < wait_s <= _RETRY_AFTER_MAX_S else None


def _read_error(body: bytes) -> _Error:
    try:
        read = _body.decode(body)
    except _UNREADABLE:
        return _Error()
    wire = read if isinstance(read, _Body) else next(iter(read), _Body())
    if isinstance(wire.error, _Error):
        return wire.error
    told = wire.error or wire.message or wire.detail
    return _Error(message=told if isinstance(told, str) else None)


def _details(error: _Error) -> list[dict[str, object]]:
    details = error.details if isinstance(error.details, list) else []
    return [one for one in details if isinstance(one, dict)]


def _codes(error: _Error) -> set[str]:
    said = [error.code, error.type, error.status, *(one.get("reason") for one in _details(error))]
    return {one for one in said if isinstance(one, str)}


def _is_too_long(status: int, error: _Error) -> bool:
    if status not in _OF_THE_CALLER and status != _TOO_FAST:
        return False
    message = error.message or ""
    if status == _TOO_FAST and _BY_TIME.search(message):
        return False
    return bool(_codes(error) & _CODES_TOO_LONG or _TOO_LONG.search(message))


def _is_the_providers(error: _Error) -> bool:
    codes = _codes(error)
    return bool(codes & _CODES_ABOUT_US or _ABOUT_US.search(error.message or ""))


def _refused(error: _Error, status: int, code: str | None, secrets: Sequence[str]) -> Fault:
    """The caller's fault, in the provider's words without what no customer may read."""
    message = error.message or ""
    for secret in secrets:
        message = message.replace(secret, "…")
    return Fault(
        Kind.PROVIDER_REFUSED,
        _SECRETS.sub("…", message)[:_MESSAGE_MAX] or "The model's provider refused the request as invalid.",
        code=code,
        param=_matching(_PARAM, error.param),
        status=status,
    )


def _matching(form: re.Pattern[str], value: object) -> str | None:
    return value if isinstance(value, str) and form.fullmatch(value) else None
