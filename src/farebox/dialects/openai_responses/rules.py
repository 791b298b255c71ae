"""What of a Responses body costs money outside tokens or reaches state at a provider, and what becomes of it.

Tools and items are allowed by name: a word that OpenAI adds tomorrow may cost, or may name something kept.
"""

from __future__ import annotations

from typing import Final

from farebox.dialects.body import COSTS, STATE
from farebox.dialects.dialect import Rule

# Members of the body.
REFUSED: Final[dict[str, str]] = {
    "previous_response_id": STATE,
    "conversation": STATE,
    "prompt": STATE,
    "container": STATE,
    "cached_content": STATE,
    "file_ids": STATE,
    "vector_store_ids": STATE,
    "context_management": COSTS,
    "moderation": COSTS,
    "web_search_options": COSTS,
    "search_parameters": COSTS,
    "plugins": COSTS,
}
# Members anywhere inside, but not where names are the caller's own: schemas, and the caller's notes.
STATE_INSIDE: Final = ("file_id", "cached_content", "vector_store_id", "vector_store_ids", "container_id")
FREE_NAMES: Final = frozenset({"parameters", "schema", "output_schema", "metadata"})

# Tools that the caller runs; `shell` where its environment is local, `namespace` where it holds but these two.
CALLERS_TOOLS: Final = frozenset({"function", "custom", "local_shell", "apply_patch"})
PLAIN_TOOLS: Final = frozenset({"function", "custom"})
CHOSEN_TOOLS: Final = frozenset(
    {"function", "custom", "allowed_tools", "local_shell", "shell", "apply_patch"}
)

# Items that hold all they say themselves.
ITEMS: Final = frozenset(
    {
        "message",
        "reasoning",
        "compaction",
        "function_call",
        "function_call_output",
        "custom_tool_call",
        "custom_tool_call_output",
        "local_shell_call",
        "local_shell_call_output",
        "shell_call",
        "shell_call_output",
        "apply_patch_call",
        "apply_patch_call_output",
    }
)
# Items whose id may be left out: a provider that keeps nothing could only look it up in vain.
WITHOUT_ID: Final = ITEMS - {"local_shell_call", "local_shell_call_output"}
# Calls and what answers them.
ANSWERS: Final = {
    "function_call_output": "function_call",
    "custom_tool_call_output": "custom_tool_call",
    "shell_call_output": "shell_call",
    "apply_patch_call_output": "apply_patch_call",
}

ENCRYPTED: Final = "reasoning.encrypted_content"
LOGPROBS: Final = "message.output_text.logprobs"
INCLUDED: Final = frozenset({ENCRYPTED, LOGPROBS, "message.input_image.image_url"})
ORDINARY_TIERS: Final = frozenset({None, "auto", "default"})
STRIPPED: Final = ("service_tier", "stream_options", "background")

RULES: Final = (
    *(Rule(name, "refused", why) for name, why in REFUSED.items()),
    Rule("`background: true`", "refused", "the answer would be kept at a provider"),
    Rule(f"{', '.join(STATE_INSIDE)} anywhere inside", "refused", STATE),
    Rule("`item_reference`, and any item that is but an id", "refused", STATE),
    Rule("items of hosted tools: searches, computers, interpreters, images, MCP", "refused", COSTS),
    Rule("tools that the caller does not run: web and file search, computer use, MCP …", "refused", COSTS),
    Rule(
        "`shell` tools but with a local environment", "refused", "a container at a provider costs by the hour"
    ),
    Rule("`include` of what hosted tools found", "refused", COSTS),
    Rule("`service_tier` beyond `auto` and `default`", "refused", "other tiers have no price here"),
    Rule("`service_tier`", "stripped", "only the ordinary tier gets here"),
    Rule("`stream_options`", "stripped", "padding against eavesdroppers is the provider's default"),
    Rule(
        "`store`",
        "stripped",
        "`false` goes out: customers share the operator's account; what is kept, is kept here",
    ),
    Rule("`id` of items", "stripped", "nothing is kept at a provider, so there is nothing to be found by it"),
    Rule(
        "`reasoning` items without `encrypted_content`",
        "stripped",
        "a provider could only look them up by their id",
    ),
)
