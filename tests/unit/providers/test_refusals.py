"""A provider's refusal, read for whose fault it was, and stripped of what no customer may read."""

from __future__ import annotations

import json

import pytest

from farebox.core.errors import Fault, Kind
from farebox.providers.refusals import read_refusal, read_retry_after


def refused(status: int, message: object = "No.", **members: object) -> Fault:
    return read_refusal(status, {}, json.dumps({"error": {"message": message, **members}}).encode())


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refusal_of_the_request_keeps_its_status_message_and_code(status: int) -> None:
    fault = refused(
        status, "temperature is too high", code="bad_temperature", param="messages[0].content", type="t"
    )
    assert (fault.kind, fault.status, fault.message) == (
        Kind.PROVIDER_REFUSED,
        status,
        "temperature is too high",
    )
    assert (fault.code, fault.param) == ("bad_temperature", "messages[0].content")
    assert not fault.kind.row.next_route
    assert not fault.retry


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, Kind.PROVIDER_ERROR), (402, Kind.PROVIDER_ERROR), (403, Kind.PROVIDER_ERROR), (404, Kind.PROVIDER_ERROR),
        (408, Kind.PROVIDER_TIMEOUT), (409, Kind.PROVIDER_ERROR), (429, Kind.PROVIDER_OVERLOADED),
        (500, Kind.PROVIDER_ERROR), (502, Kind.PROVIDER_ERROR), (503, Kind.PROVIDER_OVERLOADED),
        (504, Kind.PROVIDER_TIMEOUT), (529, Kind.PROVIDER_OVERLOADED), (301, Kind.PROVIDER_ERROR),
        (418, Kind.PROVIDER_ERROR),
    ],
)  # fmt: skip
def test_anything_else_is_the_providers_in_our_words(status: int, kind: Kind) -> None:
    fault = refused(status, "canary", code="canary", param="canary")
    assert fault.kind is kind
    assert "canary" not in f"{fault.message}{fault.code}{fault.param}"
    assert fault.kind.row.next_route


@pytest.mark.parametrize(
    "message",
    [
        "API key not valid. Please pass a valid API key.",
        "Incorrect API key provided: xa***ry. You can obtain an API key from the console.",
        "Your credit balance is too low to access the API. Please go to Plans & Billing.",
        "You exceeded your current quota, please check your plan.",
        "The organization org-canary must be verified to use this model.",
        "Unauthorised",
        "Missing permission for project canary",
        "invalid credentials",
    ],
)
def test_a_bad_request_about_our_account_is_not_the_callers(message: str) -> None:
    fault = refused(400, message)
    assert fault.kind is Kind.PROVIDER_ERROR
    assert fault.message == "The model's provider failed to answer. Try again."


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abcdef123456", "AIzaSyA1234567890abcdef", "gsk_0123456789abcdef", "xai-0123456789",
        "org-0123456789abc", "https://internal.provider.example/v1?key=1", "http://10.0.0.1:8000/x",
        "req_0123456789abc",
        "our-odd-secret", "gateway.provider.example:8443",
    ],
)  # fmt: skip
def test_a_message_that_is_passed_on_loses_keys_addresses_and_names(secret: str) -> None:
    body = json.dumps({"error": {"message": f"top_p ({secret}) is out of range."}}).encode()
    fault = read_refusal(400, {}, body, secrets=("our-odd-secret", "gateway.provider.example:8443"))
    assert fault.message.startswith("top_p (…")
    assert secret not in fault.message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error":"Just a text."}', "Just a text."),
        (b'{"message":"At the top."}', "At the top."),
        (b'{"detail":"In detail."}', "In detail."),
        (b'{"object":"error","message":{"detail":[{"msg":"deep"}]}}', None),
        (b'{"detail":[{"loc":["body"],"msg":"Field required"}]}', None),
        (b'{"error":{"message":7}}', None),
        (b'{"error":{"message":""}}', None),
        (b'{"error":null}', None),
        (b"", None),
        (b"<html>canary</html>", None),
        (b"\xff\xfe", None),
        (b'{"error":{"message":"\xff"}}', None),
        (b"[" * 50_000, None),
        (b'{"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}", None),
        (b"[1]", None),
    ],
)
def test_an_error_body_is_read_in_every_form_and_never_breaks_us(body: bytes, message: str | None) -> None:
    fault = read_refusal(400, {}, body)
    assert fault.kind is Kind.PROVIDER_REFUSED
    assert fault.message == (message or "The model's provider refused the request as invalid.")


@pytest.mark.parametrize("code", [7, None, "Capital", "x" * 65, "a b", ["list"], {"an": "object"}])
def test_a_code_that_is_no_plain_word_becomes_ours(code: object) -> None:
    fault = refused(400, "Wrong.", code=code)
    assert (fault.message, fault.code) == ("Wrong.", "provider_refused")


@pytest.mark.parametrize("param", [7, ["messages"], "see https://x.example", "a b", "x" * 129])
def test_a_param_that_is_no_path_is_left_out(param: object) -> None:
    fault = refused(400, "Wrong.", param=param)
    assert (fault.message, fault.param) == ("Wrong.", None)


def test_a_long_message_is_cut() -> None:
    assert len(refused(400, "w" * 5_000).message) == 1_000


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after-ms": "1500", "retry-after": "7"}, 1.5),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, 1.0),
        ({"retry-after": "-1"}, 1.0),
        ({"retry-after": "nan"}, 1.0),
        ({"retry-after": "inf"}, 1.0),
        ({"retry-after": "1e9"}, 1.0),
        ({}, 1.0),
    ],
)
def test_a_providers_patience_is_taken_where_it_makes_sense(headers: dict[str, str], seconds: float) -> None:
    assert read_retry_after(headers) == seconds
    assert read_refusal(429, headers, b"").retry_after_s == seconds
