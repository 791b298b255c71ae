"""Periods: they follow each other without a gap or overlap, in every zone, and begin where its calendar says."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.billing.periods import Calendar, Period

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
# Half hours and quarters, both hemispheres, clocks put forward at midnight (Beirut, São Paulo), and a day left out.
ZONES = [
    *("UTC", "Asia/Kolkata", "Asia/Kathmandu", "Europe/Berlin", "America/New_York", "America/St_Johns"),
    *("Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Beirut", "Pacific/Apia", "Pacific/Chatham"),
]
calendars = st.sampled_from(ZONES).map(Calendar)
times = st.integers(631_152_000, 4_102_444_800).map(lambda second: second * 1_000_000)  # 1990 to 2100.
wheres = st.sampled_from(["day", "week", "month"])


def at(text: str) -> int:
    """Microseconds of a time that names its offset."""
    return (datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def period(calendar: Calendar, kind: str, at_us: int) -> Period:
    return {"day": calendar.day, "week": calendar.week, "month": calendar.month}[kind](at_us)


@given(calendars, wheres, times)
def test_every_time_lies_in_its_period_and_its_neighbours_touch_it(
    calendar: Calendar, kind: str, at_us: int
) -> None:
    found = period(calendar, kind, at_us)
    assert at_us in found
    assert period(calendar, kind, found.start_us) == period(calendar, kind, found.end_us - 1) == found
    assert found.start_us in found
    assert found.end_us not in found
    assert period(calendar, kind, found.end_us).start_us == found.end_us
    assert period(calendar, kind, found.start_us - 1).end_us == found.start_us


@given(calendars, times)
def test_a_period_is_named_by_what_the_wall_shows(calendar: Calendar, at_us: int) -> None:
    wall = datetime.fromtimestamp(at_us // 1_000_000, ZoneInfo(calendar.time_zone)).date()
    year, week, _ = wall.isocalendar()
    assert calendar.day(at_us).name == wall.isoformat()
    assert calendar.week(at_us).name == f"{year}-W{week:02d}"
    assert calendar.month(at_us).name == f"{wall:%Y-%m}"
    assert calendar.find_month(f"{wall:%Y-%m}") == calendar.month(at_us)


@given(calendars, times)
def test_days_fill_weeks_and_months_exactly(calendar: Calendar, at_us: int) -> None:
    for whole in (calendar.week(at_us), calendar.month(at_us)):
        days = list(calendar.days(whole.start_us, whole.end_us))
        assert (days[0].start_us, days[-1].end_us) == (whole.start_us, whole.end_us)
        assert all(one.end_us == other.start_us for one, other in pairwise(days))


@given(calendars, times, st.integers(0, 800))
def test_months_between_two_times_leave_none_out(calendar: Calendar, at_us: int, days: int) -> None:
    end_us = at_us + days * DAY_US
    months = list(calendar.months(at_us, end_us))
    assert [month.name for month in months] == sorted({month.name for month in months})
    if months:
        assert at_us in months[0]
        assert end_us - 1 in months[-1]


def test_a_month_in_india_ends_at_half_past_six_in_the_evening_utc() -> None:
    october = Calendar("Asia/Kolkata").month_of(2026, 10)
    assert october == Period("2026-10", at("2026-09-30T18:30:00+00:00"), at("2026-10-31T18:30:00+00:00"))
    assert at("2026-10-31T18:29:59.999999+00:00") in october
    assert at("2026-10-31T18:30:00+00:00") not in october


@pytest.mark.parametrize(
    ("zone", "moment", "hours"),
    [
        ("Europe/Berlin", "2026-03-29T12:00:00+02:00", 23),
        ("Europe/Berlin", "2026-10-25T12:00:00+01:00", 25),
        ("Asia/Kolkata", "2026-10-25T12:00:00+05:30", 24),
        ("Asia/Beirut", "2026-03-29T12:00:00+03:00", 23),  # Its first hour is left out.
    ],
)
def test_a_day_is_as_long_as_the_clocks_make_it(zone: str, moment: str, hours: int) -> None:
    day = Calendar(zone).day(at(moment))
    assert day.end_us - day.start_us == hours * HOUR_US


def test_a_day_that_a_zone_left_out_has_no_length() -> None:
    apia = Calendar("Pacific/Apia")
    assert apia.start_us(date(2011, 12, 30)) == apia.start_us(date(2011, 12, 31))


def test_a_week_belongs_to_the_year_of_its_thursday() -> None:
    week = Calendar("UTC").week(at("2027-01-01T00:00:00+00:00"))
    assert week == Period("2026-W53", at("2026-12-28T00:00:00+00:00"), at("2027-01-04T00:00:00+00:00"))


@pytest.mark.parametrize(
    "name",
    ["", "2026", "2026-13", "2026-00", "2026-1", "26-10", "2026-10-01", "²⁰²⁶-¹⁰", "1969-12", "9999-12"],
)
def test_what_names_no_month_is_none(name: str) -> None:
    assert Calendar("UTC").find_month(name) is None


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-10-01", "2026-09-30T18:30:00+00:00"),
        ("2026-10-01T18:30:00Z", "2026-10-01T18:30:00+00:00"),
        ("2026-10-01T00:00:00.000001+05:30", "2026-09-30T18:30:00.000001+00:00"),
    ],
)
def test_a_date_begins_in_the_zone_and_a_time_says_its_own(text: str, meant: str) -> None:
    assert Calendar("Asia/Kolkata").find_time(text) == at(meant)


@pytest.mark.parametrize("text", ["", "today", "2026-13-01", "2026-10-01T00:00:00", "0001-01-01", "-" * 10])
def test_what_names_no_time_is_none_or_long_ago(text: str) -> None:
    found = Calendar("Asia/Kolkata").find_time(text)
    assert found is None or found < 0
