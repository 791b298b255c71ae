"""Generation: one call in OpenRouter's words, member for member, for clients that were written for it."""

from __future__ import annotations

import msgspec

from farebox.core.usage import Usage
from farebox.ledger.books import RequestRow

# What OpenRouter tells and nothing here corresponds to; its clients' types ask for the members all the same.
_UNTOLD = (
    "upstream_id",
    "upstream_inference_cost",
    "app_id",
    "moderation_latency",
    "num_media_prompt",
    "num_input_audio_prompt",
    "num_media_completion",
    "num_search_results",
    "external_user",
    "router",
    "http_referer",
    "user_agent",
    "preset_id",
    "service_tier",
    "web_search_engine",
    "num_fetches",
)


def write_generation(
    row: RequestRow, *, charge: msgspec.Raw, saved: msgspec.Raw, created_at: str
) -> dict[str, object]:
    """The members of `data`; amounts are in the wallet's currency, which OpenRouter's never name."""
    usage = msgspec.json.decode(row.usage, type=Usage)
    attempts = msgspec.json.decode(row.attempts, type=list[dict[str, str | int]])
    return {
        "id": row.id,
        "model": row.model,
        "streamed": bool(row.streamed),
        "cancelled": row.error == "caller_gone",
        "created_at": created_at,
        "total_cost": charge,
        "usage": charge,
        "cache_discount": saved,
        "currency": row.currency,
        "provider_name": row.provider,
        "provider_responses": [
            {
                "provider_name": tried["provider"],
                "status": tried.get("status", 0),
                "latency": tried.get("latency_ms", 0),
            }
            for tried in attempts
        ],
        "is_byok": False,
        "api_type": "completions",
        "origin": "",
        "finish_reason": row.finish,
        "native_finish_reason": row.finish,
        "latency": (row.first_byte_us or row.latency_us) // 1000,
        "generation_time": row.latency_us // 1000,
        "tokens_prompt": row.input_tokens,
        "tokens_completion": row.output_tokens,
        "native_tokens_prompt": row.input_tokens,
        "native_tokens_completion": row.output_tokens,
        "native_tokens_completion_images": usage.image_out,
        "native_tokens_reasoning": usage.output_thought,
        "native_tokens_cached": usage.cache_read,
        **dict.fromkeys(_UNTOLD),
    }
