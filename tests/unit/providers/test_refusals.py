"""A provider's refusal, read for whose fault it was, and stripped of what no customer may read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import msgspec
import pytest

from farebox.core.errors import Fault, Kind
from farebox.providers.refusals import read_refusal
from tests.dialects.recordings import find_folder


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
    assert read_refusal(429, headers, b"{}").retry_after_s == seconds
    assert read_refusal(429, headers, b"").retry_after_s == seconds


def google(code: int, message: str, status: str, *details: object) -> bytes:
    return json.dumps(
        {"error": {"code": code, "message": message, "status": status, "details": details}}
    ).encode()


TOO_LONG = [
    (
        400,
        "This model's maximum context length is 128000 tokens. However, your messages resulted in 130000 tokens.",
    ),
    (400, "This model's maximum prompt length is 131072 but the request contains 537812 tokens."),
    (400, "Your input exceeds the context window of this model. Please adjust your input and try again."),
    (400, "prompt is too long: 3333404 tokens > 200000 maximum"),
    (400, "input length and `max_tokens` exceed context limit: 199000 + 20000 > 200000"),
    (400, "The input token count (1200000) exceeds the maximum number of tokens allowed (1048575)."),
    (400, "the request exceeds the available context size. try increasing the context size"),
    (400, "Prompt contains 50000 tokens, too large for model with 32768 maximum context length"),
    (400, "too many tokens: total number of tokens in the request cannot exceed 4081"),
    (413, "Input is too long for requested model."),
    (422, "This endpoint's maximum context length is 8192 tokens."),
    (429, "The prompt is too long: 300000, model maximum context length: 131071"),
]


@pytest.mark.parametrize(("status", "message"), TOO_LONG)
def test_too_long_a_prompt_is_the_callers_however_it_is_said(status: int, message: str) -> None:
    fault = refused(status, message)
    assert (fault.kind, fault.status, fault.code) == (Kind.PROVIDER_REFUSED, 400, "context_length_exceeded")
    assert fault.message == message
    assert not fault.kind.row.next_route


@pytest.mark.parametrize("member", ["code", "type"])
@pytest.mark.parametrize("code", ["context_length_exceeded", "exceed_context_size_error"])
def test_too_long_a_prompt_may_be_said_by_a_code_alone(member: str, code: str) -> None:
    assert refused(429, "No.", **{member: code}).code == "context_length_exceeded"


@pytest.mark.parametrize(
    "message",
    [
        "Request too large for gpt-4o in organization org-x on tokens per min (TPM): Limit 30000, Requested 40000.",
        "Rate limit reached for the context window of this model.",
        "You exceeded your current quota: input token count exceeds 1000000 per minute.",
    ],
)
def test_tokens_counted_by_time_are_the_operators_limit(message: str) -> None:
    assert refused(429, message).kind is Kind.PROVIDER_OVERLOADED


@pytest.mark.parametrize("status", [401, 403, 404, 500, 503])
def test_other_statuses_are_not_read_for_a_length(status: int) -> None:
    assert refused(status, "prompt is too long").kind is not Kind.PROVIDER_REFUSED


def test_anthropics_refusals_are_read() -> None:
    def body(kind: str, message: str) -> bytes:
        return json.dumps({"type": "error", "error": {"type": kind, "message": message}}).encode()

    fault = read_refusal(400, {}, body("invalid_request_error", "messages: at least one is required"))
    assert (fault.kind, fault.message) == (Kind.PROVIDER_REFUSED, "messages: at least one is required")
    assert read_refusal(400, {}, body("billing_error", "No.")).kind is Kind.PROVIDER_ERROR
    assert read_refusal(529, {}, body("overloaded_error", "Overloaded")).kind is Kind.PROVIDER_OVERLOADED


@pytest.mark.parametrize("form", [lambda body: body, lambda body: b"[" + body + b"\n]"])
def test_googles_refusals_are_read_alone_and_in_an_array(form: Callable[[bytes], bytes]) -> None:
    fault = read_refusal(400, {}, form(google(400, "Invalid value at 'contents'", "INVALID_ARGUMENT")))
    assert (fault.kind, fault.message) == (Kind.PROVIDER_REFUSED, "Invalid value at 'contents'")
    assert fault.code == "provider_refused"
    bad_key = google(400, "Ungültig.", "INVALID_ARGUMENT", {"reason": "API_KEY_INVALID"})
    assert read_refusal(400, {}, form(bad_key)).kind is Kind.PROVIDER_ERROR
    abroad = google(400, "User location is not supported for the API use.", "FAILED_PRECONDITION")
    assert read_refusal(400, {}, form(abroad)).kind is Kind.PROVIDER_ERROR
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "32.5s"}
    spent = form(google(429, "Quota exceeded.", "RESOURCE_EXHAUSTED", "odd", {"links": []}, info))
    assert read_refusal(429, {}, spent).retry_after_s == 32.5
    assert read_refusal(429, {"retry-after": "7"}, spent).retry_after_s == 7.0


@pytest.mark.parametrize("delay", ["", "soon", "-3s", "nans", "1e9s", 7, None, ["3s"]])
def test_a_delay_that_makes_no_sense_is_one_second(delay: object) -> None:
    spent = google(429, "No.", "RESOURCE_EXHAUSTED", {"retryDelay": delay})
    assert read_refusal(429, {}, spent).retry_after_s == (7.0 if delay == 7 else 1.0)


def test_what_the_model_wrote_wrongly_is_told_as_its_provider_tells_it() -> None:
    fault = refused(400, "Tool call validation failed", code="tool_use_failed")
    assert (fault.kind, fault.status, fault.code) == (Kind.PROVIDER_REFUSED, 400, "tool_use_failed")


class Recorded(msgspec.Struct):
    name: str
    status: int
    response_headers: dict[str, str]
    response_body: str | None = None
    response_chunks: list[str] | None = None

    @property
    def body(self) -> bytes:
        return (self.response_body or "".join(self.response_chunks or ())).encode()


def recorded_refusals() -> list[Recorded]:
    """Every recorded answer of a bad status; one of our own where there is no folder."""
    folder = find_folder()
    own = Recorded(
        "own-error-400-context", 400, {}, '{"error":{"message":"prompt is too long: 3 tokens > 2"}}'
    )
    files = sorted(folder.glob("*.json")) if folder else []
    found = [msgspec.json.decode(path.read_bytes(), type=Recorded) for path in files]
    return [own, *(one for one in found if one.status >= 400)]


@pytest.mark.recordings
@pytest.mark.parametrize("one", recorded_refusals(), ids=lambda one: f"recorded:{one.name}")
def test_a_recorded_refusal_is_whose_fault_it_was(one: Recorded) -> None:
    fault = read_refusal(one.status, one.response_headers, one.body)
    if "context" in one.name:
        assert (fault.kind, fault.status, fault.code) == (
            Kind.PROVIDER_REFUSED,
            400,
            "context_length_exceeded",
        )
    elif fault.kind is Kind.PROVIDER_REFUSED:
        assert "-key" not in one.name
        assert fault.status == one.status in (400, 413, 422)
        assert fault.message != "The model's provider refused the request as invalid."
    else:
        assert fault.kind.row.next_route
        assert fault.retry_after_s or fault.kind is Kind.PROVIDER_TIMEOUT
        assert fault.message.startswith("The model's provider")
    assert not re.search(r"https?://|\b(sk|org|req|proj)[-_]\w{6}|api.?key", fault.message, re.IGNORECASE)
