from __future__ import annotations

import inspect

import pytest

from farebox.core import errors
from farebox.core.errors import Fault, Kind

# The Console platform's table of errors: type and status.
CONSOLE = {
    "invalid_request_error": {
        400,
        405,
        409,
        413,
        415,
    },  # 400 there; the others are what HTTP calls the same fault.
    "authentication_error": {401},
    "permission_error": {403},
    "not_found_error": {404},
    "rate_limit_error": {429},
    "internal_server_error": {500},
    "service_unavailable_error": {502, 503, 504},
    "billing_error": {402},  # Not in that table, where nobody pays ahead.
}
NAMED = {
    Kind.NO_CREDIT: (402, "insufficient_credits"),
    Kind.WRONG_METHOD: (405, "method_not_allowed"),
    Kind.TOO_LARGE: (413, "request_too_large"),
    Kind.WRONG_MEDIA: (415, "unsupported_media_type"),
    Kind.PROVIDER_ERROR: (502, "provider_error"),
    Kind.PROVIDER_OVERLOADED: (503, "provider_overloaded"),
    Kind.LEDGER_UNAVAILABLE: (503, "ledger_unavailable"),
    Kind.PROVIDER_TIMEOUT: (504, "provider_timeout"),
    Kind.BAD_KEY: (401, "invalid_api_key"),
    Kind.TOO_FAST: (429, "rate_limit_exceeded"),
}


@pytest.mark.parametrize("kind", list(Kind), ids=lambda kind: kind.name)
def test_every_kind_has_a_row_as_the_seeds_say(kind: Kind) -> None:
    assert kind.row.status in CONSOLE[kind.row.type]
    assert kind.row.code
    assert kind.row.code == kind.row.code.lower()


def test_the_rows_cover_every_status_and_type_of_the_seeds() -> None:
    told = {(kind.row.status, kind.row.type) for kind in Kind}
    assert told == {(status, type_) for type_, statuses in CONSOLE.items() for status in statuses}


@pytest.mark.parametrize(("kind", "named"), NAMED.items(), ids=lambda value: getattr(value, "name", ""))
def test_a_status_and_its_code_are_as_promised(kind: Kind, named: tuple[int, str]) -> None:
    assert (kind.row.status, kind.row.code) == named


def test_no_kind_is_another_by_a_second_name() -> None:
    assert len(set(Kind)) == len(Kind.__members__)
    assert Kind["PROVIDER_CUT"] is not Kind["PROVIDER_ERROR"]


def test_every_kind_is_in_the_drawing_that_opens_the_module() -> None:
    drawing = inspect.getdoc(errors) or ""
    drawn = [
        word for word in drawing.replace("'", " ").split() if word.isupper() and word in Kind.__members__
    ]
    assert sorted(drawn) == sorted(Kind.__members__)


@pytest.mark.parametrize("kind", list(Kind), ids=lambda kind: kind.name)
def test_only_a_providers_failure_goes_to_another_route_and_a_callers_is_no_use_to_retry(kind: Kind) -> None:
    if kind.row.next_route:
        assert kind.name.startswith("PROVIDER_")
        assert kind.row.retry
    if kind.row.status < 500 and kind not in (Kind.TOO_FAST, Kind.IN_PROGRESS):
        assert not kind.row.retry


def test_a_fault_takes_what_it_is_not_told_from_its_row() -> None:
    fault = Fault(Kind.TOO_FAST, "Wait.")
    assert (fault.status, fault.code, fault.retry, fault.param, fault.fields) == (
        429,
        "rate_limit_exceeded",
        True,
        None,
        (),
    )
    assert str(fault) == fault.message == "Wait."


def test_a_fault_may_know_better_than_its_row() -> None:
    fault = Fault(
        Kind.NO_CREDIT, "Top up.", code="x", status=422, retry=True, retry_after_s=1.5, param="model"
    )
    assert (fault.status, fault.code, fault.retry, fault.retry_after_s, fault.param) == (
        422,
        "x",
        True,
        1.5,
        "model",
    )
    assert fault.kind.row.status == 402
    assert not Fault(Kind.TOO_FAST, "Stop.", retry=False).retry
