"""What of a Messages call costs money outside tokens or reaches state at a provider, and what becomes of it.

Tools and blocks are allowed by name, features of the `anthropic-beta` header too: a word that Anthropic adds tomorrow
may cost, or may name something kept. (Anthropic, "Messages", "Beta headers" and "Pricing".)
"""

from __future__ import annotations

import re
from typing import Final

from farebox.core.errors import Fault, Kind
from farebox.dialects.body import COSTS, STATE
from farebox.dialects.dialect import Rule

_OTHERS = "its tokens are counted apart from the answer's, so they could not be charged"
_HEADER = "features are turned on by the anthropic-beta header"

# Members of the body.
REFUSED: Final[dict[str, str]] = {
    "container": STATE,
    "mcp_servers": COSTS,
    "thread": STATE,
    "diagnostics": STATE,
    "fallbacks": _OTHERS,
    "fallback_credit_token": STATE,
    "billing_policy": COSTS,
    "compaction": _OTHERS,
    "user_profile_id": STATE,
    "workspace_id": STATE,
    "plugins": COSTS,
    "betas": _HEADER,
    "anthropic_beta": _HEADER,
}
# Members anywhere inside, but not where names are the caller's own: schemas, what tools were given, notes.
STATE_INSIDE: Final = ("file_id", "container_id", "skill_id", "cached_content", "vector_store_id")
FREE_NAMES: Final = frozenset({"input", "input_schema", "input_examples", "schema", "metadata"})

# Blocks that hold all they say themselves. Results of hosted tools are words like others once they are there.
BLOCKS: Final = frozenset(
    {
        "text",
        "image",
        "document",
        "search_result",
        "thinking",
        "redacted_thinking",
        "tool_use",
        "tool_result",
        "tool_reference",
        "server_tool_use",
        "web_search_tool_result",
        "web_fetch_tool_result",
    }
)
# Tools that the caller runs itself, by the beginning of their type; their schema is built into the model.
CALLERS_TOOLS: Final = (
    "bash_2",
    "text_editor_2",
    "computer_2",
    "memory_2",
    "computer_toolset_",
    "browser_toolset_",
)
# Clearing old results and thoughts costs nothing. Compaction is a second answer, counted apart.
EDITS: Final = ("clear_tool_uses_", "clear_thinking_")

ORDINARY: Final[dict[str, frozenset[str]]] = {
    "service_tier": frozenset({"auto", "standard_only"}),
    "speed": frozenset({"standard"}),
    "inference_geo": frozenset({"global"}),
}
STRIPPED: Final = tuple(ORDINARY)

# Features without a date that change nothing but tokens; what they let a body say is judged by its own name.
BETAS: Final = frozenset(
    {
        "advanced-tool-use",
        "claude-code",
        "computer-use",
        "context-management",
        "effort",
        "extended-cache-ttl",
        "fine-grained-tool-streaming",
        "interleaved-thinking",
        "max-tokens-3-5-sonnet",
        "mid-conversation-output-config",
        "mid-conversation-system-clear-at",
        "model-context-window-exceeded",
        "output-128k",
        "pdfs",
        "prompt-caching",
        "prompt-caching-scope",
        "structured-outputs",
        "task-budgets",
        "thinking-display-updates",
        "thinking-token-count",
        "token-counting",
        "token-efficient-tools",
        "tool-examples",
    }
)
REFUSED_BETAS: Final[dict[str, str]] = {
    "advisor-tool": _OTHERS,
    "agent-memory": STATE,
    "code-execution": "a container at a provider costs by the hour",
    "compact": _OTHERS,
    "context-1m": "a prompt of more than 200,000 tokens costs more a token, and models have one price here",
    "fallback-credit": STATE,
    "fast-mode": "it costs several times the ordinary price",
    "files-api": STATE,
    "managed-agents": STATE,
    "mcp-client": COSTS,
    "mcp-tunnels": STATE,
    "message-threads": STATE,
    "server-side-fallback": _OTHERS,
    "skills": STATE,
    "user-profiles": STATE,
    "web-fetch": COSTS,
    "web-search": COSTS,
}
_DATE = re.compile(r"-\d{4}-?\d{2}-?\d{2}$")

RULES: Final = (
    *(Rule(name, "refused", why) for name, why in REFUSED.items()),
    Rule(f"{', '.join(STATE_INSIDE)} anywhere inside", "refused", STATE),
    Rule(
        "tools that the caller does not run: web search and fetch, code execution, tool search, MCP …",
        "refused",
        COSTS,
    ),
    Rule("blocks of uploads, code execution and MCP, and of types nobody knows", "refused", STATE),
    Rule("`context_management` beyond clearing old tool results and thoughts", "refused", _OTHERS),
    Rule("`max_tokens: 0`", "refused", "an answer without words is free here, and writing the cache is not"),
    Rule("`service_tier` beyond `auto` and `standard_only`", "refused", "other tiers have no price here"),
    Rule("`speed` beyond `standard`", "refused", "it costs several times the ordinary price"),
    Rule("`inference_geo` beyond `global`", "refused", "a region costs more than the ordinary price"),
    *(Rule(f"`{name}`", "stripped", "only the ordinary one gets here") for name in STRIPPED),
    *(Rule(f"`anthropic-beta: {name}-…`", "refused", why) for name, why in REFUSED_BETAS.items()),
    Rule(
        "`anthropic-beta` of any other name but " + ", ".join(f"`{name}`" for name in sorted(BETAS)),
        "stripped",
        "nobody knows what it costs",
    ),
)


def undated(beta: str) -> str:
    """A feature's name without the date that ends it."""
    return _DATE.sub("", beta)


# The tool runners of both SDKs open a thread unasked; told so, they send the whole talk with every turn instead.
_UNTHREADED = (("details", '{"error_code":"thread_unsupported_request","unsupported":["thread"]}'),)


def refused(member: str, reason: str) -> Fault:
    """What is told to a caller who asks for it."""
    message = f"{member} is not available: {reason}. Leave it out."
    fields = _UNTHREADED if "thread" in member else ()
    return Fault(Kind.BAD_REQUEST, message, param=member, fields=fields)
