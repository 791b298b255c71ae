"""What a model request says outside its body: Gemini's path, and the features that Anthropic's clients turn on."""

from __future__ import annotations

from farebox.api.visit import Handler, Visit
from farebox.core.errors import Fault, Kind
from farebox.core.money import parse_nano
from farebox.dialects.dialect import ASKED, Asked

GENERATE = "generateContent"
STREAM = "streamGenerateContent"
COUNT = "countTokens"
_MAX_CHARGE = b"x-farebox-max-charge"
_BETA, _VERSION = b"anthropic-beta", b"anthropic-version"


def nothing_asked(visit: Visit) -> Asked:
    """Everything stands in the body."""
    del visit
    return ASKED


def betas_asked(visit: Visit) -> Asked:
    """The features named by `anthropic-beta`, in their order, and the version of the language."""
    headers = visit.request.headers
    names = (name.strip() for name in headers.get(_BETA, b"").decode("latin-1").split(","))
    version = headers.get(_VERSION)
    return Asked(
        betas=tuple(name for name in names if name),
        version=None if version is None else version.decode("latin-1"),
    )


def model_asked(visit: Visit) -> Asked:
    """The model and the form of its answer, from `{model}:{verb}`; what follows the last colon is the verb."""
    model, verb = split_verb(visit)
    stream = verb == STREAM
    return Asked(model=model, stream=stream, array=stream and visit.query("alt") != "sse")


def max_charge_asked(visit: Visit) -> int | None:
    """The caller's own maximum in nano-units of the wallet's currency; Fault BAD_REQUEST names the header."""
    text = visit.request.headers.get(_MAX_CHARGE)
    if text is None:
        return None
    try:
        nano = parse_nano(text.decode("latin-1"))
    except ValueError:
        nano = -1
    if nano < 0:
        name = _MAX_CHARGE.decode()
        raise Fault(
            Kind.BAD_REQUEST,
            f"{name} must be an amount in your wallet's currency with at most nine decimals, such as 0.05.",
            param=name,
        )
    return nano


def by_verb(generate: Handler, count: Handler) -> Handler:
    """Google's verbs of a model share one path: two of them generate, one counts."""

    async def handle(visit: Visit) -> None:
        _, verb = split_verb(visit)
        await (count if verb == COUNT else generate)(visit)

    return handle


def split_verb(visit: Visit) -> tuple[str, str]:
    """The model and the verb in a Gemini path; Fault NOT_FOUND where there is no such verb."""
    model, _, verb = visit.rest.rpartition(":")
    if not model or verb not in (GENERATE, STREAM, COUNT):
        raise Fault(
            Kind.NOT_FOUND,
            f"There is nothing at {visit.request.path[:200]!r}."
            f" POST to models/MODEL:{GENERATE}, :{STREAM} or :{COUNT}.",
        )
    return model, verb
