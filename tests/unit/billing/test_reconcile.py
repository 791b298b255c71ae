"""Reconciling: each provider's export is read as it is written, and what differs from our books is found and named."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.billing.reconcile import Reconciliation, causes, gather, read_tolerance, reconcile
from farebox.billing.usage_exports import (
    LAYOUTS,
    Entry,
    Export,
    UnreadableError,
    read_csv,
    read_json,
    same_model,
)
from farebox.ledger.books import HoldOp, RequestRow
from tests.ledger.ledger_file import LedgerFile, ledger_in, settlement
from tests.support.stores import Store

DAY_US = 86_400_000_000
NOVEMBER_1 = 1_793_491_200  # Seconds of 2026-11-01 in UTC.

OPENAI_USAGE = {
    "object": "page",
    "data": [
        {
            "object": "bucket",
            "start_time": NOVEMBER_1,
            "end_time": NOVEMBER_1 + 86_400,
            "results": [
                {
                    "object": "organization.usage.completions.result",
                    "input_tokens": 1000,
                    "output_tokens": 500,
                    "input_cached_tokens": 800,
                    "input_audio_tokens": 7,
                    "output_audio_tokens": 3,
                    "num_model_requests": 5,
                    "project_id": None,
                    "model": "gpt-4o-mini-2024-07-18",
                    "batch": None,
                }
            ],
        }
    ],
    "has_more": False,
    "next_page": None,
}
OPENAI_COSTS = {
    "object": "page",
    "data": [
        {
            "object": "bucket",
            "start_time": NOVEMBER_1,
            "results": [
                {
                    "object": "organization.costs.result",
                    "amount": {"value": 0.06, "currency": "usd"},
                    "line_item": "gpt-4o-mini-2024-07-18, input",
                },
                {
                    "object": "organization.costs.result",
                    "amount": {"value": 1e-7, "currency": "usd"},
                    "line_item": "gpt-4o-mini-2024-07-18, output",
                },
            ],
        }
    ],
}
ANTHROPIC_USAGE = {
    "data": [
        {
            "starting_at": "2026-11-01T00:00:00Z",
            "ending_at": "2026-11-02T00:00:00Z",
            "results": [
                {
                    "uncached_input_tokens": 1500,
                    "cache_creation": {"ephemeral_1h_input_tokens": 1000, "ephemeral_5m_input_tokens": 500},
                    "cache_read_input_tokens": 200,
                    "output_tokens": 500,
                    "server_tool_use": {"web_search_requests": 10},
                    "model": "claude-opus-4-20250514",
                    "service_tier": "standard",
                }
            ],
        }
    ],
    "has_more": False,
}
ANTHROPIC_COST = {
    "data": [
        {
            "starting_at": "2026-11-01T00:00:00Z",
            "results": [
                {"currency": "USD", "amount": "123.78912", "model": "claude-opus-4-20250514"},
            ],
        }
    ]
}
REPORTS = [
    (OPENAI_USAGE, "openai usage report", Entry("2026-11-01", "gpt-4o-mini", 1007, 503)),
    (
        OPENAI_COSTS,
        "openai cost report",
        Entry("2026-11-01", "gpt-4o-mini", cost_nano=60_000_000, currency="USD"),
    ),
    (ANTHROPIC_USAGE, "anthropic usage report", Entry("2026-11-01", "claude-opus-4", 3200, 500)),
    (
        ANTHROPIC_COST,
        "anthropic cost report",
        Entry("2026-11-01", "claude-opus-4", cost_nano=1_237_891_200, currency="USD"),
    ),
]
OPENAI_COLUMNS = (
    "start_time,end_time,start_time_iso,num_model_requests,input_tokens,output_tokens,input_cached_tokens,"
    "input_audio_tokens,output_audio_tokens,model"
)
ANTHROPIC_COLUMNS = (
    "usage_date_utc,model_version,api_key,workspace,usage_type,usage_input_tokens_no_cache,"
    "usage_input_tokens_cache_write_5m,usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,"
    "usage_output_tokens,web_search_count"
)
SHEETS = {
    "openai usage": (
        f"{OPENAI_COLUMNS}\n{NOVEMBER_1},{NOVEMBER_1 + 86400},now,5,1000,500,800,7,3,gpt-4o-mini-2024-07-18\n",
        Entry("2026-11-01", "gpt-4o-mini", 1007, 503),
    ),
    "openai costs": (
        f'start_time,amount_value,amount_currency,line_item\n{NOVEMBER_1},0.0600000001,usd,"gpt-4o-mini, input"\n',
        Entry("2026-11-01", "gpt-4o-mini", cost_nano=60_000_000, currency="USD"),
    ),
    "anthropic usage": (
        f"{ANTHROPIC_COLUMNS}\n2026-11-01,claude-opus-4-20250514,key,Default,message,1500,500,1000,200,500,10\n",
        Entry("2026-11-01", "claude-opus-4", 3200, 500),
    ),
    "anthropic cost": (
        "usage_date_utc,model,workspace,token_type,cost_usd\n2026-11-01,Claude Opus 4,Default,input,1.5\n",
        Entry("2026-11-01", "claude-opus-4", cost_nano=1_500_000_000, currency="USD"),
    ),
    "plain": (
        "Day,Model,Input_tokens,Output_tokens,Cost\n2026-11-01,Qwen/Qwen3,10,20,0.5\n",
        Entry("2026-11-01", "qwen/qwen3", 10, 20, 500_000_000, "USD"),
    ),
}


def csv_of(text: str) -> Export:
    return read_csv(text.splitlines(keepends=True))


@pytest.mark.parametrize(("report", "name", "first"), REPORTS)
def test_a_report_of_an_endpoint_is_read(report: object, name: str, first: Entry) -> None:
    for text in (json.dumps(report), json.dumps([report]), f"{json.dumps(report)}\n{json.dumps(report)}\n"):
        export = read_json(text.encode())
        assert (export.name, next(iter(export.entries))) == (name, first)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_a_sheet_of_each_layout_is_read(layout: object) -> None:
    name = getattr(layout, "name", "")
    text, entry = SHEETS[name]
    for version in (text, "\ufeff" + text.replace("\n", "\r\n")):
        export = csv_of(version)
        assert (export.name, list(export.entries)) == (name, [entry])


def test_a_cost_too_small_for_a_float_to_tell_is_exact() -> None:
    totals = gather(read_json(json.dumps(OPENAI_COSTS).encode()).entries)
    assert totals["2026-11-01", "gpt-4o-mini"].cost_nano == 60_000_100


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("date,engine\n", "no known export has these columns: 'date', 'engine'"),
        ("", "no known export has these columns: none"),
        ("day,model,input_tokens,output_tokens\n2026-11-01,m,1\n", "row 2 cannot be read"),
        ("day,model,input_tokens,output_tokens\n2026-11-01,m,1,x\n", "row 2 cannot be read"),
        (
            "day,model,input_tokens,output_tokens\n1/11/26,m,1,2\n",
            "row 2 cannot be read: '1/11/26' is no day",
        ),
        ("day,model,input_tokens,output_tokens\n2026-11-01,,1,2\n", "it names no model"),
        ("day,model,input_tokens,output_tokens,cost\n2026-11-01,m,1,2,NaN\n", "'NaN' is no amount"),
        ("day,model,input_tokens,output_tokens,cost\n2026-11-01,m,1,2,1e99999\n", "'1e99999' is no amount"),
        ("day,model,input_tokens,output_tokens\n", "the file has no row"),
        (f"day,model,input_tokens,output_tokens\n{'9' * 30},m,1,2\n", "row 2 cannot be read"),
    ],
)
def test_what_is_no_export_is_told_in_one_line(text: str, told: str) -> None:
    with pytest.raises(UnreadableError) as problem:
        gather(csv_of(text).entries)
    assert told in str(problem.value)
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"{}", "this is no usage or cost report"),
        (b"[1]", "this is no usage or cost report"),
        (b'{"data": [{"results": [{"input_tokens": 1}]}]}', "is no day"),
        (b'{"data": [{"start_time": 0, "results": [{"input_tokens": 1, "model": null}]}]}', "is no day"),
        (json.dumps(OPENAI_USAGE).replace('"gpt-4o-mini-2024-07-18"', "null").encode(), "it names no model"),
        (json.dumps([OPENAI_USAGE, OPENAI_COSTS]).encode(), "reports of different kinds: cost, usage"),
    ],
)
def test_a_report_that_cannot_be_used_is_told_in_one_line(text: bytes, told: str) -> None:
    if told == "is no day" and b"start_time" in text:
        text = text.replace(b'"start_time": 0', b'"starting_at": "soon"')
    with pytest.raises(UnreadableError, match=told):
        gather(read_json(text).entries)


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("claude-3-5-haiku-20241022", "claude-3-5-haiku"),
        ("claude-3-5-haiku-latest", "claude-3-5-haiku"),
        ("Claude Haiku 4.5", "claude-haiku-4-5"),
        ("models/gemini-2.5-flash", "gemini-2-5-flash"),
    ],
)
def test_a_model_is_the_same_whatever_its_snapshot_is_called(name: str, plain: str) -> None:
    assert same_model(name) == plain


def told_of(sheet: str) -> str:
    """Why a sheet is refused, if it is."""
    try:
        gather(csv_of(sheet).entries)
    except UnreadableError as problem:
        return str(problem)
    return ""


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    for sheet in (text, f"day,model,input_tokens,output_tokens,cost\n{text}"):
        assert "\n" not in told_of(sheet)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_report_or_refused(data: bytes) -> None:
    with pytest.raises(UnreadableError):
        gather(read_json(data).entries)


@pytest.mark.parametrize(("text", "ppm"), [("0.5%", 5_000), ("0", 0), ("100 %", 1_000_000), ("0.0001", 1)])
def test_a_tolerance_is_a_percentage(text: str, ppm: int) -> None:
    assert read_tolerance(text) == ppm


@pytest.mark.parametrize("text", ["", "-1", "101%", "half", "1e3"])
def test_what_is_no_percentage_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"percentage|amount"):
        read_tolerance(text)


class Calls:
    """Requests in real books."""

    def __init__(self, ledger: LedgerFile) -> None:
        self.ledger = ledger
        self.account = ledger.open_wallet("a")
        ledger.enlist("w1")
        self._made = 0

    def add(self, day: int, model: str, tokens_in: int, tokens_out: int, **changes: str | int) -> RequestRow:
        """A call on a day of November 2026."""
        self._made += 1
        id_, at_us = f"{self._made:026d}", NOVEMBER_1 * 1_000_000 + (day - 1) * DAY_US + DAY_US // 2
        given = {"provider": "openai", "cost_currency": "USD", "cost": tokens_in * 1_000, **changes}
        operation = settlement(id_, self.account, due=0, hold=0)
        row = msgspec.structs.replace(
            operation.row,
            **{
                "state": "posted",
                "upstream_model": model,
                "input_tokens": tokens_in,
                "output_tokens": tokens_out,
                "created": at_us,
                **given,
            },
        )
        self.ledger.commit(HoldOp(id_, self.account, 1, "w1", model, 0, at_us))
        self.ledger.commit(msgspec.structs.replace(operation, row=row))
        return row

    def against(self, rows: str, *, tolerance_ppm: int = 5_000, **named: tuple[str, ...]) -> Reconciliation:
        """The comparison with a plain sheet of rows `day,model,in,out,cost`."""
        export = csv_of(f"day,model,input_tokens,output_tokens,cost\n{rows}")
        with self.ledger.database.read() as view:
            return reconcile(
                view,
                gather(export.entries),
                name=export.name,
                providers=named.get("providers", ("openai",)),
                tolerance_ppm=tolerance_ppm,
            )


@pytest.fixture
def calls(store: Store) -> Calls:
    return Calls(LedgerFile(store.database))


def first(report: Reconciliation) -> tuple[str, str, int]:
    line = report.lines[0]
    return line.day, line.model, line.drift_ppm


def test_books_that_a_provider_agrees_with_are_within_tolerance(calls: Calls) -> None:
    for tokens in (600, 400):
        calls.add(1, "gpt-4o-mini", tokens, 5)
    report = calls.against("2026-11-01,gpt-4o-mini-2024-07-18,1000,10,0.001\n")
    assert (report.agreed, first(report)) == (True, ("2026-11-01", "gpt-4o-mini", 0))


def test_the_largest_drift_comes_first_and_counts_against_the_larger_side(calls: Calls) -> None:
    calls.add(1, "a", 1000, 10)
    calls.add(2, "b", 1000, 10)
    report = calls.against("2026-11-01,a,1001,10,0.001\n2026-11-02,b,2000,10,0.001\n")
    assert [(line.model, line.drift_ppm, line.within) for line in report.lines] == [
        ("b", 500_000, False),
        ("a", 1_000, True),
    ]
    assert not report.agreed


def test_tokens_that_agree_at_another_cost_are_a_drift(calls: Calls) -> None:
    calls.add(1, "a", 1000, 10)
    assert first(calls.against("2026-11-01,a,1000,10,0.002\n")) == ("2026-11-01", "a", 500_000)


def test_costs_of_two_currencies_are_shown_and_not_compared(calls: Calls) -> None:
    calls.add(1, "a", 1000, 10, cost_currency="INR")
    report = calls.against("2026-11-01,a,1000,10,0.002\n")
    assert report.agreed
    assert (report.lines[0].ours.currency, report.lines[0].theirs.currency) == ("INR", "USD")


def test_what_only_one_side_has_is_all_of_it(calls: Calls) -> None:
    calls.add(1, "ours", 1000, 10)
    report = calls.against("2026-11-01,theirs,1000,10,0\n")
    assert {(line.model, line.drift_ppm) for line in report.lines} == {
        ("ours", 1_000_000),
        ("theirs", 1_000_000),
    }
    told = {line.model: causes(line) for line in report.lines}
    assert "no call of ours" in told["theirs"][0]
    assert "nothing of theirs" in told["ours"][0]


def test_a_call_belongs_to_the_day_it_began_in_utc(calls: Calls) -> None:
    midnight_us = NOVEMBER_1 * 1_000_000 + DAY_US
    calls.add(1, "a", 1, 1, created=midnight_us - 1)
    calls.add(1, "a", 2, 1, created=midnight_us)
    assert calls.against("2026-11-01,a,1,1,0.000001\n2026-11-02,a,2,1,0.000002\n").agreed


def test_other_days_and_other_providers_are_left_out(calls: Calls) -> None:
    calls.add(1, "a", 1000, 10)
    calls.add(1, "a", 5, 10, provider="azure")
    calls.add(3, "a", 5, 10)
    sheet = "2026-11-01,a,1000,10,0.001\n"
    assert calls.against(sheet).agreed
    assert not calls.against(sheet, providers=()).agreed
    assert not calls.against(sheet, providers=("azure",)).agreed


def test_what_a_provider_may_bill_and_we_did_not_is_named_as_a_cause(calls: Calls) -> None:
    calls.add(1, "a", 1000, 10)
    calls.add(1, "a", 0, 0, state="voided", cost=0)
    calls.add(1, "a", 10, 1, partial=1, estimated=1)
    tries = '[{"provider":"openai","fault":"overloaded"},{"provider":"openai"}]'
    calls.add(1, "a", 10, 1, attempts=tries)
    (line,) = calls.against("2026-11-01,a,2000,20,0.002\n").lines
    assert [cause.partition(" ")[0] + " " + cause.split()[1].rstrip(":,") for cause in causes(line)] == [
        "1 voided",
        "1 broken",
        "1 counted",
        "1 tried",
    ]


def test_calls_that_died_with_their_worker_are_counted(calls: Calls) -> None:
    calls.add(1, "", 0, 0, provider="", error="owner_died", state="voided")
    report = calls.against("2026-11-01,a,1,1,0\n")
    assert (report.lost, [line.model for line in report.lines]) == (1, ["a"])


def test_an_export_of_costs_alone_compares_no_tokens(calls: Calls) -> None:
    calls.add(1, "gpt-4o-mini", 1000, 10, cost=60_000_100)
    theirs = gather(read_json(json.dumps(OPENAI_COSTS).encode()).entries)
    with calls.ledger.database.read() as view:
        report = reconcile(view, theirs, name="x", providers=(), tolerance_ppm=0)
    assert report.agreed
    assert report.lines[0].theirs.input_tokens is None


counts = st.integers(0, 2**40)


@given(counts, counts, st.integers(0, 1_000_000))
def test_a_line_is_within_a_tolerance_just_when_its_counts_are_no_further_apart(
    theirs: int, ours: int, ppm: int
) -> None:
    with TemporaryDirectory() as folder, ledger_in(Path(folder)) as ledger:
        calls = Calls(ledger)
        calls.add(1, "a", ours, 0, cost=0)
        report = calls.against(f"2026-11-01,a,{theirs},0,0\n", tolerance_ppm=ppm)
        assert report.agreed == (abs(ours - theirs) * 1_000_000 <= ppm * max(ours, theirs))
