"""What is observed of every request: counters and times for metrics, one JSON line for the access log.

On the path of a call this is a few additions and one encoded line in a list; the list is written out twice a second.
No line holds a query, a header or a body: keys and prompts cannot leak from what is not there.
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections import Counter
from pathlib import Path
from typing import IO

import msgspec

from farebox.api.visit import Visit

LOG_BYTES_MAX = (
    64 << 20
)  # Then the file is put aside as `.1`, replacing the one before: never more than twice this.
LINES_MAX = 10_000  # If they cannot be written, newer lines are dropped and counted.
BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class Line(msgspec.Struct, omit_defaults=True):
    """One request in the access log."""

    at_us: int
    id: str
    method: str
    path: str
    status: int
    ms: float
    account: str | None = None
    key: str | None = None
    model: str | None = None
    provider: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    charge_nano: int = 0
    partial: bool = False


class AccessLog:
    """Lines on their way to a file, or to standard output for `stdout`."""

    def __init__(self, target: str) -> None:
        self.dropped = 0
        self._path = None if target == "stdout" else Path(target)
        self._lines: list[bytes] = []
        self._encode = msgspec.json.Encoder().encode
        self._file: IO[bytes] = sys.stdout.buffer if self._path is None else self._path.open("ab")

    def add(self, line: Line) -> None:
        """Keep a line for the next flush."""
        if len(self._lines) < LINES_MAX:
            self._lines.append(self._encode(line))
        else:
            self.dropped += 1

    def flush(self) -> None:
        """Write out what has gathered."""
        if not self._lines:
            return
        lines, self._lines = self._lines, []
        self._file.write(b"\n".join(lines) + b"\n")
        self._file.flush()
        if self._path is not None and self._file.tell() > LOG_BYTES_MAX:
            self._file.close()
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
            self._file = self._path.open("ab")

    def close(self) -> None:
        """Write the rest and let go of the file."""
        self.flush()
        if self._path is not None:
            self._file.close()


class Observer:
    """Counts what happened."""

    def __init__(self, log: AccessLog | None) -> None:
        self.log = log
        self.requests: Counter[tuple[str, int]] = Counter()
        self.seconds_buckets = [0] * (len(BUCKETS_S) + 1)
        self.seconds_sum = 0.0
        self.tokens_in = 0
        self.tokens_out = 0

    def note(self, visit: Visit, now_s: float) -> None:
        """Take in one finished request."""
        took_s = now_s - visit.began_s
        status, row = visit.exchange.status, visit.row
        self.requests[visit.profile.name, status] += 1
        self.seconds_buckets[bisect_left(BUCKETS_S, took_s)] += 1
        self.seconds_sum += took_s
        if row is not None:
            self.tokens_in += row.input_tokens
            self.tokens_out += row.output_tokens
        if self.log is None:
            return
        request, grant = visit.request, visit.grant
        line = Line(
            visit.began_us, visit.id, request.method, request.path[:256], status, round(took_s * 1000, 3)
        )
        if grant is not None:
            line.account, line.key = grant.account.name, grant.key.hint
        if row is not None:
            line.model, line.provider, line.charge_nano, line.partial = (
                row.model,
                row.provider,
                row.charge,
                row.partial,
            )
            line.input_tokens, line.output_tokens = row.input_tokens, row.output_tokens
        self.log.add(line)
