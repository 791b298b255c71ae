"""Periods: days, ISO weeks and months of the operator's time zone, each as [start, end) in microseconds. Pure.

A calendar's day is not 24 hours where clocks are put forward or back, and a period's end is the next one's start: so
the periods of a kind follow each other without a gap or an overlap, whatever the zone does.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import msgspec

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DAY = timedelta(days=1)
_DECEMBER = 12
# The dates that any zone can tell: one day short of what a date holds, for some zones are a day ahead of UTC.
FIRST_YEAR, LAST_YEAR = 1970, 9998


class Period(msgspec.Struct, frozen=True):
    """A day, week or month: from `start_us` on, up to but not including `end_us`. `name` is as ISO 8601 has it."""

    name: str
    start_us: int
    end_us: int

    def __contains__(self, at_us: int) -> bool:
        return self.start_us <= at_us < self.end_us


class Calendar:
    """The calendar of one time zone."""

    def __init__(self, time_zone: str) -> None:
        self.time_zone = time_zone
        # UTC is known even where the machine has no time zone data.
        self._zone = UTC if time_zone == "UTC" else ZoneInfo(time_zone)

    def local(self, at_us: int) -> datetime:
        """A time as the clock on the wall shows it."""
        return (_EPOCH + timedelta(microseconds=at_us)).astimezone(self._zone)

    def start_us(self, day: date) -> int:
        """When a date begins: at its first midnight; where clocks are put forward over midnight, at that moment."""
        # fold=0 reads a clock that was put back as its first showing, and one never shown as it would have gone on.
        midnight = datetime.combine(day, time(fold=0), self._zone)
        return (midnight - _EPOCH) // _MICROSECOND

    def day(self, at_us: int) -> Period:
        """The day of a time."""
        day = self._day_of(at_us)
        return self._period(day.isoformat(), day, day + _DAY)

    def week(self, at_us: int) -> Period:
        """The ISO week of a time: from Monday to Monday."""
        day = self._day_of(at_us)
        monday = day - day.weekday() * _DAY
        year, week, _ = day.isocalendar()
        return self._period(f"{year}-W{week:02d}", monday, monday + 7 * _DAY)

    def month(self, at_us: int) -> Period:
        """The month of a time."""
        day = self._day_of(at_us)
        return self.month_of(day.year, day.month)

    def month_of(self, year: int, month: int) -> Period:
        """A month by its number."""
        first = date(year, month, 1)
        return self._period(f"{year:04d}-{month:02d}", first, _next_month(first))

    def find_month(self, name: str) -> Period | None:
        """The month that `2026-10` names, if it is one."""
        year, _, month = name.partition("-")
        if len(name) != len("2026-10") or not (year + month).isascii() or not (year + month).isdigit():
            return None
        known = FIRST_YEAR <= int(year) <= LAST_YEAR and 1 <= int(month) <= _DECEMBER
        return self.month_of(int(year), int(month)) if known else None

    def find_time(self, text: str) -> int | None:
        """The time that a date (its beginning here) or a time with its offset names, if it is one."""
        try:
            if len(text) == len("2026-10-01"):
                return self.start_us(date.fromisoformat(text))
            moment = datetime.fromisoformat(text)
            return None if moment.tzinfo is None else (moment - _EPOCH) // _MICROSECOND
        except (ValueError, OverflowError):
            return None

    def days(self, start_us: int, end_us: int) -> Iterator[Period]:
        """The days from the one of `start_us` on, up to `end_us`."""
        at_us = start_us
        while at_us < end_us:
            day = self.day(at_us)
            yield day
            at_us = day.end_us

    def months(self, start_us: int, end_us: int) -> Iterator[Period]:
        """The months from the one of `start_us` on, up to `end_us`."""
        at_us = start_us
        while at_us < end_us:
            month = self.month(at_us)
            yield month
            at_us = month.end_us

    def _period(self, name: str, first: date, after: date) -> Period:
        return Period(name, self.start_us(first), self.start_us(after))

    def _day_of(self, at_us: int) -> date:
        """The date in whose day a time lies: that on the wall, but where clocks were put back over midnight."""
        day = self.local(at_us).date()
        return day + _DAY if self.start_us(day + _DAY) <= at_us else day


def _next_month(first: date) -> date:
    return (first.replace(day=28) + 4 * _DAY).replace(day=1)
