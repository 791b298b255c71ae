"""What never passes as it came: it costs money outside tokens, or reaches state kept at the provider.

All customers of an operator share its key, so a name of anything kept there is refused wherever it stands.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from farebox.dialects.body import COSTS, STATE
from farebox.dialects.dialect import Rule

_OTHER_MODEL: Final = "the provider would choose the model, and each has its own price"
_SOUND: Final = "an answer in sound has no price here"
_PICTURES: Final = "an answer in pictures has no price here"

REFUSED: Final[dict[str, str]] = {"cachedContent": STATE, "continuationToken": STATE}
REFUSED_SETTINGS: Final[dict[str, str]] = {
    "speechConfig": _SOUND,
    "imageConfig": _PICTURES,
    "routingConfig": _OTHER_MODEL,
    "modelSelectionConfig": _OTHER_MODEL,
}
HOSTED_TOOLS: Final = (
    "googleSearch",
    "googleSearchRetrieval",
    "urlContext",
    "codeExecution",
    "googleMaps",
    "fileSearch",
    "computerUse",
    "enterpriseWebSearch",
    "mcpServers",
    "retrieval",
    "parallelAiSearch",
    "exaAiSearch",
)
FUNCTIONS: Final = "functionDeclarations"
ORDINARY_TIERS: Final = frozenset(
    {None, "", "standard", "unspecified", "SERVICE_TIER_UNSPECIFIED", "STANDARD"}
)
# What the path or the operator's account decides; in both spellings, for the bytes are the caller's.
STRIPPED: Final = ("model", "serviceTier", "service_tier")

RULES: Final = (
    *(Rule(f"`{name}`", "refused", why) for name, why in REFUSED.items()),
    *(Rule(f"`generationConfig.{name}`", "refused", why) for name, why in REFUSED_SETTINGS.items()),
    *(Rule(f"`tools[].{name}`", "refused", COSTS) for name in HOSTED_TOOLS),
    Rule("any other tool than `functionDeclarations`", "refused", COSTS),
    Rule(
        "`generationConfig.responseModalities` beyond `TEXT`",
        "refused",
        "sound and pictures have no price here",
    ),
    Rule("`serviceTier` beyond `standard`", "refused", "other tiers have no price here"),
    Rule("`serviceTier`", "stripped", "only the ordinary tier gets here"),
    Rule("`model`", "stripped", "the path names the model"),
    Rule("`fileData.fileUri` that is no public web address", "refused", STATE),
    Rule(
        "`store`",
        "stripped",
        "`false` goes out: customers share the operator's account, so nothing is kept there",
    ),
)

# Google's own hosts hold what belongs to an account; this one also serves what anybody may read.
_GOOGLE = ".googleapis.com"
_PUBLIC_STORE = "storage.googleapis.com"


def is_public(uri: str) -> bool:
    """Whether an address is one of the open web, and names nothing that is kept for the operator's account."""
    try:
        parts = urlsplit(uri)
        host = parts.hostname or ""
    except ValueError:
        return False
    return (
        parts.scheme in ("http", "https")
        and bool(host)
        and (host == _PUBLIC_STORE or not f".{host}".endswith(_GOOGLE))
    )
