"""Which refusals say that our own account at a provider has nothing left: a matter for the operator, and no other."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.providers.refusals import is_account_spent

SPENT = {
    "DeepSeek": (
        402,
        {"message": "Insufficient Balance", "type": "unknown_error", "code": "invalid_request_error"},
    ),
    "OpenRouter": (
        402,
        {"message": "Insufficient credits. Add more using https://openrouter.ai", "code": 402},
    ),
    "OpenAI": (
        429,
        {"message": "You exceeded your current quota, please check your plan.", "code": "insufficient_quota"},
    ),
    "OpenAI, by its type": (
        429,
        {"message": "You exceeded your quota.", "type": "insufficient_quota", "code": None},
    ),
    "OpenAI's own limit": (
        400,
        {"message": "Billing hard limit has been reached", "code": "billing_hard_limit_reached"},
    ),
    "Anthropic": (
        400,
        {
            "type": "invalid_request_error",
            "message": "Your credit balance is too low to access the Anthropic API.",
        },
    ),
    "Anthropic, by its type": (
        403,
        {"type": "billing_error", "message": "There is an issue with your billing."},
    ),
    "Moonshot": (429, {"message": "Your account is suspended.", "type": "exceeded_current_quota_error"}),
    "xAI": (
        403,
        "Your team acme-1 has either used all available credits or reached its monthly spending limit.",
    ),
}
NOT_SPENT = {
    "too many calls": (
        429,
        {"message": "Rate limit reached for requests per min.", "code": "rate_limit_exceeded"},
    ),
    "Gemini's limit a minute": (
        429,
        {
            "message": "You exceeded your current quota, please check your plan.",
            "status": "RESOURCE_EXHAUSTED",
        },
    ),
    "a bad key": (401, {"message": "Incorrect API key provided.", "code": "invalid_api_key"}),
    "no right": (403, {"message": "Your project may not use this model.", "code": "model_not_allowed"}),
    "a crash that says so": (500, {"message": "Insufficient balance", "code": "insufficient_quota"}),
    "a caller's own words": (400, {"message": "'insufficient balance' is not one of ['red', 'blue']"}),
}


def body(error: object) -> bytes:
    return json.dumps({"error": error}).encode()


@pytest.mark.parametrize("name", SPENT)
def test_an_account_without_credit_is_known_by_what_its_provider_says(name: str) -> None:
    status, error = SPENT[name]
    assert is_account_spent(status, body(error))


@pytest.mark.parametrize("name", NOT_SPENT)
def test_nothing_else_is_taken_for_it(name: str) -> None:
    status, error = NOT_SPENT[name]
    assert not is_account_spent(status, body(error))


@given(st.integers(200, 599), st.binary(max_size=200))
def test_of_any_bytes_only_a_402_says_it(status: int, data: bytes) -> None:
    assert is_account_spent(status, data) is (status == 402)
