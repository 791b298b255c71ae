"""Times as the command line writes them: RFC 3339 in UTC."""

from __future__ import annotations

from datetime import UTC, datetime

from farebox.app.prices import moment_of
from farebox.cli.options import UsageError


def write_time(at_us: int) -> str:
    """A time in microseconds since the epoch, as text."""
    return (
        datetime.fromtimestamp(at_us / 1_000_000, UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
    )


def read_moment(text: str, zone: str) -> int:
    """The same of dates that begin in the wallet's time zone."""
    try:
        return moment_of(text, zone)
    except ValueError:
        raise UsageError(f"{text!r} is no time: write 2026-12-01 or 2026-12-01T18:30:00Z") from None


def read_time(text: str) -> int:
    """A date or time as a person writes it, in microseconds since the epoch; UTC where no zone is given."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is no time: write 2026-01-31 or 2026-01-31T18:30:00Z") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1_000_000)
